"""`/embed`: the dashboard as a page of its own, by a link and in a frame; and the node's front page."""

import subprocess
from pathlib import Path

import pytest

from nealytics import demo
from tests.browser.conftest import Open, Site
from tests.browser.test_dashboard import figures, wait_for
from tests.e2e.node import Node, program, token
from tests.waiting import until


def test_a_link_shows_the_tenants_page_and_loses_its_token(site: Site, opened: Open):
    command = [
        *program(),
        "dashboard",
        "--config",
        str(site.node.config),
        "--project",
        "demo",
        "--tenant",
        "acme",
    ]
    link = subprocess.run(
        [*command, "--funnel", "signup,upgrade"], capture_output=True, text=True, check=True
    ).stdout.strip()
    page = opened(link)
    wait_for(page)
    assert "token" not in page.url
    assert int(figures(page)["Users"].replace(",", "")) > 0
    assert page.locator("nealytics-funnel li").count() == 2
    assert page.title() == "acme · demo"
    assert page.get_by_role("heading", level=1).inner_text() == "acme"
    page.reload()
    wait_for(page)
    assert int(figures(page)["Users"].replace(",", "")) > 0
    assert "token" not in page.url


@pytest.mark.parametrize(
    ("language", "title", "hint"),
    [
        ("en", "This link is not complete", "Ask the person who sent it for a new one."),
        ("de", "Dieser Link ist nicht vollständig", "Bitte die Person, von der du ihn hast, um einen neuen."),
    ],
)
def test_a_link_without_a_token_says_what_a_visitor_can_do(
    site: Site, opened: Open, language: str, title: str, hint: str
):
    page = opened(f"{site.node.url}/embed?lang={language}")
    page.get_by_role("heading", name=title).wait_for()
    assert page.get_by_text(hint).count() == 1
    assert "nealytics dashboard" not in page.locator("main").inner_text()


def test_a_link_that_has_expired_says_so(site: Site, opened: Open):
    given = token(demo.PROJECT, "acme", life_s=-60)
    page = opened(f"{site.node.url}/embed#token={given}", expected=("status of 401", "nealytics:"))
    page.get_by_text("This link has expired").wait_for()
    assert page.get_by_text("Ask the person who sent it for a new one.").count() == 1
    assert page.get_by_role("button").count() == 0  # none of them could help
    page.reload()
    page.get_by_text("This link has expired").wait_for()


def test_a_link_that_expires_while_it_is_read_leaves_the_picture_and_no_button_that_cannot_help(
    site: Site, opened: Open
):
    link = f"{site.node.url}/embed?range=7d#token={token(demo.PROJECT, 'acme')}"
    page = opened(link, expected=("link's token has expired",))
    wait_for(page)
    before = page.locator("nealytics-figures").inner_text()
    page.locator("nealytics-dashboard").evaluate("({page}) => { page.client.expireToken(); page.refresh(); }")
    notice = page.locator("[part=notice]")
    notice.get_by_text("This link has expired").wait_for()
    assert notice.get_by_text("Ask the person who sent it for a new one.").count() == 1
    assert page.get_by_role("button", name="Try again").count() == 0
    assert page.locator("nealytics-figures").inner_text() == before


def test_try_again_in_a_frame_asks_the_page_around_for_a_token(site: Site, opened: Open, framed_node: Node):
    page = opened(
        framing(site, framed_node.url, life_s=-60), expected=("status of 401", "nealytics: token_expired")
    )
    frame = page.frame_locator("iframe")
    frame.get_by_text("Your sign-in has ended").wait_for()
    page.evaluate("(good) => (window.token = good)", token(demo.PROJECT, "acme"))
    frame.get_by_role("button", name="Try again").click()
    frame.locator("nealytics-figures .value").first.wait_for()
    page.context.close()  # before its node is gone


def test_another_link_in_the_same_tab_shows_another_tenant(site: Site, opened: Open):
    page = opened(f"{site.node.url}/embed#token={token(demo.PROJECT, 'acme')}")
    page.get_by_role("heading", level=1, name="acme").wait_for()
    wait_for(page)
    page.goto(f"{site.node.url}/embed#token={token(demo.PROJECT, 'initech')}")
    page.get_by_role("heading", level=1, name="initech").wait_for()
    wait_for(page)


def test_an_address_gives_the_page_a_brand(site: Site, opened: Open):
    link = f"{site.node.url}/embed?tz=UTC&accent=%230a7d5a&radius=4px&font=Georgia,%20serif#token={token('demo', 'acme')}"
    page = opened(link)
    wait_for(page)
    style = "getComputedStyle(document.querySelector('nealytics-dashboard'))"
    assert page.evaluate(f"{style}.getPropertyValue('--nealytics-accent')") == "#0a7d5a"
    assert page.evaluate(f"{style}.getPropertyValue('--nealytics-radius')") == "4px"
    card = "document.querySelector('nealytics-dashboard').shadowRoot.querySelector('nealytics-figures')"
    assert page.evaluate(f"getComputedStyle({card}).fontFamily") == "Georgia, serif"


def test_a_brand_that_is_no_css_is_left_out_and_named(site: Site, opened: Open):
    page = opened(
        f"{site.node.url}/embed?accent=url(https://example.com)#token={token('demo', 'acme')}",
        expected=("accent=url(https://example.com) is not valid CSS for color",),
    )
    wait_for(page)
    assert page.evaluate("document.documentElement.getAttribute('style')") is None


