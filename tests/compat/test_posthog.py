"""What an event of PostHog's SDKs becomes."""

import uuid

import pytest

from nealytics.event import InvalidEvent
from tests.compat.messages import NOW_MS, SERVER, event, metadata

TIME = "2026-11-30T12:09:00.123Z"
ID = "01a22c5c-bc46-7317-bb89-c28fb910dd2a"
EVENT = {"event": "paid", "distinct_id": "ada", "uuid": ID, "timestamp": TIME}


def posthog(message: object, **options):
    return event("posthog", message, **options)


def test_an_event_of_a_server():
    stored = posthog(
        EVENT | {"properties": {"n": 1, "$lib": "posthog-node", "gone": None}}, shared={"sent_at": "later"}
    )
    assert (stored.project_id, stored.tenant_id, stored.event_type) == ("shop", "acme", "paid")
    assert (stored.user_id, stored.session_id, stored.item_id) == ("ada", "ada", None)
    assert stored.timestamp_ms == NOW_MS - 60_000 + 123
    assert uuid.UUID(int=stored.event_id).version == 5
    assert metadata(stored) == {"n": 1, "$lib": "posthog-node", "uuid": ID, "sent_at": "later"}


def test_an_event_of_a_browser_has_its_fields_in_the_properties_and_never_its_key():
    stored = posthog(
        {
            "event": "$pageview",
            "uuid": ID,
            "properties": {
                "token": "secret",
                "distinct_id": "visitor",
                "$session_id": "s-1",
                "$pathname": "/shop",
                "$current_url": "http://x/shop",
                "$groups": {"company": "acme"},
            },
            "timestamp": TIME,
        },
        grant=SERVER,
    )
    assert (stored.user_id, stored.session_id, stored.item_id) == ("visitor", "s-1", "/shop")
    assert (stored.tenant_id, stored.event_type) == ("acme", "page_view")
    assert b"secret" not in stored.metadata_json


@pytest.mark.parametrize(
    ("name", "properties", "event_type", "item_id"),
    [
        ("$pageview", {"$current_url": "http://x/a"}, "page_view", "http://x/a"),
        ("$screen", {"$screen_name": "Basket"}, "screen_view", "Basket"),
        ("$identify", {}, "$identify", None),
        ("$groupidentify", {}, "$group", None),
        ("$create_alias", {}, "$alias", None),
        ("$pageleave", {"$pathname": "/a"}, "$pageleave", None),
    ],
)
def test_names_of_posthog_s_own(name, properties, event_type, item_id):
    stored = posthog(EVENT | {"event": name, "properties": properties})
    assert (stored.event_type, stored.item_id) == (event_type, item_id)


@pytest.mark.parametrize(
    ("fields", "timestamp_ms"),
    [
        ({"timestamp": TIME, "properties": {"$time": 1.0}}, NOW_MS - 60_000 + 123),
        ({"timestamp": None, "properties": {"$time": (NOW_MS - 7) / 1000}}, NOW_MS - 7),
        ({"timestamp": "", "properties": {"$time": (NOW_MS - 7) / 1000}}, NOW_MS - 7),
        ({"timestamp": None}, int(ID.replace("-", "")[:12], 16)),
        ({"timestamp": None, "uuid": None, "properties": {"$insert_id": "short"}}, NOW_MS),
        ({"timestamp": None, "properties": {"$time": "1e999"}}, int(ID.replace("-", "")[:12], 16)),
    ],
)
def test_an_event_without_a_timestamp_has_the_time_that_a_retry_has_too(fields, timestamp_ms):
    assert posthog(EVENT | fields).timestamp_ms == timestamp_ms


def test_the_identity_is_of_the_uuid_else_the_insert_id_else_the_bytes():
    first = posthog(EVENT, shared={"sent_at": "1"})
    assert posthog(EVENT | {"properties": {"retried": 1}}, shared={"sent_at": "2"}).event_id == first.event_id
    one, other = (
        posthog(EVENT | {"uuid": None, "properties": {"$insert_id": id}}).event_id for id in ("a", "b")
    )
    assert len({first.event_id, one, other}) == 3
    assert posthog(EVENT | {"uuid": None}).event_id == posthog(EVENT | {"uuid": None}).event_id


@pytest.mark.parametrize(
    ("message", "options", "reason", "field"),
    [
        (EVENT, {"grant": SERVER}, "invalid_event", "tenantId"),
        (EVENT | {"distinct_id": None}, {}, "invalid_event", "sessionId"),
        (EVENT | {"event": None}, {}, "invalid_event", "eventType"),
        (EVENT | {"timestamp": "2099-01-01"}, {}, "outside_time_window", "timestamp"),
        (EVENT | {"properties": 5}, {}, "invalid_event", "properties"),
        (EVENT | {"properties": {"$groups": 5}}, {"grant": SERVER}, "invalid_event", "*"),
        (b"[]", {}, "invalid_event", None),
    ],
)
def test_a_bad_event_is_refused_with_reason_and_field(message, options, reason, field):
    with pytest.raises(InvalidEvent) as refused:
        posthog(message, **options)
    assert (refused.value.reason, refused.value.field) == (reason, field)


def test_several_groups_are_named_and_the_setting_chooses_one():
    event = EVENT | {"properties": {"$groups": {"company": "acme", "team": "t-1"}}}
    with pytest.raises(
        InvalidEvent, match=r"no single tenant: properties\.\$groups has company, team"
    ) as refused:
        posthog(event, grant=SERVER)
    assert '"properties.$groups.company"' in refused.value.detail
    assert posthog(event, grant=SERVER, tenant_from=("properties.$groups.company",)).tenant_id == "acme"


def test_a_property_keeps_its_name_and_a_field_of_the_event_gives_way():
    stored = posthog(EVENT | {"offset": 1, "$set": {"a": 1}, "properties": {"offset": 2, "$set": {"b": 2}}})
    assert metadata(stored).items() >= {
        "offset": 2, "$offset": 1, "$set": {"b": 2}, "$$set": {"a": 1}
    }.items()  # fmt: skip
