"""What the span of a request says. That it arrives is for `tests/observe/test_otlp_node.py`."""

from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.config import AuthConfig, Config
from nealytics.errors import Refused
from nealytics.http.reads import Reads
from nealytics.http.streaming import send_stream
from nealytics.observe import otel
from nealytics.observe.metrics import Metrics
from nealytics.queries import ENDPOINTS
from nealytics.queries.endpoint import Endpoint
from tests.http.reader import (
    ACTIVE,
    SUMMARY,
    TIMELINE,
    TIMESERIES,
    TOP,
    Reader,
    event,
    on_the_engine,
    reader_of,
)


class FakeSpan:
    def __init__(self, name: str = "") -> None:
        self.name = name
        self.ids: dict[str, str] = {}
        self.attributes: dict[str, str | int] = {}
        self.recorded: list[str] = []
        self.failed = ""
        self.has_ended = False

    def note(self, name: str, value: str | int) -> None:
        self.attributes[name] = value

    def record(self, error: BaseException) -> None:
        self.recorded.append(type(error).__name__)

    def fail(self, kind: str) -> None:
        self.failed = kind

    def end(self) -> None:
        self.has_ended = True


class FakeTracing:
    def __init__(self) -> None:
        self.spans: list[FakeSpan] = []

    def begin(self, name: str, headers: Mapping[str, str]) -> FakeSpan:
        self.spans.append(FakeSpan(name))
        return self.spans[-1]


class TestOnTheEngine:
    pytestmark = on_the_engine

    async def test_a_read_says_how_many_records_it_answers_with(self, reader: Reader):
        tracing = FakeTracing()
        await reader.store(*(event(event_type=name) for name in ("view", "view", "buy")))
        async with Reader(reader.clickhouse, reader.config, tracing) as page:
            assert len(await page.timeline(limit="2")) == 2
            assert len((await page.answer(TOP))["items"]) == 2
            assert len(await page.timeline(eventType="none")) == 0
            await page.answer(SUMMARY)
            await page.sessions()
            await page.answer(TIMESERIES)
            await page.answer(ACTIVE)
        told = [
            {name: value for name, value in span.attributes.items() if name.endswith("_returned")}
            for span in tracing.spans
        ]
        assert told == [
            {"neavents.records_returned": 2},
            {"neavents.records_returned": 2},
            {"neavents.records_returned": 0},
            {},
            {"neavents.sessions_returned": 1},
            {"neavents.buckets_returned": 1},
            {"neavents.buckets_returned": 1},
        ]
        assert all(span.has_ended for span in tracing.spans)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_what_an_answer_lists_is_counted(endpoint: Endpoint[Any]):
    lists = {
        "timeline": "events",
        "sessions": "sessions",
        "timeseries": "points",
        "active": "points",
        "top": "items",
        "properties": "keys",
        "funnel": "steps",
        "retention": "cohorts",
        "paths": "paths",
        "heatmap": "cells",
    }
    name = lists.get(endpoint.name)
    assert endpoint.example.records == (None if name is None else len(getattr(endpoint.example, name)))


async def test_a_read_that_fails_says_as_what():
    tracing = FakeTracing()
    async with reader_of(ClickHouseUnavailable("gone"), tracing) as reader:
        await reader.get(TIMELINE)
        await reader.get(TIMELINE, limit="many")
    away, senseless = tracing.spans
    assert (away.name, away.failed) == ("GetProjectTimelineQuery.Execute", "clickhouse_unavailable")
    assert away.recorded == ["ClickHouseUnavailable"]
    assert away.attributes["http.response.status_code"] == 503
    # No fault of ours.
    assert (senseless.failed, senseless.recorded) == ("", [])
    assert senseless.attributes["error.type"] == "invalid_parameter"
    assert "neavents.records_returned" not in senseless.attributes


@pytest.mark.parametrize("kind", ["refused", "clickhouse", "ours"])
async def test_an_answer_that_is_broken_off_has_failed_although_its_status_is_200(kind: str):
    refused = Refused(503, "clickhouse_unavailable", "not now")
    refused.__cause__ = ClickHouseUnavailable("gone")
    error = {"refused": refused, "clickhouse": ClickHouseError(241, "x"), "ours": KeyError("x")}[kind]

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        raise error

    class Response:
        async def prepare(self, request: object) -> None: ...
        async def write(self, piece: bytes) -> None: ...

    metrics = Metrics.private()
    client: Any = SimpleNamespace()
    verifier: Any = None
    reads = Reads(Config(auth=AuthConfig()), client=client, verifier=verifier, metrics=metrics)
    request: Any = SimpleNamespace(transport=None)
    response: Any = Response()
    source: Any = pieces()
    span = FakeSpan()
    with otel.within(span):
        await send_stream(request, response, source, reads.broken_off, "export")
    assert span.failed == "broken_off"
    assert span.recorded == [
        {"refused": "ClickHouseUnavailable", "clickhouse": "ClickHouseError", "ours": "KeyError"}[kind]
    ]
    assert metrics.value("nealytics_read_failures_total", "broken_off") == 1
