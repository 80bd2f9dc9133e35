"""Answers of any size and in any pieces, decoded slice by slice."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from nealytics.clickhouse.answer import rows_of
from nealytics.pace import SLICE_BYTES

ROWS: list[list[Any]] = [
    [n, None if n % 5 else f'"text" {n}\n\t]\\ "data":\n\t[\n café 🙂', [["a", n], [None, 1.5]]]
    for n in range(4_000)
]


def written(rows: list[list[Any]]) -> bytes:
    """As ClickHouse writes JSONCompact."""
    lines = ",\n".join("\t\t" + json.dumps(row, ensure_ascii=False) for row in rows)
    return (
        '{\n\t"meta":\n\t[\n\t\t{\n\t\t\t"name": "a",\n\t\t\t"type": "UInt64"\n\t\t}\n\t],\n\n'
        '\t"data":\n\t[\n'
        f'{lines}\n\t],\n\n\t"rows": {len(rows)},\n\n\t"statistics":\n\t{{\n\t\t"elapsed": 0.001\n\t}}\n}}\n'
    ).encode()


async def pieces_of(answer: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    at = 0
    for size in sizes:
        if at < len(answer):
            yield answer[at : at + size]
        at += size
    if at < len(answer):
        yield answer[at:]


@pytest.mark.parametrize("count", [0, 1, 300, 4_000])
@pytest.mark.parametrize("seed", range(4))
async def test_the_rows_are_the_same_however_the_answer_is_cut(count: int, seed: int):
    chance = random.Random(seed)
    answer = written(ROWS[:count])
    sizes = [chance.randrange(1, 100_000) for _ in range(100)]
    assert (await rows_of(pieces_of(answer, sizes))).rows == ROWS[:count]


@pytest.mark.parametrize("row_bytes", [SLICE_BYTES // 3, SLICE_BYTES, 5 * SLICE_BYTES])
async def test_rows_larger_than_a_slice_are_whole(row_bytes: int):
    rows = [[n, "x" * row_bytes] for n in range(7)]
    assert (await rows_of(pieces_of(written(rows), [50_000] * 100))).rows == rows


async def test_the_end_is_found_wherever_a_slice_ends():
    for last in range(60):
        rows = [[n] for n in range(8_000)] + [["x" * last]]
        assert (await rows_of(pieces_of(written(rows), [SLICE_BYTES] * 10))).rows == rows


@pytest.mark.parametrize("rows", [3, 4_000])
async def test_half_an_answer_is_none(rows: int):
    answer = written(ROWS[:rows])
    cuts = {1, 30, 150, len(answer) // 2, len(answer) - 100, len(answer) - 60, len(answer) - 3}
    lines = [at for at in range(len(answer)) if answer[at] == 0x0A]
    for cut in cuts | set(lines[:: max(1, len(lines) // 50)]) - {len(answer) - 1}:
        # Truncated, or JSON that does not end.
        with pytest.raises(ValueError, match=r"ends|truncated|malformed"):
            await rows_of(pieces_of(answer[:cut], [40_000] * 50))


async def test_an_answer_with_fewer_rows_than_it_says_is_none():
    answer = written(ROWS).replace(b'"rows": 4000', b'"rows": 4001')
    with pytest.raises(ValueError, match="4000 rows but announces 4001"):
        await rows_of(pieces_of(answer, [40_000] * 50))


async def test_another_layout_is_decoded_as_a_whole():
    answer = json.dumps({"data": ROWS, "rows": len(ROWS)}).encode()
    assert (await rows_of(pieces_of(answer, [40_000] * 50))).rows == ROWS


async def test_others_run_while_a_large_answer_is_decoded():
    rows = [[n, str(n), n * 2] for n in range(200_000)]
    answer = written(rows)
    times = 0

    async def count() -> None:
        nonlocal times
        while True:
            times += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    # In one piece: nothing is waited for, so what makes way for others is the decoding itself.
    assert len((await rows_of(pieces_of(answer, []))).rows) == len(rows)
    counting.cancel()
    assert times > 3
