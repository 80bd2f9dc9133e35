"""`GET /api/v1/analytics/funnel`: conversion by step. `ENDPOINT` declares parameters and semantics."""

import re
from typing import Annotated

import msgspec

from nealytics.auth.claims import FILTERS_MAX
from nealytics.queries.dimensions import DIMENSIONS, OF_A_TENANT
from nealytics.queries.endpoint import EXAMPLE_SCOPE, SHARE, Endpoint, Ranged, of_range, of_scope
from nealytics.queries.filters import FILTER_CHARS_MAX, Bind, Condition, Field, Selection
from nealytics.queries.invalid import invalid, shown
from nealytics.queries.params import (
    KEY_OF,
    SELECTION,
    Arguments,
    Limit,
    Parameter,
    by_of,
    limit_of,
)
from nealytics.queries.scoped import Events, Query
from nealytics.queries.sequences import STEPS_MAX, SequenceStep, sequences_sql

STEPS_MIN = 2
WINDOW_MS_MIN, WINDOW_MS_MAX = 1_000, 90 * 86_400_000

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
        name="breakdown",
        kind="field",
        choices=DIMENSIONS,
        chars_max=FILTER_CHARS_MAX,  # any key that a filter can name
        description="Also return one funnel per value of this field in the event of the first step.",
        example="meta:plan",
    ),
    *SELECTION,
    limit_of("groups", 20),
)

_STEP_FILTER = re.compile(r"([0-9]{1,4}):(.+)", re.DOTALL)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    event_type: str
    filters: tuple[Condition, ...] = ()


class Params(msgspec.Struct, frozen=True, kw_only=True):
    steps: tuple[Step, ...]
    window_ms: int
    by: str
    breakdown: Field | None = None
    selection: Selection
    limit: Limit


class StepCount(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    step: int  # from 1
    event_type: str
    value: int
    count: int
    share: float
    conversion: Annotated[float, SHARE]
    conversion_from_previous: float
    median_seconds_from_previous: float | None = None


class Group(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    key: str | None = None
    tenant_id: str | None = None  # of a session or user, if the token opens the whole project
    steps: list[StepCount]


class Funnel(Ranged, kw_only=True):
    by: str
    window_seconds: int
    steps: list[StepCount]
    breakdown: str | None = None
    groups: list[Group] | None = None


def parse(arguments: Arguments) -> Params:
    event_types = arguments.texts("step")
    if not STEPS_MIN <= len(event_types) <= STEPS_MAX:
        raise invalid(
            "step",
            f"step is given {len(event_types)} times",
            f"Give {STEPS_MIN} to {STEPS_MAX} event types in their order: step=view&step=purchase.",
        )
    selection = arguments.selection()
    filters = _step_filters(arguments, len(event_types))
    return Params(
        steps=tuple(
            Step(event_type=event_type, filters=tuple(filters[number]))
            for number, event_type in enumerate(event_types)
        ),
        window_ms=arguments.duration_ms("window"),
        by=arguments.choice("by"),
        breakdown=arguments.field("breakdown"),
        selection=selection,
        limit=arguments.limit(),
    )


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
    group, with 0, its key and its tenant."""
    bind = Bind()
    steps = range(1, len(params.steps) + 1)
    counts = ", ".join(f"countIf(level >= {step})" for step in steps)
    medians = ", ".join(
        f"quantileExactInclusiveIf(0.5)(taken[{step}] - taken[{step - 1}], level >= {step})"
        for step in steps[1:]
    )
    sequences = _sequences(params, bind)
    if params.breakdown is None:
        return Query(f"SELECT 1, NULL, '', [{counts}], [{medians}] FROM ({sequences})", bind.values)
    labelled = f"SELECT level, taken, label.1 AS key, label.2 AS tenant FROM ({sequences})"
    return Query(
        f"SELECT grouping(key) AS is_total, key, tenant, [{counts}] AS counts, [{medians}] FROM ({labelled})"
        " GROUP BY GROUPING SETS ((), (key, tenant))"
        " ORDER BY is_total DESC, counts[1] DESC, key NULLS LAST, tenant"
        f" LIMIT {bind(params.limit.count + 2)}",
        bind.values,
    )


def _sequences(params: Params, bind: Bind) -> str:
    steps = [
        SequenceStep(
            step.event_type,
            " AND ".join(
                [f"event_type = {bind(step.event_type)}", *(filter_.sql(bind) for filter_ in step.filters)]
            ),
        )
        for step in params.steps
    ]
    event_types = tuple(dict.fromkeys(step.event_type for step in params.steps))
    entity = KEY_OF[params.by]
    return sequences_sql(
        steps,
        entity=entity,
        where=f"{params.selection.where(bind)} AND event_type IN {bind(event_types)}"
        f" AND {entity} IS NOT NULL",
        window_ms=bind(params.window_ms),
        label=None if params.breakdown is None else _label(params.breakdown, bind),
    )


def _label(breakdown: Field, bind: Bind) -> str:
    """The value and its tenant: a session or a user belongs to a tenant."""
    key = f"toNullable({breakdown.sql(bind)})"
    tenant = f"if(isNull({key}), '', tenant_id)" if breakdown.name in OF_A_TENANT else "''"
    return f"tuple({key}, {tenant})"


async def run(events: Events, params: Params) -> Funnel:
    found = await events.rows(build_sql(params))
    # Without any start there may be no row at all.
    total = found.pop(0)[3:] if found else ([0] * len(params.steps), [])
    answer = Funnel(
        **of_scope(events),
        **of_range(params.selection),
        by=params.by,
        window_seconds=params.window_ms // 1000,
        steps=_steps(params.steps, *total),
    )
    if params.breakdown is not None:
        answer.warnings = params.limit.first(found, "groups", "largest")
        answer.breakdown = str(params.breakdown)
        several = events.scope.tenant_id is None
        answer.groups = [
            Group(key=key, tenant_id=tenant or None if several else None, steps=_steps(params.steps, *row))
            for _, key, tenant, *row in found
        ]
    return answer


def _steps(steps: tuple[Step, ...], counts: list[int], medians_ms: list[float | None]) -> list[StepCount]:
    found = []
    for index, step in enumerate(steps):
        count = int(counts[index])
        median_ms = medians_ms[index - 1] if index and count else None
        found.append(
            StepCount(
                step=index + 1,
                event_type=step.event_type,
                value=count,
                count=count,
                share=(share := _share(count, int(counts[0]))),
                conversion=share,
                conversion_from_previous=_share(count, int(counts[max(0, index - 1)])),
                median_seconds_from_previous=None if median_ms is None else median_ms / 1000,
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

        With `breakdown`, `groups` has the same steps for each value at the event of step 1, most starts
        first. Events without a value are a group without `key`. With a token of the whole project, sessions
        and users belong to a tenant: their groups have the `tenantId`.
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
