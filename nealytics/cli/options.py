"""What several commands share: options, and how long texts are laid out."""

import shutil
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from nealytics.clickhouse.saved_reader import scope_key
from nealytics.config import Config, Loaded, load, load_with_notes, secrets_of, split_listen
from nealytics.directories import act_as_owner
from nealytics.errors import ConfigError, NealyticsError
from nealytics.observe import log

Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(command: Command) -> Command:
    """`--config/-c FILE`, given to the command as `config_path`, for `nealytics.config.load`."""
    return click.option(
        "--config",
        "-c",
        "config_path",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Configuration file. Default: $NEALYTICS_CONFIG, else nealytics.toml in the working directory, "
        "over the C# engine's appsettings.json. NEALYTICS_<TABLE>_<KEY> variables override the file.",
    )(command)


def load_as_owner(part: str, config_path: Path | None) -> Config:
    """The configuration of a node whose files the command writes: `act_as_owner` of its directories."""
    config = load(config_path)
    act_as_owner(part, config.server.data_dir, config.wal.directory)
    return config


def load_serving(config_path: Path | None) -> Loaded:
    """The configuration with all that `serve` needs. Raises `ConfigError` with every problem found."""
    loaded = load_with_notes(config_path, serving=True)
    if loaded.config.segment:
        # Takes a moment to import, which a start without segments need not wait for.
        from nealytics.queries.conditions import problems

        if found := problems(loaded.config.segment):
            raise ConfigError(*found)
    return loaded


def server_url(config: Config) -> str:
    """Where this configuration's node is reached from this machine."""
    host, port = split_listen(config.server.listen)
    if host in {"0.0.0.0", "::"}:  # every address of this machine, so also this one
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def first_key(part: str, config: Config, or_else: str = "") -> str:
    """An ingest key to send with. Raises `NealyticsError`."""
    keys = config.auth.api_keys
    for entry in keys:
        if entry.key:
            return entry.key
    raise NealyticsError(
        f"{part}: which ingest key? Give --key{or_else}, or name a configuration that has one"
        + (" in the clear (a key_sha256 cannot be sent)" if keys else "")
    )


def confirm(part: str, question: str, consequence: str) -> None:
    """Asks before something is deleted; ends the command after "no". Raises `NealyticsError` without a
    terminal: `consequence` says what was not done, and what `--yes` does."""
    if not sys.stdin.isatty():
        raise NealyticsError(f"{part}: no terminal to ask for confirmation, so {consequence}")
    click.confirm(question, abort=True)


def folded(label: str, text: str, stream: TextIO) -> str:
    """`label` and `text`; on a terminal the text is wrapped beside the label, elsewhere it is one line."""
    if not stream.isatty():
        return f"{label}{text}"
    width = max(shutil.get_terminal_size().columns, len(label) + 20)
    # Commands and paths in the text stay whole, so that they can be copied.
    lines = textwrap.wrap(text, width - len(label), break_long_words=False, break_on_hyphens=False)
    return label + f"\n{' ' * len(label)}".join(lines)


def print_aligned(cells: list[list[str]], left: Collection[int]) -> None:
    """Prints lines of cells; the columns `left` are texts, others are numbers."""
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for line in cells:
        aligned = (
            text.ljust(width) if i in left else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        click.echo("  ".join(aligned).rstrip())


def set_up_log(config: Config, secrets: Iterable[str] = (), **fields: object) -> None:
    """Logs from here on are without the configured secrets and these; `fields` stand in each line."""
    key = scope_key(config.saved_queries.password)  # ClickHouse quotes it in an error
    hidden = [*secrets_of(config), key, *secrets]
    log.setup(config.observe.log_level, config.observe.log_format, secrets=hidden, **fields)
