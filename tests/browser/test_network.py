"""The network between the page and its node: slow, gone, back; and a node that is full, down or says no."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nealytics import demo
from tests.browser.conftest import Open, Site
from tests.browser.test_dashboard import ACME, chosen, number, today, wait_for
from tests.browser.test_token import pick, shown_events, stable_view, view
from tests.e2e.node import Node, token
from tests.waiting import until

SMALL = """<nealytics-dashboard range="7d"><nealytics-figures></nealytics-figures>
  <nealytics-top dimension="event_type"></nealytics-top></nealytics-dashboard>"""


def week(site: Site) -> int:
    return len(chosen(site, today() - timedelta(days=6), today()))


def questions(page: Any) -> list[str]:
    """The requests for data from now on."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data) if request.method == "POST" else None)
    return sent


def test_a_page_over_3g_is_one_request_and_another_range_is_one_more(site: Site, opened: Open):
    page = opened("about:blank")
    slow = page.context.new_cdp_session(page)
    slow.send("Network.enable")
    slow.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 300, "downloadThroughput": 200_000, "uploadThroughput": 90_000},
    )
    sent = questions(page)
    # Not until it has loaded: then the answer may be there, on a busy machine.
    address = site.page('<nealytics-dashboard range="7d"></nealytics-dashboard>', script=ACME)
    page.goto(address, wait_until="commit")
    page.locator("nealytics-figures .skeleton").first.wait_for()
    wait_for(page)
    assert len(sent) == 1
    assert shown_events(page) == week(site)
    pick(page, "Yesterday")
    yesterday = today() - timedelta(days=1)
    until(lambda: shown_events(page) == len(chosen(site, yesterday, yesterday)))
    assert len(sent) == 2


def test_a_page_that_was_offline_asks_again_by_itself_when_the_network_is_back(site: Site, opened: Open):
    page = opened(
        site.page('<nealytics-dashboard range="7d"></nealytics-dashboard>', script=ACME),
        viewport={"width": 1280, "height": 500},
        expected=("offline", "ERR_INTERNET_DISCONNECTED", "ERR_FAILED"),
    )
    wait_for(page)
    before = stable_view(page)
    page.context.set_offline(True)
    page.evaluate('document.querySelector("nealytics-dashboard").page.refresh()')
    page.get_by_text("Not updated since").first.wait_for()
    page.context.set_offline(False)
    until(lambda: page.get_by_text("Not updated since").count() == 0)
    wait_for(page)
    assert view(page) == before


@pytest.mark.parametrize(
    ("status", "code", "shown"),
    [
        (429, "rate_limited", "Too many requests at the moment"),
        (429, "quota_exceeded", "Today's limit of queries is reached"),
        (503, "queries_busy", "Too many requests at the moment"),
    ],
)
def test_a_node_that_is_full_is_asked_again_when_it_says_so(
    site: Site, opened: Open, status: int, code: str, shown: str
):
    page = opened("about:blank", expected=(f"status of {status}", "slow down"))
    refused: list[float] = []

    def refuse(route: Any) -> None:
        refused.append(1)
        route.fulfill(
            status=status,
            headers={
                "Retry-After": "1",
                "Access-Control-Allow-Origin": "*",
                "Access-Control-Expose-Headers": "Retry-After",
            },
            json={"code": code, "message": "slow down"},
        )

    page.route("**/analytics/query", refuse, times=1)
    page.goto(site.page(SMALL, script=ACME))
    page.get_by_text(shown).first.wait_for()
    until(lambda: page.locator("[part=notice]").inner_text() == "")
    wait_for(page)
    assert shown_events(page) == week(site)
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("wait_s", "again"),
    [
        (4 * 3_600, r"Available again from \d+:\d\d\."),
        (20 * 3_600, r"Available again from \w+ \d+ \w+, \d+:\d\d\."),
    ],
)
def test_a_quota_that_is_used_up_is_said_with_the_time_at_which_it_begins_again(
    site: Site, opened: Open, wait_s: int, again: str
):
    page = opened("about:blank", expected=("status of 429", "nealytics:"))
    page.route(
        "**/analytics/query",
        lambda route: route.fulfill(
            status=429,
            headers={
                "Retry-After": str(wait_s),
                "Access-Control-Allow-Origin": "*",
                "Access-Control-Expose-Headers": "Retry-After",
            },
            json={"code": "quota_exceeded", "message": "no more queries today"},
        ),
    )
    page.goto(site.page(SMALL, script=ACME))
    notice = page.locator("[part=notice]")
    notice.get_by_text("Today's limit of queries is reached").wait_for()
    assert re.search(again, notice.inner_text()), notice.inner_text()
    assert page.get_by_role("button", name="Try again").count() == 0


