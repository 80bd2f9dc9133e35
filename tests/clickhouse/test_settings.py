import pytest

from nealytics.clickhouse.settings import (
    INSERT_SETTINGS,
    bound,
    checkable,
    escaped,
    insert_settings,
    known_settings_sql,
    read_settings,
    unknown_settings,
)
from nealytics.config import ClickHouseConfig


def test_what_clickhouse_would_unescape_is_escaped():
    assert escaped("a\\b\tc\nd\0e'f") == r"a\\b\tc\nd\0e'f"
    assert escaped(["it's", "a\tb"]) == r"['it\'s','a\tb']"
    assert escaped([-1, 2]) == "[-1,2]"
    assert escaped([]) == "[]"
    assert escaped(5) == "5"
    assert escaped(True) == "true"


def test_a_parameter_has_the_name_that_the_http_interface_expects():
    assert bound({"a": "x\ty", "b": [1]}) == {"param_a": r"x\ty", "param_b": "[1]"}


def test_without_replicas_an_insert_has_the_pinned_settings_only():
    assert insert_settings(ClickHouseConfig(insert_quorum=2), replicas=False) == INSERT_SETTINGS


@pytest.mark.parametrize(("quorum", "sent"), [(0, "auto"), (1, 1)])
def test_with_replicas_an_insert_waits_for_shards_and_quorum(quorum: int, sent: object):
    config = ClickHouseConfig(insert_quorum=quorum, insert_timeout_s=30)
    settings = insert_settings(config, replicas=True)
    assert settings["distributed_foreground_insert"] == settings["insert_deduplicate"] == 1
    assert settings["insert_quorum"] == sent
    assert settings["insert_quorum_timeout"] == 24_000, "before our own timeout of 30 s"
    assert settings.items() >= INSERT_SETTINGS.items()


def test_a_read_ends_at_the_server_when_the_client_gives_up():
    assert read_settings(ClickHouseConfig(query_timeout_s=7.9))["max_execution_time"] == 7
    assert read_settings(ClickHouseConfig(query_timeout_s=0.5))["max_execution_time"] == 1, "0 is no limit"


def test_a_read_of_a_cluster_fails_without_a_shard():
    assert read_settings(ClickHouseConfig(cluster="main"))["skip_unavailable_shards"] == 0
    assert "skip_unavailable_shards" not in read_settings(ClickHouseConfig())


def test_a_setting_that_the_server_does_not_list_is_unknown():
    names = checkable({"wait_end_of_query": 1, "final": 1, "limit": 0})
    assert names == ["final", "limit"], "system.settings does not list a parameter of the HTTP interface"
    assert "'final', 'limit'" in known_settings_sql(names)
    assert unknown_settings(names, '{"data": [["limit"]]}') == {"final"}


@pytest.mark.parametrize(
    "answer", ["", "<html>", '{"data": []}', '{"data": [[]]}', '{"data": [["some", "more"]]}']
)
def test_an_answer_that_cannot_be_true_makes_no_setting_unknown(answer: str):
    with pytest.raises(ValueError, match=r"system\.settings"):
        unknown_settings(["final"], answer)
