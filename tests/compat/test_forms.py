"""Which bodies contain JSON, whatever the Content-Type says."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from nealytics.compat.forms import FORM_BYTES_MAX, json_of
from nealytics.event import InvalidEvent

EVENT = {"event": "e", "text": "ü + ? / ~~~ 😀"}
JSON = json.dumps(EVENT).encode()
BASE64 = base64.b64encode(JSON).decode()


@pytest.mark.parametrize(
    "body",
    [
        JSON,
        b" \n" + JSON,
        f"data={quote(JSON)}".encode(),
        f"data={quote_plus(JSON)}".encode(),
        f"data={quote(BASE64)}".encode(),
        f"data={BASE64}".encode(),
        f"data={BASE64.replace('+', ' ')}".encode(),
        f"data={BASE64.rstrip('=')}{'=' * (-len(BASE64.rstrip('=')) % 4)}&compression=base64".encode(),
        f"ip=1&data={quote(BASE64)}".encode(),
        BASE64.encode(),
    ],
)
def test_json_is_found(body: bytes):
    assert json.loads(json_of(body)) == EVENT


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"data=",
        b"data=%",
        b"data=text",
        b"data=" + base64.b64encode(b"text"),
        b"other=" + BASE64.encode(),
        b"\x1f\x8b\x08",
        b"--boundary\r\nContent-Disposition: form-data",
        b"\xff" * 1_000,
        b"data=" + b"%41" * FORM_BYTES_MAX,
        b"x" * (FORM_BYTES_MAX + 1),
    ],
)
def test_a_body_without_json_is_refused(body: bytes):
    with pytest.raises(InvalidEvent):
        json_of(body)
