"""`nealytics demo`: a project of example events, and links to its pages."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import click
import msgspec

from nealytics import demo as demo_events
from nealytics.cli.dashboard import link_to
from nealytics.cli.options import config_option, first_key, server_url
from nealytics.config import load
from nealytics.errors import NealyticsError
from nealytics.importer.sender import Event, Sender

_BATCH_EVENTS = 1_000
_GIVE_UP_AFTER_S = 30.0
_LINK_S = 12 * 3_600
FUNNEL = "signup,project_created,invite_sent,upgrade"


@click.command()
@click.option("--url", help="The node. Default: where the configuration says that it listens.")
@click.option("--key", help="An ingest key of it. Default: the first one in the configuration.")
@config_option
def demo(url: str | None, key: str | None, config_path: Path | None) -> None:
    """Fill the project "demo" of a running node with example events, and print links to its pages.

    Sixty days of three tenants: acme, globex and initech. Running it again adds what happened since.
    """
    config = load(config_path)
    address = url or server_url(config)
    events = list(demo_events.events(datetime.now(UTC)))
    asyncio.run(_send(address, key or first_key("demo", config), events))
    click.echo(f"{len(events):,} events of {demo_events.DAYS} days. Their pages, for 12 hours:\n")
    for tenant in demo_events.TENANTS:
        link = link_to(config, demo_events.PROJECT, tenant.tenant_id, _LINK_S, url=address, funnel=FUNNEL)
        click.echo(f"{tenant.tenant_id}\n  {link}\n")


async def _send(url: str, key: str, events: list[dict[str, object]]) -> None:
    def told(why: str, _delay_s: float) -> None:
        click.echo(f"demo: {why}; trying again", err=True)

    async with aiohttp.ClientSession() as session:
        sender = Sender(
            session, url, key, compression="gzip", give_up_after_s=_GIVE_UP_AFTER_S, on_retry=told
        )
        with click.progressbar(length=len(events), label="sending", show_eta=False) as bar:
            for batch in _batches(events):
                if refused := await sender.send(batch):
                    raise NealyticsError(
                        f"demo: {len(refused)} of {len(batch)} events were refused: {refused[0].error}"
                    )
                bar.update(len(batch))


def _batches(events: list[dict[str, object]]) -> Iterator[list[Event]]:
    for first in range(0, len(events), _BATCH_EVENTS):
        part = events[first : first + _BATCH_EVENTS]
        yield [Event(first + i, msgspec.json.encode(event)) for i, event in enumerate(part)]
