"""Tokens over a whole node: its workers know an issuer's keys each for itself, and count requests together.

No ClickHouse answers here: 503 `clickhouse_unavailable` is what a good token gets, and all that is asked.
"""

import asyncio
import collections
import json
import time
from pathlib import Path
from typing import Any

import pytest

from nealytics.auth.jwt import TOKEN_BYTES_MAX
from nealytics.auth.key_set import ASK_AGAIN_S
from tests.e2e.node import Node
from tests.e2e.node import token as own_token
from tests.fakes.issuer import Issuer, IssuerKey

pytestmark = pytest.mark.e2e

TIMELINE = "/api/v1/telemetry/timeline"
GOOD = (503, "clickhouse_unavailable")


def asked(node: Node, token: str) -> tuple[int, str]:
    """Each request has a connection of its own, so any worker may answer it."""
    status, body = node.request("GET", TIMELINE, headers={"Authorization": f"Bearer {token}"})
    return status, json.loads(body)["code"]


async def answers(node: Node, token: str, requests: int) -> dict[tuple[int, str], int]:
    found = await asyncio.gather(*(asyncio.to_thread(asked, node, token) for _ in range(requests)))
    return dict(collections.Counter(found))


def node_of(directory: Path, issuer: Issuer) -> Node:
    return Node(
        directory,
        workers=2,
        clickhouse="http://127.0.0.1:9",
        settings=f"""
            auth.jwks_url = "{issuer.url}"
            auth.jwt_audience = "analytics"
            auth.jwks_refresh_s = 3600
            auth.jwks_age_max_s = 86400
        """,
    )


async def test_every_worker_takes_the_tokens_of_an_issuers_old_and_new_key(tmp_path: Path):
    old, new, stranger = (
        IssuerKey("RS256", "2026-10"),
        IssuerKey("EdDSA", "2026-11"),
        IssuerKey("ES256", "x"),
    )
    ours = {"aud": "analytics"}
    async with Issuer(old).serving() as issuer:
        with node_of(tmp_path, issuer) as node:
            started = time.monotonic()
            await asyncio.to_thread(node.wait_ready, "/ready/ingest")
            assert await answers(node, old.token(ours), 20) == {GOOD: 20}
            issuer.keys.append(new)
            assert await answers(node, new.token(ours), 20) == {GOOD: 20}
            assert await answers(node, old.token(ours), 20) == {GOOD: 20}
            assert await answers(node, stranger.token(ours), 20) == {(401, "unauthorized"): 20}
            assert await answers(node, old.token({"aud": "another service"}), 5) == {(401, "unauthorized"): 5}
            # For each worker: at its start, and for the first token with a key it did not know. On a machine
            # so slow that it may ask again meanwhile, for the stranger's key, too.
            assert issuer.asked <= 4 + 2 * ((time.monotonic() - started) // ASK_AGAIN_S)
            assert await asyncio.to_thread(node.stop) == 0


async def test_tokens_of_two_identity_providers_and_of_our_own_open_what_their_issuer_may(tmp_path: Path):
    one, two = IssuerKey("RS256", "1"), IssuerKey("PS256", "1")
    async with Issuer(one).serving() as first, Issuer(two).serving() as second:
        issuers = [
            {"issuer": "https://one.example/", "jwks_url": first.url, "audience": "us", "project": "p"}
            | {"tenant_claim": "https://app.example/tenant"},
            {"issuer": "https://two.example/{tid}", "jwks_url": second.url, "project": "p"}
            | {"tenant_claim": "o.id", "required_claims": {"token_use": ["access", "id"]}},
        ]
        settings = f"auth.issuers = {json.dumps(issuers)}"
        with Node(tmp_path, workers=2, clickhouse="http://127.0.0.1:9", settings=settings) as node:
            await asyncio.to_thread(node.wait_ready, "/ready/ingest")
            # As large as a token may be.
            claims: dict[str, Any] = {"iss": "https://one.example/", "aud": ["us"], "groups": ["g" * 11_500]}
            of_one = one.token({**claims, "https://app.example/tenant": ["t"]})
            assert 15_500 < len(of_one) <= TOKEN_BYTES_MAX
            claims = {"iss": "https://two.example/17", "tid": "17", "o": {"id": "t"}}
            of_two = two.token({**claims, "token_use": "access"})
            for token in (of_one, of_two, own_token("my-app", "tenant-1")):
                assert await answers(node, token, 4) == {GOOD: 4}
            for token in (two.token({**claims, "iss": "https://one.example/"}), two.token(claims)):
                assert await answers(node, token, 2) == {(401, "unauthorized"): 2}
            without = two.token({**claims, "o": {}, "token_use": "id"})
            assert await answers(node, without, 2) == {(403, "forbidden"): 2}
            assert await asyncio.to_thread(node.stop) == 0


async def test_the_rate_of_a_token_is_that_of_the_node(tmp_path: Path):
    key = IssuerKey("ES256", "k")
    async with Issuer(key).serving() as issuer:
        with node_of(tmp_path, issuer) as node:
            await asyncio.to_thread(node.wait_ready, "/ready/ingest")
            # The longest window, an hour, so that the test is in one, however slow the machine.
            claims = {"aud": "analytics", "sub": "ada", "rps": 0.0001}
            found = await answers(node, key.token(claims), 40)
            assert found[GOOD] in (1, 2)  # two workers may give the last permit in the same microsecond
            assert found[(429, "rate_limited")] == 40 - found[GOOD]
            # Another token of the same subject is no new allowance; another subject has its own.
            assert await answers(node, key.token({**claims, "jti": "2"}), 5) == {(429, "rate_limited"): 5}
            assert GOOD in await answers(node, key.token({**claims, "sub": "eve"}), 5)
