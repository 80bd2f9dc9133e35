"""Runs a command under a unit's seccomp filters, where systemd is not at hand to do it.

    python -m tests.build.confine UNIT [DROP-IN …] -- COMMAND …

It reads the settings from the unit itself and makes of them what systemd makes of them (its
src/shared/seccomp-util.c): SystemCallFilter with SystemCallErrorNumber, MemoryDenyWriteExecute,
RestrictAddressFamilies, RestrictNamespaces, NoNewPrivileges. Groups such as @system-service are those of the
systemd-analyze installed here. What needs a mount or a user of its own is not done: root is not needed.
"""

import ctypes
import errno
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_ALLOW = 0x7FFF0000
_LE, _EQ, _GE, _MASKED_EQ = 3, 4, 5, 7
_PROT_WRITE, _PROT_EXEC, _SHM_EXEC = 2, 4, 0o100000
_CLONE_NEW = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
_PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE = 38, 65


class _Compare(ctypes.Structure):
    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    ]


def library() -> ctypes.CDLL:
    """libseccomp; systemd and apt need it, so it is on most machines. Raises `OSError`."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Compare),
    ]  # fmt: skip
    return library


def settings(*files: Path) -> dict[str, list[str]]:
    """Each setting of the [Service] section with its values, later files after earlier ones."""
    found: dict[str, list[str]] = {}
    for file in files:
        section = ""
        for line in file.read_text().splitlines():
            if line.startswith("["):
                section = line
            elif section == "[Service]" and (match := re.fullmatch(r"(\w+)=(.*)", line)):
                found.setdefault(match[1], []).append(match[2])
    return found


def allowed_calls(lines: list[str]) -> set[str]:
    """What `SystemCallFilter` lines allow; the first must be an allow list."""
    allowed: set[str] = set()
    for line in lines:
        calls = {call for name in line.removeprefix("~").split() for call in _calls_of(name)}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    # systemd always allows what it needs itself between here and the program.
    return allowed | set(_calls_of("@default"))


def _calls_of(name: str) -> Iterator[str]:
    if not name.startswith("@"):
        yield name
        return
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    )
    for line in done.stdout.splitlines()[1:]:
        if (member := line.strip()) and not member.startswith("#"):
            yield from _calls_of(member)


def confine(service: dict[str, list[str]]) -> None:
    """Applies to this process, and all that it starts, what `service` says."""
    seccomp, libc = library(), ctypes.CDLL(None, use_errno=True)
    allowed = allowed_calls(service["SystemCallFilter"])
    refusal = 0x00050000 | getattr(errno, service["SystemCallErrorNumber"][-1])
    forbidden = 0x00050000 | errno.EPERM
    _must(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")

    if service["MemoryDenyWriteExecute"][-1] == "yes":
        both = _PROT_WRITE | _PROT_EXEC
        _load(
            seccomp,
            _ALLOW,
            [
                (forbidden, "mmap", [(2, _MASKED_EQ, both, both)]),
                (forbidden, "mprotect", [(2, _MASKED_EQ, _PROT_EXEC, _PROT_EXEC)]),
                (forbidden, "pkey_mprotect", [(2, _MASKED_EQ, _PROT_EXEC, _PROT_EXEC)]),
                (forbidden, "shmat", [(2, _MASKED_EQ, _SHM_EXEC, _SHM_EXEC)]),
            ],
        )
        # systemd 254 asks the kernel (6.3) too, which also sees a mapping that was writable before.
        libc.prctl(_PR_SET_MDWE, 1, 0, 0, 0)

    families = sorted(getattr(socket, name) for name in service["RestrictAddressFamilies"][-1].split())
    refused = [f for f in range(families[0], families[-1]) if f not in families]
    unsupported = 0x00050000 | errno.EAFNOSUPPORT
    _load(
        seccomp,
        _ALLOW,
        [
            (unsupported, "socket", [(0, _LE, families[0] - 1, 0)]),
            (unsupported, "socket", [(0, _GE, families[-1] + 1, 0)]),
            *((unsupported, "socket", [(0, _EQ, family, 0)]) for family in refused),
        ],
    )
    if service["RestrictNamespaces"][-1] == "yes":
        calls = ("clone", "unshare")
        _load(
            seccomp,
            _ALLOW,
            [
                # Its flags are in memory, where a filter cannot look; the C library then falls back to clone.
                (0x00050000 | errno.ENOSYS, "clone3", []),
                (forbidden, "setns", []),
                *((forbidden, call, [(0, _MASKED_EQ, flag, flag)]) for call in calls for flag in _CLONE_NEW),
            ],
        )
    _load(seccomp, refusal, [(_ALLOW, call, []) for call in sorted(allowed)])


def _load(
    seccomp: ctypes.CDLL, default: int, rules: list[tuple[int, str, list[tuple[int, int, int, int]]]]
) -> None:
    context = seccomp.seccomp_init(default)
    for action, call, conditions in rules:
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            continue  # not a call of this architecture
        compares = (_Compare * len(conditions))(*(_Compare(*condition) for condition in conditions))
        _must(
            seccomp.seccomp_rule_add_array(context, action, number, len(conditions), compares),
            f"rule for {call}",
        )
    _must(seccomp.seccomp_load(context), "load")


def _must(status: int, what: str) -> None:
    if status != 0:
        raise OSError(f"seccomp: {what}: status {status}, errno {ctypes.get_errno()}")


def main() -> None:
    split = sys.argv.index("--")
    confine(settings(*map(Path, sys.argv[1:split])))
    os.execvp(sys.argv[split + 1], sys.argv[split + 1 :])


if __name__ == "__main__":
    main()
