"""Data that nobody wants: markup in every field, texts that are long, empty, or run the other way, none, and a lot.

Trusted Types are enforced and scripts come from the node alone, so whatever were interpreted would be an error in
the console, on which the fixture fails.
"""

import csv
import json
import shutil
import subprocess
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest

from tests.browser.conftest import Open, Site
from tests.browser.test_dashboard import figures, number, wait_for
from tests.e2e.node import JWT_KEY, KEY, token
from tests.engine import ask_engine
from tests.waiting import until, until_equal

PROJECT = "hostile"
TENANT = "<b onclick=window.hacked=1>\"tenant'</b>"
NAMES = [
    "<img src=x onerror=window.hacked=1>",
    "<script>window.hacked=1</script>",
    '"><svg onload="window.hacked=1">',
    "'+window.hacked=1+'",
    "${window.hacked=1}",
    "{{constructor.constructor('window.hacked=1')()}}",
    "javascript:window.hacked=1",
    '=HYPERLINK("http://127.0.0.1/")',
    "a:eq:b,c\\d",
    "two\nlines\tand\ttabs",
    "مرحبا بالعالم (v2)",
    "\u202eoverride\u202c",
    "👩‍👩‍👧‍👦 🎉",
    "zero\u200bwidth\u2060",
    "null",
    "42",
    "W" * 256,
    "x" * 253 + "🎉",
]
KEYS = ["<img src=x onerror=window.hacked=2>", "K" * 120, "\u202ekey", "a.b:c\\d"]
INTERPRETED = """
() => {
  const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  return all(document.body).filter((e) => e.matches("img, iframe, object, a[href^=javascript]")
    || [...e.attributes].some(({ name }) => name.startsWith("on"))).map((e) => e.outerHTML);
}
"""
# What reaches out of the window, unless it is cut off by something that scrolls or clips.
WIDER = """
() => {
  if (document.documentElement.scrollWidth <= innerWidth) return [];
  const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  const cut = (e) => {
    for (let up = e.assignedSlot ?? e.parentNode ?? e; up !== document; up = up.assignedSlot ?? up.parentNode ?? up.host) {
      if (up instanceof Element && getComputedStyle(up).overflowX !== "visible" && up !== document.body) return true;
    }
    return false;
  };
  return all(document.body).filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !cut(e))
    .map((e) => `${e.getRootNode().host?.localName} ${e.localName}.${e.getAttribute("class")}`);
}
"""
ELEMENTS = """<nealytics-figures></nealytics-figures><nealytics-timeseries group-by="item_id"></nealytics-timeseries>
  <nealytics-top dimension="event_type, item_id, user_id, session_id" limit="30"></nealytics-top>
  <nealytics-properties limit="30"></nealytics-properties><nealytics-funnel></nealytics-funnel>
  <nealytics-retention></nealytics-retention><nealytics-sessions limit="30"></nealytics-sessions>
  <nealytics-paths></nealytics-paths><nealytics-active></nealytics-active><nealytics-heatmap></nealytics-heatmap>
  <nealytics-timeline limit="30"></nealytics-timeline><nealytics-live></nealytics-live>"""


@pytest.fixture(scope="module")
def counts(site: Site) -> Counter[str]:
    """How often each name occurs, in each field."""
    counts = Counter({name: len(NAMES) + 3 - place for place, name in enumerate(NAMES)})
    now = datetime.now(UTC) - timedelta(hours=3)
    events = [
        {
            "eventId": str(uuid4()),
            "projectId": PROJECT,
            "tenantId": TENANT,
            "sessionId": name,
            "userId": name,
            "eventType": name,
            "itemId": name,
            "metadata": {
                **dict.fromkeys(KEYS, name),
                # In one of them, so that they are no tabs.
                **({} if again else {"none": None, "number": place, "list": [name, None, {"<i>": name}]}),
            },
            "timestamp": (now + timedelta(seconds=7 * place, minutes=again)).isoformat(),
        }
        for place, name in enumerate(NAMES)
        for again in range(counts[name])
    ]
    status, body = site.node.post("batch", events)
    assert (status, json.loads(body).get("rejected", 0)) == (202, 0), body
    site.node.wait_drained()
    return counts


def hostile(site: Site, body: str, script: str = "") -> str:
    given = token(PROJECT, TENANT)
    return site.page(
        body, script=f'document.querySelector("nealytics-dashboard").getToken = () => "{given}";{script}'
    )


def rows(page: Any, element: str) -> dict[str, float]:
    found: list[list[str]] = page.locator(f"{element} .row").evaluate_all(
        """(rows) => rows.map((row) => [row.querySelector(".key").textContent,
          row.querySelector(".count span:last-child").title])"""
    )
    return {name: number(count) for name, count in found}


