"""What is accepted as an event, what its identity becomes, and how a refusal reads."""

import json
import os
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nealytics.config import RetentionRule
from nealytics.event import (
    Event,
    InvalidEvent,
    Limits,
    decode_event,
    decode_events,
    freeze,
    is_utf8,
    new_event_id,
    split_array,
)
from nealytics.retention import Rules
from nealytics.timestamps import iso_utc

NOW = int(datetime(2030, 1, 31, 12, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400_000
LIMITS = Limits(identifier_chars_max=256, item_id_chars_max=2048, age_ms_max=90 * DAY, future_ms_max=DAY)
UUID4 = "1fa9af3f-448d-4725-a0e8-d1040190171f"


def body(**fields: object) -> bytes:
    event = {"projectId": "p", "tenantId": "t", "sessionId": "s", "eventType": "e"} | fields
    return json.dumps({k: v for k, v in event.items() if v is not ...}).encode()


def take(raw: bytes, limits: Limits = LIMITS) -> Event:
    assert is_utf8(raw)
    return freeze(decode_event(raw), NOW, limits)


def refusal(raw: bytes, limits: Limits = LIMITS) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        take(raw, limits)
    return caught.value


def test_event_with_the_four_required_fields_is_accepted():
    event = take(body())
    assert (event.project_id, event.tenant_id, event.session_id, event.event_type) == ("p", "t", "s", "e")
    assert event.user_id is None
    assert event.item_id is None
    assert event.metadata_json == b"{}"
    assert event.timestamp_ms == NOW


@pytest.mark.parametrize("name", ["projectId", "tenantId", "sessionId", "eventType"])
@pytest.mark.parametrize("value", ["", ...])
def test_required_field_that_is_missing_or_empty_is_named(name, value):
    error = refusal(body(**{name: value}))
    assert (error.reason, error.field) == ("invalid_event", name)
    assert error.message == f"{name} is missing or empty"


@pytest.mark.parametrize("value", [None, 1, True, [], {}])
@pytest.mark.parametrize("name", ["projectId", "eventType"])
def test_required_field_of_another_type_is_named_with_its_value(name, value):
    error = refusal(body(**{name: value}))
    assert (error.reason, error.field) == ("invalid_event", name)
    assert error.message == f"{name} is {json.dumps(value)}; it must be a string"


def test_unknown_fields_are_ignored():
    assert take(body(extra={"deep": [1, 2]}, ProjectId="other")).project_id == "p"


def test_of_a_key_given_twice_the_last_one_counts():
    raw = b'{"projectId":"a","projectId":"b","tenantId":"t","sessionId":"s","eventType":"e"}'
    assert take(raw).project_id == "b"


def test_empty_optional_text_counts_as_absent():
    event = take(body(userId="", itemId="", metadataJson=""))
    assert (event.user_id, event.item_id, event.metadata_json) == (None, None, b"{}")


def test_identifiers_are_any_unicode_text():
    event = take(body(eventType="scroll_depth_50%", tenantId="café", userId="\0 \U0001f600", itemId="a\nb"))
    assert (event.event_type, event.tenant_id) == ("scroll_depth_50%", "café")
    assert (event.user_id, event.item_id) == ("\0 \U0001f600", "a\nb")


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("projectId", 256),
        ("tenantId", 256),
        ("sessionId", 256),
        ("eventType", 256),
        ("userId", 256),
        ("itemId", 2048),
    ],
)
def test_lengths_are_counted_in_characters_and_the_limit_itself_is_accepted(name, most):
    take(body(**{name: "é" * most}))
    error = refusal(body(**{name: "é" * (most + 1)}))
    assert (error.reason, error.field) == ("invalid_event", name)
    assert error.message.startswith(f"{name} has {most + 1} characters, at most {most} are accepted")
    assert len(error.message) < 200


# identity


def test_client_id_and_timestamp_are_kept():
    event = take(body(eventId=UUID4, timestamp="2030-01-30T01:02:03.456Z"))
    assert UUID(int=event.event_id) == UUID(UUID4)
    assert iso_utc(event.timestamp_ms) == "2030-01-30T01:02:03.456Z"


def test_uuid7_without_timestamp_gives_its_embedded_time():
    """So a retry of the same event has the same identity although the client sent no timestamp."""
    moment = NOW - 3 * DAY
    first = take(body(eventId=str(UUID(int=new_event_id(moment)))))
    assert first.timestamp_ms == moment


def test_other_id_without_timestamp_gets_the_time_of_receipt():
    assert take(body(eventId=UUID4)).timestamp_ms == NOW


