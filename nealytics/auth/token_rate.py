"""Requests per second of a token (its claim `rps`), for the whole node.

Fixed windows, shared by all workers through `NodeMemory`, as for API keys in `ingest.ratelimit`; but nobody
waits in a queue: who is over it gets 429. Counted is the subject of the token (`Scope.key`), so a new token
for the same subject is no new allowance. A window is a second; of a token with less than one request per
second it is as long as one request takes. Above, fractions count for nothing: 2.5 is 2.
"""

import math
import time
from collections.abc import Callable

from nealytics.auth.scope import Scope
from nealytics.errors import Refused
from nealytics.shared import NodeMemory, fingerprint

# A slower token than once an hour is as slow as that.
WINDOW_MAX_S = 3_600


class TokenRate:
    """`take` a permit of a token, or be refused (429)."""

    def __init__(self, memory: NodeMemory, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens = memory.tokens
        self._clock = clock

    def take(self, scope: Scope) -> None:
        rps = scope.rps
        if rps is None:
            return
        window_s, permits = _window(rps)
        now = self._clock()
        ends = (int(now) // window_s + 1) * window_s
        # With its length: a long window and a short one may end at the same time and are not the same.
        key = fingerprint(f"{window_s} {scope.key}")
        if self._tokens.used(key, ends) >= permits:
            raise _refusal(permits, window_s, ends - now)
        self._tokens.use(key, ends, now)


def _window(rps: float) -> tuple[int, int]:
    """Its length in seconds, and the requests in it."""
    if rps >= 1:
        return 1, math.floor(rps)
    # 1 / rps of the smallest floats is infinite.
    return math.ceil(min(1 / rps, WINDOW_MAX_S)), 1


def _refusal(permits: int, window_s: int, reset_s: float) -> Refused:
    wait_s = str(max(1, math.ceil(reset_s)))
    return Refused(
        429,
        "rate_limited",
        f"more than {permits} request{'s' if permits > 1 else ''} in {window_s} s with this token",
        detail="Wait Retry-After seconds. The rps claim of the token sets the limit.",
        headers={
            "Retry-After": wait_s,
            "RateLimit-Limit": str(permits),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": wait_s,
        },
    )
