"""Trees, groups and segments over the real engine, against their definitions in plain Python.

Each row is stored twice, and the table is not merged. The users of two tenants and of another project have
the same ids, many events share a millisecond, and times end exactly at the boundaries of segments.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest

from nealytics.config import SegmentRule
from nealytics.event import Event
from nealytics.queries.conditions import NODES_MAX
from nealytics.timestamps import iso_utc
from tests.http import measured
from tests.http.questions import QUESTIONS
from tests.http.reader import NOW, SUMMARY, TIMELINE, Reader, event, ms, on_the_engine
from tests.http.test_erased import erased

pytestmark = on_the_engine

QUERY = "/api/v1/analytics/query"
DAY_MS = 86_400_000
ASKED = measured.QUESTIONS  # of each family: filters, segments

SAVED = (
    SegmentRule(project="shop", name="buyers", filter=("did(purchase, >=2, 20d)", "not:user_id:eq:u1")),
    SegmentRule(
        project="shop", name="either", any=("meta:plan:eq:pro", "did(view, >=4, 5d)", "2:item_id:exists")
    ),
    SegmentRule(project="blog", name="foreign", filter=("event_type:exists",)),
)


@pytest.fixture
def segments() -> tuple[SegmentRule, ...]:
    return SAVED


METADATA: tuple[dict[str, Any], ...] = (
    {},
    {"plan": "pro"},
    {"plan": "free", "n": 3},
    {"plan": None, "n": "12"},
)


def some_events(seed: str, count: int = 500, project_id: str = "shop") -> list[Event]:
    chance = random.Random(seed)
    # Few times, so that many are equal, and some are exactly a number of days before now.
    times = [NOW - timedelta(days=days) for days in range(30)]
    times += [NOW - timedelta(milliseconds=chance.randrange(30 * DAY_MS)) for _ in range(100)]
    return [
        event(
            chance.choice(times) - timedelta(milliseconds=chance.choice((0, 0, 1))),
            project_id=project_id,
            tenant_id=chance.choice(["acme", "acme", "globex"]),
            session_id=f"s{chance.randrange(40)}",
            user_id=chance.choice([None, "", *(f"u{n}" for n in range(25))]),
            event_type=chance.choice(["view", "view", "view", "purchase", "a, (b)\\", "30d"]),
            item_id=chance.choice([None, "", "/", "/shop"]),
            metadata=chance.choice(
                [{}, {"plan": "pro"}, {"plan": "free", "n": 3}, {"plan": None, "n": "12"}]
            ),
        )
        for _ in range(count)
    ]


class World(NamedTuple):
    """What a question is asked about: the events of its token, and its range."""

    events: list[Event]
    from_ms: int
    to_ms: int


Holds = Callable[[Event, World], bool]
Asked = tuple[Any, Holds]  # as it is written, and what it means


def meta(one: Event, key: str) -> Any:
    return json.loads(one.metadata_json).get(key)


COMPARISONS: dict[str, Callable[[Event], bool]] = {
    "event_type:eq:view": lambda one: one.event_type == "view",
    "event_type:in:purchase,30d": lambda one: one.event_type in ("purchase", "30d"),
    "user_id:eq:u1": lambda one: one.user_id == "u1",
    "user_id:in:u1,u2,u3": lambda one: one.user_id in ("u1", "u2", "u3"),
    "user_id:ne:u1": lambda one: one.user_id != "u1",
    "user_id:exists:false": lambda one: not one.user_id,
    "session_id:starts:s1": lambda one: one.session_id.startswith("s1"),
    "item_id:eq:/": lambda one: one.item_id == "/",
    "meta:plan:eq:pro": lambda one: meta(one, "plan") == "pro",
    "meta:plan:ne:pro": lambda one: meta(one, "plan") != "pro",
    "meta:n:gt:5": lambda one: meta(one, "n") == "12",
    "item_id:matches:^/sh[o-p]{2,3}$": lambda one: one.item_id == "/shop",
    "user_id:matches:(?i)^U[12]\\d?$": lambda one: bool(re.fullmatch("u[12][0-9]?", one.user_id or "")),
    "meta:plan:matches:r": lambda one: "r" in (meta(one, "plan") or ""),
    "event_type:contains:(": lambda one: "(" in one.event_type,
}


def comparison(chance: random.Random) -> Asked:
    text = chance.choice([*COMPARISONS])
    negated = chance.random() < 0.2
    return ("not:" if negated else "") + text, lambda one, world: COMPARISONS[text](one) != negated


def tree(chance: random.Random, leaf: Callable[[random.Random], Asked], depth: int = 0) -> Asked:
    kind = chance.choice(["leaf", "and", "or", "not"] if depth < 4 else ["leaf"])
    if kind == "leaf":
        return leaf(chance)
    if kind == "not":
        inner, holds = tree(chance, leaf, depth + 1)
        return {"not": inner}, lambda one, world: not holds(one, world)
    of = [tree(chance, leaf, depth + 1) for _ in range(chance.randint(1, 3))]
    every = all if kind == "and" else any
    return {kind: [inner for inner, _ in of]}, lambda one, world: every(holds(one, world) for _, holds in of)


def affordable(chance: random.Random, leaf: Callable[[random.Random], Asked], depth: int = 0) -> Asked:
    """A tree within the limits of a question."""
    while True:
        written, holds = tree(chance, leaf, depth)
        text = json.dumps(written)
        segments = sum(text.count(name) for name in ("did(", "first_seen(", "segment("))
        if text.count(":matches:") <= 10 and segments <= 5 and text.count('"') < 2 * NODES_MAX:
            return written, holds


def key_of(one: Event, by: str) -> Any:
    """Users and sessions belong to a tenant."""
    name = one.session_id if by == "session" else one.user_id
    return (one.tenant_id, name) if name else None


WRITTEN = {
    "view": "view",
    "purchase": "purchase",
    "a, (b)\\": "a\\, (b\\)\\\\",
    "30d": "\\30d",
    "none": "none",
}
COUNTS: dict[str, Callable[[int], bool]] = {
    "": lambda n: n >= 1,
    ", >=2": lambda n: n >= 2,
    ", >3": lambda n: n > 3,
    ", = 1": lambda n: n == 1,
    ",=0": lambda n: n == 0,
    ", <2": lambda n: n < 2,
    ", <=3": lambda n: n <= 3,
}
TIMES = {"1d": 1, "7d": 7, "168h": 7, "20d": 20}


def segment(chance: random.Random, times: Iterable[str] = ("", *TIMES)) -> Asked:
    by, kind = chance.choice(["user", "session"]), chance.choice(["did", "not_did", "first_seen"])
    event_type, count = chance.choice([*WRITTEN]), chance.choice([*COUNTS])
    time, (text, only) = chance.choice([*times]), comparison(chance)
    bracket = chance.random() < 0.4
    of = [WRITTEN[event_type] + (count if kind != "first_seen" else ""), time]
    any_type = kind == "first_seen" and chance.random() < 0.5
    written = ", ".join(part for part in of[any_type:] if part)
    before = "session_" if by == "session" else ""

    def is_member(entity: Any, world: World) -> bool:
        until = min(world.to_ms, ms(NOW)) if time else world.to_ms
        since = until - TIMES[time] * DAY_MS + 1 if time else world.from_ms
        its = [
            other.timestamp_ms
            for other in world.events
            if key_of(other, by) == entity
            and (any_type or other.event_type == event_type)
            and (not bracket or only(other, world))
            and other.timestamp_ms <= until
        ]
        if kind == "first_seen":
            return bool(its) and min(its) >= since
        return COUNTS[count](sum(at >= since for at in its)) == (kind == "did")

    known: dict[Any, bool] = {}

    def holds(one: Event, world: World) -> bool:
        entity = key_of(one, by)
        if entity is None:
            return False
        if entity not in known:
            known[entity] = is_member(entity, world)
        return known[entity]

    return f"{before}{kind}({written})" + (f"[{text}]" if bracket else ""), holds


def saved(chance: random.Random) -> Asked:
    def did(one: Event, world: World, event_type: str, days: int) -> int:
        until = min(world.to_ms, ms(NOW))
        return sum(
            key_of(other, "user") == key_of(one, "user")
            and other.event_type == event_type
            and until - days * DAY_MS < other.timestamp_ms <= until
            for other in world.events
            if one.user_id
        )

    if chance.random() < 0.5:
        return (
            "segment(buyers)",
            lambda one, world: did(one, world, "purchase", 20) >= 2 and one.user_id != "u1",
        )
    return (
        "segment(either)",
        lambda one, world: (
            (meta(one, "plan") == "pro" or did(one, world, "view", 5) >= 4) and bool(one.item_id)
        ),
    )


class Question(NamedTuple):
    asked: dict[str, Any]
    holds: Holds
    world: World
    tenant_id: str | None

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "endpoint": "top",
            "dimension": "session_id",
            "limit": 1000,
            "from": iso_utc(self.world.from_ms),
            "to": iso_utc(self.world.to_ms),
            **self.asked,
        }

    def check(self, answer: dict[str, Any]) -> None:
        """Each session has the number of events that match."""
        assert "error" not in answer, (self.asked, answer)
        from_ms, to_ms = self.world.from_ms, self.world.to_ms
        expected = Counter(
            (None if self.tenant_id else one.tenant_id, one.session_id)
            for one in self.world.events
            if from_ms <= one.timestamp_ms <= to_ms and self.holds(one, self.world)
        )
        of = "value" if "measure" in self.asked else "count"
        found = {(item.get("tenantId"), item["key"]): item[of] for item in answer["items"]}
        found = {session: count for session, count in found.items() if count or of == "count"}
        assert found == dict(expected), self.parameters


class Page(NamedTuple):
    reader: Reader
    events: list[Event]


async def check(
    page: Page,
    seed: str,
    ask: Callable[[random.Random], tuple[dict[str, Any], Holds]],
    count: int = ASKED // 2,
) -> None:
    """Random questions, several in each request."""
    chance = random.Random(seed)
    ages = (-DAY_MS, 0, 1, *range(0, 30 * DAY_MS, DAY_MS // 2))
    for _ in range(count // 10):
        tenant_id = chance.choice(["acme", "globex", None])
        mine = [one for one in page.events if one.tenant_id in (tenant_id or one.tenant_id)]
        asked = {}
        for number in range(10):
            first, last = sorted(ms(NOW) - chance.choice(ages) for _ in range(2))
            asked[str(number)] = Question(*ask(chance), World(mine, first, last), tenant_id)
        questions = {number: question.parameters for number, question in asked.items()}
        status, body, _ = await page.reader.post(QUERY, {"queries": questions}, tenant_id=tenant_id)
        assert status == 200, body
        for name, question in asked.items():
            question.check(body["results"][name])


@pytest.fixture
async def page(reader: Reader) -> Page:
    events = some_events("conditions")
    await reader.store_twice(*events, *some_events("foreign", 200, project_id="blog"))
    return Page(reader, events)


async def test_trees(page: Page):
    def ask(chance: random.Random) -> tuple[dict[str, Any], Holds]:
        written, holds = affordable(chance, comparison)
        return {"filter": written}, holds

    await check(page, "trees", ask)


async def test_lists_and_groups(page: Page):
    """`filter` must all match, and of each group of `any` one."""

    def ask(chance: random.Random) -> tuple[dict[str, Any], Holds]:
        filters = [tree(chance, comparison, 3) for _ in range(chance.randint(0, 2))]
        groups = {n: [comparison(chance) for _ in range(chance.randint(1, 3))] for n in (1, 2, 10)}
        alternatives = [
            (f"{n}:{text}" if n != 1 or chance.random() < 0.5 else text)
            for n, group in groups.items()
            for text, _ in group
        ]
        chance.shuffle(alternatives)

        def every_one(one: Event, world: World) -> bool:
            return all(holds(one, world) for _, holds in filters) and all(
                any(holds(one, world) for _, holds in group) for group in groups.values()
            )

        return {"filter": [written for written, _ in filters], "any": alternatives}, every_one

    await check(page, "groups", ask)


async def test_segments(page: Page):
    def ask(chance: random.Random) -> tuple[dict[str, Any], Holds]:
        written, holds = segment(chance)
        return {"filter": written}, holds

    await check(page, "segments", ask, ASKED)


async def test_segments_within_trees_and_saved_ones(page: Page):
    def leaf(chance: random.Random) -> Asked:
        return chance.choice([comparison, segment, saved])(chance)

    def ask(chance: random.Random) -> tuple[dict[str, Any], Holds]:
        written, holds = affordable(chance, leaf, 2)
        return {"filter": [written]}, holds

    await check(page, "trees of segments", ask)


async def test_measures_of_members(page: Page):
    """Of each session: the events of those who are in the segment."""

    def ask(chance: random.Random) -> tuple[dict[str, Any], Holds]:
        text, holds = chance.choice([segment, saved])(chance)
        negated = chance.random() < 0.3
        measure = f"count[{'not:' if negated else ''}{text}]"
        return {"measure": measure}, lambda one, world: holds(one, world) != negated

    await check(page, "measures", ask)


MEASURED = [
    ("timeseries", "points", "interval=day&fill=true"),
    ("active", "points", "interval=day"),
    ("top", "items", "dimension=event_type"),
    ("heatmap", "cells", ""),
    ("funnel", "steps", "step=view&step=purchase"),
    ("summary", "", ""),
]


@pytest.mark.parametrize(("name", "listed", "query"), MEASURED)
async def test_every_measure_can_be_of_a_segment(page: Page, name: str, listed: str, query: str):
    """It has the value that the segment as a filter gives."""
    path = f"/api/v1/analytics/{name}"
    given = [("from", "2024-06-01"), ("to", "2024-06-15"), *parse_qsl(query)]
    asked: dict[str, Any] = {}
    for key, value in given:
        asked.setdefault(key, []).append(value)
    measure = "users[segment(buyers)]"
    of_members = await page.reader.answer(path, measure=[measure, "count"], **asked)
    filtered = await page.reader.answer(path, filter="segment(buyers)", measure="users", **asked)
    if not listed:
        assert of_members["values"][0] == filtered["values"][0] > 0
        return

    def by_place(answer: dict[str, Any]) -> dict[Any, Any]:
        named = [one.get("bucket") or one.get("key") or one.get("step") for one in answer[listed]]
        return {
            name or (one.get("weekday"), one.get("hour")): one["values"][0]
            for name, one in zip(named, answer[listed], strict=True)
        }

    members = by_place(of_members)
    assert any(members.values())
    assert {name: value for name, value in members.items() if value} == {
        name: value for name, value in by_place(filtered).items() if value
    }


@pytest.mark.parametrize(("name", "query"), QUESTIONS)
async def test_every_route_accepts_a_segment(page: Page, name: str, query: str):
    """The answer is that about its members."""
    reader, events = page
    path = TIMELINE if name == "timeline" else f"/api/v1/analytics/{name}"
    given: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        given.setdefault(key, []).append(value)
    if name != "timeline":
        given |= {"from": "2024-06-01", "to": "2024-06-15"}
    views = Counter(
        one.user_id
        for one in events
        if one.user_id and one.event_type == "view" and one.tenant_id == "acme"
        if ms(NOW) - 20 * DAY_MS < one.timestamp_ms <= ms(NOW)
    )
    members = {user_id for user_id, count in views.items() if count >= 3}
    assert 0 < len(members) < 25
    own = given.pop("filter", [])
    given = {key: value[0] if len(value) == 1 else value for key, value in given.items()}
    asked = await reader.answer(path, filter=[*own, "did(view, >=3, 20d)"], **given)
    listed = await reader.answer(path, filter=[*own, f"user_id:in:{','.join(sorted(members))}"], **given)
    assert asked == listed


async def test_an_export_of_a_segment(page: Page):
    reader, events = page
    for form in ("ndjson", "csv"):
        query = {"format": form, "from": "2024-05-01", "to": "2024-06-15", "filter": "session_did(purchase)"}
        async with reader.open("/api/v1/telemetry/export", **query) as response:
            assert response.status == 200
            lines = (await response.text()).splitlines()
        buyers = {
            one.session_id for one in events if one.tenant_id == "acme" and one.event_type == "purchase"
        }
        expected = sum(one.session_id in buyers for one in events if one.tenant_id == "acme")
        assert len(lines) - (form == "csv") == expected


async def test_an_erased_event_makes_no_member(reader: Reader):
    """Nor does the copy of a user of another tenant or project."""
    now = NOW - timedelta(hours=1)
    await reader.store_twice(
        event(now, user_id="ada"),
        event(now, user_id="ben"),
        *(
            event(now, user_id="ada", event_type="purchase", project_id=project, tenant_id=tenant)
            for project, tenant in (("shop", "globex"), ("blog", "acme"))
        ),
        event(now - timedelta(seconds=1), user_id="ben", event_type="purchase"),
    )
    assert [one["userId"] for one in await reader.timeline(filter="did(purchase, 1d)")] == ["ben", "ben"]
    assert [one["userId"] for one in await reader.timeline(filter="not_did(purchase, 1d)")] == ["ada"]
    whole = await reader.timeline(filter="not_did(purchase, 1d)", tenant_id=None)
    assert [(one["tenantId"], one["userId"]) for one in whole] == [("acme", "ada")]
    # Of ben's events only the purchase is erased, so he has done nothing.
    reader.erased = [erased("ben", before_ms=ms(now))]
    assert await reader.timeline(filter="did(purchase, 1d)") == []
    assert {one["userId"] for one in await reader.timeline(filter="not_did(purchase, 1d)")} == {"ada", "ben"}


async def test_the_filters_of_a_token_limit_its_segments(reader: Reader):
    """Otherwise a segment would tell what the token must not see."""
    await reader.store_twice(event(user_id="ada"), event(user_id="ada", event_type="secret"))
    claims = {"filters": ["event_type:ne:secret"]}
    assert await reader.timeline(filter="did(secret, 1d)", claims=claims) == []
    assert len(await reader.timeline(filter="not_did(secret, 1d)", claims=claims)) == 1
    assert len(await reader.timeline(filter="did(secret, 1d)")) == 2


async def test_a_replaced_copy_makes_no_member(reader: Reader):
    """`final` shows the last copy; an index must not find the one before."""
    other = event(session_id="s2", event_type="purchase")
    before = event(session_id="s2", user_id="ada")
    await reader.store(other)
    await reader.store(before)
    after = event(session_id="s1", user_id="ben")
    fields = {name: getattr(before, name) for name in before.__struct_fields__}
    await reader.store(Event(**fields | {"session_id": "s1", "user_id": after.user_id}))
    found = await reader.timeline(filter="session_did(purchase, 1d)")
    assert [one["eventType"] for one in found] == ["purchase"]
    assert await reader.timeline(filter="not:user_id:eq:ben", eventType="view") == []


NOT_A_TOKEN = {"filters": ["did(purchase, 1d)"]}


async def test_a_token_cannot_have_a_segment(reader: Reader):
    status, body, _ = await reader.get(SUMMARY, claims=NOT_A_TOKEN)
    assert (status, body["code"], body["field"]) == (400, "invalid_claim", "filters")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"filter": "did(purchase, 367d)"}, "a segment over 367 days"),
        ({"filter": "did(purchase)", "from": "2020-01-01"}, "a segment over"),
        ({"filter": "first_seen(view, 8784h1)"}, "neither a count nor a time"),
        ({"filter": "did(purchase, >=2, <3)"}, "neither a count nor a time"),
        ({"filter": "did(purchase, >=0)"}, "counts >=0"),
        ({"filter": "did(purchase, >=2000000)"}, "counts >=2000000"),
        ({"filter": "did()"}, "did needs an event type"),
        ({"filter": "did(30d)"}, "did needs an event type"),
        ({"filter": "first_seen(view, >=2)"}, "first_seen has no count"),
        ({"filter": "did(purchase"}, "filter is 'did(purchase'"),
        ({"filter": "did(purchase)[did(view)]"}, "filter accepts no segment in the brackets of another one"),
        ({"filter": "did(purchase)[meta:plan]"}, "it has no operation"),
        ({"filter": "segment(nobody)"}, "segment 'nobody', which is not saved"),
        ({"filter": "segment(foreign)"}, "segment 'foreign', which is not saved"),
        ({"filter": "session_segment(buyers)"}, "filter is 'session_segment(buyers)'"),
        ({"filter": ["did(a)"] * 6}, "more than 5 segments"),
        ({"filter": "not:" * 9 + "user_id:eq:a"}, "nested 9 deep"),
        ({"filter": ["user_id:matches:a"] * 11}, "more than 10 regular expressions"),
        ({"filter": "user_id:matches:(a"}, "the regular expression '(a'"),
        ({"filter": "user_id:matches:((a{100}){100}){100}"}, "more than 1000 copies"),
        ({"filter": "user_id:matches:a{101}"}, "is above {100}"),
        ({"filter": r"user_id:matches:(a)\1"}, "an escape that is not supported"),
        ({"filter": "user_id:matches:(?=a)"}, "(? is not supported"),
        ({"filter": "user_id:matches:" + "a" * 257}, "it has 257 characters"),
        ({"any": ["11:user_id:eq:a"]}, "there is no such group"),
        ({"any": ["user_id:eq:a"] * 51}, "any is given 51 times"),
        ({"measure": "count[did(purchase)[did(view)]]"}, "measure accepts no segment"),
        ({"measure": "count[did(purchase, 367d)]"}, "a segment over 367 days"),
        ({"measure": "count[segment(nobody)]"}, "segment 'nobody', which is not saved"),
        ({"measure": ["count[did(a)]"] * 3, "filter": ["did(a)"] * 3}, "more than 5 segments"),
    ],
)
async def test_misuse_is_refused(reader: Reader, query: dict[str, Any], message: str):
    status, body, _ = await reader.get(SUMMARY, **query)
    assert (status, body["code"], body["field"]) == (400, "invalid_parameter", next(iter(query)))
    assert message in body["message"], body
    assert body["detail"]


def nested(depth: int) -> Any:
    return "user_id:eq:a" if depth == 0 else {"not": nested(depth - 1)}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"or": ["user_id:eq:a"] * 1_000}, f"more than {NODES_MAX} conditions"),
        (nested(9), "nested 9 deep"),
        (nested(200), "nested 9 deep"),
        ({"or": []}, "is not a condition"),
        ({"or": ["a:eq:b"], "and": []}, "is not a condition"),
        ({"xor": ["user_id:eq:a"]}, "is not a condition"),
        ({"or": [5]}, "is not a condition"),
        ({"or": "user_id:eq:a"}, "is not a condition"),
        ({"not": ["user_id:eq:a"]}, "is not a condition"),
        ({"or": ["user_id:like:a"]}, "'like' is not an operation"),
    ],
)
async def test_misuse_of_a_tree_is_refused(reader: Reader, tree: Any, message: str):
    status, body, _ = await reader.post(QUERY, {"queries": {"q": {"endpoint": "summary", "filter": tree}}})
    if status == 200:
        body = body["results"]["q"]["error"]
    assert body["code"] == "invalid_parameter"
    assert message in body["message"]


async def test_a_body_that_is_nested_too_deep_is_refused(reader: Reader):
    tree = b'{"not":' * 5_000 + b'"user_id:eq:a"' + b"}" * 5_000
    question = b'{"queries": {"q": {"endpoint": "summary", "filter": ' + tree + b"}}}"
    status, body, _ = await reader.post(QUERY, question)
    assert (status, body["code"], body["field"]) == (400, "invalid_parameter", "body")


async def test_a_tree_is_for_filters_only(reader: Reader):
    question = {"endpoint": "summary", "eventType": {"not": "user_id:eq:a"}}
    status, body, _ = await reader.post(QUERY, {"queries": {"q": question}})
    assert (status, body["field"]) == (400, "queries.q.eventType")


async def test_a_problem_of_a_saved_segment_names_the_segment(reader: Reader):
    """The client did not write its conditions."""
    status, body, _ = await reader.get(SUMMARY, filter=["segment(buyers)"] * 6)
    assert status == 400
    assert body["message"].startswith("in the segment 'buyers', filter has more than 5 segments")
    assert (body["field"], bool(body["detail"])) == ("filter", True)


async def test_a_timeline_has_no_range_for_a_segment(reader: Reader):
    status, body, _ = await reader.get(TIMELINE, filter="did(purchase)")
    assert status == 400
    assert "this route has no range" in body["message"]
