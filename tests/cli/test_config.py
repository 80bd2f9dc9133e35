"""`init` and `check-config`, as a person uses them."""

# ruff: noqa: E501  (a message stands in one line, as it is printed)

import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nealytics.cli import main
from nealytics.config import load, require_serving, secrets_of
from tests.docs_commands import ROOT


@pytest.fixture(autouse=True)
def clean_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEALYTICS_CONFIG", raising=False)


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, arguments, env=env)


def test_init_writes_a_configuration_that_serves_and_that_only_the_owner_can_read(tmp_path):
    result = run("init")
    assert result.exit_code == 0, result.output
    path = tmp_path / "nealytics.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = require_serving(load(path, {}))
    (key,) = config.auth.api_keys
    assert (key.project, key.kind) == ("", "server")
    assert len(key.key) >= 32
    assert len(config.auth.jwt_key) >= 32
    assert config.clickhouse.embedded_password or config.clickhouse.url != "embedded"
    assert config.clickhouse.embedded_listen == ""


def test_init_makes_new_keys_each_time_and_prints_none_of_them():
    first, second = run("init", "-c", "a.toml"), run("init", "-c", "b.toml")
    a, b = load(Path("a.toml"), {}), load(Path("b.toml"), {})
    assert not set(secrets_of(a)) & set(secrets_of(b))
    for secret in (*secrets_of(a), *secrets_of(b)):
        assert secret not in first.output + second.output


def test_init_takes_listen_and_data_dir_and_makes_the_directory_of_the_file(tmp_path):
    result = run("init", "--config", "deep/n.toml", "--listen", "[::1]:6000", "--data-dir", 'odd "data"')
    assert result.exit_code == 0, result.output
    server = load(Path("deep/n.toml"), {}).server
    assert (server.listen, server.data_dir) == ("[::1]:6000", tmp_path / 'odd "data"')
    assert "nealytics serve --config deep/n.toml" in result.output
    assert "http://[::1]:6000/" in result.output


def test_the_quickstart_s_saved_queries_are_beside_its_configuration(tmp_path):
    script = (ROOT / "scripts/quickstart.sh").read_text()
    found = re.search(r'^if \[ ! -e "\$config" \]; then\n.*?^fi\n', script, re.MULTILINE | re.DOTALL)
    assert found is not None
    given = f'run() {{ {sys.executable} -m nealytics "$@"; }}; nealytics=run; directory="it is"; config="it is/n.toml"'
    subprocess.run(["bash", "-euc", f"{given}; mkdir 'it is'; {found[0]}"], cwd=tmp_path, check=True)
    config = load(tmp_path / "it is/n.toml", {})
    assert config.saved_queries.directory == tmp_path / "it is/queries"


@pytest.mark.parametrize(
    ("listen", "is_exposed"), [("0.0.0.0:6000", True), ("[::]:6000", True), ("127.0.0.1:6000", False)]
)
def test_init_says_that_other_machines_reach_the_node(listen: str, is_exposed: bool):
    said = run("init", "--listen", listen).output
    assert ("accept connections from other machines, on port 6000 and without TLS" in said) == is_exposed
    assert ('set server.listen to "127.0.0.1:6000"' in said) == is_exposed


def test_init_takes_the_address_of_a_clickhouse_server():
    assert run("init", "--clickhouse-url", "http://ch:8123").exit_code == 0
    assert load(Path("nealytics.toml"), {}).clickhouse.url == "http://ch:8123"
    assert "embedded_" not in Path("nealytics.toml").read_text()  # a server has users of its own
    assert run("init", "-c", "inside.toml", "--clickhouse-url", "embedded").exit_code == 0
    inside = load(Path("inside.toml"), {}).clickhouse
    assert inside.url == "embedded"
    assert inside.embedded_password


def test_init_does_not_replace_a_file_whose_keys_may_be_in_use(tmp_path):
    run("init")
    before = (tmp_path / "nealytics.toml").read_bytes()
    result = run("init")
    assert result.exit_code == 1
    assert result.stderr == (
        "init: nealytics.toml already exists and its keys may be in use; choose another --config, or replace it "
        "with --force\n"
    )
    assert (tmp_path / "nealytics.toml").read_bytes() == before


def test_init_with_force_replaces_the_file_and_leaves_nothing_else_behind(tmp_path):
    path = tmp_path / "nealytics.toml"
    path.write_text("what was here")
    path.chmod(0o644)
    assert run("init", "--force").exit_code == 0
    assert "what was here" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["nealytics.toml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--listen", "5000"), 'init: --listen is "5000" and is not host:port; write e.g. 0.0.0.0:5000\n'),
        (("-c", "/proc/nowhere/n.toml"), "init: /proc/nowhere/n.toml cannot be written: No such file or directory; choose another --config\n"),
    ],
)  # fmt: skip
def test_init_says_what_it_cannot_do(arguments, message):
    result = run("init", *arguments)
    assert (result.exit_code, result.stderr) == (1, message)


