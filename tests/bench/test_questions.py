"""That `bench read` leaves no endpoint out without saying why."""

from nealytics.bench.events import END, START
from nealytics.bench.questions import LEFT_OUT, QUESTIONS, questions, ranks_asked
from nealytics.queries import ENDPOINTS, STREAMS


def test_every_endpoint_has_a_question_and_every_stream_a_reason_not_to():
    assert {name for name, _ in QUESTIONS} == {endpoint.name for endpoint in ENDPOINTS}
    assert LEFT_OUT.keys() == {stream.name for stream in STREAMS}


def test_a_range_ends_where_the_events_end_and_begins_within_them():
    ranges = {
        question.range: question.url for question in questions(ENDPOINTS, [1, 20], {}) if question.range
    }
    assert set(ranges) == {"24h", "7d", "30d"}
    assert START.isoformat() < "2026-06-01T00:00:00" < END.isoformat()
    assert "from=2026-06-01T00%3A00%3A00Z&to=2026-07-01T00%3A00%3A00Z" in ranges["30d"]


def test_a_large_a_median_and_a_small_tenant_are_asked_for():
    assert ranks_asked(1_000) == (1, 500, 1_000)
    assert ranks_asked(2) == (1, 2)
    assert ranks_asked(1) == (1,)
