"""How long the table keeps events: what its TTL means, and whether it may be changed.

A start and `schema apply` make retention longer, never shorter. `schema apply --shorten-retention` makes it
shorter, after it has said what that deletes. What the table really keeps is what a node accepts
(`ingest.admission`), whatever its own file says.

Times are in days. `FOREVER` is a table without TTL and `clickhouse.retention_days = 0`.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

FOREVER = math.inf

# Of a TTL's elements: these move or compress a part and delete nothing. After WHERE stands which events are
# deleted; those that it spares are kept longer.
_DELETES_NOTHING = re.compile(r" (?:TO (?:DISK|VOLUME)|RECOMPRESS) .*", re.DOTALL)
_CONDITION = re.compile(r"(?: DELETE)?(?: WHERE .*)?$", re.DOTALL)


class Retention(NamedTuple):
    """What one table keeps. `days` is None if that depends on more than an event's times."""

    days: float | None
    by_hand: str = ""  # the TTL, if it is not one that Nealytics writes


class Decision(NamedTuple):
    """What is to be done with the TTL."""

    days: float | None = None  # keep events so long from now on; None: leave the TTL as it is
    deletes: bool = False  # events would be deleted by that
    remark: str = ""  # what stays different from the configuration


def configured(retention_days: int) -> float:
    return retention_days or FOREVER


def retention_of(ttl: str, by_hand_days: float | None) -> Retention:
    if not ttl:
        return Retention(FOREVER)
    days = days_of(ttl)
    return Retention(by_hand_days, ttl) if days is None else Retention(float(days))


def together(found: Sequence[Retention]) -> Retention:
    """What the tables of all shards keep for certain."""
    by_hand = next((one.by_hand for one in found if one.by_hand), "")
    days = [one.days for one in found]
    return Retention(None if None in days else min(day for day in days if day is not None), by_hand)


def decide(found: Sequence[Retention], retention_days: int, *, shorten: bool = False) -> Decision:
    """What brings the tables (one, or one for each host of a cluster) to `retention_days`.

    Only with `shorten` is anything decided that deletes events. One statement changes all hosts, so one that
    keeps longer than the others decides.
    """
    wanted = configured(retention_days)
    for one in found:
        if one.by_hand:
            return Decision(
                remark=f"the TTL is {one.by_hand}, written by hand; not changed. It, and not "
                "clickhouse.retention_days, says how long events are kept"
            )
    days = [one.days for one in found if one.days is not None]
    longest = max(days)
    if longest > wanted:
        if shorten:
            return Decision(wanted, deletes=True)
        remark = (
            f"events are kept {for_days(longest)}, longer than clickhouse.retention_days = {retention_days} "
            "says; this is not changed. `nealytics schema apply --shorten-retention` shows what would be "
            "deleted, and asks before it deletes"
        )
        return Decision(longest if min(days) < wanted else None, remark=remark)
    return Decision(wanted if min(days) < wanted else None)


def difference(kept: Retention, retention_days: int, name: str) -> str:
    """What is to be said of a table that does not keep what the configuration says; "" if it does."""
    wanted = configured(retention_days)
    setting = f"clickhouse.retention_days = {retention_days}"
    if kept.days is None:
        return (
            f"the TTL of {name} is {kept.by_hand}, written by hand, and depends on more than an event's "
            f"times; events are accepted as {setting} says, and ClickHouse deletes those that are expired"
        )
    if kept.days == wanted:
        return ""
    keeps = f"{name} keeps events {for_days(kept.days)}"
    if kept.by_hand:
        refused = "" if kept.days == FOREVER else "; older ones are refused"
        return f"{keeps}, by the TTL {kept.by_hand}, written by hand, and not as {setting} says{refused}"
    if kept.days > wanted:
        return (
            f"{keeps}, longer than {setting} says; nothing is deleted or refused before that. Set "
            f"clickhouse.retention_days = {_setting(kept.days)}, or run "
            "`nealytics schema apply --shorten-retention`, which says what it would delete"
        )
    return (
        f"{keeps}, shorter than {setting} says; older ones are refused, since they would be deleted. Run "
        f"`nealytics schema apply` to keep them {for_days(wanted)}, or set clickhouse.retention_days = "
        f"{_setting(kept.days)}"
    )


def ttl_expression(days: float) -> str:
    return f"toDateTime(timestamp) + INTERVAL {days:.0f} DAY"


def days_of(ttl: str) -> int | None:
    """The days of a TTL of our own making; None for any other."""
    found = re.fullmatch(
        r"toDateTime\(timestamp\) \+ (?:toIntervalDay\((\d+)\)|INTERVAL (\d+) DAY)(?: DELETE)?", ttl
    )
    return int(found[1] or found[2]) if found else None


def deleting_expressions(ttl: str) -> list[str]:
    """The times at which a TTL deletes events, as SQL.

    WHERE is left out, as if it matched all events. GROUP BY stays in, and is not valid SQL there.
    """
    elements = [element for element in _elements(ttl) if not _DELETES_NOTHING.search(element)]
    return [_CONDITION.sub("", element, count=1) for element in elements]


def for_days(days: float) -> str:
    return "for ever" if days == FOREVER else f"{days:g} days"


def _setting(days: float) -> int:
    return 0 if days == FOREVER else int(days)


def _elements(ttl: str) -> list[str]:
    """Cut at its commas, but for those in parentheses and quotes."""
    elements = [""]
    depth = 0
    for piece in re.findall(r"'(?:[^'\\]|\\.)*'|`[^`]*`|.", ttl, re.DOTALL):
        depth += (piece == "(") - (piece == ")")
        if piece == "," and not depth:
            elements.append("")
        else:
            elements[-1] += piece
    return [element.strip() for element in elements]
