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
from tests.engine import engine_is_installed

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
scheduling.{function}()
print(os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0), sys.getswitchinterval())
"""


def slice_ns(thread: int) -> int:
    attributes = ctypes.create_string_buffer(48)
    assert ctypes.CDLL(None).syscall(GETATTR[platform.machine()], thread, attributes, 48, 0) == 0
    return int(struct.unpack_from("=IIQiIQ", attributes)[5])


def threads(pid: int) -> list[int]:
    return [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]


def run(function: str, before: str = "") -> list[str]:
    command = [sys.executable, "-c", RUN.format(function=function, before=before)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@needs_slices
def test_threads_of_a_worker_have_short_slices(tmp_path: Path):
    with Node(tmp_path, clickhouse="http://127.0.0.1:1") as node:
        node.wait_ready("/ready/ingest")
        (worker,) = node.pids("worker")
        found = {slice_ns(thread) for thread in threads(worker)}
        assert len(threads(worker)) > 1
        assert found == {scheduling.SLICE_NS}


@pytest.mark.engine
@pytest.mark.skipif(not engine_is_installed(), reason="chdb-core is not installed")
def test_threads_of_the_embedded_engine_do_not_interrupt_others(tmp_path: Path):
    with Node(tmp_path) as node:
        node.wait_ready()
        (engine,), (worker,) = node.pids("embedded-child"), node.pids("worker")
        assert len(threads(engine)) > 10
        assert {os.sched_getscheduler(thread) for thread in threads(engine)} == {os.SCHED_BATCH}
        assert os.sched_getscheduler(worker) == os.SCHED_OTHER


def test_a_worker_hands_over_the_interpreter_soon():
    assert run("prefer_latency") == [str(os.SCHED_OTHER), "0", "0.0005"]


def test_the_nice_level_stays():
    assert run("prefer_latency", "os.nice(7)")[1] == "7"


@pytest.mark.parametrize("function", ["prefer_latency", "prefer_throughput"])
def test_a_policy_that_an_administrator_chose_stays(function: str):
    idle = "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))"
    assert run(function, idle)[0] == str(os.SCHED_IDLE)


@pytest.mark.parametrize("function", ["prefer_latency", "prefer_throughput"])
def test_nothing_fails_on_a_machine_without_these_calls(function: str):
    refused = """
def refuse(*_):
    raise PermissionError
os.sched_setscheduler = refuse
scheduling._SCHED_SETATTR = {}
"""
    assert run(function, refused)[0] == str(os.SCHED_OTHER)


def test_a_system_call_that_does_not_exist_changes_nothing():
    numbers = {platform.machine(): 9999}
    assert run("prefer_latency", f"scheduling._SCHED_SETATTR = {numbers}")[0] == str(os.SCHED_OTHER)
