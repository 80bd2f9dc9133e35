"""Parquet, and the Native of `nealytics export`, made into NDJSON by ClickHouse itself.

A child process loads the embedded engine as a library, reads the file and writes lines into a pipe, without a
server or a data directory. It uses one thread, so the rows have the order of the file, which a resumed import
needs.
"""

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, Literal

from nealytics.clickhouse.sql import quoted
from nealytics.errors import NealyticsError
from nealytics.importer.source import Source, SourceError
from nealytics.process import self_command
from nealytics.queries import event_text

Convertible = Literal["parquet", "native"]

_FORMATS: dict[Convertible, str] = {"parquet": "Parquet", "native": "Native"}
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}
# Values unchanged: no digit rounded, no time in another zone.
_SETTINGS = (
    "max_threads = 1, input_format_parquet_preserve_order = 1, date_time_output_format = 'iso',"
    " output_format_json_quote_64bit_integers = 0, output_format_json_quote_decimals = 0,"
    " output_format_json_escape_forward_slashes = 0, output_format_decimal_trailing_zeros = 1,"
    " session_timezone = 'UTC'"
)


def open_converted(path: str, form: Convertible, record_bytes_max: int) -> Source:
    """The rows of the file as NDJSON. Raises `SourceError`, also later, while it is read."""
    if path == "-":
        raise SourceError(f"import: {form} cannot be read from standard input; give a file")
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise SourceError(f"import: cannot open {path}: {error.strerror or error}") from None
    said = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the child lives)
    executable, argv = self_command("convert", form, os.path.abspath(path))
    child = subprocess.Popen(
        argv, executable=executable, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
    )
    assert child.stdout is not None
    pipe = _Output(os.dup(child.stdout.fileno()), child, said)
    child.stdout.close()
    return Source(pipe, path, record_bytes_max, reopen=lambda: open_converted(path, form, record_bytes_max))


class _Output(io.FileIO):
    """A child's output, whose end counts as the end of the file only if the child has status 0."""

    def __init__(self, fd: int, child: "subprocess.Popen[bytes]", said: IO[bytes]) -> None:
        super().__init__(fd)
        self._child = child
        self._said = said

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size) or b""
        if not piece and self._child.wait() != 0:
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").strip().splitlines()
            raise OSError(lines[-1] if lines else f"its reader ended with status {self._child.returncode}")
        return piece

    def close(self) -> None:
        if not self.closed and self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        super().close()


def convert(form: Convertible, path: str) -> None:
    """The child: writes the lines to standard output. Raises `NealyticsError`."""
    # chDB imports these for type names only; without them it starts in half the time.
    for name in ("pyarrow", "pandas"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    try:
        from chdb import session
    except ImportError as error:
        raise NealyticsError(
            f"{form} is read by the ClickHouse of the embedded engine, which is not installed ({error});"
            ' pip install "nealytics[embedded]", or export the file as NDJSON or CSV'
        ) from None
    with tempfile.TemporaryDirectory(prefix="nealytics-import-") as scratch:
        # Under our own name: ClickHouse interprets some characters of a path as wildcards.
        given = Path(scratch) / "input"
        given.symlink_to(path)
        with given.open("rb") as file:
            compression = _COMPRESSIONS.get(file.read(2), "none")
        columns, settings = "*", _SETTINGS
        if form == "native":
            columns = event_text.columns_sql(tuple(event_text.FIELDS))
            settings += ", prefer_column_name_to_alias = 1"
        source = f"file({quoted(str(given))}, {_FORMATS[form]}, 'auto', '{compression}')"
        opened: Any = session.Session(  # type: ignore[no-untyped-call]
            str(Path(scratch) / "engine")
        )
        try:
            lines = opened.send_query(f"SELECT {columns} FROM {source} SETTINGS {settings}", "JSONEachRow")
            for piece in lines:
                _write(piece.bytes())
        except RuntimeError as error:
            raise NealyticsError(" ".join(str(error).split())[:1_000]) from None
        finally:
            opened.close()


def _write(data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(1, left) :]
