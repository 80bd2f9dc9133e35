"""Saved queries over HTTP: their answers and formats, who may run them, and their place in the API."""

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from nealytics.http.openapi import document
from nealytics.queries.saved import catalog
from nealytics.usage.meter import Queries
from tests.engine import query_library
from tests.http.reader import Reader, event, on_the_engine

pytestmark = on_the_engine

REVENUE = """\
-- title: Revenue by item
-- description: What was sold.
-- param: from DateTime64 = -30d -- Start of the range.
-- param: top UInt8(1..50) = 10
-- cache: 60s
SELECT item_id AS item, sum(toDecimal64(JSONExtractRaw(metadata_json, 'amount'), 2)) AS amount,
    count() AS sales
FROM events WHERE timestamp >= {from:DateTime64} GROUP BY item ORDER BY amount DESC, item LIMIT {top:UInt8}
"""
FILES = {
    "revenue": REVENUE,
    "all_tenants": "-- title: Tenants\n-- who: project\nSELECT uniqExact(tenant_id) AS tenants FROM events",
    "named": "-- title: Named\n-- who: named\nSELECT count() AS n FROM events",
    "of_others": "-- title: Of others\n-- projects: other\nSELECT count() AS n FROM events",
    "fails": "-- title: Fails\nSELECT toUInt8(metadata_json) AS a FROM events",
    "large": "-- title: Large\n-- limits: rows 2\nSELECT event_id FROM events",
    "number": "-- title: Number\n-- param: text String = 1\nSELECT toUInt8({text:String}) AS a FROM events",
    "broken": "-- title: Broken\nSELECT * FROM global_events",
}


@pytest.fixture
def saved_files() -> dict[str, str]:
    return FILES


async def fill(reader: Reader) -> None:
    await reader.store_twice(
        *(event(item_id=f"i{n}", metadata={"amount": float(f"{n}.10")}, tenant_id="acme") for n in (1, 2, 3)),
        event(item_id="i9", metadata={"amount": 900.0}, tenant_id="globex"),
    )


async def test_a_saved_query_answers_with_rows_and_columns(reader: Reader):
    await fill(reader)
    status, answer, headers = await reader.get("/api/v1/queries/revenue", top="2")
    assert status == 200
    assert answer == {
        "projectId": "shop",
        "tenantId": "acme",
        "query": "revenue",
        "title": "Revenue by item",
        "rows": [
            {"item": "i3", "amount": 3.1, "sales": 1},
            {"item": "i2", "amount": 2.1, "sales": 1},
        ],
        "columns": [
            {"name": "item", "type": "Nullable(String)"},
            {"name": "amount", "type": "Decimal(38, 2)"},
            {"name": "sales", "type": "UInt64"},
        ],
    }
    assert headers["Cache-Control"] == "private, max-age=60"
    assert headers["Vary"] == "Origin, Authorization, Accept"  # an Accept header may ask for a file
    status, answer, _ = await reader.get("/api/v1/queries/revenue", tenant_id=None)
    assert [row["item"] for row in answer["rows"]] == ["i9", "i3", "i2", "i1"]
    assert "tenantId" not in answer


# Files that a person may leave in the directory, and what is said about each.
SPOILED: dict[str, tuple[bytes, str]] = {
    "integer.sql": (b"-- title: T\n-- param: n UInt8 = abc\nSELECT {n:UInt8} AS n", "default of n is 'abc'"),
    "large_integer.sql": (b"-- title: T\n-- param: n UInt8 = 256\nSELECT {n:UInt8} AS n", "from 0 to 255"),
    "latin.sql": (b"-- title: \xe4\nSELECT 1 AS n", "not UTF-8"),
    "empty.sql": (b"", "title: is missing"),
    "no-name\udcff.sql": (b"-- title: T\nSELECT 1 AS n", "cannot be used"),
}


