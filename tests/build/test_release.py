"""What scripts/release.sh made: complete, named as it says, and running where there is no Python.

TEST_RELEASE names the directory with the tarballs of this machine's architecture.
"""

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from nealytics import __version__
from tests.engine import free_port, needs_engine, start_engine
from tests.waiting import until, while_running

ROOT = Path(__file__).parents[2]
ARCH = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), "")
NAMES = {
    flavour: f"nealytics-{__version__}-linux-{ARCH}{suffix}"
    for flavour, suffix in (("server", ""), ("embedded", "-embedded"))
}
SERVER_BYTES_MAX = 30_000_000


@pytest.fixture(scope="module")
def release() -> Path:
    named = os.environ.get("TEST_RELEASE")
    if not named:
        pytest.skip("TEST_RELEASE names no directory in which scripts/release.sh left its tarballs")
    return Path(named).resolve()


def run(script: str, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ROOT / "scripts" / script, *arguments], env={**os.environ, **environ}, capture_output=True, text=True
    )


def test_another_version_than_the_programs_is_refused():
    done = run("release.sh", "9.9.9")
    assert done.returncode == 1
    assert f"asked for 9.9.9, but nealytics/__init__.py says {__version__}" in done.stderr


def test_a_release_of_what_the_changelog_calls_unreleased_is_refused():
    if "(unreleased)" not in (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1].splitlines()[0]:
        pytest.skip("the head of CHANGELOG.md has a date")
    for done in (run("release.sh", "--release"), run("release.sh", GITHUB_REF_TYPE="tag")):
        assert done.returncode == 1
        assert "replace (unreleased) with the date" in done.stderr


