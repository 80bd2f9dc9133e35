"""From events to the server's batch route, until each of them is either on its disk or refused by name.

What to send, when to retry and which halves of a refused batch to try is decided by `nealytics.client`, as
for any other sender; here the requests are made. A retry cannot help with what is wrong with all rows, which
ends the import: 401, 403, 404, and a certificate that is not trusted.
"""

import asyncio
import errno
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import aiohttp

from nealytics import __version__
from nealytics.client import errors
from nealytics.client.exchange import Lost, Patience, Pause, Request, Response, Steps, what_came
from nealytics.client.sending import GZIP, Codec, Pending, Sending, Sent
from nealytics.compression import compress
from nealytics.errors import NealyticsError
from nealytics.tls import certificate_of, why_not

Compression = Literal["zstd", "gzip", "none"]

_TIMEOUT_S = 60.0
# Above what Nealytics asks for. A foreign server's Retry-After must not stop an import for days.
_RETRY_AFTER_MAX_S = 300.0
_CODECS = {"zstd": Codec("zstd", partial(compress, how="zstd", level=3)), "gzip": GZIP, "none": None}
_FATAL = {
    401: "the server does not know the API key; give another one with --key",
    403: "the API key must not write to this project or tenant",
    404: "this address is not a Nealytics node; check --url",
    405: "this address is not a Nealytics node; check --url",
}


class SendError(NealyticsError):
    """The import as a whole cannot continue."""


class Event(NamedTuple):
    row: int
    body: bytes  # its JSON


class Refusal(NamedTuple):
    row: int
    field: str | None
    error: str
    body: bytes  # the event's JSON, or the row as the file has it


class Sender:
    """One server, one key. `send` may run several times at once."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        key: str,
        *,
        compression: Compression,
        give_up_after_s: float,
        on_retry: Callable[[str, float], None],
        clock: Callable[[], float] = time.monotonic,
        rand: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._session = session
        self._url = url.rstrip("/")
        patience = Patience(
            _TIMEOUT_S,
            give_up_after_s,
            clock,
            rand,
            retry_after_max_s=_RETRY_AFTER_MAX_S,
            waits_for_last=True,
        )
        self._sending = Sending(
            self._url,
            key,
            patience,
            codec=_CODECS[compression],
            agent=f"nealytics-import/{__version__}",
        )
        self._on_retry = on_retry
        self._sleep = sleep

    async def send(self, events: Sequence[Event]) -> list[Refusal]:
        """Returns the refused ones, in order; the server has all others. Raises `SendError`."""
        # The places of the events are all that is needed of the client's errors.
        pending = [Pending(i, cast(Any, event), event.body) for i, event in enumerate(events)]
        try:
            await self._run(self._sending.deliver([pending] if pending else []))
        except errors.RejectedError as error:
            found = sorted(error.rejections, key=lambda rejection: rejection.index)
            return [Refusal(events[r.index].row, r.field, r.message, events[r.index].body) for r in found]
        except errors.SendError as error:
            if error.status in _FATAL:
                raise SendError(
                    f"import: {self._url} answered {error.status}: {_FATAL[error.status]}"
                ) from None
            if error.status and error.status not in (408, 429) and error.status < 500:
                raise SendError(f"import: {error.problem}") from None
            raise SendError(f"import: gave up after {error.spent_s:.0f} s: {error.problem}") from None
        return []

    async def _run(self, steps: Steps[Sent]) -> None:
        outcome: Response | Lost | None = None
        try:
            while True:
                step = steps.send(outcome)
                if isinstance(step, Pause):
                    assert outcome is not None
                    self._on_retry(what_came(self._url, outcome), step.seconds)
                    await self._sleep(step.seconds)
                    outcome = None
                else:
                    assert isinstance(step, Request)
                    outcome = await self._ask(step)
        except StopIteration:
            pass
        finally:
            steps.close()

    async def _ask(self, request: Request) -> Response | Lost:
        try:
            async with self._session.request(
                request.method,
                self._url + request.path,
                data=request.body,
                headers=request.headers,
                timeout=aiohttp.ClientTimeout(total=request.timeout_s, sock_connect=10),
                allow_redirects=False,
            ) as response:
                headers = response.headers
                return Response(
                    response.status,
                    await response.read(),
                    headers.get("Retry-After"),
                    headers.get("Location"),
                )
        except aiohttp.InvalidURL as error:
            raise SendError(f"import: {self._url} is not a URL; write --url http://host:port") from error
        except aiohttp.ClientSSLError as error:
            # A retry does not help until the certificate is replaced.
            raise await self._untrusted(error) from error
        except aiohttp.ClientConnectorError as error:
            # asyncio's text repeats the address: "Connect call failed ('127.0.0.1', 5000)".
            why = os.strerror(number) if (number := error.errno or 0) in errno.errorcode else error.strerror
            return Lost(f"no connection ({why}); start the server, or give its address with --url")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Lost(str(error) or type(error).__name__)

    async def _untrusted(self, error: aiohttp.ClientSSLError) -> SendError:
        why = why_not(error) or str(error)
        shown = await asyncio.to_thread(certificate_of, error.host, error.port or 443)
        if shown is None:
            return SendError(f"import: {self._url}: {why}; is it an http:// address? Change it with --url")
        return SendError(
            f"import: {self._url}: {why}. It is {shown}. If that is your server, set SSL_CERT_FILE to its"
            " certificate authority (a PEM file), or use the name in the certificate in --url"
        )
