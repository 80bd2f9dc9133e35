"""API keys: recognized by their SHA-256, and what each may write.

The keys themselves are not kept. A key is long and random, so a plain hash is enough: guessing one is
hopeless at any speed.
"""

import hashlib
import hmac

from nealytics.auth.grant import Grant
from nealytics.config import ApiKey, key_digest
from nealytics.errors import ConfigError


class ApiKeys:
    """All keys of the node. `find` takes the same time for every key that is not one of them."""

    def __init__(self, keys: tuple[ApiKey, ...]) -> None:
        self.replace(keys)

    def replace(self, keys: tuple[ApiKey, ...]) -> None:
        """From now on, these are the keys. Requests that are being answered keep their grant."""
        grants: dict[bytes, tuple[bytes, Grant]] = {}
        for index, key in enumerate(keys):
            digest = key_digest(key)
            if digest is None:
                raise ConfigError(f"config: auth.api_keys[{index}] has no usable key; give key or key_sha256")
            public = digest if key.kind == "browser" else b""
            grants.setdefault(digest, (digest, Grant(index, key.project, key.tenant, key.kind, public)))

        self._grants = grants
        # Another object after each `replace`: a grant that was found while it was this one is still valid.
        self.version = object()

    def __len__(self) -> int:
        return len(self._grants)

    def find(self, presented: str) -> Grant | None:
        # Only hashes are compared, so the time of a comparison tells nothing about a key: a text whose hash
        # begins like a stored one is not similar to the stored key.
        digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        stored, grant = self._grants.get(digest, (_NO_DIGEST, None))
        return grant if hmac.compare_digest(stored, digest) else None


_NO_DIGEST = bytes(32)
