"""From events to the server's batch route, until each of them is either on its disk or refused by name.

A request is retried, without a limit unless one is set, while a retry can help: no connection, no answer,
408, 429, 5xx. An answer that was lost is no reason to worry: the events carry their ids, so what arrives
twice counts once. Of a batch that is refused as a whole, the halves are sent, down to the row at fault. What
is about all rows ends the import: 401, 403, 404, and a certificate that is not trusted.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import aiohttp
import msgspec

from nealytics import __version__
from nealytics.backoff import delay_s
from nealytics.compression import compress
from nealytics.errors import NealyticsError
from nealytics.tls import certificate_of, why_not

Compression = Literal["zstd", "gzip", "none"]

ROUTE = "/api/v1/telemetry/batch"
# The server names the first 100 refused events of a request and counts the rest.
ERRORS_NAMED_MAX = 100
_RETRY_FIRST_S = 0.5
_RETRY_MAX_S = 30.0
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
_FATAL = {
    401: "the server does not know the API key; give another one with --key",
    403: "the API key must not write to this project or tenant",
    404: "this address is not a Nealytics node; check --url",
    405: "this address is not a Nealytics node; check --url",
    415: "the server does not support this compression; use --compress none",
}


class SendError(NealyticsError):
    """The import as a whole cannot go on."""


class Event(NamedTuple):
    row: int
    body: bytes  # its JSON


class Refusal(NamedTuple):
    row: int
    field: str | None
    error: str
    body: bytes  # the event's JSON, or the row as it stands in the file


class _Error(msgspec.Struct):
    index: int
    error: str = ""
    field: str | None = None


class _Answer(msgspec.Struct):
    """Of the batch route (202), or an error's body; every field may be missing in a foreign server's."""

    accepted: int | None = None
    rejected: int | None = None
    errors: list[_Error] = []
    message: str = ""
    detail: str = ""
    field: str | None = None


class _Response(NamedTuple):
    status: int
    answer: _Answer


class Sender:
    """One server, one key. `send` may run several times at once."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        key: str,
        *,
        compression: Compression,
        give_up_after_s: float | None,
        on_retry: Callable[[str, float], None],
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._session = session
        self._url = url.rstrip("/") + ROUTE
        self._headers = {
            "X-Project-Key": key,
            "Content-Type": "application/json",
            "User-Agent": f"nealytics-import/{__version__}",
        }
        if compression != "none":
            self._headers["Content-Encoding"] = compression
        self._compress = partial(compress, how=compression, level=_LEVELS[compression])
        self._give_up_after_s = give_up_after_s
        self._on_retry = on_retry
        self._random = rand

    async def send(self, events: Sequence[Event]) -> list[Refusal]:
        """Returns the refused ones, in order; the server has all others. Raises `SendError`."""
        if not events:
            return []
        status, answer = await self._post(events)
        if status == 202 or (status in (400, 403) and answer.rejected == len(events)):
            return await self._refusals(events, answer)
        if status not in (400, 413, 422):
            raise SendError(
                f"import: {self._url} answered {status}: {_FATAL.get(status) or answer.message or '?'}"
            )
        if len(events) == 1:
            error = " ".join(filter(None, (answer.message, answer.detail))) or f"HTTP {status}"
            return [Refusal(events[0].row, answer.field, error, events[0].body)]
        half = len(events) // 2
        return [*await self.send(events[:half]), *await self.send(events[half:])]

    async def _refusals(self, events: Sequence[Event], answer: _Answer) -> list[Refusal]:
        if (
            answer.accepted is None
            or answer.rejected is None
            or answer.accepted + answer.rejected != len(events)
        ):
            raise SendError(f"import: {self._url} does not answer like a Nealytics node; check --url")
        named = {error.index: error for error in answer.errors if 0 <= error.index < len(events)}
        if answer.rejected == len(named):
            return [
                Refusal(events[index].row, error.field, error.error, events[index].body)
                for index, error in sorted(named.items())
            ]
        if len(events) == 1:
            error = " ".join(filter(None, (answer.message, answer.detail))) or "refused"
            return [Refusal(events[0].row, answer.field, error, events[0].body)]
        # More were refused than are named. In smaller pieces all of them are; the accepted ones among them
        # arrive once more, with the same ids.
        size = ERRORS_NAMED_MAX if len(events) > ERRORS_NAMED_MAX else -(-len(events) // 2)
        refusals = []
        for first in range(0, len(events), size):
            refusals += await self.send(events[first : first + size])
        return refusals

    async def _untrusted(self, error: aiohttp.ClientSSLError) -> SendError:
        why = why_not(error) or str(error)
        shown = await asyncio.to_thread(certificate_of, error.host, error.port or 443)
        if shown is None:
            return SendError(f"import: {self._url}: {why}; is it an http:// address? Change it with --url")
        return SendError(
            f"import: {self._url}: {why}. It is {shown}. If that is your server, set SSL_CERT_FILE to its"
            " certificate authority (a PEM file), or use the name in the certificate in --url"
        )

    async def _post(self, events: Sequence[Event]) -> _Response:
        """The first answer that trying again would not change."""
        body = self._compress(b"[" + b",".join(event.body for event in events) + b"]")
        attempt = 0
        began = time.monotonic()
        while True:
            retry_after_s = 0.0
            try:
                async with self._session.post(
                    self._url,
                    data=body,
                    headers=self._headers,
                    timeout=_REQUEST_TIMEOUT,
                    allow_redirects=False,
                ) as response:
                    text = await response.read()
                if response.status not in (408, 429) and response.status < 500:
                    return _Response(response.status, _answer(text))
                why = f"HTTP {response.status} {_answer(text).message}".rstrip()
                retry_after_s = _seconds(response.headers.get("Retry-After"))
            except aiohttp.InvalidURL as error:
                raise SendError(f"import: {self._url} is not a URL; write --url http://host:port") from error
            except aiohttp.ClientSSLError as error:
                # Nobody renews a certificate because an import waits for it.
                raise await self._untrusted(error) from error
            except aiohttp.ClientConnectorError as error:
                why = f"no connection ({error.strerror}); start the server, or give its address with --url"
                why = f"{self._url}: {why}"
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                why = str(error) or type(error).__name__
            attempt += 1
            waited = time.monotonic() - began
            if self._give_up_after_s is not None and waited >= self._give_up_after_s:
                raise SendError(f"import: gave up after {waited:.0f} s without a final answer: {why}")
            # On top of what the server asks for: it refused all requests in flight at the same time.
            pause_s = retry_after_s + delay_s(attempt, _RETRY_FIRST_S, _RETRY_MAX_S, self._random)
            self._on_retry(why, pause_s)
            await asyncio.sleep(pause_s)


def _answer(text: bytes) -> _Answer:
    try:
        return msgspec.json.decode(text, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Answer(message=text[:200].decode("utf-8", "replace").strip())


def _seconds(retry_after: str | None) -> float:
    """Retry-After in seconds; its date form, which Nealytics does not send, counts as absent."""
    return min(float(retry_after), 300.0) if retry_after is not None and retry_after.isdecimal() else 0.0


_LEVELS: dict[Compression, int] = {"zstd": 3, "gzip": 6, "none": 0}
