"""A short run of `tests.browser.tracker_losses`; docs/sending.md has the result of a long one."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_whatever_fails_meanwhile_each_event_of_the_tracker_is_counted_once():
    # A process of its own: in this one Playwright's loop may run.
    command = [sys.executable, "-m", "tests.browser.tracker_losses", "--loads", "25", "--seed", "3"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    row = re.search(r"`/t.js` \| (\d+) \| (\d+) \| 0 \| 0 \|", ran.stdout)
    assert row, ran.stdout
    created, counted = map(int, row.groups())
    assert created == counted > 50
    for what in ("crash", "kill", "close", "offline", "node killed"):
        assert what in ran.stdout, ran.stdout
