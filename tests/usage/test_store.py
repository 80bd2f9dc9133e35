"""The files of the counts: lines are read and written in pieces."""

from pathlib import Path

import msgspec
import pytest

from nealytics.usage import store
from nealytics.usage.counts import Counts, Used
from nealytics.usage.store import Position

NAMES = ("t", 'a "quoted"\nname', "[", "ü€🙂", '["x"]')


def lines(count: int) -> list[tuple[str, str, Used]]:
    return [("p", f"{NAMES[number % len(NAMES)]}-{number}", Used(number)) for number in range(count)]


@pytest.mark.parametrize("sizes", [(0,), (1,), (3, 0, 5), (2_000, 2_001, 6_003)])
def test_what_is_stored_is_loaded(tmp_path: Path, sizes: tuple[int, ...]):
    counts, expected = Counts(), {}
    for day, size in enumerate(sizes, 1):
        counts.put(day, lines(size))
        expected[day] = lines(size)
    pieces = {day: counts.encode(day) for day in counts.days}
    store.store(tmp_path, Position("log", 7), pieces, [1])
    assert store.load_day(tmp_path, 1) == store.Ended(Position("log", 7), expected.pop(1))
    current = store.load(tmp_path)
    assert current.position == Position("log", 7)
    assert list(current.days.values()) == list(expected.values())
    # Any program reads them.
    assert "days" in msgspec.json.decode((tmp_path / store.CURRENT).read_bytes())


def test_a_file_without_line_breaks_is_loaded(tmp_path: Path):
    days = {"1970-01-02": lines(5), "1970-01-03": []}
    current = store.Current(Position("log", 7), days)
    (tmp_path / store.CURRENT).write_bytes(msgspec.json.encode(current))
    assert store.load(tmp_path) == current
    ended = store.Ended(Position("log", 7), lines(5))
    store.path_of(tmp_path, 1).write_bytes(msgspec.json.encode(ended))
    assert store.load_day(tmp_path, 1) == ended


def test_no_piece_is_large(tmp_path: Path):
    counts = Counts()
    counts.put(1, lines(20_000))
    assert len(counts.encode(1)) == 10
    store.store(tmp_path, Position("log", 7), {1: counts.encode(1)}, [])
    assert max(map(len, (tmp_path / store.CURRENT).read_bytes().split(b"\n"))) < 200_000


def test_the_first_day_of_a_tenant_is_found_in_all_files(tmp_path: Path):
    for worker, day in (("0", 5), ("1", 3)):
        counts = Counts()
        counts.put(day, [("p", "t", Used(1)), ("p", "asked", Used(queries=1))])
        counts.put(7, [("p", "new", Used(1))])
        store.store(tmp_path / worker, Position("log", 7), {d: counts.encode(d) for d in counts.days}, [day])
    assert store.first_day(tmp_path, "p", "t") == 3
    assert store.first_day(tmp_path, "p", "new") == 7
    assert store.first_day(tmp_path, "p", "asked") is None
    (tmp_path / "0" / "1970-01-02.json.unreadable").touch()
    with pytest.raises(Exception, match="it is not known what was accepted then"):
        store.first_day(tmp_path, "p", "t")
