"""What a verified token opens, and how it restricts itself.

    project_id, tenant_id   text or number, or a list of one; their names are configured (`ClaimNames`).
                            A token without tenant_id and with `scope` "project" opens all tenants
    filters                 list of texts in the filter grammar; all apply to every query
    endpoints               list of names such as "timeline"; no other may be used
    rps                     requests per second, of all tokens of the same subject together

An admin token has exactly the scope "admin", a project or "*", and neither a tenant nor a restriction. It
opens the admin routes and no events: without a tenant, only the scope "project" reads.

An ingest token has exactly the scope "ingest", a project and a tenant. It writes events of this tenant. No
token whose scope contains the word "ingest" reads.

    user_id                 of all its events; without it, each event says its own
    rps                     as above

A restricting claim that makes no sense is refused (400) and never ignored: the token would open more than its
issuer meant.
"""

import hashlib
import json
import math
import re
from decimal import Decimal
from typing import Any

import msgspec

from nealytics.auth.grant import Grant, tenant_digest
from nealytics.auth.scope import AdminScope, Scope
from nealytics.errors import Refused
from nealytics.event import is_text

WHOLE_PROJECT = "project"
ADMIN = "admin"
INGEST = "ingest"
ALL_PROJECTS = "*"
USER = "user_id"

CLAIM_CHARS_MAX = 256
FILTERS_MAX = 20  # also of a request
FILTER_CHARS_MAX = 1_024
ENDPOINTS_MAX = 50
ENDPOINT_CHARS_MAX = 64


class ClaimNames(msgspec.Struct, frozen=True):
    """The claims that say whose events an issuer's tokens open. Names as in `look_up`."""

    tenant: str = "tenant_id"
    project: str = "project_id"
    fixed_project: str = ""  # of all its tokens; what they say about it is then ignored
    project_scope: bool = True  # whether `scope` "project" without a tenant opens all tenants
    admin_scope: bool = False  # whether `scope` "admin" opens the admin routes
    ingest_scope: bool = False  # whether `scope` "ingest" opens the ingest routes


ABSENT = object()


def look_up(claims: dict[str, Any], name: str) -> Any:
    """The claim of this name; else the value at the name, read as a path with dots; else `ABSENT`.

    The longest part of the name that is a claim is used, without a second attempt: which claim is read
    depends only on the name and the claims' names. A path that ends early gives None, not `ABSENT`: its first
    part is there, so the rest is missing by mistake.
    """
    if name in claims:
        return claims[name]
    head = name
    while "." in head:
        head = head.rpartition(".")[0]
        if head in claims:
            inner = claims[head]
            found = look_up(inner, name[len(head) + 1 :]) if isinstance(inner, dict) else None
            return None if found is ABSENT else found
    return ABSENT


def scope_from(
    claims: dict[str, Any],
    payload: bytes,
    *,
    claim_chars_max: int,
    names: ClaimNames = ClaimNames(),  # noqa: B008  (frozen)
    issuer: str = "",
    expires_at_s: float = math.inf,
) -> Scope:
    """Raises `Refused`: 403 without a project or tenant, 400 for a claim that makes no sense.

    Subjects of different `issuer`s are different, even with equal names.
    """
    if INGEST in _words(claims.get("scope")):
        raise Refused(
            403,
            "forbidden",
            "an ingest token reads no events",
            detail=f'A token whose scope contains "{INGEST}" does not read. Issue another one for reading.',
            field="scope",
        )
    project_id = names.fixed_project or _identifier(claims, names.project, claim_chars_max, _NO_PROJECT)
    # Only a token without any tenant opens all of them. An empty one or null is a mistake.
    whole_project = (
        names.project_scope and WHOLE_PROJECT in _scopes(claims) and look_up(claims, names.tenant) is ABSENT
    )
    tenant_id = None
    if not whole_project:
        advice = _NO_TENANT + _OR_PROJECT_SCOPE * names.project_scope
        tenant_id = _identifier(claims, names.tenant, claim_chars_max, advice)
    endpoints = _texts(claims, "endpoints", ENDPOINTS_MAX, ENDPOINT_CHARS_MAX)
    return Scope(
        project_id,
        tenant_id,
        filters=_texts(claims, "filters", FILTERS_MAX, FILTER_CHARS_MAX) or (),
        endpoints=None if endpoints is None else frozenset(endpoints),
        rps=_rps(claims),
        expires_at_s=expires_at_s,
        key=_key(project_id, tenant_id, claims, payload, issuer),
    )


