"""The keys of one issuer: which keys of its JWKS (RFC 7517) are accepted, and for how long. Pure.

Keys stay valid while the issuer cannot be reached, until they are `jwks_age_max_s` old; from then on there
are none. An issuer that is down cannot revoke a key, so its last set is not trusted without a limit.

Only signing keys of types that we verify are accepted. A shared secret (`oct`) is left out: a published
secret is none.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK

from nealytics.auth.keys import PUBLIC_ALGORITHMS, VerifyingKey
from nealytics.config import AuthConfig, JwtAlgorithm
from nealytics.config.check import KID_CHARS_MAX
from nealytics.config.pem import checked

# The least time between two requests to the issuer for an unknown key: anyone can write such a token.
ASK_AGAIN_S = 30.0
RETRY_MAX_S = 30.0
# An issuer that allows less caching is still asked only this often, or every jwks_refresh_s.
REFRESH_MIN_S = 60.0

SET_KEYS_MAX = 100
# An RSA modulus of 8,192 bits in base64.
MEMBER_CHARS_MAX = 1_366

_ALGORITHMS_OF: dict[tuple[str, object], tuple[JwtAlgorithm, ...]] = {
    ("RSA", None): ("RS256", "RS512", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
NOT_FOR_SIGNATURES = "is not for signatures (use)"


class KeySet:
    """`keys` is what the issuer last published, or nothing if that is too long ago."""

    def __init__(self, config: AuthConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._keys: tuple[VerifyingKey, ...] = ()
        self._started_at: float | None = None
        self._fetched_at: float | None = None
        self._asked_at: float | None = None
        self._fresh_s: float | None = None
        self._failures = 0  # since the last success

    @property
    def available(self) -> bool:
        return self._fetched_at is not None and self._clock() - self._fetched_at < self._config.jwks_age_max_s

    @property
    def certain(self) -> bool:
        """Whether a key that is not among `keys` does not belong to the issuer."""
        return self.available and not self._failures

    @property
    def keys(self) -> tuple[VerifyingKey, ...]:
        return self._keys if self.available else ()

    @property
    def age_s(self) -> float:
        """Time since the issuer last published its keys; before the first time, since the start."""
        since = self._started_at if self._fetched_at is None else self._fetched_at
        return 0.0 if since is None else self._clock() - since

    @property
    def refresh_s(self) -> float:
        """How long the keys are kept before the issuer is asked again."""
        config = self._config
        if self._fresh_s is None:
            return config.jwks_refresh_s
        # A third of the maximum age, so that a refresh or two that fail take no key away.
        return min(max(self._fresh_s, min(REFRESH_MIN_S, config.jwks_refresh_s)), config.jwks_age_max_s / 3)

    @property
    def delay_s(self) -> float:
        """How long to wait before the next refresh."""
        return min(self.refresh_s, RETRY_MAX_S, 2.0**self._failures) if self._failures else self.refresh_s

    def may_ask(self) -> bool:
        """Whether a token with an unknown key is a reason to ask; if so, the next one soon after is not."""
        now = self._clock()
        if self._asked_at is not None and now - self._asked_at < ASK_AGAIN_S:
            return False
        self._asked_at = now
        return True

    def started(self) -> None:
        self._started_at = self._clock()

    def replace(self, keys: Sequence[VerifyingKey], asked_at: float, fresh_s: float | None) -> None:
        """The issuer has answered a request that began at `asked_at`."""
        self._fetched_at, self._fresh_s, self._failures = asked_at, fresh_s, 0
        # The same object while the keys are the same, so that what compares it later does so at once.
        if tuple(keys) != self._keys:
            self._keys = tuple(keys)

    def failed(self) -> None:
        # Beyond 2 ** 5 the delay is RETRY_MAX_S anyway.
        self._failures = min(self._failures + 1, 10)


class Unusable(ValueError):
    """What the issuer published, or one key of it, is not accepted, and why."""


def fresh_s(cache_control: str, age: str) -> float | None:
    """How much longer an answer may be cached (RFC 9111), or None if it does not say."""
    directives = [directive.strip().lower() for directive in cache_control.split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    for directive in directives:
        name, _, value = directive.partition("=")
        value = value.strip().strip('"')
        if name.strip() == "max-age" and value.isascii() and value.isdigit():
            passed = age.strip() if age.strip().isascii() and age.strip().isdigit() else "0"
            # Ten digits are 317 years; Python refuses to parse thousands of them.
            return max(0.0, float(value[:10]) - float(passed[:10]))
    return None


def keys_of(
    document: bytes, algorithms: Sequence[JwtAlgorithm] = PUBLIC_ALGORITHMS
) -> tuple[list[VerifyingKey], list[str]]:
    """The usable keys of a JWKS document, and the reason for each other one.

    Raises `ValueError` if it is no such document. One without any usable key is valid: the issuer may have
    revoked all of them, and then no token is accepted.
    """
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("keys"), list):
        raise Unusable('the answer is not a key set, which is a JSON object with a list "keys"')
    members = parsed["keys"]
    if len(members) > SET_KEYS_MAX:
        raise Unusable(f"the key set has {len(members)} keys, at most {SET_KEYS_MAX} are accepted")
    found, left_out = [], []
    for i, member in enumerate(members):
        try:
            found.append(_key_of(member, algorithms))
        except Unusable as error:
            left_out.append(f"key {i} {error}")
    return found, left_out


def _key_of(member: object, algorithms: Sequence[JwtAlgorithm]) -> VerifyingKey:
    if not isinstance(member, dict):
        raise Unusable("is not an object")
    if member.get("use", "sig") != "sig":
        raise Unusable(NOT_FOR_SIGNATURES)
    kid = member.get("kid", "")
    if not isinstance(kid, str) or len(kid) > KID_CHARS_MAX:
        raise Unusable(f"has a kid that is not a string of up to {KID_CHARS_MAX} characters")
    kty, curve = member.get("kty"), member.get("crv")
    if not isinstance(kty, str) or not isinstance(curve, str | None):
        raise Unusable("has no key type (kty)")
    family = _ALGORITHMS_OF.get((kty, curve))
    if family is None:
        raise Unusable("is not RSA, EC on P-256 or Ed25519")
    accepted = [known for known in algorithms if known in family]
    # A key has one algorithm. One that does not name it has the first that is possible.
    algorithm = member.get("alg", accepted[0] if accepted else None)
    if algorithm not in accepted:
        raise Unusable(f"is for an algorithm other than {' or '.join(accepted) or ', '.join(algorithms)}")
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise Unusable("is not for verification (key_ops)")
    if "d" in member:
        raise Unusable("is a private key, so anyone who reads the set can sign tokens with it")
    # Everything else, such as certificates and their addresses, is ignored.
    public: dict[str, Any] = {name: member[name] for name in ("n", "e", "x", "y", "crv") if name in member}
    if not all(isinstance(value, str) and len(value) <= MEMBER_CHARS_MAX for value in public.values()):
        raise Unusable("has a number that is not a string or is too long")
    try:
        key = checked(PyJWK({"kty": kty, **public}, algorithm).key, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
        raise Unusable(f"is not a valid key: {str(error)[:200]}") from None
    issuer = member.get("issuer", "")
    if not isinstance(issuer, str):
        raise Unusable("has an issuer that is not a string")
    return VerifyingKey(algorithm, kid, key, issuer)
