import asyncio
import hashlib
import logging
import math
import time

import msgspec
import pytest

from nealytics.commit import delivery
from nealytics.commit.delivery import insert_token
from nealytics.commit.gather import rows_within_partitions
from nealytics.errors import LogBroken, LogDamaged, LogFull
from nealytics.observe.prometheus import text
from nealytics.wal import CursorState, Range
from tests.commit.station import refusing
from tests.fakes import clickhouse as faults
from tests.fakes.rows import MONTH_MS, TIMESTAMP_MS, row


def endless() -> float:
    """For `Station.random`: every pause of the backoff outlasts the test."""
    return 1_000.0


# Cutting


async def test_a_clickhouse_that_hangs_is_reported_before_the_insert_fails(make, fake, caplog, monkeypatch):
    monkeypatch.setattr("nealytics.commit.sender._SLOW_S", 0.05)
    station = await make()
    await station.append(row(1))
    fake.faults.append(faults.stall(0.3, applied=True))
    station.start()
    await station.drained()
    slow = caplog.text.index("batch 1-1: attempt 1: clickhouse has not answered for 0.05 s")
    assert slow < caplog.text.index("attempt 1 failed")


async def test_rows_arrive_once_in_order_and_the_log_is_empty(make, fake):
    station = await make(batch_rows_max=10)
    station.start()
    await station.append_numbers(1, 25)
    await station.drained()
    assert station.stored == list(range(1, 26))
    assert station.log.cursor == CursorState(26)


async def test_a_batch_is_cut_at_rows_max_without_waiting_for_the_interval(make, fake):
    station = await make(batch_rows_max=10, flush_interval_s=600)
    station.start()
    await station.append_numbers(1, 25)
    await station.until(lambda: len(station.stored) == 20)
    assert station.ranges == [(1, 10), (11, 20)]


async def test_rows_that_do_not_fill_a_batch_wait_for_the_interval(make, fake):
    station = await make(batch_rows_max=10, flush_interval_s=0.5)
    station.start()
    started = time.monotonic()
    await station.append_numbers(1, 25)
    await station.drained()
    assert time.monotonic() - started >= 0.5
    assert station.ranges == [(1, 10), (11, 20), (21, 25)]


async def test_a_batch_is_cut_at_bytes_max(make, fake):
    station = await make(batch_bytes_max=3_000, flush_interval_s=600)
    station.start()
    for n in range(1, 9):
        await station.append(row(n, filler=900))
    await station.until(lambda: len(station.stored) >= 6)
    assert all(len(insert.body) <= 3_000 for insert in fake.inserts)


async def test_a_row_longer_than_bytes_max_is_a_batch_of_its_own(make, fake):
    station = await make(batch_bytes_max=500)
    station.start()
    await station.append(row(1), row(2, filler=5_000), row(3))
    await station.drained()
    assert station.ranges == [(1, 1), (2, 2), (3, 3)]


