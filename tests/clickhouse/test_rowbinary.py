"""Rows read back as what was encoded, and the hand-written encoder agrees with the table."""

import random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nealytics.clickhouse import rowbinary
from nealytics.clickhouse.rowbinary import (
    COLUMNS,
    INSERT_COLUMNS,
    ROW_FORMAT,
    decode_row,
    encode_row,
    timestamp_ms,
)
from nealytics.event import Event

INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
TEXT = st.text(max_size=300)
LONG = st.text(min_size=1, max_size=3).map(lambda s: s * 1_000)
EVENTS = st.builds(
    Event,
    event_id=st.integers(min_value=0, max_value=2**128 - 1),
    project_id=TEXT,
    tenant_id=TEXT,
    session_id=TEXT,
    user_id=st.none() | TEXT,
    event_type=TEXT,
    item_id=st.none() | TEXT | LONG,
    metadata_json=(TEXT | LONG).map(str.encode),
    timestamp_ms=INT64,
)


@given(EVENTS, INT64)
def test_row_reads_back_as_the_event(event, received_ms):
    row = encode_row(event, received_ms)
    assert decode_row(row, ROW_FORMAT) == {
        "event_id": UUID(int=event.event_id),
        "project_id": event.project_id,
        "tenant_id": event.tenant_id,
        "session_id": event.session_id,
        "user_id": event.user_id,
        "event_type": event.event_type,
        "item_id": event.item_id,
        "metadata_json": event.metadata_json.decode(),
        "timestamp": event.timestamp_ms,
        "received_at": received_ms,
    }
    assert timestamp_ms(row) == event.timestamp_ms


@given(EVENTS, INT64)
def test_encoder_written_out_agrees_with_the_table(event, received_ms):
    assert encode_row(event, received_ms) == rowbinary._encode_by_table(event, received_ms)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 1023, 1024, 1025, 16_383, 16_384, 2_097_151, 2_097_152])
def test_every_length_of_text_is_encoded(size):
    event = Event(1, "p", "t", "s", None, "e", "i" * size, b"m" * size, 0)
    row = decode_row(encode_row(event, 0), ROW_FORMAT)
    assert len(row["item_id"]) == len(row["metadata_json"]) == size


def test_insert_columns_of_the_current_format_are_those_of_the_table():
    assert INSERT_COLUMNS[ROW_FORMAT] == tuple(column.name for column in COLUMNS)
    assert INSERT_COLUMNS[ROW_FORMAT][-2:] == ("timestamp", "received_at")
    assert "inserted_at" not in INSERT_COLUMNS[ROW_FORMAT]


def test_bytes_that_are_no_row_raise_value_error_and_nothing_else():
    """The dead letter and `wal inspect` show rows that may be damaged."""
    row = encode_row(Event(1, "p", "t", "s", "u", "e", None, b"{}", 5), 6)
    for cut in range(len(row)):
        with pytest.raises(ValueError, match="row"):
            decode_row(row[:cut], ROW_FORMAT)
    with pytest.raises(ValueError, match="row"):
        decode_row(row + b"x", ROW_FORMAT)
    with pytest.raises(ValueError, match="format 99"):
        decode_row(row, 99)
    chance = random.Random(7)
    for _ in range(2_000):
        try:
            decode_row(chance.randbytes(chance.randrange(120)), ROW_FORMAT)
        except ValueError:
            pass
