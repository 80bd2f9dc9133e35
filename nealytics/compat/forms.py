"""The JSON in a body. Its form is recognized by its bytes: SDKs send JSON as a form, and forms as JSON.

    {…} or […]      JSON
    data=…          a form whose field `data` is JSON, or JSON in base64, percent-encoded
    …               JSON in base64

gzip is recognized before, by `ingest.body`.
"""

import binascii
import re
import string
from collections.abc import Iterator

from nealytics.event import InvalidEvent
from nealytics.ingest.parser import first_byte

# Decoding this much takes 5 ms at worst.
_STEP_BYTES = 16 * 1024
# `urllib.parse` takes three times as long for what is not an escape.
_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})")
_BYTES = [bytes([n]) for n in range(256)]
_STARTS = (b"{", b"[")
_NOT_BASE64 = bytes(set(range(256)) - set((string.ascii_letters + string.digits + "+/=").encode()))


def is_json(body: bytes) -> bool:
    return first_byte(body) in _STARTS


def decode(body: bytes, pieces: list[bytes]) -> Iterator[int]:
    """Adds the JSON in a body that is not JSON itself to `pieces`, in short steps. Raises `InvalidEvent` if
    there is none."""
    text = _text(body)
    first = next(text, b"")
    try:
        if is_json(first):
            pieces.append(first)
            for piece in text:
                yield 0
                pieces.append(piece)
        else:
            for piece in _from_base64(first, text):
                yield 0
                pieces.append(piece)
    except binascii.Error:
        pieces.clear()
    if not pieces or not is_json(pieces[0]):
        raise InvalidEvent(
            "invalid_json",
            "the body is neither JSON nor a form with data= that contains it",
            detail="Send the events as the SDK does: as JSON, or compressed with gzip.",
        )


def _text(body: bytes) -> Iterator[bytes]:
    """What is to be decoded, without its percent-encoding."""
    at = 0 if body.startswith(b"data=") else body.find(b"&data=", 0, _STEP_BYTES) + 1 or None
    if at is None:
        yield from (body[start : start + _STEP_BYTES] for start in range(0, len(body), _STEP_BYTES))
        return
    at += len(b"data=")
    end = body.find(b"&", at)
    end = len(body) if end < 0 else end
    while at < end:
        cut = min(at + _STEP_BYTES, end)
        escape = body.rfind(b"%", cut - 2, cut)  # it must not be cut
        cut = escape if at < escape and cut < end else cut
        text = body[at:cut].replace(b"+", b" ")
        yield _ESCAPE.sub(lambda found: _BYTES[int(found[1], 16)], text)
        at = cut


def _from_base64(first: bytes, text: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    piece: bytes | None = first.lstrip()
    while piece is not None:
        following = next(text, None)
        if following is None:
            piece = piece.rstrip()
        # A "+" that was not percent-encoded is a blank in a form.
        rest += piece.replace(b" ", b"+").translate(None, _NOT_BASE64)
        whole = len(rest) if following is None else len(rest) // 4 * 4
        yield binascii.a2b_base64(rest[:whole], strict_mode=False)
        if b"=" in rest[:whole]:
            return
        rest = rest[whole:]
        piece = following
