"""`GET /api/v1/analytics/funnel`: conversion by step. `ENDPOINT` declares parameters and semantics."""

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Annotated, Any

import msgspec

from nealytics.auth.claims import FILTERS_MAX
from nealytics.queries.comparison import compare_of, compared_selection
from nealytics.queries.dimensions import DIMENSIONS, OF_A_TENANT
from nealytics.queries.endpoint import (
    EXAMPLE_SCOPE,
    SHARE,
    Endpoint,
    Number,
    Ranged,
    of_range,
    of_scope,
    of_times,
    value_of,
)
from nealytics.queries.filters import FILTER_CHARS_MAX, Bind, Condition, Field, Selection
from nealytics.queries.invalid import invalid, shown
from nealytics.queries.measures import (
    MEASURE,
    Measure,
    Values,
    columns_by_place,
    measures_of,
    shown_measures,
)
from nealytics.queries.params import (
    KEY_OF,
    SELECTION,
    TEXT_CHARS_MAX,
    Arguments,
    Limit,
    Parameter,
    by_of,
    limit_of,
)
from nealytics.queries.ranges import at_most, bucket_ms, cut_by, local_text
from nealytics.queries.scoped import Events, Query
from nealytics.queries.sequences import (
    STEPS_MAX,
    Barrier,
    SequenceStep,
    first_labels_sql,
    sequences_sql,
)
from nealytics.queries.series import (
    Comparison,
    average_of,
    averaged,
    comparison_of,
    cumulative_of,
    is_cumulative,
)

STEPS_MIN = 2
WINDOW_MS_MIN, WINDOW_MS_MAX = 1_000, 90 * 86_400_000

ORDERS = ("sequence", "strict", "any")
EXCLUDED_MAX = 5
_STEP_ORDER = re.compile(rf"([2-9]|{STEPS_MAX}):({'|'.join(ORDERS)})")
_EXCLUDED = re.compile(rf"(?:([2-9]|{STEPS_MAX}):)?([\s\S]+)")  # for the description; it matches every text
_NUMBER = re.compile("[0-9]+")

PARAMETERS = (
    Parameter(
        name="step",
        kind="text",
        repeatable=True,
        required=True,
        count_min=STEPS_MIN,
        count_max=STEPS_MAX,
        description=f"An event type. Repeat it {STEPS_MIN} to {STEPS_MAX} times, in the order of the funnel.",
        example="product_view&purchase",
    ),
    Parameter(
        name="stepFilter",
        kind="filter",
        repeatable=True,
        chars_max=FILTER_CHARS_MAX + 3,
        description="A condition for one step only: `<n>:<field>:<op>:<value>`; the first step is 1.",
        example="1:item_id:starts:/shop",
    ),
    Parameter(
        name="window",
        kind="duration",
        default="1d",
        minimum=WINDOW_MS_MIN,
        maximum=WINDOW_MS_MAX,
        description="Time from the first step within which the others count: 1s to 90d, such as `30m`.",
        example="2h",
    ),
    by_of("user"),
    Parameter(
        name="order",
        kind="choice",
        choices=ORDERS,
        default="sequence",
        description="`sequence`: other events may occur between two steps. `strict`: none may. `any`: the"
        " steps may occur in any order.",
    ),
    Parameter(
        name="stepOrder",
        kind="text",
        repeatable=True,
        count_max=STEPS_MAX - 1,
        pattern=_STEP_ORDER.pattern,
        description="As `order`, for one step only: `<n>:strict`, `<n>:any` (with the step before it) or"
        " `<n>:sequence`; n from 2.",
        example="2:strict",
    ),
    Parameter(
        name="exclude",
        kind="text",
        repeatable=True,
        count_max=EXCLUDED_MAX,
        chars_max=TEXT_CHARS_MAX + len("10:"),
        pattern=_EXCLUDED.pattern,
        description="An event type that must not occur between two steps: `<n>:<event type>` for step n and"
        " the one before, n from 2; without a number for all. An event type that itself begins with a number"
        " and a colon needs the number of a step.",
        example="2:refund",
    ),
    Parameter(
        name="interval",
        kind="choice",
        choices=("hour", "day", "week", "month"),
        description="Also return the conversion over time, by the interval in which a sequence starts.",
    ),
    cumulative_of(
        "With `interval`: each point of the trend is about the sequences that start from the start of the"
        " range up to the end of its interval. Each user counts once."
    ),
    average_of(
        "With `interval`: each point of the trend has the `average` of its conversion to the last step and"
        " that of the intervals before it in the range, this many in all."
    ),
    Parameter(
        name="breakdown",
        kind="field",
        choices=DIMENSIONS,
        chars_max=FILTER_CHARS_MAX,  # any key that a filter can name
        description="Also return one funnel per value of this field in the event of the first step.",
        example="meta:plan",
    ),
    *SELECTION,
    MEASURE,
    compare_of(
        "The answer also has the steps, and the trend, of this range, as in `summary`, as `previous`."
        " Default: no comparison."
    ),
    limit_of("groups", 20),
)

