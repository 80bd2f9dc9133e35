"""What is left of erased events in the table of events, and the mutation that deletes them."""

from collections.abc import Mapping, Sequence

import msgspec

from nealytics.clickhouse.client import ClickHouseClient, Setting
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.schema.definition import ddl_settings, on_cluster
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, quoted, table_name
from nealytics.clickhouse.table_state import ERASURE_MARK
from nealytics.config import ClickHouseConfig
from nealytics.erasure.announcements import each_server
from nealytics.erasure.jobs import Erasure

# Events that have a copy of another user; each is some 150 bytes of a statement.
KEYS_MAX = 1_000
# Searching a large tenant takes a while, longer than an insert may.
_SEARCH_TIMEOUT_S = 600.0
_IDENTITY = "project_id, tenant_id, event_type, timestamp, event_id"
_LONG: Mapping[str, Setting] = {"max_query_size": 16 * 1024 * 1024, "max_ast_elements": 2_000_000,
                                "max_expanded_ast_elements": 4_000_000}  # fmt: skip
_EVENTS: Mapping[str, Setting] = {"final": 1, "do_not_merge_across_partitions_select_final": 1}


class ErasureTable:
    """All methods raise `ClickHouseError`."""

    def __init__(self, client: ClickHouseClient, config: ClickHouseConfig) -> None:
        self._client = client
        self._config = config
        self._events = table_name(config.database)
        self._local = LOCAL_TABLE if config.cluster else TABLE

    async def identity(self) -> frozenset[str]:
        """Of the table of events: the UUID that each server's has. A new or restored one has another.

        A server that does not answer is left out: it has nothing that reads could show."""
        cluster = self._config.cluster
        source = f"clusterAllReplicas({quoted(cluster)}, system.tables)" if cluster else "system.tables"
        sql = (
            f"SELECT toString(uuid) FROM {source} WHERE database = {quoted(self._config.database)} "
            f"AND name = {quoted(self._local)} FORMAT TabSeparated"
        )
        found: set[str] = set()
        failed: ClickHouseError | None = None
        for address in each_server(self._client, self._config):
            try:
                settings: Mapping[str, Setting] = {"skip_unavailable_shards": 1} if cluster else {}
                found |= set((await self._client.command(sql, settings=settings, at=address)).split())
            except ClickHouseUnavailable as error:
                failed = error
        if not found and failed is not None:
            raise failed
        return frozenset(found)

    async def count(self, condition: str, *, copies: bool = False) -> int:
        """The events, as reads count them; with `copies`, the rows in the table's parts."""
        answer = await self._client.command(
            f"SELECT count() FROM {self._events} WHERE {condition} FORMAT TabSeparated",
            settings={**_LONG, **({} if copies else _EVENTS)},
            timeout_s=_SEARCH_TIMEOUT_S,
        )
        return int(answer)

    async def oldest_received_ms(self, condition: str) -> int | None:
        """Of all rows, copies included; None if there is none."""
        answer = await self._client.command(
            f"SELECT minOrNull(toUnixTimestamp64Milli(received_at)) FROM {self._events} WHERE {condition} "
            "FORMAT TabSeparated",
            settings=_LONG,
            timeout_s=_SEARCH_TIMEOUT_S,
        )
        return None if (text := answer.strip()) == "\\N" else int(text)

    async def other_copies(self, erasure: Erasure) -> list[str]:
        """Identities, as tuples of SQL, of events that are shown as the user's and have a copy of another
        user: without the user's copy, reads would show that one. At most `KEYS_MAX`."""
        if erasure.user_hash is None:
            return []
        whole = msgspec.structs.replace(erasure, user_hash=None).condition
        answer = await self._client.command(
            f"SELECT DISTINCT event_type, toUnixTimestamp64Milli(timestamp), toString(event_id) "
            f"FROM {self._events} WHERE {whole()} AND NOT {erasure.condition()} AND ({_IDENTITY}) IN "
            f"(SELECT {_IDENTITY} FROM {self._events} FINAL WHERE {erasure.condition()}) "
            f"LIMIT {KEYS_MAX} FORMAT JSONCompactEachRow",
            settings={
                "final": 0,
                "output_format_json_quote_64bit_integers": 0,
                "distributed_product_mode": "global",
            },
            timeout_s=_SEARCH_TIMEOUT_S,
        )
        owner = f"{quoted(erasure.project_id)}, {quoted(erasure.tenant_id)}"
        rows = [msgspec.json.decode(line, type=tuple[str, int, str]) for line in answer.splitlines()]
        return [
            f"({owner}, {quoted(kind)}, fromUnixTimestamp64Milli({ms}, 'UTC'), toUUID({quoted(id)}))"
            for kind, ms, id in rows
        ]

    @staticmethod
    def copies_of(erasure: Erasure, keys: Sequence[str]) -> str:
        """The copies of these events that are not the user's."""
        return f"(({_IDENTITY}) IN ({', '.join(keys)}) AND NOT {erasure.condition()})"

    async def delete(self, conditions: Sequence[str]) -> None:
        """Starts one mutation for all of them."""
        name = table_name(self._config.database, self._local) + on_cluster(self._config.cluster)
        await self._client.command(
            f"ALTER TABLE {name} DELETE WHERE {quoted(ERASURE_MARK)} != '' AND ({' OR '.join(conditions)})",
            settings={**_LONG, **ddl_settings(self._config), "mutations_sync": 0},
        )

    async def unfinished(self) -> str | None:
        """None if no deletion for an erasure runs, else why one failed, or an empty text."""
        rows = await self._of_table(
            "mutations", "latest_fail_reason", f"NOT is_done AND command LIKE {quoted(f'%{ERASURE_MARK}%')}"
        )
        return max((str(reason) for (reason,) in rows), default=None)

    async def old_parts(self, age_ms: int) -> list[str]:
        """Parts that were replaced `age_ms` ago or earlier, and are still on a disk.

        By the clock of their server, which also says when a part was replaced. Those that were replaced
        later, as by any merge, did not have the rows. After a restart, a replaced part has the time at which
        it was written, which is earlier.
        """
        # Times are whole seconds.
        seconds = max(0, age_ms) // 1000 - 1
        rows = await self._of_table(
            "parts", "name", f"NOT active AND remove_time <= nowInBlock() - toIntervalSecond({seconds})"
        )
        return sorted({str(name) for (name,) in rows})

    async def detached_parts(self) -> list[str]:
        rows = await self._of_table("detached_parts", "name", "1")
        return sorted(str(name) for (name,) in rows)

    async def _of_table(self, table: str, columns: str, condition: str) -> list[Sequence[str]]:
        """Rows of a system table from every replica. One that does not answer may have the events, so that is
        an error."""
        cluster, addresses = self._config.cluster, self._client.addresses.all
        source = f"clusterAllReplicas({quoted(cluster)}, system.{table})" if cluster else f"system.{table}"
        sql = (
            f"SELECT {columns} FROM {source} WHERE database = {quoted(self._config.database)} "
            f"AND table = {quoted(self._local)} AND {condition} FORMAT TabSeparated"
        )
        rows: list[Sequence[str]] = []
        for address in addresses[:1] if cluster else addresses:
            answer = await self._client.command(sql, at=address if len(addresses) > 1 else None)
            rows += [line.split("\t") for line in answer.splitlines()]
        return rows
