"""A worker: connects all parts.

It opens its log, wires admission → log → committer → ClickHouse, serves HTTP on the socket that the
supervisor opened, and ends in the opposite order. Each part gets the piece of the configuration that is its
own.

A damaged log is quarantined: a new one takes the events, and the readable ones of the old log are sent.
Worker 0 also drains logs that have no worker (`server.workers` was lowered) and takes over a log that the C#
engine left.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
from aiohttp import web

from nealytics.auth.api_keys import ApiKeys
from nealytics.auth.claims import CLAIM_CHARS_MAX
from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.token_rate import TokenRate
from nealytics.auth.writers import Writers
from nealytics.backoff import delay_s
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.damage import DamageWatch, Noted
from nealytics.clickhouse.embedded import Access, no_room_for_engine, sync_metadata
from nealytics.clickhouse.endpoint import Endpoint, embedded_endpoint, endpoint_of, saved_endpoint
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.sql import TABLE
from nealytics.commit import rejected
from nealytics.commit.backoff import FIRST_S
from nealytics.commit.dead_letter import DeadLetter
from nealytics.commit.erased import Erased
from nealytics.commit.gather import rows_within_partitions
from nealytics.commit.loop import Committer
from nealytics.commit.rejected import RejectedEvents
from nealytics.commit.table_check import TableCheck
from nealytics.compat.message import paths_of
from nealytics.config import CommitConfig, Config
from nealytics.dead_letters.actions import Retrying
from nealytics.dead_letters.entries import DeadLetters
from nealytics.erasure import rejects
from nealytics.erasure.known import Known
from nealytics.erasure.logs import LogCleaning
from nealytics.erasure.running import Erasing
from nealytics.erasure.store import Jobs
from nealytics.errors import ErasuresUnreadable, LogBroken, LogDamaged, LogError, LogForeign, NealyticsError
from nealytics.expiry.daily import Daily
from nealytics.expiry.promise import expired_by_rules
from nealytics.http.app import HttpServer, build_app
from nealytics.http.compat import add_compat_routes
from nealytics.http.dead_letter import DeadLetterAdmin
from nealytics.http.erasures import ErasureAdmin
from nealytics.http.health import add_health_routes, keep_ready_gauge
from nealytics.http.openapi import add_openapi_route
from nealytics.http.pages import add_page_routes
from nealytics.http.query import add_query_route
from nealytics.http.reads import Reads, add_read_routes
from nealytics.http.retention import RetentionAdmin
from nealytics.http.saved import add_saved_routes
from nealytics.http.streams import add_stream_routes
from nealytics.http.usage import add_usage_route
from nealytics.ingest.admission import Admission
from nealytics.ingest.takeover import take_over
from nealytics.observe import otel_signals
from nealytics.observe.metrics import Metrics
from nealytics.observe.otel import Tracing
from nealytics.process import READY, beat
from nealytics.queries.saved.catalog import Catalog
from nealytics.reloading import Reloading
from nealytics.shared import NodeMemory
from nealytics.usage import store as usage
from nealytics.usage.largest import LargestTenants
from nealytics.usage.meter import Meter, count_rest
from nealytics.wal import quarantine
from nealytics.wal.files import OS_FILES
from nealytics.wal.log import Log
from nealytics.wal.quarantine import QuarantinedLog, Report

log = logging.getLogger("nealytics.server")

OBSERVE_S = 1.0
# A node's own engine, which nobody else uses, answers after a fraction of a second.
ENGINE_POLL_S = 0.02
ENGINE_START_S = 3.0
# Until the worker notices that a person changed the table's TTL, or that ClickHouse found damage.
WATCH_INTERVAL_S = 10.0
# After the log broke, the answers in flight (503) get this long; then the process ends, to recover at its
# start.
BROKEN_GRACE_S = 0.2
# Before the process ends because its log is damaged, the requests in flight get this long.
DAMAGED_GRACE_S = 5.0
EXIT_BROKEN = 74  # EX_IOERR of sysexits.h


class Logs:
    """What a worker drains: its own log, which takes the events, and those that it adopted."""

    def __init__(self, config: CommitConfig, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock
        self.all: list[tuple[Log | QuarantinedLog, Committer]] = []
        # For each log, by its directory, whether the table has what it confirmed.
        self.checks: dict[Path, TableCheck] = {}
        # Why no batch can be sent at all, whatever the log.
        self.clickhouse_problem: str | None = "clickhouse has not answered yet"
        # How the table differs from the configuration, which stops nothing.
        self.differences: list[str] = []
        # Rules of `[[retention]]` that a person has not applied.
        self.waiting_rules: list[str] = []
        # What was stored and cannot be read: all of it, that of the table, and that of logs.
        self.damage: list[str] = []
        self.damaged_parts: list[str] = []
        self.damaged_logs: list[str] = []
        # What others left and this worker could not take in: events that wait for a person.
        self.stranded: list[str] = []

    @property
    def problem(self) -> str | None:
        """Why events do not reach ClickHouse at the moment; None if they do."""
        problems = (
            self.clickhouse_problem,
            *(committer.problem for _, committer in self.all),
            *self.stranded,
            self._age_problem(),
        )
        return next(filter(None, problems), None)

    def _age_problem(self) -> str | None:
        """An insert that hangs is no failure yet, and a backlog never is; both mean that reads are behind."""
        config, age_s = self._config, self.oldest_waiting_s
        if not config.age_before_alert_s or age_s <= config.age_before_alert_s + config.flush_interval_s:
            return None
        return (
            f"commit: the oldest event in the log is {age_s:.0f} s old, and "
            f"{self.waiting} events are queued: an insert hangs, or events arrive faster than "
            "ClickHouse accepts "
            "them; see its load and its log, or raise commit.age_before_alert_s = "
            f"{config.age_before_alert_s:g}"
        )

    async def show_rules(self, daily: Daily) -> None:
        self.waiting_rules = await daily.waiting()

    def warnings(self) -> list[str]:
        """What stops nothing, but a person should know."""
        found = [warning for check in self.checks.values() for warning in check.warnings()]
        return [*self.differences, *self.waiting_rules, *found]

    @property
    def waiting(self) -> int:
        return sum(wal.waiting for wal, _ in self.all)

    @property
    def bytes_used(self) -> int:
        return sum(wal.bytes_used for wal, _ in self.all)

    @property
    def oldest_waiting_ms(self) -> int | None:
        return min((at for wal, _ in self.all if (at := wal.oldest_waiting_ms) is not None), default=None)

    @property
    def oldest_waiting_s(self) -> float:
        """How long the oldest event has waited; 0 if none waits."""
        oldest_ms = self.oldest_waiting_ms
        return 0.0 if oldest_ms is None else max(0.0, self._clock() - oldest_ms / 1000)

    def update_damage(self) -> None:
        self.damage[:] = [*self.damaged_logs, *self.damaged_parts]

    @property
    def broken(self) -> LogBroken | None:
        return self.all[0][0].broken

    @property
    def full(self) -> bool:
        return self.all[0][0].full

    @property
    def disk_full(self) -> bool:
        return self.all[0][0].disk_full


class TableWatch:
    """The table in ClickHouse: prepares it, and notices what changes there while the worker runs.

    Nothing that ClickHouse answers ends the worker; what a person should know is in `Logs`.
    """

    def __init__(
        self,
        config: Config,
        client: ClickHouseClient,
        admission: Admission,
        logs: Logs,
        metrics: Metrics,
        erased: Known,
        *,
        is_first: bool,
    ) -> None:
        """`is_first`: of the workers of this node, which does what one of them must do."""
        self._config = config
        self._client = client
        self._admission = admission
        self._logs = logs
        self._metrics = metrics
        self._erased = erased
        self._is_first = is_first

    async def prepare(self) -> None:
        """Returns once the table is there and fit for the first batch."""
        if self._config.clickhouse.url == "embedded":
            await self._engine_started()
        attempt = 0
        reported = ""
        while (problem := await self._attempt(attempt)) is not None:
            self._logs.clickhouse_problem = problem
            attempt += 1
            # A server may start together with the workers, so the first failures mean nothing.
            if attempt > 3 and problem != reported:
                reported = problem
                log.warning("clickhouse: not ready, events stay in the log: %s", problem)
            await asyncio.sleep(delay_s(attempt, FIRST_S, self._config.commit.backoff_max_ms / 1000))
        self._logs.clickhouse_problem = None
        log.info("clickhouse: ready at %s", self._client.endpoint)

    async def _engine_started(self) -> None:
        """Returns when the engine, which starts together with the workers, answers; or after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENGINE_START_S):
                while True:
                    with contextlib.suppress(NealyticsError):
                        return await self._client.ping()
                    await asyncio.sleep(ENGINE_POLL_S)

    async def _attempt(self, attempt: int) -> str | None:
        """Why the table is not ready; None if it is."""
        config = self._config.clickhouse
        try:
            # The first worker applies the schema, and the others find the table at their next attempt. A
            # worker that was restarted alone applies it itself.
            if config.apply_schema and (self._is_first or attempt > 1):
                for line in await schema.apply(self._client, config):
                    log.info("schema: %s", line)
                if config.url == "embedded":
                    await asyncio.to_thread(sync_metadata, self._config.server.data_dir)
            kept, warnings = await schema.probe(self._client, config)
            self._keep(kept)
            await self._erased.current()
        except NealyticsError as error:
            # An engine without room does not start; that it cannot be reached would explain nothing.
            full = config.url == "embedded" and no_room_for_engine(self._config.server.data_dir)
            return full or str(error)
        except Exception as error:
            # No answer of ClickHouse, however unexpected, may keep the worker from accepting events.
            return f"clickhouse: {self._client!r} sent an unexpected answer: {error!r}"
        for warning in warnings:
            log.warning("%s", warning)
        return None

    async def prove(self, reads: Reads) -> None:
        """Reports at the start if the tenant filter does not work. Each read verifies it too."""
        try:
            await reads.fence.prove()
        except NealyticsError as error:
            log.critical("%s", error)

    async def watch(self, what: str, check: Callable[[], Awaitable[None]]) -> None:
        """Runs `check` at intervals, for ever."""
        reported: set[str] = set()
        while True:
            try:
                await check()
            except ClickHouseUnavailable as error:
                log.debug("%s: cannot query ClickHouse now: %s", what, error)
            except Exception as error:
                # A missing right, or an unexpected answer. Reported once, since nothing else depends on it.
                name = error.name if isinstance(error, ClickHouseError) else type(error).__name__
                if name not in reported:
                    reported.add(name)
                    of_file = isinstance(error, OSError)
                    cause = "a file cannot be used" if of_file else "ClickHouse refuses the query"
                    log.warning("%s: cannot be monitored, because %s: %s", what, cause, error)
            await asyncio.sleep(WATCH_INTERVAL_S)

    async def check_retention(self) -> None:
        """Notices a changed TTL, so that events that it would delete are refused."""
        kept = await schema.read_retention(self._client, self._config.clickhouse)
        if kept is not None:
            self._keep(kept)

    async def check_damage(self, watch: DamageWatch) -> None:
        """Notices parts that cannot be read, and reports each of them once."""
        # One worker is enough to read all parts.
        found = await watch.look(check=self._is_first)
        for problem in found:
            if problem not in self._logs.damaged_parts:
                log.critical("%s", problem)
        self._logs.damaged_parts = found
        self._logs.update_damage()
        self._metrics.damaged_parts.set(len(found))

    async def check_rows(self) -> None:
        """Notices a table that lacks what it confirmed, and sends what the logs still have."""
        failed: NealyticsError | None = None
        checks = self._logs.checks
        for directory, check in tuple(checks.items()):
            if not directory.exists():  # a person deleted or moved a quarantined log
                del checks[directory]
                continue
            try:
                await check.check()
            except NealyticsError as error:
                failed = error  # the other logs are not affected
        self._metrics.table_incomplete.set(float(any(check.is_incomplete for check in checks.values())))
        if failed is not None:
            raise failed

    def _keep(self, kept: schema.Retention) -> None:
        """Accepts events as old as the table keeps, and reports if the configuration says otherwise."""
        config = self._config.clickhouse
        self._admission.keep(schema.configured(config.retention_days) if kept.days is None else kept.days)
        difference = schema.difference(kept, config.retention_days, f"{config.database}.{TABLE}")
        warnings = [difference] if difference else []
        if warnings != self._logs.differences:
            if difference:
                log.warning("schema: %s", difference)
            else:
                log.info("schema: the table now keeps events for clickhouse.retention_days")
            self._logs.differences = warnings
        self._metrics.retention_differs.set(float(bool(difference)))


