"""The image: what its Dockerfile promises is what the program and compose.yaml go by, and it runs.

Building and running needs a compiled program (TEST_EXECUTABLE names it) and Docker, or buildah and root.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nealytics import __version__
from nealytics.cli import COMMANDS
from nealytics.config import Config, load_with_notes, split_listen
from tests.engine import needs_engine, start_engine

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "build" / "Dockerfile"
IMAGE_SH = ROOT / "scripts" / "image.sh"
SERVICE: dict[str, Any] = yaml.safe_load((ROOT / "build" / "compose.yaml").read_text())["services"][
    "nealytics"
]

# Of the image without ClickHouse: what is downloaded, and what it takes unpacked.
DOWNLOAD_MB_MAX, UNPACKED_MB_MAX = 25, 60


def instructions() -> list[tuple[str, str]]:
    """Each instruction with the rest of its line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Name → what follows its FROM; the image itself is the one without a name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for word, rest in instructions():
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = [(word, base)]
        elif found:
            found[list(found)[-1]].append((word, rest))
    return found


def of_image(word: str) -> str:
    """The one line of the image itself with that instruction."""
    (line,) = [rest for name, rest in stages()[""] if name == word]
    return line


def assignments(word: str) -> dict[str, str]:
    return dict(item.split("=", 1) for item in shlex.split(of_image(word)))


def test_the_image_has_nothing_but_what_is_copied_into_it():
    assert stages()[""][0] == ("FROM", "${PROGRAM}")
    for name in ("compiled", "prebuilt"):
        base, *rest = stages()[name]
        assert base == ("FROM", "scratch")
        assert {word for word, _ in rest} == {"COPY"}
    assert ("ARG", "PROGRAM=compiled") in instructions()


def test_both_ways_to_the_program_lay_out_the_same_files():
    def copied(name: str) -> list[str]:
        return [re.sub(r"--from=\w+ |/?image/", "", rest) for word, rest in stages()[name] if word == "COPY"]

    assert copied("compiled") == copied("prebuilt")


def test_it_is_labelled_with_this_version():
    labels = assignments("LABEL")
    arguments = dict(rest.split("=", 1) for word, rest in stages()[""] if word == "ARG")
    assert labels["org.opencontainers.image.version"] == "${VERSION}"
    assert arguments["VERSION"] == __version__
    assert labels["org.opencontainers.image.revision"] == "${REVISION}"
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert labels["org.opencontainers.image.source"].rpartition("/")[0].endswith("/neavents")


def test_its_user_and_volume_are_those_of_compose():
    assert of_image("USER") == SERVICE["user"]
    assert of_image("VOLUME") == SERVICE["volumes"][0].split(":")[1]
    owned = [rest for name in ("compiled", "prebuilt") for _, rest in stages()[name] if "volume/" in rest]
    assert all(f"--chown={SERVICE['user']} " in rest for rest in owned)
    assert len(owned) == 2


def test_its_health_check_is_that_of_compose():
    options, _, command = of_image("HEALTHCHECK").partition(" CMD ")
    told = dict(option.removeprefix("--").split("=") for option in options.split())
    compose = SERVICE["healthcheck"]
    assert ["CMD", *json.loads(command)] == compose["test"]
    assert told == {name.replace("_", "-"): str(value) for name, value in compose.items() if name != "test"}


def test_it_starts_the_server_where_the_volume_is():
    assert json.loads(of_image("ENTRYPOINT")) == ["nealytics"]
    (command,) = json.loads(of_image("CMD"))
    assert command in COMMANDS
    settings = {name: value for name, value in assignments("ENV").items() if name.startswith("NEALYTICS_")}
    config = load_with_notes(Path(os.devnull), settings).config
    assert config.server.data_dir == Path(of_image("VOLUME"))
    assert of_image("EXPOSE") == str(split_listen(config.server.listen)[1])
    # Only what a container needs: a variable that is set here overrides the user's file.
    assert {*settings} == {"NEALYTICS_SERVER_DATA_DIR"}
    assert config.auth == Config().auth


