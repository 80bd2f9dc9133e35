"""Somebody else's 31,106 events behind the page: every number that it shows, held to `tests/oracle.py`.

The oracle knows neither SQL nor the page, and the texts of the numbers are written here in plain Python. One page
with every element goes through two ranges and two time zones by its attributes, as a host would change them.

The data set is not part of the repository; without it the tests say so and skip.
"""

import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests import oracle
from tests.browser.conftest import Site
from tests.browser.test_dashboard import wait_for
from tests.e2e.node import token
from tests.e2e.test_ecom_reads import ECOM, Truth
from tests.oracle import Event
from tests.waiting import until

pytestmark = pytest.mark.skipif(
    not ECOM.exists(), reason=f"the ecom data set is not at {ECOM}; set TEST_ECOM_CSV to its path"
)

PROJECT = "ecom"
STEPS = ["product_view", "add_to_cart", "cart", "purchase"]
ELEMENTS = f"""<nealytics-dashboard>
  <nealytics-figures></nealytics-figures>
  <nealytics-timeseries id="events"></nealytics-timeseries>
  <nealytics-timeseries id="users" measure="users"></nealytics-timeseries>
  <nealytics-timeseries id="grouped" group-by="meta:platform" kind="bars"></nealytics-timeseries>
  <nealytics-top dimension="event_type"></nealytics-top>
  <nealytics-properties></nealytics-properties>
  <nealytics-funnel steps="{", ".join(STEPS)}"></nealytics-funnel>
  <nealytics-retention></nealytics-retention>
  <nealytics-sessions></nealytics-sessions>
  <nealytics-paths event="product_view"></nealytics-paths>
  <nealytics-active></nealytics-active>
  <nealytics-heatmap id="hours"></nealytics-heatmap>
  <nealytics-heatmap id="people" measure="users"></nealytics-heatmap>
  <nealytics-timeline></nealytics-timeline>
</nealytics-dashboard>"""
# A month in which Berlin's and New York's clocks change, compared with February; two days by the hour.
MARCH = (date(2024, 3, 1), date(2024, 3, 31), date(2024, 2, 1), date(2024, 2, 29))
TWO_DAYS = (date(2024, 5, 6), date(2024, 5, 7), date(2024, 5, 4), date(2024, 5, 5))
ZONES = ["Europe/Berlin", "America/New_York"]


@pytest.fixture(scope="module")
def events(site: Site) -> list[Event]:
    events = Truth().events("shop", "acme")
    for first in range(0, len(events), 2_000):
        sent = [
            {
                "eventId": str(event.event_id),
                "projectId": PROJECT,
                "tenantId": event.tenant_id,
                "sessionId": event.session_id,
                "userId": event.user_id,
                "eventType": event.event_type,
                "metadata": event.metadata,
                "timestamp": oracle.iso(event.at),
            }
            for event in events[first : first + 2_000]
        ]
        status, body = site.node.post("batch", sent)
        assert status == 202, body
    site.node.wait_drained()
    return events


class Expected:
    """What the page has to show for a range in a zone."""

    def __init__(self, events: list[Event], when: tuple[date, date, date, date], tz: str) -> None:
        self.events = events
        self.first, self.last, self.before_first, self.before_last = when
        self.tz = tz
        self.hourly = (self.last - self.first).days < 2
        self.interval = "hour" if self.hourly else "day"

    def of(self, endpoint: str, **question: Any) -> dict[str, Any]:
        query = {"from": f"{self.first}", "to": f"{self.last}", "tz": self.tz, **question}
        now_ms = int(time.time() * 1000)
        return oracle.answer(endpoint, self.events, query, project_wide=False, now_ms=now_ms)

    def before(self, endpoint: str, **question: Any) -> dict[str, Any]:
        return self.of(endpoint, **{"from": f"{self.before_first}", "to": f"{self.before_last}", **question})

    def local(self, moment: str) -> datetime:
        return datetime.fromisoformat(moment).astimezone(ZoneInfo(self.tz))

    def bucket(self, moment: str) -> str:
        at = self.local(moment)
        return hour_text(at) if self.hourly else f"{at:%a}, {at.day} {at:%B} {at.year}"


