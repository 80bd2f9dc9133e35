"""Which errors mean damage, and which part they name."""

import pytest

from nealytics.clickhouse.errors import ClickHouseError
from nealytics.http.reads import refusal

READING = (
    "Code: {code}. DB::Exception: {text}: (while reading column m): (while reading from part "
    "/var/lib/clickhouse/store/5f5/5f5ae728-97dc-43cc-93e3-fb270b68e92e/202601_1_7_2_9/ in table d.g): "
    "While reading part 202601_1_7_2_9: While executing MergeTreeSelect. (NAME)"
)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        # What it says about hardware is longer than what is kept of a message.
        pytest.param(40, "Checksum doesn't match" + " or bad RAM on host" * 200, id="flipped byte"),
        pytest.param(33, "Cannot read all data", id="cut file"),
        pytest.param(107, "Cannot open file", id="missing file"),
        pytest.param(271, "Cannot decompress", id="changed block"),
    ],
)
def test_an_error_while_reading_a_part_is_damage_and_names_it(code: int, text: str):
    error = ClickHouseError(code, READING.format(code=code, text=text))
    assert error.damaged_part == "202601_1_7_2_9"
    assert not error.bad_content
    refused = refusal(error)
    assert (refused.status, refused.code) == (500, "data_damaged")  # type: ignore[attr-defined]
    assert "part 202601_1_7_2_9" in refused.message  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", [241, 159, 394, 210])
def test_a_query_that_ends_while_it_reads_a_part_is_no_damage(code: int):
    assert ClickHouseError(code, READING.format(code=code, text="limit exceeded")).damaged_part == ""


def test_a_row_that_is_too_short_is_still_the_rows_fault():
    error = ClickHouseError(
        33, "Code: 33. DB::Exception: Cannot read all data: (at row 1). (CANNOT_READ_ALL_DATA)"
    )
    assert error.bad_content


def test_the_message_of_a_check_names_its_part():
    error = ClickHouseError(
        226, "There is no file for column 'm' in data part 'all_1_1_0'. (NO_FILE_IN_DATA_PART)"
    )
    assert error.damaged_part == "all_1_1_0"
