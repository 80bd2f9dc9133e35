"""Keeps the keys of an issuer fresh, from the address where it publishes them (JWKS, RFC 7517).

They are fetched at the start, then as often as the answer's `Cache-Control` says (within bounds) or every
`jwks_refresh_s`, and when a token names an unknown key. `key_set` decides; here the requests are made.

PyJWT's `PyJWKClient` does less: it blocks its thread, waits for the first token, reads an answer of any
size, ignores `Cache-Control`, has no maximum age while the issuer is down, and accepts shared secrets.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence

import aiohttp

from nealytics.auth.key_set import NOT_FOR_SIGNATURES, KeySet, Unusable, fresh_s, keys_of
from nealytics.auth.keys import PUBLIC_ALGORITHMS
from nealytics.config import AuthConfig, JwtAlgorithm
from nealytics.tls import why_not

log = logging.getLogger("nealytics.auth.jwks")

# For a whole fetch. It is also the longest time that a request waits for one.
FETCH_TIMEOUT_S = 5.0
# Four times the largest sets of well-known issuers, which contain certificates.
SET_BYTES_MAX = 256 * 1024


class Jwks(KeySet):
    """The key set at one address."""

    def __init__(
        self,
        url: str,
        config: AuthConfig,
        algorithms: Sequence[JwtAlgorithm] = PUBLIC_ALGORITHMS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        super().__init__(config, clock)
        self._url = url
        self._algorithms = algorithms
        self._sleep = sleep
        self.said = ""  # the last line for the log: which keys there are, or why there are none
        self._fetch: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        """Begins to keep the keys fresh. Returns at once: a node also starts without its issuer."""
        if self._refreshing is None:
            self.started()
            self._refreshing = asyncio.create_task(self._keep_fresh())

    async def close(self) -> None:
        tasks = [task for task in (self._refreshing, self._fetch) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._session is not None:
            await self._session.close()
        self._refreshing = self._session = None

    async def look_again(self) -> None:
        """For an unknown key: asks the issuer, or joins a request in flight, unless it was asked just now."""
        if self._fetch is not None or self.may_ask():
            # Not awaited itself: a client that disconnects must not cancel the fetch.
            await asyncio.wait([self._begin()])

    def _begin(self) -> asyncio.Task[None]:
        if self._fetch is None:
            self._fetch = asyncio.create_task(self._refresh())
            self._fetch.add_done_callback(self._ended)
        return self._fetch

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._fetch = None

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.wait([self._begin()])
            # Jitter: every worker of every node started in the same second.
            await self._sleep(self.delay_s * random.uniform(0.8, 1.0))

    async def _refresh(self) -> None:
        asked_at = self._clock()
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                document, for_s = await self._get()
            found, left_out = keys_of(document, self._algorithms)
        except Exception as error:
            # No answer of an issuer and no network failure may end the refreshing.
            what = str(error) or type(error).__name__
            if (why := why_not(error)) is not None:
                what = f"{why}; set auth.jwks_ca_file to the authority that issued it"
            if isinstance(error, TimeoutError):
                what = f"no answer within {FETCH_TIMEOUT_S:g} s"
            self.failed()
            self._say(f"auth: cannot fetch keys from {self._url}: {what}", logging.WARNING)
            return
        self.replace(found, asked_at, for_s)
        names = ", ".join(f'"{key.kid}" ({key.algorithm})' for key in found) or "no usable key"
        skipped = "".join(f"; skipped: {reason}" for reason in left_out[:10])
        # Keycloak publishes a key for encryption beside those for signatures, which is no mistake.
        is_usual = found and all(reason.endswith(NOT_FOR_SIGNATURES) for reason in left_out)
        self._say(
            f"auth: keys from {self._url}: {names}{skipped}", logging.INFO if is_usual else logging.WARNING
        )

    async def _get(self) -> tuple[bytes, float | None]:
        """The document, and how long it may be cached."""
        session = await self._open()
        headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
        async with session.get(self._url, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                raise Unusable(f"status {response.status}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise Unusable("the answer is compressed, although the request asked for identity")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > SET_BYTES_MAX:
                    raise Unusable(f"the answer has more than {SET_BYTES_MAX} bytes")
            cache_control, age = response.headers.get("Cache-Control", ""), response.headers.get("Age", "0")
            return bytes(body), fresh_s(cache_control, age)

    async def _open(self) -> aiohttp.ClientSession:
        # Not in __init__: a session belongs to the loop in which it is made.
        if self._session is None:
            tls: ssl.SSLContext | bool = True
            if self._url.startswith("https:"):
                # In a thread: it reads all authorities that the system trusts.
                tls = await asyncio.to_thread(
                    ssl.create_default_context, cafile=self._config.jwks_ca_file or None
                )
            self._session = aiohttp.ClientSession(
                # A fetch every few minutes needs no open connection in between.
                connector=aiohttp.TCPConnector(limit=2, ssl=tls, force_close=True),
                headers={"User-Agent": "nealytics"},
                cookie_jar=aiohttp.DummyCookieJar(),
                # An answer that decompresses to something huge must not be decompressed.
                auto_decompress=False,
            )
        return self._session

    def _say(self, text: str, level: int) -> None:
        """Logs only what is new: a repetition every few minutes is none."""
        if text != self.said:
            self.said = text
            log.log(level, "%s", text)
