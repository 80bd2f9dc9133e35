"""Finds damage in what ClickHouse stores: parts whose files are missing, truncated or changed.

ClickHouse reports such a part only to a query that reads it. A part that it cannot load at its start it moves
to `detached/broken-on-start_*` silently. `DamageWatch` checks regularly. `ClickHouseClient.damaged` has the
known damaged parts, and reads of them are refused at once (`queries.scoped`). `Noted` shares them with the
other workers of the node.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from nealytics.clickhouse.client import ClickHouseClient, Setting
from nealytics.clickhouse.error_codes import (
    CHECKSUM_DOESNT_MATCH,
    NO_SUCH_DATA_PART,
    ONLY_DAMAGE_CODES,
    TIMEOUT_EXCEEDED,
)
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.failover import Address
from nealytics.clickhouse.schema.inspection import HOSTS_THAT_ANSWER
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, quoted, table_name
from nealytics.config import ClickHouseConfig

log = logging.getLogger("nealytics.clickhouse")

# A check reads the whole table, and the damage may be in another table: it may take 5 % of the time.
REST_AFTER_CHECK = 20
_OF_TABLE = "database = {database:String} AND table IN ({table:String}, {local:String})"


class Noted:
    """The damaged parts that the workers of a node know: a directory with a file for each part, which
    contains the reason. A file whose name begins with a dot is incomplete."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._agreed: set[str] = set()  # the parts after the last exchange

    def exchange(self, parts: dict[str, str]) -> None:
        """Synchronizes `parts` and the directory: a part added to or removed from either since the last call
        is added to or removed from the other."""
        files = self._directory.iterdir() if self._directory.is_dir() else ()
        noted = {file.name for file in files if not file.name.startswith(".")}
        for part in noted | parts.keys():
            file = self._directory / part
            if part not in noted:
                if part in self._agreed:
                    del parts[part]
                else:
                    self._directory.mkdir(mode=0o700, exist_ok=True)
                    unfinished = self._directory / f".{part}.{os.getpid()}"
                    unfinished.write_text(parts[part])
                    unfinished.replace(file)
            elif part not in parts:
                if part in self._agreed:
                    file.unlink(missing_ok=True)
                elif file.exists():  # otherwise another worker has just removed it
                    # Only the name matters; after a power failure the reason may be truncated.
                    parts[part] = file.read_text(errors="replace")
        self._agreed = set(parts)


