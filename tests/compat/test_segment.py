"""What a message of Segment's or RudderStack's SDKs becomes."""

import uuid

import pytest

from nealytics.compat.segment import ROUTES
from nealytics.event import InvalidEvent
from tests.compat.messages import BROWSER, NOW_MS, SERVER, TENANT, event, metadata

TIME = "2026-11-30T12:09:00.123Z"
TRACK = {"type": "track", "event": "Order Paid", "userId": "ada", "messageId": "m-1", "timestamp": TIME}


def segment(message: object, **options):
    return event("segment", message, **options)


def test_a_track_becomes_an_event_and_the_rest_is_metadata():
    stored = segment(
        TRACK
        | {
            "anonymousId": "anon",
            "properties": {"total": 12.50, "plan": None},
            "context": {"sessionId": "s-1", "library": {"name": "x"}},
            "integrations": {"All": True},
            "extra": [1],
            "writeKey": "secret",
            "groupId": None,
        }
    )
    assert (stored.project_id, stored.tenant_id, stored.event_type) == ("shop", "acme", "Order Paid")
    assert (stored.user_id, stored.session_id, stored.item_id) == ("ada", "s-1", None)
    assert stored.timestamp_ms == NOW_MS - 60_000 + 123
    assert metadata(stored) == {
        "total": 12.5,
        "anonymousId": "anon",
        "messageId": "m-1",
        "context": {"sessionId": "s-1", "library": {"name": "x"}},
        "integrations": {"All": True},
        "extra": [1],
    }


@pytest.mark.parametrize(
    ("message", "event_type", "item_id"),
    [
        (
            {"type": "page", "name": "Home", "properties": {"path": "/a", "url": "http://x/a"}},
            "page_view",
            "/a",
        ),
        ({"type": "page", "name": "Home", "properties": {"url": "http://x/a"}}, "page_view", "http://x/a"),
        ({"type": "page", "context": {"page": {"path": "/b"}}}, "page_view", "/b"),
        ({"type": "page", "context": {"page": {"url": "http://x/b"}}}, "page_view", "http://x/b"),
        ({"type": "page", "name": "Home"}, "page_view", "Home"),
        ({"type": "screen", "name": "Basket"}, "screen_view", "Basket"),
        ({"type": "screen", "properties": {"name": "Basket"}}, "screen_view", "Basket"),
        ({"type": "identify", "traits": {"age": 5}}, "$identify", None),
        ({"type": "group", "groupId": "g"}, "$group", None),
        ({"type": "alias", "previousId": "before"}, "$alias", None),
        ({"event": "No type"}, "No type", None),
        ({"event": 7, "type": "track"}, "7", None),
    ],
)
def test_each_call_has_a_name_here(message, event_type, item_id):
    stored = segment(message | {"userId": "u", "timestamp": TIME})
    assert (stored.event_type, stored.item_id) == (event_type, item_id)


def test_traits_are_metadata_as_properties_are():
    stored = segment({"type": "identify", "userId": "u", "traits": {"age": 5}, "context": {"ip": "::1"}})
    assert metadata(stored) == {"age": 5, "context": {"ip": "::1"}}


def test_a_property_keeps_its_name_and_a_field_of_the_message_gives_way():
    stored = segment(TRACK | {"properties": {"context": "mine", "messageId": 7}, "context": {"ip": "::1"}})
    assert metadata(stored) == {
        "context": "mine",
        "messageId": 7,
        "$context": {"ip": "::1"},
        "$messageId": "m-1",
    }


@pytest.mark.parametrize(
    ("fields", "session_id"),
    [
        ({"context": {"sessionId": "s"}, "anonymousId": "a"}, "s"),
        ({"context": {"sessionId": 1796040600000}}, "1796040600000"),
        ({"properties": {"$session_id": "p"}, "anonymousId": "a"}, "p"),
        ({"anonymousId": "a"}, "a"),
        ({"anonymousId": None}, "ada"),
    ],
)
def test_the_session_is_what_the_sdk_knows_else_the_visitor_else_the_user(fields, session_id):
    assert segment(TRACK | fields).session_id == session_id


