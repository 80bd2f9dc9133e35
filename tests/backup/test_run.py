"""Verification, rotation and limits, without an engine: backups made by hand, in both kinds of store."""

import hashlib
import io
import os
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nealytics.backup import manifest, run
from nealytics.backup.manifest import File, Manifest
from nealytics.backup.rotation import Found
from nealytics.backup.s3 import Bucket, S3Store
from nealytics.backup.store import DirectoryStore, Store, scratch
from nealytics.config import BackupConfig, Config, ServerConfig, WalConfig
from nealytics.errors import NealyticsError
from tests.fakes.s3 import KEY_ID, REGION, SECRET, FakeS3

FILES = {"table/.backup": b"<config/>", "table/data/a b.bin": b"\0" * 100, "wal/0/cursor": b"{}"}


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    with FakeS3(page_keys_max=2) as fake:
        yield fake


@asynccontextmanager
async def opened(kind: str, directory: Path, fake: FakeS3) -> AsyncIterator[Store]:
    if kind == "directory":
        (directory / "backups").mkdir()
        yield DirectoryStore(directory / "backups")
        return
    url, secret = f"{fake.url}/node", SECRET
    config = BackupConfig(s3_url=url, s3_region=REGION, s3_access_key_id=KEY_ID, s3_secret_access_key=secret)
    bucket = Bucket(config)
    try:
        yield S3Store(bucket, "backups")
    finally:
        await bucket.close()


async def put(store: Store, name: str, data: bytes) -> None:
    if isinstance(store, DirectoryStore):
        (store.path / name).parent.mkdir(parents=True, exist_ok=True)
    await store.write(name, data)


async def made(
    store: Store, number: int = 1, base: str | None = None, base_sha256: str | None = None
) -> None:
    """A complete backup, the one of minute `number`."""
    for name, data in FILES.items():
        await put(store, name, data)
    began_ms = number * 60_000
    based_on = manifest.identity((number - 1) * 60_000) if base else None
    described = Manifest(
        id=manifest.identity(began_ms), made_by="1", began_ms=began_ms, database="d", base=base,
        based_on=based_on, base_sha256=base_sha256, at_least={}, at_most={}, waiting={},
        files={name: File(len(data), hashlib.sha256(data).hexdigest()) for name, data in FILES.items()},
    )  # fmt: skip
    await put(store, manifest.NAME, manifest.encode(described))


@pytest.mark.parametrize("kind", ["directory", "bucket"])
async def test_a_bit_that_changed_in_any_file_is_found_also_in_the_base(
    kind: str, tmp_path: Path, fake: FakeS3
):
    async with opened(kind, tmp_path, fake) as place:
        await made(place.at("first"), 1)
        await made(place.at("deep/second"), 2, base="../../first")
        second = place.at("deep/second")
        assert second.path_to(place.at("first")) == (
            "../../first" if kind == "directory" else "../../../backups/first"
        )
        assert (await run.verify(second, lambda _: None))[1] == []
        for name, data in FILES.items():
            for store in (second, place.at("first")):
                await put(store, name, bytes([data[0] ^ 1]) + data[1:])
                (problem,) = (await run.verify(second, lambda _: None))[1]
                assert problem == f"{store}/{name} has changed: its SHA-256 is not that of the manifest"
                await put(store, name, data)
        await put(second, "wal/0/cursor", b"{")
        _, problems = await run.verify(second, lambda _: None)
        assert problems == [f"{second}/wal/0/cursor has 1 bytes, not 2"]
    assert fake.refused == []


async def test_a_base_that_is_another_backup_is_found(tmp_path: Path, fake: FakeS3):
    async with opened("directory", tmp_path, fake) as place:
        await made(place.at("first"), 7)
        await made(place.at("second"), 2, base="../first")
        _, (problem,) = await run.verify(place.at("second"), lambda _: None)
        assert "is based on 19700101T000100.000Z" in problem


async def test_a_base_whose_manifest_changed_is_found(tmp_path: Path, fake: FakeS3):
    """Names and sizes of its files are the same."""
    async with opened("directory", tmp_path, fake) as place:
        await made(place.at("first"), 1)
        based_on = await run.read_base(place.at("first"))
        await made(place.at("second"), 2, base="../first", base_sha256=based_on.written.sha256)
        assert (await run.verify(place.at("second"), lambda _: None))[1] == []
        path = tmp_path / "backups/first" / manifest.NAME
        path.write_bytes(path.read_bytes().replace(b'"madeBy": "1"', b'"madeBy": "2"'))
        _, (problem,) = await run.verify(place.at("second"), lambda _: None)
        assert problem.startswith(
            f"the manifest of {place.at('first')} has changed since {place.at('second')} was made: "
        )
        assert f"its SHA-256 is {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}…" in problem


