"""The options of the C# engine, `TelemetryEngine__<Name>` in the environment or `<Name>` in the section
`TelemetryEngine` of `appsettings.json`, as keys of this one.

Every option of its `TelemetryEngineOptions` is here: renamed, translated, or accepted with the reason why
it no longer has a meaning. Names are not case-sensitive, as in .NET.
"""

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

PREFIX = "TelemetryEngine__"

RENAMED = {
    "WriteAheadLogDirectory": "wal.directory",
    "DatabaseBatchCommitSize": "commit.batch_rows_max",
    "ForceFlushIntervalSeconds": "commit.flush_interval_s",
    "MaxInsertRetries": "commit.retries_before_alert",
    "RetryBackoffCeilingMs": "commit.backoff_max_ms",
    "ConnectionPoolSize": "clickhouse.connections_max",
    "AllowedProjectKeys": "auth.api_keys",
    "MaxRequestBodyBytes": "ingest.body_bytes_max",
    "MaxConcurrentConnections": "server.connections_max",
    "EnableRequestDecompression": "ingest.decompression",
    "RateLimitPermitCount": "ingest.rate_limit_requests",
    "RateLimitWindowSeconds": "ingest.rate_limit_window_s",
    "RateLimitQueueSize": "ingest.rate_limit_queue_max",
    "CorsAllowedOrigins": "server.cors_allowed_origins",
    "JwtSymmetricKey": "auth.jwt_key",
    "JwtClockSkewSeconds": "auth.jwt_clock_skew_s",
    "MaxQueryLimit": "query.limit_max",
    "DefaultSessionQueryRangeHours": "query.default_range_hours",
    "EnablePrometheusScrape": "observe.prometheus",
}

# If that engine starts with a value beyond a bound of ours, the bound is used, with a note. A negative number
# means "unlimited" there; 0 means it here.
UNLIMITED_AT_0 = frozenset(
    {"server.connections_max", "clickhouse.connections_max", "ingest.rate_limit_requests"}
)
# The least of a key whose bound is itself not allowed.
LEAST = {"commit.flush_interval_s": 0.1}

WITHOUT_MEANING = {
    "MemoryChannelCapacity": "events are queued in the log on disk, not in memory; wal.bytes_max limits it",
    "WalReplayRetryDelayMs": "there is no separate replay; commit.backoff_max_ms limits the delay of "
    "every retry",
    "WalFileBufferBytes": "events that arrive together are written and synced together, whatever their size",
    "EnableAsyncInsert": "batches are inserted synchronously, because ClickHouse deduplicates only "
    "those as a whole",
}


class Translation(NamedTuple):
    values: dict[str, str]  # key → text, as if it stood in the environment
    notes: list[str]


