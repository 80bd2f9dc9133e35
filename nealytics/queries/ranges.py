"""SQL that several endpoints share: the events within a range of time, and the buckets it is cut into.

Both are UTC whatever the time zone of the server, of the session or of a table that somebody else made.
"""

# With the parameters `from_ms` and `to_ms`, both inclusive.
IN_RANGE = (
    "timestamp >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')"
    " AND timestamp <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')"
)

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
