"""The compiled reader of events that are written plainly (`plain_rows.c`), if it was built.

In one pass it does the work of `event.decode_events`, `event.freeze` and `rowbinary.encode_row`, in a sixth
of the time. It reads only what these accept and leaves everything else to them, so the result is the same.
`make_env` in scripts/env.sh compiles it where there is a C compiler; every release has it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nealytics.auth.grant import Grant
from nealytics.clickhouse.rowbinary import id_of, with_id
from nealytics.event import Limits, id_of_key

try:
    # Not in this package: beside the executable, which has the package's name, no folder can have it.
    import _nealytics_plain_rows as _plain_rows
except ImportError:
    _plain_rows = None
# An environment may have a module that was compiled from older sources.
if getattr(_plain_rows, "VERSION", 0) != 2:
    _plain_rows = None

# The elements of an array without its brackets, or lines, and the separator (`,` or a line feed) → the row of
# each element, or None if an element is not plain or there is none. The bytes must be UTF-8.
PlainReader = Callable[[bytes, bytes], list[bytes] | None]


def plain_reader(received_ms: int, limits: Limits, grant: Grant) -> PlainReader | None:
    """None if the reader was not compiled, or cannot decide alone because of quotas or retention rules."""
    if _plain_rows is None or limits.rules is not None:
        return None
    if limits.quotas is not None and limits.quotas.projects:
        return None
    rows: Callable[..., list[bytes] | None] = _plain_rows.rows
    oldest_ms = limits.oldest_ms(received_ms)
    newest_ms = received_ms + limits.future_ms_max
    project, tenant, user = grant.project.encode(), grant.tenant.encode(), grant.user.encode()
    digest = grant.digest

    def read(elements: bytes, separator: bytes) -> list[bytes] | None:
        # The ids that a public sender has sent are hashed, and those that are made here are not.
        hashes = bool(digest) and b'"eventId"' in elements
        found = rows(
            elements,
            separator,
            received_ms,
            oldest_ms,
            newest_ms,
            limits.identifier_chars_max,
            limits.item_id_chars_max,
            limits.metadata_bytes_max,
            project,
            tenant,
            user,
            not hashes,
        )
        if found and hashes:
            return [with_id(row, id_of_key(digest, id_of(row))) for row in found]
        return found

    return read


@contextmanager
def python_only() -> Iterator[None]:
    """Disables the compiled reader in this process, for comparisons."""
    global _plain_rows
    compiled, _plain_rows = _plain_rows, None
    try:
        yield
    finally:
        _plain_rows = compiled
