"""Tokens for tenants, made with the key that the node knows."""

import enum
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from nealytics.auth.minting import Signer

_SECRET_BYTES_MIN = 32
_IDENTIFIER_CHARS_MAX = 256
_EXPIRES_S_MAX = 10 * 366 * 86_400


class _WholeProject(enum.Enum):
    WHOLE_PROJECT = "all tenants of a project"


# In place of a tenant. A value of its own, so that a missing tenant (None, "") never opens all of them.
WHOLE_PROJECT: Final = _WholeProject.WHOLE_PROJECT


def mint_token(
    project_id: str,
    tenant_id: str | _WholeProject,
    *,
    key: str,
    expires_s: float = 600,
    subject: str | None = None,
    filters: Sequence[str] | None = None,
    endpoints: Sequence[str] | None = None,
    rps: float | None = None,
    kid: str = "",
    algorithm: str | None = None,
    issuer: str | None = None,
    audience: str | None = None,
    tenant_claim: str = "tenant_id",
    project_claim: str = "project_id",
    ingest: bool = False,
    user_id: str | None = None,
) -> str:
    """A token that reads the events of one tenant, as `nealytics token` makes it. It cannot be revoked.

    With `ingest`, it writes events of this tenant, and with `user_id` of this user only, and reads none: a
    page may have it.

    `key` is a secret of the node's configuration (`auth.jwt_key`, HS256), or a private key in PEM whose
    public key the node has; `algorithm` is then by default the one for its type. The other arguments are
    claims (docs/tokens.md). `tenant_id` must come from your session, never from the page. Raises `ValueError`
    for a token that no node would accept.
    """
    # Both load the cryptography package, which no sender of events needs.
    from nealytics.auth.claims import ClaimNames
    from nealytics.auth.minting import mint
    from nealytics.errors import Refused

    _check_identifier("project_id", project_id)
    tenant = None if isinstance(tenant_id, _WholeProject) else tenant_id
    if tenant_id is not WHOLE_PROJECT:
        _check_identifier("tenant_id", tenant_id)
    _check_lists(filters=filters, endpoints=endpoints)
    if not 0 < expires_s <= _EXPIRES_S_MAX:
        raise ValueError(f"expires_s is {expires_s}; write the lifetime of the token in seconds")
    claims: dict[str, object] = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "filters": None if filters is None else list(filters),
        "endpoints": None if endpoints is None else list(endpoints),
        "rps": rps,
        "user_id": user_id,
    }
    if user_id is not None:
        if not ingest:
            raise ValueError("user_id is for tokens that write; add ingest=True")
        _check_identifier("user_id", user_id)
    options: dict[str, Any] = {"names": ClaimNames(tenant_claim, project_claim), "ingest": ingest}
    signer = _signer(key, algorithm, kid)
    try:
        return mint(signer, project_id, tenant, expires_s, time.time(), claims=claims, **options)
    except Refused as refused:
        raise ValueError(refused.message) from None


def _check_lists(**given: Sequence[str] | None) -> None:
    for name, texts in given.items():
        if isinstance(texts, str):  # a text is a sequence of letters
            raise ValueError(f"{name} is {texts!r}; write a list: [{texts!r}]")


def _check_identifier(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} is {value!r}; write a non-empty string")
    if len(value) > _IDENTIFIER_CHARS_MAX:
        raise ValueError(f"{name} has {len(value)} characters, at most {_IDENTIFIER_CHARS_MAX} are accepted")


def _signer(key: str, algorithm: str | None, kid: str) -> "Signer":
    from nealytics.auth.minting import Signer, private_signer

    if "-----BEGIN" in key:
        try:
            return private_signer(key.encode(), algorithm, kid)
        except ValueError as error:
            raise ValueError(f"key {error}") from None
    if len(key.encode()) < _SECRET_BYTES_MIN:
        raise ValueError(f"key has {len(key.encode())} bytes, at least {_SECRET_BYTES_MIN} are needed")
    if algorithm not in (None, "HS256"):
        raise ValueError(f"algorithm is {algorithm}, which needs a private key in PEM")
    return Signer(key, "HS256", kid)
