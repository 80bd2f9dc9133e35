"""The embedded engine's process: chDB behind ClickHouse's HTTP interface.

Run as the hidden subcommand `embedded-child` by the supervisor, or by a command for its own duration. It
listens on a unix socket that only this user can open, and, if `clickhouse.embedded_listen` is set, on TCP
with a password.

What it promises:
  - our client and the official one (`clickhouse-connect`) cannot tell it from a server, for what is listed
    below
  - each request is a session of its own, so a SET does not stick, unless it names a `session_id`
  - a body is received completely before the engine sees any of it: a torn insert inserts nothing
  - it may be killed at any moment; what an insert was answered for, is there afterwards
  - it ends with its parent; on SIGTERM it first finishes what runs, for a while

What it speaks: GET and POST with `query` and/or a body, `param_*`, `database`, `default_format`,
`session_id`, settings as parameters, Content-Encoding and Accept-Encoding (lz4, zstd, gzip, deflate, br),
multipart forms, `wait_end_of_query`, users by header, Basic or parameter. What it refuses, saying so:
ClickHouse's own block compression (`compress=1`, `decompress=1`), roles, external tables.
"""

import argparse
import asyncio
import base64
import binascii
import contextlib
import hmac
import json
import logging
import os
import re
import signal
import socket
import stat
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from aiohttp import BodyPartReader, web

from nealytics.clickhouse import encoding
from nealytics.clickhouse.embedded import (
    engine_dir,
    free_bytes,
    no_room_for_engine,
    prepare_socket_directory,
    socket_path,
)
from nealytics.clickhouse.embedded_body import FILE_CHUNK_BYTES, Body, Pieces
from nealytics.clickhouse.embedded_engine import (
    SCRATCH_PREFIX,
    Answer,
    Engine,
    EngineError,
    Session,
    refused,
)
from nealytics.clickhouse.embedded_sql import COMMIT_MARK, Statement, Unacceptable, statement_of
from nealytics.config import Config, config_from_json, secrets_of
from nealytics.errors import ConfigError, NealyticsError
from nealytics.observe import log as observe_log
from nealytics.process import EXIT_UNUSABLE, READY, beat, die_with_parent

log = logging.getLogger("nealytics.engine")

# Statements that run at the same time. Inserts, and the question whether they are there, have their own, so
# that slow reads never block the commit.
READS_MAX = 8
INSERTS_MAX = 4
WAITING_MAX = 512

BODY_TIMEOUT_S = 300.0
# How much of a body is read to find where its SQL ends and an INSERT's data begins: ClickHouse's
# max_query_size.
SQL_HEAD_BYTES = 256 * 1024
SQL_BYTES_MAX = 64 * 1024**2
URL_BYTES_MAX = 1024**2

# An answer in a file may take disk space until so many times `wal.free_bytes_min` are left: at that itself,
# the log stops taking events.
FREE_SHARE_MIN = 2
FREE_CHECK_S = 0.1
# A smaller one is given as long as there is any room: a node asks such questions to become ready at all.
SMALL_ANSWER_BYTES = 8 * 1024**2

SESSION_TIMEOUT_S = 60.0
SESSION_TIMEOUT_MAX_S = 3600.0
SESSIONS_MAX = 1_000

# Together less than the 15 s that the supervisor allows.
STOP_TIMEOUT_S = 8.0
KILL_TIMEOUT_S = 2.0
CLOSE_TIMEOUT_S = 1.0

# Parameters that are the interface's own. All others are settings of the query.
_INTERFACE_PARAMETERS = frozenset(
    {
        "query", "database", "default_format", "user", "password", "role", "quota_key", "query_id",
        "stacktrace", "session_id", "session_timeout", "session_check", "close_session", "compress",
        "decompress", "buffer_size", "wait_end_of_query", "client_protocol_version",
    }
)  # fmt: skip

