"""Tokens: HS256 only, with an end, and with the project and tenant whose events they open.

PyJWT checks the form and the signature. The claims are checked here, because what is asked of them is ours:
`exp` must be there and be a number, `aud`, `iss`, `iat`, `sub` and `jti` of any type are nobody's business
unless configured, and the two claims of ours have answers of their own (403, 400).
"""

import json
import math
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import jwt
from jwt.api_jws import PyJWS

from nealytics.auth.scope import Scope
from nealytics.config import AuthConfig
from nealytics.errors import Refused

ALGORITHM = "HS256"
TOKEN_BYTES_MAX = 8 * 1024
CLAIM_CHARS_MAX = 256

# The end of the year 9999. No date library goes beyond it, so such an `exp` is a mistake or a trick, no end.
EPOCH_S_MAX = 253_402_300_799


class TokenVerifier:
    """Turns an `Authorization` header into a `Scope`, or refuses it.

    401: no token, or one that is not ours, not yet or no longer valid. 403: a good token that names no
    project or no tenant. 400: one that names them in a way no event can have.
    """

    def __init__(
        self,
        config: AuthConfig,
        *,
        claim_chars_max: int = CLAIM_CHARS_MAX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = [key.encode() for key in (config.jwt_key, config.jwt_key_previous) if key]
        self._clock_skew_s = config.jwt_clock_skew_s
        self._issuer = config.jwt_issuer
        self._audience = config.jwt_audience
        self._claim_chars_max = claim_chars_max
        self._clock = clock
        self._jws = PyJWS(algorithms=[ALGORITHM])

    def scope_of(self, authorization_header: str | None) -> Scope:
        claims = self._claims_of(_token_of(authorization_header))
        self._check_time(claims)
        self._check_source(claims)
        return Scope(self._identifier(claims, "project_id"), self._identifier(claims, "tenant_id"))

    def _claims_of(self, token: str) -> dict[str, Any]:
        payload = self._verified(token)
        try:
            claims = json.loads(payload)
        except (ValueError, RecursionError):
            claims = None
        if not isinstance(claims, dict):
            raise _unauthorized("the token's claims are not a JSON object")
        return claims

    def _verified(self, token: str) -> bytes:
        """The payload, if one of the keys signed it."""
        for key in self._keys:
            try:
                decoded = self._jws.decode_complete(token, key, algorithms=[ALGORITHM])
            except jwt.InvalidSignatureError:
                continue
            except jwt.InvalidAlgorithmError:
                raise _unauthorized(f"the token is not signed with {ALGORITHM}") from None
            except (jwt.PyJWTError, ValueError, RecursionError):
                raise _unauthorized("the token is malformed") from None
            # PyJWT knows one extension and honours it; this engine knows none.
            if "crit" in decoded["header"]:
                raise _unauthorized("the token demands an extension (crit)")
            return bytes(decoded["payload"])
        raise _unauthorized("the token's signature does not match")

    def _check_time(self, claims: dict[str, Any]) -> None:
        now = self._clock()
        if "exp" not in claims:
            raise _unauthorized(
                "the token has no end (exp)", "give every token an exp claim, in epoch seconds"
            )
        if _epoch_s(claims, "exp") <= now - self._clock_skew_s:
            raise _unauthorized("the token has expired", "get a new one from the service that issues them")
        if "nbf" in claims and _epoch_s(claims, "nbf") > now + self._clock_skew_s:
            raise _unauthorized("the token is not valid yet (nbf)")

    def _check_source(self, claims: dict[str, Any]) -> None:
        if self._issuer and claims.get("iss") != self._issuer:
            raise _unauthorized("the token is of another issuer (iss)")
        if self._audience:
            audience = claims.get("aud")
            if self._audience not in (audience if isinstance(audience, list) else [audience]):
                raise _unauthorized("the token is for another audience (aud)")

    def _identifier(self, claims: dict[str, Any], name: str) -> str:
        text = _claim_text(claims.get(name))
        if not text.strip():
            raise Refused(
                403,
                "forbidden",
                f"the token has no {name}",
                detail=f"issue tokens whose {name} is a non-empty text: it decides whose events are shown",
                field=name,
            )
        if len(text) > self._claim_chars_max:
            raise _invalid_claim(
                name, f"has {len(text)} characters, at most {self._claim_chars_max} are accepted"
            )
        if "\0" in text or not _is_unicode(text):
            raise _invalid_claim(name, "holds a NUL or half a surrogate pair, which no event's can")
        return text


def mint(key: str, project_id: str, tenant_id: str, expires_s: float, now: float, **claims: str) -> str:
    """A token for one tenant, good until `now + expires_s`; `claims` (`iss`, `aud`) stand in it as well."""
    times = {"iat": int(now), "exp": int(now + expires_s)}
    claims = {**claims, "project_id": project_id, "tenant_id": tenant_id}
    return jwt.encode({**claims, **times}, key.encode(), algorithm=ALGORITHM)


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


def _epoch_s(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -EPOCH_S_MAX <= value <= EPOCH_S_MAX
    ):
        raise _unauthorized(f"the token's {name} is not a time in epoch seconds")
    return value


def _claim_text(value: object) -> str:
    """A claim as text: a number in its decimal form, anything that cannot name a tenant as nothing."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return format(Decimal(repr(value)), "f")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unauthorized(message: str, detail: str = "") -> Refused:
    return Refused(
        401,
        "unauthorized",
        message,
        detail=detail,
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def _invalid_claim(name: str, problem: str) -> Refused:
    return Refused(400, "invalid_claim", f"the token's {name} {problem}", field=name)