class DamagedLogs:
    """The logs of this node that were quarantined, until a person deletes them."""

    def __init__(self, config: Config, index: int, logs: Logs, metrics: Metrics) -> None:
        self._root = config.wal.directory
        self._workers = config.server.workers
        self._index = index
        self._logs = logs
        self._metrics = metrics
        self._reports: dict[Path, Report] = {}

    async def quarantine_log(self, directory: Path, error: LogDamaged) -> Path:
        """Makes room for a new log in `directory`. Raises `LogError` if that is impossible."""
        target = await asyncio.to_thread(quarantine.quarantine_log, OS_FILES, directory)
        log.critical(
            "%s. The log is kept as %s, a new one takes the events, and what can be read of this one is sent",
            error,
            target,
        )
        return target

    def mine(self) -> list[Path]:
        """Those that this worker drains: its own, and worker 0 those of missing workers."""
        return [path for worker, path in quarantine.find(self._root) if self._drains(worker)]

    def show(self) -> None:
        """Updates what people see; a log that was deleted is shown no more."""
        try:
            found = quarantine.find(self._root)
        except OSError:
            return  # no free descriptor: the next call finds them
        mine = []
        shown = []
        for worker, path in found:
            report = self._report(path)
            if self._drains(worker):
                mine.append(report)
            shown.append(f"wal: {path}: {quarantine.described(report)}")
        for problem in shown:
            if problem not in self._logs.damaged_logs:
                log.critical("%s", problem)
        self._metrics.damaged_logs.set(len(mine))
        self._metrics.unreadable_events.set(sum(report.events for report in mine if report is not None))
        self._logs.damaged_logs = shown
        self._logs.update_damage()

    def _drains(self, worker: int) -> bool:
        return worker == self._index or (self._index == 0 and worker >= self._workers)

    def _report(self, path: Path) -> Report | None:
        """What cannot be read of a log, once that is known."""
        if path not in self._reports:
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                self._reports[path] = quarantine.read_report(path)
        return self._reports.get(path)


