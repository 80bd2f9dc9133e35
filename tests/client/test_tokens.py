"""Tokens are those that a node accepts, and open no more than was meant."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.scope import Scope
from nealytics.client import WHOLE_PROJECT, mint_token
from nealytics.config import AuthConfig, JwtKey
from nealytics.errors import Refused

SECRET = "a-secret-of-at-least-thirty-two-bytes"


def scope_of(token: str, **config: Any) -> Scope:
    return TokenVerifier(AuthConfig(**{"jwt_key": SECRET, **config})).scope_of(f"Bearer {token}")


def test_a_token_opens_its_tenant_and_no_more():
    scope = scope_of(mint_token("my-app", "acme", key=SECRET))
    assert (scope.project_id, scope.tenant_id, scope.filters, scope.endpoints) == ("my-app", "acme", (), None)


def test_claims_narrow_a_token():
    token = mint_token(
        "my-app",
        "acme",
        key=SECRET,
        subject="ada",
        filters=["meta:plan:eq:pro"],
        endpoints=["summary"],
        rps=5,
    )
    scope = scope_of(token)
    assert (scope.filters, scope.endpoints, scope.rps) == (("meta:plan:eq:pro",), frozenset({"summary"}), 5)


def test_a_list_of_endpoints_that_came_out_empty_opens_none():
    assert scope_of(mint_token("my-app", "acme", key=SECRET, endpoints=[])).endpoints == frozenset()


@pytest.mark.parametrize("tenant", [None, "", "  ", 42])
def test_a_tenant_that_got_lost_makes_no_token(tenant: Any):
    with pytest.raises(ValueError, match="tenant_id is"):
        mint_token("my-app", tenant, key=SECRET)


def test_the_whole_project_has_to_be_asked_for():
    assert scope_of(mint_token("my-app", WHOLE_PROJECT, key=SECRET)).tenant_id is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"key": "short"}, "key has 5 bytes, at least 32"),
        ({"expires_s": 0}, "expires_s is 0"),
        ({"expires_s": float("nan")}, "expires_s is nan"),
        ({"expires_s": 1e12}, "expires_s is"),
        ({"rps": -1}, "rps is not a number greater than 0"),
        ({"filters": ["x" * 2_000]}, "filters has an entry of 2000 characters"),
        ({"filters": "meta:plan:eq:pro"}, r"filters is 'meta:plan:eq:pro'; write a list"),
        ({"endpoints": "summary"}, r"endpoints is 'summary'; write a list: \['summary'\]"),
        ({"algorithm": "RS256"}, "needs a private key in PEM"),
        ({"key": "-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----"}, "unencrypted private key"),
    ],
)
def test_what_no_node_would_accept_is_not_made(arguments: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        mint_token("my-app", "acme", **{"key": SECRET, **arguments})


def test_an_expired_token_is_refused():
    token = mint_token("my-app", "acme", key=SECRET, expires_s=1)
    late = TokenVerifier(AuthConfig(jwt_key=SECRET), clock=lambda: 4e9)
    with pytest.raises(Refused, match="expired"):
        late.scope_of(f"Bearer {token}")


def test_a_private_key_signs_what_its_public_key_verifies(tmp_path: Path):
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    for command in (
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)],
        ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    token = mint_token(
        "my-app", "acme", key=private.read_text(), kid="2026-11", issuer="us", audience="analytics"
    )
    known = JwtKey(kid="2026-11", algorithm="EdDSA", key=public.read_text())
    scope = scope_of(token, jwt_key="", jwt_keys=(known,), jwt_issuer="us", jwt_audience="analytics")
    assert scope.tenant_id == "acme"


def test_claims_may_have_other_names():
    token = mint_token("my-app", "acme", key=SECRET, tenant_claim="org_id", project_claim="app")
    assert scope_of(token, tenant_claim="org_id", project_claim="app").tenant_id == "acme"


def test_a_token_that_writes_reads_nothing():
    token = mint_token("my-app", "acme", key=SECRET, ingest=True, user_id="ada", subject="ada")
    grant = TokenVerifier(AuthConfig(jwt_key=SECRET)).ingest_grant_of(token)
    assert (grant.project, grant.tenant, grant.user) == ("my-app", "acme", "ada")
    with pytest.raises(Refused, match="reads no events"):
        TokenVerifier(AuthConfig(jwt_key=SECRET)).scope_of(f"Bearer {token}")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"ingest": True, "tenant_id": WHOLE_PROJECT}, "needs a tenant"),
        ({"ingest": True, "filters": ["a:eq:b"]}, "cannot have filters"),
        ({"ingest": True, "user_id": ""}, "user_id is ''"),
        ({"user_id": "ada"}, "add ingest=True"),
    ],
)
def test_a_token_that_writes_for_nobody_in_particular_is_not_made(wrong: dict[str, Any], problem: str):
    with pytest.raises(ValueError, match=problem):
        mint_token(**{"project_id": "my-app", "tenant_id": "acme", "key": SECRET, **wrong})
