"""Elements with a measure of the API: revenue as a number, a chart and a list."""

import csv
import json
import re
import statistics
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Open, Site
from tests.browser.test_dashboard import ACME, chosen, day_of, today
from tests.e2e.node import token
from tests.waiting import until, until_equal

REVENUE = "sum(meta:amount)[event_type:eq:payment]"
PAGE = f"""<nealytics-dashboard range="30d">
  <nealytics-figures measure="{REVENUE}&#10;rate(payment)" heading="Revenue&#10;Paying users" currency="EUR"></nealytics-figures>
  <nealytics-timeseries class="wide" id="chart" measure="{REVENUE}" heading="Revenue" currency="EUR"></nealytics-timeseries>
  <nealytics-timeseries id="plans" measure="{REVENUE}" group-by="meta:plan" kind="bars" heading="Revenue by plan"
    currency="EUR"></nealytics-timeseries>
  <nealytics-top dimension="meta:plan" measure="{REVENUE}" heading="Plans" currency="EUR"></nealytics-top>
</nealytics-dashboard>"""


def payments(site: Site) -> list[dict[str, Any]]:
    events = chosen(site, today() - timedelta(days=29), today())
    return [one for one in events if one["eventType"] == "payment"]


def amount_of(one: dict[str, Any]) -> Decimal:
    metadata = one.get("metadata") or json.loads(one["metadataJson"])
    return Decimal(str(metadata["amount"]))


def plan_of(one: dict[str, Any]) -> str:
    return str((one.get("metadata") or json.loads(one["metadataJson"]))["plan"])


def euros(text: str) -> Decimal:
    assert text.startswith("€"), text
    return Decimal(text[1:].replace(",", ""))


def test_revenue_is_a_number_a_chart_and_a_list(site: Site, opened: Open):
    page = opened(site.page(PAGE, script=ACME))
    total = sum(map(amount_of, payments(site)))
    assert total > 0
    value = page.locator("nealytics-figures .value").first
    until(lambda: value.count() == 1 and bool(value.get_attribute("title")))
    assert euros(value.get_attribute("title")) == total
    assert page.locator("nealytics-figures .label").all_inner_texts() == ["Revenue", "Paying users"]
    assert page.locator("nealytics-figures .value").nth(1).inner_text().endswith("%")
    rows = page.locator("#chart .sr tbody tr")
    until(lambda: rows.count() == 30)
    of_day: dict[str, Decimal] = defaultdict(Decimal)
    for one in payments(site):
        of_day[str(day_of(one))] += amount_of(one)
    shown = {
        row[0][:10]: Decimal(row[1].replace(",", ""))
        for row in page.evaluate(
            "[...document.querySelector('#chart').shadowRoot.querySelectorAll('.sr tbody tr')]"
            ".map((row) => [...row.cells].map((cell) => cell.textContent.trim()))"
        )
    }
    assert sum(shown.values()) == total
    assert sorted(filter(None, shown.values())) == sorted(filter(None, of_day.values()))
    of_plan: dict[str, Decimal] = defaultdict(Decimal)
    for one in payments(site):
        of_plan[plan_of(one)] += amount_of(one)
    expected = sorted(of_plan.items(), key=lambda item: (-item[1], item[0]))
    titles = "[...document.querySelector('nealytics-top').shadowRoot.querySelectorAll('.bars .count [title]')].map((e) => e.title)"
    until_equal(
        lambda: [euros(text) for text in page.evaluate(titles)][: len(expected)],
        [amount for _, amount in expected],
    )
    keys = page.locator("nealytics-top .key").all_inner_texts()
    assert keys[: len(expected)] == [key for key, _ in expected]


def saved(page: Any, element: str) -> list[list[str]]:
    page.locator(f"{element} header .menu button").first.click()
    with page.expect_download() as download:
        page.locator(element).get_by_role("button", name="Download CSV").click()
    return list(csv.reader(download.value.path().read_text(encoding="utf-8-sig").splitlines()))


@pytest.mark.parametrize("measure", [REVENUE, "users[event_type:eq:payment]"])
def test_a_list_says_what_its_shares_are_of(site: Site, opened: Open, measure: str):
    list_ = f'<nealytics-top dimension="meta:plan" measure="{measure}" heading="Plans"></nealytics-top>'
    page = opened(site.page(f'<nealytics-dashboard range="30d">{list_}</nealytics-dashboard>', script=ACME))
    page.locator("nealytics-top .bars li").first.wait_for()
    of, place = (measure, 1) if measure == REVENUE else ("Events", 2)
    head, *rows = saved(page, "nealytics-top")
    assert head[1:] == [measure, "Events", f"Share: {of}", "Users"]
    total = sum(Decimal(row[place]) for row in rows)
    assert [float(row[3]) for row in rows] == pytest.approx(
        [float(Decimal(row[place]) / total) for row in rows]
    )
    shown = page.locator("nealytics-top .bars .share").all_inner_texts()
    assert len(shown) == (len(rows) if measure == REVENUE else 0)
    assert all(
        abs(float(text.rstrip("%")) / 100 - float(row[3])) < 0.01
        for text, row in zip(shown, rows, strict=False)
    )