@pytest.mark.parametrize("status", [422, 400, 500])
def test_a_node_that_says_no_has_a_clear_state_and_is_asked_again_by_the_button(
    site: Site, opened: Open, status: int
):
    page = opened("about:blank", expected=(f"status of {status}", "says no"))
    page.route(
        "**/analytics/query",
        lambda route: route.fulfill(
            status=status,
            headers={"Access-Control-Allow-Origin": "*"},
            json={"code": "nonsense", "message": "says no"},
        ),
        times=1,
    )
    page.goto(site.page(SMALL, script=ACME))
    page.get_by_text("The analytics cannot be shown right now").wait_for()
    page.get_by_role("button", name="Try again").click()
    until(lambda: page.locator("[part=notice]").inner_text() == "")
    wait_for(page)
    assert shown_events(page) == week(site)


@pytest.mark.parametrize("body", ["<html>502</html>", "[]", "null", '{"results": null}', ""])
def test_an_answer_that_makes_no_sense_is_an_error_and_no_blank_page(site: Site, opened: Open, body: str):
    page = opened("about:blank", expected=("nealytics:",))
    page.route(
        "**/analytics/query",
        lambda route: route.fulfill(
            status=200,
            headers={"Access-Control-Allow-Origin": "*"},
            content_type="application/json",
            body=body,
        ),
        times=1,
    )
    page.goto(site.page(SMALL, script=ACME))
    page.get_by_role("button", name="Try again").click()
    until(lambda: page.locator("[part=notice]").inner_text() == "")


def test_an_answer_to_a_range_that_was_left_is_ended_and_never_shown(site: Site, opened: Open):
    page = opened(site.page(SMALL, script=ACME))
    wait_for(page)
    held: list[Any] = []
    ended: list[str] = []
    page.on("requestfailed", lambda request: ended.append(request.post_data or ""))
    page.route("**/analytics/query", lambda route: held.append(route))
    pick(page, "Last 90 days")
    until(lambda: page.evaluate("1") == 1 and len(held) == 1)
    pick(page, "Yesterday")
    until(lambda: page.evaluate("1") == 1 and len(held) == 2)
    held[1].continue_()
    yesterday = today() - timedelta(days=1)
    count = len(chosen(site, yesterday, yesterday))
    until(lambda: shown_events(page) == count)
    held[0].continue_()
    page.wait_for_timeout(300)
    assert shown_events(page) == count
    assert any(f'"from":"{today() - timedelta(days=89)}"' in body for body in ended)


def test_a_slow_answer_to_an_earlier_tab_of_a_list_is_never_shown(site: Site, opened: Open):
    body = """<nealytics-dashboard range="7d">
      <nealytics-top dimension="event_type, item_id, user_id"></nealytics-top></nealytics-dashboard>"""
    page = opened(site.page(body, script=ACME))
    wait_for(page)
    held: list[Any] = []
    page.route("**/analytics/query", lambda route: held.append(route))
    for place in (1, 2):
        page.locator("nealytics-top [role=tab]").nth(place).click()
        until(lambda: page.evaluate("1") == 1 and len(held) == place)  # noqa: B023
    held[1].continue_()
    wait_for(page)
    first = page.locator("nealytics-top .row").first.inner_text()
    held[0].continue_()
    page.wait_for_timeout(300)
    assert page.locator("nealytics-top .row").first.inner_text() == first
    users = {event.get("userId") for event in site.events}
    assert page.locator("nealytics-top .row .key").first.inner_text() in users


