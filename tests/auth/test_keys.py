"""Which key a token may be tried with: its own, and never one that its header talks us into."""

import base64
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from jwt import get_algorithm_by_name

from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.minting import Signer, mint
from nealytics.config import AuthConfig, JwtKey
from nealytics.errors import Refused
from tests.fakes.issuer import IssuerKey

NOW = 1_800_000_000.0
SECRET_A = "secret-a-of-at-least-thirty-two-bytes"
SECRET_B = "secret-b-of-at-least-thirty-two-bytes"

RSA = IssuerKey("RS256", "rsa-1")
RSA_OTHER = IssuerKey("RS256", "rsa-2")
EC = IssuerKey("ES256", "ec-1")
ED = IssuerKey("EdDSA", "ed-1")
STRANGER = {algorithm: IssuerKey(algorithm, "stranger") for algorithm in ("RS256", "ES256", "EdDSA")}

GOOD: dict[str, Any] = {"project_id": "my-app", "tenant_id": "tenant-1", "exp": int(NOW) + 3_600}


def known(key: IssuerKey, kid: str | None = None) -> JwtKey:
    algorithm: Any = key.algorithm
    return JwtKey(algorithm=algorithm, kid=key.kid if kid is None else kid, key=key.pem)


ALL = (known(RSA), known(RSA_OTHER), known(EC), known(ED), JwtKey(kid="hs-1", key=SECRET_A))


def verifier(*keys: JwtKey, **config: Any) -> TokenVerifier:
    return TokenVerifier(AuthConfig(jwt_keys=keys, **config), clock=lambda: NOW)


def accepts(token: str, *keys: JwtKey, **config: Any) -> bool:
    """Whether the token opens its tenant; if not, it must get a 401 and nothing else."""
    try:
        scope = verifier(*keys, **config).scope_of(f"Bearer {token}")
    except Refused as refused:
        if (refused.status, refused.code) != (401, "unauthorized"):
            raise
        return False
    return (scope.project_id, scope.tenant_id) == ("my-app", "tenant-1")


def secret_token(secret: str, kid: str = "") -> str:
    return mint(Signer(secret, kid=kid), "my-app", "tenant-1", 60, NOW)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value: object) -> str:
    return b64(value if isinstance(value, bytes) else json.dumps(value).encode())


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def by_hand(header: dict[str, object], claims: object = GOOD, signature: bytes = b"") -> str:
    return f"{part(header)}.{part(claims)}.{b64(signature)}"


def as_secret(secret: bytes, digest: str = "sha256", **header: object) -> str:
    """A token whose signature is an HMAC with these bytes, which may be anything but a secret."""
    signing_input = f"{part({'alg': 'HS256', **header})}.{part(GOOD)}"
    return f"{signing_input}.{b64(hmac.new(secret, signing_input.encode(), digest).digest())}"


def resigned(token: str, change: Any) -> str:
    head, body, signature = token.split(".")
    return f"{head}.{body}.{b64(change(unb64(signature)))}"


# What must be let in


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=lambda key: key.algorithm)
def test_a_token_of_each_algorithm_is_verified_with_the_key_of_its_kid(key):
    assert accepts(key.token(GOOD), *ALL)
    assert not accepts(STRANGER[key.algorithm].token(GOOD, kid=key.kid), *ALL)


def test_a_secret_is_found_by_its_kid():
    both = (JwtKey(kid="a", key=SECRET_A), JwtKey(kid="b", key=SECRET_B))
    assert accepts(secret_token(SECRET_A, "a"), *both)
    assert accepts(secret_token(SECRET_B, "b"), *both)
    assert not accepts(secret_token(SECRET_A, "b"), *both)


def test_while_keys_change_the_tokens_of_both_are_good():
    old, new = IssuerKey("RS256", "2026-10"), IssuerKey("EdDSA", "2026-11")
    assert accepts(old.token(GOOD), known(old), known(new))
    assert accepts(new.token(GOOD), known(old), known(new))
    assert not accepts(old.token(GOOD), known(new))


def test_a_kid_that_no_key_has_is_tried_with_the_keys_without_a_kid():
    """Keys known by themselves alone go on to work when their issuer begins to name them."""
    assert accepts(secret_token(SECRET_A, "new name"), jwt_key=SECRET_A)
    assert accepts(secret_token(SECRET_B, "new name"), jwt_key=SECRET_A, jwt_key_previous=SECRET_B)
    assert accepts(secret_token(SECRET_B, "new name"), JwtKey(key=SECRET_B), jwt_key=SECRET_A)
    assert accepts(EC.token(GOOD), known(EC, kid=""), known(RSA))


