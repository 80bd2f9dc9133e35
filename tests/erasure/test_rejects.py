"""Rejected events: which of those that are kept are erased, and which of those that arrive are not kept."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from nealytics.commit.rejected import RejectedEvent, RejectedEvents, Whose
from nealytics.erasure.jobs import Erasure, Job
from nealytics.erasure.rejects import erase_rejected, without_erased
from nealytics.erasure.store import Jobs
from nealytics.event import InvalidEvent
from nealytics.observe.metrics import Metrics
from tests.erasure.erasures import erasure
from tests.fakes.letters import held, put, rejected

LATE = 1_900_000_000_000


@pytest.mark.parametrize("user", [None, "ada"])
def test_rejected_events_that_may_be_covered_are_deleted(tmp_path: Path, user: str | None):
    """By what they say, or by what their key or token says about them."""

    def one(payload: bytes, at_ms: int = 0, tenant: str = "acme", **more: str) -> RejectedEvent:
        return rejected(at_ms, payload, tenant_id=tenant, **more)

    covered = [
        one(b'{"projectId":"shop","tenantId":"acme","userId":"ada"}', tenant=""),
        one(b'{"projectId":"shop","tenantId":"acme","us', tenant=""),
        one(b'{"userId":"ada"}'),
        one(b'{"projectId":"other","userId":"ada"}'),
        one(b'{"userId":"ada","context":{"groupId":"acme"}}', tenant="", source="segment"),
        one(b'{"distinct_id":"ada"}', source="posthog"),
        one(b"{}", user_id="ada"),
        one(b"\xff"),
    ]
    of_others = [
        one(b'{"projectId":"shop","tenantId":"other","userId":"ada"}', tenant=""),
        one(b'{"userId":"ada"}', project_id="other"),
        one(b'{"userId":"ada"}', at_ms=1_900_000_000_000),
    ]
    of_another_user = [one(b'{"userId":"eve"}')]
    everything = covered + of_others + of_another_user
    put(tmp_path, *everything)
    job = erasure(user_id=user) if user else erasure()
    expected = covered if user else covered + of_another_user
    assert erase_rejected(tmp_path / "rejected", job) == (len(expected), [])
    gone = {event.id for event in expected}
    assert [event.id for event in held(tmp_path)] == [e.id for e in everything if e.id not in gone]
    assert erase_rejected(tmp_path / "missing", job) == (0, [])


@pytest.mark.parametrize("user", [None, "canary"])
@pytest.mark.parametrize(
    ("payload", "more"),
    [
        # Of an earlier release.
        (b'{"event":"x","properties":{"distinct_id":"%s","groups":{"c":"acme"}}}', {}),
        (b'{"event":"x","properties":{"$anon_distinct_id":"%s"}}', {"tenant_id": "acme"}),
        # As it was mapped.
        (b'{"event":"x","n":"%s"}', {"whose": Whose(tenant="acme", user="canary")}),
        (b'{"event":"x","n":"%s"}', {"whose": Whose(tenant="acme", user="canary", at_ms=5), "at_ms": LATE}),
    ],
)
def test_nothing_of_a_person_is_left_in_a_file(
    tmp_path: Path, payload: bytes, more: dict[str, Any], user: str | None
):
    at_ms = more.get("at_ms", 0)
    put(tmp_path, rejected(at_ms, payload % b"canary", **{k: v for k, v in more.items() if k != "at_ms"}))
    put(tmp_path, rejected(at_ms, b'{"event":"y"}', whose=Whose(tenant="other", user="canary", at_ms=5)))
    assert erase_rejected(tmp_path / "rejected", erasure(user_id=user)) == (1, [])
    assert b'"x"' not in b"".join(path.read_bytes() for path in (tmp_path / "rejected").iterdir())
    assert len(held(tmp_path)) == 1


def test_a_line_that_cannot_be_read_is_reported_and_the_others_are_erased(tmp_path: Path):
    put(tmp_path, rejected(0, b'{"event":"x"}', tenant_id="acme"))
    [path] = (tmp_path / "rejected").iterdir()
    path.write_bytes(b"{broken\n" + path.read_bytes())
    removed, problems = erase_rejected(tmp_path / "rejected", erasure())
    assert (removed, len(problems), held(tmp_path)) == (1, 1, [])
    assert f"may have the events: rejected: cannot read line 1 of {path}" in problems[0]


def test_a_tenant_and_a_user_may_be_numbers(tmp_path: Path):
    put(
        tmp_path,
        rejected(0, b'{"event":"x","userId":7,"context":{"groupId":42}}'),
        rejected(0, b'{"event":"y","userId":8,"context":{"groupId": 42}}'),
        rejected(0, b'{"event":"y","userId":7,"context":{"groupId":421,"n":-42,"m":4.42}}'),
        rejected(0, b'{"event":"y","userId":7,"n":42}', whose=Whose(tenant="acme", user="7")),
    )
    assert erase_rejected(tmp_path / "rejected", erasure(tenant_id="42", user_id="7")) == (1, [])
    assert {json.loads(bytes(event.payload))["event"] for event in held(tmp_path)} == {"y"}
    assert erase_rejected(tmp_path / "rejected", erasure(tenant_id="42")) == (1, [])
    assert len(held(tmp_path)) == 2


def test_an_event_of_which_only_the_beginning_was_kept_may_be_anybodys_in_its_project(tmp_path: Path):
    put(
        tmp_path,
        rejected(0, b'{"event":"x', code="body_too_large"),
        rejected(0, b'{"event":"y', code="body_too_large", tenant_id="other"),
        rejected(0, b'{"event":"y', code="body_too_large", project_id="other"),
        rejected(0, b'{"event":"y', code="invalid_json"),
    )
    assert erase_rejected(tmp_path / "rejected", erasure(user_id="ada")) == (1, [])
    assert len(held(tmp_path)) == 3


def test_what_is_no_object_of_properties_names_nobody(tmp_path: Path):
    put(
        tmp_path,
        *(
            rejected(0, b'{"userId":"eve","properties":%b}' % value, tenant_id="acme")
            for value in (b"null", b"[]", b"5", b'"ada"')
        ),
        rejected(0, b'{"userId":"eve","properties":{"distinct_id":[]}}', tenant_id="acme"),
    )
    assert erase_rejected(tmp_path / "rejected", erasure(user_id="ada")) == (1, [])
    assert len(held(tmp_path)) == 4


def test_of_another_project_nothing_is_erased_whatever_it_says(tmp_path: Path):
    of_others = [
        rejected(0, payload, project_id="p2")
        for payload in (
            b'{"projectId":"shop","tenantId":"acme"}',
            b'{"projectId":"shop","tenantId":"acme","us',
            b'{"context":{"groupId":"acme"},"timestamp":5}',
        )
    ]
    later = [
        rejected(LATE, b'{"projectId":"shop","tenantId":"acme","us'),
        rejected(LATE, b'{"projectId":"shop","tenantId":"acme"}'),
        rejected(LATE, b'{"projectId":"shop","tenantId":"acme","timestamp":%d}' % LATE),
    ]
    covered = [
        rejected(0, b'{"projectId":"shop","tenantId":"acme","us'),
        rejected(LATE, b'{"projectId":"shop","tenantId":"acme","timestamp":5}'),
        rejected(0, b'{"tenantId":"acme","us', project_id=""),
    ]
    put(tmp_path, *of_others, *later, *covered)
    assert erase_rejected(tmp_path / "rejected", erasure()) == (3, [])
    assert {event.id for event in held(tmp_path)} == {event.id for event in of_others + later}


class Arriving:
    """The rejected events of a node after these erasures."""

    def __init__(self, directory: Path, *erasures: Erasure) -> None:
        self.metrics = Metrics.private()
        self._directory = directory
        jobs = Jobs(directory)
        for one in erasures:
            jobs.put(Job(erasure=one))
        self._events = RejectedEvents(
            directory / "rejected", 0, bytes_max=1 << 20, days_max=30, metrics=self.metrics,
            clock_ms=lambda: LATE, without_erased=partial(without_erased, Jobs(directory)),
        )  # fmt: skip

    async def is_kept(self, payload: bytes, whose: Whose | None, project: str = "shop", **fixed: Any) -> bool:
        error = InvalidEvent("invalid_event", "no")
        event = self._events.new("batch", project, error, payload, whose=whose, **fixed)
        await self._events.keep([event])
        return event.id in {one.id for one in held(self._directory)}


async def test_an_event_of_an_erasure_that_arrives_later_is_not_kept(tmp_path: Path):
    events = Arriving(tmp_path, erasure(user_id="ada"))
    payload = b'{"event":"x"}'

    def ada(at_ms: int | None) -> Whose:
        return Whose(tenant="acme", user="ada", at_ms=at_ms)

    assert not await events.is_kept(payload, ada(5))
    assert await events.is_kept(payload, ada(LATE))
    assert await events.is_kept(payload, ada(None))
    assert await events.is_kept(payload, Whose(tenant="acme", user="eve", at_ms=5))
    assert not await events.is_kept(payload, Whose(tenant="acme", at_ms=5), user_id="ada")
    assert not await events.is_kept(payload, Whose(user="ada", at_ms=5), tenant_id="acme")
    # Its route did not understand it.
    said = b'{"distinct_id":"ada","timestamp":%b,"groups":{"c":%b}}'
    assert not await events.is_kept(said % (b"5", b'"acme"'), None)
    assert not await events.is_kept(said % (b'"2020-01-01T00:00:00Z"', b'"\\u0061cme"'), None)
    assert await events.is_kept(said % (b"5", b'"acme2"'), None)
    assert await events.is_kept(said % (b"5", b'"acme"'), None, tenant_id="t1")
    assert not await events.is_kept(said % (b"5", b'"acme"'), Whose(at_ms=5))
    assert events.metrics.value("nealytics_events_erased_total") == 6


async def test_a_tenant_that_is_a_number_is_found_in_an_arriving_event(tmp_path: Path):
    events = Arriving(tmp_path, erasure(tenant_id="42"))
    assert not await events.is_kept(b'{"timestamp":5,"context":{"groupId": 42}}', None)
    assert await events.is_kept(b'{"timestamp":5,"context":{"groupId":421,"n":-42,"m":4.42}}', None)


@pytest.mark.parametrize("user", [None, "ada"])
async def test_of_a_tenant_who_comes_back_rejected_events_are_kept(tmp_path: Path, user: str | None):
    """Without a time that can be read, an event is as late as its receipt."""
    events = Arriving(tmp_path, erasure(user_id=user))
    named = b'"projectId":"shop","tenantId":"acme","userId":"ada"'
    whose = Whose(tenant="acme", user="ada")
    assert await events.is_kept(b"{%b}" % named, whose)
    assert await events.is_kept(b'{%b,"timestamp":"soon"}' % named, whose)
    later = Whose(tenant="acme", user="ada", at_ms=LATE)
    assert await events.is_kept(b'{%b,"timestamp":%d}' % (named, LATE), later)
    assert await events.is_kept(b"{%b" % named, None)
    assert await events.is_kept(b"{", None, tenant_id="acme", user_id="ada")
    assert await events.is_kept(b"[%b]" % named, None)
    assert await events.is_kept(b'"\\ud800"', None)  # no text


@pytest.mark.parametrize("user", [None, "ada"])
async def test_rejected_events_of_another_project_are_kept(tmp_path: Path, user: str | None):
    events = Arriving(tmp_path, erasure(user_id=user))
    old = Whose(tenant="acme", user="ada", at_ms=5)
    said = b'"projectId":"shop","tenantId":"acme","userId":"ada","timestamp":"2020-01-01T00:00:00Z"'
    assert await events.is_kept(b"{%b}" % said, old, project="p2")
    assert await events.is_kept(b"{%b" % said, None, project="p2")
    assert await events.is_kept(b"{%b}" % said, None, project="p2")
    assert not await events.is_kept(b"{%b}" % said, old)


def test_how_long_an_event_takes_does_not_depend_on_the_number_of_erasures(tmp_path: Path):
    def work(name: str, erasures: Iterable[Erasure]) -> int:
        jobs = Jobs(tmp_path / name)
        jobs.also(erasures)
        assert jobs.tombstones()
        return steps_of(lambda: without_erased(jobs, events), len(events))

    users = b'{"timestamp":5,"userId":"u","groups":{"c":"t"},"n":[1,2,3,"x"]}'
    events = [
        rejected(LATE, users, tenant_id="t", whose=Whose(tenant="t", user="u", at_ms=5)),
        rejected(LATE, users, whose=Whose(at_ms=5)),
        rejected(LATE, users),
        rejected(LATE, users[:-1]),
        rejected(LATE, users, tenant_id="t"),
    ]
    # Of numbers, which may stand anywhere in an event; and of many users of its tenant.
    few, many = (
        [
            *(erasure(f"a{n}", tenant_id=str(n + 1_000)) for n in range(count)),
            *(erasure(f"b{n}", tenant_id="t", user_id=f"{n}") for n in range(count)),
        ]
        for count in (2, 500)
    )
    assert 0 < work("few", few) == work("many", many)


def steps_of(call: Callable[[], Sequence[RejectedEvent]], kept: int) -> int:
    """The steps of the interpreter."""
    steps = 0

    def count(frame: FrameType, what: str, _: object) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += what == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        found = call()
    finally:
        sys.settrace(before)
    assert len(found) == kept
    return steps
