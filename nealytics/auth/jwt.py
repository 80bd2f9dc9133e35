"""Tokens: signed by a key we know, with an expiry, and with the scope that they open.

PyJWT checks the form and the signature. `issuers` decides whose token it is and what its claims must be,
`keys` which key may have signed it, `claims` what it opens.

`exp`, `nbf`, `aud` and `iss` are checked here and in `issuers`, not by PyJWT's options: PyJWT reads the
system's clock and has no argument for it, accepts `"123"` and `true` as a time, and would check before the
token's issuer is chosen. Its checks of `iat`, `sub` and `jti` refuse tokens of identity providers that are
valid: these claims may have any type.
"""

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jwt
from jwt.api_jws import PyJWS

from nealytics.auth.claims import CLAIM_CHARS_MAX, admin_scope_from, ingest_grant_from, scope_from
from nealytics.auth.grant import Grant
from nealytics.auth.issuers import INVALID_TOKEN, Issuer, Issuers, unauthorized
from nealytics.auth.jwks import Jwks
from nealytics.auth.key_set import RETRY_MAX_S
from nealytics.auth.keys import ALGORITHMS, HS256, candidates
from nealytics.auth.scope import AdminScope, Scope
from nealytics.config import AuthConfig
from nealytics.errors import Refused

# An identity provider's token with groups and roles may have several KB.
TOKEN_BYTES_MAX = 16 * 1024

# The end of the year 9999. No date library goes beyond it, so such an `exp` is a mistake or an attack.
EPOCH_S_MAX = 253_402_300_799

_FORM = (
    "A token consists of three base64url parts, separated by dots. An API key is not a token: it can"
    " only send events, in X-Project-Key."
)
_OTHER_SECRET = "Sign it with a key that the server is configured with, such as auth.jwt_key."
_OTHER_KEY = "Its issuer may have a new key, or it may not be an issuer that the server is configured with."


T = TypeVar("T")


class _Verified(NamedTuple):
    """A token that one of its issuer's keys signed, for this service and not expired."""

    claims: dict[str, Any]
    payload: bytes
    issuer: Issuer
    expires_at_s: float

    def rules(self, claim_chars_max: int) -> dict[str, Any]:
        """The other arguments of `scope_from` and `ingest_grant_from`."""
        return {
            "claim_chars_max": claim_chars_max,
            "names": self.issuer.names,
            "issuer": self.claims["iss"] if self.issuer.name else "",
            "expires_at_s": self.expires_at_s,
        }


class TokenVerifier:
    """Turns a token into a `Scope`, an `AdminScope` or a `Grant`, or refuses it.

    401: no token, or one that is not ours, not yet valid or expired. 403: a valid token that names no project
    or no tenant. 400: one with a claim that makes no sense. 503: one whose key may be a new one of its
    issuer, whose keys cannot be fetched at the moment.

    `scope_of` decides with the keys that it has. `resolve` also asks the issuer if the token may be signed
    with a new key; only then does it wait, at most as long as one fetch may take. `start` and `close` it in
    the loop that serves: it keeps the key sets of issuers fresh.
    """

    def __init__(
        self,
        config: AuthConfig,
        *,
        claim_chars_max: int = CLAIM_CHARS_MAX,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuers = Issuers(config, monotonic)
        self._clock_skew_s = config.jwt_clock_skew_s
        self._claim_chars_max = claim_chars_max
        self._clock = clock
        self._monotonic = monotonic
        self._jws = PyJWS(algorithms=ALGORITHMS)

    def start(self) -> None:
        for key_set in self.issuers.key_sets:
            key_set.start()

    async def replace(self, config: AuthConfig) -> None:
        """From now on, these keys and issuers count. The keys of issuers are fetched anew; until then their
        tokens wait for them."""
        before = self.issuers
        self.issuers = Issuers(config, self._monotonic)
        self._clock_skew_s = config.jwt_clock_skew_s
        self.start()
        for key_set in before.key_sets:
            await key_set.close()

    async def close(self) -> None:
        for key_set in self.issuers.key_sets:
            await key_set.close()

    @property
    def jwks_age_s(self) -> float:
        """`age_s` of the oldest key set; 0 if there is none."""
        return max((key_set.age_s for key_set in self.issuers.key_sets), default=0.0)

    @property
    def keys_in_use(self) -> list[object]:
        """Equal to an earlier value of it if what was verified then still holds, until it expires."""
        issuers = self.issuers
        return [issuers, *[key_set.keys for key_set in issuers.key_sets]]

    async def resolve(self, authorization_header: str | None) -> Scope:
        return await _with_new_keys(lambda: self.scope_of(authorization_header))

    async def resolve_admin(self, authorization_header: str | None) -> AdminScope:
        return await _with_new_keys(lambda: self.admin_scope_of(authorization_header))

    async def resolve_ingest(self, token: str) -> Grant:
        return await _with_new_keys(lambda: self.ingest_grant_of(token))

    def scope_of(self, authorization_header: str | None) -> Scope:
        found = self._verified_token(_token_of(authorization_header))
        return scope_from(found.claims, found.payload, **found.rules(self._claim_chars_max))

    def admin_scope_of(self, authorization_header: str | None) -> AdminScope:
        claims, _, issuer, _ = self._verified_token(_token_of(authorization_header))
        return admin_scope_from(claims, claim_chars_max=self._claim_chars_max, names=issuer.names)

    def ingest_grant_of(self, token: str) -> Grant:
        found = self._verified_token(token)
        return ingest_grant_from(found.claims, found.payload, **found.rules(self._claim_chars_max))

    def _verified_token(self, token: str) -> _Verified:
        # Surrogates are what aiohttp makes of bytes that are not UTF-8.
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise unauthorized(f"the token is longer than {TOKEN_BYTES_MAX} bytes or is not ASCII")
        said = _unverified(self._jws, token)
        # Nothing is verified yet. The token's claims select its issuer, and the issuer selects the keys.
        claims = _claims_in(said["payload"])
        issuer = self.issuers.of(claims)
        # The payload that is verified is the one that the claims were read from: both are decoded from
        # the same text in the same way.
        payload = self._verified(token, said["header"], issuer, claims)
        expires_at_s = self._check_time(claims)
        issuer.check(claims)
        return _Verified(claims, payload, issuer, expires_at_s)

    def _verified(self, token: str, header: dict[str, Any], issuer: Issuer, claims: dict[str, Any]) -> bytes:
        """The payload, if one of the issuer's keys signed it."""
        algorithm, kid = header["alg"], header.get("kid", "")
        if algorithm not in issuer.algorithms:
            raise unauthorized(
                f"the token is signed with {algorithm}, which its issuer does not allow",
                f"Sign it with one of {', '.join(issuer.algorithms)}.",
            )
        found = candidates(issuer.keys_for(claims), algorithm, kid)
        for key in found.keys:
            try:
                return bytes(self._jws.decode(token, key.material, algorithms=[key.algorithm]))
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, RecursionError):
                raise unauthorized("the token is malformed", _FORM) from None
        advice = self.issuers.mistaken(claims)
        if found.named:
            raise unauthorized("the token's signature does not match", advice or _OTHER_SECRET)
        raise _unknown_key(issuer, algorithm, kid, advice)

    def _check_time(self, claims: dict[str, Any]) -> float:
        """When the token expires, by this node's clock and with the configured skew."""
        now = self._clock()
        if "exp" not in claims:
            raise unauthorized(
                "the token has no expiry (exp)", "Give every token an exp claim, in epoch seconds."
            )
        expires_at_s = _epoch_s(claims, "exp") + self._clock_skew_s
        if expires_at_s <= now:
            raise unauthorized(
                "the token has expired", "Get a new one from the service that issues your tokens."
            )
        if "nbf" in claims and _epoch_s(claims, "nbf") > now + self._clock_skew_s:
            raise unauthorized("the token is not valid yet (nbf)")
        return expires_at_s