def test_the_route_says_the_type_where_it_does():
    assert ROUTES["/v1/p"] == ROUTES["/v1/page"] == "page"
    assert ROUTES["/v1/batch"] == ROUTES["/beacon/v1/batch"] == ""
    assert segment({"userId": "u", "name": "Home"}, kind="page").event_type == "page_view"


def test_the_context_of_a_batch_is_in_each_event_whose_own_wins():
    shared = {"context": {"ip": "::1", "sessionId": "s"}, "sentAt": TIME, "timestamp": "1999-01-01"}
    stored = segment(TRACK | {"context": {"ip": "::2"}}, shared=shared)
    assert metadata(stored)["context"] == {"ip": "::2", "sessionId": "s"}
    assert metadata(stored)["sentAt"] == TIME
    assert stored.session_id == "s"
    assert stored.timestamp_ms == NOW_MS - 60_000 + 123
    assert metadata(segment(TRACK | {"sentAt": "x"}, shared=shared))["sentAt"] == "x"


@pytest.mark.parametrize(
    ("times", "timestamp_ms"),
    [
        ({"timestamp": TIME, "originalTimestamp": "2026-11-01"}, NOW_MS - 60_000 + 123),
        ({"timestamp": None, "originalTimestamp": TIME}, NOW_MS - 60_000 + 123),
        ({"timestamp": "", "originalTimestamp": TIME}, NOW_MS - 60_000 + 123),
        ({"timestamp": "", "originalTimestamp": ""}, NOW_MS),
        ({"timestamp": "2026-11-30T12:09:00.123456+00:00"}, NOW_MS - 60_000 + 123),
        ({"timestamp": NOW_MS - 5}, NOW_MS - 5),
        ({"timestamp": None}, NOW_MS),
        ({"messageId": f"ajs-next-{NOW_MS - 9}-2e1d0600-5c68-4269-a1c3-aa1223c4524e"}, NOW_MS - 9),
        ({"messageId": "01a22c5c-bc46-7317-bb89-c28fb910dd2a"}, 0x01A22C5CBC46),
        ({"messageId": "01a22c5c-bc46-4317-bb89-c28fb910dd2a"}, NOW_MS),
        ({"messageId": f"order-{NOW_MS - 9}-1"}, NOW_MS),
    ],
)
def test_the_time_is_the_client_s_own_and_never_corrected(times, timestamp_ms):
    message = {"type": "track", "event": "e", "userId": "u", "sentAt": "2026-11-30T10:00:00Z"}
    assert segment(message | times).timestamp_ms == timestamp_ms


def test_the_identity_is_of_project_and_message_and_survives_a_renewed_sent_at():
    first = segment(TRACK | {"sentAt": TIME})
    again = segment(TRACK | {"sentAt": "2026-11-30T12:09:30Z"}, shared={"sentAt": TIME})
    assert first.event_id == again.event_id
    assert uuid.UUID(int=first.event_id).version == 5
    assert segment(TRACK | {"messageId": str(uuid.UUID(int=1))}).event_id != first.event_id
    other = TENANT.__class__(1, "other", "acme", "server")
    assert segment(TRACK, grant=other).event_id != first.event_id
    # Without an id, the same bytes are the same event.
    nameless = {name: value for name, value in TRACK.items() if name != "messageId"}
    assert segment(nameless).event_id == segment(nameless).event_id
    assert segment(nameless | {"event": "Other"}).event_id != segment(nameless).event_id
    # Without a time, too, a retry is another event in any case, and equal ones are several events.
    del nameless["timestamp"]
    assert segment(nameless).event_id != segment(nameless).event_id


