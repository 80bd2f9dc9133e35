"""What the node serves is what the sources in `web/` make."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parent.parent.parent / "web"
BUILT = WEB.parent / "nealytics" / "web"

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (WEB / "node_modules" / "esbuild").is_dir(),
    reason="needs Node.js and `npm ci` in web/, which scripts/test.sh does",
)


@needs_node
def test_the_built_files_are_those_of_the_sources(tmp_path: Path):
    subprocess.run(["node", "build.mjs", str(tmp_path)], cwd=WEB, check=True, stdout=subprocess.DEVNULL)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in BUILT.iterdir() if path.is_file())
    for name in names:
        assert (BUILT / name).read_bytes() == (tmp_path / name).read_bytes(), (
            f"{name}: run `npm run build` in web/"
        )


@needs_node
def test_the_sources_have_no_type_errors():
    subprocess.run(["node", "node_modules/typescript/bin/tsc", "--noEmit"], cwd=WEB, check=True)


@needs_node
def test_the_tests_of_the_sources_pass():
    ran = subprocess.run(["node", "--test", "test/"], cwd=WEB, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_the_script_of_all_elements_has_at_most_50_kilobytes_compressed():
    assert len(gzip.compress((BUILT / "embed.js").read_bytes(), 9)) <= 50_000


def test_the_lock_file_has_a_hash_for_each_package_and_no_address():
    text = (WEB / "package-lock.json").read_text()
    assert "http" not in text.replace('"url": "http', "")
    for name, package in json.loads(text)["packages"].items():
        assert not name or package["integrity"].startswith("sha512-"), name
