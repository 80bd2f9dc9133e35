"""Saved queries on the real engine: no row of another tenant, whatever the SQL says.

Each escape is tried past each fence: as a file, which the check of the parsed SQL refuses, and as a statement
of the ClickHouse user alone, as if that check had a hole.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import pytest
from multidict import MultiDict

from nealytics.auth.scope import Scope
from nealytics.clickhouse import saved_reader, schema
from nealytics.clickhouse.client import ClickHouseClient, Param
from nealytics.clickhouse.embedded import Access
from nealytics.clickhouse.endpoint import embedded_endpoint
from nealytics.clickhouse.error_codes import Kind
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.rowbinary import ROW_FORMAT, encode_row, insert_sql
from nealytics.config import QueryConfig
from nealytics.erasure.jobs import Erasure, Job
from nealytics.errors import NealyticsError, Refused
from nealytics.queries.filters import parse_filter
from nealytics.queries.params import Arguments
from nealytics.queries.saved.catalog import check
from nealytics.queries.saved.head import BrokenQuery, parse
from nealytics.queries.saved.reader import SavedReader, client_of
from nealytics.queries.scoped import Events, FenceDown
from tests.engine import RunningEngine, needs_engine, start_engine
from tests.http.reader import event
from tests.queries.saved.generated import CASES, statement

pytestmark = [needs_engine, pytest.mark.engine]

TABLE = "nealytics_core.global_events"
ACME = Scope("shop", "acme")
SHOP = Scope("shop", None)
# Every event has the name of its tenant in each text, so an answer shows whose it is.
OWNERS = (("shop", "acme"), ("shop", "globex"), ("other", "other"), ("other", "acme"))
FOREIGN = ("secret-of-globex", "secret-of-other")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with start_engine(tmp_path_factory.mktemp("saved"), retention_days=0) as engine:
        yield engine


@pytest.fixture(scope="module")
def stored(engine: RunningEngine) -> None:
    asyncio.run(_store(engine))


async def _store(engine: RunningEngine) -> None:
    config = engine.config.clickhouse
    async with ClickHouseClient(engine.endpoint, config) as client:
        await schema.apply(client, config)
        events = [
            event(
                project_id=project,
                tenant_id=tenant,
                session_id=f"secret-of-{tenant}",
                user_id=f"secret-of-{tenant}",
                event_type=f"secret-of-{tenant}" if number % 2 else "view",
                item_id=f"secret-of-{tenant}",
                metadata={"note": f"secret-of-{tenant}"},
            )
            for project, tenant in OWNERS
            for number in range(10)
        ]
        body = b"".join(encode_row(one, one.timestamp_ms) for one in events)
        # Twice: every answer must count an event once.
        for token in ("a", "b"):
            await client.insert(insert_sql(config.database, ROW_FORMAT), body, token=token)


@pytest.fixture
async def client(engine: RunningEngine, stored: None) -> AsyncIterator[ClickHouseClient]:
    async with client_of(user_of(engine.access), engine.config.clickhouse) as client:
        yield client


def user_of(access: Access) -> Any:
    return embedded_endpoint(access, "nealytics_core", "saved", access.saved)


@pytest.fixture
def reader(client: ClickHouseClient) -> SavedReader:
    return SavedReader(client, "nealytics_core")


async def answer(
    reader: SavedReader, sql: str, scope: Scope = ACME, head: str = "", **given: str
) -> list[list[Any]]:
    """The rows of a file, through all three fences."""
    declared = parse("it", f"-- title: It\n{head}{sql}")
    query: Any = await check(declared, reader, QueryConfig())
    arguments = Arguments(MultiDict(given), QueryConfig(), 1_718_452_800_000, query.parameters)
    events = reader.events(scope)
    found = await query.run(events, query.parse(arguments))
    return [list(row.values()) for row in found.rows]


async def raw(client: ClickHouseClient, sql: str, scope: Scope = ACME, **params: Param) -> list[list[Any]]:
    """As ClickHouse's user alone, without our check of the SQL."""
    key = saved_reader.scope_key(client.endpoint.password)
    settings = {"log_comment": saved_reader.signed(key, scope.project_id, scope.tenant_id)}
    return await client.query(sql, params, settings=settings)


