"""The saved queries of a node: the files of a directory, checked, as read routes.

A file that cannot be used stops nothing. It is in `problems`; if it was usable before, its last usable
version is still served, as the last usable configuration is after a reload.
"""

import asyncio
import logging
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from multidict import MultiDict

from nealytics.clickhouse.client import Endpoint as Server
from nealytics.clickhouse.client import Param
from nealytics.config import Config, QueryConfig
from nealytics.errors import NealyticsError, Refused
from nealytics.queries.endpoint import EXAMPLE_SCOPE, Answer, Endpoint, of_scope
from nealytics.queries.invalid import invalid
from nealytics.queries.params import Arguments, Parameter
from nealytics.queries.saved.head import BYTES_MAX, BrokenQuery, Declared, Input, parse
from nealytics.queries.saved.reader import Checked, Column, SavedReader, client_of
from nealytics.queries.saved.values import parameter_of, sample_of, unordered_values_of, values_of
from nealytics.queries.scoped import Events, Query

log = logging.getLogger(__name__)

PATH: Final = "/api/v1/queries"
FILES_MAX: Final = 200
# A relative default is checked as it is on 1 January 2026: as early as 1970, `-7d` would be no Date.
_CHECKED_AT_MS: Final = 1_767_225_600_000
RETRY_S: Final = 5.0
# The names in `format`, and ClickHouse's.
FORMATS: Final = {"json": "", "csv": "CSVWithNames", "ndjson": "JSONEachRow", "parquet": "Parquet"}
FORMAT: Final = Parameter(
    name="format",
    kind="choice",
    choices=tuple(FORMATS),
    description="Format of the answer. Default: what the header Accept prefers, else json.",
)

WITHOUT_USER: Final = (
    "saved queries: there are files, and no ClickHouse user to run them as; set saved_queries.user and "
    "saved_queries.password, and make the user with the statements of `nealytics schema print --reader`"
)
# A Distributed table applies no row policy, and whether its shards do depends on how they are connected.
ON_CLUSTER: Final = (
    "saved queries: there are files, and clickhouse.cluster is set; a Distributed table applies no row"
    " policy, so ClickHouse would not keep the SQL inside of one tenant; remove the files, or run them on a"
    " node whose clickhouse.url is a server without a cluster"
)


class SavedAnswer(Answer, kw_only=True):
    query: str
    title: str
    rows: list[dict[str, Any]]  # the answer, a value for each column
    columns: list[Column]


@dataclass(frozen=True, kw_only=True)
class SavedQuery(Endpoint[Mapping[str, Param]]):
    """A checked query as a read route."""

    declared: Declared
    checked: Checked
    reader: SavedReader

    @property
    def name(self) -> str:
        """As in a token's `endpoints` claim and in the questions of a JSON batch."""
        return f"queries/{self.declared.name}"

    def values(self, arguments: Arguments) -> Mapping[str, Param]:
        """Raises `Refused`."""
        return values_of(self.declared.inputs, arguments)

    def stream(
        self, events: Events, values: Mapping[str, Param], output_format: str
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        query = Query(self.checked.sql, values)
        return self.reader.stream(events, self.declared.name, query, self.declared.limits, output_format)


class Catalog:
    """Many tasks may read it; `queries` and `problems` are replaced as a whole."""

    def __init__(self, config: Config, server: Server | None) -> None:
        """`server` is ClickHouse as the user of saved queries (`saved_endpoint`)."""
        self._directory = config.saved_queries.directory
        self._limits = config.query
        # Without a reader there are no saved queries, and `_why_off` says why.
        self._reader: SavedReader | None = None
        self._why_off = WITHOUT_USER
        if config.clickhouse.cluster:
            self._why_off = ON_CLUSTER
        elif server is not None:
            self._reader = SavedReader(client_of(server, config.clickhouse), config.clickhouse.database)
        self._loading = asyncio.Lock()
        self._again = asyncio.Event()
        self.queries: Mapping[str, SavedQuery] = {}
        self.problems: Mapping[str, str] = {}  # by the file's name
        # Why no file could be checked at all.
        self.off: str | None = None
        self.is_loaded = False

    async def run(self) -> None:
        """Loads the files, and again after a failure that may end by itself. Never ends."""
        while True:
            await self.load()
            if self.off is not None and self._reader is not None:
                await asyncio.sleep(RETRY_S)
            else:
                await self._again.wait()
                self._again.clear()

    async def reload(self) -> None:
        await self.load()
        if self.off is not None:
            self._again.set()

    async def load(self) -> None:
        """Reads and checks all files. Reports what is new; raises nothing."""
        async with self._loading:
            found, problems = await asyncio.to_thread(read, self._directory)
            off = None
            queries: dict[str, SavedQuery] = {}
            if self._reader is None:
                off = self._why_off if found or problems else None
            else:
                try:
                    queries = await _checked(found, problems, self._reader, self._limits)
                except NealyticsError as error:
                    off = str(error)
                    queries = dict(self.queries)
            for file in problems:
                name = file.removesuffix(".sql")
                if name in self.queries:
                    queries[name] = self.queries[name]
                    problems[file] += "; the version before it is still served"
            self._report(problems, off)
            if list(queries) != list(self.queries):
                log.info("saved queries: %s", ", ".join(sorted(queries)) or "none")
            self.queries, self.problems, self.off = queries, problems, off
            self.is_loaded = True

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.close()

    def _report(self, problems: Mapping[str, str], off: str | None) -> None:
        for file, problem in problems.items():
            if self.problems.get(file) != problem:
                log.error("saved queries: %s: %s", self._directory / file, problem)
        if off is not None and off != self.off:
            log.error("saved queries: off: %s", off)

    def warnings(self) -> list[str]:
        """For `/ready`, which needs no token: no word of the SQL."""
        found = [f"saved queries: {file} cannot be used; the log has the reason" for file in self.problems]
        return [*(["saved queries: off; the log has the reason"] if self.off else []), *found]


def read(directory: Path) -> tuple[list[Declared], dict[str, str]]:
    """What the files declare, and why others cannot be used, by name. Blocks."""
    found: list[Declared] = []
    problems: dict[str, str] = {}
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix == ".sql")
    except FileNotFoundError:
        return found, problems
    except OSError as error:
        return found, {directory.name: f"the directory cannot be read: {error.strerror}"}
    for path in paths[FILES_MAX:]:
        problems[shown_name(path)] = f"there are more than {FILES_MAX} files; this one is not read"
    for path in paths[:FILES_MAX]:
        try:
            found.append(read_file(path))
        except BrokenQuery as error:
            problems[shown_name(path)] = str(error)
    return found, problems


