"""Who may write: the owner of an API key, or of an ingest token.

Tokens that were verified are remembered, because verifying one takes longer than storing an event. A
remembered token is verified again when it has expired, or when the keys that verify tokens have changed.
"""

import hashlib
import math
import time
from collections.abc import Callable

from nealytics.auth.api_keys import ApiKeys
from nealytics.auth.grant import Grant
from nealytics.auth.jwt import TokenVerifier
from nealytics.errors import Refused

# Remembered tokens. Each takes about 1 KB with its grant, 4 KB at most.
TOKENS_MAX = 4_096
_SHORT_CHARS_MAX = 1_024


class Writers:
    """All keys and tokens of the node.

    A request's key takes precedence over its token. A route whose clients have one place for both passes the
    same text as `key` and `token`.
    """

    def __init__(
        self, keys: ApiKeys, verifier: TokenVerifier, clock: Callable[[], float] = time.time
    ) -> None:
        self.keys = keys
        self._verifier = verifier
        self._clock = clock
        self._known: dict[str | bytes, Grant] = {}  # the one that was used last is the last
        self._first_end_s = math.inf  # no remembered token expires before
        self._verified_with = verifier.keys_in_use

    async def grant(self, key: str, token: str) -> Grant:
        """Raises `Refused`: 401 if neither is valid; 403, 400 or 503 for tokens, as `TokenVerifier`."""
        grant = self.known(key, token)
        if grant is not None:
            return grant
        if not token or (key and key != token) or (key == token and token.count(".") != 2):
            raise _unauthorized(key)
        return await self._verify(token)

    def known(self, key: str, token: str) -> Grant | None:
        """As `grant`, without waiting; None if it is not known yet, or refused."""
        if key and ((grant := self.keys.find(key)) is not None or key != token):
            return grant
        return self._remembered(token) if token else None

    def _remembered(self, token: str) -> Grant | None:
        if (keys := self._verifier.keys_in_use) != self._verified_with:
            self._verified_with = keys
            self._known.clear()
        mark = _mark(token)
        grant = self._known.pop(mark, None)
        if grant is None or grant.expires_at_s <= self._clock():
            return None
        self._known[mark] = grant
        return grant

    async def _verify(self, token: str) -> Grant:
        grant = await self._verifier.resolve_ingest(token)
        # While it waited for new keys, other tokens may have been forgotten or remembered.
        self._remembered(token)
        if len(self._known) >= TOKENS_MAX:
            self._make_room()
        self._known[_mark(token)] = grant
        self._first_end_s = min(self._first_end_s, grant.expires_at_s)
        return grant

    def _make_room(self) -> None:
        """Forgets the expired tokens; if there are none, the one that was not used for the longest time."""
        now = self._clock()
        if self._first_end_s <= now:
            self._known = {mark: grant for mark, grant in self._known.items() if grant.expires_at_s > now}
            self._first_end_s = min((grant.expires_at_s for grant in self._known.values()), default=math.inf)
        if len(self._known) >= TOKENS_MAX:
            del self._known[next(iter(self._known))]


def _mark(token: str) -> str | bytes:
    # The time of a look-up tells nothing about known tokens: the hash of a text depends on a secret of the
    # process, and texts are compared only if their hashes are equal.
    if len(token) <= _SHORT_CHARS_MAX:
        return token
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _unauthorized(key: str) -> Refused:
    if not key:
        message = "the request has no API key and no token"
        detail = (
            "Send an API key in the header X-Project-Key, or as ?k= if you cannot set headers; or an ingest"
            " token as Authorization: Bearer, or as ?token= to beacon."
        )
    elif key == "undefined":  # what a page's script writes for a key that it does not have
        message = "the API key is 'undefined'"
        detail = "The page has no key: set data-key of the tracker's element, or key of its options."
    else:
        message = "the API key is unknown"
        detail = "For the operator: keys are under [[auth.api_keys]]; a node reads new ones at SIGHUP."
    return Refused(401, "unauthorized", message, detail=detail)
