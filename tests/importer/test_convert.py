"""Parquet of other people's, read by the ClickHouse inside chDB."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from nealytics.cli import main
from nealytics.importer.convert import open_converted
from nealytics.importer.rows import NdjsonRows
from nealytics.importer.source import SourceError
from tests.engine import needs_engine
from tests.fakes.batch_server import KEY, BatchServer

pytestmark = [pytest.mark.engine, needs_engine]

ROWS = 20_000


def raw(cell: str | msgspec.Raw) -> bytes:
    assert isinstance(cell, msgspec.Raw)
    return bytes(cell)


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # ClickHouse takes a star in a path for a wildcard.
    path = tmp_path_factory.mktemp("par*quet's") / "visits {1}.parquet"
    made = path.parent.parent / "made.parquet"
    sql = (
        "SELECT number AS n, 9007199254740993::Int64 AS big, 1.10::Decimal(9, 2) AS price,"
        " toDateTime64('2024-03-13 10:21:14.123456', 6, 'UTC') AS ts, if(number % 2, NULL, 'u') AS user,"
        " tuple(1, 'x')::Tuple(a Int8, b String) AS nested, ['a/b'] AS list, toDate('2024-03-13') AS day"
        f" FROM numbers({ROWS}) INTO OUTFILE '{made}' TRUNCATE FORMAT Parquet"
    )
    code = (
        "import sys; sys.modules.update(pyarrow=None, pandas=None); from chdb import session;"
        f" session.Session().query({sql!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    made.rename(path)
    return path


def test_every_row_comes_in_the_order_of_the_file_with_every_digit(parquet: Path):
    rows = list(NdjsonRows(open_converted(str(parquet), "parquet", 1_000_000)))
    assert len(rows) == ROWS
    assert [raw(row.fields["n"]) for row in rows[:: ROWS // 7]] == [
        str(n).encode() for n in range(0, ROWS, ROWS // 7)
    ]
    assert rows[0].raw == (
        b'{"n":0,"big":9007199254740993,"price":1.10,"ts":"2024-03-13T10:21:14.123456Z","user":"u",'
        b'"nested":{"a":1,"b":"x"},"list":["a/b"],"day":"2024-03-13"}'
    )
    assert raw(rows[1].fields["user"]) == b"null"


def test_the_import_goes_on_within_parquet_and_moves_its_times(parquet: Path, tmp_path: Path):
    file = tmp_path / "visits.dat"  # known by its first bytes
    file.symlink_to(parquet)
    options = [
        "--set", "projectId=p", "--set", "tenantId=t", "--set", "eventType=e", "--map", "sessionId=n",
        "--map", "userId=user", "--map", "timestamp=ts", "--metadata", "--shift-by", "1d",
        "--batch-events", "2000",
        "--batch-bytes", "10000000",
    ]  # fmt: skip
    with BatchServer() as server:
        command = ["import", str(file), "--url", server.url, "--key", KEY, *options]
        server.mood = lambda number, events: (
            None if number < 4 else _unauthorized()  # the run breaks off
        )
        assert CliRunner().invoke(main, command).exit_code == 1
        server.mood = lambda number, events: None
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
        assert "resumes after row" in done.output
        assert len(server.events) == ROWS
        event = next(event for event in server.events.values() if event["sessionId"] == "0")
        assert event["timestamp"] == 1_710_411_674_123
        assert event["metadata"]["nested"] == {"a": 1, "b": "x"}


def _unauthorized():
    from aiohttp import web

    return web.json_response({"message": "no"}, status=401)


def test_a_parquet_file_that_is_damaged_or_cut_ends_the_import(parquet: Path, tmp_path: Path):
    file = tmp_path / "cut.parquet"
    file.write_bytes(parquet.read_bytes()[:-1_000])
    with BatchServer() as server:
        done = CliRunner().invoke(main, ["import", str(file), "--url", server.url, "--key", KEY])
    assert done.exit_code == 1
    assert "cut.parquet cannot be read past byte 0" in done.output
    assert "Traceback" not in done.output
    with pytest.raises(SourceError, match="cannot be read from standard input"):
        open_converted("-", "parquet", 1_000)
    with pytest.raises(SourceError, match="cannot open"):
        open_converted(str(tmp_path / "missing.parquet"), "parquet", 1_000)


def test_times_of_a_parquet_file_are_shifted_to_now(parquet: Path, tmp_path: Path):
    with BatchServer() as server:
        file = tmp_path / "v.parquet"
        file.symlink_to(parquet)
        done = CliRunner().invoke(
            main,
            ["import", str(file), "--url", server.url, "--key", KEY, "--shift-to", "2030-01-01T12:00:00Z",
             "--set", "projectId=p", "--set", "tenantId=t", "--set", "eventType=e", "--map", "sessionId=n",
             "--map", "timestamp=ts", "--rest", "ignore", "--batch-events", "20000"],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        assert {json.dumps(event["timestamp"]) for event in server.events.values()} == {"1893493274123"}
