"""The workflows: what they call is there, they may do no more than they need, and only a tag publishes.

GitHub cannot be asked here. What is known of its format, `actionlint` checks where it is installed; the
scripts that a release consists of are run, with a `gh` and a `docker` that write down what they were told.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nealytics import __version__

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS: dict[str, dict[str, Any]] = {file.stem: yaml.safe_load(file.read_text()) for file in FILES}
ARCHITECTURES = {"x64": "ubuntu-24.04", "arm64": "ubuntu-24.04-arm"}

# The inputs we set, as action.yml has them at the commit that is pinned. Of others GitHub only warns.
ACTIONS = {
    "actions/attest": {"subject-path", "subject-name", "subject-digest", "sbom-path", "push-to-registry"},
    "actions/cache": {"path", "key", "restore-keys"},
    "actions/checkout": {"persist-credentials"},
    "actions/download-artifact": {"name", "path", "pattern", "merge-multiple"},
    "actions/setup-python": {"python-version", "cache", "cache-dependency-path"},
    "actions/upload-artifact": {"name", "path", "if-no-files-found", "compression-level"},
    "docker/login-action": {"registry", "username", "password"},
}

each_workflow = pytest.mark.parametrize("name", WORKFLOWS)


def jobs(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = WORKFLOWS[name]["jobs"]
    return found


def steps(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for job, content in jobs(name).items():
        for step in content["steps"]:
            yield job, step


def commands(name: str) -> list[str]:
    return [step["run"] for _, step in steps(name) if "run" in step]


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
def test_actionlint_finds_nothing():
    run = subprocess.run(["actionlint", *FILES], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stdout


@each_workflow
def test_every_script_that_is_called_is_there_and_executable(name: str):
    called = {
        path for command in commands(name) for path in re.findall(r"(?:scripts|build|\.ci)/[\w./-]+", command)
    }
    assert called
    for path in called:
        assert os.access(ROOT / path, os.X_OK), path


@each_workflow
def test_actions_are_pinned_by_commit_with_their_version_beside(name: str):
    used = re.findall(r"uses: (.*)", (ROOT / ".github" / "workflows" / f"{name}.yml").read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_an_action_is_one_commit_everywhere():
    used = {step["uses"] for name in WORKFLOWS for _, step in steps(name) if "uses" in step}
    assert len({action.split("@")[0] for action in used}) == len(used)


@each_workflow
def test_actions_get_inputs_that_they_have(name: str):
    for _, step in steps(name):
        if "uses" in step:
            assert {*step.get("with", {})} <= ACTIONS[step["uses"].split("@")[0]], step


@each_workflow
def test_jobs_wait_for_jobs_that_exist_and_none_runs_for_ever(name: str):
    for job in jobs(name).values():
        needs = job.get("needs", [])
        assert {*([needs] if isinstance(needs, str) else needs)} <= {*jobs(name)}
        assert job["timeout-minutes"] <= 90


@each_workflow
def test_nothing_from_outside_is_pasted_into_a_command(name: str):
    """A branch or a tag can be named `$(…)`; in an environment variable that does nothing."""
    assert not [command for command in commands(name) if "${{" in command]


@each_workflow
def test_a_checkout_leaves_no_credentials_behind(name: str):
    for _, step in steps(name):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_each_job_has_the_rights_it_needs_and_no_others():
    assert WORKFLOWS["ci"]["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in jobs("ci").values())
    assert WORKFLOWS["release"]["permissions"] == {}
    writing = {
        job: {right for right, level in content["permissions"].items() if level == "write"}
        for job, content in jobs("release").items()
    }
    assert writing == {
        "build": set(),
        "npm": set(),
        "smoke": set(),
        "image": set(),
        "attest": {"id-token", "attestations"},
        "publish": {"contents", "packages", "id-token", "attestations", "artifact-metadata"},
    }


def test_secrets_reach_only_the_steps_that_publish():
    for job, step in steps("release"):
        if "secrets." in str(step) or "github.token" in str(step):
            assert step.get("if", jobs("release")[job].get("if")) == "github.ref_type == 'tag'", step


def test_only_a_tag_publishes_and_only_what_was_tried():
    release = jobs("release")
    assert WORKFLOWS["release"][True]["push"] == {"tags": ["v*"]}  # type: ignore[index]  # YAML reads `on` as true
    assert {"smoke", "image", "attest"} <= {*release["publish"]["needs"]}
    assert all("smoke" in release[job]["needs"] for job in ("image", "attest"))
    for job, step in steps("release"):
        if re.search(r"docker push|publish\.sh|manifest\.sh|attest@", str(step)):
            assert step.get("if", release[job].get("if")) == "github.ref_type == 'tag'", step


@pytest.mark.parametrize("job", ["build", "smoke", "image"])
def test_both_architectures_are_built_and_tried_on_their_own_machines(job: str):
    matrix = jobs("release")[job]["strategy"]["matrix"]
    assert {row["arch"]: row["runner"] for row in matrix["include"]} == ARCHITECTURES
    if "arch" in matrix:
        assert {*matrix["arch"]} == {*ARCHITECTURES}


def test_the_oldest_systems_that_are_promised_are_tried():
    assert {"debian:11", "ubuntu:20.04", "rockylinux:8"} <= {
        *jobs("release")["smoke"]["strategy"]["matrix"]["system"]
    }


# --- The scripts of a release


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The scripts, a changelog, and what two machines built."""
    (tmp_path / "scripts").mkdir()
    for script in ("publish.sh", "manifest.sh"):
        shutil.copy(ROOT / "scripts" / script, tmp_path / "scripts")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## 2.1.0 (2027-01-02)\n\nNew: this.\n\n## 2.0.0 (2026-12-01)\n\nOld.\n"
    )
    (tmp_path / "dist").mkdir()
    for arch in ARCHITECTURES:
        for ending in (".tar.gz", "-embedded.tar.gz", ".cdx.json", "-embedded.cdx.json"):
            (tmp_path / "dist" / f"nealytics-2.1.0-linux-{arch}{ending}").write_text(arch + ending)
    (tmp_path / "dist" / "nealytics-2.1.0.tgz").write_text("npm")
    return tmp_path


