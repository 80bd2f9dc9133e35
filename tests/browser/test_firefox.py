"""The dashboard in Firefox, driven by WebDriver BiDi, which Firefox speaks by itself. Skipped where it is not installed."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.browser.conftest import Site
from tests.browser.test_dashboard import ACME, DASHBOARD, chosen, number, today
from tests.ports import free_port
from tests.waiting import until_async

FIREFOX = os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")

pytestmark = pytest.mark.skipif(
    FIREFOX is None, reason="needs Firefox; on Debian: apt-get install firefox-esr"
)

SHOWN = """(() => {
  const inside = (selector) => document.querySelector("nealytics-dashboard").shadowRoot.querySelector(selector)?.shadowRoot;
  const tiles = [...(inside("nealytics-figures")?.querySelectorAll("li") ?? [])];
  const tile = tiles.find((li) => li.querySelector(".label")?.textContent.trim() === "Events");
  return JSON.stringify({
    events: tile?.querySelector(".value")?.title ?? "",
    rows: inside('nealytics-top[dimension="event_type"]')?.querySelectorAll(".row").length ?? 0,
    lines: inside("nealytics-timeseries")?.querySelectorAll("svg path").length ?? 0,
    wide: document.documentElement.scrollWidth - innerWidth,
  });
})()"""
CLICK = """document.querySelector("nealytics-dashboard").shadowRoot
  .querySelector('nealytics-top[dimension="event_type"]').shadowRoot.querySelector(".row").click()"""


class Tab:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._id = 0
        self._context = ""
        self.errors: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._id += 1
        await self._socket.send_json({"id": self._id, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=60)
            if message.get("method") == "log.entryAdded" and message["params"]["level"] in ("error", "warn"):
                self.errors.append(str(message["params"]["text"]))
            if message.get("id") == self._id:
                assert message["type"] == "success", message
                found: dict[str, Any] = message["result"]
                return found

    async def open(self, url: str) -> None:
        await self.call("session.new", capabilities={})
        await self.call("session.subscribe", events=["log.entryAdded"])
        self._context = (await self.call("browsingContext.getTree"))["contexts"][0]["context"]
        await self.call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        target = {"context": self._context}
        answer = await self.call("script.evaluate", expression=expression, target=target, awaitPromise=True)
        assert answer["type"] == "success", answer
        return answer["result"].get("value")

    async def shown(self, events: int) -> dict[str, Any]:
        found: dict[str, Any] = {}

        async def is_shown() -> bool:
            found.update(json.loads(await self.evaluate(SHOWN)))
            return number(found["events"] or "-1") == events and found["rows"] and found["lines"]

        await until_async(is_shown, more=lambda: f"not {events}: {found}, {self.errors}")
        return found


@asynccontextmanager
async def firefox(profile: Path) -> AsyncIterator[Tab]:
    assert FIREFOX is not None
    port = free_port()
    command = [
        FIREFOX,
        "--headless",
        "--no-remote",
        "--profile",
        str(profile),
        "--remote-debugging-port",
        str(port),
    ]
    with (profile / "firefox.log").open("wb") as log:
        environ = {**os.environ, "HOME": str(profile), "TZ": "Europe/Berlin"}
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=environ)
    try:
        async with aiohttp.ClientSession() as session:

            async def connect() -> aiohttp.ClientWebSocketResponse:
                assert process.returncode is None, (profile / "firefox.log").read_text()
                return await session.ws_connect(f"ws://127.0.0.1:{port}/session")

            more = (profile / "firefox.log").read_text
            socket = await until_async(connect, errors=(aiohttp.ClientError,), more=more)
            yield Tab(socket)
            await socket.close()
    finally:
        process.terminate()
        await process.wait()


def test_the_dashboard_shows_its_numbers_and_takes_a_click_in_firefox(site: Site, tmp_path: Path):
    month = chosen(site, today() - timedelta(days=29), today())
    address = site.page(DASHBOARD, script=ACME)

    async def visit() -> None:
        async with firefox(tmp_path) as tab:
            await tab.open(address)
            found = await tab.shown(len(month))
            assert found["wide"] <= 0
            assert found["lines"] > 1
            name = await tab.evaluate(CLICK.replace(".click()", '.querySelector(".key").textContent.trim()'))
            await tab.evaluate(CLICK)
            await tab.shown(sum(event["eventType"] == name for event in month))
            assert tab.errors == []

    # In a thread of its own: in this one Playwright's loop may run.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, visit()).result()
