"""Which settings of a new configuration a running node uses from now on. Pure.

API keys keep their places: the place of a key is the number of its rate limit in shared memory. A removed key
leaves its place empty, and new keys follow at the end, so the permits of one key never count for another.
"""

from typing import Any, NamedTuple

import msgspec

from nealytics.config.check import key_digest
from nealytics.config.tables import ApiKey, Config

# Whole tables, lists, or single keys.
RELOADABLE = (
    "auth",
    "ingest.rate_limit_requests",
    "ingest.rate_limit_requests_per_address",
    "ingest.rate_limit_window_s",
    "ingest.rate_limit_queue_max",
    "quota",
    "retention",
    "segment",
    "server.cors_allowed_origins",
)
# No text has this SHA-256, as far as anyone knows.
_NO_KEY = ApiKey(key_sha256="00" * 32)


class Reloaded(NamedTuple):
    config: Config  # the running one, with the new values of what reloads
    changed: list[str]  # names of settings that take effect now
    restart: list[str]  # names of settings that take effect at the next start


def reloaded(running: Config, wanted: Config, places: int) -> Reloaded:
    """`places` is how many API keys the node has room for."""
    changed, restart = [], []
    tables: dict[str, Any] = {}
    for table in Config.__struct_fields__:
        old, new = getattr(running, table), getattr(wanted, table)
        if not isinstance(old, msgspec.Struct):
            tables[table] = new
            changed += [table] if new != old else []
            continue
        taken = {}
        for key in old.__struct_fields__:
            name, value = f"{table}.{key}", getattr(new, key)
            if name == "auth.api_keys":
                before = getattr(old, key)
                placed = _placed(before, value, places)
                if placed is None:
                    restart.append(name)
                elif placed != before:
                    changed.append(name)
                    taken[key] = placed
            elif value != getattr(old, key):
                reloads = name in RELOADABLE or table in RELOADABLE
                (changed if reloads else restart).append(name)
                if reloads:
                    taken[key] = value
        tables[table] = msgspec.structs.replace(old, **taken)
    return Reloaded(Config(**tables), changed, restart)


def _placed(old: tuple[ApiKey, ...], new: tuple[ApiKey, ...], places: int) -> tuple[ApiKey, ...] | None:
    """The new keys, each in the place that it had; None if there are too few places."""
    wanted = {key_digest(key): key for key in new}
    placed = [wanted.pop(key_digest(key), _NO_KEY) for key in old]
    placed += wanted.values()
    # Places of removed keys are used again only if there are no others.
    while len(placed) > places and _NO_KEY in placed:
        placed[placed.index(_NO_KEY)] = placed.pop()
    return tuple(placed) if len(placed) <= places else None