def admin_scope_from(
    claims: dict[str, Any],
    *,
    claim_chars_max: int,
    names: ClaimNames = ClaimNames(),  # noqa: B008  (frozen)
) -> AdminScope:
    """Raises `Refused` (403) if the token is not an admin token, or its issuer may not make one."""
    if _scopes(claims) != [ADMIN]:
        raise Refused(403, "forbidden", "the token is not an admin token", detail=_NO_ADMIN, field="scope")
    if not names.admin_scope:
        raise Refused(
            403,
            "forbidden",
            "the token's issuer may not issue admin tokens",
            detail="Set admin_scope = true for it under [[auth.issuers]], or use `nealytics token --admin`.",
            field="scope",
        )
    _require_none_of(claims, (names.tenant, "filters", "endpoints", "rps"), "an admin token", _NO_ADMIN)
    project_id = names.fixed_project or _identifier(claims, names.project, claim_chars_max, _NO_PROJECT)
    subject = _claim_text(claims.get("sub"))
    if len(subject) > claim_chars_max:
        raise _invalid("sub", f"has {len(subject)} characters, at most {claim_chars_max} are accepted")
    return AdminScope(None if project_id == ALL_PROJECTS else project_id, subject)


def ingest_grant_from(
    claims: dict[str, Any],
    payload: bytes,
    *,
    claim_chars_max: int,
    names: ClaimNames = ClaimNames(),  # noqa: B008  (frozen)
    issuer: str = "",
    expires_at_s: float = math.inf,
) -> Grant:
    """As `scope_from`. Raises `Refused` (403) if the token is not an ingest token, or its issuer may not make
    one."""
    if _scopes(claims) != [INGEST]:
        raise Refused(403, "forbidden", "the token is not an ingest token", detail=_NO_INGEST, field="scope")
    if not names.ingest_scope:
        raise Refused(
            403,
            "forbidden",
            "the token's issuer may not issue ingest tokens",
            detail="Set auth.ingest_scope = true, or ingest_scope of its [[auth.issuers]] block.",
            field="scope",
        )
    _require_none_of(claims, ("filters", "endpoints"), "an ingest token", _NO_INGEST)
    project_id = names.fixed_project or _identifier(claims, names.project, claim_chars_max, _NO_INGEST)
    tenant_id = _identifier(claims, names.tenant, claim_chars_max, _NO_INGEST)
    user_id = ""
    if USER in claims and USER not in (names.project, names.tenant):
        user_id = _identifier(claims, USER, claim_chars_max, "Omit it, or issue the token for one user.")
    return Grant(
        -1,
        project_id,
        tenant_id,
        "token",
        tenant_digest(project_id, tenant_id),
        user=user_id,
        subject=_key(project_id, tenant_id, claims, payload, issuer),
        rps=_rps(claims),
        expires_at_s=expires_at_s,
    )


def _require_none_of(claims: dict[str, Any], names: tuple[str, ...], token: str, detail: str) -> None:
    for name in names:
        if look_up(claims, name) is not ABSENT:
            raise Refused(403, "forbidden", f"{token} cannot have {name}", detail=detail, field=name)


_NO_INGEST = (
    f'An ingest token has "scope": "{INGEST}", a project_id and a tenant_id, and perhaps a user_id and rps, '
    "but neither filters nor endpoints."
)
_NO_ADMIN = (
    f'An admin token has "scope": "{ADMIN}", a project_id (or "{ALL_PROJECTS}" for all projects), and '
    "neither a tenant nor filters, endpoints or rps."
)
_NO_TENANT = (
    "This claim selects the tenant whose events are read. Issue tokens that have it, or set auth.tenant_claim"
    " (or tenant_claim of the issuer) to the claim that names the tenant."
)
_OR_PROJECT_SCOPE = f' To read all tenants of the project, omit it and add "scope": "{WHOLE_PROJECT}".'
_NO_PROJECT = (
    "This claim selects the project whose events are read. Issue tokens that have it, or set project or "
    "project_claim under [auth] or [[auth.issuers]]."
)


