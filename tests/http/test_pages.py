"""The files that browsers get from the node."""

import gzip
import re
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from nealytics.config import WebConfig
from nealytics.http.app import Cors, answering
from nealytics.http.pages import add_page_routes
from nealytics.process import data_directory

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PAGES = ["/", "/embed"]
SCRIPTS = ["/t.js", "/embed.js", "/embed-de.js", "/embed-page.js", "/home-page.js", "/embed-page.css"]
ALL = [*PAGES, *SCRIPTS]


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application(middlewares=[answering(Cors(()))])
    add_page_routes(app, WebConfig(frame_ancestors=("https://app.example", "https://b.example")))
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        yield client


@pytest.mark.parametrize("path", ALL)
async def test_each_file_is_compressed_for_clients_that_accept_it(client: TestClient[Any, Any], path: str):
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    packed = await client.get(path, headers={"Accept-Encoding": "br, GZIP"})
    refused = await client.get(path, headers={"Accept-Encoding": "br, gzip;q=0"})
    assert "Content-Encoding" not in refused.headers
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(await packed.read()) == await plain.read()
    best = await client.get(path, headers={"Accept-Encoding": "gzip, deflate, br, zstd"})
    assert best.headers["Content-Encoding"] == "zstd"
    assert zstd.decompress(await best.read()) == await plain.read()
    assert len({answer.headers["ETag"] for answer in (plain, packed, best)}) == 3
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ALL)
async def test_a_client_with_the_current_version_gets_304(client: TestClient[Any, Any], path: str):
    first = await client.get(path)
    again = await client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    for name in ("Cache-Control", "ETag", "Vary", "Content-Security-Policy"):
        assert again.headers.get(name) == first.headers.get(name)


@pytest.mark.parametrize("path", ALL)
async def test_a_head_has_the_headers_alone(client: TestClient[Any, Any], path: str):
    get, head = await client.get(path), await client.head(path)
    assert (head.status, await head.read()) == (200, b"")
    for name in ("ETag", "Content-Length", "Content-Type", "Content-Encoding", "Cache-Control"):
        assert head.headers.get(name) == get.headers.get(name)


@pytest.mark.parametrize("path", SCRIPTS)
async def test_a_script_of_a_version_is_kept_for_ever_and_another_versions_is_not(
    client: TestClient[Any, Any], path: str
):
    first = await client.get(path)
    version = first.headers["ETag"].strip('"').partition("-")[0]
    assert first.headers["Cache-Control"] == "public, max-age=3600"
    assert "immutable" in (await client.get(path, params={"v": version})).headers["Cache-Control"]
    other = await client.get(path, params={"v": "another"})
    assert (other.status, await other.read()) == (200, await first.read())
    assert "immutable" not in other.headers["Cache-Control"]


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_asked_for_again_and_tells_nobody_where_it_was(
    client: TestClient[Any, Any], path: str
):
    headers = (await client.get(path)).headers
    assert headers["Cache-Control"] == "no-cache"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers.getall("X-Frame-Options") == ["SAMEORIGIN"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", [*PAGES, "/embed-page.js", "/embed.js"])
async def test_a_page_names_the_versions_of_what_it_loads(client: TestClient[Any, Any], path: str):
    text = await (await client.get(path, headers={"Accept-Encoding": "identity"})).text()
    links = re.findall(r'"(?:\./)?([\w-]+\.(?:js|css)(?:\?[^"]*)?)"', text)
    assert links
    for link in links:
        assert "immutable" in (await client.get(f"/{link}")).headers["Cache-Control"], link


@pytest.mark.parametrize("path", ["/t.js", "/embed.js", "/embed-de.js"])
async def test_a_page_of_any_origin_may_load_the_script(client: TestClient[Any, Any], path: str):
    answer = await client.get(path, headers={"Origin": "https://anywhere.example"})
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_nothing_from_other_origins_and_only_configured_ones_may_frame_it(
    client: TestClient[Any, Any], path: str
):
    policy = (await client.get(path)).headers["Content-Security-Policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'self' https://app.example https://b.example" in policy
    assert not [part for part in policy if "unsafe" in part]


async def test_the_script_is_small():
    size = len(gzip.compress((data_directory("web") / "embed.js").read_bytes()))
    assert size <= 50 * 1024


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_the_tracker_has_at_most_two_kilobytes_as_it_is_sent(client: TestClient[Any, Any], coding: str):
    answer = await client.get("/t.js", headers={"Accept-Encoding": coding})
    assert answer.headers["Content-Encoding"] == coding
    assert len(await answer.read()) <= 2_048


async def test_by_default_the_node_alone_may_frame_its_pages():
    app = web.Application(middlewares=[answering(Cors(()))])
    add_page_routes(app, WebConfig())
    async with TestClient(TestServer(app)) as client:
        policy = (await client.get("/embed")).headers["Content-Security-Policy"]
    assert policy.endswith("; frame-ancestors 'self'")
