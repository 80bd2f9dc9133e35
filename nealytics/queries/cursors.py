"""Cursors: where the next page of an answer begins, as a text that clients send back unchanged."""

import base64
import binascii
from collections.abc import Callable
from typing import TypeVar

import msgspec

from nealytics.queries.invalid import invalid, shown

CHARS_MAX = 4_096

T = TypeVar("T", bound=msgspec.Struct)

_ENCODER = msgspec.msgpack.Encoder(uuid_format="bytes")


def cursor_of(position: msgspec.Struct) -> str:
    return base64.urlsafe_b64encode(_ENCODER.encode(position)).rstrip(b"=").decode()


def position_of(
    cursor: str, kind: type[T], route: str, is_right: Callable[[T], bool] = lambda position: True
) -> T:
    """Raises `Refused` (400) for a text that is no cursor of the route."""
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = msgspec.msgpack.decode(packed, type=kind)
        if not is_right(position):
            raise ValueError("it is of another route")
        return position
    except (binascii.Error, ValueError):  # msgspec's errors are ValueErrors
        raise invalid(
            "cursor",
            f"cursor is {shown(cursor)}, which is not a cursor of {route}",
            "Send the nextCursor of the previous page unchanged; omit cursor for the first page.",
        ) from None
