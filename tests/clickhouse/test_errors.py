import pytest

from nealytics.clickhouse.errors import BAD_CONTENT_CODES, ClickHouseError, ClickHouseUnavailable, error_of

REFUSED = (
    "Code: 27. DB::Exception: Cannot parse input. (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.9.2.1)"
)


def test_the_message_names_code_name_status_and_what_to_do():
    error = error_of(
        404, "60", "Code: 60. DB::Exception: Table db.t does not exist. (UNKNOWN_TABLE) (version 26.9)"
    )
    assert (error.code, error.name, error.status) == (60, "UNKNOWN_TABLE", 404)
    assert str(error).startswith("clickhouse: code 60 (UNKNOWN_TABLE, HTTP 404): Code: 60.")
    assert str(error).endswith("; run `nealytics schema apply`")
    assert repr(error) == "ClickHouseError(code=60, name='UNKNOWN_TABLE', status=404)"


def test_the_header_decides_and_not_the_text():
    assert error_of(500, "252", REFUSED).code == 252


def test_without_header_the_code_is_taken_from_the_text():
    assert error_of(200, None, REFUSED).code == 27


def test_a_proxy_error_page_means_that_clickhouse_is_unavailable():
    error = error_of(502, None, "<html>Bad Gateway</html>")
    assert isinstance(error, ClickHouseUnavailable)
    assert error.retryable
    assert "HTTP 502" in str(error)


@pytest.mark.parametrize(
    "code", [252, 241, 243, 60, 81, 115, 159, 164, 202, 209, 210, 242, 319, 497, 516, 999, 1001]
)
def test_what_is_not_about_a_rows_content_is_retried_for_ever(code: int):
    error = ClickHouseError(code, "")
    assert error.retryable
    assert not error.bad_content


@pytest.mark.parametrize("code", sorted(BAD_CONTENT_CODES))
def test_bad_content_is_not_retried_as_it_is(code: int):
    error = ClickHouseError(code, "")
    assert error.bad_content
    assert not error.retryable


def test_too_many_parts_is_never_bad_content():
    assert 252 not in BAD_CONTENT_CODES


def test_a_huge_message_is_cut():
    assert len(str(ClickHouseError(27, "x" * 1_000_000))) < 3_000
