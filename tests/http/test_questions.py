"""Every row of docs/questions.md: its request has its answer, on the events of `nealytics demo`."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest

from nealytics import demo
from nealytics.config import IngestConfig, SegmentRule
from nealytics.event import Event, Limits, decode_events, freeze
from tests.http.reader import NOW, Reader, ms, on_the_engine

DOCUMENT = Path(__file__).parents[2] / "docs" / "questions.md"
SAVED = ("lifecycle", "entry_pages", "top_locations")  # the files of its SQL, in order
ROW = re.compile(r"^\| (?P<question>[^|]+) \| `(?P<request>[^`]+)` \| (?P<answer>[^|]+) \|$", re.MULTILINE)
ROWS = [found.groupdict() for found in ROW.finditer(DOCUMENT.read_text())] if DOCUMENT.exists() else []
_STEP = re.compile(r"\[(-?\d*:?-?\d*)\]|\.?(\w+)")


def demo_events() -> list[Event]:
    """As `nealytics demo` sends them at `NOW`."""
    sent = decode_events(msgspec.json.encode(list(demo.events(demo.first_day(NOW), NOW))))
    limits = Limits.of(IngestConfig(), 0)
    return [freeze(one, ms(NOW), limits) for one in sent]


def parameters_of(request: str) -> tuple[str, dict[str, list[str]]]:
    route, _, query = request.partition("?")
    parameters: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, strict_parsing=True):
        parameters.setdefault(name, []).append(value)
    path = route.replace("../", "/api/v1/") if route.startswith("../") else f"/api/v1/analytics/{route}"
    return path, parameters


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def segments() -> tuple[SegmentRule, ...]:
    (text,) = blocks("toml")
    return tuple(msgspec.toml.decode(text, type=dict[str, list[SegmentRule]])["segment"])


@pytest.fixture
def saved_files() -> dict[str, str]:
    return dict(zip(SAVED, blocks("sql"), strict=True))


def found_at(body: Any, path: str) -> Any:
    """`points[-1].value`; of a slice (`items[0:2].key`) a list."""
    several = False
    for at, name in _STEP.findall(path):
        if ":" in at:
            first, _, end = at.partition(":")
            body, several = body[int(first) if first else None : int(end) if end else None], True
        elif at:
            body = body[int(at)]
        elif several:
            body = [one.get(name) for one in body]
        else:
            body = body[name]
    return body


def test_there_are_rows_of_all_three_products():
    titles = re.findall(r"^## (\w+)", DOCUMENT.read_text(), re.MULTILINE)
    assert titles[:3] == ["PostHog", "Plausible", "Tinybird"]
    assert len(ROWS) > 45


@pytest.mark.engine
class TestOnTheEngine:
    pytestmark = on_the_engine

    async def test_every_request_has_its_answer(self, reader: Reader):
        assert not reader.saved.problems
        await reader.store_twice(*demo_events())
        others = []
        for row in ROWS:
            path, parameters = parameters_of(row["request"])
            body = await reader.as_sent(path, project_id="demo", **parameters)
            assert "warnings" not in body, row
            told = re.findall(r"`([^` ]+) = ([^`]+)`", row["answer"])
            assert told, row
            for place, value in told:
                if (found := found_at(body, place)) != json.loads(value):
                    others.append(f"{row['request']}: {place} = {json.dumps(found)}")
        assert others == []
