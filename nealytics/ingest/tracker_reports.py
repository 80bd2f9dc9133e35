"""What a tracker says about itself beside its events, in the query string of `batch` and `beacon`.

    sentAt    its clock when it sent the request, in epoch milliseconds. Only counted: the time of an event is
              a part of its identity, so it is never corrected
    dropped   events that it dropped since the last report, because its queue was full

Anybody may send these with a browser's key, so they are shown as metrics and decide nothing.
"""

import re
from typing import NamedTuple

from nealytics.observe.metrics import Metrics

# In the form that the tracker sends. `dropped` may be empty.
QUERY = r"&sentAt=(?P<sent_at>\d{1,15})&dropped=(?P<dropped>\d{0,6})"
_SENT_AT = re.compile(r"\d{1,15}", re.ASCII)
_DROPPED = re.compile(r"\d{1,6}", re.ASCII)

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
# A request of a tracker takes at most 30 s, so less than a minute may be the network.
_STEPS = ((_DAY_MS, "day"), (_HOUR_MS, "hour"), (_MINUTE_MS, "minute"))


class TrackerReport(NamedTuple):
    sent_at_ms: int
    dropped: int

    def note(self, metrics: Metrics, received_ms: int) -> None:
        metrics.tracker_requests.add(1, clock(self.sent_at_ms - received_ms))
        metrics.tracker_dropped.add(self.dropped)


def report(sent_at: str, dropped: str) -> TrackerReport | None:
    """None if these are not from a tracker."""
    if not _SENT_AT.fullmatch(sent_at):
        return None
    return TrackerReport(int(sent_at), int(dropped) if _DROPPED.fullmatch(dropped) else 0)


def clock(ahead_ms: int) -> str:
    """How far a clock is ahead, or behind: one of `metrics.CLOCKS`."""
    side = "ahead" if ahead_ms > 0 else "behind"
    return next((f"{side}_{unit}" for least, unit in _STEPS if abs(ahead_ms) >= least), "right")