def test_going_back_to_a_closed_range_asks_nothing(site: Site, opened: Open):
    page = opened(site.page(SMALL.replace('range="7d"', 'range="last_month" sync-url'), script=ACME))
    wait_for(page)
    sent = questions(page)
    pick(page, "Yesterday")
    yesterday = today() - timedelta(days=1)
    until(lambda: shown_events(page) == len(chosen(site, yesterday, yesterday)))
    assert len(sent) == 1
    first = (today().replace(day=1) - timedelta(days=1)).replace(day=1)
    month = len(chosen(site, first, today().replace(day=1) - timedelta(days=1)))
    page.go_back()
    until(lambda: shown_events(page) == month)
    page.go_forward()
    until(lambda: shown_events(page) == len(chosen(site, yesterday, yesterday)))
    assert len(sent) == 1


def test_a_range_with_today_is_asked_again_each_minute_while_the_tab_is_seen(site: Site, opened: Open):
    page = opened("about:blank")
    page.clock.install()
    page.goto(site.page(SMALL, script=ACME))
    wait_for(page)
    sent = questions(page)
    for minute in (1, 2):
        page.clock.run_for(60_000)
        until(lambda: page.evaluate("1") == 1 and len(sent) == minute)  # noqa: B023
        wait_for(page)
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.clock.run_for(180_000)
    page.wait_for_timeout(200)
    assert len(sent) == 2
    page.evaluate(
        """() => { Object.defineProperty(document, 'hidden', {value: false, configurable: true});
          document.dispatchEvent(new Event("visibilitychange")); }"""
    )
    until(lambda: page.evaluate("1") == 1 and len(sent) == 3)
    wait_for(page)
    pick(page, "Yesterday")
    until(lambda: page.evaluate("1") == 1 and len(sent) == 4)
    wait_for(page)
    page.clock.run_for(180_000)
    page.wait_for_timeout(200)
    assert len(sent) == 4


def test_a_node_that_stops_and_starts_again_is_found_again(site: Site, opened: Open, tmp_path: Path):
    with Node(tmp_path) as node:
        node.wait_ready()
        event = {**site.events[-1], "timestamp": f"{today() - timedelta(days=1)}T12:00:00+00:00"}
        assert node.post("batch", [event])[0] == 202
        node.wait_drained()
        given = token(demo.PROJECT, event["tenantId"])
        page = opened("about:blank", expected=("ERR_", "offline", "status of 503", "nealytics:"))
        page.clock.install()
        other = Site(node, [])
        page.goto(
            other.page(
                SMALL, script=f'document.querySelector("nealytics-dashboard").getToken = () => "{given}";'
            )
        )
        until(lambda: shown_events(page) == 1)
        node.stop()
        page.clock.run_for(60_000)
        page.get_by_text("Not updated since").first.wait_for()
        node.start()
        node.wait_ready()
        page.clock.run_for(61_000)
        until(lambda: page.get_by_text("Not updated since").count() == 0 and shown_events(page) == 1)
        other.close()


def test_two_dashboards_of_two_tenants_stay_apart_while_both_change_at_once(site: Site, opened: Open):
    """Each has its own page, token and answers, whoever of them is answered first."""
    both = '<div id="one">' + SMALL + '</div><div id="two">' + SMALL + "</div>"
    script = """
      const [one, two] = document.querySelectorAll("nealytics-dashboard");
      one.getToken = () => TOKEN("acme"); two.getToken = () => TOKEN("initech");
      window.all = (range) => { one.setAttribute("range", range); two.setAttribute("range", range); };
    """
    page = opened(site.page(both, script=script))
    wait_for(page)
    held: list[Any] = []
    page.route("**/analytics/query", lambda route: held.append(route))
    last = today()
    ranges = {
        "yesterday": (last - timedelta(days=1), last - timedelta(days=1)),
        "30d": (last - timedelta(days=29), last),
    }
    for turn, (name, (first, end)) in enumerate(ranges.items()):
        page.evaluate("(range) => window.all(range)", name)
        until(lambda: page.evaluate("1") == 1 and len(held) == 2)
        for route in held if turn else held[::-1]:
            route.continue_()
        held.clear()
        wait_for(page)
        for place, tenant in (("one", "acme"), ("two", "initech")):
            tile = page.locator(f"#{place} nealytics-figures li", has_text="Events").first.locator(".value")
            count = len(chosen(site, first, end, tenant))
            until(lambda: number(tile.get_attribute("title") or "-1") == count)  # noqa: B023
