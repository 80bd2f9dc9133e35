"""Compressed request bodies: gzip, deflate, br and zstd, never more output than allowed.

A body that would grow beyond the cap costs the memory of the cap and no more: every decoder here is asked
for at most one byte above it.
"""

import sys
import zlib
from collections.abc import Callable

import brotli

from nealytics.errors import Refused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODINGS = "gzip, deflate, br, zstd"

# Concatenated gzip members and zstd frames are one body. Each costs a copy of what follows it, so a body of
# nothing but empty ones would cost its square.
_PARTS_MAX = 256
# RFC 9659: a zstd window on the web is at most 8 MiB. The format allows 2 GiB, allocated at the first byte.
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}


def decompress(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """`body` decoded by its Content-Encoding.

    Raises `Refused`: 415 for an unknown or a second encoding, 413 beyond `bytes_max`, 400 if the bytes are
    corrupt or end too early.
    """
    name = encoding.strip().lower()
    decoder = _decoder(encoding)
    if decoder is None:
        return body
    try:
        return decoder(body, bytes_max)
    except (zlib.error, brotli.error, zstd.ZstdError, EOFError) as error:
        raise Refused(
            400,
            "bad_request",
            f"the body is not valid {name}: {error}",
            detail="It is corrupt or not complete; nothing was stored.",
        ) from error


def check_encoding(encoding: str, *, allowed: bool = True) -> None:
    """Raises `Refused` (415) if a body with this Content-Encoding cannot be read, or must not be."""
    if _decoder(encoding) is not None and not allowed:
        raise unsupported(encoding)


def _decoder(encoding: str) -> "Callable[[bytes, int], bytes] | None":
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


def too_large(bytes_max: int) -> Refused:
    return Refused(
        413,
        "body_too_large",
        f"the body has more than {bytes_max} bytes",
        detail="Send fewer events at once, or raise ingest.body_bytes_max. It holds after decompression.",
    )


def _gunzip(body: bytes, bytes_max: int) -> bytes:
    return _in_parts(body, bytes_max, lambda: zlib.decompressobj(wbits=31))


def _unzstd(body: bytes, bytes_max: int) -> bytes:
    return _in_parts(body, bytes_max, lambda: zstd.ZstdDecompressor(options=_ZSTD_OPTIONS))


def _inflate(body: bytes, bytes_max: int) -> bytes:
    # "deflate" means zlib's format, but some clients send the raw stream. A zlib header is a multiple of 31.
    is_zlib = len(body) >= 2 and body[0] & 0xF == 8 and int.from_bytes(body[:2]) % 31 == 0
    decoder = zlib.decompressobj(wbits=15 if is_zlib else -15)
    out = decoder.decompress(body, bytes_max + 1)
    if len(out) > bytes_max:
        raise too_large(bytes_max)
    if not decoder.eof:
        raise EOFError("it ends too early")
    if decoder.unused_data:
        raise EOFError("something follows its end")
    return out


def _in_parts(
    body: bytes, bytes_max: int, new: "Callable[[], zlib._Decompress | zstd.ZstdDecompressor]"
) -> bytes:
    out: list[bytes] = []
    room = bytes_max
    for _ in range(_PARTS_MAX):
        decoder = new()
        part = decoder.decompress(body, room + 1)
        room -= len(part)
        if room < 0:
            raise too_large(bytes_max)
        if not decoder.eof:
            raise EOFError("it ends too early")
        out.append(part)
        body = decoder.unused_data
        if not body:
            return out[0] if len(out) == 1 else b"".join(out)
    raise EOFError(f"it has more than {_PARTS_MAX} parts")


def _unbrotli(body: bytes, bytes_max: int) -> bytes:
    decoder = brotli.Decompressor()
    out = decoder.process(body, output_buffer_limit=bytes_max + 1)
    while not decoder.is_finished() and len(out) <= bytes_max:
        if decoder.can_accept_more_data():
            raise EOFError("it ends too early")
        out += decoder.process(b"", output_buffer_limit=bytes_max + 1 - len(out))
    if len(out) > bytes_max:
        raise too_large(bytes_max)
    return bytes(out)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