class _UnknownKey(Refused):
    """The issuer may have published a key for this token since the last fetch."""

    def __init__(self, status: int, code: str, message: str, *, key_set: Jwks, **more: Any) -> None:
        super().__init__(status, code, message, **more)
        self.key_set = key_set


def _unverified(jws: PyJWS, token: str) -> dict[str, Any]:
    """Header and payload, not verified."""
    try:
        said = jws.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise unauthorized("the token is malformed", _FORM) from None
    header = said["header"]
    # PyJWT honours one extension; this engine knows none.
    if "crit" in header:
        raise unauthorized("the token requires an extension (crit), and none is supported")
    if not isinstance(header.get("alg"), str) or header["alg"] not in ALGORITHMS:
        raise unauthorized(f"the token's algorithm is not one of the accepted ones: {', '.join(ALGORITHMS)}")
    return said


def _unknown_key(issuer: Issuer, algorithm: str, kid: str, advice: str) -> Refused:
    """No key matches the token. A newly published one may, but never a shared secret.

    `advice` is more specific than the default, or empty.
    """
    if issuer.jwks is None or algorithm == HS256:
        if kid:
            return unauthorized("the token is signed with an unknown key", advice or _OTHER_KEY)
        return unauthorized("the token's signature does not match", advice or _OTHER_SECRET)
    if issuer.jwks.certain:
        return _UnknownKey(
            401,
            "unauthorized",
            "the token is signed with an unknown key",
            detail=advice or _OTHER_KEY,
            headers=INVALID_TOKEN,
            key_set=issuer.jwks,
        )
    # The key may be a new one. A client drops its token after 401; this one may be accepted soon.
    return _UnknownKey(
        503,
        "keys_unavailable",
        "the keys of the token's issuer are temporarily unavailable",
        detail=f"Retry later. The node's log says why {issuer.setting} could not be fetched.",
        headers={"Retry-After": str(int(RETRY_MAX_S))},
        key_set=issuer.jwks,
    )


async def _with_new_keys(resolve: Callable[[], T]) -> T:
    try:
        return resolve()
    except _UnknownKey as unknown:
        await unknown.key_set.look_again()
        return resolve()


def bearer_token(header: str | None) -> str:
    """The token in an `Authorization` header; empty if there is none."""
    scheme, _, token = (header or "").strip().partition(" ")
    return token.strip() if scheme == "Bearer" or scheme.lower() == "bearer" else ""


def _token_of(header: str | None) -> str:
    token = bearer_token(header)
    if not token:
        raise Refused(
            401,
            "unauthorized",
            "the request has no token",
            detail="Send the header Authorization: Bearer <token>. An API key can only send events.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return token


def _claims_in(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise unauthorized("the token's claims are not a JSON object")
    return claims


def _epoch_s(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -EPOCH_S_MAX <= value <= EPOCH_S_MAX
    ):
        raise unauthorized(f"the token's {name} is not a time in epoch seconds")
    return value
