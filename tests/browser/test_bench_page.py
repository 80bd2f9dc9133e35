"""What `nealytics bench page` measures is what the page asks."""

import json
from typing import Any

from nealytics import demo
from nealytics.bench.page import FUNNEL, QUESTIONS, RANGE
from tests.browser.conftest import Open, Site
from tests.e2e.node import token


def test_the_questions_that_are_measured_are_those_of_the_page(site: Site, opened: Open):
    page = opened("about:blank")
    asked: list[dict[str, Any]] = []

    def note(request: Any) -> None:
        if request.url.endswith("/analytics/query"):
            asked.append(json.loads(request.post_data))

    page.on("request", note)
    range_ = f"range={RANGE['from']}..{RANGE['to']}&tz={RANGE['tz']}"
    link = f"{site.node.url}/embed?{range_}&funnel={','.join(FUNNEL)}#token={token(demo.PROJECT, 'acme')}"
    page.goto(link)
    page.locator('nealytics-figures section[aria-busy="false"]').wait_for()
    page.locator('nealytics-retention section[aria-busy="false"]').wait_for()
    shared = {name: value for name, value in asked[0].items() if name != "queries"}
    assert shared == {**RANGE, "filter": []}
    assert list(asked[0]["queries"].values()) == list(QUESTIONS.values())
