"""What the head of a file declares, and the message for each mistake."""

import pytest

from nealytics.auth.scope import Scope
from nealytics.queries.saved.head import BrokenQuery, Input, Limits, parse

FILE = """\
-- What the shop earns; asked for by the sales team.
-- name: revenue
-- title: Revenue by day
-- description: What was sold,
--    per local day.
-- param: from DateTime64 = -30d -- Start of the range.
-- param: top UInt8(1..50) = 10 -- How many.
-- param: plan Choice(all, pro) = all
-- param: codes Array(String)
-- cache: 5m
-- limits: rows 500, time 5s, memory 500MB, read 1000000
-- who: project, named
-- projects: my-app, shop

SELECT 1 -- not of the head
"""


def test_a_head_declares_all_about_a_query():
    declared = parse("revenue", FILE)
    assert (declared.title, declared.description) == ("Revenue by day", "What was sold, per local day.")
    assert declared.inputs == (
        Input(name="from", type="DateTime64", default="-30d", description="Start of the range."),
        Input(name="top", type="UInt8", default="10", description="How many.", minimum=1, maximum=50),
        Input(name="plan", type="Choice", default="all", choices=("all", "pro")),
        Input(name="codes", type="Array(String)"),
    )
    assert declared.cache_s == 300
    assert declared.limits == Limits(rows=500, time_s=5, memory_bytes=500_000_000, read_rows=1_000_000)
    assert declared.projects == ("my-app", "shop")
    assert declared.sql == "SELECT 1 -- not of the head"


@pytest.mark.parametrize(
    ("scope", "why"),
    [
        (Scope("shop", "acme"), "all tenants"),
        (Scope("shop", None), "endpoints claim"),
        (Scope("other", None, endpoints=frozenset({"queries/revenue"})), "other projects"),
        (Scope("shop", None, endpoints=frozenset({"queries/revenue"})), ""),
    ],
)
def test_who_may_run_a_query(scope: Scope, why: str):
    refused = parse("revenue", FILE).refuses(scope)
    assert why in refused
    assert bool(refused) == bool(why)


BROKEN = {
    "": "-- title: is missing",
    "-- title: A": "no SQL",
    "-- titel: A\nSELECT 1": "-- titel: is unknown",
    "-- title: A\n-- title: B\nSELECT 1": "given 2 times",
    "-- title: A\n-- name: b\nSELECT 1": "the file is a.sql",
    "-- title: A\n-- param: x\nSELECT 1": "cannot be read",
    "-- title: A\n-- param: x Text\nSELECT 1": "has the type Text",
    "-- title: A\n-- param: x Identifier\nSELECT 1": "has the type Identifier",
    "-- title: A\n-- param: x String(3)\nSELECT 1": "write String",
    "-- title: A\n-- param: x UInt8(1..300)\nSELECT 1": "within 0..255",
    "-- title: A\n-- param: x Choice()\nSELECT 1": "0 choices",
    "-- title: A\n-- param: x String\n-- param: X String\nSELECT 1": "declared twice",
    "-- title: A\n-- param: tenant_id String\nSELECT 1": "reserved name",
    "-- title: A\n-- param: token_0 String\nSELECT 1": "reserved name",
    "-- title: A\n-- param: zone Zone\nSELECT 1": "name it tz",
    "-- title: A\n-- cache: soon\nSELECT 1": "not a duration",
    "-- title: A\n-- cache: 48h\nSELECT 1": "more than a day",
    "-- title: A\n-- limits: rows many\nSELECT 1": "write rows 5000",
    "-- title: A\n-- limits: rows 0\nSELECT 1": "write rows 5000",
    "-- title: A\n-- who: nobody\nSELECT 1": "write everyone",
    "-- title: A\n-- who: everyone, named\nSELECT 1": "write everyone",
}


@pytest.mark.parametrize(("text", "why"), BROKEN.items())
def test_a_mistake_is_named_with_what_to_write(text: str, why: str):
    with pytest.raises(BrokenQuery, match=why.replace("(", r"\(")):
        parse("a", text)


@pytest.mark.parametrize("name", ["A", "1", "a-b", "a/b", "", "a" * 49, "ä"])
def test_the_name_of_a_file_is_a_plain_word(name: str):
    with pytest.raises(BrokenQuery, match="cannot be used"):
        parse(name, "-- title: A\nSELECT 1")
