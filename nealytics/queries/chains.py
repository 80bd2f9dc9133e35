"""SQL that finds, for everybody, the chain of steps that got furthest: what `funnel` counts.

What a chain is, `funnel` says. Here is how all of them are found in one pass over the events, however often
somebody has started.

The events of an entity that are a step are in one array, ordered by time and then by step. Beside it lie the
arrays `c10` … `c1`: `c3` has at each event the times at which the steps 3, 4, … are taken by one who waits
for step 3 from that event on. At an event that is step 3, that is its time, and then what `c4` has there,
because one who has just taken step 3 waits for step 4. At any other event it is what `c3` has at the next
event. So each array is made of the one before it in one run from the last event to the first, and `c1` has
the chains of all starts.

    time        1      2      3      4      5
    event      view   view   cart   view   buy
    c3 (buy)   5      5      5      5      5
    c2 (cart)  3,5    3,5    3,5    -,-    -,-        -: never
    c1 (view)  1,3,5  2,3,5         4,-,-

An event of the same millisecond can be the next step, in whatever order the two are stored; that is why the
array is ordered by step within a millisecond. It must not be if a step of that millisecond in the same chain
has the same event type, as it might be the same event; then what counts is the array `later3`, which has at
each event what `c3` has at the next millisecond.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

# An event that is a step, as a number that sorts by time and then by step: milliseconds * 16 + step.
_RADIX = 16
# Later than every event; its code is still an Int64.
_NEVER_MS = 1 << 50

# Entities that are worked on at once. Each event of theirs needs 8 bytes for each pair of steps or so.
_BLOCK_ROWS = 1024

STEPS_MAX = 10


class ChainStep(NamedTuple):
    event_type: str
    condition: str  # SQL over `events`, 0 or 1


def chains_sql(
    steps: Sequence[ChainStep], *, entity: str, where: str, window_ms: str, label: str | None = None
) -> str:
    """SELECTs one row for each value of `entity` that has an event of the first step.

    `level` is how many steps it took within `window_ms` after its start, `chain` at which millisecond it took
    each of them; beyond `level`, `chain` means nothing. `label` becomes what this expression is at the
    event that the chain starts with.
    """
    last = len(steps)
    sql = _events_sql(steps, entity, where, label)
    limits = [_limit(steps, step) for step in range(1, last + 1)]
    for step in range(last, 0, -1):
        rest = _rest(limits, step, step + 1)
        arrays = ", ".join(["t", *sorted(set(re.findall(r"\b(?:c|later)\d+\b", rest)))])
        chain = f"arrayMap(({arrays}) -> arrayPushFront({rest}, t), {arrays})"
        if step > 1:  # nobody looks at what the first step would be elsewhere than at a start
            chain = f"arrayReverseFill((c, s) -> s = {step}, {chain}, s)"
        sql = f"SELECT *, {chain} AS c{step} FROM ({sql})"
        if step in limits:
            is_last = "arrayMap((now, next) -> now != next, t, arrayShiftLeft(t, 1))"  # of its millisecond
            after = f"arrayShiftLeft(c{step}, 1, c{step}[-1])"
            later = f"arrayReverseFill((c, is_last) -> is_last, {after}, {is_last})"
            sql = f"SELECT *, {later} AS later{step} FROM ({sql})"
    level = f"if(s = 1, arrayCount(taken -> taken <= c[1] + {window_ms}, c), 0)"
    sql = f"SELECT *, arrayMap((c, s) -> {level}, c1, s) AS levels FROM ({sql})"
    chosen = "arrayMax(levels) AS level, c1[indexOf(levels, level)] AS chain"
    if label is None:
        return f"SELECT {chosen} FROM ({sql})"
    # Starts of the same millisecond have the same chain; the first one is that which the table has first.
    labelled = (
        "arrayFirst(start -> start.1 = chain[1], arraySort(start -> (start.1, start.2), starts)).3 AS label"
    )
    return f"SELECT {chosen}, {labelled} FROM ({sql})"


def _events_sql(steps: Sequence[ChainStep], entity: str, where: str, label: str | None) -> str:
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


def _limit(steps: Sequence[ChainStep], step: int) -> int:
    """The first step after `step` that may have to wait for another millisecond, if the chain takes `step`
    and all between them in one: its event type has been there. One more than there are steps if there is
    none."""
    seen: set[str] = set()
    for number in range(step, len(steps) + 1):
        if steps[number - 1].event_type in seen:
            return number
        seen.add(steps[number - 1].event_type)
    return len(steps) + 1


def _rest(limits: Sequence[int], taken: int, step: int) -> str:
    """The times of `step` and those after it, at an event at which all from `taken` to before `step` are
    taken."""
    if step > len(limits):
        return "emptyArrayInt64()"
    limit = limits[taken - 1]
    if step == limit:
        return f"later{step}"
    if limits[step - 1] == limit:
        return f"c{step}"
    # What `c` has here may take steps of this millisecond that this chain may not.
    return f"if(c{step}[1] = t, arrayPushFront({_rest(limits, taken, step + 1)}, t), c{step})"
