"""Requests and retries. Pure: a generator yields the next step and is sent its outcome.

So the blocking client, that of asyncio and `nealytics import` make the same decisions, and differ only in how
they execute a step.
"""

import math
import random
import time
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from nealytics import __version__
from nealytics.backoff import delay_s

USER_AGENT = f"nealytics-python/{__version__}"
_BACKOFF_S = 0.25
_BACKOFF_MAX_S = 10.0


class Request(NamedTuple):
    method: str
    path: str  # with its query, relative to the client's address
    headers: Mapping[str, str]
    body: bytes
    timeout_s: float
    stream: bool = False  # the body of a 200 is not read


class Response(NamedTuple):
    status: int
    body: bytes
    retry_after: str | None = None  # headers
    location: str | None = None
    stream: Any = None  # for a request with `stream`: the body


class Lost(NamedTuple):
    """There was no answer."""

    why: str
    final: bool = False  # a retry cannot help


class Pause(NamedTuple):
    seconds: float


class TokenWanted(NamedTuple):
    fresh: bool  # the last one was rejected


T = TypeVar("T")
Step = Request | Pause | TokenWanted
Outcome = Response | Lost | str | None  # of a request, a token, a pause
Steps = Generator[Step, Outcome, T]


class GaveUp(Exception):
    """The last outcome, its Retry-After, and the time since the first attempt began."""

    def __init__(self, outcome: Response | Lost, retry_after_s: float, spent_s: float) -> None:
        super().__init__()
        self.outcome = outcome
        self.retry_after_s = retry_after_s
        self.spent_s = spent_s


class Patience(NamedTuple):
    """How long to retry. `give_up_after_s` counts from the first attempt; none begins after it.

    With `waits_for_last`, a pause that begins before it is waited to its end, and one attempt follows.
    """

    timeout_s: float
    give_up_after_s: float
    clock: Callable[[], float] = time.monotonic
    rand: Callable[[], float] = random.random
    retry_after_max_s: float = math.inf  # if a server asks for more, this is waited
    waits_for_last: bool = False

    def pause_s(self, failures: int, retry_after_s: float, spent_s: float) -> float | None:
        """The pause before the next attempt; None if there is none."""
        # On top of what the server asks for: it refused all its clients at the same time.
        pause_s = min(retry_after_s, self.retry_after_max_s)
        pause_s += delay_s(failures, _BACKOFF_S, _BACKOFF_MAX_S, self.rand)
        if self.waits_for_last:
            return pause_s if spent_s < self.give_up_after_s else None
        return pause_s if spent_s + pause_s <= self.give_up_after_s else None


def exchange(request: Request, patience: Patience, again: Callable[[int], bool]) -> Steps[Response]:
    """The first answer with a status that is not to be retried (`again`). Raises `GaveUp`."""
    began = patience.clock()
    failures = 0
    while True:
        outcome = yield request
        assert isinstance(outcome, Response | Lost)
        retry_after_s = 0.0
        if isinstance(outcome, Response):
            if not again(outcome.status):
                return outcome
            retry_after_s = retry_after_of(outcome)
        failures += 1
        spent_s = patience.clock() - began
        pause_s = patience.pause_s(failures, retry_after_s, spent_s)
        if pause_s is None or (isinstance(outcome, Lost) and outcome.final):
            raise GaveUp(outcome, retry_after_s, spent_s)
        yield Pause(pause_s)


def retry_after_of(response: Response) -> float:
    """Retry-After in seconds. Nealytics sends a number, a proxy may send a date."""
    value = response.retry_after or ""
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


class ErrorBody(msgspec.Struct, rename="camel"):
    """An error of Nealytics. A proxy's error may lack every field."""

    code: str = ""
    message: str = ""
    detail: str = ""
    request_id: str = ""
    field: str | None = None


def error_of(body: bytes) -> ErrorBody:
    try:
        return msgspec.json.decode(body, type=ErrorBody)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ErrorBody(message=body[:200].decode("utf-8", "replace").strip())


def what_came(url: str, outcome: Response | Lost) -> str:
    if isinstance(outcome, Lost):
        return f"{url}: {outcome.why}"
    error = error_of(outcome.body)
    if 300 <= outcome.status < 400:
        return f"{url} answered {outcome.status} and names {outcome.location}; use that"
    return f"{url} answered {outcome.status}: {error.message or 'without a reason'}"


def checked_patience(timeout_s: float, give_up_after_s: float) -> Patience:
    """Raises `ValueError` for invalid times."""
    if not timeout_s > 0:
        raise ValueError(f"timeout_s is {timeout_s}; write the seconds to wait for an answer, above 0")
    if not give_up_after_s >= 0:
        raise ValueError(f"give_up_after_s is {give_up_after_s}; write 0 for one attempt, or more seconds")
    return Patience(timeout_s, give_up_after_s)


def checked_url(url: str) -> str:
    """Without a slash at the end. Raises `ValueError` for an invalid address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f'url is "{url}"; write the node\'s address, like https://analytics.example.com')
    if parts.username is not None:
        raise ValueError("url contains a user or password, which the node does not use; remove it")
    return url.rstrip("/")


def checked_secret(name: str, value: str) -> str:
    """A value that a header can carry. Raises `ValueError`, without the value."""
    if not value or not value.isascii() or not value.isprintable():
        raise ValueError(f"{name} is empty or contains an invalid character, such as a line break")
    return value
