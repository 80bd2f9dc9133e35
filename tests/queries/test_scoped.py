"""That no endpoint can see more than its token's project and tenant."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from multidict import MultiDict

from nealytics import queries
from nealytics.auth.scope import Scope
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable, NotAReplica
from nealytics.clickhouse.failover import Address, Addresses
from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries import ENDPOINTS
from nealytics.queries.endpoint import Endpoint
from nealytics.queries.filters import Field, parse_filter
from nealytics.queries.params import Arguments
from nealytics.queries.scoped import Events, Fence, FenceDown, Query, fence, limit_settings, relation
from tests.queries.required import required

SCOPE = Scope(project_id="shop'; DROP TABLE x --", tenant_id="acme{tenant_id:String}")
PROJECT = Scope(project_id="shop'; DROP TABLE x --", tenant_id=None)
HOSTILE = "it's {project_id:String} \\ ` \" ; --"
FILTERED = [
    ("filter", f"{Field('meta', (HOSTILE,))}:contains:{HOSTILE}"),
    ("filter", f"user_id:in:{HOSTILE},b"),
    *((name, HOSTILE) for name in ("eventType", "sessionId", "userId", "itemId", "metaKey", "metaValue")),
]


class RecordingClient:
    """Answers nothing and remembers what it was asked."""

    damaged: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        self.addresses = Addresses(("http://a", "http://b"))
        self.strangers: set[str] = set()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.settings: list[dict[str, Any]] = []

    async def query(
        self,
        sql: str,
        params: Mapping[str, Any] = {},
        *,
        settings: Mapping[str, Any] = {},
        at: Address | None = None,
        received: object = None,
        read: object = None,
    ) -> list[list[Any]]:
        self.asked.append((sql, dict(params)))
        self.settings.append(dict(settings))
        return []

    async def verify(self, address: Address) -> None:
        if address.url in self.strangers:
            raise NotAReplica(f"{address.url} is no replica")


async def ask(
    endpoint: Endpoint[Any], pairs: list[tuple[str, str]], scope: Scope = SCOPE, *token_filters: str
) -> RecordingClient:
    client = RecordingClient()
    asked = Arguments(MultiDict([*required(endpoint), *pairs]), QueryConfig(), 0, endpoint.parameters)
    events = Events(
        client,  # type: ignore[arg-type]
        "nealytics_core",
        scope,
        token_filters=[parse_filter("filters", text) for text in token_filters],
    )
    await endpoint.run(events, endpoint.parse(asked))
    return client


every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)


@every_endpoint
@pytest.mark.parametrize("scope", [SCOPE, PROJECT], ids=["tenant", "project"])
async def test_every_endpoint_reads_only_the_scoped_relation(endpoint: Endpoint[Any], scope: Scope):
    client = await ask(endpoint, FILTERED, scope)
    assert client.asked
    for sql, bound in client.asked:
        assert sql.count("global_events") == 1
        head = relation("nealytics_core", scope)
        assert sql.startswith(head)
        assert " WHERE project_id = {project_id:String}" in head
        assert bound["project_id"] == scope.project_id
        assert ("tenant_id = {tenant_id:String})" in head) is (scope.tenant_id is not None)
        assert bound.get("tenant_id") == scope.tenant_id
        rest = sql.removeprefix(head)
        own = {"events", *re.findall(r"(?:WITH|,) (\w+) AS \(", rest)}
        read = re.findall(r"(?:FROM|JOIN) ([^( ]+)", rest)
        assert set(read) <= own, "whatever it reads, it reads from `events`"
        assert "events" in read


@every_endpoint
async def test_every_query_carries_the_fence(endpoint: Endpoint[Any]):
    client = await ask(endpoint, FILTERED)
    for settings in client.settings:
        assert (
            settings["additional_table_filters"] == fence("nealytics_core", SCOPE)["additional_table_filters"]
        )


@every_endpoint
async def test_nothing_that_a_client_sends_is_in_the_sql(endpoint: Endpoint[Any]):
    hostile = [
        (parameter.name, HOSTILE)
        for parameter in endpoint.parameters
        if parameter.kind == "text" and not parameter.required and (parameter.name, HOSTILE) not in FILTERED
        if parameter.pattern is None or re.fullmatch(parameter.pattern, HOSTILE)
    ]
    client = await ask(endpoint, FILTERED + hostile, SCOPE, f"event_type:ne:{HOSTILE}")
    for sql, bound in client.asked:
        assert HOSTILE not in sql
        assert SCOPE.project_id not in sql
        assert str(SCOPE.tenant_id) not in sql
        # Every placeholder is bound and every bound value is used.
        assert set(re.findall(r"\{(\w+):", sql)) == set(bound)


@every_endpoint
async def test_a_column_or_function_is_chosen_by_a_name_of_ours_or_not_at_all(endpoint: Endpoint[Any]):
    for parameter in endpoint.parameters:
        if parameter.kind in ("choice", "field", "zone", "duration", "flag"):
            with pytest.raises(Refused) as refused:
                await ask(endpoint, [(parameter.name, HOSTILE)])
            assert (refused.value.status, refused.value.field) == (400, parameter.name)


@every_endpoint
async def test_a_token_s_own_filters_narrow_the_relation_itself(endpoint: Endpoint[Any]):
    client = await ask(endpoint, [], SCOPE, "meta:team:eq:red", "event_type:ne:secret")
    for sql, bound in client.asked:
        head, _, _ = sql.partition(") SELECT" if ") SELECT" in sql else ") ")
        assert "{token_0:String}" in head
        assert "{token_2:String}" in head
        assert {"team", "red", "secret"} <= {str(value) for value in bound.values()}


async def test_an_endpoint_cannot_replace_the_scope_by_its_own_parameters():
    client = RecordingClient()
    await Events(client, "db", SCOPE).rows(  # type: ignore[arg-type]
        Query("SELECT 1 FROM events", {"project_id": "other", "tenant_id": "other"})
    )
    assert client.asked[0][1] == {"project_id": SCOPE.project_id, "tenant_id": SCOPE.tenant_id}


def test_only_one_file_names_the_table():
    directory = Path(queries.__path__[0])
    naming = [
        path.name
        for path in directory.glob("*.py")
        if re.search(r"global_events|\b(LOCAL_)?TABLE\b|table_name", path.read_text())
    ]
    assert naming == ["scoped.py"]


def test_a_database_name_cannot_leave_its_quotes():
    assert "`a\\`b\\\\`.global_events" in relation("a`b\\", SCOPE)


def test_sessions_and_users_of_two_tenants_are_never_one():
    """In a project's view `s` of tenant `a:1` is not `1s` of tenant `a:`."""
    head = relation("db", PROJECT)
    assert "concat(toString(length(tenant_id)), ':', tenant_id, session_id) AS session_key" in head
    assert "tenant_id = " not in head


