"""The compiled reader of events that are written plainly (`plain_rows.c`), if it was built.

In one pass it does the work of `event.decode_events`, `event.freeze` and `rowbinary.encode_row`, in a sixth
of the time. It reads only what these accept and leaves everything else to them, so the result is the same.
`make_env` in scripts/env.sh compiles it where there is a C compiler; every release has it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from nealytics.auth.grant import Grant
from nealytics.clickhouse.rowbinary import id_of, with_id
from nealytics.event import Limits, id_of_key

try:
    # Not in this package: beside the executable, which has the package's name, no folder can have it.
    import _nealytics_plain_rows as _plain_rows
except ImportError:
    _plain_rows = None
# An environment may have a module that was compiled from older sources.
if getattr(_plain_rows, "VERSION", 0) != 4:
    _plain_rows = None

H = TypeVar("H")

_FAR_MS = 2**61  # more is as good as any


# The elements of an array without its brackets, or lines, and the separator (`,` or a line feed) → the row of
# each element, or None if an element is not plain or there is none. The bytes must be UTF-8.
PlainReader = Callable[[bytes, bytes], list[bytes] | None]
# The bytes of a request's head without the empty line → the reader of its body's event, what stands for the
# head, and the size of the body.
KnownHeads = dict[bytes, tuple[Any, H, int]]


def plain_reader(received_ms: int, limits: Limits, grant: Grant) -> PlainReader | None:
    """None if the reader was not compiled, or cannot decide alone because of quotas or retention rules."""
    reader = compiled_reader(limits, grant)
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


def read_known(data: bytes, known: KnownHeads[H], received_ms: int) -> tuple[H, bytes] | None:
    """The head of a request and the row of the one event that is its body, with an id if it has none. None if
    `data` is not exactly one request with a known head, or its event is not plain ASCII."""
    found: tuple[H, bytes] | None = _plain_rows.single(data, known, received_ms)
    return found


def compiled_reader(limits: Limits, grant: Grant) -> Any:
    """The `Reader` of events of this sender; None as for `plain_reader`."""
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
