"""`nealytics retention`: what the `[[retention]]` rules keep, and the command that applies shorter ones."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from nealytics.cli.options import config_option, confirm, folded, load_as_owner
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import running_engine
from nealytics.config import Config, load
from nealytics.expiry import run
from nealytics.expiry.run import Amount, RetentionState, RuleState
from nealytics.timestamps import iso_utc

# A deletion rewrites parts, which may take long; a person at a terminal can wait for it.
DELETION_TIMEOUT_S = 6 * 3600.0


@click.group()
def retention() -> None:
    """Show or apply the [[retention]] rules of projects, tenants and event types.

    Once a day, a node deletes the events that the rules no longer keep. A new or shorter rule deletes nothing
    until you run `nealytics retention apply`. clickhouse.retention_days, the retention of the whole table, is
    not affected: see `nealytics schema apply`.

    These commands read the configuration and ask ClickHouse; the node may run or not. If the embedded engine
    does not run, they start it temporarily.
    """


@retention.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(config_path: Path | None, as_json: bool) -> None:
    """Print for each rule how many events it keeps and how many the next run deletes.

    An event counts for the most specific rule that matches it. Events without a rule are not listed. Deletes
    nothing.
    """
    state = asyncio.run(_state(load(config_path)))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(state), indent=2))
        return
    if not state.rules:
        click.echo("there are no [[retention]] rules; clickhouse.retention_days applies to all events")
    for rule in state.rules:
        click.echo(_line(rule))
    for text in state.waiting:
        click.echo(folded("waits: ", text, sys.stdout))
    if state.last_run_ms is not None:
        click.echo(f"last run: {iso_utc(state.last_run_ms)}, {state.last_run_events or 0:,} events deleted")


@retention.command()
@config_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation, for scripts.")
def apply(config_path: Path | None, yes: bool) -> None:
    """Put the configured rules into effect, and delete the events that they no longer keep.

    Prints the number of events and asks for confirmation. Returns once their rows are gone from the table;
    ClickHouse rewrites each part that contains any. Only a backup can bring them back. If several nodes use
    one ClickHouse, run it on one of them.
    """
    asyncio.run(_apply(load_as_owner("retention", config_path), yes=yes))


async def _state(config: Config) -> RetentionState:
    async with running_engine(config), ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        return await run.state(client, config.clickhouse, config.server.data_dir, config.retention)


async def _apply(config: Config, *, yes: bool) -> None:
    clickhouse = msgspec.structs.replace(config.clickhouse, insert_timeout_s=DELETION_TIMEOUT_S)
    data_dir = config.server.data_dir
    async with running_engine(config), ClickHouseClient(endpoint_of(config), clickhouse) as client:
        state = await run.state(client, clickhouse, data_dir, config.retention)
        for rule in state.rules:
            click.echo(_line(rule))
        events = sum(rule.after_apply.events for rule in state.rules)
        click.echo(
            f"this deletes {events:,} events now; only a backup can bring them back"
            if events
            else "no stored event is older, so nothing is deleted now"
        )
        if not yes:
            without_terminal = "nothing was applied; add --yes to apply the rules without asking"
            confirm("retention", "Apply the rules?", without_terminal)
        deleted = await run.apply(client, clickhouse, data_dir, config.retention)
    click.echo(f"applied; {deleted:,} events deleted")


def _line(rule: RuleState) -> str:
    whose = [f"project {rule.project}"]
    whose += [f"tenant {rule.tenant}"] if rule.tenant else []
    whose += [f"event type {rule.event_type}"] if rule.event_type else []
    days = f"{rule.days} days" if rule.days else "as the table"
    line = (
        f"{', '.join(whose)}: {days}; keeps {_shown(rule.kept)}; the next run deletes {_shown(rule.next_run)}"
    )
    if rule.after_apply.events != rule.next_run.events:
        line += f"; after `nealytics retention apply` {_shown(rule.after_apply)}"
    return line


def _shown(amount: Amount) -> str:
    since = f" since {amount.oldest}" if amount.oldest else ""
    return f"{amount.events:,} events{since}"
