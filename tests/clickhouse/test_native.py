"""Rows of an answer in the format Native are counted, and an answer that was cut is noticed at any byte."""

import io

import pytest

from nealytics.clickhouse.native import rows_in

TYPES = ["UUID", "String", "Nullable(String)", "DateTime64(3, 'UTC')"]
VALUES = [
    b"\1" * 16 + b"\2" * 16,
    b"\3abc\0",
    b"\0\1" + b"\2xy\0",
    b"\4" * 8 + b"\5" * 8,
]


def block() -> bytes:
    """Two rows of four columns."""
    columns = b"".join(
        bytes([len(name)]) + name + bytes([len(type_)]) + type_ + values
        for name, type_, values in zip(
            [b"id", b"type", b"user", b"at"], [type_.encode() for type_ in TYPES], VALUES, strict=True
        )
    )
    return bytes([len(TYPES), 2]) + columns


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_rows_of_all_blocks_are_counted(blocks: int):
    assert rows_in(io.BytesIO(block() * blocks)) == 2 * blocks


def test_an_answer_that_ends_within_a_block_is_an_error_wherever_it_is_cut():
    whole = block() * 2
    for end in range(1, len(whole)):
        if end != len(block()):
            with pytest.raises(EOFError):
                rows_in(io.BytesIO(whole[:end]))


def test_a_type_that_is_none_of_the_tables_is_named():
    with pytest.raises(ValueError, match="Map"):
        rows_in(io.BytesIO(b"\1\1\1a\3Map"))
