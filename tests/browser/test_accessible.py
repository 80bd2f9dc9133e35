"""What axe-core finds on the page: nothing."""

from typing import Any

import pytest

from nealytics import demo
from tests.browser.conftest import Open, Site
from tests.browser.packages import WEB
from tests.browser.test_dashboard import wait_for
from tests.e2e.node import token

AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="needs `npm ci` in web/, which scripts/test.sh does")
BODY = """<main><h1>Analytics</h1><h2>Acme</h2>
  <nealytics-dashboard funnel="signup, project_created, upgrade"></nealytics-dashboard>
  <nealytics-sessions id="sessions"></nealytics-sessions>
  <nealytics-paths></nealytics-paths><nealytics-timeline></nealytics-timeline><nealytics-live></nealytics-live></main>"""


def assert_axe_finds_nothing(page: Any) -> None:
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    told = [
        (violation["id"], node["target"], node.get("failureSummary"))
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
    assert told == [], "\n".join(map(str, told))


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("opened_menu", ["", "range", "more"])
def test_axe_finds_nothing(site: Site, opened: Open, scheme: str, opened_menu: str):
    script = 'for (const one of document.querySelectorAll("main > *")) one.getToken = () => TOKEN("acme");'
    # The page's own policy would keep axe out.
    page = opened(site.page(BODY, script=script), color_scheme=scheme, bypass_csp=True)
    wait_for(page)
    if opened_menu:
        page.locator(f"nealytics-dashboard [part={opened_menu}]").click()
    assert_axe_finds_nothing(page)


@needs_axe
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 320)])
def test_axe_finds_nothing_on_the_owners_page(site: Site, opened: Open, scheme: str, width: int):
    """With all tenants beside each other; also in the columns of a narrow page."""
    body = "<main><h1>Analytics</h1><h2>All tenants</h2><nealytics-tenants></nealytics-tenants></main>"
    given = token(demo.PROJECT, None)
    script = f'document.querySelector("nealytics-tenants").getToken = () => "{given}";'
    page = opened(
        site.page(body, script=script),
        color_scheme=scheme,
        bypass_csp=True,
        viewport={"width": width, "height": 900},
    )
    wait_for(page)
    assert page.locator("nealytics-tenants .name").count() == 3
    assert_axe_finds_nothing(page)
