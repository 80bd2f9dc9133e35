"""What a route calculates from the events of a bucket, a group or a range: its parameter `measure`.

    measure   = name [ "[" filter "]" ]       only events that match the filter count
    name      = count | users | sessions      events, distinct users, distinct sessions
              | sum(number) | avg(number) | min(number) | max(number)
              | median(number) | p50(number) | p75(number) | p90(number) | p95(number) | p99(number)
              | distinct(field)               distinct values of a column or of a metadata key
              | rate(event type)              share of the users that have such an event
              | session_rate(event type)      share of the sessions that have one
    number    = meta:<path>

In an event type, `\\` stands before `)` and `\\`. A path is that of a filter, with `\\` before `)` too. The
filter in brackets is written as in `filter=`, without further escaping: it ends at the last `]`.

A number is a JSON number or a string that contains one, as for the filters `gt` and `lt`. `sum`, `min` and
`max` are exact decimals with up to 20 decimal places: 0.1 + 0.2 is 0.3. ClickHouse reads a JSON number with a
fraction as a double, which keeps 15 significant digits; longer ones are exact if they are sent as strings.
A percentile is interpolated linearly between the two nearest values (Hyndman and Fan, type 7); `median` and
`p50` are the 50th. A value that is not a number, or 10^40 and more, is left out and counted in a warning.

Without values `sum` is 0, and `avg`, `min`, `max` and the percentiles are null, as is a rate without users.
"""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from nealytics.queries.conditions import Conditions
from nealytics.queries.dimensions import DIMENSIONS, OF_A_TENANT
from nealytics.queries.filters import (
    FILTER_CHARS_MAX,
    META,
    Bind,
    Condition,
    Field,
    did_you_mean,
    parse_field,
)
from nealytics.queries.invalid import invalid, shown
from nealytics.queries.params import Arguments, Parameter, Warn

MEASURES_MAX: Final = 5

# Name → its aggregate function.
COUNTS: Final = {"count": "count", "users": "uniqExact", "sessions": "uniqExact"}
_KEYS = {"users": "user_key", "sessions": "session_key", "rate": "user_key", "session_rate": "session_key"}
EXACT: Final = ("sum", "min", "max")
PERCENTILES: Final = {"median": 0.5, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}
NUMERIC: Final = ("sum", "avg", "min", "max", *PERCENTILES)
RATES: Final = ("rate", "session_rate")
_ZERO_IF_EMPTY = frozenset({*COUNTS, "sum", "distinct"})

_DECIMAL_PLACES = 20
# A sum of 10^16 such numbers still fits into the decimal's 76 digits.
_NUMBER_BELOW = "1e40"

_SYNTAX = re.compile(
    r"(?P<name>[a-z0-9_]+)(?:\((?P<of>(?:\\.|[^\\)])*)\))?(?:\[(?P<condition>.*)\])?", re.DOTALL
)
_OTHER_NAMES = {"average": "Did you mean avg? ", "mean": "Did you mean avg? "}
_HOW = (
    "Write count, users, sessions, "
    + ", ".join(f"{name}(meta:<path>)" for name in NUMERIC)
    + ", distinct(<field>), rate(<event type>) or session_rate(<event type>), each with [<filter>] after it"
    " if only some events are to count."
)

MEASURE = Parameter(
    name="measure",
    kind="measure",
    repeatable=True,
    count_max=MEASURES_MAX,
    chars_max=FILTER_CHARS_MAX,
    description="What to calculate, up to five: `count`, `users`, `sessions`, `sum(meta:<path>)`, likewise "
    + ", ".join(f"`{name}`" for name in NUMERIC if name != "sum")
    + ", `distinct(<field>)`, `rate(<event type>)` (of users), `session_rate(<event type>)`. A filter in"
    " brackets after it limits the events that count: `sum(meta:amount)[event_type:eq:purchase]`. The answer"
    " lists them as `measures`, and their `values` in the same order.",
    example="sum(meta:amount)[event_type:eq:purchase]",
)


class Aggregate(NamedTuple):
    """A call of an aggregate function over `events`."""

    function: str
    arguments: tuple[str, ...]
    level: float | None = None  # of a percentile

    def sql(self, suffix: str = "", arguments: tuple[str, ...] | None = None) -> str:
        """With a `suffix` the function of that combinator, such as `State`."""
        parameter = "" if self.level is None else f"({self.level})"
        given = ", ".join(self.arguments if arguments is None else arguments)
        return f"{self.function}{suffix}{parameter}({given})"


