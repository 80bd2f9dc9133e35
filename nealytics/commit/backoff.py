"""How long to wait before a retry. Pure: the caller sleeps."""

import random as _random
from collections.abc import Callable

# The first pause is short: a restart of the embedded engine takes a second.
BASE_MS = 500


def next_delay_ms(attempt: int, max_ms: int, random: Callable[[], float] = _random.random) -> float:
    """The pause after failure number `attempt` (1 is the first): anything up to a bound that doubles, at most
    `max_ms`.

    `random` gives numbers in [0, 1). Full jitter: every worker lost ClickHouse in the same second and would
    come back in the same second.
    """
    # The exponent is capped because failures are counted for ever, and 2**100000 is a very large number.
    doublings = min(max(attempt, 1) - 1, 30)
    return random() * min(max_ms, BASE_MS << doublings)


class Backoff:
    """The pauses of one committer, all with the same bound."""

    def __init__(self, max_ms: int, random: Callable[[], float]) -> None:
        self._max_ms = max_ms
        self._random = random

    def pause_s(self, attempt: int) -> float:
        """The pause after failure number `attempt`, in seconds."""
        return next_delay_ms(attempt, self._max_ms, self._random) / 1000
