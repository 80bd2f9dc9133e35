"""A process that writes a log as fast as it can until it is killed; test_kill.py runs it.

Every row is the text of a number that is never used twice. The ledger gets a line "lsn number" once the log
has acknowledged it, so each line is a promise.
"""

import asyncio
import os
import sys
from pathlib import Path

from nealytics.wal import Log
from tests.wal.logs import advance_cursor, wal_config

CLIENTS = 16


async def main(directory: Path, ledger: Path, first: int) -> None:
    config = wal_config(segment_bytes_max=20_000, keep_hours=24, lock_timeout_s=5)
    log = await Log.open(directory, config)
    promises = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    numbers = iter(range(first, 1 << 60))

    async def client(rows: int) -> None:
        while True:
            batch = [next(numbers) for _ in range(rows)]
            last = await log.append([b"%d" % number for number in batch], 1)
            lines = (f"{last - rows + 1 + i} {number}\n" for i, number in enumerate(batch))
            os.write(promises, "".join(lines).encode())

    async def committer() -> None:
        while True:
            await log.wait_for(log.cursor.next_lsn)
            rows = await log.read(log.cursor.next_lsn, rows_max=50, bytes_max=10_000)
            await advance_cursor(log, rows.last_lsn)

    print("writing", flush=True)
    await asyncio.gather(committer(), *(client(1 + i % 3) for i in range(CLIENTS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
