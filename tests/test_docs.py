"""The documents say what the code does: every metric, route, command and reason is in them, and no other."""

import ast
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

import msgspec
import pytest
from multidict import MultiDict

from nealytics.cli import COMMANDS
from nealytics.config import Config, QueryConfig
from nealytics.http import openapi, openapi_errors
from nealytics.ingest import handlers
from nealytics.observe.metrics import REFUSED_REASONS, SPECS
from nealytics.queries import ENDPOINTS, STREAMS
from nealytics.queries.endpoint import Endpoint, Route, Stream
from nealytics.queries.filters import COLUMNS, OPS
from nealytics.queries.params import Arguments
from nealytics.usage.largest import FAMILIES as TENANTS

TABLES = {
    name: type(table)
    for name in Config.__struct_fields__
    if isinstance(table := getattr(Config(), name), msgspec.Struct)
}
ROUTES: list[Route] = [*ENDPOINTS, *STREAMS]
ROOT = Path(__file__).parent.parent
DOCS = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/*.md")])

each_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)


def text(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_table_of_metrics_is_the_list_of_metrics():
    documented = re.findall(
        r"^\| `(nealytics_\w+)(?:\{(\w+)\})?` \| (\w+) \|", text("docs/monitor.md"), re.MULTILINE
    )
    listed = [(spec.name, spec.label, spec.kind) for spec in SPECS]
    assert documented == [*listed, *((name, "", "counter") for name in TENANTS)]


def test_every_route_is_in_the_api_document():
    routes = [handlers.TRACK, handlers.BEACON, handlers.BATCH, openapi.PATH]
    routes += ["/health", "/ready", "/ready/ingest", "/metrics"]
    assert [route for route in routes if route not in text("docs/api.md")] == []


def sections() -> dict[str, str]:
    """Path → what docs/reading.md says about it."""
    _, *parts = re.split(r"^## `GET ([^`]+)`$", text("docs/reading.md"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_read_route_has_a_section_and_a_line_in_the_list():
    paths = [route.path for route in ROUTES]
    assert list(sections()) == paths
    assert re.findall(r"^\| \[`(/api/[^`]+)`\]", text("docs/reading.md"), re.MULTILINE) == paths


@each_route
def test_the_parameters_of_a_section_are_the_declared_ones(route: Route):
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.*) \|$", sections()[route.path], re.MULTILINE)
    told = {name: row for names, row in rows for name in re.findall(r"\w+", names)}
    assert sorted(told) == sorted(parameter.name for parameter in route.parameters)
    for parameter in route.parameters:
        row = told[parameter.name]
        if parameter.default is not None:
            assert f"default `{parameter.default}`" in row or "[dimension]" in row, parameter.name
        if parameter.kind == "choice":
            assert [choice for choice in parameter.choices if f"`{choice}`" not in row] == []
        assert ("Required" in row) == parameter.required, parameter.name


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_the_answer_of_a_section_is_the_endpoint_s_example(endpoint: Endpoint[Any]):
    (shown,) = re.findall(r"^```json\n(.*?)^```$", sections()[endpoint.path], re.MULTILINE | re.DOTALL)
    assert json.loads(shown) == json.loads(msgspec.json.encode(endpoint.example))


def test_the_answer_in_the_readme_is_the_example_of_the_summary():
    (shown,) = re.findall(r"^```json\n(.*?)^```$", text("README.md"), re.MULTILINE | re.DOTALL)
    (summary,) = [endpoint for endpoint in ENDPOINTS if endpoint.name == "summary"]
    assert json.loads(shown) == json.loads(msgspec.json.encode(summary.example))


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_what_a_stream_looks_like_is_shown_as_it_is_declared(stream: Stream):
    (shown,) = re.findall(r"^```text\n(.*?)^```$", sections()[stream.path], re.MULTILINE | re.DOTALL)
    assert shown.strip() == stream.example.strip()


@each_route
def test_the_curl_line_of_a_section_asks_what_the_route_understands(route: Route):
    """`tests/http/test_contract.py` asks the engine itself."""
    (url,) = curl_lines(sections()[route.path])
    assert url.path == route.path
    arguments = Arguments(MultiDict(parse_qsl(url.query)), QueryConfig(), 0, route.parameters)
    assert arguments.warnings == []


def curl_lines(section: str) -> list[SplitResult]:
    """The addresses that are asked with the quickstart's token."""
    token = r'-H "Authorization: Bearer \$TOKEN"'
    line = rf'^curl (?:-N |-o \S+ )?"http://localhost:5000([^"]+)"(?: \\\n *| ){token}$'
    lines = re.findall(line, section, re.MULTILINE)
    return [urlsplit(line) for line in lines]


def test_every_error_of_reading_is_in_the_document():
    told = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", text("docs/reading.md"), re.MULTILINE)
    pairs = {(int(status), code) for status, codes in told for code in re.findall(r"`(\w+)`", codes)}
    assert pairs == {
        (status, code)
        for errors in (openapi_errors.STREAM_ERRORS, openapi_errors.SAVED_ERRORS)
        for status, codes in errors.items()
        for code in codes
    }


def test_every_warning_is_in_the_document():
    code = "".join(path.read_text() for path in ROOT.glob("nealytics/**/*.py"))
    codes = set(re.findall(r'\bWarn\(\s*"(\w+)"', code))
    told = re.findall(r"^\| `(\w+)` \| ", text("docs/reading.md").partition("### Limits")[2], re.MULTILINE)
    assert codes
    assert codes - set(told) == set()


