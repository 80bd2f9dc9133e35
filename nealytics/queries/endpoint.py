"""The declaration of a read route: its parameters, its query and its answer.

It is both check and documentation: `Arguments` accepts only declared parameters, `/openapi.json` lists them,
and the answer's struct is its schema.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec

from nealytics.auth.scope import Scope
from nealytics.queries.filters import Selection
from nealytics.queries.params import Arguments, Parameter, Warn
from nealytics.queries.ranges import local_text
from nealytics.queries.scoped import Events

P = TypeVar("P")


# The scope of all examples.
EXAMPLE_SCOPE: Any = {"project_id": "my-app", "tenant_id": "tenant-1"}


class Answer(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The first fields of every answer. The JSON omits a field that has its default."""

    project_id: str
    tenant_id: str | None = None  # absent if the token opens the whole project
    warnings: list[Warn] = []  # what was requested and answered otherwise

    @property
    def records(self) -> int | None:
        """The length of its first list; None if it has none."""
        own = self.__struct_fields__[len(Answer.__struct_fields__) :]
        lists = (value for name in own if isinstance(value := getattr(self, name), list))
        return len(found) if (found := next(lists, None)) is not None else None


class Ranged(Answer, kw_only=True):
    """The first fields of an answer about a time range. Its times are those of `tz`."""

    from_: str = msgspec.field(name="from")
    to: str
    tz: str


# What a value is a number of: a count, or the first measure, exactly. It is null if the measure is.
Number = int | Decimal | None


def _same_as(name: str) -> msgspec.Meta:
    """Marks a field as the deprecated name of another one."""
    return msgspec.Meta(
        description=f"Deprecated: the same as `{name}`.", extra_json_schema={"deprecated": True}
    )


# The deprecated names: docs/reading.md lists the common ones.
TIME, KEY, COUNT, SHARE = map(_same_as, ("time", "key", "count", "share"))


def of_scope(events: Events) -> Any:
    """The fields of an answer that say whose events it is about."""
    return {"project_id": events.scope.project_id, "tenant_id": events.scope.tenant_id}


def of_range(selection: Selection) -> Any:
    """The fields of an answer that say which time range it is about."""
    return {**of_times(selection), "tz": selection.zone or "UTC"}


def of_times(selection: Selection) -> Any:
    """Likewise, without the time zone."""
    return {
        "from_": local_text(selection.from_ms, selection.zone),
        "to": local_text(selection.to_ms, selection.zone),
    }


def value_of(count: int, values: tuple[Decimal | None, ...]) -> Number:
    """What was asked for: the first measure, or, without one, the count."""
    return values[0] if values else count


@dataclass(frozen=True, kw_only=True)
class Route:
    """What documentation and dispatch need of any read route."""

    path: str
    summary: str  # one line
    description: str  # Markdown for users of the API, indented as it stands in the code
    parameters: tuple[Parameter, ...]
    # Why a token of the scope may not use it; empty if it may. Claims are checked in any case.
    refuses: Callable[[Scope], str] = lambda scope: ""
    # How long a client may keep an answer; None = `query.cache_s` if the range has ended, else not at all.
    cache_s: int | None = None

    @property
    def name(self) -> str:
        """The last part of its path, which a token's `endpoints` claim uses."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Endpoint(Route, Generic[P]):
    """A route whose answer is one JSON document."""

    parse: Callable[[Arguments], P]
    run: Callable[[Events, P], Awaitable[Answer]]
    answer: type[Answer]
    example: Answer
    # The span attribute with the number of records. Some have their name from the C# engine.
    counted_as: str = "records_returned"


@dataclass(frozen=True, kw_only=True)
class Stream(Route):
    """A route with an answer of unknown length. `http` serves each in its own way."""

    content_types: tuple[str, ...]
    example: str
    must_end: bool  # a cut answer must be noticed, which needs HTTP/1.1
