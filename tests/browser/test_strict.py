"""A strict host: the policy of the issue word for word, a frame of another origin, and a person without a mouse."""

from typing import Any

import pytest

from nealytics import demo
from tests.browser.conftest import Open, Site
from tests.browser.test_accessible import assert_axe_finds_nothing, needs_axe
from tests.browser.test_dashboard import ACME, wait_for
from tests.e2e.node import Node, token
from tests.waiting import until

EVERYTHING = """<nealytics-dashboard funnel="signup, project_created, upgrade"></nealytics-dashboard>
  <nealytics-sessions></nealytics-sessions><nealytics-paths></nealytics-paths>
  <nealytics-timeline></nealytics-timeline><nealytics-live></nealytics-live>"""


def test_under_a_strict_policy_all_elements_work_and_keep_and_ask_for_nothing_elsewhere(
    site: Site, opened: Open
):
    style = site.file("body { margin: 16px; font: 14px sans-serif; }", kind="css")
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Strict</title>'
        f'<link rel="stylesheet" href="{style}"><link rel="icon" href="data:,">'
        f'<script type="module" src="{site.node.url}/embed.js"></script></head><body>{EVERYTHING}</body></html>'
    )
    policy = {"Content-Security-Policy": f"script-src {site.node.url}; style-src 'self'"}
    requests: list[str] = []
    page = opened("about:blank")
    page.on("request", lambda request: requests.append(request.url))
    page.goto(site.file(html, policy))
    page.evaluate(
        "(token) => { for (const one of document.body.children) one.getToken = () => token; }",
        site.token("acme"),
    )
    wait_for(page)
    page.locator("nealytics-top .row").first.click()
    wait_for(page)
    chart = page.locator("nealytics-timeseries .chart").first
    chart.focus()
    page.keyboard.press("End")
    assert page.locator("[part=error]").count() == 0
    # The colours and widths that a policy would have taken away.
    assert page.locator("nealytics-top .row").first.evaluate("(row) => row.style.getPropertyValue('--share')")
    kept = page.evaluate(
        "async () => [localStorage.length, sessionStorage.length, document.cookie, (await indexedDB.databases()).length,"
        " (await caches.keys()).length]"
    )
    assert kept == [0, 0, "", 0, 0]
    assert page.context.cookies() == []
    origins = {"/".join(url.split("/")[:3]) for url in requests if url.startswith("http")}
    assert origins == {site.url, site.node.url}
    own = [url for url in requests if url.startswith(site.url)]
    assert [url.rpartition(".")[2] for url in own] == ["html", "css"]


# In a frame


def parent(site: Site, node: Node, query: str = "", fragment: str = "") -> str:
    script = f"""
      window.heard = [];
      const frame = document.createElement("iframe");
      frame.src = "{node.url}/embed{query}{fragment}";
      frame.width = 1000;
      addEventListener("message", (event) => {{
        if (event.source === frame.contentWindow) heard.push({{ ...event.data, origin: event.origin }});
      }});
      window.send = (message) => frame.contentWindow.postMessage(message, "{node.url}");
      document.body.append(frame);
    """
    return site.page("", script=script, frames=node.url)


def test_a_frame_takes_tokens_from_its_parent_alone_and_tells_each_height_also_a_smaller_one(
    site: Site, opened: Open, framed_node: Node
):
    page = opened(parent(site, framed_node))
    # Not `wait_for_function`: on a busy machine it evaluates a string, which the policy forbids.
    until(lambda: page.evaluate("heard.some(({ nealytics }) => nealytics === 'token-needed')"))
    frame = next(frame for frame in page.frames if frame.url.startswith(framed_node.url))
    # Not from the frame itself, nor anything that is no message of ours.
    frame.evaluate("(token) => postMessage({ nealytics: 'token', token }, '*')", token(demo.PROJECT, "acme"))
    for nonsense in ("null", "'token'", "{nealytics: 'token'}", "{nealytics: 'token', token: 42}", "[]"):
        page.evaluate(f"send({nonsense})")
    page.wait_for_timeout(300)
    assert frame.locator("nealytics-figures .value").count() == 0
    page.evaluate("(token) => send({ nealytics: 'token', token })", token(demo.PROJECT, "acme"))
    frame.locator("nealytics-figures .value").first.wait_for()
    frame.locator("nealytics-top .row").first.wait_for()
    until(lambda: page.evaluate("heard.at(-1).px > 800"))
    tall = page.evaluate("heard.at(-1).px")
    # Somebody without events has a shorter page.
    page.evaluate("(token) => send({ nealytics: 'token', token })", token(demo.PROJECT, "nobody"))
    until(lambda: page.evaluate("(tall) => heard.at(-1).px < tall - 100", tall))
    assert {message["origin"] for message in page.evaluate("heard")} == {framed_node.url}
    assert frame.locator("nealytics-top .row").count() == 0


