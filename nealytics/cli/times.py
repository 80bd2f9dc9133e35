"""Times in options."""

import click

from nealytics.errors import Refused
from nealytics.queries.time_bounds import Bound, timestamp_ms


def timestamp(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """The callback of `--from` and `--to`, whose parameters are `from_ms` and `to_ms`."""
    try:
        bound: Bound = "from" if param.name == "from_ms" else "to"
        return None if value is None else timestamp_ms(param.opts[0], value, bound)
    except Refused as refused:
        raise click.BadParameter(f"{refused.message}. {refused.detail}") from None
