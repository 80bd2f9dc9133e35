"""The committer's decisions, without a log, a clock or a ClickHouse."""

import random

from hypothesis import given
from hypothesis import strategies as st

from nealytics.commit.plan import Keep, MoveToDeadLetter, Pause, Plan, Send, SendNew, Split, Wait
from nealytics.wal import CursorState, Range

ROWS_MAX = 16


def plan(next_lsn: int = 1, *outstanding: tuple[int, int]) -> Plan:
    return Plan(CursorState(next_lsn, tuple(Range(*piece) for piece in outstanding)), rows_max=ROWS_MAX)


def split(plan: Plan, first: int, last: int) -> None:
    """A refusal of a range, carried out."""
    decision = plan.refused(Range(first, last))
    assert isinstance(decision, Split)
    plan.state = decision.state
    plan.split(Range(first, last), decision.pieces)


def test_without_rows_it_waits_for_ever():
    assert plan().next(is_due=False) == Wait(None, 0)


def test_a_stored_intent_comes_before_a_new_batch():
    assert plan(9, (1, 4), (5, 8)).next(is_due=True) == Send(Range(1, 4))
    assert plan(9).next(is_due=True) == SendNew()


def test_a_new_batch_becomes_an_intent_behind_the_others():
    assert plan(9, (1, 4)).with_batch(9, 12) == CursorState(13, (Range(1, 4), Range(9, 12)))


def test_only_the_first_attempt_of_a_new_range_is_no_repetition():
    fresh = plan(9, (1, 4))
    assert fresh.begin(Range(1, 4))  # the process before may have sent it
    fresh.state = fresh.with_batch(9, 12)
    assert not fresh.begin(Range(9, 12))
    assert fresh.begin(Range(9, 12))


def test_an_attempt_that_was_refused_has_stored_nothing():
    sending = plan(3, (1, 1))
    sending.state = sending.with_batch(3, 3)
    assert not sending.begin(Range(3, 3))
    sending.refused(Range(3, 3))
    assert not sending.begin(Range(3, 3))
    assert sending.begin(Range(1, 1))  # the process before may have sent it
    sending.refused(Range(1, 1))
    assert sending.begin(Range(1, 1))
    sending.refused(Range(1, 1), is_verified=True)
    assert not sending.begin(Range(1, 1))


def test_a_refused_range_is_replaced_by_its_halves_and_never_sent_whole_again():
    sending = plan(10, (1, 4), (5, 9))
    assert sending.refused(Range(5, 9)) == Split(
        CursorState(10, (Range(1, 4), Range(5, 7), Range(8, 9))), (Range(5, 7), Range(8, 9)), True
    )
    split(sending, 5, 9)
    assert sending.refused(Range(5, 7)).is_first is False  # type: ignore[union-attr]
    assert not sending.begin(Range(5, 7))


def test_of_a_refused_range_that_is_stored_in_part_only_the_missing_rows_are_sent_again():
    sending = plan(10, (1, 9))
    missing = (Range(2, 2), Range(6, 9))
    decision = sending.refused(Range(1, 9), is_verified=True, missing=missing)
    assert decision == Split(CursorState(10, missing), missing, True)
    sending.state = decision.state  # type: ignore[union-attr]
    sending.split(Range(1, 9), missing)
    assert sending.is_acknowledged(3, 5)
    assert not sending.begin(Range(6, 9))  # its token is new
    sending.accepted(Range(6, 9))
    assert sending.refused(Range(2, 2)) == MoveToDeadLetter()


def test_a_row_refused_alone_is_kept_until_another_row_is_accepted():
    sending = plan(3, (1, 1), (2, 2))
    assert sending.refused(Range(1, 1)) == Keep(is_first=True)
    assert sending.next(is_due=False) == Send(Range(2, 2))
    sending.accepted(Range(2, 2))
    assert sending.next(is_due=True) == Send(Range(1, 1))  # before anything new
    assert sending.refused(Range(1, 1)) == MoveToDeadLetter()
    sending.dead_lettered(Range(1, 1))
    assert sending.state == CursorState(3)
    assert sending.is_acknowledged(1, 2)
    assert sending.was_dead_lettered(1, 1)
    assert not sending.was_dead_lettered(2, 2)


def test_the_refusal_of_the_range_around_it_is_the_first_refusal_of_a_row():
    sending = plan(3, (1, 2))
    split(sending, 1, 2)
    sending.accepted(Range(1, 1))
    assert sending.refused(Range(2, 2)) == MoveToDeadLetter()


