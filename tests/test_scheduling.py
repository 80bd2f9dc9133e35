"""What the kernel says about the threads of a node that runs."""

import ctypes
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from nealytics import scheduling
from tests.e2e.node import Node

# sched_getattr(2).
GETATTR = {"x86_64": 315, "aarch64": 275}
SINCE = (6, 12)

needs_slices = pytest.mark.skipif(
    platform.machine() not in GETATTR or tuple(map(int, platform.release().split(".")[:2])) < SINCE,
    reason="this kernel has no slices that a thread may choose",
)

RUN = """
import os, sys
from nealytics import scheduling
{before}
scheduling.prefer_latency()
print(os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0), sys.getswitchinterval())
"""


def slice_ns(thread: int) -> int:
    attributes = ctypes.create_string_buffer(48)
    assert ctypes.CDLL(None).syscall(GETATTR[platform.machine()], thread, attributes, 48, 0) == 0
    return int(struct.unpack_from("=IIQiIQ", attributes)[5])


def threads(pid: int) -> list[int]:
    return [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]


def run(before: str = "") -> list[str]:
    command = [sys.executable, "-c", RUN.format(before=before)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@needs_slices
def test_threads_of_a_worker_have_short_slices(tmp_path: Path):
    with Node(tmp_path, clickhouse="http://127.0.0.1:1") as node:
        node.wait_ready("/ready/ingest")
        (worker,) = node.pids("worker")
        found = {slice_ns(thread) for thread in threads(worker)}
        assert len(threads(worker)) > 1
        assert found == {scheduling.SLICE_NS}


def test_a_worker_hands_over_the_interpreter_soon():
    assert run() == [str(os.SCHED_OTHER), "0", "0.0005"]


def test_the_nice_level_stays():
    assert run("os.nice(7)")[1] == "7"


def test_a_policy_that_an_administrator_chose_stays():
    idle = "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))"
    assert run(idle)[0] == str(os.SCHED_IDLE)


def test_nothing_fails_on_a_machine_without_this_call():
    assert run("scheduling._SCHED_SETATTR = {}")[0] == str(os.SCHED_OTHER)


def test_a_system_call_that_does_not_exist_changes_nothing():
    numbers = {platform.machine(): 9999}
    assert run(f"scheduling._SCHED_SETATTR = {numbers}")[0] == str(os.SCHED_OTHER)
