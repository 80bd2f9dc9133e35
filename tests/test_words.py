"""Retired words stay out of what people read: each private term has a standard one instead.

docs/style.md has the rule, docs/glossary.md the terms. The first list holds for all texts and the code. The
second holds for texts of users only, because names in the code still contain these words.
"""

import json
import re
from pathlib import Path

import click
import pytest

from nealytics.cli import main
from nealytics.config import Config
from nealytics.http.openapi import document

ROOT = Path(__file__).parent.parent

# Pattern → what to write.
EVERYWHERE = {
    r"mend(s|ed|ing)?": "fix",
    r"put(s|ting)? aside": "dead-letter",
    r"(un)?settled?": "commit, acknowledge",
    r"met|meets?": "verify, match, find",
    r"given free": "release",
    r"who asks|what waits": "the caller; queued events",
    r"(is|are|was|were|be|not) believed": "trust, verify",
    r"looked (for|at)": "scan, check, read",
    r"go(es)? over": "override",
    r"told of": "report",
    r"standstill|stands? still": "hang, stall",
    r"however many": "any number of",
    r"holds? up": "block",
    r"lets? go of": "release",
    r"of before": "previous, earlier",
    r"without a word|in silence": "silently",
    r"taken for": "look like",
    r"passed over": "skip",
    r"(is|are|be) away": "be down",
    r"under way": "in flight, running",
    r"tried again": "retry",
}
IN_TEXTS_FOR_USERS = EVERYWHERE | {
    r"instants?": "timestamp",
    r"(?<!certificate )chains?": "sequence",
    r"gates?": "queue",
    r"(in|its|their|takes?|own|next) turns?": "alternately, in rotation, slot",
    r"[Ww]hoever": "anyone, a person who",
}

# Packages whose names, docstrings and comments have none of these words either.
IN_CLEAN_CODE = IN_TEXTS_FOR_USERS | {
    r"turns?": "slot, in rotation",
    r"[Ww]homever": "any, the caller",
    r"aside": "keep a copy, dead-letter",
    r"[Ww]ho (is|has|have|finds|asks|waits|must|makes|connects|sends)": "a request that, a client that",
    r"([Ii]s|[Aa]re|[Bb]e|[Ww]as) told": "report, get",
    r"all the same": "anyway",
    r"taken over": "use, import",
    r"far off": "long after",
    r"(is|are) spoken": "support",
    r"at hand": "local, available",
    r"(is|are) no business": "(leave it out)",
    r"[Oo]f no use": "unusable",
    r"goes? (on|before|wrong)": "continue, have precedence, fail",
    r"whatever (comes|it is|is)": "any",
    r"this moment": "now, at this time",
}

CODE = sorted(ROOT.glob("nealytics/**/*.py"))
# This module lists the words. tests/upgrade reads data that earlier versions wrote, with names of their time.
TESTS = [
    path
    for path in sorted(ROOT.glob("tests/**/*.py"))
    if path != Path(__file__) and path.parent.name != "upgrade"
]
SCRIPTS = sorted(
    [
        *ROOT.glob("scripts/*.sh"),
        *ROOT.glob("build/*.sh"),
        *ROOT.glob("build/*.py"),
        *ROOT.glob(".github/**/*.yml"),
        ROOT / "build" / "Dockerfile",
    ]
)
CLEAN_CODE = [
    path
    for pattern in (
        *("wal/*.py", "commit/*.py", "ingest/*.py", "observe/*.py", "shared.py", "pace.py"),
        *("auth/*.py", "client/*.py", "config/*.py", "importer/*.py", "queries/*.py", "timestamps.py"),
        *("http/*.py", "process.py", "supervisor.py", "server.py", "demo.py", "errors.py"),
        *("client_address.py", "directories.py", "query_string.py", "notify.py", "scheduling.py", "tls.py"),
    )
    for path in sorted((ROOT / "nealytics").glob(pattern))
]
TEXTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "nealytics.example.toml",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("build/*.md"),
        *ROOT.glob("build/observability/*"),
        ROOT / "build" / "compose.yaml",
        *ROOT.glob("build/nealytics*.*"),
    ]
)


def found(text: str, retired: dict[str, str]) -> list[str]:
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, instead in retired.items():
            if match := re.search(rf"\b(?:{pattern})\b", line):
                lines.append(f"line {number}: {match[0]!r}; write: {instead}")
    return lines


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_has_no_retired_word(path: Path):
    assert found(path.read_text(), IN_TEXTS_FOR_USERS) == []


@pytest.mark.parametrize("files", [CODE, TESTS, SCRIPTS], ids=["code", "tests", "scripts"])
def test_the_code_has_no_retired_word(files: list[Path]):
    wrong = {
        str(path.relative_to(ROOT)): lines
        for path in files
        if (lines := found(path.read_text(), EVERYWHERE)) != []
    }
    assert wrong == {}


@pytest.mark.parametrize("path", CLEAN_CODE, ids=lambda path: str(path.relative_to(ROOT / "nealytics")))
def test_clean_code_has_no_retired_word_at_all(path: Path):
    assert found(path.read_text(), IN_CLEAN_CODE) == []


def commands(command: click.Command, name: str) -> dict[str, click.Command]:
    named = {name: command}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            child = command.get_command(context, inner)
            assert child is not None
            named |= commands(child, f"{name} {inner}")
    return named


@pytest.mark.parametrize("name", sorted(commands(main, "nealytics")))
def test_the_help_of_a_command_has_no_retired_word(name: str):
    command = commands(main, "nealytics")[name]
    assert found(command.get_help(click.Context(command)), IN_TEXTS_FOR_USERS) == []


def test_the_description_of_the_api_has_no_retired_word():
    texts: list[str] = []

    def gather(node: object) -> None:
        if isinstance(node, dict):
            texts.extend(node[key] for key in ("summary", "description") if isinstance(node.get(key), str))
            node = list(node.values())
        if isinstance(node, list):
            for item in node:
                gather(item)

    gather(json.loads(json.dumps(document(Config()))))
    assert len(texts) > 100
    assert found("\n".join(texts), IN_TEXTS_FOR_USERS) == []


@pytest.mark.parametrize(
    "text",
    [
        "the table may be mended",
        "rows that are settled",
        "the address was met",
        "events put aside",
        "it goes over it",
    ],
)
def test_a_retired_word_is_found(text: str):
    assert found(text, EVERYWHERE)


@pytest.mark.parametrize("text", ["method", "metadata", "settings", "resettlement", "investigate"])
def test_a_longer_word_is_not_a_retired_one(text: str):
    assert found(text, IN_TEXTS_FOR_USERS) == []
