"""The tables of `nealytics.toml`: every key, its type, default and bounds.

Each bound is beside its key, with the reason where the number alone does not tell it. A `Secret` is masked
wherever a table is shown.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, inspect

MASK = "***"

Secret = Annotated[str, Meta(extra={"secret": True})]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


# The table's TTL is computed in 32-bit seconds, which end in 2106: a far larger number would wrap around and
# delete everything.
RETENTION_DAYS_MAX = 18_250


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table. Its `repr` is safe to print and to log."""

    def masked(self) -> dict[str, Any]:
        """The table as plain values, with `***` for each secret that is set."""
        secret = secret_keys(type(self))
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: MASK if name in secret and value else _plain(value) for name, value in values.items()}

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.masked().items())
        return f"{type(self).__name__}({shown})"

    # msgspec gives structs this method, and rich would print the secrets through it.
    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return list(self.masked().items())


class ServerConfig(_Table, frozen=True):
    listen: str = "0.0.0.0:5000"
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    path_prefix: str = ""  # an optional prefix of request paths, such as "/analytics"
    data_dir: Path = Path("data")
    connections_max: Count = 20_000  # per worker; 0 = unlimited
    header_timeout_s: Seconds = 5.0
    body_idle_timeout_s: Seconds = 10.0
    request_timeout_s: Seconds = 30.0  # head and body together
    answer_bytes_per_s_min: Count = 4_096  # that a client must read; 0 = any rate within body_idle_timeout_s
    keepalive_timeout_s: Seconds = 620.0  # above Google's load balancer, which has the longest: 600
    shutdown_timeout_s: Seconds = 10.0
    cors_allowed_origins: tuple[str, ...] = ()  # empty = any origin
    trusted_proxies: tuple[str, ...] = ()  # addresses and networks whose header names the client
    # Only one of the two: a proxy that writes one header forwards the other as the client sent it.
    forwarded_header: Literal["X-Forwarded-For", "Forwarded"] = "X-Forwarded-For"
    fast_lane: bool = True  # small ingest requests bypass aiohttp; answers are the same


class ApiKey(_Table, frozen=True):
    """One ingest key. Exactly one of `key` and `key_sha256` (hex) is given."""

    key: Secret = ""
    key_sha256: Secret = ""
    project: str = ""  # empty = may write any project
    tenant: str = ""  # empty = may write any tenant
    kind: Literal["server", "browser"] = "server"


JwtAlgorithm = Literal["HS256", "RS256", "RS512", "PS256", "ES256", "EdDSA"]

ClaimValue = str | int | float | bool


class JwtKey(_Table, frozen=True):
    """One key that verifies tokens, and the only algorithm it is used for.

    Exactly one of `key`, `key_file` and `public_key_file` is given. `load()` copies the file's content to
    `key`, so that every process of the node has the same key, whatever happens to the file.
    """

    algorithm: JwtAlgorithm = "HS256"
    kid: str = ""  # empty = for tokens without a kid, or with one that no key has
    key: Secret = ""  # HS256: the shared secret, at least 32 bytes; else the public key in PEM
    key_file: str = ""
    public_key_file: str = ""


class IssuerConfig(_Table, frozen=True):
    """One service whose tokens are accepted. A token with its `iss` is verified with its keys alone."""

    issuer: str = ""  # as in `iss`; "{claim}" in it stands for the token's claim of that name
    jwks_url: str = ""
    audience: tuple[str, ...] = ()  # one of these must be in `aud`; empty, or "*" = not checked
    algorithms: tuple[JwtAlgorithm, ...] = ()  # empty = all but HS256
    tenant_claim: str = ""  # empty = auth.tenant_claim
    project_claim: str = ""  # empty = auth.project_claim
    project: str = ""  # empty = auth.project
    required_claims: dict[str, tuple[ClaimValue, ...]] = {}  # claim → its values; one of them is enough
    project_scope: bool = False  # whether scope "project" without a tenant reads all tenants
    admin_scope: bool = False  # whether scope "admin" opens the admin routes
    ingest_scope: bool = False  # whether scope "ingest" opens the ingest routes