# Formats whose pieces, put one after the other, are the whole: rows (or blocks) without a frame around them.
_STREAMED_FORMATS = frozenset(
    {
        "tabseparated", "tsv", "tabseparatedraw", "tsvraw", "raw", "csv", "tskv", "lineasstring", "rawblob",
        "jsoneachrow", "jsonlines", "ndjson", "jsoncompacteachrow", "rowbinary", "native",
    }
)  # fmt: skip
# Formats with an index, which need the whole answer at once.
_FILE_FORMATS = frozenset({"parquet", "orc", "arrow"})

_CONTENT_TYPES = {
    "json": "application/json; charset=UTF-8",
    "jsoncompact": "application/json; charset=UTF-8",
    "jsoneachrow": "application/x-ndjson; charset=UTF-8",
    "csv": "text/csv; charset=UTF-8; header=absent",
    "csvwithnames": "text/csv; charset=UTF-8; header=present",
    "tabseparated": "text/tab-separated-values; charset=UTF-8",
    "native": "application/octet-stream",
    "rowbinary": "application/octet-stream",
    "parquet": "application/octet-stream",
}

_BAD_REQUEST_CODES = frozenset(
    {6, 7, 8, 15, 25, 26, 27, 36, 38, 41, 44, 53, 62, 72, 117, 167, 168, 321, 427, 441, 675, 676}
)
_FORBIDDEN_CODES = frozenset({192, 193, 497, 512, 516})
_NOT_FOUND_CODES = frozenset({46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336, 511})
_STATUS_OF_CODE = {
    **dict.fromkeys(_BAD_REQUEST_CODES, 400),
    194: 401,  # REQUIRED_PASSWORD
    **dict.fromkeys(_FORBIDDEN_CODES, 403),
    **dict.fromkeys(_NOT_FOUND_CODES, 404),
    159: 408,  # TIMEOUT_EXCEEDED
    381: 411,  # HTTP_LENGTH_REQUIRED
    223: 413,  # QUERY_IS_TOO_LARGE
    307: 413,  # TOO_MANY_BYTES: our own limit on a body
    48: 501,  # NOT_IMPLEMENTED
    76: 503,  # CANNOT_OPEN_FILE
    209: 503,  # SOCKET_TIMEOUT
    439: 503,  # CANNOT_SCHEDULE_TASK
}

_INSERT = re.compile(rb"\s*insert\b", re.IGNORECASE)


def main(argv: list[str] | None = None) -> int:
    """The subcommand. `--config-fd` is an open file with the configuration as JSON."""
    parser = argparse.ArgumentParser(
        prog="nealytics embedded-child", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--config-fd", type=int, required=True)
    parser.add_argument("--parent-fd", type=int)
    arguments = parser.parse_args(argv)
    size = os.fstat(arguments.config_fd).st_size
    config = config_from_json(os.pread(arguments.config_fd, size, 0))
    observe_log.setup(config.observe.log_level, secrets=secrets_of(config))
    parent = socket.socket(fileno=arguments.parent_fd) if arguments.parent_fd is not None else None
    return run(config, parent)


def run(config: Config, parent: socket.socket | None = None) -> int:
    """Serves until SIGTERM or the parent's end. Returns the exit status."""
    die_with_parent(parent)
    try:
        return asyncio.run(_serve(config, parent))
    except NealyticsError as error:
        log.critical("%s", error)
        return EXIT_UNUSABLE if isinstance(error, ConfigError) else 1


async def _serve(config: Config, parent: socket.socket | None) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    heart = loop.create_task(beat(parent)) if parent is not None else None
    started = time.monotonic()
    if problem := no_room_for_engine(config.server.data_dir):
        raise NealyticsError(problem)
    # In a thread, because tables are loaded meanwhile, and the parent wants to hear that the loop turns.
    engine = await loop.run_in_executor(None, Engine, engine_dir(config.server.data_dir))
    # After chDB, which sets handlers of its own. Ctrl-C reaches the whole foreground group, and the parent
    # alone decides what it means: workers still have rows to write.
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)

    interface = Interface(engine, free_bytes_min=FREE_SHARE_MIN * config.wal.free_bytes_min)
    path = socket_path(config.server.data_dir)
    listeners = [(_unix_listener(path), interface.handle)]
    if config.clickhouse.embedded_listen:
        users = {config.clickhouse.user, "default"}
        checked = partial(interface.handle, access=Access(frozenset(users), _password_of(config)))
        listeners.append((_tcp_listener(config.clickhouse.embedded_listen), checked))
    runners = [await _listen(listener, handler) for listener, handler in listeners]
    log.info(
        "engine: ClickHouse %s (chDB) answers on %s after %.1f s",
        engine.version,
        " and ".join(
            [str(path), *([config.clickhouse.embedded_listen] if config.clickhouse.embedded_listen else [])]
        ),
        time.monotonic() - started,
    )
    if parent is not None:
        parent.send(READY)

    await stopping.wait()
    log.info("engine: stopping; statements that run have %.0f s to finish", STOP_TIMEOUT_S)
    path.unlink(missing_ok=True)
    idle = await interface.stop()
    await asyncio.gather(*(runner.cleanup() for runner in runners))
    if heart is not None:
        heart.cancel()
    if not idle:
        # A statement does not end; closing under it would wait for it. The tables survive a kill, so they
        # survive this.
        log.warning("engine: a statement is still running; stopped without waiting for it")
        logging.shutdown()
        os._exit(0)
    engine.close()
    log.info("engine: stopped")
    return 0


