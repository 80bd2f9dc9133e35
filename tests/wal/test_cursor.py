import struct
import zlib
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from nealytics.errors import LogDamaged
from nealytics.wal import CursorState, Range, cursor
from nealytics.wal.cursor import InvalidCursor, Stored
from nealytics.wal.files import OS_FILES

LOG_ID = UUID("00112233-4455-6677-8899-aabbccddeeff")


@pytest.mark.parametrize(
    "state",
    [CursorState(1), CursorState(900), CursorState(900, (Range(5, 5), Range(7, 200), Range(201, 899)))],
)
def test_cursor_reads_back_as_it_was_stored(tmp_path: Path, state: CursorState):
    stored = Stored(LOG_ID, state, durable_lsn=1234)
    cursor.store(OS_FILES, tmp_path, stored)
    assert cursor.load(OS_FILES, tmp_path) == stored


def test_a_cursor_of_version_1_knows_only_of_the_rows_that_were_in_a_batch(tmp_path: Path):
    fields = struct.pack("<8sII16sQQQ", b"NealCur\n", 1, 1, LOG_ID.bytes, 900, 5, 7)
    (tmp_path / cursor.NAME).write_bytes(fields + struct.pack("<I", zlib.crc32(fields)))
    assert cursor.load(OS_FILES, tmp_path) == Stored(LOG_ID, CursorState(900, (Range(5, 7),)), 899)


@pytest.mark.parametrize(
    ("state", "done_lsn", "uncommitted"),
    [
        (CursorState(1), 0, 0),
        (CursorState(10), 9, 0),
        (CursorState(10, (Range(4, 6),)), 3, 3),
        (CursorState(10, (Range(4, 6), Range(8, 9))), 3, 5),
    ],
)
def test_done_is_what_lies_before_the_first_outstanding_row(
    state: CursorState, done_lsn: int, uncommitted: int
):
    assert (state.done_lsn, state.uncommitted) == (done_lsn, uncommitted)


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (CursorState(10, (Range(4, 3),)), "range 4-3 is empty or not behind row 0"),
        (CursorState(10, (Range(4, 6), Range(6, 7))), "range 6-7 is empty or not behind row 6"),
        (CursorState(10, (Range(4, 10),)), "row 10 is not below next_lsn 10"),
        (CursorState(0), "row 0 is not below next_lsn 0"),
    ],
)
def test_impossible_states_are_named(state: CursorState, problem: str):
    assert state.problem() == problem


def test_no_cursor_is_none(tmp_path: Path):
    assert cursor.load(OS_FILES, tmp_path) is None


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path):
    cursor.store(OS_FILES, tmp_path, Stored(uuid4(), CursorState(90, (Range(5, 7),)), 95))
    path = tmp_path / cursor.NAME
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(InvalidCursor):
            cursor.load(OS_FILES, tmp_path)
    for i in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[i // 8] ^= 1 << i % 8
        path.write_bytes(flipped)
        with pytest.raises(InvalidCursor):
            cursor.load(OS_FILES, tmp_path)


def test_a_newer_cursor_is_refused_rather_than_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cursor, "_VERSION", 3)
    monkeypatch.setitem(cursor._FIELDS, 3, cursor._FIELDS[2])
    cursor.store(OS_FILES, tmp_path, Stored(uuid4(), CursorState(1), 0))
    monkeypatch.undo()
    with pytest.raises(LogDamaged, match="version 3 is not known to this release, which reads up to 2"):
        cursor.load(OS_FILES, tmp_path)