@pytest.mark.parametrize("measure", [REVENUE, "median(meta:amount)"])
def test_the_other_values_have_the_measure_too(site: Site, opened: Open, measure: str):
    list_ = f'<nealytics-top dimension="meta:plan" measure="{measure}" limit="1"></nealytics-top>'
    page = opened(site.page(f'<nealytics-dashboard range="30d">{list_}</nealytics-dashboard>', script=ACME))
    rest = page.locator("nealytics-top .rest")
    rest.wait_for()
    first, other = saved(page, "nealytics-top")[1:]
    amounts = [amount_of(one) for one in payments(site) if plan_of(one) != first[0]]
    assert amounts
    expected = sum(amounts) if measure == REVENUE else Decimal(statistics.median(amounts))
    assert (other[0], Decimal(other[1])) == ("Other", expected)
    shown = rest.locator("[title]").get_attribute("title")
    assert Decimal(shown.replace(",", "")) == expected
    assert rest.locator(".share").count() == (measure == REVENUE)
    page.locator("nealytics-top").get_by_role("button", name="Show more").click()
    until(lambda: rest.count() == 0)


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_wider_than_the_window(site: Site, opened: Open, width: int):
    page = opened(site.page(PAGE, script=ACME), viewport={"width": width, "height": 900})
    until(lambda: page.locator("nealytics-figures .value").count() == 2)
    until(lambda: page.locator("nealytics-top .bars .key").count() > 0)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_heading_stands_apart_from_the_tabs(site: Site, opened: Open):
    element = '<nealytics-top dimension="meta:plan,meta:country" heading="Revenue of"></nealytics-top>'
    page = opened(site.page(f"<nealytics-dashboard>{element}</nealytics-dashboard>", script=ACME))
    page.locator("nealytics-top .bars li").first.wait_for()
    title = page.locator("nealytics-top h3").bounding_box()
    tab = page.get_by_role("tab").first.bounding_box()
    assert tab["x"] - (title["x"] + title["width"]) > 100


def test_a_currency_that_does_not_exist_is_named_and_left_out(site: Site, opened: Open):
    page = opened(site.page(PAGE.replace("EUR", "euro"), script=ACME), expected=("write a code of ISO 4217",))
    value = page.locator("nealytics-figures .value").first
    until(lambda: value.count() == 1)
    assert value.inner_text()[0].isdigit()


def test_a_measure_that_is_none_says_that_it_could_not_be_loaded(site: Site, opened: Open):
    page = opened(
        site.page(PAGE.replace("sum(meta:amount)", "total(meta:amount)"), script=ACME),
        expected=("invalid_parameter",),
    )
    page.locator("nealytics-top").get_by_text("This chart could not be loaded").wait_for()


LEDGER = """<nealytics-dashboard range="7d">
  <nealytics-figures measure="sum(meta:amount)&#10;avg(meta:amount)" heading="Balance&#10;Average" currency="EUR"></nealytics-figures>
  <nealytics-timeseries id="sum" measure="sum(meta:amount)" heading="Balance" currency="EUR"></nealytics-timeseries>
  <nealytics-timeseries id="average" measure="avg(meta:amount)" heading="Average"></nealytics-timeseries>
  <nealytics-timeseries id="bars" kind="bars" group-by="event_type" measure="sum(meta:amount)" heading="By type"></nealytics-timeseries>
  <nealytics-funnel steps="sale, refund" window="7d" order="any" breakdown="meta:plan" measure="sum(meta:amount)" currency="EUR"></nealytics-funnel>
</nealytics-dashboard>"""
# Days before today → what was sold and refunded; on one day is nothing.
BOOKED = {5: [("sale", 40), ("refund", -90)], 4: [("sale", 10)], 2: [("sale", 60)], 1: [("refund", -20)]}


@pytest.fixture(scope="module")
def ledger(site: Site) -> str:
    """The script of the page of a tenant with refunds. Its project is its own: others count the demo's tenants."""
    noon = datetime.now(UTC).replace(hour=11, minute=0, second=0, microsecond=0)
    events = [
        {
            "projectId": "books",
            "tenantId": "ledger",
            "sessionId": f"s{days}",
            "userId": f"u{days % 2}",
            "eventType": kind,
            "timestamp": (noon - timedelta(days=days)).isoformat(),
            "metadata": {"amount": amount, "plan": "pro"},
        }
        for days, booked in BOOKED.items()
        for kind, amount in booked
    ]
    assert site.node.post("batch", events)[0] == 202
    site.node.wait_drained()
    return f"document.querySelector('nealytics-dashboard').getToken = () => '{token('books', 'ledger')}';"


