"""Clients that real generators make of /openapi.json have all parameters.

scripts/test.sh installs them: openapi-python-client with the tests' packages, openapi-typescript with those
of `web`, if there is Node.js. A test is skipped where its generator is neither there nor on PATH. What
generators need is held without them, too, by `test_openapi.py`.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from nealytics.config import Config
from nealytics.http.openapi import document
from nealytics.queries import ENDPOINTS, STREAMS

ROOT = Path(__file__).parents[2]
ROUTES = [*ENDPOINTS, *STREAMS]


def generator(name: str) -> str:
    places = [Path(sys.executable).parent, ROOT / "web/node_modules/.bin"]
    found = shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ["PATH"]]))
    if found is None:
        pytest.skip(
            f"{name} is not installed: scripts/test.sh does that, for npm packages if there is Node.js"
        )
    return found


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("described") / "openapi.json"
    file.write_bytes(msgspec.json.encode(document(Config())))
    return file


def run(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python_client(described: Path) -> tuple[Path, str]:
    """Where it was made, and what the generator said."""
    made = described.parent / "client"
    command = [
        generator("openapi-python-client"),
        "generate",
        "--path",
        str(described),
        "--output-path",
        str(made),
    ]
    return made, run(*command, "--meta", "none")


def test_openapi_python_client_sends_every_parameter(python_client: tuple[Path, str]):
    made, said = python_client
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


def test_errors_have_names_in_generated_clients(python_client: tuple[Path, str]):
    """What has no name is numbered, `Code1` to `Code119`."""
    made, _ = python_client
    models = {path.stem for path in (made / "models").iterdir()}
    assert {"error", "error_code", "unauthorized_error", "sending_bad_request_code", "questions"} <= models
    numbered = [name for name in models if re.fullmatch(r".*\d", name) and not name.endswith("type_0")]
    assert numbered == ["openapi_response_200"]


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
