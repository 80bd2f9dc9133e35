"""The node where nothing can be written but its data directory, as in a container with `--read-only` and no
/tmp. The mount namespace is real; the image itself is tried by scripts/image.sh.
"""

import functools
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.e2e.node import Node, program
from tests.engine import needs_engine

# $1 stays writable; / and what is mounted below it do not. Then the program.
CONFINE = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
while read -r _ point _; do
  case "$point" in
    "$1"|/proc|/proc/*|/sys|/sys/*|/dev|/dev/pts|/dev/mqueue) ;;
    *) mount -o remount,bind,ro "$point" 2>/dev/null || true ;;
  esac
done </proc/self/mounts
if touch /tmp/nealytics-can-write-here 2>/dev/null; then echo "/tmp can still be written" >&2; exit 99; fi
touch "$1/.can-write-here" && rm "$1/.can-write-here"
shift
exec "$@"
"""


def confined(directory: Path, *command: str) -> list[str]:
    return ["unshare", "--mount", "--", "sh", "-c", CONFINE, "sh", str(directory), *command]


@functools.cache
def why_no_namespace() -> str:
    if os.geteuid() != 0:
        return "only root can make / read-only in a mount namespace"
    directory = Path(os.environ.get("TMPDIR", "/tmp")) / f"nealytics-namespace-{os.getpid()}"
    directory.mkdir()
    try:
        done = subprocess.run(confined(directory, "true"), capture_output=True, text=True)
    except OSError as error:
        return f"no mount namespace here: {error}"
    finally:
        directory.rmdir()
    return "" if done.returncode == 0 else f"no mount namespace here: {done.stderr.strip()}"


pytestmark = [
    pytest.mark.e2e,
    pytest.mark.engine,
    needs_engine,
    pytest.mark.skipif(bool(why_no_namespace()), reason=why_no_namespace()),
]

EVENT = {"projectId": "shop", "tenantId": "acme", "sessionId": "s", "eventType": "view"}


def scratch_of(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "data" / "clickhouse" / "tmp").iterdir())


def test_a_node_writes_nowhere_but_into_its_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    monkeypatch.setenv("TEST_EXECUTABLE", shlex.join(confined(data, *program())))
    with Node(tmp_path) as node:
        node.wait_ready()
        assert node.post("batch?wait=true", [EVENT])[0] == 200
        assert len(node.read("/api/v1/analytics/sessions")["sessions"]) == 1
        assert node.stop() == 0
        assert scratch_of(tmp_path) == []
        node.start()
        node.wait_ready()
        node.kill()
        node.start()
        node.wait_ready()
        assert node.stop() == 0
        assert scratch_of(tmp_path) == []


def test_the_engine_leaves_nothing_behind_where_temporary_files_go(tmp_path: Path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with Node(tmp_path, environ={"TMPDIR": str(temporary)}) as node:
        node.wait_ready()
        assert list(temporary.iterdir()) == []
        node.kill()
        node.start()
        node.wait_ready()
        assert node.stop() == 0
    assert list(temporary.iterdir()) == []
    assert scratch_of(tmp_path) == []
