"""How long a committer waits before a retry. Pure: the caller sleeps."""

from collections.abc import Callable

from nealytics.backoff import delay_s

# The first pause is short: a restart of the embedded engine takes a second.
FIRST_S = 0.5


class Backoff:
    """The pauses of one committer, all with the same bound."""

    def __init__(self, max_ms: int, random: Callable[[], float]) -> None:
        self._max_ms = max_ms
        self._random = random

    def pause_s(self, attempt: int) -> float:
        """The pause after failure number `attempt`, in seconds."""
        return delay_s(attempt, FIRST_S, self._max_ms / 1000, self._random)