class AuthConfig(_Table, frozen=True):
    api_keys: tuple[ApiKey, ...] = ()
    jwt_key: Secret = ""  # HS256; at least 32 bytes
    jwt_key_previous: Secret = ""  # still accepted, while a new jwt_key spreads
    jwt_keys: tuple[JwtKey, ...] = ()
    jwks_url: str = ""  # an issuer's public keys
    jwks_ca_file: str = ""
    jwks_refresh_s: Annotated[int, Meta(ge=10, le=86_400)] = 300
    # Tokens rarely live longer than an hour, and an issuer that is down for longer issues no new ones.
    jwks_age_max_s: Annotated[int, Meta(ge=20, le=604_800)] = 3_600
    jwt_clock_skew_s: Annotated[int, Meta(ge=0, le=3_600)] = 30
    jwt_issuer: str = ""  # empty = not checked
    jwt_audience: str = ""  # empty = not checked
    tenant_claim: str = "tenant_id"
    project_claim: str = "project_id"
    project: str = ""  # of all tokens; empty = as project_claim says
    ingest_scope: bool = False  # whether scope "ingest" opens the ingest routes also beside public keys
    issuers: tuple[IssuerConfig, ...] = ()


class IngestConfig(_Table, frozen=True):
    # After decompression. The upper bound keeps a lone row, however large, within one ClickHouse block
    # (256 MiB).
    body_bytes_max: Annotated[int, Meta(ge=1, le=128 * MIB)] = MIB
    decompression: bool = True
    identifier_chars_max: Annotated[int, Meta(ge=1, le=65_536)] = 256
    item_id_chars_max: Annotated[int, Meta(ge=1, le=65_536)] = 2_048
    # Of one event, in bytes of UTF-8. Every answer that lists events carries it. The upper bound is that of
    # a whole event's JSON, which cannot be parsed in slices.
    metadata_bytes_max: Annotated[int, Meta(ge=2, le=2 * MIB)] = 256 * KIB
    future_hours_max: Annotated[int, Meta(ge=0, le=87_600)] = 24
    keep_rejected: bool = False  # also events of track, batch and beacon, not only those of SDKs
    # Events that are not accepted, per node: the oldest are dropped. 0 = they are not kept.
    rejected_bytes_max: Count = 64 * MIB
    rejected_days_max: Annotated[int, Meta(ge=1, le=3_650)] = 30
    rate_limit_requests: Count = 1_000  # per key and window; 0 = unlimited
    # Of keys of kind "browser", and of the ingest tokens of a project together, per client address (IPv6: per
    # /64) and window; 0 = unlimited. An office behind one address sends less than this; a script that floods
    # is held to a fifth of what the key may.
    rate_limit_requests_per_address: Count = 200
    rate_limit_window_s: Annotated[int, Meta(ge=1, le=86_400)] = 10
    rate_limit_queue_max: Count = 500
    wait_timeout_s: Seconds = 10.0


class CompatConfig(_Table, frozen=True):
    """The HTTP APIs of other vendors, for their SDKs."""

    segment: bool = True  # Segment's and RudderStack's SDKs
    posthog: bool = True
    # RudderStack's SDKs send up to 4 MB, PostHog's API accepts 20 MB; after decompression.
    segment_body_bytes_max: Annotated[int, Meta(ge=KIB, le=128 * MIB)] = 4 * MIB
    posthog_body_bytes_max: Annotated[int, Meta(ge=KIB, le=128 * MIB)] = 20 * MIB
    # Where a message names its tenant, in this order, if the key is bound to none; `*` is the only name.
    tenant_from: tuple[str, ...] = (
        "context.groupId",
        "groupId",
        "properties.$groups.*",
        "properties.tenant_id",
    )


class WalConfig(_Table, frozen=True):
    directory: Path = Path()  # empty = <data_dir>/wal; load() fills it in
    segment_bytes_max: Annotated[int, Meta(ge=64 * KIB, le=GIB)] = 64 * MIB
    bytes_max: Positive = 10 * GIB  # per node, shared evenly by the workers
    free_bytes_min: Count = 512 * MIB
    # An accident in the evening that is noticed in the morning, and time to restore.
    keep_hours: Annotated[float, Meta(ge=0, le=87_600)] = 24.0
    keep_bytes: Count = 3 * GIB  # per node, shared evenly by the workers
    lock_timeout_s: Annotated[float, Meta(ge=0, le=86_400)] = 30.0
    allow_any_filesystem: bool = False