def _key(project_id: str, tenant_id: str | None, claims: dict[str, Any], payload: bytes, issuer: str) -> str:
    """The subject of the token, for limits: the same for all tokens of a subject.

    A token with neither `sub` nor `jti` is identified by its claims. Not by its signature: an ES256 signature
    can be turned into another valid one, and each would have a limit of its own.
    """
    for name in ("sub", "jti"):
        if isinstance(claims.get(name), str | int):
            subject = [name, claims[name]]
            break
    else:
        subject = ["claims", hashlib.sha256(payload).hexdigest()]
    identity = json.dumps([project_id, tenant_id, *([issuer] if issuer else []), *subject]).encode()
    return hashlib.blake2b(identity, digest_size=16).hexdigest()


def _scopes(claims: dict[str, Any]) -> list[str]:
    scope = claims.get("scope")
    return scope.split(" ") if isinstance(scope, str) else []


def _words(scope: object) -> set[str]:
    """In small letters: what an issuer may have meant by the claim.

    Some identity providers write it as a list. Raises `Refused` (403) for what says nothing.
    """
    texts: list[Any] = scope if isinstance(scope, list) else [] if scope is None else [scope]
    if not all(isinstance(text, str) for text in texts):
        raise Refused(
            403,
            "forbidden",
            "the token's scope is neither a string nor a list of strings",
            detail="Its words are separated by blanks, as in RFC 8693.",
            field="scope",
        )
    return {word for text in texts for word in _BETWEEN_WORDS.split(text.lower())}


# Blanks and commas, and what no scope may contain (RFC 6749, 3.3).
_BETWEEN_WORDS = re.compile(r"[^!#-+\--\[\]-~]+")


def _identifier(claims: dict[str, Any], name: str, chars_max: int, advice: str) -> str:
    value = look_up(claims, name)
    if isinstance(value, list) and len(value) > 1:
        raise Refused(
            403,
            "forbidden",
            f"the token's {name} is a list of {len(value)} values",
            detail="A token is for exactly one. Issue it with a string, or with a list of one string.",
            field=name,
        )
    if isinstance(value, list) and value:
        (value,) = value
    text = _claim_text(value)
    if not text.strip():
        problem = f"the token has no {name}"
        if value is not ABSENT and value is not None and not isinstance(value, str | list):
            problem = f"the token's {name} is neither a string nor a number"
        elif value is not ABSENT and value is not None:
            problem = f"the token's {name} is empty"
        raise Refused(403, "forbidden", problem, detail=advice, field=name)
    if len(text) > chars_max:
        raise _invalid(name, f"has {len(text)} characters, at most {chars_max} are accepted")
    if "\0" in text or not is_text(text):
        raise _invalid(name, "contains a NUL character or a lone surrogate, which no event can contain")
    return text


def _claim_text(value: object) -> str:
    """A claim as text: a number in decimal form; empty for anything that cannot name a tenant."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return format(Decimal(repr(value)), "f")


def _texts(claims: dict[str, Any], name: str, count_max: int, chars_max: int) -> tuple[str, ...] | None:
    if name not in claims:
        return None
    texts = claims[name]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _invalid(name, 'is not a list of strings, ["…", "…"]')
    if len(texts) > count_max:
        raise _invalid(name, f"has {len(texts)} entries, at most {count_max} are accepted")
    for text in texts:
        if len(text) > chars_max:
            raise _invalid(name, f"has an entry of {len(text)} characters, at most {chars_max} are accepted")
        if "\0" in text or not is_text(text):
            raise _invalid(name, "has an entry with a NUL character or a lone surrogate")
    return tuple(texts)


def _rps(claims: dict[str, Any]) -> float | None:
    if "rps" not in claims:
        return None
    rps = claims["rps"]
    if isinstance(rps, bool) or not isinstance(rps, int | float) or not 0 < rps < math.inf:
        raise _invalid("rps", "is not a number greater than 0")
    # Python's integers are unbounded, floats are not.
    return float(min(rps, RPS_MAX))


# More than a node can answer: the same as no limit.
RPS_MAX = 1_000_000


def _invalid(name: str, problem: str) -> Refused:
    detail = "docs/tokens.md lists the claims of a token and their limits."
    return Refused(400, "invalid_claim", f"the token's {name} {problem}", detail=detail, field=name)
