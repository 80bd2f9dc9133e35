from pathlib import Path

import pytest
from click.testing import CliRunner

from nealytics.cli.schema import schema
from nealytics.clickhouse.schema import create_statements
from nealytics.errors import ConfigError
from tests.engine import needs_engine


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "nealytics.toml"
    path.write_text(
        f'[server]\ndata_dir = "{tmp_path}/data"\n[clickhouse]\ndatabase = "mine"\nretention_days = 7\n'
    )
    return path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(schema, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_print_shows_the_statements_for_the_configured_database_and_retention(config_path: Path):
    output = run("print", "--config", str(config_path))
    assert output == "".join(f"{sql};\n\n" for sql in create_statements("mine", 7))
    assert "`mine`.global_events" in output
    assert "INTERVAL 7 DAY" in output


def test_print_shows_the_tables_of_a_cluster(config_path: Path):
    output = run("print", "--config", str(config_path), "--cluster", "main")
    assert output == "".join(f"{sql};\n\n" for sql in create_statements("mine", 7, "main"))
    assert output.count("ON CLUSTER 'main'") == 3


def test_apply_to_a_cluster_without_a_server_is_refused(config_path: Path):
    result = CliRunner().invoke(schema, ["apply", "--config", str(config_path), "--cluster", "main"])
    assert isinstance(result.exception, ConfigError)
    assert "the embedded engine is not a cluster" in str(result.exception)


def test_help_shows_the_example_as_one_line():
    assert "nealytics schema print | clickhouse-client --multiquery\n" in run("print", "--help")


@needs_engine
@pytest.mark.engine
def test_apply_says_what_it_did_and_does_it_once(config_path: Path):
    created = ["created database mine", "created table mine.global_events", "mine.global_events is ready"]
    assert run("apply", "--config", str(config_path)).splitlines() == created
    assert run("apply", "--config", str(config_path)) == "mine.global_events is up to date\n"
