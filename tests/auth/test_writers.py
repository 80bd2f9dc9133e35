"""Who may write, and how long a verified token is remembered."""

from typing import Any

import pytest

from nealytics.auth import writers as module
from nealytics.auth.api_keys import ApiKeys
from nealytics.auth.grant import Grant
from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.minting import mint
from nealytics.auth.writers import Writers
from nealytics.config import ApiKey, AuthConfig
from nealytics.errors import Refused
from tests.auth.test_jwt import KEY, NOW, OTHER_KEY
from tests.fakes.issuer import Issuer, IssuerKey


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


class Counting(TokenVerifier):
    """Counts the tokens that are verified."""

    verified = 0

    def ingest_grant_of(self, token: str) -> Grant:
        self.verified += 1
        return super().ingest_grant_of(token)


def known_to(clock: Clock, **auth: Any) -> tuple[Writers, Counting]:
    verifier = Counting(AuthConfig(**{"jwt_key": KEY, **auth}), clock=clock)
    return Writers(ApiKeys((ApiKey(key="a-key", project="shop"),)), verifier, clock), verifier


def token(tenant_id: str = "acme", key: str = KEY, expires_s: float = 600) -> str:
    return mint(key, "shop", tenant_id, expires_s, NOW, ingest=True)


async def status(writers: Writers, key: str, text: str) -> int:
    try:
        await writers.grant(key, text)
    except Refused as refused:
        return refused.status
    return 200


async def test_a_key_counts_before_a_token():
    writers, _ = known_to(Clock())
    assert (await writers.grant("a-key", token())).kind == "server"
    assert (await writers.grant("", token())).tenant == "acme"
    assert await status(writers, "wrong", token()) == 401
    assert await status(writers, "", "") == 401


async def test_one_text_may_be_a_key_or_a_token():
    """As the write key of a Segment SDK, which has one place for it."""
    writers, verifier = known_to(Clock())
    assert (await writers.grant("a-key", "a-key")).kind == "server"
    assert (await writers.grant(token(), token())).tenant == "acme"
    assert writers.known(token(), token()) is not None
    assert await status(writers, "wrong", "wrong") == 401
    assert verifier.verified == 1


@pytest.mark.parametrize(
    ("key", "said"), {"": "X-Project-Key", "wrong": "[[auth.api_keys]]", "undefined": "data-key"}.items()
)
async def test_a_key_that_is_none_is_answered_with_what_to_do(key: str, said: str):
    writers, _ = known_to(Clock())
    with pytest.raises(Refused) as refused:
        await writers.grant(key, "")
    assert said in refused.value.detail


async def test_a_token_is_verified_once():
    writers, verifier = known_to(Clock())
    mine = token()
    assert writers.known("", mine) is None
    grants = [await writers.grant("", mine) for _ in range(3)]
    assert grants[0] is grants[1] is grants[2] is writers.known("", mine)
    assert verifier.verified == 1


async def test_a_refused_token_is_not_remembered():
    writers, verifier = known_to(Clock())
    for _ in range(2):
        assert await status(writers, "", token(key=OTHER_KEY)) == 401
    assert verifier.verified == 2


async def test_a_remembered_token_expires():
    clock = Clock()
    writers, _ = known_to(clock)
    mine = token(expires_s=60)
    assert await status(writers, "", mine) == 200
    clock.now += 60 + 30 - 1  # the skew
    assert writers.known("", mine) is not None
    clock.now += 1
    assert writers.known("", mine) is None
    assert await status(writers, "", mine) == 401


async def test_a_key_that_a_reload_removes_ends_its_tokens():
    writers, verifier = known_to(Clock(), jwt_key_previous=OTHER_KEY)
    old, new = token(key=OTHER_KEY), token()
    assert [await status(writers, "", each) for each in (old, new)] == [200, 200]
    await verifier.replace(AuthConfig(jwt_key=KEY))
    assert writers.known("", old) is None
    assert [await status(writers, "", each) for each in (old, new)] == [401, 200]


async def test_a_key_that_its_issuer_removes_ends_its_tokens():
    key, other = IssuerKey("ES256", "a"), IssuerKey("ES256", "b")
    async with Issuer(key, other).serving() as issuer:
        clock = Clock()
        writers, verifier = known_to(clock, jwks_url=issuer.url, jwks_refresh_s=10, ingest_scope=True)
        claims = {"project_id": "shop", "tenant_id": "acme", "scope": "ingest", "exp": NOW + 600}
        mine = key.token(claims)
        try:
            assert await status(writers, "", mine) == 200
            assert writers.known("", mine) is not None
            (key_set,) = verifier.issuers.key_sets
            asked = issuer.asked
            await key_set._begin()
            assert issuer.asked == asked + 1
            assert writers.known("", mine) is not None, "the same keys, fetched again"
            key_set.replace([each for each in key_set.keys if each.kid == "b"], key_set._clock(), None)
            assert writers.known("", mine) is None
            assert await status(writers, "", mine) == 401
        finally:
            await verifier.close()


async def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "TOKENS_MAX", 3)
    writers, _ = known_to(Clock())
    tokens = [token(f"t{n}") for n in range(5)]
    for each in tokens:
        assert await status(writers, "", each) == 200
    assert [writers.known("", each) is not None for each in tokens] == [False, False, True, True, True]


async def test_the_token_that_was_not_used_for_the_longest_time_is_forgotten(monkeypatch):
    monkeypatch.setattr(module, "TOKENS_MAX", 3)
    writers, _ = known_to(Clock())
    busy, idle, other, new = (token(f"t{n}") for n in range(4))
    for each in (busy, idle, other, busy, new):
        assert await status(writers, "", each) == 200
    assert [writers.known("", each) is not None for each in (busy, idle, other, new)] == [
        True,
        False,
        True,
        True,
    ]


async def test_expired_tokens_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(module, "TOKENS_MAX", 3)
    clock = Clock()
    writers, verifier = known_to(clock)
    idle, short, shorter, new = token("t0"), token("t1", expires_s=60), token("t2", expires_s=50), token("t3")
    for each in (idle, short, shorter):
        assert await status(writers, "", each) == 200
    clock.now += 100
    for each in (new, token("t4")):
        assert await status(writers, "", each) == 200
    assert writers.known("", idle) is not None
    assert verifier.verified == 5


@pytest.mark.parametrize("text", ["x", "a.b", "a.b.c", "é.ü.ö", "\udcff", "x" * 20_000])
async def test_any_text_may_be_presented(text: str):
    writers, _ = known_to(Clock())
    assert await status(writers, "", text) == 401
    assert await status(writers, text, text) == 401
