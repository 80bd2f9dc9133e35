import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nealytics import process
from nealytics.process import ALIVE, beat, find_authorities, self_command
from tests.e2e.node import Node

# A parent that starts a child which dies with it, tells the child's pid, and waits to be killed.
PARENT = """
import socket, subprocess, sys, time
ours, theirs = socket.socketpair()
fd = theirs.fileno()
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(fd)], pass_fds=(fd,), stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""
BY_SIGNAL = """
from tests.e2e.node import Node
from nealytics.process import die_with_parent
import time
die_with_parent()
print("up", flush=True)
time.sleep(60)
"""
# The death signal is taken back, so that only the end-of-file is left.
BY_END_OF_FILE = """
from tests.e2e.node import Node
from nealytics.process import die_with_parent
import ctypes, socket, sys, time
channel = socket.socket(fileno=int(sys.argv[1]))
channel.setblocking(False)
die_with_parent(channel)
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
print("up", flush=True)
time.sleep(60)
"""


def gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("child", [BY_SIGNAL, BY_END_OF_FILE], ids=["by its signal", "by end-of-file"])
def test_a_child_ends_when_its_parent_is_killed(child: str):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, child], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not gone(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 40  # else it ends by itself after 60
    while not gone(pid):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.01)


def test_the_program_can_start_itself_again():
    executable, argv = self_command("--version")
    assert executable == "/proc/self/exe"
    # /proc/self/exe means the calling program also in a child that has just been forked.
    done = subprocess.run(argv, executable=executable, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "nealytics" in done.stdout


async def test_a_heartbeat_survives_a_parent_that_does_not_read():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        while True:
            try:
                theirs.send(b"x" * 4096)
            except BlockingIOError:
                break
        task = asyncio.create_task(beat(theirs))
        await asyncio.sleep(0.01)
        assert not task.done()
        ours.setblocking(False)
        while not (await asyncio.get_running_loop().sock_recv(ours, 1 << 20)).endswith(ALIVE):
            pass
        task.cancel()


def test_a_compiled_program_trusts_the_authorities_of_the_machine_it_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    here = tmp_path / "ca-bundle.crt"
    here.touch()
    monkeypatch.setattr(process, "__compiled__", True, raising=False)
    # So that what the call sets goes with the test.
    monkeypatch.setenv("SSL_CERT_FILE", "")
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    find_authorities((str(tmp_path / "elsewhere.crt"),))
    assert "SSL_CERT_FILE" not in os.environ
    find_authorities((str(tmp_path / "elsewhere.crt"), str(here)))
    assert os.environ["SSL_CERT_FILE"] == str(here)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_other_authorities_can_be_named_to_a_compiled_program(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(process, "__compiled__", True, raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv(name, "ours")
    before = dict(os.environ)
    find_authorities((str(tmp_path),))
    assert dict(os.environ) == before


def test_python_itself_is_left_to_find_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    find_authorities((str(tmp_path),))
    assert "SSL_CERT_FILE" not in os.environ


def test_serve_warns_about_a_low_limit_of_open_files(tmp_path: Path):
    with Node(tmp_path, clickhouse="http://127.0.0.1:1", open_files=1_000) as node:
        node.wait_ready("/ready/ingest")
        text = node.log_path.read_text()
    assert "serve: at most 1000 open files per process, but server.connections_max is 20000; raise it" in text
