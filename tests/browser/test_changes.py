"""What a page shows while something about it changes: an attribute, a tab, its place, its tenant, its network."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Open, Site
from tests.browser.test_dashboard import ACME, wait_for
from tests.browser.test_elements import alone, live, live_event
from tests.browser.test_network import SMALL, questions, week
from tests.browser.test_token import pick, shown_events
from tests.e2e.node import token
from tests.waiting import until

RETRY = "Try again"


def held_questions(page: Any) -> list[Any]:
    """The requests from now on, which wait until somebody continues them."""
    held: list[Any] = []
    page.route("**/analytics/query", lambda route: held.append(route))
    return held


def arrive(page: Any, held: list[Any], count: int = 1) -> None:
    until(lambda: page.evaluate("1") == 1 and len(held) == count)


def fail(page: Any, status: int = 503) -> None:
    page.route(
        "**/analytics/query",
        lambda route: route.fulfill(
            status=status, headers={"Access-Control-Allow-Origin": "*"}, json={"code": "x", "message": "no"}
        ),
    )


# Refreshes


@pytest.mark.parametrize("status", [503, 500, 429])
def test_a_refresh_that_fails_leaves_the_picture_and_says_of_when_it_is(
    site: Site, opened: Open, status: int
):
    page = opened(site.page(SMALL, script=ACME), expected=(f"status of {status}", "nealytics:"))
    wait_for(page)
    fail(page, status)
    page.evaluate("document.querySelector('nealytics-dashboard').page.refresh()")
    page.get_by_text("Not updated since").wait_for()
    assert page.locator(".absent").count() == 0
    assert shown_events(page) == week(site)
    pick(page, "Yesterday")
    until(lambda: page.locator(".absent").count() == 2)
    assert page.get_by_text("Not updated since").count() == 0
    page.unroute("**/analytics/query")
    page.get_by_role("button", name=RETRY).click()
    until(lambda: page.locator("[part=notice]").inner_text() == "")
    wait_for(page)


def test_a_refresh_that_is_refused_shows_no_old_data(site: Site, opened: Open):
    page = opened(site.page(SMALL, script=ACME), expected=("status of 403", "nealytics:"))
    wait_for(page)
    fail(page, 403)
    page.evaluate("document.querySelector('nealytics-dashboard').page.refresh()")
    until(lambda: page.locator(".absent").count() == 2)


def test_more_questions_than_a_request_takes_are_several_requests(site: Site, opened: Open):
    lists = "".join(f'<nealytics-top limit="{limit}"></nealytics-top>' for limit in range(1, 36))
    page = opened("about:blank")
    sent = questions(page)
    page.goto(
        site.page(f'<nealytics-dashboard range="7d">{lists}</nealytics-dashboard>', script=ACME),
    )
    wait_for(page)
    assert page.locator("[part=error]").count() == 0
    assert page.locator("nealytics-top .row").first.is_visible()
    assert len(sent) == 2


def test_all_of_a_session_is_asked_again_whatever_the_range(site: Site, opened: Open):
    page = opened(alone(site, '<nealytics-timeline range="yesterday"></nealytics-timeline>'))
    wait_for(page)
    page.locator("nealytics-timeline .event").first.click()
    page.get_by_role("button", name="Whole session").click()
    page.locator("nealytics-timeline .only").wait_for()
    wait_for(page)
    sent = questions(page)
    page.evaluate("document.querySelector('nealytics-timeline').page.refresh()")
    until(lambda: page.evaluate("1") == 1 and len(sent) == 1)
    wait_for(page)


# Attributes and properties


def test_an_attribute_that_is_set_or_taken_away_later_asks_again(site: Site, opened: Open):
    page = opened(alone(site, '<nealytics-timeseries range="7d"></nealytics-timeseries>'))
    wait_for(page)
    assert page.locator(".legend", has_text="page_view").count() == 0
    page.evaluate("document.querySelector('nealytics-timeseries').setAttribute('group-by', 'event_type')")
    page.locator(".legend", has_text="page_view").wait_for()
    held = held_questions(page)
    page.evaluate("document.querySelector('nealytics-timeseries').removeAttribute('group-by')")
    arrive(page, held)
    assert page.locator(".legend", has_text="page_view").count() == 1  # until there is an answer
    held[0].continue_()
    until(lambda: page.locator(".legend", has_text="page_view").count() == 0)
    wait_for(page)


def test_texts_and_language_that_are_set_later_reach_every_element(site: Site, opened: Open):
    page = opened(site.page(SMALL, script=ACME))
    wait_for(page)
    page.evaluate("document.querySelector('nealytics-dashboard').messages = {event_type: 'Kinds'}")
    page.locator("nealytics-top h3", has_text="Kinds").wait_for()
    page.evaluate("document.querySelector('nealytics-dashboard').lang = 'de_DE'")
    page.locator("nealytics-figures", has_text="Sitzungen").wait_for()


@pytest.mark.parametrize("lang", ["en_US", "en-US@posix", "not a language", "C"])
def test_a_language_that_is_none_is_passed_over(site: Site, opened: Open, lang: str):
    body = f'<nealytics-dashboard lang="{lang}"><nealytics-heatmap></nealytics-heatmap><nealytics-figures></nealytics-figures></nealytics-dashboard>'
    page = opened(site.page(body, script=ACME))
    wait_for(page)
    assert page.locator("nealytics-heatmap tbody tr").count() == 7
    assert shown_events(page) > 0


def test_children_that_come_later_take_the_place_of_the_layout(site: Site, opened: Open):
    page = opened(site.page("<nealytics-dashboard></nealytics-dashboard>", script=ACME))
    wait_for(page)
    page.evaluate(
        "document.querySelector('nealytics-dashboard').append(document.createElement('nealytics-heatmap'))"
    )
    until(lambda: page.locator("nealytics-figures").count() == 0)
    wait_for(page)
    assert page.locator("nealytics-heatmap tbody tr").count() == 7
    page.evaluate("document.querySelector('nealytics-dashboard').replaceChildren()")
    page.locator("nealytics-figures .value").first.wait_for()


# Answers on their way


def test_a_row_that_is_clicked_while_another_tab_is_on_its_way_filters_by_its_own(site: Site, opened: Open):
    body = '<nealytics-dashboard range="7d"><nealytics-top dimension="event_type, item_id"></nealytics-top></nealytics-dashboard>'
    page = opened(site.page(body, script=ACME))
    wait_for(page)
    name = page.locator("nealytics-top .row .key").first.inner_text()
    held = held_questions(page)
    page.locator("nealytics-top [role=tab]").nth(1).click()
    arrive(page, held)
    page.locator("nealytics-top .row").first.click()
    filters = page.evaluate("document.querySelector('nealytics-dashboard').page.filters")
    assert filters == [f"event_type:eq:{name}"]


def test_a_session_that_is_opened_never_shows_the_events_of_another(site: Site, opened: Open):
    page = opened(alone(site, "<nealytics-sessions></nealytics-sessions>"))
    wait_for(page)
    rows = page.locator("nealytics-sessions .row")
    rows.nth(0).click()
    page.locator("ol.events").wait_for()
    held = held_questions(page)
    rows.nth(1).click()
    page.get_by_text("Loading").wait_for()
    arrive(page, held)
    assert page.locator("ol.events").count() == 0
    held[0].continue_()
    page.locator("ol.events").wait_for()


def test_a_long_session_says_how_many_of_its_events_are_not_listed(site: Site, opened: Open):
    events = [{**live_event("long", f"e{n}"), "sessionId": "long"} for n in range(103)]
    assert site.node.post("batch", events)[0] == 202
    site.node.wait_drained()
    given = token("live", "long")
    script = f'document.querySelector("nealytics-sessions").getToken = () => "{given}";'
    page = opened(site.page('<nealytics-sessions range="today"></nealytics-sessions>', script=script))
    wait_for(page)
    page.locator("nealytics-sessions .row").first.click()
    page.locator("ol.events li", has_text="Older: 3").wait_for()


# Place and person


def test_an_element_that_comes_back_after_the_tenant_has_changed_shows_nothing_of_the_former(
    site: Site, opened: Open
):
    page = opened(
        site.page(
            SMALL,
            script="""const dashboard = document.querySelector("nealytics-dashboard");
            window.tenant = "acme"; dashboard.getToken = () => TOKEN(window.tenant);""",
        )
    )
    wait_for(page)
    acme = page.locator("nealytics-top .row").first.inner_text()
    held = held_questions(page)
    page.evaluate(
        """() => { window.top_ = document.querySelector("nealytics-top"); window.top_.remove();
          window.tenant = "initech"; document.querySelector("nealytics-dashboard").page.renew(); }"""
    )
    arrive(page, held)
    page.evaluate("document.querySelector('nealytics-dashboard').append(window.top_)")
    arrive(page, held, 2)
    assert page.locator("nealytics-top .row").count() == 0
    for route in held:
        route.continue_()
    page.unroute("**/analytics/query")
    page.locator("nealytics-top .row").first.wait_for()
    assert page.locator("nealytics-top .row").first.inner_text() != acme


def test_an_element_that_moves_to_another_tenants_dashboard_shows_nothing_of_the_former(
    site: Site, opened: Open
):
    script = """const [one, two] = document.querySelectorAll("nealytics-dashboard");
      one.getToken = () => TOKEN("acme"); two.getToken = () => TOKEN("initech");"""
    page = opened(site.page(SMALL + SMALL, script=script))
    wait_for(page)
    held = held_questions(page)
    page.evaluate(
        """() => { const [one, two] = document.querySelectorAll("nealytics-dashboard");
          two.append(one.querySelector("nealytics-figures")); }"""
    )
    arrive(page, held)
    assert page.locator("nealytics-figures").nth(1).locator(".value").count() == 0
    held[0].continue_()
    page.locator("nealytics-figures").nth(1).locator(".value").first.wait_for()
    values = [page.locator("nealytics-figures").nth(place).locator(".value").first for place in (0, 1)]
    assert values[0].get_attribute("title") == values[1].get_attribute("title")


# The live list


def test_a_tab_that_was_hidden_asks_for_the_latest_and_not_for_all_that_it_missed(site: Site, opened: Open):
    page = opened("about:blank")
    streams: list[str] = []
    page.on("request", lambda request: streams.append(request.url) if "/live" in request.url else None)
    page.goto(site.page('<nealytics-live range="today"></nealytics-live>', script=live("hidden")))
    state = page.locator("nealytics-live [role=status]")
    until(lambda: state.count() == 1 and state.inner_text() == "Connected")
    page.evaluate(
        """() => { Object.defineProperty(document, "hidden", {value: true, configurable: true});
          document.dispatchEvent(new Event("visibilitychange")); }"""
    )
    # A millisecond apart: of equal ones, those with the greatest ids are the latest.
    now = datetime.now(UTC)
    events = [
        {
            **live_event("hidden", f"missed {number}"),
            "timestamp": (now - timedelta(milliseconds=70 - number)).isoformat(),
        }
        for number in range(70)
    ]
    assert site.node.post("batch", events)[0] == 202
    site.node.wait_drained()
    page.evaluate(
        """() => { Object.defineProperty(document, "hidden", {value: false, configurable: true});
          document.dispatchEvent(new Event("visibilitychange")); }"""
    )
    page.locator("nealytics-live .what", has_text="missed 69").wait_for()
    until(lambda: page.locator("nealytics-live .what").count() == 50)
    assert len(streams) == 2
    assert not any("lastEventId" in url for url in streams)


# Files


def test_all_events_are_saved_without_the_mark_at_the_end_and_a_cut_file_is_not_saved(
    site: Site, opened: Open
):
    page = opened(site.page(SMALL, script=ACME), expected=("export_cut", "not complete"))
    wait_for(page)

    def download_all() -> None:
        page.locator("nealytics-dashboard [part=more]").click()
        page.get_by_role("button", name="Download all events").click()

    with page.expect_download() as download:
        download_all()
    whole = Path(download.value.path()).read_bytes()
    assert whole.count(b"\r\n") == week(site) + 1
    assert b"nealyticsExport" not in whole
    page.route(
        "**/telemetry/export?*",
        lambda route: route.fulfill(headers={"Access-Control-Allow-Origin": "*"}, body=whole[:-100]),
    )
    downloads: list[Any] = []
    page.on("download", lambda download: downloads.append(download))
    download_all()
    page.get_by_text("The download failed").wait_for()
    assert downloads == []