class Drains:
    """Opens the logs of a worker, each with its committer."""

    def __init__(
        self,
        config: Config,
        client: ClickHouseClient,
        metrics: Metrics,
        tracing: Tracing | None,
        logs: Logs,
        damaged: DamagedLogs,
        erased: Known,
        *,
        on_broken: Callable[[LogBroken], None],
        on_damaged: Callable[[Path, LogDamaged], None],
    ) -> None:
        self._config = config
        self._erased = erased
        self._client = client
        self._metrics = metrics
        self._tracing = tracing
        self._logs = logs
        self._damaged = damaged
        self._on_broken = on_broken
        self._on_damaged = on_damaged
        self._dead_letter = DeadLetter(config.wal.directory / "dead-letter")
        self.clickhouse_ready = asyncio.Event()

    async def open_own(self, directory: Path) -> tuple[Log, Committer]:
        try:
            return await self._open(directory)
        except LogForeign:
            raise
        except LogDamaged as error:
            await self._damaged.quarantine_log(directory, error)
        return await self._open(directory)

    async def _open(self, directory: Path) -> tuple[Log, Committer]:
        config = self._config
        wal = await Log.open(
            directory,
            msgspec.structs.replace(config.wal, keep_bytes=config.wal.keep_bytes // config.server.workers),
            metrics=self._metrics,
            bytes_max=log_bytes_max(self._config),
            on_broken=self._on_broken,
        )
        self._check(wal)
        return wal, self._committer(wal, lambda error: self._on_damaged(directory, error))

    def _check(self, wal: Log | QuarantinedLog) -> None:
        config = self._config
        jobs = Jobs(config.server.data_dir)  # used in threads, so it is not the loop's
        self._logs.checks[wal.directory] = TableCheck(
            wal,
            self._client,
            config.clickhouse,
            self._dead_letter,
            self._metrics,
            drops=lambda: [expired_by_rules(config.server.data_dir, time.time_ns() // 1_000_000)],
            erased=lambda columns: jobs.tombstones().covers_columns(columns),
            erase_again=jobs.begin_again,
        )

    def _committer(
        self, wal: Log | QuarantinedLog, on_damaged: Callable[[LogDamaged], None] | None = None
    ) -> Committer:
        committer = Committer(
            wal,
            self._client,
            self._dead_letter,
            self._config.commit,
            database=self._config.clickhouse.database,
            metrics=self._metrics,
            tracing=self._tracing,
            on_damaged=on_damaged,
            erased=Erased(self._erased.current),
        )
        self._logs.all.append((wal, committer))
        return committer

    async def when_ready(self, run: Callable[[], Awaitable[None]]) -> None:
        """`run`, once ClickHouse is."""
        await self.clickhouse_ready.wait()
        await run()

    async def adopt(self, directory: Path) -> None:
        try:
            wal, committer = await self._open(directory)
        except LogForeign as error:
            self.strand(f"adopt: log {directory.name} has no worker and was left unchanged: {error}")
            return
        except LogDamaged as error:
            await self.drain(await self._damaged.quarantine_log(directory, error))
            return
        except NealyticsError as error:
            self.strand(f"adopt: log {directory.name} has no worker and was left unchanged: {error}")
            return
        if wal.waiting:
            log.info("adopt: log %s has no worker; draining its %d events", directory.name, wal.waiting)
        await count_rest(self._config.server.data_dir / usage.DIRECTORY / directory.name, wal)
        await self.when_ready(committer.run)

    async def drain(self, directory: Path) -> None:
        """Sends what can be read of a log that was quarantined."""
        partitions_max = self._config.commit.batch_partitions_max
        try:
            wal = await QuarantinedLog.open(
                directory, lambda rows: rows_within_partitions(rows, partitions_max)
            )
        except NealyticsError as error:
            self.strand(f"damaged log {directory.name}: it was left unchanged: {error}")
            return
        if wal.waiting:
            log.info("damaged log %s: sending the %d events that can be read", directory.name, wal.waiting)
        self._check(wal)
        await self.when_ready(self._committer(wal).run)

    def strand(self, problem: str) -> None:
        log.critical("%s; the next start retries", problem)
        self._logs.stranded.append(problem)


class Worker:
    """One worker process's life; `run` returns its exit status.

    It accepts events as soon as its log is open, whatever ClickHouse is doing. `run` raises `LogError` if the
    log cannot be opened.
    """

    def __init__(
        self,
        config: Config,
        index: int,
        listener: socket.socket,
        memory: NodeMemory,
        parent: socket.socket,
        access: Access | None = None,
        read_again: Callable[[], Config] | None = None,
    ) -> None:
        """`access` is that of the embedded engine, None with a server. `read_again` returns the configuration
        after a reload."""
        self._config = config
        self._read_again = read_again or (lambda: config)
        self._index = index
        self._listener = listener
        self._memory = memory
        self._parent = parent
        self._metrics = Metrics(memory)
        port = listener.getsockname()[1]
        self._tracing = otel_signals.start_tracing(self._metrics, port=port, worker=index)
        # Two, so that slow reads take no connection from the inserts.
        write, read = _endpoints(config, access)
        self._client = ClickHouseClient(write, config.clickhouse)
        self._read_client = ClickHouseClient(read, config.clickhouse)
        self._saved = Catalog(config, saved_endpoint(config, access))
        self._stopping = asyncio.Event()
        self._broken: LogBroken | None = None
        self._is_damaged = False
        self._logs = Logs(config.commit)
        data_dir = config.server.data_dir
        self._jobs = Jobs(data_dir)
        self._erased = Known(self._client, config.clickhouse, self._jobs)
        self._daily = Daily(self._client, config.clickhouse, data_dir, config.retention, self._metrics)
        self._retention_admin = RetentionAdmin(self._client, config.clickhouse, data_dir, config.retention)
        self._damaged = DamagedLogs(config, index, self._logs, self._metrics)
        self._drains = Drains(
            config,
            self._client,
            self._metrics,
            self._tracing,
            self._logs,
            self._damaged,
            self._erased,
            on_broken=self._on_broken,
            on_damaged=self._on_damaged,
        )
        self._usage = data_dir / usage.DIRECTORY

    async def run(self) -> int:
        config = self._config
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stopping.set)
        # First: a recovery may take longer than the supervisor waits for a heartbeat.
        heart = asyncio.create_task(beat(self._parent))
        self._memory.forget_queue()
        self._metrics.ready.end()  # a killed predecessor may have left it set
        self._metrics.worker_starts.add()
        self._metrics.wal_bytes_max.set(log_bytes_max(config))
        own_log, committer = await self._drains.open_own(config.wal.directory / str(self._index))
        meter = Meter(self._usage / str(self._index), quotas=config.quota)
        counted_lsn = own_log.durable_lsn
        own_log.on_durable = meter.rows_durable
        await meter.refresh()  # before the first request: a quota may be used up
        admission = _admission(own_log, self._metrics, config, meter, self._jobs)
        verifier = _verifier(config)
        verifier.start()
        reads = self._reads(verifier, meter)
        app = self._app(admission, committer, reads, Writers(ApiKeys(config.auth.api_keys), verifier))
        self._retention_admin.add_to(app, verifier)
        add_usage_route(app, verifier, self._usage, meter)
        erasures = ErasureAdmin(self._client, config.clickhouse, config.server.data_dir, self._jobs)
        erasures.add_to(app, verifier)
        _dead_letter_admin(config, self._client, admission, self._erased).add_to(app, verifier)
        changing = (app, admission, verifier, self._daily, self._retention_admin, meter, self._saved, reads)
        reloading = Reloading(config, self._read_again, self._parent, *changing)
        await reloading.begin()
        http = HttpServer(app, config)
        await http.start(self._listener)
        async with asyncio.TaskGroup() as tasks:
            work = [
                self._watch_table(admission, reads),
                self._drains.when_ready(committer.run),
                self._drains.when_ready(self._saved.run),
                self._observe(verifier, meter),
                reloading.run(),
                meter.run(own_log, counted_lsn),
                LogCleaning(self._jobs, lambda: self._logs.all, admission.erase).run(),
                self._drains.when_ready(self._erased.run),
                keep_ready_gauge(self._logs, self._logs, self._client, self._metrics),
                *map(self._drains.drain, self._damaged.mine()),
            ]
            if self._index == 0:
                work += [
                    self._inherit(admission),
                    self._drains.when_ready(self._daily.run),
                    self._drains.when_ready(Erasing(self._client, config, self._jobs).run),
                ]
            running = [heart, *map(tasks.create_task, work)]
            # The garbage collector need not scan what lives as long as the process.
            gc.freeze()
            gc.enable()
            self._parent.send(READY)
            await self._stopping.wait()
            await self._finish(http)
            for task in running:
                task.cancel()
        await self._close(verifier)
        await meter.store()
        return EXIT_BROKEN if self._broken or self._is_damaged else 0

    def _reads(self, verifier: TokenVerifier, meter: Meter) -> Reads:
        return Reads(
            self._config,
            client=self._read_client,
            verifier=verifier,
            metrics=self._metrics,
            rate=TokenRate(self._memory),
            usage=meter,
            hidden=self._erased.hidden,
            saved=lambda: self._saved.queries.values(),
        )

    def _app(
        self, admission: Admission, committer: Committer, reads: Reads, writers: Writers
    ) -> web.Application:
        config, logs = self._config, self._logs
        kept = _rejected(config, self._index, self._metrics)
        app = build_app(
            config,
            writers=writers,
            admission=admission,
            committer=committer,
            memory=self._memory,
            metrics=self._metrics,
            tracing=self._tracing,
            rejected=kept if config.ingest.keep_rejected else None,
        )
        add_compat_routes(app, config, writers, kept)
        add_read_routes(app, reads)
        add_query_route(app, reads)
        add_page_routes(app, config.web)
        add_stream_routes(app, reads, config)
        add_saved_routes(app, reads, self._saved)
        add_openapi_route(app, config, lambda: self._saved.queries.values())
        add_health_routes(
            app,
            log=logs,
            committer=logs,
            client=self._client,
            warnings=lambda: [*logs.warnings(), *self._saved.warnings()],
            damage=logs.damage,
            metrics=self._metrics,
            prometheus=config.observe.prometheus,
            tenants=LargestTenants(self._usage, config.observe.tenants_max).text,
        )
        return app

    async def _finish(self, http: HttpServer) -> None:
        """Answers the requests in flight and drains the logs, each for half of the shutdown timeout."""
        if self._broken is not None:
            await asyncio.sleep(BROKEN_GRACE_S)
            return
        half_s = self._config.server.shutdown_timeout_s / 2
        if self._is_damaged:
            await http.stop(min(half_s, DAMAGED_GRACE_S))
            return
        await http.stop(half_s)
        await asyncio.gather(*(committer.drain(half_s) for _, committer in self._logs.all))

    async def _close(self, verifier: TokenVerifier) -> None:
        for wal, _ in self._logs.all:
            with contextlib.suppress(LogError):
                await wal.close()
        for part in (verifier, self._client, self._read_client, self._saved):
            await part.close()
        # After the log broke, the restart comes first.
        if self._tracing is not None and self._broken is None:
            await asyncio.to_thread(self._tracing.stop)

    def _on_broken(self, error: LogBroken) -> None:
        log.critical("%s; restarting this worker to recover the log from disk", error)
        self._broken = error
        self._stopping.set()

    def _on_damaged(self, directory: Path, error: LogDamaged) -> None:
        """The start quarantines the log: then nobody appends to it."""
        try:
            quarantine.mark(OS_FILES, directory, str(error))
        except LogError as failure:
            log.critical("%s; and the damage cannot be recorded, which is retried: %s", error, failure)
            return
        log.critical("%s; restarting this worker with a new log", error)
        self._is_damaged = True
        self._stopping.set()

    async def _watch_table(self, admission: Admission, reads: Reads) -> None:
        parts = self._config, self._client, admission, self._logs, self._metrics, self._erased
        table = TableWatch(*parts, is_first=self._index == 0)
        await table.prepare()
        self._drains.clickhouse_ready.set()
        await table.prove(reads)
        noted = Noted(self._config.server.data_dir / "damaged-parts")
        damage = DamageWatch(self._client, self._read_client, self._config.clickhouse, noted)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(table.watch("retention rules", lambda: self._logs.show_rules(self._daily)))
            tasks.create_task(table.watch("retention", table.check_retention))
            tasks.create_task(table.watch("damage", lambda: table.check_damage(damage)))
            tasks.create_task(table.watch("events", table.check_rows))

    async def _observe(self, verifier: TokenVerifier, meter: Meter) -> None:
        """Keeps the gauges of this worker, of all its logs; counters are kept where things happen."""
        metrics, logs = self._metrics, self._logs
        while True:
            metrics.oldest_age_seconds.set(logs.oldest_waiting_s)
            metrics.queue_depth.set(logs.waiting)
            metrics.wal_bytes.set(logs.bytes_used)
            metrics.jwks_age_seconds.set(verifier.jwks_age_s)
            metrics.quota_used_ratio.set(meter.quota_share)
            self._damaged.show()
            await asyncio.sleep(OBSERVE_S)

    async def _inherit(self, admission: Admission) -> None:
        """Takes what others left in the directory: a C# engine's log, and logs without a worker."""
        root = self._config.wal.directory
        orphans = sorted(
            int(path.name)
            for path in root.iterdir()
            if path.is_dir() and path.name.isdigit() and int(path.name) >= self._config.server.workers
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._take_over(root, admission))
            for index in orphans:
                tasks.create_task(self._drains.adopt(root / str(index)))

    async def _take_over(self, root: Path, admission: Admission) -> None:
        # Until then it is not known how old an event the table keeps, and a line is refused for good.
        await self._drains.clickhouse_ready.wait()
        try:
            await take_over(root, admission)
        except Exception as error:
            # Whatever others left there must not keep us from taking events.
            self._drains.strand(f"takeover: cannot import the C# engine's log in {root}: {error!r}")


def _admission(own_log: Log, metrics: Metrics, config: Config, meter: Meter, jobs: Jobs) -> Admission:
    days = config.clickhouse.retention_days
    admission = Admission(own_log, metrics, config.ingest, days, config.retention, meter.quotas)
    with contextlib.suppress(ErasuresUnreadable):  # `LogCleaning` reports it
        admission.erase(jobs.tombstones())  # before the first request
    return admission


def _verifier(config: Config) -> TokenVerifier:
    chars_max = max(CLAIM_CHARS_MAX, config.ingest.identifier_chars_max)
    return TokenVerifier(config.auth, claim_chars_max=chars_max)


def _rejected(config: Config, index: int, metrics: Metrics) -> RejectedEvents:
    return RejectedEvents(
        config.wal.directory / rejected.DIRECTORY,
        index,
        bytes_max=config.ingest.rejected_bytes_max // config.server.workers,
        days_max=config.ingest.rejected_days_max,
        metrics=metrics,
        without_erased=partial(rejects.without_erased, Jobs(config.server.data_dir)),
    )


def _dead_letter_admin(
    config: Config, client: ClickHouseClient, admission: Admission, erased: Known
) -> DeadLetterAdmin:
    letters, database = DeadLetters(config.wal.directory), config.clickhouse.database
    retrying = Retrying(
        letters,
        client,
        database,
        lambda: admission.limits,
        erased.current,
        admission.now_ms,
        paths_of(config.compat.tenant_from),
    )
    return DeadLetterAdmin(letters, retrying)


def log_bytes_max(config: Config) -> int:
    """The share of each log in `wal.bytes_max`."""
    return config.wal.bytes_max // config.server.workers


def _endpoints(config: Config, access: Access | None) -> tuple[Endpoint, Endpoint]:
    """Where this worker writes, and where it reads."""
    if access is None:
        return endpoint_of(config), endpoint_of(config)
    database = config.clickhouse.database
    return (
        embedded_endpoint(access, database, "writer", access.writer),
        embedded_endpoint(access, database, "reader", access.reader),
    )
