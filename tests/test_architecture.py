"""docs/architecture.md names files and functions; they exist."""

import ast
import re
from pathlib import Path

import pytest

import nealytics
from nealytics import http

PACKAGE = Path(nealytics.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "architecture.md").read_text()
HOP = re.compile(r"^\|[^|]+\| `([a-z_0-9/]+\.py)` \| `([A-Za-z_.]+)` \|$", re.MULTILINE)


def section(title: str) -> str:
    _, _, rest = PAGE.partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def names_in(path: Path) -> set[str]:
    """Functions and classes of a module, and methods as `Class.method`."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return names


def test_the_list_of_the_http_modules_is_complete():
    listed = re.findall(r"\b([a-z_]+)\.py\b", http.__doc__ or "")
    modules = {path.stem for path in (PACKAGE / "http").glob("*.py")} - {"__init__"}
    assert sorted(listed) == sorted(modules)


@pytest.mark.parametrize("title", ["The write path", "The read path"])
def test_every_hop_of_a_path_names_a_function_that_exists(title: str):
    rows = [line for line in section(title).splitlines() if line.startswith("| ")]
    hops = HOP.findall(section(title))
    assert len(hops) == len(rows) - 1 >= 10, "each row but the first has a file and a function"
    wrong = [
        f"{file} {function}"
        for file, function in hops
        if not (PACKAGE / file).is_file() or function not in names_in(PACKAGE / file)
    ]
    assert wrong == []


def test_every_module_on_the_page_exists():
    named = set(re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9]+)*(?:\.py|/))`", PAGE))
    assert len(named) > 20
    roots = (PACKAGE, PACKAGE.parent)
    assert [n for n in sorted(named) if not any((root / n).exists() for root in roots)] == []
