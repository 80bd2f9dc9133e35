"""Every command in the documents is run (`tests/e2e/test_docs_commands.py`), or says why not."""

import shlex

import click
import pytest

from nealytics.cli import COMMANDS, main
from tests.docs_commands import Block, blocks, inline


@pytest.mark.parametrize("block", [block for block in blocks() if block.mark], ids=str)
def test_a_block_that_is_marked_says_why(block: Block):
    assert block.wants_empty_directory or block.not_run, block.mark
    if block.not_run is not None:
        assert len(block.not_run.split()) >= 3, f"{block}: give the reason"


def test_the_blocks_are_found():
    documents = {block.document for block in blocks()}
    assert {
        "README.md",
        "docs/install.md",
        "docs/backup.md",
        "docs/reading.md",
        "docs/importing.md",
        "docs/sending.md",
    } <= documents
    assert sum(block.not_run is None for block in blocks()) >= 20


def words_of(command: str) -> list[str]:
    """`nealytics token --project P …`: without what stands for something else."""
    command = command.partition(" | ")[0].partition(" > ")[0]
    return [word for word in shlex.split(command.replace("…", ""))[1:] if word]


@pytest.mark.parametrize(("document", "command"), sorted(set(inline())))
def test_a_command_within_the_text_has_options_that_exist(document: str, command: str):
    words = words_of(command)
    if words[0].startswith("-") or "_" in words[0]:
        return
    assert words[0] in COMMANDS, f"{document}: {command}"
    found = main.get_command(click.Context(main), words[0])
    assert found is not None
    words = words[1:]
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        inner = found.get_command(click.Context(found), words[0])
        assert inner is not None, f"{document}: {command}: no such command"
        found, words = inner, words[1:]
    known = {"--help", *(option for parameter in found.params for option in parameter.opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= known, f"{document}: {command}"
