"""An issuer's public keys, from the address where it publishes them (JWKS, RFC 7517).

They are fetched at the start, then as often as the answer's `Cache-Control` says (within bounds) or every
`jwks_refresh_s`, and when a token names a key that is not among them: then at most every `ASK_AGAIN_S`, for
anyone can write such a token. What cannot be fetched leaves the keys as
they are, until they are `jwks_age_max_s` old; from then on there are none. An issuer that is
down cannot revoke a key, so its last set must not be trusted without a limit.

Only signing keys of kinds that we verify are taken. A shared secret (`oct`) in there is left out: what is
published is no secret.
"""

import asyncio
import json
import logging
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK

from nealytics.auth.keys import PUBLIC_ALGORITHMS, VerifyingKey
from nealytics.config import AuthConfig, JwtAlgorithm
from nealytics.config.check import KID_CHARS_MAX
from nealytics.config.pem import checked
from nealytics.tls import why_not

log = logging.getLogger("nealytics.auth.jwks")

# The whole of a fetch. It is also the longest that a request waits for one.
FETCH_TIMEOUT_S = 5.0
ASK_AGAIN_S = 30.0
RETRY_MAX_S = 30.0
# An issuer that lets its keys be kept for less is asked this often all the same, or every jwks_refresh_s.
REFRESH_MIN_S = 60.0

# The largest sets of the great issuers, with certificates in them, are a quarter of this.
SET_BYTES_MAX = 256 * 1024
SET_KEYS_MAX = 100
# An RSA modulus of 8,192 bits in base64.
MEMBER_CHARS_MAX = 1_366

