"""A body's events, and what is beside them: in one piece and, if it is long, in steps."""

import itertools
import json
import time
from collections import deque

import msgspec
import pytest

from nealytics.compat.envelope import BEGINNING_BYTES, Envelope, fields_of, read
from nealytics.event import InvalidEvent
from nealytics.ingest.parser import EVENT_BYTES_MAX, SLICE_BYTES

LONG = "x" * 900  # of one event
NAMES = ("a", "ü", "😀", 'quote"', "back\\slash")


def opened(body: bytes) -> Envelope:
    envelope = Envelope()
    for _ in read(body, envelope):
        pass
    return envelope


def events(count: int) -> list[dict[str, object]]:
    return [
        {"n": n, "text": LONG, "nested": {"]": "},{", "list": [n, "}"]}, "name": NAMES[n % 5]}
        for n in range(count)
    ]


def content(envelope: Envelope) -> tuple[dict[str, object], list[object]]:
    shared = {name: json.loads(bytes(value)) for name, value in envelope.shared.items()}
    return shared, [json.loads(bytes(element)) for element in envelope.elements]


@pytest.mark.parametrize("count", [0, 1, 40, 3_000])  # up to 3 MB, which is read in steps
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("ascii", [True, False])
def test_fields_before_and_after_the_events_are_shared(count: int, indent: int | None, ascii: bool):
    sent = events(count)
    before = {"api_key": "k", "context": {"batch": [1], "ü": "😀"}, "gone": None}
    after = {"sentAt": "now", "numbers": [1, 2.5e3, -0], "flag": True}
    body = json.dumps({**before, "batch": sent, **after}, indent=indent, ensure_ascii=ascii).encode()
    del before["gone"]
    shared, elements = content(opened(body))
    assert elements == sent
    assert shared == before | after


@pytest.mark.parametrize("count", [0, 1, 3_000])
def test_an_array_is_a_body_without_shared_fields(count: int):
    sent = events(count)
    assert content(opened(b" \n" + json.dumps(sent).encode() + b"\n ")) == ({}, sent)


def test_a_single_event_is_one_element():
    sent = {"event": "e", "writeKey": "k"}
    assert content(opened(json.dumps(sent).encode())) == ({}, [sent])


def test_elements_that_are_no_objects_are_left_to_their_reader():
    body = b'{"batch": [1, null, "text", [2], {"event": "e"}]}'
    assert content(opened(body))[1] == [1, None, "text", [2], {"event": "e"}]


def long_body(head: str = "", tail: str = "") -> bytes:
    return ("{" + head + '"batch":' + json.dumps(events(3_000)) + tail + "}").encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"text",
        b"7",
        b"{",
        b'{"batch": [}',
        b'{"batch": [{}}',
        b'{"batch": [{},]}',
        b'{"batch": 7}',
        b'{"batch": {}}',
        b'{"batch": []} x',
        b'{"batch": [{}]\xff}',
        b'{"batch": [{}\xff{}',
        b'[{"a": 1}, ',
        b"[" * 100_000,
        long_body()[:-1],
        long_body()[:-2],
        long_body(tail=","),
        long_body(tail=',"a"'),
        long_body(tail=',"a":'),
        long_body(tail=',"a":tru'),
        long_body(tail=',a:1'),
        long_body(tail='}'),
        long_body(tail='} x'),
        long_body(head='"a":1 '),
        long_body(head='"a":"\\uZZZZ",'),
        long_body(head='"context":' + json.dumps("x" * 70_000) + ","),
        long_body(head='"context":' + "[" * 30_000 + "]" * 30_000 + ","),
        b'{"batch": [{"a":NaN},]}',
        b'{"batch": [{"a":NaN}, ,{}]}',
        b'{"batch": [,{"a":NaN}]}',
        b'{"batch": [{"a":NaN]}',
    ],
)  # fmt: skip
def test_a_malformed_body_is_refused(body: bytes):
    with pytest.raises(InvalidEvent) as refused:
        opened(body)
    assert refused.value.reason in ("invalid_json", "invalid_event")
    assert refused.value.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"' + b"x" * EVENT_BYTES_MAX + b'"}',
        b'{"a":1,"b":{"c":"' + b"\\\\" * EVENT_BYTES_MAX + b'"}, "d":null}',
        b"{" + b",".join(b'"%06x":{"a":[]}' % n for n in range(190_000)) + b"}",
        long_body().replace(b'"batch"', b'"other"'),
    ],
)
@pytest.mark.parametrize("place", ["alone", "array", "batch"])
def test_of_an_event_that_is_too_long_the_beginning_and_the_size_are_there(body: bytes, place: str):
    good = b'{"event":"good"}'
    around = {"alone": b"%b", "array": b"[%b, %b ,%b]", "batch": b'{"k":1,"batch":[%b, %b,%b],"z":2}'}[place]
    envelope = opened(around % ((body,) if place == "alone" else (good, body, good)))
    at = 0 if place == "alone" else 1
    assert {index: size for index, size in envelope.sizes.items() if size} == {at: envelope.size(at)}
    assert len(body) <= envelope.size(at) <= len(body) + 1
    assert bytes(envelope.elements[at]) == body[:BEGINNING_BYTES]
    if place != "alone":
        assert [bytes(envelope.elements[n]) for n in (0, 2)] == [good, good]
        assert len(envelope.elements) == 3


