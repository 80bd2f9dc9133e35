"""The policy of an issuer's key set: which keys it has, for how long, and when to ask. Time is a number."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from nealytics.auth.key_set import ASK_AGAIN_S, KeySet, fresh_s, keys_of
from nealytics.auth.keys import HS256, PUBLIC_ALGORITHMS, VerifyingKey
from nealytics.config import AuthConfig
from tests.fakes.issuer import IssuerKey

RSA = IssuerKey("RS256", "rsa-1")
EC = IssuerKey("ES256", "ec-1")
ED = IssuerKey("EdDSA", "ed-1")
KEYS = [VerifyingKey(HS256, "k", b"material")]


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def key_set(**config: int) -> tuple[KeySet, Clock]:
    clock = Clock()
    return KeySet(AuthConfig(**config), clock), clock  # type: ignore[arg-type]


def test_keys_are_available_until_they_are_too_old_and_certain_until_a_fetch_fails():
    keys, clock = key_set(jwks_age_max_s=3_600)
    assert not keys.available
    assert keys.keys == ()
    keys.replace(KEYS, clock.now, None)
    assert keys.keys == tuple(KEYS)
    assert keys.certain
    clock.now += 3_599
    keys.failed()
    assert keys.available
    assert not keys.certain
    clock.now += 1
    assert not keys.available
    assert keys.keys == ()


def test_the_age_counts_from_the_start_until_the_first_answer():
    keys, clock = key_set()
    assert keys.age_s == 0
    keys.started()
    clock.now += 40
    assert keys.age_s == 40
    keys.replace(KEYS, clock.now - 1, None)  # from the request on, not from the answer on
    assert keys.age_s == 1


def test_an_unknown_key_is_a_reason_to_ask_only_once_in_a_while():
    keys, clock = key_set()
    assert keys.may_ask()
    assert not keys.may_ask()
    clock.now += ASK_AGAIN_S
    assert keys.may_ask()


def test_a_failed_fetch_is_retried_sooner_and_then_later_and_later():
    keys, clock = key_set(jwks_refresh_s=100)
    assert keys.delay_s == 100
    delays = []
    for _ in range(7):
        keys.failed()
        delays.append(keys.delay_s)
    assert delays == [2, 4, 8, 16, 30, 30, 30]
    keys.replace(KEYS, clock.now, None)
    assert keys.delay_s == 100


@pytest.mark.parametrize(
    ("fresh", "config", "refresh_s"),
    [
        (None, {}, 300),
        (600.0, {}, 600),
        (15.0, {}, 60),
        (0.0, {}, 60),
        (0.0, {"jwks_refresh_s": 20}, 20),
        (86_400.0, {}, 1_200),
        (86_400.0, {"jwks_age_max_s": 604_800}, 86_400),
    ],
)
def test_keys_are_fetched_again_when_the_issuer_says_within_bounds(fresh, config, refresh_s):
    keys, clock = key_set(**config)
    keys.replace(KEYS, clock.now, fresh)
    assert keys.refresh_s == refresh_s


@pytest.mark.parametrize(
    ("cache_control", "age", "seconds"),
    [
        ("", "0", None),
        ("public", "0", None),
        ("public, max-age=600", "0", 600),
        ("max-age=600, must-revalidate", "100", 500),
        ('Max-Age="600"', "0", 600),
        ("max-age=600", "700", 0),
        ("max-age=600", "soon", 600),
        ("max-age = 600", "0", 600),
        ("max-age=600, no-cache", "0", 0),
        ("no-store", "0", 0),
        ("s-maxage=600", "0", None),
        ("max-age=-1", "0", None),
        ("max-age=soon", "0", None),
        ("max-age=", "0", None),
        ("max-age=" + "9" * 5_000, "0", 9_999_999_999),
    ],
)
def test_how_long_an_answer_may_be_kept_is_what_its_headers_say(cache_control, age, seconds):
    assert fresh_s(cache_control, age) == seconds


def _other_curve() -> dict[str, Any]:
    return ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)


def _ed448() -> dict[str, Any]:
    return OKPAlgorithm.to_jwk(Ed448PrivateKey.generate().public_key(), as_dict=True)


LEFT_OUT: dict[str, tuple[object, str]] = {
    "no object": ("key", "is not an object"),
    "null": (None, "is not an object"),
    "no kty": (EC.jwk(kty=None), "no key type"),
    "kty a list": (EC.jwk(kty=["EC"]), "no key type"),
    "crv a list": (EC.jwk(crv=["P-256"]), "no key type"),
    "oct": ({"kty": "oct", "k": "AAAA"}, "is not RSA"),
    "kty unknown": (EC.jwk(kty="XX"), "is not RSA"),
    "kty of another kind": (EC.jwk(kty="RSA"), "is not RSA"),
    "kty OKP on an EC curve": (EC.jwk(kty="OKP"), "is not RSA"),
    "EC without a curve": (EC.jwk(crv=None), "is not RSA"),
    "P-384": (_other_curve(), "is not RSA"),
    "P-384 that says P-256": ({**_other_curve(), "crv": "P-256"}, "is not a valid key"),
    "Ed448": (_ed448(), "is not RSA"),
    "alg of another family": (RSA.jwk(alg="HS256"), "an algorithm other than"),
    "alg RS384": (RSA.jwk(alg="RS384"), "an algorithm other than"),
    "alg PS512": (RSA.jwk(alg="PS512"), "an algorithm other than"),
    "an issuer that is a list": (RSA.jwk(issuer=["x"]), "an issuer"),
    "alg none": (RSA.jwk(alg="none"), "an algorithm other than"),
    "alg a list": (RSA.jwk(alg=["RS256"]), "an algorithm other than"),
    "use enc": (RSA.jwk(use="enc"), "not for signatures"),
    "use a list": (RSA.jwk(use=["sig"]), "not for signatures"),
    "key_ops sign": (RSA.jwk(key_ops=["sign"]), "not for verification"),
    "key_ops a text": (RSA.jwk(key_ops="verify"), "not for verification"),
    "kid a number": (RSA.jwk(kid=1), "a kid"),
    "kid too long": (RSA.jwk(kid="k" * 257), "a kid"),
    "private": (EC.jwk(d="AAAA"), "private key"),
    "no n": (RSA.jwk(n=None), "is not a valid key"),
    "no e": (RSA.jwk(e=None), "is not a valid key"),
    "n a number": (RSA.jwk(n=5), "not a string"),
    "n empty": (RSA.jwk(n=""), "is not a valid key"),
    "n too long": (RSA.jwk(n="A" * 100_000), "too long"),
    "n not base64": (RSA.jwk(n="!"), "is not a valid key"),
    "e = 1": (RSA.jwk(e="AQ"), "is not a valid key"),
    "e even": (RSA.jwk(e="Ag"), "is not a valid key"),
    "RSA of 1,024 bits": (IssuerKey("RS256", rsa_bits=1_024).jwk(), "RSA key of 1024 bits"),
    "x a list": (EC.jwk(x=["a"]), "not a string"),
    "a point beside the curve": (EC.jwk(x=EC.jwk()["y"]), "is not a valid key"),
    "a point of zeros": (EC.jwk(x="A" * 43, y="A" * 43), "is not a valid key"),
    "x cut": (EC.jwk(x=EC.jwk()["x"][:-4]), "is not a valid key"),
    "no x": (ED.jwk(x=None), "is not a valid key"),
    "Ed25519 cut": (ED.jwk(x=ED.jwk()["x"][:-4]), "is not a valid key"),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_key_that_is_of_no_use_is_left_out_with_the_reason_and_others_stay(name):
    member, reason = LEFT_OUT[name]
    found, left_out = keys_of(json.dumps({"keys": [member, EC.jwk()]}).encode())
    assert [key.kid for key in found] == ["ec-1"]
    (said,) = left_out
    assert said.startswith("key 0 ")
    assert reason in said


@pytest.mark.parametrize(
    ("alg", "algorithms", "taken"),
    [
        (None, PUBLIC_ALGORITHMS, "RS256"),
        (None, ("PS256",), "PS256"),
        (None, ("ES256", "RS512", "RS256"), "RS512"),
        (None, ("ES256",), None),
        ("RS512", PUBLIC_ALGORITHMS, "RS512"),
        ("PS256", PUBLIC_ALGORITHMS, "PS256"),
        ("PS256", ("RS256",), None),
    ],
)
def test_a_key_has_one_algorithm_which_it_names_or_which_is_the_first_it_can_have(alg, algorithms, taken):
    found, left_out = keys_of(json.dumps({"keys": [RSA.jwk(alg=alg)]}).encode(), algorithms)
    assert [key.algorithm for key in found] == ([taken] if taken else [])
    assert len(left_out) == (0 if taken else 1)


@pytest.mark.parametrize(
    "members",
    [
        {"alg": None},
        {"use": None},
        {"key_ops": ["verify"]},
        {"x5c": ["MIIB"], "x5t": "x", "x5u": "http://127.0.0.1:9/", "n": "AAAA", "ext": True},
        {"kid": None},
    ],
    ids=str,
)
def test_what_issuers_leave_out_or_add_makes_no_key_useless(members):
    found, left_out = keys_of(json.dumps({"keys": [EC.jwk(**members)], "more": 1}).encode())
    assert [key.algorithm for key in found] == ["ES256"]
    assert left_out == []
