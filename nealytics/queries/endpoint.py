"""What a read route is made of: its parameters, its question and its answer, declared in one place.

The declaration is check and documentation alike: `Arguments` knows no parameter that is not declared,
`/openapi.json` lists those that are, and the answer's struct is its schema.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from nealytics.queries.params import Arguments, Parameter, Warn
from nealytics.queries.scoped import Events

P = TypeVar("P")


class Answer(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """What every answer starts with. A field with a default is left out of the JSON while it has that."""

    project_id: str
    tenant_id: str | None = None  # absent if the token opens the whole project
    warnings: list[Warn] = []  # what was asked for and is answered otherwise

    @property
    def records(self) -> int | None:
        """How many there are of what it lists first; None if it lists nothing."""
        own = self.__struct_fields__[len(Answer.__struct_fields__) :]
        lists = (value for name in own if isinstance(value := getattr(self, name), list))
        return len(found) if (found := next(lists, None)) is not None else None


@dataclass(frozen=True, kw_only=True)
class Route:
    """What documentation and dispatch need to know of any read route."""

    path: str
    summary: str  # one line
    description: str  # Markdown for users of the API, indented as it stands in the code
    parameters: tuple[Parameter, ...]

    @property
    def name(self) -> str:
        """The last part of its path: what a token's `endpoints` claim calls it."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Endpoint(Route, Generic[P]):
    """A route whose answer is one JSON document."""

    parse: Callable[[Arguments], P]
    run: Callable[[Events, P], Awaitable[Answer]]
    answer: type[Answer]
    example: Answer
    # How a span calls the number of what is listed. Some have the name that they had in the C# engine.
    counted_as: str = "records_returned"


@dataclass(frozen=True, kw_only=True)
class Stream(Route):
    """A route whose answer has no end known beforehand; `http` serves each in its own way."""

    content_types: tuple[str, ...]
    example: str
    must_end: bool  # it is whole or cut, which a client of HTTP/1.0 cannot tell apart
