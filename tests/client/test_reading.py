"""How questions are written, and what becomes of answers and exports."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from nealytics.client import IncompleteExport, ReadError
from nealytics.client.exchange import Lost, Request, Response
from nealytics.client.reading import ExportLines, Reading, path_of, query_of
from nealytics.queries import ENDPOINTS, STREAMS
from nealytics.queries.export_end import record
from tests.client.steps import Clock, answer, in_turn, patience, run


def reading(clock: Clock | None = None) -> Reading:
    return Reading("http://node", patience(clock or Clock()))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_every_route_is_found_by_the_last_word_of_its_path(endpoint: Any):
    assert path_of(endpoint.name) == endpoint.path


@pytest.mark.parametrize("name", [*(stream.name for stream in STREAMS), "../ready", "", "top?limit=1"])
def test_what_is_no_single_answer_is_no_endpoint(name: str):
    with pytest.raises(ValueError, match="endpoint is"):
        path_of(name)


def test_parameters_have_python_names_and_values():
    asked = query_of(
        {
            "from_": date(2026, 6, 1),
            "to": datetime(2026, 6, 7, 12, tzinfo=UTC),
            "group_by": "event_type",
            "fill": True,
            "limit": 5,
            "filter": ["meta:plan:eq:pro & more", "user_id:exists:"],
            "tz": None,
            "eventType": "view",
        }
    )
    assert asked == (
        "?from=2026-06-01&to=2026-06-07T12%3A00%3A00%2B00%3A00&groupBy=event_type&fill=true&limit=5"
        "&filter=meta%3Aplan%3Aeq%3Apro%20%26%20more&filter=user_id%3Aexists%3A&eventType=view"
    )


def test_a_time_without_a_zone_is_refused_in_a_question_too():
    with pytest.raises(ValueError, match="from_ is 2026-06-01T00:00:00 and has no time zone"):
        query_of({"from_": datetime(2026, 6, 1)})


def test_a_refused_token_is_asked_for_once_more():
    seen: list[str] = []

    def server(request: Request) -> Response:
        seen.append(request.headers["Authorization"])
        return answer(200, events=3) if seen[-1] == "Bearer new" else answer(401, code="unauthorized")

    assert run(reading().get("summary", {}), server, tokens=("old", "new")) == {"events": 3}
    assert seen == ["Bearer old", "Bearer new"]
    with pytest.raises(ReadError) as caught:
        run(reading().get("summary", {}), server, tokens=("old", "older"))
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")


def test_an_error_says_what_the_server_said():
    said = answer(
        400, code="invalid_parameter", message="interval is 'x'", detail="Write one of …", field="interval",
        requestId="r-1",
    )  # fmt: skip
    with pytest.raises(ReadError) as caught:
        run(reading().get("timeseries", {"interval": "x"}), in_turn(said), tokens=("t",))
    error = caught.value
    assert (error.status, error.code, error.field) == (400, "invalid_parameter", "interval")
    assert error.request_id == "r-1"
    assert str(error) == "http://node answered 400: interval is 'x'. Write one of …"


def test_a_busy_node_is_asked_again_and_a_damaged_one_is_not():
    clock = Clock()
    server = in_turn(answer(503, code="queries_busy", retry_after="1"), Lost("reset"), answer(200, events=1))
    assert run(reading(clock).get("summary", {}), server, clock, tokens=("t",)) == {"events": 1}
    assert clock.pauses == [1.25, 0.5]
    with pytest.raises(ReadError) as caught:
        run(reading().get("summary", {}), in_turn(answer(500, code="data_damaged")), tokens=("t",))
    assert caught.value.code == "data_damaged"


def test_a_page_of_something_else_is_no_answer():
    with pytest.raises(ReadError, match="does not answer like a Nealytics node"):
        run(reading().get("summary", {}), in_turn(Response(200, b"<html>")), tokens=("t",))


def test_many_questions_are_one_request_with_the_api_s_names():
    asked: list[Any] = []

    def server(request: Request) -> Response:
        asked.append((request.method, request.path, json.loads(request.body)))
        return answer(200, results={"chart": {"points": []}})

    queries = {"chart": {"endpoint": "timeseries", "group_by": "event_type", "tz": None}}
    found = run(reading().query(queries, {"from_": date(2026, 6, 1)}), server, tokens=("t",))
    assert found == {"chart": {"points": []}}
    body = {
        "from": "2026-06-01",
        "queries": {"chart": {"endpoint": "timeseries", "groupBy": "event_type"}},
    }
    assert asked == [("POST", "/api/v1/analytics/query", body)]


LINE = (
    b'{"eventId":"0190163d-8694-739b-aea5-966c26f8ad91","projectId":"p","tenantId":"t","sessionId":"s",'
    b'"eventType":"view","metadataJson":"{\\"plan\\":\\"pro\\"}","timestamp":"2026-06-15T10:30:00.123Z"}\n'
)


def events_of(*pieces: bytes) -> list[Any]:
    lines = ExportLines()
    found = [event for piece in pieces for event in lines.feed(piece)]
    lines.finish()
    return found


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_an_export_is_read_in_pieces_of_any_size(size: int):
    whole = LINE * 5 + record("ndjson", 5, 9)
    events = events_of(*(whole[at : at + size] for at in range(0, len(whole), size)))
    assert len(events) == 5
    assert events[0].metadata == {"plan": "pro"}
    assert events[0].user_id is None
    assert events[0].timestamp == datetime(2026, 6, 15, 10, 30, 0, 123_000, tzinfo=UTC)


def test_an_export_without_events_is_complete_if_it_says_so():
    assert events_of(record("ndjson", 0, 9)) == []


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (b"", "ends after 0 events without an end record"),
        (LINE * 2, "ends after 2 events without an end record"),
        (LINE * 2 + LINE[:50], "ends after 2 events without an end record"),
        (LINE * 2 + record("ndjson", 2, 9)[:-1], "ends after 2 events without an end record"),
        (LINE * 2 + record("ndjson", 3, 9), "it has 2 events, but its end record says 3"),
        (LINE + record("ndjson", 1, 9) + LINE, "data follows its end record"),
        (LINE + b"<html>\n", "line 2 is not an event"),
    ],
)
def test_an_export_that_is_not_whole_is_an_error(cut: bytes, said: str):
    with pytest.raises(IncompleteExport, match=said):
        events_of(cut)