async def test_a_base_that_was_deleted_is_named(tmp_path: Path, fake: FakeS3):
    async with opened("directory", tmp_path, fake) as place:
        await made(place.at("second"), 2, base="../first")
        _, (problem,) = await run.verify(place.at("second"), lambda _: None)
        assert "is based on backup 19700101T000100.000Z, which is not at" in problem
        assert "restore is impossible without it" in problem


async def test_an_archive_is_verified_as_it_is_read(tmp_path: Path, fake: FakeS3):
    """Plain and compressed; a changed byte, a missing file, and an archive that breaks off are found."""
    async with opened("directory", tmp_path, fake) as place:
        await made(place.at("first"), 1)
        path = tmp_path / "backups/first"

        def archive(mode: str) -> bytes:
            with io.BytesIO() as stream:
                with tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]
                    tar.add(path, arcname=".")
                return stream.getvalue()

        def problems(data: bytes) -> list[str]:
            return run.verify_archive(io.BytesIO(data), "node1.tar")[1]

        whole = archive("w|")
        assert problems(whole) == problems(archive("w|gz")) == []
        assert run.verify_archive(io.BytesIO(whole), "-")[0].manifest.id == manifest.identity(60_000)
        with pytest.raises(NealyticsError, match=r"node1\.tar is not a whole tar archive|has no manifest"):
            problems(whole[: whole.index(b"manifest.json")])
        compressed = archive("w|gz")
        with pytest.raises(NealyticsError, match=r"node1\.tar is not a whole tar archive"):
            problems(compressed[: len(compressed) // 2])
        (path / "wal/0/cursor").write_bytes(b"[]")
        (path / "table/.backup").unlink()
        assert problems(archive("w|")) == [
            "node1.tar/table/.backup is missing",
            "node1.tar/wal/0/cursor has changed: its SHA-256 is not that of the manifest",
        ]


async def test_a_backup_that_has_a_base_is_no_base(tmp_path: Path, fake: FakeS3):
    """Its base would be asked for at the place where it was."""
    async with opened("directory", tmp_path, fake) as place:
        await made(place.at("first"), 1)
        await made(place.at("second"), 2, base="../first")
        config = Config(server=ServerConfig(data_dir=tmp_path))
        assert await run.prepare(config, place.at("third"), place.at("first")) is not None
        with pytest.raises(NealyticsError, match="second is based on another backup itself"):
            await run.prepare(config, place.at("third"), place.at("second"))


@pytest.mark.parametrize("kind", ["directory", "bucket"])
async def test_a_rotation_finds_its_backups_and_deletes_them_whole(kind: str, tmp_path: Path, fake: FakeS3):
    async with opened(kind, tmp_path, fake) as place:
        first, second, broken = (manifest.identity(number * 60_000) for number in (1, 2, 3))
        await made(place.at(first), 1)
        await made(place.at(second), 2, base=f"../{first}")
        await put(place.at(broken), "table/x", b"x")
        await made(place.at("by hand"), 9)
        assert await run.backups_in(place, strict=True) == [
            Found(first, 60_000, True),
            Found(second, 120_000, True, first),
            Found(broken, 180_000, False),
        ]
        await place.at(second).delete()
        await place.at(broken).delete()
        assert await place.names() == [first, "by hand"]
        assert await place.at(second).sizes() == {}


async def test_a_manifest_that_cannot_be_read_is_no_base_and_stops_a_deletion(tmp_path: Path, fake: FakeS3):
    async with opened("directory", tmp_path, fake) as place:
        name = manifest.identity(60_000)
        await made(place.at(name), 1)
        path = tmp_path / "backups" / name / manifest.NAME
        intact = path.read_bytes()
        for damaged, why in (
            (intact[:-9], "is damaged"),
            (intact.replace(b'"version": 2', b'"version": 3'), "has version 3, and this Nealytics reads"),
            (None, "cannot be read: Is a directory"),
        ):
            path.unlink()
            path.mkdir() if damaged is None else path.write_bytes(damaged)
            assert await run.backups_in(place, strict=False) == [Found(name, 60_000, False)]
            with pytest.raises(NealyticsError, match=rf"{name}/manifest\.json {why}"):
                await run.backups_in(place, strict=True)


@pytest.mark.parametrize("kind", ["directory", "bucket"])
async def test_a_backup_that_lacks_a_file_or_a_byte_is_no_base(kind: str, tmp_path: Path, fake: FakeS3):
    async with opened(kind, tmp_path, fake) as place:
        await made(place.at("first"), 1)
        assert await run.read_base(place.at("first"))
        await put(place.at("first"), "table/data/a b.bin", b"\0" * 99)
        with pytest.raises(NealyticsError, match=r"first/table/data/a b\.bin has 99 bytes, not 100"):
            await run.prepare(Config(), place.at("second"), place.at("first"))


async def test_a_base_of_a_manifest_cannot_leave_its_string_in_sql(tmp_path: Path, fake: FakeS3):
    async with opened("bucket", tmp_path, fake) as place:
        with place.at("it's").located(tmp_path) as location:
            assert location == "Disk('backups_s3', 'backups/it\\'s/table/')"


async def test_a_404_of_a_proxy_does_not_say_that_there_is_no_manifest(tmp_path: Path, fake: FakeS3):
    async with opened("bucket", tmp_path, fake) as place:
        name = manifest.identity(60_000)
        await made(place.at(name), 1)
        fake.missing = "<html>no such site</html>"
        del fake.objects[f"node/backups/{name}/{manifest.NAME}"]
        with pytest.raises(NealyticsError, match="answered 404"):
            await run.backups_in(place, strict=True)


async def test_a_bucket_that_fails_for_a_while_is_asked_again(tmp_path: Path, fake: FakeS3):
    async with opened("bucket", tmp_path, fake) as place:
        fake.failures = 1
        await put(place, "x", b"content")
        fake.failures = 1
        assert b"".join([chunk async for chunk in place.read("x")]) == b"content"
        with pytest.raises(FileNotFoundError):
            await anext(aiter(place.read("y")))


async def test_an_answer_that_broke_off_is_resumed(tmp_path: Path, fake: FakeS3):
    async with opened("bucket", tmp_path, fake) as place:
        content = bytes(range(256)) * 20_000
        await put(place, "x", content)
        fake.breaks = 2
        assert b"".join([chunk async for chunk in place.read("x")]) == content
        assert fake.breaks == 0
    assert fake.refused == []


@pytest.mark.parametrize("answer", [b"", b"welcome", b"<html><body>welcome</body></html>"])
async def test_an_answer_that_is_no_list_of_a_bucket_says_what_to_check(
    answer: bytes, tmp_path: Path, fake: FakeS3
):
    async with opened("bucket", tmp_path, fake) as place:
        fake.list = answer
        with pytest.raises(NealyticsError, match=r"/bucket answered no list of a bucket .* backup\.s3_url"):
            await place.sizes()


async def test_wrong_keys_and_a_bucket_that_is_down_say_what_to_check(tmp_path: Path):
    with FakeS3() as fake:
        config = BackupConfig(s3_url=fake.url, s3_access_key_id=KEY_ID, s3_secret_access_key="wrong")
        bucket = Bucket(config)
        with pytest.raises(NealyticsError, match=r"answered 403 \(SignatureDoesNotMatch.*check the \[backup"):
            await bucket.put("x", b"")
    await bucket.close()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://s3.eu-central-1.amazonaws.com/bucket/a/b", "/bucket/a/b/key"),
        ("https://bucket.s3.eu-central-1.amazonaws.com/a", "/a/key"),
        ("https://minio.example.com:9000/bucket", "/bucket/key"),
    ],
)
async def test_the_bucket_is_in_the_path_or_in_the_name_of_the_host(url: str, path: str):
    bucket = Bucket(BackupConfig(s3_url=url))
    assert bucket.path_of("key") == path
    await bucket.close()


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = Config(server=ServerConfig(data_dir=tmp_path / "data"), wal=WalConfig(free_bytes_min=1_000))
    (tmp_path / "data/clickhouse").mkdir(parents=True)
    (tmp_path / "data/clickhouse/part").write_bytes(bytes(5_000))
    target = DirectoryStore(tmp_path / "backup/new")
    monkeypatch.setattr(run, "free_bytes", lambda _: 6_999)
    assert "needs up to 5,000, and the node 2,000" in (run.no_room(config, target, whole=True) or "")
    assert run.no_room(config, target, whole=False) is None
    monkeypatch.setattr(run, "free_bytes", lambda _: 7_000)
    assert run.no_room(config, target, whole=True) is None


async def test_a_new_directory_of_a_backup_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    async with DirectoryStore(tmp_path / "daily" / "first").collecting(tmp_path):
        assert {str(tmp_path), str(tmp_path / "daily")} <= set(synced)


def test_what_a_killed_command_left_is_removed_and_what_another_one_uses_is_not(tmp_path: Path):
    left = tmp_path / "backup-tmp-old"
    (left / "table").mkdir(parents=True)
    with scratch(tmp_path) as first:
        (first / "x").touch()
        with scratch(tmp_path) as second:
            assert first != second
        assert sorted(path.name for path in tmp_path.iterdir()) == [first.name]
    assert list(tmp_path.iterdir()) == []


def test_the_client_of_a_backup_is_not_limited_by_the_time_of_a_read():
    assert run.patient(Config()).query_timeout_s == 86_400
