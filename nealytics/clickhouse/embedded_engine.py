"""chDB, ClickHouse as a library: one directory, sessions, statements, inserts.

Runs in the child process only. Everything here blocks, and lets other threads run meanwhile.
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import IO, Any, NamedTuple

from nealytics.clickhouse.sql import identifier, quoted
from nealytics.directories import make_private
from nealytics.errors import ConfigError, NealyticsError
from nealytics.process import is_compiled

log = logging.getLogger("nealytics.engine")

LOCK_TIMEOUT_S = 30.0
_LOCK_RETRY_S = 0.1

# The engine shares the machine with the workers and the page cache. A query that would take more is refused
# with code 241; without a limit of its own, it would be the kernel that ends something.
MEMORY_SHARE_MAX = 0.5
# ClickHouse's default of 5 GiB is meant for a machine of its own.
MARK_CACHE_BYTES_MAX = 256 * 1024 * 1024

# `clickhouse-local` (so chDB) differs from a server in these defaults; clients should see those of a server.
_SERVER_DEFAULTS = {"implicit_select": "0", "allow_introspection_functions": "0", "serialize_query_plan": "0"}

# ClickHouse compiles frequent expressions to machine code, in memory that it writes and then runs.
# Where that is forbidden (systemd's MemoryDenyWriteExecute), the fourth query of a kind ended with code 445,
# CANNOT_MPROTECT. It gained nothing: the heaviest questions over a million events took as long with it.
# Of the whole engine, and so of merges and mutations too.
_NOTHING_IS_COMPILED = dict.fromkeys(
    (
        "compile_expressions",
        "compile_aggregate_expressions",
        "compile_sort_description",
        "compile_regular_expressions",
    ),
    0,
)

# Data of an INSERT beyond this is on disk, not in memory, while it is inserted.
SPOOL_MEMORY_BYTES_MAX = 64 * 1024 * 1024
_COPY_BYTES = 1024 * 1024

# Of files in `scratch` that are ours; those of a killed predecessor are removed at the next start.
SCRATCH_PREFIX = "nealytics-"
_CHDB_SCRATCH_PREFIX = "clickhouse-embedded-"

_CODE = re.compile(r"Code: (\d+)\. ")


class EngineError(Exception):
    """ClickHouse refused a statement. `code` is its own; the message is the one a server would send."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def refused(code: int, message: str) -> EngineError:
    """An error of the interface's own, worded as ClickHouse words its."""
    return EngineError(code, f"Code: {code}. DB::Exception: {message}")


class Answer(NamedTuple):
    body: bytes
    rows_read: int = 0
    bytes_read: int = 0
    rows_written: int = 0
    bytes_written: int = 0


class Engine:
    """An open chDB directory. One per process, and one process per directory."""

    def __init__(self, directory: Path) -> None:
        """Opens `directory`, and makes it if need be. Waits up to LOCK_TIMEOUT_S for another process to leave
        it, such as a predecessor that was just killed. Raises `NealyticsError`."""
        try:
            make_private(directory)
            self._lock = _locked(directory)
            # For what does not fit into memory. Beside the tables: /tmp may be memory too, or read-only.
            self.scratch = directory / "tmp"
            make_private(self.scratch)
            _clear(self.scratch)
        except OSError as error:
            raise NealyticsError(
                f"engine: {directory} cannot be written: {error.strerror or error}; set server.data_dir or "
                "its owner"
            ) from error
        # chDB makes a directory there when it is loaded, by default in /tmp, and a kill leaves it behind.
        os.environ["TMPDIR"] = str(self.scratch)
        chdb_session = _import_chdb()
        options = {
            "max_server_memory_usage": int(memory_bytes() * MEMORY_SHARE_MAX),
            "mark_cache_size": MARK_CACHE_BYTES_MAX,
            # The default is below /var/lib, which is not ours.
            "tmp_path": f"{self.scratch}/",
            **_NOTHING_IS_COMPILED,
        }
        self._address = f"{directory}?" + "&".join(f"{name}={value}" for name, value in options.items())
        self._new_session = chdb_session.Session
        # The tables stay loaded as long as one session is open. This one runs nothing that would change it.
        self._keeper = self._open_session(directory)
        version, timezone = json.loads(
            self._keeper.query("SELECT version(), timezone()", "JSONCompactEachRow").bytes()
        )
        self.version: str = version
        self.timezone: str = timezone

    def close(self) -> None:
        """After this, another process may open the directory."""
        self._keeper.close()
        _clear(self.scratch)
        os.close(self._lock)

    def session(self) -> "Session":
        return Session(self._new_session(self._address))

    def kill(self, marker: str) -> None:
        """Ends the statement that runs under `marker`, if one does."""
        with contextlib.suppress(Exception):  # there may be nothing to kill, and nobody to tell
            self._keeper.query(
                f"KILL QUERY WHERE Settings['log_comment'] = {quoted(marker)} ASYNC FORMAT Null"
            )

    def _open_session(self, directory: Path) -> Any:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                return self._new_session(self._address)
            except RuntimeError as error:
                # Code 76: the directory's `status` file is locked, by a chDB that is not ours.
                if "Cannot lock file" not in str(error) or time.monotonic() > deadline:
                    raise NealyticsError(f"engine: {directory} cannot be opened: {error}") from error
            log.warning("engine: another process has %s open; waiting for it", directory)
            time.sleep(_LOCK_RETRY_S * 10)