class Measure(msgspec.Struct, frozen=True):
    """One measure. `text` is what the client wrote."""

    text: str
    name: str
    of: Field | str | None = None  # the field, or the event type of a rate
    condition: Condition | None = None

    @property
    def empty(self) -> Decimal | None:
        """Its value where there are no events."""
        return Decimal(0) if self.name in _ZERO_IF_EMPTY else None

    @property
    def additive(self) -> bool:
        """Whether the values of all groups add up to that of all events."""
        return self.name in ("count", "sum")

    def sql(self, bind: Bind) -> str:
        """The value over `events`: a number, or NULL."""
        return self.of_aggregates([aggregate.sql() for aggregate in self.aggregates(bind)])

    def aggregates(self, bind: Bind) -> list[Aggregate]:
        if self.name in COUNTS:
            return [self._aggregate(COUNTS[self.name], bind, _KEYS.get(self.name, ""))]
        if self.name in RATES:
            key = _KEYS[self.name]
            having = self._aggregate("uniqExact", bind, key, f"event_type = {bind(str(self.of))}")
            return [having, self._aggregate("uniqExact", bind, key)]
        assert isinstance(self.of, Field)
        if self.name == "distinct":
            return [self._aggregate("uniqExact", bind, OF_A_TENANT.get(self.of.name) or self.of.sql(bind))]
        text = self.of.sql(bind)
        number = _number(text)
        if self.name in PERCENTILES:
            level = PERCENTILES[self.name]
            # Not of the decimal: ClickHouse converts 1000 with 20 decimal places to 999.9999999999999.
            double = f"if({number} IS NULL, NULL, toFloat64OrNull({text}))"
            return [self._aggregate("quantileExactInclusive", bind, double, level=level)]
        if self.name == "avg":
            return [
                self._aggregate("sum", bind, number),
                self._aggregate("sum", bind, f"{number} IS NOT NULL"),
            ]
        return [self._aggregate(self.name, bind, number)]

    def of_aggregates(self, values: Sequence[str]) -> str:
        """The measure of the values of its `aggregates`, in SQL."""
        if self.name in RATES:
            return f"{values[0]} / nullIf({values[1]}, 0)"
        if self.name == "avg":
            # By its text, a decimal becomes the nearest double.
            return f"toFloat64(toString({values[0]})) / nullIf({values[1]}, 0)"
        return f"ifNull({values[0]}, 0)" if self.name == "sum" else values[0]

    def left_out_sql(self, bind: Bind) -> str:
        """The number of events with a value that is not a number."""
        left_out = self.left_out(bind)
        return "0" if left_out is None else left_out.sql()

    def left_out(self, bind: Bind) -> Aggregate | None:
        if self.name not in NUMERIC:
            return None
        assert isinstance(self.of, Field)
        text = self.of.sql(bind)
        return self._aggregate("count", bind, "", f"{text} IS NOT NULL AND {_number(text)} IS NULL")

    def _aggregate(
        self, function: str, bind: Bind, of: str, condition: str = "", level: float | None = None
    ) -> Aggregate:
        conditions = [condition] if condition else []
        if self.condition is not None:
            conditions.append(self.condition.sql(bind))
        arguments = [of] if of else []
        if conditions:
            function, arguments = f"{function}If", [*arguments, " AND ".join(conditions)]
        return Aggregate(function, tuple(arguments), level)


def _number(text: str) -> str:
    """SQL for the exact number in a text; NULL if it is none."""
    return (
        f"if(abs(toFloat64OrNull({text})) < {_NUMBER_BELOW},"
        f" toDecimal256OrNull({text}, {_DECIMAL_PLACES}), NULL)"
    )


def measures_of(arguments: Arguments) -> tuple[Measure, ...]:
    """After the filters have been read: segments are about their range. Raises `Refused` (400)."""
    return tuple(parse_measure(text, arguments.conditions) for text in arguments.texts(MEASURE.name))


def parse_measure(text: str, conditions: Conditions) -> Measure:
    """`conditions` are those of the question: their limits are common. Raises `Refused` (400)."""
    parts = _SYNTAX.fullmatch(text)
    if parts is None:
        raise invalid(MEASURE.name, f"measure is {shown(text)}", _HOW)
    name, of, condition = parts["name"], parts["of"], parts["condition"]
    only = None if condition is None else conditions.of_text(MEASURE.name, condition)
    return Measure(text, name, _of(text, name, of), only)


