"""Ingest tokens: they write the events of one tenant and open nothing else, and no other token writes."""

from typing import Any

import pytest

from nealytics.auth.claims import ClaimNames, ingest_grant_from
from nealytics.auth.grant import Grant
from nealytics.auth.issuers import Issuers
from nealytics.auth.minting import mint
from nealytics.config import AuthConfig, JwtKey
from nealytics.errors import Refused
from tests.auth.test_jwt import (
    GOOD,
    KEY,
    NO_TENANT,
    NOT_OURS,
    NOW,
    part,
    signed,
    verifier,
    with_claims,
    without,
)
from tests.fakes.issuer import IssuerKey

INGEST: dict[str, Any] = {**GOOD, "scope": "ingest"}


def grant(claims: dict[str, Any], **config: Any) -> Grant:
    return verifier(**config).ingest_grant_of(signed(claims))


def refusal(token: str, **config: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        verifier(**config).ingest_grant_of(token)
    return caught.value


def test_an_ingest_token_writes_for_one_tenant():
    found = grant(INGEST)
    assert (found.project, found.tenant, found.user, found.kind) == ("my-app", "tenant-1", "", "token")
    assert found.is_public
    assert found.expires_at_s == INGEST["exp"] + 30


@pytest.mark.parametrize(("claim", "user"), [("ada", "ada"), (17, "17"), (["ada"], "ada")])
def test_with_a_user_it_writes_for_this_user_only(claim: object, user: str):
    assert grant({**INGEST, "user_id": claim}).user == user


@pytest.mark.parametrize("claim", ["", " ", None, [], ["a", "b"], {}, True])
def test_a_user_that_makes_no_sense_is_refused_and_not_ignored(claim: object):
    refused = refusal(signed({**INGEST, "user_id": claim}))
    assert (refused.status, refused.field) == (403, "user_id")


@pytest.mark.parametrize(
    "scope",
    [None, "", "project", "read", "admin", "ingests", "ingest admin", "openid ingest", "INGEST", ["ingest"]],
)
def test_any_other_scope_writes_nothing(scope: object):
    refused = refusal(signed({**GOOD, "scope": scope}))
    assert (refused.status, refused.code, refused.field) == (403, "forbidden", "scope")


def test_a_read_token_writes_nothing():
    assert refusal(signed(GOOD)).message == "the token is not an ingest token"


def test_an_ingest_token_reads_nothing_and_administers_nothing():
    for claims in (INGEST, {**INGEST, "user_id": "ada"}, {**INGEST, "scope": " ingest "}):
        with pytest.raises(Refused, match="reads no events") as caught:
            verifier().scope_of(f"Bearer {signed(claims)}")
        assert (caught.value.status, caught.value.field) == (403, "scope")
    for claims in (INGEST, {name: value for name, value in INGEST.items() if name != "tenant_id"}):
        with pytest.raises(Refused, match="not an admin token"):
            verifier().admin_scope_of(f"Bearer {signed(claims)}")


MISWRITTEN: list[object] = [
    "Ingest",
    "openid ingest",
    "ingest read",
    "ingest ingest",
    "ingest\0",
    "openid,ingest",
    "\tINGEST\n",
    ["ingest"],
    ["openid", "Ingest"],
    ["openid ingest"],
]


@pytest.mark.parametrize("scope", MISWRITTEN)
def test_a_miswritten_ingest_token_neither_reads_nor_writes(scope: object):
    """A page has it: it must not get the tenant's events by its issuer's mistake."""
    with pytest.raises(Refused, match="reads no events") as caught:
        verifier().scope_of(f"Bearer {with_claims(scope=scope)}")
    assert (caught.value.status, caught.value.field) == (403, "scope")
    assert refusal(signed({**GOOD, "scope": scope})).field == "scope"


@pytest.mark.parametrize("scope", [1, True, {"ingest": 1}, [["ingest"]], ["read", 1]])
def test_a_scope_that_is_no_text_reads_nothing(scope: object):
    with pytest.raises(Refused, match="neither a string nor a list") as caught:
        verifier().scope_of(f"Bearer {with_claims(scope=scope)}")
    assert (caught.value.status, caught.value.field) == (403, "scope")


@pytest.mark.parametrize("scope", [None, "", "openid profile", "ingests", "ingest:read", [], ["openid"]])
def test_another_scope_reads_the_tenant_of_its_token(scope: object):
    assert verifier().scope_of(f"Bearer {with_claims(scope=scope)}").tenant_id == "tenant-1"


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_token_that_is_not_ours_writes_nothing(name: str):
    assert refusal(NOT_OURS[name]).status == 401


def test_a_token_signed_with_another_key_or_none_writes_nothing():
    head, claims, signature = signed(INGEST).split(".")
    forged = {
        "another key": signed(INGEST, key="another-key-of-at-least-thirty-two-bytes"),
        "no signature": f"{head}.{claims}.",
        "none": signed(INGEST, {"alg": "none"}).rpartition(".")[0] + ".",
        "other claims": f"{head}.{part({**INGEST, 'tenant_id': 'tenant-2'})}.{signature}",
        "expired": signed({**INGEST, "exp": NOW - 31}),
        "not yet valid": signed({**INGEST, "nbf": NOW + 31}),
    }
    for name, token in forged.items():
        assert refusal(token).status == 401, name


def test_issuer_and_audience_are_checked_as_for_reading():
    config = {"jwt_issuer": "https://me", "jwt_audience": "analytics"}
    named = {**INGEST, "iss": "https://me", "aud": "analytics"}
    assert grant(named, **config).tenant == "tenant-1"
    assert refusal(signed({**named, "aud": "billing"}), **config).message.endswith("audience (aud)")
    assert refusal(signed({**named, "iss": "https://you"}), **config).message.endswith("issuer (iss)")


@pytest.mark.parametrize("name", NO_TENANT)
def test_without_a_tenant_it_writes_nothing(name: str):
    token = NO_TENANT[name]
    assert refusal(token).status == 403
    claims = verifier()._verified_token(token).claims
    refused = refusal(signed({**claims, "scope": "ingest"}))
    assert (refused.status, refused.field) == (403, "tenant_id")


def test_without_a_project_it_writes_nothing():
    token = without("project_id")
    claims = verifier()._verified_token(token).claims
    assert refusal(signed({**claims, "scope": "ingest"})).field == "project_id"


@pytest.mark.parametrize("name", ["filters", "endpoints"])
@pytest.mark.parametrize("value", [["a"], [], None])
def test_restrictions_of_reading_make_no_sense_in_it(name: str, value: object):
    refused = refusal(signed({**INGEST, name: value}))
    assert (refused.status, refused.field) == (403, name)


@pytest.mark.parametrize(("claim", "value"), [("rps", 0), ("rps", "5"), ("tenant_id", "x" * 257)])
def test_a_claim_that_makes_no_sense_is_400(claim: str, value: object):
    refused = refusal(signed({**INGEST, claim: value}))
    assert (refused.status, refused.code, refused.field) == (400, "invalid_claim", claim)


def test_other_claim_names_and_a_fixed_project_count_as_for_reading():
    claims = {"org": {"id": 7}, "exp": INGEST["exp"], "scope": "ingest"}
    found = grant(claims, tenant_claim="org.id", project="fixed")
    assert (found.project, found.tenant) == ("fixed", "7")


def test_a_claim_that_names_the_tenant_is_not_the_user():
    claims = {name: value for name, value in INGEST.items() if name != "tenant_id"}
    found = grant({**claims, "user_id": "acme"}, tenant_claim="user_id")
    assert (found.tenant, found.user) == ("acme", "")


def test_tokens_of_one_subject_share_their_limits():
    one, renewed, other = (
        grant({**INGEST, "sub": sub, "exp": exp})
        for sub, exp in (("ada", INGEST["exp"]), ("ada", INGEST["exp"] + 60), ("eve", INGEST["exp"]))
    )
    assert one.subject == renewed.subject != other.subject


def test_events_of_a_tenant_keep_their_id_with_every_token_of_it():
    one, of_user, other = (
        grant({**INGEST, **more})
        for more in ({}, {"user_id": "ada", "sub": "ada"}, {"tenant_id": "tenant-2"})
    )
    assert one.digest == of_user.digest != other.digest


@pytest.mark.parametrize("allowed", [False, True])
def test_an_issuer_makes_ingest_tokens_only_if_the_configuration_says_so(allowed: bool):
    names = ClaimNames(ingest_scope=allowed)
    if allowed:
        assert ingest_grant_from(INGEST, b"", claim_chars_max=256, names=names).tenant == "tenant-1"
    else:
        with pytest.raises(Refused, match="may not issue"):
            ingest_grant_from(INGEST, b"", claim_chars_max=256, names=names)


def test_a_public_key_verifies_ingest_tokens_only_if_the_configuration_says_so():
    """It may be an identity provider's, whose clients choose their scopes."""
    key = IssuerKey("ES256", "2026-11")
    config = {"jwt_keys": (JwtKey(algorithm="ES256", kid="2026-11", key=key.pem),)}
    refused = refusal(key.token(INGEST), **config)
    assert (refused.status, refused.field) == (403, "scope")
    assert "auth.ingest_scope" in refused.detail
    assert verifier(**config, ingest_scope=True).ingest_grant_of(key.token(INGEST)).tenant == "tenant-1"


@pytest.mark.parametrize("allowed", [False, True])
def test_an_identity_provider_in_auth_makes_ingest_tokens_only_if_the_configuration_says_so(allowed: bool):
    config = AuthConfig(jwks_url="https://login.example/jwks", ingest_scope=allowed)
    assert Issuers(config).own.names.ingest_scope is allowed


def test_shared_secrets_sign_ingest_tokens():
    config = {"jwt_key": "", "jwt_keys": (JwtKey(kid="cron", key=KEY),)}
    token = signed(INGEST, {"alg": "HS256", "kid": "cron"})
    assert verifier(**config).ingest_grant_of(token).tenant == "tenant-1"


def test_a_minted_ingest_token_is_accepted():
    token = mint(KEY, "my-app", "acme", 600, NOW, ingest=True, claims={"sub": "ada", "user_id": "ada"})
    found = verifier().ingest_grant_of(token)
    assert (found.project, found.tenant, found.user) == ("my-app", "acme", "ada")


def test_an_ingest_token_that_no_node_accepts_is_not_made():
    for tenant, claims in ((None, {}), ("acme", {"filters": ["a:eq:b"]}), ("acme", {"user_id": ""})):
        with pytest.raises(Refused):
            mint(KEY, "my-app", tenant, 600, NOW, ingest=True, claims=claims)
