"""gzip and Zstandard, the same for all parts: the one import of `zstd`, and reproducible bodies."""

import gzip
import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["compress", "zstd"]


def compress(data: bytes, how: str, level: int) -> bytes:
    """`data` by `how`: "gzip", "zstd", or "none". The same data gives the same bytes at every call."""
    if how == "none":
        return data
    # Without the time of compression, which gzip writes into its header.
    return gzip.compress(data, level, mtime=0) if how == "gzip" else zstd.compress(data, level)
