import pytest

from nealytics.clickhouse.embedded_sql import Unacceptable, statement_of


@pytest.mark.parametrize(
    ("sql", "output_format"),
    [
        (b"SELECT 1", None),
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"select 1 format `CSV` settings max_threads = 1 ;  -- done", "CSV"),
        (b"SELECT 'x FORMAT CSV'", None),
        (b"SELECT 1 -- FORMAT CSV", None),
        (b"SELECT 1 /* ; SELECT 2 FORMAT CSV */", None),
        (b"SELECT $a$ ; FORMAT CSV $a$ FORMAT TSV", "TSV"),
        (b"(SELECT 1) UNION ALL (SELECT 2) FORMAT Native", "Native"),
        (b"SELECT format FROM (SELECT 'a' AS format)", None),
        (b"SELECT format('{}', 1)", None),
        (b"SHOW CREATE TABLE t FORMAT TabSeparatedRaw", "TabSeparatedRaw"),
    ],
)
def test_the_format_clause_of_a_query_is_found(sql: bytes, output_format: str | None):
    statement = statement_of(sql)
    assert statement.output_format == output_format
    assert statement.has_result
    assert statement.is_read
    if output_format:
        assert statement.format_start is not None
        assert sql[statement.format_start :].upper().startswith(b"FORMAT")


@pytest.mark.parametrize(
    ("text", "sql", "input_format", "data"),
    [
        (b"INSERT INTO t FORMAT RowBinary\n\n\x00", b"INSERT INTO t ", "RowBinary", b"\n\x00"),
        (b"insert into d.t (a, b) format CSV 1,2", b"insert into d.t (a, b) ", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT CSV;\r\n1", b"INSERT INTO t ", "CSV", b"1"),
        (b"INSERT INTO t VALUES (1, 'a;b')", b"INSERT INTO t ", "Values", b" (1, 'a;b')"),
        (b"INSERT INTO values (a) VALUES (1)", b"INSERT INTO values (a) ", "Values", b" (1)"),
        (b"INSERT INTO `a b`.`format` FORMAT TSV\nx", b"INSERT INTO `a b`.`format` ", "TSV", b"x"),
        (
            b"INSERT INTO FUNCTION null('a Int8') VALUES (1)",
            b"INSERT INTO FUNCTION null('a Int8') ",
            "Values",
            b" (1)",
        ),
        (
            b"/* c */ INSERT INTO t SETTINGS a=1 FORMAT Native\nx",
            b"/* c */ INSERT INTO t SETTINGS a=1 ",
            "Native",
            b"x",
        ),
        (b"INSERT INTO t", b"INSERT INTO t", "Values", b""),
    ],
)
def test_the_data_of_an_insert_is_found(text: bytes, sql: bytes, input_format: str, data: bytes):
    statement = statement_of(text)
    assert (statement.sql, statement.input_format) == (sql, input_format)
    assert text[statement.data_start :] == data
    assert not statement.has_result
    assert not statement.is_read


def test_an_insert_without_format_takes_the_default_format():
    assert statement_of(b"INSERT INTO t (a)", "JSONEachRow").input_format == "JSONEachRow"


@pytest.mark.parametrize(
    "sql", [b"INSERT INTO t SELECT 1", b"INSERT INTO t (a) WITH x AS (SELECT 1) SELECT * FROM x"]
)
def test_an_insert_from_a_select_brings_no_data(sql: bytes):
    assert statement_of(sql).input_format is None
    assert statement_of(sql).sql == sql


@pytest.mark.parametrize(
    "sql", [b"SELECT 1; SELECT 2", b"SELECT 1;; DROP TABLE t", b"INSERT INTO t SELECT 1; SELECT 2"]
)
def test_several_statements_are_refused(sql: bytes):
    with pytest.raises(Unacceptable, match="Multi-statements") as raised:
        statement_of(sql)
    assert raised.value.code == 62


@pytest.mark.parametrize("sql", [b"", b"  ", b"-- nothing", b"/* nothing"])
def test_an_empty_statement_is_a_syntax_error(sql: bytes):
    with pytest.raises(Unacceptable, match="empty"):
        statement_of(sql)


@pytest.mark.parametrize(
    "sql", [b"SELECT 1 INTO OUTFILE '/etc/x'", b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV"]
)
def test_the_servers_own_files_are_out_of_reach_of_statements(sql: bytes):
    with pytest.raises(Unacceptable):
        statement_of(sql)


@pytest.mark.parametrize(
    "sql", [b"CREATE TABLE t (a Int8)", b"SET a = 1", b"DROP TABLE t", b"KILL QUERY WHERE 1"]
)
def test_what_changes_something_is_no_read(sql: bytes):
    assert not statement_of(sql).is_read
