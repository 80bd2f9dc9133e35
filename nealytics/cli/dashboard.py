"""`nealytics dashboard`: a link to a tenant's page."""

import webbrowser
from pathlib import Path
from urllib.parse import urlencode

import click

from nealytics.cli.options import config_option, server_url
from nealytics.cli.token import check_ids, project_of, seconds_of, shared_signer, signed
from nealytics.config import Config, load
from nealytics.errors import NealyticsError


@click.command()
@click.option("--project", metavar="ID", help="The project whose events it shows.")
@click.option("--tenant", metavar="ID", help="The tenant whose events it shows. Without it: all tenants.")
@click.option(
    "--expires",
    callback=seconds_of,
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How long the link is good: s, m, h or d.",
)
@click.option("--url", help="The node's address. Default: where the configuration says that it listens.")
@click.option("--funnel", metavar="STEPS", help="Show a funnel of these event types, separated by commas.")
@click.option("--open", "open_", is_flag=True, help="Open it in this machine's browser.")
@config_option
def dashboard(
    project: str | None,
    tenant: str | None,
    expires: int,
    url: str | None,
    funnel: str | None,
    open_: bool,
    config_path: Path | None,
) -> None:
    """Print a link to the page of a tenant, or of all tenants side by side, with a token in it.

    Whoever has the link sees these events until it ends. The token stands behind the #, so no server
    and no proxy sees it.
    """
    config = load(config_path)
    check_pages(config, "dashboard")
    project = project_of(config.auth, project, "shows")
    check_ids(config, project, tenant)
    link = link_to(config, project, tenant, expires, url=url, funnel=funnel)
    click.echo(link)
    if open_ and not webbrowser.open(link):
        click.echo("dashboard: no browser could be opened here; open the link yourself", err=True)


def check_pages(config: Config, part: str) -> None:
    """Raises `NealyticsError` if the node of this configuration has no pages to link to."""
    if not config.web.pages:
        raise NealyticsError(f"{part}: web.pages is false, so the node has no page /embed; set it to true")


def link_to(
    config: Config,
    project: str,
    tenant: str | None,
    expires_s: int,
    *,
    url: str | None = None,
    funnel: str | None = None,
) -> str:
    """Raises `ConfigError` if there is no key to sign with."""
    token = signed(config.auth, shared_signer(config.auth, ""), project, tenant, expires_s)
    query = f"?{urlencode({'funnel': funnel})}" if funnel else ""
    return f"{(url or server_url(config)).rstrip('/')}/embed{query}#token={token}"