@pytest.mark.parametrize("width", [1280, 320])
def test_nothing_in_any_field_is_interpreted_and_everything_is_shown_as_it_is(
    site: Site, opened: Open, counts: Counter[str], width: int
):
    script = f"""
      const dashboard = document.querySelector("nealytics-dashboard");
      dashboard.querySelector("nealytics-funnel").steps = {json.dumps(NAMES[0])} + "," + {json.dumps(NAMES[2])};
      dashboard.querySelector("nealytics-top").heading = "";
    """
    body = f'<nealytics-dashboard range="7d">{ELEMENTS}</nealytics-dashboard>'
    page = opened(hostile(site, body, script), viewport={"width": width, "height": 900})
    wait_for(page)
    top = page.locator("nealytics-top [role=tab]")
    for place in range(top.count()):
        top.nth(place).click()
        until_equal(lambda: rows(page, "nealytics-top"), dict(counts))
    tabs = page.locator("nealytics-properties [role=tab]")
    assert tabs.count() >= len(KEYS)
    for place in range(len(KEYS)):
        tabs.nth(place).click()
        until_equal(lambda: rows(page, "nealytics-properties"), dict(counts), 8)
    until(lambda: page.locator("nealytics-live .what").count() > 0)
    page.locator("nealytics-timeline .event").first.click()
    page.locator("nealytics-timeline dd", has_text=NAMES[0]).first.wait_for()
    page.locator("nealytics-sessions .row").first.click()
    page.locator("nealytics-sessions .events li").first.wait_for()
    page.get_by_label("Start").select_option(NAMES[1])
    wait_for(page)
    assert page.evaluate(INTERPRETED) == []
    assert page.evaluate("window.hacked") is None
    assert page.evaluate(WIDER) == [], json.dumps(page.evaluate(WIDER))


def test_such_names_become_a_filters_that_find_their_events_by_a_click_and_by_a_link(
    site: Site, opened: Open, counts: Counter[str]
):
    body = """<nealytics-dashboard range="7d" sync-url><nealytics-figures></nealytics-figures>
      <nealytics-top dimension="item_id" limit="30"></nealytics-top></nealytics-dashboard>"""
    page = opened(hostile(site, body))
    wait_for(page)
    total = sum(counts.values())
    for name in (
        NAMES[0],
        NAMES[5],
        "a:eq:b,c\\d",
        "two\nlines\tand\ttabs",
        "\u202eoverride\u202c",
        NAMES[-1],
    ):
        count = counts[name]
        place = list(rows(page, "nealytics-top")).index(name)
        page.locator("nealytics-top .row").nth(place).click()
        until(lambda: number(figures(page).get("Events") or "-1") == count)  # noqa: B023
        assert name in (page.locator("nealytics-dashboard .chip").text_content() or "")
        page.reload()
        until(lambda: number(figures(page).get("Events") or "-1") == count)  # noqa: B023
        page.locator("nealytics-dashboard .chip button").click()
        until(lambda: number(figures(page).get("Events") or "-1") == total)
    assert page.evaluate("window.hacked") is None


def test_a_list_as_csv_has_no_formula_and_every_name(site: Site, opened: Open, counts: Counter[str]):
    body = """<nealytics-dashboard range="7d"><nealytics-top dimension="item_id" limit="30"></nealytics-top></nealytics-dashboard>"""
    page = opened(hostile(site, body))
    wait_for(page)
    page.locator("nealytics-top header .menu button").first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    with open(download.value.path(), newline="", encoding="utf-8-sig") as file:
        found = {row[0]: row[1] for row in list(csv.reader(file))[1:]}
    expected = {("'" + name if name.startswith("=") else name): str(count) for name, count in counts.items()}
    assert found == expected


def test_a_tenant_with_markup_for_a_name_is_picked_by_it(site: Site, opened: Open, counts: Counter[str]):
    whole = jwt.encode(
        {"project_id": PROJECT, "scope": "project", "exp": 4_000_000_000}, JWT_KEY, algorithm="HS256"
    )
    page = opened(
        site.page(
            '<nealytics-dashboard range="7d"></nealytics-dashboard>',
            script=f'document.querySelector("nealytics-dashboard").getToken = () => "{whole}";',
        )
    )
    picker = page.locator("nealytics-dashboard [part=tenant]")
    picker.wait_for()
    wait_for(page)
    picker.select_option(TENANT)
    until(lambda: number(figures(page).get("Events") or "-1") == sum(counts.values()))
    assert page.evaluate(INTERPRETED) == []
    assert page.evaluate("window.hacked") is None


