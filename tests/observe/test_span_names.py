"""Attributes of spans: one prefix for those of the C# engine, another for all later ones (decision 0010)."""

import re
from pathlib import Path

import nealytics
from nealytics.queries import ENDPOINTS

PACKAGE = Path(nealytics.__file__).parent
DOCS = PACKAGE.parent / "docs" / "monitor.md"

# What the C# engine calls them, and dashboards read. A new attribute is `nealytics.*`.
OF_THE_CSHARP_ENGINE = {"project_id", "tenant_id", "beacon_events"} | {
    "sessions_returned",
    "buckets_returned",
    "records_returned",
}
NOTE = re.compile(r"""\.note\(\s*f?["'](neavents|nealytics)\.([a-z_{][a-z_.{}]*)["']""")


def noted() -> set[tuple[str, str]]:
    return {match for path in PACKAGE.rglob("*.py") for match in NOTE.findall(path.read_text())}


def test_only_attributes_of_the_csharp_engine_have_its_prefix():
    names = {name for prefix, name in noted() if prefix == "neavents"}
    assert "{endpoint.counted_as}" in names, "the counts of reads are noted by the endpoint's own name"
    names = names - {"{endpoint.counted_as}"} | {endpoint.counted_as for endpoint in ENDPOINTS}
    assert names == OF_THE_CSHARP_ENGINE


def test_no_attribute_has_both_prefixes():
    later = {name for prefix, name in noted() if prefix == "nealytics"}
    assert later
    assert not later & OF_THE_CSHARP_ENGINE


def test_every_attribute_of_the_csharp_engine_is_documented():
    text = DOCS.read_text()
    assert [name for name in sorted(OF_THE_CSHARP_ENGINE) if f"`neavents.{name}`" not in text] == []
