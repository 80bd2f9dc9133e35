"""Which encoded rows a number of erasures cover. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from nealytics.clickhouse.rowbinary import decode_row, owner_key, owner_of, timestamp_ms
from nealytics.erasure.jobs import Erasure, hash_of


class Tombstones:
    def __init__(self, erasures: Iterable[Erasure]) -> None:
        erasures = tuple(erasures)
        # Of each tenant: before which time all events are erased, and those of a user.
        self._tenants: dict[bytes, int] = {}
        self._users: dict[bytes, dict[str, int]] = {}
        self._projects: dict[str, dict[str, int]] = {}
        for erasure in erasures:
            owner = owner_key(erasure.project_id, erasure.tenant_id)
            if erasure.user_hash is None:
                self._tenants[owner] = max(self._tenants.get(owner, erasure.before_ms), erasure.before_ms)
            else:
                users = self._users.setdefault(owner, {})
                before_ms = users.get(erasure.user_hash, erasure.before_ms)
                users[erasure.user_hash] = max(before_ms, erasure.before_ms)
            tenants = self._projects.setdefault(erasure.project_id, {})
            latest_ms = tenants.get(erasure.tenant_id, erasure.before_ms)
            tenants[erasure.tenant_id] = max(latest_ms, erasure.before_ms)
        self._owners = self._tenants.keys() | self._users.keys()
        self._latest_ms = max((erasure.before_ms for erasure in erasures), default=0)

    def __bool__(self) -> bool:
        return bool(self._owners)

    def covers(self, row: bytes, row_format: int) -> bool:
        # New events are later than any tombstone: 0.7 µs. Comparing the tenant takes one more.
        if timestamp_ms(row) >= self._latest_ms:
            return False
        try:
            return owner_of(row) in self._owners and self.covers_columns(decode_row(row, row_format))
        except (ValueError, IndexError):
            return False  # these bytes are no row: ClickHouse refuses them

    def covers_columns(self, columns: Mapping[str, object]) -> bool:
        project_id, tenant_id, user_id, at_ms = (columns[name] for name in _DECIDE)
        assert isinstance(project_id, str)
        assert isinstance(tenant_id, str)
        assert isinstance(at_ms, int)
        owner = owner_key(project_id, tenant_id)
        if at_ms < self._tenants.get(owner, at_ms):
            return True
        users = self._users.get(owner)
        if not users or not isinstance(user_id, str) or not user_id:
            return False
        return at_ms < users.get(hash_of(project_id, tenant_id, user_id), at_ms)

    def of_project(self, project_id: str) -> Mapping[str, int]:
        """Each of its tenants with an erasure, and the latest time before which events are erased."""
        return self._projects.get(project_id, {})

    def covers_any(self, project_id: str, tenant_id: str, user_ids: Iterable[str] | None, at_ms: int) -> bool:
        """Whether an event that may be of each of these users is covered; None: of anybody."""
        owner = owner_key(project_id, tenant_id)
        if at_ms < self._tenants.get(owner, at_ms):
            return True
        if not (users := self._users.get(owner)):
            return False
        if user_ids is None:
            return at_ms < self._projects[project_id][tenant_id]
        return any(at_ms < users.get(hash_of(project_id, tenant_id, id), at_ms) for id in user_ids)

    def kept(self, rows: Iterable[bytes], row_format: int) -> Iterator[bytes]:
        return (row for row in rows if not self.covers(row, row_format))


_DECIDE = ("project_id", "tenant_id", "user_id", "timestamp")
