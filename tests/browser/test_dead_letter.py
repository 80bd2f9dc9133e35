"""`/dead-letter`: the owner of a SaaS sees what could not be stored, and stores or drops it. With a real node."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.e2e.node import Node, program, token

EVENT = {"sessionId": "s", "eventType": "view"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("letters")
    with Node(directory, settings="ingest.keep_rejected = true", workers=2) as node:
        node.wait_ready()
        yield node


def link(node: Node, project: str = "shop") -> str:
    command = [*program(), "dashboard", "--dead-letter", "--config", str(node.config), "--project", project]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def reject(node: Node, *events: dict[str, Any]) -> None:
    """Sends events that are rejected, in one body with a good one."""
    good = EVENT | {"projectId": "shop", "tenantId": "good"}
    status, body = node.post("batch", [*events, good])
    assert (status, json.loads(body)["rejected"]) == (202, len(events))


def counted(node: Node, tenant: str) -> int:
    return int(node.read("/api/v1/analytics/summary", tenant_id=tenant)["events"])


def test_an_owner_adds_what_was_missing_and_every_event_is_counted_once(node: Node, opened: Open):
    reject(node, *[EVENT | {"projectId": "shop", "itemId": str(n)} for n in range(3)])
    page = opened(link(node))
    page.get_by_text("3 events").wait_for()
    assert "token" not in page.url
    assert page.locator("tbody tr").count() == 3
    page.get_by_text("tenantId is missing or empty").first.click()
    assert '"projectId": "shop"' in page.locator("pre").first.inner_text()
    asked = []
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Retry all 3").click()
    assert page.locator("tbody tr").count() == 3
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Retry all 3").click()
    page.get_by_text("3 refused again: tenantId is missing or empty").wait_for()
    page.get_by_label("set").fill("tenantId=acme")
    page.get_by_role("checkbox", name="Select event").first.check()
    page.get_by_role("button", name="Retry 1 selected").click()
    page.get_by_text("1 stored").wait_for()
    page.get_by_role("button", name="Retry all 2").click()
    page.get_by_text("2 stored").wait_for()
    assert asked == [
        "Retry all 3 events?",
        "Retry all 3 events?",
        "Retry all 2 events, each with tenantId = acme?",
    ]
    page.get_by_text("The dead letter is empty.").wait_for()
    assert counted(node, "acme") == 3


def test_an_owner_drops_the_events_of_one_reason(node: Node, opened: Open):
    reject(
        node,
        EVENT | {"projectId": "shop"},
        EVENT | {"projectId": "shop", "tenantId": "t", "timestamp": "2999-01-01"},
    )
    page = opened(link(node))
    page.get_by_text("2 events").wait_for()
    page.get_by_role("button", name="outside_time_window").click()
    page.get_by_text("1 event", exact=True).wait_for()
    page.get_by_role("button", name="✕").click()
    page.get_by_text("2 events").wait_for()
    page.get_by_role("button", name="outside_time_window").click()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Drop 1 event").click()
    page.get_by_text("1 deleted").wait_for()
    page.get_by_role("button", name="invalid_event").wait_for()
    page.reload()
    page.get_by_text("1 event", exact=True).wait_for()
    page.get_by_role("checkbox", name="Select all").check()
    page.get_by_role("button", name="Drop").click()
    page.get_by_text("The dead letter is empty.").wait_for()


def test_an_owner_sees_no_other_project(node: Node, opened: Open):
    reject(node, EVENT | {"projectId": "other"})
    page = opened(link(node))
    page.get_by_text("The dead letter is empty.").wait_for()
    page.context.close()
    page = opened(link(node, "*"))
    page.get_by_text("1 event", exact=True).wait_for()
    assert page.get_by_role("cell", name="other", exact=True).count() == 1


def test_a_tenant_selects_its_events(node: Node, opened: Open):
    bad = EVENT | {"projectId": "tenants", "eventType": ""}
    reject(node, *[bad | {"tenantId": tenant} for tenant in ("acme", "acme", "other")])
    page = opened(link(node, "tenants"))
    page.get_by_text("3 events").wait_for()
    page.get_by_role("button", name="acme").first.click()
    page.get_by_text("2 events").wait_for()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Drop").click()
    page.get_by_text("2 deleted").wait_for()
    page.get_by_role("button", name="other", exact=True).wait_for()
    page.get_by_text("2 deleted. 1 event").wait_for()


def test_a_retry_counts_the_events_of_each_reason(node: Node, opened: Open):
    bad = EVENT | {"projectId": "reasons", "tenantId": "t"}
    reject(node, bad | {"eventType": ""}, bad | {"eventType": ""}, bad | {"sessionId": ""})
    page = opened(link(node, "reasons"))
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Retry all 3").click()
    page.get_by_text("2 refused again: eventType is missing or empty, 1 refused again: sessionId").wait_for()


WORDS_IN_PIECES = """() => [...document.querySelectorAll("tbody td[data-name]")].flatMap((cell) => {
  const text = [...cell.childNodes].find((node) => node.nodeType === Node.TEXT_NODE);
  return [...(text?.data ?? "").matchAll(/[^\\s-]+/g)].filter((word) => {
    const range = document.createRange();
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].length);
    return range.getClientRects().length > 1;
  }).map(([word]) => word);
})"""


@pytest.mark.parametrize("width", [320, 1100])
def test_words_stay_whole_at_every_width(node: Node, opened: Open, width: int):
    late = EVENT | {"projectId": "wide", "tenantId": "tenant-1", "timestamp": "2999-01-01"}
    reject(node, late | {"userId": "u" * 200, "eventType": "Order Completed"})
    page = opened(link(node, "wide"), viewport={"width": width, "height": 900})
    page.get_by_role("button", name="tenant-1").first.wait_for()
    assert set(page.evaluate(WORDS_IN_PIECES)) == {"u" * 200}
    assert page.evaluate("document.documentElement.scrollWidth") == width
    head = page.locator("th").nth(1).bounding_box()
    assert head is not None
    assert (head["width"] > 1) == (width == 1100)


@pytest.mark.parametrize("width", [320, 1100])
def test_a_screen_reader_finds_the_same_table_at_every_width(node: Node, opened: Open, width: int):
    late = EVENT | {"projectId": "read", "tenantId": "tenant-1", "timestamp": "2999-01-01"}
    reject(node, late)
    page = opened(link(node, "read"), viewport={"width": width, "height": 900})
    page.get_by_role("button", name="tenant-1").first.wait_for()
    session = page.context.new_cdp_session(page)
    nodes = [one for one in session.send("Accessibility.getFullAXTree")["nodes"] if not one["ignored"]]
    found = [(one["role"]["value"], one["name"]["value"]) for one in nodes if "name" in one]
    heads = [name for role, name in found if role == "columnheader"]
    cells = [name for role, name in found if role == "cell"]
    assert ("table", "Rejected events") in found
    assert heads[1:] == [
        "Time", "Project", "Tenant", "Event type", "User", "Source", "Reason", "Why, and what was sent",
    ]  # fmt: skip
    # An empty cell keeps its place: otherwise the type would be read as the user.
    first = dict(zip(heads, cells, strict=False))
    assert (first["Tenant"], first["Event type"], first["User"]) == ("tenant-1", "view", "")
    # Browsers other than Chromium drop the roles of HTML where CSS makes it no table.
    script = (
        "[...document.querySelectorAll('table, table :is(thead, tbody, tr, th, td)')].every((it) => it.role)"
    )
    assert page.evaluate(script)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "This link is not complete"),
        (token("shop", "acme"), "the token is not an admin token"),
    ],
)
def test_a_link_that_opens_nothing_says_so(node: Node, opened: Open, given: str, said: str):
    page = opened(f"{node.url}/dead-letter#token={given}", expected=("status of 401", "status of 403"))
    page.get_by_text(said).wait_for()
    assert not page.get_by_role("button", name="Drop").is_visible()
