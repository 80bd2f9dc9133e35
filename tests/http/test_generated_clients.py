"""Clients that real generators make of /openapi.json have all parameters.

The generators are no dependency: `pip install openapi-python-client`, or `npm install openapi-typescript`
in any directory. A test is skipped while its generator is not on PATH. What generators need is held
without them, too, by `test_openapi.py`.
"""

import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from nealytics.config import Config
from nealytics.http.openapi import document
from nealytics.queries import ENDPOINTS, STREAMS

ROUTES = [*ENDPOINTS, *STREAMS]


def generator(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on PATH")
    return found


@pytest.fixture
def described(tmp_path: Path) -> Path:
    file = tmp_path / "openapi.json"
    file.write_bytes(msgspec.json.encode(document(Config())))
    return file


def run(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_openapi_python_client_sends_every_parameter(described: Path, tmp_path: Path):
    made = tmp_path / "client"
    said = run(
        generator("openapi-python-client"),
        "generate",
        "--path",
        described,
        "--output-path",
        made,
        "--meta",
        "none",
    )
    # It knows no NDJSON, and sends JSON.
    assert set(re.findall(r"parsing (.*) within", said)) <= {
        "POST /api/v1/telemetry/batch",
        "POST /api/v1/telemetry/beacon",
    }
    for route in ROUTES:
        code = (made / "api" / "reading" / f"{route.name}.py").read_text()
        sent = set(re.findall(r'params\["(\w+)"\] =', code))
        assert sent == {parameter.name for parameter in route.parameters}, route.name
    for name in ("query", "../sending/track", "../sending/batch", "../sending/beacon"):
        assert "body:" in (made / "api" / "reading" / f"{name}.py").read_text(), name


def test_openapi_typescript_declares_every_parameter(described: Path, tmp_path: Path):
    made = tmp_path / "api.ts"
    run(generator("openapi-typescript"), described, "-o", made)
    operations = made.read_text().split("export interface operations {", 1)[1]
    for route in ROUTES:
        found = re.search(rf"^    {route.name}: \{{\n(.*?)^    \}};", operations, re.MULTILINE | re.DOTALL)
        assert found, route.name
        query = re.search(
            r"            query\??: \{\n(.*?)^            \};", found[1], re.MULTILINE | re.DOTALL
        )
        assert query, route.name
        declared = dict(re.findall(r"^                (\w+)\??: (.*);$", query[1], re.MULTILINE))
        assert set(declared) == {parameter.name for parameter in route.parameters}, route.name
        assert "unknown" not in declared.values(), declared
        if "from" in declared:
            assert declared["from"] == declared["to"] == "string"
