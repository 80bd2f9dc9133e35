import gzip
import io
import os
import sys
import threading
from pathlib import Path

import pytest

from nealytics.importer.rows import CsvRows, NdjsonRows
from nealytics.importer.source import Source, SourceError, open_source

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def opened(tmp_path: Path, data: bytes, name: str = "file") -> Source:
    path = tmp_path / name
    path.write_bytes(data)
    return open_source(str(path))


def lines(source: Source) -> bytes:
    found = []
    while (line := source.line()).length:
        found.append(line.raw)
    return b"".join(found)


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_packed_files_are_unpacked_whatever_the_name(tmp_path: Path, pack):
    plain = b"a,b\n" + b"".join(b"%d,x\n" % n for n in range(200_000))
    source = opened(tmp_path, pack(plain))
    assert lines(source) == plain
    assert (source.lines, source.line_ends, source.offset) == (200_001, 200_001, len(plain))


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_several_packed_streams_behind_each_other_are_one_file(tmp_path: Path, pack):
    source = opened(tmp_path, pack(b"a\n1") + pack(b"2\n") + pack(b"") + pack(b"3\n"))
    assert lines(source) == b"a\n12\n3\n"


def test_zeros_behind_a_gzip_stream_are_padding_and_anything_else_is_damage(tmp_path: Path):
    assert lines(opened(tmp_path, gzip.compress(b"a\n") + bytes(2_000))) == b"a\n"
    with pytest.raises(SourceError, match="other data follows"):
        lines(opened(tmp_path, gzip.compress(b"a\n") + b"tail"))


def test_a_zstd_file_may_begin_with_a_frame_that_holds_nothing(tmp_path: Path):
    skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    assert lines(opened(tmp_path, zstd.compress(b"a\n") + skippable + zstd.compress(b"b\n"))) == b"a\nb\n"


def zstd_with_checksum(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


@pytest.mark.parametrize("pack", [gzip.compress, zstd_with_checksum])
def test_a_damaged_compressed_stream_is_reported_with_the_place(tmp_path: Path, pack):
    packed = bytearray(pack(os.urandom(300_000)))
    packed[150_000] ^= 0xFF
    with pytest.raises(SourceError, match="cannot be read past byte"):
        lines(opened(tmp_path, bytes(packed)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_the_position_of_a_small_file_grows_with_what_has_been_handed_out(tmp_path: Path, pack):
    """Else a progress bar stands at 100 % when the first row is sent."""
    data = b"".join(b"%d,%s\n" % (n, os.urandom(8).hex().encode()) for n in range(20_000))
    source = opened(tmp_path, pack(data))
    assert source.size is not None
    shares = []
    while source.line().length:
        if source.lines % 2_000 == 0:
            shares.append(source.position(source.offset) / source.size)
    assert shares == sorted(shares)
    for tenth, share in enumerate(shares, start=1):
        assert abs(share - tenth / 10) < 0.15
    assert shares[-1] == 1.0


def test_gzip_that_breaks_off_gives_its_whole_rows_first(tmp_path: Path):
    data = b"".join(b'{"n":%d}\n' % n for n in range(50_000))
    rows = iter(NdjsonRows(opened(tmp_path, gzip.compress(data)[:-2_000])))
    seen: list[int] = []
    with pytest.raises(SourceError, match="cannot be read past byte"):
        seen.extend(row.number for row in rows)
    assert len(seen) > 10_000


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_resumed_source_goes_on_behind_the_row(tmp_path: Path, pack: type):
    data = b'a,b\n1,"x\ny"\n2,z\n3,w\n'
    whole = list(CsvRows(opened(tmp_path, pack(data)), ",", "utf-8"))
    for row in whole:
        rows = CsvRows(opened(tmp_path, pack(data)), ",", "utf-8")
        rows.resume(row.number, row.end)
        assert list(rows) == whole[row.number :]


def test_a_file_that_became_shorter_is_not_resumed(tmp_path: Path):
    rows = NdjsonRows(opened(tmp_path, b'{"a":1}\n'))
    with pytest.raises(SourceError, match="--restart"):
        rows.resume(10, 1_000)


def test_the_head_is_the_first_two_lines_whatever_their_ends(tmp_path: Path):
    assert (
        opened(tmp_path, b"a,b\r\n1,2\r\n3,4\r\n").head()
        == opened(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n9,9").head()
    )


def test_a_pipe_is_read_as_it_comes():
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(b'{"a":1}\n' * 100_000)

    threading.Thread(target=write, daemon=True).start()
    source = Source(io.FileIO(reader), "pipe")
    assert source.size is None
    assert sum(1 for _ in NdjsonRows(source)) == 100_000
    source.close()


def test_parquet_is_recognized_before_its_bytes_are_read_as_rows(tmp_path: Path):
    with pytest.raises(SourceError, match="Parquet"):
        opened(tmp_path, b"PAR1\x15\x04\n{}\nPAR1")


def test_utf_16_is_recognized(tmp_path: Path):
    with pytest.raises(SourceError, match="UTF-16"):
        opened(tmp_path, "a,b\n1,2\n".encode("utf-16"))


def test_an_empty_file_has_no_lines(tmp_path: Path):
    source = opened(tmp_path, b"")
    assert lines(source) == b""
    assert source.line_ends == 0
