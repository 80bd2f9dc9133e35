"""`nealytics.example.toml` cannot lie: every key is there, with its default and a reason."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nealytics.config import Config, load
from nealytics.config.values import KEYS

EXAMPLE = Path(__file__).parent.parent / "nealytics.example.toml"
SETTING = re.compile(r"^#([a-z0-9_]+ = .*)$", re.MULTILINE)


def uncommented() -> str:
    return SETTING.sub(r"\1", EXAMPLE.read_text())


def settings() -> dict[str, object]:
    return by_name(tomllib.loads(uncommented()))


def by_name(tables: dict[str, Any]) -> dict[str, object]:
    """A list of tables that is in no table has a plain name."""
    found: dict[str, object] = {}
    for table, content in tables.items():
        found |= (
            {table: content}
            if isinstance(content, list)
            else {f"{table}.{key}": value for key, value in content.items()}
        )
    return found


def defaults() -> dict[str, object]:
    found = by_name(Config().masked())
    found["wal.directory"] = ""  # Path() would be shown as "."
    return found


def test_the_example_shows_every_key_and_no_other():
    assert sorted(settings()) == sorted(KEYS)


@pytest.mark.parametrize("name", sorted(KEYS))
def test_each_value_in_the_example_is_the_default(name):
    assert settings()[name] == defaults()[name]


@pytest.fixture(autouse=True)
def no_configuration_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_example_as_it_stands_changes_nothing():
    assert load(EXAMPLE, {}) == load(None, {})


def test_the_example_with_every_line_uncommented_changes_nothing(tmp_path):
    path = tmp_path / "all.toml"
    path.write_text(uncommented())
    assert load(path, {}) == load(None, {})


def test_each_key_has_an_explanation_above_it():
    """Related keys may share one: then they stand directly below each other."""
    previous = ""
    for line in EXAMPLE.read_text().splitlines():
        if SETTING.match(line):
            assert previous.startswith("#"), line
        previous = line


def test_the_blocks_for_keys_in_the_example_are_accepted(tmp_path):
    public_key = rsa.generate_private_key(65_537, 2_048).public_key()
    (tmp_path / "issuer.pem").write_bytes(
        public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    block = "".join(
        line.removeprefix("#") + "\n" for line in EXAMPLE.read_text().splitlines() if line.startswith("#   ")
    ).replace("…", "a-key-that-is-long-enough")
    path = tmp_path / "keys.toml"
    path.write_text(block)
    config = load(path, {})
    (rule,) = config.retention
    assert (rule.project, rule.tenant, rule.event_type, rule.days) == ("my-app", "tenant-1", "heartbeat", 30)
    auth = config.auth
    (key,) = auth.api_keys
    assert (key.project, key.tenant, key.kind) == ("my-app", "tenant-1", "browser")
    (jwt_key,) = auth.jwt_keys
    assert (jwt_key.kid, jwt_key.algorithm) == ("2026-11", "RS256")
    (issuer,) = auth.issuers
    assert (issuer.issuer, issuer.audience) == ("https://login.example.com/", ("analytics",))
    assert issuer.required_claims == {"token_use": ("access",)}