class AnsweringClient(RecordingClient):
    """Fails as told, or answers."""

    def __init__(self, error: ClickHouseError | None) -> None:
        super().__init__()
        self.error = error

    async def query(self, *args: Any, **kwargs: Any) -> list[list[Any]]:
        await super().query(*args, **kwargs)
        if self.error is not None:
            raise self.error
        return [[0]]


async def test_the_fence_stands_if_a_filter_that_cannot_work_is_refused():
    client = AnsweringClient(ClickHouseError(47, "unknown identifier"))
    guard = Fence(client, "db")  # type: ignore[arg-type]
    await guard.prove()
    await guard.prove()
    assert len(client.asked) == 1, "once is enough"


async def test_each_address_proves_the_fence_before_it_is_read_from():
    client = AnsweringClient(ClickHouseError(47, "unknown identifier"))
    guard = Fence(client, "db")  # type: ignore[arg-type]
    await guard.prove()
    client.addresses.failed(client.addresses.all[0])
    client.error = None
    with pytest.raises(FenceDown):
        await guard.prove()
    assert client.addresses.reading.url == "http://a", "nobody reads from b"
    client.error = ClickHouseError(47, "unknown identifier")
    await guard.prove()
    assert client.addresses.reading.url == "http://b"


@pytest.mark.parametrize("fails", ["verify", "query"])
async def test_a_read_moves_on_from_an_address_that_is_still_down_when_its_cool_down_ends(fails: str):
    client = AnsweringClient(ClickHouseError(47, "unknown identifier"))
    down = client.addresses.all[0]

    def at(method: Any) -> Any:
        async def refuse(*args: Any, at: Address | None = None, **kwargs: Any) -> Any:
            if down in (at, *args):
                client.addresses.failed(down)
                raise ClickHouseUnavailable("connection refused")
            return await method(*args, **kwargs)

        return refuse

    setattr(client, fails, at(getattr(client, fails)))
    await Fence(client, "db").prove()  # type: ignore[arg-type]
    assert client.addresses.reading.url == "http://b"


