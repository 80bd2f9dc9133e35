"""`nealytics demo`: a project of example events, and links to its pages."""

import asyncio
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import click
import msgspec

from nealytics import demo as story
from nealytics.cli.dashboard import check_pages, link_to
from nealytics.cli.options import config_option, first_key, server_url
from nealytics.cli.token import shared_signer, signed
from nealytics.config import Config, load
from nealytics.errors import NealyticsError
from nealytics.importer.sender import Event, Sender, SendError

_BATCH_EVENTS = 1_000
_GIVE_UP_AFTER_S = 30.0
_READABLE_AFTER_S = 60.0
# Events that an erasure covers, for example, never arrive.
_STILL_S = 5.0
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=10)
_LINK_S = 12 * 3_600


@click.command()
@click.option("--url", help="Address of the node. Default: server.listen of the configuration.")
@click.option("--key", help="API key. Default: the first one in the configuration.")
@config_option
def demo(url: str | None, key: str | None, config_path: Path | None) -> None:
    """Fill the project "demo" of a running node with example events, and print links to its pages.

    The events are sixty days of a SaaS with three tenants: acme, globex and initech. A second run adds the
    events since the first one, and no event twice. Days older than clickhouse.retention_days are left out.
    """
    config = load(config_path)
    check_pages(config, "demo")
    address = (url or server_url(config)).rstrip("/")
    count, days = asyncio.run(_fill(config, address, key or first_key("demo", config)))
    click.echo(f"The project {story.PROJECT} has {count:,} events of {days} days. Its pages, for 12 hours:")
    largest = story.TENANTS[0].tenant_id
    for whose, tenant in ((f"{largest}, the largest tenant", largest), ("all tenants side by side", None)):
        link = link_to(config, story.PROJECT, tenant, _LINK_S, url=address, funnel=",".join(story.FUNNEL))
        click.echo(f"\n{click.style(whose, bold=True)}\n{link}")
    others = " or ".join(tenant.tenant_id for tenant in story.TENANTS[1:])
    click.echo(f"\nFor {others}: nealytics dashboard --project {story.PROJECT} --tenant ID")


async def _fill(config: Config, url: str, key: str) -> tuple[int, int]:
    """How many events the project has then, and of how many days."""
    now = datetime.now(UTC)
    async with aiohttp.ClientSession(timeout=_REQUEST_TIMEOUT) as session:
        node = _Node(session, url, _owners_token(config))
        first = await node.first_day() or story.first_day(now)
        events = list(story.events(first, now, _kept_since(config.clickhouse.retention_days, now)))
        oldest = date.fromisoformat(min(event["timestamp"][:10] for event in events))
        await _send(session, url, key, events)
        await node.wait_until_readable(oldest, now, len(events))
    return len(events), (now.date() - oldest).days + 1


def _kept_since(retention_days: int, now: datetime) -> date:
    """The first day of which the node accepts and keeps all events; 0 keeps all days."""
    return (now - timedelta(days=retention_days - 1)).date() if retention_days else date.min


def _owners_token(config: Config) -> str:
    """Of the whole project. Raises `ConfigError` if there is no key to sign with."""
    return signed(config.auth, shared_signer(config.auth, ""), story.PROJECT, None, 3_600)


class _Node:
    """What is asked of the node."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}

    async def first_day(self) -> date | None:
        """Of the demo events that are there already, to continue these."""
        answer = await self._get("telemetry/timeline", eventType="page_view", limit="100")
        found = (story.first_day_in(event.get("sessionId") or "") for event in answer["events"])
        return next(filter(None, found), None)

    async def wait_until_readable(self, first: date, now: datetime, count: int) -> None:
        """The node answers an event when it is on its disk; its batch is in the table seconds later."""
        started = changed = time.monotonic()
        range_ = {"from": first.isoformat(), "to": f"{now:%Y-%m-%dT%H:%M:%S.999Z}"}
        found = -1
        while (events := (await self._get("analytics/summary", **range_))["events"]) < count:
            now_s = time.monotonic()
            if events != found:
                found, changed = events, now_s
            if now_s - started > _READABLE_AFTER_S or (events and now_s - changed > _STILL_S):
                click.echo(
                    f"demo: {events:,} of {count:,} events can be read; an erasure covers the others, or "
                    "they arrive later",
                    err=True,
                )
                return
            await asyncio.sleep(0.5)

    async def _get(self, route: str, **query: str) -> Any:
        try:
            async with self._session.get(
                f"{self._url}/api/v1/{route}", params=query, headers=self._headers
            ) as response:
                body = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            why = str(error) or type(error).__name__
            raise NealyticsError(
                f"demo: {self._url} does not answer ({why}); start the node, or give its address with --url"
            ) from error
        try:
            answer = msgspec.json.decode(body)
            if status == 200:
                return answer
            why = f"{answer['message']}. {answer['detail']}"
        except (msgspec.DecodeError, KeyError, TypeError):
            raise NealyticsError(
                f"demo: {self._url} answered {status}, but not like a Nealytics node; check --url"
            ) from None
        raise NealyticsError(f"demo: {self._url} answered {status}: {why}")


async def _send(session: aiohttp.ClientSession, url: str, key: str, events: list[dict[str, Any]]) -> None:
    def say(why: str, _delay_s: float) -> None:
        click.echo(f"demo: {why}; retrying", err=True)

    sender = Sender(session, url, key, compression="gzip", give_up_after_s=_GIVE_UP_AFTER_S, on_retry=say)
    hidden = not sys.stderr.isatty()
    with click.progressbar(
        length=len(events), label="sending", show_eta=False, width=0, file=sys.stderr, hidden=hidden
    ) as bar:
        for batch in _batches(events):
            try:
                refused = await sender.send(batch)
            except SendError as error:
                raise NealyticsError(str(error).replace("import:", "demo:", 1)) from error
            if refused:
                raise NealyticsError(
                    f"demo: {len(refused)} of {len(batch)} events were refused: {refused[0].error}"
                )
            bar.update(len(batch))


def _batches(events: list[dict[str, Any]]) -> Iterator[list[Event]]:
    for first in range(0, len(events), _BATCH_EVENTS):
        part = events[first : first + _BATCH_EVENTS]
        yield [Event(first + i, msgspec.json.encode(event)) for i, event in enumerate(part)]
