"""The systemd unit: hardened, true to what the product does, and the product runs under its filters.

Without systemd as process 1 its settings cannot be tried as a whole. What breaks programs are the seccomp
filters, and those `confine` applies as systemd would.
"""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nealytics.cli import COMMANDS, main
from nealytics.config import Config
from nealytics.observe.otel_settings import STOP_S
from nealytics.supervisor import ENGINE_STOP_TIMEOUT_S
from tests.build import confine
from tests.e2e.node import Node, program, token
from tests.engine import ask_engine, needs_engine
from tests.fakes.clickhouse import FakeClickHouse

BUILD = Path(__file__).parents[2] / "build"
UNIT = BUILD / "nealytics.service"
BACKUP = BUILD / "nealytics-backup.service"
SCORE_MAX = 1.5


def libseccomp_is_there() -> bool:
    try:
        confine.library()
    except OSError:
        return False
    return True


needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
needs_seccomp = pytest.mark.skipif(not libseccomp_is_there(), reason="libseccomp.so.2 is not installed")


def seconds(value: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+) ?(\w*)", value).groups()  # type: ignore[union-attr]
    return float(number) * {"": 1, "s": 1, "min": 60}[unit]


@pytest.fixture(params=["nealytics.service", "nealytics-backup.service", "nealytics-backup.timer"])
def installed(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The unit, beside the others, with a program that is there."""
    for unit in BUILD.glob("*.service"), BUILD.glob("*.timer"):
        for path in unit:
            text = path.read_text().replace("/usr/local/bin/nealytics", "/bin/true")
            (tmp_path / path.name).write_text(text)
    return tmp_path / request.param


@needs_systemd_analyze
def test_the_exposure_is_low(installed: Path):
    if installed.suffix == ".timer":
        return
    command = [
        "systemd-analyze",
        "security",
        "--no-pager",
        "--offline=yes",
        f"--threshold={SCORE_MAX * 10:.0f}",
    ]
    done = subprocess.run([*command, installed], capture_output=True, text=True)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze cannot look at a unit that is not installed; 250 can")
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


@needs_systemd_analyze
def test_systemd_understands_every_line(installed: Path):
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", installed], capture_output=True, text=True
    )
    assert [line for line in done.stderr.splitlines() if "nealytics" in line] == []


def test_it_starts_a_command_that_exists():
    (command,) = confine.settings(UNIT)["ExecStart"]
    assert command.split()[1] in COMMANDS


def test_the_backup_is_confined_as_the_node_is_and_is_its_user():
    """Sharing a dynamic user is the only way to read the node's files without being root."""
    node, backup = confine.settings(UNIT), confine.settings(BACKUP)
    own = {"Type", "User", "Nice", "IOSchedulingClass", "StateDirectory"}
    of_the_node = {"Type", "NotifyAccess", "Restart", "RestartSec", "OOMPolicy", "KillMode", "ExecReload"}
    of_the_node |= {"TimeoutStartSec", "TimeoutStopSec", "WatchdogSec", "StateDirectory"}
    commands = {"ExecStart", "ExecStartPre", "ExecStopPost"}
    assert {name: value for name, value in node.items() if name not in of_the_node | commands} == {
        name: value for name, value in backup.items() if name not in own | commands
    }
    assert backup["User"] == [UNIT.stem]
    (copied,) = backup["ExecStartPre"]
    assert [copied.replace("nealytics-backup-config", "nealytics-config")] == node["ExecStartPre"]
    # Both may write to the directory of the backups.
    drop_in = confine.settings(UNIT, BUILD / "nealytics-backup.conf")["StateDirectory"]
    assert " ".join(drop_in) == " ".join(backup["StateDirectory"])


def test_the_backup_runs_a_command_that_exists(tmp_path: Path):
    (command,) = confine.settings(BACKUP)["ExecStart"]
    arguments = command.replace("%S", str(tmp_path)).replace("%t", str(tmp_path)).split()[1:]
    name, _, rest = main.resolve_command(
        main.make_context("nealytics", [], resilient_parsing=True), arguments
    )
    assert name == "backup"
    assert isinstance(rest, list)
    context = COMMANDS["backup"].load().make_context("backup", rest)
    assert context.params["rotate"] is True
    assert context.params["keep_days"] == 30


def test_a_stop_is_given_the_time_that_it_may_take():
    """Workers: the drain, 5 s beyond it, and 5 s after SIGKILL; OTLP; the engine, and 5 s again."""
    longest_s = Config().server.shutdown_timeout_s + 5 + 5 + STOP_S + ENGINE_STOP_TIMEOUT_S + 5
    assert longest_s < seconds(confine.settings(UNIT)["TimeoutStopSec"][-1])


def test_a_node_that_cannot_start_is_tried_for_ever_and_not_in_haste():
    """`serve` ends with status 1 for whatever is wrong, so no status says what a retry may fix; and a
    node that was given up takes no events, long after its port is free or its disk is back."""
    section, _, _ = UNIT.read_text().partition("[Service]")
    assert re.findall(r"^StartLimit\w+=.*$", section, re.MULTILINE) == ["StartLimitIntervalSec=0"]
    service = confine.settings(UNIT)
    assert service["Restart"] == ["on-failure"]
    assert seconds(service["RestartSec"][-1]) >= 5


def start(node: Node) -> None:
    confined = [sys.executable, "-m", "tests.build.confine", str(UNIT), "--", *program()]
    with node.log_path.open("ab") as log:
        command = [*confined, "serve", "--config", str(node.config)]
        node.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=BUILD.parent)