async def test_a_read_fails_if_every_address_is_down():
    client = AnsweringClient(None)

    async def refuse(address: Address) -> None:
        client.addresses.failed(address)
        raise ClickHouseUnavailable("connection refused")

    client.verify = refuse  # type: ignore[method-assign]
    with pytest.raises(ClickHouseUnavailable):
        await Fence(client, "db").prove()  # type: ignore[arg-type]
    assert client.addresses.cooling() == list(client.addresses.all)


async def test_nobody_reads_where_another_table_is():
    """It would show a part of the events, or another shard's."""
    client = AnsweringClient(ClickHouseError(47, "unknown identifier"))
    client.strangers = {"http://a"}
    guard = Fence(client, "db")  # type: ignore[arg-type]
    with pytest.raises(NotAReplica):
        await guard.prove()
    assert client.asked == []


async def test_on_a_cluster_the_fence_is_proven_for_the_table_of_the_shards_too():
    client = AnsweringClient(ClickHouseError(47, "unknown identifier"))
    await Fence(client, "db", sharded=True).prove()  # type: ignore[arg-type]
    sent = [settings["additional_table_filters"] for settings in client.settings]
    assert [set(re.findall(r"db\.\w+", filters)) for filters in sent] == [
        {"db.global_events"},
        {"db.global_events_local"},
    ]
    assert set(re.findall(r"db\.\w+", fence("db", SCOPE)["additional_table_filters"])) == {  # type: ignore[arg-type]
        "db.global_events",
        "db.global_events_local",
    }


async def test_a_fence_that_is_ignored_is_noticed_every_time():
    guard = Fence(AnsweringClient(None), "db")  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(FenceDown, match="additional_table_filters"):
            await guard.prove()


async def test_any_other_error_proves_nothing():
    client = AnsweringClient(ClickHouseError(60, "no such table"))
    guard = Fence(client, "db")  # type: ignore[arg-type]
    with pytest.raises(ClickHouseError):
        await guard.prove()
    client.error = ClickHouseError(47, "unknown identifier")
    await guard.prove()
    assert len(client.asked) == 2


@pytest.mark.parametrize("outage", [ClickHouseUnavailable("gone"), ClickHouseError(242, "read-only")])
async def test_after_an_outage_the_fence_is_proven_anew(outage: ClickHouseError):
    """Another server may answer from now on."""
    client = AnsweringClient(ClickHouseError(47, "unknown identifier"))
    guard = Fence(client, "db")  # type: ignore[arg-type]
    await guard.prove()
    guard.doubt(ClickHouseError(158, "too many rows"))
    await guard.prove()
    assert len(client.asked) == 1
    guard.doubt(outage)
    await guard.prove()
    assert len(client.asked) == 2


def test_a_query_beyond_its_limits_is_refused_and_not_cut():
    settings = limit_settings(
        QueryConfig(rows_read_max=7, memory_bytes_max=8, result_rows_max=9, result_bytes_max=6)
    )
    assert settings["max_result_bytes"] == 6
    assert (settings["max_rows_to_read"], settings["max_memory_usage"], settings["max_result_rows"]) == (
        7,
        8,
        9,
    )
    assert {value for name, value in settings.items() if name.endswith("_overflow_mode")} == {"throw"}
