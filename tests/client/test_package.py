"""What a SaaS installs and imports: light to load, typed, and in the wheel."""

import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# `nealytics` itself has a version only, `nealytics.backoff` one function, `nealytics.errors` one class.
OURS = {"nealytics", "nealytics.backoff", "nealytics.client", "nealytics.errors"}
HEAVY = ("aiohttp", "click", "jwt", "cryptography", "chdb", "opentelemetry", "uvloop", "prometheus_client")

USE = """
    from nealytics.client import AsyncClient, Client, Event, Reader, RejectedError, mint_token

    client = Client("http://127.0.0.1:1", "a-key", project_id="my-app")
    event: Event = client.track("view", tenant_id="acme", session_id="s", user_id=None)
    token: str = mint_token("my-app", "acme", key="x" * 32)
    for stored in Reader("http://127.0.0.1:1", token).export(from_="2026-06-01"):
        user: str | None = stored.user_id

    async def main() -> None:
        async with AsyncClient("http://127.0.0.1:1", "a-key") as sending, sending.batch() as batch:
            await batch.track("view", tenant_id="acme", session_id="s", project_id="my-app")
"""
WRONG = 'Client("http://h", "k").track("view", tenant_id=5)'


def test_importing_the_client_loads_nothing_of_the_server():
    listing = "import sys, nealytics.client; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    ours = {name for name in loaded if name.partition(".")[0] == "nealytics"}
    assert {name for name in ours if not name.startswith("nealytics.client.")} == OURS
    assert loaded & set(HEAVY) == set()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment in which the wheel of this tree is installed."""
    directory = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = subprocess.run(
        [*pip, "wheel", "-q", "--no-deps", "-w", directory, ROOT], capture_output=True, text=True
    )
    if built.returncode and "hatchling" in built.stderr:
        pytest.skip(f"the wheel cannot be built without a package index: {built.stderr.strip()[-300:]}")
    assert built.returncode == 0, built.stderr
    (wheel,) = directory.glob("nealytics-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory / "venv"], check=True)
    python = directory / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "-q", "--no-deps", wheel], check=True)
    (site,) = (directory / "venv" / "lib").glob("*/site-packages")
    # The dependencies are those of the environment that the tests run in. A plain line of a .pth file does
    # not bring what that environment has as links, such as this tree.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


@pytest.mark.slow
def test_a_wheel_has_the_client(installed: Path):
    done = subprocess.run(
        [installed, "-c", "import nealytics.client; print(nealytics.client.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=installed.parent,
    )
    assert Path(done.stdout.strip()).is_relative_to(installed.parents[1])


@pytest.mark.slow
def test_a_wheel_is_typed(installed: Path, tmp_path: Path):
    def mypy(text: str) -> "subprocess.CompletedProcess[str]":
        script = tmp_path / "script.py"
        script.write_text(text)
        command = [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--python-executable",
            str(installed),
            str(script),
        ]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    used = mypy(textwrap.dedent(USE))
    assert used.returncode == 0, used.stdout
    wrong = mypy(f"from nealytics.client import Client\n{WRONG}\n").stdout
    assert 'Missing named argument "session_id"' in wrong
    assert '"tenant_id" to "track" of "Client" has incompatible type "int"' in wrong