@dataclass(frozen=True)
class Access:
    """Who may come in by TCP. Whoever can open the unix socket is this user already, and needs no
    password."""

    users: frozenset[str]
    password: str

    def allows(self, user: str, password: str) -> bool:
        right = hmac.compare_digest(password.encode(), self.password.encode())
        return right and user in self.users


@dataclass
class Call:
    """One request, decoded."""

    query: bytes
    body: "Body"
    parameters: Mapping[str, str]
    query_id: str
    encoding: str  # of the body; empty = plain
    answer_encoding: str | None
    read_only: bool
    statement: Statement | None = None  # once its text was read
    abandoned: bool = False  # the client went away
    settings: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.parameters.items():
            if name.startswith("param_"):
                self.params[name.removeprefix("param_")] = value
            elif name not in _INTERFACE_PARAMETERS:
                self.settings[name] = value
        # As a server does: a GET changes nothing.
        if self.read_only and self.settings.get("readonly", "0") == "0":
            self.settings["readonly"] = "2"

    @property
    def database(self) -> str | None:
        return self.parameters.get("database") or None

    @property
    def is_of_the_commit(self) -> bool:
        """A guess from the first bytes, before the text is read: it only decides which threads run it."""
        text = self.query or self.body.head()
        return bool(_INSERT.match(text)) or text.startswith(COMMIT_MARK.encode())

    @property
    def whole(self) -> bool:
        """Whether the client wants the answer only when it is complete."""
        return self.parameters.get("wait_end_of_query", "0") in ("1", "true")

    @property
    def output_format(self) -> str:
        assert self.statement is not None
        return self.statement.output_format or self.parameters.get("default_format") or "TabSeparated"


class Outcome(NamedTuple):
    """What a statement came to: an answer, or one that comes in pieces."""

    answer: Answer
    pieces: Pieces | None = None


