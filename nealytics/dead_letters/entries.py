"""The dead letter's two directories in one form.

Synchronous: it reads files, so call it in a thread. Every call reads all of them: they are few, because
nobody is meant to have many.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from nealytics.commit import rejected
from nealytics.commit.dead_letter import DIRECTORY, DeadLetter, DeadLetterUnreadable, DeadRow
from nealytics.commit.rejected import RejectedEvent
from nealytics.compat.envelope import MESSAGE_BYTES_MAX
from nealytics.timestamps import epoch_ms, iso_utc

CLICKHOUSE = "clickhouse"  # the source of events that ClickHouse refused
# Of a payload in a list.
PREVIEW_BYTES = 2 * 1024
# Decoding takes up to 75 ms for 1 MiB, in one call that no other thread interrupts.
JSON_BYTES_MAX = MESSAGE_BYTES_MAX

Held = DeadRow | RejectedEvent


class Entry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One event of the dead letter."""

    id: str
    at: str  # ISO 8601, UTC
    project: str = ""  # empty = unknown
    tenant: str = ""
    user: str = ""
    event_type: str = ""  # as its payload names it; empty if it cannot be read
    source: str  # the route, or "clickhouse"
    reason: str  # a code
    message: str
    bytes: int
    payload: Any = None  # the event, if it can be read; else what was sent, as text
    is_cut: bool = False  # whether the payload is only the beginning


class _Named(msgspec.Struct, frozen=True):
    """The fields of a payload that name the event and its user. Any may have a wrong type, which may be why
    the event was rejected."""

    event_type: msgspec.Raw = msgspec.field(name="eventType", default=msgspec.Raw())
    event: msgspec.Raw = msgspec.Raw()  # of SDKs, like the next
    type: msgspec.Raw = msgspec.Raw()
    user_id: msgspec.Raw = msgspec.field(name="userId", default=msgspec.Raw())
    distinct_id: msgspec.Raw = msgspec.Raw()


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are meant: those to which everything that is given applies."""

    project: str | None = None
    tenant: str | None = None
    reason: str | None = None
    source: str | None = None
    from_ms: int | None = None  # when it was rejected or refused
    to_ms: int | None = None  # included
    ids: frozenset[str] | None = None

    def has(self, entry: Entry) -> bool:
        return (
            self.project in (None, entry.project)
            and self.tenant in (None, entry.tenant)
            and (self.from_ms is None or epoch_ms(entry.at) >= self.from_ms)
            and (self.to_ms is None or epoch_ms(entry.at) <= self.to_ms)
            and self.reason in (None, entry.reason)
            and self.source in (None, entry.source)
            and (self.ids is None or entry.id in self.ids)
        )


class Count(msgspec.Struct, frozen=True, omit_defaults=True):
    events: int
    project: str = ""
    source: str = ""
    reason: str = ""


class Listing(NamedTuple):
    entries: list[Entry]
    problems: list[str]  # names what could not be read


class DeadLetters:
    def __init__(self, wal_directory: Path) -> None:
        self.rows = DeadLetter(wal_directory / DIRECTORY)
        self.rejected = wal_directory / rejected.DIRECTORY

    def entries(self, selection: Selection, preview_bytes: int | None = PREVIEW_BYTES) -> list[Entry]:
        return self.listing(selection, preview_bytes).entries

    def listing(self, selection: Selection, preview_bytes: int | None = PREVIEW_BYTES) -> Listing:
        """The newest first. `preview_bytes` as for `entry_of`."""
        problems: list[str] = []
        found = [entry_of(held, preview_bytes) for held in self.held(selection.ids, problems)]
        chosen = [entry for entry in found if selection.has(entry)]
        return Listing(sorted(chosen, key=place_of, reverse=True), problems)

    def held(self, ids: frozenset[str] | None, problems: list[str]) -> Iterator[Held]:
        """Those with these ids, or all. What cannot be read is added to `problems`."""
        for id in self.rows.ids():
            if ids is None or id in ids:
                try:
                    yield self.rows.read(id)
                except DeadLetterUnreadable as error:
                    problems.append(str(error))
        for path in rejected.files(self.rejected):
            events = rejected.read(path, problems)
            yield from (event for event in events if ids is None or event.id in ids)

    def remove(self, ids: frozenset[str]) -> int:
        """Returns how many there were. What cannot be read stays; `listing` names it."""
        removed, rows = 0, ids & frozenset(self.rows.ids())
        for id in rows:
            with contextlib.suppress(FileNotFoundError):  # a command was faster
                self.rows.remove(id)
                removed += 1
        if others := ids - rows:
            removed += rejected.remove(self.rejected, lambda event: event.id in others).removed
        return removed


def entry_of(held: Held, preview_bytes: int | None = None) -> Entry:
    """`preview_bytes`: of a longer payload only the beginning, as text; with 0 the payload is not read.
    A payload above `JSON_BYTES_MAX` is text in any case."""
    if isinstance(held, RejectedEvent):
        named = _Named() if preview_bytes == 0 else _named(held.payload)
        payload, is_cut = _shown(bytes(held.payload), preview_bytes)
        return Entry(
            id=held.id,
            at=_iso(held.rejected_at),
            project=held.project_id,
            tenant=held.tenant_id or (held.whose.tenant if held.whose else ""),
            user=held.user_id
            or (held.whose.user if held.whose else "")
            or _text(named.user_id, named.distinct_id),
            event_type=_text(named.event_type, named.event, named.type) or held.kind,
            source=held.source,
            reason=held.code,
            message=held.reason,
            bytes=len(held.payload),
            payload=payload,
            is_cut=is_cut,
        )
    event = held.event or {}
    payload, is_cut = _shown(msgspec.json.encode(held.event), preview_bytes) if held.event else (None, False)
    return Entry(
        id=held.id,
        at=_iso(held.put_aside_at),
        project=str(event.get("project_id", "")),
        tenant=str(event.get("tenant_id", "")),
        user=str(event.get("user_id") or ""),
        event_type=str(event.get("event_type", "")),
        source=CLICKHOUSE,
        reason=held.name,
        message=held.reason,
        bytes=len(held.row),
        payload=payload,
        is_cut=is_cut,
    )


def _iso(text: str) -> str:
    return iso_utc(round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000))


def place_of(entry: Entry) -> tuple[int, str]:
    """Its place in the order of time."""
    return epoch_ms(entry.at), entry.id


def counts(entries: list[Entry]) -> list[Count]:
    """By project, source and reason, the most frequent first."""
    found = Counter((entry.project, entry.source, entry.reason) for entry in entries)
    return [Count(events, *whose) for whose, events in found.most_common()]


def _named(payload: msgspec.Raw) -> _Named:
    if len(payload) <= JSON_BYTES_MAX:
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return msgspec.json.decode(payload, type=_Named)
    return _Named()


def _text(*values: msgspec.Raw) -> str:
    """The first of them that is a text and not empty."""
    for value in values:
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            if text := msgspec.json.decode(value, type=str):
                return text
    return ""


def _shown(payload: bytes, most: int | None) -> tuple[Any, bool]:
    if most is not None and len(payload) > most:
        return payload[:most].decode(errors="replace"), True
    if len(payload) > JSON_BYTES_MAX:
        return payload.decode(errors="replace"), False
    try:
        return msgspec.json.decode(payload), False
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return payload.decode(errors="replace"), False
