"""`nealytics schema`: the table in ClickHouse, printed or applied."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from nealytics.cli.options import config_option, confirm, folded
from nealytics.clickhouse import saved_reader
from nealytics.clickhouse import schema as table
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import running_engine, sync_metadata
from nealytics.clickhouse.schema.migration import SLICE_ROWS, Migration
from nealytics.clickhouse.sql import TABLE
from nealytics.config import ClickHouseConfig, Config, check, load
from nealytics.errors import ConfigError, NealyticsError

MIGRATION_TIMEOUT_S = 6 * 3600.0


@click.group()
def schema() -> None:
    """Print, apply or migrate the table that stores the events in ClickHouse.

    `serve` applies the schema at every start, unless clickhouse.apply_schema = false. Use these commands to
    see the statements, to apply them with another user, and to test an upgrade in advance.
    """


cluster_option = click.option(
    "--cluster",
    metavar="NAME",
    help="Use the replicated and sharded tables of this ClickHouse cluster, instead of clickhouse.cluster.",
)


@schema.command("print")
@config_option
@cluster_option
@click.option(
    "--reader",
    is_flag=True,
    help="Print the statements for the user of saved queries instead, with saved_queries.user and .password.",
)
def print_(config_path: Path | None, cluster: str | None, reader: bool) -> None:
    """Print the SQL that creates database and table.

    The SQL contains the database and the retention of the configuration. To run it with ClickHouse's client:

    \b
        nealytics schema print | clickhouse-client --multiquery

    With --reader, run it as a user who may manage access (GRANT, CREATE USER, CREATE ROW POLICY). It contains
    a key that follows from saved_queries.password: treat it as a secret.
    """
    config = _on_cluster(load(config_path), cluster)
    if reader:
        for statement in _reader_statements(config):
            click.echo(f"{statement};\n")
        return
    clickhouse = config.clickhouse
    for statement in table.create_statements(
        clickhouse.database, clickhouse.retention_days, clickhouse.cluster
    ):
        click.echo(f"{statement};\n")


def _reader_statements(config: Config) -> list[str]:
    if config.clickhouse.url == "embedded":
        raise NealyticsError(
            "schema: the embedded ClickHouse has a user for saved queries; --reader is for servers"
        )
    if config.clickhouse.cluster:
        raise NealyticsError("schema: saved queries do not run on a cluster (clickhouse.cluster)")
    saved = config.saved_queries
    if not (saved.user and saved.password):
        raise NealyticsError(
            "schema: choose a name and a long random password for the user of saved queries; set "
            "saved_queries.user and saved_queries.password"
        )
    return saved_reader.statements(config.clickhouse, config.query, saved.user, saved.password)


@schema.command()
@config_option
@cluster_option
@click.option(
    "--shorten-retention",
    is_flag=True,
    help="Also shorten the TTL to clickhouse.retention_days, which deletes older events. "
    "Prints their number first and asks for confirmation.",
)
@click.option(
    "--yes", is_flag=True, help="Do not ask for confirmation, for scripts. Still prints what is deleted."
)
def apply(config_path: Path | None, cluster: str | None, shorten_retention: bool, yes: bool) -> None:
    """Create the table, or update it.

    Adds missing columns and table settings to an existing table, such as one of the C# engine, and reports
    what it cannot change. It does not change a table that is up to date, so you can repeat it. It refuses a
    table that cannot store events exactly once, and a ClickHouse that is too old, before it changes anything.

    No event is deleted. A TTL shorter than clickhouse.retention_days is lengthened (0 removes it). A longer
    one stays, unless you set --shorten-retention. A TTL that was written by hand is never changed.

    On a cluster, all hosts must be up. The command creates a replicated table on each host, and the
    Distributed table over them.

    If the embedded engine does not run, the command starts it temporarily.
    """
    config = _on_cluster(load(config_path), cluster)
    if found := check.problems(config):
        raise ConfigError(*found)
    asyncio.run(_apply(config, shorten_retention=shorten_retention, yes=yes))


@schema.command()
@config_option
@click.option(
    "--slice-rows",
    type=click.IntRange(min=1),
    default=SLICE_ROWS,
    show_default=True,
    help="Rows per copy step. Fewer rows need less memory in ClickHouse.",
)
def migrate(config_path: Path | None, slice_rows: int) -> None:
    """Copy the events into a new table that stores each of them once.

    For a table of the C# engine 1.0 (MergeTree, no event_id in the sorting key), and for any MergeTree with
    another sorting key or other partitions. Copies slice by slice, compares the counts of both tables,
    exchanges their names in one step, and keeps the old table under a name that it prints. It deletes
    nothing. You can kill it at any point and start it again.

    A node may run: while its table is refused, events stay in its log. Stop the C# engine first. Rows that
    are written to the old table meanwhile are copied too.
    """
    config = load(config_path)
    if found := check.problems(config):
        raise ConfigError(*found)
    asyncio.run(_migrate(config, slice_rows))


def _on_cluster(config: Config, cluster: str | None) -> Config:
    if cluster is None:
        return config
    clickhouse = msgspec.structs.replace(config.clickhouse, cluster=cluster)
    return msgspec.structs.replace(config, clickhouse=clickhouse)


async def _apply(config: Config, *, shorten_retention: bool, yes: bool) -> None:
    name = f"{config.clickhouse.database}.{TABLE}"
    async with running_engine(config), ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        found = await table.apply(client, config.clickhouse)
        for line in found:
            # The one that recommends what is being done now is left out.
            if not (shorten_retention and "--shorten-retention" in line):
                click.echo(folded("", line, sys.stdout))
        if config.clickhouse.url == "embedded":
            sync_metadata(config.server.data_dir)
        if shorten_retention:
            await _shorten(client, config.clickhouse, yes=yes)
        # What cannot be changed may also be what makes the table unusable; better now than at the next start.
        for warning in (await table.probe(client, config.clickhouse)).warnings:
            click.echo(folded("warning: ", warning, sys.stderr), err=True)
    click.echo(f"{name} is {'ready' if found else 'up to date'}")


async def _migrate(config: Config, slice_rows: int) -> None:
    # A slice may take long, and a person at a terminal can wait for it.
    clickhouse = msgspec.structs.replace(config.clickhouse, insert_timeout_s=MIGRATION_TIMEOUT_S)
    async with running_engine(config), ClickHouseClient(endpoint_of(config), clickhouse) as client:
        async for line in Migration(client, clickhouse, slice_rows=slice_rows).run():
            click.echo(line)
        if clickhouse.url == "embedded":
            sync_metadata(config.server.data_dir)


async def _shorten(client: ClickHouseClient, config: ClickHouseConfig, *, yes: bool) -> None:
    asked = await table.what_shortening_deletes(client, config)
    if asked is None:
        click.echo(
            "the table keeps events no longer than clickhouse.retention_days; there is nothing to shorten"
        )
        return
    now = "" if asked.kept_days is None else f"the table keeps events {table.for_days(asked.kept_days)}; "
    click.echo(f"{now}clickhouse.retention_days keeps them {table.for_days(asked.days)}")
    if asked.events:
        click.echo(
            f"this deletes {_counted(asked.events, 'event')} of {_counted(asked.tenants, 'tenant')}, from "
            f"{asked.oldest} to "
            f"{asked.newest} UTC; only a backup can bring them back"
        )
    else:
        click.echo("no stored event is older, so nothing is deleted now")
    if not yes:
        without_terminal = "the retention was not shortened; add --yes to shorten it without asking"
        confirm("schema", "Shorten the retention?", without_terminal)
    click.echo(await table.shorten(client, config, asked))
    click.echo(
        "a node with a longer clickhouse.retention_days extends it again at its next start; change the "
        "setting on all nodes"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