class DamageWatch:
    def __init__(
        self,
        client: ClickHouseClient,
        reader: ClickHouseClient,
        config: ClickHouseConfig,
        noted: Noted,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reader` is the client of the reads: damage that it finds is reported here, and it refuses to read
        parts that are found damaged here or by another worker."""
        self._client = client
        self._reader = reader
        self._config = config
        self._noted = noted
        self._monotonic = monotonic
        self._errors: dict[Address, int] = {}  # the server's count at the end of the last check
        self._check_at = monotonic()

    async def look(self, *, check: bool) -> list[str]:
        """One sentence for each damaged part. With `check`, reads all parts if ClickHouse has reported damage
        since they were last read. Raises `ClickHouseError`."""
        found = await broken_parts(self._client, self._config)
        await self._exchange()
        await self._forget_what_is_gone()
        started = self._monotonic()
        if started >= self._check_at:
            try:
                await (self._check_if_reported() if check else self._check_damaged())
            finally:
                ended = self._monotonic()
                self._check_at = ended + REST_AFTER_CHECK * (ended - started)
        await self._exchange()
        return found + [sentence(part, why) for part, why in sorted(self._reader.damaged.items())]

    async def _exchange(self) -> None:
        known = self._reader.damaged
        before, parts = dict(known), dict(known)
        # Without this file, the worker still knows its own damage.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._noted.exchange, parts)
        # Reads may have added others meanwhile.
        for part in before.keys() - parts.keys():
            known.pop(part, None)
        for part in parts.keys() - before.keys():
            known.setdefault(part, parts[part])

    async def _check_if_reported(self) -> None:
        # Of the address that reads use; the damage of another server is not found there.
        address = self._reader.addresses.reading
        if await self._count(address) not in (0, self._errors.get(address)):
            await self._check(address)
        else:
            await self._check_damaged()
        # Only now: a check counts the damage that it finds, and a failed check is repeated.
        self._errors[address] = await self._count(address)

    async def _count(self, address: Address) -> int:
        codes = ", ".join(map(str, sorted(ONLY_DAMAGE_CODES)))
        sql = (
            f"SELECT sum(value) FROM system.errors WHERE code IN ({codes}) AND NOT remote FORMAT TabSeparated"
        )
        return int(await self._client.command(sql, at=address))

    async def _check_damaged(self) -> None:
        """Checks the known parts again: files may have been restored, and a replica fetches a broken part
        again under the same name."""
        for part in list(self._reader.damaged):
            await self._check(self._reader.addresses.reading, f" PART {quoted(part)}")

    async def _check(self, address: Address, part: str = "") -> None:
        """Reads the table at that address, or one part of it, and records which parts are damaged."""
        table = table_name(self._config.database, LOCAL_TABLE if self._config.cluster else TABLE)
        # Less than the client's timeout, so that ClickHouse stops the check and reports it.
        limit_s = max(1, int(self._config.insert_timeout_s / 2))
        try:
            answer = await self._client.command(
                f"CHECK TABLE {table}{part} FORMAT TabSeparated",
                settings={
                    "check_query_single_value_result": 0,
                    "max_execution_time": limit_s,
                    "max_threads": 1,
                },
                at=address,
                timeout_s=self._config.insert_timeout_s,
            )
        except ClickHouseError as error:
            if error.code == NO_SUCH_DATA_PART:
                return  # it has just been merged
            if error.code != TIMEOUT_EXCEEDED:
                raise
            log.warning(
                "clickhouse: damaged data was reported, in %s or in another table, and the table is too "
                "large to check in %d s; run CHECK TABLE %s",
                table, limit_s, table + part,
            )  # fmt: skip
            return
        for name, passed, why in (line.split("\t", 2) for line in answer.splitlines()):
            if passed == "1":
                self._reader.damaged.pop(name, None)
            else:
                self._reader.damaged[name] = why.split(". This is most likely")[0]

    async def _forget_what_is_gone(self) -> None:
        """Drops parts that were merged, dropped or detached; nothing reads them any more."""
        if not self._reader.damaged:
            return
        parts = await everywhere(self._client, self._config, "parts", "name", f"active AND {_OF_TABLE}")
        for part in set(self._reader.damaged) - {name for (name,) in parts}:
            del self._reader.damaged[part]


async def broken_parts(client: ClickHouseClient, config: ClickHouseConfig) -> list[str]:
    """One sentence for each part that ClickHouse found broken and detached. Raises `ClickHouseError`."""
    found = await _broken(client, config)
    several = config.cluster or len(client.addresses.all) > 1
    return [
        f"clickhouse: part {name}{f' on {host}' if several else ''} is damaged ({reason}), and ClickHouse "
        "moved it to detached/. Its events are missing from answers, unless a replica or the parts it was "
        "merged from have them; restore a backup, or delete the detached part"
        for name, reason, host in sorted(found)
    ]


async def broken_names(client: ClickHouseClient, config: ClickHouseConfig) -> list[str]:
    """The names of those parts, with their hosts, sorted. Raises `ClickHouseError`."""
    return sorted(f"{name} on {host}" for name, _, host in await _broken(client, config))


async def _broken(client: ClickHouseClient, config: ClickHouseConfig) -> list[list[str]]:
    return await everywhere(
        client,
        config,
        "detached_parts",
        "name, reason, hostName()",
        f"{_OF_TABLE} AND startsWith(reason, 'broken')",
    )


async def everywhere(
    client: ClickHouseClient, config: ClickHouseConfig, table: str, columns: str, where: str
) -> list[list[str]]:
    """Rows of a system table, from all hosts of the cluster, or all addresses, that answer.

    Raises the last `ClickHouseError` if none answers.
    """
    params = {"database": config.database, "table": TABLE, "local": LOCAL_TABLE}
    source, addresses = f"system.{table}", client.addresses.all
    settings: dict[str, Setting] = {}
    if config.cluster:
        source, addresses = f"clusterAllReplicas({quoted(config.cluster)}, {source})", addresses[:1]
        settings |= HOSTS_THAT_ANSWER
    sql = f"SELECT {columns} FROM {source} WHERE {where} FORMAT TabSeparated"
    rows: list[list[str]] = []
    refused: ClickHouseError | None = None
    answered = False
    for address in addresses:
        at = address if len(addresses) > 1 else None
        try:
            answer = await client.command(sql, params, settings=settings, at=at)
        except ClickHouseError as error:
            if not error.of_the_address:
                raise
            refused = error
        else:
            answered = True
            rows += [line.split("\t") for line in answer.splitlines()]
    if refused is not None and not answered:
        raise refused
    return rows


def sentence(part: str, why: str) -> str:
    return (
        f"clickhouse: part {part} is damaged, and queries that need its events fail: {why}; check the disk "
        "and the memory of its machine, and restore the part from a backup"
    )


def damaged(parts: dict[str, str]) -> ClickHouseError:
    """The error of a read that needs one of `parts`."""
    part, why = next(iter(sorted(parts.items())))
    return ClickHouseError(CHECKSUM_DOESNT_MATCH, f"While reading part {part}: {why} (CHECKSUM_DOESNT_MATCH)")
