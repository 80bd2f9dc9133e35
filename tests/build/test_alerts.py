"""Alert rules: each speaks of what exists, has its section in the document, fires when it should and not
otherwise.

The rules are run by promtool, Prometheus' own test runner; without it those tests are skipped.
"""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from nealytics.config import Config
from tests.build.promql import FOREIGN_METRICS, unknown_in

ROOT = Path(__file__).parents[2]
OBSERVABILITY = ROOT / "build" / "observability"
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
NODE = {"job": "nealytics", "instance": "node-1:5000"}

each_alert = pytest.mark.parametrize("alert", RULES)

# scripts/test.sh puts one beside the interpreter, where the system has none.
PROMTOOL = shutil.which("promtool") or shutil.which("promtool", path=str(Path(sys.prefix) / "tools"))
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed; on Debian it is in the package prometheus"
)


@dataclass
class Case:
    """An alert, series with which it fires, and series with which it does not.

    A series is a name (with labels beyond the node's) and its values, one a step, in promtool's notation.
    """

    alert: str
    firing: dict[str, str]
    value: str  # as the description tells it; "" if it tells none
    quiet: list[dict[str, str]]
    at: int = 30  # after so many steps
    step_m: int = 1
    labels: dict[str, str] = field(default_factory=lambda: dict(NODE))


def reason(name: str) -> str:
    return f'nealytics_events_refused_total{{reason="{name}"}}'


def failure(name: str) -> str:
    return f'nealytics_read_failures_total{{reason="{name}"}}'


def buckets(histogram: str, below: str, above: str) -> dict[str, str]:
    """All of its observations are between these two bounds, one a second."""
    counts = {"0": "0+0x80", below: "0+0x80", above: "0+60x80", "+Inf": "0+60x80"}
    return {f'{histogram}_bucket{{le="{bound}"}}': values for bound, values in counts.items()}


INGESTED = "nealytics_events_ingested_total"
OLDEST = "nealytics_wal_oldest_unacknowledged_age_seconds"
WEEK = 7 * 24 * 4  # in quarters of an hour

