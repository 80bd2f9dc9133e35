"""Tokens that write, over HTTP: whose events they store, and what they are refused."""

import json
import time
from typing import Any
from uuid import UUID

import pytest

from nealytics.auth.minting import mint
from tests.auth.test_jwt import signed
from tests.fakes.worker import (
    ANY,
    BATCH,
    BEACON,
    BOUND,
    JWT_KEY,
    TENANT,
    TRACK,
    FakeWorker,
    event,
    ingest_token,
    serving,
)

BARE = {"sessionId": "s", "eventType": "view"}


async def send(worker: FakeWorker, path: str, body: object, token: str, **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
    return await worker.post(path, body, key=None, headers=headers, **options)


async def whose(worker: FakeWorker) -> list[tuple[object, ...]]:
    return [(row["project_id"], row["tenant_id"], row["user_id"]) for row in await worker.rows()]


@pytest.mark.parametrize("path", [TRACK, BATCH, BEACON])
async def test_project_tenant_and_user_are_the_tokens_and_may_be_omitted(path):
    token = ingest_token(user_id="ada")
    async with serving() as worker:
        for body in (
            BARE,
            event(),
            event(userId="ada"),
            BARE | {"projectId": "", "tenantId": "", "userId": None},
        ):
            answer = await send(worker, path, body, token)
            assert answer.status in (202, 204)
        assert await whose(worker) == [("shop", "t1", "ada")] * 4


async def test_without_a_user_in_the_token_each_event_names_its_own():
    async with serving() as worker:
        await send(worker, BATCH, [BARE | {"userId": "ada"}, BARE], ingest_token())
        assert await whose(worker) == [("shop", "t1", "ada"), ("shop", "t1", None)]


@pytest.mark.parametrize("field", ["projectId", "tenantId", "userId"])
@pytest.mark.parametrize("value", ["other", "T1", "t1 ", "ADA", "x" * 200])
async def test_any_other_value_is_403(field, value):
    token = ingest_token(user_id="ada")
    async with serving() as worker:
        answer = await send(worker, TRACK, BARE | {field: value}, token)
        assert answer.error == (403, "forbidden", field)
        assert "token must not write" in answer.json["message"]
        for path in (BATCH, BEACON):
            answer = await send(worker, path, [BARE | {field: value}], token)
            assert answer.status == 403
        assert not await worker.rows()
        assert worker.refused("forbidden") == 3


async def test_a_forged_event_in_a_batch_spoils_no_other():
    async with serving() as worker:
        bodies = [BARE, BARE | {"tenantId": "t2"}, {"eventType": 5}, BARE | {"projectId": "p"}, BARE]
        answer = await send(worker, BATCH, bodies, ingest_token())
        assert (answer.status, answer.json["accepted"], answer.json["rejected"]) == (202, 2, 3)
        assert [error["index"] for error in answer.json["errors"]] == [1, 2, 3]
        lines = b"\n".join(json.dumps(body).encode() for body in bodies)
        answer = await send(worker, BEACON, lines, ingest_token())
        assert answer.status == 204
        assert await whose(worker) == [("shop", "t1", None)] * 4


async def test_events_of_a_bound_key_may_omit_what_it_fixes():
    async with serving() as worker:
        for key, body, status in (
            (BOUND, BARE | {"tenantId": "t9"}, 202),
            (BOUND, BARE, 400),
            (TENANT, BARE, 202),
            (TENANT, BARE | {"userId": "eve"}, 202),
            (TENANT, BARE | {"tenantId": "t9"}, 403),
            (ANY, BARE, 400),
            (ANY, BARE | {"projectId": "shop"}, 400),
        ):
            assert (await worker.post(TRACK, body, key=key)).status == status, (key, body)
        assert await whose(worker) == [("shop", "t9", None), ("shop", "t1", None), ("shop", "t1", "eve")]


async def test_a_long_event_may_omit_them_too():
    async with serving() as worker:
        long = BARE | {"metadata": {"text": "x" * 60_000}}
        assert (await send(worker, TRACK, long, ingest_token(user_id="ada"))).status == 202
        answer = await send(worker, BATCH, [long, long | {"tenantId": "t2"}], ingest_token(user_id="ada"))
        assert (answer.json["accepted"], answer.json["rejected"]) == (1, 1)
        assert await whose(worker) == [("shop", "t1", "ada")] * 2


NOW = int(time.time())
DAY_S = 86_400  # these are made when the tests are collected, and used much later
CLAIMS: dict[str, Any] = {"project_id": "shop", "tenant_id": "t1", "scope": "ingest", "exp": NOW + DAY_S}
WRONG: dict[str, tuple[str, int, str]] = {
    "a read token": (mint(JWT_KEY, "shop", "t1", DAY_S, NOW), 403, "forbidden"),
    "a token of the whole project": (mint(JWT_KEY, "shop", None, DAY_S, NOW), 403, "forbidden"),
    "an admin token": (mint(JWT_KEY, "shop", None, DAY_S, NOW, admin=True), 403, "forbidden"),
    "several scopes": (signed({**CLAIMS, "scope": "ingest project"}, key=JWT_KEY), 403, "forbidden"),
    "no tenant": (
        signed({name: claim for name, claim in CLAIMS.items() if name != "tenant_id"}, key=JWT_KEY),
        403,
        "forbidden",
    ),
    "filters": (signed({**CLAIMS, "filters": ["a:eq:b"]}, key=JWT_KEY), 403, "forbidden"),
    "an empty user": (signed({**CLAIMS, "user_id": ""}, key=JWT_KEY), 403, "forbidden"),
    "a long tenant": (signed({**CLAIMS, "tenant_id": "x" * 300}, key=JWT_KEY), 400, "invalid_claim"),
    "an invalid rate": (signed({**CLAIMS, "rps": 0}, key=JWT_KEY), 400, "invalid_claim"),
    "expired": (signed({**CLAIMS, "exp": NOW - 31}, key=JWT_KEY), 401, "unauthorized"),
    "no expiry": (
        signed({name: claim for name, claim in CLAIMS.items() if name != "exp"}, key=JWT_KEY),
        401,
        "unauthorized",
    ),
    "not yet valid": (signed({**CLAIMS, "nbf": NOW + DAY_S}, key=JWT_KEY), 401, "unauthorized"),
    "another key": (signed(CLAIMS, key="x" * 40), 401, "unauthorized"),
    "no algorithm": (signed(CLAIMS, {"alg": "none"}, key=JWT_KEY), 401, "unauthorized"),
    "no signature": (signed(CLAIMS, key=JWT_KEY).rpartition(".")[0] + ".", 401, "unauthorized"),
    "not a token": ("something", 401, "unauthorized"),
    "an API key": (ANY, 401, "unauthorized"),
    # Longer ones never arrive: a head has at most 8 KB, and its parser answers 400.
    "a long token": (signed({**CLAIMS, "more": "x" * 4_000}, key="x" * 40), 401, "unauthorized"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_other_tokens_write_nothing(name):
    token, status, code = WRONG[name]
    async with serving() as worker:
        for path in (TRACK, BATCH, BEACON):
            answer = await send(worker, path, b"not json, and not read", token)
            assert answer.error[:2] == (status, code)
        answer = await worker.post(BEACON, BARE, key=None, params={"token": token})
        assert answer.error[:2] == (status, code)
        assert worker.refused(code) == 4
        assert not await worker.rows()


async def test_only_beacon_takes_a_token_from_the_query():
    """A URL is written into logs of proxies, so routes whose clients can set headers do not take it there."""
    params = {"token": ingest_token()}
    async with serving() as worker:
        assert (await worker.post(BEACON, BARE, key=None, params=params)).status == 204
        for path in (TRACK, BATCH):
            answer = await worker.post(path, BARE, key=None, params=params)
            assert answer.error[:2] == (401, "unauthorized")
            assert "Authorization: Bearer" in answer.json["detail"]
        wrong = {"Authorization": "Bearer wrong"}
        assert (await worker.post(BEACON, BARE, key=None, params=params, headers=wrong)).status == 204
        assert (await worker.post(BEACON, BARE, key=None, params={"token": ""})).status == 401


@pytest.mark.parametrize("authorization", ["Basic YTpi", "Bearer", "Bearer ", "Digest x", ingest_token()])
async def test_another_authorization_is_as_none_and_a_key_counts_before_it(authorization):
    """A proxy in front may have a password of its own."""
    async with serving() as worker:
        headers = {"Authorization": authorization}
        assert (await worker.post(TRACK, event(), key=None, headers=headers)).error[0] == 401
        assert (await worker.post(TRACK, event(), headers=headers)).status == 202


async def test_a_public_sender_cannot_replace_events_of_others():
    """The stored id is a hash of the tenant and the id that was sent; a retry has the same."""
    sent = BARE | {"eventId": str(UUID(int=7)), "timestamp": NOW * 1000}
    async with serving() as worker:
        await worker.post(TRACK, sent, key=TENANT)
        await send(worker, TRACK, sent, ingest_token())
        await send(worker, TRACK, sent, ingest_token(user_id="ada", sub="ada"))
        plain, one, again = [row["event_id"] for row in await worker.rows()]
        assert plain == UUID(int=7)
        assert one == again != plain


async def test_requests_are_limited_by_subject():
    limits: dict[str, Any] = {
        "rate_limit_requests": 2,
        "rate_limit_window_s": 3_600,
        "rate_limit_requests_per_address": 0,
    }
    async with serving(**limits) as worker:
        ada, renewed, eve = (
            ingest_token(sub="ada"),
            ingest_token(sub="ada", expires_s=700),
            ingest_token(sub="eve"),
        )
        statuses = [(await send(worker, TRACK, BARE, token)).status for token in (ada, renewed, ada, eve)]
        assert statuses == [202, 202, 429, 202]
        refused = await send(worker, TRACK, BARE, ada)
        assert refused.error[:2] == (429, "rate_limited")
        assert int(refused.headers["Retry-After"]) > 0


async def test_the_rps_of_a_token_only_lowers_its_limit():
    limits: dict[str, Any] = {
        "rate_limit_requests": 3,
        "rate_limit_window_s": 3_600,
        "rate_limit_requests_per_address": 0,
    }
    async with serving(**limits) as worker:
        slow, fast = ingest_token(sub="slow", rps=0.001), ingest_token(sub="fast", rps=1_000)
        assert [(await send(worker, TRACK, BARE, slow)).status for _ in range(2)] == [202, 429]
        assert [(await send(worker, TRACK, BARE, fast)).status for _ in range(4)] == [202, 202, 202, 429]


async def test_requests_are_limited_by_address_whatever_the_subject():
    async with serving(rate_limit_requests_per_address=2, rate_limit_window_s=3_600) as worker:
        tokens = [ingest_token(f"t{n}", sub=str(n)) for n in range(3)]
        assert [(await send(worker, TRACK, BARE, token)).status for token in tokens] == [202, 202, 429]
        assert (await worker.post(TRACK, event())).status == 202


async def test_a_page_of_another_origin_may_send_a_token():
    async with serving() as worker:
        for path in (TRACK, BATCH, BEACON):
            async with worker.client.options(
                path,
                headers={
                    "Origin": "https://shop.example",
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "authorization,content-type",
                },
            ) as answer:
                assert answer.status == 204
                assert "authorization" in answer.headers["Access-Control-Allow-Headers"]
        answer = await send(worker, TRACK, BARE, ingest_token(), headers={"Origin": "https://shop.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"


async def test_long_bodies_of_a_tenants_tokens_are_processed_together():
    """Eight of them at once: more than its slots, and each is answered."""
    import asyncio

    async with serving(rate_limit_requests=0, rate_limit_requests_per_address=0) as worker:
        body = [BARE | {"metadata": {"text": "x" * 900}}] * 60
        tokens = [ingest_token(sub=str(n)) for n in range(8)]
        answers = await asyncio.gather(*(send(worker, BATCH, body, token) for token in tokens))
        assert [answer.status for answer in answers] == [202] * 8
