"""Configuration: read once, checked as a whole, and each part handed only its own table.

    tables.py       one frozen struct per TOML table, each key with its default and bounds
    values.py       a raw value, of TOML or a variable, as the value of a key
    load.py         defaults, then the files, then the environment; all problems are reported at once
    csharp.py       the C# engine's `TelemetryEngine__*` options: its deployments run unchanged
    appsettings.py  the C# engine's configuration file, which has the same options
    check.py        what a single key's bounds cannot say
    pem.py          public keys in PEM
    reload.py       which settings of a new configuration a running node uses

`nealytics.example.toml` shows every key with its default and when to change it; a test keeps the two equal.
No secret is ever printed: not by `repr`, not by `masked`, not in an error.
"""

from nealytics.config.check import key_digest, require_serving, split_bucket, split_listen
from nealytics.config.load import Loaded, load, load_with_notes
from nealytics.config.pem import public_key
from nealytics.config.reload import Reloaded, reloaded
from nealytics.config.tables import (
    ApiKey,
    AuthConfig,
    BackupConfig,
    ClickHouseConfig,
    CommitConfig,
    CompatConfig,
    Config,
    IngestConfig,
    IssuerConfig,
    JwtAlgorithm,
    JwtKey,
    ObserveConfig,
    QueryConfig,
    QuotaRule,
    RetentionRule,
    SavedQueriesConfig,
    SegmentRule,
    ServerConfig,
    WalConfig,
    WebConfig,
    config_from_json,
    config_to_json,
    secrets_of,
)

__all__ = [
    "ApiKey",
    "AuthConfig",
    "BackupConfig",
    "ClickHouseConfig",
    "CommitConfig",
    "CompatConfig",
    "Config",
    "IngestConfig",
    "IssuerConfig",
    "JwtAlgorithm",
    "JwtKey",
    "Loaded",
    "ObserveConfig",
    "QueryConfig",
    "QuotaRule",
    "Reloaded",
    "RetentionRule",
    "SavedQueriesConfig",
    "SegmentRule",
    "ServerConfig",
    "WalConfig",
    "WebConfig",
    "config_from_json",
    "config_to_json",
    "key_digest",
    "load",
    "load_with_notes",
    "public_key",
    "reloaded",
    "require_serving",
    "secrets_of",
    "split_bucket",
    "split_listen",
]
