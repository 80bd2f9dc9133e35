"""The end of an export: a client can tell it, through whatever proxy it comes."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nealytics.clickhouse.errors import ClickHouseUnavailable
from nealytics.queries import export
from tests.http.reader import NOW, Reader, event, on_the_engine, token_of
from tests.http.test_export import EXPORT, RANGE, Tampered, fill
from tests.ports import free_port
from tests.waiting import until_async

pytestmark = on_the_engine

END = b'{"nealyticsExport":{"end":true,"events":%d}}\n'


async def raw(reader: Reader, port: int | None = None, *, te: str = "", **query: str) -> tuple[bytes, bytes]:
    """Head and body as they come, chunks undone by nobody."""
    host, own = reader.url.removeprefix("http://").split(":")
    incoming, outgoing = await asyncio.open_connection(host, port or int(own))
    asked = "&".join(f"{name}={value}" for name, value in (RANGE | query).items())
    more = f"TE: {te}\r\nConnection: TE, close\r\n" if te else "Connection: close\r\n"
    outgoing.write(
        f"GET {EXPORT}?{asked} HTTP/1.1\r\nHost: x\r\n{more}"
        f"Authorization: Bearer {token_of('shop', 'acme')}\r\n\r\n".encode()
    )
    answer = await asyncio.wait_for(incoming.read(), 60)
    outgoing.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


async def text_of(reader: Reader, **query: str) -> bytes:
    async with reader.open(EXPORT, **(RANGE | query)) as answer:
        assert answer.status == 200
        return bytes(await answer.read())


@pytest.mark.parametrize("count", [0, 3])
async def test_the_last_record_says_that_it_is_the_last(reader: Reader, count: int):
    if count:
        await reader.store(*(event(NOW, session_id='Z"\r\n') for _ in range(count)))
    plain = {form: await text_of(reader, format=form) for form in ("ndjson", "csv")}
    assert await text_of(reader, format="ndjson", end="true") == plain["ndjson"] + END % count
    csv_end = f'"nealyticsExport.end","{count}",,,,,,,\r\n'.encode()
    assert await text_of(reader, format="csv", end="true") == plain["csv"] + csv_end
    assert plain["csv"].startswith(export.CSV_HEADER)


async def test_parquet_has_an_end_of_its_own_and_gets_no_other(reader: Reader):
    await reader.store(event(NOW))
    body = await text_of(reader, format="parquet", end="true")
    assert body[:4] == body[-4:] == b"PAR1"


async def test_what_is_compressed_has_the_record_in_it(reader: Reader):
    await reader.store(event(NOW))
    async with reader.open(EXPORT, headers={"Accept-Encoding": "gzip"}, end="true", **RANGE) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert (await answer.read()).endswith(END % 1)


@pytest.mark.parametrize("form", ["ndjson", "csv"])
@pytest.mark.parametrize("count", [0, 5])
async def test_the_number_of_events_is_a_trailer_for_clients_that_accept_one(
    reader: Reader, form: str, count: int
):
    if count:
        await reader.store(*(event(NOW) for _ in range(count)))
    ways: tuple[dict[str, Any], ...] = ({"end": "true"}, {"te": "trailers"})
    for how in ways:
        head, body = await raw(reader, format=form, **how)
        assert b"\r\nTrailer: Nealytics-Events\r\n" in head + b"\r\n"
        assert body.endswith(b"0\r\nNealytics-Events: %d\r\n\r\n" % count)
    head, body = await raw(reader, format=form)
    assert b"Trailer" not in head
    assert body.endswith(b"0\r\n\r\n")


async def test_an_export_that_breaks_off_has_no_end_of_any_kind(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
):
    await broken(reader, monkeypatch)
    head, body = await raw_until_reset(reader)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body.count(b"\n") > 100
    assert b"nealyticsExport" not in body
    assert b"Nealytics-Events" not in body


async def broken(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, ClickHouse is lost in the middle of the third slice."""
    await fill(reader.clickhouse, 2_000)
    monkeypatch.setattr(export, "SLICE_EVENTS_MAX", 300)
    monkeypatch.setattr(export, "RETRY_DELAYS_S", ())
    tampered = Tampered(reader, monkeypatch)

    def fails(number: int, piece: int) -> None:
        if number >= 2:
            raise ClickHouseUnavailable("gone")

    tampered.during = fails


