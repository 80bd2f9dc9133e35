"""What is damaged of what ClickHouse stores: parts whose files are missing, cut or changed.

ClickHouse itself only says so to whoever reads such a part, and moves a part that it cannot load at its start
aside (`detached/broken-on-start_*`) without a word. `DamageWatch` asks it regularly. What is known by then is
in `ClickHouseClient.damaged`, so that reads of such a part are refused at once (`queries.scoped`).
"""

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.schema import LOCAL_TABLE, TABLE, table_name
from nealytics.config import ClickHouseConfig

# Codes that nothing but a damaged part has: CHECKSUM_DOESNT_MATCH, NO_FILE_IN_DATA_PART,
# BAD_SIZE_OF_FILE_IN_DATA_PART, CORRUPTED_DATA. ClickHouse counts them, also of merges, and of a read that
# nobody waited for: to say which bit has flipped, it may search for a minute.
_COUNTED_CODES = (40, 226, 228, 246)


class DamageWatch:
    def __init__(self, client: ClickHouseClient, reader: ClickHouseClient, config: ClickHouseConfig) -> None:
        """`reader` is the client of the reads; it is told what is damaged, and may find out by itself."""
        self._client = client
        self._reader = reader
        self._config = config
        self._errors = 0

    async def look(self, *, check: bool) -> list[str]:
        """What is damaged, as sentences, one for each part. With `check`, all parts are read if ClickHouse
        has met damage since the last look. Raises `ClickHouseError`."""
        found = await broken_parts(self._client, self._config)
        errors = int(
            await self._client.command(
                "SELECT sum(value) FROM system.errors "
                f"WHERE code IN ({', '.join(map(str, _COUNTED_CODES))}) FORMAT TabSeparated"
            )
        )
        if errors > self._errors and check:
            self._reader.damaged.update(await self._checked())
        # Only now: a check that failed is tried again.
        self._errors = errors
        await self._forget_what_is_gone()
        return found + [sentence(part, why) for part, why in sorted(self._reader.damaged.items())]

    async def _checked(self) -> dict[str, str]:
        """Reads all parts: the damaged ones, and why."""
        table = table_name(self._config.database, LOCAL_TABLE if self._config.cluster else TABLE)
        answer = await self._client.command(
            f"CHECK TABLE {table} FORMAT TabSeparated", settings={"check_query_single_value_result": 0}
        )
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
        f"clickhouse: part {name} was found damaged ({reason}) and moved to detached/, so its events are "
        "missing from answers; restore a backup, or remove it there when it is given up"
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
