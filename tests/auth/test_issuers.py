"""Several issuers beside each other: a token is its issuer's, and no other's keys make it good."""

import base64
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from jwt.api_jws import PyJWS

from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.minting import mint
from nealytics.config import AuthConfig, IssuerConfig, JwtKey
from nealytics.errors import Refused
from tests.fakes.issuer import Issuer, IssuerKey

NOW = 1_800_000_000.0
SECRET = "secret-of-at-least-thirty-two-bytes-x"
A, B = "https://a.example/", "https://b.example/"

# Both issuers gave their key the same name, as services that count do.
KEY_A = IssuerKey("RS256", "1")
KEY_B = IssuerKey("RS256", "1")
KEY_OWN = IssuerKey("RS256", "1")

CLAIMS = {"exp": int(NOW) + 600, "sub": "ada", "tenant_id": "of-own", "project_id": "of-own"}
CLAIMS_A = {**CLAIMS, "iss": A, "org_id": "of-a"}
CLAIMS_B = {**CLAIMS, "iss": B, "org": {"id": "of-b"}}


def signed(claims: object, key: IssuerKey, **header: object) -> str:
    headers = {"kid": key.kid, **header}
    return PyJWS().encode(json.dumps(claims).encode(), key.private, algorithm=key.algorithm, headers=headers)


@asynccontextmanager
async def knowing_both(
    keys_a: tuple[IssuerKey, ...] = (KEY_A,), change: dict[str, Any] | None = None, **own: Any
) -> AsyncIterator[tuple[TokenVerifier, Issuer, Issuer]]:
    """A verifier with issuers A and B, and `own` as what stands in [auth] itself."""
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(Issuer(*keys_a).serving())
        b = await stack.enter_async_context(Issuer(KEY_B).serving())
        entry_a = IssuerConfig(issuer=A, jwks_url=a.url, tenant_claim="org_id", project="project-a")
        entry_b = IssuerConfig(issuer=B, jwks_url=b.url, tenant_claim="org.id", project="project-b")
        entry_a = msgspec.structs.replace(entry_a, **(change or {}))
        verifier = TokenVerifier(AuthConfig(issuers=(entry_a, entry_b), **own), clock=lambda: NOW)
        stack.push_async_callback(verifier.close)
        yield verifier, a, b


async def answer(verifier: TokenVerifier, token: str) -> tuple[str, str | None] | int:
    try:
        scope = await verifier.resolve(f"Bearer {token}")
    except Refused as refused:
        return refused.status
    return scope.project_id, scope.tenant_id


async def test_each_issuer_has_keys_claims_and_a_project_of_its_own():
    async with knowing_both(jwt_key=SECRET) as (verifier, _, _):
        assert await answer(verifier, signed(CLAIMS_A, KEY_A)) == ("project-a", "of-a")
        assert await answer(verifier, signed(CLAIMS_B, KEY_B)) == ("project-b", "of-b")
        assert await answer(verifier, mint(SECRET, "own", "tenant-1", 60, NOW)) == ("own", "tenant-1")


OWN_KEYS: dict[str, dict[str, Any]] = {
    "no keys of our own": {},
    "a secret": {"jwt_key": SECRET},
    "a public key of the same kid": {
        "jwt_keys": (JwtKey(algorithm="RS256", kid="1", key=KEY_OWN.pem), JwtKey(kid="hs", key=SECRET))
    },
    "an issuer of its own": {"jwt_key": SECRET, "jwt_issuer": "https://own.example/"},
}


