"""Polling: how tests wait for what happens in another task, thread, process or page, and has no event.

The time limits are generous, for a busy machine: they only end a test before pytest's own limit does, with
a message that says what did not happen.
"""

import asyncio
import inspect
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any


def until(
    condition: Callable[[], Any],
    what: str = "",
    *,
    timeout_s: float = 60.0,
    pause: Callable[[], object] = lambda: time.sleep(0.02),
    errors: tuple[type[Exception], ...] = (),
    more: Callable[[], str] = str,
) -> Any:
    """Returns the first true answer of `condition`; an exception of `errors` counts as a false one.

    The message of a failure names `what`, or else quotes `condition`, and ends with `more`, such as the end
    of a log. `pause` may also keep a page's event loop going, or fail once nothing can come any more.
    """
    end = time.monotonic() + timeout_s
    while True:
        try:
            if last := condition():
                return last
        except errors as error:
            last = error
        assert time.monotonic() < end, _failure(condition, what, timeout_s, last, more)
        pause()


async def until_async(
    condition: Callable[[], Any],
    what: str = "",
    *,
    timeout_s: float = 60.0,
    pause: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0.01),
    errors: tuple[type[Exception], ...] = (),
    more: Callable[[], str] = str,
) -> Any:
    """The same in an event loop. `condition` may be a coroutine function."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            last = condition()
            if inspect.isawaitable(last):
                last = await last
            if last:
                return last
        except errors as error:
            last = error
        assert time.monotonic() < end, _failure(condition, what, timeout_s, last, more)
        await pause()


def until_equal(found: Callable[[], Any], expected: object, timeout_s: float = 60.0) -> None:
    """A failure shows the difference."""
    try:
        until(lambda: found() == expected, timeout_s=timeout_s)
    except AssertionError:
        assert found() == expected


def _failure(
    condition: Callable[[], Any], what: str, timeout_s: float, last: object, more: Callable[[], str]
) -> str:
    if not what:
        quoted = getattr(condition, "__name__", "") == "<lambda>"
        what = inspect.getsource(condition).strip() if quoted else repr(condition)
    return f"not within {timeout_s:g} s: {what}\nlast value: {last!r}\n{more()}"


def while_running(process: subprocess.Popen[Any], log: Path) -> Callable[[], None]:
    """A pause for `until` that fails if the process has ended."""

    def pause() -> None:
        assert process.poll() is None, f"ended with {process.returncode}\n{log.read_text()}"
        time.sleep(0.02)

    return pause
