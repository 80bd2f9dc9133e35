"""Bodies come out as they went in, bombs and rubbish are refused, and memory stays bounded."""

import gzip
import random
import resource
import sys
import zlib
from typing import Any

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nealytics.errors import Refused
from nealytics.ingest.decompression import decompress as decompress_in_steps

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1 << 20


def decompress(body: bytes, encoding: str, bytes_max: int) -> bytes:
    return b"".join(decompress_in_steps(body, encoding, bytes_max))


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


PACK: dict[str, Any] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflate, raw": raw_deflate,
    "br": lambda data: brotli.compress(data, quality=4),
    "zstd": zstd.compress,
}
BODY = b'[{"projectId":"p"}]' * 1_000


def name(kind: str) -> str:
    return kind.split(",")[0]


def status(body: bytes, encoding: str, most: int = MIB) -> int:
    with pytest.raises(Refused) as caught:
        decompress(body, encoding, most)
    return caught.value.status


@pytest.mark.parametrize("kind", PACK)
@given(data=st.binary(max_size=200) | st.just(BODY))
def test_what_was_packed_comes_out(kind, data):
    assert decompress(PACK[kind](data), name(kind), MIB) == data


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize(
    "data",
    [
        bytes(3 * MIB),
        random.Random(1).randbytes(MIB),
        bytes(random.Random(2).choices(b"abc ", k=700_000)),
        bytes(256 * 1024),
        bytes(512 * 1024),
    ],
    ids=["zeros", "noise", "text", "one piece", "two pieces"],
)
def test_large_body_comes_out_in_pieces(kind, data):
    pieces = list(decompress_in_steps(PACK[kind](data), name(kind), 4 * MIB))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 512 * 1024


@pytest.mark.parametrize("kind", PACK)
def test_cap_holds_to_the_byte(kind):
    assert decompress(PACK[kind](BODY), name(kind), len(BODY)) == BODY
    assert status(PACK[kind](BODY), name(kind), len(BODY) - 1) == 413


@pytest.mark.parametrize("kind", PACK)
def test_bomb_costs_no_more_than_the_cap(kind):
    bomb = PACK[kind](bytes(64 * MIB))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert status(bomb, name(kind)) == 413
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


@pytest.mark.parametrize("kind", PACK)
def test_truncated_body_is_400_at_every_length(kind):
    packed = PACK[kind](BODY[:100])
    for length in range(len(packed)):
        assert status(packed[:length], name(kind)) == 400


@pytest.mark.parametrize("kind", PACK)
def test_rubbish_is_400(kind):
    for rubbish in (b"\xff" * 50, b'{"projectId":"p"}', PACK[kind](BODY) + b"rubbish"):
        assert status(rubbish, name(kind)) == 400


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_parts_one_after_another_are_one_body(kind):
    pack = PACK[kind]
    assert decompress(pack(b"one ") + pack(b"") + pack(b"two"), kind, MIB) == b"one two"
    assert status(pack(b"one ") * 3, kind, most=11) == 413


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_body_of_countless_empty_parts_is_refused(kind):
    """Each part costs a copy of all that follow."""
    assert status(PACK[kind](b"") * 20_000, kind) == 400


def test_zstd_window_beyond_8_mib_is_refused_before_memory_is_taken():
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.checksum_flag: 0,
    }
    compressor = zstd.ZstdCompressor(options=options)
    assert status(compressor.compress(b"x") + compressor.flush(), "zstd") == 400


@pytest.mark.parametrize("encoding", ["compress", "gzip2", "zip", "*", "x" * 5000])
def test_unknown_encoding_is_415_and_says_which_are_known(encoding):
    with pytest.raises(Refused) as caught:
        decompress(b"", encoding, MIB)
    assert caught.value.status == 415
    assert caught.value.headers["Accept-Encoding"] == "gzip, deflate, br, zstd"
    assert len(caught.value.message) < 200


def test_identity_is_no_encoding():
    assert decompress(b"as it is", "identity", MIB) == b"as it is"
    assert decompress(gzip.compress(b"x"), " GZip ", MIB) == b"x"
