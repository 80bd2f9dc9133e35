"""What the page around the elements sets, changes and hears."""

from datetime import timedelta
from typing import Any

from tests.browser.conftest import Open, Site
from tests.browser.test_dashboard import ACME, DASHBOARD, chosen, figures, number, today, wait_for
from tests.waiting import until

FIGURES = "<nealytics-dashboard {}><nealytics-figures></nealytics-figures></nealytics-dashboard>"
HEARD = """
globalThis.heard = [];
for (const name of ["ready", "range-change", "filter-change", "select", "error"]) {
  document.addEventListener("nealytics-" + name, (event) => heard.push([name, event.detail]));
}
"""


def shown(page: Any) -> float:
    return number(figures(page).get("Events", "0"))


def test_another_getToken_shows_nothing_of_the_tenant_before_it(site: Site, opened: Open):
    """Also of a range in the past, whose answers are kept."""
    page = opened(site.page(FIGURES.format('range="yesterday"'), script=ACME))
    day = today() - timedelta(days=1)
    of = {tenant: len(chosen(site, day, day, tenant)) for tenant in ("acme", "globex")}
    assert of["acme"] != of["globex"]
    until(lambda: shown(page) == of["acme"])
    page.evaluate(
        f"""() => {{
          const dashboard = document.querySelector("nealytics-dashboard");
          dashboard.getToken = async () => {{
            await new Promise((resolve) => (globalThis.give = resolve));
            return {site.token("globex")!r};
          }};
        }}"""
    )
    page.wait_for_function("() => globalThis.give")
    assert page.locator("nealytics-figures .value").count() == 0
    page.evaluate("() => give()")
    until(lambda: shown(page) == of["globex"])


def test_attributes_that_change_later_hold_and_leave_what_the_person_chose(site: Site, opened: Open):
    page = opened(site.page(FIGURES.format(""), script=HEARD + ACME))
    wait_for(page)
    last = today()
    page.evaluate('() => document.querySelector("nealytics-dashboard").setAttribute("range", "7d")')
    week = chosen(site, last - timedelta(days=6), last)
    until(lambda: shown(page) == len(week))
    page.evaluate(
        '() => document.querySelector("nealytics-dashboard").setAttribute("filter", "item_id:eq:/team")'
    )
    team = [event for event in week if event.get("itemId") == "/team"]
    until(lambda: shown(page) == len(team))
    page.locator("nealytics-dashboard [part=range]").click()
    page.get_by_role("button", name="Yesterday").click()
    page.evaluate('() => document.querySelector("nealytics-dashboard").setAttribute("filter", "")')
    day = last - timedelta(days=1)
    until(lambda: shown(page) == len(chosen(site, day, day)))


def test_the_page_hears_when_the_first_answers_are_shown_and_of_changes(site: Site, opened: Open):
    page = opened(site.page(FIGURES.format('range="7d" tz="UTC"'), script=HEARD + ACME))
    page.wait_for_function('() => heard.some(([name]) => name === "ready")')
    assert page.locator("nealytics-figures .value").count() > 0
    (ready,) = page.evaluate('() => heard.filter(([name]) => name === "ready").map(([, detail]) => detail)')
    assert (ready["preset"], ready["tz"], ready["comparison"], ready["filters"]) == (
        "7d",
        "UTC",
        "previous",
        [],
    )
    page.evaluate("() => (heard.length = 0)")
    page.evaluate('() => document.querySelector("nealytics-dashboard").setAttribute("compare", "year")')
    page.wait_for_function("() => heard.length > 0")
    ((name, detail),) = page.evaluate("() => heard")
    assert name == "range-change"
    assert (detail["comparison"], detail["preset"]) == ("year", "7d")


def test_the_page_hears_why_one_question_or_all_have_no_answer(site: Site, opened: Open):
    body = '<nealytics-dashboard><nealytics-top dimension="nonsense"></nealytics-top></nealytics-dashboard>'
    page = opened(site.page(body, script=HEARD + ACME), expected=("nealytics:",))
    page.wait_for_function('() => heard.some(([name]) => name === "error")')
    error = page.evaluate('() => heard.find(([name]) => name === "error")[1]')
    assert (error["code"], error["endpoint"]) == ("invalid_parameter", "top")
    page = opened(site.page(DASHBOARD, script=HEARD), expected=("nealytics:",))
    page.wait_for_function('() => heard.some(([name]) => name === "error")')
    error = page.evaluate('() => heard.find(([name]) => name === "error")[1]')
    assert (error["code"], error["status"], "endpoint" in error) == ("no_token", 0, False)


def test_another_src_asks_the_other_node(site: Site, opened: Open):
    page = opened(
        site.page(FIGURES.format('range="yesterday"'), script=ACME),
        expected=("404", "nealytics:", "CORS", "ERR_"),
    )
    day = today() - timedelta(days=1)
    until(lambda: shown(page) == len(chosen(site, day, day)))
    page.route("**/elsewhere/**", lambda route: route.fulfill(status=404, json={"code": "not_found"}))
    with page.expect_request(f"{site.node.url}/elsewhere/api/v1/analytics/query"):
        page.evaluate(
            f'() => document.querySelector("nealytics-dashboard").src = "{site.node.url}/elsewhere"'
        )
