"""gzip and Zstandard: the one import of `zstd`, and the compressors that several parts use.

Decompression is where the limits are: `ingest.decompression` bounds the output of a request body, and
`importer.source` knows the position in a file.
"""

import gzip
import sys
import zlib
from collections.abc import Callable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["Compressor", "compress", "zstd"]


def compress(data: bytes, how: str, level: int) -> bytes:
    """`data` by `how`: "gzip", "zstd", or "none". The same data gives the same bytes at every call."""
    if how == "none":
        return data
    # Without the time of compression, which gzip writes into its header.
    return gzip.compress(data, level, mtime=0) if how == "gzip" else zstd.compress(data, level)


class Compressor:
    """Compresses data that arrives in pieces: `compress` each, then `end`. Fast rather than small."""

    compress: Callable[[bytes], bytes]
    end: Callable[[], bytes]

    def __init__(self, how: str) -> None:
        if how == "zstd":
            frame = zstd.ZstdCompressor(level=1)
            self.compress, self.end = frame.compress, frame.flush
        else:
            member = zlib.compressobj(3, wbits=zlib.MAX_WBITS + 16)
            self.compress, self.end = member.compress, member.flush
