"""Whether a client is too slow. Decisions only: no clock, no sockets; times are the event loop's.

One sweep checks all connections; a timer for each would cost more: 20,000 idle connections take 5 ms every
second, and a busy one nothing.
"""

# What the framing of a chunked body may have beside the body: so much for each of its bytes (the smallest
# chunk has 5), and so much for extensions and trailers. llhttp reads extensions of any length.
_FRAMING_PER_BYTE = 16
_FRAMING_BYTES_MAX = 16 * 1024


class HeadWatch:
    """The time that the head of the next request takes, from its first byte or from the connection on.

    The first bytes may arrive together with the previous request; then only the parser knows (`is_unsure`).
    """

    __slots__ = ("is_heard", "is_unsure", "since")

    def __init__(self) -> None:
        self.since = 0.0  # when the head began; 0 = no head is awaited
        self.is_heard = False  # whether bytes of it have arrived
        self.is_unsure = False

    def connected(self, now: float) -> None:
        """A client that connects must send something soon."""
        self.since = now

    def received(self, now: float) -> None:
        """Bytes arrived that complete no head."""
        if self.is_unsure:
            self.is_unsure = False
            self.since = 0.0
        self.is_heard = True
        if not self.since:
            self.since = now

    def completed(self, now: float) -> float:
        """A head is complete. Returns what it took; 0 if nobody knows."""
        took = now - self.since if self.since else 0.0
        self.since = 0.0
        self.is_heard = False
        self.is_unsure = True
        return took

    def taken(self) -> None:
        """A whole request arrived, and not a byte more."""
        self.since = 0.0
        self.is_heard = False
        self.is_unsure = False

    def idle(self, now: float) -> None:
        """The connection waits for a request. If bytes of one arrived with the previous, their time runs."""
        if self.is_unsure and not self.since:
            self.since = now

    def is_late(self, oldest: float) -> bool:
        """Whether the head began before `oldest`; True once. If `is_unsure`, call `probed` then."""
        if not 0.0 < self.since < oldest:
            return False
        self.since = 0.0
        return True

    def probed(self, *, has_begun: bool) -> None:
        """The parser was asked whether it holds a part of a head."""
        self.is_unsure = False
        self.is_heard = has_begun


class UnreadWatch:
    """The rate at which a client reads its answers."""

    __slots__ = ("_acknowledged", "_since")

    def __init__(self) -> None:
        self._since = 0.0  # when answers began to wait for the client; 0 = none does
        self._acknowledged = 0  # bytes at that time

    def all_sent(self) -> None:
        """The kernel has all answers, so nothing is held for the client."""
        self._since = 0.0

    def is_due(self, oldest: float) -> bool:
        """Whether `is_too_slow` should be asked: at first, and when `oldest` is reached."""
        return not self._since or self._since < oldest

    def is_too_slow(self, now: float, acknowledged: int, bytes_per_s_min: int) -> bool:
        """Whether fewer bytes were acknowledged since the previous call than the rate asks for. The first
        call only begins to measure."""
        since, before = self._since, self._acknowledged
        self._since, self._acknowledged = now, acknowledged
        return bool(since) and acknowledged - before < max(1.0, bytes_per_s_min * (now - since))


def framing_problem(framed: int, body_bytes: int) -> str:
    """What is wrong with a chunked body of `framed` bytes that carry `body_bytes`; empty if nothing."""
    if framed - body_bytes > _FRAMING_BYTES_MAX + _FRAMING_PER_BYTE * body_bytes:
        return "its chunk extensions or trailers are too long"
    return ""