def test_a_page_that_may_not_frame_it_shows_nothing_of_it(site: Site, opened: Open):
    page = opened(framing(site, site.node.url), expected=("frame-ancestors", "Refused to frame", "violates"))
    page.wait_for_timeout(500)
    assert page.frame_locator("iframe").locator("nealytics-dashboard").count() == 0


def test_a_frame_tells_its_height_and_asks_for_a_token(site: Site, opened: Open, framed_node: Node):
    page = opened(framing(site, framed_node.url))
    page.wait_for_function("window.heights.length > 0")
    page.wait_for_function("window.needed === 1")
    frame = page.frame_locator("iframe")
    frame.locator("nealytics-figures .value").first.wait_for()
    page.wait_for_function("window.heights.at(-1) > 400")
    page.evaluate(
        """document.querySelector("iframe").contentWindow.postMessage({nealytics: "theme", theme: "dark"}, "*")"""
    )
    frame.locator(':root[data-theme="dark"]').wait_for()
    # All of it, before the node is gone.
    until(lambda: frame.locator('section[aria-busy="true"]').count() == 0)


def test_the_layout_is_what_the_address_says(site: Site, opened: Open):
    layout = "layout=figures,top:meta:plan,nothing,timeseries:event_type,funnel&funnel=signup,upgrade"
    page = opened(
        f"{site.node.url}/embed?{layout}#token={token(demo.PROJECT, 'acme')}",
        expected=('layout has "nothing"',),
    )
    wait_for(page)
    names = page.locator("nealytics-dashboard").evaluate(
        "(e) => [...e.children].map((child) => child.localName)"
    )
    assert names == [f"nealytics-{name}" for name in ("figures", "top", "timeseries", "funnel")]
    page.locator("nealytics-top .row", has_text="starter").wait_for()
    page.locator("nealytics-timeseries .legend", has_text="page_view").wait_for()
    assert page.locator("nealytics-funnel li").count() == 2


def test_the_front_page_says_what_this_is_and_that_it_is_ready(site: Site, opened: Open):
    page = opened(site.node.url + "/")
    assert page.get_by_role("heading").inner_text() == "Nealytics"
    page.locator('.state[data-state="ready"]', has_text="Ready").wait_for()
    assert page.locator(".reasons li").count() == 0
    for name in ("ready", "embed", "openapi.json"):
        assert site.node.request("GET", f"/{name}")[0] == 200


def test_the_front_page_says_what_is_not_ready(tmp_path: Path, opened: Open):
    with Node(tmp_path, clickhouse="http://127.0.0.1:1") as node:
        node.wait_ready("/ready/ingest")
        page = opened(node.url + "/", expected=("503",))
        page.locator(
            '.state[data-state="not-ready"]', has_text="Accepting events, but not ready for queries"
        ).wait_for()
        # The committer's problem is the same one, and is not repeated.
        page.locator(".reasons li", has_text="127.0.0.1:1").wait_for()
        assert page.locator(".reasons li").count() == 1
        page.context.close()


def test_pages_can_be_switched_off_and_the_script_stays(tmp_path: Path):
    with Node(tmp_path, clickhouse="http://127.0.0.1:1", settings="web.pages = false") as node:
        node.wait_ready("/ready/ingest")
        assert node.request("GET", "/embed")[0] == 404
        assert node.request("GET", "/")[0] == 404
        status, body = node.request("GET", "/embed.js")
        assert (status, b"nealytics-dashboard" in body) == (200, True)


def framing(site: Site, node_url: str, *, life_s: float = 600) -> str:
    script = f"""
      window.token = "{token(demo.PROJECT, "acme", life_s=life_s)}";
      window.heights = []; window.needed = 0;
      const frame = document.createElement("iframe");
      frame.src = "{node_url}/embed";
      addEventListener("message", (event) => {{
        if (event.data.nealytics === "height") window.heights.push(event.data.px);
        if (event.data.nealytics === "token-needed") {{
          window.needed += 1;
          frame.contentWindow.postMessage({{nealytics: "token", token: window.token}}, "{node_url}");
        }}
      }});
      document.body.append(frame);
    """
    return site.page("", script=script, frames=node_url)


def test_a_token_that_a_frame_gets_too_late_is_used_all_the_same(site: Site, opened: Open, framed_node: Node):
    given = token(demo.PROJECT, "acme")
    script = f"""
      window.needed = 0;
      addEventListener("message", (event) => {{ if (event.data.nealytics === "token-needed") window.needed += 1; }});
      const frame = document.createElement("iframe");
      frame.src = "{framed_node.url}/embed";
      window.give = () => frame.contentWindow.postMessage({{nealytics: "token", token: "{given}"}}, "{framed_node.url}");
      document.body.append(frame);
    """
    page = opened("about:blank", expected=("nealytics:",))
    page.clock.install()
    page.goto(site.page("", script=script, frames=framed_node.url))
    page.wait_for_function("window.needed === 1")
    frame = page.frame_locator("iframe")
    page.clock.run_for(10_500)
    frame.get_by_text("The analytics cannot be shown right now").wait_for()
    page.evaluate("window.give()")
    frame.locator("nealytics-figures .value").first.wait_for()
    until(lambda: frame.locator('section[aria-busy="true"]').count() == 0)
    page.context.close()  # before its node is gone


def test_without_a_language_in_the_address_it_is_the_browsers(site: Site, opened: Open):
    link = f"{site.node.url}/embed?range=7d#token={token(demo.PROJECT, 'acme')}"
    page = opened(link, locale="de-DE")
    page.get_by_role("button", name="Letzte 7 Tage").wait_for()
    assert page.evaluate("document.documentElement.lang") == "de-DE"
    wait_for(page)
