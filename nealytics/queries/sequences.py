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

A `Barrier` is an event that may not be between the step before and some steps. It is in the array after all
steps of its millisecond, and at it, `c3` is never. A sequence that does not find step 3 in the millisecond of
step 2 reads `later3`, so that a barrier in that millisecond is not between the two.

Steps in any order are a block, such as 2 and 3: `m2` and `m3` have the times as if each was the last of the
block. `c2` has the earlier and the later time of the two, and then what follows the later one.

These arrays have times only. `_with_events` then looks up the events: an array of all events by step and
time, with one more entry for each step of each sequence that counts, from which it is filled backwards: the
entry gets the next event of that step. So the cost is that of a sort, whatever the number of sequences.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

# An event that is a step or a barrier, as a number that sorts by time and then by step.
_RADIX = 32
# Later than every event; its code is still an Int64.
_NEVER_MS = 1 << 50

# Entities per block. Each of their events needs about 8 bytes for each pair of steps.
_BLOCK_ROWS = 1024

STEPS_MAX = 10
BARRIERS_MAX = _RADIX - 1 - STEPS_MAX


class SequenceStep(NamedTuple):
    event_type: str
    condition: str  # SQL over `events`, 0 or 1
    any_order: bool = False  # with the step before


class Barrier(NamedTuple):
    condition: str
    steps: frozenset[int]  # from 1; the event is not between each of these and the one before


def sequences_sql(
    steps: Sequence[SequenceStep],
    *,
    entity: str,
    where: str,
    window_ms: str,
    barriers: Sequence[Barrier] = (),
    label: str | None = None,
    values: Sequence[str] = (),
) -> str:
    """SELECTs one row for each value of `entity` that has an event of the first step.

    `level` is the number of steps within `window_ms` after the start, and `taken` the millisecond of each of
    them; beyond `level`, `taken` means nothing.

    With `label`, the value of that expression at the first event of a sequence, there are more rows:
    `is_total` is 1 for the one row of the entity, and 0 for the best sequence with each `label`.

    With `values`, expressions over `events`, the array `found` has a tuple for each of the `level` steps: the
    id of its event and these values. Of several events that could be the step, it is the one with the least
    id; of several starts, the first sequence counts.

    A block of several steps needs steps of different event types, and has no barriers.
    """
    sql = _levels_sql(steps, entity, where, window_ms, barriers, label, values)
    if label is None and not values:
        return f"SELECT arrayMax(levels) AS level, c1[indexOf(levels, level)] AS taken FROM ({sql})"
    # The furthest first, and of these the earliest: of each label, and of all, the first one counts.
    arrays = ["levels", "c1", "arrayEnumerate(levels)", "labels" if label else "levels"]
    arrays += ["s", "carried"] if values else []
    starts = (
        "arraySort(start -> (-start.1, start.2[1], start.3),"
        f" arrayFilter(start -> start.1 > 0, arrayZip({', '.join(arrays)})))"
    )
    rows = "[tuple(1, starts[1])]"
    if label is not None:
        of_labels = "arrayFilter((start, nth) -> nth = 1, starts, arrayEnumerateUniq(starts.4))"
        rows = f"arrayConcat({rows}, arrayMap(start -> tuple(0, start), {of_labels}))"
    sql = f"SELECT *, {starts} AS starts, {rows} AS rows FROM ({sql})"
    found = "emptyArrayUInt8()"
    if values:
        sql, found = _with_events(sql, _blocks(steps)), "arraySlice(row.2, 1, level)"
    joined = f"arrayJoin({'arrayZip(rows, events)' if values else 'arrayZip(rows)'}) AS row"
    return (
        f"SELECT row.1.1 AS is_total, row.1.2.4 AS label, row.1.2.1 AS level, row.1.2.2 AS taken,"
        f" {found} AS found FROM (SELECT {joined} FROM ({sql}))"
    )


def first_labels_sql(
    steps: Sequence[SequenceStep],
    *,
    entity: str,
    where: str,
    window_ms: str,
    barriers: Sequence[Barrier] = (),
    label: str,
) -> str:
    """SELECTs for each value of `entity` and each `level` that it reaches the least `label`, a number, of the
    sequences that reach it."""
    sql = _levels_sql(steps, entity, where, window_ms, barriers, label, ())
    numbers = list(range(1, len(steps) + 1))
    reached = f"arrayFilter(number -> number <= arrayMax(levels), {numbers})"
    return (
        f"SELECT level, arrayMin(arrayFilter((label, reached) -> reached >= level, labels, levels)) AS label"
        f" FROM (SELECT labels, levels, arrayJoin({reached}) AS level FROM ({sql}))"
    )