CASES = [
    Case(
        "NealyticsDown",
        {"up": "1x10 0x40"},
        "",
        [{"up": "1x60"}, {"up": "1x28 0 1x30"}],
    ),
    Case(
        "NealyticsMissing",
        {},
        "",
        [{"up": "1x60"}, {"up": "0x60"}],
        labels={"job": "nealytics"},
    ),
    Case(
        "NealyticsNotReady",
        {"nealytics_ready": "1x10 0x40"},
        "0",
        [{"nealytics_ready": "1x60"}, {"nealytics_ready": "1x27 0x60"}],
    ),
    Case(
        "NealyticsWorkerRestarting",
        {"nealytics_worker_starts_total": "4x20 5+1x40"},
        "10",
        [
            {"nealytics_worker_starts_total": "4x60"},
            # One that died, and a node of eight workers that was upgraded.
            {"nealytics_worker_starts_total": "4x25 5x60"},
            {"nealytics_worker_starts_total": "9x20 3 8x60"},
        ],
    ),
    Case(
        "NealyticsNodeRestarting",
        {INGESTED: "100+100x5 5+100x5 5+100x5 5+100x60"},
        "3",
        [{INGESTED: "0+100x60"}, {INGESTED: "100+100x10 0+100x60"}],
    ),
    Case(
        "NealyticsSpansLost",
        {"nealytics_spans_lost_total": "0x5 0+30x60"},
        "500m",
        [
            {"nealytics_spans_lost_total": "30x60"},
            # A receiver that was away for some minutes.
            {"nealytics_spans_lost_total": "0x10 0+30x8 240x60"},
            {"nealytics_spans_lost_total": "0x18 0+30x60"},
        ],
    ),
    Case(
        "NealyticsLogFull",
        {reason("log_full"): "0x10 0+120x30"},
        "2",
        [{reason("log_full"): "500x60", reason("invalid_event"): "0+100x60"}],
        labels=NODE | {"reason": "log_full"},
    ),
    Case(
        "NealyticsLogBroken",
        {reason("log_broken"): "0x20 7x30"},
        "7",
        [{reason("log_broken"): "7x60", reason("log_full"): "0+100x60"}],
        labels=NODE | {"reason": "log_broken"},
    ),
    Case(
        "NealyticsLogFilling",
        {"nealytics_wal_bytes": "6442450944x60", "nealytics_wal_bytes_max": "10737418240x60"},
        "60%",
        [
            {"nealytics_wal_bytes": "4294967296x60", "nealytics_wal_bytes_max": "10737418240x60"},
            {
                "nealytics_wal_bytes": "1073741824x28 6442450944x60",
                "nealytics_wal_bytes_max": "10737418240x60",
            },
        ],
    ),
    Case(
        "NealyticsFsyncSlow",
        buckets("nealytics_wal_fsync_seconds", "0.25", "0.5"),
        "497.5ms",
        [buckets("nealytics_wal_fsync_seconds", "0.0005", "0.001")],
    ),
    Case(
        "NealyticsEventsWaiting",
        {OLDEST: "0x10 60+60x60"},
        "20m 0s",
        [{OLDEST: "3x60"}, {OLDEST: "3x26 90+60x60"}],
    ),
    Case(
        "NealyticsEventsStuck",
        {OLDEST: "0+120x60"},
        "1h 0m 0s",
        [{OLDEST: "0+50x60"}],
    ),
    Case(
        "NealyticsDeadLetter",
        {"nealytics_dead_letter_events_total": "3x15 15x60"},
        "12.2",
        [{"nealytics_dead_letter_events_total": "3x90"}],
    ),
    Case(
        "NealyticsInsertsRetried",
        {"nealytics_insert_retries_total": "0x10 0+6x60"},
        "100m",
        [{"nealytics_insert_retries_total": "6x60"}, {"nealytics_insert_retries_total": "0x22 3x60"}],
    ),
    Case(
        "NealyticsCommitSlow",
        buckets("nealytics_storage_write_duration_seconds", "10.0", "30.0"),
        "28s",
        [buckets("nealytics_storage_write_duration_seconds", "0.05", "0.1")],
    ),
    Case(
        "NealyticsEventsInvalid",
        {INGESTED: "0+1000x60", reason("invalid_event"): "0+100x60", reason("invalid_json"): "0+1x60"},
        "100m",
        [
            {INGESTED: "0+1000x60", reason("invalid_event"): "0+10x60", reason("unauthorized"): "0+900x60"},
            # A few of very few.
            {INGESTED: "0+1x60", reason("invalid_event"): "0+1x60"},
        ],
        at=45,
        labels=NODE | {"reason": "invalid_event"},
    ),
    Case(
        "NealyticsQuotaNearlyUsed",
        {"nealytics_quota_used_ratio": "0.5x10 0.95x40"},
        "95%",
        [{"nealytics_quota_used_ratio": "0.9x60"}, {"nealytics_quota_used_ratio": "0x26 1x40"}],
    ),
    Case(
        "NealyticsUnauthorized",
        {reason("unauthorized"): "0+20x60"},
        "300",
        [{reason("unauthorized"): "0+5x60", reason("forbidden"): "0+5x60"}],
        at=45,
        labels=NODE | {"reason": "unauthorized"},
    ),
    Case(
        "NealyticsRateLimited",
        {reason("rate_limited"): "0+30x60"},
        "500m",
        [{reason("rate_limited"): "30x60"}, {reason("rate_limited"): "0x22 30x60"}],
        labels=NODE | {"reason": "rate_limited"},
    ),
    Case(
        "NealyticsNoEvents",
        {INGESTED: f"0+100x{WEEK} {WEEK * 100}x40"},
        "",
        [
            {INGESTED: f"0+100x{WEEK + 40}"},
            {INGESTED: f"500x{WEEK + 40}"},  # there never were any
            # Another node gets them.
            {
                INGESTED: f"0+100x{WEEK} {WEEK * 100}x40",
                f'{INGESTED}{{instance="node-2:5000"}}': f"0x{WEEK} 0+100x40",
            },
        ],
        at=WEEK + 12,
        step_m=15,
        labels={"job": "nealytics"},
    ),
    Case(
        "NealyticsReadsSlow",
        buckets("nealytics_query_read_duration_seconds", "5.0", "10.0"),
        "9.75s",
        [buckets("nealytics_query_read_duration_seconds", "0.05", "0.1")],
    ),
    Case(
        "NealyticsReadsFailing",
        {failure("clickhouse_unavailable"): "0+30x60", failure("query_too_large"): "0+30x60"},
        "500m",
        [
            {failure("query_too_large"): "0+30x60", failure("unauthorized"): "0+30x60"},
            {failure("clickhouse_unavailable"): "30x60"},
            {failure("clickhouse_unavailable"): "0x27 0+30x60"},
        ],
        labels=NODE | {"reason": "clickhouse_unavailable"},
    ),
    Case(
        "NealyticsDataDamaged",
        {"nealytics_damaged_parts": "0x10 2x40"},
        "2",
        [{"nealytics_damaged_parts": "0x60"}, {"nealytics_damaged_parts": "1x20 0x40"}],
    ),
    Case(
        "NealyticsTableIncomplete",
        {"nealytics_table_incomplete": "1x90"},
        "1",
        [{"nealytics_table_incomplete": "0x90"}, {"nealytics_table_incomplete": "1x20 0x70"}],
    ),
    Case(
        "NealyticsLogDamaged",
        {"nealytics_wal_damaged_logs": "0x10 1x40"},
        "1",
        [{"nealytics_wal_damaged_logs": "0x60"}, {"nealytics_wal_damaged_logs": "1x20 0x40"}],
    ),
    Case(
        "NealyticsRetentionDiffers",
        {"nealytics_retention_differs": "1x90"},
        "1",
        [{"nealytics_retention_differs": "0x90"}, {"nealytics_retention_differs": "0x10 1x90"}],
        at=65,
    ),
    Case(
        "NealyticsKeysStale",
        {"nealytics_jwks_age_seconds": "0+120x60"},
        "1h 0m 0s",
        [{"nealytics_jwks_age_seconds": "0x60"}, {"nealytics_jwks_age_seconds": "300x26 1900x60"}],
    ),
]


