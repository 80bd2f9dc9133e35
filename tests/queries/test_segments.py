"""Segments as they are written, and as they are saved."""

import re

import pytest

from nealytics.config import SegmentRule
from nealytics.errors import Refused
from nealytics.queries.conditions import Conditions, problems
from nealytics.queries.filters import Bind, Field, Filter
from nealytics.queries.segments import DAY_MS, LIVE_TIME_MS_MAX, TIME_MS_MAX, Segment, Within

FROM_MS, TO_MS = 1_000_000_000_000, 1_000_000_999_999
RANGE = Within(FROM_MS, TO_MS)
NOW_MS = TO_MS + DAY_MS


def parse(text: str, within: Within = RANGE, now_ms: int = NOW_MS) -> object:
    return Conditions(within, now_ms=now_ms).of_text("filter", text)


def did(event_type: str = "buy", compare: str = ">=", count: int = 1, **more: object) -> Segment:
    given = {"key": "user_key", "since_ms": FROM_MS, "until_ms": TO_MS, "time_ms": 1_000_000}
    return Segment(**given | {"event_type": event_type, "compare": compare, "count": count} | more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("did(buy)", did()),
        ("did( buy )", did()),
        ("did(buy, >2)", did(compare=">", count=2)),
        ("did(buy,= 2)", did(compare="=", count=2)),
        ("did(buy, <2)", did(count=2, inside=False)),
        ("did(buy, <=2)", did(compare=">", count=2, inside=False)),
        ("did(buy, =0)", did(compare=">", count=0, inside=False)),
        ("not_did(buy)", did(inside=False)),
        ("not_did(buy, <2)", did(count=2)),
        ("session_did(buy)", did(key="session_key")),
        (r"did(a\, b\)\\)", did("a, b)\\")),
        (r"did(buy\ )", did("buy ")),
        (r"did(\30d)", did("30d")),
        ("did(>=2)", did(">=2")),
        ("did(big buy)", did("big buy")),
        ("did(a -> b)", did("a -> b")),
        (r"did(buy \>= 2)", did("buy >= 2")),
        ("did(buy)[user_id:eq:a]", did(condition=Filter(Field("user_id"), "eq", "a"))),
        ("did(buy)[item_id:eq:]]", did(condition=Filter(Field("item_id"), "eq", "]"))),
        ("did(buy, 1d, >=3)", did(count=3, since_ms=TO_MS - DAY_MS + 1, time_ms=DAY_MS)),
    ],
)
def test_a_segment_is_an_event_type_a_count_and_a_time(text: str, expected: Segment):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("did(big buy >= 2)", "did(big buy, >=2)"),
        ("did(buy>2, 30d)", "did(buy, >2, 30d)"),
        ("session_not_did(buy == 3 7d)", "session_not_did(buy, =3, 7d)"),
        ("did(buy<2)[meta:plan:eq:pro]", "did(buy, <2)"),
    ],
)
def test_a_forgotten_comma_is_named(text: str, meant: str):
    with pytest.raises(Refused, match="a comma is missing after the event type") as refused:
        parse(text)
    assert (refused.value.status, refused.value.field) == (400, "filter")
    assert f"Write {meant}. If " in refused.value.detail


def test_a_time_ends_now_if_the_range_ends_later():
    found = parse("did(buy, 30s)", now_ms=TO_MS - 7)
    assert found == did(since_ms=TO_MS - 7 - 29_999, until_ms=TO_MS - 7, time_ms=30_000)


def test_who_was_first_seen_has_no_earlier_event():
    found = parse("first_seen(1d)")
    assert isinstance(found, Segment)
    bind = Bind()
    assert re.search(r"HAVING min\(timestamp >= .*\)\)\)$", found.sql(bind))
    assert TO_MS - DAY_MS + 1 in bind.values.values()


def test_a_stream_has_short_segments_that_end_now():
    found = parse("did(buy, 7d)", Within())
    assert found == did(since_ms=0, until_ms=None, time_ms=LIVE_TIME_MS_MAX)
    for text in ("did(buy, 8d)", "first_seen(7d)", "did(buy)"):
        with pytest.raises(Refused):
            parse(text, Within())


@pytest.mark.parametrize(
    "text", ["did(buy, 366d)", f"did(buy, {TIME_MS_MAX // 1_000}s)", "did(buy, 0d)", "did(buy, 367d)"]
)
def test_a_time_is_at_most_a_year(text: str):
    if "366" in text or text.endswith("s)"):
        assert isinstance(parse(text), Segment)
    else:
        with pytest.raises(Refused):
            parse(text)


def test_saved_segments_are_checked_for_the_operator():
    good = SegmentRule(project="p", name="a", filter=("did(buy, 30d)", "not:user_id:eq:a"), any=("2:did(x)",))
    nested = SegmentRule(project="p", name="b", filter=("segment(a)",))
    wrong = SegmentRule(project="p", name="c", any=("user_id:like:a",))
    assert problems([good]) == []
    assert problems([good, nested, wrong]) == [
        "config: segment[1] names the segment 'a', which is not saved. No segments are saved for this"
        " project. The operator saves segments under [[segment]] in the configuration.",
        "config: segment[2] is 'user_id:like:a': 'like' is not an operation. Write <field>:<op>:<value> with"
        " one of eq, ne, in, contains, starts, matches, gt, lt, exists.",
    ]


def test_a_saved_segment_cannot_contain_another_one():
    saved = {
        "a": SegmentRule(project="p", name="a", filter=("user_id:exists",)),
        "b": SegmentRule(project="p", name="b", filter=("segment(a)",)),
    }
    with pytest.raises(Refused, match="is inside of another saved one"):
        Conditions(RANGE, saved, NOW_MS).of_text("filter", "segment(b)")
