"""Makes tokens, for `nealytics token` and `nealytics.client`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import jwt

from nealytics.auth.claims import (
    ADMIN,
    CLAIM_CHARS_MAX,
    INGEST,
    WHOLE_PROJECT,
    ClaimNames,
    ingest_grant_from,
    scope_from,
)
from nealytics.auth.keys import HS256
from nealytics.config.pem import checked
from nealytics.errors import Refused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


class Signer(NamedTuple):
    key: "str | PrivateKey"
    algorithm: str = HS256
    kid: str = ""


def mint(
    key: str | Signer,
    project_id: str,
    tenant_id: str | None,
    expires_s: float,
    now: float,
    *,
    names: ClaimNames = ClaimNames(),  # noqa: B008  (frozen)
    claims: Mapping[str, object] = MappingProxyType({}),
    admin: bool = False,
    ingest: bool = False,
) -> str:
    """A token for one tenant, or the whole project (None), valid until `now + expires_s`, with `claims`.

    With `admin`, an admin token of the project, or of all ("*"); it reads no events. With `ingest`, one that
    writes the tenant's events and reads none. Raises `Refused` for claims that a node would refuse. A claim
    that is None is left out.
    """
    signer = Signer(key) if isinstance(key, str) else key
    own = {name: value for name, value in claims.items() if value is not None}
    example = {**own, "project_id": "p", "tenant_id": "t"}
    if ingest:
        if tenant_id is None:
            raise Refused(400, "invalid_claim", "an ingest token needs a tenant", field=names.tenant)
        own["scope"] = example["scope"] = INGEST
        allowed = ClaimNames(ingest_scope=True)
        ingest_grant_from(example, b"", claim_chars_max=CLAIM_CHARS_MAX, names=allowed)
    else:
        scope_from(example, b"", claim_chars_max=CLAIM_CHARS_MAX)
    whose = {names.project: project_id}
    if admin and names.tenant in own:
        message = f"an admin token cannot have {names.tenant}, which names a tenant"
        raise Refused(400, "invalid_claim", message, field=names.tenant)
    if tenant_id is None:
        whose["scope"] = ADMIN if admin else WHOLE_PROJECT
    else:
        whose[names.tenant] = tenant_id
    times = {"iat": int(now), "exp": int(now + expires_s)}
    return jwt.encode(
        {**own, **whose, **times},
        signer.key.encode() if isinstance(signer.key, str) else signer.key,
        algorithm=signer.algorithm,
        headers={"kid": signer.kid} if signer.kid else None,
    )


def private_signer(pem: bytes, algorithm: str | None, kid: str) -> Signer:
    """Signs with a private key. Default algorithm: the one for its type. Raises `ValueError`."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"is not an unencrypted private key in PEM format; {_MAKE_A_PAIR}") from None
    match key:
        case RSAPrivateKey():
            fits = "RS256"
        case EllipticCurvePrivateKey():
            fits = "ES256"
        case Ed25519PrivateKey():
            fits = "EdDSA"
        case _:
            raise ValueError(f"is not an RSA, EC or Ed25519 key; {_MAKE_A_PAIR}")
    checked(key.public_key(), algorithm or fits)
    return Signer(key, algorithm or fits, kid)


_MAKE_A_PAIR = "make one with: openssl genpkey -algorithm ed25519"
