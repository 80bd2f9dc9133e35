"""What a sender may write, however it proved who it is: with an API key or with an ingest token."""

import hashlib
import math
from typing import Literal

import msgspec

_DIGEST_DOMAIN = "nealytics: events of ingest tokens"


class Grant(msgspec.Struct, frozen=True):
    """What one key or token may write. An event may omit what the grant fixes (`ingest.parser.bind`)."""

    index: int  # of the key in the configuration, the same in every worker; -1 for a token
    project: str = ""  # empty = any
    tenant: str = ""  # empty = any
    kind: Literal["server", "browser", "token"] = "server"
    # Of public senders: hashed into the ids of events, so that they cannot replace those of others (see
    # `event.id_of_key`).
    digest: bytes = b""
    user: str = ""  # empty = any
    subject: str = ""  # of the token, for limits
    rps: float | None = None  # requests per second of this subject; None = as configured
    expires_at_s: float = math.inf

    @property
    def is_public(self) -> bool:
        """Whether pages have the key or the token."""
        return bool(self.digest)


def tenant_digest(project_id: str, tenant_id: str) -> bytes:
    """The `digest` for tokens of a tenant: one for all of them, so that an event that is sent again with a
    renewed token, or after its user has logged in, is still the same event."""
    return hashlib.sha256("\0".join((_DIGEST_DOMAIN, project_id, tenant_id)).encode()).digest()
