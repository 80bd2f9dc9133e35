"""A backup in a bucket, and the signed requests for it (AWS Signature Version 4).

ClickHouse writes the table's part itself, with the same keys; these requests are for the rest: the logs and
the manifest, listing, reading back, and deleting. `signed_headers` is pure.
"""

import asyncio
import contextlib
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree import ElementTree

import aiohttp
from yarl import URL

from nealytics.backup.store import Store, scratch
from nealytics.clickhouse.embedded_config import S3_DISK
from nealytics.clickhouse.sql import quoted
from nealytics.config import BackupConfig, split_bucket
from nealytics.errors import NealyticsError

PREFIX = "s3:"

_CHUNK_BYTES = 1024 * 1024
_ATTEMPTS = 4
_RETRY_S = 0.5
_SILENCE_MAX_S = 60.0
_DELETES_AT_ONCE = 16


class Bucket:
    """The bucket of the configuration, below its prefix. Close it when done."""

    def __init__(self, config: BackupConfig) -> None:
        self._config = config
        split = urlsplit(config.s3_url)
        bucket, prefix, in_host = split_bucket(config.s3_url)
        self._origin = f"{split.scheme}://{split.netloc}"
        self._host = split.netloc
        self._bucket = "/" if in_host else f"/{bucket}"
        self._prefix = f"{prefix}/" if prefix else ""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=_SILENCE_MAX_S)
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)

    async def close(self) -> None:
        await self._session.close()

    def path_of(self, key: str) -> str:
        return f"{self._bucket.rstrip('/')}/{self._prefix}{key}"

    async def put(self, key: str, data: bytes) -> None:
        await self._answer("PUT", key, data=data)

    async def delete(self, key: str) -> None:
        await self._answer("DELETE", key)

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """Raises `FileNotFoundError` if there is no such object. Resumes an answer that broke off."""
        done = failures = 0
        while True:
            try:
                async with self._request("GET", key, first=done) as response:
                    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                        done += len(chunk)
                        failures = 0
                        yield chunk
                return
            except _Temporary as error:
                failures += 1
                if failures == _ATTEMPTS:
                    raise NealyticsError(str(error)) from error
                await asyncio.sleep(_RETRY_S * 2**failures)

    async def sizes(self, below: str) -> dict[str, int]:
        """The keys below a path, relative to it, with their sizes."""
        keys, _ = await self._pages(below, "")
        return {key.removeprefix(below): size for key, size in keys}

    async def folders(self, below: str) -> list[str]:
        _, folders = await self._pages(below, "/")
        return sorted(folder.removeprefix(below).rstrip("/") for folder in folders)

    async def _pages(self, below: str, delimiter: str) -> tuple[list[tuple[str, int]], list[str]]:
        parameters = {"encoding-type": "url", "list-type": "2", "prefix": self._prefix + below}
        if delimiter:
            parameters["delimiter"] = delimiter
        keys: list[tuple[str, int]] = []
        folders: list[str] = []
        while True:
            page = self._page(await self._answer("GET", None, parameters))
            for found in page.iterfind("Contents"):
                key = unquote_plus(found.findtext("Key", "")).removeprefix(self._prefix)
                keys.append((key, int(found.findtext("Size", "0"))))
            for found in page.iterfind("CommonPrefixes"):
                folders.append(unquote_plus(found.findtext("Prefix", "")).removeprefix(self._prefix))
            if page.findtext("IsTruncated") != "true":
                return keys, folders
            parameters["continuation-token"] = page.findtext("NextContinuationToken", "")

    def _page(self, answer: bytes) -> ElementTree.Element:
        try:
            page = ElementTree.fromstring(answer)
        except ElementTree.ParseError:
            page = ElementTree.Element("")
        for element in page.iter():  # whatever the namespace is called
            element.tag = element.tag.rpartition("}")[2]
        if page.tag != "ListBucketResult":
            raise NealyticsError(
                f"backup: {self._origin}{self._bucket} answered no list of a bucket but "
                f'"{answer[:100].decode("utf-8", "replace")}"; check backup.s3_url'
            )
        return page

    async def _answer(
        self, method: str, key: str | None, parameters: Mapping[str, str] | None = None, data: bytes = b""
    ) -> bytes:
        """Retries what may be temporary; each of these requests may be repeated."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self._request(method, key, parameters, data) as response:
                    return await response.read()
            except _Temporary as error:
                if attempt == _ATTEMPTS:
                    raise NealyticsError(str(error)) from error
                await asyncio.sleep(_RETRY_S * 2**attempt)
        raise AssertionError("unreachable")

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        key: str | None,
        parameters: Mapping[str, str] | None = None,
        data: bytes = b"",
        first: int = 0,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """`first`: the byte at which the answer begins."""
        path = quote(self._bucket if key is None else self.path_of(key), safe="/~")
        query = "&".join(f"{k}={quote(v, safe='~')}" for k, v in sorted((parameters or {}).items()))
        headers = signed_headers(self._config, method, self._host, path, query, data, datetime.now(UTC))
        if first:
            headers["range"] = f"bytes={first}-"
        # As it was signed: aiohttp must not encode it again.
        url = URL(f"{self._origin}{path}{'?' if query else ''}{query}", encoded=True)
        try:
            async with self._session.request(method, url, headers=headers, data=data or None) as response:
                if response.status >= 300:
                    text = (await response.read()).decode("utf-8", "replace")
                    # A proxy in front of the bucket may answer 404 while the object exists.
                    if response.status == 404 and "<Code>NoSuchKey</Code>" in text:
                        raise FileNotFoundError(key)
                    _refuse(f"{method} {self._origin}{path}", response.status, text)
                if first and response.status != 206:
                    raise NealyticsError(
                        f"backup: GET {self._origin}{path}: the answer broke off at byte {first:,}, and the "
                        "server does not support Range; run the command again"
                    )
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise _Temporary(
                f"backup: {method} {self._origin}{path}: {reason}; check backup.s3_url"
            ) from error


class _Temporary(NealyticsError):
    """A failure that a retry may not have."""


def _refuse(request: str, status: int, text: str) -> None:
    code = re.search(r"<Code>([^<]*)", text)
    message = re.search(r"<Message>([^<]*)", text)
    why = ", ".join(found[1] for found in (code, message) if found) or text[:200]
    error = f"backup: {request}: the server answered {status} ({why}); check the [backup] table"
    raise _Temporary(error) if status >= 500 or status == 429 else NealyticsError(error)


def signed_headers(
    config: BackupConfig, method: str, host: str, path: str, query: str, data: bytes, now: datetime
) -> dict[str, str]:
    """`path` and `query` as they are sent: encoded, the query sorted."""
    at, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = hashlib.sha256(data).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": at}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = "\n".join((method, path, query, lines, names, digest))
    scope = f"{day}/{config.s3_region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{config.s3_secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={config.s3_access_key_id}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    return headers


class S3Store:
    def __init__(self, bucket: Bucket, path: str) -> None:
        self._bucket = bucket
        self._path = PurePosixPath(path.strip("/"))

    def __str__(self) -> str:
        return f"{PREFIX}{self._path}"

    def at(self, path: str) -> "S3Store":
        parts: list[str] = []
        for part in (self._path / path).parts:
            if part == "..":
                del parts[-1:]
            else:
                parts.append(part)
        return S3Store(self._bucket, "/".join(parts))

    def path_to(self, other: Store) -> str | None:
        if not isinstance(other, S3Store):
            return None
        return "/".join(("..",) * len(self._path.parts) + other._path.parts)

    async def sizes(self) -> dict[str, int]:
        return await self._bucket.sizes(f"{self._path}/")

    async def names(self) -> list[str]:
        return await self._bucket.folders(f"{self._path}/")

    def read(self, name: str) -> AsyncIterator[bytes]:
        return self._bucket.get(f"{self._path}/{name}")

    async def write(self, name: str, data: bytes) -> None:
        await self._bucket.put(f"{self._path}/{name}", data)

    @contextlib.asynccontextmanager
    async def collecting(self, data_dir: Path) -> AsyncIterator[Path]:
        with scratch(data_dir) as directory:
            yield directory
            for path in sorted(directory.rglob("*")):
                if path.is_file():  # of at most wal.segment_bytes_max
                    name = str(PurePosixPath(path.relative_to(directory)))
                    await self.write(name, await asyncio.to_thread(path.read_bytes))

    @contextlib.asynccontextmanager
    async def fetched(self, names: list[str], data_dir: Path) -> AsyncIterator[Path]:
        with scratch(data_dir) as directory:
            for name in names:
                path = directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    async for chunk in self.read(name):
                        file.write(chunk)
            yield directory

    async def sync(self) -> None:
        """A server answers a PUT when it has stored it."""

    async def delete(self) -> None:
        names = await self.sizes()
        slots = asyncio.Semaphore(_DELETES_AT_ONCE)

        async def delete(name: str) -> None:
            async with slots:
                await self._bucket.delete(f"{self._path}/{name}")

        if "manifest.json" in names:
            await delete("manifest.json")
        await asyncio.gather(*map(delete, names))

    @contextlib.contextmanager
    def located(self, data_dir: Path) -> Iterator[str]:
        # A base's path comes from a manifest.
        yield f"Disk('{S3_DISK}', {quoted(f'{self._path}/table/')})"
