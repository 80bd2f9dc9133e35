"""A real browser before a real node, filled with the example events of `nealytics demo`.

Chromium is the system's (CHROMIUM names another); without one these tests are skipped. Each page is checked for
errors in the console at its end.
"""

import http.server
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest

from nealytics import demo
from tests.e2e.node import Node, token

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
          "--disable-component-update", "--disable-sync")  # fmt: skip
# Strict: nothing inline but the page's own few lines, nothing from elsewhere, no text that becomes code.
POLICY = (
    "default-src 'none'; frame-src {frames}; script-src {node} 'nonce-page'; style-src 'nonce-page'; connect-src 'self' {node}; img-src data:; "
    "require-trusted-types-for 'script'; trusted-types lit-html"
)

# Tokens end when they say, so that tests need not wait for longer; and questions may wait for a slow machine.
SAVED = """\
-- title: Events by type
-- param: from DateTime64
-- param: to DateTime64
-- param: tz Zone
-- param: least UInt32 = 1
SELECT event_type, toDate(max(timestamp), {tz:String}) AS latest, count() AS events,
    toDecimal64(count(), 2) / 4 AS quarter
FROM events WHERE timestamp >= {from:DateTime64} AND timestamp <= {to:DateTime64}
GROUP BY event_type HAVING events >= {least:UInt32} ORDER BY event_type
"""
SETTINGS = "auth.jwt_clock_skew_s = 0\nquery.queue_timeout_s = 120"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser/" in str(item.path).replace(os.sep, "/"):
            item.add_marker(pytest.mark.e2e)
            if CHROMIUM is None:
                item.add_marker(
                    pytest.mark.skip(reason="needs Chromium; on Debian: apt-get install chromium")
                )


class Site:
    """A SaaS's own pages, on an origin of their own, beside a node with events."""

    def __init__(self, node: Node, events: list[dict[str, Any]]) -> None:
        self.node = node
        self.events = events
        self.asked_tokens: list[str] = []  # what the pages asked `/token` for
        self._files: dict[str, tuple[str, dict[str, str]]] = {}  # path → text, headers
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                body, headers = site._files.get(path, ("", {}))
                if path == "/token":
                    body = site._token(query)
                self.send_response(200 if body else 204)
                for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def token(self, tenant: str) -> str:
        return token(demo.PROJECT, tenant)

    def _token(self, query: str) -> str:
        """`/token?tenant=acme&life=600`, as the SaaS's own server would give one to who is signed in."""
        self.asked_tokens.append(query)
        asked = dict(parse_qsl(query))
        return token(
            asked.get("project", demo.PROJECT), asked["tenant"], life_s=float(asked.get("life", 600))
        )

    def file(self, text: str, headers: dict[str, str] | None = None, kind: str = "html") -> str:
        """The address of a file of the SaaS."""
        name = f"/{len(self._files)}.{kind}"
        types = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
        self._files[name] = (text, {"Content-Type": f"{types[kind]}; charset=utf-8", **(headers or {})})
        return self.url + name

    def page(self, body: str, *, script: str = "", frames: str = "'none'") -> str:
        """The address of a page with this body; `TOKEN(tenant)` in its script is a token."""
        tokens = {tenant.tenant_id: self.token(tenant.tenant_id) for tenant in demo.TENANTS}
        return self.file(
            '<!doctype html><html lang="en-GB"><head><meta charset="utf-8"><title>A SaaS</title>'
            '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
            '<style nonce="page">:root{color-scheme:light dark}body{margin:16px;font:14px sans-serif;'
            "background:light-dark(#fff,#0f1115);color:light-dark(#14171c,#e8eaee)}</style>"
            f'<script type="module" src="{self.node.url}/embed.js"></script></head><body>{body}'
            f'<script type="module" nonce="page">const TOKENS = {json.dumps(tokens)}; '
            f"const TOKEN = (tenant) => TOKENS[tenant];\n{script}</script></body></html>",
            {"Content-Security-Policy": POLICY.format(node=self.node.url, frames=frames)},
        )


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    now = datetime.now(UTC)
    events = list(demo.events(demo.first_day(now), now))
    directory = tmp_path_factory.mktemp("browser")
    (directory / "queries").mkdir()
    (directory / "queries/by_type.sql").write_text(SAVED)
    saved = f"saved_queries.directory = {json.dumps(str(directory / 'queries'))}"
    with Node(directory, settings=f"{SETTINGS}\n{saved}") as node:
        node.wait_ready()
        for first in range(0, len(events), 1_000):
            status, body = node.post("batch", events[first : first + 1_000])
            assert status == 202, body
        node.wait_drained()
        site = Site(node, events)
        yield site
        site.close()


@pytest.fixture(scope="package")
def framed_node(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Node]:
    """A node whose page the SaaS may frame, with some events of one tenant."""
    settings = f'web.frame_ancestors = ["{site.url}"]'
    with Node(tmp_path_factory.mktemp("framed"), settings=settings) as node:
        node.wait_ready()
        status, body = node.post("batch", [one for one in site.events if one["tenantId"] == "acme"][-500:])
        assert status == 202, body
        node.wait_drained()
        yield node


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """For this package only: while it is open, a loop runs in this thread, where other tests start theirs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        yield browser
        browser.close()


Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Opens an address as a person in Berlin would; `expected` is text that may stand in the console."""
    contexts: list[Any] = []
    errors: list[str] = []
    allowed: list[str] = []

    def note(text: str) -> None:
        if not any(part in text for part in allowed):
            errors.append(text)

    def open_(url: str, *, expected: tuple[str, ...] = (), **options: Any) -> Any:
        allowed.extend(expected)
        settings = {
            "timezone_id": "Europe/Berlin",
            "locale": "en-GB",
            "viewport": {"width": 1280, "height": 900},
        }
        context = browser.new_context(**{**settings, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on(
            "console", lambda message: note(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: note(str(error)))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []
