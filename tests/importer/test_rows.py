import csv
import io
import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nealytics.importer import source as sources
from nealytics.importer.csv_record import Record
from nealytics.importer.rows import CsvRows, JsonRows, NdjsonRows, Row
from nealytics.importer.source import Source, SourceError, open_source
from tests.importer.test_source import opened


def raw(cell: str | msgspec.Raw) -> bytes:
    assert isinstance(cell, msgspec.Raw)
    return bytes(cell)


def csv_rows(
    tmp_path: Path,
    data: bytes,
    delimiter: str = ",",
    encoding: str = "utf-8",
    *,
    columns: tuple[str, ...] | None = None,
    quoted_lines_max: int = 1_000,
) -> list[Row]:
    source = opened(tmp_path, data)
    rows = CsvRows(source, delimiter, encoding, columns=columns, quoted_lines_max=quoted_lines_max)
    found = list(rows)
    assert rows.check() is None
    lines = sum(row.lines for row in found) + rows.counts.blank + rows.counts.other_lines
    assert lines == source.lines == source.line_ends
    return found


def json_rows(tmp_path: Path, data: bytes) -> list[Row]:
    rows = JsonRows(opened(tmp_path, data))
    found = list(rows)
    assert rows.check() is None
    return found


def test_each_line_of_ndjson_is_a_row_that_knows_where_it_ends(tmp_path: Path):
    rows = list(NdjsonRows(opened(tmp_path, b'{"a":1}\n\n{"b": "x"}\r\n')))
    assert [(row.number, row.end, row.raw) for row in rows] == [(1, 8, b'{"a":1}'), (2, 21, b'{"b": "x"}')]
    assert raw(rows[0].fields["a"]) == b"1"


def test_a_last_line_without_end_is_a_row(tmp_path: Path):
    assert [row.raw for row in NdjsonRows(opened(tmp_path, b'{"a":1}\n{"a":2}'))] == [b'{"a":1}', b'{"a":2}']


@pytest.mark.parametrize(
    "line", [b"[1]", b'{"a":', b"nonsense", b'{"a":1}{"a":2}', b'{"a":' + b"[" * 50_000 + b"}", b"\xff\xfe"]
)
def test_a_line_that_is_no_object_is_a_row_with_a_problem_and_the_next_is_read(tmp_path: Path, line: bytes):
    rows = list(NdjsonRows(opened(tmp_path, b'{"first":1}\n' + line + b'\n{"a":1}\n')))
    assert rows[1].problem is not None
    assert rows[1].fields == {}
    assert (rows[2].number, rows[2].problem) == (3, None)


def test_numbers_keep_their_digits(tmp_path: Path):
    (row,) = NdjsonRows(
        opened(tmp_path, b'{"metadata":{"price":1.10,"id":123456789012345678901234567890}}\n')
    )
    assert raw(row.fields["metadata"]) == b'{"price":1.10,"id":123456789012345678901234567890}'


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
        "1 values, but 2 columns are named",
        "3 values, but 2 columns are named",
        None,
    ]


def test_a_row_whose_width_is_wrong_because_a_quote_swallowed_lines_names_them(tmp_path: Path):
    rows = csv_rows(tmp_path, b'a,b,c\n1,"2,3\n4,5,"\n6,7,8\n')
    assert rows[0].problem == ("2 values, but 3 columns are named; a quoted field spans lines 2 to 3")
    assert rows[1].problem is None


def test_a_quote_that_is_never_closed_ends_the_file_with_the_line_where_it_opens(tmp_path: Path):
    source = opened(tmp_path, b"a,b\n" + b"x,y\n" * 10 + b'1,"broken\n' + b"x,y\n" * 500)
    rows = iter(CsvRows(source, ",", "utf-8"))
    seen = [next(rows).number for _ in range(10)]
    with pytest.raises(SourceError) as error:
        next(rows)
    assert seen[-1] == 10
    assert "line 12: a quote opens in column b, and the file ends before it is closed" in str(error.value)


def test_a_quote_that_is_never_closed_is_found_at_the_next_quote(tmp_path: Path):
    """Otherwise everything up to there would be one field, and the row could pass."""
    rows = iter(CsvRows(opened(tmp_path, b'a,b\n1,"broken\n2,x\n3,"fine"\n4,y\n'), ",", "utf-8"))
    with pytest.raises(SourceError, match=r"line 2: a quote opens in column b, and in line 4, text follows"):
        next(rows)


def test_a_quoted_field_may_span_lines_up_to_the_bound_and_no_further(tmp_path: Path):
    text = "\n".join(f"line {n}" for n in range(50))
    data = f'a,b\n1,"{text}"\n2,x\n'.encode()
    rows = csv_rows(tmp_path, data, quoted_lines_max=50)
    assert rows[0].fields["b"] == text
    assert rows[0].lines == 50
    with pytest.raises(SourceError, match=r"line 2: .* not closed within 49 lines; .* raise --quoted-lines"):
        csv_rows(tmp_path, data, quoted_lines_max=49)


def test_a_long_free_text_passes_with_the_defaults(tmp_path: Path):
    """A mail thread or a log in a cell: 900 lines, 1.5 MB."""
    text = ("x" * 1_700 + "\r\n") * 900
    (row,) = csv_rows(tmp_path, b'a,b\r\n"' + text.encode() + b'",2\r\n')
    assert row.fields == {"a": text, "b": "2"}


def test_a_quoted_field_beyond_the_bytes_of_a_record_ends_the_file(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b'a\n"' + b"x" * 50 + b"\n" + b"y" * 60 + b'"\n')
    with pytest.raises(SourceError, match=r"line 2: .*within 100 bytes; .* raise --record-bytes"):
        list(CsvRows(open_source(str(path), 100), ",", "utf-8"))


def test_text_behind_a_closing_quote_is_an_error_of_its_row_alone(tmp_path: Path):
    rows = csv_rows(tmp_path, b'a,b,c\n"a"b,2,3\n1,"he said "hi, there"",3\n4,"5","6"\n')
    assert rows[0].problem is not None
    assert "text follows the closing quote of field 1, at column 4 (a quote within" in rows[0].problem
    assert rows[0].raw == b'"a"b,2,3'
    assert rows[1].problem is not None
    assert rows[2].fields == {"a": "4", "b": "5", "c": "6"}


def test_a_quote_inside_an_unquoted_field_is_text(tmp_path: Path):
    (row,) = csv_rows(tmp_path, b'size,b\n27" screen,"x"\n')
    assert row.fields == {"size": '27" screen', "b": "x"}


def test_a_header_may_span_lines_and_be_quoted(tmp_path: Path):
    (row,) = csv_rows(tmp_path, b'"a","b\nc"\n1,2\n')
    assert row.fields == {"a": "1", "b\nc": "2"}


def test_a_file_without_a_header_line_has_the_columns_that_are_named(tmp_path: Path):
    rows = csv_rows(tmp_path, b"1\tx\n2\ty\n", "\t", columns=("n", "letter"))
    assert [row.fields for row in rows] == [{"n": "1", "letter": "x"}, {"n": "2", "letter": "y"}]


cells = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\0"), max_size=8)


@given(st.lists(st.lists(cells, min_size=2, max_size=4), min_size=1, max_size=6), st.sampled_from(",;\t"))
def test_what_a_csv_writer_writes_is_read_as_it_was(records: list[list[str]], delimiter: str):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(records)
    lines = text.getvalue().split("\n")
    found = []
    rest = iter([*(f"{line}\n" for line in lines[:-1]), *filter(None, lines[-1:])])
    for line in rest:
        record = Record(delimiter)
        while not record.feed(line):
            line = next(rest)
        assert record.problem is None
        found.append(record.values)
    assert found == records


@given(st.lists(st.text('ab",\n', max_size=30), min_size=1, max_size=4))
def test_no_line_gets_lost_whatever_stands_in_it(texts: list[str]):
    memory = io.FileIO(os.memfd_create("rows"), "w+")
    memory.write(b"a,b\n" + "\n".join(texts).encode())
    memory.seek(0)
    source = Source(memory, "rows")
    rows = CsvRows(source, ",", "utf-8")
    found: list[Row] = []
    try:
        found.extend(rows)
    except SourceError:
        return
    assert sum(row.lines for row in found) + rows.counts.blank + 1 == source.lines == source.line_ends
    assert rows.counts.records == len(found) + rows.counts.blank


def test_a_line_above_the_limit_is_a_row_with_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "_CHUNK_BYTES", 64)
    path = tmp_path / "file"
    path.write_bytes(b'{"a":"' + b"x" * 500 + b'"}\n{"a":1}\n')
    rows = list(NdjsonRows(open_source(str(path), 100)))
    assert rows[0].problem == "the line has 509 bytes, at most 100 are read; --record-bytes raises that"
    assert rows[0].end == 509
    assert rows[1].problem is None
    path.write_bytes(b"a\n" + b"x" * 500 + b"\ny\n")
    found = list(CsvRows(open_source(str(path), 100), ",", "utf-8"))
    assert [row.problem is None for row in found] == [False, True]


def test_a_quote_that_a_line_above_the_limit_leaves_open_ends_the_import(tmp_path: Path):
    """What follows is the rest of a text, and no row."""
    path = tmp_path / "file"
    path.write_bytes(b'a,b\n1,"' + b"x" * 500 + b'\nnot a row",2\n')
    rows = CsvRows(open_source(str(path), 100), ",", "utf-8")
    with pytest.raises(
        SourceError, match=r"line 2: the line has 504 bytes.*--record-bytes.*quote is not closed, so"
    ):
        list(rows)
    path.write_bytes(b'a,b\n1,"' + b"x" * 500 + b'"\n2,3\n')
    found = list(CsvRows(open_source(str(path), 100), ",", "utf-8"))
    assert [row.problem is None for row in found] == [False, True]


