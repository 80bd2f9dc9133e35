import json
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nealytics.importer.mapping import Mapping, MappingError, RowError, event_id_of, hashed_id
from nealytics.importer.options import Options
from nealytics.importer.rows import Row

CONSTANTS = {"projectId": "shop", "tenantId": "acme"}
MAPPED = {"sessionId": "session_id", "eventType": "event"}
NOW = "2024-06-15T10:30:00.123Z"


def mapping(
    columns: tuple[str, ...] | None = ("session_id", "event", "plan"),
    mapped: dict[str, str] = MAPPED,
    constants: dict[str, str] = CONSTANTS,
    rest_is_metadata: bool = True,
    **options: Any,
) -> Mapping:
    shift_ms = options.pop("shift_ms", 0)
    told = Options(
        url="http://a",
        key="k",
        form="ndjson" if columns is None else "csv",
        rejected_path=Path("rejected"),
        mapped=mapped,
        constants=constants,
        rest="metadata" if rest_is_metadata else "ignore",
        **{"default_type": "text", **options},
    )
    return Mapping(told, columns=columns, head=b"head", default_timestamp=NOW, shift_ms=shift_ms)


def from_csv(m: Mapping, number: int = 1, raw: bytes = b"raw", **fields: str) -> dict[str, Any]:
    return json.loads(m.encode(Row(number, 0, raw, fields)))


def from_json(m: Mapping, text: str) -> dict[str, Any]:
    fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return json.loads(m.encode(Row(1, 0, text.encode(), fields)))


def test_digits_of_other_scripts_are_no_numbers_of_json():
    for kind in ("auto", "number"):
        m = mapping(default_type=kind)
        event = from_csv(m, session_id="s", event="e", plan="1\u0662")
        assert event["metadata"] == {"plan": "1\u0662"}


def test_columns_become_fields_constants_are_added_and_the_rest_is_metadata():
    event = from_csv(mapping(), session_id="s1", event="view", plan="pro")
    assert uuid.UUID(event.pop("eventId")).version == 8
    assert event == {
        "projectId": "shop",
        "tenantId": "acme",
        "sessionId": "s1",
        "eventType": "view",
        "metadata": {"plan": "pro"},
        "timestamp": NOW,
    }


def test_a_column_of_the_field_s_name_needs_no_mapping_and_an_empty_one_is_absent():
    m = mapping(columns=("session_id", "event", "itemId", "timestamp"))
    event = from_csv(m, session_id="s", event="e", itemId="", timestamp="2024-03-13 10:21:14")
    assert "itemId" not in event
    assert "metadata" not in event
    assert event["timestamp"] == "2024-03-13 10:21:14"


def test_a_constant_outranks_a_column_of_the_same_name():
    m = mapping(columns=("session_id", "event", "tenantId"))
    assert from_csv(m, session_id="s", event="e", tenantId="other")["tenantId"] == "acme"


def test_the_rest_can_be_left_out():
    assert "metadata" not in from_csv(mapping(rest_is_metadata=False), session_id="s", event="e", plan="pro")


def test_milliseconds_in_a_csv_are_sent_as_a_number():
    m = mapping(columns=("session_id", "event", "timestamp"))
    assert from_csv(m, session_id="s", event="e", timestamp="1718447400123")["timestamp"] == 1718447400123
    assert from_csv(m, session_id="s", event="e", timestamp="20240615")["timestamp"] == "20240615"


def test_the_rest_joins_metadata_that_the_row_has_itself():
    m = mapping(columns=("session_id", "event", "plan", "metadataJson"))
    event = from_csv(m, session_id="s", event="e", plan="pro", metadataJson='{"a": 1.10}')
    assert event["metadata"] == {"plan": "pro", "a": 1.10}
    assert "metadataJson" not in event
    with pytest.raises(RowError, match="not a JSON object"):
        from_csv(m, session_id="s", event="e", plan="pro", metadataJson="[1]")


def test_json_keeps_every_value_as_it_is():
    m = mapping(columns=None, mapped={}, constants={}, rest_is_metadata=False)
    text = '{"projectId":"p","tenantId":"t","sessionId":"s","metadata":{"n":1.10,"big":90071992547409931}}'
    fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    assert b'"metadata":{"n":1.10,"big":90071992547409931}' in m.encode(Row(1, 0, text.encode(), fields))


def test_json_null_and_empty_are_absent_and_other_names_may_join_the_metadata():
    m = mapping(columns=None, mapped={"userId": "uid"}, constants=CONSTANTS)
    event = from_json(
        m,
        '{"sessionId":"s","eventType":"e","uid":"u","itemId":null,"extra":[1,{"x":2}],"metadata":{"k":"v"}}',
    )
    assert event["userId"] == "u"
    assert "itemId" not in event
    assert event["metadata"] == {"extra": [1, {"x": 2}], "k": "v"}