def test_a_release_where_there_is_no_npm_is_refused_unless_asked_for(tmp_path: Path):
    """At once, before anything is compiled."""
    for tool in ("bash", "dirname", "sed", "grep", "head", "basename"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    done = run("release.sh", "9.9.9", PATH=str(tmp_path), NEALYTICS_WITHOUT_NPM="")
    assert done.returncode == 1
    assert "npm is not installed; NEALYTICS_WITHOUT_NPM=1 builds the rest without it" in done.stderr
    done = run("release.sh", "9.9.9", PATH=str(tmp_path), NEALYTICS_WITHOUT_NPM="1")
    assert "without the npm package" in done.stdout
    assert "asked for 9.9.9" in done.stderr


@pytest.mark.skipif(
    shutil.which("npm") is None or not (ROOT / "web" / "node_modules").is_dir(),
    reason="needs npm and `npm ci` in web/",
)
def test_the_npm_package_is_the_same_bytes_each_time_and_holds_what_it_should(tmp_path: Path):
    for name in ("one", "other"):
        done = run("npm.sh", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"nealytics-{__version__}.tgz\n"
    one, other = (tmp_path / name / f"nealytics-{__version__}.tgz" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
    with tarfile.open(one) as packed:
        names = set(packed.getnames())
    top = {name for name in names if name.count("/") == 1}
    languages = {f"embed-{language}.js" for language in ("ar", "de", "es", "fr", "ja", "pt")}
    assert top == {f"package/{name}" for name in
                   {"package.json", "README.md", "LICENSE", "embed.js", "react.js", "client.js", "tracker.js",
                    *languages}
                  }  # fmt: skip
    assert "package/types/embed.d.ts" in names


def test_an_unknown_option_is_refused():
    assert "unknown option --relaese" in run("release.sh", "--relaese").stderr


def test_of_two_calls_that_make_the_same_one_waits_and_says_so(tmp_path: Path):
    lock = tmp_path / "lock"
    command = f'. scripts/env.sh && exec {{fd}}>"{lock}" && lock_or_wait "$fd" "a folder" && echo done'
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = subprocess.Popen(
            ["bash", "-c", command], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert waiting.stderr is not None
        assert "waiting for another call that creates a folder" in waiting.stderr.readline()
        assert waiting.poll() is None
    assert waiting.communicate(timeout=20)[0] == "done\n"


def test_an_installation_of_npm_packages_that_was_interrupted_is_repeated(tmp_path: Path):
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(
        "#!/bin/sh\necho called >>../calls\nmkdir -p node_modules/one\n"
        "[ -e ../ends ] && mkdir node_modules/two\n"
    )
    npm.chmod(0o755)
    package = tmp_path / "package"
    package.mkdir()
    lock = package / "package-lock.json"
    lock.write_text("{}")

    def install() -> bool:
        command = f'PATH="{npm.parent}:$PATH"; . scripts/env.sh; install_modules "{package}"'
        return subprocess.run(["bash", "-c", command], cwd=ROOT, timeout=60).returncode == 0

    def calls() -> int:
        return len((tmp_path / "calls").read_text().splitlines())

    assert not install()
    (tmp_path / "ends").touch()
    assert install()
    assert (package / "node_modules" / "two").is_dir()
    assert install()
    assert calls() == 2, "nothing has changed since"
    shutil.rmtree(package / "node_modules" / "two")
    os.utime(lock, (time.time() + 60, time.time() + 60))
    assert install()
    assert calls() == 3


@pytest.mark.parametrize("flavour", NAMES)
def test_a_tarball_holds_what_a_stranger_needs(release: Path, flavour: str):
    name = NAMES[flavour]
    with tarfile.open(release / f"{name}.tar.gz") as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert names == sorted(names)
    assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "")}
    assert len({member.mtime for member in members}) == 1
    expected = {
        "nealytics", "nealytics.example.toml", "clickhouse-init.sql", "clickhouse-init-cluster.sql",
        "nealytics.service", "nealytics-backup.service", "nealytics-backup.timer", "nealytics-backup.conf",
        "LICENSE", "README.md", "licences/SUMMARY.txt", "licences/cpython.txt",
        "licences/aiohttp.txt", "licences/msgspec.txt",
    }  # fmt: skip
    assert {f"{name}/{each}" for each in expected} <= set(names)
    assert any(each.startswith(f"{name}/program/chdb") for each in names) == (flavour == "embedded")
    if flavour == "embedded":  # the other one is a single file with the same program
        for module in ("_nealytics_appender", "_nealytics_plain_rows"):
            assert any(each.startswith(f"{name}/program/{module}.") for each in names)


def test_the_server_is_small(release: Path):
    assert (release / f"{NAMES['server']}.tar.gz").stat().st_size <= SERVER_BYTES_MAX


def test_the_checksums_are_those_of_the_files(release: Path):
    lines = (release / "SHA256SUMS").read_text().splitlines()
    listed = {name: checksum for checksum, name in map(str.split, lines)}
    for name in NAMES.values():
        for file in (release / f"{name}.tar.gz", release / f"{name}.cdx.json"):
            assert listed[file.name] == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("flavour", NAMES)
def test_the_sbom_and_the_licences_list_the_same(release: Path, flavour: str):
    name = NAMES[flavour]
    bom = json.loads((release / f"{name}.cdx.json").read_text())
    assert bom["metadata"]["component"]["version"] == __version__
    listed = {component["name"] for component in bom["components"]}
    assert {"cpython", "aiohttp", "uvloop", "opentelemetry-sdk", "nuitka-runtime"} <= listed
    assert ("chdb-core" in listed) == (flavour == "embedded")
    # Only what is inside, not what it was built with.
    assert not listed & {"nuitka", "cyclonedx-bom", "chardet", "pip", "pytest", "pandas", "pyarrow"}
    with tarfile.open(release / f"{name}.tar.gz") as archive:
        texts = {
            Path(member.name).stem: member.size
            for member in archive.getmembers()
            if "/licences/" in member.name and not member.name.endswith("SUMMARY.txt")
        }
    assert set(texts) == listed
    assert all(size > 200 for size in texts.values()), texts


@pytest.mark.parametrize("flavour", NAMES)
def test_the_sbom_tells_what_is_linked_into_packages_and_whose_libraries_came_along(
    release: Path, flavour: str
):
    bom = json.loads((release / f"{NAMES[flavour]}.cdx.json").read_text())
    inside = {
        component["name"]: {each["name"] for each in component.get("components", [])}
        for component in bom["components"]
    }
    assert "openssl" in inside["cryptography"]
    assert (inside["uvloop"], inside["backports-zstd"]) == ({"libuv"}, {"zstd"})
    # Without what ClickHouse is made of.
    assert bom["compositions"][0]["aggregate"] == "incomplete"
    system = platform.freedesktop_os_release()["ID"]
    of_system = [each["purl"] for each in bom["components"] if re.match("pkg:(deb|rpm)/", each["purl"])]
    assert of_system
    assert all(purl.split("/")[1] == system for purl in of_system), of_system


# A machine with nothing but a C library

C_LIBRARY = re.compile(r"(libc|libm|libdl|librt|libpthread|libutil|libresolv|ld-linux[\w-]*)\.so\.\d+")


def libraries_of(folder: Path) -> set[Path]:
    """What ldd names outside of the folder, the loader too."""
    objects = [path for path in folder.rglob("*") if path.is_file() and path.open("rb").read(4) == b"\x7fELF"]
    out = subprocess.run(["ldd", *objects], capture_output=True, text=True).stdout
    found = {
        Path(word)
        for word in out.split()
        if word.startswith("/") and ".so" in word and not word.endswith(":")
    }
    return {path for path in found if not path.is_relative_to(folder)}


class Bare:
    """A root with the unpacked release, the C library, /proc, three devices; no shell, no /etc, no Python."""

    def __init__(self, root: Path, tarball: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("chroot needs root")
        self.root = root
        with tarfile.open(tarball) as archive:
            archive.extractall(root, filter="tar")
        (unpacked,) = root.glob("nealytics-*")
        self.program = f"/{unpacked.name}/nealytics"
        for name in ("proc", "dev", "tmp", "var/tmp", "data"):
            (root / name).mkdir(parents=True)
        for name in ("tmp", "var/tmp"):
            (root / name).chmod(0o1777)
        # The one file shows what it needs only when it is unpacked, which is where the next line puts it.
        subprocess.run(
            [unpacked / "nealytics", "--version"], env={"NEALYTICS_UNPACK_DIR": str(root / "tmp")}, check=True
        )
        for library in libraries_of(root):
            assert C_LIBRARY.fullmatch(library.name), f"{library} has to be inside"
            target = root / library.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library.resolve(), target)
        shutil.rmtree(root / "tmp" / f"nealytics-{os.geteuid()}", ignore_errors=True)
        self.port = free_port()
        self.config = "/data/nealytics.toml"
        # For the shell that mounts and unshare; the program inherits it, and finds nothing there.
        self.environ = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "NEALYTICS_WAL_ALLOW_ANY_FILESYSTEM": "true",
        }

    def command(self, *arguments: str) -> list[str]:
        inside = 'mount -t proc proc "$0/proc" && for d in null urandom zero; do touch "$0/dev/$d" && ' \
            'mount --bind "/dev/$d" "$0/dev/$d"; done && exec chroot "$0" "$@"'  # fmt: skip
        return [
            "unshare", "--mount", "--pid", "--fork", "--kill-child", "env", "-i",
            *(f"{name}={value}" for name, value in self.environ.items()),
            "/bin/sh", "-c", inside, str(self.root), self.program, *arguments,
        ]  # fmt: skip

    def run(self, *arguments: str) -> str:
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def request(self, path: str, headers: dict[str, str], body: object = None) -> tuple[int, bytes]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def way_of_an_event(self) -> None:
        """init, serve, 202, token, timeline in another time zone, SIGTERM."""
        self.run(
            "init", "--config", self.config, "--listen", f"127.0.0.1:{self.port}", "--data-dir", "/data/log"
        )
        key = next(
            line.split('"')[1]
            for line in (self.root / "data/nealytics.toml").read_text().splitlines()
            if line.startswith('key = "')
        )
        log = self.root / "log"
        with log.open("wb") as file:
            serving = subprocess.Popen(
                self.command("serve", "--config", self.config), stdout=file, stderr=file
            )
        try:
            self.wait(lambda: self.request("/ready", {})[0] == 200, serving, log)
            event = {"projectId": "my-app", "tenantId": "t", "sessionId": "s", "eventType": "seen"}
            status, body = self.request("/api/v1/telemetry/track", {"X-Project-Key": key}, event)
            assert status == 202, body
            token = self.run(
                "token", "--config", self.config, "--project", "my-app", "--tenant", "t"
            ).strip()  # fmt: skip
            headers = {"Authorization": f"Bearer {token}"}

            def seen() -> bool:
                return b'"seen"' in self.request("/api/v1/telemetry/timeline", headers)[1]

            self.wait(seen, serving, log)
            status, body = self.request("/api/v1/analytics/timeseries?interval=day&tz=Europe/Berlin", headers)
            assert status == 200, body
            # To the program, not to unshare, which would end it by SIGKILL.
            (child,) = Path(f"/proc/{serving.pid}/task/{serving.pid}/children").read_text().split()
            os.kill(int(child), signal.SIGTERM)
            assert serving.wait(40) == 0, log.read_text()[-2000:]
        finally:
            serving.kill()
            serving.wait()

    def wait(self, condition, serving: "subprocess.Popen[bytes]", log: Path) -> None:
        until(condition, pause=while_running(serving, log), more=log.read_text)


@pytest.fixture
def bare_root(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "root"
    root.mkdir()
    yield root
    shutil.rmtree(root)


@pytest.mark.e2e
@pytest.mark.slow
def test_the_embedded_program_needs_nothing_but_a_c_library(release: Path, bare_root: Path):
    bare = Bare(bare_root, release / f"{NAMES['embedded']}.tar.gz")
    bare.way_of_an_event()
    assert 'url = "embedded"' in (bare_root / "data/nealytics.toml").read_text()


@pytest.mark.e2e
@pytest.mark.engine
@pytest.mark.slow
@needs_engine
def test_the_server_needs_nothing_but_a_c_library_and_a_clickhouse(
    release: Path, bare_root: Path, tmp_path: Path
):
    bare = Bare(bare_root, release / f"{NAMES['server']}.tar.gz")
    with start_engine(tmp_path) as engine:
        bare.environ = {
            **bare.environ,
            "NEALYTICS_CLICKHOUSE_URL": engine.url,
            "NEALYTICS_CLICKHOUSE_USER": engine.user,
            "NEALYTICS_CLICKHOUSE_PASSWORD": engine.password,
        }
        bare.way_of_an_event()
    # It has no engine, so `init` writes no configuration that asks for one.
    assert 'url = "http://localhost:8123"' in (bare_root / "data/nealytics.toml").read_text()