def run(checkout: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs it with a `gh` and a `docker` that write down their arguments, one call a line."""
    tools = checkout / "tools"
    tools.mkdir(exist_ok=True)
    for tool in ("gh", "docker"):
        (tools / tool).write_text(
            '#!/bin/bash\nprintf "%s|" "${0##*/}" "$@" | tr "\\n" "~" >>"$CALLS"; echo >>"$CALLS"\n'
            'case "$*" in *push*) echo "${DIGEST-sha256:$(echo "$*" | sha256sum | cut -c1-64)}" ;; esac\n'
        )
        (tools / tool).chmod(0o755)
    environment = {
        **os.environ,
        **environment,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "CALLS": str(checkout / "calls"),
    }
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)


def calls(checkout: Path) -> list[list[str]]:
    return [line.removesuffix("|").split("|") for line in (checkout / "calls").read_text().splitlines()]


def test_a_release_holds_everything_with_its_checksums_and_notes(checkout: Path):
    done = run(checkout, "scripts/publish.sh", "2.1.0")
    assert done.returncode == 0, done.stderr
    [call] = calls(checkout)
    assert call[:5] == ["gh", "release", "create", "v2.1.0", "--verify-tag"]
    assert call[call.index("--notes") + 1].strip("~") == "New: this."
    assert "--prerelease" not in call
    built = {path.name for path in (checkout / "dist").glob("nealytics-*")}
    built.add("nealytics-2.1.0.tgz")
    assert len(built) == 9
    assert {*call[call.index("--notes") + 2 :]} == built | {"SHA256SUMS"}
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=checkout / "dist")
    assert checked.returncode == 0
    assert "not signed" in done.stderr


@pytest.mark.skipif(shutil.which("minisign") is None, reason="minisign is not installed")
def test_the_checksums_are_signed_if_there_is_a_key(checkout: Path):
    subprocess.run(
        ["minisign", "-G", "-W", "-p", "pub", "-s", "key"], cwd=checkout, check=True, capture_output=True
    )
    done = run(checkout, "scripts/publish.sh", "2.1.0", MINISIGN_KEY=(checkout / "key").read_text())
    assert done.returncode == 0, done.stderr
    assert "SHA256SUMS.minisig" in calls(checkout)[0]
    verify = ["minisign", "-V", "-p", "../pub", "-m", "SHA256SUMS"]
    assert subprocess.run(verify, cwd=checkout / "dist", capture_output=True).returncode == 0
    (checkout / "dist" / "SHA256SUMS").write_text("other")
    assert subprocess.run(verify, cwd=checkout / "dist", capture_output=True).returncode != 0


def test_what_one_architecture_lacks_is_not_released(checkout: Path):
    (checkout / "dist" / "nealytics-2.1.0-linux-arm64-embedded.tar.gz").unlink()
    done = run(checkout, "scripts/publish.sh", "2.1.0")
    assert done.returncode == 1
    assert "linux-arm64-embedded.tar.gz is missing" in done.stderr
    assert not (checkout / "calls").exists()


def test_a_release_without_the_npm_package_is_not_released(checkout: Path):
    (checkout / "dist" / "nealytics-2.1.0.tgz").unlink()
    done = run(checkout, "scripts/publish.sh", "2.1.0")
    assert done.returncode == 1
    assert "nealytics-2.1.0.tgz is missing; scripts/npm.sh dist makes it" in done.stderr


def test_a_version_without_notes_is_not_released(checkout: Path):
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## 2.1.0\n\n## 2.0.0\n\nOld.\n")
    done = run(checkout, "scripts/publish.sh", "2.1.0")
    assert done.returncode == 1
    assert 'no section "## 2.1.0"' in done.stderr


def test_our_changelog_has_notes_for_this_version(checkout: Path):
    for file in (checkout / "dist").iterdir():
        file.rename(file.with_name(file.name.replace("2.1.0", __version__)))
    shutil.copy(ROOT / "CHANGELOG.md", checkout)
    done = run(checkout, "scripts/publish.sh", __version__)
    assert done.returncode == 0, done.stderr


def test_images_of_both_architectures_get_one_name(checkout: Path):
    done = run(checkout, "scripts/manifest.sh", "example.org/n", "2.1.0")
    assert done.returncode == 0, done.stderr
    made = {call[3]: call[4:] for call in calls(checkout) if call[:3] == ["docker", "manifest", "create"]}
    assert made == {
        f"example.org/n:{name}{suffix}": [f"example.org/n:2.1.0{suffix}-{arch}" for arch in ARCHITECTURES]
        for name in ("2.1.0", "latest")
        for suffix in ("", "-embedded")
    }
    assert {call[3] for call in calls(checkout) if call[:3] == ["docker", "manifest", "push"]} == {*made}
    assert re.fullmatch(r"server=sha256:[0-9a-f]{64}\nembedded=sha256:[0-9a-f]{64}\n", done.stdout)


def test_a_candidate_is_not_the_latest(checkout: Path):
    assert run(checkout, "scripts/manifest.sh", "example.org/n", "2.1.0-rc.1").returncode == 0
    assert not [call for call in calls(checkout) if "latest" in call[3]]


def test_a_push_without_a_digest_is_a_failure(checkout: Path):
    done = run(checkout, "scripts/manifest.sh", "example.org/n", "2.1.0", DIGEST="denied")
    assert done.returncode == 1
    assert 'printed "denied"' in done.stderr
