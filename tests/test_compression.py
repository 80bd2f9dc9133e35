import gzip
from typing import Any

import pytest

from nealytics.compression import Compressor, compress, zstd

DECOMPRESS: dict[str, Any] = {"gzip": gzip.decompress, "zstd": zstd.decompress, "none": bytes}
DATA = b"events " * 10_000


@pytest.mark.parametrize("how", DECOMPRESS)
def test_a_body_is_the_same_at_every_attempt(how: str):
    compressed = compress(DATA, how, 1)
    assert compress(DATA, how, 1) == compressed
    assert DECOMPRESS[how](compressed) == DATA


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_pieces_are_one_stream(how: str):
    compressor = Compressor(how)
    pieces = [compressor.compress(DATA[at : at + 999]) for at in range(0, len(DATA), 999)]
    compressed = b"".join(pieces) + compressor.end()
    assert len(compressed) < len(DATA) / 10
    assert DECOMPRESS[how](compressed) == DATA


def test_the_time_is_not_in_a_gzip_header():
    assert compress(b"", "gzip", 6)[4:8] == bytes(4)