class Session:
    """One chDB session: what one request runs in, or what the requests of one `session_id` share."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.busy = threading.Lock()
        self.expires_at = time.monotonic()

    def close(self) -> None:
        self._session.close()

    def prepare(self, settings: Mapping[str, str], database: str | None, marker: str) -> None:
        """Applies what a request brings beside its statement. Raises `EngineError`: 115 for an unknown
        setting, 81 for an unknown database."""
        if database:
            self._run(f"USE {identifier(database)}")
        # Our log_comment, not a client's: the query is found by it when its client has gone.
        merged = {**_SERVER_DEFAULTS, **settings, "log_comment": marker}
        # readonly last: it forbids to set anything after it.
        readonly = merged.pop("readonly", None)
        if readonly is not None:
            merged["readonly"] = readonly
        self._run(
            "SET " + ", ".join(f"{_setting_name(name)} = {quoted(value)}" for name, value in merged.items())
        )

    def state_of(self, names: Iterable[str]) -> tuple[str, dict[str, str]]:
        """The current database, and the changed ones among the settings `names`, for `restore`."""
        listed = ", ".join(quoted(name) for name in names) or "''"
        rows = self._run(
            "SELECT currentDatabase(), name, value FROM system.one LEFT JOIN (SELECT name, value, 0 AS dummy "
            f"FROM system.settings WHERE changed AND name IN ({listed})) AS s USING dummy "
            "FORMAT JSONCompactEachRow"
        ).body.splitlines()
        decoded = [json.loads(row) for row in rows]
        return decoded[0][0], {name: value for _, name, value in decoded if name}

    def restore(self, database: str | None, names: Iterable[str], changed: Mapping[str, str]) -> bool:
        """Takes a request's settings back. False if that is forbidden (it had set `readonly`)."""
        sets = [
            f"{_setting_name(name)} = {quoted(changed[name]) if name in changed else 'DEFAULT'}"
            for name in {*names, "log_comment"}
        ]
        try:
            if database is not None:
                self._run(f"USE {identifier(database)}")
            self._run("SET " + ", ".join(sets))
        except EngineError:
            return False
        return True

    def execute(self, sql: bytes, output_format: str, params: Mapping[str, str]) -> Answer:
        """Runs a statement; its whole answer. Raises `EngineError`."""
        return self._run(_text(sql), output_format, params)

    def stream(self, sql: bytes, output_format: str, params: Mapping[str, str]) -> Iterator[bytes]:
        """Runs a statement; its answer in pieces, each a document of its own in `output_format`."""
        try:
            pieces = self._session.send_query(_text(sql), output_format, params=dict(params))
        except RuntimeError as error:
            raise _engine_error(error) from error
        try:
            while True:
                try:
                    piece = pieces.fetch()
                except RuntimeError as error:
                    raise _engine_error(error) from error
                if piece is None:
                    return
                data: bytes = piece.bytes()
                if not data:
                    return
                yield data
        finally:
            pieces.close()

    def write_file(
        self, path: Path, sql: bytes, format_start: int | None, output_format: str, params: Mapping[str, str]
    ) -> None:
        """Runs a statement with a result, and writes its answer to a new file. For formats with an index at
        the end or the beginning, which chDB would otherwise build in memory. Raises `EngineError`."""
        into = f" INTO OUTFILE {quoted(str(path))} ".encode()
        if format_start is None:
            sql = sql.rstrip().rstrip(b";") + b"\n" + into + f" FORMAT {output_format}".encode()
        else:
            sql = sql[:format_start] + into + sql[format_start:]
        self._run(_text(sql), output_format, params)

    def insert(
        self, sql: bytes, input_format: str, data: Iterable[bytes], params: Mapping[str, str], scratch: Path
    ) -> Answer:
        """Runs an INSERT on `data`. Raises `EngineError`; what `data` raises goes through.

        `data` has ended before the engine sees any of it. A block is inserted whole or not at all.
        """
        # Through a file, since chDB's own streaming of inserts (`send_insert`) hides errors: a violated
        # constraint or too many partitions come back as success, and the rows are gone (26.9, seen). And
        # data behind the SQL in one text is cut at some bytes, if it is binary.
        with _spooled(data, scratch) as file:
            source = f" FROM INFILE '/proc/self/fd/{file.fileno()}' COMPRESSION 'none' FORMAT {input_format}"
            return self._run(_text(sql) + source, "Null", params)

    def _run(
        self, sql: str, output_format: str = "TabSeparated", params: Mapping[str, str] | None = None
    ) -> Answer:
        try:
            result = self._session.query(sql, output_format, params=dict(params or {}))
            return Answer(
                result.bytes(),
                rows_read=result.rows_read(),
                bytes_read=result.bytes_read(),
                rows_written=result.rows_written(),
                bytes_written=result.bytes_written(),
            )
        except RuntimeError as error:
            raise _engine_error(error) from error


