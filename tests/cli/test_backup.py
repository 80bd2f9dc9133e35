"""What `nealytics backup` and `restore` refuse before they start anything."""

import re
import tarfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from nealytics.backup.register import Recorded, record, recorded
from nealytics.cli import main


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    path = tmp_path / "nealytics.toml"
    path.write_text(
        f"[server]\ndata_dir = '{tmp_path}/data'\n[backup]\ns3_url = 'http://127.0.0.1:9/bucket'\n"
        "s3_access_key_id = 'a'\ns3_secret_access_key = 'b'\n"
    )
    return path


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("backup", "{}/full"), "full is not empty; name a new one"),
        (("backup", "{}/new", "--base", "{}/full"), "full has no manifest.json; it is not a complete backup"),
        (("backup", "{}/new", "--base", "s3:x"), "must both be directories, or both in the bucket"),
        (("backup", "s3:"), '"s3:" is not a place in the bucket'),
        (("backup", "s3:a/../b"), "is not a place in the bucket"),
        (("backup", "s3:it's"), "is not a place in the bucket"),
        (("backup", "{}/new", "--rotate"), "--rotate needs --keep-days"),
        (("backup", "-", "--rotate", "--keep-days", "3"), "--rotate needs --keep-days"),
        (("backup", "-", "--base", "{}/full"), "always whole; omit --base"),
        (("restore", "{}/full"), "it is not a complete backup"),
        (("restore", "-"), "standard input is not a whole tar archive"),
        (("backups", "verify", "{}/full"), "it is not a complete backup"),
        (("backups", "verify", "{}/nothing"), "/nothing does not exist; name the directory that"),
        (("backups", "verify", "-"), "standard input is not a whole tar archive"),
        (("backups", "verify", "{}/full/file"), "file is not a whole tar archive"),
        (("restore", "{}/full/file"), "file is not a whole tar archive"),
        (("backups", "forget", "x"), "the register has no backup x"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_and_leaves_nothing(
    config: Path, tmp_path: Path, arguments: tuple[str, ...], why: str
):
    given = [argument.format(tmp_path) for argument in arguments]
    done = CliRunner().invoke(main, [*given, "--config", str(config)], input="no tar")
    assert done.exit_code == 1
    assert why in done.output
    assert done.output.startswith("restore: ") == (arguments[0] == "restore")
    assert recorded(tmp_path / "data") == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "inside"])
def test_an_archive_writes_only_files_and_only_below_the_node(
    config: Path, tmp_path: Path, name: str, kind: bytes
):
    path = tmp_path / "foreign.tar"
    with tarfile.open(path, "w") as packed:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        packed.addfile(member)
    done = CliRunner().invoke(main, ["restore", str(path), "--config", str(config)])
    assert done.exit_code == 1
    is_file = name == "inside" and kind == tarfile.REGTYPE
    assert ("not a complete backup" if is_file else f"contains '{name}', so") in done.output
    assert not list(tmp_path.rglob("outside"))


def test_without_a_bucket_and_with_a_server_it_says_what_to_do(tmp_path: Path):
    for text, why in (
        ("", "needs backup.s3_url"),
        ("[clickhouse]\nurl = 'http://localhost:8123'", "a server; use its own BACKUP"),
    ):
        (tmp_path / "nealytics.toml").write_text(text)
        done = CliRunner().invoke(main, ["backup", "s3:x", "--config", str(tmp_path / "nealytics.toml")])
        assert done.exit_code == 1
        assert why in done.output


def test_the_register_is_listed_and_an_entry_is_forgotten(config: Path, tmp_path: Path):
    empty = CliRunner().invoke(main, ["backups", "list", "--config", str(config)])
    assert empty.output == "There are no backups of this node in the register.\n"
    now_ms = time.time_ns() // 1_000_000
    hours_ago = now_ms - 5 * 3_600_000
    record(
        tmp_path / "data",
        Recorded("a", str(tmp_path), hours_ago, ended_ms=now_ms, bytes=1_234_000, verified_ms=hours_ago),
    )
    record(tmp_path / "data", Recorded("b", "s3:b", now_ms - 1, 86_400_000, "a", ended_ms=now_ms))
    record(tmp_path / "data", Recorded("c", "/gone/c", now_ms, None, "z", label="tape 7"))
    listed = CliRunner().invoke(main, ["backups", "list", "--config", str(config)])
    assert [line.split("  ") for line in re.sub("  +", "  ", listed.output).splitlines()] == [
        ["ID", "AGE", "SIZE", "KIND", "BASE", "VERIFIED", "KEPT", "TARGET"],
        ["a", "5 h", "1.2 MB", "whole", "-", "5 h ago", "until deleted", str(tmp_path)],
        ["b", "0 s", "-", "incremental", "a", "-", "until 1970-01-02", "s3:b"],
        ["c", "0 s", "-", "not complete", "z DELETED", "-", "until deleted", "/gone/c, tape 7 (GONE)"],
    ]
    forgotten = CliRunner().invoke(main, ["backups", "forget", "a", "--config", str(config)])
    assert forgotten.exit_code == 0
    assert f"backup a ({tmp_path}) is no longer in the register; no file was deleted" in forgotten.output
    assert "backup b is based on it, and cannot be restored without it" in forgotten.output
    assert [entry.id for entry in recorded(tmp_path / "data")] == ["b", "c"]
