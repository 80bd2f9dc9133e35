"""The compiled reader of events that are written plainly (`plain_rows.c`), if it was built.

In one pass it does the work of `event.decode_events`, `event.freeze` and `rowbinary.encode_row`, in a sixth
of the time. It reads only what these accept and leaves everything else to them, so the result is the same.
`make_env` in scripts/env.sh compiles it where there is a C compiler; every release has it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nealytics.auth.grant import Grant
from nealytics.clickhouse.rowbinary import id_of, with_id
from nealytics.event import Limits, id_of_key

try:
    # Not in this package: beside the executable, which has the package's name, no folder can have it.
    import _nealytics_plain_rows as _plain_rows
except ImportError:
    _plain_rows = None
# An environment may have a module that was compiled from older sources.
if getattr(_plain_rows, "VERSION", 0) != 3:
    _plain_rows = None

_FAR_MS = 2**61  # more is as good as any


# The elements of an array without its brackets, or lines, and the separator (`,` or a line feed) → the row of
# each element, or None if an element is not plain or there is none. The bytes must be UTF-8.
PlainReader = Callable[[bytes, bytes], list[bytes] | None]
# One event as UTF-8, when it was received, and True → its row, or None if it is not plain.
EventReader = Callable[[bytes, int, bool], bytes | None]


def plain_reader(received_ms: int, limits: Limits, grant: Grant) -> PlainReader | None:
    """None if the reader was not compiled, or cannot decide alone because of quotas or retention rules."""
    reader = _reader(limits, grant)
    if reader is None:
        return None
    rows: Callable[[bytes, bytes, int, bool], list[bytes] | None] = reader.rows
    digest = grant.digest

    def read(elements: bytes, separator: bytes) -> list[bytes] | None:
        # The ids that a public sender has sent are hashed, and those that are made here are not.
        hashes = bool(digest) and b'"eventId"' in elements
        found = rows(elements, separator, received_ms, not hashes)
        if found and hashes:
            return [with_id(row, id_of_key(digest, id_of(row))) for row in found]
        return found

    return read


def event_reader(limits: Limits, grant: Grant) -> EventReader | None:
    """As `plain_reader`, for single events of a sender; None also if the sender is public."""
    reader = None if grant.digest else _reader(limits, grant)
    return None if reader is None else reader.row


def _reader(limits: Limits, grant: Grant) -> Any:
    if _plain_rows is None or limits.rules is not None:
        return None
    if limits.quotas is not None and limits.quotas.projects:
        return None
    return _plain_rows.Reader(
        limits.identifier_chars_max,
        limits.item_id_chars_max,
        limits.metadata_bytes_max,
        min(limits.age_ms_max, _FAR_MS),
        min(limits.future_ms_max, _FAR_MS),
        grant.project.encode(),
        grant.tenant.encode(),
        grant.user.encode(),
    )


@contextmanager
def python_only() -> Iterator[None]:
    """Disables the compiled reader in this process, for comparisons."""
    global _plain_rows
    compiled, _plain_rows = _plain_rows, None
    try:
        yield
    finally:
        _plain_rows = compiled