def _of(text: str, name: str, of: str | None) -> Field | str | None:
    if name in COUNTS and of is None:
        return None
    if name in RATES and of:
        return re.sub(r"\\(.)", r"\1", of, flags=re.DOTALL)
    if name in NUMERIC and of and of.startswith(META):
        return parse_field(MEASURE.name, of)
    if name == "distinct" and of and (of in DIMENSIONS or of.startswith(META)):
        return parse_field(MEASURE.name, of)
    if name == "distinct":
        how = f"Write distinct of one of {', '.join(DIMENSIONS)}, or meta:<path>."
        raise invalid(MEASURE.name, f"measure is {shown(text)}", f"{did_you_mean(of or '', DIMENSIONS)}{how}")
    meant = did_you_mean(of, ()) if name in NUMERIC and of else _OTHER_NAMES.get(name, "")
    raise invalid(MEASURE.name, f"measure is {shown(text)}", f"{meant}{_HOW}")


# Columns and values


def columns(measures: Sequence[Measure], bind: Bind, prefix: str = "") -> str:
    """Two columns for a SELECT from `events`: `measured`, the values as texts, and `left_out`, the number of
    values that each measure left out. `prefix` comes before their names."""
    values = ", ".join(f"toString({measure.sql(bind)})" for measure in measures)
    left_out = ", ".join(measure.left_out_sql(bind) for measure in measures)
    return f"[{values}] AS {prefix}measured, [{left_out}] AS {prefix}left_out"


def columns_by_place(measures: Sequence[Measure], bind: Bind, found: str) -> tuple[list[str], str]:
    """For a query that has an array `found` of events in each row: what it has of each event, as SQL over
    `events`, from the second place of a tuple on; and two columns. `measured` has for each measure an array
    with its values of all events in the same place; `left_out` is as in `columns`."""
    values: list[str] = []

    def by_place(aggregate: Aggregate) -> str:
        taken = []
        for argument in aggregate.arguments or ("1",):
            values.append(argument)
            taken.append(f"arrayMap(one -> one.{len(values) + 1}, {found})")
        return aggregate.sql("ForEach", tuple(taken))

    measured, left_out = [], []
    for measure in measures:
        aggregates = [by_place(aggregate) for aggregate in measure.aggregates(bind)]
        names = [f"of_{number}" for number, _ in enumerate(aggregates)]
        value = f"({', '.join(names)}) -> toString({measure.of_aggregates(names)})"
        measured.append(f"arrayMap({value}, {', '.join(aggregates)})")
        refused = measure.left_out(bind)
        left_out.append("0" if refused is None else f"arraySum({by_place(refused)})")
    return values, f"[{', '.join(measured)}] AS measured, [{', '.join(left_out)}] AS left_out"


def states(measures: Sequence[Measure], bind: Bind) -> str:
    """Columns for a SELECT from `events`, to be merged by `cumulative`: the states of all aggregates, each
    with a comma before it, and `left_out`."""
    columns = "".join(
        f", {aggregate.sql('State')} AS {_state(number, part)}"
        for number, measure in enumerate(measures)
        for part, aggregate in enumerate(measure.aggregates(bind))
    )
    return f"{columns}, [{', '.join(measure.left_out_sql(bind) for measure in measures)}] AS left_out"


def cumulative(measures: Sequence[Measure], window: str) -> str:
    """The column `measured` of all events in the rows of a window over `states`."""
    values = []
    for number, measure in enumerate(measures):
        merged = (
            f"{aggregate.sql('Merge', (_state(number, part),))} OVER {window}"
            for part, aggregate in enumerate(measure.aggregates(Bind()))
        )
        values.append(f"toString({measure.of_aggregates(list(merged))})")
    return f"[{', '.join(values)}] AS measured"


def _state(number: int, part: int) -> str:
    return f"state_{number}_{part}"


class Values:
    """Reads the columns of `columns`, and counts what was left out."""

    def __init__(self, measures: Sequence[Measure]) -> None:
        self._measures = measures
        self._left_out = [0] * len(measures)
        self._none = tuple(measure.empty for measure in measures)

    def of(self, measured: Sequence[str | None], left_out: Iterable[Any]) -> tuple[Decimal | None, ...]:
        """The values of one row; those of no events if the row has none."""
        for number, count in enumerate(left_out):
            self._left_out[number] += int(count)
        if not measured:
            return self._none
        return tuple(None if text is None else Decimal(text) for text in measured)

    @property
    def warnings(self) -> list[Warn]:
        return [
            Warn(
                "not_numbers",
                f"{count} values of {measure.of} are not numbers (below 10^40) and are left out of"
                f" {measure.text}",
                MEASURE.name,
            )
            for measure, count in zip(self._measures, self._left_out, strict=True)
            if count
        ]


def shown_measures(measures: Sequence[Measure]) -> tuple[str, ...]:
    """For the answer's `measures`."""
    return tuple(measure.text for measure in measures)
