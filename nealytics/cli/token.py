"""`nealytics token`: a token for trying things out, and for a service that has no JWT library at hand."""

import re
import time
from pathlib import Path

import click

from nealytics.auth.jwt import mint
from nealytics.cli.options import config_option
from nealytics.config import load
from nealytics.errors import ConfigError

_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_EXPIRES_S_MAX = 10 * 366 * 86_400


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """`90s`, `15m`, `1h`, `30d` as seconds."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
    seconds = int(match[1]) * _UNIT_S[match[2]] if match else 0
    if not 0 < seconds <= _EXPIRES_S_MAX:
        raise click.BadParameter(
            f'"{value}" is not a duration of up to ten years; write e.g. 90s, 15m, 1h or 30d'
        )
    return seconds


@click.command()
@click.option("--project", required=True, metavar="ID", help="The project_id whose events it reads.")
@click.option("--tenant", required=True, metavar="ID", help="The tenant_id whose events it reads.")
@click.option(
    "--expires",
    callback=_seconds,
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="s, m, h or d: 90s, 15m, 30d.",
)
@config_option
def token(project: str, tenant: str, expires: int, config_path: Path | None) -> None:
    """Make a token that reads the events of one tenant.

    Prints the token and nothing else, so it can be used in place:

    \b
      curl localhost:5000/api/v1/telemetry/timeline \\
        -H "Authorization: Bearer $(nealytics token --project my-app --tenant tenant-1)"

    It is signed with auth.jwt_key, as a service of yours would sign one. It cannot be revoked: keep it short.
    """
    config = load(config_path)
    if not config.auth.jwt_key:
        raise ConfigError(
            "token: auth.jwt_key is not set, so there is nothing to sign with; "
            "name the server's configuration with --config, or make one with `nealytics init`"
        )
    for name, value in (("--project", project), ("--tenant", tenant)):
        if not value.strip() or len(value) > config.ingest.identifier_chars_max:
            raise click.BadParameter(
                f"write 1 to {config.ingest.identifier_chars_max} characters", param_hint=f"'{name}'"
            )
    claims = {"iss": config.auth.jwt_issuer, "aud": config.auth.jwt_audience}
    extra = {name: value for name, value in claims.items() if value}
    click.echo(mint(config.auth.jwt_key, project, tenant, expires, time.time(), **extra))
