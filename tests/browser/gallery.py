"""Takes the pictures of the documentation: `scripts/gallery.sh`, or `python -m tests.browser.gallery DIRECTORY`."""

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nealytics import demo
from tests.browser.conftest import CHROMIUM, Site
from tests.e2e.node import Node, token

# A Friday afternoon in the past, for the browser's clock, too: so the pictures show the same each time.
NOW = datetime(2026, 6, 26, 15, 0, tzinfo=UTC)
FUNNEL = "signup, project_created, upgrade"
ELEMENTS = {
    "figures": "",
    "timeseries": "",
    "tenants": "",
    "top": 'dimension="item_id, event_type"',
    "properties": "",
    "funnel": f'steps="{FUNNEL}" window="30d" breakdown="meta:device"',
    "retention": "",
    "active": "",
    "paths": 'event="signup"',
    "heatmap": "",
    "sessions": "",
    "timeline": 'limit="8"',
    "live": "",
    "query": 'query="payments"',
}
SAVED = """\
-- title: Payments by plan
-- param: from DateTime64
-- param: to DateTime64
SELECT JSONExtractString(metadata_json, 'plan') AS plan, uniqExact(user_key) AS customers,
    count() AS payments, sum(toDecimal64(JSONExtractString(metadata_json, 'amount'), 2)) AS revenue
FROM events
WHERE event_type = 'payment' AND timestamp >= {from:DateTime64} AND timestamp <= {to:DateTime64}
GROUP BY plan ORDER BY revenue DESC
"""
DASHBOARD = f'<nealytics-dashboard funnel="{FUNNEL}"></nealytics-dashboard>'
GALLERY = f"""<nealytics-dashboard>{
    "".join(f"<nealytics-{name} {attributes}></nealytics-{name}>" for name, attributes in ELEMENTS.items())
}</nealytics-dashboard>"""
TOKEN = 'document.querySelector("nealytics-dashboard").getToken = () => TOKEN("acme");'
TENANTS = "<nealytics-tenants></nealytics-tenants>"  # of the whole project
FONT = "document.body.style.cssText = 'margin: 24px; font-family: Inter, sans-serif';"
READY = """() => {
  const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  const sections = all(document).filter((e) => e.localName === "section");
  return sections.length > 0 && sections.every((e) => e.getAttribute("aria-busy") === "false");
}"""


def take(site: Site, browser: Any, directory: Path) -> None:
    def opened(body: str, scheme: str, width: int, height: int, scale: float, script: str = TOKEN) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            device_scale_factor=scale,
            locale="en-GB",
            timezone_id="Europe/Berlin",
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.clock.set_fixed_time(NOW)
        page.goto(site.page(body, script=FONT + script))
        page.wait_for_function(READY)
        page.wait_for_timeout(500)  # until what fades in has done so
        return page

    for scheme in ("light", "dark"):
        page = opened(DASHBOARD, scheme, 1280, 1000, 2)
        page.screenshot(path=directory / f"dashboard-{scheme}.png")
        page.context.close()
        page = opened(GALLERY, scheme, 768, 1000, 1.5)
        for name in ELEMENTS:
            page.locator(f"nealytics-{name}").first.screenshot(path=directory / f"{name}-{scheme}.png")
        page.context.close()
        owner = f"document.querySelector('nealytics-tenants').getToken = () => '{token(demo.PROJECT, None)}';"
        page = opened(TENANTS, scheme, 1000, 600, 1.5, owner)
        page.locator("nealytics-tenants").screenshot(path=directory / f"tenants-{scheme}.png")
        page.context.close()
    page = opened(DASHBOARD, "light", 390, 844, 2)
    page.screenshot(path=directory / "phone.png")
    page.context.close()


def _node(directory: Path) -> Node:
    queries = directory / "queries"
    queries.mkdir()
    (queries / "payments.sql").write_text(SAVED)
    return Node(directory, settings=f"saved_queries.directory = {json.dumps(str(queries))}")


def main(directory: Path) -> None:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as scratch, _node(Path(scratch)) as node, sync_playwright() as started:
        node.wait_ready()
        events = list(demo.events(demo.first_day(NOW), NOW))
        for first in range(0, len(events), 1_000):
            status, body = node.post("batch", events[first : first + 1_000])
            assert status == 202, body
        node.wait_drained()
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        pictures = Path(scratch) / "pictures"
        take(Site(node, events), browser, pictures)
        browser.close()
        for picture in sorted(pictures.glob("*.png")):
            target = directory / f"{picture.stem}.webp"
            subprocess.run(
                ["cwebp", "-quiet", "-z", "9", "-near_lossless", "60", picture, "-o", target], check=True
            )
            print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