def test_id_with_seven_as_version_but_a_foreign_variant_is_no_uuid7():
    assert take(body(eventId="00000000-0000-7000-0000-000000000000")).timestamp_ms == NOW


def test_server_makes_a_uuid7_of_the_time_of_receipt():
    event = take(body(timestamp=NOW - 5))
    made = UUID(int=event.event_id)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert event.event_id >> 80 == NOW
    assert take(body()).event_id != take(body()).event_id


@pytest.mark.parametrize("text", [UUID4, UUID4.upper(), UUID4.replace("-", "")])
def test_ids_are_taken_with_and_without_hyphens_in_either_case(text):
    assert UUID(int=take(body(eventId=text)).event_id) == UUID(UUID4)


@pytest.mark.parametrize("value", ["", "no", f"{{{UUID4}}}", f"urn:uuid:{UUID4}", 7, UUID4[:-1]])
def test_other_ids_are_refused_with_their_value(value):
    error = refusal(body(eventId=value))
    assert (error.reason, error.field) == ("invalid_event", "eventId")
    assert error.message == f"eventId is {json.dumps(value)}; it must be a UUID"


# timestamps


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2030-01-30", "2030-01-30T00:00:00Z"),
        ("2030-01-30T10:00", "2030-01-30T10:00:00Z"),
        ("2030-01-30 10:00:00", "2030-01-30T10:00:00Z"),
        ("20300130T100000Z", "2030-01-30T10:00:00Z"),
        ("2030-W05-3T10:00:00Z", "2030-01-30T10:00:00Z"),
        ("2030-01-30T10:00:00+05:30", "2030-01-30T04:30:00Z"),
        ("2030-01-30T10:00:00.1239999Z", "2030-01-30T10:00:00.123Z"),
        ("2030-01-30T10:00:00.1234567+00:00", "2030-01-30T10:00:00.123Z"),
        ("2030-01-30T10:00:00.9999999999Z", "2030-01-30T10:00:00.999Z"),
        ("2030-01-30t10:00:00z", "2030-01-30T10:00:00Z"),
        ("2030-01-30t10:00:00.123z", "2030-01-30T10:00:00.123Z"),
        ("2030-01-30T23:59:60.5Z", "2030-01-30T23:59:59.999Z"),
    ],
)
def test_iso_8601_is_read_as_utc_and_cut_to_milliseconds(text, iso):
    assert iso_utc(take(body(timestamp=text)).timestamp_ms) == iso


@pytest.mark.parametrize(("number", "ms"), [(NOW, NOW), (NOW + 0.9, NOW), (float(NOW), NOW)])
def test_epoch_milliseconds_are_cut_downwards(number, ms):
    assert take(body(timestamp=number)).timestamp_ms == ms


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2030-13-01", "1893412800000", "2030-01-30T25:00", "2030-01-30_10:00:00Z"]
)
def test_unreadable_timestamp_is_refused_with_its_value(text):
    error = refusal(body(timestamp=text))
    assert (error.reason, error.field) == ("invalid_event", "timestamp")
    assert f'"{text}"' in error.message


def test_only_the_last_timestamp_of_an_event_is_looked_at():
    """Reading a number of many digits takes 9 µs, and a body of 1 MiB has room for 25,000 of them."""
    raw = body(timestamp=NOW).replace(b'"timestamp"', b'"timestamp":{},"timestamp":"x","timestamp"', 1)
    assert take(raw).timestamp_ms == NOW
    raw = body(timestamp=NOW)[:-1] + b',"timestamp":null}'
    assert take(raw).timestamp_ms == NOW  # as received
    raw = body(timestamp=NOW)[:-1] + b',"timestamp":1e999}'
    assert refusal(raw).field == "timestamp"


@pytest.mark.parametrize("raw", [b"true", b"[1]", b"{}", b"1e999", b"9" * 5000])
def test_timestamp_that_is_no_text_or_number_is_refused(raw):
    error = refusal(body(timestamp="X").replace(b'"X"', raw))
    assert (error.reason, error.field) == ("invalid_event", "timestamp")


def test_window_ends_at_retention_and_at_the_future_limit():
    assert take(body(timestamp=NOW - 90 * DAY)).timestamp_ms == NOW - 90 * DAY
    assert take(body(timestamp=NOW + DAY)).timestamp_ms == NOW + DAY
    for outside in (NOW - 90 * DAY - 1, NOW + DAY + 1):
        error = refusal(body(timestamp=outside))
        assert (error.reason, error.field) == ("outside_time_window", "timestamp")
        assert iso_utc(outside) in error.message