def test_without_an_acceptance_no_row_goes_to_the_dead_letter():
    sending = plan(2, (1, 1))
    for attempt in range(50):
        assert sending.refused(Range(1, 1)) == Keep(is_first=attempt == 0)


def test_a_suspect_that_is_alone_is_retried_at_the_pace_of_the_backoff():
    sending = plan(2, (1, 1))
    sending.refused(Range(1, 1))
    assert sending.next(is_due=False) == Wait(Range(1, 1), 1)
    assert sending.next(is_due=False) == Wait(Range(1, 1), 2)
    assert not sending.refuses_all(3)
    assert sending.refuses_all(2)
    assert sending.next(is_due=True) == SendNew()  # a new event is not held up by it


def test_a_table_that_refuses_everything_gets_each_kind_of_work_after_pauses():
    sending = plan(41, (1, 8), (9, 40))
    sending.refused(Range(1, 1))
    while not isinstance(decision := sending.next(is_due=True), Pause):
        assert isinstance(decision, Send)
        sending.refused(Range(1, 8))  # counted; its halves are not stored, which does not matter here
    assert decision == Pause(1)
    found = [sending.next(is_due=True)]
    for number in range(2, 5):
        assert sending.next(is_due=True) == Pause(number)
        found.append(sending.next(is_due=True))
    assert found == [SendNew(), Send(Range(1, 8)), Send(Range(9, 40)), Send(Range(1, 1))]
    sending.accepted(Range(9, 40))
    assert sending.next(is_due=True) == Send(Range(1, 1))


def test_after_a_pause_with_nothing_left_to_send_it_pauses_again():
    sending = plan(1)
    sending.state = sending.with_batch(1, 64)
    while not isinstance(sending.next(is_due=False), Pause):
        sending.refused(Range(1, 64))
    sending.state = CursorState(65)
    assert sending.next(is_due=False) == Pause(2)


def test_a_stop_need_not_wait_for_suspects_that_only_later_events_can_decide_about():
    sending = plan(3, (1, 1), (2, 2))
    sending.refused(Range(1, 1))
    assert not sending.has_only_suspects_up_to(2)  # row 2 was not tried yet
    sending.accepted(Range(2, 2))
    assert not sending.has_only_suspects_up_to(2)  # row 1 is due for its retry
    sending.refused(Range(1, 1))
    assert not sending.has_only_suspects_up_to(3)  # row 3 is in no batch yet


@given(st.sets(st.integers(1, 200)), st.integers(1, 200), st.integers(0, 2**32))
def test_bad_rows_are_found_and_all_others_are_accepted(bad: set[int], rows: int, seed: int):
    """The whole game with a ClickHouse that refuses a range if it holds a bad row: each good row is accepted
    once, and each bad one is in the dead letter unless no row is good."""
    bad = {lsn for lsn in bad if lsn <= rows}
    numbers = random.Random(seed)
    sending, accepted, dead = plan(), [], []
    while True:
        decision = sending.next(is_due=sending.state.next_lsn <= rows)
        if isinstance(decision, Wait):
            break
        if isinstance(decision, Pause):
            if decision.number > 2_000:
                break
            continue
        if isinstance(decision, SendNew):
            first = sending.state.next_lsn
            sent = Range(first, min(rows, first + numbers.randint(0, ROWS_MAX - 1)))
            sending.state = sending.with_batch(*sent)
        else:
            sent = decision.rows
        sending.begin(sent)
        if not bad.intersection(range(sent.first, sent.last + 1)):
            sending.accepted(sent)
            accepted += range(sent.first, sent.last + 1)
            continue
        outcome = sending.refused(sent)
        if isinstance(outcome, Split):
            sending.state = outcome.state
            sending.split(sent, outcome.pieces)
        elif isinstance(outcome, MoveToDeadLetter):
            sending.dead_lettered(sent)
            dead.append(sent.first)
    assert sorted(accepted) == [lsn for lsn in range(1, rows + 1) if lsn not in bad]
    assert len(dead) == len(set(dead))
    assert set(dead) <= bad
    left = {lsn for first, last in sending.state.outstanding for lsn in range(first, last + 1)}
    assert left | set(range(sending.state.next_lsn, rows + 1)) == bad - set(dead)
