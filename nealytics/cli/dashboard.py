"""`nealytics dashboard`: a link to a tenant's page."""

import webbrowser
from pathlib import Path
from urllib.parse import urlencode

import click

from nealytics.cli.options import config_option, server_url
from nealytics.cli.token import check_ids, expires_option, project_of, shared_signer, signed
from nealytics.config import Config, load
from nealytics.errors import NealyticsError


@click.command()
@click.option("--project", metavar="ID", help="The project to show.")
@click.option("--tenant", metavar="ID", help="The tenant to show. Default: all tenants.")
@expires_option
@click.option("--url", help="Address of the node. Default: server.listen of the configuration.")
@click.option("--funnel", metavar="STEPS", help="Show a funnel of these event types, separated by commas.")
@click.option(
    "--dead-letter",
    "dead_letter",
    is_flag=True,
    help="Show the dead letter of --project instead, or with --project * of all, with retry and drop.",
)
@click.option("--open", "open_", is_flag=True, help="Open the link in the browser of this machine.")
@config_option
def dashboard(
    project: str | None,
    tenant: str | None,
    expires: int,
    url: str | None,
    funnel: str | None,
    dead_letter: bool,
    open_: bool,
    config_path: Path | None,
) -> None:
    """Print a link to the page of a tenant, or of all tenants side by side. The link contains a token.

    With --dead-letter, a link to the events that could not be stored. Its token is an admin token: keep it
    to yourself.

    Everyone with the link can see these events until it expires. The token is after the #, which browsers do
    not send to servers or proxies.
    """
    config = load(config_path)
    check_pages(config, "dashboard")
    project = project_of(config.auth, project, "shows")
    check_ids(config, project, tenant)
    if dead_letter:
        if tenant is not None or funnel is not None:
            raise click.UsageError("--dead-letter is for a whole project, without --tenant and --funnel.")
        token = signed(config.auth, shared_signer(config.auth, ""), project, None, expires, admin=True)
        link = f"{(url or server_url(config)).rstrip('/')}/dead-letter#token={token}"
    else:
        link = link_to(config, project, tenant, expires, url=url, funnel=funnel)
    click.echo(link)
    if open_ and not webbrowser.open(link):
        click.echo("dashboard: cannot open a browser on this machine; open the link yourself", err=True)


def check_pages(config: Config, part: str) -> None:
    """Raises `NealyticsError` if the node of this configuration has no pages to link to."""
    if not config.web.pages:
        raise NealyticsError(f"{part}: web.pages is false, so the node does not serve /embed; set it to true")


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
    query = f"?{urlencode({'funnel': funnel}, safe=',')}" if funnel else ""
    return f"{(url or server_url(config)).rstrip('/')}/embed{query}#token={token}"
