"""The chart: what it shows, and how it is read and zoomed by pointer and by keyboard."""

import json
import subprocess
from collections import Counter
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.browser.conftest import Open, Site
from tests.browser.packages import WEB, needs_node
from tests.browser.test_dashboard import ACME, ZONE, chosen, day_of, figures, number, today, wait_for
from tests.waiting import until

PAGE = "<nealytics-dashboard><nealytics-figures></nealytics-figures><nealytics-timeseries></nealytics-timeseries></nealytics-dashboard>"
RANGE = "() => { const { from, to } = document.querySelector('nealytics-dashboard').page.range; return [from, to]; }"


def shown_range(page: Any) -> tuple[date, date]:
    first, last = page.evaluate(RANGE)
    return date.fromisoformat(first), date.fromisoformat(last)


def drag(page: Any, start: float, end: float, last: int = 29) -> None:
    """From one interval to another, counted from 0 to `last`."""
    box = page.locator("nealytics-timeseries .plot").bounding_box()
    at = [box["x"] + box["width"] * place / last for place in (start, end)]
    page.mouse.move(at[0], box["y"] + 80)
    page.mouse.down()
    page.mouse.move(at[1], box["y"] + 90, steps=4)
    page.mouse.up()


def test_dragging_over_the_chart_shows_that_part_and_a_double_click_goes_back(site: Site, opened: Open):
    page = opened(site.page(PAGE, script=ACME))
    wait_for(page)
    first = today() - timedelta(days=29)
    drag(page, 17, 10)
    part = (first + timedelta(days=10), first + timedelta(days=17))
    assert shown_range(page) == part
    until(lambda: number(figures(page).get("Events", "0")) == len(chosen(site, *part)))
    page.get_by_role("button", name="Zoom out").wait_for()
    page.locator("nealytics-timeseries .chart").dblclick(position={"x": 200, "y": 100})
    until(lambda: shown_range(page) == (first, today()))
    assert page.get_by_role("button", name="Zoom out").count() == 0
    # What was chosen moves with today again.
    assert page.locator("nealytics-dashboard [part=range]").inner_text() == "Last 30 days"


def test_dragging_over_the_hours_of_a_day_shows_those_and_again_minutes(site: Site, opened: Open):
    yesterday = today() - timedelta(days=1)

    def between(first: str, end: str, day: date = yesterday) -> int:
        times = (datetime.fromisoformat(one["timestamp"]).astimezone(ZONE) for one in chosen(site, day, day))
        return sum(first <= f"{time:%H:%M}" < end for time in times)

    page = opened(
        site.page(
            PAGE.replace("<nealytics-dashboard>", '<nealytics-dashboard range="yesterday" sync-url>'),
            script=ACME,
        )
    )
    wait_for(page)
    rows = page.locator("nealytics-timeseries .sr tbody tr")
    hours = rows.count()  # where the clocks change a day has 23 or 25
    drag(page, 16, 11, hours - 1)
    until(lambda: number(figures(page).get("Events", "0")) == between("11:00", "17:00"))
    assert page.url.endswith(f"?nealytics-range={yesterday}T11%3A00..{yesterday}T16%3A59")
    until(lambda: rows.count() == 6)
    cells = [[int(cell) for cell in row.locator("td").all_text_contents()] for row in rows.all()]
    expected = [(f"{hour}:00", f"{hour + 1}:00") for hour in range(11, 17)]
    # Compared with the same hours of the day before.
    assert cells == [[between(*hour), between(*hour, yesterday - timedelta(days=1))] for hour in expected]
    address = page.url

    drag(page, 1, 3, 5)
    until(lambda: rows.count() == 180)
    until(lambda: number(figures(page).get("Events", "0")) == between("12:00", "15:00"))
    minutes = [int(row.locator("td").first.text_content() or "") for row in rows.all()]
    assert sum(minutes) == between("12:00", "15:00")
    page.locator("nealytics-timeseries .chart").dblclick(position={"x": 200, "y": 100})
    until(lambda: rows.count() == 6)

    again = opened(address)
    wait_for(again)
    assert number(figures(again)["Events"]) == between("11:00", "17:00")
    assert "11:00–17:00" in again.locator("nealytics-dashboard [part=range]").inner_text()