def test_what_is_compiled_gets_past_dockerignore():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert {"build", "nealytics", "pyproject.toml", "README.md", "LICENSE"} <= let_in
    for name in let_in:
        assert list(ROOT.glob(name)), name


def test_the_documents_name_the_images_of_this_version():
    tags = {f"{__version__}", f"{__version__}-embedded"}
    for name in ("README.md", "docs/install.md"):
        assert {*re.findall(r"neavents/nealytics:([\w.-]+)", (ROOT / name).read_text())} <= tags


def test_the_variables_of_the_readme_are_enough_beside_the_keys():
    section = (ROOT / "README.md").read_text().partition("### Docker\n")[2].partition("\n## ")[0]
    embedded, with_server = re.findall(r"docker run --detach (?:.*\\\n)+", section)
    assert "--env" not in embedded
    settings = dict(item.split("=", 1) for item in re.findall(r"--env (\S+)", with_server))
    assert len(settings) == 2
    keys = dict.fromkeys(re.findall(r"`(NEALYTICS_AUTH_\w+)`", section), "k" * 32)
    config = load_with_notes(Path(os.devnull), {**settings, **keys}, serving=True)
    assert not config.notes


def test_hadolint_finds_nothing():
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run(["hadolint", DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", [IMAGE_SH, ROOT / "build" / "image-root.sh"], ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# Built and run


def compiled_program() -> Path:
    """The folder of the compiled program."""
    command = shlex.split(os.environ.get("TEST_EXECUTABLE", ""))
    folder = Path(command[0]).resolve().parent if len(command) == 1 else None
    if folder is None or not (folder / "certifi").is_dir():
        pytest.skip("TEST_EXECUTABLE names no program in a folder that build/nuitka.py made")
    return folder


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment for scripts/image.sh, with a store of images that goes away again."""
    environ = {**os.environ}
    docker = subprocess.run(["docker", "info"], capture_output=True) if shutil.which("docker") else None
    if docker is not None and docker.returncode == 0:
        yield {**environ, "BUILDER": "docker"}
        return
    if shutil.which("buildah") is None or os.geteuid() != 0:
        pytest.skip("no Docker answers, and buildah is not installed or this is not root")
    storage = tmp_path / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{tmp_path}/store"\nrunroot = "{tmp_path}/run"\n'
    )
    environ |= {"BUILDER": "buildah", "CONTAINERS_STORAGE_CONF": str(storage)}
    yield environ
    subprocess.run(["buildah", "rmi", "--all", "--force"], env=environ, capture_output=True)


def build_and_check(environ: dict[str, str], *options: str) -> str:
    done = subprocess.run(
        [IMAGE_SH, "--tag", "localhost/nealytics-test:1", "--check", *options],
        env=environ, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.e2e
@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_engine
def test_the_image_takes_an_event_and_gives_it_back(builder: dict[str, str], tmp_path: Path):
    """With an engine outside."""
    with start_engine(tmp_path) as engine:
        printed = build_and_check(
            {**builder, "CLICKHOUSE_USER": engine.user, "CLICKHOUSE_PASSWORD": engine.password},
            "--program", str(compiled_program()), "--clickhouse", engine.url,
        )  # fmt: skip
    ((unpacked, download),) = re.findall(r": ([\d.]+) MB, ([\d.]+) MB to download", printed)
    assert float(unpacked) <= UNPACKED_MB_MAX
    assert float(download) <= DOWNLOAD_MB_MAX


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_embedded_image_needs_nothing_else(builder: dict[str, str]):
    folder = compiled_program()
    if not (folder / "chdb").is_dir():
        pytest.skip("the program that TEST_EXECUTABLE names has no ClickHouse in it")
    build_and_check(builder, "--program", str(folder), "--embedded")
