"""Retries events of the dead letter, or drops them.

A retry inserts each event alone, so one that is refused again keeps no other. An event that ClickHouse
accepts leaves the dead letter. It is counted once, whatever happens in between: an event that was accepted
keeps its identity and its token, and one that was rejected has the id of its entry if it has none of its own.

    erased       an erasure covers it: it is removed and not inserted
    expired      retention would delete it: the same
    kept         it was refused again, with the reason
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec

from nealytics.auth.grant import Grant
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.rowbinary import ROW_FORMAT, decode_row, encode_row
from nealytics.commit.dead_letter import DeadRow
from nealytics.commit.delivery import deliver, insert_token
from nealytics.commit.rejected import RejectedEvent
from nealytics.compat import posthog, segment
from nealytics.compat.message import Paths, event_of, require_size
from nealytics.dead_letters.entries import DeadLetters, Held
from nealytics.erasure.jobs import Erasure
from nealytics.erasure.tombstones import Tombstones
from nealytics.event import InvalidEvent, Limits, last_fields, said_ms, shorten
from nealytics.ingest.parser import parse_event
from nealytics.retention import expired_rule

# As `Known.current`: which erasures there are. Raises `NealyticsError` while that is unknown.
Erasures = Callable[[], Awaitable[Mapping[str, Erasure]]]


class Kept(msgspec.Struct, frozen=True):
    id: str
    message: str


class Outcome(msgspec.Struct):
    retried: int = 0
    erased: int = 0
    expired: int = 0
    kept: list[Kept] = []


class Retrying:
    """Retries entries one by one. Raises `ClickHouseError` if ClickHouse cannot be asked."""

    def __init__(
        self,
        letters: DeadLetters,
        client: ClickHouseClient,
        database: str,
        limits: Callable[[], Limits],
        erasures: Erasures,
        now_ms: Callable[[], int],
        tenants: Paths = (),
    ) -> None:
        """`tenants`: where SDKs name theirs (`compat.tenant_from`)."""
        self._letters = letters
        self._client = client
        self._database = database
        self._limits = limits
        self._erasures = erasures
        self._now_ms = now_ms
        self._tenants = tenants

    async def retry(self, ids: Sequence[str], changes: Mapping[str, Any] | None = None) -> Outcome:
        """`changes` replaces fields of rejected events, by their names in JSON."""
        outcome, done = Outcome(), set[str]()
        try:
            for held in await asyncio.to_thread(lambda: list(self._letters.held(frozenset(ids), []))):
                try:
                    await self._one(held, changes or {}, outcome)
                    done.add(held.id)
                except InvalidEvent as error:
                    outcome.kept.append(Kept(held.id, error.message))
                except ClickHouseError as error:
                    if not error.bad_content:
                        raise
                    outcome.kept.append(Kept(held.id, str(error)))
        finally:
            # Together: removing one takes as long as removing all. What is retried again is the same event.
            await asyncio.to_thread(self._letters.remove, frozenset(done))
        return outcome

    async def _one(self, held: Held, changes: Mapping[str, Any], outcome: Outcome) -> None:
        # A person decided to store it, so no quota is asked.
        limits = msgspec.structs.replace(self._limits(), quotas=None)
        if isinstance(held, RejectedEvent):
            row, row_format = row_of(held, changes, self._now_ms(), limits, self._tenants), ROW_FORMAT
            log_id, lsn = f"rejected-{held.id}", 0
        else:
            row, row_format, log_id, lsn = held.row, held.row_format, held.log_id, held.lsn
        if Tombstones((await self._erasures()).values()).covers(row, row_format):
            outcome.erased += 1
        elif isinstance(held, DeadRow) and _is_expired(held, self._now_ms(), limits):
            outcome.expired += 1
        else:
            # For a row of a log, the token that the committer gave to this row alone.
            token = insert_token(log_id, lsn, lsn, row)
            await deliver(self._client, self._database, row, [row], row_format, token=token, tried=True)
            outcome.retried += 1


def row_of(
    held: RejectedEvent, changes: Mapping[str, Any], now_ms: int, limits: Limits, tenants: Paths = ()
) -> bytes:
    """The row of a rejected event as it would be stored now. Raises `InvalidEvent`."""
    require_settable(changes)
    # The key or the token binds it still, unless a person has decided otherwise.
    grant = Grant(-1, held.project_id, held.tenant_id, digest=held.digest, user=held.user_id)
    if "tenantId" in changes:
        grant = msgspec.structs.replace(grant, tenant=changes["tenantId"])
    if "userId" in changes:
        grant = msgspec.structs.replace(grant, user=changes["userId"])
    at_ms = round(datetime.fromisoformat(held.rejected_at).timestamp() * 1000)
    draft_of = _DRAFTS.get(held.source)
    if draft_of is not None:
        if others := sorted(changes.keys() - {"tenantId", "userId", "timestamp"}):
            message = f"{others[0]} cannot be set: of an SDK's event only tenantId, userId and timestamp can"
            raise InvalidEvent("invalid_event", message, others[0])
        require_size(len(held.payload))
        draft = draft_of(held.payload, {}, held.kind)
        if draft.timestamp is None:
            # Without an id and a time, it is an event of its own, and the same at each retry.
            at = msgspec.Raw(str(at_ms).encode())
            draft = draft._replace(timestamp=at, message_id=draft.message_id or held.id)
        if "timestamp" in changes:
            draft = draft._replace(timestamp=_raw(changes["timestamp"]))
        event = event_of(held.payload, draft, grant, tenants, now_ms, limits)
        return encode_row(event, now_ms)
    try:
        # First without unknown fields, of which there may be many thousands: decoding those takes long.
        fields = msgspec.json.decode(last_fields(bytes(held.payload)), type=dict[str, msgspec.Raw])
    except InvalidEvent:
        raise InvalidEvent("invalid_json", "the payload is not a JSON object") from None
    for name, value in {"eventId": str(_own_id(held)), "timestamp": at_ms}.items():
        if name not in fields or bytes(fields[name]) == b"null":
            fields[name] = msgspec.Raw(msgspec.json.encode(value))
    fields |= {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in changes.items()}
    return parse_event(msgspec.json.encode(fields), now_ms, limits, grant)


# The fields that a retry can set.
TEXTS = ("projectId", "tenantId", "sessionId", "eventType", "userId", "itemId")
FIELDS = frozenset((*TEXTS, "timestamp", "metadata"))
_MAY_BE_EMPTY = ("userId", "itemId")


def require_settable(changes: Mapping[str, Any]) -> None:
    """Raises `InvalidEvent` with field, value, and what to write. The limits of an event are its parser's."""
    for name, value in changes.items():
        if name in TEXTS:
            is_right = isinstance(value, str) and (value != "" or name in _MAY_BE_EMPTY)
            expected = "a string" if name in _MAY_BE_EMPTY else "a string that is not empty"
        elif name == "timestamp":
            is_number = isinstance(value, int) and not isinstance(value, bool)
            is_right = is_number or (isinstance(value, str) and said_ms(_raw(value)) is not None)
            expected = "an ISO 8601 time, or milliseconds since 1970"
        elif name == "metadata":
            is_right, expected = isinstance(value, dict), "a JSON object"
        else:
            is_right, expected = False, f"one of {', '.join(sorted(FIELDS))}"
        if not is_right:
            shown = shorten(bytes(_raw(value)).decode())
            message = f"{name} cannot be set to {shown}" if name in FIELDS else f"{name} cannot be set"
            raise InvalidEvent("invalid_event", message, name, detail=f"Write {expected}.")


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


_DRAFTS = {"segment": segment.draft, "posthog": posthog.draft}
# Never to be changed: the ids of events that were retried depend on it.
_NAMESPACE = UUID("0b1b1e55-6d3c-5f0e-9a53-5f5b6a4a2f0d")


def _own_id(held: RejectedEvent) -> UUID:
    """The id of an event that was sent without one: every retry is the same event."""
    return uuid5(_NAMESPACE, held.id)


def _is_expired(dead: DeadRow, now_ms: int, limits: Limits) -> bool:
    try:
        columns = decode_row(dead.row, dead.row_format)
    except (ValueError, LookupError):
        return False  # ClickHouse refuses it
    at_ms = int(str(columns["timestamp"]))
    if at_ms < limits.oldest_ms(now_ms):
        return True
    if limits.rules is None:
        return False
    project, tenant, event_type = (str(columns[name]) for name in ("project_id", "tenant_id", "event_type"))
    return expired_rule(limits.rules, project, tenant, event_type, now_ms - at_ms) is not None


async def drop(letters: DeadLetters, ids: Sequence[str]) -> int:
    """Removes these entries for good. Returns how many there were."""
    return await asyncio.to_thread(letters.remove, frozenset(ids))
