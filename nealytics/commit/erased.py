"""Which rows of a log a batch leaves out: those that an erasure covers.

Every attempt of a batch must send the same bytes, so a row that was in a batch stays in it. An erasure
applies to the batches that are cut after the log *adopted* it. The file `erasures` in the log's directory has
the first row that each erasure applies to; it is durable before the first batch without the erased rows.

A row that is left out is within the batch's range, so the cursor acknowledges it with the others.
"""

import asyncio
import logging
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from nealytics.erasure.jobs import Erasure
from nealytics.erasure.tombstones import Tombstones
from nealytics.wal import OS_FILES, Files, Rows
from nealytics.wal.cut import ERASURES
from nealytics.wal.files import publish

log = logging.getLogger("nealytics.commit")

Known = Callable[[], Mapping[str, Erasure]]


class Erased:
    """The erasures that a log has adopted."""

    def __init__(self, directory: Path, known: Known = dict, files: Files = OS_FILES) -> None:
        """`known` returns the erasures of the node by id."""
        self._path = directory / ERASURES
        self._known = known
        self._files = files
        self._is_lost = False  # the file, so every erasure applies to every row
        self._first_lsns = self._load()
        self._tombstones: tuple[frozenset[str], Tombstones] = (frozenset(), Tombstones(()))

    async def adopt(self, first_lsn: int) -> None:
        """To be called before a batch that begins with `first_lsn` becomes an intent.

        Raises `LogFull`, `LogBroken`, and what `known` raises.
        """
        # After the cursor was lost, a batch may begin before the rows of an earlier one.
        first_lsns = {id: min(self._first_lsns.get(id, first_lsn), first_lsn) for id in self._known()}
        if first_lsns != self._first_lsns:
            await asyncio.to_thread(self._store, first_lsns)
            self._first_lsns = first_lsns

    async def without(self, rows: Rows, forgotten_lsn: int = 0) -> Rows:
        """`rows` without the erased ones: the same at every attempt. Rows up to `forgotten_lsn` may have been
        sent in any batch, so every erasure applies to them."""
        erasures = self._known()
        ids = frozenset(
            id
            for id in erasures
            if self._is_lost
            or rows.first_lsn <= forgotten_lsn
            or self._first_lsns.get(id, rows.first_lsn + 1) <= rows.first_lsn
        )
        if not ids:
            return rows
        if ids != self._tombstones[0]:
            self._tombstones = ids, Tombstones(erasures[id] for id in ids)
        return await asyncio.to_thread(_without, rows, self._tombstones[1])

    def _load(self) -> dict[str, int]:
        if not self._files.exists(self._path):
            return {}
        try:
            file = self._files.open(self._path)
            try:
                return msgspec.json.decode(file.read(0, file.size()), type=dict[str, int])
            finally:
                file.close()
        except (OSError, msgspec.MsgspecError) as error:
            # A start verifies each stored intent against the table, whatever bytes an attempt had.
            log.error("commit: cannot read %s, so every erasure applies to all rows: %s", self._path, error)
            self._is_lost = True
            return {}

    def _store(self, first_lsns: dict[str, int]) -> None:
        publish(self._files, self._path, msgspec.json.encode(first_lsns)).close()


def _without(rows: Rows, tombstones: Tombstones) -> Rows:
    kept = list(tombstones.kept(rows, rows.row_format))
    if len(kept) == rows.count:
        return rows
    lengths = array("I", map(len, kept))
    return Rows(rows.row_format, rows.first_lsn, lengths, b"".join(kept), rows.appended_ms, rows.last_lsn)
