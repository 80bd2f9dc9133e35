"""Which of the events in a body are taken, and what is said about the others."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nealytics.auth.api_keys import KeyGrant
from nealytics.event import InvalidEvent, Limits
from nealytics.ingest.parser import (
    ERRORS_SHOWN_MAX,
    Parsed,
    parse_array,
    parse_batch,
    parse_event,
    parse_lines,
    parse_one_or_array,
)
from tests.fakes.worker import event

NOW = 1_900_000_000_000
LIMITS = Limits(256, 2048, age_ms_max=0, future_ms_max=86_400_000)
ANY = KeyGrant(0, "", "", "server")
SHOP = KeyGrant(1, "shop", "", "browser")


def lines(*bodies: object) -> bytes:
    return b"\n".join(body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies)


def sessions(parsed: Parsed) -> list[str]:
    return [event.session_id for event in parsed.events]


def test_good_array_is_taken_whole_and_in_order():
    body = json.dumps([event(sessionId=str(i)) for i in range(500)]).encode()
    parsed = parse_array(body, NOW, LIMITS, ANY)
    assert sessions(parsed) == [str(i) for i in range(500)]
    assert not parsed.errors
    assert not parsed.refused


@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        ({}, "invalid_event", "projectId"),
        (None, "invalid_event", None),
        (7, "invalid_event", None),
        ([event()], "invalid_event", None),
        (event(sessionId=5), "invalid_event", "sessionId"),
        (event(eventId="x"), "invalid_event", "eventId"),
        (event(timestamp=-5), "outside_time_window", "timestamp"),
        (event(metadata=[1]), "invalid_event", "metadata"),
    ],
)
def test_bad_event_does_not_spoil_its_neighbours(bad, reason, field):
    for body in (json.dumps([event(sessionId="a"), bad, event(sessionId="b")]).encode(),):
        parsed = parse_array(body, NOW, LIMITS, ANY)
        assert sessions(parsed) == ["a", "b"]
        assert parsed.refused == {reason: 1}
        assert (parsed.errors[0].index, parsed.errors[0].field) == (1, field)
    parsed = parse_lines(lines(event(sessionId="a"), bad, event(sessionId="b")), NOW, LIMITS, ANY)
    assert sessions(parsed) == ["a", "b"]
    assert (parsed.errors[0].index, parsed.errors[0].field) == (1, field)


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[{},", b'[{"a":1]', b"[1] x", b"[\xff]", b"{}", b"[" * 100_000, b"\xef\xbb\xbf[]"]
)
def test_malformed_array_is_refused_as_a_whole(body):
    with pytest.raises(InvalidEvent):
        parse_array(body, NOW, LIMITS, ANY)


def test_all_refusals_are_counted_and_the_first_are_shown():
    parsed = parse_array(json.dumps([{}] * 300 + [event()]).encode(), NOW, LIMITS, ANY)
    assert parsed.refused.total() == 300
    assert [refusal.index for refusal in parsed.errors] == list(range(ERRORS_SHOWN_MAX))
    assert len(parsed.events) == 1


def test_lines_may_be_blank_end_in_crlf_or_not_end():
    body = lines(event(sessionId="a")) + b"\r\n\r\n \n\n" + lines(event(sessionId="b"))
    assert sessions(parse_lines(body, NOW, LIMITS, ANY)) == ["a", "b"]


def test_bad_line_is_one_error_whatever_is_wrong_with_it():
    body = lines(event(), b"{oops", b"\xff", event(), b"[" * 50_000, lines(event()) * 2)
    parsed = parse_lines(body, NOW, LIMITS, ANY)
    assert len(parsed.events) == 2
    assert parsed.refused == {"invalid_json": 3, "invalid_event": 1}
    assert [refusal.index for refusal in parsed.errors] == [1, 2, 4, 5]


def test_batch_tells_array_one_event_and_lines_apart():
    one = json.dumps(event(), indent=2).encode()
    for body, count in (
        (json.dumps([event(), event()]).encode(), 2),
        (b" \n [" + lines(event()) + b"]", 1),
        (lines(event()), 1),
        (one, 1),
        (lines(event(), event(), event()), 3),
    ):
        assert len(parse_batch(body, NOW, LIMITS, ANY, lines=False).events) == count


def test_batch_that_says_lines_is_read_as_lines_even_if_the_first_looks_like_an_array():
    parsed = parse_batch(lines(b"[oops", event()), NOW, LIMITS, ANY, lines=True)
    assert (len(parsed.events), parsed.refused.total()) == (1, 1)


def test_one_bad_event_over_several_lines_is_one_error():
    parsed = parse_batch(json.dumps(event(eventType=""), indent=2).encode(), NOW, LIMITS, ANY, lines=False)
    assert [(refusal.index, refusal.field) for refusal in parsed.errors] == [(0, "eventType")]


def test_one_object_is_an_array_of_one():
    assert len(parse_one_or_array(lines(event()), NOW, LIMITS, ANY).events) == 1
    assert parse_one_or_array(lines({}), NOW, LIMITS, ANY).refused == {"invalid_event": 1}
    with pytest.raises(InvalidEvent):
        parse_one_or_array(b"{oops", NOW, LIMITS, ANY)


def test_bound_key_writes_its_own_project_only():
    parsed = parse_array(json.dumps([event(), event(projectId="other")]).encode(), NOW, LIMITS, SHOP)
    assert len(parsed.events) == 1
    assert parsed.refused == {"forbidden": 1}
    assert parsed.errors[0].field == "projectId"
    with pytest.raises(InvalidEvent) as caught:
        parse_event(lines(event(projectId="other")), NOW, LIMITS, SHOP)
    assert caught.value.reason == "forbidden"
    with pytest.raises(InvalidEvent) as caught:
        parse_event(lines(event()), NOW, LIMITS, KeyGrant(2, "shop", "t2", "server"))
    assert (caught.value.reason, caught.value.field) == ("forbidden", "tenantId")


def test_body_of_a_million_crumbs_is_refused_without_looking_at_each():
    """A key that is public (a browser's) must not be able to hold up the worker."""
    for crumb in (b"1", b"{}", b'""'):
        with pytest.raises(InvalidEvent, match="too small to be events"):
            parse_array(b"[" + b",".join([crumb] * 250_000) + b"]", NOW, LIMITS, ANY)
        with pytest.raises(InvalidEvent, match="too small to be events"):
            parse_lines(b"\n".join([crumb] * 250_000), NOW, LIMITS, ANY)


ELEMENTS = st.lists(
    st.just(event()) | st.sampled_from([{}, None, 1, event(userId=4), event(projectId="")]),
    min_size=1,
    max_size=9,
)


@given(ELEMENTS)
def test_array_and_lines_agree_on_every_mixture(elements):
    array = parse_array(json.dumps(elements).encode(), NOW, LIMITS, ANY)
    line = parse_lines(lines(*elements), NOW, LIMITS, ANY)
    assert len(array.events) == len(line.events) == elements.count(event())
    assert array.refused == line.refused
    assert [(r.index, r.field, r.error) for r in array.errors] == [
        (r.index, r.field, r.error) for r in line.errors
    ]
