import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from nealytics import process
from nealytics.process import (
    ALIVE,
    beat,
    find_authorities,
    give_back_pages,
    self_command,
    without_authorities,
)
from tests.e2e.node import Node
from tests.waiting import until

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
    until(lambda: gone(pid), "the child ends with its parent", timeout_s=40)  # by itself after 60


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


# Forks a copy with one of two pipes, and prints what the copy wrote and how it ended.
FORKING = """
import asyncio, os, sys
from nealytics.process import fork
wanted, unwanted = os.pipe(), os.pipe()
def main():
    sid = os.getsid(0) == os.getpid()
    numbers = map(int, os.listdir("/proc/self/fd"))
    opened = [fd for fd in numbers if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}")]
    os.write(wanted[1], f"{sid} {opened == [wanted[1]]} {os.read(0, 1)}".encode())
    %s
copy = fork(main, {wanted[1]})
print(os.read(wanted[0], 100).decode(), asyncio.run(copy.wait()), copy.returncode)
"""


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("pass", 0),
        ("sys.exit(78)", 78),
        ("sys.exit('a message')", 1),
        ("raise ValueError", 1),
        ("os.kill(os.getpid(), 9)", -9),
    ],
)
def test_a_copy_has_its_own_session_and_files_and_an_exit_status(end: str, status: int):
    done = subprocess.run(
        [sys.executable, "-c", FORKING % end], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == f"True True b'' {status} {status}\n", done.stderr


def test_a_copy_does_not_run_what_its_parent_does_at_the_end():
    source = f"import atexit\natexit.register(print, 'the end')\n{FORKING % 'pass'}"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.count("the end") == 1


def test_aiohttp_loads_without_reading_the_authorities(monkeypatch: pytest.MonkeyPatch):
    for before in ("/some/file.pem", None):
        if before is None:
            monkeypatch.delenv("SSL_CERT_FILE")
        else:
            monkeypatch.setenv("SSL_CERT_FILE", before)
        with without_authorities():
            assert ssl.create_default_context().cert_store_stats()["x509"] == 0
        assert os.environ.get("SSL_CERT_FILE") == before


def test_a_process_has_the_name_of_its_role():
    source = "from nealytics.process import name_process; name_process('worker 0'); print(open('{}').read())"
    command = [sys.executable, "-c", source.format("/proc/self/comm")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "worker 0"


GIVING_BACK = """
import json, re, sys, unicodedata
from pathlib import Path
from nealytics.process import give_back_pages

def resident_kb():
    found, path = {}, ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-", line):
            path = line.split(maxsplit=5)[-1]
        elif line.startswith("Rss:"):
            found[path] = found.get(path, 0) + int(line.split()[1])
    return found

largest = max((item for item in resident_kb().items() if item[0].startswith("/")), key=lambda item: item[1])
give_back_pages(largest[0])
print(json.dumps([largest[1], resident_kb()[largest[0]], unicodedata.name("a"), sorted([2, 1])]))
"""


def test_pages_of_the_program_are_given_back_and_come_again():
    ran = subprocess.run([sys.executable, "-c", GIVING_BACK], capture_output=True, check=True)
    before, after, *worked = json.loads(ran.stdout)
    assert after < before * 0.9
    assert worked == ["LATIN SMALL LETTER A", [1, 2]]


def test_pages_are_kept_where_the_kernel_does_not_list_them(monkeypatch):
    def missing(path, **_):
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", missing)
    give_back_pages(sys.executable)
