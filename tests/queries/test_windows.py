import random
from itertools import pairwise
from uuid import UUID

import pytest

from nealytics.queries.filters import Bind, Filter, parse_filter
from nealytics.queries.time_bounds import TIMESTAMP_MS_MAX, TIMESTAMP_MS_MIN
from nealytics.queries.windows import Window, windows

NOW_MS = 1_718_447_400_123
DAY_MS = 86_400_000


def filters(*texts: str) -> tuple[Filter, ...]:
    return tuple(parse_filter("filter", text) for text in texts)


def test_the_newest_day_then_the_month_before_it_then_the_rest():
    assert list(windows(NOW_MS, TIMESTAMP_MS_MIN, ())) == [
        Window(NOW_MS - DAY_MS, None),
        Window(NOW_MS - 31 * DAY_MS, NOW_MS - DAY_MS),
        Window(None, NOW_MS - 31 * DAY_MS),
    ]


def test_every_instant_is_in_exactly_one_look():
    chance = random.Random(3)
    for _ in range(200):
        newest_ms = chance.randint(TIMESTAMP_MS_MIN, TIMESTAMP_MS_MAX)
        oldest_ms = newest_ms - chance.choice((-DAY_MS, 0, 1, DAY_MS, 20 * DAY_MS, 31 * DAY_MS, 400 * DAY_MS))
        found = list(windows(newest_ms, oldest_ms, ()))
        assert found[0].before_ms is None
        assert found[-1].from_ms is None
        assert all(newer.from_ms == older.before_ms for newer, older in pairwise(found))
        edges = [window.from_ms for window in found[:-1] if window.from_ms is not None]
        assert len(edges) == len(found) - 1
        assert edges == sorted(set(edges), reverse=True)
        assert all(edge > TIMESTAMP_MS_MIN for edge in edges if oldest_ms >= TIMESTAMP_MS_MIN)


def test_nobody_looks_behind_what_is_asked_for():
    assert list(windows(NOW_MS, NOW_MS - DAY_MS, ())) == [Window()]
    assert len(list(windows(NOW_MS, NOW_MS - 2 * DAY_MS, ()))) == 2


@pytest.mark.parametrize("rare", ["session_id:eq:s1", "user_id:eq:ada", f"event_id:eq:{UUID(int=1)}"])
def test_what_never_fills_a_page_is_looked_for_once(rare: str):
    assert list(windows(NOW_MS, TIMESTAMP_MS_MIN, filters("event_type:eq:view", rare))) == [Window()]


@pytest.mark.parametrize("frequent", ["session_id:ne:s1", "user_id:exists:true", "event_type:eq:view"])
def test_other_filters_leave_the_looks_as_they_are(frequent: str):
    assert len(list(windows(NOW_MS, TIMESTAMP_MS_MIN, filters(frequent)))) == 3


def test_a_look_is_from_its_start_on_and_before_its_end():
    bind = Bind()
    assert Window(5, 7).conditions(bind) == [
        "timestamp >= fromUnixTimestamp64Milli({p0:Int64}, 'UTC')",
        "timestamp < fromUnixTimestamp64Milli({p1:Int64}, 'UTC')",
    ]
    assert bind.values == {"p0": 5, "p1": 7}
    assert Window().conditions(bind) == []
