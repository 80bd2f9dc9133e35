"""One batch to ClickHouse: retried until ClickHouse has it or refuses its content.

Every error except a short list of codes is retried for ever, with full-jitter backoff. After
`retries_before_alert` failures it is a `Problem`: a critical line in the log, and `/ready` is 503.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Final, Literal

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.commit.backoff import Backoff
from nealytics.commit.delivery import Unconfirmed, deliver
from nealytics.commit.problem import Problem
from nealytics.config import CommitConfig
from nealytics.errors import NealyticsError
from nealytics.observe import otel
from nealytics.observe.metrics import Metrics
from nealytics.observe.otel import Tracing
from nealytics.wal import Rows

log = logging.getLogger("nealytics.commit")

# An insert takes a fraction of a second. ClickHouse may still answer, so it is no failed attempt yet.
_SLOW_S = 5.0

OUTDATED: Final = "outdated"
STORED_BEFORE: Final = "stored before"
Outcome = ClickHouseError | Literal["outdated", "stored before"] | None
Begin = Callable[[], bool]
IsCurrent = Callable[[], Awaitable[bool]]


class Sender:
    """Sends the batches of one log."""

    def __init__(
        self,
        client: ClickHouseClient,
        database: str,
        config: CommitConfig,
        *,
        problem: Problem,
        metrics: Metrics,
        tracing: Tracing | None,
        backoff: Backoff,
    ) -> None:
        self._client = client
        self._database = database
        self._config = config
        self._problem = problem
        self._metrics = metrics
        self._tracing = tracing
        self._backoff = backoff

    async def send(self, rows: Rows, token: str, begin: Begin, is_current: IsCurrent) -> Outcome:
        """Returns None once ClickHouse has accepted `rows`, the error that says that their content is bad,
        `STORED_BEFORE` if the table refuses them and an earlier attempt has stored all of them, or `OUTDATED`
        if they must be read again: some of them were erased.

        Before each attempt, `is_current` says whether they may be sent, and `begin` whether the same rows may
        have been sent before. If `is_current` raises `NealyticsError`, that is a failed attempt.
        """
        tracing = self._tracing
        with (
            nullcontext()
            if tracing is None
            else tracing.flush(rows=rows.count, bytes=len(rows.payload), token=token)
        ):
            return await self._send_as(token, rows, begin, is_current)

    async def _send_as(self, token: str, rows: Rows, begin: Begin, is_current: IsCurrent) -> Outcome:
        started = time.monotonic()
        failures = unconfirmed = 0
        while True:
            otel.note("nealytics.attempts", failures + 1)
            slow = asyncio.get_running_loop().call_later(_SLOW_S, self._is_slow, rows, failures)
            try:
                if not await is_current():
                    return OUTDATED
                delivered = await deliver(
                    self._client,
                    self._database,
                    rows.payload,
                    rows,
                    rows.row_format,
                    token=token,
                    tried=begin(),
                    may_ask=unconfirmed < self._config.retries_before_alert,
                )
                break
            except Unconfirmed as error:
                unconfirmed += 1
                otel.record(error)
                failure: Exception = error
            except NealyticsError as error:
                otel.record(error)
                if isinstance(error, ClickHouseError) and error.bad_content:
                    otel.fail("bad_content")
                    return error
                failure = error
            except Exception as error:
                # Any other error: the rows are safe in the log, so report it and retry.
                log.exception("commit: batch %d-%d: unexpected error", rows.first_lsn, rows.last_lsn)
                otel.record(error)
                failure = error
            finally:
                slow.cancel()
            failures += 1
            self._metrics.insert_retries.add()
            self._report(rows, failures, failure)
            await asyncio.sleep(self._backoff.pause_s(failures))
        self._metrics.write_seconds.observe(time.monotonic() - started)
        return None if delivered.accepted else STORED_BEFORE

    def _is_slow(self, rows: Rows, failures: int) -> None:
        log.warning(
            "commit: batch %d-%d: attempt %d: clickhouse has not answered for %g s; is it overloaded or "
            "does it hang? Events are safe in the log",
            rows.first_lsn,
            rows.last_lsn,
            failures + 1,
            _SLOW_S,
        )

    def _report(self, rows: Rows, failures: int, failure: Exception) -> None:
        if failures >= self._config.retries_before_alert:
            self._problem.report(
                f"batch {rows.first_lsn}-{rows.last_lsn} was not accepted in {failures} attempts: {failure}; "
                "events are safe in the log and are sent as soon as clickhouse accepts them"
            )
        else:
            log.warning(
                "commit: batch %d-%d: attempt %d failed: %s", rows.first_lsn, rows.last_lsn, failures, failure
            )
