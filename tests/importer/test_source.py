import gzip
import io
import os
import threading
from pathlib import Path

import pytest

from nealytics.importer import source as module
from nealytics.importer.source import CsvRows, NdjsonRows, Row, Source, SourceError


def opened(tmp_path: Path, data: bytes, name: str = "file") -> Source:
    path = tmp_path / name
    path.write_bytes(data)
    return Source.open(str(path))


def csv_rows(tmp_path: Path, data: bytes, delimiter: str = ",", encoding: str = "utf-8") -> list[Row]:
    return list(CsvRows(opened(tmp_path, data), delimiter, encoding))


def test_each_line_of_ndjson_is_a_row_that_knows_where_it_ends(tmp_path: Path):
    rows = list(NdjsonRows(opened(tmp_path, b'{"a":1}\n\n{"b": "x"}\r\n')))
    assert [(row.number, row.end, row.raw) for row in rows] == [(1, 8, b'{"a":1}'), (2, 21, b'{"b": "x"}')]
    assert bytes(rows[0].fields["a"]) == b"1"


def test_a_last_line_without_end_is_a_row(tmp_path: Path):
    assert [row.raw for row in NdjsonRows(opened(tmp_path, b'{"a":1}\n{"a":2}'))] == [b'{"a":1}', b'{"a":2}']


@pytest.mark.parametrize(
    "line", [b"[1]", b'{"a":', b"nonsense", b'{"a":1}{"a":2}', b'{"a":' + b"[" * 50_000 + b"}", b"\xff\xfe"]
)
def test_a_line_that_is_no_object_is_a_row_with_a_problem_and_the_next_is_read(tmp_path: Path, line: bytes):
    rows = list(NdjsonRows(opened(tmp_path, line + b'\n{"a":1}\n')))
    assert rows[0].problem is not None
    assert rows[0].fields == {}
    assert (rows[1].number, rows[1].problem) == (2, None)


def test_numbers_keep_their_digits(tmp_path: Path):
    (row,) = NdjsonRows(
        opened(tmp_path, b'{"metadata":{"price":1.10,"id":123456789012345678901234567890}}\n')
    )
    assert bytes(row.fields["metadata"]) == b'{"price":1.10,"id":123456789012345678901234567890}'


def test_a_quoted_csv_field_may_hold_delimiters_quotes_and_line_ends(tmp_path: Path):
    data = b'name,note\n"a, b","she said ""hi""\nand left"\nc,d\n'
    rows = csv_rows(tmp_path, data)
    assert rows[0].fields == {"name": "a, b", "note": 'she said "hi"\nand left'}
    assert rows[0].raw == b'"a, b","she said ""hi""\nand left"'
    assert rows[1].fields == {"name": "c", "note": "d"}
    assert rows[1].end == len(data)


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path: Path):
    (row,) = csv_rows(tmp_path, b"\xef\xbb\xbfname\nx\n")
    assert row.fields == {"name": "x"}
    assert row.end == 10


def test_a_csv_row_of_another_width_has_a_problem(tmp_path: Path):
    rows = csv_rows(tmp_path, b"a,b\n1\n1,2,3\n1,2\n")
    assert [row.problem for row in rows] == [
        "1 values, but the header names 2 columns",
        "3 values, but the header names 2 columns",
        None,
    ]


def test_an_unclosed_quote_does_not_swallow_the_file_into_memory(tmp_path: Path):
    """It ends at the field limit; all that was swallowed is in the row's bytes, so nothing is lost unseen."""
    lines = b"x,y\n" * 600_000
    rows = csv_rows(tmp_path, b'a,b\n1,"open\n' + lines)
    assert rows[0].problem is not None
    assert "field larger than field limit" in rows[0].problem
    assert len(rows[0].raw) < 2 * module.FIELD_CHARS_MAX
    assert rows[1].fields == {"a": "x", "b": "y"}
    assert len(rows[0].raw) + sum(len(row.raw) + 1 for row in rows[1:]) == len(b'1,"open\n' + lines) - 1


def test_a_line_above_the_limit_is_a_row_with_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LINE_BYTES_MAX", 100)
    rows = list(NdjsonRows(opened(tmp_path, b'{"a":"' + b"x" * 500 + b'"}\n{"a":1}\n')))
    assert rows[0].problem == "the line has 509 bytes, at most 100 are read"
    assert rows[0].end == 509
    assert rows[1].problem is None
    rows = csv_rows(tmp_path, b"a\n" + b"x" * 500 + b"\ny\n")
    assert [row.problem is None for row in rows] == [False, True]


def test_text_in_another_encoding_is_refused_row_by_row_unless_it_is_named(tmp_path: Path):
    data = b"a\ncaf\xe9\nplain\n"
    assert [row.problem is None for row in csv_rows(tmp_path, data)] == [False, True]
    assert csv_rows(tmp_path, data, encoding="latin-1")[0].fields == {"a": "café"}


@pytest.mark.parametrize("header", [b"", b"\n1\n", b"a,b,a\n", b" , \n"])
def test_a_csv_without_a_usable_header_is_refused_as_a_whole(tmp_path: Path, header: bytes):
    with pytest.raises(SourceError):
        CsvRows(opened(tmp_path, header), ",", "utf-8")


def test_gzip_is_unpacked_whatever_the_name(tmp_path: Path):
    plain = b"a,b\n1,2\n3,4\n"
    rows = csv_rows(tmp_path, gzip.compress(plain))
    assert [row.fields["a"] for row in rows] == ["1", "3"]
    assert rows[-1].end == len(plain)


def test_gzip_that_breaks_off_gives_its_whole_rows_first(tmp_path: Path):
    lines = b"".join(b'{"n":%d}\n' % n for n in range(50_000))
    rows = iter(NdjsonRows(opened(tmp_path, gzip.compress(lines)[:-2_000])))
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
        opened(tmp_path, b"a,b\r\n1,2\r\n3,4\r\n").head == opened(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n9,9").head
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


def test_parquet_is_told_apart_before_its_bytes_are_taken_for_rows(tmp_path: Path):
    with pytest.raises(SourceError, match="Parquet"):
        opened(tmp_path, b"PAR1\x15\x04\n{}\nPAR1")