def test_an_event_id_of_the_row_s_own_is_kept():
    m = mapping(columns=None, constants=CONSTANTS)
    own = "0b9d1c86-6a5c-4c7e-9f59-0f2c1d8e4b11"
    event = from_json(m, json.dumps({"session_id": "s", "event": "e", "eventId": own}))
    assert (event["eventId"], event["timestamp"]) == (own, NOW)


def test_a_uuid_7_of_the_row_s_own_tells_its_time_so_none_is_added():
    m = mapping(columns=None, constants=CONSTANTS)
    event = from_json(m, '{"session_id":"s","event":"e","eventId":"0190163d-8694-739b-aea5-966c26f8ad91"}')
    assert "timestamp" not in event


def test_the_same_row_is_the_same_event_and_any_other_is_another():
    first = from_csv(mapping(), 1, b"a,b", session_id="s", event="e")["eventId"]
    assert from_csv(mapping(), 1, b"a,b", session_id="s", event="e")["eventId"] == first
    assert from_csv(mapping(), 2, b"a,b", session_id="s", event="e")["eventId"] != first
    assert from_csv(mapping(), 1, b"a,c", session_id="s", event="e")["eventId"] != first
    assert event_id_of(b"one file", 1, b"a") != event_id_of(b"another", 1, b"a")


def test_the_made_id_is_fixed_for_ever():
    """Should it change, a re-sent file would be counted twice after an upgrade."""
    assert event_id_of(b"\0" * 32, 1, b"row") == "6f4c0a9d-8252-836d-af29-efbe348175dc"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"mapped": {"sesionId": "session_id"}}, "an event has no field sesionId; did you mean sessionId?"),
        ({"constants": {"project": "x"}}, "did you mean projectId?"),
        (
            {"mapped": {**MAPPED, "userId": "uid"}},
            "--map userId=uid: no such column; the columns are session_id, event, plan",
        ),
        ({"mapped": {"sessionId": "session_id"}}, "no column for eventType"),
        ({"constants": {}}, "no column for projectId, tenantId"),
        ({"mapped": {**MAPPED, "tenantId": "plan"}}, "tenantId is both set and mapped"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused_before_anything_is_sent(
    kwargs: dict[str, Any], message: str
):
    with pytest.raises(MappingError) as error:
        mapping(**kwargs)
    assert message in str(error.value)


def test_a_row_with_a_problem_makes_no_event():
    with pytest.raises(RowError, match="broken"):
        mapping().encode(Row(1, 0, b"", {}, "broken"))


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("42", b"42"),
        ("-3.25", b"-3.25"),
        ("0.001", b"0.001"),
        ("999999999999999", b"999999999999999"),
        # Each of these would be another text when a program has read and written it.
        ("007", b'"007"'),
        ("1e3", b'"1e3"'),
        ("9007199254740993", b'"9007199254740993"'),
        ("1.10", b'"1.10"'),
        ("+1", b'"+1"'),
        ("1.", b'"1."'),
        (".5", b'".5"'),
        ("-0", b'"-0"'),
        ("NaN", b'"NaN"'),
        (" 1", b'" 1"'),
        ("١", '"١"'.encode()),
        ("true", b'"true"'),
    ],
)
def test_a_cell_becomes_a_number_only_if_no_digit_can_get_lost(text: str, sent: bytes):
    m = mapping(default_type="auto")
    assert b'"metadata":{"plan":' + sent + b"}" in m.encode(
        Row(1, 0, b"", {"session_id": "s", "event": "e", "plan": text})
    )


@pytest.mark.parametrize(
    ("kind", "text", "sent"),
    [
        ("number", "1.10", b"1.10"),
        ("number", "9007199254740993", b"9007199254740993"),
        ("number", "1e3", b"1e3"),
        ("number", "007", b'"007"'),
        ("number", "n/a", b'"n/a"'),
        ("boolean", "Yes", b"true"),
        ("boolean", "0", b"false"),
        ("boolean", "maybe", b'"maybe"'),
        ("json", '{"a": 1.10}', b'{"a": 1.10}'),
        ("json", "{broken", b'"{broken"'),
        ("text", "42", b'"42"'),
    ],
)
def test_a_column_s_type_goes_over_the_default_and_what_does_not_fit_it_stays_text(
    kind: Any, text: str, sent: bytes
):
    m = mapping(default_type="auto", types={"plan": kind})
    assert b'"metadata":{"plan":' + sent + b"}" in m.encode(
        Row(1, 0, b"", {"session_id": "s", "event": "e", "plan": text})
    )


def test_an_empty_cell_is_absent_from_the_metadata():
    m = mapping(columns=("session_id", "event", "plan", "note"))
    assert from_csv(m, session_id="s", event="e", plan="", note="x")["metadata"] == {"note": "x"}
    assert "metadata" not in from_csv(m, session_id="s", event="e", plan="", note="")


def test_a_default_is_for_rows_whose_column_says_nothing():
    m = mapping(defaults={"userId": "nobody", "eventType": "other"})
    assert from_csv(m, session_id="s", event="", userId="u")["eventType"] == "other"
    assert from_csv(m, session_id="s", event="e", userId="")["userId"] == "nobody"


