"""`nealytics engine`: the embedded ClickHouse alone, with all rights, while the node is stopped."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import click

from nealytics.cli.options import config_option, load_as_owner, set_up_log
from nealytics.clickhouse.embedded import running_engine
from nealytics.clickhouse.endpoint import endpoint_of
from nealytics.config import Config
from nealytics.errors import NealyticsError


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@config_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def engine(config_path: Path | None, command: tuple[str, ...]) -> None:
    """Run COMMAND beside the embedded ClickHouse, as a user with all rights.

    The node must be stopped. COMMAND finds CLICKHOUSE_URL, CLICKHOUSE_USER and CLICKHOUSE_PASSWORD in its
    environment, and ClickHouse ends after it; SIGTERM ends both. Without COMMAND the three are printed, and
    ClickHouse runs until Ctrl-C or SIGTERM.

    To insert a file that `nealytics export` wrote, see docs/backup.md.
    """
    config = load_as_owner("engine", config_path)
    set_up_log(config)
    if config.clickhouse.url != "embedded":
        raise NealyticsError(
            f'engine: clickhouse.url is "{config.clickhouse.url}", a server; use a client of ClickHouse there'
        )
    sys.exit(asyncio.run(_run(config, command)))


async def _run(config: Config, command: tuple[str, ...]) -> int:
    async with running_engine(config, operator=True):
        endpoint = endpoint_of(config)
        environment = {
            "CLICKHOUSE_URL": endpoint.url,
            "CLICKHOUSE_USER": endpoint.user,
            "CLICKHOUSE_PASSWORD": endpoint.password,
        }
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        if command:
            return await _run_command(command, {**os.environ, **environment}, stopped)
        for name, value in environment.items():
            click.echo(f"{name}={value}")
        sys.stdout.flush()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopped.set)
        await stopped.wait()
        return 0


async def _run_command(command: tuple[str, ...], environment: dict[str, str], stopped: asyncio.Event) -> int:
    """Its exit status; of one that a signal ended, as a shell gives it."""
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environment)
    except OSError as error:
        raise NealyticsError(f"engine: {command[0]} cannot be run: {error.strerror}") from error
    ended, told = asyncio.ensure_future(process.wait()), asyncio.ensure_future(stopped.wait())
    await asyncio.wait((ended, told), return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        process.terminate()
    told.cancel()
    status = await ended
    return status if status >= 0 else 128 - status
