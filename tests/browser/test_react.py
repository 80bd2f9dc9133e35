"""`nealytics/react` and `nealytics/embed` as a bundler finds them in the package, with React 18 and with 19."""

import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Open, Site
from tests.browser.packages import WEB, build, bundle, needs_node
from tests.browser.test_dashboard import chosen, number, today
from tests.waiting import until

pytestmark = needs_node
VERSIONS = {"18": ("react=react18", "react-dom=react-dom18"), "19": ()}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("package")
    build(directory)
    for file in (WEB / "test" / "react").iterdir():
        (directory / file.name).write_text(file.read_text())
    return directory


@pytest.fixture(scope="module", params=sorted(VERSIONS))
def script(request: pytest.FixtureRequest, directory: Path) -> str:
    """The app of `web/test/react/app.jsx`, as a bundler makes it."""
    name = f"app{request.param}.js"
    return bundle(directory / "app.jsx", directory / name, "browser", *VERSIONS[request.param]).decode()


@pytest.fixture
def app(script: str, site: Site, opened: Open) -> Callable[[], Any]:
    """Opens the app."""

    def open_() -> Any:
        page = opened(
            site.page("<main></main>"), bypass_csp=True, expected=("Lit is in dev mode", "React DevTools")
        )
        page.evaluate(
            "(text) => import(URL.createObjectURL(new Blob([text], {type: 'text/javascript'})))",
            script,
        )
        page.evaluate("(options) => start(options)", {"node": site.node.url, "token": site.token("acme")})
        page.wait_for_function('() => heard.some(([name]) => name === "ready")')
        return page

    return open_


def shown(page: Any, within: str) -> dict[str, str]:
    return {
        tile.locator(".label").inner_text(): tile.locator(".value").get_attribute("title") or ""
        for tile in page.locator(f"{within} li").all()
    }


def things(page: Any, within: str) -> float:
    return number(shown(page, within).get("Things", "0"))


IN_DASHBOARD = "nealytics-dashboard nealytics-figures"


def test_the_app_shares_token_range_and_filters_among_elements_and_with_its_own_code(
    app: Callable[[], Any], site: Site
):
    page = app()
    last = today()
    month = chosen(site, last - timedelta(days=29), last)
    week = chosen(site, last - timedelta(days=6), last)
    until(lambda: things(page, IN_DASHBOARD) == things(page, "#alone") == len(month))
    assert page.evaluate("() => [dashboard.className, dashboard.dataset.count, dashboard.dev]") == [
        "mine",
        "0",
        True,
    ]
    # The app's own button changes all of them.
    page.get_by_role("button", name="Week").click()
    until(lambda: things(page, IN_DASHBOARD) == things(page, "#alone") == len(week))
    assert ["range", "7d"] in page.evaluate("() => heard.map(([name, detail]) => [name, detail.preset])")
    # A click in the dashboard filters what stands outside of it, and the app hears it.
    row = page.locator("nealytics-top .row").first
    item = row.locator(".key").inner_text()
    row.click()
    of_item = [event for event in week if event.get("itemId") == item]
    until(lambda: things(page, IN_DASHBOARD) == things(page, "#alone") == len(of_item))
    assert page.evaluate('() => heard.find(([name]) => name === "select")[1].key') == item
    assert f'"filters":["item_id:eq:{item}"]' in page.locator("#controls output").inner_text()
    page.get_by_role("button", name="All").click()
    until(lambda: things(page, IN_DASHBOARD) == len(week))


def test_another_function_each_time_is_still_the_same_person(app: Callable[[], Any]):
    page = app()
    until(lambda: things(page, IN_DASHBOARD) > 0 and things(page, "#alone") > 0)
    asked = page.evaluate("() => asked")
    assert asked == 1  # for the dashboard and the element that stands alone
    for _ in range(3):
        page.locator("#again").click()
    page.get_by_role("button", name="Again 3").wait_for()
    assert page.evaluate("() => dashboard.dataset.count") == "3"
    page.get_by_role("button", name="Week").click()
    page.wait_for_function('() => heard.some(([name, detail]) => name === "range" && detail.preset === "7d")')
    assert page.evaluate("() => asked") == asked


def test_a_select_that_the_app_refuses_is_no_filter(app: Callable[[], Any]):
    page = app()
    until(lambda: things(page, IN_DASHBOARD) > 0)
    page.evaluate("() => (globalThis.refuse = true)")
    page.locator("nealytics-top .row").first.click()
    page.wait_for_function('() => heard.some(([name]) => name === "select")')
    assert not page.evaluate('() => heard.some(([name]) => name === "filter")')
    assert page.locator("nealytics-dashboard [part=filter]").count() == 0


def test_what_is_unmounted_and_mounted_again_shows_its_numbers_once_more(app: Callable[[], Any], site: Site):
    page = app()
    last = today()
    month = chosen(site, last - timedelta(days=29), last)
    for _ in range(2):
        page.locator("#toggle").click()
        page.wait_for_function('() => !document.querySelector("nealytics-dashboard")')
        page.locator("#toggle").click()
        until(lambda: things(page, IN_DASHBOARD) == len(month))
    page.evaluate("() => stop()")
    assert page.locator("main *").count() == 0


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_on_a_server_the_components_are_their_tags_with_their_attributes(version: str, directory: Path):
    program = directory / f"server{version}.cjs"
    bundle(directory / "server.jsx", program, "node", *VERSIONS[version])
    ran = subprocess.run(["node", str(program)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "useLayoutEffect" not in ran.stderr
    assert "<nealytics-dashboard" in ran.stdout
    for attribute in (
        'src="https://analytics.example.com"',
        'range="7d"',
        'filter="item_id:eq:/a"',
        'class="mine"',
        'sync-url=""',
    ):
        assert attribute in ran.stdout
    assert "<nealytics-top" in ran.stdout
    assert 'limit="5"' in ran.stdout


def test_the_elements_can_be_imported_where_there_is_no_dom(directory: Path):
    code = (
        'import * as embed from "nealytics/embed"; import * as client from "nealytics/client";'
        "if (typeof document !== 'undefined') throw new Error('this is a browser');"
        "console.log(Object.keys(embed).length, typeof client.NealyticsClient)"
    )
    ran = subprocess.run(
        ["node", "--input-type=module", "-e", code], cwd=directory, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (0, "15 function\n"), ran.stderr
