"""The write-ahead log: rows are durable here before anyone is told that they were taken.

It is the queue as well: what ClickHouse does not have yet waits on disk, not in memory. Rows are opaque
bytes; each has a number, its LSN: 1, 2, 3 … without gaps, for the life of the log. At every moment

    deleted ≤ cursor ≤ durable ≤ appended

`deleted`: rows whose segment is gone; `cursor`: everything up to here is committed (in ClickHouse or in the
dead letter); `durable`: covered by an fdatasync that succeeded; `appended`: handed to the disk.

One directory (0700) holds one log, and one process has it, by `flock` on LOCK:

    00000000000000000001.wal    segments, named by their first LSN; only the last one grows
    00000000000000004711.wal
    cursor                      which rows are committed (drawn in cursor.py)
    reserve                     space to give back when the disk is full, so that the cursor can move
    LOCK                        the holder's pid
    *.wal.<ms>.torn             a segment as found, before its unfinished end was cut; the last three
    cursor.<ms>.damaged         a cursor that could not be used
    *.tmp                       a file that was never finished; the next start deletes it

A segment is a header and frames, all little-endian:

    segment = | magic "NealLog\\n" 8 | version u32 | previous_crc u32 | log id 16
              | first_lsn u64 | previous_first_lsn u64 | cursor_lsn u64 | created_ms u64 | crc u32 |  frame*
    frame   = | magic "NfrM" 4 | flags u32 | row_format u32 | count u32
              | first_lsn u64 | synced_offset u64 | appended_ms u64 | payload_bytes u32 | body_crc u32
              | crc u32 | count × length u32 | payload: the rows |

- CRCs are CRC-32 (zlib's). A frame's start from its segment header's CRC instead of 0: frames of another
  file or log are not valid here, and no client can forge one inside an event. `body_crc` covers lengths and
  payload, `crc` the header before it, so a length is trusted before anything that long is read.
- `previous_crc`, `previous_first_lsn` tie a segment to the one before it, so headers alone show a missing
  file. `cursor_lsn` is what was committed when the segment was made: a cursor that is lost is rebuilt no
  lower than that.
- `synced_offset`: the file was durable up to there when the frame was written. A frame that begins there is
  the first of its group. A frame without rows (flag 1) is a marker: written when the log is idle, and at
  `close`.

Writing is strictly serial: write, fdatasync, acknowledge, then the next group. So at a crash only one group
can be unfinished, at the end of the last segment, and:

- *torn*: bytes at the end of the last segment that are no valid frame, and neither a valid header behind
  them nor the cursor's `durable_lsn` says that they had been synced. A crash explains them, and then they
  were never acknowledged; cut off by copying the rest to a new file, syncing and renaming it.
- *damaged*: anything else, such as a bad frame with something written after it, a gap between LSNs, a
  segment that is missing. Refused with file and offset (`LogDamaged`), never repaired.
- The honest limit: bit rot in the very last group, with no marker behind it, looks torn. The marker comes
  100 ms after the last group, so the window is that long. A file that something other than a crash cut off
  looks torn, too, unless the cursor knows of a later row: it does after `close`, after each batch, and of
  the first rows of each segment.

A failed fdatasync (or EIO anywhere, or a failed sync of the directory) breaks the log for good: nothing is
retried, the process ends, and the next start trusts only what it can read and copy. For the same reason
no process appends to a file that another one made, and a start copies a last segment that does not end with
a marker even if it reads well: after a failed sync the page cache shows bytes that the disk does not have.

Who may delete: `Log`, whole segments, oldest first, all of their rows at or below the stored cursor, never
the last one, after `wal.keep_hours` or beyond `wal.keep_bytes`; at once if there is no room otherwise. A
start deletes `*.tmp`, old `*.torn`, and a last segment without rows, which it replaces. Nothing else is
ever deleted.
"""

from nealytics.wal.cursor import CursorState, Range
from nealytics.wal.files import OS_FILES, File, Files
from nealytics.wal.log import Log
from nealytics.wal.reader import Rows

__all__ = ["OS_FILES", "CursorState", "File", "Files", "Log", "Range", "Rows"]
