"""What a page says when none of its elements has an answer: once, with one button, whatever each of them shows."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nealytics import demo
from tests.browser.conftest import Open, Site
from tests.browser.test_dashboard import figures, today, wait_for
from tests.e2e.node import token
from tests.waiting import until

PAGE = "<nealytics-dashboard></nealytics-dashboard>"
ACME = 'document.querySelector("nealytics-dashboard").getToken = () => TOKEN("acme");'


def refuse(page: Any, status: int = 503, code: str = "x") -> None:
    page.route(
        "**/analytics/query",
        lambda route: route.fulfill(
            status=status, headers={"Access-Control-Allow-Origin": "*"}, json={"code": code, "message": "no"}
        ),
    )


def shown(page: Any) -> dict[str, str]:
    """The figures of visits, as they are read."""
    tiles = page.locator("nealytics-figures li")
    until(lambda: tiles.count() == 6)
    return dict(text.split("\n")[:2] for text in tiles.all_inner_texts()[3:])


@pytest.mark.parametrize("languages", ["en", "de"])
def test_a_node_that_is_down_is_said_once_and_the_cards_are_quiet(site: Site, opened: Open, languages: str):
    said = {"en": "The analytics server cannot be reached", "de": "Der Analyse-Server ist nicht erreichbar"}
    console: list[str] = []
    page = opened("about:blank", expected=("ERR_FAILED", "nealytics: offline"))
    page.on("console", lambda m: console.append(m.text) if m.text.startswith("nealytics") else None)
    page.route("**/analytics/query", lambda route: route.abort())
    page.goto(site.page(f'<nealytics-dashboard lang="{languages}"></nealytics-dashboard>', script=ACME))
    page.get_by_role("status").get_by_text(said[languages]).wait_for()
    assert page.get_by_text(said[languages]).count() == 1
    assert page.locator("[part=notice] button").count() == 1
    assert page.locator("[part=error]").count() == 0
    cards = page.locator("section")
    until(lambda: page.locator(".absent").count() == cards.count())
    # The placeholders say nothing to a screen reader.
    assert page.locator(".absent:not([aria-hidden=true])").count() == 0
    until(lambda: page.evaluate("1") == 1 and console)
    assert len(console) == 1
    page.unroute("**/analytics/query")
    page.locator("[part=notice] button").click()
    until(lambda: page.locator("[part=notice]").inner_text() == "")
    wait_for(page)
    assert int(figures(page).get("Users", figures(page).get("Benutzer", "0")).replace(".", "")) >= 0


def test_the_same_error_of_every_question_is_said_once(site: Site, opened: Open):
    """ClickHouse is down: the request has an answer, and each question in it an error of its own."""
    page = opened("about:blank", expected=("clickhouse_unavailable",))

    def answer(route: Any) -> None:
        names = route.request.post_data_json["queries"]
        error = {"error": {"code": "clickhouse_unavailable", "message": "no"}}
        route.fulfill(
            headers={"Access-Control-Allow-Origin": "*"},
            json={"projectId": demo.PROJECT, "tenantId": "acme", "results": dict.fromkeys(names, error)},
        )

    page.route("**/analytics/query", answer)
    page.goto(site.page(PAGE, script=ACME))
    page.get_by_text("Too many requests at the moment").wait_for()
    until(lambda: page.locator(".absent").count() == page.locator("section").count())
    assert page.get_by_role("button", name="Try again").count() == 1


def test_a_list_that_fails_keeps_its_place_in_the_layout_and_offers_to_try_again(site: Site, opened: Open):
    page = opened("about:blank", expected=("nealytics: top: internal_error",))

    def answer(route: Any) -> None:
        queries = route.request.post_data_json["queries"]
        failing = {name for name, query in queries.items() if query.get("dimension") == "item_id"}
        response = route.fetch()
        lines = [json.loads(line) for line in response.text().splitlines()]
        for line in lines:
            for name in failing & line.get("results", {}).keys():
                line["results"][name] = {"error": {"code": "internal_error", "message": "no"}}
        route.fulfill(response=response, body="".join(json.dumps(line) + "\n" for line in lines))

    page.route("**/analytics/query", answer)
    page.goto(site.page(PAGE, script=ACME))
    wait_for(page)
    failed = page.locator('nealytics-top[dimension="item_id"]')
    failed.get_by_text("This chart could not be loaded").wait_for()
    page.unroute("**/analytics/query")
    failed.get_by_role("button", name="Try again").click()
    failed.locator("button.row").first.wait_for()


def test_an_element_alone_says_it_itself(site: Site, opened: Open):
    page = opened("about:blank", expected=("nealytics:", "status of 503"))
    refuse(page)
    page.goto(
        site.page(
            "<nealytics-figures></nealytics-figures>",
            script=ACME.replace("nealytics-dashboard", "nealytics-figures"),
        )
    )
    page.locator("[part=error]").get_by_text("Too many requests at the moment").wait_for()


def test_the_numbers_of_no_visits_are_dashes_and_no_filter_is_mentioned(site: Site, opened: Open):
    page = opened(
        site.page('<nealytics-dashboard range="2020-01-01..2020-01-31"></nealytics-dashboard>', script=ACME)
    )
    wait_for(page)
    assert shown(page) == {"Events per session": "–", "Median visit": "–", "Bounce rate": "–"}
    assert page.get_by_text("Choose a longer period.", exact=True).count() >= 2
    page.evaluate("document.querySelector('nealytics-dashboard').filter = 'event_type:eq:search'")
    page.get_by_text("No data with this filter").first.wait_for()
    assert page.get_by_text("Choose a longer period or remove a filter.").count() >= 1


def test_visits_of_which_a_filter_leaves_single_events_have_no_bounce_rate(site: Site, opened: Open):
    page = opened(site.page(PAGE.replace(">", ' filter="event_type:eq:search">', 1), script=ACME))
    wait_for(page)
    found = shown(page)
    assert [found[name] for name in ("Median visit", "Bounce rate")] == ["–", "–"]
    assert found["Events per session"] != "–"


def test_a_tenant_without_a_first_event_sees_one_card_and_then_the_page(site: Site, opened: Open):
    given = token("first", "new-tenant")
    page = opened("about:blank")
    page.clock.install()
    page.goto(
        site.page(PAGE, script=f'document.querySelector("nealytics-dashboard").getToken = () => "{given}";')
    )
    page.get_by_text("No events yet").wait_for()
    assert page.locator("section").count() == 0
    event = {**site.events[-1], "projectId": "first", "tenantId": "new-tenant"}
    event["timestamp"] = f"{today() - timedelta(days=1)}T12:00:00+00:00"
    assert site.node.post("batch", [event])[0] == 202
    site.node.wait_drained()
    page.clock.run_for(61_000)
    page.locator("nealytics-figures .value").first.wait_for()
    wait_for(page)
    assert figures(page)["Events"] == "1"


def test_answers_that_came_are_not_reported_as_cancelled(site: Site, opened: Open):
    sent, ended, failed = [], [], []
    page = opened("about:blank")
    page.on("request", lambda request: sent.append(request.url))
    page.on("requestfinished", lambda request: ended.append(request.url))
    page.on("requestfailed", lambda request: failed.append(f"{request.url}: {request.failure}"))
    for turn in range(1, 5):
        page.goto(
            site.page(
                '<nealytics-dashboard range="2020-01-01..2020-01-31"></nealytics-dashboard>', script=ACME
            )
        )
        # The page, the script, all that is shown, and whether there are events at any time.
        until(lambda: page.evaluate("1") == 1 and sum(url.endswith("/query") for url in sent) == 2 * turn)  # noqa: B023
        wait_for(page)
        until(lambda: page.evaluate("1") == 1 and len(ended) + len(failed) == len(sent))
    assert failed == []


def test_the_text_of_the_docs_for_a_node_that_is_down_is_shown_only_then(site: Site, opened: Open):
    docs = Path(__file__).parents[2] / "docs" / "embedding.md"
    (snippet,) = [part for part in docs.read_text().split("```") if "analytics-down" in part]
    body = "<!doctype html><title>A SaaS</title><link rel=icon href=data:,>" + snippet.removeprefix("html")
    text = "The analytics cannot be loaded right now."
    page = opened("about:blank", expected=("ERR_", "no_token"))
    page.goto(site.file(body))
    page.get_by_text(text).wait_for()
    page.goto(site.file(f'<script type="module" src="{site.node.url}/embed.js"></script>{body}'))
    page.locator("nealytics-dashboard [part=controls]").wait_for()
    assert not page.get_by_text(text).is_visible()


NARROW = {
    "a column that centres": "display: flex; flex-direction: column; align-items: center",
    "a row": "display: flex",
    "a grid that centres": "display: grid; justify-items: center",
    "an inline block": "display: inline-block",
    "a float": "float: left",
}


@pytest.mark.parametrize("parent", NARROW)
@pytest.mark.parametrize("width", [320, 1280])
def test_it_has_a_width_in_a_parent_that_takes_that_of_its_content(
    site: Site, opened: Open, parent: str, width: int
):
    rules = f".around {{ {NARROW[parent]} }} main {{ max-width: 1200px; margin: 0 auto }}"
    style = f"const s = new CSSStyleSheet(); s.replaceSync('{rules}'); document.adoptedStyleSheets.push(s);"
    page = opened(
        site.page(f'<div class="around"><main>{PAGE}</main></div>', script=style + ACME),
        viewport={"width": width, "height": 900},
    )
    wait_for(page)
    box = page.locator("nealytics-dashboard").bounding_box()
    assert box["width"] >= min(width - 40, 1200)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
