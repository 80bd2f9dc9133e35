"""The JSON in a body. Its form is recognized by its bytes: SDKs send JSON as a form, and forms as JSON.

    {…} or […]      JSON
    data=…          a form whose field `data` is JSON, or JSON in base64, percent-encoded
    …               JSON in base64

gzip is recognized before, by `ingest.body`.
"""

import binascii
from urllib.parse import unquote_to_bytes

from nealytics.event import InvalidEvent
from nealytics.ingest.parser import first_byte

# Forms are what a page sends with sendBeacon, at most 64 KB. Decoding this much takes 10 ms at worst.
FORM_BYTES_MAX = 64 * 1024
_STARTS = (b"{", b"[")


def json_of(body: bytes) -> bytes:
    """Raises `InvalidEvent` if there is no JSON in it."""
    if first_byte(body) in _STARTS:
        return body
    if len(body) > FORM_BYTES_MAX:
        raise InvalidEvent(
            "body_too_large" if body.startswith(b"data=") else "invalid_json",
            f"the body is not JSON, and has {len(body)} bytes; a form may have {FORM_BYTES_MAX}",
            detail="Send JSON, or JSON compressed with gzip.",
        )
    data = _field(body, b"data")
    text = unquote_to_bytes(data.replace(b"+", b" ")) if data is not None else body
    if first_byte(text) in _STARTS:
        return text
    try:
        # A "+" of base64 that was not percent-encoded is a blank in a form.
        decoded = binascii.a2b_base64(text.strip().replace(b" ", b"+"), strict_mode=False)
    except binascii.Error:
        decoded = b""
    if first_byte(decoded) not in _STARTS:
        raise InvalidEvent(
            "invalid_json",
            "the body is neither JSON nor a form with data= that contains it",
            detail="Send the events as the SDK does: as JSON, or compressed with gzip.",
        )
    return decoded


def _field(form: bytes, name: bytes) -> bytes | None:
    _, found, rest = (b"&" + form).partition(b"&" + name + b"=")
    return rest.partition(b"&")[0] if found else None
