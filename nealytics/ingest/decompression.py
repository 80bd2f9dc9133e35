"""Compressed request bodies: gzip, deflate, br and zstd, never more output than allowed.

A body is decoded in pieces, each a short step. A body that would exceed the limit costs the memory of the
limit and of one piece more.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import brotli

from nealytics.compression import zstd
from nealytics.errors import Refused

ENCODINGS = "gzip, deflate, br, zstd"

# Of the limit of most routes.
BODY_SETTING = "ingest.body_bytes_max"

# Concatenated gzip members and zstd frames are one body. Each costs a copy of what was read with it.
_PARTS_MAX = 256
_GZIP, _ZLIB, _RAW = 31, 15, -15
# RFC 9659: a zstd window on the web is at most 8 MiB. The format allows 2 GiB, allocated at the first byte.
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}


# Input and output of a decoder in one step: 2 ms at most.
_IN_BYTES = 64 * 1024
_OUT_BYTES = 256 * 1024


def decompress(body: bytes, encoding: str, bytes_max: int, setting: str = BODY_SETTING) -> Iterator[bytes]:
    """`body` decoded by its Content-Encoding, in pieces; each is a short step.

    Raises `Refused`: 415 for an unknown or a second encoding, 413 beyond `bytes_max`, 400 if the bytes are
    corrupt or end too early.
    """
    new = _decoder(encoding)
    if new is None:
        yield body
        return
    size = 0
    try:
        for piece in _decoded(body, new):
            size += len(piece)
            if size > bytes_max:
                raise too_large(bytes_max, setting)
            yield piece
    except (zlib.error, brotli.error, zstd.ZstdError, EOFError) as error:
        raise Refused(
            400,
            "bad_request",
            f"the body is not valid {encoding.strip().lower()}: {error}",
            detail="It is corrupt or incomplete. Nothing was stored.",
        ) from error


def gunzip_at_once(body: bytes, bytes_max: int) -> bytes | None:
    """`body` decompressed; None if that exceeds `bytes_max`, or if it is not exactly one gzip member."""
    inflate = zlib.decompressobj(wbits=_GZIP)
    try:
        plain = inflate.decompress(body, bytes_max + 1)
    except zlib.error:
        return None
    return plain if inflate.eof and not inflate.unused_data and len(plain) <= bytes_max else None


def check_encoding(encoding: str, *, allowed: bool = True) -> None:
    """Raises `Refused` (415) if a body with this Content-Encoding cannot be read, or is not allowed."""
    if _decoder(encoding) is not None and not allowed:
        raise unsupported(encoding)


def _decoder(encoding: str) -> "Callable[[bytes], _Decoder] | None":
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name not in _DECODERS:
        raise unsupported(encoding)
    return _DECODERS[name]


def unsupported(encoding: str) -> Refused:
    return Refused(
        415,
        "unsupported_encoding",
        f"Content-Encoding is {encoding[:64]!r}, which is not accepted",
        detail=f"Use one of {ENCODINGS}, or none.",
        headers={"Accept-Encoding": ENCODINGS},  # RFC 7694
    )


def too_large(bytes_max: int, setting: str) -> Refused:
    return Refused(
        413,
        "body_too_large",
        f"the body has more than {bytes_max} bytes",
        detail=f"Send fewer events at once, or raise {setting}. It limits the decompressed size.",
    )


class _Decoder(Protocol):
    """One part of a body: a gzip member, a zstd frame, a stream."""

    @property
    def in_parts(self) -> bool: ...  # whether another part may follow
    @property
    def needs_input(self) -> bool: ...
    @property
    def eof(self) -> bool: ...
    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        """At most `_OUT_BYTES` of output, and the part of `data` that was not used."""


def _decoded(body: bytes, new: "Callable[[bytes], _Decoder]") -> Iterator[bytes]:
    """The decoded `body`, at most `_OUT_BYTES` at a time."""
    decoder = new(body)
    parts = 1
    at = 0
    waiting = b""
    while True:
        if not waiting and decoder.needs_input:
            if at == len(body):
                raise EOFError("it ends too early")
            waiting = body[at : at + _IN_BYTES]
            at += len(waiting)
        piece, waiting = decoder.decode(waiting)
        yield piece
        if not decoder.eof:
            continue
        if not waiting and at == len(body):
            return
        if not decoder.in_parts:
            raise EOFError("data follows its end")
        if parts == _PARTS_MAX:
            raise EOFError(f"it has more than {_PARTS_MAX} parts")
        parts += 1
        decoder = new(body)


class _Zlib:
    """gzip, and both kinds of deflate."""

    def __init__(self, wbits: int) -> None:
        self._inflate = zlib.decompressobj(wbits=wbits)
        self.in_parts = wbits == _GZIP
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        out = self._inflate.decompress(data, _OUT_BYTES)
        # After a full piece there may be more output, even if all of `data` was read.
        self.needs_input = len(out) < _OUT_BYTES
        return out, self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail


class _Zstd:
    in_parts = True

    def __init__(self, body: bytes) -> None:
        self._frame = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)

    @property
    def needs_input(self) -> bool:
        return self._frame.needs_input

    @property
    def eof(self) -> bool:
        return self._frame.eof

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        # It keeps what it has not read yet, until the end of the frame.
        return self._frame.decompress(data, _OUT_BYTES), self._frame.unused_data if self._frame.eof else b""


class _Brotli:
    in_parts = False

    def __init__(self, body: bytes) -> None:
        self._stream = brotli.Decompressor()
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._stream.is_finished())

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        # It keeps what it has not read yet; what follows its end is an error.
        out = self._stream.process(data, output_buffer_limit=_OUT_BYTES)
        # It claims to accept data while it still has output that exceeded the limit.
        self.needs_input = not out and self._stream.can_accept_more_data()
        return out, b""


def _gunzip(body: bytes) -> "_Decoder":
    return _Zlib(_GZIP)


def _inflate(body: bytes) -> "_Decoder":
    # "deflate" means zlib's format, but some clients send the raw stream. A zlib header is a multiple of 31.
    is_zlib = len(body) >= 2 and body[0] & 0xF == 8 and int.from_bytes(body[:2]) % 31 == 0
    return _Zlib(_ZLIB if is_zlib else _RAW)


_DECODERS: dict[str, Callable[[bytes], _Decoder]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _Brotli,
    "zstd": _Zstd,
}
