"""An issuer's published keys: fetched, refreshed, and dropped when they are too old."""

import asyncio
import base64
import datetime
import gzip
import hmac
import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from nealytics.auth import jwks
from nealytics.auth.jwks import SET_BYTES_MAX, Jwks
from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.key_set import ASK_AGAIN_S, SET_KEYS_MAX
from nealytics.auth.minting import Signer, mint
from nealytics.config import AuthConfig, JwtKey
from nealytics.errors import Refused
from tests.fakes.issuer import Issuer, IssuerKey
from tests.ports import free_port
from tests.waiting import until_async

SECRET = "secret-of-at-least-thirty-two-bytes-x"
RSA = IssuerKey("RS256", "rsa-1")
EC = IssuerKey("ES256", "ec-1")
ED = IssuerKey("EdDSA", "ed-1")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def reading(
    issuer: Issuer, clock: Clock | None = None, *, start: bool = True, **config: Any
) -> AsyncIterator[TokenVerifier]:
    """A verifier that knows the issuer, as a worker has one; its first fetch has ended."""
    auth = AuthConfig(**{"jwks_url": issuer.url, **config})
    verifier = TokenVerifier(auth, monotonic=clock or Clock())
    if start:
        verifier.start()
        await fetched(verifier)
    try:
        yield verifier
    finally:
        await verifier.close()


