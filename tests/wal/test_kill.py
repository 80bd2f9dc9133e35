"""SIGKILL at random moments, with a real process and a real disk."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path

from nealytics.wal import OS_FILES, inspection
from tests.waiting import until_async
from tests.wal.logs import opened, read_all

ROUNDS = 8


def promises_in(ledger: Path) -> int:
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0


async def test_what_was_acknowledged_survives_sigkill(tmp_path: Path):
    ledger = tmp_path / "ledger"
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    for i in range(ROUNDS):
        command = [
            sys.executable,
            "-m",
            "tests.wal.writing_child",
            str(tmp_path / "log"),
            str(ledger),
            str(i * 10_000_000),
        ]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: ASYNC220  (nothing else runs here)
        assert child.stdout is not None
        assert child.stdout.readline() == b"writing\n", f"round {i}, seed {seed}"
        promised = promises_in(ledger) + 20
        await until_async(lambda: promises_in(ledger) >= promised)  # noqa: B023
        await asyncio.sleep(moments.random() * 0.3)
        child.kill()
        child.communicate()
    promises = {int(lsn): int(last) for lsn, last in map(str.split, ledger.read_text().splitlines())}
    assert len(promises) > 100
    async with opened(tmp_path / "log") as log:
        rows = [int(row) for row in await read_all(log)]
        assert len(set(rows)) == len(rows), f"seed {seed}"
        for lsn, number in promises.items():
            assert rows[lsn - 1] == number, f"row {lsn}, seed {seed}"
        assert log.waiting <= log.durable_lsn - log.cursor_lsn
    assert [finding for finding in inspection.verify(OS_FILES, tmp_path / "log") if finding.damage] == []
