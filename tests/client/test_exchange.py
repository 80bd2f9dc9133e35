"""When a request is repeated, and when no more."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from nealytics.client.exchange import (
    GaveUp,
    Lost,
    Request,
    Response,
    checked_patience,
    checked_url,
    exchange,
    retry_after_of,
)
from tests.client.steps import Clock, answer, in_turn, patience, run

REQUEST = Request("POST", "/x", {}, b"body", 10.0)


def is_temporary(status: int) -> bool:
    return status in (429, 503)


def test_an_answer_that_is_not_temporary_is_returned_at_once():
    clock = Clock()
    got = run(exchange(REQUEST, patience(clock), is_temporary), in_turn(answer(400)), clock)
    assert (got.status, clock.pauses) == (400, [])


def test_each_pause_is_twice_as_long_up_to_a_most():
    clock = Clock()
    server = in_turn(*[Lost("refused")] * 8, answer(202))
    run(exchange(REQUEST, patience(clock, 600), is_temporary), server, clock)
    assert clock.pauses == [0.25, 0.5, 1, 2, 4, 8, 10, 10]


def test_a_pause_has_jitter():
    clock = Clock()
    run(
        exchange(REQUEST, patience(clock, rand=0.5), is_temporary),
        in_turn(Lost("x"), Lost("x"), answer(202)),
        clock,
    )
    assert clock.pauses == [0.125, 0.25]


def test_what_the_server_asks_for_is_waited_and_the_jitter_on_top():
    clock = Clock()
    server = in_turn(answer(429, retry_after="7"), answer(202))
    run(exchange(REQUEST, patience(clock), is_temporary), server, clock)
    assert clock.pauses == [7.25]


def test_a_server_that_asks_for_more_than_the_patience_left_is_given_up_at_once():
    clock = Clock()
    with pytest.raises(GaveUp) as caught:
        run(
            exchange(REQUEST, patience(clock, 30), is_temporary),
            in_turn(answer(503, retry_after="60")),
            clock,
        )
    assert clock.pauses == []
    assert caught.value.retry_after_s == 60


def test_no_attempt_begins_after_the_patience_is_over():
    clock = Clock()

    def server(request: Request) -> Response | Lost:
        clock.now += 4
        return Lost("timed out")

    with pytest.raises(GaveUp) as caught:
        run(exchange(REQUEST, patience(clock, 10), is_temporary), server, clock)
    assert caught.value.outcome == Lost("timed out")
    assert clock.now <= 10 + 4


def test_what_a_server_asks_for_is_waited_up_to_the_most_of_the_patience():
    clock = Clock()
    server = in_turn(answer(503, retry_after="86400"), answer(202))
    run(exchange(REQUEST, patience(clock, 600, retry_after_max_s=300), is_temporary), server, clock)
    assert clock.pauses == [300.25]


def test_a_patience_that_waits_for_the_last_attempt_ends_by_the_time_spent_alone():
    clock = Clock()
    server = in_turn(answer(503, retry_after="60"), answer(503, retry_after="60"), answer(202))
    with pytest.raises(GaveUp) as caught:
        run(exchange(REQUEST, patience(clock, 30, waits_for_last=True), is_temporary), server, clock)
    assert clock.pauses == [60.25]
    assert (caught.value.spent_s, caught.value.retry_after_s) == (60.25, 60)


def test_what_cannot_get_better_is_not_tried_again():
    clock = Clock()
    with pytest.raises(GaveUp):
        run(
            exchange(REQUEST, patience(clock), is_temporary),
            in_turn(Lost("its certificate is not trusted", final=True)),
            clock,
        )
    assert clock.pauses == []


def test_retry_after_may_be_a_date_or_nonsense():
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < retry_after_of(Response(503, b"", in_a_minute)) <= 60
    assert retry_after_of(Response(503, b"", format_datetime(datetime(2020, 1, 1, tzinfo=UTC)))) == 0
    for nonsense in ("", "soon", "-5", "1.5", "١", None):
        assert retry_after_of(Response(503, b"", nonsense)) == 0


@pytest.mark.parametrize(
    "url",
    ["localhost:5000", "ftp://host", "https://", "", "https://host/?a=b", "https://u:p@host", "https://h/#x"],
)
def test_what_is_no_address_is_refused(url: str):
    with pytest.raises(ValueError, match="url"):
        checked_url(url)


def test_an_address_may_have_a_path_and_a_slash_at_the_end():
    assert checked_url("https://host/analytics/") == "https://host/analytics"


@pytest.mark.parametrize(
    ("timeout_s", "give_up_after_s", "said"),
    [(0, 30, "timeout_s is 0"), (float("nan"), 30, "timeout_s is nan"), (10, -1, "give_up_after_s is -1")],
)
def test_what_is_no_time_to_wait_is_refused(timeout_s: float, give_up_after_s: float, said: str):
    with pytest.raises(ValueError, match=said):
        checked_patience(timeout_s, give_up_after_s)
