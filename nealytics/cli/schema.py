"""`nealytics schema`: the table in ClickHouse, printed or applied."""

import asyncio
from pathlib import Path

import click
import msgspec

from nealytics.cli.options import config_option
from nealytics.clickhouse import schema as table
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import running_engine
from nealytics.config import Config, check, load
from nealytics.errors import ConfigError


@click.group()
def schema() -> None:
    """Print or apply the table that holds the events in ClickHouse.

    `serve` applies it at every start (unless clickhouse.apply_schema = false), so these are for looking, for
    servers whose everyday user may not change tables, and for trying an upgrade before it happens.
    """


cluster_option = click.option(
    "--cluster",
    metavar="NAME",
    help="The tables of this ClickHouse cluster, replicated and sharded, instead of clickhouse.cluster.",
)


@schema.command("print")
@config_option
@cluster_option
def print_(config_path: Path | None, cluster: str | None) -> None:
    """Print the SQL that creates database and table.

    With the database and the retention of the configuration. To run it with ClickHouse's own client:

    \b
        nealytics schema print | clickhouse-client --multiquery
    """
    clickhouse = _on_cluster(load(config_path), cluster).clickhouse
    for statement in table.create_statements(
        clickhouse.database, clickhouse.retention_days, clickhouse.cluster
    ):
        click.echo(f"{statement};\n")


@schema.command()
@config_option
@cluster_option
def apply(config_path: Path | None, cluster: str | None) -> None:
    """Create the table, or bring it up to date.

    Adds missing columns, table settings and the TTL of clickhouse.retention_days (0 removes it) to a table
    that is there, such as one of the C# engine, and says what cannot be changed. Does nothing to a table that
    is up to date, and can be repeated. No event is rewritten or dropped, except that a shorter retention lets
    ClickHouse drop what is older.

    With a cluster, the same is done on all of its hosts, each of which must be up: a replicated table on
    each, and the Distributed table over them.

    The embedded engine is used if the node runs, and started for the duration otherwise.
    """
    config = _on_cluster(load(config_path), cluster)
    if found := check.problems(config):
        raise ConfigError(*found)
    asyncio.run(_apply(config))


def _on_cluster(config: Config, cluster: str | None) -> Config:
    if cluster is None:
        return config
    clickhouse = msgspec.structs.replace(config.clickhouse, cluster=cluster)
    return msgspec.structs.replace(config, clickhouse=clickhouse)


async def _apply(config: Config) -> None:
    name = f"{config.clickhouse.database}.{table.TABLE}"
    async with running_engine(config), ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        found = await table.apply(client, config.clickhouse)
        for line in found:
            click.echo(line)
        # What cannot be changed may also be what makes the table unusable; better now than at the next start.
        await table.probe(client, config.clickhouse)
    click.echo(f"{name} is {'ready' if found else 'up to date'}")
