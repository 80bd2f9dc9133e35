"""What is wrong with all rows is found before anything is recorded; nothing gets lost unnoticed."""

from pathlib import Path
from typing import Any

import pytest

from nealytics.importer import checks
from nealytics.importer.mapping import Mapping, MappingError
from nealytics.importer.options import Options
from nealytics.importer.rows import Row
from nealytics.importer.sender import Refusal

OLD = "timestamp is 2001-01-01T00:00:00Z; timestamps from 2024-01-01T00:00:00Z are accepted"


def options(**more: Any) -> Options:
    constants = {"projectId": "p", "tenantId": "t", "sessionId": "s", "eventType": "e"}
    told: dict[str, Any] = {"form": "csv", "constants": constants, **more}
    return Options(url="http://a", key="k", rejected_path=Path("rejected"), **told)


def mapping(told: Options, **fields: str) -> Mapping:
    """After one row with these fields."""
    mapping = Mapping(told, columns=None, head=b"", default_timestamp="2024-01-01")
    mapping.encode(Row(1, 0, b"row", fields))
    return mapping


def refusals(error: str, field: str | None = None) -> list[Refusal]:
    return [Refusal(row, field, error, b"{}") for row in (1, 2)]


def test_a_mapped_name_that_no_row_has_ends_the_import_unless_it_is_sparse():
    told = options(mapped={"userId": "user.id"}, rest="ignore")
    with pytest.raises(
        MappingError, match=r"--map userId=user.id: not found in the first row; names .* plan;"
    ):
        checks.check_first(mapping(told, plan="pro"), 1, told)
    told = options(mapped={"userId": "user.id"}, sparse=True)
    assert checks.check_first(mapping(told, plan="pro"), 1, told) is None


def test_seconds_that_look_like_milliseconds_end_the_import_or_are_a_warning():
    told = options()
    with pytest.raises(MappingError, match="They look like seconds"):
        checks.check_first(mapping(told, timestamp="001700000000"), 3, told)
    told = options(time_unit="ms")
    warning = checks.check_first(mapping(told, timestamp="001700000000"), 3, told)
    assert warning is not None
    assert "the times of all of the first 3 rows are in January 1970" in warning


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (refusals("eventId must be a UUID", "eventId"), "id"),
        (refusals(OLD), "time"),
        ([*refusals(OLD), *refusals("sessionId is missing")], None),
    ],
)
def test_a_reason_that_an_option_can_help_is_recognized(refused: list[Refusal], reason: str | None):
    assert checks.same_refusal(refused) == reason


def test_the_advice_for_old_events_names_the_span_and_an_option_that_works():
    span = (0, 86_400_000)
    error = str(checks.first_refused("time", refusals(OLD), options(), span, can_shift_to=True))
    assert "The file has events from 1970-01-01T00:00:00Z to 1970-01-02T00:00:00Z." in error
    assert "--shift-to now" in error
    error = str(checks.first_refused("time", refusals(OLD), options(), None, can_shift_to=False))
    assert "The file has events" not in error
    assert "--shift-by DAYSd" in error


def test_a_name_that_nothing_is_mapped_to_is_reported_once():
    told = options(form="ndjson")
    listed: set[str] = set()
    note = checks.unmapped_note(mapping(told, plan="pro"), told, listed)
    assert note is not None
    assert note.startswith("import: not imported: plan;")
    assert checks.unmapped_note(mapping(told, plan="pro"), told, listed) is None
    assert (
        checks.unmapped_note(mapping(told, plan="pro"), options(form="ndjson", rest="ignore"), set()) is None
    )


@pytest.mark.parametrize(
    ("counts", "wrong"),
    [
        ((10, 10, 9, 7, 1, 1), None),
        ((10, 9, 9, 7, 1, 1), "10 lines were read, but 9 became rows or were skipped"),
        ((10, 10, 9, 7, 1, 0), "9 records were read, but 7 accepted + 1 rejected + 0 skipped are 8"),
    ],
)
def test_what_was_read_is_accepted_rejected_or_skipped(counts: tuple[int, ...], wrong: str | None):
    names = ("lines_read", "lines_used", "read", "accepted", "rejected", "skipped")
    error = checks.miscount("f.csv", **dict(zip(names, counts, strict=True)))
    assert (error is None) == (wrong is None)
    assert wrong is None or wrong in str(error)
