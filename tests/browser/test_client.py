"""`nealytics/client` against a real node, in Node, Deno, Bun and Chromium, behind a proxy that spoils answers.

What is tried is in `web/test/client/suite.mjs`, the same for all.
"""

import http.client
import http.server
import json
import shutil
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.browser.packages import WEB, build, bundle, needs_node, runtime
from tests.e2e.node import JWT_KEY, Node, token

EVENTS = 1_000
_GAP = (
    b'event: gap\ndata: {"code":"gap","from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}\n\n'
    b'id: 7\ndata: {"eventId":"after"}\n\n'
)


class Proxy:
    """`/<mode>/<client>/…` is the node's, spoiled as the mode says; `/<mode>/<client>/seen` what came.

    plain; busy-N: the first N get a 503; break-N: the first N break off; cut, cut-line, break: an export ends early,
    cleanly in the middle, cleanly after a line, or by its connection; silent-N: the first N streams say nothing;
    gap: a stream with a gap. `/control/…` does something to the node.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.seen: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.pages: dict[str, tuple[str, bytes]] = {}
        self.restarting = threading.Lock()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy.answer(self)

            do_POST = do_OPTIONS = do_GET

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                pass  # clients leave

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if handler.path in self.pages:
            kind, page = self.pages[handler.path]
            return self.reply(handler, 200, page, kind)
        _, mode, client, rest = (*handler.path.split("/", 3), "")[:4]
        if mode == "control":
            return self.reply(handler, 200, self.control(client, rest).encode())
        if rest == "seen":
            return self.reply(handler, 200, json.dumps(self.seen[client]).encode())
        if handler.command == "OPTIONS":
            return self.forward(handler, rest, body)
        name, _, count = mode.partition("-")
        entry: dict[str, Any] = {"at": time.monotonic(), "status": 0}
        self.seen[client].append(entry)
        early = count.isdigit() and len(self.seen[client]) <= int(count)
        if name == "busy" and early:
            entry["status"] = 503
            error = {"code": "queries_busy", "message": "busy", "detail": "", "requestId": "1"}
            return self.reply(handler, 503, json.dumps(error).encode(), headers={"Retry-After": "1"})
        if name == "gap" or (name == "silent" and early):
            self.head(handler, 200, {"Content-Type": "text/event-stream", "Connection": "close"})
            handler.wfile.write(_GAP if name == "gap" else b"")
            handler.wfile.flush()
            handler.close_connection = True
            while name == "silent" and handler.rfile.read(1):
                pass  # until the client leaves
            return None
        spoil = mode if mode in ("cut", "cut-line", "break") or (name == "break" and early) else ""
        return self.forward(handler, rest, body, entry, spoil)

    def forward(
        self,
        handler: http.server.BaseHTTPRequestHandler,
        rest: str,
        body: bytes,
        entry: dict[str, Any] | None = None,
        spoil: str = "",
    ) -> None:
        dropped = {"host", "content-length", "connection", "accept-encoding"}
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in dropped}
        upstream = http.client.HTTPConnection("127.0.0.1", self.node.port)
        handler.close_connection = True
        try:
            upstream.request(handler.command, "/" + rest, body or None, headers)
            answer = upstream.getresponse()
        except OSError:
            return  # the connection breaks, as the node's has
        if entry is not None:
            entry["status"] = answer.status
        kept = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in {"transfer-encoding", "content-length", "connection", "trailer"}
        }
        self.head(
            handler, answer.status, {**kept, "Transfer-Encoding": "chunked", "Connection": "close"}, raw=True
        )
        try:
            if spoil:
                whole = answer.read()
                part = whole[: len(whole) // 2]
                if spoil == "cut-line":
                    part = part[: part.rfind(b"\n") + 1]
                self.chunk(handler, part)
                if spoil.startswith("break"):
                    return
            else:
                while piece := answer.read1(65536):
                    self.chunk(handler, piece)
            handler.wfile.write(b"0\r\n\r\n")
        except (OSError, http.client.HTTPException):
            pass  # so does the client's
        finally:
            upstream.close()

    def chunk(self, handler: http.server.BaseHTTPRequestHandler, piece: bytes) -> None:
        if piece:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            handler.wfile.flush()

    def head(
        self,
        handler: http.server.BaseHTTPRequestHandler,
        status: int,
        headers: dict[str, str],
        *,
        raw: bool = False,
    ) -> None:
        handler.send_response_only(status)
        if not raw:
            headers = {**headers, "Access-Control-Allow-Origin": "*"}
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()

    def reply(
        self,
        handler: http.server.BaseHTTPRequestHandler,
        status: int,
        body: bytes,
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        exposed = {"Access-Control-Expose-Headers": "Retry-After"}
        self.head(
            handler,
            status,
            {"Content-Type": kind, "Content-Length": str(len(body)), **exposed, **(headers or {})},
        )
        handler.wfile.write(body)

    def control(self, what: str, argument: str) -> str:
        if what == "token":  # one that ends so many seconds from now
            claims = {"project_id": "shop", "tenant_id": "acme", "exp": int(time.time()) + int(argument)}
            return jwt.encode(claims, JWT_KEY, algorithm="HS256")
        if what == "restart":
            with self.restarting:
                assert self.node.stop() == 0
                self.node.start()
                self.node.wait_ready()
        if what == "event":
            kind, item = argument.split("/")
            event = {**BASE, "eventType": kind, "itemId": item, "sessionId": "live"}
            assert self.node.post("track", event)[0] == 202
        return "done"


BASE = {"projectId": "shop", "tenantId": "acme", "userId": "ada"}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    first = datetime(2026, 1, 2, tzinfo=UTC)
    events = [
        {
            **BASE,
            "sessionId": f"s{n % 20}",
            "eventType": "buy" if n % 4 == 3 else "view",
            "itemId": "/a" if n % 4 < 2 else '/b\r\nsecond "nealyticsExport.end","5",,\r\nZ"',
            "timestamp": (first + timedelta(minutes=n)).isoformat(),
        }
        for n in range(EVENTS)
    ]
    with Node(tmp_path_factory.mktemp("client"), settings="query.live_overlap_s = 2") as node:
        node.wait_ready()
        status, body = node.post("batch", events)
        assert status == 202, body
        assert json.loads(body)["accepted"] == EVENTS, body
        node.wait_drained()
        proxy = Proxy(node)
        yield proxy
        proxy.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("package")) / "client.js"


def configuration(proxy: Proxy, name: str) -> str:
    given = {"proxy": proxy.url, "token": token("shop", "acme"), "events": EVENTS, "runtime": name}
    return json.dumps(given)


def verify(results: list[tuple[str, str | None]]) -> None:
    assert len(results) == 21
    failed = [f"{name}: {error}" for name, error in results if error is not None]
    assert not failed, "\n\n".join(failed)


@needs_node
@pytest.mark.parametrize("name", ["node", "deno", "bun"])
def test_the_client_keeps_its_promises_in(name: str, proxy: Proxy, client: Path):
    program = runtime(name)
    if program is None:
        pytest.skip(f"needs {name}, which scripts/test.sh installs where npm can")
    options = ["run", "--allow-all", "--node-modules-dir=manual"] if name == "deno" else []
    script = client.parent.parent.parent / "run.mjs"
    for file in ("run.mjs", "suite.mjs"):
        shutil.copy(WEB / "test" / "client" / file, script.parent)
    ran = subprocess.run(
        [program, *options, str(script), str(client), configuration(proxy, name)],
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr + ran.stdout
    verify(json.loads(ran.stdout.splitlines()[-1]))


@needs_node
def test_the_client_keeps_its_promises_in_chromium(proxy: Proxy, client: Path, browser: Any):
    directory = client.parent.parent.parent
    entry = directory / "entry.mjs"
    entry.write_text(
        f'import * as client from "nealytics/client";\nimport {{ run }} from "{WEB}/test/client/suite.mjs";\n'
        "globalThis.start = (configuration) => run(client, configuration);\n"
    )
    bundled = bundle(entry, directory / "page.js")
    proxy.pages["/page.js"] = ("text/javascript", bundled)
    proxy.pages["/page"] = ("text/html", b'<!doctype html><script type="module" src="/page.js"></script>')
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(240_000)
    # Another name for the same machine, and so another origin.
    page.goto(proxy.url.replace("127.0.0.1", "localhost") + "/page")
    page.wait_for_function("() => globalThis.start")
    verify(page.evaluate("(text) => start(JSON.parse(text))", configuration(proxy, "chromium")))
    context.close()
