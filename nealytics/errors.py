"""The errors that cross a package border.

Each message names what failed, the value, and what to do; lower case, the part first.
`Refused` is the only one a client sees: it becomes the JSON body of an HTTP answer.
"""


class NealyticsError(Exception):
    """Base of every error raised on purpose."""


class ConfigError(NealyticsError):
    """The configuration cannot be used. `problems` holds every finding, one message each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class LogError(NealyticsError):
    """The write-ahead log cannot do what was asked."""


class LogFull(LogError):
    """No room: a size cap is reached or the disk is full. Nothing of the group was kept; try again later."""


class LogBroken(LogError):
    """A write or sync failed, so what the disk holds is unknown. The process must restart and recover."""


class LogDamaged(LogError):
    """Bytes that were once durable no longer read back as written. Never repaired silently."""


class LogLocked(LogError):
    """Another process holds the log's directory."""


class Refused(NealyticsError):
    """A request, or one event of it, that is not accepted, and what the client is told.

    `status` is the HTTP status, `code` a stable machine word out of `observe.metrics.REFUSED_REASONS`
    for ingest, `message` one sentence with the value in it, `detail` what to do about it, and
    `field` the JSON name or parameter at fault.
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
    """What a request is told that a stop leaves no time for."""
    return Refused(
        503,
        "stopping",
        "the server is stopping and cannot finish this request",
        detail="Retry; an event with the same eventId and timestamp is counted once.",
        headers={"Retry-After": str(STOP_RETRY_AFTER_S)},
    )