def test_the_chart_is_zoomed_by_keyboard_and_says_what_is_selected(site: Site, opened: Open):
    page = opened(site.page(PAGE, script=ACME))
    wait_for(page)
    first = today() - timedelta(days=29)
    page.locator("nealytics-timeseries .chart").focus()
    said = page.locator("nealytics-timeseries [aria-live]")
    for key in ("Home", "ArrowRight", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight"):
        page.keyboard.press(key)
    until(lambda: "selected" in (said.text_content() or ""))
    page.keyboard.press("Enter")
    assert shown_range(page) == (first + timedelta(days=2), first + timedelta(days=4))
    page.keyboard.press("Backspace")
    assert shown_range(page) == (first, today())
    assert page.locator("nealytics-timeseries .chart").evaluate("(e) => e.matches(':focus')")


def test_a_finger_that_moves_over_the_chart_reads_it_and_selects_nothing(site: Site, opened: Open):
    page = opened(site.page(PAGE, script=ACME), has_touch=True)
    wait_for(page)
    page.evaluate(
        """() => {
          const chart = document.querySelector("nealytics-timeseries").renderRoot.querySelector(".chart");
          const { left, top } = chart.getBoundingClientRect();
          const at = { pointerType: "touch", pointerId: 5, bubbles: true, clientY: top + 50 };
          for (const [type, x] of [["pointerdown", 100], ["pointermove", 300], ["pointerup", 300]])
            chart.dispatchEvent(new PointerEvent(type, { ...at, clientX: left + x }));
        }"""
    )
    page.locator("nealytics-timeseries .tip").wait_for()
    assert shown_range(page) == (today() - timedelta(days=29), today())


def test_the_tooltip_has_the_value_that_of_the_day_compared_and_the_change(site: Site, opened: Open):
    page = opened(site.page(PAGE, script=ACME))
    wait_for(page)
    box = page.locator("nealytics-timeseries .plot").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 20 / 29, box["y"] + 60)
    tip = page.locator("nealytics-timeseries .tip")
    tip.wait_for()
    day = today() - timedelta(days=9)
    before = day - timedelta(days=30)
    now, then = (len(chosen(site, one, one)) for one in (day, before))
    text = tip.inner_text()
    assert f"{day.day} {day:%B} {day.year}" in text
    assert f"{before.day} {before:%B} {before.year}" in text
    shown = [number(one) for one in tip.locator(".number").all_inner_texts()]
    assert shown == [now, then]
    assert ("▲" in text) == (now > then)


def test_today_is_dotted_and_not_compared(site: Site, opened: Open):
    page = opened(site.page(PAGE, script=ACME))
    wait_for(page)
    assert page.locator("nealytics-timeseries path.partial").count() == 1
    page.locator("nealytics-timeseries .chart").focus()
    page.keyboard.press("End")
    tip = page.locator("nealytics-timeseries .tip")
    assert "so far" in tip.inner_text()
    assert tip.locator(".up, .down").count() == 0
    page.locator("nealytics-dashboard [part=range]").click()
    page.get_by_role("button", name="Last month").click()
    until(lambda: page.locator("nealytics-timeseries path.partial").count() == 0)


def test_the_chart_tells_its_story_in_a_sentence(site: Site, opened: Open):
    page = opened(site.page(PAGE, script=ACME))
    wait_for(page)
    last = today()
    first = last - timedelta(days=29)
    events = chosen(site, first, last)
    before = len(chosen(site, first - timedelta(days=30), first - timedelta(days=1)))
    per_day = Counter(day_of(event) for event in events)
    peak = max(per_day, key=lambda day: (per_day[day], -day.toordinal()))
    sentence = page.locator("nealytics-timeseries .chart").get_attribute("aria-label") or ""
    assert f": {len(events):,}, {'up' if len(events) > before else 'down'} " in sentence
    assert sentence.endswith(f"{peak.day} {peak:%B} {peak.year}: {per_day[peak]:,}.")


def test_a_figure_that_is_clicked_is_what_the_chart_shows(site: Site, opened: Open):
    page = opened(
        site.page(PAGE.replace("<nealytics-dashboard>", "<nealytics-dashboard sync-url>"), script=ACME)
    )
    wait_for(page)
    tile = page.locator("nealytics-figures button.tile", has_text="Users")
    assert tile.get_attribute("aria-pressed") == "false"
    tile.click()
    until(lambda: page.locator("nealytics-timeseries h3").inner_text() == "Users")
    assert tile.get_attribute("aria-pressed") == "true"
    events = chosen(site, today() - timedelta(days=29), today())
    users = Counter(day for day, _ in {(day_of(one), one["userId"]) for one in events if "userId" in one})
    cells = page.locator("nealytics-timeseries .sr tbody tr td:nth-child(2)").all_text_contents()
    assert [int(cell) for cell in cells] == [users[today() - timedelta(days=29 - i)] for i in range(30)]
    assert page.url.endswith("?nealytics-measure=users")
    page.go_back()
    until(lambda: page.locator("nealytics-timeseries h3").inner_text() == "Events")


