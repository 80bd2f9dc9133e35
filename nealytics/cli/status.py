"""`nealytics health` and `nealytics status`: asking a running node how it is, over HTTP."""

import http.client
import ssl
import sys
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from nealytics.cli.options import config_option, folded
from nealytics.config import load, split_listen
from nealytics.errors import NealyticsError
from nealytics.tls import why_not

TIMEOUT_S = 5.0

# What a person wants to see first. Counters are since the node's start.
SHOWN = {
    "nealytics_events_ingested_total": "events accepted",
    "nealytics_events_committed_total": "events in ClickHouse",
    "nealytics_events_refused_total": "events refused",
    "nealytics_dead_letter_events_total": "events dead-lettered",
    "nealytics_insert_retries_total": "inserts retried",
    "nealytics_read_queries_total": "queries answered",
    "nealytics_read_failures_total": "queries failed",
    "nealytics_wal_bytes": "log size in bytes",
    "nealytics_wal_bytes_max": "its maximum",
    "nealytics_worker_starts_total": "worker starts",
    "nealytics_damaged_parts": "damaged parts",
    "nealytics_events_resent_total": "events sent again",
    "nealytics_wal_damaged_logs": "damaged logs",
    "nealytics_wal_unreadable_events": "unreadable events",
}

READY = "nealytics_ready"
_NOT_ALL = "one is not running or not ready; see the node's log, or run this again: another worker may answer"

url_option = click.option(
    "--url",
    metavar="URL",
    help="Address of the node, e.g. http://localhost:5000. Default: server.listen of the configuration.",
)


class Answer(NamedTuple):
    status: int
    body: bytes


class _Ready(msgspec.Struct, rename="camel"):
    """What is shown of /ready, beside its parts."""

    status: str
    waiting_events: int
    oldest_waiting_seconds: float


@click.command()
@config_option
@url_option
def health(config_path: Path | None, url: str | None) -> None:
    """Exit with 0 if the node is alive, else with 1.

    For a container's HEALTHCHECK. Requests /health, which has no dependencies: a node whose ClickHouse is
    down is alive and accepts events. `nealytics status` shows more.
    """
    answer = ask(address(config_path, url), "/health")
    if answer.status != 200:
        raise NealyticsError(f"health: /health answers {answer.status}, not 200")
    click.echo("ok")


@click.command()
@config_option
@url_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
def status(config_path: Path | None, url: str | None, as_json: bool) -> None:
    """Show the state of a running node: its parts, its warnings, the queued events, and its counters.

    Exit status: 0 if everything works, 1 if something does not, 2 if the node does not answer. The parts are
    those of the worker that answers. "all workers" and the figures come from /metrics and cover the whole
    node; they need observe.prometheus = true.
    """
    where = address(config_path, url)
    try:
        ready = ask(where, "/ready")
        metrics = ask(where, "/metrics")
    except NealyticsError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    report = _report(where, ready, metrics)
    click.echo(msgspec.json.encode(report) if as_json else _table(report))
    well = ready.status == 200 and report.get("workers", {"ok": True})["ok"] and not report.get("damage")
    sys.exit(0 if well else 1)


def address(config_path: Path | None, url: str | None) -> str:
    """Where to ask: `url`, or where a node of this configuration on this machine listens."""
    if url is not None:
        return url.rstrip("/")
    host, port = split_listen(load(config_path).server.listen)
    # A node that listens on every address is asked on this machine's own.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def ask(where: str, path: str) -> Answer:
    """Raises `NealyticsError` if nobody answers."""
    try:
        parts = urlsplit(where)
        host, port = parts.hostname, parts.port
    except ValueError:  # an unclosed bracket, a port that is no number
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise NealyticsError(f'status: --url is "{where}"; write e.g. http://localhost:5000')
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path}{path}")
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except ssl.SSLError as error:
        raise NealyticsError(
            f"{where}: {why_not(error)}; set SSL_CERT_FILE to a PEM file with the authority that issued it, "
            "or give another address with --url"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise NealyticsError(
            f"{where} does not answer: {_reason(error)}; start the node, or select another with --config or "
            "--url"
        ) from error
    finally:
        connection.close()


def _reason(error: OSError | http.client.HTTPException) -> str:
    """Without the number of the error, which says the same."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _report(where: str, ready: Answer, metrics: Answer) -> dict[str, Any]:
    try:
        parts = msgspec.json.decode(ready.body, type=dict[str, Any])
        msgspec.convert(parts, _Ready)
    except msgspec.MsgspecError as error:
        raise NealyticsError(
            f"status: {where}/ready answered {ready.status}, but not with the state of a node; is it a "
            "Nealytics node?"
        ) from error
    report = {"url": where, **parts}
    if metrics.status == 200:
        try:
            report["metrics"] = sums = _sums(metrics.body.decode())
        except ValueError as error:
            raise NealyticsError(
                f"status: {where}/metrics answered without metrics ({error}); is there a proxy in between?"
            ) from error
        if READY in sums:
            report["workers"] = {"ok": True} if sums[READY] else {"ok": False, "problem": _NOT_ALL}
    return report


def _sums(text: str) -> dict[str, float]:
    """Each counter and gauge by its name, its labels added up."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if family.type in ("counter", "gauge") and not sample.name.endswith("_created"):
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def _table(report: dict[str, Any]) -> str:
    lines = [f"{report['url']}: {_headline(report)}", ""]
    for name, part in report.items():
        if isinstance(part, dict) and "ok" in part:
            label = "all workers" if name == "workers" else name
            text = "ok" if part["ok"] else f"NOT OK: {part.get('problem', '')}"
            lines.append(_line(label, text))
    lines += [_line("stored events", f"DAMAGED: {text}") for text in report.get("damage", ())]
    lines += [_line("warning", text) for text in report.get("warnings", ())]
    if "pid" in report:  # a node of an earlier version says none
        lines.append(_line("pid", str(report["pid"])))
    lines.append(f"  {'events queued':<22} {report['waitingEvents']:,}")
    lines.append(f"  {'oldest is queued for':<22} {report['oldestWaitingSeconds']:g} s")
    if "metrics" in report:
        lines.append("")
        lines += [
            f"  {label:<22} {report['metrics'][name]:,.0f}"
            for name, label in SHOWN.items()
            if name in report["metrics"]
        ]
    else:
        lines += ["", "  set observe.prometheus = true to see counters here and serve /metrics"]
    return "\n".join(lines)


def _headline(report: dict[str, Any]) -> str:
    """With what is wrong beside it: a node may be ready although stored events are damaged."""
    found = [str(report["status"])]
    if damage := len(report.get("damage", ())):
        found.append(f"DAMAGED stored events ({damage})")
    if not report.get("workers", {"ok": True})["ok"]:
        found.append("NOT all workers")
    if warnings := len(report.get("warnings", ())):
        found.append(f"{warnings} warning{'s' * (warnings != 1)}")
    return ", ".join(found)


def _line(label: str, text: str) -> str:
    return folded(f"  {label:<22} ", text, sys.stdout)
