"""What a backup says of itself."""

import msgspec
import pytest

from nealytics.backup.manifest import File, Manifest, changed, decode, differences, encode, identity, missing
from nealytics.errors import NealyticsError

MANIFEST = Manifest(
    id="x", made_by="1", began_ms=1, database="d", waiting={}, files={},
    at_least={"shop": {"202611": 10}}, at_most={"shop": {"202611": 12}, "new": {"202611": 5}},
)  # fmt: skip


def test_counts_between_those_before_and_after_the_backup_agree():
    assert differences({"shop": {"202611": 11}, "new": {"202611": 1}}, MANIFEST) == []
    assert differences({"shop": {"202611": 12}}, MANIFEST) == []
    assert differences({"shop": {"202611": 9}}, MANIFEST) == [
        "project shop, month 202611: 9 events, expected 10 to 12"
    ]
    assert len(differences({"shop": {"202611": 13, "202610": 1}}, MANIFEST)) == 2


def test_what_clickhouse_lists_as_written_must_be_there():
    description = (
        b"<config><contents><file><name>a</name><size>3</size></file>"
        b"<file><name>b</name><size>4</size><data_file>a</data_file></file>"
        b"<file><name>c</name><size>5</size><use_base>true</use_base></file>"
        b"<file><name>d</name><size>5</size><use_base>true</use_base><base_size>2</base_size></file>"
        b"<file><name>e</name><size>0</size></file></contents></config>"
    )
    assert missing(description, {"a": 3, "d": 3}) == ["a has 3 bytes, not 4"]
    assert missing(description, {"a": 3}) == ["a has 3 bytes, not 4", "d has no bytes, not 3"]
    assert "cannot be read" in missing(b"<", {})[0]


def test_a_file_that_is_missing_or_changed_is_named():
    file = File(2, "aa")
    assert changed({"a": file}, {"a": file, "more": file}) == []
    assert changed({"a": file, "b": file, "c": file}, {"b": File(3, "aa"), "c": File(2, "ab")}) == [
        "a is missing",
        "b has 3 bytes, not 2",
        "c has changed: its SHA-256 is not that of the manifest",
    ]


def test_names_sort_by_time():
    assert identity(0) == "19700101T000000.000Z"
    assert identity(1_700_000_000_123) > identity(1_700_000_000_122)


@pytest.mark.parametrize("name", ["../x", "wal/../../x", "/etc/x", "wal/.."])
def test_a_manifest_that_names_a_file_elsewhere_is_refused(name: str):
    changed = msgspec.structs.replace(MANIFEST, files={"table/x..y": File(1, ""), name: File(1, "")})
    with pytest.raises(NealyticsError, match=r"/b/manifest\.json names the file .* outside of the backup"):
        decode(encode(changed), "/b")


def test_a_manifest_that_is_damaged_or_of_another_version_is_refused_by_name():
    assert decode(encode(MANIFEST), "/b") == MANIFEST
    for damaged in (b"{}", encode(MANIFEST)[:-5]):
        with pytest.raises(NealyticsError, match=r"/b/manifest\.json is damaged"):
            decode(damaged, "/b")
    with pytest.raises(NealyticsError, match=r"/b/manifest\.json has version 1, .* use Nealytics 0\.9"):
        decode(b'{"version": 1, "madeBy": "0.9", "counts": {}}', "/b")