BATCH_ROWS_MAX = 100_000


class CommitConfig(_Table, frozen=True):
    # A batch must stay one ClickHouse block, because a block is what is deduplicated: far fewer rows than
    # 1,048,449 and far fewer bytes than 256 MiB.
    batch_rows_max: Annotated[int, Meta(ge=1, le=BATCH_ROWS_MAX)] = 10_000
    # load() sets it to batch_rows_max if only that is set.
    catch_up_rows_max: Annotated[int, Meta(ge=0, le=BATCH_ROWS_MAX)] = BATCH_ROWS_MAX
    batch_bytes_max: Annotated[int, Meta(ge=64 * KIB, lt=64 * MIB)] = 32 * MIB
    batch_partitions_max: Annotated[int, Meta(ge=1, le=100)] = 12
    flush_interval_s: Annotated[float, Meta(gt=0, le=3_600)] = 3.0
    retries_before_alert: Count = 5
    age_before_alert_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0  # 0 = however long
    backoff_max_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 30_000

    @property
    def rows_at_once_max(self) -> int:
        """Rows of one batch when more than `batch_rows_max` are waiting."""
        return max(self.batch_rows_max, self.catch_up_rows_max)


class ClickHouseConfig(_Table, frozen=True):
    url: str = "embedded"  # or http(s)://host:port; several, comma-separated: replicas of one shard
    cluster: str = ""  # its name in system.clusters; empty = one table on one server
    insert_quorum: Count = 0  # replicas of a shard that must have an insert; 0 = most of them
    database: str = "nealytics_core"
    user: str = "default"
    password: Secret = ""
    ca_file: str = ""
    compression: Literal["none", "gzip", "zstd"] = "none"  # of insert bodies; never to the embedded engine
    connections_max: Count = 16  # 0 = unlimited
    connect_timeout_s: Seconds = 5.0
    insert_timeout_s: Seconds = 120.0
    query_timeout_s: Seconds = 30.0
    apply_schema: bool = True  # create or migrate the table at start
    retention_days: Annotated[int, Meta(ge=0, le=RETENTION_DAYS_MAX)] = 90  # 0 = for ever
    embedded_listen: str = ""  # host:port; also serve people's tools there, by HTTP
    embedded_native_port: Annotated[int, Meta(ge=0, le=65_535)] = (
        0  # and there by the native protocol; 0 = not
    )
    embedded_password: Secret = ""  # required with embedded_listen
    embedded_project: str = ""  # the only project that tools may read; empty = all

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses of `url`, in the order of preference."""
        return tuple(self.url.split(","))


LIMIT_DEFAULT = 100  # of records, where a read gives no limit


class QueryConfig(_Table, frozen=True):
    limit_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    default_range_hours: Annotated[int, Meta(ge=1, le=876_000)] = 24
    # What one query may spend; 0 = unlimited. Its time is clickhouse.query_timeout_s.
    rows_read_max: Count = 1_000_000_000
    memory_bytes_max: Count = 2 * GIB
    result_rows_max: Count = 2_000_000
    result_bytes_max: Count = 128 * MIB
    page_bytes_max: Annotated[int, Meta(ge=KIB, le=128 * MIB)] = 8 * MIB  # of a page of the timeline
    unread_bytes_max: Annotated[int, Meta(ge=MIB)] = 256 * MIB  # answers in memory, per worker
    concurrency_max: Annotated[int, Meta(ge=1, le=1_000)] = 4  # queries at once, per worker
    queue_max: Count = 200  # waiting queries, per worker
    queue_timeout_s: Seconds = 15.0
    cache_s: Annotated[int, Meta(ge=0, le=86_400)] = 60  # a client may keep answers about the past; 0 = none
    exports_max: Positive = 2  # at once, per worker
    exports_per_token: Positive = 1
    parquet_timeout_s: Seconds = 600.0  # an export as Parquet is one query
    live_streams_max: Positive = 200  # at once, per worker
    live_streams_per_token: Positive = 5
    live_poll_s: Annotated[float, Meta(ge=0.1, le=3_600)] = 1.0
    live_overlap_s: Annotated[float, Meta(ge=1, le=600)] = 10.0  # how long an insert may take to be seen
    live_heartbeat_s: Annotated[float, Meta(ge=1, le=3_600)] = 15.0


LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["auto", "json", "text"]


class WebConfig(_Table, frozen=True):
    pages: bool = True  # serve / and /embed; /embed.js and /t.js are served in any case
    frame_ancestors: tuple[str, ...] = ()  # origins, beside its own, whose pages may show /embed in a frame


class BackupConfig(_Table, frozen=True):
    s3_url: str = ""  # the bucket, with a prefix if any: "https://s3.eu-central-1.amazonaws.com/bucket/node"
    s3_region: str = "us-east-1"  # servers other than Amazon's mostly accept any
    s3_access_key_id: str = ""
    s3_secret_access_key: Secret = ""


class SavedQueriesConfig(_Table, frozen=True):
    directory: Path = Path("queries")  # of the files *.sql; none needs to exist
    # Of a ClickHouse server: the user that `nealytics schema print --reader` makes. Empty = no saved queries.
    # The embedded engine has such a user.
    user: str = ""
    password: Secret = ""


class ObserveConfig(_Table, frozen=True):
    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"  # text if stderr is a terminal, else JSON
    prometheus: bool = False
    tenants_max: Annotated[int, Meta(ge=0, le=1_000)] = 20  # the largest tenants at /metrics; 0 = none


class RetentionRule(_Table, frozen=True):
    """How long the events of a project, or of a part of it, are kept. `retention.rules` selects the rule."""

    project: str = ""  # required
    tenant: str = ""  # empty = any
    event_type: str = ""  # empty = any
    # 0 = as long as the table keeps events. -1 = not given, which is refused.
    days: Annotated[int, Meta(ge=0, le=RETENTION_DAYS_MAX)] = -1


class QuotaRule(_Table, frozen=True):
    """What a project, or one of its tenants, may use. `quotas` selects the rule. -1 = a wider rule says."""

    project: str = ""  # required
    tenant: str = ""  # empty = all tenants together; "*" = each of them
    events_per_month: Annotated[int, Meta(ge=-1)] = -1  # 0 = unlimited
    queries_per_day: Annotated[int, Meta(ge=-1)] = -1  # 0 = unlimited


class SegmentRule(_Table, frozen=True):
    """A segment that questions may name. `queries.conditions` reads its filters."""

    project: str = ""  # required
    name: str = ""  # required
    filter: tuple[str, ...] = ()  # all of them must match
    any: tuple[str, ...] = ()  # and one of each group


class Config(_Table, frozen=True):
    server: ServerConfig = ServerConfig()
    auth: AuthConfig = AuthConfig()
    ingest: IngestConfig = IngestConfig()
    compat: CompatConfig = CompatConfig()
    wal: WalConfig = WalConfig()
    commit: CommitConfig = CommitConfig()
    clickhouse: ClickHouseConfig = ClickHouseConfig()
    query: QueryConfig = QueryConfig()
    saved_queries: SavedQueriesConfig = SavedQueriesConfig()
    web: WebConfig = WebConfig()
    backup: BackupConfig = BackupConfig()
    observe: ObserveConfig = ObserveConfig()
    retention: tuple[RetentionRule, ...] = ()
    quota: tuple[QuotaRule, ...] = ()
    segment: tuple[SegmentRule, ...] = ()


def config_to_json(config: Config) -> bytes:
    """The whole configuration with its secrets: for a worker's pipe, never for a file or a log."""
    return msgspec.json.encode(config, enc_hook=str)


def config_from_json(data: bytes) -> Config:
    return msgspec.json.decode(data, type=Config, dec_hook=lambda kind, value: kind(value))


def secrets_of(config: Config) -> list[str]:
    """Every secret that is set, so that the log can be kept clean of them."""
    values = (getattr(config, name) for name in config.__struct_fields__)
    tables: list[_Table] = [value for value in values if isinstance(value, _Table)]
    found = [
        getattr(table, name)
        for table in (*tables, *config.auth.api_keys, *config.auth.jwt_keys)
        for name in secret_keys(type(table))
    ]
    return [secret for secret in found if secret]


@cache
def secret_keys(table: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(
        field.name
        for field in inspect.type_info(table).fields  # type: ignore[attr-defined]
        if isinstance(field.type, inspect.Metadata) and (field.type.extra or {}).get("secret")
    )


def _plain(value: Any) -> Any:
    if isinstance(value, _Table):
        return value.masked()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value
