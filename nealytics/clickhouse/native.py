"""How many rows are in an answer of the format Native, and whether it ends where a block does.

    block  = columns (varint), rows (varint), then each column
    column = name, type (texts: varint length, bytes), then its values one after the other
             String: a text each; Nullable: a byte for each row first; the others: a fixed size each

Only for the types that the table's columns have, without dictionaries (LowCardinality).
"""

import os
from typing import IO, Any

_SIZES = {"UUID": 16, "DateTime64": 8}


def rows_in(file: IO[bytes] | Any) -> int:
    """Counts from the start of the file. Raises `EOFError` if it ends within a block."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    total = 0
    while file.tell() < size:
        columns, rows = _varint(file), _varint(file)
        for _ in range(columns):
            file.seek(_varint(file), os.SEEK_CUR)
            length = _varint(file)
            type_ = file.read(length)
            if len(type_) < length:
                raise EOFError
            _skip(file, type_.decode(), rows)
        total += rows
    if file.tell() > size:  # seeking does not notice the end
        raise EOFError
    return total


def _skip(file: IO[bytes] | Any, type_: str, rows: int) -> None:
    if type_.startswith("Nullable("):
        file.seek(rows, os.SEEK_CUR)
        _skip(file, type_.removeprefix("Nullable(").removesuffix(")"), rows)
    elif type_ == "String":
        for _ in range(rows):
            file.seek(_varint(file), os.SEEK_CUR)
    elif size := _SIZES.get(type_.partition("(")[0]):
        file.seek(size * rows, os.SEEK_CUR)
    elif not type_:
        raise EOFError
    else:
        raise ValueError(f"the table has no column of type {type_}")


def _varint(file: IO[bytes] | Any) -> int:
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
