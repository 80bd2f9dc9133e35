"""Appends small groups in a thread of C (`appender.c`), if it was compiled.

The flusher's Python thread does the same at a higher cost, because it competes with the event loop for the
interpreter's lock (docs/decisions/0049-appender.md). It remains for large groups, for files that are not the
system's, and where there is no C compiler.
"""

import asyncio
import os
from typing import NamedTuple

try:
    # Not in this package: see `ingest.plain`.
    import _nealytics_appender as _compiled
except ImportError:
    _compiled = None
if getattr(_compiled, "VERSION", 0) != 1:
    _compiled = None


class Appended(NamedTuple):
    """How an append ended. Unless both errors are 0, nothing is known about the end of the file."""

    write_error: int  # the errno of the write, or 0
    sync_error: int  # the errno of the fdatasync, or 0
    sync_seconds: float


class Appender:
    """Appends and syncs, one call at a time. To be used in one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = _compiled.Appender(self._event)
        self._appending: asyncio.Future[Appended] | None = None
        self._loop.add_reader(self._event, self._ended)

    def append(self, descriptor: int, data: bytes) -> asyncio.Future[Appended]:
        """Writes `data` at the end of the open file and calls fdatasync, without blocking the event loop."""
        assert self._appending is None
        self._thread.append(descriptor, data)
        self._appending = self._loop.create_future()
        return self._appending

    def _ended(self) -> None:
        appending, self._appending = self._appending, None
        ended = Appended(*self._thread.result())
        if appending is not None and not appending.cancelled():
            appending.set_result(ended)

    def close(self) -> None:
        """Ends the thread. Waits for an append, if there is one."""
        self._loop.remove_reader(self._event)
        self._thread.close()
        os.close(self._event)


def compiled_appender() -> Appender | None:
    """None if it was not compiled. To be called in an event loop."""
    return Appender() if _compiled is not None else None
