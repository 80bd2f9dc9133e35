"""What PostHog's events mean here.

event_type      `event`; page_view, screen_view, $group, $alias for PostHog's own names of these
item_id         of a page its path or URL, of a screen its name
user_id         `distinct_id`
session_id      `properties.$session_id`, else the id of the device, else `distinct_id`: servers have no
                sessions
timestamp       `timestamp`, else `properties.$time`, else the time in a UUIDv7 `uuid`
metadata        the properties, and beside them what is left of the event: `uuid`, `$set`, `sent_at`, …
                With `$` in front if a property has the same name
"""

import msgspec

from nealytics.compat.envelope import Fields, fields_of
from nealytics.compat.message import Draft, add_shared, child, drop_empty, text, time_in

ROUTES = dict.fromkeys(("/batch", "/e", "/i/v0/e", "/capture"), "")
FLAGS = "/flags"
CONFIG = "/array/{token}/config"
KEY_FIELDS = ("api_key", "token")
SHARED = ("sent_at",)
_TYPES = {
    "$pageview": "page_view",
    "$screen": "screen_view",
    "$groupidentify": "$group",
    "$create_alias": "$alias",
}
_ITEMS = {"$pageview": ("$pathname", "$current_url"), "$screen": ("$screen_name",)}
_DROPPED = ("event", "properties", "distinct_id", "timestamp", "api_key", "token")
_DROPPED_PROPERTIES = ("token", "distinct_id")


def draft(raw: msgspec.Raw, shared: Fields, _kind: str) -> Draft:
    """Raises `InvalidEvent`."""
    event = fields_of(raw)
    drop_empty(event, "timestamp")
    add_shared(event, shared, SHARED)
    properties = child(event, "properties")
    name = text(event, "event")
    user_id = text(event, "distinct_id") or text(properties, "distinct_id")
    message_id = text(event, "uuid") or text(properties, "$insert_id")
    metadata = {key: value for key, value in properties.items() if key not in _DROPPED_PROPERTIES}
    for key, value in event.items():
        if key not in _DROPPED:
            metadata[f"${key}" if key in properties else key] = value
    return Draft(
        event_type=_TYPES.get(name, name),
        user_id=user_id,
        session_id=text(properties, "$session_id", "$device_id", "$anon_distinct_id") or user_id,
        item_id=text(properties, *_ITEMS.get(name, ())),
        message_id=message_id,
        timestamp=event.get("timestamp") or _time(properties) or time_in(message_id),
        metadata=metadata,
        tree={**event, "properties": properties},
    )


def _time(properties: Fields) -> msgspec.Raw | None:
    """When an event without a timestamp happened, as posthog-js notes it too, in seconds."""
    try:
        seconds = float(text(properties, "$time"))
        return msgspec.Raw(str(round(seconds * 1000)).encode())
    except (ValueError, OverflowError):
        return None