async def test_a_query_sees_the_events_of_its_scope_each_of_them_once(reader: SavedReader):
    assert await answer(reader, "SELECT count() AS n, uniqExact(tenant_id) AS t FROM events") == [[10, 1]]
    assert await answer(reader, "SELECT count() AS n FROM events", SHOP) == [[20]]
    assert await answer(reader, "SELECT count() AS n FROM events", Scope("shop", "nobody")) == [[0]]
    assert await answer(reader, "SELECT count() AS n FROM events", Scope("it's {x} \\ '", "a.b'\\")) == [[0]]


async def test_an_order_and_a_with_clause_are_kept(reader: SavedReader):
    sql = (
        "WITH days AS (SELECT toDate(timestamp) AS day, event_type AS kind FROM events)\n"
        "SELECT kind, count() AS n FROM days GROUP BY kind ORDER BY kind DESC -- the last first\n"
    )
    assert await answer(reader, sql) == [["view", 5], ["secret-of-acme", 5]]
    union = "(SELECT 1 AS a FROM events LIMIT 1) UNION ALL (SELECT 2 AS a FROM events LIMIT 1)"
    assert sorted(await answer(reader, union)) == [[1], [2]]


async def test_a_parameter_is_a_value_and_never_sql(reader: SavedReader):
    head = "-- param: kind String = view\n-- param: many Array(String) = secret-of-acme\n"
    sql = (
        "SELECT count() AS n FROM events WHERE event_type = {kind:String} AND user_id IN {many:Array(String)}"
    )
    assert await answer(reader, sql, head=head) == [[5]]
    hostile = "view' OR 1=1 -- \\ \t\n {tenant_id:String}"
    assert await answer(reader, sql, head=head, kind=hostile, many=hostile) == [[0]]


async def test_erased_events_and_those_outside_of_the_tokens_filters_are_hidden(reader: SavedReader):
    query: Any = await check(
        parse("it", "-- title: It\nSELECT count() AS n FROM events"), reader, QueryConfig()
    )
    filtered = reader.events(ACME, token_filters=[parse_filter("filters", "event_type:eq:view")])
    assert (await query.run(filtered, {})).rows == [{"n": 5}]
    erasure = Erasure(
        id="1", project_id="shop", tenant_id="acme", before_ms=2**42, requested_at_ms=0, requested_by=""
    )
    job = Job(erasure=erasure)
    assert (await query.run(reader.events(ACME, hidden=lambda scope: [job]), {})).rows == [{"n": 0}]


async def said_by(attempt: Awaitable[object]) -> str:
    """The rows, or the error: neither may contain a foreign row."""
    try:
        return str(await attempt)
    except NealyticsError as error:
        return f"refused: {error}"


