"""Random histories of a log against the simplest model there is: a list of rows and a cursor."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nealytics.errors import LogFull
from nealytics.wal import CursorState, Log
from tests.fakes.faulty_files import FaultyFiles
from tests.wal.logs import read_all, wal_config

STEPS = st.one_of(
    st.tuples(st.just("append"), st.lists(st.lists(st.integers(0, 400), min_size=1, max_size=5), max_size=6)),
    st.tuples(st.just("advance_cursor"), st.floats(0, 1)),
    st.tuples(st.just("full"), st.integers(0, 1200)),
    st.tuples(st.just("idle"), st.none()),
    st.tuples(st.just("reopen"), st.none()),
    st.tuples(st.just("crash"), st.integers(0, 60)),
)


# So that a marker does not take a tenth of a second of waiting each time.
IDLE_S = 0.01


@given(st.lists(STEPS, max_size=25), st.integers(300, 3000))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_history_reads_back_what_was_acknowledged(
    steps: list[tuple[str, object]], segment_bytes_max: int
):
    with tempfile.TemporaryDirectory() as directory, mock.patch("nealytics.wal.log.IDLE_S", IDLE_S):
        asyncio.run(play(Path(directory), steps, segment_bytes_max))


async def play(root: Path, steps: list[tuple[str, object]], segment_bytes_max: int) -> None:
    files = FaultyFiles()
    config = wal_config(segment_bytes_max=segment_bytes_max, keep_hours=0, bytes_max=1 << 20)
    generation = 0
    log = await Log.open(root / "0", config, files=files)
    rows: list[bytes] = []  # acknowledged, by LSN
    cursor = 0

    async def check() -> None:
        assert log.durable_lsn == len(rows)
        assert log.cursor_lsn == cursor
        assert log.waiting == len(rows) - cursor
        assert log.deleted_lsn <= cursor
        assert await read_all(log, cursor + 1, rows_max=7, bytes_max=1000) == rows[cursor:]

    async def append(appends: list[list[int]]) -> None:
        batches = [[bytes([len(rows) % 256]) * size for size in sizes] for sizes in appends]
        answers = await asyncio.gather(*(log.append(batch, 1) for batch in batches), return_exceptions=True)
        for batch, answer in zip(batches, answers, strict=True):
            if isinstance(answer, LogFull):
                continue
            rows.extend(batch)
            assert answer == len(rows)

    for step, argument in steps:
        if step == "append":
            assert isinstance(argument, list)
            await append(argument)
        elif step == "advance_cursor":
            assert isinstance(argument, float)
            cursor += int((len(rows) - cursor) * argument)
            await log.store_cursor(CursorState(cursor + 1))
        elif step == "full":
            assert isinstance(argument, int)
            files.room = argument
            await append([[100, 200, 300]])
            files.room = None
        elif step == "idle":
            await asyncio.sleep(2 * IDLE_S)
        elif step == "reopen":
            await log.close()
            log = await Log.open(root / str(generation), config, files=files)
        else:
            # What a power cut may leave: the files as they are, and a part of a group nobody was told about.
            assert isinstance(argument, int)
            generation += 1
            shutil.copytree(root / str(generation - 1), root / str(generation))
            last = log._segments[-1].path.name
            await log.close()
            with (root / str(generation) / last).open("ab") as file:
                file.write(b"NfrM" * argument)
            log = await Log.open(root / str(generation), config, files=files)
        await check()
    await log.close()
