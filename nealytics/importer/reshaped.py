"""A file of another product as NDJSON of events, which the import reads like any other file.

A thread reads the file, makes the events (`presets`) and writes them into a pipe. A row that is not an event
is written as an array of its problem and its text, which `ReshapedRows` reads, so that the import rejects it
with its number and keeps what it says. A row without events is a blank line, which is skipped.
"""

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import msgspec

from nealytics.errors import NealyticsError
from nealytics.importer import presets
from nealytics.importer.mapping import RowError
from nealytics.importer.presets import Preset
from nealytics.importer.rows import NdjsonRows, Row, Rows
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
                    out.write(_lines_of(preset, row))
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


class ReshapedRows(NdjsonRows):
    """What `open_reshaped` has written."""

    def __iter__(self) -> Iterator[Row]:
        for row in super().__iter__():
            if row.raw.startswith(b"["):
                # A line that is longer than a record may be is cut, and keeps the problem that it is.
                with suppress(msgspec.DecodeError):
                    problem, text = msgspec.json.decode(row.raw, type=tuple[str, str])
                    row = row._replace(problem=problem, raw=text.encode())
            yield row


def _lines_of(preset: Preset, row: Row) -> bytes:
    try:
        if row.problem is not None:
            raise RowError(row.problem)
        lines = [msgspec.json.encode(event) for event in presets.events_of(preset, row.fields)]
    except RowError as error:
        lines = [msgspec.json.encode((str(error), row.raw.decode(errors="replace")))]
    return b"\n".join(lines) + b"\n"


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
