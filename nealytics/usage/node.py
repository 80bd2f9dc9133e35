"""What all workers of a node used together, as their files are now."""

import logging
from collections.abc import Iterable
from copy import copy
from pathlib import Path

from nealytics.errors import NealyticsError
from nealytics.quotas import Quotas, Sums
from nealytics.usage import store
from nealytics.usage.counts import Used, day_number, free, month_days, today

log = logging.getLogger("nealytics.usage")

Totals = dict[tuple[str, str], Used]
# What tells a file that was replaced: inode, time of change in ns, size.
_Version = tuple[int, int, int]


class NodeUsage:
    """Reads the files in `root`, each again only when it was replaced.

    A file that cannot be read is left out and reported once: what it has must not stop the others.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._current: dict[Path, tuple[_Version, store.Current]] = {}
        # The sums of files of days that have ended, by the days that were asked for.
        self._ended: dict[range, tuple[dict[Path, _Version], Totals]] = {}
        self._reported: set[str] = set()

    def totals(self, days: range) -> Totals:
        """By project and tenant, in these days."""
        open_days: list[tuple[int, store.Lines]] = []
        files: dict[Path, _Version] = {}
        for directory in sorted(self._root.glob("*/")):
            # First: a day that it no longer has is in a file by now.
            current = self._read_current(directory)
            open_days += current.items()
            for day in days:
                path = store.path_of(directory, day)
                if day not in current and (version := _version(path)) is not None:
                    files[path] = version
        totals = {owner: copy(used) for owner, used in self._sum_ended(days, files).items()}
        for day, lines in open_days:
            if day in days:
                _add(totals, lines)
        return totals

    def _read_current(self, directory: Path) -> dict[int, store.Lines]:
        path = directory / store.CURRENT
        version = _version(path)
        known = self._current.get(path)
        if version is None:
            return {}
        if known is None or known[0] != version:
            try:
                read = version, store.load(directory)
            except NealyticsError as error:
                self._report(error)
                return {}
            self._current[path] = read
            for lines in known[1].days.values() if known is not None else ():
                free(lines)
            known = read
        return {day_number(text): lines for text, lines in known[1].days.items()}

    def _sum_ended(self, days: range, files: dict[Path, _Version]) -> Totals:
        known = self._ended.get(days)
        if known is None or known[0] != files:
            totals: Totals = {}
            for path in files:
                try:
                    _add(totals, store.load_day(path.parent, day_number(path.stem)).lines)
                except NealyticsError as error:
                    self._report(error)
            known = files, totals
            # Those of other days are of the past.
            self._ended = {kept: found for kept, found in self._ended.items() if kept.stop >= days.start}
            self._ended[days] = known
        return known[1]

    def _report(self, error: NealyticsError) -> None:
        if str(error) not in self._reported:
            self._reported.add(str(error))
            log.error("%s; quotas and metrics do not count what it has", error)


def by_project(totals: Totals, projects: Iterable[str], field: str) -> Sums:
    """One number of each tenant, and their sum as that of the tenant ""."""
    wanted = frozenset(projects)
    sums: Sums = {}
    for (project_id, tenant_id), used in totals.items():
        if project_id in wanted:
            tenants = sums.setdefault(project_id, {})
            number = getattr(used, field)
            tenants[""] = tenants.get("", 0) + number
            if tenant_id:
                tenants[tenant_id] = tenants.get(tenant_id, 0) + number
    return sums


def used_of(quotas: Quotas, usage: NodeUsage, now_ms: int) -> tuple[Sums, Sums]:
    """What the node used of `quotas`, for `Quotas.counted`: events of the month, queries of the day."""
    day = today(now_ms)
    month, one_day = usage.totals(month_days(day)), usage.totals(range(day, day + 1))
    found = by_project(month, quotas.projects, "events"), by_project(one_day, quotas.projects, "queries")
    free(month)
    free(one_day)
    return found


def _add(totals: Totals, lines: store.Lines) -> None:
    for project_id, tenant_id, used in lines:
        totals.setdefault((project_id, tenant_id), Used()).add(used)


def _version(path: Path) -> _Version | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
