"""The errors that cross a package boundary.

Each message names what failed, the value, and what to do, in lower case with the part first.
Clients see only `Refused`, which becomes the JSON body of an HTTP answer.
"""


class NealyticsError(Exception):
    """Base of every error raised on purpose."""


class ConfigError(NealyticsError):
    """The configuration cannot be used. `problems` has one message for each finding."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class LogError(NealyticsError):
    """The write-ahead log cannot do what was asked."""


class LogFull(LogError):
    """A size limit is reached, or the disk is full. No row of the group was stored; retry later."""


class LogBroken(LogError):
    """A write or sync failed, so the content of the disk is unknown. The process must restart and recover."""


class LogDamaged(LogError):
    """Durable bytes differ from what was written. Never repaired silently."""


class LogForeign(LogDamaged):
    """Files of a newer release, or of another log: a person must decide, so nothing is quarantined."""


class LogLocked(LogError):
    """Another process holds the log's directory."""


class ErasuresUnreadable(NealyticsError):
    """It is not known which events are erased: none may be shown or sent until it is."""


class Refused(NealyticsError):
    """A request, or one event of it, that is not accepted, with the error for the client.

    `status` is the HTTP status, `code` a stable word for programs (for ingest one of
    `observe.metrics.REFUSED_REASONS`), `message` one clause with the value, `detail` what to do about it, and
    `field` the JSON field or the parameter at fault.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        detail: str = "",
        field: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.field = field
        self.headers = headers or {}


STOP_RETRY_AFTER_S = 2


def stopping() -> Refused:
    """The refusal of a request that a stop leaves no time for."""
    return Refused(
        503,
        "stopping",
        "the server is stopping and cannot finish this request",
        detail="Retry; an event with the same eventId and timestamp is counted once.",
        headers={"Retry-After": str(STOP_RETRY_AFTER_S)},
    )