async def test_no_file_keeps_others_from_being_served(reader: Reader):
    directory = reader.config.saved_queries.directory
    for name, (content, _) in SPOILED.items():
        (directory / name).write_bytes(content)
    os.mkfifo(directory / "pipe.sql")
    (directory / "directory.sql").mkdir()
    (directory / "with_mark.sql").write_bytes(b"\xef\xbb\xbf-- title: T\r\nSELECT 1 AS n\r\n")
    await reader.saved.load()
    status, answer, _ = await reader.get("/api/v1/queries/with_mark")
    assert (status, answer["rows"]) == (200, [{"n": 1}])
    said = {name.replace("\\udcff", "\udcff"): why for name, why in reader.saved.problems.items()}
    for name, (_, why) in SPOILED.items():
        assert why in said[name]
    assert "not a regular file" in said["pipe.sql"]
    assert "not a regular file" in said["directory.sql"]
    json.dumps(reader.saved.warnings(), ensure_ascii=False).encode()  # for /ready


async def test_a_defect_in_the_check_of_a_file_is_a_problem_of_that_file(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
):
    async def failing(declared: Any, *others: Any) -> Any:
        if declared.name == "named":
            raise ValueError("unexpected")
        return await check(declared, *others)

    check = catalog.check
    monkeypatch.setattr(catalog, "check", failing)
    (reader.config.saved_queries.directory / "new.sql").write_text("-- title: New\nSELECT 1 AS n")
    await reader.saved.load()
    assert "please report it" in reader.saved.problems["named.sql"]
    assert (await reader.get("/api/v1/queries/new"))[0] == 200


async def test_a_default_may_be_several_numbers(reader: Reader):
    path = reader.config.saved_queries.directory / "several.sql"
    path.write_text(
        "-- title: Several\n-- param: n Array(Int64) = 1, -2\n-- param: t Array(String) = a, b\n"
        "SELECT {n:Array(Int64)} AS n, {t:Array(String)} AS t"
    )
    await reader.saved.load()
    status, answer, _ = await reader.get("/api/v1/queries/several")
    assert (status, answer["rows"]) == (200, [{"n": [1, -2], "t": ["a", "b"]}])
    path.write_text("-- title: Several\n-- param: n Array(Int64) = 1, x\nSELECT {n:Array(Int64)} AS n")
    await reader.saved.load()
    assert "default of n is 'x'" in reader.saved.problems["several.sql"]


async def test_a_default_may_be_a_relative_day(reader: Reader):
    path = reader.config.saved_queries.directory / "since.sql"
    path.write_text(
        "-- title: Since\n-- param: day Date = -7d\n-- param: at DateTime = -1d\n"
        "SELECT {day:Date} AS day, {at:DateTime} AS at"
    )
    await reader.saved.load()
    status, answer, _ = await reader.get("/api/v1/queries/since")
    assert (status, answer["rows"]) == (200, [{"day": "2024-06-08", "at": "2024-06-14T00:00:00Z"}])


async def test_a_decimal_keeps_all_its_digits(reader: Reader):
    path = reader.config.saved_queries.directory / "digits.sql"
    path.write_text("-- title: Digits\nSELECT toDecimal128('12345678901234567890.123456789', 9) AS d")
    await reader.saved.load()
    async with reader.open("/api/v1/queries/digits") as response:
        found = json.loads(await response.read(), parse_float=Decimal)
    assert found["rows"] == [{"d": Decimal("12345678901234567890.123456789")}]


