"""Counting and deleting expired events, in a real engine."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.schema import create_statements
from nealytics.clickhouse.sql import quoted
from nealytics.clickhouse.table_state import last_deletion_ms
from nealytics.config import ClickHouseConfig, RetentionRule
from nealytics.errors import NealyticsError
from nealytics.expiry import run
from nealytics.expiry.promise import (
    PROMISED,
    LastRun,
    expired_by_rules,
    read_last_run,
    read_promised,
    write_last_run,
    write_promised,
)
from nealytics.retention import Rules
from nealytics.timestamps import DAY_MS
from tests.engine import RunningEngine, needs_engine, start_engine

pytestmark = [needs_engine, pytest.mark.engine]

RULES = (
    RetentionRule(project="shop", days=30),
    RetentionRule(project="shop", tenant="long", days=0),
    RetentionRule(project="shop", event_type="beat", days=3),
    RetentionRule(project="shop", tenant="it's", event_type="beat", days=10),
)
# (project, tenant, type, days ago)
EVENTS = [
    *(("shop", "t", "view", days) for days in (1, 29, 31, 400)),
    *(("shop", "t", "beat", days) for days in (1, 4)),
    *(("shop", "it's", "beat", days) for days in (4, 11)),
    ("shop", "long", "beat", 500),
    ("other", "t", "view", 500),
]
KEPT = sorted(
    [
        *(("shop", "t", "view", 1), ("shop", "t", "view", 29), ("shop", "t", "beat", 1)),
        *(("shop", "it's", "beat", 4), ("shop", "long", "beat", 500), ("other", "t", "view", 500)),
    ]
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with start_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


class Place:
    def __init__(self, client: ClickHouseClient, config: ClickHouseConfig, data_dir: Path) -> None:
        self.client, self.config, self.data_dir = client, config, data_dir

    async def observe(self, *rules: RetentionRule) -> list[str]:
        await run.observe(self.data_dir, rules)
        return await run.waiting(self.data_dir, rules)

    async def state(self, *rules: RetentionRule, project: str | None = None) -> run.RetentionState:
        return await run.state(self.client, self.config, self.data_dir, rules, project)

    async def run_now(self, *rules: RetentionRule) -> None:
        """A daily run, and the end of its mutation."""
        (self.data_dir / "retention-run.json").unlink(missing_ok=True)
        await run.run_if_due(self.client, self.config, self.data_dir, rules)
        while await run._is_deleting(self.client, self.config):
            pass

    async def stored(self) -> list[tuple[str, str, str, int]]:
        answer = await self.client.command(
            "SELECT project_id, tenant_id, event_type, dateDiff('hour', timestamp, now64(3)) "
            f"FROM {self.config.database}.global_events FORMAT JSONCompactEachRow"
        )
        rows = [msgspec.json.decode(line) for line in answer.splitlines()]
        return sorted((project, tenant, kind, int(hours) // 24) for project, tenant, kind, hours in rows)


@asynccontextmanager
async def place(engine: RunningEngine, tmp_path: Path) -> AsyncIterator[Place]:
    config = msgspec.structs.replace(engine.config.clickhouse, database=f"kept_{time.time_ns()}")
    endpoint = msgspec.structs.replace(engine.endpoint, database=config.database)
    async with ClickHouseClient(endpoint, config) as client:
        for sql in create_statements(config.database, 0):
            await client.command(sql)
        values = ", ".join(
            f"(generateUUIDv4(), {quoted(project)}, {quoted(tenant)}, 's', {quoted(kind)}, "
            f"now64(3) - toIntervalDay({days}) - toIntervalMinute(5))"
            for project, tenant, kind, days in EVENTS
        )
        await client.command(
            f"INSERT INTO {config.database}.global_events "
            f"(event_id, project_id, tenant_id, session_id, event_type, timestamp) VALUES {values}"
        )
        yield Place(client, config, tmp_path)


async def test_rules_that_nobody_applied_delete_nothing(engine: RunningEngine, tmp_path: Path):
    async with place(engine, tmp_path) as here:
        waiting = await here.observe(*RULES)
        assert len(waiting) == 4 - 1 + 1  # all but days = 0, and where tenant and type cross
        assert "`nealytics retention apply`" in waiting[0]
        await here.run_now(*RULES)
        assert len(await here.stored()) == len(EVENTS)
        state = await here.state(*RULES)
        assert [rule.next_run.events for rule in state.rules] == [0, 0, 0, 0]
        assert [rule.kept.events for rule in state.rules] == [4, 1, 2, 2]
        assert [rule.after_apply.events for rule in state.rules] == [2, 0, 1, 1]
        assert state.rules[0].after_apply.oldest == state.rules[0].kept.oldest


async def test_apply_deletes_what_the_most_specific_rule_does_not_keep(engine: RunningEngine, tmp_path: Path):
    async with place(engine, tmp_path) as here:
        assert await run.apply(here.client, here.config, here.data_dir, RULES) == 4
        assert await here.stored() == KEPT
        assert await here.observe(*RULES) == []
        assert read_last_run(tmp_path).events == 4


async def test_a_daily_run_deletes_what_expired_since(engine: RunningEngine, tmp_path: Path):
    async with place(engine, tmp_path) as here:
        await run.apply(here.client, here.config, here.data_dir, [RetentionRule(project="shop", days=1000)])
        await run.apply(here.client, here.config, here.data_dir, RULES)
        await here.client.command(
            f"INSERT INTO {here.config.database}.global_events "
            "(event_id, project_id, tenant_id, session_id, event_type, timestamp) "
            "VALUES (generateUUIDv4(), 'shop', 't', 's', 'view', now64(3) - toIntervalDay(40))"
        )
        await run.run_if_due(here.client, here.config, here.data_dir, RULES)  # ran less than a day ago
        assert len(await here.stored()) == len(KEPT) + 1
        await here.run_now(*RULES)
        assert await here.stored() == KEPT
        assert read_last_run(tmp_path).events == 1


async def test_a_shorter_rule_waits_and_the_former_one_still_deletes(engine: RunningEngine, tmp_path: Path):
    former, shorter = RetentionRule(project="shop", days=300), RetentionRule(project="shop", days=2)
    async with place(engine, tmp_path) as here:
        write_promised(tmp_path, [Rules([former])])
        (text,) = await here.observe(shorter)
        assert text == (
            '[[retention]] project = "shop", days = 2: this rule deletes only events older than 300 days '
            "until you run `nealytics retention apply`"
        )
        state = await here.state(shorter)
        assert (state.rules[0].next_run.events, state.rules[0].after_apply.events) == (2, 7)


async def test_one_projects_state_names_no_other_project(engine: RunningEngine, tmp_path: Path):
    rules = (RetentionRule(project="shop", days=30), RetentionRule(project="other", days=30))
    async with place(engine, tmp_path) as here:
        write_last_run(tmp_path, LastRun(1, 7))
        assert (await here.state(*rules)).last_run_events == 7
        state = await here.state(*rules, project="other")
        assert state.last_run_events is None
        assert [rule.project for rule in state.rules] == ["other"]
        assert len(state.waiting) == 1


async def test_a_thousand_rules_are_one_statement(engine: RunningEngine, tmp_path: Path):
    rules = tuple(
        RetentionRule(project="shop", tenant=f"a tenant with a long name {i}", days=30) for i in range(999)
    )
    async with place(engine, tmp_path) as here:
        assert await run.apply(here.client, here.config, here.data_dir, [*rules, RULES[0]]) == 3
        assert len((await here.state(*rules, RULES[0])).rules) == 1000


async def test_a_damaged_promise_deletes_nothing_and_is_named(tmp_path: Path):
    (tmp_path / PROMISED).write_text("[[")
    with pytest.raises(NealyticsError, match=f"{PROMISED} cannot be read.*retention apply"):
        read_promised(tmp_path)


async def test_a_log_is_compared_with_what_the_rules_keep(engine: RunningEngine, tmp_path: Path):
    """Their deletions are no person's, and what they delete need not be in the table."""
    async with place(engine, tmp_path) as here:
        await run.apply(here.client, here.config, here.data_dir, RULES)
        assert len(await here.stored()) == len(KEPT)
        assert await last_deletion_ms(here.client, here.config) == 0
        await here.client.command(
            f"ALTER TABLE {here.config.database}.global_events DELETE WHERE tenant_id = 'long'"
        )
        assert await last_deletion_ms(here.client, here.config) > 0

        now = run.now_ms()
        is_expired = expired_by_rules(tmp_path, now)
        for project, tenant, kind, days in EVENTS:
            columns: dict[str, object] = {
                "project_id": project,
                "tenant_id": tenant,
                "event_type": kind,
                "timestamp": now - days * DAY_MS - 300_000,
            }
            assert is_expired(columns) == ((project, tenant, kind, days) not in KEPT), columns


def test_rules_that_cannot_be_read_expire_nothing(tmp_path: Path):
    (tmp_path / PROMISED).write_text("[[")
    columns: dict[str, object] = {"project_id": "p", "tenant_id": "t", "event_type": "e", "timestamp": 0}
    assert not expired_by_rules(tmp_path, run.now_ms())(columns)