def shown_name(path: Path) -> str:
    """For logs and `/ready`: a name that is not UTF-8 could not be written there."""
    return path.name.encode(errors="backslashreplace").decode()


def read_file(path: Path) -> Declared:
    """Raises `BrokenQuery`."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # a pipe would be read for ever
            raise BrokenQuery("it is not a regular file; remove it")
        # Who writes a file decides what every tenant can run.
        if stat.S_IMODE(mode) & stat.S_IWOTH:
            raise BrokenQuery(f"every user of this machine can change it; run chmod o-w {path}")
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise BrokenQuery(f"it cannot be read: {error.strerror}") from error
    if len(content) > BYTES_MAX:
        raise BrokenQuery(f"it has more than {BYTES_MAX} bytes")
    try:
        text = content.decode("utf-8-sig")  # editors on Windows write a mark before the first line
    except UnicodeDecodeError:
        raise BrokenQuery("it is not UTF-8 text") from None
    return parse(path.stem, text)


async def _checked(
    found: list[Declared], problems: dict[str, str], reader: SavedReader, limits: QueryConfig
) -> dict[str, SavedQuery]:
    """Those that can be used. Adds to `problems` why others cannot. Raises `NealyticsError` if nothing can be
    checked now."""
    queries: dict[str, SavedQuery] = {}
    for declared in found:
        try:
            queries[declared.name] = await check(declared, reader, limits)
        except BrokenQuery as error:
            problems[f"{declared.name}.sql"] = str(error)
        except NealyticsError:
            raise
        except Exception as error:
            # A defect here must not stop a node that accepts events.
            log.exception("saved queries: %s.sql", declared.name)
            problems[f"{declared.name}.sql"] = f"unexpected error, please report it: {error!r}"
    return queries


async def check(declared: Declared, reader: SavedReader, limits: QueryConfig) -> SavedQuery:
    """Raises `BrokenQuery`; `ClickHouseError` or `FenceDown` if nothing can be checked now."""
    for key, asked, most in (
        ("rows", declared.limits.rows, limits.result_rows_max),
        ("memory", declared.limits.memory_bytes, limits.memory_bytes_max),
        ("read", declared.limits.read_rows, limits.rows_read_max),
    ):
        if asked is not None and most and asked > most:
            raise BrokenQuery(f"-- limits: {key} {asked:,} exceeds the configured limit of {most:,}")
    return route_of(declared, await reader.check(declared, _samples(declared.inputs, limits)), reader)


def _samples(inputs: tuple[Input, ...], limits: QueryConfig) -> Mapping[str, Param]:
    """Values to check the SQL with: the defaults, which are checked by that, or samples."""
    given = MultiDict((one.name, sample_of(one)) for one in inputs if one.default is None)
    try:
        parameters = tuple(map(parameter_of, inputs))
        return unordered_values_of(inputs, Arguments(given, limits, _CHECKED_AT_MS, parameters))
    except Refused as refused:
        raise BrokenQuery(f"the default of {refused.message}; {refused.detail}") from refused


def route_of(declared: Declared, checked: Checked, reader: SavedReader) -> SavedQuery:
    async def run(events: Events, values: Mapping[str, Param]) -> Answer:
        query = Query(checked.sql, values)
        rows = await reader.rows(events, declared.name, query, declared.limits, checked.columns)
        names = [column.name for column in checked.columns]
        return SavedAnswer(
            **of_scope(events),
            query=declared.name,
            title=declared.title,
            rows=[dict(zip(names, row, strict=True)) for row in rows],
            columns=list(checked.columns),
        )

    def parse_arguments(arguments: Arguments) -> Mapping[str, Param]:
        if (arguments.choice("format") or "json") != "json":
            raise invalid("format", "an answer in a batch is JSON", "Leave format out, or use the GET route.")
        return values_of(declared.inputs, arguments)

    return SavedQuery(
        path=f"{PATH}/{declared.name}",
        summary=declared.title,
        description=declared.description,
        parameters=(FORMAT, *map(parameter_of, declared.inputs)),
        refuses=declared.refuses,
        cache_s=declared.cache_s,
        parse=parse_arguments,
        run=run,
        answer=SavedAnswer,
        example=SavedAnswer(
            **EXAMPLE_SCOPE, query=declared.name, title=declared.title, rows=[], columns=list(checked.columns)
        ),
        declared=declared,
        checked=checked,
        reader=reader,
    )