# No events


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl, which the line for developers calls")
@pytest.mark.parametrize("element", ["dashboard", "top"])
def test_a_tenant_without_events_sees_a_friendly_line_and_its_developer_one_that_sends_the_first(
    site: Site, opened: Open, element: str
):
    project, tenant = f"new-{element}", 'it\'s "new"'
    given = token(project, tenant)
    script = f'document.querySelector("nealytics-{element}").getToken = () => {json.dumps(given)};'
    page = opened(
        site.page(f"<nealytics-{element} dev></nealytics-{element}>", script=script),
        permissions=["clipboard-read", "clipboard-write"],
    )
    # A dashboard asks further, and then knows that there was never an event.
    said = "No events yet" if element == "dashboard" else "No data in this period"
    page.get_by_text(said).first.wait_for()
    line = page.locator("[part=sample] code")
    assert line.count() == 1
    page.get_by_role("button", name="Copy", exact=True).click()
    page.get_by_role("button", name="✓ Copy").wait_for()
    command = page.evaluate("navigator.clipboard.readText()")
    assert command == line.text_content()
    assert f"{site.node.url}/api/" in command
    done = subprocess.run(
        ["bash", "-c", command.replace("X-Project-Key: KEY", f"X-Project-Key: {KEY}") + " -sS -f"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    site.node.wait_drained()
    page.evaluate(f'document.querySelector("nealytics-{element}").page.refresh()')
    page.locator("nealytics-top .row", has_text="signup").first.wait_for()
    until(lambda: page.locator("[part=sample]").count() == 0)


def test_without_dev_a_tenant_without_events_sees_no_command(site: Site, opened: Open):
    script = f'document.querySelector("nealytics-dashboard").getToken = () => "{token("nothing", "nobody")}";'
    page = opened(site.page("<nealytics-dashboard></nealytics-dashboard>", script=script))
    page.get_by_text("No events yet").wait_for()
    assert page.locator("[part=sample]").count() == 0


# Many


MANY = 1_000_000


@pytest.fixture(scope="module")
def many(site: Site) -> None:
    """Straight into the table, since this is not about sending."""
    sql = f"""
      INSERT INTO nealytics_core.global_events
        (event_id, project_id, tenant_id, session_id, user_id, event_type, item_id, metadata_json, timestamp)
      SELECT generateUUIDv4(), 'many', 'acme', concat('s', toString(intDiv(number, 20))), concat('u', toString(number)),
        concat('type ', toString(number % 5000)), concat('/page/', toString(number), '/', repeat('x', number % 200)),
        concat('{{"id":"', toString(number), '","plan":"p', toString(number % 3), '"}}'),
        now64(3) - toIntervalMillisecond(100000000 + number)
      FROM numbers({MANY})"""
    reply = ask_engine(site.node.directory / "data", sql)
    assert reply.status == 200, reply.text


def test_a_million_distinct_values_make_short_lists_and_a_page_that_answers(
    site: Site, opened: Open, many: None
):
    given = token("many", "acme")
    page = opened(
        site.page(
            '<nealytics-dashboard range="7d"></nealytics-dashboard>'
            '<nealytics-dashboard range="7d"><nealytics-timeseries group-by="item_id"></nealytics-timeseries>'
            '<nealytics-top dimension="user_id, session_id, meta:id"></nealytics-top></nealytics-dashboard>',
            script=f'for (const d of document.querySelectorAll("nealytics-dashboard")) d.getToken = () => "{given}";',
        ),
        expected=("more than 10000 points",),
    )
    page.set_default_timeout(120_000)
    wait_for(page)
    assert number(figures(page)["Users"]) == MANY
    assert number(figures(page)["Events"]) == MANY
    items = page.locator('nealytics-top[dimension="item_id"] .row')
    assert items.count() == 9  # and the others
    assert page.get_by_text("Too much data for one chart").count() == 1  # a line for each of a million pages
    # A list of ids helps nobody, one of plans does.
    tabs = page.locator("nealytics-properties [role=tab]")
    assert tabs.all_inner_texts() in ([], ["plan"])
    assert page.locator("nealytics-properties .row").count() == 3
    size = page.evaluate(
        """() => { const all = (root) => [...root.querySelectorAll("*")].reduce((n, e) => n + 1 + (e.shadowRoot ? all(e.shadowRoot) : 0), 0);
          return all(document); }"""
    )
    assert size < 10_000
    page.locator("nealytics-dashboard [part=range]").first.click()
    page.locator("nealytics-dashboard [role=dialog]").wait_for()
    page.keyboard.press("Escape")
    items.first.click()
    until(lambda: number(figures(page).get("Events") or "-1") == 1)
