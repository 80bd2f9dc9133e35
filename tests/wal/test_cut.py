"""A copy of a log that is in use."""

from pathlib import Path

from nealytics.config import WalConfig
from nealytics.wal import OS_FILES, CursorState, Log
from nealytics.wal.cut import cut

CONFIG = WalConfig(allow_any_filesystem=True, free_bytes_min=0)


async def test_a_copy_of_a_log_in_use_has_what_waits_and_ends_with_a_whole_frame(tmp_path: Path):
    log = await Log.open(tmp_path / "0", CONFIG)
    await log.append([b"one", b"two"], 1)
    await log.append([b"three"], 1)
    await log.store_cursor(CursorState(3))
    # Another group is being written.
    (segment,) = (tmp_path / "0").glob("*.wal")
    with segment.open("ab") as file:
        file.write(b"NfrM half a frame")
    assert cut(OS_FILES, tmp_path / "0", tmp_path / "copy") == 1
    copied = (tmp_path / "copy" / segment.name).read_bytes()
    assert not copied.endswith(b"half a frame")
    copy = await Log.open(tmp_path / "copy", CONFIG)
    assert copy.waiting == 1
    assert copy.log_id == log.log_id
    await copy.close()


async def test_a_log_without_rows_can_be_copied(tmp_path: Path):
    log = await Log.open(tmp_path / "0", CONFIG)
    assert cut(OS_FILES, tmp_path / "0", tmp_path / "copy") == 0
    copy = await Log.open(tmp_path / "copy", CONFIG)
    assert copy.waiting == 0
    await copy.close()
    await log.close()
