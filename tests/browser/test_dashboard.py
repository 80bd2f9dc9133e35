"""A tenant's page in a real browser, its numbers compared with plain Python."""

from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.browser.conftest import Open, Site
from tests.waiting import until

ZONE = ZoneInfo("Europe/Berlin")
DASHBOARD = "<nealytics-dashboard></nealytics-dashboard>"
ACME = 'document.querySelector("nealytics-dashboard").getToken = () => TOKEN("acme");'


def day_of(event: dict[str, Any]) -> date:
    return datetime.fromisoformat(event["timestamp"]).astimezone(ZONE).date()


def chosen(site: Site, first: date, last: date, tenant: str = "acme") -> list[dict[str, Any]]:
    return [event for event in site.events if event["tenantId"] == tenant and first <= day_of(event) <= last]


def today() -> date:
    return datetime.now(ZONE).date()


def figures(page: Any) -> dict[str, str]:
    """Label → exact value."""
    return {
        tile.locator(".label").inner_text(): tile.locator(".value").get_attribute("title") or ""
        for tile in page.locator("nealytics-figures li").all()
    }


def wait_for(page: Any) -> None:
    """Until every element shows what it asked for."""
    page.wait_for_function(
        """() => {
          const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
          const sections = all(document).filter((e) => e.localName === "section");
          return sections.length > 0 && sections.every((e) => e.getAttribute("aria-busy") === "false");
        }"""
    )


def number(text: str) -> float:
    return float(text.replace(",", ""))


def rounded(value: float) -> float:
    return round(value, 1) if abs(value) < 100 else round(value)


def test_every_number_on_the_page_is_that_of_the_tenants_events(site: Site, opened: Open):
    page = opened(site.page(DASHBOARD, script=ACME))
    wait_for(page)
    last = today()
    first = last - timedelta(days=29)
    events = chosen(site, first, last)
    sessions = defaultdict(list)
    for event in events:
        sessions[event["sessionId"]].append(datetime.fromisoformat(event["timestamp"]).timestamp())
    durations = [max(times) - min(times) for times in sessions.values()]
    shown = figures(page)
    assert number(shown["Events"]) == len(events)
    assert number(shown["Sessions"]) == len(sessions)
    assert number(shown["Users"]) == len({event["userId"] for event in events if "userId" in event})
    assert number(shown["Events per session"]) == rounded(len(events) / len(sessions))
    assert number(shown["Median visit"]) == pytest.approx(rounded(median(durations)), abs=1)

    table = page.locator("nealytics-timeseries .sr tbody tr")
    per_day = Counter(day_of(event) for event in events)
    assert table.count() == 30
    for number_of_row, row in enumerate(table.all()):
        day = first + timedelta(days=number_of_row)
        name, value, *_ = [cell.text_content() or "" for cell in row.locator("th, td").all()]
        assert f"{day.day} {day:%B} {day.year}" in name
        assert int(value) == per_day[day], name

    for dimension, field in (("event_type", "eventType"), ("item_id", "itemId")):
        rows = page.locator(f'nealytics-top[dimension="{dimension}"] button.row')
        counts = Counter(event[field] for event in events if field in event)
        expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:8]
        found = [
            (
                row.locator(".key").inner_text(),
                number(row.locator(".count span").last.get_attribute("title") or ""),
            )
            for row in rows.all()
        ]
        assert found == expected
        rest = sum(counts.values()) - sum(count for _, count in expected)
        other = page.locator(f'nealytics-top[dimension="{dimension}"] .rest .count [title]')
        assert [number(one.get_attribute("title") or "") for one in other.all()] == [rest] * (rest > 0)


def test_the_page_is_one_request_and_another_range_is_one_more(site: Site, opened: Open):
    requests: list[str] = []
    page = opened("about:blank")
    page.on("request", lambda request: requests.append(request.method) if "/api/" in request.url else None)
    page.goto(site.page(DASHBOARD, script=ACME))
    wait_for(page)
    assert [method for method in requests if method != "OPTIONS"] == ["POST"]
    page.locator("nealytics-dashboard [part=range]").click()
    page.get_by_role("button", name="Last 7 days").click()
    until(lambda: page.evaluate("1") == 1 and requests.count("POST") == 2)
    wait_for(page)
    last = today()
    assert number(figures(page)["Events"]) == len(chosen(site, last - timedelta(days=6), last))
    # Going back to a range that has ended asks nothing.
    page.locator("nealytics-dashboard [part=range]").click()
    page.get_by_role("button", name="Yesterday").click()
    until(lambda: page.evaluate("1") == 1 and requests.count("POST") == 3)
    wait_for(page)
    assert number(figures(page)["Events"]) == len(
        chosen(site, last - timedelta(days=1), last - timedelta(days=1))
    )


def test_clicking_a_row_filters_the_page_until_the_chip_is_removed(site: Site, opened: Open):
    page = opened(site.page('<nealytics-dashboard range="7d"></nealytics-dashboard>', script=ACME))
    wait_for(page)
    last = today()
    events = chosen(site, last - timedelta(days=6), last)
    page.locator('nealytics-top[dimension="event_type"] .row', has_text="search").click()
    page.locator("nealytics-dashboard .chip", has_text="search").wait_for()
    searches = [event for event in events if event["eventType"] == "search"]
    until(lambda: number(figures(page).get("Events", "0")) == len(searches))
    page.get_by_role("button", name="Remove filter: Event type search").click()
    until(lambda: number(figures(page).get("Events", "0")) == len(events))


