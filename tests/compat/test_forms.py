"""Which bodies contain JSON, whatever the Content-Type says."""

import base64
import json
import random
import time
from urllib.parse import quote, quote_plus

import pytest

from nealytics.compat.forms import decode, is_json
from nealytics.event import InvalidEvent

EVENT = {"event": "e", "text": "ü + ? / ~~~ 😀"}
JSON = json.dumps(EVENT).encode()
BASE64 = base64.b64encode(JSON).decode()
MANY = 64 * 1024


def json_of(body: bytes) -> bytes:
    if is_json(body):
        return body
    pieces: list[bytes] = []
    for _ in decode(body, pieces):
        pass
    return b"".join(pieces)


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
        b"data=" + b"%41" * MANY,
        b"x" * (MANY + 1),
    ],
)
def test_a_body_without_json_is_refused(body: bytes):
    with pytest.raises(InvalidEvent):
        json_of(body)


@pytest.mark.parametrize("wrap", [quote, quote_plus, lambda data: data])
@pytest.mark.parametrize("seed", range(5))
def test_long_forms_are_decoded_in_steps_wherever_they_are_cut(wrap, seed):
    """The texts make blanks, escapes and every letter of base64 at every place."""
    random.seed(seed)
    sent = [{"text": "".join(random.choices('aß😀+ %&=/~"\\', k=7_000 + seed))} for _ in range(9)]
    for text in (json.dumps(sent), json.dumps(sent, ensure_ascii=False)):
        packed = base64.b64encode(text.encode()).decode()
        assert json.loads(json_of(f"data={wrap(packed)}&ip=1".encode())) == sent
        assert json.loads(json_of(packed.encode())) == sent
        if wrap in (quote, quote_plus):
            assert json.loads(json_of(f"ip=1&data={wrap(text)}".encode())) == sent


@pytest.mark.parametrize("unit", [b"%41", b"%", b"YWFh", b"+", b"%7B%22"])
def test_a_long_form_is_decoded_in_short_steps(unit):
    body = b"data=%7B" + unit * (4_000_000 // len(unit))
    took, before = [], time.thread_time()
    for _ in decode(body, []):
        took.append(time.thread_time() - before)
        before = time.thread_time()
    assert sorted(took)[-10] < 0.02
    assert len(took) > 100