def hour_text(at: datetime) -> str:
    return f"{at:%a} {at.day} {at:%b}, {at.hour}:{at:%M}"


# Numbers as English writes them


def half_up(value: float, digits: int) -> Decimal:
    return Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def grouped(value: float, digits: int) -> str:
    text = f"{half_up(value, digits):,}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def exact(value: float) -> str:
    return grouped(value, 1 if abs(value) < 100 else 0)


def short(value: float) -> str:
    return exact(value) if value < 10_000 else f"{grouped(value / 1000, 1)}K"


def percent(share: float) -> str:
    return f"{grouped(share * 100, 1 if abs(share) < 0.1 else 0)}%"


def change(now: float, before: float) -> str:
    if now == before == 0:
        return ""
    if before == 0:
        return "up"
    share = float(half_up(abs(now / before - 1), 3))
    if share == 0:
        return "no change"
    return f"{'up' if now > before else 'down'} {half_up(share * 100, 1 if share < 1 else 0)}%"


def duration(seconds: float) -> str:
    rest = int(half_up(seconds, 0))
    parts = []
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        parts.append((rest // length, unit))
        rest %= length
    first = next((i for i, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count or first == 3)


# What the page shows

SHOWN = """
(root) => {
  const text = (e) => e?.textContent.replace(/\\s+/g, " ").trim() ?? null;
  const all = (e, selector) => [...e.querySelectorAll(selector)];
  const inside = (selector) => root.querySelector(selector).shadowRoot;
  const table = (selector) => all(inside(selector), ".sr tbody tr").map((row) => all(row, "th, td").map(text));
  const rows = (e, selector = ".row") => all(e, selector).map((row) => ({
    key: text(row.querySelector(".key")), share: text(row.querySelector(".share")),
    count: text(row.querySelector(".count > span:last-child")), title: row.querySelector(".count > span:last-child")?.title ?? "" }));
  return {
    figures: all(inside("nealytics-figures"), "li").map((tile) => ({
      label: text(tile.querySelector(".label")), value: text(tile.querySelector(".value")), title: tile.querySelector(".value").title,
      change: text(tile.querySelector(".change .sr") ?? tile.querySelector(".change")) })),
    events: table("#events"), users: table("#users"), grouped: table("#grouped"),
    series: all(inside("#grouped"), ".sr thead th").map(text).slice(1),
    sentence: inside("#events").querySelector(".chart").getAttribute("aria-label"),
    top: rows(inside("nealytics-top"), ".row:not(.rest)"),
    tabs: all(inside("nealytics-properties"), "[role=tab]").map(text),
    funnel: all(inside("nealytics-funnel"), "li").map((step) => ({
      name: text(step.querySelector(".name")), lines: all(step, ".numbers span").map(text) })),
    retention: all(inside("nealytics-retention"), "tbody tr").map((row) => ({
      head: text(row.querySelector("th")), size: text(row.querySelector(".size")),
      cells: all(row, ".cell").map((cell) => [text(cell), cell.title]) })),
    sessions: all(inside("nealytics-sessions"), ".rows > li .row").map((row) => [...row.children].map(text)),
    start: inside("nealytics-paths").querySelectorAll("select")[1].value,
    paths: all(inside("nealytics-paths"), ".steps > div").map((column) => ({
      total: column.querySelector("h4 .number").title, rows: rows(column) })),
    active: {
      stickiness: text(inside("nealytics-active").querySelector("[part=stickiness]")),
      values: all(inside("nealytics-active"), "li .value").map((value) => [text(value), value.title]),
      table: table("nealytics-active") },
    hours: all(inside("#hours"), "tbody tr").map((row) => all(row, "td").map(text)),
    people: all(inside("#people"), "tbody tr").map((row) => all(row, "td").map(text)),
    timeline: all(inside("nealytics-timeline"), ".event").map((event) => [...event.children].map(text)),
  };
}
"""


def check_figures(shown: list[dict[str, str]], expected: Expected) -> None:
    now = expected.of("summary", compare=f"{expected.before_first}..{expected.before_last}")
    before = now["previous"]
    texts = {
        "Users": ("users", short),
        "Sessions": ("sessions", short),
        "Events": ("events", short),
        "Events per session": ("eventsPerSession", short),
        "Median visit": ("medianSessionDurationSeconds", duration),
        "Bounce rate": ("bounceShare", percent),
    }
    assert [tile["label"] for tile in shown] == list(texts)
    for tile in shown:
        name, text = texts[tile["label"]]
        assert (tile["value"], tile["title"]) == (text(now[name]), exact(now[name])), tile["label"]
        if name == "bounceShare":
            points = float(half_up((now[name] - before[name]) * 100, 1))
            expected_change = (
                f"{'up' if points > 0 else 'down'} {exact(abs(points))} pp" if points else "no change"
            )
        else:
            expected_change = change(now[name], before[name])
        assert tile["change"] == expected_change, tile["label"]


def check_charts(shown: dict[str, Any], expected: Expected) -> None:
    now = expected.of("timeseries", interval=expected.interval, fill="true")["points"]
    before = expected.before("timeseries", interval=expected.interval, fill="true")["points"]
    pairs = [(point, before[i]["count"] if i < len(before) else "") for i, point in enumerate(now)]
    assert shown["events"] == [
        [expected.bucket(point["bucket"]), str(point["count"]), str(past)] for point, past in pairs
    ]
    counts = [point["count"] for point in now]
    peak = counts.index(max(counts))
    past_total = sum(point["count"] for point in before)
    told = change(sum(counts), past_total)
    assert f": {exact(sum(counts))}, {told} on " in shown["sentence"]
    assert shown["sentence"].endswith(
        f"Most on {expected.bucket(now[peak]['bucket'])}: {exact(max(counts))}."
    )
    users = expected.of("active", interval="day", by="user")["points"]
    assert [int(row[1]) for row in shown["users"]] == [point["activeCount"] for point in users]

    points = expected.of("timeseries", interval=expected.interval, fill="true", groupBy="meta:platform")[
        "points"
    ]
    sums: dict[str, int] = {}
    for point in points:
        sums[point["series"]] = sums.get(point["series"], 0) + point["count"]
    assert shown["series"] == sorted(sums, key=lambda name: -sums[name])
    of = {(point["bucket"], point["series"]): point["count"] for point in points}
    buckets = list(dict.fromkeys(point["bucket"] for point in points))
    assert shown["grouped"] == [
        [expected.bucket(bucket), *(str(of.get((bucket, name), 0)) for name in shown["series"])]
        for bucket in buckets
    ]


def row(key: str, count: int, share: float) -> dict[str, str]:
    return {"key": key, "count": short(count), "title": exact(count), "share": percent(share)}


def check_funnel(shown: list[dict[str, Any]], expected: Expected) -> None:
    steps = expected.of("funnel", step=STEPS, window="7d", by="user")["steps"]
    assert steps[0]["count"] > 0
    for i, (step, one) in enumerate(zip(steps, shown, strict=True)):
        lines = [short(step["count"])]
        if i > 0:
            lines.append(f"{percent(step['conversionFromPrevious'])} of the previous step")
        if i > 1:
            lines.append(f"{percent(step['conversion'])} of the first step")
        if i > 0 and "medianSecondsFromPrevious" in step:
            lines.append(f"median {duration(step['medianSecondsFromPrevious'])}")
        assert (one["name"], one["lines"]) == (step["eventType"], lines)


def so_far(period: dict[str, Any]) -> str:
    return " so far" if period["period"] > 0 and period.get("partial") else ""


def check_retention(shown: list[dict[str, Any]], expected: Expected) -> None:
    first = min(expected.first, expected.last - timedelta(weeks=7))
    cohorts = expected.of("retention", interval="week", periods="8", **{"from": f"{first}"})["cohorts"][-12:]
    assert len(cohorts) > 2
    assert shown == [
        {
            "head": f"{expected.local(one['cohort']).day} {expected.local(one['cohort']):%b}",
            "size": short(one["size"]),
            "cells": [
                [percent(period["share"]) + so_far(period), exact(period["count"]) + so_far(period)]
                for period in one["periods"]
            ],
        }
        for one in cohorts
    ]


def check_paths(shown: list[dict[str, Any]], start: str, expected: Expected) -> None:
    assert start == "product_view"
    answer = expected.of("paths", event=start, depth="3", by="session")
    before: list[str] = []
    total = answer["starts"]
    assert total > 0
    for column in shown:
        found = [
            path
            for path in answer["paths"]
            if path["events"][:-1] == before and len(path["events"]) == len(before) + 1
        ]
        rows = [row(path["events"][-1], path["count"], path["count"] / total) for path in found[:7]]
        rest = total - sum(path["count"] for path in found[:7])
        assert column["total"] == exact(total)
        assert column["rows"][: len(rows)] == rows
        assert [one["count"] for one in column["rows"][len(rows) :]] == ([short(rest)] if rest else [])
        before, total = found[0]["events"], found[0]["count"]
    assert len(shown) == 3


def check_active(shown: dict[str, Any], expected: Expected) -> None:
    week = expected.of("active", interval="day", by="user", rolling="7")["points"]
    month = expected.of("active", interval="day", by="user", rolling="30")["points"]
    days = [
        (point["activeCount"], week[i]["rollingCount"], point["rollingCount"], point["stickiness"])
        for i, point in enumerate(month)
    ]
    assert shown["values"] == [[short(value), exact(value)] for value in days[-1][:3]]
    assert shown["stickiness"] == percent(sum(day[3] for day in days) / len(days))
    assert [[int(cell) for cell in one[1:4]] for one in shown["table"]] == [list(day[:3]) for day in days]
    assert [float(one[4]) for one in shown["table"]] == [pytest.approx(day[3]) for day in days]


def check_latest(shown: dict[str, Any], expected: Expected) -> None:
    """The visits and the events that are listed one by one."""
    sessions = expected.of("sessions", order="-start", limit="8")["sessions"]
    for one, session in zip(shown["sessions"], sessions, strict=True):
        at = expected.local(session["firstSeen"])
        assert one == [
            hour_text(at),
            f"Duration {duration(session['durationSeconds'])}",
            f"Events {exact(session['eventCount'])}",
        ]
    first = oracle.instant(f"{expected.first}", expected.tz)
    last = oracle.ending(f"{expected.last}", expected.tz)
    events = [event for event in expected.events if first <= event.at <= last][::-1][:12]
    assert shown["timeline"] == [
        [event.event_type, event.user_id, f"{expected.local(oracle.iso(event.at)):%H:%M:%S}"]
        for event in events
    ]


def check_lists(page: Any, shown: dict[str, Any], expected: Expected) -> None:
    items = expected.of("top", dimension="event_type", limit="8")["items"]
    assert shown["top"] == [row(item["key"], item["count"], item["share"]) for item in items]
    keys = [
        key
        for key in expected.of("properties", limit="20", values="8")["keys"]
        if 1 < key["distinctValues"] < 1000
    ]
    assert shown["tabs"] == [key["key"].removeprefix("meta:").replace("_", " ").capitalize() for key in keys]
    for number, key in enumerate(keys):
        page.locator("nealytics-properties [role=tab]").nth(number).click()
        values = [row(value["value"], value["count"], value["share"]) for value in key["values"]]
        until(lambda: shown_by(page)["properties"] == values)  # noqa: B023


def shown_by(page: Any) -> dict[str, Any]:
    """The list that changes with its tabs."""
    found: dict[str, Any] = page.evaluate(
        """() => {
          const rows = [...document.querySelector("nealytics-properties").shadowRoot.querySelectorAll(".row:not(.rest)")];
          return { properties: rows.map((row) => ({
            key: row.querySelector(".key").textContent, share: row.querySelector(".share").textContent,
            count: row.querySelector(".count > span:last-child").textContent,
            title: row.querySelector(".count > span:last-child").title })) };
        }"""
    )
    return found


def check_heatmaps(shown: dict[str, Any], expected: Expected) -> None:
    cells = {(cell["weekday"], cell["hour"]): cell for cell in expected.of("heatmap")["cells"]}
    for name, field in (("hours", "count"), ("people", "users")):
        assert shown[name] == [
            [exact(cells[weekday, hour][field]) for hour in range(24)] for weekday in range(1, 8)
        ]


@pytest.fixture(scope="module")
def page(site: Site, events: list[Event], browser: Any) -> Iterator[Any]:
    """One page for all ranges and zones, so that what the last one left behind would be seen."""
    context = browser.new_context(
        timezone_id="Asia/Tokyo", locale="en-GB", viewport={"width": 1280, "height": 900}
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on(
        "console",
        lambda message: errors.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    script = f'document.querySelector("nealytics-dashboard").getToken = () => "{token(PROJECT, "acme")}";'
    page.goto(
        site.page(
            ELEMENTS.replace("dashboard>", 'dashboard range="2024-01-01..2024-01-01">', 1), script=script
        )
    )
    wait_for(page)
    yield page
    context.close()
    assert errors == []


@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize("when", [MARCH, TWO_DAYS], ids=["march", "two days"])
def test_every_number_is_that_of_the_plain_calculation(
    page: Any, events: list[Event], when: tuple[date, date, date, date], tz: str
):
    with page.expect_response(
        lambda response: (
            "/query" in response.url
            and f'"from":"{when[0]}","to":"{when[1]}","tz":"{tz}"' in (response.request.post_data or "")
        )
    ):
        page.evaluate(
            """([range, tz]) => { const d = document.querySelector("nealytics-dashboard"); d.range = range; d.tz = tz; }""",
            [f"{when[0]}..{when[1]}", tz],
        )
    page.wait_for_timeout(50)
    wait_for(page)
    shown = page.locator("nealytics-dashboard").evaluate(SHOWN)
    expected = Expected(events, when, tz)
    check_figures(shown["figures"], expected)
    check_charts(shown, expected)
    check_funnel(shown["funnel"], expected)
    check_retention(shown["retention"], expected)
    check_paths(shown["paths"], shown["start"], expected)
    check_active(shown["active"], expected)
    check_heatmaps(shown, expected)
    check_latest(shown, expected)
    check_lists(page, shown, expected)


@pytest.mark.usefixtures("opened")
def test_the_tooltip_has_the_numbers_of_its_day(page: Any, events: list[Event]):
    page.evaluate(
        """() => { const d = document.querySelector("nealytics-dashboard"); d.range = "2024-03-01..2024-03-31"; d.tz = "Europe/Berlin"; }"""
    )
    expected = Expected(events, MARCH, "Europe/Berlin")
    now = expected.of("timeseries", interval="day", fill="true")["points"]
    before = expected.before("timeseries", interval="day", fill="true")["points"]
    until(lambda: page.locator("#events .sr tbody tr").count() == len(now))
    wait_for(page)
    page.locator("#events .chart").focus()
    page.keyboard.press("Home")
    for i in range(len(now)):
        text = page.locator("#events .tip").inner_text().split("\n")
        text = [part for part in text if part.strip()]
        told = [expected.bucket(now[i]["bucket"]), "Events", exact(now[i]["count"])]
        if i < len(before):
            told += [expected.bucket(before[i]["bucket"]), exact(before[i]["count"])]
        assert text[: len(told)] == told
        page.keyboard.press("ArrowRight")
