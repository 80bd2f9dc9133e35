"""The client over TLS, against a server with a certificate that only `ca_file` vouches for."""

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.errors import ClickHouseUnavailable
from nealytics.config import load

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is needed to make a certificate"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("tls")
    key, cert = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return key, cert


@pytest.fixture
async def port(certificate: tuple[Path, Path]) -> AsyncIterator[int]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(
            text="Ok.\n" if request.path == "/ping" else f"{request.headers['X-ClickHouse-User']}\n",
            headers={"X-ClickHouse-Query-Id": "1"},
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate[1], certificate[0])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 0, ssl_context=context)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def client(port: int, ca_file: str, host: str = "localhost") -> ClickHouseClient:
    config = load(
        environ={
            "NEALYTICS_CLICKHOUSE_URL": f"https://{host}:{port}",
            "NEALYTICS_CLICKHOUSE_USER": "writer",
            "NEALYTICS_CLICKHOUSE_CA_FILE": ca_file,
        }
    )
    return ClickHouseClient(endpoint_of(config), config.clickhouse)


async def test_a_server_whose_certificate_the_ca_file_vouches_for_is_talked_to(port, certificate):
    tls = client(port, str(certificate[1]))
    try:
        await tls.ping()
        assert await tls.command("SELECT currentUser()") == "writer\n"
    finally:
        await tls.close()


async def test_a_server_that_nobody_vouches_for_is_not(port):
    tls = client(port, "")
    try:
        with pytest.raises(
            ClickHouseUnavailable,
            match=r"its certificate is not trusted: self-signed certificate; set clickhouse.ca_file",
        ):
            await tls.ping()
    finally:
        await tls.close()


async def test_a_certificate_for_another_name_is_not_accepted(port, certificate):
    tls = client(port, str(certificate[1]), host="127.0.0.1")
    try:
        with pytest.raises(
            ClickHouseUnavailable, match=r"its certificate is not trusted: (?i:.*not valid for '127.0.0.1')"
        ):
            await tls.ping()
    finally:
        await tls.close()
