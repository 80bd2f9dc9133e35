import pytest
from hypothesis import given
from hypothesis import strategies as st

from nealytics.clickhouse.encoding import SUPPORTED, BadEncoding, chosen, compressed, decompressed


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(data=st.binary(max_size=5_000), encoding=st.sampled_from(SUPPORTED), size=st.integers(1, 2_000))
def test_what_was_packed_comes_out_again_however_it_is_cut(data: bytes, encoding: str, size: int):
    assert b"".join(decompressed(cut(compressed(data, encoding), size), encoding)) == data


@pytest.mark.parametrize("encoding", [name for name in SUPPORTED if name != "br"])
def test_several_frames_one_after_the_other_are_one_body(encoding: str):
    packed = compressed(b"first ", encoding) + compressed(b"second", encoding)
    for size in (1, 7, len(packed)):
        assert b"".join(decompressed(cut(packed, size), encoding)) == b"first second"


@pytest.mark.parametrize("encoding", SUPPORTED)
def test_a_body_that_ends_inside_a_frame_is_an_error(encoding: str):
    packed = compressed(b"x" * 10_000, encoding)
    with pytest.raises(BadEncoding, match="ends in the middle"):
        list(decompressed([packed[:-3]], encoding))


@pytest.mark.parametrize("encoding", SUPPORTED)
def test_what_is_not_packed_is_an_error(encoding: str):
    with pytest.raises(BadEncoding):
        list(decompressed([b"INSERT INTO t FORMAT CSV" * 10], encoding))


def test_the_answers_encoding_is_one_that_the_client_takes():
    assert chosen("br;q=1.0, gzip") == "gzip"
    assert chosen("identity") is None
    assert chosen("") is None