class Interface:
    """Answers HTTP requests with what the engine says."""

    def __init__(self, engine: Engine, *, free_bytes_min: int = 0) -> None:
        self._engine = engine
        self._free_bytes_min = free_bytes_min
        self._read_threads = ThreadPoolExecutor(READS_MAX, "read")
        self._insert_threads = ThreadPoolExecutor(INSERTS_MAX, "insert")
        self._read_slots = asyncio.Semaphore(READS_MAX)
        self._insert_slots = asyncio.Semaphore(INSERTS_MAX)
        self._waiting = 0
        self._running: set[str] = set()  # by marker
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._sessions: dict[str, Session] = {}

    async def handle(self, request: web.BaseRequest, access: Access | None = None) -> web.StreamResponse:
        """The handler of every request."""
        if request.path in ("/ping", "/replicas_status"):
            return self._plain(200, "Ok.\n")
        if request.path != "/":
            return self._plain(
                404, f"There is no handle {request.path}\n\nUse / or /ping for health checks.\n"
            )
        query_id = str(uuid.uuid4())
        try:
            parameters = dict(
                parse_qsl(
                    request.rel_url.raw_query_string,
                    keep_blank_values=True,
                    encoding="utf-8",
                    errors="surrogateescape",
                )
            )
            query_id = parameters.get("query_id") or query_id
            _authenticate(request, parameters, access)
            if request.method in ("GET", "HEAD") and "query" not in parameters:
                return self._plain(200, "Ok.\n")
            if self._stopping:
                raise refused(439, "the engine is stopping. (CANNOT_SCHEDULE_TASK)")
            call = await self._receive(request, parameters, query_id)
            marker = f"nealytics-{uuid.uuid4()}"
            self._running.add(marker)
            self._idle.clear()
            try:
                return await self._answer(request, call, marker)
            finally:
                self._running.discard(marker)
                if not self._running:
                    self._idle.set()
        except EngineError as error:
            return self._refusal(error, query_id)
        except Unacceptable as error:
            return self._refusal(refused(error.code, str(error)), query_id)
        except encoding.BadEncoding as error:
            return self._refusal(refused(117, f"{error}. (INCORRECT_DATA)"), query_id)
        except web.RequestPayloadError as error:
            return self._refusal(
                refused(210, f"the body ended too early: {error}. (NETWORK_ERROR)"), query_id
            )

    async def stop(self) -> bool:
        """Takes no more requests, waits for what runs, then kills it. False if something would not end."""
        self._stopping = True
        await self._wait_until_idle(STOP_TIMEOUT_S)
        for marker in list(self._running):
            await asyncio.to_thread(self._engine.kill, marker)
        await self._wait_until_idle(KILL_TIMEOUT_S)
        if self._running:
            return False
        for session in self._sessions.values():
            session.close()
        return True

    async def _wait_until_idle(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout_s)

    # Receiving

    async def _receive(self, request: web.BaseRequest, parameters: dict[str, str], query_id: str) -> Call:
        for name in ("compress", "decompress"):
            if parameters.get(name, "0") in ("1", "true"):
                raise refused(
                    48,
                    f"{name}=1: the embedded engine knows Content-Encoding only. (NOT_IMPLEMENTED)",
                )
        if "role" in parameters:
            raise refused(511, "the embedded engine has no roles. (UNKNOWN_ROLE)")
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = Body(self._engine.scratch)
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                if request.content_type == "multipart/form-data":
                    await _read_form(request, parameters)
                else:
                    async for chunk in request.content.iter_any():
                        body.add(chunk)
        except TimeoutError:
            body.close()
            raise refused(
                209, f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s. (SOCKET_TIMEOUT)"
            ) from None
        except BaseException:
            body.close()
            raise
        packed = request.headers.get("Content-Encoding", "").strip().lower()
        if packed in ("", "identity"):
            packed = ""
        elif packed not in encoding.SUPPORTED:
            body.close()
            raise refused(
                48,
                f"Content-Encoding {packed!r} is none of {', '.join(encoding.SUPPORTED)}. (NOT_IMPLEMENTED)",
            )
        wanted = None
        if parameters.get("enable_http_compression", "0") in ("1", "true"):
            wanted = encoding.chosen(request.headers.get("Accept-Encoding", ""))
        default_format = request.headers.get("X-ClickHouse-Format")
        if default_format:
            parameters.setdefault("default_format", default_format)
        database = request.headers.get("X-ClickHouse-Database")
        if database:
            parameters.setdefault("database", database)
        return Call(
            query=parameters.get("query", "").encode("utf-8", "surrogateescape"),
            body=body,
            parameters=parameters,
            query_id=query_id,
            encoding=packed,
            answer_encoding=wanted,
            read_only=request.method in ("GET", "HEAD"),
        )

    # Running

    async def _answer(self, request: web.BaseRequest, call: Call, marker: str) -> web.StreamResponse:
        started = time.monotonic_ns()
        job = asyncio.create_task(self._run(call, marker))
        try:
            # Shielded: what was begun is ended properly, whoever still listens.
            outcome = await asyncio.shield(job)
        except asyncio.CancelledError:
            call.abandoned = True
            await self._end(call, job, marker)
            if not job.cancelled() and job.exception() is None:
                pieces = job.result().pieces
                if pieces is not None:
                    await asyncio.to_thread(pieces.close)
            raise
        assert call.statement is not None
        headers = {
            **self._headers(call.query_id),
            "X-ClickHouse-Summary": _summary(outcome.answer, time.monotonic_ns() - started),
        }
        if call.statement.has_result:
            headers["X-ClickHouse-Format"] = call.output_format
            headers["Content-Type"] = _CONTENT_TYPES.get(
                call.output_format.lower(), "text/plain; charset=UTF-8"
            )
        if call.answer_encoding:
            headers["Content-Encoding"] = call.answer_encoding
        if outcome.pieces is None:
            return web.Response(body=outcome.answer.body, headers=headers)
        return await self._send_pieces(request, headers, outcome.pieces, call, marker)

    async def _end(self, call: Call, work: "asyncio.Future[Any]", marker: str) -> None:
        """Returns when `work` has ended, whose client is gone. A read is for nobody and is killed; all else,
        such as an insert, runs to its end."""
        while not work.done():
            if call.statement is not None and call.statement.is_read:
                await asyncio.to_thread(self._engine.kill, marker)
            # And again: the engine may not have begun with it yet, or not notice at once.
            await asyncio.wait([work], timeout=0.5)

    async def _run(self, call: Call, marker: str) -> Outcome:
        """Waits for a free slot and runs the statement in its thread."""
        if call.is_of_the_commit:
            slots, threads = self._insert_slots, self._insert_threads
        else:
            slots, threads = self._read_slots, self._read_threads
        if self._waiting >= WAITING_MAX:
            raise refused(
                202,
                f"Too many simultaneous queries: {WAITING_MAX} are waiting. (TOO_MANY_SIMULTANEOUS_QUERIES)",
            )
        self._waiting += 1
        try:
            await slots.acquire()
        finally:
            self._waiting -= 1
        try:
            if call.abandoned and not call.is_of_the_commit:
                raise refused(394, "the client went away before its turn. (QUERY_WAS_CANCELLED)")
            return await asyncio.get_running_loop().run_in_executor(threads, self._execute, call, marker)
        finally:
            slots.release()

    def _execute(self, call: Call, marker: str) -> Outcome:
        """In a thread: from the text to the answer."""
        # The body is closed here and nowhere else: were it closed under a running insert, that would take the
        # rows read so far for all of them, and the token with them.
        with call.body, contextlib.ExitStack() as cleanup:
            statement, data = _read_statement(call)
            call.statement = statement
            session = self._session_of(call, statement, cleanup, marker)
            if statement.input_format:
                answer = session.insert(
                    statement.sql, statement.input_format, data, call.params, self._engine.scratch
                )
                return Outcome(answer)
            output_format = call.output_format
            pack = encoding.Packer(call.answer_encoding) if call.answer_encoding else None
            form = output_format.lower()
            in_pieces = statement.is_select and form in _STREAMED_FORMATS
            if (statement.has_result and form in _FILE_FORMATS) or (in_pieces and call.whole):
                # As on a server, an answer that is wanted whole is kept on disk until it is, not in memory.
                pieces = self._through_file(session, statement, output_format, call.params, marker)
            elif in_pieces:
                pieces = session.stream(statement.sql, output_format, call.params)
            else:
                answer = session.execute(statement.sql, output_format, call.params)
                if pack is not None:
                    answer = answer._replace(body=pack.pack(answer.body) + pack.end())
                return Outcome(answer)
            answer_in_pieces = Pieces(pieces, pack)
            answer_in_pieces.held = cleanup.pop_all()
            return Outcome(Answer(b""), answer_in_pieces)

    def _through_file(
        self,
        session: Session,
        statement: Statement,
        output_format: str,
        params: Mapping[str, str],
        marker: str,
    ) -> Iterator[bytes]:
        path = self._engine.scratch / f"{SCRATCH_PREFIX}{uuid.uuid4()}"
        try:
            with self._leaving_room(marker, path):
                session.write_file(path, statement.sql, statement.format_start, output_format, params)
            with path.open("rb") as file:
                while chunk := file.read(FILE_CHUNK_BYTES):
                    yield chunk
        finally:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _leaving_room(self, marker: str, path: Path) -> Iterator[None]:
        """Ends the statement before its file, `path`, takes the space that others need. Raises 243 then."""
        done = threading.Event()
        short = False

        def watch() -> None:
            nonlocal short
            while not done.wait(FREE_CHECK_S):
                if not self._has_room_for(path):
                    short = True
                    self._engine.kill(marker)

        watcher = threading.Thread(target=watch, daemon=True)
        try:
            watcher.start()
            yield
            short = short or not self._has_room_for(path)
        except EngineError:
            if not short:
                raise
        finally:
            done.set()
            watcher.join()
        if short:
            raise refused(
                243,
                f"the answer has more than {SMALL_ANSWER_BYTES // 1024**2} MiB, and the disk has less free "
                f"than {FREE_SHARE_MIN} times wal.free_bytes_min; ask for less, or free disk space. "
                "(NOT_ENOUGH_SPACE)",
            )

    def _has_room_for(self, path: Path) -> bool:
        if free_bytes(self._engine.scratch) >= self._free_bytes_min:
            return True
        try:
            return path.stat().st_size <= SMALL_ANSWER_BYTES
        except FileNotFoundError:
            return True

    async def _send_pieces(
        self,
        request: web.BaseRequest,
        headers: dict[str, str],
        pieces: Pieces,
        call: Call,
        marker: str,
    ) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        response = web.StreamResponse(headers=headers)
        step: asyncio.Future[bytes] | None = None
        try:
            await response.prepare(request)
            while True:
                step = loop.run_in_executor(self._read_threads, pieces.next)
                piece = await asyncio.shield(step)
                if not piece:
                    break
                await response.write(piece)
        except EngineError as error:
            # Too late for a status. The text ends the answer, as a server does it, and the connection is cut,
            # so that the client knows that this is not all.
            with contextlib.suppress(ConnectionError):
                await response.write(self._text_of(error).encode())
            if request.transport is not None:
                request.transport.close()
            return response
        finally:
            # A piece may still be on its way in a thread, and only one thread may use an iterator.
            if step is not None:
                await self._end(call, step, marker)
            await asyncio.shield(loop.run_in_executor(self._read_threads, pieces.close))
        await response.write_eof()
        return response

    # Sessions

    def _session_of(
        self, call: Call, statement: Statement, cleanup: contextlib.ExitStack, marker: str
    ) -> Session:
        name = call.parameters.get("session_id")
        if not name:
            session = self._engine.session()
            cleanup.callback(session.close)
            session.prepare(call.settings, call.database, marker)
            return session
        if call.settings.pop("readonly", "0") != "0" and not (
            statement.is_read or statement.verb in ("SET", "USE")
        ):
            # Checked here: a session that was made read-only by a setting could never be made writable again.
            raise refused(164, "default: Cannot execute query in readonly mode. (READONLY)")
        session = self._named_session(name, call, cleanup)
        # The parameters of a request hold for it alone, while a SET by statement stays in the session.
        database, changed = session.state_of(call.settings)

        def take_back() -> None:
            by_parameter = call.database is not None and statement.verb != "USE"
            if not session.restore(database if by_parameter else None, call.settings, changed):
                # A statement made it read-only, so there is no way back. Another begins with the next
                # request.
                self._sessions.pop(name, None)
                session.close()

        session.prepare(call.settings, call.database, marker)
        cleanup.callback(take_back)
        return session

    def _named_session(self, name: str, call: Call, cleanup: contextlib.ExitStack) -> Session:
        now = time.monotonic()
        for other, idle in list(self._sessions.items()):
            if now > idle.expires_at and idle.busy.acquire(blocking=False):
                self._sessions.pop(other, None)
                idle.close()
        session = self._sessions.get(name)
        if session is None:
            if call.parameters.get("session_check", "0") == "1":
                raise refused(372, f"Session {name} not found. (SESSION_NOT_FOUND)")
            if len(self._sessions) >= SESSIONS_MAX:
                raise refused(
                    202, f"Too many sessions: {SESSIONS_MAX} are open. (TOO_MANY_SIMULTANEOUS_QUERIES)"
                )
            session = self._sessions.setdefault(name, self._engine.session())
        if not session.busy.acquire(blocking=False):
            raise refused(373, f"Session {name} is locked by a concurrent client. (SESSION_IS_LOCKED)")
        try:
            timeout_s = float(call.parameters.get("session_timeout") or SESSION_TIMEOUT_S)
        except ValueError:
            session.busy.release()
            raise refused(72, "session_timeout is not a number. (CANNOT_PARSE_NUMBER)") from None

        def give_back() -> None:
            session.expires_at = time.monotonic() + min(timeout_s, SESSION_TIMEOUT_MAX_S)
            session.busy.release()

        cleanup.callback(give_back)
        return session

    # Answering

    def _headers(self, query_id: str) -> dict[str, str]:
        return {
            "X-ClickHouse-Query-Id": re.sub(r"[^\x20-\x7e]", "?", query_id),
            "X-ClickHouse-Timezone": self._engine.timezone,
            "X-ClickHouse-Server-Display-Name": "nealytics-embedded",
        }

    def _plain(self, status: int, text: str) -> web.Response:
        return web.Response(
            status=status, text=text, headers={"X-ClickHouse-Timezone": self._engine.timezone}
        )

    def _refusal(self, error: EngineError, query_id: str) -> web.Response:
        headers = {**self._headers(query_id), "X-ClickHouse-Exception-Code": str(error.code)}
        if error.code == 194:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        return web.Response(
            status=_STATUS_OF_CODE.get(error.code, 500), text=self._text_of(error), headers=headers
        )

    def _text_of(self, error: EngineError) -> str:
        text = str(error).encode("utf-8", "replace").decode()
        version = f"(version {self._engine.version})"
        return f"{text}\n" if version in text else f"{text} {version}\n"


