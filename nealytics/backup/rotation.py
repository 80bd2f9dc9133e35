"""Which backups of a rotation may be deleted, and which one the next is based on. Pure."""

from collections.abc import Collection
from typing import NamedTuple

DAY_MS = 86_400_000


class Found(NamedTuple):
    """A backup where the rotation keeps them. Names sort by time."""

    name: str
    began_ms: int
    complete: bool
    base: str | None = None  # the name of the one that it is based on


def base_for(found: Collection[Found], now_ms: int, full_days: int) -> Found | None:
    """The newest full backup, if it is younger than `full_days`; None: the next one is a full one.

    Never one that itself has a base: so a restore needs two backups at most.
    """
    full = [backup for backup in found if backup.complete and backup.base is None]
    newest = max(full, key=lambda backup: backup.began_ms, default=None)
    return newest if newest is not None and now_ms - newest.began_ms < full_days * DAY_MS else None


def keep_until_ms(began_ms: int, keep_days: int, full_days: int, *, full: bool) -> int:
    """When a backup is deleted at the latest, if the rotation keeps running. A full one stays as long as the
    last that may be based on it."""
    return began_ms + (keep_days + (full_days if full else 0)) * DAY_MS


def expired(
    found: Collection[Found], now_ms: int, keep_days: int, needed: Collection[str] = ()
) -> list[Found]:
    """What may be deleted now, those with a base first.

    Kept are: what is younger than `keep_days`, the newest complete backup, what a kept one is based on, and
    `needed`, the names of those that a backup elsewhere is based on. A backup that is not complete goes after
    a day: until then another command may be writing it.
    """
    complete = [backup for backup in found if backup.complete]
    kept = {backup.name for backup in complete if now_ms - backup.began_ms < keep_days * DAY_MS}
    if complete:
        kept.add(max(complete, key=lambda backup: backup.began_ms).name)
    kept |= {backup.base for backup in complete if backup.name in kept and backup.base is not None}
    kept |= {backup.name for backup in found if not backup.complete and now_ms - backup.began_ms < DAY_MS}
    old = [backup for backup in found if backup.name not in kept and backup.name not in needed]
    return sorted(old, key=lambda backup: (backup.base is None, backup.began_ms))
