"""`GET /api/v1/analytics/properties`: metadata keys. `ENDPOINT` declares parameters and semantics."""

from typing import Annotated, Any

import msgspec

from nealytics.pace import paced
from nealytics.queries.endpoint import COUNT, EXAMPLE_SCOPE, KEY, Endpoint, Ranged, of_range, of_scope
from nealytics.queries.filters import META, PATH_KEYS_MAX, Bind, Field, Selection, parse_field
from nealytics.queries.invalid import invalid
from nealytics.queries.params import SELECTION, Arguments, Limit, Parameter, limit_of
from nealytics.queries.scoped import Events, Query

VALUES_DEFAULT = 10
VALUES_MAX = 100

# `under`, a key with every character escaped, an operation and a value together fit into a filter
# (`filters.FILTER_CHARS_MAX`).
UNDER_CHARS_MAX = 512
KEY_CHARS_MAX = 512
VALUE_CHARS_MAX = 1_000

PARAMETERS = (
    Parameter(
        name="under",
        kind="path",
        maximum=PATH_KEYS_MAX - 1,  # and one below it
        chars_max=UNDER_CHARS_MAX,
        description="List the keys inside this object of the metadata, such as `cart` or `cart.address`."
        " Default: the top level.",
    ),
    Parameter(
        name="key",
        kind="path",
        chars_max=2 * KEY_CHARS_MAX,
        description="Only this key, as a path relative to `under`, such as `plan`.",
    ),
    limit_of("keys", 20),
    Parameter(
        name="values",
        kind="integer",
        default=VALUES_DEFAULT,
        minimum=1,
        maximum=VALUES_MAX,
        description=f"Maximum number of values per key; default {VALUES_DEFAULT}.",
    ),
    *SELECTION,
)


class Params(msgspec.Struct, frozen=True, kw_only=True):
    under: tuple[str, ...] = ()
    key: tuple[str, ...] = ()  # from `under` on; () = all keys
    limit: Limit
    values: int
    selection: Selection


class Value(msgspec.Struct, kw_only=True):
    key: str
    value: Annotated[str, KEY]
    count: int
    share: float


class Key(msgspec.Struct, rename="camel", kw_only=True):
    key: str
    count: int  # of events
    events: Annotated[int, COUNT]
    distinct_values: int
    values: list[Value]


class Properties(Ranged, kw_only=True):
    keys: list[Key]


def parse(arguments: Arguments) -> Params:
    under, key = _path(arguments, "under"), _path(arguments, "key")
    if len(under) + (len(key) or 1) > PATH_KEYS_MAX:
        name = "key" if key else "under"
        raise invalid(
            name,
            f"{name} is {len(under) + len(key)} keys deep",
            f"A filter can have at most {PATH_KEYS_MAX} keys, so nothing deeper is listed.",
        )
    values = arguments.integer("values")
    assert values is not None, "values has a default"
    return Params(
        under=under, key=key, limit=arguments.limit(), values=values, selection=arguments.selection()
    )


def _path(arguments: Arguments, name: str) -> tuple[str, ...]:
    text = arguments.text(name)
    if text is None:
        return ()
    return parse_field(name, text if text.startswith(META) else META + text).path


def build_sql(params: Params) -> Query:
    """A row for each key, up to one more than the limit: its name (empty if the query names it), events,
    distinct values, the values."""
    bind = Bind()
    # Of a long value only a hash is kept.
    counted = (
        f"SELECT key, lengthUTF8(text) <= {VALUE_CHARS_MAX} AS is_listed,"
        " if(is_listed, text, toString(sipHash128(text))) AS value, count() AS times"
        f" FROM ({_pairs(params, bind)}) WHERE text IS NOT NULL GROUP BY key, is_listed, value"
    )
    return Query(
        "SELECT key, sum(times) AS event_count, count() AS distinct_values,"
        f" groupArraySortedIf({bind(params.values)})((-toInt64(times), assumeNotNull(value)), is_listed)"
        f" FROM ({counted}) GROUP BY key ORDER BY event_count DESC, key LIMIT {bind(params.limit.count + 1)}",
        bind.values,
    )


def _pairs(params: Params, bind: Bind) -> str:
    """Rows (key, text) for each event and key, as a filter would compare them; the text may be NULL."""
    if params.key:
        text = Field("meta", params.under + params.key).sql(bind)
        return f"SELECT '' AS key, {text} AS text FROM events WHERE {params.selection.where(bind)}"
    path = "".join(f"{bind(key)}, " for key in params.under)
    # The first of equal keys, as JSONExtract finds it.
    pairs = (
        f"SELECT JSONExtractKeysAndValues(metadata_json, {path}'Nullable(String)') AS found,"
        " arrayFilter((pair, nth) -> nth = 1, found, arrayEnumerateUniq(found.1)) AS firsts"
        f" FROM events WHERE {params.selection.where(bind)}"
    )
    return (
        f"SELECT pair.1 AS key, pair.2 AS text FROM (SELECT arrayJoin(firsts) AS pair FROM ({pairs}))"
        f" WHERE key != '' AND lengthUTF8(key) <= {KEY_CHARS_MAX}"
    )


async def run(events: Events, params: Params) -> Properties:
    rows = await events.rows(build_sql(params))
    warnings = params.limit.first(rows, "keys", "most frequent")
    return Properties(
        **of_scope(events),
        warnings=warnings,
        **of_range(params.selection),
        keys=[_key(row, params) async for row in paced(rows)],
    )


def _key(row: list[Any], params: Params) -> Key:
    name, event_count, distinct_values, values = row
    events = int(event_count)
    return Key(
        key=str(Field("meta", params.under + (params.key or (name,)))),
        count=events,
        events=events,
        distinct_values=int(distinct_values),
        values=[
            Value(key=value, value=value, count=-int(negated), share=-int(negated) / events)
            for negated, value in values
        ],
    )


ENDPOINT = Endpoint(
    path="/api/v1/analytics/properties",
    summary="Metadata keys and their most frequent values",
    description="""
        Returns the metadata keys of the events, and their most frequent values, for example to offer
        filters.

        The `key` of a metadata key and that of each of its `values` have the format of filters:
        `filter=<key>:eq:<key of the value>` matches exactly the `count` events of the value, and
        `filter=<key>:exists:` the `count` of the metadata key. `share` is the value's share of
        these. Keys and values are ordered by their number of events; equal ones by their text.

        A JSON null is not a value, and metadata that is not an object has no keys. If an object has the
        same key twice, the first one counts. Empty keys, keys of more than 512 characters and values of
        more than 1,000 are not listed; such values still count in the `count` and `distinctValues` of
        their key.
    """,
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=Properties,
    example=Properties(
        **EXAMPLE_SCOPE,
        from_="2026-06-01T00:00:00Z",
        to="2026-06-07T23:59:59.999Z",
        tz="UTC",
        keys=[
            Key(
                key="meta:plan",
                count=400,
                events=400,
                distinct_values=2,
                values=[
                    Value(key="free", value="free", count=300, share=0.75),
                    Value(key="pro", value="pro", count=100, share=0.25),
                ],
            )
        ],
    ),
)
