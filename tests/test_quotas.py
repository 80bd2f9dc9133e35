"""Which quota counts, when it is used up, and when it begins again."""

from datetime import UTC, datetime

import pytest

from nealytics.config import QuotaRule
from nealytics.quotas import Period, Quotas, Share
from nealytics.timestamps import DAY_MS


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOW = ms("2026-11-30T12:00:00")


def rule(events: int = -1, tenant: str = "", queries: int = -1, project: str = "p") -> QuotaRule:
    return QuotaRule(project=project, tenant=tenant, events_per_month=events, queries_per_day=queries)


def accepted(quotas: Quotas, tenant: str, tries: int, project: str = "p", now_ms: int = NOW) -> int:
    return sum(quotas.events.take(project, tenant, now_ms) is None for _ in range(tries))


def store(quotas: Quotas, tenant: str, number: int, at_ms: int = NOW) -> None:
    quotas.events.stored(("p", tenant), number, at_ms)


def limit_of(quotas: Quotas, tenant: str, project: str = "p") -> tuple[str, int] | None:
    """Whose limit stops this tenant, and at how many."""
    for _ in range(100):
        if (spent := quotas.events.take(project, tenant, NOW)) is not None:
            return spent.tenant_id, spent.used
    return None


def test_the_most_specific_quota_counts():
    rules = [rule(7), rule(5, "*"), rule(3, "small"), rule(0, "free")]
    for tenant, found in (("small", ("small", 3)), ("other", ("other", 5)), ("free", None)):
        assert limit_of(Quotas(rules), tenant) == found
    assert limit_of(Quotas(rules), "small", project="another") is None


def test_a_quota_of_a_project_counts_all_its_tenants():
    """Also one that has a quota of its own, which only that one stops."""
    quotas = Quotas([rule(10), rule(4, "own")])
    assert accepted(quotas, "own", 9) == 4
    assert accepted(quotas, "a", 4) + accepted(quotas, "b", 9) == 6
    assert accepted(quotas, "own", 1) == 0


def test_each_limit_is_found_on_its_own():
    """A rule that gives one limit leaves the other to a wider rule."""
    quotas = Quotas([rule(5, queries=1), rule(tenant="t", queries=3)])
    assert limit_of(quotas, "t") == ("", 5)
    for _ in range(3):
        assert quotas.queries.take("p", "t", NOW) is None
    assert quotas.queries.take("p", "t", NOW, 0) == Share(
        "queries_per_day", "p", "t", 3, 3, Period(ms("2026-11-30"), ms("2026-12-01"), "2026-11-30")
    )


def test_a_query_about_the_whole_project_is_under_its_own_quota_only():
    quotas = Quotas([rule(tenant="*", queries=1)])
    assert [quotas.queries.take("p", "", NOW) for _ in range(5)] == [None] * 5
    quotas = Quotas([rule(tenant="*", queries=9), rule(queries=1)])
    assert quotas.queries.take("p", "", NOW) is None
    assert quotas.queries.take("p", "", NOW) is not None


