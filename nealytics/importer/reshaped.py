"""A file of another product as NDJSON of events, which the import reads like any other file.

A thread reads the file, makes the events (`presets`) and writes them into a pipe. A row that cannot be read
is written as a text, so that the import rejects it with its number and keeps what it says.
"""

import io
import os
import threading
from collections.abc import Callable
from contextlib import closing

import msgspec

from nealytics.errors import NealyticsError
from nealytics.importer import presets
from nealytics.importer.presets import Preset
from nealytics.importer.rows import Rows
from nealytics.importer.source import Source


def open_reshaped(opened: Source, read: Callable[[Source], Rows], preset: Preset) -> Source:
    """`opened` is the other product's file, and `read` reads its rows."""
    reading, writing = os.pipe()
    pipe = _Output(reading)
    reopen = opened.reopen

    def write() -> None:
        try:
            with closing(opened), os.fdopen(writing, "wb", buffering=256 * 1024) as out:
                for row in read(opened):
                    if row.problem is not None:
                        out.write(msgspec.json.encode(row.raw.decode(errors="replace")) + b"\n")
                        continue
                    for event in presets.events_of(preset, row.fields):
                        out.write(msgspec.json.encode(event) + b"\n")
        except BrokenPipeError:
            pass  # the import has ended
        except NealyticsError as error:
            pipe.failed = str(error).removeprefix("import: ")
        except Exception as error:  # of any kind: the events after it must not be missing unnoticed
            pipe.failed = repr(error)

    pipe.thread = threading.Thread(target=write, daemon=True, name="import-reshape")
    pipe.thread.start()
    again = None
    if reopen is not None:
        again = lambda: open_reshaped(reopen(), read, preset)  # noqa: E731
    return Source(pipe, opened.name, opened.record_bytes_max, again)


class _Output(io.FileIO):
    """What the thread writes; its end counts as the end of the file only if the thread could read all."""

    thread: threading.Thread
    failed = ""

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size) or b""
        if not piece:
            self.thread.join()
            if self.failed:
                raise OSError(self.failed)
        return piece
