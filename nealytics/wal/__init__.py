"""The write-ahead log: rows are durable here before their request is acknowledged.

It is also the queue: rows that ClickHouse does not have yet are on disk, not in memory. Rows are opaque
bytes; each has a number, its LSN: 1, 2, 3 … without gaps, for the life of the log. At all times

    deleted ≤ cursor ≤ durable ≤ appended

`deleted`: rows whose segment was deleted; `cursor`: everything up to here is committed (in ClickHouse or in
the dead letter); `durable`: covered by an fdatasync that succeeded; `appended`: written, not yet synced.

One directory (0700) holds one log, and one process has it, by `flock` on LOCK:

    00000000000000000001.wal    segments, named by their first LSN; only the last one grows
    00000000000000004711.wal
    cursor                      which rows are committed (drawn in cursor.py)
    table                       the table that received the rows (drawn in mark.py)
    reserve                     space to give back when the disk is full, so that the cursor can move
    LOCK                        the holder's pid
    *.wal.<ms>.torn             a copy of a segment from before its torn tail was cut; the last three
    cursor.<ms>.damaged         a cursor that could not be used
    found-damaged               a reader found damage: the next start quarantines the log (`quarantine`)
    *.tmp                       an unfinished file; the next start deletes it

A segment is a header and frames, all little-endian:

    segment = | magic "NealLog\\n" 8 | version u32 | previous_crc u32 | log id 16
              | first_lsn u64 | previous_first_lsn u64 | cursor_lsn u64 | created_ms u64 | crc u32 |  frame*
    frame   = | magic "NfrM" 4 | flags u32 | row_format u32 | count u32
              | first_lsn u64 | synced_offset u64 | appended_ms u64 | payload_bytes u32 | body_crc u32
              | crc u32 | count × length u32 | payload: the rows |

- CRCs are CRC-32 (zlib's). Those of a frame start from the CRC of the segment's header instead of 0: frames
  of another file or log are not valid here, and no client can forge one inside an event. `body_crc` covers
  lengths and payload; `crc` covers the header, so a length is verified before that many bytes are read.
- `previous_crc` and `previous_first_lsn` link a segment to the previous one, so headers alone show a missing
  file. `cursor_lsn` is the cursor when the segment was created: a lost cursor is rebuilt no lower than that.
- `synced_offset`: the file was durable up to this offset when the frame was written. A frame that begins
  there is the first of its group. A frame without rows (flag 1) is a marker, written when the log is idle and
  by `close`.

Writing is strictly serial: write, fdatasync, acknowledge, then the next group. So at a crash only one group
can be unfinished, at the end of the last segment, and:

- *torn*: bytes at the end of the last segment that are no valid frame, while neither a later valid header nor
  the cursor's `durable_lsn` proves that they had been synced. A crash during a write leaves them, and they
  were never acknowledged. Recovery copies the rest to a new file, syncs and renames it.
- *damaged*: anything else, such as a bad frame with a later frame after it, a gap between LSNs, a missing
  segment. Recovery refuses it with file and offset (`LogDamaged`) and never repairs it. The worker
  quarantines the log and begins a new one; what can be read of the old one is sent (`quarantine`, `salvage`).
- The limit: bit rot in the very last group, without a marker after it, looks torn. The marker is written
  100 ms after the last group, so the window is that long. A file that was truncated by something other than a
  crash also looks torn, unless the cursor knows a later row: it does after `close`, after each batch, and for
  the first rows of each segment.

A failed fdatasync (or EIO anywhere, or a failed sync of the directory) breaks the log for good: nothing is
retried, the process ends, and the next start trusts only what it can read and copy. For the same reason, no
process appends to a file of an earlier process, and a start copies the last segment unless it ends with a
marker, even if it reads well: after a failed sync, the page cache has bytes that the disk does not have.

Only `Log` deletes segments: whole ones, oldest first, with all rows at or below the stored cursor, never the
last one, after `wal.keep_hours`, beyond `wal.keep_bytes` or an eighth of the disk's free space (`retention`);
at once if there is no other room (`space`), and only then while the rows are compared with the table; and
those that have rows of an erasure (`Log.purge`). A start
deletes `*.tmp`, old `*.torn`, and a last segment without rows, which it replaces. Nothing else is ever
deleted.
"""

from nealytics.wal.cursor import CursorState, Range
from nealytics.wal.files import OS_FILES, File, Files
from nealytics.wal.log import Log
from nealytics.wal.quarantine import QuarantinedLog
from nealytics.wal.reader import Rows

__all__ = ["OS_FILES", "CursorState", "File", "Files", "Log", "QuarantinedLog", "Range", "Rows"]
