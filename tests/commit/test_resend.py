"""Which rows may be sent again."""

import math

from nealytics.clickhouse.rowbinary import ROW_FORMAT, received_ms
from nealytics.commit.resend import DAY_MS, DEAD_LETTERED, DELETED, DROPPED, EXPIRED, Resending
from tests.fakes.rows import TIMESTAMP_MS, row


def refusal(resending: Resending, lsn: int = 1, timestamp_ms: int = TIMESTAMP_MS) -> str:
    return resending.refusal(lsn, row(lsn, timestamp_ms=timestamp_ms), ROW_FORMAT)


def test_a_row_that_the_ttl_deletes_is_not_sent():
    resending = Resending(now_ms=TIMESTAMP_MS + 90 * DAY_MS, kept_days=90)
    assert refusal(resending) == EXPIRED
    assert refusal(resending, timestamp_ms=TIMESTAMP_MS + 1) == ""


def test_a_table_without_a_ttl_keeps_every_row():
    assert refusal(Resending(now_ms=TIMESTAMP_MS, kept_days=math.inf), timestamp_ms=0) == ""


def test_a_dead_lettered_row_is_not_sent():
    resending = Resending(now_ms=TIMESTAMP_MS, kept_days=math.inf, dead_lsns={7})
    assert [refusal(resending, lsn) for lsn in (6, 7, 8)] == ["", DEAD_LETTERED, ""]


def test_a_row_that_must_not_come_back_is_not_sent():
    resending = Resending(
        now_ms=TIMESTAMP_MS,
        kept_days=math.inf,
        drops=(lambda columns: columns["tenant_id"] == "acme",),
    )
    assert refusal(resending) == DROPPED


def test_a_row_from_before_the_last_deletion_is_in_doubt_and_a_later_one_is_not():
    old = row(1)
    assert received_ms(old) == TIMESTAMP_MS
    deleted_later = Resending(now_ms=TIMESTAMP_MS, kept_days=math.inf, deleted_ms=TIMESTAMP_MS)
    deleted_before = Resending(now_ms=TIMESTAMP_MS, kept_days=math.inf, deleted_ms=TIMESTAMP_MS - 3_600_000)
    never = Resending(now_ms=TIMESTAMP_MS, kept_days=math.inf)
    assert [one.doubt(old) for one in (deleted_later, deleted_before, never)] == [DELETED, "", ""]
