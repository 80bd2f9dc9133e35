"""`nealytics dead-letter`: events that ClickHouse refused after they were accepted, and events that a route
rejected."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from nealytics.cli.options import config_option, folded, load_as_owner
from nealytics.cli.times import timestamp
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import running_engine
from nealytics.compat.message import paths_of
from nealytics.config import Config, load
from nealytics.dead_letters.actions import TEXTS, Outcome, Retrying, drop, require_settable
from nealytics.dead_letters.entries import DeadLetters, Entry, Selection, counts
from nealytics.erasure.jobs import Erasure
from nealytics.erasure.known import jobs_of
from nealytics.event import InvalidEvent, Limits
from nealytics.retention import Rules

# Enough for what ClickHouse says before it lists the row's values.
_REASON_CHARS_MAX = 300


def _selecting(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `list`, `retry` and `drop` share."""
    for option in (
        click.option(
            "--source", metavar="NAME", help='Only of this source: "clickhouse", or a route such as "batch".'
        ),
        click.option("--reason", metavar="CODE", help="Only with this reason, as `list` prints it."),
        click.option(
            "--to",
            "to_ms",
            callback=timestamp,
            metavar="ISO8601",
            help="Only those that were rejected until then; a date includes the whole day.",
        ),
        click.option(
            "--from",
            "from_ms",
            callback=timestamp,
            metavar="ISO8601",
            help="Only those that were rejected then or later.",
        ),
        click.option("--tenant", metavar="ID", help="Only of this tenant."),
        click.option("--project", metavar="ID", help="Only of this project."),
    ):
        function = option(function)
    return function


@click.group()
def dead_letter() -> None:
    """List, retry or drop the events that could not be stored.

    Events of source "clickhouse" were acknowledged with 202, and ClickHouse refused them afterwards: each is
    refused alone while others are accepted, so it must not block them. Usual causes are a constraint or a
    materialized view on the table, or a column whose type was changed. They are kept until a retry succeeds
    or you drop them.

    The other events were rejected by a route, with its reason: those of other vendors' SDKs and, with
    ingest.keep_rejected, those of track, batch and beacon. The oldest are dropped when there are too many.
    """


@dead_letter.command("list")
@config_option
@_selecting
@click.option("--counts", "only_counts", is_flag=True, help="Print only how many there are for each reason.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per event and line, whole, for scripts."
)
def list_(config_path: Path | None, only_counts: bool, as_json: bool, **chosen: Any) -> None:
    """List the events of the dead letter with the reasons.

    Only reads files, so it works with a running server and without one. `retry` and `drop` accept the printed
    ids.
    """
    letters = _letters(load(config_path))
    found, problems = letters.listing(Selection(**chosen), None)
    for count in counts(found) if only_counts else ():
        line = f"{count.events:>9,}  {count.project or '(no project)'}  {count.source}  {count.reason}"
        click.echo(msgspec.json.encode(count) if as_json else line)
    for entry in () if only_counts else reversed(found):
        click.echo(msgspec.json.encode(entry) if as_json else _described(entry))
    if not found and not as_json:
        is_filtered = any(value is not None for value in chosen.values())
        click.echo(
            "No event of the dead letter matches." if is_filtered else "The dead letter contains no events."
        )
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)


@dead_letter.command()
@config_option
@_selecting
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Before the retry, replace a field of each rejected event, such as tenantId=acme; of an SDK's events"
    " tenantId, userId or timestamp. Repeatable.",
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
def retry(config_path: Path | None, ids: tuple[str, ...], changes: tuple[str, ...], **chosen: Any) -> None:
    """Insert events of the dead letter again, after you have fixed the cause.

    Those with the given IDs, or all that the options select. An event that is accepted leaves the dead
    letter. An event that is still refused stays, and the exit status is 1. Each event keeps its identity, so
    it is counted once, also if you retry it twice. Events that an erasure or retention would delete are
    removed instead.

    A server may run meanwhile. If the embedded engine does not run, the command starts it temporarily.
    """
    config = load_as_owner("dead-letter", config_path)
    letters = _letters(config)
    wanted = _wanted(letters, ids, chosen)
    if not wanted:
        click.echo("No event of the dead letter matches.")
        return
    outcome = asyncio.run(_retry(config, letters, wanted, _changes(changes)))
    for kept in outcome.kept:
        click.echo(f"{kept.id}: {kept.message}", err=True)
    deleted = {"an erasure covers": outcome.erased, "retention deletes": outcome.expired}
    what = "".join(f", {number} deleted because {why} them" for why, number in deleted.items() if number)
    click.echo(f"{outcome.retried} inserted{what}, {len(outcome.kept)} still in the dead letter")
    if outcome.kept:
        sys.exit(1)


