"""The check of the parsed SQL, with texts as ClickHouse prints them. `test_reader` has the real ones."""

import pytest

from nealytics.queries.saved.functions import AGGREGATE, PLAIN, is_permitted
from nealytics.queries.saved.tree import resolved_problem, syntax_problem, text_problem

TYPES = {"from": ("DateTime64", "DateTime64(3)")}
USED = "SELECT * FROM events WHERE a > {from:DateTime64}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (USED, None),
        (USED.replace("DateTime64", "DateTime64(3)"), None),
        (f"{USED} AND b = 'SETTINGS {{x:Identifier}} FORMAT'", None),
        (f"{USED} AND `SETTINGS` = 1", None),
        (f"{USED} AND FORMAT('{{}}', a) = ''", None),
        (f"{USED}\nSETTINGS final = 0", "SETTINGS"),
        (f"{USED}\nFORMAT CSV", "FORMAT"),
        (f"{USED}\nINTO OUTFILE 'x'", "OUTFILE"),
        (USED.replace("DateTime64", "Identifier"), "another type"),
        (f"{USED} AND {{b:String}}", "no parameter"),
        (f"{USED} AND {{b}}", "not a placeholder"),
        ("SELECT 1", "is not used"),
        (f"WITH events AS ({USED}) SELECT 1", "WITH defines events"),
        (f"WITH `events` AS\n    (\n{USED}) SELECT 1", "WITH defines events"),
        (f"WITH events AS MATERIALIZED ({USED}) SELECT 1", "WITH defines events"),
        (f"WITH events (a) AS ({USED}) SELECT 1", "WITH defines events"),
        (f"{USED} AND `a\nb`", "control character"),
    ],
)
def test_the_text_of_a_statement(text: str, why: str | None):
    problem = text_problem(text, TYPES)
    assert why in problem if why and problem else problem == why


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (
            [
                "SelectQuery (children 1)",
                " ExpressionList (children 1)",
                "  Function sumIf (alias s) (children 1)",
            ],
            None,
        ),
        (["SelectQuery (children 3)", " Set"], "SETTINGS"),
        ([" TableExpression (children 1)", "  Function url (children 1)"], "table function url"),
        ([" TableExpression (children 1)", "  Function sum (children 1)"], "table function sum"),
        ([" Function file (alias sum) (children 1)"], "function file"),
        ([" Function lambda (children 1)"], None),
        ([" Function lambda (alias equals) (children 1)"], "lambda has a name"),
        ([" TableIdentifier db.t (alias e)"], "table db.t"),
        ([" TableIdentifier events (alias e)"], None),
        ([" TableIdentifier global_events (alias e)"], "not visible"),
        ([" Identifier x.global_events.tenant_id"], "not visible"),
        ([" ColumnsApplyTransformer"], "APPLY"),
        ([" SomethingNew (children 1)"], "SomethingNew"),
        ([" Identifier a", "rest of a name"], "not permitted"),
    ],
)
def test_the_syntax_tree(lines: list[str], why: str | None):
    problem = syntax_problem(lines)
    assert why in problem if why and problem else problem == why


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("  TABLE id: 3, alias: __table1, table_name: db.global_events", None),
        ("  TABLE id: 3, alias: __table1, table_name: system.one", None),
        ("  TABLE id: 3, table_name: db.other", "db.other"),
        ("  TABLE id: 3, table_name: system.tables", "system.tables"),
        ("  TABLE_FUNCTION id: 3, table_function_name: numbers", "numbers"),
        ("  TABLE id: 3", "TABLE id: 3"),
        ("  COLUMN id: 3, column_name: tenant_id", None),
    ],
)
def test_the_query_tree(line: str, why: str | None):
    problem = resolved_problem([line], "db")
    assert why in problem if why and problem else problem == why


def test_a_function_is_known_or_refused():
    for name in (
        "sum",
        "SUM",
        "sumIf",
        "quantileExactIfOrNull",
        "toStartOfDay",
        "countIf",
        "uniqExactArrayIf",
    ):
        assert is_permitted(name), name
    for name in (
        "file",
        "dictGet",
        "dictGetIf",
        "joinGet",
        "getSetting",
        "sleep",
        "url",
        "chdb",
        "x",
        "",
        "if_",
        "mapx",
    ):
        assert not is_permitted(name), name


def test_no_permitted_function_reaches_outside():
    outside = (
        "dict",
        "joinget",
        "getsetting",
        "server",
        "sleep",
        "file",
        "catboost",
        "hostname",
        "ai",
        "zookeeper",
    )
    assert [name for name in PLAIN | AGGREGATE if name.startswith(outside)] == []