def test_text_in_another_encoding_is_refused_row_by_row_unless_it_is_named(tmp_path: Path):
    data = b"a\ncaf\xe9\nplain\n"
    assert [row.problem is None for row in csv_rows(tmp_path, data)] == [False, True]
    assert csv_rows(tmp_path, data, encoding="latin-1")[0].fields == {"a": "café"}


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"", "is empty"),
        (b"\n1\n", "needs a header line"),
        (b"a,b,a\n", "'a' is named twice"),
        (b" , \n", "needs a header line"),
        (b"a,b\r1,2\r", "carriage return only"),
        (b'a,"b\n', "line 1: a quote opens in field 2"),
    ],
)
def test_a_csv_without_a_usable_header_is_refused_as_a_whole(tmp_path: Path, header: bytes, told: str):
    with pytest.raises(SourceError) as error:
        CsvRows(opened(tmp_path, header), ",", "utf-8")
    assert told in str(error.value)


@pytest.mark.parametrize(
    "data",
    [b'a,b\n1,"x\ny"\n\n2,z\n3,w\n', b'{"a":1}\n\n{"a":2}\n{"a":3}\n', b'[{"a":1},\n {"a":2},{"a":3}\n]\n'],
)
def test_a_resumed_reader_goes_on_behind_the_row(tmp_path: Path, data: bytes):
    def opened_rows() -> CsvRows | NdjsonRows | JsonRows:
        source = opened(tmp_path, data)
        if data[:1] == b"a":
            return CsvRows(source, ",", "utf-8")
        return JsonRows(source) if data[:1] == b"[" else NdjsonRows(source)

    whole = list(opened_rows())
    assert len(whole) == 3
    for row in whole:
        rows = opened_rows()
        rows.resume(row.number, row.end)
        assert list(rows) == whole[row.number :]
        assert rows.check() is None


def test_a_long_array_is_resumed_anywhere(tmp_path: Path):
    data = json.dumps([{"n": n, "text": "]},[{" * 20} for n in range(3_000)], indent=1).encode()
    whole = json_rows(tmp_path, data)
    assert [json.loads(row.raw)["n"] for row in whole] == list(range(3_000))
    for number in (1, 2, 3, 10, 400, 1_500, 2_999, 3_000):
        rows = JsonRows(opened(tmp_path, data))
        rows.resume(number, whole[number - 1].end)
        assert [row.number for row in rows] == list(range(number + 1, 3_001))
        assert rows.check() is None


def test_an_array_s_elements_are_rows_wherever_its_pieces_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = (
        b'\xef\xbb\xbf \n[ {"a": "x, \\" ] } y\\\\"} ,\n\n{"b":[1,{"c":2}]}, 7 , "text, ]", {"d":3}\n]\n \n'
    )
    for size in range(1, 40):
        monkeypatch.setattr(sources, "_CHUNK_BYTES", size)
        rows = json_rows(tmp_path, data)
        assert [row.raw for row in rows] == [
            b'{"a": "x, \\" ] } y\\\\"}', b'{"b":[1,{"c":2}]}', b"7", b'"text, ]"', b'{"d":3}',
        ]  # fmt: skip
        assert [row.problem is None for row in rows] == [True, True, False, False, True]
        assert all(data[row.end - len(row.raw) : row.end] == row.raw for row in rows)


def test_an_empty_array_has_no_rows(tmp_path: Path):
    assert json_rows(tmp_path, b"[]") == []
    assert json_rows(tmp_path, b"[ \n ]\n") == []


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'[{"a":1},\n{"a":2}', "line 2: the array has no end"),
        (b'[{"a":1},\n{"a":2},', "line 2: a comma without an element"),
        (b'[{"a":1},\n{"a":2},]', "line 2: a comma without an element"),
        (b'[{"a":1}\n{"a":2}]', "line 2: an element is followed by neither a comma nor the end"),
        (b'[{"a":1}]\n[{"a":2}]', "line 2: text after the end"),
        (b'[{"a":1},,{"a":2}]', "line 1: an element is missing"),
        (b'[{"a":1},{"a":"never closed}]', "line 1: the array has no end"),
        (b"nonsense", "begins with ["),
        (b"", "begins with ["),
    ],
)
def test_a_malformed_array_is_reported_with_the_line_and_the_rows_before_it_are_read(
    tmp_path: Path, data: bytes, told: str
):
    found: list[Row] = []
    with pytest.raises(SourceError) as error:
        found.extend(JsonRows(opened(tmp_path, data)))
    assert told in str(error.value)


def test_an_element_above_the_limit_ends_the_array(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b'[{"a":1},{"a":"' + b"x" * 100_000 + b'"}]')
    rows = iter(JsonRows(open_source(str(path), 50_000)))
    assert next(rows).number == 1
    with pytest.raises(SourceError, match="longer than 50,000 bytes"):
        next(rows)
