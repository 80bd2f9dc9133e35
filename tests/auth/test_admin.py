"""Admin tokens: they open the admin routes and no events, and no other token opens those."""

from typing import Any

import pytest

from nealytics.auth.claims import ClaimNames, admin_scope_from
from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.minting import mint
from nealytics.auth.scope import AdminScope
from nealytics.config import AuthConfig, JwtKey
from nealytics.errors import Refused
from tests.auth.test_jwt import KEY, NOT_OURS, NOW, signed, verifier
from tests.fakes.issuer import IssuerKey

ADMIN: dict[str, Any] = {"project_id": "my-app", "scope": "admin", "exp": int(NOW) + 3_600}


def admin(claims: dict[str, Any], **config: Any) -> AdminScope:
    return verifier(**config).admin_scope_of(f"Bearer {signed(claims)}")


def refusal(claims: dict[str, Any], **config: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        admin(claims, **config)
    return caught.value


def test_an_admin_token_administers_one_project():
    scope = admin({**ADMIN, "sub": "ada"})
    assert scope == AdminScope("my-app", "ada")
    assert scope.permits("my-app")
    assert not scope.permits("other")


def test_a_star_is_all_projects():
    assert admin({**ADMIN, "project_id": "*"}) == AdminScope(None, "")


def test_with_a_fixed_project_a_star_is_that_project():
    assert admin({**ADMIN, "project_id": "*"}, project="fixed").project_id == "fixed"


@pytest.mark.parametrize(
    "scope", ["", "project", "admin project", "project admin", "admins", ["admin"], "openid admin"]
)
def test_any_other_scope_administers_nothing(scope: object):
    refused = refusal({**ADMIN, "scope": scope})
    assert (refused.status, refused.field) == (403, "scope")


@pytest.mark.parametrize("name", ["tenant_id", "filters", "endpoints", "rps"])
@pytest.mark.parametrize("value", ["acme", "", None, [], 1])
def test_a_restricted_token_administers_nothing(name: str, value: object):
    refused = refusal({**ADMIN, name: value})
    assert (refused.status, refused.field) == (403, name)


@pytest.mark.parametrize("project", ["", " ", None, [], ["a", "b"], {}, True])
def test_without_a_project_it_administers_nothing(project: object):
    assert refusal({**ADMIN, "project_id": project}).status == 403


def test_an_admin_token_reads_nothing():
    for project in ("my-app", "*"):
        with pytest.raises(Refused) as caught:
            verifier().scope_of(f"Bearer {signed({**ADMIN, 'project_id': project})}")
        assert caught.value.status == 403


def test_a_read_token_whose_scope_says_admin_reads_its_tenant_as_before():
    """Services write their own scopes into tokens; those of 1.x were ignored."""
    token = signed({**ADMIN, "tenant_id": "acme"})
    assert verifier().scope_of(f"Bearer {token}").tenant_id == "acme"


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_token_that_is_not_ours_administers_nothing(name: str):
    with pytest.raises(Refused) as caught:
        verifier().admin_scope_of(f"Bearer {NOT_OURS[name]}")
    assert caught.value.status == 401


def test_an_expired_token_administers_nothing():
    assert refusal({**ADMIN, "exp": int(NOW) - 60}).status == 401


def test_with_a_key_set_of_an_identity_provider_nobody_is_admin_by_scope():
    refused = refusal(ADMIN, jwks_url="http://127.0.0.1:1/jwks.json")
    assert (refused.status, refused.message) == (403, "the token's issuer may not issue admin tokens")


@pytest.mark.parametrize("allowed", [False, True])
def test_an_issuer_makes_admin_tokens_only_if_the_configuration_says_so(allowed: bool):
    names = ClaimNames(admin_scope=allowed)
    if allowed:
        assert admin_scope_from(ADMIN, claim_chars_max=256, names=names).project_id == "my-app"
    else:
        with pytest.raises(Refused, match="may not issue"):
            admin_scope_from(ADMIN, claim_chars_max=256, names=names)


def test_a_minted_admin_token_is_accepted():
    token = mint(KEY, "*", None, 600, NOW, admin=True, claims={"sub": "ada"})
    assert TokenVerifier(AuthConfig(jwt_key=KEY), clock=lambda: NOW).admin_scope_of(f"Bearer {token}") == (
        AdminScope(None, "ada")
    )


def test_with_a_public_key_nobody_is_admin_by_scope():
    """It may be an identity provider's."""
    key = IssuerKey("RS256")
    refused = refusal(ADMIN, jwt_keys=(JwtKey(algorithm="RS256", key=key.pem),))
    assert refused.message == "the token's issuer may not issue admin tokens"


def test_an_admin_token_whose_subject_would_be_read_as_a_tenant_is_not_made():
    with pytest.raises(Refused, match="names a tenant"):
        mint(KEY, "p", None, 600, NOW, admin=True, claims={"sub": "ada"}, names=ClaimNames(tenant="sub"))
