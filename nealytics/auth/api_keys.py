"""API keys: recognized by their SHA-256, and what each may write.

The keys themselves are not kept. A key is long and random, so a plain hash is enough: guessing one is
hopeless at any speed.
"""

import hashlib
import hmac
from typing import Literal

import msgspec

from nealytics.config import ApiKey, key_digest
from nealytics.errors import ConfigError


class KeyGrant(msgspec.Struct, frozen=True):
    """What one key may write. `index` is its place in the configuration, the same in every worker."""

    index: int
    project: str  # empty = any
    tenant: str  # empty = any
    kind: Literal["server", "browser"]
    digest: bytes = b""  # SHA-256 of the key

    def allows(self, project_id: str, tenant_id: str) -> bool:
        return self.project in ("", project_id) and self.tenant in ("", tenant_id)


class ApiKeys:
    """All keys of the node. `find` takes the same time for every key that is not one of them."""

    def __init__(self, keys: tuple[ApiKey, ...]) -> None:
        self.replace(keys)

    def replace(self, keys: tuple[ApiKey, ...]) -> None:
        """From now on, these are the keys. Requests that are being answered keep their grant."""
        grants: dict[bytes, tuple[bytes, KeyGrant]] = {}
        for index, key in enumerate(keys):
            digest = key_digest(key)
            if digest is None:
                raise ConfigError(f"config: auth.api_keys[{index}] has no usable key; give key or key_sha256")
            grants.setdefault(digest, (digest, KeyGrant(index, key.project, key.tenant, key.kind, digest)))

        self._grants = grants

    def __len__(self) -> int:
        return len(self._grants)

    def find(self, presented: str) -> KeyGrant | None:
        # Only hashes are compared, so the time of a comparison tells nothing about a key: a text whose hash
        # begins like a stored one is not similar to the stored key.
        digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        stored, grant = self._grants.get(digest, (_NO_DIGEST, None))
        return grant if hmac.compare_digest(stored, digest) else None


_NO_DIGEST = bytes(32)
