"""Tokens: signed by a key we know, with an end, and with what they open.

PyJWT checks the form and the signature; which key may have made it is decided in `keys`, what the claims
mean in `claims`. The times and the source are checked here, because what is asked of them is ours: `exp`
must be there and be a number, and `aud`, `iss`, `iat`, `sub` and `jti` of any type are nobody's business
unless configured.
"""

import json
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import jwt
from jwt.api_jws import PyJWS

from nealytics.auth.claims import WHOLE_PROJECT, scope_from
from nealytics.auth.jwks import RETRY_MAX_S, Jwks
from nealytics.auth.keys import ALGORITHMS, HS256, VerifyingKey, candidates, configured_keys
from nealytics.auth.scope import Scope
from nealytics.config import AuthConfig
from nealytics.errors import Refused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

TOKEN_BYTES_MAX = 8 * 1024
CLAIM_CHARS_MAX = 256

# The end of the year 9999. No date library goes beyond it, so such an `exp` is a mistake or a trick, no end.
EPOCH_S_MAX = 253_402_300_799

_INVALID_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
_OTHER_SECRET = "sign it with a key of the configuration, such as auth.jwt_key"
_OTHER_KEY = "its issuer has a new key, or is not the one whose keys are configured"


class TokenVerifier:
    """Turns an `Authorization` header into a `Scope`, or refuses it.

    401: no token, or one that is not ours, not yet or no longer valid. 403: a good token that names no
    project or no tenant. 400: one whose claims cannot be meant. 503: one whose key may be the issuer's
    (`auth.jwks_url`), whose keys cannot be had.

    `scope_of` decides with the keys that are at hand. `resolve` also asks the issuer, if the token's key may
    be a new one of its; only then it waits, and never longer than one fetch may take. With `auth.jwks_url`,
    `start` and `close` it in the loop that serves.
    """

    def __init__(
        self,
        config: AuthConfig,
        *,
        claim_chars_max: int = CLAIM_CHARS_MAX,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = configured_keys(config)
        self._jwks = Jwks(config, monotonic) if config.jwks_url else None
        self._clock_skew_s = config.jwt_clock_skew_s
        self._issuer = config.jwt_issuer
        self._audience = config.jwt_audience
        self._claim_chars_max = claim_chars_max
        self._clock = clock
        self._jws = PyJWS(algorithms=ALGORITHMS)

    def start(self) -> None:
        if self._jwks is not None:
            self._jwks.start()

    async def close(self) -> None:
        if self._jwks is not None:
            await self._jwks.close()

    @property
    def jwks_age_s(self) -> float:
        """`Jwks.age_s`; 0 if there is no such issuer."""
        return 0.0 if self._jwks is None else self._jwks.age_s

    async def resolve(self, authorization_header: str | None) -> Scope:
        try:
            return self.scope_of(authorization_header)
        except _UnknownKey:
            if self._jwks is None:
                raise
            await self._jwks.look_again()
            return self.scope_of(authorization_header)

    def scope_of(self, authorization_header: str | None) -> Scope:
        payload = self._verified(_token_of(authorization_header))
        claims = _claims_in(payload)
        expires_at_s = self._check_time(claims)
        self._check_source(claims)
        return scope_from(claims, payload, claim_chars_max=self._claim_chars_max, expires_at_s=expires_at_s)

    def _verified(self, token: str) -> bytes:
        """The payload, if one of the keys signed it."""
        algorithm, kid = self._named_in_header(token)
        keys: Iterable[VerifyingKey] = self._keys
        if self._jwks is not None:
            keys = [*self._keys, *self._jwks.keys]
        found = candidates(keys, algorithm, kid)
        for key in found.keys:
            try:
                return bytes(self._jws.decode(token, key.material, algorithms=[key.algorithm]))
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, RecursionError):
                raise _unauthorized(
                    "the token is malformed", "it is three base64url texts joined by dots"
                ) from None
        if found.named:
            raise _unauthorized("the token's signature does not match", _OTHER_SECRET)
        raise self._unknown_key(algorithm, kid)

    def _unknown_key(self, algorithm: str, kid: str) -> Refused:
        """No key is the token's. An issuer's may be, but never a shared secret."""
        if self._jwks is None or algorithm == HS256:
            if kid:
                return _unauthorized("the token is signed with a key that is not known here", _OTHER_KEY)
            return _unauthorized("the token's signature does not match", _OTHER_SECRET)
        if self._jwks.available:
            return _UnknownKey(
                401,
                "unauthorized",
                "the token is signed with a key that is not known here",
                detail=_OTHER_KEY,
                headers=_INVALID_TOKEN,
            )
        return _UnknownKey(
            503,
            "keys_unavailable",
            "the keys of the service that issues tokens are not available at the moment",
            detail="Ask again later. The node's log says what it gets from auth.jwks_url.",
            headers={"Retry-After": str(int(RETRY_MAX_S))},
        )

    def _named_in_header(self, token: str) -> tuple[str, str]:
        """The algorithm and the key that the token claims. Nothing is believed yet; it only chooses keys."""
        try:
            header = self._jws.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _unauthorized(
                "the token is malformed", "it is three base64url texts joined by dots"
            ) from None
        # PyJWT knows one extension and honours it; this engine knows none.
        if "crit" in header:
            raise _unauthorized("the token demands an extension (crit)")
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise _unauthorized(
                f"the token is signed with none of the algorithms that are accepted: {', '.join(ALGORITHMS)}"
            )
        return algorithm, header.get("kid", "")

    def _check_time(self, claims: dict[str, Any]) -> float:
        """When the token ends, by this node's clock and its patience."""
        now = self._clock()
        if "exp" not in claims:
            raise _unauthorized(
                "the token has no end (exp)", "give every token an exp claim, in epoch seconds"
            )
        expires_at_s = _epoch_s(claims, "exp") + self._clock_skew_s
        if expires_at_s <= now:
            raise _unauthorized("the token has expired", "get a new one from the service that issues them")
        if "nbf" in claims and _epoch_s(claims, "nbf") > now + self._clock_skew_s:
            raise _unauthorized("the token is not valid yet (nbf)")
        return expires_at_s

    def _check_source(self, claims: dict[str, Any]) -> None:
        if self._issuer and claims.get("iss") != self._issuer:
            raise _unauthorized("the token is of another issuer (iss)")
        if self._audience:
            audience = claims.get("aud")
            if self._audience not in (audience if isinstance(audience, list) else [audience]):
                raise _unauthorized("the token is for another audience (aud)")


