"""The list of the erasures of all nodes, in ClickHouse.

The table `erasures` is created with the first one, so a node that erases nothing needs no right for it.
`announce` returns once it is on every server that a node may ask, so a node that reads the list afterwards
knows of the erasure.
"""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.error_codes import ACCESS_DENIED, UNKNOWN_TABLE
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.failover import Address
from nealytics.clickhouse.schema.definition import ERASURES, create_erasures, ddl_settings
from nealytics.clickhouse.sql import quoted, table_name
from nealytics.config import ClickHouseConfig
from nealytics.erasure.jobs import Erasure

# Until all replicas have fetched an erasure; usually a fraction of a second.
_FETCH_S = 10.0
_FETCH_POLL_S = 0.1
_LIST_TIMEOUT_S = 2.0


class Announcements:
    """All methods raise `ClickHouseError`."""

    def __init__(self, client: ClickHouseClient, config: ClickHouseConfig) -> None:
        self._client = client
        self._config = config
        self._name = table_name(config.database, ERASURES)
        self._version: str | None = None  # of the list at the last call of `announced`
        self._exists = False

    @property
    def is_shared(self) -> bool:
        """Whether other nodes may use the same ClickHouse."""
        return not self._client.endpoint.embedded

    async def announce(self, erasure: Erasure) -> None:
        """Returns once all servers have it. If it raises, some may have it: then it is carried out."""
        config = self._config
        insert = (
            f"INSERT INTO {self._name} (id, erasure) VALUES "
            f"({quoted(erasure.id)}, {quoted(msgspec.json.encode(erasure).decode())})"
        )
        # On a cluster, all hosts are replicas of one table; otherwise each address has one of its own.
        for address in each_server(self._client, self._config):
            await self._client.command(
                create_erasures(config.database, config.cluster), settings=ddl_settings(config), at=address
            )
            await self._client.command(insert, settings={"async_insert": 0}, at=address)
        if config.cluster:
            await self._fetched(erasure.id)

    async def _fetched(self, id: str) -> None:
        """Returns once every replica of the cluster has it."""
        everywhere = f"clusterAllReplicas({quoted(self._config.cluster)}"
        sql = (
            f"SELECT (SELECT count() FROM {everywhere}, system.one)) - uniqExact(shardNum()) "
            f"FROM {everywhere}, {self._name}) WHERE id = {quoted(id)} FORMAT TabSeparated"
        )
        deadline = time.monotonic() + _FETCH_S
        while missing := int(await self._client.command(sql, settings={"skip_unavailable_shards": 0})):
            if time.monotonic() > deadline:
                raise ClickHouseUnavailable(
                    f"{missing} replicas of cluster {self._config.cluster} did not fetch the erasure {id} in "
                    f"{_FETCH_S:g} s; see system.replicas there, and request the erasure again"
                )
            await asyncio.sleep(_FETCH_POLL_S)

    async def announced(self) -> list[Erasure] | None:
        """Those of all nodes; None if they are the same as at the last call. Small enough for every second:
        one query, which names the table only if it may exist, because ClickHouse logs an error otherwise."""
        version = answer = ""
        try:
            if self._exists or await self._may_exist():
                version = await self._ask(
                    f"SELECT count(), sum(sipHash64(id)) FROM (SELECT DISTINCT id FROM {self._name}) "
                    "FORMAT TabSeparated"
                )
                self._exists = True
                if version != self._version:
                    answer = await self._ask(
                        f"SELECT DISTINCT erasure FROM {self._name} FORMAT JSONCompactEachRow"
                    )
        except ClickHouseError as error:
            if error.code != UNKNOWN_TABLE:
                raise
            self._exists, version = False, ""
        if version == self._version:
            return None
        self._version = version
        return await asyncio.to_thread(_decoded, answer)

    async def _may_exist(self) -> bool:
        """Whether the table must be asked: it exists, or the user may not know whether it does.

        Not from system.tables, which hides a table from a user without a right on it.
        """
        try:
            return (await self._ask(f"EXISTS TABLE {self._name}")).strip() != "0"
        except ClickHouseError as error:
            if error.code != ACCESS_DENIED:
                raise
            return True

    def forget_version(self) -> None:
        """The next call of `announced` returns them all."""
        self._version = None

    async def _ask(self, sql: str) -> str:
        """Of any server: within the lease of `known`, also if the first one does not answer."""
        addresses, tried = self._client.addresses, list[Address]()
        while True:
            tried.append(addresses.best())
            try:
                return await self._client.command(sql, timeout_s=_LIST_TIMEOUT_S)
            except ClickHouseError as error:
                if addresses.after(error, tried) is None:
                    raise


def _decoded(answer: str) -> list[Erasure]:
    texts = [msgspec.json.decode(line, type=tuple[str]) for line in answer.splitlines()]
    return [msgspec.json.decode(text, type=Erasure) for (text,) in texts]


def each_server(client: ClickHouseClient, config: ClickHouseConfig) -> Sequence[Address | None]:
    """Where each server that has tables of its own is asked; None: at any address, as on a cluster."""
    addresses = client.addresses.all
    return addresses if len(addresses) > 1 and not config.cluster else (None,)