_STEP_FILTER = re.compile(r"([0-9]{1,4}):(.+)", re.DOTALL)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    event_type: str
    filters: tuple[Condition, ...] = ()
    order: str = "sequence"  # with the step before
    excluded: tuple[str, ...] = ()  # event types that are not between it and the step before


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    interval: str
    starts_ms: tuple[int, ...]  # of the intervals of the range
    now_ms: int
    cumulative: bool = False
    average: int | None = None
    comparison: Comparison | None = None  # of the trend of the compared range


class Params(msgspec.Struct, frozen=True, kw_only=True):
    steps: tuple[Step, ...]
    window_ms: int
    by: str
    breakdown: Field | None = None
    trend: Trend | None = None
    selection: Selection
    measures: tuple[Measure, ...] = ()
    limit: Limit
    previous: "Params | None" = None  # the same question about the compared range


class StepCount(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    step: int  # from 1
    event_type: str
    value: Number
    count: int
    share: float
    conversion: Annotated[float, SHARE]
    conversion_from_previous: float
    median_seconds_from_previous: float | None = None
    values: tuple[Decimal | None, ...] = ()  # of the measures, if there are any


class Group(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    key: str | None = None
    tenant_id: str | None = None  # of a session or user, if the token opens the whole project
    steps: list[StepCount]


class Interval(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    time: str
    partial: bool = False
    steps: list[StepCount]
    average: Decimal | None = None  # if it was asked for; absent if nobody started
    compared_to: str | None = None  # of `previous`: the interval of the range that stands beside it


class Previous(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The funnel of the compared range."""

    from_: str = msgspec.field(name="from")
    to: str
    steps: list[StepCount]
    trend: list[Interval] | None = None


class Funnel(Ranged, kw_only=True):
    by: str
    window_seconds: int
    measures: tuple[str, ...] = ()
    steps: list[StepCount]
    breakdown: str | None = None
    groups: list[Group] | None = None
    interval: str | None = None
    trend: list[Interval] | None = None
    previous: Previous | None = None  # with a comparison


def parse(arguments: Arguments) -> Params:
    event_types = arguments.texts("step")
    if not STEPS_MIN <= len(event_types) <= STEPS_MAX:
        raise invalid(
            "step",
            f"step is given {'once' if len(event_types) == 1 else f'{len(event_types)} times'}",
            f"Give {STEPS_MIN} to {STEPS_MAX} event types in their order, each in a step of its own:"
            " step=view&step=purchase.",
        )
    selection = arguments.selection()
    filters = _step_filters(arguments, len(event_types))
    steps = tuple(
        Step(event_type=event_type, filters=tuple(filters[number]), order=order, excluded=excluded)
        for number, (event_type, order, excluded) in enumerate(
            zip(event_types, _orders(arguments, event_types), _excluded(arguments, event_types), strict=True)
        )
    )
    _check_blocks(steps)
    measures = measures_of(arguments)
    params = Params(
        steps=steps,
        window_ms=arguments.duration_ms("window"),
        by=arguments.choice("by"),
        breakdown=arguments.field("breakdown"),
        trend=_trend(arguments, selection, measures),
        selection=selection,
        measures=measures,
        limit=arguments.limit(),
    )
    return msgspec.structs.replace(params, previous=_previous(arguments, params))


def _orders(arguments: Arguments, event_types: list[str]) -> list[str]:
    """Of each step."""
    orders = ["sequence", *[arguments.choice("order")] * (len(event_types) - 1)]
    for text in arguments.texts("stepOrder"):
        parts = _STEP_ORDER.fullmatch(text)
        if parts is None:
            raise invalid(
                "stepOrder",
                f"stepOrder is {shown(text)}",
                f"Write <n>:<order>, n from 2, one of {', '.join(ORDERS)}.",
            )
        orders[_place("stepOrder", parts[1], event_types)] = parts[2]
    return orders


def _excluded(arguments: Arguments, event_types: list[str]) -> list[tuple[str, ...]]:
    """Of each step. A number and a colon always name a step: `1:view` is no event type."""
    excluded: list[tuple[str, ...]] = [()] * len(event_types)
    for text in arguments.texts("exclude"):
        number, colon, event_type = text.partition(":")
        places = range(1, len(event_types))
        if colon and _NUMBER.fullmatch(number):
            place = _place("exclude", number, event_types)
            if not place or not event_type.strip():
                raise invalid(
                    "exclude",
                    f"exclude is {shown(text)}, which "
                    + ("names no event type" if place else f"is for step {number}, with none before it"),
                    f"Write <n>:<event type>, n from 2 to {len(event_types)}, or an event type alone.",
                )
            places = range(place, place + 1)
        else:
            event_type = text
        for place in places:
            excluded[place] += (event_type,)
    return excluded


def _place(name: str, number: str, event_types: list[str]) -> int:
    """From 0; also for step 0."""
    if int(number) > len(event_types):
        raise invalid(name, f"{name} is for step {number}", f"There are steps 1 to {len(event_types)}.")
    return max(0, int(number) - 1)


def _check_blocks(steps: tuple[Step, ...]) -> None:
    """Steps in any order need event types of their own, and nothing is between them."""
    for step, following in zip(steps, (*steps[1:], None), strict=True):
        if step.order != "any" and (following is None or following.order != "any"):
            continue
        if step.excluded or step.order == "strict":
            raise invalid(
                "exclude" if step.excluded else "stepOrder",
                f"step {steps.index(step) + 1} is in any order with another one, and also strict or with an"
                " exclusion",
                "Write order=sequence for these steps, or leave out the strict order and the exclusion.",
            )
    event_types = [step.event_type for step in steps]
    if any(step.order == "any" for step in steps) and len(set(event_types)) < len(event_types):
        raise invalid(
            "step",
            f"step is given {shown(max(event_types, key=event_types.count))} more than once, in any order",
            "In a funnel with steps in any order, each step has an event type of its own.",
        )


def _trend(arguments: Arguments, selection: Selection, measures: tuple[Measure, ...]) -> Trend | None:
    interval, average = arguments.choice("interval"), arguments.integer("average")
    cumulative = is_cumulative(arguments, average=average, measure=measures)
    if not interval:
        for name, value in (("cumulative", cumulative), ("average", average)):
            if value:
                raise invalid(
                    name, f"{name} is given without interval", f"Add interval=day, or leave out {name}."
                )
        return None
    return Trend(
        interval=interval,
        starts_ms=at_most(arguments.config.limit_max, interval, selection),
        now_ms=arguments.now_ms,
        cumulative=cumulative,
        average=average,
    )


def _previous(arguments: Arguments, params: Params) -> Params | None:
    found = compared_selection(arguments, params.selection)
    if found is None:
        return None
    compared, trend = found[1], params.trend
    if trend is not None:
        comparison = comparison_of(arguments, trend.interval, params.selection, compared, with_future=True)
        compared = comparison.selection
        trend = msgspec.structs.replace(trend, starts_ms=comparison.starts, comparison=comparison)
    return msgspec.structs.replace(params, breakdown=None, trend=trend, selection=compared)


def _step_filters(arguments: Arguments, steps: int) -> list[list[Condition]]:
    """The filters of each step."""
    texts = arguments.texts("stepFilter")
    if len(texts) > FILTERS_MAX:
        raise invalid("stepFilter", f"stepFilter is given {len(texts)} times", f"Give at most {FILTERS_MAX}.")
    filters: list[list[Condition]] = [[] for _ in range(steps)]
    for text in texts:
        parts = _STEP_FILTER.fullmatch(text)
        if parts is None:
            raise invalid(
                "stepFilter",
                f"stepFilter is {shown(text)}",
                "Write <n>:<field>:<op>:<value>, such as 1:item_id:starts:/shop.",
            )
        number = int(parts[1])
        if not 1 <= number <= steps:
            raise invalid("stepFilter", f"stepFilter is for step {number}", f"There are steps 1 to {steps}.")
        filters[number - 1].append(arguments.conditions.of_text("stepFilter", parts[2]))
    return filters


def build_sql(params: Params) -> Query:
    """One row for all: `[1, None, '', counts, medians in milliseconds]`; with a breakdown then one for each
    group, with 0, its key and its tenant. With measures, a row ends with their columns."""
    bind = Bind()
    label = None if params.breakdown is None else _label(params.breakdown, bind)
    found, figures = _sequences(params, bind, label)
    if label is None:
        return Query(f"SELECT 1, NULL, '', {figures} FROM ({found})", bind.values)
    return Query(
        "SELECT is_total, if(is_total, NULL, label.1) AS key, if(is_total, '', label.2) AS tenant,"
        f" {figures} FROM ({found}) GROUP BY is_total, key, tenant"
        " ORDER BY is_total DESC, counts[1] DESC, key NULLS LAST, tenant"
        f" LIMIT {bind(params.limit.count + 2)}",
        bind.values,
    )


def trend_sql(params: Params, trend: Trend) -> Query:
    """One row for each interval with a start: its start, then as in `build_sql` from the counts on. If it is
    cumulative, one for each in which a step is reached for the first time: its start, and of each step the
    number of those who had not reached it before."""
    bind = Bind()
    bucket = bucket_ms(
        trend.interval, params.selection.zone, bind, trend.starts_ms[0], params.selection.to_ms
    )
    if trend.cumulative:
        found = first_labels_sql(**_asked(params, bind), label=bucket)
        counts = ", ".join(f"countIf(level = {number})" for number in range(1, len(params.steps) + 1))
        return Query(f"SELECT label, [{counts}] FROM ({found}) GROUP BY label", bind.values)
    found, figures = _sequences(params, bind, bucket)
    return Query(f"SELECT label, {figures} FROM ({found}) WHERE NOT is_total GROUP BY label", bind.values)


def _sequences(params: Params, bind: Bind, label: str | None) -> tuple[str, str]:
    """The sequences, and the columns of their counts and measures."""
    steps = range(1, len(params.steps) + 1)
    counts = ", ".join(f"countIf(level >= {step})" for step in steps)
    medians = ", ".join(
        f"quantileExactInclusiveIf(0.5)(taken[{step}] - taken[{step - 1}], level >= {step})"
        for step in steps[1:]
    )
    figures = f"[{counts}] AS counts, [{medians}]"
    values: list[str] = []
    if params.measures:
        values, measured = columns_by_place(params.measures, bind, "found")
        figures += f", {measured}"
    return sequences_sql(**_asked(params, bind), label=label, values=values), figures


def _asked(params: Params, bind: Bind) -> Any:
    """Which sequences they are: arguments of `sequences_sql`."""
    steps = [
        SequenceStep(
            step.event_type,
            " AND ".join(
                [f"event_type = {bind(step.event_type)}", *(filter_.sql(bind) for filter_ in step.filters)]
            ),
            step.order == "any",
        )
        for step in params.steps
    ]
    excluded: dict[str, set[int]] = {}
    for number, step in enumerate(params.steps, 1):
        for event_type in step.excluded:
            excluded.setdefault(event_type, set()).add(number)
    barriers = [
        Barrier(f"event_type = {bind(event_type)}", frozenset(numbers))
        for event_type, numbers in excluded.items()
    ]
    strict = frozenset(number for number, step in enumerate(params.steps, 1) if step.order == "strict")
    entity = KEY_OF[params.by]
    where = f"{params.selection.where(bind)} AND {entity} IS NOT NULL"
    if strict:
        barriers.append(Barrier("1", strict))
    else:
        event_types = tuple(dict.fromkeys((*(step.event_type for step in params.steps), *excluded)))
        where += f" AND event_type IN {bind(event_types)}"
    return {
        "steps": steps,
        "entity": entity,
        "where": where,
        "window_ms": bind(params.window_ms),
        "barriers": barriers,
    }


def _label(breakdown: Field, bind: Bind) -> str:
    """The value and its tenant: a session or a user belongs to a tenant."""
    key = f"toNullable({breakdown.sql(bind)})"
    tenant = f"if(isNull({key}), '', tenant_id)" if breakdown.name in OF_A_TENANT else "''"
    return f"tuple({key}, {tenant})"


async def run(events: Events, params: Params) -> Funnel:
    found = await events.rows(build_sql(params))
    # Without any start there may be no row at all.
    total = found.pop(0)[3:] if found else []
    values, of_groups, of_trend = (Values(params.measures) for _ in range(3))
    answer = Funnel(
        **of_scope(events),
        **of_range(params.selection),
        by=params.by,
        window_seconds=params.window_ms // 1000,
        measures=shown_measures(params.measures),
        steps=_steps(params, values, *total),
    )
    if params.breakdown is not None:
        answer.warnings = params.limit.first(found, "groups", "largest")
        answer.breakdown = str(params.breakdown)
        several = events.scope.tenant_id is None
        answer.groups = [
            Group(
                key=key, tenant_id=tenant or None if several else None, steps=_steps(params, of_groups, *row)
            )
            for _, key, tenant, *row in found
        ]
    if params.trend is not None:
        answer.interval = params.trend.interval
        answer.trend = await _over_time(events, params, params.trend, of_trend)
    if params.previous is not None:
        answer.previous = await _compared(events, params.previous, values)
    # The sequences of groups and intervals are other ones, mostly with the same events.
    answer.warnings = answer.warnings + (values.warnings or of_groups.warnings or of_trend.warnings)
    return answer


async def _compared(events: Events, params: Params, values: Values) -> Previous:
    total = [row[3:] for row in await events.rows(build_sql(params))]
    previous = Previous(**of_times(params.selection), steps=_steps(params, values, *(total or [[]])[0]))
    if params.trend is not None:
        previous.trend = await _over_time(events, params, params.trend, Values(params.measures))
    return previous


async def _over_time(events: Events, params: Params, trend: Trend, values: Values) -> list[Interval]:
    found = {int(start_ms): row for start_ms, *row in await events.rows(trend_sql(params, trend))}
    if trend.cumulative:
        found = _so_far(found, params, trend)
    comparison, zone = trend.comparison, params.selection.zone
    end_ms = min(params.selection.to_ms, trend.now_ms)
    is_cut = cut_by(trend.interval, zone, params.selection.from_ms, end_ms)
    intervals = [
        Interval(
            time=local_text(start_ms, zone),
            partial=is_cut(start_ms),
            steps=_steps(params, values, *found.get(start_ms, [])),
            compared_to=None if comparison is None else comparison.text(start_ms, zone),
        )
        for start_ms in trend.starts_ms
    ]
    if trend.average is not None:
        averaged(intervals, [_conversion(one.steps) for one in intervals], trend.average)
    return intervals


def _so_far(found: dict[int, list[Any]], params: Params, trend: Trend) -> dict[int, list[Any]]:
    none = ([0] * len(params.steps),)
    new = [map(int, found.get(start_ms, none)[0]) for start_ms in trend.starts_ms]
    totals = zip(*map(accumulate, zip(*new, strict=True)), strict=True)
    return {start_ms: [counts] for start_ms, counts in zip(trend.starts_ms, totals, strict=True)}


def _conversion(steps: list[StepCount]) -> Decimal | None:
    """To the last step."""
    return Decimal(steps[-1].count) / steps[0].count if steps[0].count else None


def _steps(
    params: Params,
    values: Values,
    counts: Sequence[str] = (),
    medians_ms: Sequence[float | None] = (),
    measured: Sequence[list[str | None]] = (),
    left_out: Sequence[int] = (),
) -> list[StepCount]:
    """Without arguments, the steps of no sequence."""
    values.of((), left_out)
    reached = list(map(int, counts)) or [0] * len(params.steps)
    found = []
    for index, step in enumerate(params.steps):
        count = reached[index]
        median_ms = medians_ms[index - 1] if index and count and medians_ms else None
        # Nobody reached a step for which there is no place.
        measures = values.of([of_place[index] for of_place in measured if index < len(of_place)], ())
        found.append(
            StepCount(
                step=index + 1,
                event_type=step.event_type,
                value=value_of(count, measures),
                count=count,
                share=(share := _share(count, reached[0])),
                conversion=share,
                conversion_from_previous=_share(count, reached[max(0, index - 1)]),
                median_seconds_from_previous=None if median_ms is None else median_ms / 1000,
                values=measures,
            )
        )
    return found


def _share(count: int, of: int) -> float:
    return count / of if of else 0.0


ENDPOINT = Endpoint(
    path="/api/v1/analytics/funnel",
    summary="How many users complete each step of a funnel",
    description="""
        Returns how many users or sessions complete a sequence of steps, and how long it takes.

        Every event of step 1 is a start. Step 2 is the earliest event of its type at that time or later,
        step 3 the earliest at the time of step 2 or later, and so on, all within `window` of the start. One
        event is never two steps: if two steps have the same event type, the second must be strictly later.
        Other events may occur in between. Each user counts once: with the start that gets furthest, and
        among those the earliest.

        `count` is the number of users who reached at least this step, `share` their share of step 1, and
        `conversionFromPrevious` its share of the previous step. `medianSecondsFromPrevious` is the median
        time since the previous step; step 1, and steps that nobody reached, have none.

        With `order=strict`, no event that matches the filters is at a time between two steps, with `exclude`
        no event of that type; a sequence ends where one is. With `order=any`, a user has reached as many
        steps as they did within `window` of the first of them, whichever these are. `stepOrder` says it for
        single steps.

        With `breakdown`, `groups` has the same steps for each value at the first event, most starts first.
        Each group is what the funnel is with this value as a filter of step 1, so a user may be in several.
        Events without a value are a group without `key`. With a token of the whole project, sessions and
        users belong to a tenant: their groups have the `tenantId`.

        With `interval`, `trend` has the steps of the sequences that start in each interval. A user counts
        once in each. The last intervals have had less time to convert. With `cumulative`, a point is about
        the sequences that start in the range up to the end of its interval: a user counts once, and there is
        no median. With `average=7`, a point also has the `average` of its conversion to the last step and
        that of the six intervals before it; intervals in which nobody started are left out.

        With `compare`, `previous` has the steps of the compared range and, with `interval`, its `trend`.
        `comparedTo` of each point is the `time` of the interval beside it, as in `timeseries`.

        With `measure`, each step also has the `values` of the measures over the events of that step: one
        event for each user who reached it, the one that is the step in their sequence. If several events of
        the same millisecond could be, it is the first of them in the order of the timeline (by `eventId`).
    """,
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=Funnel,
    example=Funnel(
        **EXAMPLE_SCOPE,
        from_="2026-06-01T00:00:00Z",
        to="2026-06-07T23:59:59.999Z",
        tz="UTC",
        by="user",
        window_seconds=86_400,
        steps=[
            StepCount(
                step=1,
                event_type="product_view",
                value=200,
                count=200,
                share=1.0,
                conversion=1.0,
                conversion_from_previous=1.0,
            ),
            StepCount(
                step=2,
                event_type="purchase",
                value=50,
                count=50,
                share=0.25,
                conversion=0.25,
                conversion_from_previous=0.25,
                median_seconds_from_previous=324.5,
            ),
        ],
    ),
)
