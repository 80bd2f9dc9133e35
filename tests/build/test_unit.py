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

from nealytics.cli import COMMANDS
from nealytics.config import Config
from nealytics.supervisor import ENGINE_STOP_TIMEOUT_S
from tests.build import confine
from tests.e2e.node import Node, program, token
from tests.engine import needs_engine
from tests.fakes.clickhouse import FakeClickHouse

BUILD = Path(__file__).parents[2] / "build"
UNIT = BUILD / "nealytics.service"
DROP_IN = BUILD / "nealytics-embedded.conf"
FLAVOURS = [pytest.param([UNIT], id="server"), pytest.param([UNIT, DROP_IN], id="embedded")]
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


def merged(files: list[Path], directory: Path) -> Path:
    """One unit of a unit and its drop-ins, with a program that is there."""
    text = "\n".join(file.read_text() for file in files)
    unit = directory / "nealytics.service"
    unit.write_text(text.replace("/usr/local/bin/nealytics", "/bin/true"))
    return unit


@needs_systemd_analyze
@pytest.mark.parametrize("files", FLAVOURS)
def test_the_exposure_is_low(files: list[Path], tmp_path: Path):
    command = [
        "systemd-analyze",
        "security",
        "--no-pager",
        "--offline=yes",
        f"--threshold={SCORE_MAX * 10:.0f}",
    ]
    done = subprocess.run([*command, merged(files, tmp_path)], capture_output=True, text=True)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze cannot look at a unit that is not installed; 250 can")
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


@needs_systemd_analyze
@pytest.mark.parametrize("files", FLAVOURS)
def test_systemd_understands_every_line(files: list[Path], tmp_path: Path):
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", merged(files, tmp_path)], capture_output=True, text=True
    )
    assert [line for line in done.stderr.splitlines() if "nealytics" in line] == []


def test_it_starts_a_command_that_exists():
    (command,) = confine.settings(UNIT)["ExecStart"]
    assert command.split()[1] in COMMANDS


def test_a_stop_is_given_the_time_that_it_may_take():
    """Workers: the drain, 5 s beyond it, and 5 s after SIGKILL; then the engine, and 5 s again."""
    longest_s = Config().server.shutdown_timeout_s + 5 + 5 + ENGINE_STOP_TIMEOUT_S + 5
    assert longest_s < seconds(confine.settings(UNIT)["TimeoutStopSec"][-1])


def test_a_node_that_cannot_start_is_not_tried_for_ever():
    """`serve` ends with status 1 for whatever is wrong, so no status tells what another try may mend."""
    every_s = seconds(confine.settings(UNIT)["RestartSec"][-1])
    text = UNIT.read_text()
    within_s, tries = (
        int(re.findall(rf"^{key}=(\d+)$", text, re.MULTILINE)[0])
        for key in ("StartLimitIntervalSec", "StartLimitBurst")
    )
    # A start takes some seconds itself before it fails.
    assert tries * (every_s + 10) < within_s


def confined(files: list[Path]) -> list[str]:
    return [sys.executable, "-m", "tests.build.confine", *map(str, files), "--", *program()]


def start(node: Node, files: list[Path]) -> None:
    with node.log_path.open("ab") as log:
        command = [*confined(files), "serve", "--config", str(node.config)]
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
            start(node, [UNIT])
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


def ask_until_compiled(node: Node) -> list[int]:
    """The engine compiles an expression that it met three times before."""
    node.wait_ready()
    assert [node.post("track", event(n))[0] for n in range(3)] == [202] * 3
    node.wait_drained()
    headers = {"Authorization": f"Bearer {token('shop', 'acme')}"}
    return [node.request("GET", "/api/v1/analytics/sessions?limit=10", headers=headers)[0] for _ in range(8)]


@pytest.mark.e2e
@pytest.mark.engine
@needs_engine
@needs_seccomp
@needs_systemd_analyze
def test_the_embedded_engine_runs_under_the_filters_of_unit_and_drop_in(tmp_path: Path):
    node = Node(tmp_path)
    try:
        start(node, [UNIT, DROP_IN])
        assert ask_until_compiled(node) == [200] * 8
        assert node.stop() == 0
    finally:
        node.kill()


@pytest.mark.e2e
@pytest.mark.engine
@needs_engine
@needs_seccomp
@needs_systemd_analyze
def test_the_embedded_engine_needs_the_drop_in(tmp_path: Path):
    """If this fails, the exception in the drop-in is needed no more."""
    node = Node(tmp_path)
    try:
        start(node, [UNIT])
        assert 500 in ask_until_compiled(node)
        assert "CANNOT_MPROTECT" in node.log_path.read_text()
    finally:
        node.kill()
