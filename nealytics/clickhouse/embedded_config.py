"""What the embedded ClickHouse is told at its start: its settings, its users and what each may do.

    writer      our inserts, the schema, system tables
    reader      our reads: one table, read-only
    saved       saved queries: one table, read-only, and only the rows of the scope that is sent with a query
    nealytics   people's tools, if `clickhouse.embedded_listen` is set: as the reader, of one project or all
    control     the engine's own process: sees what runs, and ends queries that fill the disk
    backup      `nealytics backup`: writes the node's database to the backup disks, and counts events
    operator    all rights; only in an engine that a command starts for itself

None but the operator may run a command, open a connection, read or write a file, or stop the server: decision
0027 lists what stands against each. `backup` may write backups, to two disks: S3 if it is configured, and
links that the command makes in a directory of ours (decision 0030). Pure but for `memory_bytes`, which reads
the kernel's limits.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from nealytics.clickhouse import saved_reader
from nealytics.clickhouse.embedded import LOOPBACK, Access, listen_hosts
from nealytics.clickhouse.sql import TABLE, identifier, quoted, table_name
from nealytics.config import BackupConfig, ClickHouseConfig, QueryConfig

TOOLS_USER = "nealytics"

# The disks that backups are written to. The command links a directory into the first one's, so the engine
# writes only where the command, with the node's own rights, has made a link.
BACKUP_DISK = "backups"
BACKUP_LINKS = "backups"  # in the run directory, as is the next
BACKUP_PASSWORD = "backup-password"
S3_DISK = "backups_s3"
S3_SECRET = "NEALYTICS_ENGINE_S3_SECRET"  # variable of the engine's own environment
# ClickHouse's 500 would take hours to say that a bucket does not answer.
_S3_RETRIES_MAX = 10

# The engine shares the machine with the workers and the page cache. A query that would exceed this is refused
# with code 241; without a limit, the kernel would end a process.
MEMORY_SHARE_MAX = 0.5
# ClickHouse's default of 5 GiB is meant for a machine of its own.
MARK_CACHE_BYTES_MAX = 256 * 1024 * 1024
# How often ClickHouse compares its count of memory with the kernel's. With its default of 50 ms, this is a
# quarter of an idle engine's processor time.
MEMORY_CHECK_MS = 250
# An answer that is wanted whole is kept on disk until it is complete. It may use disk space until this many
# times `wal.free_bytes_min` is left: at that itself the log accepts no events.
FREE_SHARE_MIN = 2
# Queries of people's tools: so many at a time, with this share of the engine's memory in all, and each for at
# most so long, so that they leave threads and memory to the node.
TOOLS_QUERIES_MAX = 8
TOOLS_MEMORY_SHARE_MAX = 0.25
TOOLS_QUERY_TIME_MAX_S = 600

_PROFILE = {
    # clickhouse-local, which the library is, differs from a server in these defaults.
    "implicit_select": 0,
    "allow_introspection_functions": 0,
    "serialize_query_plan": 0,
    # ClickHouse compiles frequent expressions to machine code, in memory that it writes and then runs. Where
    # that is forbidden (systemd's MemoryDenyWriteExecute), the fourth query of a kind ends with code 445. It
    # gains nothing: the heaviest questions over a million events take as long without it.
    "compile_expressions": 0,
    "compile_aggregate_expressions": 0,
    "compile_sort_description": 0,
    "compile_regular_expressions": 0,
    # A client may read an answer slowly; the node itself ends one that reads too slowly.
    "http_send_timeout": 600,
    # The library's own table function python() ends the process.
    "allow_python_table_function": 0,
}
# Settings that no user may change: each names a file that the server then reads or writes, or a server that
# it then asks, or opens a table function that runs more than the grants say.
_FIXED = (
    "allow_experimental_eval_table_function",
    "allow_python_table_function",
    "format_avro_schema_registry_url",
    "format_schema",
    "format_schema_source",
    "format_template_resultset",
    "format_template_resultset_format",
    "format_template_row",
    "format_template_row_format",
    "input_format_record_errors_file_path",
    "output_format_schema",
    # Of tables: a disk may be another directory or a server elsewhere.
    "merge_tree_disk",
    "merge_tree_storage_policy",
    "merge_tree_table_disk",
)
# What keeps tools within their share.
_FIXED_FOR_TOOLS = (
    "max_concurrent_queries_for_user",
    "max_memory_usage_for_user",
    "memory_overcommit_ratio_denominator",
    "memory_overcommit_ratio_denominator_for_user",
    "memory_usage_overcommit_max_wait_microseconds",
)
_WRITER_RIGHTS = (
    "SELECT, INSERT, CREATE DATABASE, CREATE TABLE, DROP TABLE, ALTER UPDATE, ALTER DELETE, ALTER COLUMN, "
    "ALTER INDEX, ALTER TTL, ALTER SETTINGS, ALTER MODIFY COMMENT, CHECK"
)


def server_xml(
    config: ClickHouseConfig, access: Access, directory: Path, *, memory: int, backup: BackupConfig
) -> str:
    """config.xml of an engine whose files are in `directory`, on a machine with `memory` bytes."""
    values: list[tuple[str, object]] = [
        *(("listen_host", host) for host in listen_hosts(config)),
        ("http_port", access.port),
        # The parent holds the ports, so that no other user's program has one while the engine restarts.
        ("listen_reuse_port", 1),
        ("users_config", f"{directory}/run/users.xml"),
        ("tmp_path", f"{directory}/tmp/"),
        ("max_server_memory_usage", _server_memory(memory)),
        ("mark_cache_size", MARK_CACHE_BYTES_MAX),
        ("memory_worker_period_ms", MEMORY_CHECK_MS),
    ]
    if config.embedded_native_port:
        values.append(("tcp_port", config.embedded_native_port))
    # Without these three a user sees all system tables and makes tables of any engine.
    rights = {
        "select_from_system_db_requires_grant": "true",
        "select_from_information_schema_requires_grant": "true",
        "table_engines_require_grant": "true",
        # Without it, no constraint can permit a setting in read-only mode.
        "settings_constraints_replace_previous": "true",
    }
    lines = [f"<{name}>{escape(str(value))}</{name}>" for name, value in values]
    lines.append(_element("access_control_improvements", rights))
    disks = {BACKUP_DISK: _element(BACKUP_DISK, _local(directory))}
    if backup.s3_url:
        disks[S3_DISK] = _s3(backup)
    lines.append(f"<storage_configuration><disks>{''.join(disks.values())}</disks></storage_configuration>")
    allowed = "".join(f"<allowed_disk>{name}</allowed_disk>" for name in disks)
    lines.append(f"<backups>{allowed}</backups>")
    return _document(lines)


def _local(directory: Path) -> dict[str, str]:
    return {"type": "local", "path": f"{escape(str(directory))}/run/{BACKUP_LINKS}/"}


def _s3(backup: BackupConfig) -> str:
    """Not asked at the start: a bucket that is down stops no node."""
    values: dict[str, object] = {
        "type": "s3_plain",
        "endpoint": f"{backup.s3_url.rstrip('/')}/",
        "region": backup.s3_region,
        "access_key_id": backup.s3_access_key_id,
        "skip_access_check": "true",
        "retry_attempts": _S3_RETRIES_MAX,
    }
    lines = [f"<{name}>{escape(str(value))}</{name}>" for name, value in values.items()]
    secret = f'<secret_access_key from_env="{S3_SECRET}"/>'
    return f"<{S3_DISK}>{''.join(lines)}{secret}</{S3_DISK}>"


def _server_memory(memory: int) -> int:
    return int(memory * MEMORY_SHARE_MAX)


def users_xml(
    config: ClickHouseConfig, query: QueryConfig, access: Access, *, control: str, backup: str, memory: int
) -> str:
    """users.xml: passwords as hashes, rights as GRANT statements."""
    database = identifier(config.database)
    table = table_name(config.database)
    users = [
        _user("default", None, "session", ["SYSTEM LISTEN ON *.*"]),
        _user(
            "control",
            control,
            "writer",
            ["KILL QUERY ON *.*", "SELECT ON system.processes"],
        ),
        _user(
            "writer",
            access.writer,
            "writer",
            [f"{_WRITER_RIGHTS} ON {database}.*", "TABLE ENGINE ON ReplacingMergeTree", "SELECT ON system.*"],
        ),
        _user("reader", access.reader, "reader", [f"SELECT ON {table}"]),
    ]
    if access.saved:
        users.append(_saved_user(config.database, access.saved, table))
    rights = [f"BACKUP, SELECT ON {database}.*", "SELECT ON system.backups", "READ, WRITE ON DISK"]
    users.append(_user("backup", backup, "writer", rights))
    if access.operator:
        users.append(_user("operator", access.operator, "operator", ["ALL ON *.*"]))
    if config.embedded_listen:
        users.append(_tools_user(config, table))
    return _document(
        [
            f"<profiles>{''.join(_profiles(config, query, memory))}</profiles>",
            "<quotas><default/></quotas>",
            f"<users>{''.join(users)}</users>",
        ]
    )


def _profiles(config: ClickHouseConfig, query: QueryConfig, memory: int) -> list[str]:
    limits = saved_reader.limits(query, config.query_timeout_s)
    return [
        _profile("default", _PROFILE),
        # The library's own session is this user without a password, and it is there before the listener is.
        # One session at most: nobody else can be this user.
        _profile("session", {"profile": "default", "max_sessions_for_user": 1}),
        _profile("writer", {"profile": "default"}),
        _profile("reader", {"profile": "default", "readonly": 2}),
        _profile(
            "tools",
            {
                "profile": "reader",
                "max_concurrent_queries_for_user": TOOLS_QUERIES_MAX,
                "max_memory_usage_for_user": int(_server_memory(memory) * TOOLS_MEMORY_SHARE_MAX),
                "max_execution_time": TOOLS_QUERY_TIME_MAX_S,
                # ClickHouse's default is ZSTD, which the JDBC driver cannot read with compress=1.
                "network_compression_method": "LZ4",
            },
            fixed=_FIXED_FOR_TOOLS,
            # A tool may ask for less; 0 would be no limit.
            between={"max_execution_time": (1, TOOLS_QUERY_TIME_MAX_S)},
        ),
        _profile(
            "saved",
            {"profile": "default", **saved_reader.settings(), **limits},
            changeable={**limits, **dict.fromkeys(saved_reader.CHANGEABLE, 0)},
        ),
        "<operator><profile>default</profile></operator>",
    ]


def _tools_user(config: ClickHouseConfig, table: str) -> str:
    policy = ""
    if config.embedded_project:
        policy = _row_policy(config.database, f"project_id = {quoted(config.embedded_project)}")
    return _user(
        TOOLS_USER,
        config.embedded_password,
        "tools",
        [
            f"SELECT ON {table}",
            "SELECT ON information_schema.*",
            "SELECT ON system.one",
            "SELECT ON system.numbers",
        ],
        networks="<ip>::/0</ip>",
        more=f"<default_database>{config.database}</default_database>{policy}",
    )


def _saved_user(database: str, password: str, table: str) -> str:
    only = saved_reader.policy(saved_reader.scope_key(password))
    return _user("saved", password, "saved", [f"SELECT ON {table}"], more=_row_policy(database, only))


def _row_policy(database: str, condition: str) -> str:
    return (
        f"<databases><{database}><{TABLE}><filter>{escape(condition)}</filter></{TABLE}>"
        f"</{database}></databases>"
    )


def _user(
    name: str,
    password: str | None,
    profile: str,
    rights: list[str],
    *,
    networks: str = f"<ip>{LOOPBACK}</ip>",
    more: str = "",
) -> str:
    secret = (
        "<password></password>"
        if password is None
        else f"<password_sha256_hex>{hashlib.sha256(password.encode()).hexdigest()}</password_sha256_hex>"
    )
    grants = "".join(f"<query>GRANT {escape(right)}</query>" for right in rights)
    return (
        f"<{name}>{secret}<networks>{networks}</networks><profile>{profile}</profile><quota>default</quota>"
        f"<grants>{grants}</grants>{more}</{name}>\n"
    )


def _profile(
    name: str,
    settings: Mapping[str, object],
    fixed: tuple[str, ...] = (),
    between: Mapping[str, tuple[int, int]] | None = None,
    changeable: Mapping[str, int] | None = None,
) -> str:
    """`changeable` in read-only mode: settings with their maximum; 0 is none."""
    constraints = "".join(f"<{setting}><readonly/></{setting}>" for setting in (*_FIXED, *fixed))
    for setting, (least, most) in (between or {}).items():
        constraints += f"<{setting}><min>{least}</min><max>{most}</max></{setting}>"
    for setting, most in (changeable or {}).items():
        bounds = f"<min>1</min><max>{most}</max>" if most else ""
        constraints += f"<{setting}>{bounds}<changeable_in_readonly/></{setting}>"
    values = "".join(f"<{setting}>{value}</{setting}>" for setting, value in settings.items())
    return f"<{name}>{values}<constraints>{constraints}</constraints></{name}>\n"


def _element(name: str, values: dict[str, str]) -> str:
    return f"<{name}>{''.join(f'<{key}>{value}</{key}>' for key, value in values.items())}</{name}>"


def _document(lines: list[str]) -> str:
    return "<clickhouse>\n" + "\n".join(lines) + "\n</clickhouse>\n"


def memory_bytes(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """The memory of this machine, or the limit of our control group if that is less: a container's, that of a
    systemd unit (MemoryMax=), and those of the groups around it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # The kernel's lines: `0::/path` of version 2, `7:memory:/path` of version 1. In a container the path may
    # be one that only the host can see; the container's own group is then the root of what is mounted here.
    own = []
    with contextlib.suppress(OSError):
        own = [line.split(":", 2) for line in groups.read_text().splitlines()]
    for _, controllers, path in own:
        if controllers == "":
            total = min([total, *_limits(root, path, ("memory.max", "memory.high"))])
        elif "memory" in controllers.split(","):
            total = min([total, *_limits(root / "memory", path, ("memory.limit_in_bytes",))])
    return total


def _limits(root: Path, path: str, names: tuple[str, ...]) -> Iterator[int]:
    """The limits of a control group and of all above it, of those that have any."""
    group = root / path.lstrip("/")
    for directory in (group, *group.parents):
        if directory.is_relative_to(root):
            for name in names:
                with contextlib.suppress(OSError, ValueError):  # "max" is none
                    yield int((directory / name).read_text())
