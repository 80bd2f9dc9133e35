"""What ClickHouse can answer instead of success, distinguished by its error code; by its text only where one
code has two causes.

    ClickHouseError                 it refused the request
    └── ClickHouseUnavailable       no answer, or an incomplete one; code 0
        └── NotAReplica             the server has another table

`error_codes` has the codes and what each means.
"""

import re

from nealytics.clickhouse.error_codes import (
    ADDRESS_CODES,
    ADVICE,
    DAMAGE_OF_A_PART_CODES,
    NAMES,
    Kind,
    kind_of,
)
from nealytics.errors import NealyticsError

# The part of the table that a message is about.
_PART = re.compile(
    r"(?:[Rr]eading part |reading from part \S*/(?=[^/\s]+/ )|data part '?)([\w-]+?_\d+_\d+_\d+(?:_\d+)?)\b"
)

# A connection between two servers of a cluster broke. Its code is that of bad content; only the text differs.
# Anchored, because the error of a row may quote the row.
_BROKEN_BETWEEN_SERVERS = re.compile(
    r"Code: 3[23]\. DB::Exception: "
    r"(?:Attempt to read after eof|Cannot read all data\. Bytes read: \d+\. Bytes expected: \d+\.?)"
    r": while receiving \w+ from "
)

_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)")
_CODE = re.compile(r"Code: (\d+)\.")
_MESSAGE_CHARS_MAX = 2_000


class ClickHouseError(NealyticsError):
    """ClickHouse refused. `code` and `name` are its own, `status` is the HTTP status."""

    url = ""  # of an insert: the address where it failed
    moved = False  # another address failed before, and may have done what was asked

    def __init__(self, code: int, message: str, *, status: int = 0, name: str = "") -> None:
        self.code = code
        self.status = status
        self.name = name or _name_in(message) or NAMES.get(code, "")
        self.message = message.strip()[:_MESSAGE_CHARS_MAX]
        # The part that cannot be read. The whole message is searched: ClickHouse names the part last, after
        # advice about hardware.
        found = _PART.search(message) if code in DAMAGE_OF_A_PART_CODES else None
        self.damaged_part = found[1] if found else ""
        self._broken_between_servers = _BROKEN_BETWEEN_SERVERS.match(message) is not None
        advice = ADVICE.get(code)
        super().__init__(
            f"clickhouse: code {code} ({self.name or 'no name'}, HTTP {status}): {self.message}"
            + (f"; {advice}" if advice else "")
        )

    @property
    def kind(self) -> Kind:
        if self._broken_between_servers:
            return Kind.LATER
        return Kind.DAMAGED if self.damaged_part else kind_of(self.code)

    @property
    def bad_content(self) -> bool:
        """Whether the content of rows can be the cause. Then it helps to find out which; waiting does not."""
        return self.kind is Kind.CONTENT

    @property
    def of_the_address(self) -> bool:
        """Whether another replica may give another answer."""
        return self.code in ADDRESS_CODES

    @property
    def retryable(self) -> bool:
        """Whether the same request can succeed later. That includes wrong passwords and missing tables: a
        person fixes them, and until then the events are safe in the log."""
        return not self.bad_content

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code}, name={self.name!r}, status={self.status})"


class ClickHouseUnavailable(ClickHouseError):
    """No answer, or an incomplete one. Whether the request took effect is unknown."""

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
    """The server has another table than the other addresses."""


def error_of(status: int, code_header: str | None, body: str) -> ClickHouseError:
    """The error that an answer means. The error page of a proxy has no code, so ClickHouse is unavailable."""
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