def test_without_retention_the_window_begins_in_1970():
    """DateTime64 goes further back, but a TTL set later counts in seconds since 1970 and would wrap."""
    forever = Limits(256, 2048, age_ms_max=0, future_ms_max=DAY)
    assert take(body(timestamp=0), forever).timestamp_ms == 0
    assert refusal(body(timestamp=-1), forever).reason == "outside_time_window"
    assert refusal(body(timestamp="1969-12-31T23:59:59.9999Z"), forever).reason == "outside_time_window"


@pytest.mark.parametrize(
    "value", [10**18, -(10**18), 1e300, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
def test_absurd_timestamp_is_outside_the_window(value):
    error = refusal(body(timestamp=value))
    assert error.reason == "outside_time_window"
    assert len(error.message) < 250


def test_window_holds_for_the_time_in_a_uuid7_too():
    error = refusal(body(eventId=str(UUID(int=new_event_id(NOW - 400 * DAY)))))
    assert (error.reason, error.field) == ("outside_time_window", "eventId")


# metadata


def test_metadata_json_is_any_text_and_kept_as_it_is():
    assert take(body(metadataJson='{"a": 1}')).metadata_json == b'{"a": 1}'
    assert take(body(metadataJson="not json, ü")).metadata_json == "not json, ü".encode()


def test_metadata_object_is_kept_byte_for_byte():
    raw = b'{"projectId":"p","tenantId":"t","sessionId":"s","eventType":"e","metadata":%s}'
    for text in (b'{ "b":1,  "a": [1e999, 0.10, "\\ud83d\\ude00"] }', b"{}", '{"ü":"€"}'.encode()):
        assert take(raw % text).metadata_json == text


def test_null_metadata_of_either_kind_is_an_empty_object():
    assert take(body(metadata=None)).metadata_json == b"{}"
    assert take(body(metadataJson=None)).metadata_json == b"{}"


@pytest.mark.parametrize("value", ["text", 1, [1], True])
def test_metadata_that_is_no_object_is_refused(value):
    error = refusal(body(metadata=value))
    assert (error.reason, error.field) == ("invalid_event", "metadata")


@pytest.mark.parametrize(
    ("field", "largest"),
    [("metadataJson", "x" * 100), ("metadataJson", "ü" * 50), ("metadata", {"k": "x" * 91})],
)
def test_metadata_of_more_bytes_than_the_limit_is_refused_with_its_size(field, largest):
    limits = msgspec.structs.replace(LIMITS, metadata_bytes_max=100)
    assert len(take(body(**{field: largest}), limits=limits).metadata_json) == 100
    larger = largest + "y" if isinstance(largest, str) else {"k": "x" * 92}
    error = refusal(body(**{field: larger}), limits=limits)
    assert (error.reason, error.field) == ("invalid_event", field)
    assert error.message == f"{field} has 101 bytes, at most 100 are accepted"
    assert "ingest.metadata_bytes_max" in error.detail


def test_metadata_json_wins_over_metadata():
    """Clients of the C# engine may send a `metadata` of their own, which it ignored."""
    assert take(body(metadataJson='{"a":1}', metadata={"b": 2})).metadata_json == b'{"a":1}'
    assert take(body(metadataJson='{"a":1}', metadata=7)).metadata_json == b'{"a":1}'
    assert take(body(metadataJson=None, metadata={"b": 2})).metadata_json == b'{"b": 2}'


def test_huge_numbers_in_metadata_are_kept():
    digits = "9" * 5000
    assert take(body(metadata="X").replace(b'"X"', b'{"n":%s}' % digits.encode())).metadata_json == (
        f'{{"n":{digits}}}'.encode()
    )


# what is no JSON

HOSTILE = {
    "empty": b"",
    "blank": b" \n",
    "deep unknown field": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep metadata": b'{"metadata":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "NaN": body(metadata="X").replace(b'"X"', b'{"a":NaN}'),
    "Infinity": body(metadata="X").replace(b'"X"', b'{"a":-Infinity}'),
    "BOM": b"\xef\xbb\xbf" + body(),
    "NUL": body(userId="X").replace(b"X", b"\0"),
    "NUL at the end": body() + b"\0",
    "trailing": body() + b"x",
    "two": body() + body(),
    "single quotes": body().replace(b'"', b"'"),
    "comment": body() + b"// no",
    "trailing comma": body()[:-1] + b",}",
    "leading zero": body(metadata="X").replace(b'"X"', b'{"a":01}'),
    "control character in metadata": body(metadata="X").replace(b'"X"', b'{"a":"\n"}'),
    "UTF-16": body().decode().encode("utf-16"),
}
SURROGATES = [
    rb"\ud800",
    rb"\udc00",
    rb"\udfff....",
    rb"\ud800A......",
    rb"\ud800\ud800",
    rb"..\uDBFF\\uDC00..",
]
for _text in SURROGATES:
    HOSTILE[f"surrogate {_text!r} in a field"] = body(userId="X").replace(b"X", _text)
    HOSTILE[f"surrogate {_text!r} in metadata"] = body(metadata={"a": "X"}).replace(b"X", _text)
    HOSTILE[f"surrogate {_text!r} in a key of metadata"] = body(metadata={"X": 1}).replace(b"X", _text)
    HOSTILE[f"surrogate {_text!r} in an unknown field"] = body(unknown="X").replace(b"X", _text)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_json_is_refused_as_such(name):
    with pytest.raises(InvalidEvent) as caught:
        decode_event(HOSTILE[name])
    assert caught.value.reason == "invalid_json"
    assert len(caught.value.message) < 250
    with pytest.raises(InvalidEvent):
        decode_events(b"[" + HOSTILE[name] + b",1]")
    with pytest.raises(InvalidEvent):
        split_array(b"[" + HOSTILE[name] + b",]")


@pytest.mark.parametrize("data", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"])
@pytest.mark.parametrize("where", ["userId", "metadata", "unknown"])
def test_bytes_that_are_no_utf8_are_found_wherever_they_are(where, data):
    value = {"a": "X"} if where == "metadata" else "X"
    assert not is_utf8(body(**{where: value}).replace(b"X", data))


@pytest.mark.parametrize(
    ("raw", "is_a"), [(b"null", "null"), (b"[]", "an array"), (b'"x"', "a string"), (b"1", "a number")]
)
def test_json_that_is_no_object_is_no_event(raw, is_a):
    error = refusal(raw)
    assert error.reason == "invalid_event"
    assert error.message == f"the event is {is_a}, not a JSON object"


@given(st.binary(max_size=64))
def test_no_bytes_raise_anything_but_invalid_event(data):
    for read in (take_if_utf8, decode_events, split_array):
        try:
            read(data)
        except InvalidEvent:
            pass


def take_if_utf8(data: bytes) -> None:
    if is_utf8(data):
        freeze(decode_event(data), NOW, LIMITS)


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_an_empty_body_is_called_empty(body):
    with pytest.raises(InvalidEvent, match=r"^the body is empty$"):
        decode_event(body)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON_VALUES = (
    SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=2), SCALARS, max_size=2)
)
NAMES = ("projectId", "tenantId", "sessionId", "eventType", "userId", "itemId", "eventId", "timestamp")


@given(st.dictionaries(st.sampled_from((*NAMES, "metadata", "metadataJson")), JSON_VALUES))
def test_no_json_object_raises_anything_but_invalid_event(fields):
    raw = json.dumps({"projectId": "p", **fields}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    message = ""
    try:
        take_if_utf8(raw)
    except InvalidEvent as error:
        message = error.message
    assert len(message) < 400


def test_an_event_older_than_its_retention_rule_is_refused_with_the_rule_and_the_limit():
    rules = Rules([RetentionRule(project="p", tenant="t", days=30)])
    limits = msgspec.structs.replace(LIMITS, rules=rules)
    assert take(body(timestamp=NOW - 30 * DAY), limits).timestamp_ms == NOW - 30 * DAY
    assert take(body(timestamp=NOW - 31 * DAY, tenantId="other"), limits).tenant_id == "other"
    error = refusal(body(timestamp=NOW - 31 * DAY), limits)
    assert (error.reason, error.field) == ("outside_time_window", "timestamp")
    assert error.message == (
        'timestamp is 2029-12-31T12:00:00Z; [[retention]] project = "p", tenant = "t", days = 30 keeps '
        "such events for 30 days, since 2030-01-01T12:00:00Z"
    )


def test_the_time_in_an_event_id_is_compared_with_the_retention_rule_too():
    limits = msgspec.structs.replace(LIMITS, rules=Rules([RetentionRule(project="p", days=30)]))
    old = str(UUID(int=new_event_id(NOW - 31 * DAY)))
    assert refusal(body(eventId=old), limits).field == "eventId"


def test_a_copy_of_a_process_makes_other_ids():
    """Workers are copies of the supervisor: equal ids of theirs would make two events one."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write_fd, str(new_event_id(1)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read_fd, 100).decode() != str(new_event_id(1))
    os.close(read_fd)
    os.close(write_fd)
