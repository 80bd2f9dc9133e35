"""What the client raises.

ClientError
    SendError           events are not confirmed; it has them, and they may be sent again
    RejectedError       the server has all events but some, which it refuses for what they say
    ReadError           a question was not answered
        IncompleteExport    an export ended before its end
"""

from collections.abc import Sequence
from dataclasses import dataclass

from nealytics.client.events import Event
from nealytics.errors import NealyticsError


class ClientError(NealyticsError):
    """Base of all of them."""


@dataclass(frozen=True)
class Rejection:
    """An event that the server refuses. Sending it again unchanged does not help."""

    index: int  # of the events that were given
    event: Event
    field: str | None  # its JSON name: eventType
    message: str


class SendError(ClientError):
    """The server did not confirm these events: it was not reached, or refused the request as a whole.

    An event among `events` may be stored all the same, if the answer was lost. `client.send(error.events)`
    sends them again, and each is counted once. `status` is that of the last answer, 0 if there was none.
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
    ) -> None:
        count = f"{len(events)} events are" if len(events) != 1 else "1 event is"
        super().__init__(f"{problem}; {count} not confirmed")
        self.problem = problem
        self.events = list(events)
        self.rejections = list(rejections)  # of those that were sent before the problem
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s  # what the server asked for last


class RejectedError(ClientError):
    """The server refuses these events, and has accepted all others."""

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
    """A question that was not answered. `status` is 0 if there was no answer at all."""

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
    """An export that has no end mark, or another number of events than that says. `events` were given out."""

    def __init__(self, problem: str, events: int) -> None:
        super().__init__(f"the export is not complete: {problem}")
        self.events = events