def _read_statement(call: Call) -> tuple[Statement, Iterable[bytes]]:
    """The statement, and the data of an INSERT. The text is `query`, a line feed, and the body."""
    chunks: Iterator[bytes] = iter(call.body)
    if call.encoding:
        chunks = encoding.decompressed(chunks, call.encoding)
    default_format = call.parameters.get("default_format")
    if call.query and _INSERT.match(call.query):
        statement = statement_of(call.query, default_format)
        if statement.input_format:
            return statement, chain([call.query[statement.data_start :]], chunks)
    head = bytearray(call.query)
    for chunk in chunks:
        if head and call.query and len(head) == len(call.query):
            head += b"\n"
        head += chunk
        if len(head) >= SQL_HEAD_BYTES:
            break
    if _INSERT.match(head):
        text = bytes(head)
        statement = statement_of(text, default_format)
        if statement.input_format:
            return statement, chain([text[statement.data_start :]], chunks)
    for chunk in chunks:
        head += chunk
        if len(head) > SQL_BYTES_MAX:
            raise refused(223, f"the query has more than {SQL_BYTES_MAX} bytes. (QUERY_IS_TOO_LARGE)")
    return statement_of(bytes(head), default_format), ()


async def _read_form(request: web.BaseRequest, parameters: dict[str, str]) -> None:
    """Fields of a form stand for parameters of the URL, which may be too long for one."""
    size = 0
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None or part.filename is not None:
            raise refused(
                48, "external tables in a form are not supported by the embedded engine. (NOT_IMPLEMENTED)"
            )
        data = await part.read(decode=True)
        size += len(data)
        if size > SQL_BYTES_MAX:
            raise refused(223, f"the form has more than {SQL_BYTES_MAX} bytes. (QUERY_IS_TOO_LARGE)")
        parameters[part.name] = bytes(data).decode("utf-8", "surrogateescape")