def _levels_sql(
    steps: Sequence[SequenceStep],
    entity: str,
    where: str,
    window_ms: str,
    barriers: Sequence[Barrier],
    label: str | None,
    values: Sequence[str],
) -> str:
    """Adds to `_events_sql` the array `levels`: of each event the steps of the sequence that it begins."""
    sql = _events_sql(steps, barriers, entity, where, label, values)
    blocks = _blocks(steps)
    limits = [_limit(steps, step) for step in range(1, len(steps) + 1)]
    barred = {step for barrier in barriers for step in barrier.steps}
    for block in reversed(blocks):
        sql = _block_sql(sql, block, limits, barred, barriers)
        if (first := block[0]) in barred or first in limits:
            after = f"arrayShiftLeft(c{first}, 1, c{first}[-1])"
            is_last = "arrayMap((now, next) -> now != next, t, arrayShiftLeft(t, 1))"  # of its millisecond
            later = f"arrayReverseFill((c, is_last) -> is_last, {after}, {is_last})"
            sql = f"SELECT *, {later} AS later{first} FROM ({sql})"
    level = f"if(s BETWEEN 1 AND {len(blocks[0])}, arrayCount(at -> at <= c[1] + {window_ms}, c), 0)"
    return f"SELECT *, arrayMap((c, s) -> {level}, c1, s) AS levels FROM ({sql})"


def _with_events(sql: str, blocks: Sequence[Sequence[int]]) -> str:
    """Adds the array `events`: for each of `rows` the values of its events, in the order of its times."""
    count = sum(map(len, blocks))
    entries = []
    for block in blocks:
        for step in block:
            # The event is the first of its step since then.
            since = f"row.2.2[{step if len(block) == 1 else max(1, block[0] - 1)}]"
            # The start is the first of its own step, whatever other events its millisecond has.
            is_event = f"row.2.5 = {step}" if block is blocks[0] else "0"
            entries.append(f"tuple({step}, {since}, toUInt8({is_event}), row.2.6, number)")
    wanted = f"arrayFlatten(arrayMap((row, number) -> [{', '.join(entries)}], rows, arrayEnumerate(rows)))"
    known = "arrayMap((step, at, values) -> tuple(step, at, 1, values, 0), s, t, carried)"
    merged = f"arraySort(one -> (one.1, one.2, one.3, one.4.1), arrayConcat({wanted}, {known}))"
    filled = "arrayReverseFill(one -> one.3 = 1, merged)"
    block_of = [number for number, block in enumerate(blocks) for _ in block]
    at = f"if(one.2.3 = 1 AND one.2.1 = one.1.1, one.2.2, {_NEVER_MS})"  # else another step has filled it
    order = f"one.1.5, {block_of}[one.1.1], {at}, -one.1.3, one.1.1"
    sql = f"SELECT rows, {merged} AS merged FROM ({sql})"
    sql = f"SELECT rows, arrayFilter(one -> one.1.5 > 0, arrayZip(merged, {filled})) AS pairs FROM ({sql})"
    sql = f"SELECT rows, arraySort(one -> ({order}), pairs).2.4 AS events FROM ({sql})"
    of_each = f"arraySplit((one, nth) -> nth % {count} = 1, events, arrayEnumerate(events))"
    return f"SELECT rows, {of_each} AS events FROM ({sql})"


def _events_sql(
    steps: Sequence[SequenceStep],
    barriers: Sequence[Barrier],
    entity: str,
    where: str,
    label: str | None,
    values: Sequence[str],
) -> str:
    """`t` and `s`: of each event that is a step or a barrier its time and the step, in order; an event that
    can be several steps is there for each. At the end stands one that is no step and later than all. With a
    label, `labels` are those of the events; with values, `carried` has their ids and values."""
    ms = "toUnixTimestamp64Milli(timestamp)"
    numbered = [
        *((step.condition, number) for number, step in enumerate(steps, 1)),
        *((barrier.condition, number) for number, barrier in enumerate(barriers, STEPS_MAX + 1)),
    ]
    codes = ", ".join(f"if({condition}, {ms} * {_RADIX} + {number}, 0)" for condition, number in numbered)
    found = f"arrayFilter(code -> code != 0, [{codes}])"
    further = {"labels": label} if label is not None else {}
    if values:
        further["carried"] = f"tuple(event_id, {', '.join(values)})"
    source = f"FROM events WHERE {where}"
    if not further:
        select = f"arrayPushBack(arraySort(groupArrayArray({found})), {_NEVER_MS * _RADIX}) AS codes"
    else:
        source = (
            f"FROM (SELECT *, {', '.join(f'{sql} AS of_{name}' for name, sql in further.items())} {source})"
        )
        of_event = ", ".join(f"of_{name}" for name in further)
        order = f"(entry.1, entry.{len(further) + 1}.1)" if values else "entry.1"
        collected = f"groupArrayArray(arrayMap(code -> tuple(code, {of_event}), {found}))"
        select = (
            f"arraySort(entry -> {order}, {collected}) AS entries,"
            f" arrayPushBack(entries.1, {_NEVER_MS * _RADIX}) AS codes"
        )
        for number, name in enumerate(further, 2):
            select += f", arrayPushBack(entries.{number}, entries.{number}[1]) AS {name}"
    starts = " OR ".join(step.condition for step in steps[: len(_blocks(steps)[0])])
    sql = (
        f"SELECT {select} {source} GROUP BY {entity} HAVING countIf({starts}) > 0"
        f" SETTINGS max_block_size = {_BLOCK_ROWS}"
    )
    step = f"bitAnd(code, {_RADIX - 1})"
    return (
        f"SELECT *, arrayMap(code -> intDiv(code - {step}, {_RADIX}), codes) AS t,"
        f" arrayMap(code -> {step}, codes) AS s FROM ({sql})"
    )


