"""What is missing for a cluster is named, and the tests of the cluster are skipped for it."""

import hashlib
import importlib.util
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cluster import servers
from tests.ports import free_port


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A cluster.py whose engine is a file, on a machine that has everything."""
    library = tmp_path / "engine.so"
    library.write_bytes(b"the engine")
    ports = [free_port() for _ in range(3)]
    found = SimpleNamespace(
        library=lambda: library,
        SHA256=hashlib.sha256(b"the engine").hexdigest(),
        NODES={"r1": ("01", *ports[:2], 0)},
    )
    monkeypatch.setattr(servers, "CLUSTER_PY", library)
    monkeypatch.setattr(servers, "_ZOOKEEPER_PORT", ports[2])
    monkeypatch.setattr(servers, "load", lambda: found)
    monkeypatch.setattr(shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    return found


def test_nothing_is_missing(here: SimpleNamespace):
    assert servers.why_not() == ""


@pytest.mark.parametrize("tool", ["java", "gcc"])
def test_a_missing_tool_is_named(here: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tool: str):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else name)
    assert servers.why_not().startswith(f"{tool} is not installed")


def test_a_missing_cluster_py_is_named(
    here: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(servers, "CLUSTER_PY", tmp_path / "none")
    assert "set TEST_CLUSTER_PY to its path" in servers.why_not()


def test_another_build_of_the_engine_is_named(here: SimpleNamespace):
    here.library().write_bytes(b"another engine")
    assert "the patch is for" in servers.why_not()


def test_a_port_in_use_is_named(here: SimpleNamespace):
    _, http, _, _ = here.NODES["r1"]
    with socket.create_server(("127.0.0.2", http)):
        assert servers.why_not().startswith(f"127.0.0.2:{http} cannot be used (Address already in use)")


def test_the_nodes_end_with_the_tests(tmp_path: Path):
    """Also if the tests are killed: then the standard input of the driver ends."""
    cluster_py = tmp_path / "cluster.py"
    cluster_py.write_text(
        "import subprocess\n"
        "def start(root, name):\n"
        "    return subprocess.Popen(['sleep', '1000'])\n"
        "zookeeper = start\n"
    )
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.driver", str(cluster_py), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    pids = []
    for name in ("r1", "r2", "r1"):
        driver.stdin.write(f"{name}\n")
        pids.append(int(driver.stdout.readline()))
    first, second, again = (Path(f"/proc/{pid}") for pid in pids)
    assert not first.exists(), "it was started again"
    assert second.exists()
    assert again.exists()
    driver.stdin.close()
    driver.wait(60)
    assert not second.exists()
    assert not again.exists()
