"""What measures, segments, trees and regular expressions may cost, on the real engine.

Each question is about more data, or is written larger, than a page would ask. It is answered within
`query.memory_bytes_max`, or refused with what to write instead. `test_conditions` has the limits of numbers.
"""

from typing import Any

import pytest

from tests.engine import RunningEngine
from tests.http.reader import NOW, SUMMARY, TIMESERIES, TOP, Reader, ms, on_the_engine
from tests.http.test_limits import limited

pytestmark = on_the_engine

FUNNEL = "/api/v1/analytics/funnel"
QUERY = "/api/v1/analytics/query"
MIB = 1024 * 1024
EVENTS, GROUPS, USERS = 100_000, 10_000, 5_000
YEAR_MS = 365 * 86_400_000

INSERT = """
INSERT INTO nealytics_core.global_events (event_id, project_id, tenant_id, event_type, session_id, user_id,
    item_id, metadata_json, timestamp)
"""
YEAR = f"""{INSERT}
SELECT generateUUIDv4(), 'shop', 'acme', if(number % 3 = 0, 'purchase', 'view'), toString(intDiv(number, 20)),
    toString(number % {USERS}), concat('/', toString(number % {GROUPS}), repeat('a', 200)),
    concat('{{"amount": ', toString(number % 997), '}}'),
    fromUnixTimestamp64Milli({ms(NOW)} - intDiv(number * {YEAR_MS}, {EVENTS}), 'UTC')
FROM numbers({EVENTS})
"""
# One user, each of whose events has another value.
ONE_USER = f"""{INSERT}
SELECT generateUUIDv4(), 'shop', 'acme', if(number % 2 = 0, 'view', 'purchase'), 's', 'u', NULL,
    concat('{{"amount": 1, "id": "', toString(number), '"}}'),
    fromUnixTimestamp64Milli({ms(NOW)} - number, 'UTC')
FROM numbers(20000)
"""
PERCENTILES = [f"{name}(meta:amount)" for name in ("median", "p75", "p90", "p95", "p99")]


async def refusal(page: Reader, path: str, **query: Any) -> dict[str, Any]:
    status, body, _ = await page.get(path, **query)
    assert status in (400, 422), body
    assert body["detail"]
    return {"status": status, **body}


async def test_a_year_of_events(reader: Reader, engine: RunningEngine):
    """Segments, percentiles and regular expressions over all of it, in 256 MB; and with much less, 422."""
    await reader.clickhouse.command(YEAR)
    segments = ["did(purchase, >=3, 366d)", "not:session_did(view, >=30, 366d)", "first_seen(366d)"]
    questions: list[tuple[str, dict[str, Any]]] = [
        (SUMMARY, {"filter": segments}),
        (TOP, {"measure": ["users[did(purchase, 366d)]", "sum(meta:amount)[not_did(view, 366d)]"]}),
        (TOP, {"dimension": "item_id", "measure": PERCENTILES, "limit": str(GROUPS)}),
        (TIMESERIES, {"groupBy": "item_id", "top": "50", "other": "true", "interval": "month", "fill": "true",
                      "measure": PERCENTILES}),
        (SUMMARY, {"filter": ["item_id:matches:(a|aa)*(a|aa|aaa)*b$"] * 10}),
        (SUMMARY, {"filter": ["item_id:matches:(?:a?){100}a{10}b"]}),
        (FUNNEL, {"step": ["view", "purchase"], "window": "90d", "interval": "week", "breakdown": "item_id",
                  "measure": PERCENTILES}),
    ]  # fmt: skip
    async with limited(engine, limit_max=GROUPS, memory_bytes_max=256 * MIB) as page:
        for path, query in questions:
            status, body, _ = await page.get(path, **{"from": "-365d", **query})
            assert status == 200, (query, body)
    async with limited(engine, limit_max=GROUPS, memory_bytes_max=5 * MIB) as page:
        longest = {**questions[-1][1], "step": ["view", "purchase"] * 5}
        for path, query in [*questions[:4], (FUNNEL, longest)]:
            body = await refusal(page, path, **{"from": "-365d", **query})
            assert (body["status"], body["code"]) == (422, "query_too_large")
    async with limited(engine, limit_max=GROUPS, rows_read_max=EVENTS + 1) as page:
        assert (await page.get(SUMMARY, **{"from": "-60d"}))[0] == 200
        body = await refusal(page, SUMMARY, **{"from": "-60d", "filter": segments[0]})
        assert (body["status"], body["code"]) == (422, "query_too_large")
    async with limited(engine, limit_max=100) as page:
        body = await refusal(page, TIMESERIES, groupBy="item_id", interval="month", **{"from": "-365d"})
        assert (body["status"], body["code"]) == (422, "result_too_large")


async def test_one_user_with_as_many_groups_as_events(reader: Reader, engine: RunningEngine):
    """What a funnel holds of a user grows with their events and not with the product of events and groups."""
    await reader.clickhouse.command(ONE_USER)
    asked = {"step": ["view", "purchase"], "window": "1s", "breakdown": "meta:id", "limit": "1"}
    async with limited(engine, memory_bytes_max=256 * MIB) as page:
        answer = await page.answer(FUNNEL, measure=PERCENTILES, **asked)
    assert [step["values"] for step in answer["steps"]] == [[1] * 5] * 2
    assert len(answer["groups"]) == 1
    assert [warning["code"] for warning in answer["warnings"]] == ["truncated"]


@pytest.mark.parametrize(
    ("field", "value", "written"),
    [
        ("filter", "item_id:matches:((a{50}){50}){50}", "more than 1000 copies"),
        ("filter", "item_id:matches:" + "(" * 200 + "a" + ")" * 200, "the regular expression"),
        ("filter", "did(view, 8785h)", "Write a time from 1s to 366d"),
        ("measure", "count[did(view, 8785h)]", "Write a time from 1s to 366d"),
        ("measure", "users[item_id:matches:a{101}]", "above {100}"),
        ("measure", ["users"] * 6, "Give at most 5"),
    ],
    ids=str,
)
async def test_what_would_cost_too_much_is_refused_before_it_runs(
    reader: Reader, field: str, value: Any, written: str
):
    body = await refusal(reader, SUMMARY, **{field: value})
    assert (body["status"], body["code"], body["field"]) == (400, "invalid_parameter", field)
    assert written in body["message"] + body["detail"]


async def test_a_tree_of_1000_conditions_is_refused(reader: Reader):
    tree = {"and": [{"or": ["item_id:starts:/a", {"not": "user_id:eq:b"}]} for _ in range(250)]}
    question = {"endpoint": "summary", "filter": tree}
    status, body, _ = await reader.post(QUERY, {"queries": {"q": question}})
    error = body["results"]["q"]["error"] if status == 200 else body
    assert error["field"] in ("filter", "queries.q.filter")
    assert "more than 100 conditions" in error["message"]
    assert "at most 100" in error["detail"]
