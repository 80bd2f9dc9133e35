"""Requests per second of a token (its claim `rps`), for the whole node.

Fixed windows, shared by all workers through `NodeMemory`, as for API keys in `ingest.ratelimit`, but without
a queue: a request over the limit gets 429. The limit counts the subject of the token (`Scope.key`), so a new
token for the same subject is no new allowance. A window is one second, or 1 / rps seconds if rps is below 1.
Above 1, fractions are dropped: 2.5 is 2.
"""

import math
import time
from collections.abc import Callable

from nealytics.auth.scope import Scope
from nealytics.errors import Refused
from nealytics.shared import NodeMemory, fingerprint

# A lower rate than once an hour counts as once an hour.
WINDOW_MAX_S = 3_600

_OF_CLAIM = "Wait Retry-After seconds. The rps claim of the token sets the limit."


class TokenRate:
    """Takes a permit of a token, or raises `Refused` (429)."""

    def __init__(self, memory: NodeMemory, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens = memory.tokens
        self._clock = clock

    def take(self, scope: Scope) -> None:
        rps = scope.rps
        if rps is None:
            return
        window_s, permits = window_of(rps)
        now = self._clock()
        ends = (int(now) // window_s + 1) * window_s
        # With its length: a long and a short window may end at the same time.
        key = fingerprint(f"{window_s} {scope.key}")
        if self._tokens.used(key, ends) >= permits:
            raise over_rate(permits, window_s, ends - now)
        self._tokens.use(key, ends, now)


def window_of(rps: float) -> tuple[int, int]:
    """The window's length in seconds, and the requests in it."""
    if rps >= 1:
        return 1, math.floor(rps)
    # For the smallest floats, 1 / rps is infinite.
    return math.ceil(min(1 / rps, WINDOW_MAX_S)), 1


def over_rate(permits: int, window_s: int, reset_s: float, detail: str = _OF_CLAIM) -> Refused:
    wait_s = str(max(1, math.ceil(reset_s)))
    return Refused(
        429,
        "rate_limited",
        f"more than {permits} request{'s' if permits > 1 else ''} in {window_s} s with this token",
        detail=detail,
        headers={
            "Retry-After": wait_s,
            "RateLimit-Limit": str(permits),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": wait_s,
        },
    )