async def raw_until_reset(reader: Reader) -> tuple[bytes, bytes]:
    host, port = reader.url.removeprefix("http://").split(":")
    incoming, outgoing = await asyncio.open_connection(host, int(port))
    asked = "&".join(f"{name}={value}" for name, value in (RANGE | {"end": "true"}).items())
    outgoing.write(
        f"GET {EXPORT}?{asked} HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n"
        f"Authorization: Bearer {token_of('shop', 'acme')}\r\n\r\n".encode()
    )
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := await asyncio.wait_for(incoming.read(65_536), 60):
            answer += piece
    outgoing.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


# Through real proxies

CONFIGS = {
    "nginx": """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
  uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass {target}; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
""",
    "haproxy": """
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 10s
frontend in
  bind 127.0.0.1:{port}
  default_backend node
backend node
  server one {address}
""",
    "caddy": """
{{
  admin off
  auto_https off
}}
:{port} {{
  bind 127.0.0.1
  reverse_proxy {address}
}}
""",
}
VERSION = {"nginx": "-v", "haproxy": "-v", "caddy": "version"}
COMMANDS = {
    "nginx": ["nginx", "-c", "{file}"],
    "haproxy": ["haproxy", "-db", "-f", "{file}"],
    "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", "{file}"],
}


@contextlib.contextmanager
def proxy(name: str, target: str, directory: Path) -> Iterator[int]:
    """Its port. In the foreground and on loopback; it ends with the context."""
    tools = Path(sys.prefix) / "tools"  # where scripts/test.sh puts them
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:{tools}")
    environ = {
        **os.environ,
        "XDG_DATA_HOME": str(directory),
        "XDG_CONFIG_HOME": str(directory),
        "LD_LIBRARY_PATH": str(tools / "lib"),
    }
    if (
        program is None
        or subprocess.run([program, VERSION[name]], env=environ, capture_output=True).returncode
    ):
        pytest.skip(f"{name} is not installed; on Debian it is in the package {name}")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    port = free_port()
    file = directory / f"{name}.conf"
    address = target.removeprefix("http://")
    file.write_text(CONFIGS[name].format(dir=directory, port=port, target=target, address=address))
    argv = [program, *(part.format(file=file) for part in COMMANDS[name][1:])]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, env=environ)
    try:
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


async def curl(port: int, *more: str) -> tuple[int, bytes]:
    """Its exit status and what it got, over the proxy, as soon as that serves."""
    asked = "&".join(f"{name}={value}" for name, value in (RANGE | {"end": "true"}).items())
    argv = ["curl", "-sS", *more, "-m", "60", "-H", f"Authorization: Bearer {token_of('shop', 'acme')}"]
    argv.append(f"http://127.0.0.1:{port}{EXPORT}?{asked}")

    async def answer() -> tuple[int, bytes] | None:
        process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, _ = await process.communicate()
        assert process.returncode is not None
        return (process.returncode, out) if process.returncode != 7 else None  # 7: nobody listens yet

    found: tuple[int, bytes] = await until_async(answer)
    return found


def last_line(body: bytes) -> Any:
    try:
        return json.loads(body.rsplit(b"\n", 2)[-2])
    except (ValueError, IndexError):
        return None


@pytest.mark.parametrize("name", sorted(CONFIGS))
async def test_an_export_through_a_proxy_ends_with_its_record_or_is_cut(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    """Caddy 2.6 makes a complete answer of one that was cut; there only the record tells. nginx drops
    trailers, which is why there is a record at all."""
    with proxy(name, reader.url, tmp_path) as port:
        await fill(reader.clickhouse, 2_000)
        status, body = await curl(port)
        assert status == 0
        assert last_line(body) == {"nealyticsExport": {"end": True, "events": 2_000}}
        assert body.count(b"\n") == 2_001
        _, with_frames = await curl(port, "--raw")
        has_trailer = b"nealytics-events: 2000" in with_frames.lower()
        assert has_trailer == (name != "nginx")
        await reader.clickhouse.command("TRUNCATE TABLE nealytics_core.global_events")
        await broken(reader, monkeypatch)
        status, body = await curl(port)
        assert body.count(b"\n") < 2_000
        assert "nealyticsExport" not in (last_line(body) or {})
        # What a client sees that does not know of the record.
        if name != "caddy":
            assert status == 18