@pytest.mark.parametrize("name", OWN_KEYS)
async def test_no_key_of_one_issuer_makes_a_token_of_another(name):
    """Same kid, same algorithm, and whatever iss a forger writes."""
    async with knowing_both(**OWN_KEYS[name]) as (verifier, _, _):
        forged = {
            "B signs as A": signed(CLAIMS_A, KEY_B),
            "A signs as B": signed(CLAIMS_B, KEY_A),
            "B signs as A, once more": signed({**CLAIMS_A, **CLAIMS_B, "iss": A}, KEY_B),
            "the own key signs as A": signed(CLAIMS_A, KEY_OWN),
            "the own secret signs as A": mint(SECRET, "p", "t", 60, NOW, claims={"iss": A, "org_id": "x"}),
            "A signs without iss": signed({**CLAIMS, "org_id": "x"}, KEY_A),
            "A signs with an iss that nobody has": signed({**CLAIMS, "iss": "https://c.example/"}, KEY_A),
        }
        for what in (None, "", [A], {"a": A}, 1, True, A.rstrip("/"), A.upper(), f" {A}", f"{A}\0", f"{A}x"):
            forged[f"A signs with the iss {what!r}"] = signed({**CLAIMS_A, "iss": what}, KEY_A)
        for what, token in forged.items():
            assert await answer(verifier, token) == 401, what
        # They are well made: the same tokens with the right iss are good.
        assert await answer(verifier, signed(CLAIMS_A, KEY_A)) == ("project-a", "of-a")


async def test_a_token_with_two_iss_is_of_the_one_that_every_check_sees():
    """JSON with a name twice: the last counts, for the choice of the keys and for the claims alike."""

    def twice(first: str, second: str, key: IssuerKey) -> str:
        body = f'{{"iss": "{first}", "iss": "{second}", "org_id": "x", "exp": {int(NOW) + 60}}}'
        return PyJWS().encode(body.encode(), key.private, algorithm="RS256", headers={"kid": key.kid})

    async with knowing_both() as (verifier, _, _):
        assert await answer(verifier, twice(A, B, KEY_A)) == 401
        assert await answer(verifier, twice(B, A, KEY_B)) == 401
        assert await answer(verifier, twice(B, A, KEY_A)) == ("project-a", "x")


def _hmac_token(secret: bytes, claims: dict[str, Any], **header: object) -> str:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = part(json.dumps({"alg": "HS256", **header}).encode())
    signing_input = f"{head}.{part(json.dumps(claims).encode())}"
    return f"{signing_input}.{part(hmac.new(secret, signing_input.encode(), 'sha256').digest())}"


async def test_a_published_key_is_no_secret_of_its_issuer_and_our_secret_signs_for_none():
    async with knowing_both(jwt_key=SECRET) as (verifier, a, _):
        for secret in (KEY_A.pem, KEY_A.pem.strip(), KEY_A.jwk()["n"], a.published.decode(), SECRET, ""):
            for kid in ("1", "", "unknown"):
                assert await answer(verifier, _hmac_token(secret.encode(), CLAIMS_A, kid=kid)) == 401
        with pytest.raises(Refused, match="signed with HS256, which its issuer does not allow") as caught:
            verifier.scope_of(f"Bearer {_hmac_token(SECRET.encode(), CLAIMS_A)}")
        assert caught.value.status == 401


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "ES256", "EdDSA"])
async def test_an_issuer_signs_with_the_algorithms_it_is_configured_for_and_no_other(algorithm):
    key = IssuerKey(algorithm, "k")
    for accepted in ((), (algorithm,)):
        async with knowing_both((key,), {"algorithms": accepted}) as (verifier, _, _):
            assert await answer(verifier, signed(CLAIMS_A, key)) == ("project-a", "of-a")
    other = "ES256" if algorithm != "ES256" else "RS256"
    async with knowing_both((key,), {"algorithms": (other,)}) as (verifier, _, _):
        assert await answer(verifier, signed(CLAIMS_A, key)) == 401


@pytest.mark.parametrize("published", ["RS256", "RS512", "PS256", None])
@pytest.mark.parametrize("used", ["RS256", "RS512", "PS256"])
async def test_an_rsa_key_is_used_with_the_algorithm_it_is_published_for_alone(published, used):
    async with knowing_both() as (verifier, a, _):
        a.answer = json.dumps({"keys": [KEY_A.jwk(alg=published)]}).encode()
        token = PyJWS().encode(
            json.dumps(CLAIMS_A).encode(), KEY_A.private, algorithm=used, headers={"kid": "1"}
        )
        good = used == (published or "RS256")
        assert await answer(verifier, token) == (("project-a", "of-a") if good else 401)


