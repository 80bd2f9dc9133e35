"""SQL that finds each user's longest sequence of steps, for `funnel`, which defines what a sequence is.

All sequences are found in one pass over the events, with any number of starts.

The events of an entity that are a step are in one array, ordered by time and then by step. Parallel to it are
the arrays `c10` … `c1`: at each event, `c3` has the times of the steps 3, 4, … for a sequence that needs
step 3 next. At an event that is step 3, these are its time and then what `c4` has there, because step 4 is
next. At any other event they are what `c3` has at the next event. So each array is computed from the previous
one in a single run from the last event to the first, and `c1` has the sequences of all starts.

    time        1      2      3      4      5
    event      view   view   cart   view   buy
    c3 (buy)   5      5      5      5      5
    c2 (cart)  3,5    3,5    3,5    -,-    -,-        -: never
    c1 (view)  1,3,5  2,3,5         4,-,-

An event of the same millisecond can be the next step, whatever order the two are stored in; therefore the
array is ordered by step within a millisecond. It cannot be the next step if a step of that millisecond in the
same sequence has the same event type, because it might be the same event. Then the array `later3` counts: at
each event it has what `c3` has at the next millisecond.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

# An event that is a step, as a number that sorts by time and then by step: milliseconds * 16 + step.
_RADIX = 16
# Later than every event; its code is still an Int64.
_NEVER_MS = 1 << 50

# Entities per block. Each of their events needs about 8 bytes for each pair of steps.
_BLOCK_ROWS = 1024

STEPS_MAX = 10


class SequenceStep(NamedTuple):
    event_type: str
    condition: str  # SQL over `events`, 0 or 1


def sequences_sql(
    steps: Sequence[SequenceStep], *, entity: str, where: str, window_ms: str, label: str | None = None
) -> str:
    """SELECTs one row for each value of `entity` that has an event of the first step.

    `level` is the number of steps within `window_ms` after the start, and `taken` the millisecond of each of
    them; beyond `level`, `taken` means nothing. `label` is the value of that expression at the first event of
    the sequence.
    """
    last = len(steps)
    sql = _events_sql(steps, entity, where, label)
    limits = [_limit(steps, step) for step in range(1, last + 1)]
    for step in range(last, 0, -1):
        rest = _rest(limits, step, step + 1)
        arrays = ", ".join(["t", *sorted(set(re.findall(r"\b(?:c|later)\d+\b", rest)))])
        times = f"arrayMap(({arrays}) -> arrayPushFront({rest}, t), {arrays})"
        if step > 1:  # `c1` is read at starts only
            times = f"arrayReverseFill((c, s) -> s = {step}, {times}, s)"
        sql = f"SELECT *, {times} AS c{step} FROM ({sql})"
        if step in limits:
            is_last = "arrayMap((now, next) -> now != next, t, arrayShiftLeft(t, 1))"  # of its millisecond
            after = f"arrayShiftLeft(c{step}, 1, c{step}[-1])"
            later = f"arrayReverseFill((c, is_last) -> is_last, {after}, {is_last})"
            sql = f"SELECT *, {later} AS later{step} FROM ({sql})"
    level = f"if(s = 1, arrayCount(at -> at <= c[1] + {window_ms}, c), 0)"
    sql = f"SELECT *, arrayMap((c, s) -> {level}, c1, s) AS levels FROM ({sql})"
    chosen = "arrayMax(levels) AS level, c1[indexOf(levels, level)] AS taken"
    if label is None:
        return f"SELECT {chosen} FROM ({sql})"
    # Starts of the same millisecond have the same sequence; the first one in the table's order counts.
    labelled = (
        "arrayFirst(start -> start.1 = taken[1], arraySort(start -> (start.1, start.2), starts)).3 AS label"
    )
    return f"SELECT {chosen}, {labelled} FROM ({sql})"


def _events_sql(steps: Sequence[SequenceStep], entity: str, where: str, label: str | None) -> str:
    """`t` and `s`: of each event that is a step its time and the step, in order; an event that can be several
    steps is there for each. At the end stands one that is no step and later than all."""
    ms = "toUnixTimestamp64Milli(timestamp)"
    codes = ", ".join(
        f"if({step.condition}, {ms} * {_RADIX} + {number}, 0)" for number, step in enumerate(steps, 1)
    )
    select = f"arraySort(groupArrayArray(arrayFilter(code -> code != 0, [{codes}]))) AS found"
    if label is not None:
        select += f", groupArrayIf(tuple({ms}, event_id, {label}), {steps[0].condition}) AS starts"
    sql = (
        f"SELECT *, arrayPushBack(found, {_NEVER_MS * _RADIX}) AS codes FROM (SELECT {select} FROM events"
        f" WHERE {where} GROUP BY {entity} HAVING countIf({steps[0].condition}) > 0"
        f" SETTINGS max_block_size = {_BLOCK_ROWS})"
    )
    step = f"bitAnd(code, {_RADIX - 1})"
    return (
        f"SELECT *, arrayMap(code -> intDiv(code - {step}, {_RADIX}), codes) AS t,"
        f" arrayMap(code -> {step}, codes) AS s FROM ({sql})"
    )


def _limit(steps: Sequence[SequenceStep], step: int) -> int:
    """The first step after `step` that needs a later millisecond if `step` and all in between share one: its
    event type repeats one of theirs. One more than the number of steps if there is none."""
    seen: set[str] = set()
    for number in range(step, len(steps) + 1):
        if steps[number - 1].event_type in seen:
            return number
        seen.add(steps[number - 1].event_type)
    return len(steps) + 1


def _rest(limits: Sequence[int], taken: int, step: int) -> str:
    """The times of `step` and all after it, at an event that is all steps from `taken` up to `step`."""
    if step > len(limits):
        return "emptyArrayInt64()"
    limit = limits[taken - 1]
    if step == limit:
        return f"later{step}"
    if limits[step - 1] == limit:
        return f"c{step}"
    # `c` may contain steps of this millisecond that are not possible for this sequence.
    return f"if(c{step}[1] = t, arrayPushFront({_rest(limits, taken, step + 1)}, t), c{step})"
