"""What goes into and comes out of the embedded engine's HTTP interface, piece by piece.

`Body` is a request's, received completely before the engine sees any of it; `Pieces` is an answer that is
sent while the engine still works on it.
"""

import contextlib
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from nealytics.clickhouse import encoding
from nealytics.clickhouse.embedded_engine import refused

BODY_BYTES_MAX = 4 * 1024**3
# A larger body waits in a file instead of in memory.
BODY_MEMORY_BYTES_MAX = 64 * 1024**2
FILE_CHUNK_BYTES = 1024**2


class Body:
    """A request's body as it came, whole; read once, from the beginning, and given up as it is read."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._chunks: deque[bytes] = deque()
        self._bytes = 0
        self._file: IO[bytes] | None = None

    def add(self, chunk: bytes) -> None:
        self._bytes += len(chunk)
        if self._bytes > BODY_BYTES_MAX:
            raise refused(307, f"the body has more than {BODY_BYTES_MAX} bytes. (TOO_MANY_BYTES)")
        if self._file is None and self._bytes > BODY_MEMORY_BYTES_MAX:
            self._file = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115 — closed by `close`
            self._file.writelines(self._chunks)
            # The beginning stays at hand for `head`.
            self._chunks = deque(list(self._chunks)[:1])
        if self._file is not None:
            self._file.write(chunk)
        else:
            self._chunks.append(chunk)

    def head(self) -> bytes:
        """Its first bytes, perhaps few."""
        return self._chunks[0] if self._chunks else b""

    def __iter__(self) -> Iterator[bytes]:
        if self._file is None:
            while self._chunks:
                yield self._chunks.popleft()
            return
        self._file.seek(0)
        while chunk := self._file.read(FILE_CHUNK_BYTES):
            yield chunk

    def close(self) -> None:
        self._chunks.clear()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> "Body":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Pieces:
    """An answer that comes piece by piece, for one thread at a time. `held` is what it needs until it is
    closed."""

    def __init__(self, source: Iterator[bytes], packer: encoding.Packer | None) -> None:
        self.held = contextlib.ExitStack()
        self._source = source
        self._packer = packer
        self._ended = False
        # The first piece before the first byte of the answer: by then nearly every error has shown itself.
        self._first: bytes | None = self._following()

    def next(self) -> bytes:
        """The next piece; empty at the end. Raises `EngineError`."""
        first, self._first = self._first, None
        return first if first is not None else self._following()

    def close(self) -> None:
        self._ended = True
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
        self.held.close()

    def _following(self) -> bytes:
        while not self._ended:
            piece = next(self._source, None)
            self._ended = piece is None
            if self._packer is not None:
                piece = self._packer.end() if piece is None else self._packer.pack(piece)
            if piece:  # a packer may keep a piece to itself for a while
                return piece
        return b""
