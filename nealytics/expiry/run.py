"""Counts what rules keep and would delete, and deletes it: by a worker once a day, or by a command."""

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.schema.definition import ddl_settings
from nealytics.clickhouse.settings import Setting
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, table_name
from nealytics.config import ClickHouseConfig, RetentionRule
from nealytics.expiry.promise import (
    LastRun,
    read_last_run,
    read_promised,
    write_last_run,
    write_promised,
)
from nealytics.expiry.statements import count_statement, delete_statement, expired
from nealytics.retention import Rules, described, promise, shortened

log = logging.getLogger("nealytics.retention")

RUN_INTERVAL_MS = 86_400_000
# A thousand rules, in two rule sets, exceed ClickHouse's defaults of 256 KiB and 50,000 elements.
_LONG: dict[str, Setting] = {
    "max_query_size": 4 * 1024 * 1024,
    "max_ast_elements": 500_000,
    "max_expanded_ast_elements": 1_000_000,
}
# One row for each event, as reads count them, also before copies are merged.
_EVENTS: dict[str, Setting] = {"final": 1, "do_not_merge_across_partitions_select_final": 1}


class Amount(msgspec.Struct, omit_defaults=True):
    events: int
    oldest: str | None = None


class RuleState(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """One rule: the events that it governs, what the next run deletes of them, and what it would delete after
    `nealytics retention apply`."""

    project: str
    tenant: str | None = None
    event_type: str | None = None
    days: int
    kept: Amount
    next_run: Amount
    after_apply: Amount


class RetentionState(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    rules: list[RuleState]
    # Rules that keep less than was promised, and wait for `nealytics retention apply`.
    waiting: list[str]
    last_run_ms: int | None = None
    last_run_events: int | None = None


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def state(
    client: ClickHouseClient,
    config: ClickHouseConfig,
    data_dir: Path,
    rules: Sequence[RetentionRule],
    project: str | None = None,
) -> RetentionState:
    """Of all projects, or of one: without what the last run deleted, which is a sum over all."""
    every = Rules(rules)
    promised = await asyncio.to_thread(read_promised, data_dir)
    last_run = await asyncio.to_thread(read_last_run, data_dir)
    waits = await asyncio.to_thread(shortened, promised, every)
    shown = Rules(rule for rule in rules if project in (None, rule.project))
    now = now_ms()
    found: dict[int, list[str]] = {}
    if shown:
        sql = count_statement(config.database, shown, expired([*promised, every], now), expired([every], now))
        answer = await client.command(sql, settings=_EVENTS | _LONG)
        rows = [line.split("\t") for line in answer.splitlines()]
        found = {int(row[0]): row[1:] for row in rows}
    return RetentionState(
        rules=[_state_of(rule, found.get(place)) for place, rule in enumerate(shown.all)],
        waiting=[waiting_text(rule, before) for rule, before in waits if project in (None, rule.project)],
        last_run_ms=last_run.at_ms or None,
        last_run_events=last_run.events if last_run.at_ms and project is None else None,
    )


def waiting_text(rule: RetentionRule, before: float) -> str:
    what = "nothing" if before == float("inf") else f"only events older than {before:g} days"
    return f"{described(rule)}: this rule deletes {what} until you run `nealytics retention apply`"


async def observe(data_dir: Path, rules: Sequence[RetentionRule]) -> None:
    """Call it when a configuration takes effect: its rules count from now on."""

    def remember() -> None:
        before = read_promised(data_dir)
        after = promise(before, Rules(rules))
        if [one.all for one in after] != [one.all for one in before]:
            write_promised(data_dir, after)

    await asyncio.to_thread(remember)


async def waiting(data_dir: Path, rules: Sequence[RetentionRule]) -> list[str]:
    """The rules that keep less than was promised, as sentences."""
    found = await asyncio.to_thread(lambda: shortened(read_promised(data_dir), Rules(rules)))
    return [waiting_text(rule, before) for rule, before in found]


async def run_if_due(
    client: ClickHouseClient, config: ClickHouseConfig, data_dir: Path, rules: Sequence[RetentionRule]
) -> None:
    """Once a day: deletes what is expired. An unfinished deletion is waited for first."""
    if not rules or now_ms() - (await asyncio.to_thread(read_last_run, data_dir)).at_ms < RUN_INTERVAL_MS:
        return
    promised = await asyncio.to_thread(read_promised, data_dir)
    condition = expired([*promised, Rules(rules)], now_ms())
    events = 0
    if condition is not None:
        if await _is_deleting(client, config):
            return
        events = await _count(client, config, condition)
        if events:
            sql = delete_statement(config.database, config.cluster, condition)
            await client.command(sql, settings=ddl_settings(config) | _LONG | {"mutations_sync": 0})
            log.info("retention: deleting %d events that their rules no longer keep", events)
    await asyncio.to_thread(write_last_run, data_dir, LastRun(now_ms(), events))


async def apply(
    client: ClickHouseClient, config: ClickHouseConfig, data_dir: Path, rules: Sequence[RetentionRule]
) -> int:
    """Makes these rules the only ones that count, and deletes what they do not keep. Returns the number of
    deleted events once their rows are gone."""
    every = Rules(rules)
    await asyncio.to_thread(write_promised, data_dir, [every])
    condition = expired([every], now_ms())
    events = 0
    if condition is not None and (events := await _count(client, config, condition)):
        sql = delete_statement(config.database, config.cluster, condition)
        await client.command(sql, settings=ddl_settings(config) | _LONG | {"mutations_sync": 2})
    await asyncio.to_thread(write_last_run, data_dir, LastRun(now_ms(), events))
    return events


async def _count(client: ClickHouseClient, config: ClickHouseConfig, condition: str) -> int:
    sql = f"SELECT count() FROM {table_name(config.database)} WHERE {condition} FORMAT TabSeparated"
    return int(await client.command(sql, settings=_EVENTS | _LONG))


async def _is_deleting(client: ClickHouseClient, config: ClickHouseConfig) -> bool:
    answer = await client.command(
        "SELECT count() FROM system.mutations WHERE database = {database:String} AND table = {table:String} "
        "AND NOT is_done AND command LIKE '%DELETE WHERE%' FORMAT TabSeparated",
        {"database": config.database, "table": LOCAL_TABLE if config.cluster else TABLE},
    )
    return answer.strip() != "0"


def _state_of(rule: RetentionRule, row: list[str] | None) -> RuleState:
    amounts = [Amount(0)] * 3
    if row is not None:
        pairs = zip(row[::2], row[1::2], strict=True)
        amounts = [Amount(int(count), oldest if int(count) else None) for count, oldest in pairs]
    kept, next_run, after_apply = amounts
    return RuleState(
        project=rule.project,
        tenant=rule.tenant or None,
        event_type=rule.event_type or None,
        days=rule.days,
        kept=kept,
        next_run=next_run,
        after_apply=after_apply,
    )