@each_alert
def test_an_alert_asks_only_for_what_there_is(alert: str):
    assert unknown_in(RULES[alert]["expr"]) == []


@each_alert
def test_an_alert_is_complete_and_tells_its_value(alert: str):
    rule = RULES[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    metrics_with_values = not any(name in rule["expr"].split("{")[0] for name in (*FOREIGN_METRICS, "absent"))
    # "There are none" has no figure, either.
    if metrics_with_values and alert != "NealyticsNoEvents":
        assert "$value" in annotations["description"]


def test_every_alert_has_a_section_in_the_document_and_every_section_an_alert():
    text = (ROOT / "docs" / "alerts.md").read_text()
    assert sorted(re.findall(r"^#+ (Nealytics[A-Z]\w*)$", text, re.MULTILINE)) == sorted(RULES)
    page = "https://github.com/neavents/nealytics/blob/main/docs/alerts.md"
    for alert, rule in RULES.items():
        assert rule["annotations"]["runbook_url"] == f"{page}#{alert.lower()}"


def test_keys_are_stale_at_half_of_the_age_that_they_may_have():
    half = f"0.5 * {Config().auth.jwks_age_max_s}"
    assert RULES["NealyticsKeysStale"]["expr"] == f"nealytics_jwks_age_seconds > {half}"


def test_every_alert_is_tried():
    assert sorted(case.alert for case in CASES) == sorted(RULES)


@needs_promtool
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_when_it_should_and_only_then(case: Case, tmp_path: Path):
    rule = RULES[case.alert]
    # The rule alone, since promtool computes all that it is given at every step. JSON is YAML.
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "tried", "rules": [rule]}]}))
    values = {f"$labels.{name}": value for name, value in case.labels.items()} | {"$value": case.value}
    expected = {
        "exp_labels": case.labels | rule["labels"],
        "exp_annotations": {
            name: re.sub(r"\{\{ (\$[\w.]+)[^}]* \}\}", lambda match: values[match[1]], text)
            for name, text in rule["annotations"].items()
        },
    }
    tests = [trial(case, case.firing, [expected])]
    tests += [trial(case, series, []) for series in case.quiet]
    document = {"rule_files": ["rules.yml"], "evaluation_interval": f"{case.step_m}m", "tests": tests}
    (tmp_path / "test.yml").write_text(json.dumps(document))
    promtool("test", "rules", tmp_path / "test.yml")


def trial(case: Case, series: dict[str, str], expected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interval": f"{case.step_m}m",
        "input_series": [{"series": on_node(name), "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": f"{case.at * case.step_m}m", "alertname": case.alert, "exp_alerts": expected},
        ],
    }


def on_node(series: str) -> str:
    """`series` with the node's labels, as far as it has none of its own."""
    name, _, labels = series.removesuffix("}").partition("{")
    given = dict(re.findall(r'(\w+)="([^"]*)"', labels))
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in (NODE | given).items()) + "}"


@needs_promtool
def test_promtool_accepts_the_files():
    promtool("check", "rules", OBSERVABILITY / "alerts.yml")
    promtool("check", "config", OBSERVABILITY / "prometheus.yml")


def promtool(*arguments: str | Path) -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