async def test_while_one_issuer_is_away_the_tokens_of_the_others_are_good():
    async with knowing_both(jwt_key=SECRET) as (verifier, a, _):
        a.answer = lambda: web.Response(status=500)
        with pytest.raises(Refused) as caught:
            await verifier.resolve(f"Bearer {signed(CLAIMS_A, KEY_A)}")
        assert (caught.value.status, caught.value.code) == (503, "keys_unavailable")
        assert caught.value.headers == {"Retry-After": "30"}
        assert "auth.issuers[0].jwks_url" in caught.value.detail
        assert await answer(verifier, signed(CLAIMS_B, KEY_B)) == ("project-b", "of-b")
        assert await answer(verifier, mint(SECRET, "own", "tenant-1", 60, NOW)) == ("own", "tenant-1")


async def test_only_the_issuer_of_a_token_is_asked_for_its_key():
    async with knowing_both(jwt_key=SECRET) as (verifier, a, b):
        assert await answer(verifier, signed(CLAIMS_A, KEY_A, kid="new")) == 401
        assert (a.asked, b.asked) == (1, 0)
        assert await answer(verifier, signed({**CLAIMS, "iss": "https://c.example/"}, KEY_A)) == 401
        assert (a.asked, b.asked) == (1, 0)


async def test_the_age_of_the_keys_is_that_of_the_oldest():
    async with knowing_both() as (verifier, _, b):
        assert verifier.jwks_age_s == 0
        await answer(verifier, signed(CLAIMS_A, KEY_A))
        b.answer = lambda: web.Response(status=500)
        verifier.start()
        ages = [key_set.age_s for key_set in verifier.issuers.key_sets]
        assert verifier.jwks_age_s >= max(ages) > 0


async def test_a_subject_of_one_issuer_is_not_the_same_as_that_of_another():
    async with knowing_both(change={"tenant_claim": "tenant_id", "project": "of-own"}, jwt_key=SECRET) as (
        verifier,
        _,
        _,
    ):
        own = mint(SECRET, "of-own", "of-own", 60, NOW, claims={"sub": "ada"})
        scopes = [await verifier.resolve(f"Bearer {token}") for token in (own, signed(CLAIMS_A, KEY_A))]
        assert scopes[0].tenant_id == scopes[1].tenant_id
        assert scopes[0].key != scopes[1].key


# What an issuer's tokens must say


@pytest.mark.parametrize(
    ("audience", "aud", "good"),
    [
        (("us",), "us", True),
        (("us",), ["them", "us"], True),
        (("us", "we"), "we", True),
        (("us",), "use", False),
        (("us",), None, False),
        (("us",), [], False),
        (("us",), [["us"]], False),
        (("us",), {"us": 1}, False),
        (("*",), "anyone", True),
        (("*",), None, True),
        ((), "anyone", True),
    ],
)
async def test_one_of_the_audiences_must_be_that_of_the_token(audience, aud, good):
    async with knowing_both(change={"audience": audience}) as (verifier, _, _):
        claims = {**CLAIMS_A} if aud is None else {**CLAIMS_A, "aud": aud}
        assert await answer(verifier, signed(claims, KEY_A)) == (("project-a", "of-a") if good else 401)


@pytest.mark.parametrize(
    ("required", "claims", "good"),
    [
        ({"use": ("access",)}, {"use": "access"}, True),
        ({"use": ("access",)}, {"use": ["id", "access"]}, True),
        ({"use": ("access", "id")}, {"use": "id"}, True),
        ({"use": ("access",)}, {}, False),
        ({"use": ("access",)}, {"use": "Access"}, False),
        ({"use": ("access",)}, {"use": None}, False),
        ({"use": ("access",)}, {"use": {"access": 1}}, False),
        ({"use": ("access",), "b": (1,)}, {"use": "access"}, False),
        ({"use": ("access",), "b": (1,)}, {"use": "access", "b": 1}, True),
        ({"b": (1,)}, {"b": True}, False),
        ({"b": (1,)}, {"b": "1"}, False),
        ({"b": (True,)}, {"b": True}, True),
        ({"b": (True,)}, {"b": 1}, False),
        ({"b": (False,)}, {"b": 0}, False),
        ({"a.b": ("x",)}, {"a": {"b": "x"}}, True),
        ({"https://x.example/y": ("x",)}, {"https://x.example/y": "x"}, True),
    ],
)
async def test_a_required_claim_must_have_its_value(required, claims, good):
    async with knowing_both(change={"required_claims": required}) as (verifier, _, _):
        token = signed({**CLAIMS_A, **claims}, KEY_A)
        assert await answer(verifier, token) == (("project-a", "of-a") if good else 401)


