"""A log that takes nothing, for what must happen then."""

import asyncio
from collections.abc import Sequence

from nealytics.errors import LogError
from nealytics.ingest.admission import Done


class RefusingLog:
    """Every append fails with `error`."""

    def __init__(self, error: LogError) -> None:
        self.error = error

    def append(self, rows: Sequence[bytes], row_format: int) -> asyncio.Future[int]:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(self.error)
        return future

    def append_with(self, rows: Sequence[bytes], row_format: int, done: Done) -> None:
        done(0, self.error)
