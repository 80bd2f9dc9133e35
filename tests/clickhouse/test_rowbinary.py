"""Rows read back as what was encoded, and the hand-written encoder agrees with the table."""

import random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nealytics.clickhouse import rowbinary, schema
from nealytics.clickhouse.rowbinary import (
    COLUMNS,
    INSERT_COLUMNS,
    ROW_FORMAT,
    decode_row,
    encode_row,
    insert_sql,
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
    assert len(str(row["item_id"])) == len(str(row["metadata_json"])) == size


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


@pytest.mark.engine
async def test_real_engine_reads_rows_as_they_were_meant(client, database):
    """The one proof that our bytes mean to ClickHouse what they mean to us."""
    chance = random.Random(1)
    events = [
        Event(
            event_id=chance.getrandbits(128),
            project_id="café" * (i % 3) + "p",
            tenant_id="t\0\n\t\\'\"",
            session_id="s" * (i % 300),
            user_id=None if i % 2 else "😀" * (i % 7),
            event_type="scroll_depth_50%",
            item_id=None if i % 3 else "i" * (i * 10),
            metadata_json=b'{"n":%d, "s":"' % i + b"m" * (i * 50) + b'"}',
            timestamp_ms=chance.choice([0, 1, 999, 1_900_000_000_123, 4_102_444_800_000]) + i,
        )
        for i in range(400)
    ]
    received_ms = 1_900_000_000_999
    for statement in schema.create_statements(database, 0):
        if "CREATE TABLE" in statement:
            await client.command(statement)
    rows = b"".join(encode_row(event, received_ms) for event in events)
    await client.insert(insert_sql(database, ROW_FORMAT), rows, token="t")
    stored = await client.query(
        "SELECT toString(event_id), project_id, tenant_id, session_id, user_id, event_type, item_id, "
        "metadata_json, toUnixTimestamp64Milli(timestamp), toUnixTimestamp64Milli(received_at) "
        f"FROM {database}.global_events"
    )
    assert sorted(stored) == sorted(
        [
            str(UUID(int=event.event_id)),
            event.project_id,
            event.tenant_id,
            event.session_id,
            event.user_id,
            event.event_type,
            event.item_id,
            event.metadata_json.decode(),
            event.timestamp_ms,
            received_ms,
        ]
        for event in events
    )