def test_figures_are_no_buttons_where_no_chart_shows_them(site: Site, opened: Open):
    body = PAGE.replace("<nealytics-timeseries>", '<nealytics-timeseries measure="sessions">')
    page = opened(site.page(body, script=ACME))
    wait_for(page)
    assert page.locator("nealytics-figures button.tile").count() == 0
    assert page.locator("nealytics-timeseries h3").inner_text() == "Sessions"


LABELS = """() => [...document.querySelectorAll("nealytics-timeseries")].map((one) => {
  const box = one.renderRoot.querySelector("section").getBoundingClientRect();
  return [...one.renderRoot.querySelectorAll(".tick")].map((tick) => {
    const { left, right } = tick.getBoundingClientRect();
    return [tick.textContent, left - box.left, right - box.left, box.width];
  }).sort((a, b) => a[1] - b[1]);
})"""
RANGES = (
    "today",
    "yesterday",
    "7d",
    "30d",
    "90d",
    "2026-03-28..2026-03-29",
    "2025-01-01..2026-06-30",
    "2019-05-07..2026-06-30",
)


@pytest.mark.parametrize(
    ("zone", "width"), [("Europe/Berlin", 280), ("Asia/Kathmandu", 640), ("America/St_Johns", 1400)]
)
def test_the_labels_of_the_chart_never_overlap_nor_leave_it(site: Site, opened: Open, zone: str, width: int):
    charts = "".join(
        f'<nealytics-timeseries lang="{lang}" tz="{zone}" range="{one}" group-by="event_type"></nealytics-timeseries>'
        for lang in ("en", "de", "ja", "ar", "pt")
        for one in RANGES
    )
    # Zeros are drawn, too: a range without events would show none of its labels.
    script = """
      for (const one of document.querySelectorAll("nealytics-timeseries")) {
        one.isEmpty = () => false;
        one.getToken = () => TOKEN("acme");
      }"""
    page = opened(
        site.page(charts, script=script),
        viewport={"width": width + 32, "height": 900},
        expected=("too many",),
    )
    wait_for(page)
    found = page.evaluate(LABELS)
    assert len(found) == 5 * len(RANGES)
    shown = 0
    for labels in found:
        shown += len(labels)
        assert all(left >= 0 and right <= box for _, left, right, box in labels), labels
        gaps = [after[1] - before[2] for before, after in pairwise(labels)]
        assert all(gap >= 4 for gap in gaps), labels
    assert shown >= 60


@needs_node
def test_the_values_beside_the_chart_are_round_and_few():
    script = """
      import { source } from "./test/sources.mjs";
      const { valuesBetween } = await source("src/elements/axis.ts");
      const most = [0, 1, 2, 3, 4, 5, 7, 9, 10, 11, 99, 101, 965, 1001, 12345, 1e6, 123456789, 1e12];
      const both = most.flatMap((one) => most.map((other) => [-one, other])).filter(([least]) => least < 0);
      const of = (pairs, whole) => pairs.map(([least, most]) => [least, most, valuesBetween(least, most, whole)]);
      console.log(JSON.stringify([most.map((one) => [one, valuesBetween(0, one).slice(1)]), of(both, true), of(both, false)]));
    """
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script], cwd=WEB, check=True, capture_output=True, text=True
    )
    counts, *below_zero = json.loads(done.stdout)
    for most, values in counts:
        assert 2 <= len(values) <= 3, (most, values)
        assert values[-1] >= most
        assert all(value == int(value) and value == values[0] * (i + 1) for i, value in enumerate(values))
        assert most < 10 or most > 0.6 * values[-1], (most, values)
    for least, most, values in (one for found in below_zero for one in found):
        assert 3 <= len(values) <= 4, (least, most, values)
        assert values[0] <= least < most <= values[-1] or most == values[-1] == 0
        assert 0 in values
        assert len({after - before for before, after in pairwise(values)}) == 1
