"""What the SQL of a saved query may contain: the second fence, in front of ClickHouse's own. Pure.

ClickHouse itself parses the SQL, so nothing here guesses at its grammar:

    canonical text    `formatQuery` prints the parsed statement: one statement, without comments
    syntax tree       `EXPLAIN AST` of the text that will be sent, as a subquery
    query tree        `EXPLAIN QUERY TREE`, in which every name is resolved

Everything that is not known to be harmless is refused: kinds of nodes, functions, tables, placeholders. Each
function returns the reason, or None.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, identifier
from nealytics.queries.saved.functions import is_permitted

EVENTS: Final = "events"

_KNOWN = """
    SelectWithUnionQuery SelectIntersectExceptQuery SelectQuery ExpressionList Subquery WithElement
    Asterisk QualifiedAsterisk ColumnsTransformerList ColumnsExceptTransformer ColumnsRegexpMatcher
    ColumnsListMatcher QualifiedColumnsRegexpMatcher QualifiedColumnsListMatcher
    Identifier Literal Function OrderByElement InterpolateElement WindowDefinition WindowListElement
    TablesInSelectQuery TablesInSelectQueryElement TableExpression TableIdentifier TableJoin ArrayJoin
"""
_NODES: Final = frozenset(_KNOWN.split())
# What a person writes for a node that is refused.
_MEANT: Final = {
    "Set": "a SETTINGS clause",
    "Explain": "EXPLAIN",
    "DescribeQuery": "DESCRIBE",
    "ColumnsApplyTransformer": "APPLY",
    "ColumnsReplaceTransformer": "REPLACE",
    "SampleRatio": "SAMPLE",
}
_NODE = re.compile(r" *([A-Za-z]+)(?: (.*?))??( \(alias .*\))?(?: \(children [0-9]+\))?", re.DOTALL)
_RESERVED_TABLES: Final = frozenset({TABLE, LOCAL_TABLE})

# Of canonical text: quoted texts and names, placeholders, words.
_TOKEN = re.compile(
    r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"|\{[^{}]*\}|[A-Za-z_][A-Za-z0-9_]*|\S",
    re.DOTALL,
)
_PLACEHOLDER = re.compile(r"\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*:\s*(.+?)\s*\}", re.DOTALL)
_FORBIDDEN_WORDS: Final = {
    "SETTINGS": "a SETTINGS clause",
    "FORMAT": "FORMAT",
    "OUTFILE": "INTO OUTFILE",
    "RECURSIVE": "WITH RECURSIVE",
}
# A name with a line break would be two lines of a tree.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def text_problem(canonical: str, types: Mapping[str, tuple[str, ...]]) -> str | None:
    """Why the text is refused; `types` are those in which each declared parameter may be written."""
    tokens = _TOKEN.findall(canonical)
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        if token[0] in '`"' and _CONTROL.search(token):
            return "a quoted name contains a control character; choose another name"
        # Canonical text writes a function in its own case, and a keyword in capitals.
        if token in _FORBIDDEN_WORDS and following != "(":
            return f"{_FORBIDDEN_WORDS[token]} is not permitted in a saved query; remove it"
        if token.startswith("{") and (problem := _placeholder_problem(token, types)):
            return problem
    if _shadows(tokens):
        return f"WITH defines {EVENTS}, which is the name of the events themselves; choose another name"
    unused = set(types) - {found[1] for token in tokens if (found := _PLACEHOLDER.fullmatch(token))}
    if unused:
        name = min(unused)
        return f"the parameter {name} is not used; write {{{name}:{types[name][0]}}} in the SQL, or remove it"
    return None


def _placeholder_problem(token: str, types: Mapping[str, tuple[str, ...]]) -> str | None:
    found = _PLACEHOLDER.fullmatch(token)
    if found is None:
        return f"{token} is not a placeholder; write {{name:Type}}"
    name, written = found[1], found[2].replace(" ", "")
    if name not in types:
        return f"{token} has no parameter; declare it: -- param: {name} {found[2]}"
    if written not in types[name]:
        return f"{token} has another type than its parameter; write {{{name}:{types[name][0]}}}"
    return None


def _shadows(tokens: list[str]) -> bool:
    """Whether a WITH element has the name of the relation."""
    quoted_names = (EVENTS, identifier(EVENTS), f'"{EVENTS}"')
    # With the names of its columns, the name is followed by a parenthesis, as no use of the relation is.
    return any(
        first in quoted_names
        and (second == "(" or (second == "AS" and third in ("(", "MATERIALIZED", "NOT")))
        for first, second, third in zip(tokens, tokens[1:], tokens[2:], strict=False)
    )


def syntax_problem(lines: Iterable[str]) -> str | None:
    """Why a statement is refused, by the lines of its `EXPLAIN AST`."""
    parent_depth, parent = -1, ""
    for line in lines:
        # The rest of a name with a line break is not a line of the tree; `text_problem` refuses such names.
        found = _NODE.fullmatch(line)
        kind, label = (found[1], found[2] or "") if found else ("", "")
        depth = len(line) - len(line.lstrip(" "))
        if kind not in _NODES:
            return f"{_MEANT.get(kind, kind or repr(line))} is not permitted in a saved query; remove it"
        if kind == "Function":
            if parent == "TableExpression" and depth == parent_depth + 1:
                return f"the table function {label} is not permitted; select from {EVENTS}"
            if not is_permitted(label):
                return f"the function {label} is not permitted in a saved query"
            # With a name, it replaces the function of that name, also inside of the relation `events`, whose
            # conditions would then mean something else.
            if label == "lambda" and found is not None and found[3]:
                return "a lambda has a name, which could be that of a function; write it where it is used"
        if kind in ("Identifier", "TableIdentifier") and _RESERVED_TABLES & set(label.split(".")):
            return f"{label} is not visible to a saved query; select from {EVENTS}"
        if kind == "TableIdentifier" and "." in label:
            return f"the table {label} is not visible to a saved query; select from {EVENTS}"
        parent_depth, parent = depth, kind
    return None


# What a SELECT without FROM reads: one row without content.
_NOTHING: Final = "system.one"
_RESOLVED = re.compile(r" *(TABLE|TABLE_FUNCTION) id: [0-9]+.*? table(?:_function)?_name: (\S+)")


def resolved_problem(lines: Iterable[str], database: str) -> str | None:
    """Why a statement is refused, by the lines of its `EXPLAIN QUERY TREE`."""
    for line in lines:
        if not line.lstrip().startswith(("TABLE id:", "TABLE_FUNCTION id:")):
            continue
        found = _RESOLVED.match(line)
        name = found[2].rstrip(",") if found else line.strip()
        if found is None or found[1] != "TABLE" or name not in (f"{database}.{TABLE}", _NOTHING):
            return f"{name} is not visible to a saved query; select from {EVENTS}"
    return None
