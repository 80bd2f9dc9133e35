"""What an import finds out before it records anything, and when it has ended. Pure.

The first batch is checked before it is sent, and once more after its answer: an error of all rows (a mistyped
name, seconds for milliseconds, times outside of the retention) ends the import there, with nothing recorded.
"""

from collections.abc import Sequence

from nealytics.errors import NealyticsError
from nealytics.importer import times
from nealytics.importer.mapping import Mapping, MappingError
from nealytics.importer.options import Options
from nealytics.importer.sender import Refusal

_NAMES_SHOWN = 20
# The server's own words; tests/cli/test_import.py asks nealytics.event for them.
_OUTSIDE_WINDOW = "; timestamps from "
_NOT_A_UUID = "must be a UUID"


def check_first(mapping: Mapping, count: int, options: Options) -> str | None:
    """What is wrong with all events of the first batch: raises `MappingError`, or returns a warning."""
    missing = mapping.not_found()
    if missing and not options.sparse:
        wanted = " and ".join(f"--map {field}={name}" for field, name in missing)
        names = ", ".join([*mapping.unmapped][:_NAMES_SHOWN])
        has_dots = any("." in name.replace("\\.", "") for _, name in missing)
        raise MappingError(
            f"import: {wanted}: not found in {_first(count, 'any of')};"
            + (f" names without a mapping are {names};" if names else "")
            + (" escape a dot in a name as \\.;" if has_dots else "")
            + " nothing was sent. If only later rows have it, add --sparse"
        )
    newest = mapping.newest_ms
    if newest is None or newest not in times.JANUARY_1970_MS:
        return None
    problem = f"the times of {_first(count)} are in January 1970, the latest is {times.iso(newest)}"
    if options.time_unit is None:
        raise MappingError(
            f"import: {problem}. They look like seconds, but numbers are read as milliseconds; nothing"
            " was sent. Add --time-unit s, or --time-unit ms if the times are correct"
        )
    return f"import: warning: {problem}; is --time-unit {options.time_unit} right?"


def same_refusal(refusals: Sequence[Refusal]) -> str | None:
    """The reason for which all of these were refused, if an option can help: "id", "time"."""
    if all(refusal.field == "eventId" and _NOT_A_UUID in refusal.error for refusal in refusals):
        return "id"
    return "time" if all(_OUTSIDE_WINDOW in refusal.error for refusal in refusals) else None


def first_refused(
    reason: str,
    refusals: Sequence[Refusal],
    options: Options,
    span: tuple[int, int] | None,
    can_shift_to: bool,
) -> NealyticsError:
    """The error for a first batch that was refused for `reason`. The times of the file are within `span`."""
    error = refusals[0].error
    refused = f"import: the server refused {_first(len(refusals))}"
    if reason == "id":
        column = options.mapped.get("eventId", "eventId")
        return NealyticsError(
            f"{refused}, because their ids are not UUIDs: {error}; nothing was imported."
            f" --id-from {column} derives UUIDs from them, the same ones in every import"
        )
    file = "" if span is None else f" The file has events from {times.iso(span[0])} to {times.iso(span[1])}."
    shift = "--shift-to now" if can_shift_to else "--shift-by DAYSd"
    return NealyticsError(
        f"{refused}, because it does not keep events of that time: {error}.{file} Nothing was imported."
        " Either set clickhouse.retention_days = 0 on the server, which then keeps events for ever, or add"
        f" {shift}, which shifts all timestamps by the same number of days. If only the first rows are too"
        " old, --allow-rejected skips them"
    )


def unmapped_note(mapping: Mapping, options: Options, listed: set[str]) -> str | None:
    """Names that no field is mapped to. Each is reported once: it is added to `listed`."""
    names = [name for name in mapping.unmapped if name not in listed]
    listed |= set(names)
    if not names or options.rest is not None or options.rest_is_metadata:
        return None
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return (
        f"import: not imported: {', '.join(names[:_NAMES_SHOWN])}{more}; use --metadata to put them into"
        " the metadata, --map FIELD=NAME to put one into a field, or --rest ignore to hide this note"
    )


def miscount(
    name: str, *, lines_read: int, lines_used: int, read: int, accepted: int, rejected: int, skipped: int
) -> NealyticsError | None:
    """Nothing may get lost between the bytes that came in and the server's answers."""
    rows = accepted + rejected
    if lines_used != lines_read:
        wrong = f"{lines_read:,} lines were read, but {lines_used:,} became rows or were skipped"
    elif read != rows + skipped:
        wrong = (
            f"{read:,} records were read, but {accepted:,} accepted + {rejected:,} rejected + {skipped:,}"
            f" skipped are {rows + skipped:,}"
        )
    else:
        return None
    return defect(name, wrong)


def defect(name: str, wrong: str) -> NealyticsError:
    return NealyticsError(
        f"import: {name}: the counts do not add up: {wrong}; this is a bug in Nealytics, please report it."
        " --restart sends everything again, and no event is counted twice"
    )


def _first(rows: int, which: str = "all of") -> str:
    return "the first row" if rows == 1 else f"{which} the first {rows:,} rows"
