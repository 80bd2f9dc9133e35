"""The issuers of tokens: their keys, and the claims that their tokens must have.

The `iss` of a token selects its issuer, and only the keys of that issuer verify it. So the owner of one
issuer's key cannot make a token that counts as another's, whatever its `iss`, `kid` or `alg` is. Tokens whose
`iss` names none of `auth.issuers` are verified with the keys in `[auth]`.
"""

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nealytics.auth.claims import ClaimNames, look_up
from nealytics.auth.jwks import Jwks
from nealytics.auth.keys import ALGORITHMS, HS256, PUBLIC_ALGORITHMS, VerifyingKey, configured_keys
from nealytics.config import AuthConfig, JwtAlgorithm
from nealytics.config.tables import ClaimValue
from nealytics.errors import Refused

INVALID_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}

# What may replace "{claim}" in an issuer: no slash, so that it is never more than one part of an address.
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACED = re.compile(r"[A-Za-z0-9_-]{1,128}")


def unauthorized(
    message: str, detail: str = "See docs/tokens.md for the claims that a token needs."
) -> Refused:
    return Refused(401, "unauthorized", message, detail=detail, headers=INVALID_TOKEN)


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """One issuer. `name` is its `iss`, or empty for the keys of `[auth]`, whose tokens may lack it."""

    name: str
    setting: str  # where its key set is configured
    keys: Sequence[VerifyingKey] = ()
    jwks: Jwks | None
    algorithms: Sequence[JwtAlgorithm]
    iss: str = ""  # what a verified token must have, if it was not chosen by its `iss`
    audience: Collection[str]  # empty = not checked
    names: ClaimNames
    required: Mapping[str, tuple[ClaimValue, ...]] = field(default_factory=dict)

    @cached_property
    def placeholder(self) -> re.Match[str] | None:
        return _PLACEHOLDER.search(self.name)

    @property
    def has_keys(self) -> bool:
        return bool(self.keys) or self.jwks is not None

    def keys_for(self, claims: dict[str, Any]) -> list[VerifyingKey]:
        """The keys that may have signed a token with these claims, which are not yet verified."""
        keys = [*self.keys, *(self.jwks.keys if self.jwks is not None else ())]
        placeholder = self.placeholder
        if placeholder is None:
            return keys
        # One key set for many `iss`: the set may restrict a key to one of them.
        placed = str(claims.get(placeholder[1]))
        return [
            key
            for key in keys
            if not key.issuer or _PLACEHOLDER.sub(lambda _: placed, key.issuer) == claims["iss"]
        ]

    def issued(self, claims: dict[str, Any]) -> bool:
        """Whether the `iss` of these claims is this issuer's."""
        iss = claims.get("iss")
        placeholder = self.placeholder
        if placeholder is None:
            return bool(self.name) and iss == self.name
        placed = claims.get(placeholder[1])
        if not isinstance(placed, str) or not _PLACED.fullmatch(placed):
            return False
        return iss == self.name.replace(placeholder[0], placed)

    def check(self, claims: dict[str, Any]) -> None:
        """Raises `Refused` (401) for a verified token that is not for this service."""
        if self.iss and claims.get("iss") != self.iss:
            raise unauthorized("the token is from another issuer (iss)")
        if self.audience:
            audience = claims.get("aud")
            given = audience if isinstance(audience, list) else [audience]
            if not any(isinstance(value, str) and value in self.audience for value in given):
                raise unauthorized("the token is for another audience (aud)")
        for name, wanted in self.required.items():
            found = look_up(claims, name)
            if not any(_same(value, one) for value in _listed(found) for one in wanted):
                raise unauthorized(
                    f"the token's {name} does not have the required value",
                    "The server's configuration lists the accepted values in required_claims.",
                )


def own_issuer(config: AuthConfig, clock: Callable[[], float]) -> Issuer:
    """The keys of `[auth]` itself: secrets, public keys, and one key set."""
    # Clients of an identity provider choose their scopes, and a public key may be a provider's.
    has_secrets_only = not config.jwks_url and all(key.algorithm == HS256 for key in config.jwt_keys)
    return Issuer(
        name="",
        setting="auth.jwks_url",
        keys=configured_keys(config),
        jwks=Jwks(config.jwks_url, config, clock=clock) if config.jwks_url else None,
        algorithms=ALGORITHMS,
        iss=config.jwt_issuer,
        audience=[config.jwt_audience] if config.jwt_audience else [],
        names=ClaimNames(
            config.tenant_claim,
            config.project_claim,
            config.project,
            admin_scope=has_secrets_only,
            ingest_scope=has_secrets_only or config.ingest_scope,
        ),
    )


def configured_issuer(config: AuthConfig, i: int, clock: Callable[[], float]) -> Issuer:
    """`auth.issuers[i]`."""
    entry = config.issuers[i]
    algorithms = entry.algorithms or PUBLIC_ALGORITHMS
    # An issuer with a project_claim of its own does not use the fixed project of `[auth]`.
    project = entry.project or ("" if entry.project_claim else config.project)
    return Issuer(
        name=entry.issuer,
        setting=f"auth.issuers[{i}].jwks_url",
        jwks=Jwks(entry.jwks_url, config, algorithms, clock),
        algorithms=algorithms,
        audience=() if "*" in entry.audience else entry.audience,
        names=ClaimNames(
            entry.tenant_claim or config.tenant_claim,
            entry.project_claim or config.project_claim,
            project,
            entry.project_scope,
            entry.admin_scope,
            entry.ingest_scope,
        ),
        required=entry.required_claims,
    )


class Issuers:
    """All configured issuers, and the one that a token belongs to."""

    def __init__(self, config: AuthConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self.own = own_issuer(config, clock)
        others = [configured_issuer(config, i, clock) for i in range(len(config.issuers))]
        # A name without a placeholder has precedence: it was written for this `iss` alone.
        self.others = sorted(others, key=lambda issuer: issuer.placeholder is not None)

        self.key_sets = [issuer.jwks for issuer in (self.own, *self.others) if issuer.jwks is not None]

    def of(self, claims: dict[str, Any]) -> Issuer:
        """Raises `Refused` (401) if there is none. The claims are not yet verified; they only choose."""
        for issuer in self.others:
            if issuer.issued(claims):
                return issuer
        if self.own.has_keys or not self.others:
            return self.own
        raise unauthorized("the token's issuer (iss) is not configured", self._advice(claims))

    def mistaken(self, claims: dict[str, Any]) -> str:
        """Advice about the `iss` of a token that no key verifies; "" if it is configured.

        Such a token was tried with the keys of `[auth]`. If issuers are configured, it is more often a token
        of theirs, and its `iss` was copied wrongly.
        """
        iss = claims.get("iss")
        if (
            not self.others
            or not iss
            or iss == self.own.iss
            or any(one.issued(claims) for one in self.others)
        ):
            return ""
        return self._advice(claims)

    def _advice(self, claims: dict[str, Any]) -> str:
        iss = claims.get("iss")
        if not isinstance(iss, str):
            return "The token has no iss claim. It must equal an issuer under [[auth.issuers]]."
        for issuer in self.others:
            if iss.rstrip("/") == issuer.name.rstrip("/"):
                return (
                    "A configured issuer differs only by a trailing slash. Write it exactly as in the token."
                )
        return "Add an [[auth.issuers]] block whose issuer equals the token's iss claim."


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _same(value: object, wanted: ClaimValue) -> bool:
    # To Python, True is 1.
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted
