"""The order of the test files: long ones first, so that the processes that share them finish together; and
a fixture that several of them use."""

import collections
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.other_user import NODE

# A deadline for each generated example would measure the machine.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def node_directory() -> Iterator[Path]:
    """One that belongs to a node with a user of its own, if this is root. Not below `tmp_path`, where each
    run of pytest lets no other user in."""
    with tempfile.TemporaryDirectory(prefix="nealytics-") as name:
        if os.geteuid() == 0:
            os.chown(name, NODE, NODE)
        yield Path(name)


@pytest.hookimpl(trylast=True)  # other files add marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = collections.Counter(item.path for item in items)
    starts_processes = {
        item.path for item in items for mark in ("e2e", "slow") if item.get_closest_marker(mark)
    }
    items.sort(key=lambda item: (item.path not in starts_processes, -tests[item.path], item.path))
