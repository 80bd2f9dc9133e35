"""docs/proxies.md: real proxies run with the configurations of the page, in front of a real node.

`scripts/test.sh` fetches them; a proxy that is not there is skipped.
"""

import contextlib
import gzip
import http.client
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nealytics.config import ServerConfig
from tests.e2e.node import KEY, Node, free_port, token
from tests.engine import needs_engine
from tests.waiting import until, while_running

PAGE = (Path(__file__).parent.parent / "docs" / "proxies.md").read_text()
BLOCKS = {
    name: re.findall(rf"^```{name}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for name in ("nginx", "haproxy", "caddy")
}
# What the page says of taking the prefix away: what stands in the second configuration, and instead of it.
TAKE_AWAY = {
    "nginx": ("proxy_pass http://nealytics;", "proxy_pass http://nealytics/;"),
    "haproxy": (
        "    option forwardfor\n",
        "    option forwardfor\n    http-request replace-path /analytics(/.*) \\1\n",
    ),
    "caddy": ("handle /analytics/*", "handle_path /analytics/*"),
}
PROGRAMS = {
    name: shutil.which(name) or shutil.which(name, path=str(Path(sys.prefix) / "tools")) for name in BLOCKS
}
PREFIX = "/analytics"
EVENTS = 2_000


def test_each_proxy_has_two_configurations_and_says_how_to_take_the_prefix_away():
    assert {name: len(blocks) for name, blocks in BLOCKS.items()} == dict.fromkeys(BLOCKS, 2)
    for name, (there, _) in TAKE_AWAY.items():
        assert there in BLOCKS[name][1]
    for said in (
        "proxy_pass http://nealytics/;",
        "http-request replace-path /analytics(/.*) \\1",
        "handle_path",
    ):
        assert f"`{said}`" in PAGE
    assert f'server.path_prefix = "{PREFIX}"' in PAGE


def test_an_idle_connection_is_kept_for_longer_than_the_proxies_keep_theirs():
    rows = re.findall(r"^\| ([^|]+) \| (\d+) s \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 10
    longer = {
        name: int(seconds) for name, seconds, _ in rows if int(seconds) >= ServerConfig().keepalive_timeout_s
    }
    # Where it is not so, the page says what to set.
    assert longer == {"Envoy": 3600, "Istio": 3600, "Cloudflare": 900}
    assert all("set " in how for name, _, how in rows if name in longer)
    assert f"is {ServerConfig().keepalive_timeout_s:.0f} s by default" in PAGE


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    settings = f'server.path_prefix = "{PREFIX}"\nquery.live_poll_s = 0.1'
    with Node(tmp_path_factory.mktemp("node"), settings=settings) as node:
        node.wait_ready()
        events = [event(f"s{number}", "stored") for number in range(EVENTS)]
        for at in range(0, EVENTS, 1_000):
            assert node.post("batch", events[at : at + 1_000])[0] == 202
        node.wait_drained()
        yield node


def event(session_id: str, tenant_id: str = "acme", **fields: object) -> dict[str, object]:
    return {
        "projectId": "shop",
        "tenantId": tenant_id,
        "sessionId": session_id,
        "eventType": "view",
        **fields,
    }


@contextlib.contextmanager
def running(name: str, text: str, node: Node, directory: Path) -> Iterator[int]:
    """The port of a proxy with this configuration."""
    program = PROGRAMS[name]
    if program is None:
        pytest.skip(f"{name} is not installed; scripts/test.sh fetches it where apt-get can")
    port = free_port()
    text = text.replace("127.0.0.1:5000", f"127.0.0.1:{node.port}")
    path = directory / name
    if name == "nginx":
        text = text.replace("listen 80;", f"listen 127.0.0.1:{port};")
        places = "".join(
            f"{kind}_temp_path {directory}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        path.write_text(
            f"daemon off;\nmaster_process off;\npid {directory}/pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{places}{text}}}\n"
        )
        command = [program, "-p", str(directory), "-c", str(path), "-e", "stderr"]
    elif name == "haproxy":
        path.write_text(text.replace("bind :80", f"bind 127.0.0.1:{port}"))
        command = [program, "-db", "-f", str(path)]
    else:
        host = re.sub(r"^[a-z.]+ \{", f"http://127.0.0.1:{port} {{", text)
        # Without a grace period its stop waits for the live stream that the client left, a minute.
        path.write_text(f"{{\n\tadmin off\n\tauto_https off\n\tgrace_period 1s\n}}\n{host}")
        command = [program, "run", "--adapter", "caddyfile", "--config", str(path)]
    environ = {
        "HOME": str(directory),
        "PATH": "/usr/bin:/bin",
        "LD_LIBRARY_PATH": str(Path(program).parent / "lib"),  # where scripts/test.sh puts haproxy's
    }
    log_path = directory / "log"
    with (
        log_path.open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environ, cwd=directory) as process,
    ):
        try:
            until(
                lambda: ask(port, "GET", "/analytics/health")[0] or ask(port, "GET", "/health")[0],
                pause=while_running(process, log_path),
                errors=(OSError, http.client.HTTPException),
                more=log_path.read_text,
            )
            yield port
        finally:
            process.terminate()


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


CASES = [
    pytest.param(name, way, id=f"{name}-{way}")
    for name in BLOCKS
    for way in ("own name", "prefix passed on", "prefix taken away")
]


@needs_engine
@pytest.mark.engine
@pytest.mark.e2e
@pytest.mark.parametrize(("name", "way"), CASES)
def test_everything_works_through_the_proxy(name: str, way: str, node: Node, tmp_path: Path):
    text = BLOCKS[name][0 if way == "own name" else 1]
    if way == "prefix taken away":
        text = text.replace(*TAKE_AWAY[name])
    prefix = "" if way == "own name" else PREFIX
    session = f"{name} {way}"
    with running(name, text, node, tmp_path) as port:
        base = f"{prefix}/api/v1/telemetry"
        key = {"X-Project-Key": KEY}
        reads = {"Authorization": f"Bearer {token('shop', 'acme')}"}

        status, body, headers = ask(port, "GET", f"{prefix}/health")
        assert (status, json.loads(body)) == (200, {"status": "ok"})
        assert headers["X-Request-Id"]
        assert ask(port, "GET", f"{prefix}/metrics")[0] == 404
        status, body, _ = ask(port, "GET", f"{prefix}/openapi.json")
        assert (status, json.loads(body)["servers"]) == (200, [{"url": "."}])

        # Bodies: as large as may be, and one that is too large, refused by Nealytics and not by the proxy.
        pad = "x" * 900
        large = json.dumps([event("large", "bodies", metadata={"pad": pad}) for _ in range(1_000)]).encode()
        assert 1_000_000 < len(large) < 1_048_576
        assert ask(port, "POST", f"{base}/batch", large, key)[0] == 202
        status, body, _ = ask(port, "POST", f"{base}/batch", large + b" " * 100_000, key)
        assert (status, json.loads(body)["code"]) == (413, "body_too_large")
        # Beyond nginx's own limit too. Not a 502, after which clients send again.
        assert ask(port, "POST", f"{base}/batch", large + b" " * 2_500_000, key)[0] == 413
        packed = gzip.compress(json.dumps([event("packed", "bodies")] * 50).encode())
        assert ask(port, "POST", f"{base}/batch", packed, {**key, "Content-Encoding": "gzip"})[0] == 202

        # Live: the event arrives while the stream stays open.
        live = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        live.request("GET", f"{base}/live", headers=reads)
        stream = live.getresponse()
        assert stream.status == 200
        assert ask(port, "POST", f"{base}/track", json.dumps(event(session)).encode(), key)[0] == 202
        while session.encode() not in (line := stream.fp.readline()):
            assert line, "the stream ended"
        live.close()

        # Export: all of it, in every form.
        stored = {"Authorization": f"Bearer {token('shop', 'stored')}"}
        status, body, _ = ask(port, "GET", f"{base}/export?from=2020-01-01", headers=stored)
        assert status == 200
        lines = [json.loads(line) for line in body.splitlines()]
        assert sum("sessionId" in line for line in lines) == EVENTS
        status, body, _ = ask(port, "GET", f"{base}/export?from=2020-01-01&format=parquet", headers=stored)
        assert (status, body[:4], body[-4:]) == (200, b"PAR1", b"PAR1")
