"""Events as they are sent, and as an export returns them."""

import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Required, TypedDict
from uuid import UUID

import msgspec


def new_event_id() -> UUID:
    """A UUIDv7. The kernel makes its random part, so that forked processes make different ids."""
    number = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=number & ~(0xF << 76) & ~(0b11 << 62) | 7 << 76 | 0b10 << 62)


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1_000 * 1_000)  # as the server stores it


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One event. Its `event_id` and `timestamp` do not change, so if it is sent again, it is counted once."""

    project_id: str
    tenant_id: str
    session_id: str
    event_type: str
    user_id: str | None = None
    item_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    event_id: UUID = msgspec.field(default_factory=new_event_id)
    timestamp: datetime = msgspec.field(default_factory=_now)

    def __post_init__(self) -> None:
        if self.timestamp.tzinfo is None:
            raise ValueError(
                f"timestamp is {self.timestamp.isoformat()} and has no time zone; use datetime.now(UTC)"
            )

    def to_json(self) -> bytes:
        """The event with its id and time, for a queue or a table of yours."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> "Event":
        return msgspec.json.decode(text, type=cls)


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One event of an export."""

    event_id: UUID
    project_id: str
    tenant_id: str
    session_id: str
    event_type: str
    user_id: str | None = None
    item_id: str | None = None
    metadata_json: str
    timestamp: datetime

    @property
    def metadata(self) -> Any:
        """`metadata_json`, parsed. Raises `ValueError` if it is not JSON: the server accepts any text."""
        return json.loads(self.metadata_json)


class Fields(TypedDict, total=False):
    """The arguments of `track` beside the event type. None is the same as absent."""

    tenant_id: Required[str]
    session_id: Required[str]
    user_id: str | None
    item_id: str | None
    metadata: Mapping[str, Any] | None
    project_id: str | None  # default: the client's
    event_id: UUID | None  # default: a new UUIDv7
    timestamp: datetime | None  # default: now


def event_of(event_type: str, fields: Fields, project_id: str) -> Event:
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    given.setdefault("project_id", project_id)
    if not given["project_id"]:
        raise ValueError("project_id is missing; give it to the client, or to the event")
    return Event(event_type=event_type, **given)
