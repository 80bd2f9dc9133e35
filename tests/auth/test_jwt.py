"""Tokens: every way to get in without a right, and every good token that must not be turned away."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest

from nealytics.auth.jwt import TOKEN_BYTES_MAX, TokenVerifier
from nealytics.auth.minting import mint
from nealytics.config import AuthConfig
from nealytics.errors import Refused

KEY = "test-key-of-at-least-thirty-two-bytes"
OTHER_KEY = "another-key-of-at-least-thirty-two-bytes"
NOW = 1_800_000_000.0
GOOD: dict[str, Any] = {"project_id": "my-app", "tenant_id": "tenant-1", "exp": int(NOW) + 3_600}


def verifier(**config: Any) -> TokenVerifier:
    return TokenVerifier(AuthConfig(**{"jwt_key": KEY, **config}), clock=lambda: NOW)


def part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: object, header: object = None, key: str = KEY, digest: str = "sha256") -> str:
    """A token made by hand, so that it may be wrong in ways no library makes."""
    signing_input = f"{part({'alg': 'HS256', 'typ': 'JWT'} if header is None else header)}.{part(claims)}"
    signature = hmac.new(key.encode(), signing_input.encode(), getattr(hashlib, digest)).digest()
    return f"{signing_input}.{part(signature)}"


def with_claims(**claims: object) -> str:
    return signed({**GOOD, **claims})


def without(*names: str) -> str:
    return signed({name: value for name, value in GOOD.items() if name not in names})


def whose(header: str, **config: Any) -> tuple[str, str | None]:
    scope = verifier(**config).scope_of(header)
    return scope.project_id, scope.tenant_id


def refusal(header: str | None, **config: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        verifier(**config).scope_of(header)
    return caught.value


RSA_PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK\n-----END PUBLIC KEY-----\n"
_HEAD, _BODY, _SIGNATURE = signed(GOOD).split(".")

NOT_OURS = {
    "empty": "",
    "one part": "abc",
    "two parts": f"{_HEAD}.{_BODY}",
    "four parts": f"{_HEAD}.{_BODY}.{_SIGNATURE}.x",
    "no signature": f"{_HEAD}.{_BODY}.",
    "a signature changed": f"{_HEAD}.{_BODY}.{_SIGNATURE[:-4]}AAAA",
    "a signature cut": f"{_HEAD}.{_BODY}.{_SIGNATURE[:-4]}",
    "claims changed": f"{_HEAD}.{part({**GOOD, 'tenant_id': 'other'})}.{_SIGNATURE}",
    "not base64": f"{_HEAD}.!!!!.{_SIGNATURE}",
    "another key": signed(GOOD, key=OTHER_KEY),
    "an empty key": signed(GOOD, key=""),
    "alg none, no signature": f"{part({'alg': 'none'})}.{_BODY}.",
    "alg none, a signature": signed(GOOD, {"alg": "none"}),
    "alg None": signed(GOOD, {"alg": "None"}),
    "alg HS512": signed(GOOD, {"alg": "HS512"}, digest="sha512"),
    "alg HS384": signed(GOOD, {"alg": "HS384"}, digest="sha384"),
    "alg hs256": signed(GOOD, {"alg": "hs256"}),
    "alg RS256 with a public key as secret": signed(GOOD, {"alg": "RS256"}, key=RSA_PUBLIC_KEY),
    "alg a list": signed(GOOD, {"alg": ["HS256"]}),
    "no alg": signed(GOOD, {"typ": "JWT"}),
    "a header that is a list": signed(GOOD, ["HS256"]),
    "crit unknown": signed(GOOD, {"alg": "HS256", "crit": ["x"], "x": 1}),
    "crit b64": signed(GOOD, {"alg": "HS256", "crit": ["b64"], "b64": True}),
    "crit empty": signed(GOOD, {"alg": "HS256", "crit": []}),
    "b64 false": signed(GOOD, {"alg": "HS256", "b64": False}),
    "a kid with a path and another key": signed(GOOD, {"alg": "HS256", "kid": "../../dev/null"}, key=""),
    "a jwk of its own": signed(
        GOOD, {"alg": "HS256", "jwk": {"kty": "oct", "k": part(OTHER_KEY.encode())}}, key=OTHER_KEY
    ),
    "claims that are a list": signed([GOOD]),
    "claims that are a number": signed(5),
    "claims that are not JSON": signed(b"project_id=my-app"),
    "claims nested too deep": signed(b"[" * 3_000),
    "a number of 5,000 digits": signed(b'{"exp": ' + b"9" * 5_000 + b"}"),
    "no exp": without("exp"),
    "exp null": with_claims(exp=None),
    "exp past": with_claims(exp=NOW - 31),
    "exp zero": with_claims(exp=0),
    "exp negative": with_claims(exp=-1),
    "exp a text": with_claims(exp=str(GOOD["exp"])),
    "exp true": with_claims(exp=True),
    "exp a list": with_claims(exp=[GOOD["exp"]]),
    "exp 10^30": with_claims(exp=10**30),
    "exp 1e308": with_claims(exp=1e308),
    "exp infinite": with_claims(exp=float("inf")),
    "exp not a number": with_claims(exp=float("nan")),
    "exp in milliseconds": with_claims(exp=GOOD["exp"] * 1_000),
    "nbf in the future": with_claims(nbf=NOW + 31),
    "nbf a text": with_claims(nbf="now"),
    "longer than 16 KB": with_claims(more="x" * 16_384),
    "1 MB": "x" * 1_000_000,
    "not ASCII": signed(GOOD) + "é",
    "bytes that are not UTF-8": signed(GOOD) + "\udcff",
    "a NUL": signed(GOOD) + "\0",
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_token_that_is_not_ours_or_not_valid_now_gets_401(name):
    refused = refusal(f"Bearer {NOT_OURS[name]}")
    assert (refused.status, refused.code) == (401, "unauthorized")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert NOT_OURS[name] == "" or NOT_OURS[name] not in refused.message


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", signed(GOOD), f"Basic {signed(GOOD)}", f"Bearer: {signed(GOOD)}", "\0"],
)
def test_a_header_without_a_bearer_token_gets_401_and_says_what_to_send(header):
    refused = refusal(header)
    assert (refused.status, refused.headers) == (401, {"WWW-Authenticate": "Bearer"})
    assert "Authorization: Bearer" in refused.detail


def test_an_api_key_in_place_of_a_token_is_told_where_it_belongs():
    assert "X-Project-Key" in refusal("Bearer X62atJu84e6ri2e8g2DKRPx2O5sIwwPheaAsJp3Lq6M").detail


NO_TENANT = {
    "missing": without("tenant_id"),
    "null": with_claims(tenant_id=None),
    "empty": with_claims(tenant_id=""),
    "white space": with_claims(tenant_id=" \t\n\u00a0"),
    "a list of two": with_claims(tenant_id=["tenant-1", "tenant-2"]),
    "a list of the same twice": with_claims(tenant_id=["tenant-1", "tenant-1"]),
    "a list in a list": with_claims(tenant_id=[["tenant-1"]]),
    "a list of an empty text": with_claims(tenant_id=[""]),
    "an empty list": with_claims(tenant_id=[]),
    "an object": with_claims(tenant_id={"id": "tenant-1"}),
    "true": with_claims(tenant_id=True),
    "not a number": with_claims(tenant_id=float("nan")),
    "infinite": with_claims(tenant_id=float("inf")),
    "in other letters": signed(
        {**{k: v for k, v in GOOD.items() if k != "tenant_id"}, "tenantId": "t", "TENANT_ID": "t"}
    ),
}


@pytest.mark.parametrize("name", NO_TENANT)
def test_a_good_token_that_names_no_tenant_gets_403(name):
    refused = refusal(f"Bearer {NO_TENANT[name]}")
    assert (refused.status, refused.code, refused.field) == (403, "forbidden", "tenant_id")


def test_a_good_token_that_names_no_project_gets_403():
    refused = refusal(f"Bearer {without('project_id')}")
    assert (refused.status, refused.code, refused.field) == (403, "forbidden", "project_id")


@pytest.mark.parametrize("claim", ["x" * 257, 10**300, "a\0b", "a\ud800b"])
def test_a_claim_no_event_can_have_gets_400(claim):
    refused = refusal(f"Bearer {with_claims(project_id=claim)}")
    assert (refused.status, refused.code, refused.field) == (400, "invalid_claim", "project_id")


GOOD_TOKENS = {
    "plain": signed(GOOD),
    "made by PyJWT": jwt.encode(GOOD, KEY, algorithm="HS256"),
    "aud a text": with_claims(aud="someone else"),
    "aud a list": with_claims(aud=["a", 5]),
    "aud a number": with_claims(aud=5),
    "iat a text": with_claims(iat="yesterday"),
    "iat in the future": with_claims(iat=NOW + 9_999),
    "sub a number": with_claims(sub=17),
    "sub an object": with_claims(sub={"id": 1}),
    "jti a number": with_claims(jti=5),
    "iss a list": with_claims(iss=["a"]),
    "nbf past": with_claims(nbf=NOW - 5),
    "nbf within the skew": with_claims(nbf=NOW + 29),
    "exp within the skew": with_claims(exp=NOW - 29),
    "exp with a fraction": with_claims(exp=NOW + 0.5),
    "exp in ten years": with_claims(exp=int(NOW) + 315_360_000),
    "a kid": signed(GOOD, {"alg": "HS256", "kid": "2026-11"}),
    "no typ": signed(GOOD, {"alg": "HS256"}),
    "another typ": signed(GOOD, {"alg": "HS256", "typ": "at+jwt"}),
    "claims of others": with_claims(roles=["admin"], nested={"project_id": "other"}),
}


@pytest.mark.parametrize("name", GOOD_TOKENS)
def test_a_good_token_is_not_refused_for_what_is_none_of_our_business(name):
    assert whose(f"Bearer {GOOD_TOKENS[name]}") == ("my-app", "tenant-1")


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        ("café/50%", "café/50%"),
        (" as written ", " as written "),
        ("x" * 256, "x" * 256),
        (["tenant-1"], "tenant-1"),
        ([42], "42"),
        (42, "42"),
        (-7, "-7"),
        (12345678901234567890123, "12345678901234567890123"),
        (7.5, "7.5"),
        (1e22, "10000000000000000000000"),
        (0, "0"),
        ("' OR 1=1 --", "' OR 1=1 --"),
    ],
)
def test_a_claim_is_taken_as_it_is_and_a_number_as_its_decimal_text(claim, text):
    assert verifier().scope_of(f"Bearer {with_claims(tenant_id=claim)}").tenant_id == text


@pytest.mark.parametrize("header", ["bearer {}", "BEARER {}", "Bearer   {}", " Bearer {} "])
def test_the_scheme_is_read_as_http_says(header):
    assert whose(header.format(signed(GOOD))) == ("my-app", "tenant-1")


def test_a_token_of_16_kb_is_taken():
    token = with_claims(more="x" * 12_050)
    assert 16_100 < len(token) <= TOKEN_BYTES_MAX
    assert verifier().scope_of(f"Bearer {token}")


@pytest.mark.parametrize(
    ("config", "claims", "accepted"),
    [
        ({"jwt_issuer": "me"}, {"iss": "me"}, True),
        ({"jwt_issuer": "me"}, {"iss": "you"}, False),
        ({"jwt_issuer": "me"}, {"iss": ["me"]}, False),
        ({"jwt_issuer": "me"}, {}, False),
        ({"jwt_audience": "us"}, {"aud": "us"}, True),
        ({"jwt_audience": "us"}, {"aud": ["them", "us"]}, True),
        ({"jwt_audience": "us"}, {"aud": "use"}, False),
        ({"jwt_audience": "us"}, {"aud": {"us": 1}}, False),
        ({"jwt_audience": "us"}, {}, False),
    ],
)
def test_issuer_and_audience_count_only_when_configured(config, claims, accepted):
    header = f"Bearer {with_claims(**claims)}"
    if accepted:
        assert verifier(**config).scope_of(header)
    else:
        assert refusal(header, **config).status == 401


def test_while_keys_change_both_are_accepted_and_afterwards_only_the_new_one():
    old, new = f"Bearer {signed(GOOD, key=OTHER_KEY)}", f"Bearer {signed(GOOD)}"
    both = verifier(jwt_key_previous=OTHER_KEY)
    assert both.scope_of(old) == both.scope_of(new)
    assert refusal(old).status == 401


def test_without_a_key_no_token_is_good():
    assert refusal(f"Bearer {signed(GOOD, key='')}", jwt_key="").status == 401


def test_a_minted_token_opens_what_it_says_until_it_ends():
    token = mint(KEY, "my-app", "tenant-1", 60, NOW)
    assert whose(f"Bearer {token}") == ("my-app", "tenant-1")
    assert (
        jwt.decode(token, KEY, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False})[
            "exp"
        ]
        == NOW + 60
    )
    assert (
        refusal(f"Bearer {mint(KEY, 'my-app', 'tenant-1', 60, NOW - 91)}").message == "the token has expired"
    )


def test_there_are_enough_bad_tokens():
    """The plan of proof (S8) asks for 25 or more."""
    assert len(NOT_OURS) >= 25