def test_two_dashboards_of_two_tenants_never_mix(site: Site, opened: Open):
    both = '<nealytics-dashboard id="a" range="30d"></nealytics-dashboard><nealytics-dashboard id="b" range="30d"></nealytics-dashboard>'
    script = 'a.getToken = () => TOKEN("acme"); b.getToken = async () => TOKEN("initech");'
    page = opened(site.page(both, script=script))
    wait_for(page)
    last = today()
    for name, tenant in (("a", "acme"), ("b", "initech")):
        expected = len(chosen(site, last - timedelta(days=29), last, tenant))
        tile = page.locator(f"#{name} nealytics-figures li", has_text="Events").first.locator(".value")
        assert number(tile.get_attribute("title") or "") == expected


def test_a_token_is_asked_for_again_after_it_was_refused_and_the_range_stays(site: Site, opened: Open):
    script = """
      const dashboard = document.querySelector("nealytics-dashboard");
      window.asked = 0; window.broken = false;
      dashboard.getToken = () => { window.asked += 1; return window.asked === 1 ? TOKEN("acme") + "x" : TOKEN("acme"); };
    """
    # The browser itself notes every 401.
    page = opened(
        site.page('<nealytics-dashboard range="yesterday"></nealytics-dashboard>', script=script),
        expected=("status of 401",),
    )
    wait_for(page)
    assert page.evaluate("window.asked") == 2
    yesterday = today() - timedelta(days=1)
    assert number(figures(page)["Events"]) == len(chosen(site, yesterday, yesterday))


def test_without_a_token_the_page_says_what_to_do(site: Site, opened: Open):
    page = opened(site.page(DASHBOARD), expected=("no_token", "token_failed"))
    page.get_by_role("status").get_by_text("The analytics cannot be shown right now").wait_for()
    assert page.get_by_role("button", name="Try again").count() == 1


def test_a_node_that_cannot_be_reached_is_said_and_tried_again(site: Site, opened: Open):
    page = opened(
        site.page(
            '<nealytics-top dimension="item_id"></nealytics-top>',
            script='document.querySelector("nealytics-top").getToken = () => TOKEN("acme");',
        ),
        expected=("offline", "ERR_FAILED", "ERR_INTERNET"),
    )
    wait_for(page)
    page.context.set_offline(True)
    page.evaluate("""document.querySelector("nealytics-top").setAttribute("limit", "9")""")
    page.get_by_text("You seem to be offline").wait_for()
    page.get_by_role("button", name="Try again").wait_for()
    page.context.set_offline(False)  # which the page notices by itself
    page.locator("nealytics-top .row").first.wait_for()


def test_one_chart_that_fails_leaves_the_others(site: Site, opened: Open):
    body = '<nealytics-dashboard><nealytics-figures></nealytics-figures><nealytics-funnel steps="signup"></nealytics-funnel></nealytics-dashboard>'
    page = opened(site.page(body, script=ACME), expected=("invalid_parameter",))
    wait_for(page)
    page.get_by_text("This chart could not be loaded").wait_for()
    assert number(figures(page)["Events"]) > 0


def test_a_tenant_without_events_sees_a_friendly_line(site: Site, opened: Open):
    page = opened(
        site.page('<nealytics-dashboard range="2020-01-01..2020-01-31"></nealytics-dashboard>', script=ACME)
    )
    wait_for(page)
    assert page.get_by_text("No data in this period").count() >= 2
    assert figures(page)["Events"] == "0"


@pytest.mark.parametrize("width", [320, 768, 1920])
def test_nothing_is_wider_than_the_window(site: Site, opened: Open, width: int):
    page = opened(
        site.page('<nealytics-dashboard funnel="signup, upgrade"></nealytics-dashboard>', script=ACME),
        viewport={"width": width, "height": 800},
    )
    wait_for(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_range_is_chosen_by_keyboard_alone(site: Site, opened: Open):
    page = opened(site.page(DASHBOARD, script=ACME))
    wait_for(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")  # the focus was on "Today", the first
    page.keyboard.press("Enter")
    yesterday = today() - timedelta(days=1)
    until(lambda: number(figures(page).get("Events", "0")) == len(chosen(site, yesterday, yesterday)))
    assert page.locator("nealytics-dashboard [part=range]").evaluate("(e) => e.matches(':focus')")
    page.keyboard.press("Enter")
    page.locator("nealytics-dashboard [role=dialog]").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("nealytics-dashboard [role=dialog]").count() == 0


def test_the_chart_is_read_by_arrow_keys(site: Site, opened: Open):
    page = opened(
        site.page(
            '<nealytics-timeseries range="7d" compare="none"></nealytics-timeseries>',
            script='document.querySelector("nealytics-timeseries").getToken = () => TOKEN("acme");',
        )
    )
    wait_for(page)
    chart = page.locator("nealytics-timeseries .chart")
    chart.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    day = today() - timedelta(days=5)
    count = len(chosen(site, day, day))
    until(
        lambda: f"Events {count:,}" in (page.locator("nealytics-timeseries [aria-live]").text_content() or "")
    )
    assert (chart.get_attribute("aria-label") or "").startswith("Events, ")


def test_markup_in_a_filter_and_a_heading_stays_text(site: Site, opened: Open):
    evil = "<img src=x onerror=alert(1)>"
    script = (
        ACME
        + f"document.querySelector('nealytics-dashboard').page.addFilter('event_type:eq:{evil}'); document.querySelector('nealytics-top').heading = '{evil}';"
    )
    page = opened(
        site.page("<nealytics-dashboard><nealytics-top></nealytics-top></nealytics-dashboard>", script=script)
    )
    wait_for(page)
    assert evil in page.locator("nealytics-dashboard .chip").inner_text()
    assert page.locator("nealytics-top h3").inner_text() == evil
    assert page.locator("img").count() == 0
