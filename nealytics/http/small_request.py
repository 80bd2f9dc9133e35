"""Requests that the fast lane can read: the strict parser. Pure.

A small request is what clients usually send to an ingest route: one POST of HTTP/1.1 with Content-Length,
whose head has at most `HEAD_BYTES_MAX` bytes and whose body at most `BODY_BYTES_MAX`. The parser knows only
the plainest form of each part; aiohttp's parser decides about everything else. So this one is never more
lenient: a request that it reads, aiohttp reads in the same way (a test compares the two).

    target    exactly one of the three routes, perhaps with `?k=` or `?token=` and plain characters, and after
              that perhaps with a tracker's clock. With a token, a tracker adds more, and aiohttp reads it
    head      printable ASCII; each header once; Host and Content-Length are there
    not here  Transfer-Encoding, Expect, Upgrade, Trailer; any Content-Encoding but gzip, or Connection but
              keep-alive
"""

import re
from enum import Enum

from nealytics.ingest import tracker_reports
from nealytics.ingest.at_once import REMEMBERED_BYTES_MAX, Head, SmallRequest
from nealytics.ingest.handlers import BATCH, BEACON, TRACK

HEAD_BYTES_MAX = 8 * 1024
BODY_BYTES_MAX = 32 * 1024
_HEADERS_MAX = 64
# Heads that are remembered. They take 10 MB at worst: each has `REMEMBERED_BYTES_MAX` bytes and 64 headers.
_REMEMBERED_MAX = 1_024

# What every small request begins with.
_START = b"POST /api/v1/telemetry/"
_VERSION = " HTTP/1.1"
_ROUTES = frozenset((TRACK, BEACON, BATCH))
_QUERY = re.compile(
    rf"(?=.)(?:k=(?P<key>[\w.~-]*)|token=(?P<token>[\w.~-]*))?(?:{tracker_reports.QUERY})?", re.ASCII
)
_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_LEFT_TO_AIOHTTP = frozenset(
    (
        "transfer-encoding",
        "expect",
        "upgrade",
        "trailer",
        "proxy-connection",
        "sec-websocket-key1",
    )
)
# The usual spellings of usual names; others are checked and lowered.
_LOWER = {
    spelled: name.lower()
    for name in (
        "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection",
        "Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Forwarded", "Host", "Origin",
        "Pragma", "Priority",
        "Referer", "Sec-CH-UA", "Sec-CH-UA-Mobile", "Sec-CH-UA-Platform", "Sec-Fetch-Dest",
        "Sec-Fetch-Mode", "Sec-Fetch-Site", "Traceparent", "User-Agent", "X-Forwarded-For",
        "X-Forwarded-Host", "X-Forwarded-Proto", "X-Project-Key", "X-Real-IP", "X-Request-Id",
    )
    for spelled in (name, name.lower(), name.title())
}  # fmt: skip


class Unread(Enum):
    """Why there is no small request."""

    INCOMPLETE = "the bytes so far may be the beginning of one"
    OTHER = "it is for aiohttp"


class Heads:
    """Reads requests. Remembers their heads, because a client repeats its own but for the length of the body:
    reading one takes 4 to 10 µs, finding it 0.3."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def forget(self) -> None:
        """Also forgets what was found out about heads."""
        self._known.clear()

    def parse(self, data: bytes, at: int = 0) -> SmallRequest | Unread:
        """The request in `data` that begins at `at`."""
        head_end = data.find(b"\r\n\r\n", at, at + HEAD_BYTES_MAX)
        start = data[at:head_end] if head_end >= 0 else b""
        head = self._known.get(start)
        if head is None:
            if not data.startswith(_START, at):
                return Unread.OTHER
            if head_end < 0:
                return Unread.INCOMPLETE if len(data) - at < HEAD_BYTES_MAX else Unread.OTHER
            head = self._read(start)
            if head is None:
                return Unread.OTHER
        end = head_end + 4 + head.size
        if end > len(data):
            return Unread.INCOMPLETE
        return SmallRequest(head, data[head_end + 4 : end], end)

    def _read(self, start: bytes) -> Head | None:
        head = _read(start)
        if head is not None and len(start) <= REMEMBERED_BYTES_MAX:
            if len(self._known) >= _REMEMBERED_MAX:
                del self._known[next(iter(self._known))]
            self._known[start] = head
        return head


def _read(head: bytes) -> Head | None:
    """What a head says; None if it is for aiohttp."""
    if not head.isascii():
        return None
    first, *lines = head.decode("ascii").split("\r\n")
    path, question, query = first[5 : -len(_VERSION)].partition("?")
    if not first.endswith(_VERSION) or path not in _ROUTES:
        return None
    asked = _QUERY.fullmatch(query) if question else None
    if question and asked is None:
        return None
    headers = _headers(lines)
    if headers is None:
        return None
    length = headers["content-length"]
    # No sign, no blank, no digit of another script.
    if len(length) > 5 or not length.isdecimal() or not 0 < (size := int(length)) <= BODY_BYTES_MAX:
        return None
    key, token, sent_at = asked.group("key", "token", "sent_at") if asked else ("", "", "")
    return Head(head, path, key or "", token or "", sent_at or "", headers, size)


def _headers(lines: list[str]) -> dict[str, str] | None:
    """The headers of a small request; None if another parser must decide."""
    # Control characters are not printable; among them a single CR or LF, and the blank of a folded line is
    # no part of a name.
    if len(lines) > _HEADERS_MAX or not "".join(lines).isprintable():
        return None
    headers: dict[str, str] = {}
    lower = _LOWER.get
    for line in lines:
        name, colon, value = line.partition(":")
        known = lower(name) or (name.lower() if _NAME.fullmatch(name) else "")
        if not (colon and known) or known in headers:
            return None
        headers[known] = value.strip(" ")
    if "host" not in headers or "content-length" not in headers or not _LEFT_TO_AIOHTTP.isdisjoint(headers):
        return None
    if headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    if headers.get("content-encoding", "gzip") != "gzip":
        return None
    return headers
