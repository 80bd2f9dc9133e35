"""Saved queries with a ClickHouse server: the statements for its user, and queries as such a user.

The engine here keeps its users in a file, so it stores no user that SQL makes. Before that, it checks the
statement: grammar, names, values, rights, and what it refers to. And the user in its file, whom all other
tests use, must be the one that the statements describe.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nealytics.auth.scope import Scope
from nealytics.cli import main
from nealytics.clickhouse import saved_reader, schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.endpoint import saved_endpoint
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.rowbinary import ROW_FORMAT, encode_row, insert_sql
from nealytics.config import ClickHouseConfig, Config, QueryConfig, SavedQueriesConfig
from nealytics.queries.saved.catalog import ON_CLUSTER, WITHOUT_USER, Catalog
from nealytics.queries.scoped import Events
from tests.engine import RunningEngine, needs_engine, start_engine
from tests.http.reader import event

pytestmark = [needs_engine, pytest.mark.engine]

STORAGE_READONLY = 495
NO_GRANT_OPTION = 497  # the operator of a test may not hand on rights
UNKNOWN_SETTING = 115
COUNTED = (
    "-- title: Counted\nSELECT tenant_id, count() AS n FROM events GROUP BY tenant_id ORDER BY tenant_id"
)
# `name = value [MIN … MAX …] [CHANGEABLE_IN_READONLY]`, or only that it can be changed.
ELEMENT = re.compile(r"(\w+)(?: = ('[^']*'|\S+?))?(?: MIN (\d+) MAX (\d+))?( CHANGEABLE_IN_READONLY)?,?")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with start_engine(tmp_path_factory.mktemp("server"), retention_days=0) as engine:
        asyncio.run(_fill(engine))
        yield engine


async def _fill(engine: RunningEngine) -> None:
    config = engine.config.clickhouse
    async with ClickHouseClient(engine.endpoint, config) as client:
        await schema.apply(client, config)
        rows = [event(tenant_id=tenant) for tenant in ("acme", "acme", "globex")]
        rows.append(event(project_id="other"))
        for token in ("a", "b"):
            body = b"".join(encode_row(one, one.timestamp_ms) for one in rows)
            await client.insert(insert_sql(config.database, ROW_FORMAT), body, token=token)


def as_server(engine: RunningEngine, directory: Path, **saved: str) -> Config:
    """The engine as a server that the configuration names, with a file of a query."""
    (directory / "counted.sql").write_text(COUNTED)
    return Config(
        clickhouse=ClickHouseConfig(
            url=engine.url, user=engine.user, password=engine.password, retention_days=0
        ),
        saved_queries=SavedQueriesConfig(directory=directory, **saved),
    )


def statements(engine: RunningEngine) -> list[str]:
    return saved_reader.statements(ClickHouseConfig(), QueryConfig(), "saved", engine.access.saved)


async def test_clickhouse_accepts_each_statement_but_for_its_storage(engine: RunningEngine):
    async with ClickHouseClient(engine.endpoint, engine.config.clickhouse) as client:
        codes = []
        for statement in statements(engine):
            with pytest.raises(ClickHouseError) as refused:
                await client.command(statement)
            codes.append(refused.value.code)
        assert codes == [STORAGE_READONLY, STORAGE_READONLY, NO_GRANT_OPTION, STORAGE_READONLY]
        # It does look at what a statement says.
        with pytest.raises(ClickHouseError) as refused:
            await client.command(statements(engine)[0].replace("max_rows_to_read", "max_rows_to_reed"))
        assert refused.value.code == UNKNOWN_SETTING


async def test_the_statements_make_the_user_that_is_tested(engine: RunningEngine):
    """Settings with their bounds, rights, and the row policy, as the running engine has them."""
    profile, _, grant, policy = statements(engine)
    wanted = {}
    for line in profile.split("SETTINGS\n")[1].splitlines():
        parts = ELEMENT.fullmatch(line.strip())
        assert parts is not None, line
        name, value, least, most, changeable = parts.groups()
        wanted[name] = (value and value.strip("'"), least, most, bool(changeable))
    async with ClickHouseClient(engine.endpoint, engine.config.clickhouse) as client:
        rows = await client.query(
            "SELECT setting_name, value, min, max, writability FROM system.settings_profile_elements"
            " WHERE profile_name = 'saved' AND setting_name IS NOT NULL"
        )
        merged: dict[str, list[object]] = {}
        for name, value, least, most, writability in rows:
            known = merged.setdefault(name, [None, None, None, False])
            known[0] = known[0] if value is None else value
            known[1] = known[1] if least is None else least
            known[2] = known[2] if most is None else most
            known[3] = known[3] or writability == "CHANGEABLE_IN_READONLY"
        found = {name: tuple(element) for name, element in merged.items() if name in wanted}
        assert found == wanted
        ((granted,),) = await client.query("SHOW GRANTS FOR saved")
        assert granted.replace("`", "") == grant.replace("`", "")
        ((condition,),) = await client.query(
            "SELECT select_filter FROM system.row_policies WHERE has(apply_to_list, 'saved')"
        )
        of_statement = re.search(r"USING (.*)\n", policy)
        assert of_statement is not None
        ((same,),) = await client.query(
            "SELECT formatQuerySingleLine('SELECT ' || {a:String})"
            " = formatQuerySingleLine('SELECT ' || {b:String})",
            {"a": condition, "b": of_statement[1]},
        )
        assert int(same) == 1


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope("shop", "acme"), [("acme", 2)]),
        (Scope("shop", None), [("acme", 2), ("globex", 1)]),
        (Scope("other", "globex"), []),
    ],
    ids=str,
)
async def test_a_server_with_the_user_answers_within_the_scope(
    engine: RunningEngine, tmp_path: Path, scope: Scope, expected: list[tuple[str, int]]
):
    config = as_server(engine, tmp_path, user="saved", password=engine.access.saved)
    catalog = Catalog(config, saved_endpoint(config, None))
    await catalog.load()
    assert (catalog.off, catalog.problems) == (None, {})
    async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        events = Events(client, config.clickhouse.database, scope)
        answer: Any = await catalog.queries["counted"].run(events, {})
    assert [(row["tenant_id"], row["n"]) for row in answer.rows] == expected
    await catalog.close()


async def why_off(config: Config) -> str | None:
    catalog = Catalog(config, saved_endpoint(config, None))
    await catalog.load()
    assert catalog.queries == {}
    await catalog.close()
    return catalog.off


async def test_without_that_user_they_are_off(engine: RunningEngine, tmp_path: Path):
    assert await why_off(as_server(engine, tmp_path)) == WITHOUT_USER
    others = {
        "operator": (engine.user, engine.password),
        "reader": ("reader", engine.access.reader),
        "wrong password": ("saved", "another password"),
    }
    for which, (user, password) in others.items():
        off = await why_off(as_server(engine, tmp_path, user=user, password=password))
        assert off is not None, which
        assert "saved" in off, which


def test_the_doctor_says_so(engine: RunningEngine, tmp_path: Path):
    def told(cluster: str, **saved: str) -> list[tuple[str, str]]:
        config = as_server(engine, tmp_path, **saved)
        lines = [
            f"clickhouse.{name} = {json.dumps(getattr(config.clickhouse, name))}"
            for name in ("url", "user", "password")
        ]
        lines += [f"saved_queries.{name} = {json.dumps(value)}" for name, value in saved.items()]
        lines += [
            f"saved_queries.directory = {json.dumps(str(tmp_path))}",
            f"server.data_dir = {json.dumps(str(tmp_path / 'data'))}",
            f"wal.directory = {json.dumps(str(tmp_path / 'wal'))}",
            f"clickhouse.cluster = {json.dumps(cluster)}",
            'auth.jwt_key = "a-key-of-the-test-that-has-more-than-32-bytes"',
        ]
        path = tmp_path / "nealytics.toml"
        path.write_text("\n".join(lines))
        done = CliRunner().invoke(main, ["doctor", "--json", "--config", str(path)])
        found = map(json.loads, done.stdout.splitlines())
        return [(one["level"], one["text"]) for one in found if one["check"] == "saved queries"]

    assert told("", user="saved", password=engine.access.saved) == [("pass", "1 can be run: counted")]
    assert told("") == [("warn", WITHOUT_USER)]
    assert told("main", user="saved", password=engine.access.saved) == [("warn", ON_CLUSTER)]