def connection_string(text: str) -> Translation:
    """`Host=…;Port=9000;Database=…;User=…;Password=…` as keys of `clickhouse`.

    That engine spoke ClickHouse's native protocol and this one speaks HTTP, so a native port becomes the HTTP
    port beside it. It wrote to nealytics_core.global_events whatever `Database` said, so `Database` is
    ignored. Raises `ValueError` without any value in it: there may be a password.
    """
    parts = _parts_of(text)
    if not parts:
        return Translation({}, [])
    for position, part in enumerate(parts, start=1):
        if part not in _CONNECTION_KEYS | _CONNECTION_KEYS_WITHOUT_MEANING:
            # Not named: it may be what follows a semicolon in a password without quotes.
            raise ValueError(
                f"has an unknown part at position {position}; "
                "known are Host, Port, Database, User, Password, TlsMode, RootCertificate"
            )
    notes = []
    tls = parts.get("tlsmode", "disable").lower() in {"require", "1"}
    port = parts.get("port", "9440" if tls else "9000")
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535:
        raise ValueError("has a Port that is not a number from 1 to 65535")
    http_port = HTTP_PORT_OF.get(int(port), int(port))
    tls = tls or http_port == 8443
    host = parts.get("host", "localhost")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    url = f"{'https' if tls else 'http'}://{host}:{http_port}"
    if not _is_host(url):
        raise ValueError("has a Host that is not a host name or address")
    if int(port) in HTTP_PORT_OF:
        notes.append(
            f"native port {port} became {url}, because Nealytics uses ClickHouse's HTTP interface; "
            "set clickhouse.url if it listens elsewhere"
        )
    elif int(port) not in HTTP_PORT_OF.values():
        notes.append(
            f"port {port} is used as ClickHouse's HTTP port ({url}); if it is the native port, "
            "set clickhouse.url to the HTTP one"
        )
    without_meaning = sorted(set(parts) & _CONNECTION_KEYS_WITHOUT_MEANING)
    if without_meaning:
        notes.append(f"{', '.join(without_meaning)}: of the native protocol, not used")
    values = {"clickhouse.url": url}
    if parts.get("database", DATABASE) not in ("", DATABASE):
        notes.append(
            f"Database= is not used: the C# engine stores its events in {DATABASE}.global_events whatever it "
            "says, and so does Nealytics; set clickhouse.database to use another"
        )
    for part, key in (
        ("user", "user"),
        ("password", "password"),
        ("rootcertificate", "ca_file"),
    ):
        if parts.get(part):
            values[f"clickhouse.{key}"] = parts[part]
    return Translation(values, notes)


def wire_compression(text: str) -> Translation:
    """LZ4 of the native protocol becomes zstd over HTTP."""
    on = text.strip().lower()
    if on not in {"true", "false"}:
        raise ValueError("is neither true nor false")
    return Translation({"clickhouse.compression": "zstd" if on == "true" else "none"}, [])


TRANSLATED: dict[str, Callable[[str], Translation]] = {
    "ClickHouseConnectionString": connection_string,
    "EnableWireCompression": wire_compression,
}

NAMES = tuple(sorted([*RENAMED, *TRANSLATED, *WITHOUT_MEANING]))

# Options whose value may come from a file named by TelemetryEngine__<Name>_FILE.
SECRET_NAMES = ("AllowedProjectKeys", "ClickHouseConnectionString", "JwtSymmetricKey")

HTTP_PORT_OF = {9000: 8123, 9440: 8443}
DATABASE = "nealytics_core"
_CONNECTION_KEYS = {"host", "port", "database", "user", "password", "tlsmode", "rootcertificate"}
_CONNECTION_KEYS_WITHOUT_MEANING = {
    "buffersize", "busyconnectionmode", "clientname", "clientversion", "commandtimeout", "compress",
    "parametersmode", "quotakey", "readwritetimeout", "servercertificatehash",
}  # fmt: skip


def _parts_of(text: str) -> dict[str, str]:
    """`A=1;B="x;y"` → {"a": "1", "b": "x;y"}: names without case, values with a ; quoted by ' or \"."""
    parts: dict[str, str] = {}
    rest = text.strip()
    while rest:
        name, equals, rest = rest.partition("=")
        name = name.strip().lower().replace(" ", "")
        if not equals or not name:
            raise ValueError("is not of the form Host=…;Port=…;Database=…;")
        rest = rest.lstrip()
        quote = rest[:1]
        if quote in {"'", '"'}:
            value, closed, rest = rest[1:].partition(quote)
            while closed and rest.startswith(quote):  # a doubled quote stands for itself
                more, closed, rest = rest[1:].partition(quote)
                value += quote + more
            if not closed:
                raise ValueError("has a quote that is not closed")
            _, _, rest = rest.partition(";")
        else:
            value, _, rest = rest.partition(";")
            value = value.strip()
        parts[name] = value
        rest = rest.lstrip("; \t\r\n")
    return parts


def _is_host(url: str) -> bool:
    try:
        split = urlsplit(url)
        return (
            bool(split.hostname)
            and split.port is not None
            and split.netloc == url.partition("://")[2]
            and "@" not in url
        )
    except ValueError:
        return False
