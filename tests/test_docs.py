"""The documents say what the code does: every metric, route, command and reason is in them, and no other."""

import re
from pathlib import Path

import pytest

from nealytics.cli import COMMANDS
from nealytics.config import Config
from nealytics.ingest import handlers
from nealytics.observe.metrics import REFUSED_REASONS, SPECS
from nealytics.queries import ENDPOINTS

TABLES = {name: type(getattr(Config(), name)) for name in Config.__struct_fields__}
ROOT = Path(__file__).parent.parent
DOCS = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/*.md")])


def text(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_table_of_metrics_is_the_list_of_metrics():
    documented = re.findall(
        r"^\| `(nealytics_\w+)(?:\{(\w+)\})?` \| (\w+) \|", text("docs/operating.md"), re.MULTILINE
    )
    assert documented == [(spec.name, spec.label, spec.kind) for spec in SPECS]


def test_every_route_is_in_the_api_document():
    routes = [handlers.TRACK, handlers.BEACON, handlers.BATCH, *(endpoint.path for endpoint in ENDPOINTS)]
    routes += ["/health", "/ready", "/ready/ingest", "/metrics"]
    assert [route for route in routes if route not in text("docs/api.md")] == []


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


def test_settings_named_in_the_documents_exist():
    known = {f"{table}.{key}" for table, kind in TABLES.items() for key in kind.__struct_fields__}
    wrong = []
    for path in DOCS:
        for table, key in re.findall(r"`(\w+)\.(\w+)(?: = [^`]*)?`", path.read_text()):
            if table in TABLES and key != "py" and f"{table}.{key}" not in known:
                wrong.append(f"{path.name}: {table}.{key}")
    assert wrong == []
