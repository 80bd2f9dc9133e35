"""FakeClickHouse: ClickHouse's HTTP interface as far as an INSERT needs it, with the faults that a network
has.

It is a real server on a loopback port, and honest about the trap in deduplication: a token
that was seen before is answered with success and its rows are *dropped*, whatever they are, also if it was
killed before it had stored them. It reads
RowBinary by its own knowledge of the columns' types, so a row that our encoder gets wrong is an error here
too.

    fake.rows             the table: every row stored, in order, copies included
    fake.inserts          every INSERT that arrived completely, accepted or not
    fake.faults           one per INSERT, taken from the left; None = no fault
    fake.refuse           says for a row with which error code an INSERT that holds it is refused; None = fine
    fake.stores_refused   the table has its rows before the refusal, which is that of a materialized view
    fake.token_conflicts  tokens that came a second time with another body: always a bug of ours
"""

import asyncio
import json
import re
import socket
import struct
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from aiohttp import web

from nealytics.clickhouse.client import Endpoint

_INSERT = re.compile(
    r"INSERT INTO `(?P<db>[^`]+)`\.(?P<table>\w+)\s*\((?P<columns>[^)]*)\)\s*FORMAT RowBinary\s*$"
)

NAMES = {
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    33: "CANNOT_READ_ALL_DATA",
    60: "UNKNOWN_TABLE",
    117: "INCORRECT_DATA",
    209: "SOCKET_TIMEOUT",
    241: "MEMORY_LIMIT_EXCEEDED",
    252: "TOO_MANY_PARTS",
    469: "VIOLATED_CONSTRAINT",
}

_COLUMN_NAMES = [
    "event_id", "project_id", "tenant_id", "session_id", "user_id", "event_type", "item_id", "metadata_json",
    "timestamp", "received_at",
]  # fmt: skip
_TYPES = {
    "event_id": "UUID",
    "user_id": "Nullable(String)",
    "item_id": "Nullable(String)",
    "timestamp": "Int64",
    "received_at": "Int64",
}  # every other column is a String


_TABLE = (
    "ReplacingMergeTree\tproject_id, tenant_id, event_type, timestamp, event_id\ttoYYYYMM(timestamp)\t"
    "ReplacingMergeTree PARTITION BY toYYYYMM(timestamp) "
    "ORDER BY (project_id, tenant_id, event_type, timestamp, event_id) "
    "SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, "
    "non_replicated_deduplication_window = 10000, "
    "fsync_after_insert = 1, fsync_part_directory = 1, "
    "min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1, "
    "old_parts_lifetime = 480, always_use_copy_instead_of_hardlinks = 0, "
    "max_compress_block_size = 16384, min_bytes_for_wide_part = 131072\n"
)
_COLUMNS = (
    "event_id\tUUID\t\nproject_id\tLowCardinality(String)\t\ntenant_id\tString\t\nsession_id\tString\t\n"
    "user_id\tNullable(String)\t\nevent_type\tLowCardinality(String)\t\nitem_id\tNullable(String)\t\n"
    "metadata_json\tString\t\ntimestamp\tDateTime64(3, \\'UTC\\')\t\n"
    "received_at\tDateTime64(3, \\'UTC\\')\ttimestamp\n"
    "inserted_at\tDateTime64(3, \\'UTC\\')\tnow64(3)\n"
)


def _all_settings_known(statement: str) -> str:
    return json.dumps({"data": [[name] for name in re.findall(r"'(\w+)'", statement)]})


# What `schema.probe`, `/ready` and the watchers ask, answered as by a sound server with our table.
_PROBE_ANSWERS: dict[str, Callable[[str], str]] = {
    "SELECT version()": lambda statement: "26.9.2.1\n",
    "FROM system.settings": _all_settings_known,
    "FROM system.tables": lambda statement: _TABLE,
    "FROM system.columns": lambda statement: _COLUMNS,
    "FROM system.data_skipping_indices": lambda statement: "inserted_at_minmax\n",
    "SELECT project_id FROM": lambda statement: '{"data": [["shop"]]}',
    "FROM system.errors": lambda statement: "0\n",
}


