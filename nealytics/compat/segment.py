"""What Segment's messages mean here. RudderStack's SDKs send the same ones.

    event_type      `event` of a track; page_view, screen_view, $identify, $group, $alias of the other calls
    item_id         of a page or a screen: its path, URL or name
    user_id         `userId`
    session_id      `context.sessionId`, else the anonymous id, else the user id: servers have no sessions
    timestamp       `timestamp`, else `originalTimestamp`, else the time in `messageId`
    metadata        the properties or traits, and beside them what is left of the message: `context`,
                    `anonymousId`, `messageId`, `sentAt`, … With `$` in front if a property has the same name

The `context` of a whole batch is added to that of each message, and its `sentAt` to messages without one.
"""

import msgspec

from nealytics.compat.envelope import Fields, fields_of
from nealytics.compat.message import Draft, add_shared, child, drop_empty, text, time_in
from nealytics.event import InvalidEvent, shorten

# In the path of a route or as `type` of a message → what is stored.
TYPES = {
    "track": "",
    "page": "page_view",
    "screen": "screen_view",
    "identify": "$identify",
    "group": "$group",
    "alias": "$alias",
}
# Path → the type of its messages; empty = each says its own.
ROUTES = {
    **dict.fromkeys(("/v1/batch", "/v1/import", "/v1/b", "/beacon/v1/batch"), ""),
    **{f"/v1/{name}": kind for kind in TYPES for name in (kind, kind[0])},
}
METRICS = "/v1/m"  # what analytics.js counts about itself
SETTINGS = "/v1/projects/{key}/settings"
KEY_FIELDS = ("writeKey",)
SHARED = ("context", "sentAt")
_TRAITS = ("identify", "group")
# Columns, and what is not about the event. The key is nobody's business who reads the events.
_DROPPED = ("type", "event", "userId", "properties", "writeKey")


def draft(raw: msgspec.Raw, shared: Fields, kind: str) -> Draft:
    """`kind` is the type that the route says; empty if each message does. Raises `InvalidEvent`."""
    message = fields_of(raw)
    drop_empty(message, "timestamp", "originalTimestamp")
    kind = kind or text(message, "type") or ("track" if "event" in message else "")
    if kind not in TYPES:
        raise InvalidEvent(
            "invalid_event",
            f'type is "{shorten(kind)}", which is not one of {", ".join(TYPES)}'
            if kind
            else "type is missing",
            "type",
        )
    add_shared(message, shared, SHARED)
    context = child(message, "context")
    of_kind = "traits" if kind in _TRAITS else "properties"
    properties = child(message, of_kind)
    user_id = text(message, "userId")
    message_id = text(message, "messageId")
    return Draft(
        event_type=TYPES[kind] or text(message, "event"),
        user_id=user_id,
        session_id=text(context, "sessionId")
        or text(properties, "$session_id")
        or text(message, "anonymousId")
        or user_id,
        item_id=_item(message, properties, context) if kind in ("page", "screen") else "",
        message_id=message_id,
        timestamp=message.get("timestamp") or message.get("originalTimestamp") or time_in(message_id),
        metadata=_metadata(message, properties, of_kind),
        tree={**message, "context": context, of_kind: properties},
    )


def _item(message: Fields, properties: Fields, context: Fields) -> str:
    page = child(context, "page")
    return (
        text(properties, "path")
        or text(page, "path")
        or text(properties, "url")
        or text(page, "url")
        or text(message, "name")
        or text(properties, "name")
    )


def _metadata(message: Fields, properties: Fields, of_kind: str) -> Fields:
    metadata = dict(properties)
    time = "timestamp" if "timestamp" in message else "originalTimestamp"
    for name, value in message.items():
        if name not in _DROPPED and name not in (of_kind, time):
            metadata[f"${name}" if name in properties else name] = value
    return metadata
