"""The commands of the documents, run as they stand, in a shell, against a node that `nealytics init` set up.

What differs from a reader's machine: the node has another port than 5000, and the host `clickhouse` is a
second engine. curl fails on an error of HTTP, which it does not by itself; a stream that has no end is
left after a moment; `nealytics serve` is stopped once it answers.
"""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nealytics.clickhouse.schema import create_statements
from tests.docs_commands import ROOT, Block, blocks
from tests.e2e.node import free_port, program
from tests.engine import needs_engine, start_engine
from tests.waiting import until, while_running

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.engine,
    needs_engine,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is needed, as it is by the documents"),
]

_CURL = """#!/bin/sh
case "$*" in
*/telemetry/live*)
    {curl} --fail-with-body -sS --max-time 2 "$@"
    status=$?
    [ $status = 28 ] && exit 0
    exit $status
    ;;
esac
case " $*" in
*" -f"*) exec {curl} "$@" ;;
*) exec {curl} --fail-with-body -sS "$@" ;;
esac
"""

_NEALYTICS = """#!{python}
import os, signal, subprocess, sys, time, urllib.error, urllib.request
command = {program!r} + sys.argv[1:]
if sys.argv[1:2] != ["serve"]:
    os.execvp(command[0], command)
process = subprocess.Popen(command)
url = "http://" + os.environ["NEALYTICS_SERVER_LISTEN"] + "/ready"
while process.poll() is None:
    try:
        urllib.request.urlopen(url, timeout=5)
        break
    except (OSError, urllib.error.URLError):
        time.sleep(0.1)
process.send_signal(signal.SIGTERM)
sys.exit(process.wait())
"""


EVENTS = 10  # of the files below that are there before any document's command is run


class Machine(NamedTuple):
    home: Path
    environ: dict[str, str]
    listen: str
    clickhouse: str

    def run(
        self, text: str, directory: Path | None = None, **environ: str
    ) -> "subprocess.CompletedProcess[str]":
        text = text.replace("localhost:5000", self.listen).replace("http://clickhouse:8123", self.clickhouse)
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=directory or self.home,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    home = tmp_path_factory.mktemp("home")
    bin_directory = tmp_path_factory.mktemp("bin")
    for name, script in (
        ("curl", _CURL.format(curl=shutil.which("curl"))),
        ("nealytics", _NEALYTICS.format(python=sys.executable, program=program())),
    ):
        (bin_directory / name).write_text(script)
        (bin_directory / name).chmod(0o755)
    listen = f"127.0.0.1:{free_port()}"
    server = start_engine(tmp_path_factory.mktemp("clickhouse"))
    environ = {
        **os.environ,
        "PATH": f"{bin_directory}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "NEALYTICS_SERVER_LISTEN": listen,
        "NEALYTICS_WAL_ALLOW_ANY_FILESYSTEM": "true",
        "NEALYTICS_COMMIT_FLUSH_INTERVAL_S": "0.2",
        "NEALYTICS_CLICKHOUSE_RETENTION_DAYS": "0",
        "USER": server.user,
        "PASSWORD": server.password,
    }
    machine = Machine(home, environ, listen, server.url)
    made = machine.run("nealytics init")
    assert made.returncode == 0, made.stderr
    log = (home / "log").open("w")

    def serve() -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([*program(), "serve"], cwd=home, env=environ, stdout=log, stderr=log)
        for path in ("/health", "/ready"):
            until(
                lambda: is_ok(f"http://{listen}{path}"),  # noqa: B023
                timeout_s=120,
                pause=while_running(process, home / "log"),
                errors=(OSError,),
                more=(home / "log").read_text,
            )
        return process

    with server:
        for sql in create_statements("nealytics_core", 0):
            assert server.request("POST", "/", sql.encode()).status == 200
        process = serve()
        try:
            files(machine)
            for name, command in (
                ("KEY", "sed -n 's/^key = \"\\(.*\\)\"/\\1/p' nealytics.toml"),
                ("TOKEN", "nealytics token --project my-app --tenant tenant-1"),
            ):
                environ[name] = machine.run(command).stdout.strip()
                assert environ[name], name
            first = machine.run("nealytics import events.ndjson --state first.state")
            assert first.returncode == 0, first.stderr
            assert machine.run("nealytics export all.native.zst").returncode == 0
            shutil.copy(home / "all.native.zst", home / "first.native.zst")
            # The data of a node that is gone.
            process.send_signal(signal.SIGTERM)
            assert process.wait(90) == 0
            shutil.copytree(home / "data" / "clickhouse", home / "old" / "clickhouse", symlinks=True)
            process = serve()
            yield machine
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(90)
            log.close()


def is_ok(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=5):
        return True


def files(machine: Machine) -> None:
    """Those that the documents speak of."""
    event = {"projectId": "my-app", "tenantId": "tenant-1", "sessionId": "s", "eventType": "page_view"}
    lines = "".join(json.dumps({**event, "itemId": f"/{n}"}) + "\n" for n in range(EVENTS))
    (machine.home / "events.ndjson").write_text(lines)
    rows = "user_id,session_id,event,timestamp,plan\nada,s1,view,2026-01-02T03:04:05Z,pro\n"
    for preset in ("segment", "posthog", "plausible", "ga4"):
        shutil.copy(ROOT / f"tests/importer/shapes/{preset}.ndjson", machine.home)
    shutil.copy(machine.home / "segment.ndjson", machine.home / "rudderstack.ndjson")
    for name in ("visits.csv.gz", "clicks.csv.gz"):
        (machine.home / name).write_bytes(gzip.compress(rows.encode()))


@pytest.mark.parametrize("block", [block for block in blocks() if block.not_run is None], ids=str)
def test_the_commands_of_a_document_do_what_they_are_shown_for(
    machine: Machine, block: Block, tmp_path: Path
):
    environ = {}
    if block.wants_empty_directory:
        environ["NEALYTICS_SERVER_LISTEN"] = f"127.0.0.1:{free_port()}"
    done = machine.run(block.text, tmp_path if block.wants_empty_directory else None, **environ)
    told = f"{block}\n{block.text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert done.returncode == 0, told


@pytest.mark.parametrize("block", [block for block in blocks() if "INSERT+INTO" in block.text], ids=str)
def test_what_is_inserted_by_a_command_is_all_that_was_exported(machine: Machine, block: Block):
    """The line for a restore was a 404."""
    table = "nealytics_core.global_events"
    environ: dict[str, Any] = {}
    ask = 'curl -fsS -u "$USER:$PASSWORD" http://clickhouse:8123/ --data-binary'
    if "nealytics engine" in block.text:
        # It is for a node that is stopped.
        environ["NEALYTICS_SERVER_DATA_DIR"] = str(machine.home / "old")
        ask = (
            """nealytics engine sh -c 'curl -fsS -u "$CLICKHOUSE_USER:$CLICKHOUSE_PASSWORD" """
            """"$CLICKHOUSE_URL" --data-binary "$0"'"""
        )
    # Other commands have sent more events meanwhile, and one of them has exported those.
    shutil.copy(machine.home / "first.native.zst", machine.home / "all.native.zst")
    emptied = machine.run(f"{ask} 'TRUNCATE TABLE {table}'", **environ)
    assert emptied.returncode == 0, emptied.stderr
    done = machine.run(block.text, **environ)
    assert done.returncode == 0, done.stderr
    assert machine.run(f"{ask} 'SELECT count() FROM {table} FINAL'", **environ).stdout == f"{EVENTS}\n"