@pytest.mark.parametrize("by", ["parameter", "header"])
async def test_the_other_formats_are_files(reader: Reader, by: str, tmp_path: Path):
    await fill(reader)
    types = {
        "csv": "text/csv",
        "ndjson": "application/x-ndjson",
        "parquet": "application/vnd.apache.parquet",
    }
    found = {}
    for name, kind in types.items():
        query = {"format": name} if by == "parameter" else {}
        accept = {"Accept": kind} if by == "header" else {}
        async with reader.open("/api/v1/queries/revenue", headers=accept, **query) as response:
            assert response.status == 200
            assert response.content_type == kind
            assert f'filename="revenue.{name}"' in response.headers["Content-Disposition"]
            found[name] = await response.read()
    assert found["csv"] == b'"item","amount","sales"\r\n"i3",3.1,1\r\n"i2",2.1,1\r\n"i1",1.1,1\r\n'
    assert [json.loads(line) for line in found["ndjson"].splitlines()] == [
        {"item": f"i{n}", "amount": float(f"{n}.1"), "sales": 1} for n in (3, 2, 1)
    ]
    file = tmp_path / "revenue.parquet"
    file.write_bytes(found["parquet"])
    assert query_library(f"SELECT item FROM file('{file}', Parquet)") == [["i3"], ["i2"], ["i1"]]


async def test_a_file_counts_the_rows_that_were_read(reader: Reader, monkeypatch: pytest.MonkeyPatch):
    await fill(reader)
    counted: list[int] = []
    monkeypatch.setattr(Queries, "query", lambda self, project, tenant, rows: counted.append(rows))
    for chosen in ("json", "csv"):
        async with reader.open("/api/v1/queries/revenue", format=chosen) as response:
            await response.read()
    assert counted[0] == counted[1] > 0


async def test_a_wrong_value_is_a_400_and_an_unknown_name_a_404(reader: Reader):
    status, answer, _ = await reader.get("/api/v1/queries/revenue", top="99")
    assert (status, answer["code"], answer["field"]) == (400, "invalid_parameter", "top")
    assert answer["detail"] == "Write an integer from 1 to 50."
    status, answer, _ = await reader.get("/api/v1/queries/revenue", format="xml")
    assert (status, answer["field"]) == (400, "format")
    status, answer, _ = await reader.get("/api/v1/queries/broken")
    assert (status, answer["code"]) == (404, "unknown_query")
    assert answer["detail"] == "There are: fails, large, number, revenue."
    status, answer, _ = await reader.get("/api/v1/queries/revenue", claims={"exp": 1})
    assert status == 401


async def test_who_may_run_a_query(reader: Reader):
    async def status_of(name: str, **more: Any) -> int:
        return (await reader.get(f"/api/v1/queries/{name}", **more))[0]

    assert await status_of("all_tenants") == 403
    assert await status_of("all_tenants", tenant_id=None) == 200
    assert await status_of("named") == 403
    assert await status_of("named", claims={"endpoints": ["queries/named"]}) == 200
    assert await status_of("revenue", claims={"endpoints": ["queries/named"]}) == 403
    assert await status_of("of_others") == 403
    assert await status_of("of_others", project_id="other") == 200


async def test_the_list_has_what_the_token_may_run(reader: Reader):
    status, answer, _ = await reader.get("/api/v1/queries")
    assert status == 200
    assert [one["name"] for one in answer["queries"]] == ["fails", "large", "number", "revenue"]
    assert answer["queries"][3]["path"] == "/api/v1/queries/revenue"
    assert answer["queries"][3]["parameters"][1] == {
        "name": "top", "type": "UInt8", "default": "10", "minimum": 1, "maximum": 50,
    }  # fmt: skip


async def test_an_error_names_no_row_and_a_limit_what_to_narrow(reader: Reader):
    await reader.store(event(metadata={"secret": "of a customer"}))
    status, answer, _ = await reader.get("/api/v1/queries/fails")
    assert (status, answer["code"]) == (500, "query_failed")
    assert "secret" not in json.dumps(answer)
    status, answer, _ = await reader.get("/api/v1/queries/fails", format="csv")
    assert (status, answer["code"]) == (500, "query_failed")
    await fill(reader)
    for chosen in ("json", "csv"):
        status, answer, _ = await reader.get("/api/v1/queries/large", format=chosen)
        assert (status, answer["code"]) == (422, "query_too_large")
        assert "sessionId" not in answer["detail"]  # this query has no such parameter


