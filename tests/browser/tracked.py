"""A site whose pages have the tracker, and what its node stored of them."""

import http.server
import json
import threading
from datetime import datetime
from typing import Any

from tests.e2e.node import KEY, Node, token
from tests.waiting import until

BROWSER_KEY = "browser-key-of-the-site"
PROJECT = "site"
KEY_WITH_SIGNS = "a+key&of=signs#%ü"
KEYS = [
    {"key": KEY},
    *({"key": key, "kind": "browser", "project": PROJECT} for key in (BROWSER_KEY, KEY_WITH_SIGNS)),
]
SETTINGS = f"auth.api_keys = {json.dumps(KEYS)}\ningest.rate_limit_requests_per_address = 100000"
# The strictest policy under which docs/sending.md says that the tracker works.
POLICY = "default-src 'none'; script-src {node}; connect-src 'self' {node}; img-src data:"


class TrackedSite:
    """An origin of its own. Every path is a page; `attributes` are those of the tracker's element."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.asked_tokens: list[str] = []
        self.bodies: dict[str, str] = {}  # path → what the page has beside the tracker
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path.startswith("/token/"):
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(site.token(*path.split("/")[2:]).encode())
                    return
                tenant = path.split("/")[1]
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                for name, value in site.headers().items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(site.html(tenant, site.bodies.get(path, "")).encode())

            def log_message(self, *_: object) -> None:
                pass

        self._attributes: dict[str, str] = {}
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def token(self, tenant: str, user: str = "ada") -> str:
        """What the site's own server gives to who is signed in; the first token of `own` has ended already."""
        self.asked_tokens.append(tenant)
        life_s = -600 if tenant == "own" and self.asked_tokens.count("own") == 1 else 600
        return token(PROJECT, tenant, life_s=life_s, scope="ingest", user_id=user)

    def headers(self) -> dict[str, str]:
        return {"Content-Security-Policy": POLICY.format(node=self.node.url)}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def html(self, tenant: str, body: str) -> str:
        attributes = self._attributes.get(tenant, "")
        if "data-token" not in attributes:
            attributes += f' data-key="{BROWSER_KEY}" data-tenant="{tenant}"'  # the key has the project
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A site</title>'
            f'<link rel="icon" href="data:,"><script defer src="{self.node.url}/t.js" {attributes}></script></head>'
            f"<body>{body}</body></html>"
        )

    def page(self, tenant: str, path: str = "", *, attributes: str = "", body: str = "") -> str:
        """The address of a page of this tenant. Others of the tenant have the same attributes."""
        self._attributes.setdefault(tenant, attributes)
        self.bodies[f"/{tenant}/{path}"] = body
        return f"{self.url}/{tenant}/{path}"


def stored(node: Node, tenant: str) -> list[dict[str, Any]]:
    """The tenant's events as a reader gets them, oldest first, with their metadata."""
    status, body = node.request(
        "GET",
        "/api/v1/telemetry/export?from=2000-01-01&to=2100-01-01",
        headers={"Authorization": f"Bearer {token(PROJECT, tenant)}"},
    )
    assert status == 200, body
    events = [json.loads(line) for line in body.splitlines()]
    for event in events:
        event["metadata"] = json.loads(event["metadataJson"])
        event["timestamp"] = datetime.fromisoformat(event["timestamp"])
    return sorted(events, key=lambda event: event["timestamp"])


def until_stored(node: Node, tenant: str, count: int) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []

    def are_stored() -> bool:
        nonlocal events
        events = stored(node, tenant)
        return len(events) >= count

    until(are_stored)
    assert len(events) == count, [event["eventType"] for event in events[: count + 10]]
    return events


def waiting(page: Any) -> int:
    """The events in the queue of this origin."""
    found: int = page.evaluate(
        "() => Object.keys(localStorage).filter((entry) => /^nealytics,.*]e[^\\]]*$/.test(entry)).length"
    )
    return found


def until_sent(page: Any) -> None:
    until(lambda: waiting(page) == 0)