def test_check_config_prints_every_setting_with_its_source_and_no_secret():
    run("init")
    result = run(
        "check-config", env={"NEALYTICS_SERVER_WORKERS": "3", "TelemetryEngine__MaxQueryLimit": "50"}
    )
    assert result.exit_code == 0, result.output
    assert re.search(r"^workers = 3 +# NEALYTICS_SERVER_WORKERS$", result.stdout, re.MULTILINE)
    assert re.search(r"^limit_max = 50 +# TelemetryEngine__MaxQueryLimit$", result.stdout, re.MULTILINE)
    assert re.search(r'^jwt_key = "\*\*\*" +# nealytics.toml$', result.stdout, re.MULTILINE)
    assert re.search(r"^decompression = true +# default$", result.stdout, re.MULTILINE)
    for secret in secrets_of(load(Path("nealytics.toml"), {})):
        assert secret not in result.output


def test_what_check_config_prints_is_toml(tmp_path):
    run("init")
    printed = tomllib.loads(run("check-config").stdout)
    config = load(Path("nealytics.toml"), {})
    assert printed["server"]["data_dir"] == str(config.server.data_dir)
    assert printed["auth"]["api_keys"] == [{"key": "***", "kind": "server"}]
    assert printed["wal"] == config.wal.masked()


def test_issuers_are_printed_as_toml_that_means_the_same(tmp_path):
    text = (
        "[[auth.issuers]]\nissuer = 'https://a.example/'\njwks_url = 'https://a.example/jwks'\n"
        "audience = ['us', 'we']\nrequired_claims = { 'https://a.example/x' = [false, 1], use = 'access' }\n"
    )
    Path("nealytics.toml").write_text(text)
    result = run("check-config")
    assert result.exit_code == 0, result.output
    (printed,) = tomllib.loads(result.stdout)["auth"]["issuers"]
    (text,) = re.findall("^issuers = .*?^]", result.stdout, re.M | re.S)
    Path("again.toml").write_text(f"[auth]\n{text}")
    assert load(Path("again.toml"), {}).auth == load(Path("nealytics.toml"), {}).auth
    assert printed["required_claims"] == {"https://a.example/x": [False, 1], "use": ["access"]}


def test_check_config_names_the_file_of_the_csharp_engine_and_what_became_of_its_values():
    Path("appsettings.json").write_text(
        '{"TelemetryEngine": {"MaxQueryLimit": 2000000, "JwtSymmetricKey": "'
        + "canary-" * 6
        + '"}} // as it was'
    )
    result = run("check-config")
    assert result.exit_code == 0, result.output
    assert re.search(r"^limit_max = 1000000 +# appsettings.json$", result.stdout, re.MULTILINE)
    assert "appsettings.json: TelemetryEngine:MaxQueryLimit is 2000000" in result.stderr
    assert "canary" not in result.output
    Path("elsewhere").mkdir()
    Path("appsettings.json").rename("elsewhere/appsettings.json")
    named = run("check-config", "--config", "elsewhere/appsettings.json")
    assert re.search(r"^limit_max = 1000000 +# elsewhere/appsettings.json$", named.stdout, re.MULTILINE)


def test_check_config_prints_all_problems_and_fails():
    Path("n.toml").write_text("[server]\nworkers = 0\nport = 1\n")
    result = run("check-config", "--config", "n.toml")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert [line.split(";")[0] for line in result.stderr.splitlines()] == [
        "config: server.workers is 0",
        "config: unknown key server.port",
        "config: auth.jwt_key is not set, so no token can be verified",
    ]


def test_check_config_reads_the_filters_of_saved_segments():
    text = '[auth]\njwt_key = "{}"\n[[segment]]\nproject = "p"\nname = "n"\nfilter = ["{}"]\n'
    Path("good.toml").write_text(text.format("x" * 32, "did(purchase, 30d)"))
    assert run("check-config", "--config", "good.toml").exit_code == 0
    Path("bad.toml").write_text(text.format("x" * 32, "did(purchase, 30 days)"))
    result = run("check-config", "--config", "bad.toml")
    assert result.exit_code == 1
    assert result.stderr.startswith("config: segment[0] is 'did(purchase, 30 days)': '30 days' is neither")


def test_check_config_says_what_is_probably_not_meant():
    result = run("check-config", env={"NEALYTICS_AUTH_JWT_KEY": "x" * 32})
    assert result.exit_code == 0
    assert "no API keys are configured" in result.stderr
