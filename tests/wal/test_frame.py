import pytest
from hypothesis import given
from hypothesis import strategies as st

from nealytics.wal import frame

SEED = 0x1234


def encoded(*rows: bytes, first_lsn: int = 1, seed: int = SEED) -> bytes:
    return frame.encode(rows, row_format=7, first_lsn=first_lsn, synced_offset=72, appended_ms=99, seed=seed)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=20), st.integers(1, 2**60))
def test_a_frame_reads_back_as_it_was_written(rows: list[bytes], first_lsn: int):
    data = encoded(*rows, first_lsn=first_lsn)
    header = frame.parse_header(data, SEED)
    assert header is not None
    assert header.row_format == 7
    assert (header.first_lsn, header.last_lsn) == (first_lsn, first_lsn + len(rows) - 1)
    assert (header.synced_offset, header.appended_ms, header.is_marker) == (72, 99, False)
    assert header.frame_bytes == len(data)
    assert header.crc == frame.header_crc(data)
    body = memoryview(data)[frame.HEADER_BYTES :]
    assert frame.body_is_valid(header, body, SEED)
    assert list(frame.row_lengths(header, body)) == [len(row) for row in rows]
    assert bytes(frame.payload(header, body)) == b"".join(rows)


def test_every_flipped_bit_is_noticed():
    data = encoded(b"first", b"", b"third row")
    for i in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[i // 8] ^= 1 << i % 8
        header = frame.parse_header(memoryview(flipped), SEED)
        assert header is None or not frame.body_is_valid(
            header, bytes(flipped[frame.HEADER_BYTES :]), SEED
        ), i


def test_a_frame_of_another_segment_is_not_valid_here():
    """So the bytes of a frame inside an event are only bytes: the sender does not know the segment's CRC."""
    data = encoded(b"row", seed=SEED + 1)
    assert frame.parse_header(data, SEED) is None


def test_a_frame_without_rows_is_a_marker():
    header = frame.parse_header(encoded(first_lsn=5), SEED)
    assert header is not None
    assert header.is_marker
    assert header.last_lsn == 4


@pytest.mark.parametrize("length", [0, 3, frame.HEADER_BYTES - 1])
def test_a_header_cut_short_is_no_header(length: int):
    assert frame.parse_header(encoded(b"row")[:length], SEED) is None