class _UnknownKey(Refused):
    """The issuer may have a key for this token that it had not when it was last asked."""


def mint(
    key: "str | PrivateKey",
    project_id: str,
    tenant_id: str | None,
    expires_s: float,
    now: float,
    *,
    algorithm: str = HS256,
    kid: str = "",
    **claims: object,
) -> str:
    """A token for one tenant, or for the whole project (None), good until `now + expires_s`.

    `claims` (`iss`, `aud`, `filters` …) stand in it as well.
    """
    whose = {"project_id": project_id}
    whose |= {"scope": WHOLE_PROJECT} if tenant_id is None else {"tenant_id": tenant_id}
    times = {"iat": int(now), "exp": int(now + expires_s)}
    return jwt.encode(
        {**claims, **whose, **times},
        key.encode() if isinstance(key, str) else key,
        algorithm=algorithm,
        headers={"kid": kid} if kid else None,
    )


def _token_of(header: str | None) -> str:
    scheme, _, token = (header or "").strip().partition(" ")
    token = token.strip()
    if not header or scheme.lower() != "bearer" or not token:
        raise Refused(
            401,
            "unauthorized",
            "a token is needed",
            detail="send the header Authorization: Bearer <token>",
            headers={"WWW-Authenticate": "Bearer"},
        )
    # Surrogates are what aiohttp makes of bytes that are not UTF-8.
    if len(token) > TOKEN_BYTES_MAX or not token.isascii():
        raise _unauthorized(f"the token is longer than {TOKEN_BYTES_MAX} bytes or not ASCII")
    return token


def _claims_in(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise _unauthorized("the token's claims are not a JSON object")
    return claims


def _epoch_s(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -EPOCH_S_MAX <= value <= EPOCH_S_MAX
    ):
        raise _unauthorized(f"the token's {name} is not a time in epoch seconds")
    return value


def _unauthorized(message: str, detail: str = "see docs/tokens.md for what a token has to be") -> Refused:
    return Refused(
        401,
        "unauthorized",
        message,
        detail=detail,
        headers=_INVALID_TOKEN,
    )
