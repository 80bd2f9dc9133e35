"""The dashboard's menu, its address, and what it shows to whom the whole project is open."""

import csv
import time
from collections import Counter
from datetime import date, timedelta
from typing import Any

import jwt
import pytest

from nealytics import demo
from tests.browser.conftest import Open, Site
from tests.browser.test_dashboard import ACME, chosen, figures, number, today, wait_for
from tests.e2e.node import JWT_KEY
from tests.waiting import until

SYNCED = '<nealytics-dashboard sync-url><nealytics-figures></nealytics-figures><nealytics-top dimension="item_id"></nealytics-top></nealytics-dashboard>'


def whole_project() -> str:
    claims = {"project_id": demo.PROJECT, "scope": "project", "exp": int(time.time()) + 3600}
    token = jwt.encode(claims, JWT_KEY, algorithm="HS256")
    return f'document.querySelector("nealytics-dashboard").getToken = () => "{token}";'


def shown_events(page: Any) -> float:
    return number(figures(page).get("Events", "0"))


def test_the_address_holds_range_and_filters_and_back_and_forward_go_through_them(site: Site, opened: Open):
    page = opened(site.page(SYNCED, script=ACME) + "?mine=1")
    wait_for(page)
    last = today()
    month = chosen(site, last - timedelta(days=29), last)
    week = chosen(site, last - timedelta(days=6), last)
    team = [event for event in week if event.get("itemId") == "/team"]
    until(lambda: shown_events(page) == len(month))
    page.locator("nealytics-dashboard [part=range]").click()
    page.get_by_role("button", name="Last 7 days").click()
    until(lambda: shown_events(page) == len(week))
    assert page.url.endswith("?mine=1&nealytics-range=7d")
    page.locator("nealytics-top .row", has_text="/team").click()
    until(lambda: shown_events(page) == len(team))
    address = page.url
    page.go_back()
    until(lambda: shown_events(page) == len(week))
    page.go_back()
    until(lambda: shown_events(page) == len(month))
    page.go_forward()
    until(lambda: shown_events(page) == len(week))
    # The same view for somebody else.
    other = opened(address)
    until(lambda: shown_events(other) == len(team))
    assert other.url == address


def test_an_address_that_makes_no_sense_shows_what_the_attributes_say(site: Site, opened: Open):
    page = opened(
        site.page(SYNCED, script=ACME) + "?nealytics-range=2026-13-45..never&nealytics-compare=everything"
    )
    wait_for(page)
    last = today()
    until(lambda: shown_events(page) == len(chosen(site, last - timedelta(days=29), last)))


def test_the_link_is_copied_and_all_events_of_the_range_are_downloaded(site: Site, opened: Open):
    page = opened(
        site.page(SYNCED.replace("sync-url", 'sync-url="a" range="yesterday"'), script=ACME),
        permissions=["clipboard-read", "clipboard-write"],
    )
    wait_for(page)
    more = page.locator("nealytics-dashboard [part=more]")
    page.locator("nealytics-top .row").first.click()
    until(lambda: page.evaluate("1") == 1 and "a-filter=" in page.url)
    more.click()
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("Link copied").wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()") == page.url
    page.locator("nealytics-dashboard .chip button").click()
    yesterday = today() - timedelta(days=1)
    more.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all events").click()
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert sorted(row["eventId"] for row in rows) == sorted(
        event["eventId"] for event in chosen(site, yesterday, yesterday)
    )
    assert download.value.suggested_filename == f"all-events-{yesterday}-{yesterday}.csv"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Los_Angeles"])
def test_a_charts_file_has_iso_dates_and_a_name_of_its_own(site: Site, opened: Open, zone: str):
    page = opened(
        site.page('<nealytics-dashboard range="7d"></nealytics-dashboard>', script=ACME), timezone_id=zone
    )
    wait_for(page)
    days = [page.evaluate("document.querySelector('nealytics-dashboard').page.range")["from"]]
    days += [str(date.fromisoformat(days[0]) + timedelta(days=day)) for day in range(1, 7)]
    for element, shown in (("nealytics-timeseries", 7), ("nealytics-active", 6)):
        card = page.locator(element).first
        card.locator("header .menu > button").click()
        with page.expect_download() as download:
            card.get_by_role("button", name="Download CSV").click()
        rows = list(csv.reader(download.value.path().read_text(encoding="utf-8-sig").splitlines()))
        assert [row[0] for row in rows[1:]] == days[:shown]
        assert not download.value.suggested_filename.startswith("all-events")
        # A screen reader reads them as people write them.
        first = date.fromisoformat(days[0])
        assert card.locator(".sr tbody th").first.inner_text().endswith(f"{first.day} {first:%B %Y}")


def test_whom_the_whole_project_is_open_to_sees_the_tenants_side_by_side_and_picks_one(
    site: Site, opened: Open
):
    page = opened(site.page("<nealytics-dashboard></nealytics-dashboard>", script=whole_project()))
    last = today()
    counts = Counter(
        {
            tenant.tenant_id: len(chosen(site, last - timedelta(days=29), last, tenant.tenant_id))
            for tenant in demo.TENANTS
        }
    )
    picker = page.get_by_role("combobox", name="Tenants", exact=True)
    picker.wait_for()
    wait_for(page)
    rows = page.locator("nealytics-tenants tbody tr")
    until(lambda: rows.count() == 3)
    shown: list[list[str]] = rows.evaluate_all(
        """(rows) => rows.map((row) =>
          [row.querySelector(".name").innerText, row.querySelector("td:last-child [title]").title])"""
    )
    assert [(name, number(count)) for name, count in shown] == counts.most_common()
    lines = page.locator('nealytics-timeseries[group-by="tenant_id"] .legend li')
    assert sorted(lines.all_inner_texts()) == sorted(counts)
    picker.select_option("globex")
    until(lambda: shown_events(page) == counts["globex"] and rows.count() == 0)
    assert picker.locator("option").count() == 4
    picker.select_option("")
    until(lambda: shown_events(page) == sum(counts.values()) and rows.count() == 3)


def test_a_tenants_own_token_shows_no_picker(site: Site, opened: Open):
    page = opened(site.page("<nealytics-dashboard></nealytics-dashboard>", script=ACME))
    wait_for(page)
    assert page.locator("nealytics-dashboard [part=tenant]").count() == 0
    assert page.locator('nealytics-top[dimension="tenant_id"]').count() == 0
