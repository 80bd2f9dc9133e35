from nealytics.cli.wal_reconcile import _described
from nealytics.commit.reconcile import Options, Result


def test_what_a_log_no_longer_has_is_counted_and_an_erasure_is_named_only_where_there_was_one():
    result = Result("wal/0", "id", first_lsn=5, next_lsn=9, compared=4)
    line = "not compared: its first 4 events, which the log no longer has"
    assert f"  {line}\n" in _described(result, Options(), False)
    assert f"  {line}; an erasure, which removes whole segments, may be the reason\n" in _described(
        result, Options(), True
    )
    result.first_lsn = 1
    assert "not compared" not in _described(result, Options(), True)