def test_the_token_of_a_link_is_in_no_address_and_no_request_and_only_its_tab_keeps_it(
    site: Site, opened: Open, framed_node: Node
):
    given = token(demo.PROJECT, "acme")
    sent: list[tuple[str, dict[str, str]]] = []
    page = opened("about:blank")
    page.on("request", lambda request: sent.append((request.url, request.all_headers())))
    page.goto(f"{framed_node.url}/embed?range=7d#token={given}")
    wait_for(page)
    assert page.url == f"{framed_node.url}/embed?range=7d"
    assert page.evaluate("history.state") == {"nealyticsToken": given}
    length = page.evaluate("history.length")
    assert all(given not in url for url, _ in sent if "#" not in url)
    assert all(given not in headers.get("referer", "") for _, headers in sent)
    assert all("authorization" not in headers for url, headers in sent if "/api/" not in url)
    # Another link in the same tab, where only what is behind # changes.
    page.evaluate("(token) => { location.hash = 'token=' + token; }", token(demo.PROJECT, "nobody"))
    page.get_by_text("No events yet").wait_for()
    assert page.locator("nealytics-top .row").count() == 0
    assert page.url == f"{framed_node.url}/embed?range=7d"
    page.go_back()
    assert "token" not in page.url
    assert length >= 1


# By keyboard, and as a screen reader sees it

FOCUSED = """
() => {
  let e = document.activeElement;
  while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
  if (!e || e === document.body) return null;
  const style = getComputedStyle(e);
  const box = e.getBoundingClientRect();
  return {
    name: `${e.getRootNode().host?.localName ?? ""} ${e.localName} ${e.getAttribute("aria-label") ?? e.textContent.trim().slice(0, 40)}`,
    seen: (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none",
    size: box.width * box.height, menu: e.matches(".menu > .button"), open: e.getAttribute("aria-expanded"),
  };
}
"""


@pytest.mark.parametrize("width", [1280, 320])
def test_the_tab_key_reaches_every_control_visibly_and_leaves_the_page_again(
    site: Site, opened: Open, width: int
):
    page = opened(
        site.page(
            '<nealytics-dashboard range="7d"></nealytics-dashboard><button id="after">After</button>',
            script=ACME,
        ),
        viewport={"width": width, "height": 800},
    )
    wait_for(page)
    reached: list[dict[str, Any]] = []
    menus = 0
    for _ in range(150):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        assert focused is not None, "the focus is lost"
        if focused["name"].endswith("After"):
            break
        assert focused["seen"], focused
        assert focused["size"] > 0, focused
        reached.append(focused)
        if focused["menu"]:
            menus += 1
            page.keyboard.press("Enter")
            until(lambda: page.locator(".menu > .sheet").count() == 1)
            page.keyboard.press("Escape")
            until(lambda: page.locator(".menu > .sheet").count() == 0)
            assert page.evaluate(FOCUSED)["name"] == focused["name"]
    else:
        pytest.fail(f"the Tab key never leaves the page: {[one['name'] for one in reached[-5:]]}")
    assert menus > 6
    assert any(" button " in one["name"] and "nealytics-top" in one["name"] for one in reached)


@needs_axe
@pytest.mark.parametrize("case", ["empty", "error", "right to left", "320 px", "two tenants"])
def test_axe_finds_nothing_in_other_states(site: Site, opened: Open, case: str):
    body = "<main><h1>Analytics</h1><h2>Acme</h2><nealytics-dashboard {}></nealytics-dashboard>{}</main>"
    attributes = {"empty": 'range="2020-01-01..2020-01-31" dev'}.get(case, 'range="7d"')
    second = "<h2>Initech</h2><nealytics-dashboard></nealytics-dashboard>" if case == "two tenants" else ""
    script = """const [first, second] = document.querySelectorAll("nealytics-dashboard");
      first.getToken = () => TOKEN("acme"); if (second) second.getToken = () => TOKEN("initech");"""
    if case == "error":
        script = 'document.querySelector("nealytics-dashboard").getToken = () => "no token";'
    if case == "right to left":
        script += 'document.documentElement.dir = "rtl"; document.documentElement.lang = "ar";'
    page = opened(
        site.page(body.format(attributes, second), script=script),
        bypass_csp=True,
        viewport={"width": 320 if case == "320 px" else 1280, "height": 900},
        expected=("token_failed",) if case == "error" else (),
    )
    wait_for(page)
    assert_axe_finds_nothing(page)
