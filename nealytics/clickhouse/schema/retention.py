"""How long the table keeps events: what its TTL means, and whether it may be changed. Pure.

A start and `schema apply` make retention longer, never shorter. `schema apply --shorten-retention` makes it
shorter, after it has shown what that deletes. A node accepts the events that the table really keeps
(`ingest.admission`), whatever the node's configuration says.

Times are in days. `FOREVER` is a table without TTL and `clickhouse.retention_days = 0`.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

FOREVER = math.inf

# These elements of a TTL move or compress a part and delete nothing. WHERE selects the events to delete; the
# others are kept longer.
_DELETES_NOTHING = re.compile(r" (?:TO (?:DISK|VOLUME)|RECOMPRESS) .*", re.DOTALL)
_CONDITION = re.compile(r"(?: DELETE)?(?: WHERE .*)?$", re.DOTALL)


class Retention(NamedTuple):
    """How long one table keeps events. `days` is None if that depends on more than an event's times."""

    days: float | None
    by_hand: str = ""  # the TTL, if it is not one that Nealytics writes


class Decision(NamedTuple):
    """What to do with the TTL."""

    days: float | None = None  # the new retention; None leaves the TTL as it is
    deletes: bool = False  # whether that deletes events
    remark: str = ""  # how the table differs from the configuration afterwards


def configured(retention_days: int) -> float:
    return retention_days or FOREVER


def retention_of(ttl: str, by_hand_days: float | None) -> Retention:
    if not ttl:
        return Retention(FOREVER)
    days = days_of(ttl)
    return Retention(by_hand_days, ttl) if days is None else Retention(float(days))


def together(found: Sequence[Retention]) -> Retention:
    """What the tables of all shards certainly keep."""
    by_hand = next((one.by_hand for one in found if one.by_hand), "")
    days = [one.days for one in found]
    return Retention(None if None in days else min(day for day in days if day is not None), by_hand)


def decide(found: Sequence[Retention], retention_days: int, *, shorten: bool = False) -> Decision:
    """How to bring the tables (one, or one for each host of a cluster) to `retention_days`.

    Only with `shorten` may the decision delete events. One statement changes all hosts, so the host that
    keeps events longest decides.
    """
    wanted = configured(retention_days)
    for one in found:
        if one.by_hand:
            return Decision(
                remark=f"the TTL {one.by_hand} was written by hand and is not changed; it overrides "
                "clickhouse.retention_days"
            )
    days = [one.days for one in found if one.days is not None]
    longest = max(days)
    if longest > wanted:
        if shorten:
            return Decision(wanted, deletes=True)
        remark = (
            f"the table keeps events {for_days(longest)}, longer than clickhouse.retention_days = "
            f"{retention_days}; this is not changed. `nealytics schema apply --shorten-retention` shows what "
            "would be deleted, and asks before it deletes"
        )
        return Decision(longest if min(days) < wanted else None, remark=remark)
    return Decision(wanted if min(days) < wanted else None)


def difference(kept: Retention, retention_days: int, name: str) -> str:
    """The message for a table that does not keep events as configured; "" if it does."""
    wanted = configured(retention_days)
    setting = f"clickhouse.retention_days = {retention_days}"
    if kept.days is None:
        return (
            f"the TTL of {name} ({kept.by_hand}) was written by hand and depends on more than timestamps; "
            f"events are accepted as {setting} says, and ClickHouse deletes those that its TTL expires"
        )
    if kept.days == wanted:
        return ""
    keeps = f"{name} keeps events {for_days(kept.days)}"
    if kept.by_hand:
        refused = "" if kept.days == FOREVER else "; older ones are refused"
        return f"{keeps}: its TTL {kept.by_hand} was written by hand and overrides {setting}{refused}"
    if kept.days > wanted:
        return (
            f"{keeps}, longer than {setting}; the table's longer time applies. Set clickhouse.retention_days "
            f"= {_setting(kept.days)}, or run `nealytics schema apply --shorten-retention`, which shows what "
            "it would delete"
        )
    return (
        f"{keeps}, shorter than {setting} says; older ones are refused, since they would be deleted. Run "
        f"`nealytics schema apply` to keep them {for_days(wanted)}, or set clickhouse.retention_days = "
        f"{_setting(kept.days)}"
    )


def ttl_expression(days: float) -> str:
    return f"toDateTime(timestamp) + INTERVAL {days:.0f} DAY"


def days_of(ttl: str) -> int | None:
    """The days of a TTL that we wrote; None for any other."""
    found = re.fullmatch(
        r"toDateTime\(timestamp\) \+ (?:toIntervalDay\((\d+)\)|INTERVAL (\d+) DAY)(?: DELETE)?", ttl
    )
    return int(found[1] or found[2]) if found else None


def deleting_expressions(ttl: str) -> list[str]:
    """The times at which a TTL deletes events, as SQL.

    WHERE is removed, as if it matched all events. GROUP BY stays, and is not valid SQL there.
    """
    elements = [element for element in _elements(ttl) if not _DELETES_NOTHING.search(element)]
    return [_CONDITION.sub("", element, count=1) for element in elements]


def for_days(days: float) -> str:
    return "for ever" if days == FOREVER else f"{days:g} days"


def _setting(days: float) -> int:
    return 0 if days == FOREVER else int(days)


def _elements(ttl: str) -> list[str]:
    """Splits at commas, except within parentheses and quotes."""
    elements = [""]
    depth = 0
    for piece in re.findall(r"'(?:[^'\\]|\\.)*'|`[^`]*`|.", ttl, re.DOTALL):
        depth += (piece == "(") - (piece == ")")
        if piece == "," and not depth:
            elements.append("")
        else:
            elements[-1] += piece
    return [element.strip() for element in elements]