def test_a_kid_that_no_key_has_is_never_tried_with_the_key_of_another_kid():
    assert not accepts(secret_token(SECRET_A, "hs-2"), *ALL)
    assert not accepts(EC.token(GOOD, kid="ec-2"), *ALL)


def test_a_kid_belongs_to_its_algorithm():
    """Two services may have given their keys the same name."""
    keys = (known(RSA, kid="1"), known(EC, kid="1"))
    assert accepts(RSA.token(GOOD, kid="1"), *keys)
    assert accepts(EC.token(GOOD, kid="1"), *keys)
    assert not accepts(ED.token(GOOD, kid=EC.kid), *ALL)


def test_a_token_without_a_kid_is_tried_with_the_keys_without_one():
    assert accepts(secret_token(SECRET_A), *ALL, jwt_key=SECRET_A)
    assert accepts(RSA.token(GOOD, kid=""), known(RSA, kid=""), known(RSA_OTHER))


def test_a_token_without_a_kid_is_tried_with_a_named_key_only_if_no_other_can_be_meant():
    assert accepts(EC.token(GOOD, kid=""), *ALL)
    assert accepts(ED.token(GOOD, kid=""), *ALL)
    assert accepts(secret_token(SECRET_A), *ALL)
    assert not accepts(RSA.token(GOOD, kid=""), *ALL)
    assert not accepts(secret_token(SECRET_A), *ALL, jwt_key=SECRET_B)


def test_without_a_key_no_token_is_good():
    for token in (RSA.token(GOOD), EC.token(GOOD), ED.token(GOOD), secret_token(SECRET_A), as_secret(b"")):
        assert not accepts(token)


def test_issuer_and_audience_hold_for_every_key():
    for key in (RSA, EC, ED):
        right = key.token({**GOOD, "iss": "me", "aud": ["us", "them"]})
        assert accepts(right, *ALL, jwt_issuer="me", jwt_audience="us")
        assert not accepts(right, *ALL, jwt_issuer="you")
        assert not accepts(key.token(GOOD), *ALL, jwt_audience="us")


# What must not

ED_ORDER = 2**252 + 27742317777372353535851937790883648493
_HEAD, _BODY, _SIGNATURE = EC.token(GOOD).split(".")


def _malleated(signature: bytes) -> bytes:
    """The same point with s + order: a second signature, if s is not checked."""
    s = int.from_bytes(signature[32:], "little") + ED_ORDER
    return signature[:32] + s.to_bytes(32, "little")


def _der(signature: bytes) -> bytes:
    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def _rsa_with(digest: Any, **header: object) -> str:
    signing_input = f"{part({'alg': 'RS256', 'kid': 'rsa-1', **header})}.{part(GOOD)}"
    signature = RSA.private.sign(signing_input.encode(), padding.PKCS1v15(), digest())
    return f"{signing_input}.{b64(signature)}"


def _pss() -> str:
    signing_input = f"{part({'alg': 'PS256', 'kid': 'rsa-1'})}.{part(GOOD)}"
    how = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    return f"{signing_input}.{b64(RSA.private.sign(signing_input.encode(), how, hashes.SHA256()))}"


