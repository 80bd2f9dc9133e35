"""Classes and functions stay small enough to be read at once."""

import ast
from collections.abc import Iterator
from pathlib import Path

import nealytics

PACKAGE = Path(nealytics.__file__).parent

METHODS_MAX = 15
CLASS_LINES_MAX = 250
FUNCTION_LINES_MAX = 60


def too_large(source: str) -> Iterator[tuple[str, str]]:
    """Each class or function beyond a limit, and by what."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) for inner in node.body)
            lines_max = CLASS_LINES_MAX
            if methods > METHODS_MAX:
                yield node.name, f"{methods} methods, at most {METHODS_MAX}"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines_max = FUNCTION_LINES_MAX
        else:
            continue
        lines = (node.end_lineno or 0) - node.lineno + 1
        if lines > lines_max:
            yield node.name, f"{lines} lines, at most {lines_max}"


def test_classes_and_functions_are_small():
    wrong = [
        f"{path.relative_to(PACKAGE)} {name}: {why}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name, why in too_large(path.read_text())
    ]
    assert wrong == []


def test_a_large_class_and_a_long_function_are_found():
    methods = "".join(f"    def method_{n}(self): ...\n" for n in range(METHODS_MAX + 1))
    body = "    pass\n" * FUNCTION_LINES_MAX
    assert [name for name, _ in too_large(f"class Large:\n{methods}")] == ["Large"]
    assert [name for name, _ in too_large(f"def long():\n{body}")] == ["long"]
    assert [name for name, _ in too_large(f"def short():\n{body[9:]}")] == []
