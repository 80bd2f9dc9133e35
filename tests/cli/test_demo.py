"""`demo` and `dashboard`: links to pages, and a project to see on them, through a whole node."""

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from nealytics import demo
from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.scope import Scope
from nealytics.cli import demo as demo_command
from nealytics.cli import main
from nealytics.config import AuthConfig, IngestConfig
from nealytics.event import Limits
from tests.e2e.node import JWT_KEY, Node, program
from tests.engine import needs_engine
from tests.ports import free_port


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def dashboard(*arguments: str, **environ: str) -> Result:
    environ = {"NEALYTICS_AUTH_JWT_KEY": JWT_KEY, **environ}
    return CliRunner().invoke(main, ["dashboard", *arguments], env=environ)


def opened(link: str) -> tuple[Scope, dict[str, Any]]:
    """What the link opens, and its parameters."""
    parts = urlsplit(link)
    token = parts.fragment.removeprefix("token=")
    assert parts.path == "/embed"
    assert token not in parts.query
    return TokenVerifier(AuthConfig(jwt_key=JWT_KEY)).scope_of(f"Bearer {token}"), parse_qs(parts.query)


def test_the_link_opens_the_tenant_for_an_hour():
    result = dashboard("--project", "my-app", "--tenant", "café", "--funnel", "a,b")
    assert (result.exit_code, result.stderr) == (0, "")
    scope, parameters = opened(result.stdout.strip())
    assert (scope.project_id, scope.tenant_id, parameters) == ("my-app", "café", {"funnel": ["a,b"]})
    assert scope.expires_at_s is not None
    assert 3_500 < scope.expires_at_s - time.time() < 3_700  # the clock skew adds some seconds


def test_without_a_tenant_the_link_opens_the_whole_project():
    result = dashboard("--project", "my-app", "--url", "https://analytics.example.com/")
    assert result.stdout.startswith("https://analytics.example.com/embed#token=")
    assert opened(result.stdout.strip())[0].tenant_id is None


def test_a_fixed_project_need_not_be_named():
    result = dashboard("--tenant", "acme", NEALYTICS_AUTH_PROJECT="only")
    assert opened(result.stdout.strip())[0].project_id == "only"


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        ([], {}, "Give --project: the project that it shows."),
        (["--project", " "], {}, "write 1 to"),
        (["--project", "a", "--tenant", "x" * 2_000], {}, "write 1 to"),
        (["--project", "a"], {"NEALYTICS_AUTH_PROJECT": "b"}, 'auth.project is "b"'),
        (["--project", "a"], {"NEALYTICS_AUTH_JWT_KEY": ""}, "auth.jwt_key is not set"),
        (["--project", "a"], {"NEALYTICS_WEB_PAGES": "false"}, "web.pages is false"),
    ],
)
def test_a_link_that_would_not_work_is_not_printed(
    arguments: list[str], environ: dict[str, str], message: str
):
    result = dashboard(*arguments, **environ)
    assert result.exit_code != 0
    assert result.stdout == ""
    assert message in result.stderr


def test_demo_without_a_node_says_what_to_do():
    url = f"http://127.0.0.1:{free_port()}"
    environ = {"NEALYTICS_AUTH_JWT_KEY": JWT_KEY}
    result = CliRunner().invoke(main, ["demo", "--url", url, "--key", "k"], env=environ)
    assert result.exit_code == 1
    assert f"demo: {url} does not answer" in result.stderr
    assert "start the node, or give its address with --url" in result.stderr


@pytest.mark.parametrize(
    ("retention_days", "began_days_ago", "days"),
    [(90, 95, 90), (30, None, 30), (0, 65, 66)],
)
def test_events_that_are_older_than_the_retention_are_left_out(
    monkeypatch: pytest.MonkeyPatch, retention_days: int, began_days_ago: int | None, days: int
):
    """The node refuses them: the demo could not be continued any more, or not begin."""
    now = datetime(2026, 11, 29, 21, 30, tzinfo=UTC)
    sent: list[dict[str, Any]] = []
    awaited: list[tuple[date, int]] = []

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return now

    async def first_day(_: object) -> date | None:
        return None if began_days_ago is None else now.date() - timedelta(days=began_days_ago)

    async def send(_session: object, _url: str, _key: str, events: list[dict[str, Any]]) -> None:
        sent.extend(events)

    async def wait(_: object, oldest: date, _now: datetime, count: int) -> None:
        awaited.append((oldest, count))

    monkeypatch.setattr(demo_command, "datetime", Clock)
    monkeypatch.setattr(demo_command._Node, "first_day", first_day)
    monkeypatch.setattr(demo_command._Node, "wait_until_readable", wait)
    monkeypatch.setattr(demo_command, "_send", send)
    environ = {
        "NEALYTICS_AUTH_JWT_KEY": JWT_KEY,
        "NEALYTICS_CLICKHOUSE_RETENTION_DAYS": str(retention_days),
    }
    result = CliRunner().invoke(main, ["demo", "--key", "k"], env=environ)
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"has {len(sent):,} events of {days} days" in result.stdout
    limits = Limits.of(IngestConfig(), retention_days)
    oldest_ms = limits.oldest_ms(int(now.timestamp() * 1000) + 60_000)  # sending takes time
    stamps = [datetime.fromisoformat(event["timestamp"]) for event in sent]
    assert min(stamps).timestamp() * 1000 >= oldest_ms
    assert awaited == [(min(stamps).date(), len(sent))]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("demo")) as node:
        node.wait_ready()
        yield node


def run_demo(node: Node, *options: str) -> list[str]:
    command = [*program(), "demo", "--config", str(node.config), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.e2e
@pytest.mark.engine
@pytest.mark.timeout(600)
@needs_engine
def test_demo_fills_a_project_once_however_often_it_runs(node: Node, tmp_path: Path):
    lines = run_demo(node)
    links = [line for line in lines if line.startswith(node.url)]
    assert [opened(link)[0].tenant_id for link in links] == ["acme", None]
    assert opened(links[0])[1] == {"funnel": [",".join(demo.FUNNEL)]}
    counts = {tenant.tenant_id: counted(node, tenant.tenant_id) for tenant in demo.TENANTS}
    assert f"has {sum(counts.values()):,} events of 60 days" in lines[0]
    assert 38_000 < sum(counts.values()) < 42_000
    assert all(counts.values())
    again = run_demo(node)
    added = sum(counted(node, tenant) for tenant in counts) - sum(counts.values())
    assert 0 <= added < 200  # what has happened since
    assert again[0].endswith("Its pages, for 12 hours:")


def counted(node: Node, tenant: str) -> int:
    path = "/api/v1/analytics/summary?from=2020-01-01"
    return int(node.read(path, project_id=demo.PROJECT, tenant_id=tenant)["events"])