async def fetched(verifier: TokenVerifier) -> None:
    """Waits for the running fetch, or one that is about to start."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    fetches = [key_set._fetch for key_set in verifier.issuers.key_sets if key_set._fetch is not None]
    if fetches:
        await asyncio.wait(fetches)


async def status(verifier: TokenVerifier, token: str) -> int:
    try:
        scope = await verifier.resolve(f"Bearer {token}")
    except Refused as refused:
        return refused.status
    return 200 if (scope.project_id, scope.tenant_id) == ("my-app", "tenant-1") else 0


async def test_tokens_of_all_published_keys_are_good():
    async with Issuer(RSA, EC, ED).serving() as issuer, reading(issuer) as verifier:
        for key in (RSA, EC, ED):
            assert await status(verifier, key.token()) == 200
        assert await status(verifier, IssuerKey("ES256", "ec-1").token()) == 401
        assert issuer.asked == 1


async def test_a_new_key_is_fetched_when_the_first_token_of_it_comes():
    async with Issuer(EC).serving() as issuer, reading(issuer) as verifier:
        new = IssuerKey("EdDSA", "new")
        issuer.keys.append(new)
        assert await status(verifier, new.token()) == 200
        assert await status(verifier, EC.token()) == 200
        assert issuer.asked == 2


async def test_tokens_of_unknown_keys_do_not_make_us_ask_again_and_again():
    clock = Clock()
    async with Issuer(EC).serving() as issuer, reading(issuer, clock) as verifier:
        for i in range(50):
            assert await status(verifier, IssuerKey("ES256", f"kid-{i}").token()) == 401
        assert issuer.asked == 2
        clock.now += ASK_AGAIN_S
        assert await status(verifier, IssuerKey("ES256", "more").token()) == 401
        assert issuer.asked == 3


async def test_many_tokens_at_once_of_a_new_key_wait_for_the_same_fetch():
    async with Issuer(EC).serving() as issuer, reading(issuer) as verifier:
        new = IssuerKey("ES256", "new")
        issuer.keys.append(new)
        issuer.held = asyncio.Event()
        waiting = [asyncio.create_task(status(verifier, new.token())) for _ in range(20)]
        await until_async(lambda: issuer.asked == 2)
        # Who goes away meanwhile takes nothing from the others; who has a known key waits for nothing.
        waiting[0].cancel()
        assert await status(verifier, EC.token()) == 200
        issuer.held.set()
        assert await asyncio.gather(*waiting[1:]) == [200] * 19
        assert issuer.asked == 2


async def test_a_key_that_is_published_no_more_is_good_no_more():
    async with Issuer(RSA, EC).serving() as issuer, reading(issuer) as verifier:
        assert await status(verifier, RSA.token()) == 200
        issuer.keys.remove(RSA)
        # Any fetch will do: here that of a token with an unknown key.
        assert await status(verifier, IssuerKey("ES256", "x").token()) == 401
        assert await status(verifier, RSA.token()) == 401
        assert await status(verifier, EC.token()) == 200


async def test_keys_are_refreshed_without_being_asked_for_and_a_failure_is_tried_again_sooner():
    slept: list[float] = []
    go_on = asyncio.Event()

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)
        await go_on.wait()
        go_on.clear()

    async def next_delay() -> float:
        before = len(slept)
        go_on.set()
        await until_async(lambda: len(slept) > before)
        return slept[-1]

    async with Issuer(EC).serving() as issuer:
        published = Jwks(issuer.url, AuthConfig(jwks_refresh_s=100), sleep=sleep)
        published.start()
        await until_async(lambda: bool(slept))
        assert [key.kid for key in published.keys] == ["ec-1"]
        issuer.keys = [RSA]
        assert 80 <= await next_delay() <= 100
        assert [key.kid for key in published.keys] == ["rsa-1"]

        issuer.answer = lambda: web.Response(status=500)
        for delay_s in (2, 4, 8, 16, 30, 30):
            assert 0.8 * delay_s <= await next_delay() <= delay_s
        issuer.answer = None
        assert 80 <= await next_delay() <= 100
        await published.close()


async def test_the_answer_says_how_long_it_may_be_kept():
    async with Issuer(EC).serving() as issuer:
        body = issuer.published
        issuer.answer = lambda: web.Response(body=body, headers={"Cache-Control": "max-age=600"})
        published = Jwks(issuer.url, AuthConfig())
        await published.look_again()
        assert [key.kid for key in published.keys] == ["ec-1"]
        assert published.refresh_s == 600
        await published.close()


# The issuer is down


async def test_while_the_issuer_is_away_its_keys_stay_good_until_they_are_too_old():
    clock = Clock()
    async with Issuer(EC).serving() as issuer, reading(issuer, clock, jwks_age_max_s=3_600) as verifier:
        issuer.answer = lambda: web.Response(status=503)
        clock.now += 3_599
        assert await status(verifier, EC.token()) == 200
        clock.now += 1
        with pytest.raises(Refused) as caught:
            await verifier.resolve(f"Bearer {EC.token()}")
        assert (caught.value.status, caught.value.code) == (503, "keys_unavailable")
        assert caught.value.headers == {"Retry-After": "30"}
        assert "auth.jwks_url" in caught.value.detail

        issuer.answer = None
        clock.now += ASK_AGAIN_S
        assert await status(verifier, EC.token()) == 200


async def test_an_unknown_kid_is_503_while_the_issuer_is_away_and_401_when_it_is_back():
    """The issuer may have changed its key meanwhile, and a client that gets 401 signs its user out."""
    clock = Clock()
    async with Issuer(EC).serving() as issuer, reading(issuer, clock) as verifier:
        issuer.answer = lambda: web.Response(status=503)
        new = IssuerKey("ES256", "new")
        with pytest.raises(Refused) as caught:
            await verifier.resolve(f"Bearer {new.token()}")
        assert (caught.value.status, caught.value.code) == (503, "keys_unavailable")
        assert caught.value.headers == {"Retry-After": "30"}
        # It was asked just now and is not asked again; the answer is the same.
        assert await status(verifier, new.token()) == 503
        assert issuer.asked == 2
        # Tokens of keys that are known are as good or bad as ever.
        assert await status(verifier, EC.token()) == 200
        assert await status(verifier, IssuerKey("ES256", "ec-1").token()) == 401

        issuer.answer = None
        clock.now += ASK_AGAIN_S
        assert await status(verifier, new.token()) == 401
        issuer.keys.append(new)
        clock.now += ASK_AGAIN_S
        assert await status(verifier, new.token()) == 200


async def test_the_age_of_the_keys_is_reported_from_the_start():
    clock = Clock()
    async with Issuer(EC).serving() as issuer, reading(issuer, clock) as verifier:
        assert verifier.jwks_age_s == 0
        clock.now += 40
        assert verifier.jwks_age_s == 40
    async with Issuer(EC).serving() as issuer:
        issuer.answer = lambda: web.Response(status=503)  # it never says them
        async with reading(issuer, clock) as verifier:
            clock.now += 70
            assert verifier.jwks_age_s == 70
    assert TokenVerifier(AuthConfig(jwt_key=SECRET)).jwks_age_s == 0


async def test_without_any_keys_yet_tokens_that_may_be_the_issuers_get_503_and_others_what_they_deserve():
    issuer = Issuer(EC)
    issuer.port = 9  # nobody there
    known = IssuerKey("RS256", "file")
    keys = (JwtKey(algorithm="RS256", kid="file", key=known.pem),)
    async with reading(issuer, jwt_key=SECRET, jwt_keys=keys) as verifier:
        assert await status(verifier, EC.token()) == 503
        assert await status(verifier, IssuerKey("EdDSA", "").token()) == 503
        # No set of public keys could make these good, or is needed to.
        assert await status(verifier, mint(SECRET, "my-app", "tenant-1", 60, 4e9)) == 200
        assert await status(verifier, mint(Signer("x" * 40, kid="x"), "my-app", "tenant-1", 60, 4e9)) == 401
        assert await status(verifier, known.token()) == 200
        assert await status(verifier, IssuerKey("RS256", "file").token()) == 401
        assert await status(verifier, "rubbish") == 401


async def test_a_node_that_starts_before_its_issuer_takes_its_tokens_as_soon_as_it_is_there():
    clock = Clock()
    issuer = Issuer(EC)
    issuer.port = free_port()
    async with reading(issuer, clock) as verifier:
        assert await status(verifier, EC.token()) == 503
        async with issuer.serving():
            clock.now += ASK_AGAIN_S
            assert await status(verifier, EC.token()) == 200


async def test_a_verifier_that_was_not_started_asks_when_it_has_to():
    async with Issuer(EC).serving() as issuer, reading(issuer, start=False) as verifier:
        assert await status(verifier, EC.token()) == 200


async def test_an_issuer_that_does_not_answer_holds_a_request_for_a_bounded_time(monkeypatch):
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT_S", 0.2)
    async with Issuer(EC).serving() as issuer:
        issuer.held = asyncio.Event()
        async with reading(issuer, start=False) as verifier:
            async with asyncio.timeout(30):
                assert await status(verifier, EC.token()) == 503
                # The next ones do not even wait: it was asked just now.
                assert await status(verifier, EC.token()) == 503
            assert issuer.asked <= 1  # 0 if not even the connection was there in time


async def test_an_answer_that_never_ends_is_cut_off(monkeypatch):
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT_S", 0.3)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "localhost", 0)
    issuer = Issuer(EC)
    issuer.port = server.sockets[0].getsockname()[1]
    async with server, reading(issuer, start=False) as verifier, asyncio.timeout(30):
        assert await status(verifier, EC.token()) == 503


# What it answers

SET = json.dumps({"keys": [EC.jwk()]}).encode()
HUGE = json.dumps({"keys": [EC.jwk()], "x": "x" * SET_BYTES_MAX}).encode()

NO_SETS: dict[str, Any] = {
    "500": lambda: web.Response(status=500),
    "404 with a set": lambda: web.json_response({"keys": [EC.jwk()]}, status=404),
    "a redirect": lambda: web.Response(status=302, headers={"Location": "/elsewhere.json"}),
    "204": lambda: web.Response(status=204),
    "nothing": b"",
    "rubbish": b"\xff\xfe\x00",
    "HTML": b"<html>sign in</html>",
    "a list": json.dumps([EC.jwk()]).encode(),
    "a lone key": json.dumps(EC.jwk()).encode(),
    "keys that are an object": json.dumps({"keys": {"a": EC.jwk()}}).encode(),
    "keys that are null": b'{"keys": null}',
    "too large": HUGE,
    "too many": json.dumps({"keys": [EC.jwk()] * (SET_KEYS_MAX + 1)}).encode(),
    "nested too deep": b'{"keys": ' + b"[" * 100_000,
    "a number too long": b'{"keys": [' + b"9" * 50_000 + b"]}",
    "compressed": lambda: web.Response(body=gzip.compress(SET), headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("name", NO_SETS)
async def test_an_answer_that_is_no_set_leaves_the_keys_as_they_are(name):
    async with Issuer(EC).serving() as issuer, reading(issuer) as verifier:
        issuer.answer = NO_SETS[name]
        assert await status(verifier, IssuerKey("ES256", "x").token()) == 503
        assert issuer.asked == 2
        assert await status(verifier, EC.token()) == 200


@pytest.mark.parametrize("name", NO_SETS)
async def test_a_first_answer_that_is_no_set_is_none_at_all(name):
    async with Issuer(EC).serving() as issuer:
        issuer.answer = NO_SETS[name]
        async with reading(issuer) as verifier:
            assert await status(verifier, EC.token()) == 503


async def test_a_set_without_a_key_of_use_is_believed_for_all_may_have_been_taken_back():
    async with Issuer(EC).serving() as issuer, reading(issuer) as verifier:
        issuer.keys = []
        assert await status(verifier, IssuerKey("ES256", "x").token()) == 401
        assert await status(verifier, EC.token()) == 401


async def test_a_shared_secret_in_a_set_is_no_key():
    """Whoever reads the set could sign with it."""
    published = {
        "kty": "oct",
        "kid": "hs",
        "alg": "HS256",
        "k": "c2VjcmV0LW9mLWF0LWxlYXN0LXRoaXJ0eS10d28tYnl0ZXMteA",
    }
    async with Issuer(EC).serving() as issuer:
        for member in (published, {**published, "kid": ""}, {**published, "alg": "RS256"}):
            issuer.answer = json.dumps({"keys": [member, EC.jwk()]}).encode()
            async with reading(issuer) as verifier:
                for kid in ("hs", "", "ec-1"):
                    forged = mint(Signer(SECRET, kid=kid), "my-app", "tenant-1", 60, 4e9)
                    assert await status(verifier, forged) == 401
                assert await status(verifier, EC.token()) == 200


async def test_a_public_key_of_a_set_is_no_shared_secret():
    async with Issuer(RSA).serving() as issuer, reading(issuer, jwt_key=SECRET) as verifier:
        for secret in (RSA.pem, RSA.pem.strip(), json.dumps(RSA.jwk()), RSA.jwk()["n"]):
            head, body, _ = mint(Signer(SECRET, kid="rsa-1"), "my-app", "tenant-1", 60, 4e9).split(".")
            digest = hmac.new(secret.encode(), f"{head}.{body}".encode(), "sha256").digest()
            assert await status(verifier, f"{head}.{body}.{_b64(digest)}") == 401


async def test_two_keys_of_one_name_are_both_tried_and_no_third():
    twins = IssuerKey("ES256", "same"), IssuerKey("ES256", "same"), IssuerKey("RS256", "same")
    async with Issuer(*twins, EC).serving() as issuer, reading(issuer) as verifier:
        for key in twins:
            assert await status(verifier, key.token()) == 200
        assert await status(verifier, EC.token(kid="same")) == 401
        assert await status(verifier, IssuerKey("ES256", "same").token()) == 401


async def test_a_token_without_a_kid_is_good_only_if_one_key_can_be_meant():
    async with Issuer(EC, RSA).serving() as issuer, reading(issuer) as verifier:
        assert await status(verifier, EC.token(kid="")) == 200
        issuer.keys.append(IssuerKey("ES256", "ec-2"))
        assert await status(verifier, IssuerKey("ES256", "x").token()) == 401
        assert await status(verifier, EC.token(kid="")) == 401
        assert await status(verifier, RSA.token(kid="")) == 200


async def test_keys_that_nothing_tells_apart_are_not_tried_one_after_the_other():
    nameless = IssuerKey("ES256"), IssuerKey("ES256")
    async with Issuer(*nameless, RSA).serving() as issuer, reading(issuer) as verifier:
        for key in nameless:
            assert await status(verifier, key.token()) == 401
            assert await status(verifier, key.token(kid="unknown")) == 401
        issuer.keys = [nameless[0], RSA]
    issuer.port = 0  # another one, as the first may be somebody else's by now
    async with issuer.serving(), reading(issuer) as verifier:
        assert await status(verifier, nameless[0].token()) == 200


# What it says, and TLS


async def test_the_log_says_what_changed_and_not_every_fetch(caplog):
    caplog.set_level(logging.INFO, logger="nealytics.auth.jwks")
    clock = Clock()
    async with Issuer(EC).serving() as issuer, reading(issuer, clock) as verifier:
        for _ in range(3):
            clock.now += ASK_AGAIN_S
            await status(verifier, IssuerKey("ES256", "x").token())
        issuer.answer = lambda: web.Response(status=500)
        for _ in range(3):
            clock.now += ASK_AGAIN_S
            await status(verifier, IssuerKey("ES256", "x").token())
        for other in (RSA.jwk(use="enc", alg="RSA-OAEP"), RSA.jwk(alg="RS384")):
            issuer.answer = json.dumps({"keys": [EC.jwk(), other]}).encode()
            clock.now += ASK_AGAIN_S
            await status(verifier, IssuerKey("ES256", "x").token())
    url = issuer.url
    said = [record for record in caplog.records if record.name == "nealytics.auth.jwks"]
    assert [(record.levelname, record.getMessage()) for record in said] == [
        ("INFO", f'auth: keys from {url}: "ec-1" (ES256)'),
        ("WARNING", f"auth: cannot fetch keys from {url}: status 500"),
        # As Keycloak has it: told, and no reason to worry.
        ("INFO", f'auth: keys from {url}: "ec-1" (ES256); skipped: key 1 is not for signatures (use)'),
        (
            "WARNING",
            f'auth: keys from {url}: "ec-1" (ES256); skipped: key 1 is for an algorithm other than RS256 or '
            "RS512 or PS256",
        ),
    ]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that nobody but itself vouches for, and its key, in one file."""
    key = IssuerKey("ES256")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.private.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key.private, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM) + key.private_pem.encode())
    return path


async def test_over_tls_only_an_authority_that_is_known_vouches_for_the_issuer(certificate, caplog):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with Issuer(EC).serving(ssl_context=context) as issuer:
        async with reading(issuer) as verifier:
            assert await status(verifier, EC.token()) == 503
            assert issuer.asked == 0
        assert "its certificate is not trusted: self-signed certificate; set auth.jwks_ca_file" in caplog.text
        async with reading(issuer, jwks_ca_file=str(certificate)) as verifier:
            assert await status(verifier, EC.token()) == 200
        async with reading(issuer, jwks_ca_file="/nowhere.pem") as verifier:
            assert await status(verifier, EC.token()) == 503


async def test_closing_ends_a_fetch_that_is_under_way(monkeypatch):
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT_S", 300.0)
    async with Issuer(EC).serving() as issuer:
        issuer.held = asyncio.Event()
        verifier = TokenVerifier(AuthConfig(jwks_url=issuer.url))
        verifier.start()
        await until_async(lambda: issuer.asked == 1)
        async with asyncio.timeout(60):
            await verifier.close()
        await verifier.close()


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