def test_ids_of_a_public_key_cannot_be_guessed():
    bound = TENANT.__class__(2, "shop", "acme", "browser", b"digest")
    stored = segment(TRACK, grant=bound)
    assert uuid.UUID(int=stored.event_id).version == 8
    assert stored.event_id == segment(TRACK, grant=bound).event_id


@pytest.mark.parametrize(
    ("fields", "tenant_id"),
    [
        ({"context": {"groupId": "a"}, "groupId": "b"}, "a"),
        ({"groupId": "b", "properties": {"tenant_id": "d"}}, "b"),
        ({"properties": {"$groups": {"company": "c"}, "tenant_id": "d"}}, "c"),
        ({"properties": {"$groups": {"company": "c", "team": "t"}, "tenant_id": "d"}}, "d"),
        ({"properties": {"tenant_id": 42}}, "42"),
        ({"context": {"groupId": ""}, "groupId": None, "properties": {"tenant_id": "d"}}, "d"),
    ],
)
def test_a_server_s_message_names_its_tenant_by_the_list(fields, tenant_id):
    assert segment(TRACK | fields, grant=SERVER).tenant_id == tenant_id
    assert segment(TRACK | fields, grant=TENANT).tenant_id == "acme"


def test_the_list_of_tenant_fields_is_a_setting():
    message = TRACK | {"context": {"traits": {"org": {"id": "o"}}}, "groupId": "g"}
    assert segment(message, grant=SERVER, tenant_from=("context.traits.org.id",)).tenant_id == "o"
    with pytest.raises(InvalidEvent, match=r"none of properties\.org is there"):
        segment(message, grant=SERVER, tenant_from=("properties.org",))


@pytest.mark.parametrize(
    ("message", "options", "reason", "field"),
    [
        (TRACK, {"grant": SERVER}, "invalid_event", "tenantId"),
        (TRACK | {"groupId": "g"}, {"grant": BROWSER}, "forbidden", "tenantId"),
        (TRACK | {"timestamp": "2099-01-01T00:00:00Z"}, {}, "outside_time_window", "timestamp"),
        (TRACK | {"timestamp": "yesterday"}, {}, "invalid_event", "timestamp"),
        (TRACK | {"timestamp": [1]}, {}, "invalid_event", "timestamp"),
        (TRACK | {"userId": "u" * 300, "anonymousId": "a"}, {}, "invalid_event", "userId"),
        (TRACK | {"userId": {"a": 1}}, {}, "invalid_event", "userId"),
        (TRACK | {"userId": True}, {}, "invalid_event", "userId"),
        (TRACK | {"userId": None}, {}, "invalid_event", "sessionId"),
        (TRACK | {"event": None}, {}, "invalid_event", "eventType"),
        (TRACK | {"event": "e" * 300}, {}, "invalid_event", "eventType"),
        (TRACK | {"type": "video"}, {}, "invalid_event", "type"),
        ({"userId": "u"}, {}, "invalid_event", "type"),
        (TRACK | {"properties": [1]}, {}, "invalid_event", "properties"),
        (TRACK | {"context": "c"}, {}, "invalid_event", "context"),
        (TRACK | {"groupId": {"a": 1}}, {"grant": SERVER}, "invalid_event", "groupId"),
        (TRACK | {"properties": {"long": "x" * 300_000}}, {}, "invalid_event", "metadata"),
        (b"7", {}, "invalid_event", None),
        (b'"text"', {}, "invalid_event", None),
        (b"null", {}, "invalid_event", None),
        (b"[1]", {}, "invalid_event", None),
        (b'{"event": ' + b"[" * 2_000 + b"]" * 2_000 + b"}", {}, "invalid_json", None),
    ],
)  # fmt: skip
def test_a_bad_message_is_refused_with_reason_and_field(message, options, reason, field):
    with pytest.raises(InvalidEvent) as refused:
        segment(message, **options)
    assert (refused.value.reason, refused.value.field) == (reason, field)
    assert refused.value.message
