"""Which rejected events erasures cover: of those that are kept, and of those that arrive.

A rejected event belongs to the project of its key, whatever it says. Of those that are kept, also events of
which it is not certain that they are the user's are erased: they were never accepted. An erasure stays for
ever, so one that arrives is covered only if it says an earlier time; its receipt is later than the erasure.

All of it is synchronous.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from nealytics.commit import rejected
from nealytics.commit.rejected import RejectedEvent, Removed, Whose
from nealytics.erasure.jobs import Erasure
from nealytics.erasure.leftovers import has_name
from nealytics.erasure.store import Jobs
from nealytics.erasure.tombstones import Tombstones
from nealytics.errors import ErasuresUnreadable
from nealytics.event import said_ms, said_name
from nealytics.timestamps import epoch_ms


def erase_rejected(directory: Path, erasure: Erasure) -> Removed:
    """Removes what is kept. May be repeated."""
    try:
        removed, problems = rejected.remove(directory, lambda event: _may_be_covered(event, erasure))
    except OSError as error:
        problem = f"{directory} cannot be read or written and may have the events: {error}; delete its files"
        return Removed(0, [problem])
    return Removed(removed, [f"it may have the events: {problem}" for problem in problems])


def without_erased(jobs: Jobs, events: Sequence[RejectedEvent]) -> Sequence[RejectedEvent]:
    """Those of these arriving events that no erasure covers. Reads files. What an event takes does
    not depend on the number of erasures."""
    try:
        tombstones = jobs.tombstones()
    except ErasuresUnreadable:
        return events  # reported by `LogCleaning`
    return [event for event in events if not _is_covered(event, tombstones)]


def _is_covered(event: RejectedEvent, tombstones: Tombstones) -> bool:
    tenants = tombstones.of_project(event.project_id)
    if not tenants:
        return False
    payload = _sent(event)
    at_ms = _at_ms(event, payload)
    if at_ms is None:
        at_ms = epoch_ms(event.rejected_at)
    known = [name for name in (event.tenant_id, (event.whose or Whose()).tenant) if name]
    named: Iterable[str] = known or _names(payload)
    erased = {name for name in named if at_ms < tenants.get(name, at_ms)}
    if not erased:
        return False
    users = _users(event, payload)
    return any(tombstones.covers_any(event.project_id, tenant, users, at_ms) for tenant in erased)


def _may_be_covered(event: RejectedEvent, erasure: Erasure) -> bool:
    """By what its route understood of the event, by what its key or token says about it, and by what it says
    itself. If the route did not understand it, by the name of the tenant in it."""
    if event.project_id not in (erasure.project_id, ""):  # empty = unknown
        return False
    payload = _sent(event)
    times_ms = (epoch_ms(event.rejected_at), _at_ms(event, payload))
    if all(at_ms is None or at_ms >= erasure.before_ms for at_ms in times_ms):
        return False
    tenant = (event.whose or Whose()).tenant
    if erasure.tenant_id not in (event.tenant_id, tenant):
        # The name may be behind what was kept of a long event, which cannot be retried anyway.
        is_cut = event.code == "body_too_large" and not event.tenant_id
        if tenant or not (is_cut or _names_tenant(payload, erasure.tenant_id)):
            return False
    users = _users(event, payload)
    return users is None or erasure.user_hash is None or any(map(erasure.covers_user, users))


def _sent(event: RejectedEvent) -> bytes:
    """What was no JSON is kept as a text."""
    payload = bytes(event.payload)
    try:
        return msgspec.json.decode(payload, type=str).encode() if payload[:1] == b'"' else payload
    except msgspec.DecodeError:  # half of a surrogate pair
        return payload


def _at_ms(event: RejectedEvent, payload: bytes) -> int | None:
    """The time that the event says."""
    if event.whose is not None:
        return event.whose.at_ms
    try:
        return said_ms(msgspec.json.decode(payload, type=_Fields).timestamp)
    except _UNREADABLE:
        return None


def _names_tenant(payload: bytes, name: str) -> bool:
    """Also as a number, which the routes of SDKs accept."""
    if has_name(payload, name):
        return True
    return bool(_NUMBER.fullmatch(name)) and (
        re.search(rb"[\[:,\s]%b[\]},\s]" % re.escape(name.encode()), payload) is not None
    )


def _names(payload: bytes) -> Iterator[str]:
    """All texts and numbers in JSON, as text."""
    for found in _VALUE.finditer(payload):
        value = found[0]
        if value[:1] != b'"':
            yield value.decode()
        elif b"\\" not in value:
            yield value[1:-1].decode(errors="replace")
        else:
            try:
                yield json.loads(value)
            except ValueError:
                pass  # no text


def _users(event: RejectedEvent, payload: bytes) -> set[str] | None:
    """Whose it may be; None if nobody can tell."""
    try:
        said = msgspec.json.decode(payload, type=_Fields)
        is_object = bytes(said.properties)[:1] == b"{"
        inner = msgspec.json.decode(said.properties, type=_Properties) if is_object else _Properties()
        ids = (said.user_id, said.anonymous_id, said.distinct_id, inner.distinct_id, inner.anonymous_id)
        users = {event.user_id, (event.whose or Whose()).user, *map(said_name, ids)}
    except _UNREADABLE:
        return None
    return users - {""}


_NULL = msgspec.Raw(b"null")
_NUMBER = re.compile(r"-?\d[\d.eE+-]*", re.ASCII)
_VALUE = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?\d[\d.eE+-]*+', re.DOTALL)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Fields(msgspec.Struct):
    user_id: msgspec.Raw = msgspec.field(name="userId", default=_NULL)
    anonymous_id: msgspec.Raw = msgspec.field(name="anonymousId", default=_NULL)
    distinct_id: msgspec.Raw = _NULL
    timestamp: msgspec.Raw = _NULL
    properties: msgspec.Raw = _NULL


class _Properties(msgspec.Struct):
    distinct_id: msgspec.Raw = _NULL
    anonymous_id: msgspec.Raw = msgspec.field(name="$anon_distinct_id", default=_NULL)
