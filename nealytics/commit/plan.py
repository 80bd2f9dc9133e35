"""Which rows are sent next, and what follows from ClickHouse's answer. Decisions only: no I/O, no clock.

The committer (`loop`) asks `next` what to do, does it, and reports the outcome through `accepted` or
`refused`. A `Plan` belongs to one log and to one task.

What it decides
  - Ranges whose intent is stored come before new batches. The first one is next; after several refusals
    in a row, the largest one.
  - A refused range of several rows is split in two. The halves become durable intents first, and the
    whole range is never sent again, so k bad rows among n cost about 2·k·log2(n) inserts.
  - A single row that is refused becomes a *suspect*. It is retried as soon as any other row is accepted.
    If it is refused again after that, it goes to the dead letter. The refusal of the range from which a
    row was cut counts as its first, so bad neighbours alone never convict a row.
  - A refusal does not mean that nothing was stored: a materialized view may have failed after the table had
    its part, and ClickHouse may know the token of an attempt before. So `begin` remembers every attempt
    of a range that may be sent again under its token, and a row cut from a refused range counts as sent.
  - If every row is refused, the table is wrong, not the rows, and nothing goes to the dead letter.
    Refusals without an acceptance between them, beyond what isolating one row takes, are paced by
    `Pause`. After each pause the kinds of work alternate (a new batch, the first range, the largest
    range, the oldest suspect), so one acceptable row is found wherever it is: the first range soon
    isolates a row among scattered bad ones, the largest finds good rows after a long bad
    stretch, and a new batch finds rows that were sent after the table was fixed.
"""

from collections import deque
from typing import NamedTuple

from nealytics.wal import CursorState, Range

# After so many refusals in a row the largest range is tried instead of the first.
_LARGEST_EVERY = 4
# Missing rows of one refused range become at most so many pieces. Each is an insert, and 16 bytes of every
# cursor. Rows between them that the table has are sent again.
_PIECES_MAX = 100
# Dead-lettered LSNs that are remembered for `was_dead_lettered`, which is called about recent rows.
_DEAD_LETTERED_REMEMBERED = 10_000


class Send(NamedTuple):
    """Send these rows. Their intent is stored."""

    rows: Range


class SendNew(NamedTuple):
    """Cut a new batch, store its intent, and send it."""


class Pause(NamedTuple):
    """Back off after refusals, then call `next` again. `number` counts these pauses, from 1."""

    number: int


class Wait(NamedTuple):
    """Wait for a new batch to be due; at most for pause `number`, and then send `suspect`."""

    suspect: Range | None = None
    number: int = 0


class Split(NamedTuple):
    """Store `state`, in which the refused range is replaced by `pieces`, then call `split`."""

    state: CursorState
    pieces: tuple[Range, ...]
    is_first: bool  # no larger range around these rows was refused before


class MoveToDeadLetter(NamedTuple):
    """Make the row durable in the dead letter, then call `dead_lettered`."""


class Keep(NamedTuple):
    """Keep the row as a suspect; nothing else to do."""

    is_first: bool  # it was not a suspect before


