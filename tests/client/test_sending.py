"""Events in requests, and what comes back, against the batch route as the document has it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from nealytics.client import Event, RejectedError, SendError, Sent
from nealytics.client.events import new_event_id
from nealytics.client.exchange import Lost, Request, Response
from nealytics.client.sending import BYTES_MAX, GZIP, Gathered, Sending, encode
from tests.client.steps import Clock, Node, Server, answer, event, patience, run, sent_in


def send(
    events: Sequence[Event],
    server: Server,
    *,
    clock: Clock | None = None,
    compress: bool = True,
    wait: bool = False,
) -> Sent:
    clock = clock or Clock()
    sending = Sending("http://node", "a-key", patience(clock), codec=GZIP if compress else None)
    return run(sending.steps([encode(one) for one in events], wait=wait), server, clock)


def test_nothing_is_sent_for_no_events():
    node = Node()
    assert send([], node) == Sent(0, None)
    assert node.requests == []


def test_a_repetition_has_the_same_bytes():
    bodies: list[bytes] = []

    def server(request: Request) -> Response | Lost:
        bodies.append(request.body)
        return Lost("timed out") if len(bodies) < 3 else Node()(request)

    assert send([event(metadata={"a": 1})], server).accepted == 1
    assert len(bodies) == 3
    assert len(set(bodies)) == 1
    assert {"eventId", "timestamp"} <= set(json.loads(bodies[0])[0])


def test_many_events_are_split_at_a_thousand_and_at_the_bytes_in_order():
    node = Node()
    events = [event(item_id=str(n)) for n in range(2_500)]
    assert send(events, node).accepted == 2_500
    assert [len(request) for request in node.requests] == [1_000, 1_000, 500]
    assert [one["itemId"] for request in node.requests for one in request] == [str(n) for n in range(2_500)]
    large = [event(metadata={"text": "x" * 100_000}) for _ in range(12)]
    node = Node()
    send(large, node)
    assert [len(request) for request in node.requests] == [5, 5, 2]
    assert all(len(json.dumps(request)) <= BYTES_MAX for request in node.requests)


def test_a_server_that_takes_less_gets_halves():
    node = Node(bytes_max=2_000)
    events = [event(item_id=str(n)) for n in range(50)]
    assert send(events, node).accepted == 50
    assert len(node.stored) == 50


def test_an_event_that_is_too_large_for_the_server_is_rejected_and_the_others_are_accepted():
    node = Node(bytes_max=2_000)
    events = [event(item_id=str(n)) for n in range(10)]
    events[4] = event(metadata={"text": "x" * 5_000})
    with pytest.raises(RejectedError) as caught:
        send(events, node)
    (rejection,) = caught.value.rejections
    assert (rejection.index, rejection.event, rejection.message) == (4, events[4], "the body is too large")
    assert caught.value.accepted == len(node.stored) == 9


def test_each_refused_event_is_named_with_its_place_field_and_reason():
    events = [event("bad" if n in (3, 1_200) else "view") for n in range(1_500)]
    node = Node()
    with pytest.raises(RejectedError) as caught:
        send(events, node)
    named = [(r.index, r.event, r.field, r.message) for r in caught.value.rejections]
    assert named == [(n, events[n], "eventType", "eventType is bad") for n in (3, 1_200)]
    assert caught.value.accepted == len(node.stored) == 1_498
    assert str(caught.value) == ("2 of 1500 events were rejected: event 3: eventType is bad (and 1 more)")


@pytest.mark.parametrize("bad", [1_000, 250, 101])
def test_more_refused_events_than_the_server_names_are_all_named(bad: int):
    events = [event("bad" if n < bad else "view") for n in range(1_000)]
    node = Node()
    with pytest.raises(RejectedError) as caught:
        send(events, node)
    assert [r.index for r in caught.value.rejections] == list(range(bad))
    assert caught.value.accepted == len(node.stored) == 1_000 - bad


def test_what_is_not_confirmed_is_in_the_error_and_what_is_confirmed_is_not():
    events = [event("bad" if n == 5 else "view", item_id=str(n)) for n in range(2_500)]
    node = Node()

    def server(request: Request) -> Response | Lost:
        return node(request) if sent_in(request)[0]["itemId"] == "0" else Lost("connection refused")

    with pytest.raises(SendError) as caught:
        send(events, server)
    error = caught.value
    assert error.events == events[1_000:]
    assert [rejection.index for rejection in error.rejections] == [5]
    assert (error.status, error.code) == (0, "")
    assert str(error) == "http://node: connection refused; 1500 events are not confirmed"


@pytest.mark.parametrize(
    ("status", "code"), [(401, "unauthorized"), (404, "not_found"), (405, "method_not_allowed")]
)
def test_what_is_about_the_request_is_not_tried_again(status: int, code: str):
    clock = Clock()
    events = [event()]
    with pytest.raises(SendError) as caught:
        send(events, lambda request: answer(status, code=code, message="no"), clock=clock)
    assert (caught.value.status, caught.value.code, caught.value.events) == (status, code, events)
    assert clock.pauses == []


def test_a_redirect_is_not_followed_and_names_where_it_leads():
    moved = Response(301, b"", None, "https://other/api")
    with pytest.raises(SendError, match=r"answered 301 and names https://other/api; use that"):
        send([event()], lambda request: moved)


@pytest.mark.parametrize(
    "foreign",
    [
        Response(200, b"<html>Welcome to the hotel</html>"),
        Response(202, b""),
        answer(202, accepted=2, rejected=0),
        answer(202, accepted=0, rejected=1, errors=[{"index": 7}]),
        answer(202, accepted=-1, rejected=2),
        answer(204),
    ],
)
def test_an_answer_that_is_not_about_the_events_confirms_none(foreign: Response):
    events = [event()]
    with pytest.raises(SendError, match="not like a Nealytics node") as caught:
        send(events, lambda request: foreign)
    assert caught.value.events == events


def test_a_refusal_that_names_no_event_is_that_of_the_only_one():
    unnamed = answer(400, code="invalid_event", message="why", accepted=0, rejected=1, errors=[])
    with pytest.raises(RejectedError) as caught:
        send([event()], lambda request: unnamed)
    assert [(r.index, r.message) for r in caught.value.rejections] == [(0, "why")]


def test_small_bodies_are_sent_as_they_are_and_larger_ones_compressed():
    seen: list[str | None] = []

    def server(request: Request) -> Response:
        seen.append(request.headers.get("Content-Encoding"))
        return Node()(request)

    send([event()], server)
    send([event() for _ in range(100)], server)
    send([event() for _ in range(100)], server, compress=False)
    assert seen == [None, "gzip", None]


def test_a_server_that_does_not_decompress_gets_them_as_they_are_from_then_on():
    node = Node(decompresses=False)
    sending = Sending("http://node", "a-key", patience(Clock()))
    for _ in range(2):
        events = [event() for _ in range(100)]
        assert run(sending.steps([encode(one) for one in events], wait=False), node).accepted == 100
    assert len(node.requests) == 2


def test_two_threads_that_both_get_a_415_both_send_again_without_compression():
    sending = Sending("http://node", "a-key", patience(Clock()))
    refused = answer(415, code="unsupported_encoding", message="no encoding is taken")
    large = [encode(event(metadata={"text": "x" * 5_000}))]
    threads = [sending.steps(large, wait=False) for _ in range(2)]
    requests = [next(steps) for steps in threads]
    assert all(isinstance(request, Request) and "Content-Encoding" in request.headers for request in requests)
    for steps in threads:
        again = steps.send(refused)
        assert isinstance(again, Request)
        assert "Content-Encoding" not in again.headers


def test_a_415_about_a_body_that_was_not_compressed_is_an_error():
    with pytest.raises(SendError) as caught:
        send([event()], lambda request: answer(415, code="unsupported_media_type", message="no"))
    assert caught.value.status == 415


def test_waiting_asks_for_it_and_tells_whether_the_events_can_be_read():
    asked: list[tuple[str, float]] = []
    committed = [True, False]

    def server(request: Request) -> Response:
        asked.append((request.path, request.timeout_s))
        count = len(sent_in(request))
        return answer(202, accepted=count, rejected=0, committed=committed[len(asked) - 1])

    assert send([event() for _ in range(1_500)], server, wait=True) == Sent(1_500, False)
    assert asked == [("/api/v1/telemetry/batch?wait=true", 70.0)] * 2


def test_a_batch_sends_what_has_gathered_and_counts_places_from_its_beginning():
    node = Node()
    sending = Sending("http://node", "a-key", patience(Clock()))
    gathered = Gathered()
    for n in range(2_100):
        if gathered.add(event("bad" if n in (7, 1_007, 2_007) else "view")):
            run(gathered.flush(sending), node)
    run(gathered.flush(sending), node)
    run(gathered.flush(sending), node)
    assert [len(request) for request in node.requests] == [1_000, 1_000, 100]
    with pytest.raises(RejectedError) as caught:
        gathered.finish()
    assert [r.index for r in caught.value.rejections] == [7, 1_007, 2_007]
    assert caught.value.accepted == 2_097


def test_a_batch_that_cannot_be_sent_gives_back_what_had_gathered():
    sending = Sending("http://node", "a-key", patience(Clock()))
    gathered = Gathered()
    events = [event("bad"), event()]
    for one in events:
        gathered.add(one)
    run(gathered.flush(sending), Node())
    later = event()
    gathered.add(later)
    with pytest.raises(SendError) as caught:
        run(gathered.flush(sending), lambda request: answer(401, code="unauthorized", message="no"))
    assert caught.value.events == [later]
    assert [r.index for r in caught.value.rejections] == [0]


def test_refused_events_of_a_batch_that_fails_for_another_reason_are_noted():
    gathered = Gathered()
    gathered.add(event("bad"))
    run(gathered.flush(Sending("http://node", "a-key", patience(Clock()))), Node())
    other = ZeroDivisionError()
    gathered.finish(other)
    assert other.__notes__ == ["nealytics: 1 of 1 events were rejected: event 0: eventType is bad"]


def test_an_event_has_its_own_id_and_time_which_survive_a_queue():
    one, two = event(metadata={"plan": "pro"}), event()
    assert one.event_id != two.event_id
    assert one.event_id.version == 7
    assert one.timestamp.tzinfo is UTC
    assert one.event_id.int >> 80 == pytest.approx(one.timestamp.timestamp() * 1_000, abs=1_000)
    again = Event.from_json(one.to_json())
    assert encode(again).body == encode(one).body


def test_ids_are_different_and_of_one_form():
    ids = [new_event_id() for _ in range(10_000)]
    assert len(set(ids)) == 10_000
    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="has no time zone"):
        event(timestamp=datetime(2026, 6, 15, 10, 30))


@pytest.mark.parametrize("value", [object(), "\ud800"])
def test_metadata_that_has_no_json_is_an_error_before_anything_is_sent(value: Any):
    node = Node()
    with pytest.raises((TypeError, ValueError)):
        send([event(), event(metadata={"x": value})], node)
    assert node.requests == []
