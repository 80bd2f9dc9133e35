"""The tracker of /t.js in Chromium, on a site under a strict policy, before a real node.

`tests/browser/test_tracker_losses.py` kills what can be killed meanwhile.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import CHROMIUM, Open
from tests.browser.test_firefox import FIREFOX, firefox
from tests.browser.test_webkit import BROWSER, DRIVER, SCREEN, webkit
from tests.browser.tracked import (
    KEY_WITH_SIGNS,
    SETTINGS,
    TrackedSite,
    stored,
    until_sent,
    until_stored,
    waiting,
)
from tests.e2e.node import Node
from tests.waiting import until

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}")
OFFLINE = ("ERR_INTERNET_DISCONNECTED",)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("tracked"), settings=SETTINGS) as node:
        node.wait_ready()
        yield node


@pytest.fixture(scope="module")
def tracked(node: Node) -> Iterator[TrackedSite]:
    site = TrackedSite(node)
    yield site
    site.close()


def requests_of(page: Any, node: Node) -> list[Any]:
    """The requests to the node from now on, but that for the script."""
    found: list[Any] = []
    page.on("request", lambda one: found.append(one) if one.url.startswith(f"{node.url}/api") else None)
    return found


def shown(events: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(event["eventType"], event.get("itemId")) for event in events]


def pump(page: Any) -> bool:
    """Lets Playwright handle what came; true."""
    return bool(page.evaluate("1") == 1)


def rests(page: Any) -> bool:
    """Whether the tracker has read an answer and waits before it sends again."""
    pauses = "Object.entries(localStorage).filter(([entry]) => /^nealytics,.*]p$/.test(entry))"
    return bool(page.evaluate(f"() => {pauses}.some(([, end]) => Number(end) > Date.now())"))


# What is sent


def test_one_line_sends_page_views_and_one_call_an_event(node: Node, tracked: TrackedSite, opened: Open):
    page = opened("about:blank")
    sent = requests_of(page, node)
    page.goto(tracked.page("plain") + "?secret=1&utm_source=news&utm_campaign=May%20%26%20June")
    page.evaluate('nealytics("purchase", { itemId: "sku-1", amount: 20, tags: ["a", "ö"] })')
    view, purchase = until_stored(node, "plain", 2)
    assert shown([view, purchase]) == [("page_view", "/plain/"), ("purchase", "sku-1")]
    assert view["metadata"] == {
        "host": tracked.url.removeprefix("http://"),
        "utm_source": "news",
        "utm_campaign": "May & June",
    }
    assert purchase["metadata"] == {"amount": 20, "tags": ["a", "ö"]}
    assert view["sessionId"] == purchase["sessionId"]
    assert UUID7.fullmatch(view["sessionId"])
    until_sent(page)
    assert {request.method for request in sent} == {"POST"}  # no preflight
    lines = [line for request in sent for line in request.post_data.splitlines()]
    assert len(lines) == 2
    for line in lines:
        event = json.loads(line)
        assert UUID7.fullmatch(event["eventId"])
        assert int(event["eventId"].replace("-", "")[:12], 16) == event["timestamp"]
    assert page.context.cookies() == []


def test_calls_from_before_the_script_has_loaded_are_sent(node: Node, tracked: TrackedSite, opened: Open):
    page = opened("about:blank")
    page.add_init_script(
        "window.nealytics = Object.assign((...call) => nealytics.q.push(call), { q: [] }); nealytics('early', { a: 1 });"
    )
    page.goto(tracked.page("early", attributes='data-auto=""'))
    (event,) = until_stored(node, "early", 1)
    assert (event["eventType"], event["metadata"]) == ("early", {"a": 1})


def test_each_place_of_a_single_page_application_is_one_view(node: Node, tracked: TrackedSite, opened: Open):
    page = opened(tracked.page("spa"))
    for script in (
        'history.pushState({}, "", "/spa/pricing")',
        'history.replaceState({}, "", "/spa/pricing?sort=up")',  # the same place
        'location.hash = "#features"',  # a part of the page
        'history.replaceState({}, "", "/spa/checkout")',
        'location.hash = "#/orders?id=7"',  # a route
        'location.hash = "#!/orders/8"',
    ):
        page.evaluate(script)
    page.go_back()
    events = until_stored(node, "spa", 6)
    assert shown(events) == [
        ("page_view", f"/spa/{place}")
        for place in (
            "",
            "pricing",
            "checkout",
            "checkout#/orders",
            "checkout#!/orders/8",
            "checkout#/orders",
        )
    ]
    assert events[0]["metadata"].keys() == {"host"}
    assert events[2]["metadata"]["referrer"] == f"{tracked.url}/spa/pricing"


def test_the_referrer_is_sent_without_its_query(node: Node, tracked: TrackedSite, opened: Open):
    page = opened(tracked.page("from", body='<a href="/referred/">on</a>') + "?token=secret")
    page.get_by_text("on").click()
    (view,) = until_stored(node, "referred", 1)
    assert view["metadata"]["referrer"] == f"{tracked.url}/from/"


def test_a_click_on_an_element_with_a_name_and_on_a_link_away_is_sent(
    node: Node, tracked: TrackedSite, opened: Open
):
    body = """<button data-nealytics="signup" data-nealytics-plan="pro" data-nealytics-item-id="top" data-secret="x">Sign <b>up</b></button>
      <a href="mailto:ada@example.com">mail</a> <a href="/clicks/on">here</a> <a id="away" href="http://localhost:9/a?q=1">away</a>"""
    page = opened(tracked.page("clicks", attributes='data-auto="outbound"', body=body))
    page.evaluate("addEventListener('click', (event) => event.preventDefault())")
    for text in ("up", "mail", "here", "away"):
        page.get_by_text(text, exact=True).click()
    page.evaluate(
        "document.querySelector('#away').dispatchEvent(new MouseEvent('auxclick', { button: 1, bubbles: true, composed: true }))"
    )
    events = until_stored(node, "clicks", 3)
    assert shown(events) == [
        ("signup", "top"),
        ("outbound_click", "http://localhost:9/a"),
        ("outbound_click", "http://localhost:9/a"),
    ]
    assert events[0]["metadata"] == {"plan": "pro"}


def test_a_page_that_is_prerendered_sends_nothing_until_somebody_sees_it(
    node: Node, tracked: TrackedSite, opened: Open
):
    page = opened("about:blank")
    sent = requests_of(page, node)
    page.add_init_script(
        "let hidden = true; Object.defineProperty(document, 'prerendering', { get: () => hidden });"
        "window.activate = () => { hidden = false; document.dispatchEvent(new Event('prerenderingchange')); }"
    )
    page.goto(tracked.page("prerendered"))
    page.evaluate("nealytics('early')")
    assert waiting(page) == 0
    assert sent == []
    page.evaluate("activate()")
    assert waiting(page) == 2
    assert {event["eventType"] for event in until_stored(node, "prerendered", 2)} == {"page_view", "early"}


def test_a_page_that_comes_back_from_the_cache_of_whole_pages_is_seen_again(
    node: Node, tracked: TrackedSite, browser: Any
):
    own = browser.browser_type.launch(
        executable_path=CHROMIUM, args=["--no-sandbox"], ignore_default_args=["--disable-back-forward-cache"]
    )
    page = own.new_page()
    page.goto(tracked.page("cached", "first"))
    until_stored(node, "cached", 1)
    until_sent(page)
    page.evaluate("window.kept = true")
    page.goto(tracked.page("cached", "second"))
    until_stored(node, "cached", 2)
    until_sent(page)
    page.evaluate("history.back()")
    events = until_stored(node, "cached", 3)
    assert [event["itemId"] for event in events] == ["/cached/first", "/cached/second", "/cached/first"]
    assert page.evaluate("window.kept")
    own.close()


# Who it is


def with_token(tenant: str, user: str, signed_in: str | None = None) -> str:
    """The attributes of a page for this user; somebody else may be signed in."""
    address = f"/token/{tenant}/{signed_in or user}"
    return f'data-token-url="{address}" data-tenant="{tenant}" data-user="{user}"'


def test_a_token_in_place_of_a_key_says_whose_the_events_are_and_is_renewed_when_it_has_ended(
    node: Node, tracked: TrackedSite, opened: Open
):
    page = opened("about:blank", expected=("status of 401", "the token has expired", "nealytics"))
    sent = requests_of(page, node)
    page.goto(tracked.page("own", attributes=with_token("own", "ada")))
    (view,) = until_stored(node, "own", 1)
    assert view["userId"] == "ada"
    until_sent(page)
    assert tracked.asked_tokens.count("own") == 2
    assert all("token" not in one.url for one in sent)
    page.evaluate("nealytics('short')")
    page.goto("about:blank")
    assert {event["eventType"] for event in until_stored(node, "own", 2)} == {"page_view", "short"}


def test_events_of_one_user_are_never_sent_with_the_token_of_another(
    node: Node, tracked: TrackedSite, opened: Open
):
    page = opened("about:blank", expected=(*OFFLINE, "status of 403", "nealytics"))
    page.add_init_script("navigator.sendBeacon = () => false")  # what is offline may let it pass
    page.goto(tracked.page("shared-ada", attributes=with_token("shared", "ada")))
    until_sent(page)
    page.context.set_offline(True)
    page.evaluate("nealytics('of ada')")
    page.goto("about:blank")
    page.context.set_offline(False)
    page.goto(tracked.page("shared-bob", attributes=with_token("shared", "bob")))
    until_stored(node, "shared", 2)
    until(lambda: waiting(page) == 1)
    # Ada's page is still open, or in a cache, when Bob is already signed in.
    with page.expect_response(lambda answer: answer.status == 403):
        page.goto(tracked.page("shared-both", attributes=with_token("shared", "ada", signed_in="bob")))
    # Pages that do not say whose they are may not write with Bob's token.
    with page.expect_response(lambda answer: answer.status == 403):
        page.goto(tracked.page("shared-none", attributes=with_token("shared", "", signed_in="bob")))
    until(lambda: waiting(page) == 3)
    until_stored(node, "shared", 2)
    page.evaluate(
        "Object.keys(localStorage).filter((entry) => entry.endsWith(']p')).forEach((entry) => delete localStorage[entry])"
    )
    page.goto(tracked.page("shared-ada"))
    events = until_stored(node, "shared", 5)
    assert [event["userId"] for event in events] == ["ada", "ada", "bob", "ada", "ada"]
    assert events[1]["eventType"] == "of ada"
    assert waiting(page) >= 1  # of nobody


def test_a_token_that_never_comes_does_not_keep_other_tabs_from_sending(
    node: Node, tracked: TrackedSite, opened: Open
):
    page = opened("about:blank")
    asked: list[Any] = []
    page.route("**/token/**", lambda route: asked.append(route))
    page.goto(tracked.page("hangs", attributes=with_token("hangs", "ada")))
    until(lambda: pump(page) and bool(asked))
    other = page.context.new_page()
    other.goto(tracked.page("hangs", "other"))
    until_stored(node, "hangs", 2)
    until_sent(other)


def test_a_page_for_signing_in_is_no_token(node: Node, tracked: TrackedSite, opened: Open):
    page = opened("about:blank", expected=("status of 401",))
    sent = requests_of(page, node)
    attributes = 'data-token-url="/signin/" data-tenant="signin"'
    with page.expect_response(
        lambda answer: answer.url.endswith("/signin/") and answer.request.resource_type == "fetch"
    ):
        page.goto(tracked.page("signin", attributes=attributes))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    until(lambda: pump(page) and bool(sent))
    assert all("html" not in one.url and one.headers.get("authorization") is None for one in sent)
    assert waiting(page) == 1


def test_a_key_may_have_signs_that_mean_something_in_an_address(
    node: Node, tracked: TrackedSite, opened: Open
):
    key = KEY_WITH_SIGNS.replace("&", "&amp;")
    page = opened(tracked.page("signs", attributes=f'data-key="{key}"'))
    until_stored(node, "signs", 1)
    until_sent(page)


def test_nothing_that_a_page_says_is_an_error_in_it(node: Node, tracked: TrackedSite, opened: Open):
    page = opened(tracked.page("odd", attributes='data-auto=""'), expected=("nealytics",))
    page.evaluate(
        """() => {
          const circle = {};
          circle.circle = circle;
          nealytics("circle", circle);
          nealytics("big", { n: 1n });
          nealytics("nothing", null);
          nealytics.identify("two\\nlines");
          nealytics("number", { itemId: 7 });
          nealytics("later");
        }"""
    )
    events = until_stored(node, "odd", 3)
    assert {(event["eventType"], event.get("itemId"), event.get("userId")) for event in events} == {
        ("nothing", None, None),
        ("number", "7", "two\nlines"),
        ("later", None, "two\nlines"),
    }


def test_a_session_is_one_for_all_tabs_and_ends_after_half_an_hour_without_events(
    node: Node, tracked: TrackedSite, opened: Open
):
    page = opened("about:blank")
    page.clock.install()
    page.goto(tracked.page("tabs"))
    other = page.context.new_page()
    other.goto(tracked.page("tabs", "other"))
    page.clock.run_for(29 * 60_000)
    page.evaluate('nealytics("still")')
    page.clock.run_for(2_000)
    page.clock.run_for(31 * 60_000)
    page.evaluate('nealytics("later")')
    page.clock.run_for(2_000)
    sessions = {event["eventType"]: event["sessionId"] for event in until_stored(node, "tabs", 4)}
    assert sessions["page_view"] == sessions["still"] != sessions["later"]
    assert len({event["sessionId"] for event in stored(node, "tabs")}) == 2


def test_who_identifies_is_known_on_later_pages_until_they_leave(
    node: Node, tracked: TrackedSite, opened: Open
):
    page = opened(tracked.page("people", attributes='data-auto=""'))
    page.evaluate('nealytics("first"); nealytics.identify("ada|\\u00fc", { plan: "pro" })')
    page.goto(tracked.page("people", "next"))
    page.evaluate('nealytics("second"); nealytics.identify(null); nealytics("third")')
    events = {event["eventType"]: event for event in until_stored(node, "people", 4)}
    first, identify, second, third = (events[name] for name in ("first", "$identify", "second", "third"))
    assert [event.get("userId") for event in (first, identify, second, third)] == [
        None,
        "ada|ü",
        "ada|ü",
        None,
    ]
    assert identify["metadata"] == {"plan": "pro"}
    assert first["sessionId"] == second["sessionId"] != third["sessionId"]


def test_who_opts_out_sends_nothing_until_they_opt_in(node: Node, tracked: TrackedSite, opened: Open):
    page = opened(tracked.page("out"))
    until_stored(node, "out", 1)
    until_sent(page)
    sent = requests_of(page, node)
    page.evaluate("nealytics.optOut(); nealytics('no')")
    page.goto(tracked.page("out", "next"))
    page.evaluate("nealytics('no'); nealytics.optOut(false); nealytics('yes')")
    until_sent(page)
    assert shown(until_stored(node, "out", 2)) == [("page_view", "/out/"), ("yes", None)]
    assert all('"no"' not in request.post_data for request in sent)


def test_opting_out_when_the_storage_is_full_holds_and_leaves_nothing_of_the_user(
    node: Node, tracked: TrackedSite, opened: Open
):
    page = opened(tracked.page("stuffed"))
    page.evaluate("nealytics.identify('ada')")
    until_sent(page)
    page.evaluate(
        """() => {
          let text = "x".repeat(2 ** 22);
          while (text) try { localStorage.stuff = (localStorage.stuff ?? "") + text; } catch { text = text.slice(text.length / 2 + 1); }
          nealytics("in memory");
          nealytics.optOut();
        }"""
    )
    page.goto(tracked.page("stuffed", "next"))
    page.evaluate("nealytics('no')")
    assert page.evaluate("Object.keys(localStorage).sort()") == ["nealytics,off", "stuff"]


def test_opting_in_keeps_what_waits(node: Node, tracked: TrackedSite, opened: Open):
    page = opened(tracked.page("in", attributes='data-auto=""'))
    page.evaluate("nealytics('waits'); nealytics.optOut(false)")
    assert waiting(page) == 1
    until_stored(node, "in", 1)


@pytest.mark.parametrize("wish", ["doNotTrack: { value: '1' }", "globalPrivacyControl: { value: true }"])
def test_the_wish_of_a_browser_not_to_be_tracked_is_respected_if_the_site_says_so(
    node: Node, tracked: TrackedSite, opened: Open, wish: str
):
    respected, ignored = f"dnt-{wish[:6]}", f"tracked-{wish[:6]}"
    page = opened("about:blank")
    page.add_init_script(f"Object.defineProperties(navigator, {{ {wish} }})")
    page.goto(tracked.page(respected, attributes="data-dnt"))
    page.evaluate("nealytics('no'); nealytics.identify('ada')")
    assert page.evaluate("localStorage.length") == 0
    page.goto(tracked.page(ignored))
    page.goto(tracked.page(ignored, attributes='data-dnt="false"'))
    until_stored(node, ignored, 2)
    assert stored(node, respected) == []


def test_with_memory_nothing_is_stored_on_the_device(node: Node, tracked: TrackedSite, opened: Open):
    page = opened(tracked.page("memory", attributes='data-storage="memory"'))
    page.evaluate("nealytics('one')")
    one, two = until_stored(node, "memory", 2)
    assert one["sessionId"] == two["sessionId"]
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


@pytest.mark.parametrize(
    "blocked",
    [
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })",
        "Object.defineProperty(window, 'localStorage', { value: null })",
        "Storage.prototype.setItem = () => {}; localStorage['a'] = 'x'.repeat(5 * 1024 * 1024 - 1)",
    ],
    ids=["blocked", "null", "full"],
)
def test_without_a_storage_events_are_sent_from_memory(
    node: Node, tracked: TrackedSite, opened: Open, blocked: str, request: pytest.FixtureRequest
):
    tenant = request.node.callspec.id
    page = opened("about:blank")
    page.add_init_script(blocked)
    page.goto(tracked.page(tenant))
    page.evaluate("nealytics('one')")
    one, two = until_stored(node, tenant, 2)
    assert one["sessionId"] == two["sessionId"]


# What is kept until it is answered


def test_events_of_a_page_without_network_are_sent_by_the_next_one_with_their_own_time(
    node: Node, tracked: TrackedSite, opened: Open
):
    page = opened(tracked.page("offline"), expected=OFFLINE)
    until_stored(node, "offline", 1)
    until_sent(page)
    page.context.set_offline(True)
    page.evaluate("nealytics('a'); nealytics('b')")
    before = page.evaluate("Date.now()")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    until(lambda: pump(page) and waiting(page) == 2)
    page.goto("about:blank")
    page.context.set_offline(False)
    page.goto(tracked.page("offline", "next"))
    events = until_stored(node, "offline", 4)
    assert [event["eventType"] for event in events] == ["page_view", "a", "b", "page_view"]
    assert events[2]["timestamp"].timestamp() * 1000 <= before


def test_a_page_that_ends_at_once_sends_by_beacon_and_the_next_page_again_and_it_counts_once(
    node: Node, tracked: TrackedSite, opened: Open
):
    page = opened(tracked.page("beacon", attributes='data-auto=""'))
    before = node.metric("nealytics_events_ingested_total")
    page.evaluate("nealytics('short')")
    page.goto("about:blank")
    until_stored(node, "beacon", 1)
    assert node.metric("nealytics_events_ingested_total") == before + 1
    page.goto(tracked.page("beacon", "next"))
    until_sent(page)
    assert node.metric("nealytics_events_ingested_total") == before + 2
    page.evaluate("nealytics('next')")
    assert [event["eventType"] for event in until_stored(node, "beacon", 2)] == ["short", "next"]


def answer(page: Any, *answers: dict[str, Any]) -> list[str]:
    """Answers the requests to the node from now on, and those after them as the last one; their bodies."""
    bodies: list[str] = []

    def fulfill(route: Any) -> None:
        bodies.append(route.request.post_data)
        given = answers[min(len(bodies), len(answers)) - 1]
        if not given:
            route.continue_()
            return
        headers = {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Expose-Headers": "Retry-After",
            **given.get("headers", {}),
        }
        body = given.get("body") or json.dumps(given.get("json", {}), separators=(",", ":"))
        route.fulfill(status=given["status"], headers=headers, body=body)

    page.route("**/api/v1/telemetry/batch**", fulfill)
    return bodies


def test_a_quota_that_is_used_up_is_asked_about_once_an_hour_by_all_pages_together(
    node: Node, tracked: TrackedSite, opened: Open
):
    page = opened("about:blank", expected=("status of 429", "quota_exceeded"))
    page.clock.install()
    refused = {"status": 429, "headers": {"Retry-After": "1209600"}, "json": {"code": "quota_exceeded"}}
    bodies = answer(page, refused, {})
    page.goto(tracked.page("quota"))
    page.clock.run_for(1_500)
    until(lambda: pump(page) and len(bodies) == 1)
    page.evaluate("nealytics('more')")
    page.clock.run_for(30 * 60_000)
    page.goto(tracked.page("quota", "next"))
    page.clock.run_for(20 * 60_000)
    assert pump(page)
    assert len(bodies) == 1
    assert waiting(page) == 3
    page.clock.run_for(30 * 60_000)
    until(lambda: pump(page) and waiting(page) == 0)
    assert [event["eventType"] for event in until_stored(node, "quota", 3)] == [
        "page_view",
        "more",
        "page_view",
    ]


def test_events_stay_after_each_answer_that_says_nothing_about_them(
    node: Node, tracked: TrackedSite, opened: Open
):
    statuses = (400, 401, 403, 404, 405, 408, 429, 500, 502, 503, 504, 200, 203)
    page = opened("about:blank", expected=("the server responded with a status of", "nealytics"))
    page.clock.install()
    html = "<!doctype html><title>not of the node</title>"
    bodies = answer(page, *({"status": status, "body": html} for status in statuses), {})
    page.goto(tracked.page("again"))
    # The clock is moved between two requests only: one that is not answered would end, and be sent again.
    until(
        lambda: (
            pump(page)
            and (not rests(page) or page.clock.fast_forward(3_600_000) is None)
            and not waiting(page)
        )
    )
    assert bodies == bodies[:1] * (len(statuses) + 1)
    until_stored(node, "again", 1)


def test_events_that_a_quota_refuses_within_a_request_stay(node: Node, tracked: TrackedSite, opened: Open):
    page = opened("about:blank", expected=("nealytics",))
    page.clock.install()
    error = {"index": 0, "error": "the quota is used up", "code": "quota_exceeded"}
    partly = {"status": 202, "json": {"accepted": 0, "rejected": 1, "errors": [error]}}
    bodies = answer(page, partly, {})
    page.goto(tracked.page("partly"))
    until(lambda: page.clock.run_for(2_000) is None and not waiting(page))
    assert bodies == bodies[:1] * 2
    until_stored(node, "partly", 1)


def test_events_that_are_refused_are_dropped_and_the_console_says_why(
    node: Node, tracked: TrackedSite, opened: Open
):
    statuses = (400, 403, 413)
    page = opened("about:blank", expected=("the server responded with a status of", "not like this"))
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    bodies = answer(
        page,
        *(
            {"status": status, "json": {"rejected": 1, "errors": [{"error": "not like this"}]}}
            for status in statuses
        ),
        {},
    )
    page.goto(tracked.page("refused", attributes='data-auto=""'))
    for number, _ in enumerate(statuses, start=1):
        page.evaluate("nealytics('refused')")
        until(lambda: pump(page) and len(bodies) == number and not waiting(page))  # noqa: B023
    # The queue is shorter before the messages of the console arrive here.
    until(lambda: pump(page) and sum("not like this" in text for text in said) == len(statuses))
    page.evaluate("nealytics('next')")
    until_sent(page)
    assert shown(until_stored(node, "refused", 1)) == [("next", None)]


def test_a_request_that_a_proxy_finds_too_large_is_divided_and_one_event_alone_given_up(
    node: Node, tracked: TrackedSite, opened: Open
):
    page = opened("about:blank", expected=("status of 413", "nealytics"))
    page.clock.install()
    bodies = answer(page, {"status": 413, "body": "too large"}, {"status": 413, "body": "too large"}, {})
    page.goto(tracked.page("divided", attributes='data-auto=""'))
    page.evaluate("nealytics('large', { text: 'x'.repeat(9_000) }); nealytics('small'); nealytics('small')")
    until(lambda: page.clock.run_for(2_000) is None and not waiting(page))
    assert [len(body.splitlines()) for body in bodies] == [3, 1, 2]
    assert shown(until_stored(node, "divided", 2)) == [("small", None)] * 2


def test_one_bad_event_and_one_damaged_entry_do_not_spoil_the_others(
    node: Node, tracked: TrackedSite, opened: Open
):
    page = opened(tracked.page("poison"), expected=("nealytics",))
    until_sent(page)
    page.evaluate(
        """() => {
          nealytics("good");
          nealytics("x".repeat(300));
          const good = Object.keys(localStorage).find((entry) => entry.includes("]e"));
          localStorage[good.replace(/.$/, "x")] = "{damaged";
          nealytics("also good");
        }"""
    )
    until_sent(page)
    assert {event["eventType"] for event in until_stored(node, "poison", 3)} == {
        "page_view",
        "good",
        "also good",
    }


def test_a_full_queue_drops_its_oldest_events(node: Node, tracked: TrackedSite, opened: Open):
    page = opened(tracked.page("many"), expected=OFFLINE)
    until_sent(page)
    page.context.set_offline(True)
    page.evaluate("for (let n = 0; n < 1007; n++) nealytics('many', { n })")
    assert waiting(page) == 1_000
    page.context.set_offline(False)
    until_sent(page)
    events = until_stored(node, "many", 1_001)
    # Events of one millisecond have no order.
    assert {event["metadata"]["n"] for event in events[1:]} >= set(range(100, 1007))


def test_requests_have_at_most_50_kilobytes_and_only_a_longer_event_does_not_outlive_its_page(
    node: Node, tracked: TrackedSite, opened: Open
):
    page = opened("about:blank")
    page.add_init_script(
        "const original = fetch; window.sent = []; window.fetch = (url, options) => "
        "{ sent.push([new Blob([options.body]).size, options.keepalive]); return original(url, options); };"
    )
    page.goto(tracked.page("long", attributes='data-auto=""'))
    page.evaluate(
        """() => { for (let n = 0; n < 60; n++) nealytics("part", { text: "€".repeat(1_000) });
          nealytics("long", { text: "€".repeat(80_000) }); nealytics("end"); }"""
    )
    until_sent(page)
    until_stored(node, "long", 62)
    sent = page.evaluate("sent")
    (long,) = [one for one in sent if one[0] > 50_000]
    assert long[0] > 240_000
    assert not long[1]
    assert all(keepalive for size, keepalive in sent if size <= 50_000)


def test_of_several_tabs_one_sends_at_a_time(node: Node, tracked: TrackedSite, opened: Open):
    page = opened("about:blank")
    context = page.context
    flying: list[Any] = []
    together: list[int] = []

    def hold(route: Any) -> None:
        flying.append(route)
        together.append(len(flying))

    context.route("**/api/v1/telemetry/batch**", hold)
    page.goto(tracked.page("locked"))
    others = [context.new_page() for _ in range(3)]
    for number, other in enumerate(others):
        other.goto(tracked.page("locked", f"{number}"))
    until(lambda: pump(page) and waiting(page) == 4)
    while waiting(page):
        until(lambda: pump(page) and bool(flying))
        flying.pop().continue_()
        until(lambda: pump(page) and (bool(flying) or not waiting(page)))
    assert set(together) == {1}
    until_stored(node, "locked", 4)


def test_a_wrong_clock_is_counted_and_changes_no_time(node: Node, tracked: TrackedSite, opened: Open):
    def counted(clock: str) -> float:
        status, body = node.request("GET", "/metrics")
        assert status == 200
        found = re.search(rf'nealytics_tracker_requests_total{{clock="{clock}"}} (\S+)', body.decode())
        assert found
        return float(found[1])

    for clock, wrong_by in (("ahead_hour", 7_200_000), ("behind_day", -3 * 86_400_000)):
        before = counted(clock)
        page = opened("about:blank")
        page.add_init_script(f"const now = Date.now; Date.now = () => now() + {wrong_by}")
        page.goto(tracked.page(clock))
        (view,) = until_stored(node, clock, 1)
        until_sent(page)
        assert counted(clock) == before + 1
        assert abs(page.evaluate("Date.now()") - view["timestamp"].timestamp() * 1000) < 60_000


# In other browsers


@pytest.mark.skipif(FIREFOX is None, reason="needs Firefox; on Debian: apt-get install firefox-esr")
def test_page_views_events_and_a_page_that_ends_at_once_in_firefox(
    node: Node, tracked: TrackedSite, tmp_path: Path
):
    async def visit() -> None:
        async with firefox(tmp_path) as tab:
            await tab.open(tracked.page("firefox"))
            await tab.evaluate("nealytics('one', { text: 'ü' })")
            await tab.evaluate("history.pushState({}, '', '/firefox/next')")
            await tab.evaluate("nealytics('last'); location = 'about:blank'")
            assert tab.errors == []
            until_stored(node, "firefox", 4)

    # In a thread of its own: in this one Playwright's loop may run.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, visit()).result()
    views = [event["itemId"] for event in stored(node, "firefox") if event["eventType"] == "page_view"]
    assert views == ["/firefox/", "/firefox/next"]


@pytest.mark.skipif(
    None in (DRIVER, SCREEN, BROWSER),
    reason="needs WebKit and a screen; on Debian: apt-get install webkit2gtk-driver xvfb",
)
def test_page_views_events_and_a_page_that_ends_at_once_in_webkit(
    node: Node, tracked: TrackedSite, tmp_path: Path
):
    with webkit(tmp_path) as tab:
        tab.call("POST", "/url", url=tracked.page("webkit"))
        tab.evaluate("nealytics('one', { text: 'ü' })")
        tab.evaluate("history.pushState({}, '', '/webkit/next')")
        tab.evaluate("nealytics('last')")
        tab.call("POST", "/url", url="about:blank")
        events = until_stored(node, "webkit", 4)
        tab.call("DELETE", "")
    views = [event["itemId"] for event in events if event["eventType"] == "page_view"]
    assert views == ["/webkit/", "/webkit/next"]
