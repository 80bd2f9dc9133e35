"""What a tracker says beside its events, in the query string of `batch` and `beacon`.

sentAt         its clock when it sent the request, in epoch milliseconds. Only counted: the time of an event
               is a part of its identity, so it is never corrected
tenant, user   with a token: whose events these are. The user may be empty
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from nealytics.auth.grant import Grant
from nealytics.errors import Refused
from nealytics.event import shorten
from nealytics.observe.metrics import Metrics

# In the form that the tracker sends.
QUERY = r"&sentAt=(?P<sent_at>\d{1,15})"
_SENT_AT = re.compile(r"\d{1,15}", re.ASCII)

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
# A request of a tracker takes at most 30 s, so less than a minute may be the network.
_STEPS = ((_DAY_MS, "day"), (_HOUR_MS, "hour"), (_MINUTE_MS, "minute"))


class TrackerReport(NamedTuple):
    sent_at_ms: int

    def note(self, metrics: Metrics, received_ms: int) -> None:
        metrics.tracker_requests.add(1, clock(self.sent_at_ms - received_ms))


def report(sent_at: str) -> TrackerReport | None:
    """None if this is not from a tracker."""
    return TrackerReport(int(sent_at)) if _SENT_AT.fullmatch(sent_at) else None


def require_owner(query: Mapping[str, str], grant: Grant) -> None:
    """Raises `Refused` (403) if events were queued for another tenant or user than that of the token.

    Without this, events that omit their user would be stored as those of another, who signed in before they
    were sent.
    """
    for field, bound in (("tenant", grant.tenant), ("user", grant.user)):
        said = query.get(field)
        if grant.kind == "token" and said is not None and bound and said != bound:
            raise Refused(
                403,
                "forbidden",
                f'the page has {field} "{shorten(said)}", and the token is bound to "{shorten(bound)}"',
                detail=f'Nothing was stored. Set data-{field} of the tracker to "{shorten(bound)}".',
                field=field,
            )


def clock(ahead_ms: int) -> str:
    """How far a clock is ahead, or behind: one of `metrics.CLOCKS`."""
    side = "ahead" if ahead_ms > 0 else "behind"
    return next((f"{side}_{unit}" for least, unit in _STEPS if abs(ahead_ms) >= least), "right")
