"""How the processes of a node wait for each other, where they share the cores.

A worker needs a core for a moment and soon, the embedded engine for long. Neither gets a larger share than
the other: beside clients that use all cores, a backlog would then grow (docs/decisions/0047-drain.md). What
the system refuses stays as it was; nothing but latency depends on it.
"""

import ctypes
import os
import platform
import struct
import sys

# How long a thread keeps the interpreter's lock while another one wants it. With Python's 5 ms, each callback
# of the event loop could wait so long for the thread that prepares a batch.
SWITCH_INTERVAL_S = 0.0005
# The shortest that the kernel takes (EEVDF, since Linux 6.12). A thread that asks for less at a time gets it
# sooner.
SLICE_NS = 100_000

# sched_setattr(2) has no function in most C libraries, and its number depends on the machine.
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
# size, policy, flags, nice, priority, runtime, deadline, period; without the two clamps of a later version.
_SCHED_ATTR = struct.Struct("=IIQiIQQQ")


def prefer_latency() -> None:
    """For a process that answers clients. Call it before it starts threads, which inherit it."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None or not _is_usual():
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, nice, 0, SLICE_NS, 0, 0)
    ctypes.CDLL(None).syscall(number, 0, attributes, 0)  # an older kernel ignores the slice


def _is_usual() -> bool:
    """Whether no administrator chose another policy, such as CPUSchedulingPolicy= of systemd."""
    try:
        return os.sched_getscheduler(0) == os.SCHED_OTHER
    except OSError:
        return False