def _blocks(steps: Sequence[SequenceStep]) -> list[list[int]]:
    """The steps in order, those of any order together."""
    blocks: list[list[int]] = []
    for number, step in enumerate(steps, 1):
        if step.any_order:
            blocks[-1].append(number)
        else:
            blocks.append([number])
    return blocks


def _block_sql(
    sql: str, block: list[int], limits: Sequence[int], barred: set[int], barriers: Sequence[Barrier]
) -> str:
    """Adds the array `c` of the block."""
    first, last = block[0], block[-1]
    several = len(block) > 1
    for step in reversed(block):
        rest = _rest(limits, barred, step, last + 1)
        bars = [number for number, bar in enumerate(barriers, STEPS_MAX + 1) if step in bar.steps]
        times = f"arrayPushFront({rest}, t)"
        if bars:
            never = f"arrayWithConstant({len(limits) - step + 1}, toInt64({_NEVER_MS}))"
            times = f"if(s = {step}, {times}, {never})"
        used = sorted(set(re.findall(r"\b(?:c|later)\d+\b", rest)))
        arrays = ", ".join(["t", *(["s"] if bars else []), *used])
        times = f"arrayMap(({arrays}) -> {times}, {arrays})"
        if step > 1 or several:  # else it is read at starts only
            stops = ", ".join(map(str, [step, *bars]))
            times = f"arrayReverseFill((c, s) -> s IN ({stops}), {times}, s)"
        sql = f"SELECT *, {times} AS {'m' if several else 'c'}{step} FROM ({sql})"
    if not several:
        return sql
    members = [f"m{step}" for step in block]
    firsts = ", ".join(f"{member}[1]" for member in members)
    follows = ", ".join(f"{member}[1] = arrayMax([{firsts}]), {member}" for member in members[:-1])
    joined = f"arrayConcat(arraySort([{firsts}]), arraySlice(multiIf({follows}, {members[-1]}), 2))"
    found = f"arrayMap(({', '.join(members)}) -> {joined}, {', '.join(members)})"
    if first == 1:
        # A start sees all of its millisecond.
        begins = "arrayMap((now, before) -> now != before, t, arrayShiftRight(t, 1))"
        found = f"arrayFill((c, begins) -> begins, {found}, {begins})"
    return f"SELECT *, {found} AS c{first} FROM ({sql})"


def _limit(steps: Sequence[SequenceStep], step: int) -> int:
    """The first step after `step` that needs a later millisecond if `step` and all in between share one: its
    event type repeats one of theirs. One more than the number of steps if there is none."""
    seen: set[str] = set()
    for number in range(step, len(steps) + 1):
        if steps[number - 1].event_type in seen:
            return number
        seen.add(steps[number - 1].event_type)
    return len(steps) + 1


def _rest(limits: Sequence[int], barred: set[int], taken: int, step: int) -> str:
    """The times of `step` and all after it, at an event that is all steps from `taken` up to `step`."""
    if step > len(limits):
        return "emptyArrayInt64()"
    limit = limits[taken - 1]
    if step == limit:
        return f"later{step}"
    # Not in this millisecond: beyond it a barrier may stand.
    otherwise = f"later{step}" if step in barred else f"c{step}"
    if limits[step - 1] == limit:
        return f"if(c{step}[1] = t, c{step}, {otherwise})" if step in barred else f"c{step}"
    # `c` may contain steps of this millisecond that are not possible for this sequence.
    return f"if(c{step}[1] = t, arrayPushFront({_rest(limits, barred, taken, step + 1)}, t), {otherwise})"
