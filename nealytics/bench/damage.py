"""`bench damage`: how long a read of a damaged block takes, and the cost of smaller blocks.

ClickHouse reports a wrong checksum only after it has flipped every bit of the compressed block, one by one,
to find the one that explains it. It computes a checksum of the whole block for each bit, so the time grows
with the square of the block's size (decision 0022). Each variant of the table's settings gets the same
events, alternately: as one merged part, and as a few small inserts and their merge. Then a byte of each of
the largest blocks is changed, one at a time, and restored.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from nealytics.bench import events
from nealytics.bench.machine import Machine, Say
from nealytics.bench.processes import BenchError, engine, workplace
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.schema import create_statements
from nealytics.clickhouse.sql import TABLE

# ClickHouse's defaults, and the table as it is created.
VARIANTS = ("max_compress_block_size = 1048576, min_bytes_for_wide_part = 10485760", "")
TENANTS = 20
_SOURCE = "source"
_INSERTS, _INSERT_ROWS = 10, 1_000
_WHERE = f"WHERE project_id = '{events.PROJECT}' AND tenant_id = '{events.tenant(1)}'"
READS = {
    "timeline": f"SELECT * FROM {{table}} FINAL {_WHERE} ORDER BY timestamp DESC LIMIT 100",
    "metadata": "SELECT sum(cityHash64(metadata_json)) FROM {table}",
    "summary": f"SELECT count(), uniq(session_id), uniq(user_id) FROM {{table}} FINAL {_WHERE}",
}
# Several bits: ClickHouse finds a single one after half of the search.
_FLIPPED = 0x55
_CHECKSUM_BYTES = 16


class Block(NamedTuple):
    """A compressed block: checksum of 16 bytes, method, size without the checksum, size of its content."""

    file: Path
    offset: int
    bytes: int


class Variant(msgspec.Struct, kw_only=True):
    """Of the events as one merged part, unless named `small`. Medians; ratios are to the first variant, of
    pairs."""

    settings: str
    bytes: int
    bytes_ratio: float
    insert_ratio: float
    merge_ratio: float
    small_insert_ms: float
    small_insert_ratio: float
    small_merge_ratio: float
    read_ratio: dict[str, float]
    small_read_ratio: dict[str, float]
    largest_block_bytes: int
    damaged_read_s: list[float]
    inserted_largest_block_bytes: int
    small_largest_block_bytes: int
    small_damaged_read_s: list[float]


class DamageReport(msgspec.Struct, kw_only=True):
    machine: Machine
    events: int
    rounds: int
    variants: list[Variant]


async def damage(
    *, variants: tuple[str, ...], count: int, rounds: int, positions: int, directory: Path | None, say: Say
) -> DamageReport:
    """`variants`: settings of the table as in MODIFY SETTING, "" for the table as it is created."""
    with workplace(directory, say) as (root, machine):
        async with engine(root) as client:
            await _create(client, _SOURCE, "")
            piece = events.Piece(0, count, merged=True)
            await events.insert(
                client, f"{_SOURCE}.{TABLE}", events.select_sql(piece, count * len(events.MONTHS), TENANTS)
            )
            variants = variants or VARIANTS
            bench = _Bench(client, variants, positions)
            for number in range(rounds):
                await bench.round(number)
                say(f"round {number + 1} of {rounds}")
            measured = []
            for index, settings in enumerate(variants):
                measured.append(await bench.measured(index, settings))
                say(_line(measured[-1]))
        return DamageReport(machine=machine, events=count, rounds=rounds, variants=measured)


class _Bench:
    """The times of all variants: name of the measurement → one list for each variant."""

    def __init__(self, client: ClickHouseClient, variants: tuple[str, ...], positions: int) -> None:
        self._client = client
        self._variants = variants
        self._positions = positions
        self._took: dict[str, list[list[float]]] = defaultdict(lambda: [[] for _ in variants])
        self._inserted_block = [0] * len(variants)

    async def round(self, number: int) -> None:
        order = list(enumerate(self._variants))
        for index, settings in order if number % 2 == 0 else reversed(order):
            for shape in ("large", "small"):
                table = await _create(self._client, f"{shape}_{index}", settings)
                await self._command("SYSTEM STOP MERGES " + table)
                if shape == "large":
                    await self._time(index, "insert", _copy(table))
                else:
                    for insert in range(_INSERTS):
                        await self._time(
                            index, "small_insert", _copy(table, _INSERT_ROWS, insert * _INSERT_ROWS)
                        )
                    self._inserted_block[index] = max(
                        block.bytes for part in await self._parts(shape, index) for block in _blocks(part)
                    )
                await self._command("SYSTEM START MERGES " + table)
                prefix = "" if shape == "large" else "small_"
                await self._time(index, prefix + "merge", f"OPTIMIZE TABLE {table} FINAL")
                for name, sql in READS.items():
                    for _ in range(5):
                        await self._time(index, prefix + name, sql.format(table=table) + " FORMAT Null")

    async def measured(self, index: int, settings: str) -> Variant:
        # Nearly all events are of one month; some sessions began before it.
        part, *_ = await self._parts("large", index)
        small, *_ = await self._parts("small", index)
        first, *_ = await self._parts("large", 0)
        largest, small_largest = largest_blocks(part, self._positions), largest_blocks(small, self._positions)
        return Variant(
            settings=settings,
            bytes=_size(part),
            bytes_ratio=round(_size(part) / _size(first), 3),
            insert_ratio=self._ratio(index, "insert"),
            merge_ratio=self._ratio(index, "merge"),
            small_insert_ms=round(statistics.median(self._took["small_insert"][index]) * 1000, 1),
            small_insert_ratio=self._ratio(index, "small_insert"),
            small_merge_ratio=self._ratio(index, "small_merge"),
            read_ratio={name: self._ratio(index, name) for name in READS},
            small_read_ratio={name: self._ratio(index, f"small_{name}") for name in READS},
            largest_block_bytes=largest[0].bytes,
            damaged_read_s=[await self._damaged_read(f"large_{index}", block) for block in largest],
            inserted_largest_block_bytes=self._inserted_block[index],
            small_largest_block_bytes=small_largest[0].bytes,
            small_damaged_read_s=[
                await self._damaged_read(f"small_{index}", block) for block in small_largest
            ],
        )

    async def _damaged_read(self, database: str, block: Block) -> float:
        """How long a full read takes until it fails with damage."""
        at = block.offset + _CHECKSUM_BYTES + block.bytes // 2
        flip(block.file, at)
        began = time.perf_counter()
        try:
            await self._command(f"SELECT * FROM {database}.{TABLE} FORMAT Null")
        except ClickHouseError as error:
            if not error.damaged_part:
                raise
            return round(time.perf_counter() - began, 2)
        finally:
            flip(block.file, at)
        raise BenchError(f"{block.file}: byte {at} was changed, and a read of everything did not notice")

    async def _time(self, index: int, what: str, sql: str) -> None:
        began = time.perf_counter()
        await self._command(sql)
        self._took[what][index].append(time.perf_counter() - began)

    def _ratio(self, index: int, what: str) -> float:
        pairs = zip(self._took[what][index], self._took[what][0], strict=True)
        return round(statistics.median(ours / first for ours, first in pairs), 2)

    async def _parts(self, shape: str, index: int) -> list[Path]:
        answer = await self._command(
            f"SELECT path FROM system.parts WHERE active AND database = '{shape}_{index}' "
            "ORDER BY rows DESC FORMAT TabSeparated"
        )
        return [Path(line) for line in answer.splitlines()]

    async def _command(self, sql: str) -> str:
        return await self._client.command(sql)


async def _create(client: ClickHouseClient, database: str, settings: str) -> str:
    await client.command(f"DROP DATABASE IF EXISTS {database} SYNC")
    for sql in create_statements(database, 0):
        await client.command(sql)
    table = f"{database}.{TABLE}"
    if settings:
        await client.command(f"ALTER TABLE {table} MODIFY SETTING {settings}")
    return table


def _copy(table: str, rows: int | None = None, first: int = 0) -> str:
    some = "" if rows is None else f" LIMIT {rows} OFFSET {first}"
    return f"INSERT INTO {table} SELECT * FROM {_SOURCE}.{TABLE}{some} SETTINGS max_threads = 1"


def _blocks(part: Path) -> Iterator[Block]:
    """The blocks of the columns; those of indexes and marks are small."""
    for file in part.glob("*.bin"):
        data = file.read_bytes()
        offset = 0
        while offset < len(data):
            size_at = offset + _CHECKSUM_BYTES + 1
            block = Block(file, offset, int.from_bytes(data[size_at : size_at + 4], "little"))
            yield block
            offset += _CHECKSUM_BYTES + block.bytes


def largest_blocks(part: Path, count: int) -> list[Block]:
    return sorted(_blocks(part), key=lambda block: -block.bytes)[:count]


def _size(part: Path) -> int:
    return sum(file.stat().st_size for file in part.iterdir())


def flip(file: Path, offset: int) -> None:
    with file.open("r+b") as data:
        data.seek(offset)
        (byte,) = data.read(1)
        data.seek(offset)
        data.write(bytes([byte ^ _FLIPPED]))


def _line(variant: Variant) -> str:
    reads = ", ".join(f"{name} {ratio:.2f}" for name, ratio in variant.read_ratio.items())
    small_reads = ", ".join(f"{name} {ratio:.2f}" for name, ratio in variant.small_read_ratio.items())
    return (
        f"{variant.settings or 'as it is'}:\n"
        f"  {variant.bytes:,} bytes on disk ({variant.bytes_ratio:.3f} of the first); ratios: insert "
        f"{variant.insert_ratio:.2f}, merge {variant.merge_ratio:.2f}, {reads}\n"
        f"  largest block {variant.largest_block_bytes:,} bytes: damaged read "
        f"{', '.join(f'{took:.2f}' for took in variant.damaged_read_s)} s\n"
        f"  {_INSERTS} inserts of {_INSERT_ROWS:,}: {variant.small_insert_ms:,.1f} ms each "
        f"({variant.small_insert_ratio:.2f}), merge {variant.small_merge_ratio:.2f}, {small_reads}\n"
        f"  largest block inserted {variant.inserted_largest_block_bytes:,}, merged "
        f"{variant.small_largest_block_bytes:,} bytes: damaged read "
        f"{', '.join(f'{took:.2f}' for took in variant.small_damaged_read_s)} s"
    )