def _authenticate(request: web.BaseRequest, parameters: Mapping[str, str], access: Access | None) -> None:
    if access is None:
        return
    user, password = _credentials(request, parameters)
    if not access.allows(user, password):
        raise refused(
            516,
            f"{user}: Authentication failed: password is incorrect, or there is no user with such name. "
            "(AUTHENTICATION_FAILED)",
        )


def _credentials(request: web.BaseRequest, parameters: Mapping[str, str]) -> tuple[str, str]:
    headers = request.headers
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User", "default"), headers.get("X-ClickHouse-Key", "")
    scheme, _, encoded = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise refused(
                516, "the Authorization header is not Basic credentials. (AUTHENTICATION_FAILED)"
            ) from None
        return user or "default", password
    return parameters.get("user", "default"), parameters.get("password", "")


def _summary(answer: Answer, elapsed_ns: int) -> str:
    return json.dumps(
        {
            "read_rows": str(answer.rows_read),
            "read_bytes": str(answer.bytes_read),
            "written_rows": str(answer.rows_written),
            "written_bytes": str(answer.bytes_written),
            "total_rows_to_read": "0",
            "result_rows": str(answer.rows_written),
            "result_bytes": str(answer.bytes_written),
            "elapsed_ns": str(elapsed_ns),
        }
    )


