"""compose.yaml: what it sets is understood, secrets must be given, and nothing runs with more than it needs.

The containers themselves are not run here. `docker compose config`, which knows the format, checks the file
where it is installed.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from nealytics import __version__
from nealytics.cli import COMMANDS
from nealytics.cli.status import TIMEOUT_S
from nealytics.config import Config, load_with_notes
from nealytics.errors import ConfigError

FILE = Path(__file__).parents[2] / "build" / "compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SECRETS = {
    "NEALYTICS_AUTH_API_KEYS": "key-one,key-two",
    "NEALYTICS_AUTH_JWT_KEY": "0123456789abcdef0123456789abcdef",
    "CLICKHOUSE_PASSWORD": "secret",
}

each_service = pytest.mark.parametrize("name", SERVICES)


def filled_in(text: str, environ: dict[str, str]) -> str:
    """As Compose does it with ${NAME:-default} and ${NAME:?message}. Raises `KeyError` for a required one."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        return environ.get(name) or (rest if kind == "-" else environ[name])

    return re.sub(r"\$\{(\w+):([-?])([^}]*)\}", value, text)


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def config() -> Config:
    environment = {name: filled_in(value, SECRETS) for name, value in environment_of("nealytics").items()}
    loaded = load_with_notes(Path(os.devnull), environment, serving=True)
    assert not loaded.notes
    return loaded.config


def environment_of(name: str) -> dict[str, str]:
    environment: dict[str, str] = SERVICES[name]["environment"]
    return environment


def test_the_server_understands_what_is_set():
    understood = config()
    assert len(understood.auth.api_keys) == 2
    assert understood.clickhouse.password == "secret"
    assert understood.observe.prometheus


def test_both_sides_agree_on_address_and_user():
    clickhouse = config().clickhouse
    assert clickhouse.url == "http://clickhouse:8123"
    assert clickhouse.user == environment_of("clickhouse")["CLICKHOUSE_USER"]
    assert (
        environment_of("clickhouse")["CLICKHOUSE_PASSWORD"]
        == (environment_of("nealytics")["NEALYTICS_CLICKHOUSE_PASSWORD"])
    )
    assert {*SERVICES["clickhouse"]["networks"]} <= {*SERVICES["nealytics"]["networks"]}


def config_with(**variables: str) -> Config:
    """What the container gets if these are set instead of the key for tokens."""
    rest = {name: value for name, value in SECRETS.items() if name != "NEALYTICS_AUTH_JWT_KEY"} | variables
    environment = {name: filled_in(value, rest) for name, value in environment_of("nealytics").items()}
    return load_with_notes(Path(os.devnull), environment, serving=True).config


def test_the_address_of_an_issuer_s_keys_takes_the_place_of_the_key():
    auth = config_with(
        NEALYTICS_AUTH_JWKS_URL="https://issuer.example/jwks.json", NEALYTICS_AUTH_JWT_AUDIENCE="nealytics"
    ).auth
    assert (auth.jwt_key, auth.jwks_url) == ("", "https://issuer.example/jwks.json")
    assert auth.jwt_audience == "nealytics"


def test_without_either_it_does_not_start_and_says_why():
    with pytest.raises(ConfigError, match=r"auth\.jwt_key is not set.*auth\.jwks_url"):
        config_with()


@pytest.mark.parametrize("secret", ["NEALYTICS_AUTH_API_KEYS", "CLICKHOUSE_PASSWORD"])
def test_without_a_secret_it_does_not_start(secret: str):
    rest = {name: value for name, value in SECRETS.items() if name != secret}
    with pytest.raises(KeyError):
        filled_in(FILE.read_text(), rest)


def test_no_secret_is_in_the_file():
    secret = re.compile("KEY|PASSWORD")
    for name in SERVICES:
        for variable, value in environment_of(name).items():
            assert not secret.search(variable) or value.startswith("${"), variable


def test_the_image_is_the_one_of_this_version():
    assert filled_in(SERVICES["nealytics"]["image"], {}) == f"ghcr.io/neavents/nealytics:{__version__}"


@each_service
def test_a_container_has_no_more_than_it_needs(name: str):
    service = SERVICES[name]
    user, group = service["user"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory"} <= {*service["deploy"]["resources"]["limits"]}
    assert service["ulimits"]["nofile"]["hard"] >= 65536
    assert "privileged" not in service


@each_service
def test_a_machine_of_two_cores_is_enough(name: str):
    """Docker refuses to start a container whose limit is above what the machine has."""
    cpus = SERVICES[name]["deploy"]["resources"]["limits"]["cpus"]
    assert float(filled_in(cpus, {})) <= 2
    assert filled_in(cpus, {f"{name.upper()}_CPUS": "8"}) == "8"


def test_clickhouse_is_not_published():
    assert "ports" not in SERVICES["clickhouse"]
    assert all(COMPOSE["networks"][network]["internal"] for network in SERVICES["clickhouse"]["networks"])


@each_service
def test_data_outlives_the_container(name: str):
    volumes = [volume.split(":") for volume in SERVICES[name]["volumes"]]
    assert {volume for volume, _ in volumes} <= {*COMPOSE["volumes"]}
    kept = {"nealytics": str(config().server.data_dir), "clickhouse": "/var/lib/clickhouse"}
    assert kept[name] in [path for _, path in volumes]


@each_service
def test_health_is_looked_at(name: str):
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    if name == "nealytics":
        assert check["test"][1] == "nealytics"
        assert check["test"][2] in COMMANDS
        assert seconds(check["timeout"]) > TIMEOUT_S


def test_a_stop_is_given_the_time_that_it_may_take():
    """The drain, 5 s beyond it, and 5 s after SIGKILL."""
    assert seconds(SERVICES["nealytics"]["stop_grace_period"]) > config().server.shutdown_timeout_s + 5 + 5


def docker_compose_is_there() -> bool:
    try:
        return (
            subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=20).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def test_docker_compose_accepts_it():
    if not docker_compose_is_there():
        pytest.skip("docker compose is not installed")
    done = subprocess.run(
        ["docker", "compose", "--file", FILE, "config", "--quiet"],
        env={**os.environ, **SECRETS},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
