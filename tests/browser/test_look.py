"""How the page looks where that can be measured: paper, contrast, long names, menus on a phone, high contrast."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.browser.conftest import Open, Site
from tests.browser.test_dashboard import ACME, DASHBOARD, chosen, figures, number, today, wait_for
from tests.e2e.node import token
from tests.waiting import until

LONG = "x" * 250
OTHERS = f'for (const one of document.querySelectorAll("body > *")) one.getToken = () => "{token("look", "look", life_s=86_400)}";'
FULL = '<nealytics-dashboard funnel="signup, project_created, upgrade"></nealytics-dashboard>'


@pytest.fixture(scope="module")
def look(site: Site) -> None:
    """A tenant with long names, and more pages than a list has rows; all of it in the last hour."""
    now = datetime.now(UTC) - timedelta(minutes=30)
    events = [
        {
            "eventId": str(uuid4()),
            "projectId": "look",  # of its own, so that other tests keep their numbers
            "tenantId": "look",
            "sessionId": "look",
            "userId": f"{LONG}{number_of % 3}",
            "eventType": f"{LONG}{number_of % 2}",
            "itemId": f"/page/{number_of:03}",
            "metadata": {"plan": LONG},
            "timestamp": now.isoformat(),
        }
        for number_of in range(130)
    ]
    assert site.node.post("batch", events)[0] == 202
    site.node.wait_drained()


def test_the_filter_menu_offers_fields_and_searches_their_values_on_the_node(site: Site, opened: Open):
    page = opened(site.page('<nealytics-dashboard range="7d"></nealytics-dashboard>', script=ACME))
    wait_for(page)
    page.locator("[part=add-filter]").click()
    page.get_by_role("dialog").get_by_role("button", name="Pages and items").click()
    page.get_by_role("searchbox").fill("proj")
    values = page.locator("nealytics-dashboard .values .item bdi")
    until(lambda: values.all_inner_texts() == ["/projects", "/projects/new"])
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("[part=filter]", has_text="/projects").wait_for()
    events = chosen(site, today() - timedelta(days=6), today())
    wanted = sum(event.get("itemId") == "/projects" for event in events)
    until(lambda: number(figures(page).get("Events", "0")) == wanted)
    assert page.locator("[part=add-filter]").evaluate("(e) => e.matches(':focus')")


MOVING = """() => {
  const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  return all(document).flatMap((e) => [undefined, "::before", "::after"].flatMap((pseudo) => {
    const { animationName, transitionDuration } = getComputedStyle(e, pseudo);
    const moves = animationName !== "none" || transitionDuration.split(", ").some((time) => parseFloat(time) > 0);
    return moves ? [`${e.localName}.${e.className}${pseudo ?? ""}`] : [];
  }));
}"""


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_for_those_who_want_less_motion(site: Site, opened: Open, motion: str):
    body = '<nealytics-dashboard range="7d"><nealytics-top></nealytics-top><nealytics-live></nealytics-live></nealytics-dashboard>'
    page = opened(site.page(body, script=ACME), reduced_motion=motion, viewport={"width": 390, "height": 800})
    page.locator("nealytics-top section").wait_for()
    moving = set(page.evaluate(MOVING))  # what has no answer yet breathes
    wait_for(page)
    page.locator("nealytics-live [role=status]", has_text="Connected").wait_for()
    page.locator("nealytics-dashboard [part=range]").click()
    page.locator(".sheet:popover-open").wait_for()
    moving |= set(page.evaluate(MOVING))
    assert ("dot" in str(moving), "sheet" in str(moving), "row" in str(moving)) == (motion != "reduce",) * 3
    assert moving == set() or motion != "reduce"


def test_nothing_in_a_funnel_looks_as_if_it_could_be_clicked(site: Site, opened: Open):
    page = opened(
        site.page(
            '<nealytics-funnel steps="signup, upgrade"></nealytics-funnel>',
            script='document.querySelector("nealytics-funnel").getToken = () => TOKEN("acme");',
        )
    )
    wait_for(page)
    body = page.locator("nealytics-funnel .body")
    assert body.locator("li").count() == 2
    assert body.locator("button, a, [tabindex]").count() == 0
    cursors = body.evaluate("(e) => [...e.querySelectorAll('*')].map((one) => getComputedStyle(one).cursor)")
    assert set(cursors) == {"auto"}


def test_a_long_list_is_counted_to_its_end_and_searched_beyond_it(site: Site, opened: Open, look: None):
    page = opened(site.page('<nealytics-top dimension="item_id"></nealytics-top>', script=OTHERS))
    wait_for(page)
    rows = page.locator("nealytics-top button.row")
    assert rows.count() == 8
    last = page.locator("nealytics-top li").last
    assert last.inner_text().split() == ["Other", "122"]
    assert page.get_by_role("searchbox").count() == 0
    page.get_by_role("button", name="Show more").click()
    until(lambda: rows.count() == 100)
    assert last.inner_text().split() == ["Other", "30"]
    page.get_by_role("searchbox").fill("/page/129")  # which is not among the hundred
    until(lambda: rows.count() == 1 and "/page/129" in rows.first.inner_text())
    page.get_by_role("searchbox").fill("nowhere")
    page.get_by_text("Nothing found").wait_for()
    page.get_by_role("button", name="Show less").click()
    until(lambda: rows.count() == 8)


def test_long_names_stay_in_their_cards_and_growth_from_zero_is_no_change(
    site: Site, opened: Open, look: None
):
    body = f'<nealytics-dashboard funnel="{LONG}0, {LONG}1"></nealytics-dashboard><nealytics-paths></nealytics-paths>'
    for width in (320, 1280):
        page = opened(site.page(body, script=OTHERS), viewport={"width": width, "height": 800})
        wait_for(page)
        outside = page.evaluate(
            """() => {
              const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
              return all(document).filter((e) => e.matches(".row, .name, .bar, .chip, .value"))
                .filter((e) => {
                  const card = e.getRootNode().querySelector("section")?.getBoundingClientRect();
                  const box = e.getBoundingClientRect();
                  return card && (box.right > card.right + 1 || box.left < card.left - 1);
                }).map((e) => e.className);
            }"""
        )
        assert outside == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # Of a tenant's first day, nothing was before.
        assert page.locator("nealytics-figures .up, nealytics-figures .down").count() == 0


def test_on_paper_there_are_no_controls_and_the_range_in_dark_ink(site: Site, opened: Open):
    page = opened(site.page(FULL, script=ACME), color_scheme="dark", viewport={"width": 794, "height": 1123})
    wait_for(page)
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    # What is left are the figures, the rows and the title of a list with tabs.
    assert page.locator("button:visible:not(.tile, .row, [aria-selected=true])").count() == 0
    first = today() - timedelta(days=29)
    printed = page.locator("nealytics-dashboard .printed").inner_text()
    assert str(first.day) in printed
    assert str(today().year) in printed
    ink = page.locator("nealytics-figures .value").first.evaluate("(e) => getComputedStyle(e).color")
    assert ink == "rgb(20, 23, 28)"
    # Two cards beside each other, and the chart as wide as the sheet.
    left, right = (page.locator("nealytics-top").nth(place).bounding_box() for place in (0, 1))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] < right["x"]
    chart = page.locator("nealytics-timeseries")
    plot = chart.locator(".plot").bounding_box()
    drawn = chart.locator("path.line").first.bounding_box()
    assert drawn["width"] > 0.9 * plot["width"]
    assert page.pdf(format="A4").startswith(b"%PDF")


CONTRAST = """() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const luminance = (colours) => {
    context.clearRect(0, 0, 1, 1);
    for (const colour of colours) {
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
    }
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const table = document.querySelector("nealytics-retention").renderRoot.querySelector("table");
  const page = getComputedStyle(document.body).backgroundColor;
  return [...table.querySelectorAll("td.cell")].map((cell) => {
    const { color, backgroundColor } = getComputedStyle(cell);
    const [one, other] = [luminance([page, backgroundColor]), luminance([page, backgroundColor, color])];
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_step_of_the_retention_is_read_well_and_its_heads_stay(site: Site, opened: Open, scheme: str):
    script = 'document.querySelector("nealytics-retention").getToken = () => TOKEN("acme");'
    page = opened(
        site.page("<nealytics-retention></nealytics-retention>", script=script),
        color_scheme=scheme,
        viewport={"width": 360, "height": 800},
    )
    wait_for(page)
    # All eight steps, and the full colour of the first period.
    page.evaluate(
        """() => document.querySelector("nealytics-retention").renderRoot.querySelectorAll("td.cell:not(.full)")
          .forEach((cell, i) => cell.style.setProperty("--level", `${((i % 8) + 1) * 6}%`))"""
    )
    ratios: list[float] = page.evaluate(CONTRAST)
    assert len(ratios) > 16
    assert min(ratios) >= 4.5
    head = page.locator("nealytics-retention tbody th").first
    before = head.bounding_box()["x"]
    page.locator("nealytics-retention .scroll").evaluate("(e) => { e.scrollLeft = 150; }")
    assert abs(head.bounding_box()["x"] - before) <= 8  # of 150 that the rest has moved


def test_on_a_phone_the_controls_are_one_line_and_a_menu_is_a_sheet_at_the_bottom(site: Site, opened: Open):
    page = opened(site.page(DASHBOARD, script=ACME), viewport={"width": 320, "height": 640})
    wait_for(page)
    tops = {
        round(page.locator(f"nealytics-dashboard [part={name}]").bounding_box()["y"])
        for name in ("range", "compare", "add-filter", "more")
    }
    assert len(tops) == 1
    page.locator("[part=range]").click()
    sheet = page.get_by_role("dialog")
    until(lambda: abs(sheet.bounding_box()["y"] + sheet.bounding_box()["height"] - 640) < 1)
    assert sheet.bounding_box()["width"] == 320
    assert sheet.evaluate("(e) => e.matches(':popover-open')")
    page.mouse.click(160, 100)  # between the controls and the sheet
    until(lambda: sheet.count() == 0)


def test_the_controls_stay_at_the_top_of_a_long_page(site: Site, opened: Open):
    page = opened(site.page(DASHBOARD, script=ACME))
    wait_for(page)
    bar = page.locator("nealytics-dashboard .bar")
    assert bar.get_attribute("data-stuck") is None
    page.mouse.wheel(0, 700)
    until(lambda: bar.get_attribute("data-stuck") is not None)
    assert abs(bar.bounding_box()["y"]) < 1


def test_bars_and_cells_are_seen_in_high_contrast(site: Site, opened: Open):
    page = opened(site.page(FULL, script=ACME), forced_colors="active")
    wait_for(page)
    for name in ("nealytics-funnel .bar", "nealytics-retention td.full", "nealytics-active .track .fill"):
        fill = page.locator(name).first.evaluate("(e) => getComputedStyle(e).backgroundColor")
        assert fill not in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)"), name


def test_the_funnel_goes_from_top_to_bottom_where_there_is_little_room(site: Site, opened: Open):
    body = '<nealytics-dashboard><nealytics-funnel steps="signup, project_created, upgrade"></nealytics-funnel></nealytics-dashboard>'
    for width, downwards in ((500, True), (900, False)):
        page = opened(site.page(body, script=ACME), viewport={"width": width, "height": 700})
        wait_for(page)
        boxes: list[Any] = [one.bounding_box() for one in page.locator("nealytics-funnel li").all()]
        assert (boxes[1]["y"] > boxes[0]["y"]) == downwards
        assert (boxes[1]["x"] > boxes[0]["x"]) != downwards
        assert page.locator("nealytics-funnel .median").count() == 2
        rates = page.locator("nealytics-funnel .rate").all_inner_texts()
        assert len(rates) == 2
        assert all(re.fullmatch(r"[\d.]+% of the previous step", rate) for rate in rates), rates


# Whether the last characters of an element are within the box that clips it.
WHOLE = "(all) => all.every((e) => e.scrollWidth <= e.clientWidth)"
# Of a text that is cut, which end is seen: where its first character is drawn.
STARTS = """(all) => all.filter((e) => e.checkVisibility()).map((e) => {
  const range = document.createRange();
  range.setStart(e.firstChild.nodeType === 3 ? e.firstChild : e.childNodes[1], 0);
  range.setEnd(range.startContainer, 1);
  const [box, first] = [e.getBoundingClientRect(), range.getBoundingClientRect()];
  const isSeen = first.width > 0 && first.left >= box.left - 1 && first.right <= box.right + 1;
  return isSeen ? "" : `${e.getRootNode().host.localName}: ${e.parentElement.className}`;
})"""


@pytest.mark.parametrize("width", [280, 320, 1280])
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_a_name_that_is_cut_shows_its_beginning_and_no_number_is_cut(
    site: Site, opened: Open, look: None, width: int, direction: str
):
    lists = "<nealytics-top></nealytics-top><nealytics-paths></nealytics-paths><nealytics-timeline></nealytics-timeline><nealytics-sessions></nealytics-sessions>"
    body = f'<nealytics-dashboard funnel="{LONG}0, {LONG}1" dir="{direction}"></nealytics-dashboard>{lists.replace("></", f" dir={direction}></")}'
    page = opened(site.page(body, script=OTHERS), viewport={"width": width, "height": 800})
    wait_for(page)
    names = page.locator(".clipped", has_text=LONG[:20])
    starts = names.evaluate_all(STARTS)
    assert [one for one in starts if one] == []
    assert len(starts) > 20
    sides = names.evaluate_all("(all) => all.map((e) => getComputedStyle(e).textAlign)")
    assert direction == "ltr" or {*sides} <= {"right", "-webkit-right"}
    for numbers in (
        "nealytics-paths h4 .number",
        "nealytics-sessions .row > span",
        "nealytics-figures .label",
    ):
        assert page.locator(numbers).count() > 0, numbers
        assert page.locator(numbers).evaluate_all(WHOLE), numbers


# Contrast of the text and of muted text with the ground, as drawn.
DRAWN = """(element) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const luminance = (...colors) => {
    context.clearRect(0, 0, 1, 1);
    for (const color of colors) { context.fillStyle = color; context.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((byte) => byte / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = getComputedStyle(document.body).backgroundColor;
  return [".value", ".label"].map((name) => {
    const { color } = getComputedStyle(element.shadowRoot.querySelector(name));
    const both = [luminance(ground), luminance(ground, color)].sort((a, b) => b - a);
    return (both[0] + 0.05) / (both[1] + 0.05);
  });
}"""


def test_muted_text_can_be_read_with_every_text_colour_that_can_be(site: Site, opened: Open):
    body = "<nealytics-dashboard><nealytics-figures></nealytics-figures></nealytics-dashboard>"
    page = opened(site.page(body, script=ACME))
    wait_for(page)
    tried = [
        *(
            ("#fff", grey)
            for grey in ("#000", "#222", "#374151", "#555", "#6b7280", "#757575", "rgb(0 0 0 / 60%)")
        ),
        *(("#0f1115", grey) for grey in ("#fff", "#ddd", "#bbb", "#999", "#888", "#7f7f7f")),
    ]
    for ground, text in tried:
        page.evaluate(
            "([ground, text]) => { document.body.style.background = ground; document.body.style.color = text; }",
            [ground, text],
        )
        plain, muted = page.locator("nealytics-figures").evaluate(DRAWN)
        assert plain >= 4.5, text
        assert muted >= 4.5, (ground, text)


def test_one_radius_shapes_all_corners(site: Site, opened: Open):
    body = "<nealytics-dashboard><nealytics-top></nealytics-top><nealytics-retention></nealytics-retention></nealytics-dashboard>"
    page = opened(
        site.page(body, script=ACME + 'document.body.style.setProperty("--nealytics-radius", "0px");')
    )
    wait_for(page)
    page.locator("nealytics-dashboard [part=range]").click()
    for name in (".button", ".sheet", ".item", "section", ".row", "td.cell"):
        found = page.locator(name).first.evaluate("(e) => getComputedStyle(e).borderRadius")
        assert found == "0px", name


def test_what_goes_on_to_the_side_fades_until_its_end_is_seen(site: Site, opened: Open):
    body = "<nealytics-dashboard><nealytics-retention></nealytics-retention><nealytics-properties></nealytics-properties></nealytics-dashboard>"
    page = opened(site.page(body, script=ACME), viewport={"width": 320, "height": 800})
    wait_for(page)
    for name in ("nealytics-retention .fades", "nealytics-properties .fades"):
        fades = page.locator(name)
        until(lambda: fades.get_attribute("data-more") is not None)  # noqa: B023
        assert "gradient" in fades.evaluate("(e) => getComputedStyle(e).maskImage")
        fades.evaluate("(e) => e.scrollTo(9999, 0)")
        until(lambda: fades.get_attribute("data-more") is None)  # noqa: B023


def test_a_bar_ends_before_the_numbers_and_the_dates_within_the_plot(site: Site, opened: Open):
    body = "<nealytics-dashboard><nealytics-timeseries></nealytics-timeseries><nealytics-top></nealytics-top></nealytics-dashboard>"
    page = opened(site.page(body, script=ACME))
    wait_for(page)
    ends = page.locator("nealytics-top .row").first.evaluate(
        """(row) => [parseFloat(getComputedStyle(row, "::before").width),
          row.querySelector(".count span:last-child").getBoundingClientRect().left - row.getBoundingClientRect().left]"""
    )
    assert ends[0] <= ends[1]
    plot = page.locator("nealytics-timeseries .plot").bounding_box()
    last = page.locator("nealytics-timeseries .tick").first.bounding_box()  # the last one is placed first
    assert last["x"] + last["width"] <= plot["x"] + plot["width"] + 3
    grid = page.locator("nealytics-timeseries .grid").first.bounding_box()
    assert grid["x"] == plot["x"]


def test_the_own_layout_of_a_tenant_without_events_is_one_sentence(site: Site, opened: Open):
    body = "<nealytics-dashboard><nealytics-figures></nealytics-figures><nealytics-top></nealytics-top></nealytics-dashboard>"
    nobody = f'document.querySelector("nealytics-dashboard").getToken = () => "{token("look", "nobody", life_s=86_400)}";'
    page = opened(site.page(body, script=nobody))
    page.get_by_text("No events yet").wait_for()
    assert not page.locator("nealytics-top section").is_visible()