class Plan:
    """What is outstanding in one log, and the history of refusals that decides about it.

    `state` is what is acknowledged and intended. The stored cursor is the same or older: an acceptance may
    not be stored yet. The committer assigns a new state after it has stored it.
    """

    def __init__(self, state: CursorState, *, rows_max: int) -> None:
        self.state = state
        # Ranges that an attempt may have stored, by this process or by one before it.
        self._tried: set[Range] = set(state.outstanding)
        self._acceptances = 0
        # For each range that was refused or cut from a refused one: the number of acceptances at that moment.
        self._refused_at: dict[Range, int] = {}
        # Single rows that were refused alone, least recently tried first. An ordered set.
        self._suspects: dict[Range, None] = {}
        # Since the last acceptance: refusals of ranges that were not refused before, and pauses for refusals.
        self._refusals = 0
        self._pauses = 0
        self._is_after_pause = False
        # Isolating one row takes a refusal and a sibling's per level; more refusals are paced.
        self._refusals_unpaced_max = 2 * rows_max.bit_length() + 2
        self._dead_lettered: deque[int] = deque(maxlen=_DEAD_LETTERED_REMEMBERED)

    # What to do next

    def next(self, *, is_due: bool) -> Send | SendNew | Pause | Wait:
        """The next thing to do; `is_due` says whether a new batch is."""
        pieces = [piece for piece in self.state.outstanding if piece not in self._suspects]
        if self._is_after_pause:
            self._is_after_pause = False
            if choices := self._choices(pieces, is_due=is_due):
                return choices[(self._pauses - 1) % len(choices)]
        for suspect in self._suspects:
            if self._refused_at[suspect] < self._acceptances:
                return Send(suspect)
        if self._refusals > self._refusals_unpaced_max:
            self._pauses += 1
            self._is_after_pause = True
            return Pause(self._pauses)
        if pieces:
            is_largest = self._refusals % _LARGEST_EVERY == _LARGEST_EVERY - 1
            return Send(_largest(pieces) if is_largest else pieces[0])
        if is_due:
            return SendNew()
        if self._suspects:
            # Retried without a reason to expect another answer: the table may have been fixed.
            self._pauses += 1
            return Wait(next(iter(self._suspects)), self._pauses)
        return Wait()

    def _choices(self, pieces: list[Range], *, is_due: bool) -> list[Send | SendNew]:
        """One of each kind of work, while every row is refused."""
        choices: list[Send | SendNew] = [SendNew()] if is_due else []
        if pieces:
            choices += [Send(pieces[0]), Send(_largest(pieces))]
        if self._suspects:
            choices.append(Send(next(iter(self._suspects))))
        return choices

    def with_batch(self, first: int, last: int) -> CursorState:
        """The state in which the next rows, from `first` to `last`, are an intent."""
        return CursorState(last + 1, (*self.state.outstanding, Range(first, last)))

    def begin(self, rows: Range) -> bool:
        """To be called before every attempt. Whether an earlier attempt may have stored `rows`."""
        was_tried = rows in self._tried
        self._tried.add(rows)
        return was_tried

    # What follows from an answer

    def accepted(self, rows: Range) -> None:
        """ClickHouse has `rows`."""
        self._acceptances += 1
        self._refusals = self._pauses = 0
        self._acknowledge(rows)

    def refused(self, rows: Range, missing: tuple[Range, ...] = ()) -> Split | MoveToDeadLetter | Keep:
        """ClickHouse refused `rows` for their content. If an earlier attempt is known to have stored some of
        them, `missing` are the others."""
        if rows.last > rows.first:
            self._refusals += 1
            pieces = _joined(missing, _PIECES_MAX) or _halves(rows)
            outstanding = tuple(
                piece
                for intent in self.state.outstanding
                for piece in (pieces if intent == rows else (intent,))
            )
            state = CursorState(self.state.next_lsn, outstanding)
            return Split(state, pieces, rows not in self._refused_at)
        if self._refused_at.get(rows, self._acceptances) < self._acceptances:
            return MoveToDeadLetter()
        is_first = rows not in self._suspects
        self._refusals += is_first
        self._suspects.pop(rows, None)  # to the end of the queue
        self._suspects[rows] = None
        self._refused_at[rows] = self._acceptances
        return Keep(is_first)

    def split(self, whole: Range, pieces: tuple[Range, ...]) -> None:
        """The `pieces` of `whole` are durable intents."""
        self._tried.discard(whole)
        self._refused_at.pop(whole, None)
        for piece in pieces:
            self._refused_at[piece] = self._acceptances
            if piece.first == piece.last:
                self._tried.add(piece)  # not the larger ones: to ask for all their rows takes seconds

    def dead_lettered(self, row: Range) -> None:
        """The row is durable in the dead letter."""
        self._dead_lettered.append(row.first)
        self._acknowledge(row)

    def acknowledged(self, rows: Range) -> None:
        """Nothing of `rows` is left to be sent: they are erased, or the table has them and refuses them now.
        It proves nothing about what the table accepts."""
        self._acknowledge(rows)

    def _acknowledge(self, rows: Range) -> None:
        outstanding = tuple(intent for intent in self.state.outstanding if intent != rows)
        self.state = CursorState(self.state.next_lsn, outstanding)
        self._tried.discard(rows)
        self._suspects.pop(rows, None)
        self._refused_at.pop(rows, None)

    # Questions

    def is_acknowledged(self, first_lsn: int, last_lsn: int) -> bool:
        """Whether each of these rows is in ClickHouse or in the dead letter."""
        return last_lsn < self.state.next_lsn and not any(
            first <= last_lsn and first_lsn <= last for first, last in self.state.outstanding
        )

    def was_dead_lettered(self, first_lsn: int, last_lsn: int) -> bool:
        """Whether one of these rows is among the last 10,000 that went to the dead letter."""
        return any(first_lsn <= lsn <= last_lsn for lsn in self._dead_lettered)

    def has_only_suspects_up_to(self, last_lsn: int) -> bool:
        """Whether rows up to `last_lsn` are outstanding and only later events can decide about them."""
        outstanding = self.state.outstanding
        return (
            bool(outstanding)
            and last_lsn < self.state.next_lsn
            and all(
                intent in self._suspects and self._refused_at[intent] == self._acceptances
                for intent in outstanding
            )
        )

    def refuses_all(self, pauses_min: int) -> bool:
        """Whether nothing was accepted during the last `pauses_min` pauses for refusals."""
        return self._pauses >= pauses_min


def _halves(whole: Range) -> tuple[Range, Range]:
    middle = (whole.first + whole.last) // 2
    return Range(whole.first, middle), Range(middle + 1, whole.last)


def _joined(ranges: tuple[Range, ...], most: int) -> tuple[Range, ...]:
    """At most `most` ranges that cover these ascending ones: the smallest gaps between them are closed."""
    if len(ranges) <= most:
        return ranges
    gaps = sorted(range(1, len(ranges)), key=lambda i: ranges[i - 1].last - ranges[i].first)
    starts = [0, *sorted(gaps[: most - 1])]
    ends = [*starts[1:], len(ranges)]
    return tuple(
        Range(ranges[start].first, ranges[end - 1].last) for start, end in zip(starts, ends, strict=True)
    )


def _largest(pieces: list[Range]) -> Range:
    """The first of the largest."""
    return max(pieces, key=lambda piece: piece.last - piece.first)
