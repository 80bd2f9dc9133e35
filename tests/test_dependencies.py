"""docs/decisions/0001-dependencies.md has a reason for each direct Python dependency, and lists no other."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLE = (ROOT / "docs/decisions/0001-dependencies.md").read_text().partition("Left out:")[0]


def declared() -> Iterator[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [
        project["build-system"]["requires"],
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    for requirement in (one for each in lists for one in each):
        name = re.match(r"[\w.-]+", requirement)
        assert name, requirement
        yield name[0].lower()


def listed() -> dict[str, tuple[str, str]]:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*) \| ([^|]*) \|$", TABLE, re.MULTILINE)
    return {
        re.sub(r" \(.*", "", name.strip()): (purpose.strip(), reason.strip())
        for names, purpose, reason in rows
        for name in names.split(",")
        if names != "package" and "(npm)" not in name
    }


def test_every_dependency_is_listed_and_no_other():
    assert set(listed()) == set(declared())


def test_every_dependency_has_its_purpose_and_its_reason():
    assert [name for name, texts in listed().items() if not all(texts)] == []
