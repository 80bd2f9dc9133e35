"""`nealytics token`: a token for trying things out, and for a service that has no JWT library at hand."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import click

from nealytics.auth import minting
from nealytics.auth.claims import USER, ClaimNames
from nealytics.auth.keys import PUBLIC_ALGORITHMS
from nealytics.auth.minting import Signer, private_signer
from nealytics.cli.options import config_option
from nealytics.config import AuthConfig, Config, load
from nealytics.errors import ConfigError, NealyticsError, Refused
from nealytics.queries import ENDPOINTS, STREAMS
from nealytics.queries.conditions import parse_condition

_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_EXPIRES_S_MAX = 10 * 366 * 86_400


def _seconds_of(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """`90s`, `15m`, `1h`, `30d` as seconds."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
    seconds = int(match[1]) * _UNIT_S[match[2]] if match else 0
    if not 0 < seconds <= _EXPIRES_S_MAX:
        raise click.BadParameter(
            f'"{value}" is not a duration of up to ten years; write e.g. 90s, 15m, 1h or 30d'
        )
    return seconds


expires_option = click.option(
    "--expires",
    callback=_seconds_of,
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="Lifetime in s, m, h or d: 90s, 15m, 30d.",
)


def _filters(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    for text in value:
        try:
            parse_condition("--filter", text)
        except Refused as refused:
            raise click.BadParameter(f"{refused.message}. {refused.detail}") from None
    return value


@click.command()
@click.option(
    "--project",
    metavar="ID",
    help="The project_id. Required, unless auth.project is set. With --admin also * for all.",
)
@click.option("--tenant", metavar="ID", help="The tenant_id to read, or with --ingest to write.")
@click.option("--project-wide", is_flag=True, help="Read all tenants of the project, instead of one.")
@click.option("--admin", is_flag=True, help="Administer the project (/api/v1/admin/…) and read no events.")
@click.option("--ingest", is_flag=True, help="Write the events of --tenant, and read none.")
@click.option("--user", metavar="ID", help="With --ingest: the user_id of all events that it writes.")
@expires_option
@click.option(
    "--filter",
    "filters",
    multiple=True,
    callback=_filters,
    metavar="FIELD:OP:VALUE",
    help="Read only events that match, e.g. meta:plan:eq:pro. Repeatable: events must match all.",
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    type=click.Choice([route.name for route in (*ENDPOINTS, *STREAMS)]),
    metavar="NAME",
    help="Allow this endpoint only: the last word of its path, e.g. timeline. Repeatable.",
)
@click.option(
    "--rps",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Maximum requests per second, for all tokens with the same --subject.",
)
@click.option("--subject", metavar="TEXT", help="The subject (sub), for which --rps is counted.")
@click.option(
    "--kid", default="", metavar="ID", help="Sign with the HS256 key of auth.jwt_keys with this kid."
)
@click.option(
    "--private-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Sign with this key (PEM) instead; --kid is then only written to the token.",
)
@click.option(
    "--algorithm",
    type=click.Choice(PUBLIC_ALGORITHMS),
    help="Algorithm of --private-key. Default: the one for the type of the key.",
)
@config_option
def token(
    project: str | None,
    tenant: str | None,
    project_wide: bool,
    admin: bool,
    ingest: bool,
    user: str | None,
    expires: int,
    filters: tuple[str, ...],
    endpoints: tuple[str, ...],
    rps: float | None,
    subject: str | None,
    kid: str,
    private_key: Path | None,
    algorithm: str | None,
    config_path: Path | None,
) -> None:
    """Make a token that reads the events of one tenant, an ingest token, or an admin token.

    Prints only the token, so a script can use it directly:

    \b
      TOKEN=$(nealytics token --project my-app --tenant tenant-1)
      curl localhost:5000/api/v1/telemetry/timeline \\
        -H "Authorization: Bearer $TOKEN"

    The token is signed with auth.jwt_key, as your own service would do it. It cannot be revoked, so use a
    short lifetime.
    """
    config = load(config_path)
    if (tenant is not None) + project_wide + admin != 1:
        raise click.UsageError("Give one of --tenant, --project-wide and --admin.")
    _check_scope(admin, ingest, tenant, bool(filters or endpoints), rps, user)
    project = project_of(config.auth, project, "administers" if admin else "writes" if ingest else "reads")
    if private_key is not None:
        signer = _private_signer(private_key, algorithm, kid)
    elif algorithm is not None:
        raise click.UsageError(f"--algorithm {algorithm} needs --private-key: the node has only public keys.")
    else:
        signer = shared_signer(config.auth, kid)
    check_ids(config, project, tenant, user)
    claims: dict[str, object] = {
        "sub": subject or None,
        USER: user,
        "filters": list(filters) or None,
        "endpoints": list(endpoints) or None,
        "rps": rps,
    }
    click.echo(signed(config.auth, signer, project, tenant, expires, claims, admin=admin, ingest=ingest))


def _check_scope(
    admin: bool, ingest: bool, tenant: str | None, restricted: bool, rps: float | None, user: str | None
) -> None:
    """Raises `click.UsageError` for options that the token cannot have."""
    if admin and (restricted or rps):
        raise click.UsageError("An admin token cannot have --filter, --endpoint or --rps.")
    if ingest and (tenant is None or restricted):
        raise click.UsageError("An ingest token needs --tenant, and cannot have --filter or --endpoint.")
    if user is not None and not ingest:
        raise click.UsageError("--user is for --ingest: a token that reads is for all users of a tenant.")


def project_of(auth: AuthConfig, given: str | None, does: str) -> str:
    """The project that is meant. Raises `click.UsageError`."""
    fixed = auth.project
    if fixed and given not in (None, fixed):
        raise click.UsageError(f'auth.project is "{fixed}", so no token reads another project.')
    if project := given or fixed:
        return project
    raise click.UsageError(f"Give --project: the project that it {does}.")


def check_ids(config: Config, project: str, tenant: str | None, user: str | None = None) -> None:
    """Raises `click.BadParameter`."""
    chars_max = config.ingest.identifier_chars_max
    for name, value in (("--project", project), ("--tenant", tenant), ("--user", user)):
        if value is not None and not (value.strip() and len(value) <= chars_max):
            raise click.BadParameter(f"write 1 to {chars_max} characters", param_hint=f"'{name}'")


def signed(
    auth: AuthConfig,
    signer: Signer,
    project: str,
    tenant: str | None,
    expires_s: int,
    claims: Mapping[str, object] = MappingProxyType({}),
    *,
    admin: bool = False,
    ingest: bool = False,
) -> str:
    """A token that this node accepts. Raises `NealyticsError` for claims that it would not."""
    try:
        return minting.mint(
            signer,
            project,
            tenant,
            expires_s,
            time.time(),
            names=ClaimNames(auth.tenant_claim, auth.project_claim),
            claims={"iss": auth.jwt_issuer or None, "aud": auth.jwt_audience or None, **claims},
            admin=admin,
            ingest=ingest,
        )
    except Refused as refused:
        raise NealyticsError(f"token: {refused.message}") from None


def shared_signer(auth: AuthConfig, kid: str) -> Signer:
    """The secret of this kid; without one auth.jwt_key, or the only secret there is."""
    secrets = [Signer(key.key, "HS256", key.kid) for key in auth.jwt_keys if key.algorithm == "HS256"]
    if kid:
        named = [signer for signer in secrets if signer.kid == kid]
        if named:
            return named[0]
        known = ", ".join(f'"{signer.kid}"' for signer in secrets if signer.kid) or "none"
        raise ConfigError(
            f'token: no HS256 key of auth.jwt_keys has the kid "{kid}" (known: {known}); '
            "to sign with another service's key, use --private-key"
        )
    if auth.jwt_key:
        return Signer(auth.jwt_key, "HS256", "")
    if len(secrets) == 1:
        return secrets[0]
    if secrets:
        raise ConfigError(
            "token: auth.jwt_key is not set and auth.jwt_keys has several HS256 keys; choose one with --kid"
        )
    raise ConfigError(
        "token: auth.jwt_key is not set, so there is no key to sign with; "
        "select the server's configuration with --config, or create one with `nealytics init`"
    )


def _private_signer(path: Path, algorithm: str | None, kid: str) -> Signer:
    try:
        return private_signer(path.read_bytes(), algorithm, kid)
    except OSError as error:
        raise NealyticsError(
            f"token: cannot read {path}: {error.strerror}; --private-key takes a PEM file"
        ) from error
    except ValueError as error:
        raise NealyticsError(f"token: {path} {error}") from None
