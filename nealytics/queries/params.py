"""From a query string to typed values, and from ClickHouse's numbers to JSON's times.

An argument that is absent, empty or blank has its default. One that cannot be understood is refused with 400,
the argument's name and what to write instead; nothing is guessed. Instants are counted in milliseconds since
1970, UTC, from here to ClickHouse and back: no text format, session time zone or server profile interferes.
"""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from multidict import MultiMapping

from nealytics.config import QueryConfig
from nealytics.errors import Refused

LIMIT_DEFAULT = 100
FILTER_CHARS_MAX = 256
ITEM_ID_CHARS_MAX = 2_048  # item ids may be URLs

_INTEGER = re.compile(r"[+-]?[0-9]+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MS_PER_HOUR = 3_600_000

# What DateTime64(3) can hold: 1900 to 2299. An instant outside means "before" or "after everything".
_INSTANT_MS_MIN = (datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND
_INSTANT_MS_MAX = (datetime(2299, 12, 31, tzinfo=UTC) - _EPOCH) // _MILLISECOND


class Arguments:
    """The query string of one request, with the limits and the time it is read by.

    Each method raises `Refused` (400, code "invalid_parameter", with the field's name).
    """

    def __init__(self, query: MultiMapping[str], config: QueryConfig, now_ms: int) -> None:
        self._query = query
        self._config = config
        self.now_ms = now_ms

    def text(self, name: str, chars_max: int = FILTER_CHARS_MAX) -> str | None:
        """The argument as it was sent, or None if it is absent or blank."""
        values = self._query.getall(name, [])
        if len(values) > 1:
            raise _invalid(name, f"{name} is given {len(values)} times", "Give it once.")
        if not values or not values[0].strip():
            return None
        value = values[0]
        if len(value) > chars_max:
            raise _invalid(
                name,
                f"{name} has {len(value)} characters, at most {chars_max} are accepted",
                "A longer value cannot be asked for.",
            )
        if not _is_unicode(value):
            raise _invalid(name, f"{name} is not valid UTF-8", "Percent-encode the UTF-8 bytes of the text.")
        return value

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """One of `choices`, exactly as it is written there."""
        text = self.text(name)
        if text is not None and text not in choices:
            raise _invalid(name, f"{name} is {shown(text)}", f"Write one of {', '.join(choices)}.")
        return text

    def limit(self, default: int | None = LIMIT_DEFAULT) -> int:
        """Between 1 and the configured maximum, whatever number was sent. No `default` is the maximum."""
        text = self.text("limit")
        if text is None:
            return self._config.limit_max if default is None else min(default, self._config.limit_max)
        text = text.strip()
        if not _INTEGER.fullmatch(text):
            raise _invalid("limit", f"limit is {shown(text)} and not an integer", "Write it like limit=100.")
        return max(1, min(int(text), self._config.limit_max))

    def instant(self, name: str, *, round_up: bool) -> int | None:
        """Milliseconds since 1970 of an ISO 8601 date or time; no zone means UTC.

        Stored times are whole milliseconds. A finer instant is rounded to the side that keeps comparisons
        with them true: up for "earlier than" and "from", down for "until".
        """
        text = self.text(name)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text.strip())
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            since = moment - _EPOCH
        except (ValueError, OverflowError):
            raise _invalid(
                name,
                f"{name} is {shown(text)} and not an ISO 8601 date or time",
                "Write it like 2024-06-15T10:30:00.123Z; a + in a query string is written %2B.",
            ) from None
        ms = -(-since // _MILLISECOND) if round_up else since // _MILLISECOND
        return max(_INSTANT_MS_MIN, min(ms, _INSTANT_MS_MAX))

    def range_ms(self) -> tuple[int, int]:
        """`from` and `to`, both inclusive; by default the configured number of hours up to now.

        With `to` alone in the past, the range is that many hours up to `to`.
        """
        from_ms = self.instant("from", round_up=True)
        to_ms = self.instant("to", round_up=False)
        if from_ms is None:
            end_ms = self.now_ms if to_ms is None else min(to_ms, self.now_ms)
            from_ms = max(_INSTANT_MS_MIN, end_ms - self._config.default_range_hours * _MS_PER_HOUR)
        if to_ms is None:
            to_ms = self.now_ms
        if from_ms > to_ms:
            raise _invalid(
                "from",
                f"from ({iso_utc(from_ms)}) is later than to ({iso_utc(to_ms)})",
                "Without to, the range ends now.",
            )
        return from_ms, to_ms


def iso_utc(ms: int) -> str:
    """`2024-06-15T10:30:00.12Z`: trailing zeros of the fraction left out, and with them the point.

    That is how the C# engine's serializer writes a UTC time; every ISO 8601 parser reads it.
    """
    text = (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")
    return text[:23].rstrip("0").rstrip(".") + "Z"


def shown(value: str) -> str:
    """A client's value in an error message: quoted, and not at full length."""
    return repr(value if len(value) <= 40 else value[:40] + "…")


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid(field: str, message: str, detail: str) -> Refused:
    return Refused(400, "invalid_parameter", message, detail=detail, field=field)
