"""SQL that several endpoints share: the buckets that a range of time is cut into.

They are UTC whatever the time zone of the server, of the session or of a table that somebody else made.
"""

_START_OF = {
    "minute": "toStartOfMinute",
    "hour": "toStartOfHour",
    "day": "toStartOfDay",
    "month": "toStartOfMonth",
}


def bucket_ms(interval: str) -> str:
    """The start of the interval that an event lies in, in milliseconds since 1970."""
    # A month starts at a Date, the others at a DateTime; through DateTime64 both become the same number.
    return f"toUnixTimestamp64Milli(toDateTime64({_START_OF[interval]}(timestamp, 'UTC'), 3, 'UTC'))"
