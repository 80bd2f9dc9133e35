"""What a good token says: whose events it opens, and how far it narrows itself.

    project_id, tenant_id   text or number; who has no tenant_id and `scope` "project" sees all tenants
    filters                 list of texts in the filter grammar; all hold for every query
    endpoints               list of names such as "timeline"; nothing else may be asked
    rps                     requests per second, of all tokens of the same subject together

A claim that narrows and cannot be understood is refused (400) and never left out: the token would open more
than its issuer meant.
"""

import hashlib
import json
import math
from decimal import Decimal
from typing import Any

from nealytics.auth.scope import Scope
from nealytics.errors import Refused
from nealytics.event import is_text

WHOLE_PROJECT = "project"

FILTERS_MAX = 20  # also of a request
FILTER_CHARS_MAX = 1_024
ENDPOINTS_MAX = 50
ENDPOINT_CHARS_MAX = 64


def scope_from(
    claims: dict[str, Any], payload: bytes, *, claim_chars_max: int, expires_at_s: float = math.inf
) -> Scope:
    """Raises `Refused`: 403 without a project or tenant, 400 for a claim that cannot be meant."""
    project_id = _identifier(claims, "project_id", claim_chars_max)
    # Only a token that has no tenant_id at all is widened. An empty one or null is somebody's mistake.
    whole_project = "tenant_id" not in claims and WHOLE_PROJECT in _scopes(claims)
    tenant_id = None if whole_project else _identifier(claims, "tenant_id", claim_chars_max)
    endpoints = _texts(claims, "endpoints", ENDPOINTS_MAX, ENDPOINT_CHARS_MAX)
    return Scope(
        project_id,
        tenant_id,
        filters=_texts(claims, "filters", FILTERS_MAX, FILTER_CHARS_MAX) or (),
        endpoints=None if endpoints is None else frozenset(endpoints),
        rps=_rps(claims),
        expires_at_s=expires_at_s,
        key=_key(project_id, tenant_id, claims, payload),
    )


def _key(project_id: str, tenant_id: str | None, claims: dict[str, Any], payload: bytes) -> str:
    """Who the token is for: the same for all tokens of a subject.

    A token that names neither subject nor itself is known by its claims. Not by its signature: one of ES256
    can be turned into another that is as good, and each would have a bound of its own.
    """
    for name in ("sub", "jti"):
        if isinstance(claims.get(name), str | int):
            who = [name, claims[name]]
            break
    else:
        who = ["claims", hashlib.sha256(payload).hexdigest()]
    identity = json.dumps([project_id, tenant_id, *who]).encode()
    return hashlib.blake2b(identity, digest_size=16).hexdigest()


def _scopes(claims: dict[str, Any]) -> list[str]:
    scope = claims.get("scope")
    return scope.split(" ") if isinstance(scope, str) else []


def _identifier(claims: dict[str, Any], name: str, chars_max: int) -> str:
    text = _claim_text(claims.get(name))
    if not text.strip():
        raise Refused(
            403,
            "forbidden",
            f"the token has no {name}",
            detail=f"issue tokens whose {name} is a non-empty text: it decides whose events are shown"
            + (f'; or, for all tenants of the project, leave it out and add "scope": "{WHOLE_PROJECT}"')
            * (name == "tenant_id"),
            field=name,
        )
    if len(text) > chars_max:
        raise _invalid(name, f"has {len(text)} characters, at most {chars_max} are accepted")
    if "\0" in text or not is_text(text):
        raise _invalid(name, "holds a NUL or half a surrogate pair, which no event's can")
    return text


def _claim_text(value: object) -> str:
    """A claim as text: a number in its decimal form, anything that cannot name a tenant as nothing."""
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
        raise _invalid(name, 'is not a list of texts, ["…", "…"]')
    if len(texts) > count_max:
        raise _invalid(name, f"has {len(texts)} entries, at most {count_max} are accepted")
    for text in texts:
        if len(text) > chars_max:
            raise _invalid(name, f"has an entry of {len(text)} characters, at most {chars_max} are accepted")
        if "\0" in text or not is_text(text):
            raise _invalid(name, "has an entry with a NUL or half a surrogate pair")
    return tuple(texts)


def _rps(claims: dict[str, Any]) -> float | None:
    if "rps" not in claims:
        return None
    rps = claims["rps"]
    if isinstance(rps, bool) or not isinstance(rps, int | float) or not 0 < rps < math.inf:
        raise _invalid("rps", "is not a number above 0")
    # Python's integers have no end, and no float holds all of them.
    return float(min(rps, RPS_MAX))


# More than a node can answer: as good as no bound.
RPS_MAX = 1_000_000


def _invalid(name: str, problem: str) -> Refused:
    return Refused(400, "invalid_claim", f"the token's {name} {problem}", field=name)