# What a file may not contain, and a part of the message.
REFUSED = {
    "SELECT * FROM events SETTINGS additional_table_filters = {}": "SETTINGS",
    "SELECT * FROM (SELECT * FROM events SETTINGS log_comment = 'x')": "SETTINGS",
    "SELECT * FROM events SETTINGS final = 0": "SETTINGS",
    f"SELECT * FROM loop({TABLE}) LIMIT 1": "table function loop",
    "SELECT * FROM loop(events) LIMIT 1": "table function loop",
    "SELECT * FROM mergeTreeIndex(nealytics_core, global_events)": "table function mergeTreeIndex",
    "SELECT * FROM mergeTreeProjection(nealytics_core, global_events, p)": "function mergeTreeProjection",
    f"SELECT * FROM remote('127.0.0.1', {TABLE})": "table function remote",
    "SELECT * FROM merge(nealytics_core, '.*')": "table function merge",
    "SELECT * FROM url('http://127.0.0.1:1/', CSV, 'a String')": "table function url",
    "SELECT * FROM file('/etc/passwd', LineAsString)": "table function file",
    "SELECT file('/etc/passwd') AS a": "function file",
    "SELECT dictGet('d', 'a', 1) AS a FROM events": "function dictGet",
    "SELECT joinGet('j', 'a', 1) AS a": "function joinGet",
    f"SELECT * FROM view(SELECT * FROM {TABLE})": "table function view",
    "SELECT * FROM numbers(10)": "table function numbers",
    "SELECT * FROM generateRandom('a String')": "table function generateRandom",
    "SELECT * FROM executable('id', 'CSV', 'a String')": "table function executable",
    "EXPLAIN SELECT * FROM events": "begins with EXPLAIN",
    "SELECT * FROM (EXPLAIN SELECT * FROM events)": "viewExplain",
    f"DESCRIBE TABLE {TABLE}": "begins with DESCRIBE",
    "SHOW TABLES": "begins with SHOW",
    f"INSERT INTO {TABLE} SELECT * FROM events": "begins with INSERT",
    f"DROP TABLE {TABLE}": "begins with DROP",
    "SYSTEM SHUTDOWN": "begins with SYSTEM",
    "SELECT 1 AS a; SELECT 2 AS a": "Multi-statements",
    "SELECT 1 AS a /* not closed": "not closed",
    f"SELECT * FROM {TABLE}": "not visible",
    "SELECT * FROM global_events": "not visible",
    "SELECT * FROM `global_events`": "not visible",
    "SELECT * FROM system.tables": "not visible",
    "SELECT * FROM system.one": "not visible",
    "SELECT * FROM information_schema.tables": "not visible",
    "SELECT 1 IN global_events AS a": "not visible",
    f"SELECT count() AS n FROM events WHERE tenant_id IN {TABLE}": "not visible",
    "WITH events AS (SELECT 1 AS a) SELECT * FROM events": "WITH defines events",
    "WITH events AS (SELECT * FROM global_events) SELECT * FROM events": "WITH defines events",
    "WITH events AS MATERIALIZED (SELECT 1 AS a) SELECT * FROM events": "WITH defines events|refuses it",
    "WITH events (a) AS (SELECT 1) SELECT a FROM events": "WITH defines events|refuses it",
    "WITH (a, b) -> 1 AS equals SELECT * FROM events": "lambda has a name",
    "WITH (a, b) -> 1 AS `equals`, a -> 1 AS not SELECT * FROM events": "lambda has a name",
    "WITH (a, b) -> 1 AS f, f AS equals SELECT * FROM events": "lambda has a name",
    "SELECT arrayMap((a -> 1) AS ifNull, [1]) AS n FROM events": "lambda has a name|refuses it",
    "SELECT * FROM events FORMAT CSV": "FORMAT",
    "SELECT * FROM events INTO OUTFILE '/tmp/x'": "OUTFILE",
    "SELECT * FROM {t:Identifier}": "no parameter",
    "SELECT {c:Identifier} AS a FROM events": "no parameter",
    "SELECT {tenant_id:String} AS a FROM events": "no parameter",
    "SELECT getSetting('log_comment') AS a": "function getSetting",
    "SELECT currentUser() AS a, hostName() AS b": "function currentUser",
    "SELECT sleep(0.01) AS a": "function sleep",
    "SELECT * APPLY(toString) FROM events": "APPLY",
    "SELECT formatRow('Template', 1) AS a": "function formatRow",
    "SELECT * FROM events SAMPLE 0.5": "SAMPLE",
    "SELECT a, a FROM (SELECT 1 AS a)": "two columns",
    "SELECT nothing FROM events": "ClickHouse refuses",
    "SELEKT 1": "ClickHouse refuses",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT * FROM t": "RECURSIVE",
}


@pytest.mark.parametrize(("sql", "why"), REFUSED.items(), ids=list(REFUSED))
async def test_a_file_with_an_escape_is_refused(reader: SavedReader, sql: str, why: str):
    with pytest.raises(BrokenQuery, match=why):
        await answer(reader, sql)


async def test_a_syntax_error_names_the_line_of_the_file(reader: SavedReader):
    for sql, end in (
        ("SELECT user_id,\n  count(\nFROM events WHERE", r"line 3, col 8\) is never closed"),
        ("SELECT user_id, FROM events WHERE", r"failed at position \d+ \(end of query\) \(line 2, col 34\)"),
    ):
        with pytest.raises(BrokenQuery, match=f"{end}$"):
            await answer(reader, sql)
    with pytest.raises(BrokenQuery, match=r"Unknown expression identifier `revenue`$"):
        await answer(reader, "SELECT revenue FROM events")