HOSTILE = {
    # A public key as a shared secret: in the forms in which it can be had.
    "HS256 with the RSA public key": as_secret(RSA.pem.encode(), kid="rsa-1"),
    "HS256 with the RSA public key, stripped": as_secret(RSA.pem.strip().encode(), kid="rsa-1"),
    "HS256 with the EC public key": as_secret(EC.pem.encode(), kid="ec-1"),
    "HS256 with the Ed25519 public key": as_secret(ED.pem.encode(), kid="ed-1"),
    "HS256 with the public key, without a kid": as_secret(RSA.pem.encode()),
    "HS256 with the public key and the secret's kid": as_secret(RSA.pem.encode(), kid="hs-1"),
    "HS256 with the public key's JWK": as_secret(json.dumps(RSA.jwk()).encode(), kid="rsa-1"),
    "RS256 in the header, HMAC with the public key": as_secret(RSA.pem.encode(), alg="RS256", kid="rsa-1"),
    "RS256 in the header, HMAC with the secret": as_secret(SECRET_A.encode(), alg="RS256", kid="hs-1"),
    "HS512 with the secret": as_secret(SECRET_A.encode(), "sha512", alg="HS512", kid="hs-1"),
    "HS384 with the secret": as_secret(SECRET_A.encode(), "sha384", alg="HS384", kid="hs-1"),
    "HS256 with an empty secret": as_secret(b"", kid="hs-1"),
    "HS256 with the kid as secret": as_secret(b"hs-1", kid="hs-1"),
    # No algorithm.
    "alg none": by_hand({"alg": "none", "kid": "rsa-1"}),
    "alg nOnE": by_hand({"alg": "nOnE", "kid": "rsa-1"}),
    "alg empty": by_hand({"alg": "", "kid": "rsa-1"}),
    "alg null": by_hand({"alg": None, "kid": "rsa-1"}),
    "alg a number": by_hand({"alg": 256}),
    "alg an object": by_hand({"alg": {"RS256": 1}}),
    # The same key, another way to sign.
    "PS256 with the RSA key": _pss(),
    "RS512 with the RSA key": _rsa_with(hashes.SHA512, alg="RS512"),
    "RS256 over SHA-512": _rsa_with(hashes.SHA512),
    "ES256 in the header of an Ed25519 signature": by_hand(
        {"alg": "ES256", "kid": "ec-1"}, signature=ED.private.sign(f"{_HEAD}.{_BODY}".encode())
    ),
    "ES384": by_hand({"alg": "ES384", "kid": "ec-1"}, signature=bytes(96)),
    "ES256K": by_hand({"alg": "ES256K", "kid": "ec-1"}, signature=bytes(64)),
    # Signatures that are none.
    "ES256 with r = s = 0": by_hand({"alg": "ES256", "kid": "ec-1"}, signature=bytes(64)),
    "ES256 with r = 0": resigned(EC.token(GOOD), lambda s: bytes(32) + s[32:]),
    "ES256 with s = 0": resigned(EC.token(GOOD), lambda s: s[:32] + bytes(32)),
    "ES256 with r = s = all ones": resigned(EC.token(GOOD), lambda s: b"\xff" * 64),
    "ES256 in DER": resigned(EC.token(GOOD), _der),
    "ES256 cut": resigned(EC.token(GOOD), lambda s: s[:-1]),
    "ES256 with a byte more": resigned(EC.token(GOOD), lambda s: s + b"\0"),
    "EdDSA with s + the group's order": resigned(ED.token(GOOD), _malleated),
    "EdDSA all zero": resigned(ED.token(GOOD), lambda s: bytes(64)),
    "EdDSA cut": resigned(ED.token(GOOD), lambda s: s[:63]),
    "RS256 all zero": resigned(RSA.token(GOOD), lambda s: bytes(len(s))),
    "RS256 one": resigned(RSA.token(GOOD), lambda s: bytes(len(s) - 1) + b"\1"),
    "RS256 with a zero in front": resigned(RSA.token(GOOD), lambda s: b"\0" + s),
    "RS256 empty": resigned(RSA.token(GOOD), lambda s: b""),
    "RS256 of 6 KB": resigned(RSA.token(GOOD), lambda s: s * 20),
    "claims changed": f"{_HEAD}.{part({**GOOD, 'tenant_id': 'tenant-2'})}.{_SIGNATURE}",
    "header changed": f"{part({'alg': 'ES256', 'kid': 'ec-1', 'x': 1})}.{_BODY}.{_SIGNATURE}",
    # Kids.
    "a kid with a path": as_secret(b"", kid="../../../../dev/null"),
    "a kid with a path of its own key": STRANGER["RS256"].token(GOOD, kid="/tmp/stranger.pem"),
    "a kid with SQL": as_secret(b"x", kid="x' UNION SELECT 'x' --"),
    "a kid with a command": as_secret(b"", kid="$(cat /etc/passwd)"),
    "a kid with a NUL": as_secret(SECRET_A.encode(), kid="hs-1\0"),
    "a kid in other letters": as_secret(SECRET_A.encode(), kid="HS-1"),
    "a kid with white space": as_secret(SECRET_A.encode(), kid=" hs-1"),
    "a kid of 5 KB": as_secret(b"", kid="k" * 5_000),
    "a kid that is a number": as_secret(SECRET_A.encode(), kid=1),
    "a kid that is a list": as_secret(SECRET_A.encode(), kid=["hs-1"]),
    "a kid that is null": as_secret(SECRET_A.encode(), kid=None),
    "the kid of another key": RSA_OTHER.token(GOOD, kid="rsa-1"),
    # Keys that the token brings along.
    "jwk of its own": STRANGER["RS256"].token(GOOD, kid="rsa-1", jwk=STRANGER["RS256"].jwk()),
    "jku of its own": STRANGER["ES256"].token(GOOD, kid="stranger", jku="http://127.0.0.1:9/jwks.json"),
    "x5u of its own": STRANGER["RS256"].token(GOOD, kid="stranger", x5u="http://127.0.0.1:9/x.pem"),
    "x5c of its own": STRANGER["RS256"].token(GOOD, kid="rsa-1", x5c=["MIIB"]),
    # Extensions, and forms of the token.
    "crit unknown": as_secret(SECRET_A.encode(), kid="hs-1", crit=["exp"], exp=1),
    "crit b64": as_secret(SECRET_A.encode(), kid="hs-1", crit=["b64"], b64=True),
    "b64 false": as_secret(SECRET_A.encode(), kid="hs-1", crit=["b64"], b64=False),
    "encrypted (JWE)": f"{part({'alg': 'dir', 'enc': 'A256GCM'})}..{b64(bytes(12))}.eA.{b64(bytes(16))}",
    "as JSON": part({"payload": part(GOOD), "signatures": []}),
    "a header nested too deep": f"{b64(b'[' * 4_000)}.{_BODY}.{_SIGNATURE}",
    "a header with a long number": b64(b'{"alg": ' + b"9" * 5_000 + b"}") + f".{_BODY}.{_SIGNATURE}",
    "1 MB": RSA.token({**GOOD, "more": "x" * 1_000_000}),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_gets_401(name):
    assert not accepts(HOSTILE[name], *ALL)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_gets_401_where_keys_have_no_kid(name):
    nameless = (known(RSA, kid=""), known(EC, kid=""), known(ED, kid=""))
    assert not accepts(HOSTILE[name], *nameless, jwt_key=SECRET_B)


TIMES: dict[str, dict[str, Any]] = {
    "no exp": {},
    "exp null": {"exp": None},
    "exp past": {"exp": NOW - 31},
    "exp a text": {"exp": str(GOOD["exp"])},
    "exp true": {"exp": True},
    "exp 10^30": {"exp": 10**30},
    "exp 1e308": {"exp": 1e308},
    "exp infinite": {"exp": float("inf")},
    "exp not a number": {"exp": float("nan")},
    "exp a list": {"exp": [GOOD["exp"]]},
    "nbf in the future": {"exp": GOOD["exp"], "nbf": NOW + 31},
    "nbf a text": {"exp": GOOD["exp"], "nbf": "now"},
    "nbf not a number": {"exp": GOOD["exp"], "nbf": float("nan")},
}


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("key", [RSA, EC, ED], ids=lambda key: key.algorithm)
def test_a_right_signature_makes_no_wrong_time_good(name, key):
    # By hand, because PyJWT makes no such tokens.
    claims = {"project_id": "my-app", "tenant_id": "tenant-1", **TIMES[name]}
    signing_input = f"{part({'alg': key.algorithm, 'kid': key.kid})}.{part(claims)}"
    signature = get_algorithm_by_name(key.algorithm).sign(signing_input.encode(), key.private)
    assert not accepts(f"{signing_input}.{b64(signature)}", *ALL)


def test_the_signature_of_a_token_is_not_part_of_who_it_is_for():
    """Of ES256 there are two for every token, so a bound could be had twice."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    token = EC.token(GOOD)
    twin = resigned(token, lambda s: s[:32] + (order - int.from_bytes(s[32:], "big")).to_bytes(32, "big"))
    first, second = (verifier(*ALL).scope_of(f"Bearer {text}") for text in (token, twin))
    assert twin != token
    assert first.key == second.key


def test_there_are_enough_hostile_tokens():
    assert len(HOSTILE) >= 40


def test_the_forgeries_are_well_made():
    """They fail for the reason meant: what made them makes good tokens from the right parts."""
    assert accepts(as_secret(SECRET_A.encode(), kid="hs-1"), *ALL)
    assert accepts(_rsa_with(hashes.SHA256), *ALL)
    assert accepts(resigned(ED.token(GOOD), lambda signature: signature), *ALL)
