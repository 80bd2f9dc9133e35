"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from nealytics.config import Config, secrets_of
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
        help="Configuration file. Without it: $NEALYTICS_CONFIG, else nealytics.toml here if there is one, "
        "over the C# engine's appsettings.json. Environment variables NEALYTICS_<TABLE>_<KEY> go over it.",
    )(command)


def set_up_log(config: Config, **fields: object) -> None:
    """Logs from here on are JSON lines without the configured secrets; `fields` stand in each."""
    log.setup(config.observe.log_level, secrets=secrets_of(config), **fields)