# What the SQL may say and still sees its own tenant only.
HARMLESS = [
    "SELECT /*! tenant_id = 'globex' */ * FROM events -- SETTINGS x = 1",
    "SELECT (SELECT groupArray(e.session_id) FROM events AS e WHERE e.tenant_id != o.tenant_id) AS a"
    " FROM events AS o",
    "SELECT b.* FROM events AS a JOIN events AS b USING (project_id) WHERE a.tenant_id != b.tenant_id",
    "SELECT * FROM events WHERE tenant_id = 'globex' OR 1 = 1",
    "SELECT * FROM events WHERE tenant_id IN (SELECT tenant_id FROM events) OR project_id = 'other'",
    "WITH x AS (SELECT * FROM events) SELECT * FROM x UNION ALL SELECT * FROM x",
    "SELECT * FROM (SELECT 'SETTINGS FORMAT INTO OUTFILE' AS text) AS e",
    "SELECT 'a' AS `quoted; name`",
    "SELECT arrayMap(a -> concat(a, '!'), groupArray(session_id)) AS sessions FROM events",
]


@pytest.mark.parametrize("sql", HARMLESS)
async def test_sql_that_may_run_shows_its_own_tenant_only(reader: SavedReader, sql: str):
    said = str(await answer(reader, sql))
    assert not any(word in said for word in FOREIGN)


@pytest.mark.parametrize("sql", [*REFUSED, *HARMLESS])
async def test_clickhouse_alone_shows_no_foreign_row(client: ClickHouseClient, sql: str):
    """Past our check of the SQL: `events` as the table itself."""
    said = await said_by(raw(client, sql.replace("events", TABLE) if TABLE not in sql else sql))
    assert not any(word in said for word in FOREIGN)


async def test_a_scope_that_is_not_signed_shows_nothing(client: ClickHouseClient):
    key = saved_reader.scope_key(client.endpoint.password)
    acme = saved_reader.signed(key, "shop", "acme")
    globex = saved_reader.signed(key, "shop", "globex")
    forged = [
        "",
        "*.*.*",
        globex.rpartition(".")[0],
        f"{globex.rpartition('.')[0]}.{acme.rpartition('.')[2]}",
        saved_reader.signed("another key", "shop", "globex"),
        acme.replace(acme.split(".")[1], "*"),
    ]
    for comment in forged:
        with pytest.raises(ClickHouseError) as refused:
            await client.query(f"SELECT count() FROM {TABLE}", settings={"log_comment": comment})
        assert saved_reader.is_without_scope(refused.value), comment
        with pytest.raises(ClickHouseError) as refused:
            await raw(client, f"SELECT count() FROM {TABLE} SETTINGS log_comment = '{comment}'")
        assert saved_reader.is_without_scope(refused.value), comment


async def test_limits_hold_and_a_setting_cannot_be_changed(reader: SavedReader, client: ClickHouseClient):
    with pytest.raises(Refused) as limited:
        await answer(reader, "SELECT * FROM events", head="-- limits: rows 5\n")
    assert limited.value.status == 422
    assert isinstance(limited.value.__cause__, ClickHouseError)
    assert limited.value.__cause__.name == "TOO_MANY_ROWS_OR_BYTES"
    for setting in ("max_threads = 1", "readonly = 0", "max_execution_time = 0", "max_memory_usage = 0"):
        with pytest.raises(ClickHouseError) as refused:
            await raw(client, f"SELECT 1 SETTINGS {setting}")
        assert refused.value.name in ("READONLY", "SETTING_CONSTRAINT_VIOLATION"), setting


async def test_an_error_of_the_sql_quotes_no_row_to_the_tenant(reader: SavedReader, caplog: Any):
    sql = "SELECT toUInt8(session_id) AS a FROM events"
    with pytest.raises(Exception, match="the saved query it failed") as refused:
        await answer(reader, sql)
    assert "secret-of" not in f"{refused.value} {getattr(refused.value, 'detail', '')}"
    assert "secret-of-acme" in caplog.text  # the operator's log has it


@pytest.mark.parametrize(
    "text", ["no valid scope", "reading part 202406_1_1_0 x", "(while reading from part /a/b/all_1_1_0/ )"]
)
async def test_a_value_in_the_message_of_an_error_decides_nothing(reader: SavedReader, text: str):
    """ClickHouse quotes it: no tenant may raise the operator's alarm, or stop the reads of a part."""
    sql = "SELECT toUInt8({text:String}) AS a FROM events"
    with pytest.raises(Refused) as refused:
        await answer(reader, sql, head="-- param: text String = 1\n", text=text)
    assert (refused.value.status, refused.value.code) == (500, "query_failed")


