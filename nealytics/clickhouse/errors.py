"""What ClickHouse can answer instead of success, told apart by its error code, never by its text.

    ClickHouseError                 it answered: no
    └── ClickHouseUnavailable       it did not answer, or not completely; code 0

`error_codes` has all codes and what each means.
"""

import re

from nealytics.clickhouse.error_codes import KINDS, NAMES, Kind, kind_of
from nealytics.errors import NealyticsError

UNKNOWN_TABLE = 60
TABLE_ALREADY_EXISTS = 57
UNKNOWN_DATABASE = 81
DATABASE_ALREADY_EXISTS = 82
UNKNOWN_SETTING = 115
TIMEOUT_EXCEEDED = 159
NO_SUCH_DATA_PART = 232
TABLE_IS_READ_ONLY = 242
AUTHENTICATION_FAILED = 516

BAD_CONTENT_CODES = frozenset(code for code, kind in KINDS.items() if kind is Kind.CONTENT)

# The part of the table that a message is about.
_PART = re.compile(
    r"(?:[Rr]eading part |reading from part \S*/(?=[^/\s]+/ )|data part '?)([\w-]+?_\d+_\d+_\d+(?:_\d+)?)\b"
)
# Damage, if it is about a part: cut or changed bytes may look like any of these.
_CODES_OF_DAMAGE = frozenset(code for code, kind in KINDS.items() if kind in (Kind.DAMAGED, Kind.CONTENT)) | {
    74,
    107,
}

# What is the matter with one server, and perhaps not with the replicas beside it. Overload (202, 241, 252) is
# not among them, it would follow the batch; nor a quorum that is not there (285, 286), which is the shard's.
ADDRESS_CODES = frozenset(
    {
        UNKNOWN_TABLE,  # a replica that was added or lost its disk: until `schema apply`
        UNKNOWN_DATABASE,
        192,  # UNKNOWN_USER
        193,  # WRONG_PASSWORD
        194,  # REQUIRED_PASSWORD
        195,  # IP_ADDRESS_NOT_ALLOWED
        225,  # NO_ZOOKEEPER
        236,  # ABORTED: it is shutting down
        TABLE_IS_READ_ONLY,  # it has lost Keeper
        243,  # NOT_ENOUGH_SPACE
        439,  # CANNOT_SCHEDULE_TASK: it is shutting down, or has no threads left
        AUTHENTICATION_FAILED,
        696,  # ASYNC_LOAD_CANCELED: it is shutting down before it had its tables
        733,  # TABLE_IS_BEING_RESTARTED
        774,  # TABLE_IS_PERMANENTLY_READ_ONLY
        999,  # KEEPER_EXCEPTION: it is losing Keeper
    }
)

# What a person can do about an error that waiting alone does not end.
_ADVICE = {
    16: "run `nealytics schema apply`",
    36: "read the message; it names the argument",
    UNKNOWN_TABLE: "run `nealytics schema apply`",
    UNKNOWN_DATABASE: "run `nealytics schema apply`",
    UNKNOWN_SETTING: "this server does not know the setting; it is left out once it was noticed",
    164: "the user is read-only; give clickhouse.user the right to write",
    192: "set clickhouse.user to a user that exists",
    193: "set clickhouse.password",
    194: "set clickhouse.password",
    241: "ClickHouse is out of memory; give it more, or look at what else it runs",
    TABLE_IS_READ_ONLY: "the replica has lost ClickHouse Keeper; look at system.replicas",
    243: "free disk space on the ClickHouse server",
    252: "merges fall behind; look at system.merges and at how many partitions a batch touches",
    497: "grant clickhouse.user the right that the message names",
    AUTHENTICATION_FAILED: "check clickhouse.user and clickhouse.password",
}

_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)")
_CODE = re.compile(r"Code: (\d+)\.")
_MESSAGE_CHARS_MAX = 2_000


class ClickHouseError(NealyticsError):
    """ClickHouse refused. `code` and `name` are its own, `status` the HTTP status it sent."""

    def __init__(self, code: int, message: str, *, status: int = 0, name: str = "") -> None:
        self.code = code
        self.status = status
        self.name = name or _name_in(message) or NAMES.get(code, "")
        self.message = message.strip()[:_MESSAGE_CHARS_MAX]
        # The part that cannot be read, in all of the message: it comes last, after what ClickHouse has to say
        # about hardware.
        found = _PART.search(message) if code in _CODES_OF_DAMAGE else None
        self.damaged_part = found[1] if found else ""
        advice = _ADVICE.get(code)
        super().__init__(
            f"clickhouse: code {code} ({self.name or 'no name'}, HTTP {status}): {self.message}"
            + (f"; {advice}" if advice else "")
        )

    @property
    def kind(self) -> Kind:
        return Kind.DAMAGED if self.damaged_part else kind_of(self.code)

    @property
    def bad_content(self) -> bool:
        """Whether rows of the insert can be at fault. If so it is worth finding out which; waiting is not."""
        return self.kind is Kind.CONTENT

    @property
    def of_the_address(self) -> bool:
        """Whether another replica may well answer otherwise."""
        return self.code in ADDRESS_CODES

    @property
    def retryable(self) -> bool:
        """Whether the same request can succeed later. Wrong passwords and missing tables are waited for too:
        a person fixes them, and until then the events are safe in the log."""
        return not self.bad_content

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code}, name={self.name!r}, status={self.status})"


class ClickHouseUnavailable(ClickHouseError):
    """No answer, or half of one. Whether the request took effect is unknown."""

    def __init__(self, message: str) -> None:
        NealyticsError.__init__(self, f"clickhouse: {message}")
        self.code = 0
        self.status = 0
        self.name = ""
        self.message = message
        self.damaged_part = ""

    @property
    def kind(self) -> Kind:
        return Kind.LATER

    @property
    def of_the_address(self) -> bool:
        return True


class NotAReplica(ClickHouseUnavailable):
    """What answers there is ClickHouse, with another table than that of the other addresses."""


def error_of(status: int, code_header: str | None, body: str) -> ClickHouseError:
    """The error that an answer means. A proxy's error page has no code; its status says that waiting
    helps."""
    if code_header is not None and code_header.isdigit():
        return ClickHouseError(int(code_header), body, status=status)
    found = _CODE.search(body)
    if found:
        return ClickHouseError(int(found[1]), body, status=status)
    return ClickHouseUnavailable(
        f"HTTP {status} without an error code: {body.strip()[:300] or 'empty answer'}"
    )


def _name_in(message: str) -> str:
    names = _NAME.findall(message)
    return names[-1] if names else ""