async def test_a_batch_asks_saved_queries_beside_others(reader: Reader):
    await fill(reader)
    body = {
        "from": "2024-06-01",
        "queries": {
            "sold": {"endpoint": "queries/revenue", "top": 1},
            "figures": {"endpoint": "summary"},
            "file": {"endpoint": "queries/revenue", "format": "csv"},
            "forbidden": {"endpoint": "queries/named"},
            "gone": {"endpoint": "queries/gone", "top": 1},
        },
    }
    status, answer, _ = await reader.post("/api/v1/analytics/query", body)
    assert status == 200, answer
    results = answer["results"]
    assert results["sold"]["rows"] == [{"item": "i3", "amount": 3.1, "sales": 1}]
    assert results["figures"]["events"] == 3
    assert results["file"]["error"]["field"] == "format"
    assert results["forbidden"]["error"]["code"] == "forbidden"
    assert results["gone"]["error"]["code"] == "unknown_query"
    assert "queries/" not in results["gone"]["error"]["message"]


async def test_a_reload_takes_new_files_and_keeps_the_last_good_version(reader: Reader):
    directory = reader.config.saved_queries.directory
    (directory / "revenue.sql").write_text(REVENUE.replace("FROM events", "FROM nothing"))
    (directory / "new.sql").write_text("-- title: New\nSELECT 1 AS a")
    (directory / "large.sql").unlink()
    await reader.saved.load()
    assert {"new", "revenue"} <= set(reader.saved.queries)
    assert "large" not in reader.saved.queries
    assert "still served" in reader.saved.problems["revenue.sql"]
    assert "not visible" in reader.saved.problems["broken.sql"]
    assert (await reader.get("/api/v1/queries/revenue"))[0] == 200
    # What anybody may read says nothing of the SQL.
    assert not any("nothing" in warning for warning in reader.saved.warnings())
    (directory / "revenue.sql").write_text(REVENUE)
    (directory / "revenue.sql").chmod(0o666)
    await reader.saved.load()
    assert "chmod o-w" in reader.saved.problems["revenue.sql"]


async def test_a_tenant_cannot_stop_the_reads_of_others(reader: Reader):
    """ClickHouse's message quotes the value, which names a part of the table, as a message of damage does."""
    await fill(reader)
    parts = await reader.clickhouse.query("SELECT _part FROM nealytics_core.global_events GROUP BY _part")
    for (part,) in parts:
        status, answer, _ = await reader.get("/api/v1/queries/number", text=f"reading part {part} x")
        assert (status, answer["code"]) == (500, "query_failed")
    assert reader.clickhouse.damaged == {}
    assert (await reader.get("/api/v1/analytics/summary", tenant_id="globex"))[0] == 200


async def test_the_public_document_and_a_batch_name_no_query_of_some_tokens(reader: Reader):
    async with reader.open("/openapi.json") as response:
        shown = await response.json()
    assert "/api/v1/queries/revenue" in shown["paths"]
    status, refused, _ = await reader.post(
        "/api/v1/analytics/query", {"queries": {"a": {"endpoint": "misspelt"}}}
    )
    assert status == 400
    for text in (json.dumps(shown), json.dumps(refused)):
        assert not any(name in text for name in ("all_tenants", "queries/named", "of_others"))


async def test_openapi_has_each_query_with_its_parameters(reader: Reader):
    found = document(reader.config, tuple(reader.saved.queries.values()))
    operation = found["paths"]["/api/v1/queries/revenue"]["get"]
    assert operation["operationId"] == "queries_revenue"
    assert [one["name"] for one in operation["parameters"]] == ["format", "from", "top"]
    assert operation["parameters"][2]["schema"] == {
        "type": "integer", "minimum": 1, "maximum": 50, "default": 10,
    }  # fmt: skip
    endpoints = found["components"]["schemas"]["Question"]["properties"]["endpoint"]["enum"]
    assert {"top", "queries/revenue"} <= set(endpoints)