async def test_a_known_damaged_part_is_refused_only_to_those_who_need_it(
    engine: RunningEngine, client: ClickHouseClient, reader: SavedReader
):
    query: Any = await check(
        parse("it", "-- title: It\nSELECT uniq(user_id) AS n FROM events"), reader, QueryConfig()
    )
    async with ClickHouseClient(engine.endpoint, engine.config.clickhouse) as node:
        parts = await node.query("SELECT name FROM system.parts WHERE active AND table = 'global_events'")
        node.damaged.update({name: "found by a check" for (name,) in parts})
        with pytest.raises(ClickHouseError) as damaged:
            await query.run(Events(node, "nealytics_core", ACME), {})
        assert damaged.value.kind is Kind.DAMAGED
        nobody = Events(node, "nealytics_core", Scope("shop", "nobody"))
        assert (await query.run(nobody, {})).rows == [{"n": 0}]


async def test_what_is_erased_is_asked_for_after_the_fence_is_proven(
    reader: SavedReader, monkeypatch: pytest.MonkeyPatch
):
    """The proof may take longer than the list of erasures is current."""
    query: Any = await check(
        parse("it", "-- title: It\nSELECT count() AS n FROM events"), reader, QueryConfig()
    )
    order: list[str] = []
    prove = reader.fence.prove

    async def proving() -> None:
        await prove()
        order.append("proven")

    def hidden(scope: Scope) -> list[Job]:
        order.append("erased")
        return []

    monkeypatch.setattr(reader.fence, "prove", proving)
    await query.run(reader.events(ACME, hidden=hidden), {})
    async with query.stream(reader.events(ACME, hidden=hidden), {}, "CSV"):
        pass
    assert order == ["proven", "erased"] * 2


async def test_the_fence_is_down_for_another_password_user_or_rights(
    engine: RunningEngine, client: ClickHouseClient, stored: None
):
    """The node's other users lack what makes a saved query safe."""
    for name in ("reader", "writer"):
        user = embedded_endpoint(engine.access, "nealytics_core", name, getattr(engine.access, name))
        async with client_of(user, engine.config.clickhouse) as other:
            with pytest.raises(FenceDown, match="schema print --reader"):
                await SavedReader(other, "nealytics_core").fence.prove()
    wrong_key = SavedReader(client, "nealytics_core")
    wrong_key.fence._key = "another"
    with pytest.raises(FenceDown, match="another password"):
        await wrong_key.fence.prove()


async def test_the_policy_can_be_verified_on_an_empty_table(engine: RunningEngine, client: ClickHouseClient):
    async with ClickHouseClient(engine.endpoint, engine.config.clickhouse) as operator:
        await operator.command("CREATE TABLE nealytics_core.kept AS nealytics_core.global_events")
        await operator.command(f"EXCHANGE TABLES {TABLE} AND nealytics_core.kept")
        try:
            await SavedReader(client, "nealytics_core").fence.prove()
        finally:
            await operator.command(f"EXCHANGE TABLES {TABLE} AND nealytics_core.kept")
            await operator.command("DROP TABLE nealytics_core.kept")


async def test_generated_queries_of_two_tenants_show_no_foreign_row(
    reader: SavedReader, client: ClickHouseClient
):
    """With NEALYTICS_FUZZ=5000 and --timeout=0, 5,000 of them, each past each fence."""
    answered = 0
    for number in range(CASES):
        rng = random.Random(number)
        sql = statement(rng)
        scope, foreign = rng.choice([(ACME, "globex"), (Scope("shop", "globex"), "acme")])
        of_others = (f"secret-of-{foreign}", "secret-of-other")
        for attempt in (
            answer(reader, sql, scope),
            raw(client, sql.replace("FROM events", f"FROM {TABLE}"), scope),
        ):
            said = await said_by(attempt)
            answered += not said.startswith("refused")
            assert not any(word in said for word in of_others), f"{number}: {sql}"
    assert answered > CASES / 2  # the generator writes SQL that runs
