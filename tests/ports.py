"""Ports for what a test starts in a process of its own, which therefore cannot ask for port 0."""

import random
import socket
from pathlib import Path

_given: set[int] = set()


def free_port() -> int:
    """A port where nobody listens, given once only.

    Not one that the kernel gives to outgoing connections: between this call and the program's bind, or while
    a test restarts that program, any client on the machine could get it. Whoever connects over and over to a
    port of that range where nobody listens even connects to itself one day, and keeps the port.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    # Not the seeded one: several test runs on a machine shall not try the same ports.
    chance = random.SystemRandom()
    for _ in range(1_000):
        port = chance.randrange(10_000, lowest) if lowest > 12_000 else 0
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            port = int(sock.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port
    raise AssertionError("no free port was found")
