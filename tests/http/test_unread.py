import contextlib

import pytest

from nealytics.errors import Refused
from nealytics.http.unread import Unread

A, B, C = ("shop", "acme"), ("shop", "globex"), ("shop", None)


def refusal(unread: Unread, key: object, size: int) -> Refused:
    with unread.charge(key) as charge, pytest.raises(Refused) as refused:
        charge.add(size)
    return refused.value


def test_what_is_charged_is_given_back_at_the_end():
    unread = Unread(100)
    with unread.charge(A) as charge:
        charge.add(60)
        charge.give_back(20)
        assert (unread.bytes, charge.bytes) == (40, 40)
    assert unread.bytes == 0


def test_what_is_charged_is_given_back_after_a_failure():
    unread = Unread(100)
    with contextlib.suppress(ZeroDivisionError), unread.charge(A) as charge:
        charge.add(60)
        raise ZeroDivisionError
    assert unread.bytes == 0


def test_beyond_the_budget_an_answer_is_refused_with_503_and_a_time_to_come_back():
    unread = Unread(100)
    with unread.charge(A) as charge:
        charge.add(60)
        refused = refusal(unread, B, 41)
        assert (refused.status, refused.code) == (503, "answers_busy")
        assert int(refused.headers["Retry-After"]) >= 1
        assert "60 of 100 bytes" in refused.message
        assert unread.bytes == 60
        with unread.charge(B) as other:
            other.add(40)


def test_an_answer_larger_than_the_whole_budget_will_never_have_room():
    refused = refusal(Unread(100), A, 101)
    assert (refused.status, refused.code) == (422, "result_too_large")


def test_one_scope_leaves_half_of_the_budget_to_others():
    unread = Unread(100)
    with unread.charge(A) as first, unread.charge(A) as second:
        first.add(45)
        second.add(5)
        assert refusal(unread, A, 1).status == 503
        assert not second.try_add(1)
        with unread.charge(B) as other:
            other.add(50)


def test_the_only_answer_of_a_scope_may_take_all():
    unread = Unread(100)
    with unread.charge(A) as charge:
        for _ in range(10):
            charge.add(10)
        assert unread.bytes == 100
    with unread.charge(C) as charge:
        assert charge.try_add(100)
