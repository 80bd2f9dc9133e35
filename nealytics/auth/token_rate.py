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
from nealytics.shared import CountTable, NodeMemory, fingerprint

# A lower rate than once an hour counts as once an hour.
WINDOW_MAX_S = 3_600

_OF_CLAIM = "Wait Retry-After seconds. The rps claim of the token sets the limit."

# What a request must take: tables, each with the arguments of its `use`.
Permit = list[tuple[CountTable, int, int, float, int]]


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
        permit: Permit = []
        # With its length: a long and a short window may end at the same time.
        who = f"{window_s} {scope.key}"
        reset_s = find_permit(self._tokens, who, window_s, permits, self._clock(), permit)
        if reset_s is not None:
            raise over_rate(permits, window_s, reset_s)
        use(permit)


def window_of(rps: float) -> tuple[int, int]:
    """The window's length in seconds, and the requests in it."""
    if rps >= 1:
        return 1, math.floor(rps)
    # For the smallest floats, 1 / rps is infinite.
    return math.ceil(min(1 / rps, WINDOW_MAX_S)), 1


def find_permit(
    table: CountTable, who: str, window_s: int, permits: int, now: float, permit: Permit
) -> float | None:
    """Adds what a request needs, not taken; or returns the seconds until there are permits again."""
    ends = (int(now) // window_s + 1) * window_s
    mark = fingerprint(who)
    used, place = table.find(mark, ends)
    if used >= permits:
        return ends - now
    permit.append((table, mark, ends, now, place))
    return None


def use(permit: Permit) -> None:
    for table, mark, ends, now, place in permit:
        table.use(mark, ends, now, place)


def over_rate(permits: int, window_s: int, reset_s: float, detail: str = _OF_CLAIM) -> Refused:
    requests = f"{permits} request{'s' if permits > 1 else ''}"
    return rate_refusal(f"more than {requests} in {window_s} s with this token", detail, permits, reset_s)


def rate_refusal(
    message: str, detail: str, permits: int, reset_s: float, retry_s: float | None = None
) -> Refused:
    """`retry_s`: if it is not worth trying before, although the window ends in `reset_s`."""
    return Refused(
        429,
        "rate_limited",
        message,
        detail=detail,
        headers={
            "Retry-After": _whole(reset_s if retry_s is None else retry_s),
            "RateLimit-Limit": str(permits),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": _whole(reset_s),
        },
    )


def _whole(seconds: float) -> str:
    return str(max(1, math.ceil(seconds)))
