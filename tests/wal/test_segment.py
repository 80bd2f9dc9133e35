import zlib
from pathlib import Path
from uuid import uuid4

import pytest

from nealytics.errors import LogDamaged, LogForeign
from nealytics.wal import segment
from nealytics.wal.files import OS_FILES
from nealytics.wal.segment import SegmentHeader
from tests.fakes.faulty_files import FaultyFiles

HEADER = SegmentHeader(
    previous_crc=3,
    log_id=uuid4(),
    first_lsn=40,
    previous_first_lsn=7,
    cursor_lsn=12,
    created_ms=1_700_000_000_000,
)


def test_header_reads_back_as_it_was_written(tmp_path: Path):
    made, file = segment.create(OS_FILES, tmp_path, HEADER)
    file.close()
    loaded = segment.load(OS_FILES, tmp_path / "00000000000000000040.wal")
    assert loaded is not None
    assert loaded.header == HEADER
    assert (loaded.seed, loaded.bytes, loaded.path) == (made.seed, made.bytes, made.path)
    assert made.bytes == segment.HEADER_BYTES


def test_name_of_a_new_segment_is_durable_before_anything_is_written_to_it(tmp_path: Path):
    files = FaultyFiles()
    segment.create(files, tmp_path, HEADER)[1].close()
    assert files.calls[-3:] == [
        ("sync", "00000000000000000040.wal.tmp"),
        ("rename", "00000000000000000040.wal"),
        ("sync_directory", tmp_path.name),
    ]


def test_every_flipped_bit_of_a_header_is_noticed(tmp_path: Path):
    segment.create(OS_FILES, tmp_path, HEADER)[1].close()
    path = tmp_path / segment.name_of(40)
    data = path.read_bytes()
    for i in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[i // 8] ^= 1 << i % 8
        path.write_bytes(flipped)
        with pytest.raises(LogDamaged, match=r"00000000000000000040\.wal: byte \d"):
            segment.load(OS_FILES, path)


def test_a_newer_format_is_refused_with_its_number(tmp_path: Path):
    segment.create(OS_FILES, tmp_path, HEADER)[1].close()
    path = tmp_path / segment.name_of(40)
    data = bytearray(path.read_bytes())
    data[8] = 2
    data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(LogForeign, match=r"version 2 is not known to this release, which reads 1"):
        segment.load(OS_FILES, path)


def test_a_renamed_segment_is_refused_with_its_name(tmp_path: Path):
    segment.create(OS_FILES, tmp_path, HEADER)[1].close()
    (tmp_path / segment.name_of(40)).rename(tmp_path / segment.name_of(41))
    with pytest.raises(LogDamaged, match=r"rename it to 00000000000000000040\.wal"):
        segment.load(OS_FILES, tmp_path / segment.name_of(41))


def test_other_files_are_no_segments():
    assert segment.first_lsn_of("00000000000000000040.wal") == 40
    for name in ("cursor", "40.wal", "00000000000000000040.wal.tmp", "00000000000000000040.wal.17.torn"):
        assert segment.first_lsn_of(name) is None
