import pytest
from multidict import MultiDict

from nealytics.auth.scope import Scope
from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.params import Arguments, Limit
from nealytics.queries.scoped import Query
from nealytics.queries.timeline import ENDPOINT, Params, Timeline, build_sql, parse, run
from nealytics.queries.windows import Window

NOW_MS = 1_718_447_400_123
EVENT_ID = "0190163d-8694-739b-aea5-966c26f8ad91"
ROW = [EVENT_ID, "acme", "s1", None, "view", None, "{}", 1, NOW_MS, 300, 1]


def asked(**query: str) -> Arguments:
    return Arguments(MultiDict(query), QueryConfig(), NOW_MS, ENDPOINT.parameters)


def parsed(**query: str) -> Params:
    return parse(asked(**query))


class FakeEvents:
    """Has the same row several times, all in the first look."""

    scope = Scope("shop", "acme")

    def __init__(self, rows: int) -> None:
        self._rows = rows

    async def rows(self, query: Query) -> list[list[object]]:
        rows, self._rows = self._rows, 0
        return [[*ROW[:-1], rows]] * rows


async def answered(rows: int, **query: str) -> Timeline:
    return await run(FakeEvents(rows), parsed(**query))  # type: ignore[arg-type]


def test_the_default_is_the_latest_hundred():
    assert parsed() == Params(now_ms=NOW_MS, limit=Limit(100, given=False))
    assert parsed(before="", after=" ", cursor="  ") == parsed()


def test_the_sql_is_newest_first():
    sql, bound = build_sql(parsed(), Window(), 8, 1_000)
    order = "ORDER BY timestamp DESC, event_id DESC, event_type DESC, tenant_id DESC"
    assert f" FROM events WHERE 1 {order} LIMIT {{p0:Int64}})" in sql
    assert sql.endswith(f" WHERE newer_bytes < {{p1:Int64}} {order}")
    assert bound == {"p0": 8, "p1": 1_000}


async def test_a_cursor_is_the_place_of_the_last_event_shown():
    answer = await answered(3, limit="2")
    assert len(answer.events) == 2
    assert answer.next_cursor is not None
    position = parsed(cursor=answer.next_cursor).position
    assert position is not None
    assert (position.timestamp_ms, str(position.event_id)) == (NOW_MS, EVENT_ID)
    assert (position.event_type, position.tenant_id) == ("view", "acme")


@pytest.mark.parametrize("rows", [0, 1, 2])
async def test_without_more_there_is_no_cursor(rows: int):
    assert (await answered(rows, limit="2")).next_cursor is None


async def test_a_cursor_is_a_condition_that_the_index_understands():
    """A bare comparison of the timestamp; the comparison of the whole place alone would read every event."""
    sql, bound = build_sql(
        parsed(cursor=str((await answered(2, limit="1")).next_cursor)), Window(), 101, 1_000
    )
    where = sql.partition(" FROM events WHERE ")[2].partition(" ORDER BY ")[0]
    assert where == (
        "timestamp <= fromUnixTimestamp64Milli({p0:Int64}, 'UTC')"
        " AND (timestamp, event_id, event_type, tenant_id)"
        " < (fromUnixTimestamp64Milli({p0:Int64}, 'UTC'), toUUID({p1:String}), {p2:String}, {p3:String})"
    )
    assert list(bound.values()) == [NOW_MS, EVENT_ID, "view", "acme", 101, 1_000]


async def test_a_page_about_the_past_may_be_kept_whether_a_bound_or_a_cursor_says_so():
    later = NOW_MS + 1_000_000
    cursor = str((await answered(2, limit="1")).next_cursor)

    def closed(now_ms: int, **query: str) -> bool:
        arguments = Arguments(MultiDict(query), QueryConfig(), now_ms, ENDPOINT.parameters)
        parse(arguments)
        return arguments.closed

    assert not closed(later)
    assert not closed(later, after="2020-01-01")
    assert not closed(NOW_MS, cursor=cursor)
    assert closed(later, cursor=cursor)
    assert closed(NOW_MS, cursor=cursor, before="2020-01-01")
    assert closed(later, cursor=cursor, before="2040-01-01")


@pytest.mark.parametrize("name", ["before", "after", "cursor"])
def test_what_makes_no_sense_is_refused_by_name(name: str):
    with pytest.raises(Refused) as refused:
        parsed(**{name: "yesterday!"})
    assert (refused.value.status, refused.value.code, refused.value.field) == (
        400,
        "invalid_parameter",
        name,
    )
