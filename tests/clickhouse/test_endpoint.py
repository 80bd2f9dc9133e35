from pathlib import Path

import pytest

from nealytics.clickhouse.embedded import Access, engine_dir, write_access
from nealytics.clickhouse.endpoint import Endpoint, endpoint_of
from nealytics.config import ClickHouseConfig, Config, ServerConfig
from nealytics.errors import NealyticsError


def test_embedded_means_the_engine_that_was_started_last(tmp_path: Path):
    config = Config(
        server=ServerConfig(data_dir=tmp_path), clickhouse=ClickHouseConfig(database="x", user="someone")
    )
    with pytest.raises(NealyticsError, match="no embedded ClickHouse runs there; start the node"):
        endpoint_of(config)
    engine_dir(tmp_path).mkdir()
    write_access(tmp_path, Access(8124, "a secret", "another"))
    assert endpoint_of(config) == Endpoint(
        url="http://127.0.0.1:8124", embedded=True, user="writer", password="a secret", database="x"
    )


def test_a_server_is_taken_from_the_configuration():
    config = Config(clickhouse=ClickHouseConfig(url="https://ch:8443/", user="u", password="p"))
    assert endpoint_of(config) == Endpoint(
        url="https://ch:8443", user="u", password="p", database="nealytics_core"
    )


def test_the_endpoint_has_all_addresses_of_the_configuration():
    config = Config(clickhouse=ClickHouseConfig(url="http://a,http://b", user="u"))
    assert endpoint_of(config) == Endpoint(url="http://a", others=("http://b",), user="u")
    assert repr(endpoint_of(config)) == "Endpoint(http://a, http://b, user='u', database='nealytics_core')"


def test_a_message_shows_no_password():
    endpoint = Endpoint(url="https://a:b@ch:8443", others=("http://c:d@e",), user="u", password="secret")
    assert str(endpoint) == "https://ch:8443, http://e (user u, database nealytics_core)"
    assert endpoint.where("http://c:d@e") == "http://e"
