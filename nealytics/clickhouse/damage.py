"""What is damaged of what ClickHouse stores: parts whose files are missing, cut or changed.

ClickHouse itself only says so to whoever reads such a part, and moves a part that it cannot load at its start
aside (`detached/broken-on-start_*`) without a word. `DamageWatch` asks it regularly. What is known by then is
in `ClickHouseClient.damaged`, so that reads of such a part are refused at once (`queries.scoped`).
"""

import logging
import time
from collections.abc import Callable

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import TIMEOUT_EXCEEDED, ClickHouseError
from nealytics.clickhouse.schema import LOCAL_TABLE, TABLE, table_name
from nealytics.config import ClickHouseConfig

log = logging.getLogger("nealytics.clickhouse")

# Codes that nothing but a damaged part has: CHECKSUM_DOESNT_MATCH, NO_FILE_IN_DATA_PART,
# BAD_SIZE_OF_FILE_IN_DATA_PART, CORRUPTED_DATA. ClickHouse counts them, also of merges, and of a read that
# nobody waited for: to say which bit has flipped, it may search for a minute.
_COUNTED_CODES = (40, 226, 228, 246)
# A check reads the whole table, and another table of the server may have caused it: 5 % of the time.
REST_AFTER_CHECK = 20


class DamageWatch:
    def __init__(
        self,
        client: ClickHouseClient,
        reader: ClickHouseClient,
        config: ClickHouseConfig,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reader` is the client of the reads: what it finds damaged is reported, what is found here it
        refuses to read."""
        self._client = client
        self._reader = reader
        self._config = config
        self._monotonic = monotonic
        self._errors = 0  # counted before the last complete check
        self._check_at = monotonic()

    async def look(self, *, check: bool) -> list[str]:
        """What is damaged, as sentences, one for each part. With `check`, all parts are read if ClickHouse
        has met damage since they were last read. Raises `ClickHouseError`."""
        found = await broken_parts(self._client, self._config)
        if check:
            await self._check_if_damage_was_met()
        await self._forget_what_is_gone()
        return found + [sentence(part, why) for part, why in sorted(self._reader.damaged.items())]

    async def _check_if_damage_was_met(self) -> None:
        answer = await self._client.command(
            "SELECT sum(value) FROM system.errors "
            f"WHERE code IN ({', '.join(map(str, _COUNTED_CODES))}) FORMAT TabSeparated"
        )
        errors = int(answer)
        self._errors = min(self._errors, errors)  # a server that was restarted counts from 0
        started = self._monotonic()
        if errors == self._errors or started < self._check_at:
            return
        try:
            damaged = await self._checked()
        finally:
            ended = self._monotonic()
            self._check_at = ended + REST_AFTER_CHECK * (ended - started)
        if damaged is not None:
            self._reader.damaged.clear()
            self._reader.damaged.update(damaged)
        self._errors = errors

    async def _checked(self) -> dict[str, str] | None:
        """Reads all parts: the damaged ones, and why; None if that takes too long."""
        table = table_name(self._config.database, LOCAL_TABLE if self._config.cluster else TABLE)
        # Less than the client waits: its timeout would count as a failure of the address.
        limit_s = max(1, int(self._config.insert_timeout_s / 2))
        try:
            answer = await self._client.command(
                f"CHECK TABLE {table} FORMAT TabSeparated",
                settings={
                    "check_query_single_value_result": 0,
                    "max_execution_time": limit_s,
                    "max_threads": 1,
                },
            )
        except ClickHouseError as error:
            if error.code != TIMEOUT_EXCEEDED:
                raise
            log.warning(
                "clickhouse: it has met damaged data, in %s or in another table, and %s is too large to be "
                "checked in %d s; run CHECK TABLE %s",
                table, table, limit_s, table,
            )  # fmt: skip
            return None
        rows = (line.split("\t", 2) for line in answer.splitlines())
        return {part: why.split(". This is most likely")[0] for part, passed, why in rows if passed == "0"}

    async def _forget_what_is_gone(self) -> None:
        """A part that was merged away, dropped or moved aside is read no more."""
        if not self._reader.damaged:
            return
        answer = await self._client.command(
            "SELECT name FROM system.parts WHERE active AND database = {database:String} "
            "AND table IN ({table:String}, {local:String}) FORMAT TabSeparated",
            {"database": self._config.database, "table": TABLE, "local": LOCAL_TABLE},
        )
        for part in set(self._reader.damaged) - set(answer.split()):
            del self._reader.damaged[part]


async def broken_parts(client: ClickHouseClient, config: ClickHouseConfig) -> list[str]:
    """A sentence for each part that ClickHouse found broken and moved aside. Raises `ClickHouseError`."""
    answer = await client.command(
        "SELECT name, reason FROM system.detached_parts WHERE database = {database:String} "
        "AND table IN ({table:String}, {local:String}) AND startsWith(reason, 'broken') "
        "ORDER BY name FORMAT TabSeparated",
        {"database": config.database, "table": TABLE, "local": LOCAL_TABLE},
    )
    return [
        f"clickhouse: part {name} was found damaged ({reason}) and moved to detached/. Answers lack its "
        "events, unless a replica has them; restore a backup, or remove the part there when it is given up"
        for name, reason in (line.split("\t") for line in answer.splitlines())
    ]


def sentence(part: str, why: str) -> str:
    return (
        f"clickhouse: part {part} is damaged, and reads of its events are refused: {why}; look at the disk "
        "and its memory, and restore the part from a backup"
    )


def damaged(parts: dict[str, str]) -> ClickHouseError:
    """The error of a read that would have met one of `parts`."""
    part, why = next(iter(sorted(parts.items())))
    return ClickHouseError(40, f"While reading part {part}: {why} (CHECKSUM_DOESNT_MATCH)")