def parts_of(page: Any, chart: str, selector: str, attribute: str) -> list[str]:
    found = "(root, [selector, name]) => [...root.shadowRoot.querySelectorAll(selector)].map((e) => e.getAttribute(name) ?? e.textContent)"
    return page.locator(chart).evaluate(found, [selector, attribute])


def test_values_below_zero_are_below_the_line_of_zero(site: Site, opened: Open, ledger: str):
    page = opened(site.page(LEDGER, script=ledger))
    until(lambda: page.locator("#sum .sr tbody tr").count() == 7)
    values = page.locator("#sum .plot .value").all_inner_texts()
    assert "€0" in values
    assert any(text.startswith("-€") for text in values)
    (line,) = parts_of(page, "#sum", "path.line:not(.partial)", "d")
    heights = [float(place.split()[1]) for place in re.findall(r"[ML]([^ML]+)", line)]
    expected = [sum(amount for _, amount in BOOKED.get(days, [])) for days in range(6, 0, -1)]
    zero = heights[0]  # nothing was booked six days ago
    assert [(height > zero) - (height < zero) for height in heights] == [
        (amount < 0) - (amount > 0) for amount in expected
    ]
    until(lambda: page.locator("#bars .bar").count() > 0)
    boxes = {
        "down" in bar.get_attribute("class").split(): bar.bounding_box()
        for bar in page.locator("#bars .bar").all()
        if bar.bounding_box()["height"] > 1
    }
    line_of_zero = page.locator("#bars .grid.zero").bounding_box()
    zero_at = line_of_zero["y"] + line_of_zero["height"]
    assert boxes[True]["y"] >= zero_at - 2
    assert boxes[False]["y"] + boxes[False]["height"] <= zero_at + 2


def test_where_there_is_no_value_is_a_gap(site: Site, opened: Open, ledger: str):
    page = opened(site.page(LEDGER, script=ledger))
    rows = page.locator("#average .sr tbody tr")
    until(lambda: rows.count() == 7)
    cells = [row.locator("td").first.inner_text() for row in rows.all()]
    assert cells == ["", "-25", "10", "", "60", "-20", ""]
    (line,) = parts_of(page, "#average", "path.line:not(.partial)", "d")
    assert line.count("M") == 2
    page.locator("#average .chart").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert page.locator("#average .tip b").inner_text() == "–"
    assert page.locator("#average .dot").count() == 0


def test_a_funnel_has_the_value_of_each_step_and_its_groups(site: Site, opened: Open, ledger: str):
    page = opened(site.page(LEDGER, script=ledger))
    until(lambda: page.locator("nealytics-funnel .groups li").count() == 1)
    counts = page.locator("nealytics-funnel ol .count").all_inner_texts()
    assert counts == ["2", "1"]
    values = page.locator("nealytics-funnel .value").all_inner_texts()
    assert values == ["€50", "-€90"]
    group = page.locator("nealytics-funnel .groups li").inner_text().split()
    assert group == ["pro", "2", "50%"]


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_refunds_fits(
    site: Site, opened: Open, ledger: str, width: int, scheme: str, tmp_path: Path
):
    page = opened(
        site.page(LEDGER, script=ledger), viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    until(lambda: page.locator("nealytics-funnel .groups li").count() == 1)
    until(lambda: page.locator("#bars .bar").count() > 0)
    page.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("kind", ["area", "bars", "line"])
def test_groups_of_which_nothing_is_seen_are_in_the_table_but_not_in_the_legend(
    site: Site, opened: Open, kind: str
):
    """Of all event types, only payments have an amount."""
    chart = f'<nealytics-timeseries measure="sum(meta:amount)" group-by="event_type" kind="{kind}"></nealytics-timeseries>'
    page = opened(site.page(f'<nealytics-dashboard range="30d">{chart}</nealytics-dashboard>', script=ACME))
    legend = page.locator("nealytics-timeseries .legend li")
    legend.first.wait_for()
    assert legend.all_inner_texts() == ["payment"]
    page.locator("nealytics-timeseries .chart").focus()
    page.keyboard.press("End")
    assert page.locator("nealytics-timeseries .tip .number").count() == 1
    head, *rows = saved(page, "nealytics-timeseries")
    assert head[1] == "payment"
    assert "page_view" in head
    assert len(rows) == 30
