"""The order of the test files: long ones first, so that the processes that share them finish together."""

import collections

import pytest


@pytest.hookimpl(trylast=True)  # other files add marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = collections.Counter(item.path for item in items)
    starts_processes = {
        item.path for item in items for mark in ("e2e", "slow") if item.get_closest_marker(mark)
    }
    items.sort(key=lambda item: (item.path not in starts_processes, -tests[item.path], item.path))
