"""That no endpoint can see more than its token's project and tenant."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from multidict import MultiDict

from nealytics import queries
from nealytics.auth.scope import Scope
from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries import ENDPOINTS
from nealytics.queries.params import Arguments
from nealytics.queries.scoped import Endpoint, Events, Query, scoped_sql

SCOPE = Scope(project_id="shop'; DROP TABLE x --", tenant_id="acme{tenant_id:String}")
CHOICES = ["interval", "groupBy", "by", "mode", "dimension"]
HOSTILE = "it's {project_id:String} \\ ` \" ; --"


class RecordingClient:
    """Answers nothing and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def query(
        self, sql: str, params: Mapping[str, Any] = {}, *, settings: Mapping[str, Any] = {}
    ) -> list[list[Any]]:
        self.asked.append((sql, dict(params)))
        return []


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
async def test_every_endpoint_reads_only_the_scoped_relation(endpoint: Endpoint[Any]):
    client = RecordingClient()
    names = ["eventType", "sessionId", "itemId", "metaKey", "metaValue"]
    hostile = MultiDict([(name, HOSTILE) for name in names])
    params = endpoint.parse(Arguments(hostile, QueryConfig(), 0))
    await endpoint.run(Events(client, "nealytics_core", SCOPE), params)
    assert client.asked
    for sql, bound in client.asked:
        assert sql.count("global_events") == 1
        assert sql.startswith(
            "WITH events AS (SELECT * FROM `nealytics_core`.global_events"
            " WHERE project_id = {project_id:String} AND tenant_id = {tenant_id:String}) SELECT "
        )
        assert re.findall(r"(?:FROM|JOIN) (\S+)", sql.partition(") ")[2]) == ["events"]
        assert (bound["project_id"], bound["tenant_id"]) == (SCOPE.project_id, SCOPE.tenant_id)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
async def test_nothing_that_a_client_sends_is_in_the_sql(endpoint: Endpoint[Any]):
    client = RecordingClient()
    names = ["eventType", "sessionId", "itemId", "metaKey", "metaValue"]
    params = endpoint.parse(Arguments(MultiDict([(name, HOSTILE) for name in names]), QueryConfig(), 0))
    await endpoint.run(Events(client, "db", SCOPE), params)
    for sql, bound in client.asked:
        assert HOSTILE not in sql
        assert SCOPE.project_id not in sql
        assert SCOPE.tenant_id not in sql
        # Every placeholder is bound and every bound value is used.
        assert set(re.findall(r"\{(\w+):", sql)) == set(bound)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
@pytest.mark.parametrize("name", CHOICES)
async def test_a_column_or_function_is_chosen_by_a_name_of_ours_or_not_at_all(
    endpoint: Endpoint[Any], name: str
):
    async def asked(*query: tuple[str, str]) -> list[tuple[str, dict[str, Any]]] | None:
        client = RecordingClient()
        try:
            params = endpoint.parse(Arguments(MultiDict(query), QueryConfig(), 0))
        except Refused:
            return None
        await endpoint.run(Events(client, "db", SCOPE), params)
        return client.asked

    # An endpoint refuses another name, or does not know the parameter.
    assert await asked((name, HOSTILE)) in (None, await asked())


async def test_an_endpoint_cannot_replace_the_scope_by_its_own_parameters():
    client = RecordingClient()
    await Events(client, "db", SCOPE).rows(
        Query("SELECT 1 FROM events", {"project_id": "other", "tenant_id": "other"})
    )
    assert client.asked[0][1] == {"project_id": SCOPE.project_id, "tenant_id": SCOPE.tenant_id}


def test_only_one_file_names_the_table():
    directory = Path(queries.__path__[0])
    naming = [path.name for path in directory.glob("*.py") if "global_events" in path.read_text()]
    assert naming == ["scoped.py"]


def test_a_database_name_cannot_leave_its_quotes():
    assert "`a\\`b\\\\`.global_events" in scoped_sql("a`b\\", "SELECT 1")
