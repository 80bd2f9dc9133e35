import asyncio
from pathlib import Path

import pytest

from nealytics.clickhouse import error_codes
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.error_codes import KINDS, LISTED, NAMES, Kind
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable, error_of
from tests.engine import needs_engine, start_engine

REFUSED = (
    "Code: 27. DB::Exception: Cannot parse input. (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.9.2.1)"
)

# Codes of 26.9 that were read and mean that the statement is wrong.
LISTED_IN_26_9 = """
    1 2 4 7 8 9 10 11 12 13 19 20 28 34 35 37 42 43 46 48 49 50 51 52 53 55 56 58 59 62 63 68 71 73 78 79 80
    84 85 89 90 92 93 94 99 101 104 108 113 116 119 120 121 122 123 124 125 127 129 133 134 135 137 138 139
    141 142 145 152 161 165 166 169 170 174 179 180 181 182 183 184 186 187 190 196 206 207 208 211 212 213
    215 217 219 223 233 237 238 248 256 257 258 260 261 262 263 264 269 270 277 281 282 283 284 287 288 293
    300 305 309 318 336 342 344 345 346 347 352 353 355 358 359 360 366 370 372 374 375 377 378 380 381 382
    383 385 386 387 388 389 390 392 393 397 398 399 401 403 404 406 408 417 418 419 420 421 422 429 430
    431 432 433 434 435 436 437 438 440 442 443 444 446 447 449 450 452 453 455 456 457 464 465 466 471 472
    474 475 476 477 478 479 480 481 482 484 487 489 490 491 492 493 498 501 503 504 507 508 509 512 514 515
    518 520 523 525 527 528 530 535 536 537 538 539 540 541 542 543 544 545 546 547 548 549 552 553 555 556
    557 558 559 560 562 563 565 567 569 570 572 575 577 578 579 580 581 582 583 584 585 591 592 595 596 597
    598 599 600 601 602 603 604 605 606 607 608 609 610 611 614 616 617 619 620 621 622 623 624 626 627 628
    629 630 631 632 634 636 637 639 640 642 643 645 647 648 649 650 651 652 653 654 655 663 664 665 669 670
    671 672 674 690 694 697 698 699 702 703 704 705 706 708 712 715 716 717 719 721 723 724 725 726 727 728
    729 731 736 739 741 742 743 744 746 748 750 751 752 753 754 755 756 758 760 764 765 766 768 769 770 772
    773 779 781 782 783 784 800 801 906 1003 1006 1007 1011 1012 1013
"""
OF_THE_STATEMENT = frozenset(map(int, LISTED_IN_26_9.split()))


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


@pytest.mark.parametrize("code", sorted(LISTED[Kind.CONTENT]))
def test_bad_content_is_not_retried_as_it_is(code: int):
    error = ClickHouseError(code, "")
    assert error.bad_content
    assert not error.retryable


BROKEN = "Code: {code}. DB::Exception: {text}: while receiving packet from ch-2:9000, local address: ch-1:5"
OF_A_ROW = (
    "Code: 32. DB::Exception: Received from 127.0.0.1:9000. DB::Exception: Attempt to read after eof: "
    "Cannot parse Int32 from String, because value is too short: while executing 'FUNCTION toInt32(x)'"
)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (32, "Attempt to read after eof"),
        (33, "Cannot read all data. Bytes read: 3. Bytes expected: 8"),
    ],
)
def test_a_connection_that_broke_between_two_servers_is_not_a_rows_fault(code: int, text: str):
    """A killed shard says so in the middle of an insert; its codes are those of bad content."""
    error = error_of(500, str(code), BROKEN.format(code=code, text=text))
    assert error.kind is Kind.LATER
    assert error.retryable


@pytest.mark.parametrize(
    "message",
    [
        OF_A_ROW,
        "Code: 32. DB::Exception: Cannot parse 'Attempt to read after eof: while receiving packet from 1'",
    ],
)
def test_a_row_that_a_shard_refuses_is_bad_content(message: str):
    """Also if the row contains the words of a broken connection."""
    assert error_of(500, "32", message).bad_content


def test_too_many_parts_is_never_bad_content():
    assert 252 not in LISTED[Kind.CONTENT]


def test_a_huge_message_is_cut():
    assert len(str(ClickHouseError(27, "x" * 1_000_000))) < 3_000


@pytest.mark.engine
async def test_every_code_that_the_engine_knows_has_a_kind_and_the_right_name(client: ClickHouseClient):
    answer = await client.command(
        "SELECT number, errorCodeToName(toInt32(number)) AS name FROM numbers(1, 9999) WHERE name != '' "
        "FORMAT TabSeparated"
    )
    known = {int(code): name for code, name in (line.split("\t") for line in answer.splitlines())}
    assert len(known) > 600
    new = {code: name for code, name in known.items() if code not in NAMES.keys() | OF_THE_STATEMENT}
    assert new == {}, "assign each a kind in error_codes.py, or add it to OF_THE_STATEMENT"
    assert {code: name for code, name in NAMES.items() if known.get(code) != name} == {}


def test_no_code_is_in_two_lists():
    assert len(KINDS) == len(NAMES) == sum(len(codes) for codes in LISTED.values())
    assert not NAMES.keys() & OF_THE_STATEMENT


def test_a_constant_has_the_code_of_its_name():
    constants = {name: value for name, value in vars(error_codes).items() if isinstance(value, int)}
    assert constants == {name: code for code, name in NAMES.items() if name in constants}
    assert "UNKNOWN_TABLE" in constants


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
    # At the same time, because each takes all the time that its statements have to finish.
    heard = await asyncio.gather(*(heard_from_a_stopping_engine(tmp_path / str(n)) for n in range(3)))
    errors = [error for one in heard for error in one]
    assert len(errors) == 3 * 16
    assert {(error.code, error.name) for error in errors if error.kind is not Kind.LATER} == set()


async def heard_from_a_stopping_engine(directory: Path) -> list[ClickHouseError]:
    heard: list[ClickHouseError] = []
    answered = asyncio.Event()
    with start_engine(directory) as engine:
        async with ClickHouseClient(endpoint_of(engine.config), engine.config.clickhouse) as client:

            async def ask(rows: int) -> None:
                question = f"SELECT uniqExact(sipHash64(number)) FROM numbers_mt({rows})"
                while True:
                    try:
                        await client.query(question, settings={"max_rows_to_read": 0})
                    except ClickHouseError as error:
                        heard.append(error)
                        return
                    answered.set()

            await client.command("CREATE DATABASE IF NOT EXISTS nealytics_core")
            asking = [asyncio.create_task(ask(rows)) for rows in [1000] * 12 + [5_000_000] * 4]
            await answered.wait()
            await asyncio.to_thread(engine.stop)
            await asyncio.gather(*asking)
    return heard
