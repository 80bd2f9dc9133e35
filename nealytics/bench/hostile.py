"""Bodies that take a worker as long as a client can make them.

Each is one request; `make` builds it up to a size. They are the worst of their kind that were found: a
test holds the processor time that each may take in one step, and `nealytics bench hostile` measures what they
cost another client.
"""

import contextlib
import gzip
import socket
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import brotli

from nealytics.bench.load import KEY
from nealytics.compression import zstd
from nealytics.ingest.parser import EVENT_BYTES_MAX, EVENTS_MAX

_SMALLEST = b'{"projectId":"a","tenantId":"b","sessionId":"c","eventType":"d"}'
_EVENT = b'"projectId":"bench","tenantId":"t","sessionId":"s","eventType":"e"'


class Hostile(NamedTuple):
    route: str
    body: bytes
    encoding: str = ""
    content_type: str = "application/json"


def make(name: str, size: int) -> Hostile:
    """The request with this name; its body has about `size` bytes after decompression."""
    hostile = _KINDS[name](size)
    # Compressed to a few KB, as a client would send it, unless the kind is about compression.
    return (
        hostile
        if hostile.encoding
        else hostile._replace(body=gzip.compress(hostile.body, 1), encoding="gzip")
    )


class Attack:
    """The answers to an attack."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()

    @property
    def answers(self) -> int:
        return self.statuses.total()


@contextmanager
def attack(sent: Hostile, port: int, connections: int) -> Iterator[Attack]:
    """Sends it repeatedly on `connections` connections until the context ends; loopback only."""
    head = [
        f"POST /api/v1/telemetry/{sent.route} HTTP/1.1",
        "Host: 127.0.0.1",
        f"X-Project-Key: {KEY}",
        f"Content-Type: {sent.content_type}",
        f"Content-Length: {len(sent.body)}",
        *([f"Content-Encoding: {sent.encoding}"] if sent.encoding else []),
    ]
    request = ("\r\n".join(head) + "\r\n\r\n").encode() + sent.body
    seen = Attack()
    ended = threading.Event()

    def send() -> None:
        while not ended.is_set():
            # One connection per request: an answer to a refused head closes it.
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), 30) as connection,
            ):
                connection.sendall(request)
                if status := connection.recv(4096)[9:12].decode():
                    seen.statuses[status] += 1

    threads = [threading.Thread(target=send) for _ in range(connections)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _fill(element: bytes, size: int, *, between: bytes = b",") -> bytes:
    return b"[" + between.join([element] * max(1, (size - 2) // (len(element) + len(between)))) + b"]"


def _array(element: bytes) -> Callable[[int], Hostile]:
    return lambda size: Hostile("batch", _fill(element, size))


def _lines(line: bytes) -> Callable[[int], Hostile]:
    return lambda size: Hostile(
        "batch", (line + b"\n") * (size // (len(line) + 1)), "", "application/x-ndjson"
    )


def _one(field: bytes) -> Callable[[int], Hostile]:
    """One event that repeats a field very often."""

    def make(size: int) -> Hostile:
        count = (min(size, EVENT_BYTES_MAX) - 80) // (len(field) + 1)
        return Hostile("track", b"{%b%b}" % (_EVENT, (b"," + field) * count))

    return make


def _long(before: bytes, part: bytes, after: bytes) -> Callable[[int], Hostile]:
    """One event with one very long value."""

    def make(size: int) -> Hostile:
        count = (min(size, EVENT_BYTES_MAX) - 120) // len(part)
        return Hostile("track", b"{%b,%b%b%b}" % (_EVENT, before, part * count, after))

    return make


def _long_elements(before: bytes, part: bytes, after: bytes) -> Callable[[int], Hostile]:
    """An array of events of the maximum length."""

    def make(size: int) -> Hostile:
        element = _long(before, part, after)(size - 2).body
        return Hostile("batch", _fill(element, size))

    return make


def _keys(size: int) -> bytes:
    return b",".join(b'"%08d":1' % i for i in range((min(size, EVENT_BYTES_MAX) - 80) // 13))


_KINDS: dict[str, Callable[[int], Hostile]] = {
    # Elements that are refused
    "numbers for events": _array(b"7".rjust(32)),
    "as many numbers as fit": _array(b"7"),
    "as many empty objects as fit": _array(b"{}"),
    "objects without fields": _array(b'{"a":"' + b"a" * 24 + b'"}'),
    "fields of a wrong type": _array(b'{"projectId":1,"a":"aaaaaaaaaaaaaa"}'),
    "events of another time": _array(b'{%b,"timestamp":1}' % _EVENT),
    "timestamps that are none": _array(b'{%b,"timestamp":"x"}' % _EVENT),
    "lines of no JSON": _lines(b"x" * 33),
    "as many lines as fit": _lines(b"1"),
    "lines of a wrong type": _lines(b'{"projectId":1,"a":"aaaaaaaaaaaaaa"}'),
    # Elements that are accepted
    "smallest events": _array(_SMALLEST),
    "as many events as are taken": lambda size: Hostile(
        "batch", _fill(_SMALLEST, min(size, 65 * EVENTS_MAX))
    ),
    "smallest events, spread out": lambda size: Hostile(
        "batch",
        _fill(b'{\n "projectId":"a","tenantId":"b","sessionId":"c","eventType":"d"}', size, between=b" ,\n"),
    ),
    "smallest lines": _lines(_SMALLEST),
    "events that look like several": _array(
        b'{%b,"metadata":{"a":[{"projectId":1},{"projectId":2}]}}' % _EVENT
    ),
    # Numbers that are slow to read
    "slow numbers in one event": _one(b'"timestamp":1.2345678901234567890123e-300'),
    "slow numbers in many events": _array(b'{%b,"timestamp":1.2345678901234567890123e-300}' % _EVENT),
    "slow numbers in long events": lambda size: Hostile(
        "batch", _fill(_one(b'"timestamp":1.2345678901234567890123e-300')(min(size, 30_000)).body, size)
    ),
    "huge numbers": _one(b'"timestamp":' + b"9" * 4_299),
    "one huge number": _long(b'"timestamp":', b"9", b""),
    # Structure
    "keys": lambda size: Hostile("track", b"{%b,%b}" % (_EVENT, _keys(size))),
    "a wrong field among many keys": lambda size: Hostile("track", b'{"userId":1,%b}' % _keys(size)),
    "a field very often": _one(b'"metadata":1'),
    "brackets in one event": _long(b'"metadata":{"a":[', b"[],", b"1]}"),
    "brackets in long events": _long_elements(b'"x":[', b"[],", b"1]"),
    "nested arrays": _long(b'"x":[', b"[" * 900 + b"]" * 900 + b",", b"1]"),
    "nested without end": lambda size: Hostile("batch", b"[" * size),
    "nested without end in an event": _long(b'"x":', b"[", b""),
    # Text
    "escapes in one event": _long(b'"metadataJson":"', b"\\u20ac", b'"'),
    "escapes in long events": _long_elements(b'"x":"', b"\\n", b'"'),
    "backslashes in long events": _long_elements(b'"x":"', b"\\\\", b'"'),
    "quotes in long events": _long_elements(b'"x":"', b'\\"', b'"'),
    "text of four bytes a character": _long(b'"metadataJson":"', "a😀".encode(), b'"'),
    "text that does not end": lambda size: Hostile("batch", b'["' + b"a" * (size - 2)),
    "not UTF-8 at the end": lambda size: Hostile(
        "batch", _fill(b'{"a":"' + b"a" * 64 + b'"}', size - 1) + b"\xff"
    ),
    # Nothing
    "blank lines": _lines(b""),
    "blanks in an array": lambda size: Hostile("batch", b"[" + b" " * (size - 2) + b"]"),
    "blanks before an array": lambda size: Hostile("batch", b" " * (size - 2) + b"[]"),
    "blanks after an array": lambda size: Hostile("batch", b"[]" + b" " * (size - 2)),
    "one long line": lambda size: Hostile("batch", b"a" * size, "", "application/x-ndjson"),
    # Compression
    "gzip bomb": lambda size: Hostile("batch", gzip.compress(bytes(2 * size)), "gzip"),
    "deflate bomb": lambda size: Hostile("batch", zlib.compress(bytes(2 * size)), "deflate"),
    "br bomb": lambda size: Hostile("batch", brotli.compress(bytes(2 * size), quality=1), "br"),
    "zstd bomb": lambda size: Hostile("batch", zstd.compress(bytes(2 * size)), "zstd"),
    "gzip of many parts": lambda size: Hostile(
        "batch", gzip.compress(b"") * 250 + gzip.compress(b"a" * (size * 9 // 10), 0), "gzip"
    ),
    "zstd of many parts": lambda size: Hostile(
        "batch", zstd.compress(b"") * 250 + zstd.compress(b"a" * (size - 1)), "zstd"
    ),
}

NAMES = tuple(_KINDS)