async def _listen(listener: socket.socket, handler: Any) -> web.ServerRunner:
    server = web.Server(
        handler,
        # A client that goes away must not leave its query running.
        handler_cancellation=True,
        # The engine's threads unpack bodies; lz4 is not known to aiohttp.
        auto_decompress=False,
        access_log=None,
        max_line_size=URL_BYTES_MAX,
        max_field_size=URL_BYTES_MAX,
        read_bufsize=1024**2,
    )
    runner = web.ServerRunner(server, shutdown_timeout=CLOSE_TIMEOUT_S)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=1024).start()
    return runner


def _unix_listener(path: Path) -> socket.socket:
    prepare_socket_directory(path)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise NealyticsError(f"engine: {path} exists and is not a socket; remove it")
        # The engine's lock is ours, so whoever bound this is dead.
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    # The mode is there from the first moment on: a chmod after the bind would leave one in which all may
    # connect.
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    return listener


def _tcp_listener(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
    except (OSError, ValueError) as error:
        listener.close()
        raise ConfigError(
            f"config: clickhouse.embedded_listen is {address!r} and cannot be listened on: {error}; "
            "choose another host:port"
        ) from error
    return listener


def _password_of(config: Config) -> str:
    password = config.clickhouse.embedded_password
    if not password:
        raise ConfigError(
            f"config: clickhouse.embedded_listen is {config.clickhouse.embedded_listen!r}, but "
            "clickhouse.embedded_password is empty; set one, since whoever can connect can read every "
            "tenant's events and this user's files"
        )
    return password


if __name__ == "__main__":
    sys.exit(main())
