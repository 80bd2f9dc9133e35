"""What can be seen of the supervisor without a whole node; tests/e2e has the rest."""

import asyncio
import errno
import fcntl
import logging
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nealytics.config import Config, load
from nealytics.errors import ConfigError
from nealytics.supervisor import Supervisor, open_listeners
from tests.e2e.node import descendants
from tests.waiting import until_async


def close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_is_taken_is_an_error_that_names_it(workers: int):
    """Also with several workers, whose sockets share a port: another program's port is not shared."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            ConfigError, match=f"server.listen is '{listen}', and listening there failed: .*in use"
        ):
            open_listeners(listen, workers)


def test_a_second_node_does_not_share_the_first_ones_port():
    first = open_listeners("127.0.0.1:0", 2)
    try:
        with pytest.raises(ConfigError, match="in use"):
            open_listeners(f"127.0.0.1:{first[0].getsockname()[1]}", 2)
    finally:
        close(first)


def test_each_worker_gets_a_socket_on_the_same_port():
    sockets = open_listeners("127.0.0.1:0", 3)
    try:
        assert len({sock.getsockname() for sock in sockets}) == 1
        assert len({sock.fileno() for sock in sockets}) == 3
    finally:
        close(sockets)


def test_ipv6_addresses_are_listened_on():
    try:
        sockets = open_listeners("[::1]:0", 1)
    except ConfigError as error:
        if "Cannot assign" in str(error) or "not supported" in str(error):
            pytest.skip("this machine has no IPv6 loopback")
        raise
    try:
        assert sockets[0].family == socket.AF_INET6
    finally:
        close(sockets)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(ConfigError, match=r"203\.0\.113\.7:5000"):
        open_listeners("203.0.113.7:5000", 1)


async def test_a_worker_that_hangs_is_killed_and_started_again(tmp_path: Path):
    """SIGSTOP is what a stuck loop looks like from outside: alive, and silent."""
    config = node_config(tmp_path)
    others = set(descendants(os.getpid()))  # such as the engine that many tests share
    running = asyncio.create_task(Supervisor(config, silence_max_s=2.0).run())
    try:
        async with asyncio.timeout(90):
            hung = await a_child_beside(others)
            os.kill(hung, signal.SIGSTOP)
            await until_async(lambda: hung not in descendants(os.getpid()))
            await a_child_beside(others)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0


async def test_a_supervisor_that_stood_still_kills_nobody_for_its_own_silence(tmp_path: Path):
    """As on a machine that was paused: when it goes on, what workers said meanwhile is there to be read."""
    others = set(descendants(os.getpid()))
    supervisor = Supervisor(node_config(tmp_path), silence_max_s=5.5)
    running = asyncio.create_task(supervisor.run())
    try:
        async with asyncio.timeout(90):
            worker = await a_child_beside(others)
            await supervisor._children[0].ready.wait()
            for _ in range(2):
                time.sleep(6)  # noqa: ASYNC251 - the event loop must stall
                await asyncio.sleep(0.5)
                assert await a_child_beside(others) == worker
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0


async def test_a_worker_that_waits_for_its_log_is_not_taken_for_one_that_hangs(tmp_path: Path):
    config = node_config(tmp_path)
    directory = tmp_path / "wal" / "0"
    directory.mkdir(parents=True)
    others = set(descendants(os.getpid()))
    with (directory / "LOCK").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        supervisor = Supervisor(config)
        running = asyncio.create_task(supervisor.run())
        try:
            async with asyncio.timeout(90):
                waiting = await a_child_beside(others)
                (worker,) = supervisor._children
                # It is heard again and again, so however long it waits, it is never silent for long.
                heard = {worker.heard_at}

                def is_heard_often() -> bool:
                    heard.add(worker.heard_at)
                    return len(heard) >= 4

                await until_async(is_heard_often)
                assert not worker.ready.is_set()
                assert await a_child_beside(others) == waiting
                fcntl.flock(lock, fcntl.LOCK_UN)
                await worker.ready.wait()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            assert await running == 0


async def test_a_child_that_is_being_started_is_stopped_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    start = asyncio.create_subprocess_exec

    async def start_slowly(*args: Any, **kwargs: Any) -> asyncio.subprocess.Process:
        process = await start(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.2)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_slowly)
    config = node_config(tmp_path)
    patient = msgspec.structs.replace(config.server, shutdown_timeout_s=600)
    async with asyncio.timeout(100):  # not as long as a worker may take to drain
        assert await Supervisor(msgspec.structs.replace(config, server=patient)).run() == 0


async def test_a_child_that_cannot_be_started_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pair, failures = socket.socketpair, [OSError(errno.ENFILE, "no descriptor"), RuntimeError("no thread")]

    def scarce_pair() -> tuple[socket.socket, socket.socket]:
        if failures:
            raise failures.pop()
        return pair()

    others = set(descendants(os.getpid()))
    monkeypatch.setattr("nealytics.supervisor.socket.socketpair", scarce_pair)
    running = asyncio.create_task(Supervisor(node_config(tmp_path)).run())
    try:
        async with asyncio.timeout(90):
            await a_child_beside(others)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0


async def test_a_child_that_cannot_be_forked_is_started_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def no_process(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "no process")

    others = set(descendants(os.getpid()))
    monkeypatch.setattr("nealytics.supervisor.fork", no_process)
    supervisor = Supervisor(node_config(tmp_path))
    supervisor.open()
    supervisor.fork(lambda _: None, lambda _: None)
    running = asyncio.create_task(supervisor.run())
    try:
        async with asyncio.timeout(90):
            await a_child_beside(others)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0


def node_config(directory: Path) -> Config:
    return load(
        environ={
            "NEALYTICS_SERVER_LISTEN": "127.0.0.1:0",
            "NEALYTICS_SERVER_DATA_DIR": str(directory),
            "NEALYTICS_WAL_ALLOW_ANY_FILESYSTEM": "true",
            "NEALYTICS_CLICKHOUSE_URL": "http://127.0.0.1:1",
            "NEALYTICS_AUTH_JWT_KEY": "k" * 32,
        }
    )


async def a_child_beside(others: set[int]) -> int:
    return (await until_async(lambda: set(descendants(os.getpid())) - others)).pop()


def test_a_new_data_directory_is_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Once: not by each worker, and not by a start that finds it."""
    data = tmp_path / "data"
    caplog.set_level(logging.INFO)
    for creates in (True, False):
        caplog.clear()
        supervisor = Supervisor(_without_engine(data))
        supervisor.open()
        close(supervisor._sockets)
        said = [record.getMessage() for record in caplog.records]
        told = f"serve: creates server.data_dir {data}; if this node has run before, correct the path"
        assert (told in said) == creates
        data.mkdir(exist_ok=True)


async def test_a_node_that_ends_by_an_error_of_its_own_has_a_failure_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A service manager starts again what failed, and leaves down what ended well."""

    async def fails(self: Supervisor, child: object) -> int:
        raise ValueError("a thing that cannot happen")

    monkeypatch.setattr(Supervisor, "_run_once", fails)
    assert await asyncio.wait_for(Supervisor(_without_engine(tmp_path)).run(), 60) == 1


def _without_engine(data_dir: Path) -> Config:
    return msgspec.structs.replace(
        Config(),
        server=msgspec.structs.replace(Config().server, listen="127.0.0.1:0", data_dir=data_dir),
        clickhouse=msgspec.structs.replace(Config().clickhouse, url="http://127.0.0.1:9"),
    )