def event(number: int) -> dict[str, Any]:
    return {"projectId": "shop", "tenantId": "acme", "sessionId": f"s-{number}", "eventType": "view"}


@pytest.mark.e2e
@needs_seccomp
@needs_systemd_analyze
async def test_the_server_runs_under_the_filters_of_the_unit(tmp_path: Path):
    async with FakeClickHouse() as fake:
        node = Node(tmp_path, clickhouse=fake.url, workers=2)

        def live() -> None:
            start(node)
            node.wait_ready()
            assert [node.post("track", event(n))[0] for n in range(10)] == [202] * 10
            node.wait_drained()
            assert node.kill_one("worker")
            node.wait_until(lambda: node.metric("nealytics_worker_starts_total") == 3, "it is restarted")
            assert node.stop() == 0

        try:
            await asyncio.to_thread(live)
        finally:
            node.kill()
        assert len(fake.rows) == 10


READS = (
    "telemetry/timeline", "telemetry/export", "analytics/sessions", "analytics/active", "analytics/summary",
    "analytics/properties", "analytics/timeseries?interval=day&groupBy=meta:a", "analytics/top?by=userId",
    "analytics/funnel?step=view&step=view", "analytics/retention", "analytics/paths?event=view",
)  # fmt: skip


@pytest.mark.e2e
@pytest.mark.engine
@needs_engine
@needs_seccomp
@needs_systemd_analyze
def test_the_embedded_engine_runs_under_the_filters_of_the_unit(tmp_path: Path):
    """ClickHouse compiles an expression that it has seen three times, unless that is disabled."""
    assert confine.settings(UNIT)["MemoryDenyWriteExecute"] == ["yes"]
    node = Node(tmp_path)
    try:
        start(node)
        node.wait_ready()
        headers = {"Authorization": f"Bearer {token('shop', 'acme')}"}
        for number in range(6):
            assert node.post("batch", [event(number * 10 + n) for n in range(10)])[0] == 202
            node.wait_drained()
            for path in READS:
                status, body = node.request("GET", f"/api/v1/{path}", headers=headers)
                assert status == 200, (path, number, body)
        # What runs in the background has no query's settings.
        table = "nealytics_core.global_events"
        update = f"ALTER TABLE {table} UPDATE item_id = concat('a', session_id) WHERE user_id IS NULL"
        for statement in [f"{update} SETTINGS mutations_sync = 1"] * 5:
            assert ask_engine(tmp_path / "data", statement).body == b""
        assert node.stop() == 0
        assert "CANNOT_MPROTECT" not in node.log_path.read_text()
    finally:
        node.kill()


def settings(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_a_reload_copies_the_configuration_as_a_start_does_and_then_signals():
    copies, signals = settings("ExecReload")
    assert [copies] == settings("ExecStartPre")
    assert signals == "/bin/kill -HUP $MAINPID"


def test_the_copy_of_the_configuration_belongs_to_the_service_and_replaces_the_one_before(tmp_path: Path):
    """The unit's own command, with its directories elsewhere."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "state" / "nealytics").mkdir(parents=True)
    file = tmp_path / "etc" / "nealytics.toml"
    command = settings("ExecStartPre")[0]
    shell, option, script = re.fullmatch(r"\+(\S+) (-ec) '(.*)'", command).groups()  # type: ignore[union-attr]
    places = {"%t": tmp_path / "run", "%S": tmp_path / "state", "/etc/nealytics": tmp_path / "etc"}
    for name, place in places.items():
        script = script.replace(name, str(place))
    (tmp_path / "run").mkdir()
    for text in ("first", "second"):
        file.write_text(text)
        subprocess.run([shell, option, script.replace("$$", "$").replace("%%", "%")], check=True)
        copy = tmp_path / "run" / "nealytics-config" / "nealytics.toml"
        assert copy.read_text() == text
        assert copy.stat().st_mode & 0o777 == 0o400
        assert copy.stat().st_uid == (tmp_path / "state" / "nealytics").stat().st_uid
    assert str(copy).replace(str(tmp_path / "run"), "%t") in settings("ExecStart")[0]