@pytest.mark.parametrize(
    ("change", "own", "project"),
    [
        ({"project": ""}, {}, "of-own"),
        ({"project": "", "project_claim": "org_id"}, {}, "of-a"),
        ({"project": "", "project_claim": "org_id"}, {"project": "fixed"}, "of-a"),
        ({"project": ""}, {"project": "fixed"}, "fixed"),
        ({"project": ""}, {"project_claim": "org_id"}, "of-a"),
        ({}, {"project": "fixed"}, "project-a"),
    ],
)
async def test_the_project_is_fixed_or_named_by_a_claim_for_the_issuer_or_for_all(change, own, project):
    async with knowing_both(change=change, **own) as (verifier, _, _):
        assert await answer(verifier, signed(CLAIMS_A, KEY_A)) == (project, "of-a")


async def test_a_scope_opens_the_whole_project_only_if_the_issuer_is_trusted_with_it():
    claims = {**CLAIMS, "iss": A, "scope": "openid project"}
    async with knowing_both() as (verifier, _, _):
        assert await answer(verifier, signed(claims, KEY_A)) == 403
        with pytest.raises(Refused) as caught:
            verifier.scope_of(f"Bearer {signed(claims, KEY_A)}")
        assert "scope" not in caught.value.detail
    async with knowing_both(change={"project_scope": True}) as (verifier, _, _):
        assert await answer(verifier, signed(claims, KEY_A)) == ("project-a", None)
        assert await answer(verifier, signed({**claims, "org_id": None}, KEY_A)) == 403


async def test_an_issuer_that_differs_in_one_character_is_reported():
    async with knowing_both() as (verifier, _, _):
        for iss, said in (
            (A.rstrip("/"), "trailing slash"),
            ("https://c.example/", "[[auth.issuers]]"),
            (None, "no iss"),
        ):
            with pytest.raises(Refused) as caught:
                verifier.scope_of(f"Bearer {signed({**CLAIMS_A, 'iss': iss}, KEY_A)}")
            assert caught.value.message == "the token's issuer (iss) is not configured"
            assert said in caught.value.detail


@pytest.mark.parametrize("name", [name for name in OWN_KEYS if OWN_KEYS[name]])
async def test_a_misspelt_issuer_is_named_also_beside_keys_of_our_own(name: str):
    """`nealytics init` writes a key of our own, so the first token of a provider is tried with that."""
    async with knowing_both(**OWN_KEYS[name]) as (verifier, _, _):
        with pytest.raises(Refused) as caught:
            verifier.scope_of(f"Bearer {signed({**CLAIMS_A, 'iss': A.rstrip('/')}, KEY_A)}")
        assert caught.value.status == 401
        assert "trailing slash" in caught.value.detail
        # An issuer that is configured is not the mistake.
        with pytest.raises(Refused) as caught:
            verifier.scope_of(f"Bearer {signed(CLAIMS_A, IssuerKey('RS256', 'new'))}")
        assert "slash" not in caught.value.detail


# Beside a single issuer, as it was configured before


async def test_claims_and_project_of_the_keys_in_auth_can_be_named_too():
    auth = AuthConfig(jwt_key=SECRET, tenant_claim="app.tenant", project="fixed", jwt_issuer="me")
    verifier = TokenVerifier(auth, clock=lambda: NOW)
    claims = {"iss": "me", "app": {"tenant": ["t"]}, "exp": NOW + 60, "project_id": "other"}
    assert await answer(verifier, _hmac_token(SECRET.encode(), claims)) == ("fixed", "t")
    assert await answer(verifier, _hmac_token(SECRET.encode(), {**claims, "iss": "you"})) == 401
    # Nothing else changed: the owner's token reads the whole project, as ever.
    owner = {"iss": "me", "exp": NOW + 60, "scope": "project"}
    assert await answer(verifier, _hmac_token(SECRET.encode(), owner)) == ("fixed", None)
    assert await answer(verifier, _hmac_token(SECRET.encode(), {**owner, "app": {}})) == 403
