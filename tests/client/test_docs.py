"""The examples of docs/python-client.md, run from top to bottom against a node."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nealytics import client
from nealytics.client import Client, mint_token
from nealytics.client.blocking import Reader
from tests.e2e.node import JWT_KEY, KEY, Node
from tests.engine import needs_engine

PAGE = (Path(__file__).parents[2] / "docs" / "python-client.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("node")) as node:
        node.wait_ready()
        yield node


@pytest.mark.e2e
@pytest.mark.engine
@needs_engine
def test_the_examples_run_as_they_stand(node: Node, tmp_path: Path):
    assert len(BLOCKS) == 8
    script = tmp_path / "script.py"
    script.write_text("\n".join(BLOCKS))
    environ = {
        "NEALYTICS_URL": node.url,
        "NEALYTICS_KEY": KEY,
        "NEALYTICS_AUTH_JWT_KEY": JWT_KEY,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", script], env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    node.wait_drained()
    with Reader(node.url, mint_token("my-app", "tenant-1", key=JWT_KEY)) as reader:
        found = {one["key"]: one["count"] for one in reader.get("top", dimension="event_type")["items"]}
    # `send(events)` stands there twice, and a repetition counts once.
    assert found == {"invoice_paid": 1, "seat_added": 3, "row_imported": 5, "login": 2}


def test_what_the_package_exports_is_in_the_document():
    returned = {"AsyncBatch", "Batch", "ClientError", "Rejection", "Sent", "StoredEvent"}  # or a base
    assert [name for name in client.__all__ if not re.search(rf"\b{name}\b", PAGE)] == sorted(returned)


def test_the_options_of_a_client_are_in_the_table_with_their_defaults():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE.partition("| parameter |")[2], re.MULTILINE))
    options: dict[str, Any] = {
        name: parameter.default for name, parameter in inspect.signature(Client).parameters.items()
    }
    for name in ("url", "key", "project_id"):
        del options[name]
    assert list(rows) == list(options)
    for name, default in options.items():
        if default is not None:
            assert rows[name] == f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
