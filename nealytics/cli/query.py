"""`nealytics query`: the saved queries of a directory, checked or run, whether the node runs or not."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
from multidict import MultiDict

from nealytics.auth.scope import Scope
from nealytics.cli.options import config_option, folded, print_aligned
from nealytics.cli.token import check_ids, project_of
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import read_access, running_engine
from nealytics.clickhouse.endpoint import saved_endpoint
from nealytics.config import Config, check, load
from nealytics.erasure.known import jobs_of
from nealytics.errors import ConfigError, NealyticsError, Refused
from nealytics.http.sending import encoder
from nealytics.queries.params import Arguments
from nealytics.queries.saved import catalog
from nealytics.queries.saved.catalog import FORMATS, Catalog, SavedQuery
from nealytics.queries.scoped import Events

CELL_CHARS_MAX = 60
_NUMBERS = ("Int", "UInt", "Float", "Decimal")


@click.group()
def query() -> None:
    """Check or run saved queries, the files *.sql in saved_queries.directory.

    Both ask ClickHouse as the user that a node runs saved queries as. A node may run meanwhile; if the
    embedded engine does not run, the commands start it temporarily. See docs/saved-queries.md.
    """


@query.command("check")
@config_option
@click.argument("names", nargs=-1, metavar="[NAME]...")
def check_(config_path: Path | None, names: tuple[str, ...]) -> None:
    """Check all saved queries, or only these, and print their parameters and columns.

    Exit status 1 if one cannot be used, or if none can be run.
    """
    config = _config(config_path)
    sys.exit(asyncio.run(_check(config, names)))


@query.command()
@config_option
@click.argument("name")
@click.argument("values", nargs=-1, metavar="[PARAMETER=VALUE]...")
@click.option("--project", metavar="ID", help="Project whose events it sees. Default: auth.project.")
@click.option("--tenant", metavar="ID", help="Tenant whose events it sees.")
@click.option("--project-wide", is_flag=True, help="See the events of all tenants of the project.")
@click.option(
    "--format",
    "chosen",
    type=click.Choice(["table", *FORMATS]),
    default="table",
    show_default=True,
    help="Format of the answer.",
)
def run(
    config_path: Path | None, name: str, values: tuple[str, ...], project: str | None, tenant: str | None,
    project_wide: bool, chosen: str,
) -> None:  # fmt: skip
    """Run a saved query as a token of a tenant would.

    \b
      nealytics query run revenue_by_day --project my-app --tenant acme from=-7d

    Who may run it (`-- who:`, `-- projects:`) is not checked: you have the node's own rights.
    """
    config = _config(config_path)
    if (tenant is None) != project_wide:
        raise click.UsageError("Give one of --tenant and --project-wide.")
    project = project_of(config.auth, project, "reads")
    check_ids(config, project, tenant)
    given: MultiDict[str] = MultiDict()
    for value in values:
        key, equals, text = value.partition("=")
        if not equals:
            raise click.UsageError(f"{value!r} is not a parameter; write name=value.")
        given.add(key, text)
    asyncio.run(_run(config, name, given, Scope(project, tenant), chosen))


def _config(config_path: Path | None) -> Config:
    config = load(config_path)
    if found := check.problems(config):
        raise ConfigError(*found)
    return config


@asynccontextmanager
async def _loaded(config: Config) -> AsyncIterator[Catalog]:
    """The saved queries. Raises `NealyticsError` if none can be checked."""
    logging.getLogger(catalog.__name__).disabled = True  # what it logs is printed here
    async with running_engine(config):
        saved = Catalog(config, saved_endpoint(config, read_access(config.server.data_dir)))
        try:
            await saved.load()
            if saved.off is not None:
                raise NealyticsError(saved.off)
            yield saved
        finally:
            await saved.close()


async def _check(config: Config, names: tuple[str, ...]) -> int:
    directory = config.saved_queries.directory
    async with _loaded(config) as saved:
        known = {one.declared.name for one in saved.queries.values()}
        known |= {file.removesuffix(".sql") for file in saved.problems}
        for name in names:
            if name not in known:
                raise NealyticsError(f"query: there is no {directory / name}.sql")
        wanted = set(names) or known
        if not known:
            click.echo(
                f"{directory} has no saved queries; a relative saved_queries.directory begins in the"
                " directory in which the command runs"
            )
        for file, problem in saved.problems.items():
            if file.removesuffix(".sql") in wanted:
                click.echo(folded(f"fail  {directory / file}: ", problem, sys.stdout))
        for one in saved.queries.values():
            if one.declared.name in wanted:
                _describe(one)
        return int(any(file.removesuffix(".sql") in wanted for file in saved.problems))


def _describe(one: SavedQuery) -> None:
    declared = one.declared
    click.echo(f"pass  {declared.name}: {declared.title}")
    width = max((len(given.name) for given in declared.inputs), default=0)
    for given in declared.inputs:
        kind = f"{given.type}({', '.join(given.choices)})" if given.choices else given.type
        default = "required" if given.default is None else f"default {given.default or '(empty)'}"
        click.echo(f"        {given.name.ljust(width)}  {kind}, {default}")
    columns = ", ".join(f"{column.name} {column.type}" for column in one.checked.columns)
    click.echo(folded("        → ", columns, sys.stdout))


async def _run(config: Config, name: str, given: MultiDict[str], scope: Scope, chosen: str) -> None:
    async with _loaded(config) as saved:
        one = saved.queries.get(name)
        if one is None:
            path, why = config.saved_queries.directory / f"{name}.sql", saved.problems.get(f"{name}.sql")
            raise NealyticsError(f"query: {path} {f'cannot be used: {why}' if why else 'does not exist'}")
        arguments = Arguments(given, config.query, time.time_ns() // 1_000_000, one.parameters)
        async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
            jobs = await jobs_of(client, config)
            events = one.reader.events(scope, hidden=jobs.hidden)
            try:
                await _print(one, events, arguments, chosen)
            except Refused as refused:
                raise NealyticsError(f"query: {refused.message}. {refused.detail}") from refused
        for warning in arguments.warnings:
            click.echo(f"warning: {warning.message}", err=True)


async def _print(one: SavedQuery, events: Events, arguments: Arguments, chosen: str) -> None:
    values = one.values(arguments)
    if chosen in ("table", "json"):
        answer: Any = await one.run(events, values)
        if chosen == "json":
            click.echo(encoder.encode(answer))
        else:
            _print_table(one, answer.rows)
        return
    async with one.stream(events, values, FORMATS[chosen]) as pieces:
        async for piece in pieces:
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _print_table(one: SavedQuery, rows: list[dict[str, Any]]) -> None:
    columns = one.checked.columns
    cells = [[column.name for column in columns]]
    cells += [[_cell(row[column.name]) for column in columns] for row in rows]
    numbers = tuple(f"{around}{name}" for around in ("", "Nullable(") for name in _NUMBERS)
    print_aligned(cells, [i for i, column in enumerate(columns) if not column.type.startswith(numbers)])
    click.echo(f"\n{len(rows):,} row{'s' * (len(rows) != 1)}")


def _cell(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else _written(value)
    text = " ".join(text.split())
    return text if len(text) <= CELL_CHARS_MAX else f"{text[: CELL_CHARS_MAX - 1]}…"


def _written(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return encoder.encode(value).decode() if isinstance(value, bool | list | dict) else str(value)