async def test_a_batch_touches_at_most_partitions_max_months(make, fake):
    station = await make(batch_partitions_max=2)
    await station.append(*(row(n, timestamp_ms=TIMESTAMP_MS + (n // 2) * MONTH_MS) for n in range(1, 11)))
    station.start()
    await station.drained()
    assert station.stored == list(range(1, 11))
    assert [last - first + 1 for first, last in station.ranges] == [3, 4, 3]


async def test_months_that_come_again_count_once(make, fake):
    station = await make(batch_partitions_max=2)
    await station.append(*(row(n, timestamp_ms=TIMESTAMP_MS + n % 2 * MONTH_MS) for n in range(1, 11)))
    rows = await station.log.read(1, rows_max=100, bytes_max=10**6)
    assert rows_within_partitions(rows, 2) == 10
    assert rows_within_partitions(rows, 1) == 1


@pytest.mark.parametrize("timestamp_ms", [-(2**62), -1, 0, 2**62])
async def test_a_timestamp_outside_of_any_calendar_still_has_a_partition(make, timestamp_ms):
    station = await make()
    await station.append(row(1, timestamp_ms=timestamp_ms))
    rows = await station.log.read(1, rows_max=1, bytes_max=10**6)
    assert rows_within_partitions(rows, 1) == 1


async def test_a_batch_never_mixes_row_formats(make, fake, monkeypatch):
    monkeypatch.setattr(
        delivery,
        "insert_sql",
        lambda database, row_format: (
            f"INSERT INTO `{database}`.v{row_format} (event_id, project_id, tenant_id, session_id, user_id, "
            "event_type, item_id, metadata_json, timestamp, received_at) FORMAT RowBinary"
        ),
    )
    station = await make()
    await station.append(row(1), row(2), row_format=1)
    await station.append(row(3), row_format=2)
    await station.append(row(4), row_format=1)
    station.start()
    await station.drained()
    assert station.ranges == [(1, 2), (3, 3), (4, 4)]
    assert ["v2" in insert.sql for insert in fake.inserts] == [False, True, False]


async def test_flush_soon_does_not_wait_for_the_interval(make, fake):
    station = await make(flush_interval_s=600)
    station.start()
    await station.append_numbers(1, 3)
    await asyncio.sleep(0.05)
    assert station.stored == []
    station.committer.flush_soon()
    assert await station.committer.wait_committed(1, 3, 60.0)
    assert station.stored == [1, 2, 3]


async def test_rows_that_waited_through_a_slow_batch_do_not_wait_the_interval_again(make, fake):
    station = await make(batch_rows_max=2, flush_interval_s=600)
    # By the committer's clock every row was appended before the interval began.
    station.clock_ms = lambda: time.time_ns() // 1_000_000 + 700_000
    await station.crash()
    await station.append_numbers(1, 3)
    station.start()
    await station.drained()
    assert station.ranges == [(1, 2), (3, 3)]


async def test_a_trickle_is_gathered_for_the_interval_after_every_batch(make, fake):
    """Also right after an acceptance, when the log still reports a committed row as its oldest."""
    station = await make(flush_interval_s=0.25)
    station.start()
    started = time.monotonic()
    for n in range(1, 41):
        await station.append_numbers(n, n)
        await asyncio.sleep(0.02)
    assert len(fake.inserts) <= (time.monotonic() - started) / 0.25
    await station.drained()
    assert station.stored == list(range(1, 41))


async def test_only_one_insert_is_on_the_way(make, fake):
    station = await make(batch_rows_max=5)
    await station.append_numbers(1, 100)
    station.start()
    await station.drained()
    assert fake.most_at_once == 1


# Intent and token


async def test_the_intent_is_durable_before_the_first_try(make, fake):
    station = await make(batch_rows_max=5)
    seen = []

    def look(r):
        seen.append(station.log.cursor)
        return None

    fake.refuse = look
    await station.append_numbers(1, 5)
    station.start()
    await station.drained()
    assert seen[0] == CursorState(6, (Range(1, 5),))


async def test_settling_a_batch_and_the_next_intent_are_one_write_while_rows_wait(make, fake):
    station = await make(batch_rows_max=10)
    await station.append_numbers(1, 50)
    stored, store = [], station.log.store_cursor

    async def spy(state):
        stored.append(state)
        await store(state)

    station.log.store_cursor = spy
    station.start()
    await station.drained()
    assert len(stored) == 6, "five intents, each settling the one before, and one for the last"


async def test_the_token_names_log_rows_and_bytes(make, fake):
    station = await make()
    await station.append_numbers(1, 3)
    station.start()
    await station.drained()
    body = row(1) + row(2) + row(3)
    assert fake.tokens == [f"{station.log.log_id}:1-3:{hashlib.sha256(body).hexdigest()[:32]}"]
    assert insert_token("x", 1, 3, body) != insert_token("x", 1, 3, body + b".")


@pytest.mark.parametrize(
    "fault",
    [
        faults.error(241),
        faults.error(252),
        faults.error(60, 404),
        faults.error(516, 403),
        faults.proxy_error(502),
        faults.lost_answer(),
        faults.reset_mid_body(),
        faults.stall(0.6, applied=True),
        faults.stall(0.6, applied=False),
        faults.late_exception(209),
        faults.late_body(241),
    ],
    ids=lambda fault: f"{fault.kind} {fault.code or fault.status} {'applied' if fault.applied else ''}",
)
async def test_after_any_fault_the_same_batch_comes_again_and_counts_once(make, fake, fault):
    """R12. 252 (too many parts) is overload and never a reason to put rows aside."""
    station = await make(batch_rows_max=4)
    fake.faults.extend([None, fault, fault])
    await station.append_numbers(1, 12)
    station.start()
    await station.drained()
    assert station.stored == list(range(1, 13))
    assert station.dead == []
    assert len(set(fake.tokens)) == 3
    assert fake.token_conflicts == []
    # On a busy machine an answer may also miss the short timeout of these tests.
    assert station.metrics.value("nealytics_insert_retries_total") >= 2
    again = [insert for insert in fake.inserts if insert.token == fake.inserts[-2].token]
    assert all(i.body == again[0].body and i.settings == again[0].settings for i in again)


async def test_clickhouse_away_for_a_while_loses_and_doubles_nothing(make, fake):
    station = await make(batch_rows_max=7)
    station.start()
    for start in range(1, 100, 10):
        if start == 31:
            await fake.stop()
        if start == 71:
            await fake.start()
        await station.append_numbers(start, start + 9)
        await asyncio.sleep(0.01)
    await station.drained()
    assert sorted(station.stored) == list(range(1, 101))


async def test_a_crash_while_the_answer_is_awaited_repeats_the_batch_under_its_token(make, fake):
    station = await make(batch_rows_max=10)
    fake.faults.append(faults.stall(0.4, applied=True))
    await station.append_numbers(1, 10)
    station.start()
    await station.until(lambda: len(fake.inserts) == 1)
    await station.crash()
    station.start()
    await station.drained()
    assert station.stored == list(range(1, 11))
    assert fake.tokens[0] == fake.tokens[1]


async def test_old_rows_behind_a_stored_intent_do_not_wait_the_interval_again(make, fake):
    station = await make(batch_rows_max=2, flush_interval_s=600)
    fake.faults.append(faults.stall(0.4, applied=True))
    await station.append_numbers(1, 3)
    station.start()
    await station.until(lambda: len(fake.inserts) == 1)
    # By the committer's clock every row was appended before the interval began.
    station.clock_ms = lambda: time.time_ns() // 1_000_000 + 700_000
    await station.crash()
    station.start()
    await station.drained()
    assert station.ranges[-1] == (3, 3)
    assert station.stored == [1, 2, 3]


async def test_a_stored_intent_is_sent_as_it_was_under_another_configuration(make, fake):
    """R14: first, whole and byte for byte, before a batch of the new size is cut."""
    station = await make(batch_rows_max=10, backoff_max_ms=1_000)
    fake.faults.extend([faults.error(241)])
    await station.append_numbers(1, 10)
    station.start()
    await station.until(lambda: len(fake.inserts) == 1)
    await station.crash(batch_rows_max=3, batch_bytes_max=200, batch_partitions_max=1)
    await station.append_numbers(11, 14)
    station.start()
    await station.drained()
    assert fake.inserts[0].body == fake.inserts[1].body
    assert fake.tokens[0] == fake.tokens[1]
    assert station.ranges[2] == (11, 12)
    assert station.stored == list(range(1, 15))


async def test_a_crash_between_acceptance_and_cursor_repeats_the_batch_and_counts_it_once(make, fake):
    station = await make(batch_rows_max=10)
    store = station.log.store_cursor

    async def never_settle(state):
        if state.outstanding:
            return await store(state)
        await asyncio.sleep(60)

    station.log.store_cursor = never_settle
    await station.append_numbers(1, 10)
    station.start()
    await station.until(lambda: len(station.stored) == 10)
    await station.crash()
    assert station.log.cursor.outstanding == (Range(1, 10),)
    station.start()
    await station.drained()
    assert station.stored == list(range(1, 11))
    assert len(fake.inserts) == 2


# Alarm and recovery


async def test_a_problem_is_said_once_after_enough_failures_and_taken_back(make, fake, caplog):
    caplog.set_level(logging.DEBUG, "nealytics.commit")
    station = await make(retries_before_alert=3)
    fake.faults.extend([faults.error(241)] * 8)
    seen = []
    fake.refuse = lambda r: seen.append(station.committer.problem)
    await station.append_numbers(1, 2)
    station.start()
    await station.until(lambda: station.committer.problem is not None)
    assert "Code: 241" in station.committer.problem or "code 241" in station.committer.problem
    await station.drained()
    assert station.committer.problem is None
    assert seen[0] is not None
    critical = [r for r in caplog.records if r.levelno == logging.CRITICAL]
    assert len(critical) == 1
    assert "1-2" in critical[0].message
    assert any("recovered" in r.message for r in caplog.records)


async def test_few_failures_are_no_problem(make, fake):
    station = await make(retries_before_alert=3)
    fake.faults.extend([faults.error(241)] * 2)
    problems = set()
    await station.append_numbers(1, 2)
    station.start()

    def is_drained() -> bool:
        problems.add(station.committer.problem)
        return station.log.waiting == 0

    await station.until(is_drained)
    assert problems == {None}


async def test_an_unexpected_exception_is_a_failed_try_not_the_end(make, fake, caplog):
    station = await make()
    insert, calls = station.client.insert, []

    async def buggy(*args, **kwargs):
        calls.append(kwargs["token"])
        if len(calls) < 3:
            raise RuntimeError("a bug of ours")
        return await insert(*args, **kwargs)

    station.client.insert = buggy
    await station.append_numbers(1, 2)
    station.start()
    await station.drained()
    assert station.stored == [1, 2]
    assert len(set(calls)) == 1


async def test_rows_of_a_newer_release_are_a_problem_not_the_end(make):
    """After a downgrade: the log takes events all the same, and goes on under the newer release."""
    station = await make(retries_before_alert=2)
    await station.append(b"a row of a newer release", row_format=99)
    station.start()
    await station.until(lambda: station.committer.problem is not None)
    assert "format 99 are not known to this release" in station.committer.problem
    assert not station.task.done()


# Bad content


@pytest.mark.parametrize("bad", [1, 2, 32, 33, 63, 64])
async def test_one_bad_row_is_isolated_in_about_two_log_n_inserts(make, fake, bad):
    """R15: wherever it is, without pauses, and everything else is delivered."""
    station = await make(batch_rows_max=64, backoff_max_ms=10_000_000)
    fake.refuse = refusing(bad, code=33)
    station.random = endless
    await station.crash()
    await station.append_numbers(1, 64)
    station.start()
    await station.drained()
    assert sorted(station.stored) == [n for n in range(1, 65) if n != bad]
    assert station.dead == [bad]
    assert len(fake.inserts) <= 2 * math.log2(64) + 2
    assert station.metrics.value("nealytics_dead_letter_events_total") == 1
    assert station.committer.problem is None


async def test_a_dead_letter_is_kept_with_its_reason(make, fake, caplog):
    station = await make()
    fake.refuse = refusing(2, code=469)
    await station.append_numbers(1, 3)
    station.start()
    await station.drained()
    (id,) = station.dead_letter.ids()
    dead = station.dead_letter.read(id)
    assert (dead.lsn, dead.code, dead.name, dead.row) == (2, 469, "VIOLATED_CONSTRAINT", row(2))
    assert "refused" in dead.reason
    errors = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "row 2" in errors[0].message
    assert "469" in errors[0].message


async def test_bad_rows_at_both_ends(make, fake):
    station = await make(batch_rows_max=64)
    fake.refuse = refusing(1, 64)
    await station.append_numbers(1, 65)
    station.start()
    await station.drained()
    assert sorted(station.stored) == [*range(2, 64), 65]
    assert station.dead == [1, 64]


async def test_halves_are_durable_before_they_are_sent_and_the_whole_is_not_sent_again(make, fake):
    station = await make(batch_rows_max=8)
    fake.refuse = refusing(3)
    outstanding = []

    insert = station.client.insert

    async def spy(*args, **kwargs):
        outstanding.append(station.log.cursor.outstanding)
        return await insert(*args, **kwargs)

    station.client.insert = spy
    await station.append_numbers(1, 8)
    station.start()
    await station.drained()
    for (first, last), durable in zip(station.ranges, outstanding, strict=True):
        assert Range(first, last) in durable
    split = {r for r in station.ranges if r[1] > r[0] and r[0] <= 3 <= r[1]}
    assert all(station.ranges.count(r) == 1 for r in split)


async def test_all_bad_but_one(make, fake):
    station = await make(batch_rows_max=32)
    fake.refuse = refusing(*(n for n in range(1, 33) if n != 23))
    await station.append_numbers(1, 32)
    station.start()
    await station.drained()
    assert station.stored == [23]
    assert sorted(station.dead) == [n for n in range(1, 33) if n != 23]


async def test_a_lone_bad_row_waits_for_a_later_one_and_does_not_hold_it_up(make, fake):
    station = await make(backoff_max_ms=10_000_000)
    fake.refuse = refusing(1)
    station.random = endless
    await station.crash()
    await station.append_numbers(1, 1)
    station.start()
    await station.until(lambda: len(fake.inserts) == 1)
    await asyncio.sleep(0.05)
    assert station.dead == []
    assert station.log.cursor.outstanding == (Range(1, 1),)
    await station.append_numbers(2, 2)
    await station.drained()
    assert station.stored == [2]
    assert station.dead == [1]


async def test_a_lone_bad_row_is_accepted_if_the_table_is_fixed_and_no_other_row_comes(make, fake):
    station = await make()
    fake.refuse = refusing(1)
    await station.append_numbers(1, 1)
    station.start()
    await station.until(lambda: len(fake.inserts) >= 3)
    fake.refuse = refusing()
    await station.drained()
    assert station.stored == [1]
    assert station.dead == []


async def test_a_wrong_table_dead_letters_nothing_and_a_fixed_one_accepts_everything(make, fake, caplog):
    station = await make(batch_rows_max=16)
    fake.refuse = lambda r: 33
    station.start()
    for start in range(1, 100, 10):
        await station.append_numbers(start, start + 9)
        await asyncio.sleep(0.01)
    await station.until(lambda: station.committer.problem is not None)
    assert "code 33" in station.committer.problem
    assert "check the table" in station.committer.problem
    await station.until(lambda: len(fake.inserts) > 60)
    assert station.dead == []
    fake.refuse = refusing()
    await station.drained()
    assert sorted(station.stored) == list(range(1, 101))
    assert station.dead == []
    assert station.committer.problem is None
    assert len([r for r in caplog.records if r.levelno == logging.CRITICAL]) == 1


async def test_a_wrong_table_is_asked_at_the_pace_of_the_backoff(make, fake):
    station = await make(batch_rows_max=16, backoff_max_ms=10_000)
    station.random = lambda: 1.0
    await station.crash()
    fake.refuse = lambda r: 33
    await station.append_numbers(1, 200)
    station.start()
    await asyncio.sleep(0.4)
    assert len(fake.inserts) <= 2 * 5 + 3, "2·log2 of a batch and a little, then a pause of 500 ms"


async def test_a_wrong_table_after_a_restart_with_many_suspects_still_tries_new_rows(make, fake):
    """What is outstanding may be bad for good; only new rows can prove that the table is well."""
    station = await make(batch_rows_max=16)
    fake.refuse = refusing(*range(1, 17))
    await station.append_numbers(1, 16)
    station.start()
    await station.until(lambda: len(station.log.cursor.outstanding) == 16)
    await station.crash()
    station.start()
    await station.append_numbers(17, 17)
    await station.until(lambda: station.stored == [17])
    # The restart forgot who was refused before it: a row whose turn comes after row 17 waits for one more.
    await station.append_numbers(18, 18)
    await station.drained()
    assert station.stored == [17, 18]
    assert sorted(station.dead) == list(range(1, 17))


async def test_a_long_bad_stretch_does_not_hide_the_good_rows_behind_it(make, fake):
    station = await make(batch_rows_max=256, backoff_max_ms=10_000)
    fake.refuse = refusing(*range(1, 129))
    await station.append_numbers(1, 256)
    station.start()
    await station.until(lambda: len(station.stored) == 128)
    assert len(fake.inserts) <= 6


async def test_however_many_bad_rows_wait_what_comes_after_them_is_taken(make, fake):
    # Of more than a thousand ranges, each a row that nothing was accepted beside.
    station = await make(batch_rows_max=10_000, backoff_max_ms=1)
    fake.refuse = refusing(*range(1, 1_501))
    await station.append_numbers(1, 1_500)
    station.start()
    # Thousands of synced cursors: minutes on a busy disk.
    await station.until(lambda: len(station.log.cursor.outstanding) > 1_000, timeout_s=250)
    await station.append_numbers(2_001, 2_010)
    await station.until(lambda: station.stored == list(range(2_001, 2_011)), timeout_s=250)


class Killed(BaseException):
    """The process ends here; no handler of ours may see it."""


async def test_a_batch_that_is_stored_and_refused_afterwards_is_acknowledged(make, fake):
    station = await make(batch_rows_max=16)
    fake.faults.append(faults.lost_answer())
    fake.refuse = lambda r: 33 if fake.rows else None  # the table breaks after the first attempt
    await station.append_numbers(1, 16)
    station.start()
    await station.drained()
    assert station.stored == list(range(1, 17))
    assert station.metrics.value("nealytics_events_committed_total") == 16


async def test_a_row_whose_token_is_known_is_looked_for_also_after_a_refusal(make, fake):
    station = await make()
    fake.faults += [faults.killed_after_token(), faults.error(33, status=400)]
    await station.append_numbers(1, 1)
    station.start()
    await station.drained()
    assert station.stored == [1]


async def test_rows_that_were_stored_before_do_not_make_a_suspect_guilty(make, fake):
    station = await make()
    await station.append_numbers(1, 100)
    await station.log.store_cursor(CursorState(101, (Range(1, 2), Range(51, 100))))
    await station.crash()
    fake.rows += [row(n) for n in range(51, 101)]
    fake.refuse = lambda r: 33
    station.start()
    suspects = CursorState(101, (Range(1, 1), Range(2, 2)))
    await station.until(lambda: bool(station.dead or station.committer.problem))
    assert station.dead == []
    assert station.log.cursor == suspects
    assert "clickhouse refuses every row" in station.committer.problem
    fake.refuse = refusing()
    await station.drained()
    assert sorted(station.stored) == [1, 2, *range(51, 101)]
    assert station.committer.problem is None
    assert station.metrics.value("nealytics_events_committed_total") == 52


async def test_a_problem_ends_when_no_row_waits(make, fake):
    """Also if the last rows are acknowledged without being accepted."""
    station = await make()
    fake.faults += [faults.lost_answer(), *[faults.error(252)] * 10, None]
    await station.append_numbers(1, 3)
    station.start()
    await station.until(lambda: bool(station.committer.problem))
    fake.refuse = lambda r: 33
    await station.drained()
    assert station.committer.problem is None


async def test_a_row_that_only_a_view_refuses_is_not_in_the_dead_letter(make, fake):
    station = await make()
    fake.refuse = refusing(3)
    fake.stores_refused = True
    await station.append_numbers(1, 4)
    station.start()
    await station.drained()
    assert station.dead == []
    assert set(station.stored) == {1, 2, 3, 4}


async def test_only_the_missing_rows_of_a_refused_batch_are_sent_again_also_after_a_crash(make, fake):
    station = await make(batch_rows_max=16)
    fake.faults.append(faults.killed_after_token())
    fake.refuse = lambda r: 33 if fake.rows else None
    await station.append_numbers(1, 16)
    station.start()
    await station.until(lambda: station.metrics.value("nealytics_events_committed_total") == 8)
    assert station.log.cursor_lsn == 8
    await station.crash()
    fake.refuse = refusing()
    station.start()
    await station.drained()
    assert station.stored == list(range(1, 17))
    assert station.metrics.value("nealytics_events_committed_total") == 16


async def test_a_crash_between_dead_letter_and_cursor_puts_the_row_aside_once(make, fake):
    station = await make()
    fake.refuse = refusing(2)
    put = station.dead_letter.put

    def put_and_die(dead):
        put(dead)
        raise Killed

    station.dead_letter.put = put_and_die
    await station.append_numbers(1, 3)
    station.start()
    with pytest.raises(Killed):
        await station.task
    station.dead_letter.put = put
    await station.crash()
    await station.append_numbers(4, 4)
    station.start()
    await station.drained()
    assert sorted(station.stored) == [1, 3, 4]
    assert station.dead == [2]


# The log in trouble


async def test_damage_stops_what_is_behind_it_but_not_ingest(make, fake, caplog):
    station = await make(batch_rows_max=2)
    read = station.log.read

    async def damaged(first_lsn, **bounds):
        if first_lsn >= 3:
            raise LogDamaged("wal: 0000.wal: byte 8192: checksum mismatch")
        return await read(first_lsn, **bounds)

    station.log.read = damaged
    await station.append_numbers(1, 6)
    station.start()
    await station.until(lambda: station.committer.problem is not None)
    assert "byte 8192" in station.committer.problem
    await station.append_numbers(7, 8)
    await station.until(lambda: station.log.cursor_lsn == 2)  # the cursor acknowledges the batch before
    assert station.stored == [1, 2]
    assert len([r for r in caplog.records if r.levelno == logging.CRITICAL]) == 1
    station.log.read = read
    await station.drained()
    assert station.stored == list(range(1, 9))
    assert station.committer.problem is None


async def test_a_batch_that_reads_back_shorter_is_not_sent_in_part(make, fake):
    station = await make(backoff_max_ms=1_000)
    fake.faults.append(faults.error(241))
    await station.append_numbers(1, 4)
    station.start()
    await station.until(lambda: len(fake.inserts) == 1)
    await station.crash(backoff_max_ms=2)
    read = station.log.read

    async def short(first_lsn, **bounds):
        return (await read(first_lsn, **bounds)).slice(1, 3)

    station.log.read = short
    station.start()
    await station.until(lambda: station.committer.problem is not None)
    assert len(fake.inserts) == 1
    station.log.read = read
    await station.drained()
    assert station.stored == [1, 2, 3, 4]


async def test_a_full_disk_is_waited_for_before_anything_is_sent(make, fake):
    station = await make()
    store = station.log.store_cursor

    async def full(state):
        raise LogFull("wal: no room for the cursor")

    station.log.store_cursor = full
    await station.append_numbers(1, 4)
    station.start()
    await station.until(lambda: station.committer.problem is not None)
    assert fake.inserts == []
    station.log.store_cursor = store
    await station.drained()
    assert station.stored == [1, 2, 3, 4]
    assert station.committer.problem is None


async def test_a_broken_log_ends_the_committer(make, fake):
    station = await make()

    async def broken(state):
        raise LogBroken("wal: fdatasync failed")

    station.log.store_cursor = broken
    await station.append_numbers(1, 4)
    station.start()
    await asyncio.wait_for(station.task, 60.0)
    assert fake.inserts == []
    assert "fdatasync" in station.committer.problem


@pytest.mark.parametrize("failure", [LogFull("full"), LogBroken("fdatasync"), OSError(5, "EIO")])
async def test_a_row_that_cannot_be_kept_aside_stays_in_the_log(make, fake, failure):
    station = await make()
    fake.refuse = refusing(2)
    put = station.dead_letter.put

    def fail(dead):
        raise failure

    station.dead_letter.put = fail
    await station.append_numbers(1, 3)
    station.start()
    await station.until(lambda: station.committer.problem is not None)
    assert any(intent.first <= 2 <= intent.last for intent in station.log.cursor.outstanding)
    station.dead_letter.put = put
    await station.drained()
    assert station.dead == [2]
    assert station.committer.problem is None


# For the rest of the process


async def test_wait_committed_times_out_while_clickhouse_is_away(make, fake):
    station = await make()
    await fake.stop()
    station.start()
    await station.append_numbers(1, 2)
    assert not await station.committer.wait_committed(1, 2, 0.05)
    await fake.start()
    assert await station.committer.wait_committed(1, 2, 60.0)


async def test_wait_committed_is_false_for_a_dead_lettered_row(make, fake):
    station = await make()
    fake.refuse = refusing(2)
    await station.append_numbers(1, 4)
    station.start()
    assert not await station.committer.wait_committed(1, 4, 60.0)
    assert await station.committer.wait_committed(3, 4, 60.0)
    assert await station.committer.wait_committed(1, 1, 60.0)
    assert not await station.committer.wait_committed(2, 2, 60.0)


async def test_wait_committed_for_rows_not_cut_yet(make, fake):
    station = await make(flush_interval_s=600)
    station.start()
    await station.append_numbers(1, 2)
    assert not await station.committer.wait_committed(1, 2, 0.02)


async def test_drain_sends_what_waits_and_says_so(make, fake):
    station = await make(flush_interval_s=600)
    station.start()
    await station.append_numbers(1, 5)
    assert await station.committer.drain(60.0)
    assert station.stored == [1, 2, 3, 4, 5]
    assert station.log.waiting == 0, "a stop right now leaves nothing to be sent again"


async def test_drain_gives_up_when_the_time_is_up(make, fake):
    station = await make()
    await fake.stop()
    station.start()
    await station.append_numbers(1, 5)
    assert not await station.committer.drain(0.1)


async def test_drain_does_not_wait_for_suspects(make, fake):
    station = await make()
    fake.refuse = refusing(1)
    await station.append_numbers(1, 1)
    station.start()
    # Waiting would outlast pytest's patience.
    assert not await station.committer.drain(600.0)


async def test_a_lost_answer_and_a_question_that_fails_halve_nothing_and_put_nothing_aside(make, fake):
    station = await make(batch_rows_max=8)
    fake.faults.append(faults.lost_answer())
    fake.questions += [33, 32]
    await station.append_numbers(1, 8)
    station.start()
    await station.drained()
    assert station.stored == list(range(1, 9))
    assert set(station.ranges) == {(1, 8)}
    assert station.dead == []


async def test_a_table_that_can_never_be_asked_does_not_stop_the_log(make, fake):
    """Rows twice in the table, which reads show once, are better than a log that fills up."""
    station = await make(batch_rows_max=8, retries_before_alert=3)
    fake.faults.append(faults.killed_after_token())
    fake.questions += [497] * 100
    await station.append_numbers(1, 16)
    station.start()
    await station.drained()
    assert set(station.stored) == set(range(1, 17))
    assert len(fake.questions) == 97


async def test_rows_of_a_cursor_that_was_lost_are_looked_for(make, fake):
    """It said what had been sent; the same rows are cut again, and have the same token."""
    station = await make()
    fake.faults.append(faults.killed_after_token())
    fake.faults += [faults.error(241)] * 5
    await station.append_numbers(1, 8)
    station.start()
    await station.until(lambda: len(fake.inserts) >= 2)
    await station.close()
    fake.faults.clear()
    (station.directory / "0" / "cursor").write_bytes(b"damaged")
    await station.open()
    station.start()
    await station.drained()
    assert sorted(station.stored) == list(range(1, 9))


async def test_metrics_tell_what_happened(make, fake):
    station = await make(batch_rows_max=2)
    fake.faults.append(faults.error(241))
    await station.append_numbers(1, 5)
    station.start()
    await station.drained()
    value = station.metrics.value
    assert value("nealytics_batches_committed_total") == 3
    assert value("nealytics_events_committed_total") == 5
    assert value("nealytics_insert_retries_total") == 1
    assert b"nealytics_storage_write_duration_seconds_count 3.0" in text(station.metrics)


async def test_consumed_segments_are_deleted(make, fake, tmp_path):
    station = await make(batch_rows_max=50)
    station.wal = msgspec.structs.replace(station.wal, segment_bytes_max=4096)
    await station.crash()
    station.start()
    for start in range(1, 300, 20):
        await station.append_numbers(start, start + 19)
    await station.drained()
    assert sorted(station.stored) == list(range(1, 301))
    assert len(list((tmp_path / "wal" / "0").glob("*.wal"))) <= 2
