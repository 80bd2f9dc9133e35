import json
import uuid
from typing import Any

import msgspec
import pytest

from nealytics.importer.mapping import Mapping, MappingError, RowError, event_id_of
from nealytics.importer.source import Row

CONSTANTS = {"projectId": "shop", "tenantId": "acme"}
MAPPED = {"sessionId": "session_id", "eventType": "event"}
NOW = "2024-06-15T10:30:00.123Z"


def mapping(
    columns: tuple[str, ...] | None = ("session_id", "event", "plan"),
    mapped: dict[str, str] = MAPPED,
    constants: dict[str, str] = CONSTANTS,
    rest_is_metadata: bool = True,
) -> Mapping:
    return Mapping(
        columns=columns,
        mapped=mapped,
        constants=constants,
        rest_is_metadata=rest_is_metadata,
        head=b"head",
        default_timestamp=NOW,
    )


def from_csv(m: Mapping, number: int = 1, raw: bytes = b"raw", **fields: str) -> dict[str, Any]:
    return json.loads(m.encode(Row(number, 0, raw, fields)))


def from_json(m: Mapping, text: str) -> dict[str, Any]:
    fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return json.loads(m.encode(Row(1, 0, text.encode(), fields)))


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
            "--map userId=uid: no such column; the header names session_id, event, plan",
        ),
        ({"mapped": {"sessionId": "session_id"}}, "no column is eventType"),
        ({"constants": {}}, "no column is projectId and none is tenantId"),
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
