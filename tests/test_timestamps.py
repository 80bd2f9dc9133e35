"""Which timestamps are accepted, and what they are."""

import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nealytics.timestamps import PATTERN, epoch_ms, parse

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SAMPLES = [
    "2026-06-15T10:30:00.123Z",
    "2026-06-15T10:30:00Z",
    "2026-06-15t10:30:00.1z",
    "2026-06-15 10:30:00.123456789+02:00",
    "2026-06-15T10:30:00,5-03:30",
    "20260615T103000.25+0200",
    "2026-06-15T10:30",
    "2026-06-15T10Z",
    "2026-06-15",
    "2026-W25-1",
    "2026W251T24:00:00Z",
    "2016-12-31T23:59:60Z",
    "1990-12-31T15:59:60.123-08:00",
    "0000-02-29T00:00:00Z",
    "9999-12-31T23:59:59.999-23:59",
]


def read(function: Callable[[str], Any], text: str) -> Any:
    """None if it is refused."""
    try:
        return function(text)
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The examples of RFC 3339, 5.8.
        ("1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.520"),
        ("1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57.000"),
        ("1990-12-31T23:59:60Z", "1990-12-31T23:59:59.999"),
        ("1990-12-31T15:59:60-08:00", "1990-12-31T23:59:59.999"),
        ("1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.870"),
        # T and Z may be lower case, and a space may stand for T.
        ("2026-06-15t10:30:00z", "2026-06-15T10:30:00.000"),
        ("2026-06-15 10:30:00Z", "2026-06-15T10:30:00.000"),
        ("2026-06-15t10:30:00.123z", "2026-06-15T10:30:00.123"),
        # A fraction has as many digits as its sender likes.
        ("2026-06-15T10:30:00.1Z", "2026-06-15T10:30:00.100"),
        ("2026-06-15T10:30:00.1239Z", "2026-06-15T10:30:00.123"),
        ("2026-06-15T10:30:00.123999999999999999999999Z", "2026-06-15T10:30:00.123"),
        ("2026-06-15T10:30:00.1234567+00:00", "2026-06-15T10:30:00.123"),
        # Any offset. -00:00 says that where the sender was is not known; the time is UTC.
        ("2026-06-15T10:30:00-00:00", "2026-06-15T10:30:00.000"),
        ("2026-06-15T10:30:00+23:59", "2026-06-14T10:31:00.000"),
        ("2026-06-15T10:30:00-23:59", "2026-06-16T10:29:00.000"),
        ("2026-06-15T10:30:00+05:30", "2026-06-15T05:00:00.000"),
        # A leap second.
        ("2017-01-01T05:29:60.75+05:30", "2016-12-31T23:59:59.999"),
        # ISO 8601.
        ("2026-06-15T10:30:00", "2026-06-15T10:30:00.000"),
        ("2026-06-15T10:30Z", "2026-06-15T10:30:00.000"),
        ("2026-06-15T10+02", "2026-06-15T08:00:00.000"),
        ("20260615T103000Z", "2026-06-15T10:30:00.000"),
        ("20260615T1030+0200", "2026-06-15T08:30:00.000"),
        ("2026-06-15T10:30:00,123Z", "2026-06-15T10:30:00.123"),
        ("1900-01-01T00:00:00+00:53:28", "1899-12-31T23:06:32.000"),
        ("2026-06-15", "2026-06-15T00:00:00.000"),
        ("20260615", "2026-06-15T00:00:00.000"),
        ("2026-W25-1", "2026-06-15T00:00:00.000"),
        ("2026W251T10:30:00Z", "2026-06-15T10:30:00.000"),
        ("2026-06-15T24:00:00Z", "2026-06-16T00:00:00.000"),
        ("2026-06-15T24:00", "2026-06-16T00:00:00.000"),
    ],
)
def test_all_of_rfc_3339_is_accepted_and_much_of_iso_8601(text: str, expected: str):
    moment = EPOCH + timedelta(milliseconds=epoch_ms(text))
    assert moment.isoformat(timespec="milliseconds") == f"{expected}+00:00"
    assert re.fullmatch(PATTERN, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-06",
        "2026-6-15",
        "2026-02-29",
        "2100-02-29T00:00:00Z",
        "2026-06-31T10:30:00.000Z",
        "2026-13-01",
        "2026-06-15T",
        "2026-06-15T25:00:00Z",
        "2026-06-15T24:00:01Z",
        "2026-06-15T10:60:00Z",
        "2026-06-15T10:30:61Z",
        "2026-06-15T10:30:60Z",
        "2026-06-15T23:59:60+02:00",
        "2026-06-15T10:30:00+24:00",
        "2026-06-15T10:30:00+02:60",
        "2026-06-15T10:30:00.Z",
        "2026-06-15T10:30:00 Z",
        "2026-06-15T10:30:00 +02:00",
        "2026-06-15T10:30:00ZZ",
        "2026-06-15  10:30:00Z",
        "2026-06-15_10:30:00Z",
        "2026-06-15T10.5Z",
        "2026-06-15T10:30.5Z",
        "2026-06-15T10:3000Z",
        "2026-0615",
        "2026-W25",
        "2026-W53-8",
        "2025-W53-1",
        "2026-166",
        " 2026-06-15",
        "2026-06-15\n",
        "2026-06-15Z",
        "26-06-15",
        "12026-06-15",
        "+2026-06-15",
        "1712010512345",
        "06/15/2026",
        "٢٠٢٦-06-15T10:30:00Z",
        "2026-06-15T10:30:00.12٣Z",
    ],
)
def test_anything_else_is_refused(text: str):
    assert read(epoch_ms, text) is None
    assert read(parse, text) is None


def test_the_year_0_is_a_leap_year():
    day = 86_400_000
    assert epoch_ms("0001-01-01T00:00:00Z") - epoch_ms("0000-01-01T00:00:00Z") == 366 * day
    assert epoch_ms("0000-03-01T00:00:00Z") - epoch_ms("0000-02-29T00:00:00.000Z") == day


def test_what_is_said_is_told_apart_from_what_is_left_out():
    assert parse("2026-06-15").is_date
    assert not parse("2026-06-15T00:00").is_date
    assert parse("2026-06-15T00:00").offset_ms is None
    assert parse("2026-06-15T00:00z").offset_ms == 0
    assert parse("2026-06-15T00:00-00:53:28").offset_ms == -(53 * 60 + 28) * 1000
    assert [parse(f"2026-06-15T00:00:00.{digits}").finer for digits in ("123", "1230", "1230001")] == [
        False,
        False,
        True,
    ]


def test_the_short_cuts_change_nothing():
    """Most timestamps are read by `datetime.fromisoformat`, which sees more in some texts than there is."""
    chance = random.Random(7)
    alphabet = "0123456789-:.,TtZz +Wx٣"
    accepted = 0
    for _ in range(60_000):
        chars = list(chance.choice(SAMPLES))
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(chars))
            chars[at : at + chance.randrange(2)] = chance.choice(alphabet) * chance.randrange(2)
        text = "".join(chars) or "x"
        said = read(parse, text)
        if said is None:
            assert read(epoch_ms, text) is None, text
        else:
            accepted += 1
            assert epoch_ms(text) == said.local_ms - (said.offset_ms or 0), text
            assert re.fullmatch(PATTERN, text)
    assert 5_000 < accepted < 55_000
