"""What is counted: rows by owner and day, and the bytes that name an owner."""

import random
from collections import Counter

import msgspec
import pytest

from nealytics.clickhouse.rowbinary import decode_row, encode_row, owner_key, owner_of, split_owner
from nealytics.event import Event
from nealytics.timestamps import DAY_MS
from nealytics.usage.counts import Counts, Line, Used, date_of, day_number, month_days

NOON = 20_787 * DAY_MS + DAY_MS // 2


def row(project: str, tenant: str, received_ms: int = NOON, metadata: str = "{}") -> bytes:
    event = Event(
        event_id=7, project_id=project, tenant_id=tenant, session_id="s", user_id=None, event_type="view",
        item_id=None, metadata_json=metadata.encode(), timestamp_ms=0,
    )  # fmt: skip
    return encode_row(event, received_ms)


@pytest.mark.parametrize("project", ["p", "é" * 256, "x" * 127, "x" * 128, "\x01p"])
@pytest.mark.parametrize("tenant", ["t", "日本" * 100, "x" * 128])
def test_the_owner_of_a_row_is_its_project_and_tenant(project: str, tenant: str):
    found = owner_of(row(project, tenant))
    assert found == owner_key(project, tenant)
    assert split_owner(found) == (project, tenant)


def test_rows_are_counted_by_owner_however_they_are_mixed():
    rng = random.Random(5)
    owners = [("p", "a"), ("p", "ab"), ("pa", "b"), ("p", "a" * 200)]
    rows = [row(*rng.choice(owners), metadata="x" * rng.randrange(300)) for _ in range(2_000)]
    expected: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for one in rows:
        columns = decode_row(one, 1)
        owner = str(columns["project_id"]), str(columns["tenant_id"])
        expected[owner] += 1
        sizes[owner] += len(one)
    counts = Counts()
    counts.add_rows(rows[:700])
    counts.add_rows(rows[700:])
    assert {(p, t): (used.events, used.bytes) for p, t, used in counts.lines(NOON // DAY_MS)} == {
        owner: (expected[owner], sizes[owner]) for owner in expected
    }


def test_a_group_around_midnight_is_counted_on_both_days():
    midnight = (NOON // DAY_MS + 1) * DAY_MS
    counts = Counts()
    counts.add_rows([row("p", "t", midnight - 1), row("p", "t", midnight), row("p", "t", midnight + 1)])
    assert [counts.lines(day)[0].used.events for day in sorted(counts.days)] == [1, 2]


def test_counts_are_added_and_encoded_in_parts():
    counts, others = Counts(), Counts()
    for number in range(4_001):
        counts.add_query("p", str(number), 1, 5)
    others.add_query("p", "7", 10, 5)
    others.add_query("p", "7", 100, 6)
    counts.add(others)
    for day in (5, 6, 7):
        assert b"[%s]" % b",".join(counts.encode(day)) == msgspec.json.encode(counts.lines(day))
    assert counts.lines(5)[7] == Line("p", "7", Used(0, 0, 2, 11))
    assert counts.lines(6) == [Line("p", "7", Used(0, 0, 1, 100))]


def test_queries_and_what_was_counted_before_are_added():
    counts = Counts()
    counts.add_query("p", "", 100, 5)
    counts.add_query("p", "", 20, 5)
    counts.put(5, [Line("p", "", Used(1, 2, 3, 4))])
    assert counts.lines(5) == [Line("p", "", Used(1, 2, 5, 124))]


def test_days_are_dates():
    assert date_of(day_number("2026-11-30")) == "2026-11-30"
    assert date_of(month_days(day_number("2026-02-28"))[0]) == "2026-02-01"