_ALGORITHMS_OF: dict[tuple[str, object], tuple[JwtAlgorithm, ...]] = {
    ("RSA", None): ("RS256", "RS512", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("EdDSA",),
}


_NOT_FOR_SIGNATURES = "is not for signatures (use)"


class Jwks:
    """`keys` is what the issuer last said, or nothing if that is too long ago."""

    def __init__(
        self,
        url: str,
        config: AuthConfig,
        algorithms: Sequence[JwtAlgorithm] = PUBLIC_ALGORITHMS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._url = url
        self._algorithms = algorithms
        self._ca_file = config.jwks_ca_file
        self._refresh_s = config.jwks_refresh_s
        self._age_max_s = config.jwks_age_max_s
        self._clock = clock
        self._sleep = sleep
        self._keys: tuple[VerifyingKey, ...] = ()
        self._started_at: float | None = None
        self._fetched_at: float | None = None
        self._asked_at: float | None = None
        self._failing = False
        self._fresh_s: float | None = None
        self.said = ""  # the last line for the log: which keys there are, or why there are none
        self._fetch: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def available(self) -> bool:
        return self._fetched_at is not None and self._clock() - self._fetched_at < self._age_max_s

    @property
    def certain(self) -> bool:
        """Whether a key that is not among `keys` is none of the issuer's."""
        return self.available and not self._failing

    @property
    def refresh_s(self) -> float:
        """How long the keys are kept before the issuer is asked again."""
        if self._fresh_s is None:
            return self._refresh_s
        # A third of the age at which they end, so that a refresh or two that fail take no key away.
        return min(max(self._fresh_s, min(REFRESH_MIN_S, self._refresh_s)), self._age_max_s / 3)

    @property
    def age_s(self) -> float:
        """How long ago the issuer last said what its keys are; until it has, since the start."""
        since = self._started_at if self._fetched_at is None else self._fetched_at
        return 0.0 if since is None else self._clock() - since

    @property
    def keys(self) -> tuple[VerifyingKey, ...]:
        return self._keys if self.available else ()

    def start(self) -> None:
        """Begins to keep the keys fresh. Returns at once: a node starts without its issuer, too."""
        if self._refreshing is None:
            self._started_at = self._clock()
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
        """Asks the issuer, or joins who is asking, unless that was done for a token just now."""
        now = self._clock()
        if self._fetch is None:
            if self._asked_at is not None and now - self._asked_at < ASK_AGAIN_S:
                return
            self._asked_at = now
        # Not awaited itself: a client that goes away must not take the fetch with it.
        await asyncio.wait([self._begin()])

    def _begin(self) -> asyncio.Task[None]:
        if self._fetch is None:
            self._fetch = asyncio.create_task(self._refresh())
            self._fetch.add_done_callback(self._ended)
        return self._fetch

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._fetch = None

    async def _keep_fresh(self) -> None:
        failures = 0
        while True:
            before = self._fetched_at
            await asyncio.wait([self._begin()])
            failures = failures + 1 if self._fetched_at == before else 0
            delay_s = min(self.refresh_s, RETRY_MAX_S, 2.0**failures) if failures else self.refresh_s
            # Jitter: every worker of every node started in the same second.
            await self._sleep(delay_s * random.uniform(0.8, 1.0))

    async def _refresh(self) -> None:
        asked_at = self._clock()
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                found, left_out = keys_of(await self._get(), self._algorithms)
        except Exception as error:
            # Whatever the issuer sends, or the way to it does, must not end the refreshing.
            what = str(error) or type(error).__name__
            if (why := why_not(error)) is not None:
                what = f"{why}; set auth.jwks_ca_file to the authority that issued it"
            if isinstance(error, TimeoutError):
                what = f"no answer within {FETCH_TIMEOUT_S:g} s"
            self._failing = True
            self._say(f"auth: cannot fetch keys from {self._url}: {what}", logging.WARNING)
            return
        self._keys, self._fetched_at, self._failing = tuple(found), asked_at, False
        names = ", ".join(f'"{key.kid}" ({key.algorithm})' for key in found) or "no usable key"
        # Keycloak publishes a key for encryption beside those for signatures: nothing is wrong with that.
        expected = [reason for reason in left_out if reason.endswith(_NOT_FOR_SIGNATURES)]
        skipped = "".join(f"; skipped: {reason}" for reason in left_out[:10])
        self._say(
            f"auth: keys from {self._url}: {names}{skipped}",
            logging.WARNING if not found or set(left_out) - set(expected) else logging.INFO,
        )

    async def _get(self) -> bytes:
        session = await self._open()
        headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
        async with session.get(self._url, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                raise _Unusable(f"status {response.status}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise _Unusable("the answer is compressed, although the request asked for identity")
            self._fresh_s = fresh_s(
                response.headers.get("Cache-Control", ""), response.headers.get("Age", "0")
            )
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > SET_BYTES_MAX:
                    raise _Unusable(f"the answer has more than {SET_BYTES_MAX} bytes")
            return bytes(body)

    async def _open(self) -> aiohttp.ClientSession:
        # Not in __init__: a session belongs to the loop that runs when it is made.
        if self._session is None:
            tls: ssl.SSLContext | bool = True
            if self._url.startswith("https:"):
                # In a thread: it reads all authorities that the system knows.
                tls = await asyncio.to_thread(ssl.create_default_context, cafile=self._ca_file or None)
            self._session = aiohttp.ClientSession(
                # One fetch every few minutes needs no connection in between.
                connector=aiohttp.TCPConnector(limit=2, ssl=tls, force_close=True),
                headers={"User-Agent": "nealytics"},
                cookie_jar=aiohttp.DummyCookieJar(),
                # An answer that unpacks to something huge must not be unpacked.
                auto_decompress=False,
            )
        return self._session

    def _say(self, text: str, level: int) -> None:
        """Only what is new: the same again every few minutes is no news."""
        if text != self.said:
            self.said = text
            log.log(level, "%s", text)


class _Unusable(ValueError):
    """What the issuer published, or one key of it, that is not taken, and why."""


def fresh_s(cache_control: str, age: str) -> float | None:
    """For how much longer an answer may be kept (RFC 9111), or None if it does not say."""
    directives = [directive.strip().lower() for directive in cache_control.split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    for directive in directives:
        name, _, value = directive.partition("=")
        value = value.strip().strip('"')
        if name.strip() == "max-age" and value.isascii() and value.isdigit():
            passed = age.strip() if age.strip().isascii() and age.strip().isdigit() else "0"
            # Ten digits are 317 years; Python refuses to read thousands of them.
            return max(0.0, float(value[:10]) - float(passed[:10]))
    return None


def keys_of(
    document: bytes, algorithms: Sequence[JwtAlgorithm] = PUBLIC_ALGORITHMS
) -> tuple[list[VerifyingKey], list[str]]:
    """The keys of a JWKS document that are of use, and for each other one why it is not.

    Raises `ValueError` if it is no such document. One without any key of use is one: the issuer may have
    taken back what it had, and then no token is good.
    """
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("keys"), list):
        raise _Unusable('the answer is not a key set, which is a JSON object with a list "keys"')
    members = parsed["keys"]
    if len(members) > SET_KEYS_MAX:
        raise _Unusable(f"the key set has {len(members)} keys, at most {SET_KEYS_MAX} are accepted")
    found, left_out = [], []
    for i, member in enumerate(members):
        try:
            found.append(_key_of(member, algorithms))
        except _Unusable as error:
            left_out.append(f"key {i} {error}")
    return found, left_out


def _key_of(member: object, algorithms: Sequence[JwtAlgorithm]) -> VerifyingKey:
    if not isinstance(member, dict):
        raise _Unusable("is not an object")
    if member.get("use", "sig") != "sig":
        raise _Unusable(_NOT_FOR_SIGNATURES)
    kid = member.get("kid", "")
    if not isinstance(kid, str) or len(kid) > KID_CHARS_MAX:
        raise _Unusable(f"has a kid that is not a string of up to {KID_CHARS_MAX} characters")
    kty, curve = member.get("kty"), member.get("crv")
    if not isinstance(kty, str) or not isinstance(curve, str | None):
        raise _Unusable("has no key type (kty)")
    family = _ALGORITHMS_OF.get((kty, curve))
    if family is None:
        raise _Unusable("is not RSA, EC on P-256 or Ed25519")
    accepted = [known for known in algorithms if known in family]
    # A key has one algorithm. One that does not say which has the first that it can have.
    algorithm = member.get("alg", accepted[0] if accepted else None)
    if algorithm not in accepted:
        raise _Unusable(f"is for an algorithm other than {' or '.join(accepted) or ', '.join(algorithms)}")
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _Unusable("is not for verification (key_ops)")
    if "d" in member:
        raise _Unusable("is a private key, so anyone who reads the set can sign tokens with it")
    # Everything else, such as certificates and their addresses, is ignored.
    public: dict[str, Any] = {name: member[name] for name in ("n", "e", "x", "y", "crv") if name in member}
    if not all(isinstance(value, str) and len(value) <= MEMBER_CHARS_MAX for value in public.values()):
        raise _Unusable("has a number that is not a string or is too long")
    try:
        key = checked(PyJWK({"kty": kty, **public}, algorithm).key, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
        raise _Unusable(f"is not a valid key: {str(error)[:200]}") from None
    issuer = member.get("issuer", "")
    if not isinstance(issuer, str):
        raise _Unusable("has an issuer that is not a string")
    return VerifyingKey(algorithm, kid, key, issuer)
