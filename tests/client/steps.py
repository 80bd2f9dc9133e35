"""Runs the client's steps without a network: a function is the server, and time is a number."""

import gzip
import json
from collections.abc import Callable
from typing import Any, TypeVar

from nealytics.client.events import Event
from nealytics.client.exchange import Lost, Patience, Pause, Request, Response, Steps, TokenWanted

T = TypeVar("T")
Server = Callable[[Request], Response | Lost]


class Clock:
    """Pauses take no time but on it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def patience(clock: Clock, give_up_after_s: float = 30.0, rand: float = 1.0, **policy: Any) -> Patience:
    return Patience(10.0, give_up_after_s, clock, lambda: rand, **policy)


def run(steps: Steps[T], server: Server, clock: Clock | None = None, tokens: tuple[str, ...] = ()) -> T:
    given = list(tokens)
    outcome: Any = None
    while True:
        try:
            step = steps.send(outcome)
        except StopIteration as done:
            result: T = done.value
            return result
        match step:
            case Request():
                outcome = server(step)
            case Pause(seconds):
                assert clock is not None
                clock.pause(seconds)
                outcome = None
            case TokenWanted():
                outcome = given.pop(0)


def in_turn(*outcomes: Response | Lost) -> Server:
    left = list(outcomes)
    return lambda request: left.pop(0)


def event(event_type: str = "view", **fields: Any) -> Event:
    own = {"project_id": "shop", "tenant_id": "acme", "session_id": "s", "event_type": event_type}
    return Event(**{**own, **fields})


def sent_in(request: Request) -> list[dict[str, Any]]:
    packed = request.headers.get("Content-Encoding") == "gzip"
    events: list[dict[str, Any]] = json.loads(gzip.decompress(request.body) if packed else request.body)
    return events


class Node:
    """The batch route as docs/api.md has it. Events of the type "bad" are refused."""

    def __init__(self, *, bytes_max: int = 1024 * 1024, decompresses: bool = True) -> None:
        self.bytes_max = bytes_max
        self.decompresses = decompresses
        self.requests: list[list[dict[str, Any]]] = []
        self.stored: dict[str, dict[str, Any]] = {}

    def __call__(self, request: Request) -> Response:
        if "Content-Encoding" in request.headers and not self.decompresses:
            return answer(415, code="unsupported_encoding", message="no encoding is taken")
        events = sent_in(request)
        self.requests.append(events)
        if len(json.dumps(events, separators=(",", ":"))) > self.bytes_max:
            return answer(413, code="body_too_large", message="the body is too large")
        errors = []
        for index, one in enumerate(events):
            if one["eventType"] == "bad":
                errors.append({"index": index, "field": "eventType", "error": "eventType is bad"})
            else:
                self.stored[one["eventId"]] = one
        counts: dict[str, Any] = {
            "accepted": len(events) - len(errors),
            "rejected": len(errors),
            "errors": errors[:100],
        }
        if len(errors) == len(events):
            return answer(400, code="invalid_event", message="none is acceptable", **counts)
        return answer(202, **counts)


def answer(status: int, *, retry_after: str | None = None, **body: object) -> Response:
    return Response(status, json.dumps(body).encode(), retry_after)
