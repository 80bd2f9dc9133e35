"""The npm package as its users have it: built once for a run, in a directory with the packages it needs beside it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
WEB = ROOT / "web"
TOOLS = ROOT / ".venv" / "tools" / "js" / "node_modules" / ".bin"

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (WEB / "node_modules" / "esbuild").is_dir(),
    reason="needs Node.js and `npm ci` in web/, which scripts/test.sh does",
)


def build(directory: Path) -> Path:
    """The package, at `directory/node_modules/nealytics`; what it imports is found from there."""
    package = directory / "node_modules" / "nealytics"
    subprocess.run(["node", "package.mjs", str(package)], cwd=WEB, check=True, stdout=subprocess.DEVNULL)
    for path in (WEB / "node_modules").iterdir():
        (directory / "node_modules" / path.name).symlink_to(path)
    (directory / "package.json").write_text('{"type": "module", "private": true}')
    return package


def bundle(entry: Path, out: Path, *options: str) -> bytes:
    """`entry` with all that it imports, as `web/test/bundle.mjs` says."""
    ran = subprocess.run(
        ["node", "test/bundle.mjs", str(entry), str(out), *options], cwd=WEB, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return out.read_bytes()


def runtime(name: str) -> str | None:
    """The program of a JavaScript runtime, the system's or that of scripts/test.sh."""
    found = shutil.which(name)
    return found or (str(TOOLS / name) if os.access(TOOLS / name, os.X_OK) else None)