def test_the_short_fields_of_a_long_event_are_read_because_one_may_be_the_key():
    for before, after in (('"api_key":"k",', ""), ("", ',"api_key":"k"')):
        body = "{" + before + '"properties":{"text":"' + "x" * 400_000 + '"}' + after + "}"
        assert bytes(opened(body.encode()).shared["api_key"]) == b'"k"'


@pytest.mark.parametrize("count", [2, 3_000])
@pytest.mark.parametrize(
    "wrong", [b'{"n":NaN}', b"{} {}", b'{"n" 77}', b"text", b'{"n":"\xff"}', b'{"\xff":1}', b"\xff"]
)
def test_an_element_that_is_malformed_is_one_element_too(count: int, wrong: bytes):
    sent = events(count)
    body = json.dumps([*sent[:1], 987654, *sent[1:]]).encode().replace(b"987654", wrong + b" ")
    elements = [bytes(element) for element in opened(b'{"batch":%b}' % body).elements]
    assert elements.pop(1) == wrong
    assert [json.loads(element) for element in elements] == sent


@pytest.mark.parametrize("count", [2, 3_000])
def test_of_the_fields_beside_the_events_those_that_are_not_json_are_ignored(count: int):
    sent = events(count)
    body = b'{"sentAt":NaN,"a":{"b":[-Infinity]},"n":null,"k":"v","batch":%b,"context":{"x":"\xff"},"e":1}'
    envelope = opened(body % json.dumps(sent).encode())
    assert content(envelope) == ({"k": "v", "e": 1}, sent)
    assert envelope.ignored == ["sentAt", "a", "context"]
    # One event is refused as a whole.
    alone = opened(b'{"sentAt":NaN,"text":"' + b"x" * 300 * count + b'"}')
    assert (len(alone.elements), alone.ignored) == (1, [])


def test_an_event_that_is_not_utf8_is_refused_by_its_reader():
    with pytest.raises(InvalidEvent, match="not UTF-8"):
        fields_of(msgspec.Raw(b'{"event":"e","properties":{"n":"\xff"}}'))


def test_an_event_that_is_nested_too_deeply_is_one_element_too():
    for size in (10, 400_000):
        body = b'{"event":"e","text":"' + b"x" * size + b'","deep":' + b"[" * 30_000 + b"]" * 30_000 + b"}"
        assert len(opened(body).elements) == 1


@pytest.mark.parametrize(
    "end", [b"", b"]", b'"', b'"}x', b'","b":tru}', b'","b"}', b'","b":{}', b'",}', b'",1:2}']
)
def test_a_long_event_that_is_malformed_beside_its_long_field_is_refused(end: bytes):
    with pytest.raises(InvalidEvent, match="malformed"):
        opened(b'{"a":"' + b"x" * 3_000_000 + end)