def test_a_number_is_taken_for_the_text_of_an_identifier_digit_by_digit():
    m = mapping(columns=None, mapped={}, constants=CONSTANTS)
    event = from_json(m, '{"sessionId":12345678901234567890,"eventType":"e","userId":1.10,"itemId":true}')
    assert (event["sessionId"], event["userId"], event["itemId"]) == ("12345678901234567890", "1.10", True)


def test_a_field_s_own_name_that_another_column_is_mapped_to_is_not_lost():
    m = mapping(columns=None, mapped={**MAPPED, "userId": "uid"}, constants=CONSTANTS)
    event = from_json(m, '{"session_id":"s","event":"e","uid":"u","userId":"other"}')
    assert (event["userId"], event["metadata"]) == ("u", {"userId": "other"})


def test_a_dot_is_a_step_inside_in_json_and_part_of_the_name_in_csv():
    m = mapping(columns=None, mapped={**MAPPED, "userId": "a.b", "itemId": r"a\.b"}, constants=CONSTANTS)
    event = from_json(m, '{"session_id":"s","event":"e","a":{"b":"inside"},"a.b":"dotted"}')
    assert (event["userId"], event["itemId"], event.get("metadata")) == ("inside", "dotted", None)
    for name in ("a.b", r"a\.b"):
        m = mapping(columns=("session_id", "event", "a.b"), mapped={**MAPPED, "userId": name})
        event = json.loads(m.encode(Row(1, 0, b"", {"session_id": "s", "event": "e", "a.b": "u"})))
        assert event["userId"] == "u"


def test_a_path_into_what_is_no_object_finds_nothing_and_loses_nothing():
    m = mapping(columns=None, mapped={**MAPPED, "userId": "a.b.c"}, constants=CONSTANTS)
    for text in ('{"a":5}', '{"a":{"b":[1]}}', '{"a":{"x":1}}'):
        event = from_json(m, '{"session_id":"s","event":"e",' + text[1:])
        assert "userId" not in event
        assert event["metadata"] == json.loads(text)


def test_an_id_that_is_hashed_is_the_same_in_every_file_and_format():
    csv = mapping(columns=("session_id", "event", "order"), id_from=("order",))
    ndjson = mapping(columns=None, constants=CONSTANTS, id_from=("order",))
    one = from_csv(csv, 1, b"row", session_id="s", event="e", order="17")
    two = from_json(ndjson, '{"session_id":"s","event":"e","order":"17"}')
    three = from_json(ndjson, '{"session_id":"s","event":"e","order":17}')
    assert one["eventId"] == two["eventId"] == three["eventId"]
    assert uuid.UUID(one["eventId"]).version == 8
    assert one["metadata"]["order"] == "17"
    with pytest.raises(RowError, match="it has no order"):
        from_json(ndjson, '{"session_id":"s","event":"e","order":null}')


def test_a_column_that_is_named_twice_is_hashed_twice():
    """As it always was: with another id, a re-sent file would be counted twice."""
    twice = mapping(columns=("session_id", "event", "order"), id_from=("order", "order"))
    event = from_csv(twice, session_id="s", event="e", order="17")
    assert event["eventId"] == hashed_id([b"17", b"17"])


def test_the_hashed_id_is_fixed_for_ever_and_knows_where_a_part_ends():
    """Should it change, a re-sent file would be counted twice after an upgrade."""
    assert hashed_id([b"order-1"]) == "a541d04e-c624-8ec4-8803-0dc087c38649"
    assert hashed_id([b"a", b"bc"]) != hashed_id([b"ab", b"c"])


def test_a_shift_moves_every_time_that_a_row_has_and_no_other():
    day = 86_400_000
    m = mapping(columns=None, constants=CONSTANTS, shift_ms=day)
    row = '{"session_id":"s","event":"e"'
    assert from_json(m, row + ',"timestamp":1000}')["timestamp"] == 1000 + day
    assert from_json(m, row + ',"timestamp":"1970-01-01T00:00:01.0009Z"}')["timestamp"] == 1000 + day
    made_at = 0x0190163D8694
    event = from_json(m, row + ',"eventId":"0190163d-8694-739b-aea5-966c26f8ad91"}')
    assert event["timestamp"] == made_at + day
    assert from_json(m, row + "}")["timestamp"] == NOW
    with pytest.raises(RowError, match=r'timestamp is "soon"; only ISO 8601 and numbers can be shifted'):
        from_json(m, row + ',"timestamp":"soon"}')


def test_the_first_and_the_last_time_are_noted():
    m = mapping(columns=("session_id", "event", "timestamp"))
    for text in ("2024-03-13", "2024-03-11 10:00:00 UTC", "nonsense", "2024-03-12"):
        from_csv(m, session_id="s", event="e", timestamp=text)
    assert (m.oldest_ms, m.newest_ms) == (1_710_151_200_000, 1_710_288_000_000)
