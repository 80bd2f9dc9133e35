"""A thousand of the requests of `tests/attack_reads.py`; by hand it sends as many as one likes."""

import os
import random
from collections import Counter

import pytest

from nealytics.queries import ENDPOINTS
from tests.attack_reads import (
    HOSTILE_NAMES,
    ROUTES,
    Attack,
    Attacker,
    Scope,
    attacked,
    highest_count,
    scopes,
    without_echo,
)
from tests.engine import RunningEngine, needs_engine

REQUESTS = 500

on_the_engine = [needs_engine, pytest.mark.engine]


@pytest.mark.parametrize("attacker", [0, 1], ids=["acme", "globex"])
class TestOnTheEngine:
    pytestmark = on_the_engine

    async def test_hostile_requests_show_nobody_else_s_events_and_break_nothing(
        self, engine: RunningEngine, attacker: int
    ):
        seed = os.environ.get("TEST_SEED", str(random.randrange(1_000_000)))
        print(f"seed {seed} (repeat with TEST_SEED={seed})")
        async with attacked(engine) as attack:
            before = await attack.plain_answers()
            requests = Attacker(seed, attack.everyone).requests(attack.everyone[attacker], REQUESTS)
            await attack.run(requests)
            assert attack.faults == []
            assert await attack.plain_answers() == before
        # The attack got somewhere: everything was asked, and much of it was answered.
        answered = Counter(name for (name, status), count in attack.statuses.items() if status == 200)
        assert {route.name for route in ROUTES} <= {name for name, _ in attack.statuses}
        assert {route.name for route in ENDPOINTS} <= answered.keys()
        assert sum(attack.statuses.values()) == REQUESTS
        assert all(attack.shown[name] for name in ("timeline", "top", "export")), attack.shown


class TestScopesWithHostileNames:
    pytestmark = on_the_engine

    async def test_a_scope_is_found_by_its_own_token_and_by_no_other(self, engine: RunningEngine):
        """Its name is in the fence's literal, so a name that breaks the literal would lock it out, or let it
        see everything."""
        async with attacked(engine) as attack:
            for scope in attack.everyone:
                timeline = await attack.plain_answer(scope, ENDPOINTS[0])
                assert (timeline["projectId"], timeline["tenantId"]) == (scope.project_id, scope.tenant_id)
                assert len(timeline["events"]) == scope.count, scope
                assert all(scope.mark in event["sessionId"] for event in timeline["events"]), scope

    async def test_names_that_nobody_has_open_nothing(self, engine: RunningEngine):
        async with attacked(engine) as attack:
            for name in HOSTILE_NAMES:
                for scope in (Scope("blog", name, "", 0), Scope(name, "globex", "", 0)):
                    timeline = await attack.plain_answer(scope, ENDPOINTS[0])
                    assert timeline["events"] == [], scope


class TestTheJudge:
    """What the attack takes for a fault, so that its silence means something."""

    def test_a_foreign_row_is_distinguished_from_an_echo(self):
        answer = {
            "tenantId": "own001er",
            "event": "own001er",
            "warnings": [{"code": "x", "message": "own001er"}],
            "steps": [{"eventType": "own001er", "count": 1}],
            "items": [{"key": "type of own000er", "count": 1}],
        }
        assert "own001er" not in str(without_echo(answer))
        assert "own000er" in str(without_echo(answer))

    def test_the_greatest_count_is_found_wherever_it_is(self):
        assert highest_count({"points": [{"count": 3}, {"activeCount": 7}], "steps": [{"n": 99}]}) == 7
        assert highest_count({"previous": {"events": 12, "users": 4}, "events": [{"eventCount": 13}]}) == 13
        assert highest_count({"bucket": 5, "name": "x"}) == 0

    def test_every_scope_has_a_mark_of_its_own(self):
        everyone = scopes()
        assert len({scope.mark for scope in everyone}) == len(everyone)
        assert len({scope[:2] for scope in everyone}) == len(everyone)

    def test_the_requests_of_a_seed_are_always_the_same(self):
        everyone = scopes()
        first, again, other = (
            [str(request) for request in Attacker(seed, everyone).requests(everyone[0], 200)]
            for seed in ("1", "1", "2")
        )
        assert first == again != other

    async def test_an_answer_with_a_foreign_row_or_count_is_a_fault(self):
        everyone = scopes()
        attack = Attack(None, everyone)  # type: ignore[arg-type]
        request = next(
            request
            for request in Attacker("1", everyone).requests(everyone[0], 100)
            if request.scope == everyone[0] and request.tenant_id is not None
        )
        mine, other = everyone[0].mark, everyone[1].mark
        assert (
            attack.fault(request, 200, "application/json", b'{"items": [{"key": "%b"}]}' % mine.encode())
            is None
        )
        for status, body in [
            (200, b'{"items": [{"key": "%b"}]}' % other.encode()),
            (200, b'{"items": [{"count": 41}]}'),
            (500, b'{"code": "internal_error", "message": "x"}'),
            (404, b'{"code": "not_found", "message": "x"}'),
            (400, b'{"code": "", "message": "x"}'),
            (400, b"Bad Request"),
        ]:
            assert attack.fault(request, status, "application/json", body) is not None, body
        assert attack.fault(request, 400, "text/plain", b'{"code": "x", "message": "x"}') is not None
        assert attack.fault(request, 200, "text/csv", other.encode()) is not None
