"""The single elements in a real browser, their numbers compared with plain Python."""

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.browser.conftest import Open, Site
from tests.browser.test_dashboard import ZONE, chosen, day_of, number, today, wait_for
from tests.e2e.node import token
from tests.waiting import until


def alone(site: Site, element: str) -> str:
    """The address of a page with one element that reads as acme."""
    return site.page(element, script='document.querySelector("body > *").getToken = () => TOKEN("acme");')


def in_order(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Newest first, of the same millisecond as the ids are ordered."""
    return sorted(events, key=lambda event: (event["timestamp"], event["eventId"]), reverse=True)


def test_active_users_are_those_of_the_last_day_and_the_7_and_30_that_end_with_it(site: Site, opened: Open):
    page = opened(alone(site, '<nealytics-active range="7d"></nealytics-active>'))
    wait_for(page)
    users: dict[date, set[str]] = defaultdict(set)
    for event in chosen(site, today() - timedelta(days=60), today()):
        if "userId" in event:
            users[day_of(event)].add(event["userId"])

    def active(last: date, days: int) -> int:
        return len(set().union(*(users[last - timedelta(days=before)] for before in range(days))))

    # Today is not over.
    days = [today() - timedelta(days=before) for before in range(6, 0, -1)]
    shown = [number(value.get_attribute("title") or "") for value in page.locator("li .value").all()]
    assert shown == [active(days[-1], span) for span in (1, 7, 30)]
    shares = [active(day, 1) / active(day, 30) for day in days]
    stickiness = page.locator("[part=stickiness]").inner_text()
    assert abs(float(stickiness.removesuffix("%")) / 100 - sum(shares) / len(shares)) <= 0.005
    rows = page.locator("nealytics-active .sr tbody tr").all()
    assert [[int(cell.text_content() or "") for cell in row.locator("td").all()[:3]] for row in rows] == [
        [active(day, span) for span in (1, 7, 30)] for day in days
    ]


def following(site: Site, start: str, depth: int) -> tuple[int, Counter[tuple[str, ...]]]:
    """How often `start` occurred in the last 30 days, and what followed it in its session."""
    sessions: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in reversed(in_order(chosen(site, today() - timedelta(days=29), today()))):
        sessions[event["sessionId"]].append(event)
    starts, paths = 0, Counter[tuple[str, ...]]()
    for session in sessions.values():
        names = [event["eventType"] for event in session]
        for at, name in enumerate(names):
            if name == start:
                starts += 1
                after = names[at + 1 : at + 1 + depth]
                paths.update(tuple(after[:length]) for length in range(1, len(after) + 1))
    return starts, paths


def test_paths_are_what_followed_and_a_click_shows_what_followed_that(site: Site, opened: Open):
    page = opened(alone(site, '<nealytics-paths event="search"></nealytics-paths>'))
    wait_for(page)
    starts, paths = following(site, "search", 3)

    def column(number_of: int) -> dict[str, float]:
        rows: list[list[str]] = (
            page.locator("nealytics-paths .steps > div")
            .nth(number_of)
            .locator("button.row")
            .evaluate_all(
                """(rows) => rows.map((row) =>
                  [row.querySelector(".key").innerText, row.querySelector(".count span:last-child").title])"""
            )
        )
        return {name: number(count) for name, count in rows}

    first = {path[0]: count for path, count in paths.items() if len(path) == 1}
    most = sorted(first.items(), key=lambda item: (-item[1], item[0]))[:7]
    assert column(0) == dict(most)
    assert number(page.locator("nealytics-paths h4 .number").first.get_attribute("title") or "") == starts
    clicked = most[1][0]
    page.locator("nealytics-paths .steps > div").first.locator("button.row", has_text=clicked).click()
    second = {path[1]: count for path, count in paths.items() if len(path) == 2 and path[0] == clicked}
    expected = dict(sorted(second.items(), key=lambda item: (-item[1], item[0]))[:7])
    until(lambda: column(1) == expected)


def test_paths_without_an_event_start_from_the_most_frequent_and_another_is_picked(site: Site, opened: Open):
    page = opened(alone(site, "<nealytics-paths></nealytics-paths>"))
    wait_for(page)
    events = chosen(site, today() - timedelta(days=29), today())
    ((most, count),) = Counter(event["eventType"] for event in events).most_common(1)
    total = page.locator("nealytics-paths h4 .number").first
    assert page.get_by_label("Start").input_value() == most
    assert number(total.get_attribute("title") or "") == count
    page.get_by_label("Start").select_option("signup")
    signups = sum(event["eventType"] == "signup" for event in events)
    until(lambda: number(total.get_attribute("title") or "") == signups)


def timeline(page: Any) -> list[str]:
    found: list[str] = page.locator("nealytics-timeline time").evaluate_all(
        "(times) => times.map((time) => time.dateTime)"
    )
    return found


def test_the_heatmap_has_the_events_of_each_local_hour_of_the_week(site: Site, opened: Open):
    page = opened(alone(site, "<nealytics-heatmap></nealytics-heatmap>"))
    wait_for(page)
    times = [
        datetime.fromisoformat(event["timestamp"]).astimezone(ZONE)
        for event in chosen(site, today() - timedelta(days=29), today())
    ]
    counts = Counter((at.weekday(), at.hour) for at in times)
    shown: list[list[str]] = page.locator("nealytics-heatmap tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.querySelectorAll('td')].map((cell) => cell.textContent))"
    )
    assert [[number(text) for text in row] for row in shown] == [
        [counts[weekday, hour] for hour in range(24)] for weekday in range(7)
    ]
    assert page.locator("nealytics-heatmap tbody th").first.inner_text() == "Mon"


def moments(events: list[dict[str, Any]]) -> list[datetime]:
    return [datetime.fromisoformat(event["timestamp"]) for event in events]


def test_the_timeline_has_every_event_of_the_range_newest_first_page_by_page(site: Site, opened: Open):
    yesterday = today() - timedelta(days=1)
    page = opened(alone(site, '<nealytics-timeline range="yesterday" limit="40"></nealytics-timeline>'))
    wait_for(page)
    events = in_order(chosen(site, yesterday, yesterday))
    seen: list[datetime] = []
    for first in range(0, len(events), 40):
        expected = moments(events[first : first + 40])
        until(lambda: [datetime.fromisoformat(at) for at in timeline(page)] == expected)  # noqa: B023
        seen += expected
        older = page.get_by_role("button", name="Older")
        if first + 40 < len(events):
            older.click()
    assert seen == moments(events)
    assert older.is_disabled()
    page.get_by_role("button", name="Newer").click()
    until(lambda: len(timeline(page)) == 40)


def test_an_event_opens_and_leads_to_its_session_and_its_user(site: Site, opened: Open):
    page = opened(alone(site, '<nealytics-timeline limit="200"></nealytics-timeline>'))
    wait_for(page)
    newest = in_order(chosen(site, today() - timedelta(days=29), today()))
    place, event = next((place, event) for place, event in enumerate(newest) if "userId" in event)
    mine = [other for other in site.events if other["tenantId"] == "acme"]
    page.locator("nealytics-timeline .event").nth(place).click()
    page.locator("nealytics-timeline dd", has_text=event["userId"]).wait_for()
    page.get_by_role("button", name="Whole session").click()
    session = in_order([other for other in mine if other["sessionId"] == event["sessionId"]])
    until(lambda: [datetime.fromisoformat(at) for at in timeline(page)] == moments(session))
    page.locator("nealytics-timeline .event").first.click()
    page.get_by_role("button", name="All events of this user").click()
    user = in_order([other for other in mine if other.get("userId") == event["userId"]])[:200]
    until(lambda: [datetime.fromisoformat(at) for at in timeline(page)] == moments(user))
    page.get_by_role("button", name="All events").click()
    until(lambda: len(timeline(page)) == 200)


def test_markup_in_a_session_id_stays_text(site: Site, opened: Open):
    evil = "<img src=x onerror=alert(1)>"
    page = opened(alone(site, "<nealytics-timeline></nealytics-timeline>"))
    wait_for(page)
    page.evaluate("(evil) => { document.querySelector('nealytics-timeline').session = evil; }", evil)
    page.locator("nealytics-timeline .only", has_text=evil).wait_for()
    assert page.locator("img").count() == 0


def live(tenant: str) -> str:
    """Of a tenant of one test, so that others keep their numbers."""
    given = token("live", tenant, life_s=86_400)
    return f'document.querySelector("nealytics-live").getToken = () => "{given}";'


def live_event(tenant: str, name: str) -> dict[str, Any]:
    return {
        "eventId": str(uuid4()),
        "projectId": "live",
        "tenantId": tenant,
        "sessionId": "live",
        "userId": "live-user",
        "eventType": name,
        "timestamp": datetime.now(UTC).isoformat(),
    }


def test_live_shows_what_comes_in_waits_under_the_pointer_and_goes_on_after_a_break(site: Site, opened: Open):
    urls: list[str] = []
    page = opened("about:blank", expected=("ERR_INTERNET", "ERR_NETWORK", "offline"))
    page.on("request", lambda request: urls.append(request.url))
    page.goto(site.page('<nealytics-live range="today"></nealytics-live>', script=live("paused")))
    wait_for(page)
    state = page.locator("nealytics-live [role=status]")
    until(lambda: state.inner_text() == "Connected")
    names = page.locator("nealytics-live .what")

    def shown() -> list[str]:
        found: list[str] = names.evaluate_all("(all) => all.map((one) => one.innerText.trim())")
        return found

    def send(*events: dict[str, Any]) -> None:
        status, body = site.node.post("batch", list(events))
        assert status == 202, body

    page.get_by_text("No events yet").wait_for()
    send(live_event("paused", "first"))
    until(lambda: shown() == ["first"])
    page.locator("nealytics-live ol").hover()
    until(lambda: state.inner_text() == "Paused")
    send(live_event("paused", "second"))
    page.get_by_text("1 new").wait_for()
    assert shown() == ["first"]
    page.mouse.move(0, 0)
    until(lambda: shown() == ["second", "first"])
    page.context.set_offline(True)
    # A stream that is open survives that; its element is taken away and put back as a router would.
    page.evaluate("const e = document.querySelector('nealytics-live'); e.remove(); document.body.append(e);")
    page.get_by_text("You seem to be offline").wait_for()
    send(live_event("paused", "third"))
    page.context.set_offline(False)  # it asks again by itself, so the button may be gone before a click
    until(lambda: shown() == ["third", "second", "first"])
    until(lambda: state.inner_text() == "Connected")  # what comes in before that is not streamed
    send(*(live_event("paused", f"many {number}") for number in range(60)))
    until(lambda: names.count() == 50)
    assert all("access_token" not in url and "eyJ" not in url for url in urls)


def test_a_saved_query_is_a_table_with_its_own_title_and_parameters(site: Site, opened: Open):
    element = '<nealytics-query query="by_type" range="7d"></nealytics-query>'
    page = opened(alone(site, element), expected=("unknown_query",))
    wait_for(page)
    events = chosen(site, today() - timedelta(days=6), today())
    counts = Counter(event["eventType"] for event in events)
    latest = {kind: max(day_of(event) for event in events if event["eventType"] == kind) for kind in counts}
    table = page.locator("nealytics-query table")
    assert page.locator("nealytics-query h3").inner_text() == "Events by type"
    assert table.locator("th").all_inner_texts() == ["event_type", "latest", "events", "quarter"]
    assert [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()] == [
        [
            kind,
            f"{latest[kind]:%a}, {latest[kind].day} {latest[kind]:%B %Y}",
            f"{count:,}",
            f"{count / 4:,.2f}",
        ]
        for kind, count in sorted(counts.items())
    ]
    page.evaluate("document.querySelector('nealytics-query').setAttribute('params', '{\"least\": 100000}')")
    page.locator("nealytics-query [part=empty]").wait_for()
    page.evaluate("document.querySelector('nealytics-query').query = 'nothing'")
    page.locator("nealytics-query [part=error]").wait_for()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ('{"leest": 100000}', "did you mean least?"),
        ("{least: 100000}", "params is {least: 100000}; write JSON"),
    ],
)
def test_parameters_that_the_query_does_not_get_are_named_in_the_console(
    site: Site, opened: Open, params: str, said: str
):
    element = f"<nealytics-query query='by_type' range='7d' params='{params}'></nealytics-query>"
    page = opened("about:blank", expected=(said,))
    with page.expect_console_message(lambda message: said in message.text):
        page.goto(alone(site, element))
    page.locator("nealytics-query tbody tr").first.wait_for()
