"""Tells systemd how we are: the sd_notify datagram protocol (systemd's sd_notify(3)).

Does nothing where systemd did not ask, that is, where NOTIFY_SOCKET is not set.
"""

import os
import socket

_WAIT_S = 1.0


def notify(state: str) -> None:
    """Sends `state`, such as `READY=1`. A lost message is not an error, so nothing is raised. A receiver
    that does not read delays the caller by at most `_WAIT_S`."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(_WAIT_S)
            sock.connect(address)
            sock.sendall(state.encode())
    except OSError:
        pass


def watchdog_interval_s() -> float | None:
    """Seconds between two `WATCHDOG=1`, half of what systemd allows; None if it set no watchdog for us."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2_000_000