@dataclass(frozen=True)
class Insert:
    """One INSERT as it arrived."""

    sql: str
    token: str
    settings: dict[str, str]
    body: bytes
    rows: list[bytes]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one INSERT. Made by the functions below."""

    kind: Literal["error", "lost answer", "killed", "reset", "stall", "late exception", "late body"]
    status: int = 500
    code: int = 0
    text: str = ""
    after_bytes: int = 0
    seconds: float = 0.0
    applied: bool = False


def error(code: int, status: int = 500) -> Fault:
    """ClickHouse answers with an error and has stored nothing."""
    return Fault("error", status, code)


def proxy_error(status: int) -> Fault:
    """Something in front of ClickHouse answers: no code, a page."""
    return Fault("error", status, text="<html>Bad Gateway</html>")


def lost_answer() -> Fault:
    """The rows are stored; then the connection is reset instead of an answer."""
    return Fault("lost answer")


def killed_after_token() -> Fault:
    """The token is noted, the first half of the rows is stored, and no answer comes: so it is when
    ClickHouse is killed between its deduplication log and the parts of some months."""
    return Fault("killed")


def reset_mid_body(after_bytes: int = 10) -> Fault:
    """The connection is reset while the body is on its way; nothing is stored."""
    return Fault("reset", after_bytes=after_bytes)


def stall(seconds: float, *, applied: bool) -> Fault:
    """No answer for so long; then the connection is closed."""
    return Fault("stall", seconds=seconds, applied=applied)


def late_exception(code: int = 209) -> Fault:
    """Status 200 with an exception header, and nothing stored: ClickHouse #65117 lost events so."""
    return Fault("late exception", code=code)


def late_body(code: int = 241) -> Fault:
    """Status 200 with an error in the body and nothing stored."""
    return Fault("late body", code=code)


