"""Which of the events in a body are taken, and what is said about the others."""

import json
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nealytics.auth.grant import Grant
from nealytics.clickhouse.rowbinary import ROW_FORMAT, decode_row
from nealytics.config import QuotaRule
from nealytics.event import InvalidEvent, Limits
from nealytics.ingest import parser, plain
from nealytics.ingest.parser import (
    ERRORS_SHOWN_MAX,
    Parsed,
    Steps,
    parse_array,
    parse_batch,
    parse_event,
    parse_lines,
    parse_one_or_array,
    starts_array,
)
from nealytics.quotas import Quotas
from tests.fakes.worker import event

NOW = 1_900_000_000_000
LIMITS = Limits(256, 2048, age_ms_max=0, future_ms_max=86_400_000)
ANY = Grant(0, "", "", "server")
SHOP = Grant(1, "shop", "", "browser")


@pytest.fixture(params=["compiled", "python"], autouse=True, scope="module")
def reader(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test with the compiled reader and without it."""
    if request.param == "python":
        with plain.python_only():
            yield
    elif plain.plain_reader(NOW, LIMITS, ANY) is None:
        pytest.skip("the compiled reader is not built: no C compiler")
    else:
        yield


class Outcome(Parsed):
    """What was counted, and the events."""

    __slots__ = ("events",)

    def __init__(self) -> None:
        super().__init__()
        self.events: list[SimpleNamespace] = []


def run(parse: Callable[..., Steps], body: bytes, limits: Limits, grant: Grant, **options: bool) -> Outcome:
    outcome = Outcome()
    for rows in parse(body, outcome, NOW, limits, grant, **options):
        outcome.events += (SimpleNamespace(**decode_row(row, ROW_FORMAT)) for row in rows)
    assert outcome.accepted == len(outcome.events)
    assert outcome.elements == outcome.accepted + outcome.refused.total()
    return outcome


def lines(*bodies: object) -> bytes:
    return b"\n".join(body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies)


def sessions(parsed: Outcome) -> list[str]:
    return [event.session_id for event in parsed.events]


def test_good_array_is_taken_whole_and_in_order():
    body = json.dumps([event(sessionId=str(i)) for i in range(500)]).encode()
    parsed = run(parse_array, body, LIMITS, ANY)
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
        parsed = run(parse_array, body, LIMITS, ANY)
        assert sessions(parsed) == ["a", "b"]
        assert parsed.refused == {reason: 1}
        assert (parsed.errors[0].index, parsed.errors[0].field) == (1, field)
    parsed = run(parse_lines, lines(event(sessionId="a"), bad, event(sessionId="b")), LIMITS, ANY)
    assert sessions(parsed) == ["a", "b"]
    assert (parsed.errors[0].index, parsed.errors[0].field) == (1, field)


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[{},", b'[{"a":1]', b"[1] x", b"[\xff]", b"{}", b"[" * 100_000, b"\xef\xbb\xbf[]"]
)
def test_malformed_array_is_refused_as_a_whole(body):
    with pytest.raises(InvalidEvent):
        run(parse_array, body, LIMITS, ANY)


def test_all_refusals_are_counted_and_the_first_are_shown():
    parsed = run(parse_array, json.dumps([{}] * 300 + [event()]).encode(), LIMITS, ANY)
    assert parsed.refused.total() == 300
    assert [refusal.index for refusal in parsed.errors] == list(range(ERRORS_SHOWN_MAX))
    assert len(parsed.events) == 1


def test_lines_may_be_blank_end_in_crlf_or_not_end():
    body = lines(event(sessionId="a")) + b"\r\n\r\n \n\n" + lines(event(sessionId="b"))
    assert sessions(run(parse_lines, body, LIMITS, ANY)) == ["a", "b"]


def test_bad_line_is_one_error_whatever_is_wrong_with_it():
    body = lines(event(), b"{oops", b"\xff", event(), b"[" * 50_000, lines(event()) * 2)
    parsed = run(parse_lines, body, LIMITS, ANY)
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
        assert len(run(parse_batch, body, LIMITS, ANY, lines=False).events) == count


def test_batch_that_says_lines_is_read_as_lines_even_if_the_first_looks_like_an_array():
    parsed = run(parse_batch, lines(b"[oops", event()), LIMITS, ANY, lines=True)
    assert (len(parsed.events), parsed.refused.total()) == (1, 1)


def test_one_bad_event_over_several_lines_is_one_error():
    parsed = run(parse_batch, json.dumps(event(eventType=""), indent=2).encode(), LIMITS, ANY, lines=False)
    assert [(refusal.index, refusal.field) for refusal in parsed.errors] == [(0, "eventType")]


def test_one_object_is_an_array_of_one():
    assert len(run(parse_one_or_array, lines(event()), LIMITS, ANY).events) == 1
    assert run(parse_one_or_array, lines({}), LIMITS, ANY).refused == {"invalid_event": 1}
    with pytest.raises(InvalidEvent):
        run(parse_one_or_array, b"{oops", LIMITS, ANY)


def test_bound_key_writes_its_own_project_only():
    parsed = run(parse_array, json.dumps([event(), event(projectId="other")]).encode(), LIMITS, SHOP)
    assert len(parsed.events) == 1
    assert parsed.refused == {"forbidden": 1}
    assert parsed.errors[0].field == "projectId"
    with pytest.raises(InvalidEvent) as caught:
        parse_event(lines(event(projectId="other")), NOW, LIMITS, SHOP)
    assert caught.value.reason == "forbidden"
    with pytest.raises(InvalidEvent) as caught:
        parse_event(lines(event()), NOW, LIMITS, Grant(2, "shop", "t2", "server"))
    assert (caught.value.reason, caught.value.field) == ("forbidden", "tenantId")


@pytest.mark.parametrize(
    ("bound", "sent", "stored"),
    [
        ({}, {"projectId": "any", "tenantId": "one"}, ("any", "one", None)),
        ({}, {"tenantId": "one"}, "projectId"),
        ({"project": "p"}, {"tenantId": "any"}, ("p", "any", None)),
        ({"project": "p"}, {"projectId": "p", "tenantId": "any"}, ("p", "any", None)),
        ({"project": "p"}, {"projectId": "P", "tenantId": "any"}, "projectId"),
        ({"project": "p"}, {}, "tenantId"),
        ({"project": "p", "tenant": "t"}, {}, ("p", "t", None)),
        ({"project": "p", "tenant": "t"}, {"userId": "u"}, ("p", "t", "u")),
        ({"project": "p", "tenant": "t"}, {"tenantId": "u"}, "tenantId"),
        ({"project": "p", "tenant": "t"}, {"projectId": "q", "tenantId": "t"}, "projectId"),
        ({"project": "p", "tenant": "t", "user": "u"}, {"tenantId": "t"}, ("p", "t", "u")),
        ({"project": "p", "tenant": "t", "user": "u"}, {"userId": None}, ("p", "t", "u")),
        ({"project": "p", "tenant": "t", "user": "u"}, {"userId": "v"}, "userId"),
        ({"tenant": "t"}, {"projectId": "any"}, ("any", "t", None)),
    ],
)
def test_an_event_may_omit_what_its_key_fixes_and_has_no_other_value(bound, sent, stored):
    """In every form of a body; `stored` is the field that is wrong, if there is one."""
    grant = Grant(0, **bound)
    body = lines({"sessionId": "s", "eventType": "view"} | sent)
    found: list[Any] = []
    try:
        found.append(SimpleNamespace(**decode_row(parse_event(body, NOW, LIMITS, grant), ROW_FORMAT)))
    except InvalidEvent as error:
        found.append(error.field)
    for parse, several in ((parse_array, b"[" + body + b"]"), (parse_lines, body)):
        parsed = run(parse, several, LIMITS, grant)
        found += parsed.events + [refusal.field for refusal in parsed.errors]
    whose = [
        each if isinstance(each, str) else (each.project_id, each.tenant_id, each.user_id) for each in found
    ]
    assert whose == [stored] * 3


def test_body_of_a_million_crumbs_is_refused_without_looking_at_each():
    """A key that is public (a browser's) must not be able to block the worker."""
    for crumb in (b"1", b"{}", b'""'):
        with pytest.raises(InvalidEvent, match="too small to be events"):
            run(parse_array, b"[" + b",".join([crumb] * 250_000) + b"]", LIMITS, ANY)
        with pytest.raises(InvalidEvent, match="too small to be events"):
            run(parse_lines, b"\n".join([crumb] * 250_000), LIMITS, ANY)


ELEMENTS = st.lists(
    st.just(event()) | st.sampled_from([{}, None, 1, event(userId=4), event(projectId="")]),
    min_size=1,
    max_size=9,
)


@given(ELEMENTS)
def test_array_and_lines_agree_on_every_mixture(elements):
    array = run(parse_array, json.dumps(elements).encode(), LIMITS, ANY)
    line = run(parse_lines, lines(*elements), LIMITS, ANY)
    assert len(array.events) == len(line.events) == elements.count(event())
    assert array.refused == line.refused
    assert [(r.index, r.field, r.error) for r in array.errors] == [
        (r.index, r.field, r.error) for r in line.errors
    ]


# Slices

BLANKS = st.text(" \t\r\n", max_size=3)
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=6) | st.sampled_from([r"\\", '"', '},{"projectId":', "],["]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
SPACED_EVENTS = st.builds(
    lambda metadata, session, key: json.dumps(
        event(sessionId=session, **{key: metadata}), ensure_ascii=len(session) % 2 == 0
    ),
    st.dictionaries(st.text(max_size=3), VALUES, max_size=3) | VALUES,
    st.text(min_size=1, max_size=3),
    st.sampled_from(["metadata", "other", "metadataJson"]),
)
ARRAYS = st.lists(st.tuples(BLANKS, SPACED_EVENTS | VALUES.map(json.dumps), BLANKS), max_size=12).map(
    lambda elements: "[" + ",".join(before + element + after for before, element, after in elements) + "]"
)


def outcome_of(body: bytes) -> tuple[object, ...]:
    try:
        outcome = run(parse_array, body, LIMITS, ANY)
    except InvalidEvent as error:
        return ("malformed", error.reason)
    events = [(event.session_id, event.metadata_json) for event in outcome.events]
    return events, outcome.refused, [(refusal.index, refusal.field) for refusal in outcome.errors]


def whole_and_sliced(body: bytes, slice_bytes: int) -> tuple[tuple[object, ...], tuple[object, ...]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parser, "SLICE_BYTES", 1 << 30)
        whole = outcome_of(body)
        patch.setattr(parser, "SLICE_BYTES", slice_bytes)
        patch.setattr(parser, "_WINDOW_BYTES", max(2, slice_bytes // 4))
        return whole, outcome_of(body)


@given(ARRAYS, st.integers(2, 300))
def test_sliced_array_comes_to_the_same_as_a_whole_one(array, slice_bytes):
    whole, sliced = whole_and_sliced(array.encode(errors="replace"), slice_bytes)
    assert sliced == whole


@given(
    ARRAYS,
    st.integers(2, 300),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 3),
    st.sampled_from([b"", b",", b"]", b"[", b"{", b"}", b'"', b"\\", b" ", b"1", b"\xff", b"},", b"],["]),
)
def test_array_that_is_malformed_anywhere_is_refused_however_it_is_sliced(array, size, place, cut, inserted):
    body = array.encode(errors="replace")
    at = int(len(body) * place)
    body = body[:at] + inserted + body[at + cut :]
    assume(starts_array(body))  # the handlers ask that first
    whole, sliced = whole_and_sliced(body, size)
    assert sliced == whole


@pytest.mark.parametrize("between", [b",", b", ", b" ,\n", b"},{"])
def test_long_array_is_taken_whole_and_in_order_however_it_is_written(between):
    text = lines(event(sessionId="@", metadata={"a": [{"projectId": 1}, {"projectId": 2}], "b": '"},{"\\'}))
    elements = [text.replace(b"@", b"%d" % i) for i in range(3_000)]
    if between == b"},{":
        # Every first key another one, so that no cut can be guessed.
        elements = [b'{"%d":1,' % i + element[1:] for i, element in enumerate(elements)]
        between = b","
    body = b"[" + between.join(elements) + b"]"
    assert len(body) > 10 * parser.SLICE_BYTES
    assert sessions(run(parse_array, body, LIMITS, ANY)) == [str(i) for i in range(3_000)]


def test_every_step_of_a_long_body_is_short():
    body = json.dumps([event()] * 10_000).encode()
    steps = list(parse_array(body, Parsed(), NOW, LIMITS, ANY))
    assert sum(map(len, steps)) == 10_000
    assert max(map(len, steps)) <= 512  # the smallest events of a slice


def test_position_of_malformed_json_is_that_in_the_body():
    elements = [json.dumps(event()).encode()] * 2_000
    body = b"[" + b",".join([*elements, b"{oops", *elements]) + b"]"
    with pytest.raises(InvalidEvent) as caught:
        run(parse_array, body, LIMITS, ANY)
    (position,) = re.findall(r"\(byte (\d+)\)", caught.value.message)
    assert abs(int(position) - body.index(b"oops")) <= 1


@pytest.mark.parametrize("end", [b",]", b"", b",", b"]]", b"],[]", b"}]", b"]\x00"])
def test_long_array_with_a_wrong_end_is_malformed(end):
    body = b"[" + b",".join([lines(event())] * 2_000) + end
    with pytest.raises(InvalidEvent) as caught:
        run(parse_array, body, LIMITS, ANY)
    assert caught.value.reason == "invalid_json"


def test_long_lines_are_taken_in_order_and_blank_ones_skipped():
    sent = [lines(event(sessionId=str(i), metadata={"a": "x" * (i * 50)})) for i in range(1_500)]
    body = b"\n \n".join(sent) + b"\n" * 100_000
    assert sessions(run(parse_lines, body, LIMITS, ANY)) == [str(i) for i in range(1_500)]


def test_long_event_is_taken_with_the_last_of_each_field_and_its_metadata_as_written():
    metadata = b'{ "a" :' + b"[1 ,2]" * 0 + b'"' + b"\\u00e9x" * 20_000 + b'"}'
    body = b'{"projectId":"old",' + lines(event())[1:-1] + b',"other":[{}],"metadata":%b}' % metadata
    assert len(body) > parser.SLICE_BYTES
    [taken] = run(parse_batch, body, LIMITS, ANY, lines=False).events
    assert (taken.project_id, taken.metadata_json) == ("shop", metadata.decode())
    # In an array and as a line, too.
    assert (
        run(parse_array, b"[%b,%b]" % (body, body), LIMITS, ANY).events[1].metadata_json == metadata.decode()
    )
    assert run(parse_lines, body + b"\n" + body, LIMITS, ANY).events[1].metadata_json == metadata.decode()


def test_all_that_was_taken_of_a_quota_has_been_yielded_at_each_step():
    """So that a caller that stops there can give it back."""
    quotas = Quotas([QuotaRule(project="shop", events_per_month=1_000)])
    limits = msgspec.structs.replace(LIMITS, quotas=quotas)
    long = event(metadata={"text": "x" * 2 * parser.SLICE_BYTES})
    sent = [event(), long, event(), event(), long, event()]
    for body in (json.dumps(sent).encode(), lines(*sent)):
        before = next(quotas.events.shares()).used
        parsed, yielded = Parsed(), 0
        for events in parse_batch(body, parsed, NOW, limits, ANY, lines=False):
            yielded += len(events)
            assert next(quotas.events.shares()).used - before == yielded == parsed.accepted
        assert yielded == len(sent)


def test_long_event_of_a_wrong_type_is_explained():
    body = lines(event(userId=7, metadata={"a": "x" * 50_000}))
    for parse, sent in ((parse_array, b"[%b]" % body), (parse_lines, body), (parse_one_or_array, body)):
        [refusal] = run(parse, sent, LIMITS, ANY).errors
        assert (refusal.field, refusal.error) == ("userId", "userId is 7; it must be a string")


def test_event_longer_than_any_may_be_is_refused():
    body = lines(event(metadata={"a": "x" * parser.EVENT_BYTES_MAX}))
    for parse, sent in ((parse_array, b"[%b]" % body), (parse_one_or_array, body)):
        with pytest.raises(InvalidEvent, match=f"at most {parser.EVENT_BYTES_MAX}") as caught:
            run(parse, sent, LIMITS, ANY)
        assert caught.value.reason == "body_too_large"
    outcome = run(parse_lines, body + b"\n" + lines(event()), LIMITS, ANY)
    assert (outcome.refused, outcome.accepted) == ({"body_too_large": 1}, 1)


def test_body_of_more_events_than_any_may_have_is_refused():
    body = b"[" + b",".join([lines(event())] * (parser.EVENTS_MAX + 1)) + b"]"
    with pytest.raises(InvalidEvent, match="more than 100000 events") as caught:
        run(parse_array, body, LIMITS, ANY)
    assert caught.value.reason == "body_too_large"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{}", "invalid_event"),
        (b'{"projectId":1}', "invalid_event"),
        (b"1", "invalid_event"),
        (lines(event(timestamp=1)), "outside_time_window"),
        (lines(event(timestamp="x")), "invalid_event"),
        (lines(event(projectId="other")), "forbidden"),
    ],
)
def test_elements_after_the_first_100_errors_are_counted_under_the_same_reason(bad, reason):
    limits = Limits(256, 2048, age_ms_max=86_400_000, future_ms_max=86_400_000)
    for parse, body in (
        (parse_array, b"[%b]" % b",".join([bad] * 900)),
        (parse_lines, b"\n".join([bad] * 900)),
    ):
        outcome = run(parse, body, limits, SHOP)
        assert outcome.refused == {reason: 900}
        assert [refusal.index for refusal in outcome.errors] == list(range(ERRORS_SHOWN_MAX))
        assert all(refusal.error for refusal in outcome.errors)


def test_brackets_beyond_any_depth_are_not_searched_to_the_end():
    with pytest.raises(InvalidEvent, match="nested too deeply") as caught:
        run(parse_array, b"[" * (1 << 20), LIMITS, ANY)
    assert caught.value.reason == "invalid_json"