@dead_letter.command("drop")
@config_option
@_selecting
@click.option("--all", "every", is_flag=True, help="Drop all events of the dead letter.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
def drop_(config_path: Path | None, ids: tuple[str, ...], every: bool, **chosen: Any) -> None:
    """Delete events of the dead letter for good.

    Those with the given IDs, or all that the options select. Only deletes files, so it works with a running
    server and without one. Events of source "clickhouse" were acknowledged, so nobody sends them again.
    """
    if not (ids or every or any(value is not None for value in chosen.values())):
        raise click.UsageError("Give IDs, or an option that selects some; or --all.")
    config = load_as_owner("dead-letter", config_path)
    letters = _letters(config)
    click.echo(f"{asyncio.run(drop(letters, _wanted(letters, ids, chosen)))} dropped")


def _wanted(letters: DeadLetters, ids: tuple[str, ...], chosen: Mapping[str, Any]) -> list[str]:
    """The ids that are meant, the oldest first. Raises `click.BadParameter` for one that is not there."""
    selection = Selection(**chosen, ids=frozenset(ids) if ids else None)
    entries, problems = letters.listing(selection, 0)
    found = [entry.id for entry in reversed(entries)]
    for problem in problems:
        click.echo(problem, err=True)
    if unknown := sorted(set(ids) - set(found)):
        raise click.BadParameter(
            f"{unknown[0]} is not in the dead letter; run `nealytics dead-letter list` to see the IDs",
            param_hint="ID",
        )
    return found


def _changes(changes: tuple[str, ...]) -> dict[str, Any]:
    """Raises `click.BadParameter`."""
    found: dict[str, Any] = {}
    for change in changes:
        field, equals, value = change.partition("=")
        if not (field and equals):
            raise click.BadParameter(f'"{change}" is not FIELD=VALUE', param_hint="--set")
        found[field] = value if field in TEXTS else _json_or_text(value)
    try:
        require_settable(found)
    except InvalidEvent as error:
        raise click.BadParameter(f"{error.message}. {error.detail}", param_hint="--set") from None
    return found


def _json_or_text(value: str) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value


async def _retry(config: Config, letters: DeadLetters, ids: list[str], changes: dict[str, Any]) -> Outcome:
    """Stops with the error when ClickHouse cannot be asked."""
    async with running_engine(config), ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        kept, _ = await schema.probe(client, config.clickhouse)
        days = schema.configured(config.clickhouse.retention_days) if kept.days is None else kept.days
        limits = Limits.of(config.ingest, days, Rules(config.retention))
        jobs = await jobs_of(client, config)

        async def erasures() -> Mapping[str, Erasure]:
            return jobs.erasures()

        tenants = paths_of(config.compat.tenant_from)
        database = config.clickhouse.database
        retrying = Retrying(letters, client, database, lambda: limits, erasures, _now_ms, tenants)
        return await retrying.retry(ids, changes)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _letters(config: Config) -> DeadLetters:
    return DeadLetters(config.wal.directory)


def _described(entry: Entry) -> str:
    what = f"{entry.project or '?'}/{entry.tenant or '?'}/{entry.event_type or '?'}"
    if entry.user:
        what += f"  user {entry.user}"
    reason = " ".join(entry.message.split())
    if len(reason) > _REASON_CHARS_MAX:
        reason = reason[:_REASON_CHARS_MAX] + "…"
    return (
        f"{entry.id}  {entry.at}  {what}  {entry.source} {entry.reason}  {entry.bytes} bytes\n"
        f"{folded('    ', reason, sys.stdout)}"
    )