def _spooled(data: Iterable[bytes], scratch: Path) -> IO[bytes]:
    """An open file without a name that holds `data`: in memory, or below `scratch` if it is large."""
    file: IO[bytes] = open(os.memfd_create("insert"), "wb+", buffering=0)  # noqa: SIM115 — the caller closes it
    try:
        size = 0
        for chunk in data:
            size += len(chunk)
            if size - len(chunk) <= SPOOL_MEMORY_BYTES_MAX < size:
                in_memory, file = file, tempfile.TemporaryFile(dir=scratch, buffering=0)  # noqa: SIM115
                with in_memory:
                    in_memory.seek(0)
                    shutil.copyfileobj(in_memory, file, _COPY_BYTES)
            _write_all(file, chunk)
        return file
    except BaseException:
        file.close()
        raise


def _write_all(file: IO[bytes], data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _clear(scratch: Path) -> None:
    """Removes what a predecessor that was killed left behind."""
    for left_behind in chain(scratch.glob(f"{SCRATCH_PREFIX}*"), scratch.glob(f"{_CHDB_SCRATCH_PREFIX}*")):
        if left_behind.is_dir():
            shutil.rmtree(left_behind)
        else:
            left_behind.unlink()


def _import_chdb() -> ModuleType:
    # chDB imports pyarrow, and with it pandas and numpy, only to name types that we never use. None makes
    # these imports fail at once, which chDB is prepared for, and saves 100 MB.
    for name in ("pyarrow", "pandas"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    try:
        import chdb.session
    except ImportError as error:
        remedy = (
            "take the release whose name ends in -embedded"
            if is_compiled()
            else 'install it with `pip install "nealytics[embedded]"`'
        )
        raise ConfigError(
            f'engine: clickhouse.url is "embedded", but the engine is not installed ({error}); '
            f"{remedy}, or set clickhouse.url to a server"
        ) from error
    return chdb.session


def _locked(directory: Path) -> int:
    """Our own lock on the directory, held for life. chDB has one too, but can only fail on it, not wait."""
    lock = os.open(directory / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    said = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise NealyticsError(
                    f"engine: {directory} is still in use by another engine after {LOCK_TIMEOUT_S:.0f} s; "
                    "stop the other node, or give this one its own server.data_dir"
                ) from None
        if not said:
            said = True
            log.warning(
                "engine: another engine has %s open; waiting up to %.0f s for it to end",
                directory,
                LOCK_TIMEOUT_S,
            )
        time.sleep(_LOCK_RETRY_S)


def memory_bytes(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """What this machine has, or what the control group that we are in may have: a container's, that of a
    systemd unit (MemoryMax=), and those around it."""
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


def _setting_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name):
        raise EngineError(115, f"Code: 115. DB::Exception: Unknown setting {quoted(name)}. (UNKNOWN_SETTING)")
    return name


def _text(sql: bytes) -> str:
    try:
        return sql.decode()
    except UnicodeDecodeError as error:
        raise EngineError(
            62, f"Code: 62. DB::Exception: Syntax error: the query is not UTF-8: {error}. (SYNTAX_ERROR)"
        ) from error


def _engine_error(error: Exception) -> EngineError:
    text = str(error)
    found = _CODE.search(text)
    if found is None:
        return EngineError(1001, f"Code: 1001. DB::Exception: {text}. (STD_EXCEPTION)")
    # Without what chDB wrote before it, so that the text begins as a server's does.
    return EngineError(int(found[1]), text[found.start() :].strip())
