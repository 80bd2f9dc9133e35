"""HTTP content encodings of ClickHouse's interface: what a body is unpacked from, what an answer is packed
in."""

import importlib.util
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import brotli

from nealytics.compression import Compressor, zstd

if importlib.util.find_spec("lz4") is not None:
    import lz4.frame as lz4_frame
else:
    lz4_frame = None

# Best first: the cheap ones, since the answer seldom leaves the machine.
SUPPORTED = (
    ("lz4", "zstd", "gzip", "deflate", "br") if lz4_frame is not None else ("zstd", "gzip", "deflate", "br")
)


class BadEncoding(Exception):
    """The bytes are not what their Content-Encoding says, or end too early."""


def chosen(accept_encoding: str) -> str | None:
    """The encoding to answer with, None for plain. Weights are ignored, as in ClickHouse."""
    offered = {part.split(";")[0].strip().lower() for part in accept_encoding.split(",")}
    return next((name for name in SUPPORTED if name in offered), None)


class Packer:
    """Packs an answer that comes in pieces: `pack` each, then `end`."""

    def __init__(self, encoding: str) -> None:
        self._begin = b""
        if encoding == "lz4":
            packer = lz4_frame.LZ4FrameCompressor()
            self._begin = packer.begin()
            self._pack = packer.compress
            self._end = packer.flush
        elif encoding == "br":
            brotli_packer = brotli.Compressor(quality=1)
            self._pack, self._end = brotli_packer.process, brotli_packer.finish
        elif encoding == "deflate":
            zlib_packer = zlib.compressobj(3)
            self._pack, self._end = zlib_packer.compress, zlib_packer.flush
        else:
            compressor = Compressor(encoding)
            self._pack, self._end = compressor.compress, compressor.end

    def pack(self, data: bytes) -> bytes:
        begin, self._begin = self._begin, b""
        return begin + bytes(self._pack(data))

    def end(self) -> bytes:
        return self._begin + bytes(self._end())


def compressed(data: bytes, encoding: str) -> bytes:
    packer = Packer(encoding)
    return packer.pack(data) + packer.end()


def decompressed(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Unpacks a body as it is read. Bodies of several frames one after the other are usual:
    clickhouse-connect makes one per block. Raises `BadEncoding`, also for a body that stops in the middle of
    a frame."""
    unpack = _unpacker(encoding)
    inside = False
    try:
        for chunk in chunks:
            while chunk:
                plain = unpack.decompress(chunk)
                if plain:
                    yield plain
                inside = not _finished(unpack)
                chunk = b"" if inside else unpack.unused_data
                if not inside:
                    unpack = _unpacker(encoding)
    except (zlib.error, EOFError, RuntimeError, OSError, zstd.ZstdError, brotli.error) as error:
        raise BadEncoding(f"the body is not valid {encoding}: {error}") from error
    if inside:
        raise BadEncoding(f"the body ends in the middle of its {encoding} data")


class _Brotli:
    """brotli's decompressor with the interface of the others. It has one stream; what follows is an error
    there."""

    unused_data = b""

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def decompress(self, data: bytes) -> bytes:
        return bytes(self._stream.process(data))

    @property
    def eof(self) -> bool:
        return bool(self._stream.is_finished())


def _unpacker(encoding: str) -> Any:
    if encoding == "lz4":
        return lz4_frame.LZ4FrameDecompressor()
    if encoding == "zstd":
        return zstd.ZstdDecompressor()
    if encoding == "br":
        return _Brotli()
    # 32 + 15: zlib or gzip, told apart by the header. "deflate" means zlib in HTTP.
    return zlib.decompressobj(32 + zlib.MAX_WBITS)


def _finished(unpack: Any) -> bool:
    return bool(unpack.eof)
