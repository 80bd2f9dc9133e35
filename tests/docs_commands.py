"""The commands that the documents show, and what they say about running them.

A block of ```sh is run by `tests/e2e/test_docs_commands.py`, unless the line before it says otherwise:

    <!-- not run: why -->                why it cannot be, and which test comes closest
    <!-- run in an empty directory -->   it makes what the others find there

So a new block is run, or says why not.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("build/*.md"), *ROOT.glob(".github/*.md")]
)

_BLOCK = re.compile(
    r"(?:^[ ]*<!-- (?P<mark>[^\n]*) -->\n\s*)?"
    r"^(?P<indent>[ ]*)```(?:sh|bash|shell|console)\n(?P<text>.*?)^[ ]*```$",
    re.MULTILINE | re.DOTALL,
)
_INLINE = re.compile(r"`(nealytics [a-z][^`]*)`")


class Block(NamedTuple):
    document: str
    line: int
    text: str
    mark: str

    @property
    def not_run(self) -> str | None:
        """Why it is not run; None if it is."""
        return self.mark.removeprefix("not run:").strip() if self.mark.startswith("not run:") else None

    @property
    def wants_empty_directory(self) -> bool:
        return self.mark == "run in an empty directory"

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks() -> list[Block]:
    found = []
    for path in DOCUMENTS:
        text = path.read_text()
        for match in _BLOCK.finditer(text):
            indent = len(match["indent"])
            lines = [line[indent:] for line in match["text"].splitlines()]
            line = text.count("\n", 0, match.start("text"))
            found.append(Block(str(path.relative_to(ROOT)), line, "\n".join(lines), match["mark"] or ""))
    return found


def inline() -> list[tuple[str, str]]:
    """(document, command) of what stands within the text."""
    found = []
    for path in DOCUMENTS:
        text = re.sub(r"^ *```.*?^ *```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        for command in _INLINE.findall(text):
            found.append((str(path.relative_to(ROOT)), " ".join(command.split())))
    return found
