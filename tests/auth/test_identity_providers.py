"""The configurations in docs/identity-providers.md open what the page says, for tokens as it shows them."""

import copy
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from jwt.api_jws import PyJWS

from nealytics.auth.jwt import TokenVerifier
from nealytics.config import AuthConfig, load, load_with_notes
from nealytics.errors import Refused
from tests.fakes.issuer import Issuer, IssuerKey

PAGE = Path(__file__).parent.parent.parent / "docs" / "identity-providers.md"
PROVIDERS = (
    "Auth0", "Clerk", "Supabase", "Amazon Cognito", "Firebase", "Keycloak", "Microsoft Entra", "WorkOS",
)  # fmt: skip


class Recipe(NamedTuple):
    name: str
    config: str
    claims: dict[str, Any]
    project: str
    tenant: str

    @property
    def tenant_claim(self) -> str:
        return re.search(r'^tenant_claim = "(.*)"$', self.config, re.MULTILINE)[1]  # type: ignore[index]


def recipes() -> list[Recipe]:
    _, *sections = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    found = []
    for provider, section in zip(sections[::2], sections[1::2], strict=True):
        blocks = re.findall(
            r"```toml\n(.*?)```\n```json\n(.*?)```\n\nIt opens project `(.*?)`, tenant `(.*?)`\.\n",
            section,
            re.DOTALL,
        )
        assert section.count("```toml") == len(blocks), f"{provider}: a configuration without a token"
        for i, (config, claims, project, tenant) in enumerate(blocks, start=1):
            found.append(Recipe(f"{provider} {i}", config, json.loads(claims), project, tenant))
    return found


RECIPES = recipes()
each = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
each_published = pytest.mark.parametrize(
    "recipe",
    [recipe for recipe in RECIPES if "jwks_url" in recipe.config],
    ids=lambda recipe: recipe.name,
)


@pytest.fixture(autouse=True)
def nothing_else_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def loaded(recipe: Recipe, tmp_path: Path) -> AuthConfig:
    path = tmp_path / "nealytics.toml"
    path.write_text(recipe.config)
    path.chmod(0o600)
    return load(path, {}).auth


class Service:
    """The provider of a recipe: a key, and a verifier that knows it from a real server."""

    def __init__(self, recipe: Recipe, auth: AuthConfig, key: IssuerKey, verifier: TokenVerifier) -> None:
        self.recipe, self.auth, self.key, self.verifier = recipe, auth, key, verifier

    def token(self, claims: dict[str, Any]) -> str:
        # As bytes: what PyJWT makes of claims itself may not be wrong in the ways that are tested here.
        body = json.dumps(claims).encode()
        if self.auth.jwt_key:
            return PyJWS().encode(body, self.auth.jwt_key.encode(), algorithm="HS256")
        return PyJWS().encode(
            body, self.key.private, algorithm=self.key.algorithm, headers={"kid": self.key.kid}
        )

    async def answer(self, claims: dict[str, Any]) -> int | tuple[str, str | None]:
        try:
            scope = await self.verifier.resolve(f"Bearer {self.token(claims)}")
        except Refused as refused:
            return refused.status
        return scope.project_id, scope.tenant_id


@asynccontextmanager
async def service(recipe: Recipe, tmp_path: Path, **jwk: Any) -> AsyncIterator[Service]:
    auth = loaded(recipe, tmp_path)
    algorithm = auth.issuers[0].algorithms[0] if auth.issuers else "RS256"
    key = IssuerKey(algorithm, "provider-key-1")
    async with Issuer(key).serving() as published:
        published.answer = json.dumps({"keys": [key.jwk(**jwk)]}).encode()
        issuers = tuple(msgspec.structs.replace(entry, jwks_url=published.url) for entry in auth.issuers)
        auth = msgspec.structs.replace(auth, issuers=issuers)
        # The tokens of the page are signed as they stand there, and are a minute old.
        verifier = TokenVerifier(auth, clock=lambda: recipe.claims["iat"] + 50)
        try:
            yield Service(recipe, auth, key, verifier)
        finally:
            await verifier.close()


def test_every_provider_has_a_recipe():
    assert tuple(dict.fromkeys(recipe.name[:-2] for recipe in RECIPES)) == PROVIDERS


@each
async def test_a_token_as_the_page_shows_it_opens_what_the_page_says(recipe, tmp_path):
    async with service(recipe, tmp_path) as provider:
        assert await provider.answer(recipe.claims) == (recipe.project, recipe.tenant)


@each
def test_a_recipe_is_right_as_it_stands_and_warns_of_nothing(recipe, tmp_path):
    loaded(recipe, tmp_path)
    notes = load_with_notes(tmp_path / "nealytics.toml", {}, serving=True).notes
    assert [note for note in notes if "API keys" not in note] == []


