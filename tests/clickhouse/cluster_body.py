"""Runs in a process of its own: ClickHouse in this process, as the only shard of a cluster, and what it does
with our tables. Prints one JSON object. `test_cluster_engine.py` reads it.

The one thing it cannot do is replicate: Keeper's stand-in for tests lets a replicated table be created and
not be written. So the shard's table is a plain one where rows are needed.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from chdb import session
from multidict import MultiDict

from nealytics.auth.scope import Scope
from nealytics.clickhouse import schema
from nealytics.clickhouse.errors import error_of
from nealytics.clickhouse.failover import IDENTITY, Address, Addresses
from nealytics.clickhouse.settings import escaped, insert_settings, read_settings
from nealytics.config import ClickHouseConfig, QueryConfig
from nealytics.queries import ENDPOINTS
from nealytics.queries.params import Arguments
from nealytics.queries.scoped import Events, Fence, FenceDown
from tests.queries.required import required

SHARD = "<shard><replica><host>127.0.0.1</host><port>{}</port></replica></shard>"
CONFIG = f"""<clickhouse>
  <tcp_port>9000</tcp_port>
  <macros><cluster>main</cluster><shard>01</shard><replica>r1</replica></macros>
  <zookeeper><implementation>testkeeper</implementation></zookeeper>
  <remote_servers>
    <main>{SHARD.format(9000)}</main>
    <half>{SHARD.format(9000)}{SHARD.format(1)}</half>
  </remote_servers>
