from pathlib import Path

from nealytics.clickhouse.endpoint import Endpoint, endpoint_of
from nealytics.config import ClickHouseConfig, Config, ServerConfig


def test_embedded_means_the_engines_socket(tmp_path: Path):
    config = Config(
        server=ServerConfig(data_dir=tmp_path), clickhouse=ClickHouseConfig(database="x", user="someone")
    )
    endpoint = endpoint_of(config)
    assert endpoint.unix_socket == str(tmp_path / "clickhouse.sock")
    assert (endpoint.database, endpoint.user, endpoint.password) == ("x", "default", "")


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
