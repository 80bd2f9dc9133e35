"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(command: Command) -> Command:
    """`--config/-c FILE`, given to the command as `config_path`, for `nealytics.config.load`."""
    return click.option(
        "--config",
        "-c",
        "config_path",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Configuration file. Without it: $NEALYTICS_CONFIG, else nealytics.toml here if there is one. "
        "Environment variables NEALYTICS_<TABLE>_<KEY> go over it.",
    )(command)
