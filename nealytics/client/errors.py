"""What the client raises.

ClientError
    SendError           events are not confirmed; it has them, and they may be sent again
    RejectedError       the server rejected some events for their content, and has all others
    ReadError           a query was not answered
        IncompleteExport    an export was cut
"""

from collections.abc import Sequence
from dataclasses import dataclass

from nealytics.client.events import Event
from nealytics.errors import NealyticsError


class ClientError(NealyticsError):
    """Base of all others."""


@dataclass(frozen=True)
class Rejection:
    """An event that the server rejects. To send it again unchanged does not help."""

    index: int  # among the given events
    event: Event
    field: str | None  # its JSON name: eventType
    message: str


class SendError(ClientError):
    """The server did not confirm these events: it was not reached, or rejected the whole request.

    Some of `events` may be stored nevertheless, if the answer was lost. `client.send(error.events)` sends
    them again, and each is counted once. `status` is that of the last answer, 0 without one.
    """

    def __init__(
        self,
        problem: str,
        events: Sequence[Event],
        rejections: Sequence[Rejection] = (),
        *,
        status: int = 0,
        code: str = "",
        retry_after_s: float = 0.0,
        spent_s: float = 0.0,
    ) -> None:
        count = f"{len(events)} events are" if len(events) != 1 else "1 event is"
        super().__init__(f"{problem}; {count} not confirmed")
        self.problem = problem
        self.events = list(events)
        self.rejections = list(rejections)  # among the events sent before the problem
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s  # of the last answer
        self.spent_s = spent_s  # since the first attempt of the request that was given up


class RejectedError(ClientError):
    """The server rejected these events and accepted all others."""

    def __init__(self, rejections: Sequence[Rejection], accepted: int) -> None:
        first = rejections[0]
        more = f" (and {len(rejections) - 1} more)" if len(rejections) > 1 else ""
        super().__init__(
            f"{len(rejections)} of {accepted + len(rejections)} events were rejected: "
            f"event {first.index}: {first.message}{more}"
        )
        self.rejections = list(rejections)
        self.accepted = accepted


class ReadError(ClientError):
    """A query that was not answered. `status` is 0 without any answer."""

    def __init__(
        self,
        problem: str,
        *,
        status: int = 0,
        code: str = "",
        detail: str = "",
        field: str | None = None,
        request_id: str = "",
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(f"{problem}. {detail}" if detail else problem)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class IncompleteExport(ReadError):
    """An export without an end record, or with another number of events. `events` were returned."""

    def __init__(self, problem: str, events: int) -> None:
        super().__init__(f"the export is not complete: {problem}")
        self.events = events