def test_every_field_and_operation_of_a_filter_is_in_the_document():
    told = set(re.findall(r"`([\w:<>]+)`", text("docs/reading.md").partition("### Filters")[2]))
    assert {*COLUMNS, *OPS, "meta:<path>"} - told == set()


def test_every_reason_for_a_refusal_is_in_the_api_document():
    assert [reason for reason in REFUSED_REASONS if f"`{reason}`" not in text("docs/api.md")] == []


def test_every_command_is_named_in_the_documents():
    everything = "".join(path.read_text() for path in DOCS)
    named = [name for name, entry in COMMANDS.items() if not entry.hidden]
    assert [name for name in named if f"nealytics {name}" not in everything] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path):
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (path.parent / link).exists()] == []


def anchors(path: Path) -> set[str]:
    """Those that GitHub gives to the headings of a page."""
    text = re.sub(r"^ *```.*?^ *```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_section_leads_to_a_heading(path: Path):
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", path.read_text())
    wrong = [
        f"{page}#{anchor}"
        for page, anchor in links
        if anchor not in anchors((path.parent / page) if page else path)
    ]
    assert wrong == []


PAGES = ["install", "configure", "monitor", "alerts", "backup", "upgrade", "scaling", "glossary", "operating"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_for_operators_opens_with_the_question_that_it_answers(name: str):
    _title, _blank, question = text(f"docs/{name}.md").split("\n")[:3]
    assert re.match(r"\*\*.+\?\*\*", question), question


def test_every_page_is_in_the_index():
    index = text("docs/README.md")
    pages = {path.name for path in ROOT.glob("docs/*.md")} - {"README.md", "operating.md"}
    assert [page for page in sorted(pages) if f"]({page})" not in index] == []


def test_settings_named_in_the_documents_exist():
    known = {f"{table}.{key}" for table, kind in TABLES.items() for key in kind.__struct_fields__}
    wrong = []
    for path in DOCS:
        for table, key in re.findall(r"`(\w+)\.(\w+)(?: = [^`]*)?`", path.read_text()):
            if table in TABLES and key != "py" and f"{table}.{key}" not in known:
                wrong.append(f"{path.name}: {table}.{key}")
    assert wrong == []


def messages() -> str:
    """The string literals of the program, one a line, with … for inserted values."""
    found = []
    for path in sorted(ROOT.glob("nealytics/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
                    )
                )
    return "\n".join(found)


def test_the_messages_that_the_runbooks_quote_are_those_of_the_program():
    page = text("docs/alerts.md")
    quoted = re.findall(r"journalctl -u nealytics \| grep '([^']+)'", page)
    for heading in re.findall(r"^\*\*[^*]+\*\*", page, re.MULTILINE):
        quoted += re.findall(r'"([^"]+)"', heading.replace("\n", " "))
    assert len(quoted) > 8
    known = messages()
    parts = {part.strip(" .:") for each in quoted for part in re.split(r"…|\d+|%\w", each)}
    assert sorted(part for part in parts if part not in known) == []


def test_every_row_of_what_was_lost_is_run_by_a_test():
    table = text("docs/recovery.md").split("| what happened |")[1].split("\n\n")[0]
    rows = table.splitlines()[2:]
    assert len(rows) > 6
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        for name in named:
            assert re.search(rf"^(?:async )?def {name}\(", tests, re.MULTILINE), name
