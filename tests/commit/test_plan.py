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


def test_after_a_refusal_the_next_success_of_a_row_proves_nothing():
    """ClickHouse may know its token from an attempt before, or a view failed after the table had it."""
    sending = plan(3, (1, 1))
    sending.state = sending.with_batch(3, 3)
    assert sending.begin(Range(1, 1))
    assert not sending.begin(Range(3, 3))
    for row in (Range(1, 1), Range(3, 3)):
        assert sending.refused(row) == Keep(is_first=True)
        assert sending.begin(row)


def test_a_row_that_is_cut_from_a_refused_range_may_be_stored():
    sending = plan(4, (1, 3))
    split(sending, 1, 3)
    assert not sending.begin(Range(1, 2))
    assert sending.begin(Range(3, 3))


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
    decision = sending.refused(Range(1, 9), missing)
    assert decision == Split(CursorState(10, missing), missing, True)
    sending.state = decision.state
    sending.split(Range(1, 9), missing)
    assert sending.is_acknowledged(3, 5)
    assert not sending.begin(Range(6, 9))  # its token is new
    sending.accepted(Range(6, 9))
    assert sending.refused(Range(2, 2)) == MoveToDeadLetter()


def test_missing_rows_become_a_bounded_number_of_ranges_without_the_largest_gaps():
    sending = plan(100_001, (1, 100_000))
    missing = tuple(Range(n, n) for n in range(1, 100_001, 2) if not 5_000 < n < 6_000)
    decision = sending.refused(Range(1, 100_000), missing)
    assert isinstance(decision, Split)
    assert len(decision.pieces) == len(decision.state.outstanding) == 100
    assert decision.state.problem() == ""
    covered = {n for first, last in decision.pieces for n in range(first, last + 1)}
    assert covered.issuperset(first for first, _ in missing)
    assert covered.isdisjoint(range(5_000, 6_001))
    assert 100_000 not in covered


def test_rows_that_were_stored_before_prove_nothing_about_the_table():
    sending = plan(101, (1, 1), (51, 100))
    sending.refused(Range(1, 1))
    while not isinstance(sending.next(is_due=False), Pause):
        sending.refused(Range(51, 100))
    sending.acknowledged(Range(51, 100))
    assert sending.is_acknowledged(51, 100)
    assert sending.refuses_all(1)
    assert sending.refused(Range(1, 1)) == Keep(is_first=False)


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


def refuse(sending: Plan, sent: Range, missing: tuple[Range, ...] = ()) -> bool:
    """Does what the plan says after a refusal, as the loop does; whether the row went to the dead letter."""
    outcome = sending.refused(sent, missing)
    if isinstance(outcome, Split):
        sending.state = outcome.state
        sending.split(sent, outcome.pieces)
    elif isinstance(outcome, MoveToDeadLetter):
        sending.dead_lettered(sent)
        return True
    return False


@given(
    st.lists(st.sampled_from(["killed", "lost", "refused", "accepted"]), max_size=40),
    st.integers(1, ROWS_MAX),
)
def test_no_row_is_lost_or_stored_twice_whatever_happened_to_the_attempts_before(
    answers: list[str], rows: int
):
    """`killed`: ClickHouse knows the token and has half of the rows. `lost`: it has all, and its answer is
    lost. It is asked as `delivery` does: after each success and refusal of what may have been sent before."""
    sending, table, tokens, dead = plan(), list[int](), set[Range](), set[int]()
    waiting = iter(answers)
    while not isinstance(decision := sending.next(is_due=sending.state.next_lsn == 1), Wait):
        if isinstance(decision, Pause):
            continue
        if isinstance(decision, SendNew):
            sending.state = sending.with_batch(1, rows)
        sent = Range(1, rows) if isinstance(decision, SendNew) else decision.rows
        while True:
            answer = next(waiting, "accepted")
            tried = sending.begin(sent)
            lsns = list(range(sent.first, sent.last + 1))
            if answer != "refused" and sent not in tokens:
                tokens.add(sent)
                table += lsns[: len(lsns) // 2] if answer == "killed" else lsns
            if answer in ("accepted", "refused"):
                break
        missing = [lsn for lsn in lsns if lsn not in table]
        if answer == "accepted":
            table += missing if tried else []
            sending.accepted(sent)
        elif tried and not missing:
            sending.acknowledged(sent)
        else:
            is_part = tried and len(missing) < len(lsns)
            if refuse(sending, sent, tuple(Range(lsn, lsn) for lsn in missing) if is_part else ()):
                dead.add(sent.first)
    left = {lsn for first, last in sending.state.outstanding for lsn in range(first, last + 1)}
    assert sorted([*table, *dead, *left]) == list(range(1, rows + 1))


@given(st.sets(st.integers(1, 200)), st.integers(1, 200), st.integers(0, 2**32))
def test_bad_rows_are_found_and_all_others_are_accepted(bad: set[int], rows: int, seed: int):
    """The whole game with a ClickHouse that refuses a range if it holds a bad row: each good row is accepted
    once, and each bad one is in the dead letter unless no row is good."""
    bad = {lsn for lsn in bad if lsn <= rows}
    numbers = random.Random(seed)
    sending = plan()
    accepted: list[int] = []
    dead: list[int] = []
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
        if refuse(sending, sent):
            dead.append(sent.first)
    assert sorted(accepted) == [lsn for lsn in range(1, rows + 1) if lsn not in bad]
    assert len(dead) == len(set(dead))
    assert set(dead) <= bad
    left = {lsn for first, last in sending.state.outstanding for lsn in range(first, last + 1)}
    assert left | set(range(sending.state.next_lsn, rows + 1)) == bad - set(dead)
