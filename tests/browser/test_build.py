"""What the node serves is what the sources in `web/` make."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from nealytics import __version__
from nealytics.config import Config
from nealytics.http.openapi import document
from tests.browser.packages import WEB, build, needs_node

BUILT = WEB.parent / "nealytics" / "web"


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
    tests = sorted(str(path) for path in (WEB / "test").glob("*.test.mjs"))
    ran = subprocess.run(["node", "--test", *tests], cwd=WEB, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_the_script_of_all_elements_has_at_most_50_kilobytes_compressed():
    assert len(gzip.compress((BUILT / "embed.js").read_bytes(), 9)) <= 50 * 1024


@needs_node
def test_the_types_of_the_client_are_those_of_the_api():
    described = msgspec.json.encode(document(Config()))
    made = subprocess.run(
        ["node", "api-types.mjs"], cwd=WEB, input=described, check=True, capture_output=True
    )
    assert made.stdout.decode() == (WEB / "src" / "client" / "openapi.ts").read_text(), (
        "run `npm run types` in web/"
    )


@needs_node
def test_the_package_has_its_entries_with_their_types_and_nothing_to_spare(tmp_path: Path):
    package = build(tmp_path)
    manifest = json.loads((package / "package.json").read_text())
    assert {*manifest["exports"]} == {"./embed", "./react", "./client", "./tracker", "./package.json"}
    for name in ("embed", "react", "client", "tracker"):
        for path in manifest["exports"][f"./{name}"].values():
            assert (package / path).is_file(), path
    assert {path.name for path in package.iterdir()} == {
        "LICENSE", "README.md", "client.js", "embed.js", "package.json", "react.js", "tracker.js", "types",
        *(f"embed-{path.stem}.js" for path in (WEB / "src" / "text" / "languages").iterdir()),
    }  # fmt: skip
    assert len(gzip.compress((package / "embed.js").read_bytes(), 9)) <= 46 * 1024  # without Lit
    assert "devDependencies" not in manifest
    assert (package / "LICENSE").read_bytes() == (WEB.parent / "LICENSE").read_bytes()
    assert (package / "react.js").read_text().startswith('"use client";')
    assert len(gzip.compress((package / "react.js").read_bytes(), 9)) <= 2_048
    for path in (package / "types").rglob("*.d.ts"):
        assert '.ts"' not in path.read_text(), path


@needs_node
def test_a_bundler_makes_a_file_of_its_own_of_each_language(tmp_path: Path):
    build(tmp_path)
    entry = tmp_path / "page.js"
    entry.write_text('import "nealytics/embed";')
    script = """
      import { build } from "esbuild";
      const [entry, outdir] = process.argv.slice(1);
      await build({ entryPoints: [entry], outdir, bundle: true, format: "esm", splitting: true, nodePaths: ["node_modules"], preserveSymlinks: true });
    """
    out = tmp_path / "out"
    subprocess.run(["node", "--input-type=module", "-e", script, str(entry), str(out)], cwd=WEB, check=True)
    languages = {path.stem for path in (WEB / "src" / "text" / "languages").iterdir()}
    made = {path.name.split("-")[1] for path in out.glob("embed-*.js")}
    assert made == languages
    assert "Ereignistypen" not in (out / "page.js").read_text()
    assert "Ereignistypen" in next(out.glob("embed-de-*.js")).read_text()


@needs_node
@pytest.mark.parametrize("react", ["18", "19"])
def test_the_types_hold_in_a_strict_project(react: str, tmp_path: Path):
    build(tmp_path)
    if react == "18":
        types = tmp_path / "node_modules" / "@types"
        packages = [path.resolve() for path in types.iterdir()]
        types.unlink()
        types.mkdir()
        for path in packages:
            name = {"react": None, "react18": "react"}.get(path.name, path.name)
            if name is not None:
                (types / name).symlink_to(path)
    shutil.copy(WEB / "test" / "types.tsx", tmp_path)
    options = [
        "--strict",
        "--noEmit",
        "--jsx",
        "react-jsx",
        "--target",
        "es2022",
        "--moduleResolution",
        "bundler",
        "--module",
        "esnext",
    ]
    options += ["--lib", "es2022,dom,dom.iterable", "--exactOptionalPropertyTypes", "--preserveSymlinks"]
    compiler = WEB / "node_modules" / "typescript" / "bin" / "tsc"
    ran = subprocess.run(
        ["node", str(compiler), *options, "types.tsx"], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout


def test_the_package_has_the_version_of_the_program():
    for name in ("package.json", "package-lock.json"):
        assert json.loads((WEB / name).read_text())["version"] == __version__, name


def test_the_lock_file_has_a_hash_for_each_package_and_no_address():
    text = (WEB / "package-lock.json").read_text()
    assert [line for line in text.splitlines() if "://" in line and '"url": ' not in line] == []
    for name, package in json.loads(text)["packages"].items():
        assert not name or package["integrity"].startswith("sha512-"), name
