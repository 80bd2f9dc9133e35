"""An answer by its deprecated names, for the tests that were written with them.

Each common name is compared with its old one, and taken away: so every answer in these tests is also a proof
that the two agree.
"""

import json
from datetime import UTC, datetime
from typing import Any

# Common name → the old ones that stand beside it.
OLD = {
    "time": ("bucket", "cohort"),
    "key": ("series",),
    "count": ("activeCount", "eventCount", "size", "events"),
    "share": ("conversion",),
}
# Routes that had `tz` if it was asked for.
ECHOED = {"timeseries", "active", "summary", "heatmap", "retention"}
# What `test_list_pages` checks.
OF_A_SESSION = {"userId", "entryItemId", "exitItemId", "eventTypes"}


def by_old_names(path: str, answer: Any, tz: object) -> Any:
    """`tz` is what was asked for, or a list with it."""
    if isinstance(tz, list):
        tz = tz[0] if tz else None
    if not isinstance(answer, dict) or "code" in answer:
        return answer
    route = path.rpartition("/")[2]
    answer = _old(answer)
    told = answer.pop("tz", None)
    if told is not None:
        assert told == (tz or "UTC")
        if tz and route in ECHOED:
            answer["tz"] = tz
    if route == "sessions":
        assert answer.pop("from") <= answer.pop("to")
        for row in answer["sessions"]:
            for name in OF_A_SESSION & row.keys():
                del row[name]
    if route in ("sessions", "top"):
        answer.pop("nextCursor", None)
    return answer


def _old(found: Any) -> Any:
    if isinstance(found, list):
        return [_old(one) for one in found]
    if not isinstance(found, dict):
        return found
    found = {name: _old(value) for name, value in found.items()}
    _of_event(found)
    for name in ("from", "to"):
        if isinstance(found.get(name), str):
            found[name] = _utc(found[name])
    if isinstance(found.get("value"), str):
        assert found.pop("key") == found["value"]
    elif "value" in found:
        wanted = found["values"][0] if "values" in found else found["count"]
        assert found.pop("value") == wanted
    for name, others in OLD.items():
        for other in others:
            # `events` is also a list: of a timeline, and of a path.
            if other in found and not isinstance(found[other], list):
                assert found.pop(name) == found[other]
    return found


def _of_event(found: dict[str, Any]) -> None:
    if "metadataJson" not in found:
        return
    try:
        metadata = json.loads(found["metadataJson"])
    except ValueError:
        metadata = None
    if "metadata" in found:
        assert found.pop("metadata") == metadata


def _utc(text: str) -> str:
    moment = datetime.fromisoformat(text).astimezone(UTC)
    whole = moment.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{moment.microsecond // 1000:03}".rstrip("0")
    return f"{whole}{'.' if fraction else ''}{fraction}Z"
