"""The keys that verify tokens, and which of them a token may be verified with.

A key has one algorithm, set where the key is configured and never by a token. So an HS256 token is never
verified with a public key, whatever its header says (RFC 8725, 3.1 and 3.2).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from nealytics.config import AuthConfig, JwtAlgorithm, public_key

if TYPE_CHECKING:
    from nealytics.config.pem import PublicKey

HS256: JwtAlgorithm = "HS256"
# A published key that does not name its algorithm has the first one of its family.
PUBLIC_ALGORITHMS: tuple[JwtAlgorithm, ...] = ("RS256", "RS512", "PS256", "ES256", "EdDSA")
ALGORITHMS: tuple[JwtAlgorithm, ...] = (HS256, *PUBLIC_ALGORITHMS)


class VerifyingKey(msgspec.Struct, frozen=True):
    algorithm: JwtAlgorithm
    kid: str  # empty = none
    material: "bytes | PublicKey"  # bytes for HS256 only
    issuer: str = ""  # the only `iss` that the key set allows for this key; empty = any


def configured_keys(config: AuthConfig) -> list[VerifyingKey]:
    """Raises `ValueError` for an invalid public key; `load()` has reported it before."""
    keys = [VerifyingKey(HS256, "", key.encode()) for key in (config.jwt_key, config.jwt_key_previous) if key]
    for key in config.jwt_keys:
        material = key.key.encode() if key.algorithm == HS256 else public_key(key.key, key.algorithm)
        keys.append(VerifyingKey(key.algorithm, key.kid, material))
    return keys


class Candidates(msgspec.Struct, frozen=True):
    keys: Sequence[VerifyingKey]
    named: bool  # they have the token's kid, so no other key is possible


def candidates(keys: Iterable[VerifyingKey], algorithm: str, kid: str) -> Candidates:
    """The keys of this algorithm that a token with this kid (empty: none) may be signed with.

    Those of its kid; if there are none, those without a kid, so that a key configured without its kid works,
    too. A token without a kid, if all keys have one, is tried with the key of its algorithm if there is only
    one. A key of another kid is never tried, nor one of several public keys without a kid.
    """
    of_algorithm = [key for key in keys if key.algorithm == algorithm]
    if kid and (named := [key for key in of_algorithm if key.kid == kid]):
        return Candidates(named, named=True)
    nameless = [key for key in of_algorithm if not key.kid]
    if not nameless and not kid:
        return Candidates(of_algorithm if len(of_algorithm) == 1 else (), named=False)
    if len(nameless) > 1 and algorithm != HS256:
        nameless = []
    return Candidates(nameless, named=False)
