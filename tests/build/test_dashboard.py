"""The Grafana dashboard: every panel asks for what there is, tells its unit, and every metric is shown."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from nealytics.observe.metrics import SPECS
from nealytics.usage.largest import FAMILIES
from tests.build.promql import metrics_of, unknown_in

FILE = Path(__file__).parents[2] / "build" / "observability" / "dashboard.json"
DASHBOARD = json.loads(FILE.read_text())
ROWS = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# `graph`, `singlestat` and `table-old` are gone from Grafana.
TYPES = {"timeseries", "stat", "heatmap"}
# Grafana's names for: per second, seconds, bytes, a number, a part of 1.
UNITS = {"cps", "s", "bytes", "short", "percentunit"}

each_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: f"{panel['id']}: {panel['title']}")


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


@each_panel
def test_a_panel_asks_only_for_what_there_is(panel: dict[str, Any]):
    for expression in expressions(panel):
        assert unknown_in(expression) == []


@each_panel
def test_a_panel_asks_the_chosen_source_for_the_chosen_nodes(panel: dict[str, Any]):
    assert panel["datasource"] == DATASOURCE
    for target in panel["targets"]:
        assert target["datasource"] == DATASOURCE
        # Each series, of which an expression may have several.
        chosen = target["expr"].count('{job="$job", instance=~"$instance"')
        assert chosen == sum(target["expr"].count(name + "{") for name in metrics_of(target["expr"])) > 0


@each_panel
def test_a_panel_has_a_current_type_a_unit_and_a_description(panel: dict[str, Any]):
    assert panel["type"] in TYPES
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["description"]


def test_every_metric_is_shown():
    shown = {name for panel in PANELS for expression in expressions(panel) for name in metrics_of(expression)}
    suffix = {"histogram": "_bucket"}
    assert [spec.name for spec in SPECS if spec.name + suffix.get(spec.kind, "") not in shown] == []
    assert set(FAMILIES) <= shown


def test_rows_follow_an_event_through_the_node():
    assert [row["title"].split(":")[0] for row in ROWS] == [
        "Ingest",
        "Durability",
        "Commit",
        "Reads",
        "Process",
    ]


def test_panels_do_not_overlap_and_have_numbers_of_their_own():
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    for one, other in itertools.combinations(DASHBOARD["panels"], 2):
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (one["title"], other["title"])


def test_nothing_of_a_particular_installation_is_in_it():
    assert "id" not in DASHBOARD
    assert "__inputs" not in DASHBOARD
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == [
        "datasource",
        "job",
        "instance",
    ]
    for variable in DASHBOARD["templating"]["list"][1:]:
        assert variable["datasource"] == DATASOURCE
        assert unknown_in(variable["definition"].removeprefix("label_values(").split(",")[0]) == []