</clickhouse>"""
# Closing it would wait for Keeper's stand-in for ever.
KEPT: list[session.Session] = []
INTERFACE = {"wait_end_of_query", "cancel_http_readonly_queries_on_client_close", "readonly"}
ME = Scope("shop", "t1")
ON_CLUSTER = ClickHouseConfig(cluster="main")


class InProcess:
    """As far as `Events`, `Fence` and `schema` need a client."""

    def __init__(self, engine: session.Session) -> None:
        self.engine = engine
        self.addresses = Addresses(("in-process",))
        self.damaged: dict[str, str] = {}

    async def verify(self, address: Address) -> None:
        pass

    def run(
        self, sql: str, params: Mapping[str, Any], settings: Mapping[str, Any], output: str = "TabSeparated"
    ) -> str:
        sent = ", ".join(
            f"{name} = {value if isinstance(value, int) or value[:1] == '{' else repr(value)}"
            for name, value in settings.items()
            if name not in INTERFACE
        )
        bound = {name: escaped(value) for name, value in params.items()}
        try:
            return str(self.engine.query(sql + (f" SETTINGS {sent}" if sent else ""), output, params=bound))
        except Exception as error:
            raise error_of(500, None, str(error)) from error

    async def query(
        self,
        sql: str,
        params: Mapping[str, Any] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        at: Address | None = None,
        received: object = None,
        read: object = None,
    ) -> list[list[Any]]:
        sent = {**read_settings(ON_CLUSTER), **(settings or {})}
        return list(json.loads(self.run(sql, params or {}, sent, "JSONCompact"))["data"])

    async def command(
        self,
        sql: str,
        params: Mapping[str, Any] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        at: Address | None = None,
    ) -> str:
        sql, formatted, output = sql.partition(" FORMAT ")
        return self.run(sql, params or {}, settings or {}, output if formatted else "TabSeparated")

    async def learn_settings(self) -> frozenset[str]:
        return frozenset()


def on_this_host(database: str, local: Callable[[str], str] = lambda sql: sql) -> list[str]:
    """The statements of a cluster without ON CLUSTER, which needs Keeper."""
    made = schema.create_statements(database, 0, "{cluster}")
    return [local(sql.replace(" ON CLUSTER '{cluster}'", "")) for sql in made]


def unreplicated(sql: str) -> str:
    if "ENGINE = Replicated" not in sql:
        return sql
    head, _, rest = sql.partition("ENGINE = Replicated")
    engine = "ENGINE = ReplacingMergeTree\n" + rest.partition("\n")[2]
    engine = engine.replace("replicated_deduplication_window = ", "non_replicated_deduplication_window = ")
    return head + engine.replace("replicated_deduplication_window_seconds = 604800, ", "")


def rows(table: str, tenant: str, count: int) -> str:
    return (
        f"INSERT INTO {table} (event_id, project_id, tenant_id, session_id, user_id, event_type, item_id,"
        " metadata_json, timestamp, received_at) SELECT toUUID(concat('00000000-0000-0000-0000-',"
        f" leftPad(toString(number), 12, '0'))), 'shop', '{tenant}', toString(number % 7),"
        " toString(number % 5), ['view', 'buy'][number % 2 + 1], toString(number % 3),"
        " concat('{\"n\":', toString(number), '}'), now64(3) - INTERVAL number MINUTE AS at, at"
        f" FROM numbers({count})"
    )


async def main(directory: Path) -> dict[str, Any]:
    (directory / "config.xml").write_text(CONFIG)
    engine = session.Session(f"{directory}/data?config-file={directory}/config.xml")
    KEPT.append(engine)
    client = InProcess(engine)
    found: dict[str, Any] = {}

    made = schema.create_statements("r", 90, "{cluster}")
    for sql in made:
        await client.command(f"EXPLAIN AST {sql}")
    for sql in on_this_host("r"):
        await client.command(sql)
    config = ClickHouseConfig(url="http://x", database="r", cluster="{cluster}", retention_days=0)
    await schema.probe(client, config)  # type: ignore[arg-type]
    found["done by a second apply"] = await schema.apply(client, config)  # type: ignore[arg-type]
    for what, sql in bare(config):
        await client.command(f"EXPLAIN AST {sql}")
        found.setdefault("parsed", []).append(what)

    for sql in on_this_host("d", unreplicated):
        await client.command(sql)
    for sql in schema.create_statements("p", 0):
        await client.command(sql)
    for database, table in (("r", "global_events"), ("r", "global_events_local"), ("p", "global_events")):
        params = {"database": database, "table": table}
        found[f"identity of {database}.{table}"] = await client.command(IDENTITY, params)
    found["identity of none"] = await client.command(IDENTITY, {"database": "p", "table": "none"})
    settings = insert_settings(ON_CLUSTER, replicas=True)
    for tenant, count in (("t1", 500), ("t2", 300)):
        await client.command(rows("p.global_events", tenant, count))
    # The same events, so that the answers can be compared.
    for token in ("a", "a", "b"):
        copy = "INSERT INTO d.global_events SELECT * FROM p.global_events"
        await client.command(copy, settings={**settings, "insert_deduplication_token": token})
        found.setdefault("rows after tokens a, a, b", []).append(
            await number(client, "d.global_events_local")
        )
    found["final"] = (await client.query("SELECT count() FROM d.global_events"))[0][0]

    await Fence(client, "d", sharded=True).prove()  # type: ignore[arg-type]
    for table in ("global_events", "global_events_local"):
        answer = await client.query(
            "WITH e AS (SELECT * FROM d.global_events) SELECT count() FROM e",
            settings={"additional_table_filters": f"{{'d.{table}': 'tenant_id = \\'t2\\''}}"},
        )
        found[f"seen behind the fence of {table}"] = answer[0][0]
    await client.command("CREATE DATABASE x")
    await client.command("CREATE TABLE x.another AS d.global_events_local")
    await client.command(
        "CREATE TABLE x.global_events AS x.another ENGINE = Distributed('{cluster}', x, another, 1)"
    )
    with contextlib.suppress(FenceDown):
        await Fence(client, "x", sharded=True).prove()  # type: ignore[arg-type]
        found["a shard's table of another name"] = "was trusted"

    found["differing"] = []
    now_ms = int(time.time() * 1000)
    for endpoint in ENDPOINTS:
        asked = Arguments(MultiDict(required(endpoint)), QueryConfig(), now_ms, endpoint.parameters)
        answers = []
        for database in ("p", "d"):
            events = Events(client, database, ME)  # type: ignore[arg-type]
            one = await endpoint.run(events, endpoint.parse(asked))
            answers.append(msgspec.json.encode(one, enc_hook=repr))
        if answers[0] != answers[1]:
            found["differing"].append(endpoint.name)
        found.setdefault("endpoints", []).append(endpoint.name)

    # One shard of two is down: nobody is told that the batch is stored.
    await client.command("CREATE DATABASE h")
    await client.command("CREATE TABLE h.global_events_local AS d.global_events_local")
    await client.command(
        "CREATE TABLE h.global_events AS h.global_events_local ENGINE = "
        f"Distributed('half', h, global_events_local, {schema.SHARDING_KEY})"
    )
    for _ in range(2):
        many = rows("h.global_events", "t", 200).replace("'shop', 't'", "'shop', toString(number % 20)")
        try:
            await client.command(many, settings={**settings, "insert_deduplication_token": "half"})
            found["half a cluster"] = "confirmed"
        except Exception as error:
            found["half a cluster"] = type(error).__name__
        found.setdefault("rows of half a cluster", []).append(await number(client, "h.global_events_local"))
    return found


def bare(config: ClickHouseConfig) -> list[tuple[str, str]]:
    """Every step that a cluster's tables can need."""
    local = schema.Table(
        "ReplicatedReplacingMergeTree",
        schema.SORTING_KEY,
        schema.PARTITION_KEY,
        "ReplicatedReplacingMergeTree TTL toDateTime(timestamp) + toIntervalDay(9) SETTINGS x = 1",
        columns={},
    )
    return schema.plan_cluster(
        local, [local], schema.Table("Distributed", "", "", "", columns={}), config
    ).steps


async def number(client: InProcess, table: str) -> int:
    return int(await client.command(f"SELECT count() FROM {table}"))


if __name__ == "__main__":
    try:
        print(json.dumps(asyncio.run(main(Path(sys.argv[1])))), flush=True)
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # the engine's own end may never come
    os._exit(0)
