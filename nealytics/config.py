"""Configuration: one frozen struct per TOML table, read once, each part handed only its own.

`nealytics.toml`, over it the environment. `nealytics.example.toml` shows every key with its default and when to
change it; a test keeps the two the same.
"""

from pathlib import Path
from typing import Literal

import msgspec


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class ServerConfig(_Table):
    listen: str = "0.0.0.0:5000"
    workers: int = 1
    data_dir: Path = Path("data")
    connections_max: int = 20_000  # per worker; 0 = unlimited
    header_timeout_s: float = 5.0
    body_idle_timeout_s: float = 10.0
    request_timeout_s: float = 30.0  # head and body together
    keepalive_timeout_s: float = 75.0
    shutdown_timeout_s: float = 10.0
    cors_allowed_origins: tuple[str, ...] = ()  # empty = any origin


class ApiKey(_Table):
    """One ingest key. Exactly one of `key` and `key_sha256` (hex) is given."""

    key: str = ""
    key_sha256: str = ""
    project: str = ""  # empty = may write any project
    tenant: str = ""  # empty = may write any tenant
    kind: Literal["server", "browser"] = "server"


class AuthConfig(_Table):
    api_keys: tuple[ApiKey, ...] = ()
    jwt_key: str = ""  # HS256; at least 32 bytes
    jwt_clock_skew_s: int = 30
    jwt_issuer: str = ""  # empty = not checked
    jwt_audience: str = ""  # empty = not checked


class IngestConfig(_Table):
    body_bytes_max: int = 1_048_576  # after decompression
    decompression: bool = True
    identifier_chars_max: int = 256
    item_id_chars_max: int = 2_048
    future_hours_max: int = 24
    rate_limit_requests: int = 1_000  # per key and window; 0 = unlimited
    rate_limit_window_s: int = 10
    rate_limit_queue_max: int = 500
    wait_timeout_s: float = 10.0


class WalConfig(_Table):
    directory: Path = Path()  # empty = <data_dir>/wal; load() fills it in
    segment_bytes_max: int = 64 * 1024 * 1024
    bytes_max: int = 10 * 1024**3  # per node, shared evenly by the workers
    free_bytes_min: int = 512 * 1024**2
    keep_hours: float = 1.0
    keep_bytes: int = 1024**3
    lock_timeout_s: float = 30.0
    allow_any_filesystem: bool = False


class CommitConfig(_Table):
    batch_rows_max: int = 10_000
    batch_bytes_max: int = 32 * 1024 * 1024
    batch_partitions_max: int = 12
    flush_interval_s: float = 3.0
    retries_before_alert: int = 5
    backoff_max_ms: int = 30_000


class ClickHouseConfig(_Table):
    url: str = "embedded"  # or http(s)://host:port
    database: str = "nealytics_core"
    user: str = "default"
    password: str = ""
    ca_file: str = ""
    compression: Literal["none", "gzip", "zstd"] = "none"  # of insert bodies and answers; never on a unix socket
    connections_max: int = 16
    connect_timeout_s: float = 5.0
    insert_timeout_s: float = 120.0
    query_timeout_s: float = 30.0
    apply_schema: bool = True  # create or migrate the table at start
    retention_days: int = 90  # 0 = for ever
    embedded_listen: str = ""  # host:port; also serve the embedded engine there
    embedded_password: str = ""  # required with embedded_listen


class QueryConfig(_Table):
    limit_max: int = 10_000
    default_range_hours: int = 24


class ObserveConfig(_Table):
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    prometheus: bool = False


class Config(_Table):
    server: ServerConfig = ServerConfig()
    auth: AuthConfig = AuthConfig()
    ingest: IngestConfig = IngestConfig()
    wal: WalConfig = WalConfig()
    commit: CommitConfig = CommitConfig()
    clickhouse: ClickHouseConfig = ClickHouseConfig()
    query: QueryConfig = QueryConfig()
    observe: ObserveConfig = ObserveConfig()