@pytest.mark.parametrize(
    ("now", "events_end", "queries_end"),
    [
        ("2026-11-30T23:59:59.999", "2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("2026-12-31T12:00:00", "2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2028-02-28T00:00:00", "2028-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
    ],
)
def test_the_refusal_names_limit_use_and_end(now: str, events_end: str, queries_end: str):
    quotas = Quotas([rule(1000, "t", queries=1)])
    quotas.counted({"p": {"t": 1234}}, {"p": {"t": 1}}, ms(now))
    spent = quotas.events.take("p", "t", ms(now))
    assert spent is not None
    assert spent.message == f"tenant 't' of project 'p' has used 1,234 of its 1,000 events of {now[:7]}"
    assert (
        spent.detail
        == f"The count begins again at {events_end}. The operator sets events_per_month in [[quota]]."
    )
    assert spent.retry_after_s(ms(now)) == -(-(ms(events_end.removesuffix("Z")) - ms(now)) // 1000)
    asked = quotas.queries.take("p", "t", ms(now), 0)
    assert asked is not None
    assert f"1 of its 1 queries of {now[:10]}" in asked.message
    assert queries_end in asked.detail


def test_the_count_begins_again_with_the_month_and_the_day():
    quotas = Quotas([rule(2, queries=2)])
    assert accepted(quotas, "t", 5) == 2
    assert quotas.queries.take("p", "t", NOW) is None
    assert quotas.queries.take("p", "t", NOW) is None
    assert quotas.queries.take("p", "t", NOW + DAY_MS, 0) is None
    assert accepted(quotas, "t", 5, now_ms=NOW + DAY_MS) == 2
    # The clock is set back: what was used then is read from the files again.
    quotas.counted({"p": {"": 2}}, {}, NOW)
    assert accepted(quotas, "t", 5) == 0


def test_what_other_workers_used_counts_from_the_next_reading_on():
    quotas = Quotas([rule(10)])
    assert accepted(quotas, "t", 3) == 3
    store(quotas, "t", 3)
    quotas.mark()
    assert accepted(quotas, "t", 2) == 2  # while the files are read
    store(quotas, "t", 1)
    quotas.counted({"p": {"": 7, "t": 3, "other": 4}}, {}, NOW)
    assert accepted(quotas, "t", 9) == 1


def test_what_waits_for_the_log_counts_however_often_the_files_are_read():
    quotas = Quotas([rule(100), rule(40, "small")])
    for _ in range(5):
        accepted(quotas, "t", 10)
        accepted(quotas, "small", 10)
        quotas.mark()
        quotas.counted({"p": {"": 5, "small": 2}}, {}, NOW)
    assert [(share.tenant_id, share.used) for share in quotas.shares()] == [("", 5 + 88), ("small", 40)]
    store(quotas, "small", 38)
    store(quotas, "t", 50)
    quotas.mark()
    quotas.counted({"p": {"": 5 + 88, "small": 40}}, {}, NOW)
    assert accepted(quotas, "t", 100) == 7


def test_what_will_not_be_stored_is_given_back():
    quotas = Quotas([rule(10)])
    assert accepted(quotas, "t", 9) == 9
    quotas.events.give_back(("p", "t"), 4, NOW)
    quotas.events.give_back(("another", "t"), 4, NOW)
    assert accepted(quotas, "t", 9) == 5
    store(quotas, "t", 10)
    quotas.events.give_back(("p", "t"), 4, NOW)  # taken before there was a limit
    assert accepted(quotas, "t", 9) == 0


def test_what_was_taken_last_month_changes_nothing_in_this_one():
    quotas = Quotas([rule(10)])
    accepted(quotas, "t", 5)
    later = NOW + DAY_MS
    assert accepted(quotas, "t", 3, now_ms=later) == 3
    store(quotas, "t", 5)
    quotas.events.give_back(("p", "t"), 2, NOW)
    assert accepted(quotas, "t", 99, now_ms=later) == 7


def test_nothing_is_forgotten_if_the_files_cannot_be_read():
    quotas = Quotas([rule(10)])
    for _ in range(5):
        assert accepted(quotas, "t", 1) == 1
        store(quotas, "t", 1)
        quotas.mark()
    assert accepted(quotas, "t", 9) == 5


def test_new_rules_count_what_was_used_before():
    quotas = Quotas([rule(5)])
    assert accepted(quotas, "t", 9) == 5
    quotas.replace([rule(7)])
    assert accepted(quotas, "t", 9) == 2
    quotas.replace([])
    assert accepted(quotas, "t", 9) == 9
    assert quotas.largest_share() == 0


def test_shares_are_of_each_limit_and_each_tenant_that_used_anything():
    quotas = Quotas([rule(100), rule(50, "*"), rule(0, "free"), rule(10, "own", queries=4)])
    quotas.counted({"p": {"": 60, "a": 20, "own": 10, "free": 30}}, {"p": {"": 3, "own": 3}}, NOW)
    shares = {(share.kind, share.tenant_id): (share.used, share.limit) for share in quotas.shares()}
    assert shares == {
        ("events_per_month", ""): (60, 100),
        ("events_per_month", "a"): (20, 50),
        ("events_per_month", "own"): (10, 10),
        ("queries_per_day", "own"): (3, 4),
    }
    assert quotas.largest_share() == 1
