"""The ClickHouse user that saved queries run as: what ClickHouse itself refuses it, whatever the SQL says.

    rights     SELECT on the table of events, nothing else
    settings   `readonly = 1`: a request changes none but its limits, up to a maximum, and `log_comment`
    rows       a row policy: those of the scope that `log_comment` names, and an error without a valid one

`log_comment` is a setting that every server knows and that has no effect on a query. A SETTINGS clause could
change it. So its value is signed: SQL that does not have the key cannot name another scope.

    <project in hex>.<tenant in hex, or * for all tenants>.<signature>

The signature is SHA-256 of key and text, nested as in HMAC. ClickHouse computes it once for each query. If it
is wrong, the query fails (`is_without_scope`), also on an empty table: so it can be verified without data
that the policy exists.

The embedded engine has this user (`embedded_config`). On a server its operator makes it, by `statements`.
"""

import hashlib
from typing import Final

from nealytics.clickhouse.error_codes import CANNOT_PARSE_TEXT
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.settings import NO_PARTIAL_ANSWER, READ_SETTINGS, SQL_BYTES_MAX, Setting
from nealytics.clickhouse.sql import quoted, table_name
from nealytics.config import ClickHouseConfig, QueryConfig

USER = "nealytics_saved"

# What the policy compares with; it is not a number, so ClickHouse names it in the error.
_NO_SCOPE = "no valid scope"

# The same for every request, so that none needs to send them.
_PROFILE: Final[dict[str, Setting]] = {
    **{name: value for name, value in READ_SETTINGS.items() if name != "wait_end_of_query"},
    "readonly": 1,
    "max_query_size": SQL_BYTES_MAX,
    # Times in answers are ISO 8601 in UTC, whatever the server's time zone is.
    "session_timezone": "UTC",
    "date_time_output_format": "iso",
    "output_format_csv_crlf_end_of_line": 1,
    "output_format_parallel_formatting": 0,
    "output_format_parquet_string_as_string": 1,
    "output_format_parquet_compression_method": "zstd",
    "output_format_parquet_row_group_size": 100_000,
    **NO_PARTIAL_ANSWER,
}
# What a request may set beside its limits.
CHANGEABLE: Final = ("log_comment", "output_format_json_quote_decimals")


def settings() -> dict[str, Setting]:
    """The values of the user's settings."""
    return dict(_PROFILE)


def limits(config: QueryConfig, time_s: float) -> dict[str, int]:
    """The limits of one query, and the maximum that a request may ask for; 0 is none."""
    return {
        "max_execution_time": max(1, int(time_s)),
        "max_rows_to_read": config.rows_read_max,
        "max_memory_usage": config.memory_bytes_max,
        "max_result_rows": config.result_rows_max,
        "max_result_bytes": config.result_bytes_max,
    }


def scope_key(password: str) -> str:
    """The key that scopes are signed with; it follows from the user's password, so there is one secret."""
    return hashlib.sha256(f"nealytics saved queries: {password}".encode()).hexdigest()


def signed(key: str, project_id: str, tenant_id: str | None) -> str:
    """The value of `log_comment` that opens one tenant, or all of a project."""
    tenant = "*" if tenant_id is None else _hex(tenant_id)
    text = f"{_hex(project_id)}.{tenant}"
    return f"{text}.{_signature(key, text)}"


def _hex(text: str) -> str:
    return text.encode().hex().upper()


def _signature(key: str, text: str) -> str:
    inner = hashlib.sha256(f"{key}{text}".encode()).digest()
    return hashlib.sha256(key.encode() + inner).hexdigest().upper()


def policy(key: str) -> str:
    """The condition of the row policy. All of it but the comparisons with columns is computed once for each
    query, so the table's key is used."""
    parts = "splitByChar('.', getSetting('log_comment'))"
    project, tenant, signature = (f"{parts}[{position}]" for position in (1, 2, 3))
    text = f"concat({project}, '.', {tenant})"
    inner = f"SHA256(concat({quoted(key)}, {text}))"
    valid = f"hex(SHA256(concat({quoted(key)}, {inner}))) = {signature}"
    return (
        f"project_id = unhex({project}) AND ({tenant} = '*' OR tenant_id = unhex({tenant}))"
        f" AND toUInt8(if({valid}, '1', {quoted(_NO_SCOPE)})) = 1"
    )


def is_without_scope(error: ClickHouseError) -> bool:
    """Whether the row policy refused a query because its scope was not signed."""
    return error.code == CANNOT_PARSE_TEXT and _NO_SCOPE in error.message


def statements(clickhouse: ClickHouseConfig, query: QueryConfig, user: str, password: str) -> list[str]:
    """What the operator of a server runs once, with a user who may manage access."""
    table = table_name(clickhouse.database)
    values = [f"{name} = {_literal(value)}" for name, value in settings().items()]
    for name, most in limits(query, clickhouse.query_timeout_s).items():
        bound = f"MIN 1 MAX {most} " if most else ""
        values.append(f"{name} = {most} {bound}CHANGEABLE_IN_READONLY")
    values += [f"{name} CHANGEABLE_IN_READONLY" for name in CHANGEABLE]
    digest = hashlib.sha256(password.encode()).hexdigest()
    return [
        f"CREATE SETTINGS PROFILE OR REPLACE {user} SETTINGS\n    " + ",\n    ".join(values),
        f"CREATE USER OR REPLACE {user} IDENTIFIED WITH sha256_hash BY '{digest}' SETTINGS PROFILE '{user}'",
        f"GRANT SELECT ON {table} TO {user}",
        f"CREATE ROW POLICY OR REPLACE {user} ON {table} FOR SELECT\n"
        f"    USING {policy(scope_key(password))}\n    TO {user}",
    ]


def _literal(value: Setting) -> str:
    return quoted(value) if isinstance(value, str) else str(value)
