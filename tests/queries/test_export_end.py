import random

import pytest

from nealytics.queries import export, export_end
from nealytics.queries.export_end import Counter, events_of_line, events_of_values, record

TEXTS = ["", "Z", 'Z"', 'Z"\r\n', 'Z""\r\n', "\r\n", 'a "quoted" text', "line\nline", '","', 'Z"\r\n"Z"\r\n']


def csv_row(texts: list[str]) -> bytes:
    quoted = ['"' + text.replace('"', '""') + '"' for text in [*texts, "2026-06-15T10:30:00Z"]]
    return (",".join(quoted) + "\r\n").encode()


@pytest.mark.parametrize("seed", range(20))
def test_events_of_csv_are_counted_whatever_they_hold_and_however_they_are_cut(seed: int):
    chance = random.Random(seed)
    rows = [csv_row([chance.choice(TEXTS) for _ in range(4)]) for _ in range(chance.randrange(200))]
    whole = b"".join(rows)
    counter = Counter("csv")
    at = 0
    while at < len(whole):
        size = chance.randrange(1, 40)
        counter.feed(whole[at : at + size])
        at += size
    assert counter.events == len(rows)


def test_events_of_ndjson_are_its_lines():
    counter = Counter("ndjson")
    for piece in (b'{"a":1}\n{"a"', b":2}\n", b"", b'{"a":3}\n'):
        counter.feed(piece)
    assert counter.events == 3


def test_the_record_of_ndjson_is_known_again_and_nothing_else_is():
    line = record("ndjson", 300_000, 9)
    assert line == b'{"nealyticsExport":{"end":true,"events":300000}}\n'
    assert events_of_line(line.rstrip()) == 300_000
    for other in (
        b'{"eventId":"nealyticsExport"}',
        b'{"nealyticsExport":true}',
        b'{"nealyticsExport":{"end":false,"events":1}}',
        b'{"nealyticsExport":{"end":true,"events":"1"}}',
        b'{"nealyticsExport":{"end":true,"ev',
        b"",
    ):
        assert events_of_line(other) is None


def test_the_record_of_csv_has_as_many_columns_as_the_others_and_is_known_again():
    columns = export.FIELDS
    line = record("csv", 7, len(columns))
    assert line == b'"nealyticsExport.end","7",,,,,,,\r\n'
    values = line.decode().rstrip("\r\n").replace('"', "").split(",")
    assert len(values) == len(columns)
    assert events_of_values(columns, values) == 7
    assert events_of_values(("name", *columns[1:]), values) is None
    assert events_of_values(columns, [*values[:-1], "x"]) is None
    assert events_of_values(columns, ["nealyticsExport.end", "many", *values[2:]]) is None
    assert events_of_values(columns, ["nealyticsExport.end"]) is None


@pytest.mark.parametrize(
    ("te", "wanted"), [(None, False), ("", False), ("trailers", True), ("gzip;q=1, Trailers;q=0.5", True)]
)
def test_a_client_may_ask_for_trailers(te: str | None, wanted: bool):
    assert export_end.asked_for({} if te is None else {"TE": te}) is wanted
