"""Which encoded rows are covered."""

from nealytics.clickhouse.rowbinary import ROW_FORMAT
from nealytics.erasure.tombstones import Tombstones
from tests.erasure.erasures import erasure
from tests.fakes.rows import TIMESTAMP_MS, number, row

ROWS = [
    row(1),
    row(2, user_id="u-1"),
    row(3, user_id="u-2"),
    row(4, tenant_id="other", user_id="u-1"),
    row(5, project_id="other", user_id="u-1"),
    row(6, user_id="u-1", timestamp_ms=TIMESTAMP_MS + 1),
    row(7, user_id=""),
]


def covered(tombstones: Tombstones) -> list[int]:
    kept = [number(one) for one in tombstones.kept(ROWS, ROW_FORMAT)]
    return [n for n in map(number, ROWS) if n not in kept]


def test_of_a_tenant_everything_earlier():
    assert covered(Tombstones([erasure()])) == [1, 2, 3, 7]


def test_of_a_user_everything_earlier_in_one_tenant():
    assert covered(Tombstones([erasure(user_id="u-1")])) == [2]
    assert covered(Tombstones([erasure(user_id="")])) == []


def test_of_several_erasures_the_latest_time_counts():
    earlier = erasure("e1", user_id="u-1", before_ms=1)
    later = erasure("e2", user_id="u-1", before_ms=TIMESTAMP_MS + 2)
    assert covered(Tombstones([later, earlier])) == covered(Tombstones([earlier, later])) == [2, 6]
    assert covered(Tombstones([erasure(before_ms=1), later])) == [2, 6]
    assert covered(Tombstones([erasure(), later])) == [1, 2, 3, 6, 7]


def test_bytes_that_are_no_row_are_not_covered():
    tombstones = Tombstones([erasure()])
    for text in (b"", b"x", ROWS[0][:-1], ROWS[0] + b"x"):
        assert not tombstones.covers(text, ROW_FORMAT)
    assert not tombstones.covers(ROWS[0], 99)


def test_nothing_is_erased_without_erasures():
    assert not Tombstones(())
    assert covered(Tombstones(())) == []
