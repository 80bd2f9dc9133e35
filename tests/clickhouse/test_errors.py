import asyncio
from pathlib import Path

import pytest

from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.error_codes import KINDS, LISTED, NAMES, Kind
from nealytics.clickhouse.errors import BAD_CONTENT_CODES, ClickHouseError, ClickHouseUnavailable, error_of
from tests.engine import needs_engine, start_engine

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


@pytest.mark.engine
async def test_every_code_that_the_engine_knows_is_classified_under_its_name(client: ClickHouseClient):
    answer = await client.command(
        "SELECT number, errorCodeToName(toInt32(number)) AS name FROM numbers(1, 9999) WHERE name != '' "
        "FORMAT TabSeparated"
    )
    known = {int(code): name for code, name in (line.split("\t") for line in answer.splitlines())}
    assert len(known) > 600
    assert {code: name for code, name in known.items() if NAMES.get(code) != name} == {}


def test_no_code_is_in_two_lists():
    assert len(KINDS) == len(NAMES) == sum(len(codes) for codes in LISTED.values())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, Kind.LATER) for code in (236, 394, 439, 677, 696, 745, 733, 497, 516, 60, 252, 1001)),
        *((code, Kind.LIMIT) for code in (158, 159, 241, 307, 396)),
        *((code, Kind.DAMAGED) for code in (40, 246, 740)),
        *((code, Kind.QUERY) for code in (47, 62, 49, 36)),
        (0, Kind.QUERY),
        (123_456, Kind.QUERY),  # of a server newer than this list
    ],
)
def test_a_code_means(code: int, kind: Kind):
    assert ClickHouseError(code, "").kind is kind


def test_no_answer_may_be_followed_by_one():
    assert ClickHouseUnavailable("no answer").kind is Kind.LATER


def test_a_code_without_a_name_in_its_text_has_one_all_the_same():
    assert ClickHouseError(439, "").name == "CANNOT_SCHEDULE_TASK"


@needs_engine
@pytest.mark.engine
async def test_what_an_engine_says_while_it_stops_means_later(tmp_path: Path):
    """A reader got 500 for code 439, which means that no thread is to be had any more."""
    heard: list[ClickHouseError] = []
    with start_engine(tmp_path) as engine:
        for _ in range(3):
            async with ClickHouseClient(endpoint_of(engine.config), engine.config.clickhouse) as client:
                answered = asyncio.Event()

                async def ask(client: ClickHouseClient, answered: asyncio.Event, rows: int) -> None:
                    question = f"SELECT uniqExact(sipHash64(number)) FROM numbers_mt({rows})"
                    while True:
                        try:
                            await client.query(question, settings={"max_rows_to_read": 0})
                        except ClickHouseError as error:
                            heard.append(error)
                            return
                        answered.set()

                await client.command("CREATE DATABASE IF NOT EXISTS nealytics_core")
                asking = [
                    asyncio.create_task(ask(client, answered, rows)) for rows in [1000] * 12 + [5_000_000] * 4
                ]
                await answered.wait()
                await asyncio.to_thread(engine.stop)
                await asyncio.gather(*asking)
            await asyncio.to_thread(engine.start)
    assert {(error.code, error.name) for error in heard if error.kind is not Kind.LATER} == set()