def test_a_long_field_beside_events_is_named():
    for body in (
        long_body(head=f'"context":"{"x" * 70_000}",'),
        long_body(tail=f',"context":"{"x" * 70_000}"'),
    ):
        with pytest.raises(InvalidEvent, match="the field context beside the events has more than 65536"):
            opened(body)


@pytest.mark.parametrize("element", [b"1", b"{}", b"[]"])
def test_a_body_of_crumbs_is_refused_before_it_is_read_to_its_end(element: bytes):
    body = b'{"batch": [' + b",".join([element] * 1_000_000) + b"]}"
    envelope = Envelope()
    with pytest.raises(InvalidEvent, match="too small to be events"):
        for _ in read(body, envelope):
            pass
    assert len(envelope.elements) < 150_000


@pytest.mark.parametrize("count", [1, 3_000])
def test_few_fields_may_be_beside_the_events(count: int):
    """In steps, each costs as much as its longest form would."""
    many = {str(n): n for n in range(101)}
    with pytest.raises(InvalidEvent, match="more than 100 fields"):
        opened(json.dumps({**many, "batch": events(count)}).encode())
    # A single event is refused by who reads it, alone.
    assert len(opened(json.dumps(many).encode()).elements) == 1


@pytest.mark.parametrize("name", ["a", "é"])
@pytest.mark.parametrize("value", ["1", "[]"])
def test_one_name_again_and_again_is_many_fields(name: str, value: str):
    """This is read before the key is known, and 29 KB of gzip would have taken minutes."""
    field = f'"{name if value == "1" else "batch"}":{value},'.encode()
    body = b"{" + field * 400_000 + b'"batch":[{}]}'
    steps = read(body, Envelope())
    with pytest.raises(InvalidEvent, match="more than 100 fields"):
        deque(itertools.islice(steps, 250), maxlen=0)


@pytest.mark.parametrize("size", [1, 1_000, 1_021, 1_022, 1_023, 1_024, 1_025, 4_000])
@pytest.mark.parametrize("is_text", [True, False])
def test_a_shared_field_of_any_length_is_found(size: int, is_text: bool):
    value = json.dumps("é" * size, ensure_ascii=False) if is_text else "1" * size
    body = long_body(head=f'"context":{value},')
    assert bytes(opened(body).shared["context"]).decode() == value


def test_a_message_of_many_fields_is_refused():
    for fields in ({"event": "e", **{str(n): n for n in range(10_001)}}, {str(n): n for n in range(10_001)}):
        with pytest.raises(InvalidEvent, match="at most 10000"):
            fields_of(msgspec.Raw(json.dumps(fields).encode()), "properties")


@pytest.mark.parametrize("count", [1, 300, 12_000])
def test_an_event_of_any_length_that_is_decoded_is_whole(count: int):
    sent = {"event": "e", "properties": {f"{n}": n for n in range(count)}}
    envelope = opened(json.dumps(sent).encode())
    assert (content(envelope)[1], envelope.sizes) == ([sent], {})


@pytest.mark.parametrize(
    "body",
    [
        b'{"api_key": "k", "batch": ' + json.dumps(events(15_000)).encode() + b', "sent_at": "now"}',
        b'{"batch":[' + b'{"a":' * 3_000 + b"[" + b"[]," * 5_000_000 + b"1]" + b"}" * 3_000 + b"]}",
        b'{"a":"' + b'\\"' * 8_000_000 + b'"}',
        b"{" + b",".join(b'"%06x":1' % n for n in range(1_400_000)) + b"}",
    ],
    ids=["events", "brackets", "text", "fields"],
)
def test_long_bodies_are_read_in_short_steps(body: bytes):
    """Measured in processor time, and the tenth-longest step: others take the processor, too."""
    assert len(body) > 14_000_000
    envelope = Envelope()
    took, before = [], time.thread_time()
    for _ in read(body, envelope):
        took.append(time.thread_time() - before)
        before = time.thread_time()
    assert len(envelope.elements) in (1, 15_000)
    assert len(took) > len(body) / SLICE_BYTES / 2
    assert sorted(took)[-10] < 0.02
