import pytest

from nealytics.queries.ranges import bucket_ms


def test_a_bucket_starts_in_utc_whatever_the_column_s_time_zone():
    assert bucket_ms("hour") == (
        "toUnixTimestamp64Milli(toDateTime64(toStartOfHour(timestamp, 'UTC'), 3, 'UTC'))"
    )


def test_an_interval_that_is_not_ours_is_no_sql():
    with pytest.raises(KeyError):
        bucket_ms("1), sleep(3")
