"""Elements with a measure of the API: revenue as a number, a chart and a list."""

import json
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.browser.conftest import Open, Site, until, until_equal
from tests.browser.test_dashboard import ACME, chosen, day_of, today

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


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_wider_than_the_window(site: Site, opened: Open, width: int):
    page = opened(site.page(PAGE, script=ACME), viewport={"width": width, "height": 900})
    until(lambda: page.locator("nealytics-figures .value").count() == 2)
    until(lambda: page.locator("nealytics-top .bars .key").count() > 0)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


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
