import pytest

from nealytics.http.accept import preferred_type, weights

TYPES = ("application/x-ndjson", "text/csv", "application/vnd.apache.parquet")
NDJSON, CSV, PARQUET = TYPES


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("*/*", NDJSON),
        ("text/html", None),
        ("text/html, */*;q=0.8", NDJSON),
        ("text/csv", CSV),
        ("TEXT/CSV; Q=0.3", CSV),
        ("text/*", CSV),
        ("application/*", NDJSON),
        # The larger weight, whatever the order.
        ("text/csv;q=0.5, application/x-ndjson;q=0.9", NDJSON),
        ("application/x-ndjson;q=0.5, text/csv", CSV),
        ("application/vnd.apache.parquet ; q=0.002 , text/csv ; q=0.001", PARQUET),
        # The most specific range has a type's weight.
        ("text/csv;q=0.1, */*;q=0.2", NDJSON),
        ("application/*;q=0.9, application/x-ndjson;q=0.1", PARQUET),
        ("text/*;q=0.2, */*;q=0.9, text/csv;q=1.0", CSV),
        # 0 is not acceptable.
        ("application/x-ndjson;q=0, */*", CSV),
        ("text/csv;q=0", None),
        ("*/*;q=0", None),
        ("application/*;q=0.000, */*;q=0.001", CSV),
        # Of equals one that is named.
        ("text/csv, */*", CSV),
        ("text/csv, application/x-ndjson", NDJSON),
        # Other parameters say nothing of the weight; a weight that is none leaves the element out.
        ("text/csv;charset=utf-8;header=present;q=0.9, application/x-ndjson;q=0.8", CSV),
        ("text/csv;q=2, application/x-ndjson;q=0.1", NDJSON),
        ("text/csv;q=, application/x-ndjson;q=0.1", NDJSON),
        ("text/csv;q=-1", None),
        ("text/csv;q=0.1234", None),
        (",, text/csv ,;q=1,", CSV),
    ],
)
def test_the_type_of_the_largest_weight_is_preferred(header: str, expected: str | None):
    assert preferred_type(header, TYPES) == expected


def test_a_name_given_twice_has_the_larger_weight():
    assert weights("gzip;q=0.2, zstd, gzip;q=0.7, br;q=0") == {"gzip": 0.7, "zstd": 1.0, "br": 0.0}
