"""A service that issues tokens: keys of its own, and a real HTTP server that publishes them.

What the server answers can be set to anything at any moment: another set, rubbish, an error, or nothing for a
while.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

_OF_ALGORITHM: dict[str, Any] = {"ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


class IssuerKey:
    """A key pair with its kid and algorithm."""

    def __init__(self, algorithm: str = "ES256", kid: str = "", rsa_bits: int = 2_048) -> None:
        self.algorithm = algorithm
        self.kid = kid
        self.private: Any
        if algorithm in ("RS256", "RS512", "PS256"):
            self.private = rsa.generate_private_key(65_537, rsa_bits)
        elif algorithm == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
        else:
            self.private = ed25519.Ed25519PrivateKey.generate()

    @property
    def pem(self) -> str:
        public = self.private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def private_pem(self) -> str:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def jwk(self, **members: object) -> dict[str, Any]:
        """As it stands in a set. A member that is given as None is left out."""
        public = _OF_ALGORITHM.get(self.algorithm, RSAAlgorithm).to_jwk(
            self.private.public_key(), as_dict=True
        )
        public.pop("key_ops", None)
        named = {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        return {name: value for name, value in {**public, **named, **members}.items() if value is not None}

    def token(self, claims: dict[str, Any] | None = None, **header: object) -> str:
        """Good for an hour, unless the claims say otherwise."""
        good = {"project_id": "my-app", "tenant_id": "tenant-1", "exp": int(time.time()) + 3_600}
        named = {"kid": self.kid, **header}
        return jwt.encode(
            {**good, **(claims or {})},
            self.private,
            algorithm=self.algorithm,
            headers={name: value for name, value in named.items() if value},
        )


class Issuer:
    """Publishes `keys` at `url`, unless `answer` is set."""

    def __init__(self, *keys: IssuerKey) -> None:
        self.keys = list(keys)
        self.answer: Callable[[], web.Response] | bytes | None = None
        self.held: asyncio.Event | None = None  # while it is set to one, an answer waits for it
        self.asked = 0
        self.port = 0
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}/jwks.json"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.held is not None:
            await self.held.wait()
        if callable(self.answer):
            return self.answer()
        body = self.published if self.answer is None else self.answer
        return web.Response(body=body, content_type="application/json")

    @property
    def published(self) -> bytes:
        return json.dumps({"keys": [key.jwk() for key in self.keys]}).encode()

    async def _elsewhere(self, request: web.Request) -> web.Response:
        """The set at another address, for answers that point to one."""
        return web.Response(body=self.published, content_type="application/json")

    @asynccontextmanager
    async def serving(self, **options: Any) -> AsyncIterator["Issuer"]:
        app = web.Application()
        app.router.add_get("/jwks.json", self._answer)
        app.router.add_get("/elsewhere.json", self._elsewhere)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "localhost", self.port, **options)
        await site.start()
        self.port = runner.addresses[0][1]
        if options.get("ssl_context"):
            self.scheme = "https"
        try:
            yield self
        finally:
            if self.held is not None:
                self.held.set()
            await runner.cleanup()
