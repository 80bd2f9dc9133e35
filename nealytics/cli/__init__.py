"""The command line: one group, and a module per command, loaded only when it is used.

`--help` and the quick commands so start fast, and nothing loads the embedded engine by accident. The imports
stand in functions and are static, so that a compiler finds them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import click

from nealytics import __version__
from nealytics.errors import NealyticsError


class _Entry(NamedTuple):
    load: Callable[[], click.Command]
    help: str  # for the list of commands, which loads none of them
    hidden: bool = False


def _init() -> click.Command:
    from nealytics.cli.config import init

    return init


def _check_config() -> click.Command:
    from nealytics.cli.config import check_config

    return check_config


def _serve() -> click.Command:
    from nealytics.cli.serve import serve

    return serve


def _worker() -> click.Command:
    from nealytics.cli.serve import worker

    return worker


def _embedded_child() -> click.Command:
    from nealytics.cli.serve import embedded_child

    return embedded_child


def _health() -> click.Command:
    from nealytics.cli.status import health

    return health


def _status() -> click.Command:
    from nealytics.cli.status import status

    return status


def _doctor() -> click.Command:
    from nealytics.cli.doctor import doctor

    return doctor


def _token() -> click.Command:
    from nealytics.cli.token import token

    return token


def _schema() -> click.Command:
    from nealytics.cli.schema import schema

    return schema


def _erase() -> click.Command:
    from nealytics.cli.erase import erase

    return erase


def _erasures() -> click.Command:
    from nealytics.cli.erase import erasures

    return erasures


def _retention() -> click.Command:
    from nealytics.cli.retention import retention

    return retention


def _usage() -> click.Command:
    from nealytics.cli.usage import usage

    return usage


def _query() -> click.Command:
    from nealytics.cli.query import query

    return query


def _wal() -> click.Command:
    from nealytics.cli.wal import wal

    return wal


def _dead_letter() -> click.Command:
    from nealytics.cli.dead_letter import dead_letter

    return dead_letter


def _dashboard() -> click.Command:
    from nealytics.cli.dashboard import dashboard

    return dashboard


def _demo() -> click.Command:
    from nealytics.cli.demo import demo

    return demo


def _import() -> click.Command:
    from nealytics.cli.import_ import import_

    return import_


def _convert() -> click.Command:
    from nealytics.cli.import_ import convert

    return convert


def _export() -> click.Command:
    from nealytics.cli.export import export_

    return export_


def _backup() -> click.Command:
    from nealytics.cli.backup import backup

    return backup


def _backups() -> click.Command:
    from nealytics.cli.backups import backups

    return backups


def _restore() -> click.Command:
    from nealytics.cli.backup import restore

    return restore


def _engine() -> click.Command:
    from nealytics.cli.engine import engine

    return engine


def _bench() -> click.Command:
    from nealytics.cli.bench import bench

    return bench


# In the order in which a newcomer needs them.
COMMANDS = {
    "init": _Entry(_init, "Write a configuration with random keys."),
    "check-config": _Entry(_check_config, "Check the configuration and show the settings in effect."),
    "serve": _Entry(_serve, "Run the node: HTTP, log, committer, and ClickHouse if it is embedded."),
    "status": _Entry(_status, "Show the state of a running node."),
    "health": _Entry(_health, "Exit with 0 if a node is alive, for containers."),
    "doctor": _Entry(_doctor, "Check configuration, disk, clock, limits and ClickHouse."),
    "token": _Entry(_token, "Make a read, ingest or admin token."),
    "dashboard": _Entry(_dashboard, "Print a link to a tenant's page."),
    "demo": _Entry(_demo, "Fill a project with example events and print links to its pages."),
    "import": _Entry(_import, "Import a file: NDJSON, JSON, CSV or Parquet."),
    "export": _Entry(_export, "Write the events of a tenant, of a project, or of all to a file."),
    "backup": _Entry(_backup, "Back up the embedded ClickHouse and the logs, while the node runs."),
    "backups": _Entry(_backups, "List, verify and forget backups."),
    "restore": _Entry(_restore, "Restore a backup into an empty node."),
    "schema": _Entry(_schema, "Print, apply or migrate the table in ClickHouse."),
    "retention": _Entry(_retention, "Show or apply the [[retention]] rules of projects and tenants."),
    "erase": _Entry(_erase, "Erase the events of a tenant or a user, for good."),
    "erasures": _Entry(_erasures, "List the erasures, with their receipts."),
    "usage": _Entry(_usage, "Show what each project and tenant used."),
    "query": _Entry(_query, "Check or run a saved query."),
    "wal": _Entry(_wal, "Inspect the write-ahead log."),
    "dead-letter": _Entry(_dead_letter, "List, retry or drop events that were not stored."),
    "engine": _Entry(_engine, "Run the embedded ClickHouse alone, with all rights."),
    "bench": _Entry(_bench, "Measure this machine."),
    "worker": _Entry(_worker, "Started by serve.", hidden=True),
    "convert": _Entry(_convert, "Started by import.", hidden=True),
    "embedded-child": _Entry(_embedded_child, "Started by serve.", hidden=True),
}


class _Failure(click.ClickException):
    """An error of ours on its way out: the message as it is, without a traceback."""

    def show(self, file: Any = None) -> None:
        click.echo(self.format_message(), file=file, err=file is None)


class _Commands(click.Group):
    """The commands of `COMMANDS`. An error raised on purpose becomes its message and exit code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, entry in COMMANDS.items() if not entry.hidden]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        return entry.load() if entry else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0].isalpha() and args[0] not in COMMANDS:
            from difflib import get_close_matches

            if near := get_close_matches(args[0], self.list_commands(ctx), 1):
                ctx.fail(f"No such command {args[0]!r}; did you mean {near[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NealyticsError as error:
            raise _Failure(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nealytics", message="%(prog)s %(version)s")
def main() -> None:
    """Nealytics: analytics for each tenant of a SaaS.

    Nealytics accepts events over HTTP, syncs them to disk before it acknowledges them, and stores each one in
    ClickHouse exactly once.

    \b
    To start:
      nealytics init       writes nealytics.toml with random keys
      nealytics serve      runs until Ctrl-C
    """
