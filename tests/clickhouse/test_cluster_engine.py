"""What the real engine does with the tables of a cluster, as far as one process without Keeper can show it.

It runs everywhere. `tests/cluster` has four nodes with replication, the quorum and several shards.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nealytics.queries import ENDPOINTS
from tests.engine import needs_engine

pytestmark = [pytest.mark.engine, needs_engine]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("cluster")
    body = [sys.executable, "-m", "tests.clickhouse.cluster_body", str(directory)]
    ended = subprocess.run(
        body, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=280, check=False
    )
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer


def test_the_statements_are_understood_and_a_second_apply_has_nothing_to_do(found: dict[str, Any]):
    """The replicated table is really created there, and probe and apply read it back."""
    assert found["done by a second apply"] == []
    assert len(found["parsed"]) > 20


def test_replicas_of_one_table_are_distinguished_from_others(found: dict[str, Any]):
    distributed, path, uuid = (
        found[f"identity of {table}"]
        for table in ("r.global_events", "r.global_events_local", "p.global_events")
    )
    assert distributed.startswith("Distributed(")
    assert path == "/clickhouse/tables/r/global_events_local/01\n"
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n", uuid)
    assert uuid.strip("0-\n"), "a plain table is like nothing but itself"
    assert found["identity of none"] == ""


def test_a_token_travels_through_the_distributed_table(found: dict[str, Any]):
    assert found["rows after tokens a, a, b"] == [800, 800, 1600]


def test_final_shows_a_copy_once_through_the_distributed_table(found: dict[str, Any]):
    assert found["final"] == 800


@pytest.mark.parametrize("table", ["global_events", "global_events_local"])
def test_the_fence_holds_under_the_name_of_either_table(found: dict[str, Any], table: str):
    assert found[f"seen behind the fence of {table}"] == 300


def test_a_shard_whose_table_has_another_name_is_not_read(found: dict[str, Any]):
    assert "a shard's table of another name" not in found


def test_every_endpoint_answers_through_a_distributed_table_as_from_a_plain_one(found: dict[str, Any]):
    assert found["endpoints"] == [endpoint.name for endpoint in ENDPOINTS]
    assert found["differing"] == []


def test_a_batch_of_which_one_shard_cannot_take_its_part_is_not_confirmed(found: dict[str, Any]):
    assert found["half a cluster"] == "ClickHouseError"
    assert found["rows of half a cluster"] == [0, 0]
