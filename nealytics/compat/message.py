"""From a vendor's message to an event: what `segment` and `posthog` have in common.

A vendor's module makes a `Draft` of a message; `event_of` adds what the key decides, the tenant and the
identity, and checks the event as `event.freeze` checks every other one. Values stay undecoded, except those
that become columns, so the metadata has them as they were written.

The identity uses the message's own timestamp, as it was sent: some SDKs renew `sentAt` at a retry, so a
timestamp that is corrected by it would differ each time. The event id is a UUIDv5 of the project and the
message's id, which is not always a UUID; of a message without one, of its bytes. A message that has neither
an id nor a timestamp is a new event each time, because its time is that of its receipt.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from nealytics.auth.grant import Grant
from nealytics.commit.rejected import Whose
from nealytics.compat.envelope import MESSAGE_BYTES_MAX, Fields, fields_of
from nealytics.event import Event, InvalidEvent, Limits, Sent, said_ms, shorten
from nealytics.ingest.parser import accept

# Never to be changed: the ids of all events that are stored with it depend on it.
_NAMESPACE = uuid.UUID("5b0b54c5-60a9-5dd4-9d43-f2a8ff8bd6d6")
_ANY = "*"

_value = msgspec.json.Decoder(str | int | float)
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_MILLISECONDS = re.compile(r"-next-(1\d{12})-", re.ASCII)

Paths = Sequence[tuple[str, ...]]


class Draft(NamedTuple):
    """What a message says about itself."""

    event_type: str
    user_id: str
    session_id: str
    item_id: str
    message_id: str  # empty = it has none
    timestamp: msgspec.Raw | None
    metadata: Fields
    tree: Mapping[str, msgspec.Raw | Fields]  # where the tenant is


def paths_of(settings: Sequence[str]) -> Paths:
    """`compat.tenant_from` as names."""
    return tuple(tuple(path.split(".")) for path in settings)


def event_of(
    raw: msgspec.Raw, draft: Draft, grant: Grant, tenants: Paths, received_ms: int, limits: Limits
) -> Event:
    """The event to store. Raises `InvalidEvent`."""
    sent = Sent(
        project_id=grant.project,
        tenant_id=grant.tenant or _tenant(draft, grant, tenants),
        session_id=draft.session_id,
        event_type=draft.event_type,
        user_id=grant.user or draft.user_id,
        item_id=draft.item_id,
        metadata=msgspec.Raw(msgspec.json.encode(draft.metadata)),
    )
    if draft.timestamp is not None:
        sent.timestamp = draft.timestamp
    if draft.message_id or draft.timestamp is not None:
        sent.event_id = id_of_message(grant.project, draft.message_id or bytes(raw).decode())
    return accept(sent, received_ms, limits, grant)


def id_of_message(project_id: str, message_id: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, f"{project_id}\0{message_id}")


def require_size(size: int) -> None:
    if size > MESSAGE_BYTES_MAX:
        raise InvalidEvent(
            "body_too_large",
            f"the event has {size} bytes of JSON, at most {MESSAGE_BYTES_MAX} are accepted",
            detail="Send less data per event.",
        )


def whose(draft: Draft, grant: Grant, tenants: Paths) -> Whose:
    """What is known of an event that is refused."""
    tenant = grant.tenant
    try:
        tenant = tenant or _named(draft, tenants)
    except InvalidEvent:
        pass  # the name of the tenant is an object, for example
    return Whose(tenant=tenant, user=grant.user or draft.user_id, at_ms=said_ms(draft.timestamp))


def add_shared(fields: Fields, shared: Fields, names: Sequence[str]) -> None:
    """Adds what stands beside the events of a body to one of them, which has precedence. Raises
    `InvalidEvent`."""
    for name in names:
        if name not in shared:
            continue
        if bytes(shared[name])[:1] == b"{":
            merged = child(shared, name) | child(fields, name)
            fields[name] = msgspec.Raw(msgspec.json.encode(merged))
        else:
            fields.setdefault(name, shared[name])


def text(fields: Mapping[str, msgspec.Raw], *names: str) -> str:
    """The value of the first of these fields that is there and not empty; a number as it was written."""
    for name in names:
        if name in fields and (found := _text(fields[name], name)):
            return found
    return ""


def drop_empty(fields: Fields, *names: str) -> None:
    """Removes those of these fields that are an empty text: some senders write a time that they lack so."""
    for name in names:
        if name in fields and bytes(fields[name]) == b'""':
            del fields[name]


def time_in(message_id: str) -> msgspec.Raw | None:
    """When a message without a timestamp was made, if its id says so: a UUIDv7, or milliseconds as in
    `ajs-next-1796040623809-…`. At a retry it is the same, other than the time of receipt."""
    if (found := _MILLISECONDS.search(message_id)) is not None:
        return msgspec.Raw(found[1].encode())
    try:
        id = uuid.UUID(message_id)
    except ValueError:
        return None
    return msgspec.Raw(str(id.int >> 80).encode()) if id.version == 7 else None


def child(fields: Fields, name: str) -> Fields:
    """The fields of an object in it; none if it is absent."""
    return fields_of(fields[name], name) if name in fields else {}


def _text(raw: msgspec.Raw, name: str) -> str:
    try:
        value = _value.decode(raw)
    except _BROKEN:
        shown = shorten(bytes(raw)[:256].decode(errors="replace"))
        raise InvalidEvent("invalid_event", f"{name} is {shown}, not a text", name) from None
    return value if isinstance(value, str) else bytes(raw).decode()


def _tenant(draft: Draft, grant: Grant, tenants: Paths) -> str:
    if grant.is_public:
        raise InvalidEvent(
            "forbidden",
            "the key is public and has no tenant, and a page must not choose one",
            "tenantId",
            detail="Use an ingest token of the tenant as the key, or bind the key to a tenant.",
        )
    if found := _named(draft, tenants):
        return found
    for path in tenants:
        above = path[: path.index(_ANY)] if _ANY in path else ()
        several = _found(draft.tree, above) if above else None
        names = list(fields_of(several, above[-1]) if isinstance(several, msgspec.Raw) else several or ())
        if len(names) > 1:
            place = ".".join(above)
            raise InvalidEvent(
                "invalid_event",
                f"the event names no single tenant: {place} has {shorten(', '.join(names))}",
                "tenantId",
                detail="Say in compat.tenant_from which of them is the tenant, for example"
                f' "{place}.{shorten(names[0])}"; or send only one, or bind the key to a tenant.',
            )
    raise InvalidEvent(
        "invalid_event",
        "the event names no tenant: none of " + ", ".join(map(".".join, tenants)) + " is there",
        "tenantId",
        detail="Send one of them, bind the key to a tenant, or change compat.tenant_from.",
    )


def _named(draft: Draft, tenants: Paths) -> str:
    return next(filter(None, (_at(draft.tree, path) for path in tenants)), "")


def _at(tree: Mapping[str, msgspec.Raw | Fields], path: tuple[str, ...]) -> str:
    """The text at this path; empty if there is none."""
    found = _found(tree, path)
    return _text(found, ".".join(path)) if isinstance(found, msgspec.Raw) else ""


def _found(
    tree: Mapping[str, msgspec.Raw | Fields], path: tuple[str, ...]
) -> msgspec.Raw | Mapping[str, msgspec.Raw | Fields] | None:
    """What is at this path. `*` is the only field of its object."""
    found: msgspec.Raw | Mapping[str, msgspec.Raw | Fields] = tree
    for name in path:
        fields = fields_of(found, name) if isinstance(found, msgspec.Raw) else found
        if name == _ANY:
            if len(fields) != 1:
                return None
            (found,) = fields.values()
        elif name in fields:
            found = fields[name]
        else:
            return None
    return found
