"""A body's events, and what is beside them: in one piece and, if it is long, in steps."""

import itertools
import json
import time
from collections import deque

import msgspec
import pytest

from nealytics.compat.envelope import Envelope, fields_of, read
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
    shared.pop("gone", None)  # a long body's fields are read by who needs them
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
        b'{"batch": [{} {}]}',
        b'{"batch": [{},]}',
        b'{"batch": 7}',
        b'{"batch": {}}',
        b'{"batch": []} x',
        b'{"batch": ["\xff"]}',
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
        long_body().replace(b'"n": 77,', b'"n" 77,'),
    ],
)  # fmt: skip
def test_a_malformed_body_is_refused(body: bytes):
    with pytest.raises(InvalidEvent) as refused:
        opened(body)
    assert refused.value.reason in ("invalid_json", "invalid_event")
    assert refused.value.message


@pytest.mark.parametrize(
    "body", [b'{"a":"' + b"x" * EVENT_BYTES_MAX + b'"}', long_body().replace(b'"batch"', b'"other"')]
)
def test_a_long_body_needs_a_batch(body: bytes):
    with pytest.raises(InvalidEvent):
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


def test_a_body_of_many_fields_is_read_in_short_steps():
    """It is refused without decoding all of them at once."""
    body = b"{" + b",".join(b'"%06x":1' % n for n in range(190_000)) + b"}"
    assert 1_900_000 < len(body) < EVENT_BYTES_MAX
    envelope = Envelope()
    with pytest.raises(InvalidEvent, match="more than 100 fields"):
        for _ in read(body, envelope):
            pass
    assert len(envelope.shared) <= 101


@pytest.mark.parametrize("count", [1, 300, 12_000])
def test_a_long_event_is_one_element(count: int):
    sent = {"event": "e", "properties": {"text": "x" * 400_000, **{f"{n}": n for n in range(count)}}}
    body = json.dumps(sent).encode()
    if count < 10_000:
        assert content(opened(body))[1] == [sent]
    else:
        with pytest.raises(InvalidEvent, match="more than 65536 bytes"):
            opened(body)


def test_long_bodies_are_read_in_short_steps():
    """Measured in processor time, and the tenth-longest step: others take the processor, too."""
    body = b'{"api_key": "k", "batch": ' + json.dumps(events(15_000)).encode() + b', "sent_at": "now"}'
    assert len(body) > 14_000_000
    envelope = Envelope()
    took, before = [], time.thread_time()
    for _ in read(body, envelope):
        took.append(time.thread_time() - before)
        before = time.thread_time()
    assert len(envelope.elements) == 15_000
    assert len(took) > len(body) / SLICE_BYTES / 2
    assert sorted(took)[-10] < 0.02