@each
async def test_a_token_of_that_service_without_its_tenant_gets_403(recipe, tmp_path):
    claims = without(recipe.claims, recipe.tenant_claim)
    async with service(recipe, tmp_path) as provider:
        # As its clients could ask for the scope, it must not open the whole project.
        for more in ({}, {"scope": "openid project"}) if provider.auth.issuers else ({},):
            # The tenant of Entra is a part of its issuer: without it the token is nobody's.
            expected = 401 if recipe.tenant_claim == "tid" else 403
            assert await provider.answer({**claims, **more}) == expected


@each
async def test_a_token_of_that_service_for_another_purpose_gets_401(recipe, tmp_path):
    async with service(recipe, tmp_path) as provider:
        others: list[dict[str, Any]] = [
            {"iss": "https://another.example/"},
            {"iss": None},
            {"iss": recipe.claims["iss"] + "/"},
        ]
        entry = provider.auth.issuers[0] if provider.auth.issuers else None
        if (entry and entry.audience not in ((), ("*",))) or provider.auth.jwt_audience:
            others += [{"aud": "another service"}, {"aud": None}, {"aud": []}]
        for name in entry.required_claims if entry else ():
            others += [{name: "another"}, {name: None}, {name: True}]
        for other in others:
            assert await provider.answer({**recipe.claims, **other}) == 401, other


@each_published
async def test_a_token_that_somebody_else_signed_gets_401(recipe, tmp_path):
    async with service(recipe, tmp_path) as provider:
        stranger = IssuerKey(provider.key.algorithm, provider.key.kid)
        provider.key.private, good = stranger.private, provider.key.private
        assert await provider.answer(recipe.claims) == 401
        provider.key.private = good
        assert await provider.answer(recipe.claims) == (recipe.project, recipe.tenant)


@each_published
async def test_keys_that_do_not_name_their_algorithm_are_used_with_that_of_the_recipe(recipe, tmp_path):
    """Entra's do not."""
    async with service(recipe, tmp_path, alg=None) as provider:
        assert await provider.answer(recipe.claims) == (recipe.project, recipe.tenant)


ENTRA = next(recipe for recipe in RECIPES if recipe.name == "Microsoft Entra 1")
ANY_ORGANIZATION = "https://login.microsoftonline.com/{tenantid}/v2.0"
PERSONAL = "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"


@pytest.mark.parametrize(
    ("of_the_key", "expected"),
    [(ANY_ORGANIZATION, 200), (ENTRA.claims["iss"], 200), (PERSONAL, 401), (f"{ANY_ORGANIZATION}/x", 401)],
)
async def test_a_key_of_entra_signs_for_the_organizations_that_the_key_set_says(
    of_the_key, expected, tmp_path
):
    async with service(ENTRA, tmp_path, issuer=of_the_key) as provider:
        answer = await provider.answer(ENTRA.claims)
    assert answer == ((ENTRA.project, ENTRA.tenant) if expected == 200 else 401)


@pytest.mark.parametrize(
    "changed",
    [
        {"tid": "bbbbbbbb-0000-cccc-1111-dddd2222eeee"},
        {"iss": "https://login.microsoftonline.com/bbbbbbbb-0000-cccc-1111-dddd2222eeee/v2.0"},
        {"iss": "https://login.microsoftonline.com//v2.0", "tid": ""},
        {"iss": "https://login.microsoftonline.com/{tid}/v2.0"},
        {"iss": "https://login.microsoftonline.com/{tid}/v2.0", "tid": "{tid}"},
        {"iss": "https://login.microsoftonline.com/a/b/v2.0", "tid": "a/b"},
        {"iss": "https://login.microsoftonline.com/../v2.0", "tid": ".."},
        {"iss": "https://login.microsoftonline.com/['a']/v2.0", "tid": ["a"]},
        {"iss": "https://login.microsoftonline.com/1/v2.0", "tid": 1},
    ],
    ids=str,
)
async def test_the_tenant_of_entra_and_its_issuer_are_the_same(changed, tmp_path):
    async with service(ENTRA, tmp_path) as provider:
        assert await provider.answer({**ENTRA.claims, **changed}) == 401


async def test_filters_endpoints_and_rate_of_a_provider_s_token_count(tmp_path):
    recipe = RECIPES[0]
    narrowed = {"filters": ["meta:plan:eq:pro"], "endpoints": ["timeline"], "rps": 5}
    async with service(recipe, tmp_path) as provider:
        scope = await provider.verifier.resolve(f"Bearer {provider.token({**recipe.claims, **narrowed})}")
        assert (scope.filters, scope.endpoints, scope.rps) == (
            ("meta:plan:eq:pro",),
            frozenset({"timeline"}),
            5.0,
        )
        assert await provider.answer({**recipe.claims, "filters": "meta:plan:eq:pro"}) == 400


def without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    """The claims without what the name leads to."""
    claims = copy.deepcopy(claims)
    if name in claims:
        del claims[name]
    else:
        head, _, rest = name.partition(".")
        claims[head] = without(claims[head], rest)
    return claims