class FakeClickHouse:
    """Start it with `async with`; `url` says where it is. What it holds survives `stop` and `start`."""

    def __init__(self, *, window: int = 10_000) -> None:
        self.port = 0
        self.rows: list[bytes] = []
        self.inserts: list[Insert] = []
        self.faults: deque[Fault | None] = deque()
        self.questions: deque[int] = deque()  # codes of errors, for `commit.delivery`'s questions; 0 = none
        self.refuse: Callable[[bytes], int | None] = lambda row: None
        self.stores_refused = False
        self.token_conflicts: list[str] = []
        self.commands: list[str] = []
        # Other statements: text that occurs in one → the body of the answer, or what makes it.
        self.answers: dict[str, Callable[[str], str]] = {
            **_PROBE_ANSWERS,
            "SELECT DISTINCT project_id": self._stored_identities,
        }
        self.most_at_once = 0
        self._at_once = 0
        self._window = window
        self._tokens: OrderedDict[str, bytes] = OrderedDict()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> Endpoint:
        """As of an embedded engine, for which the client never waits."""
        return Endpoint(url=self.url, embedded=True)

    @property
    def tokens(self) -> list[str]:
        """Of every INSERT, in the order of arrival."""
        return [insert.token for insert in self.inserts]

    async def start(self) -> None:
        app = web.Application(client_max_size=0)
        app.on_response_prepare.append(_mark)
        app.router.add_get("/ping", self._ping)
        app.router.add_route("*", "/", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> "FakeClickHouse":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        sql = request.query.get("query", "")
        match = _INSERT.match(sql)
        if match is None:
            statement = sql + (await request.text())
            self.commands.append(statement)
            if "SELECT DISTINCT project_id" in statement and self.questions:
                code = self.questions.popleft()
                if code:
                    return _exception(500, code, "a scripted failure of a question")
            return web.Response(
                text=next((a(statement) for s, a in self.answers.items() if s in statement), "")
            )
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._insert(request, sql, [c.strip(" `") for c in match["columns"].split(",")])
        finally:
            self._at_once -= 1

    async def _insert(self, request: web.Request, sql: str, columns: list[str]) -> web.StreamResponse:
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and fault.kind == "reset":
            await request.content.read(fault.after_bytes)
            return _reset(request)
        body = await request.read()
        settings = {name: value for name, value in request.query.items() if name != "query"}
        token = settings.pop("insert_deduplication_token", "")
        try:
            rows = split_rows(body, columns)
        except ValueError as bad:
            return _exception(400, 33, str(bad))
        self.inserts.append(Insert(sql, token, settings, body, rows))
        if fault is not None and fault.kind in ("error", "late exception", "late body"):
            return _faulty(fault)
        for row in rows:
            if (code := self.refuse(row)) is not None:
                if self.stores_refused:
                    self._store(token, body, rows)
                return _exception(400, code, f"row {rows.index(row) + 1} is refused")
        if fault is not None and fault.kind == "killed":
            self._store(token, body, rows[: len(rows) // 2])
        elif fault is None or fault.kind == "lost answer" or fault.applied:
            self._store(token, body, rows)
        if fault is not None and fault.kind == "stall":
            await asyncio.sleep(fault.seconds)
        return web.Response() if fault is None else _reset(request)

    def _store(self, token: str, body: bytes, rows: Iterable[bytes]) -> None:
        if token in self._tokens:
            if self._tokens[token] != body:
                self.token_conflicts.append(token)
            return
        if token:
            self._tokens[token] = body
            while len(self._tokens) > self._window:
                self._tokens.popitem(last=False)
        self.rows.extend(rows)

    def _stored_identities(self, statement: str) -> str:
        """What `commit.delivery` asks: all that is here, whatever was asked for."""
        return json.dumps({"data": [identity(row) for row in self.rows]})


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    """By these headers, which every answer of a server has, our client knows that it is one."""
    response.headers["X-ClickHouse-Server-Display-Name"] = "fake"


def split_rows(body: bytes, columns: list[str]) -> list[bytes]:
    """The rows of a RowBinary body. Raises `ValueError` if it ends inside a row."""
    rows: list[bytes] = []
    at = 0
    while at < len(body):
        start = at
        at, _ = _row_at(body, at, columns)
        if at > len(body):
            raise ValueError(f"Cannot read all data: row {len(rows) + 1} ends at byte {at} of {len(body)}")
        rows.append(body[start:at])
    return rows


def identity(row: bytes) -> list[Any]:
    """What makes two rows copies of one event: project, tenant, type, epoch ms, id."""
    _, cells = _row_at(row, 0, _COLUMN_NAMES)
    high, low = struct.unpack("<QQ", cells["event_id"])
    return [
        cells["project_id"].decode(),
        cells["tenant_id"].decode(),
        cells["event_type"].decode(),
        int.from_bytes(cells["timestamp"], "little", signed=True),
        str(UUID(int=high << 64 | low)),
    ]


def _row_at(body: bytes, at: int, columns: list[str]) -> tuple[int, dict[str, bytes]]:
    """Where the row that begins at `at` ends, perhaps behind `body`'s end; and its cells' bytes."""
    cells: dict[str, bytes] = {}
    for column in columns:
        kind = _TYPES.get(column, "String")
        if kind == "UUID":
            length = 16
        elif kind == "Int64":
            length = 8
        else:
            if kind == "Nullable(String)":
                at += 1
                if body[at - 1 : at] == b"\1":
                    continue
            length, at = _leb128(body, at)
        cells[column] = body[at : at + length]
        at += length
    return at, cells


def _leb128(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(body):
            raise ValueError("Cannot read all data: the body ends in a length")
        value |= (body[at] & 0x7F) << shift
        shift += 7
        at += 1
        if body[at - 1] < 0x80:
            return value, at


def _message(code: int, text: str) -> str:
    return f"Code: {code}. DB::Exception: {text}. ({NAMES.get(code, 'SOME_ERROR')}) (version 26.9.2.1)\n"


def _exception(status: int, code: int, text: str) -> web.Response:
    return web.Response(
        status=status, text=_message(code, text), headers={"X-ClickHouse-Exception-Code": str(code)}
    )


def _faulty(fault: Fault) -> web.Response:
    if fault.kind == "late exception":
        return web.Response(headers={"X-ClickHouse-Exception-Code": str(fault.code)})
    if fault.kind == "late body":
        return web.Response(text=_message(fault.code, "Memory limit exceeded"))
    if not fault.code:
        return web.Response(status=fault.status, text=fault.text)
    return _exception(fault.status, fault.code, "scripted fault")


def _reset(request: web.Request) -> web.Response:
    """Ends the connection with RST: what is on the way is thrown away at both ends."""
    transport: Any = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()  # nobody gets it
