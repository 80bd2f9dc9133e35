"""What a good token opens, how it narrows itself, and that a claim nobody understands opens nothing."""

import json
from typing import Any

import pytest

from nealytics.auth.claims import (
    ABSENT,
    FILTER_CHARS_MAX,
    FILTERS_MAX,
    RPS_MAX,
    ClaimNames,
    look_up,
    scope_from,
)
from nealytics.auth.scope import Scope
from nealytics.errors import Refused

TENANT = {"project_id": "my-app", "tenant_id": "tenant-1"}
PROJECT = {"project_id": "my-app", "scope": "project"}


def scope(claims: dict[str, Any]) -> Scope:
    return scope_from(claims, json.dumps(claims).encode(), claim_chars_max=256)


def refusal(claims: dict[str, Any]) -> tuple[int, str, str | None]:
    with pytest.raises(Refused) as caught:
        scope(claims)
    return caught.value.status, caught.value.code, caught.value.field


# The whole project


@pytest.mark.parametrize("text", ["project", "openid project", "project email", "a project b"])
def test_a_token_with_the_scope_project_and_no_tenant_opens_all_tenants(text):
    opened = scope({"project_id": "my-app", "scope": text})
    assert (opened.project_id, opened.tenant_id) == ("my-app", None)


@pytest.mark.parametrize(
    "claim",
    ["", "projects", "Project", "PROJECT", "my-project", "\tproject", ["project"], None],
)  # fmt: skip
def test_any_other_scope_opens_no_project(claim):
    assert refusal({"project_id": "my-app", "scope": claim}) == (403, "forbidden", "tenant_id")


@pytest.mark.parametrize("tenant", ["", " ", None, [], {}, True, float("nan"), ["a", "b"], [""], [["a"]]])
def test_a_tenant_that_is_none_is_a_mistake_and_not_the_whole_project(tenant):
    """An issuer that lost a user's tenant must not so give the user everyone's."""
    assert refusal({**PROJECT, "tenant_id": tenant}) == (403, "forbidden", "tenant_id")


def test_a_token_with_both_stays_with_its_tenant():
    assert scope({**TENANT, "scope": "project"}).tenant_id == "tenant-1"


def test_a_token_for_the_whole_project_names_it():
    assert refusal({"scope": "project"}) == (403, "forbidden", "project_id")


def test_the_error_for_a_token_without_tenant_explains_the_project_scope():
    with pytest.raises(Refused) as caught:
        scope({"project_id": "my-app"})
    assert '"scope": "project"' in caught.value.detail
    with pytest.raises(Refused) as caught:
        scope({"tenant_id": "tenant-1"})
    assert "scope" not in caught.value.detail


# Narrowing


def test_a_token_that_does_not_narrow_itself_is_not_narrowed():
    opened = scope(TENANT)
    assert (opened.filters, opened.endpoints, opened.rps) == ((), None, None)


def test_filters_are_kept_as_they_are_written():
    filters = ["meta:plan:eq:pro", "event_type:in:a,b\\,c", "", "' OR 1=1 --", "café"]
    assert scope({**TENANT, "filters": filters}).filters == tuple(filters)
    assert scope({**PROJECT, "filters": filters}).filters == tuple(filters)
    assert scope({**TENANT, "filters": []}).filters == ()


def test_as_many_and_as_long_filters_as_are_accepted_are_accepted():
    filters = ["x" * FILTER_CHARS_MAX] * FILTERS_MAX
    assert len(scope({**TENANT, "filters": filters}).filters) == 20


BAD_LISTS = {
    "null": None,
    "a text": "timeline",
    "a number": 1,
    "true": True,
    "an object": {"timeline": True},
    "a list with a number": ["timeline", 1],
    "a list with null": ["timeline", None],
    "a list with a list": [["timeline"]],
    "a NUL": ["a\0b"],
    "half a surrogate pair": ["a\ud800b"],
}


@pytest.mark.parametrize("claim", ["filters", "endpoints"])
@pytest.mark.parametrize("name", BAD_LISTS)
def test_a_claim_that_narrows_and_is_no_list_of_texts_is_refused_and_not_left_out(claim, name):
    assert refusal({**TENANT, claim: BAD_LISTS[name]}) == (400, "invalid_claim", claim)


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("filters", ["x"] * 21),
        ("filters", ["x" * 1_025]),
        ("endpoints", ["x"] * 51),
        ("endpoints", ["x" * 65]),
    ],
)
def test_a_list_that_is_too_long_is_refused(claim, value):
    assert refusal({**TENANT, claim: value}) == (400, "invalid_claim", claim)


def test_endpoints_are_names_and_an_empty_list_is_none_of_them():
    assert scope({**TENANT, "endpoints": ["timeline", "top", "top"]}).endpoints == frozenset(
        {"timeline", "top"}
    )
    assert scope({**TENANT, "endpoints": []}).endpoints == frozenset()


@pytest.mark.parametrize(("claim", "rps"), [(5, 5.0), (0.5, 0.5), (1e-9, 1e-9), (10**400, float(RPS_MAX))])
def test_rps_is_a_number_above_0(claim, rps):
    assert scope({**TENANT, "rps": claim}).rps == rps


@pytest.mark.parametrize(
    "claim", [0, -1, 0.0, "5", None, True, False, [5], {"rps": 5}, float("nan"), float("inf"), -float("inf")]
)
def test_any_other_rps_is_refused_and_not_left_out(claim):
    assert refusal({**TENANT, "rps": claim}) == (400, "invalid_claim", "rps")


# Who it is for


def key(**claims: Any) -> str:
    return scope({**TENANT, **claims}).key


def test_all_tokens_of_a_subject_are_counted_together():
    assert key(sub="ada", exp=1, jti="a") == key(sub="ada", exp=2, jti="b", rps=5)
    assert key(sub="ada") != key(sub="eve")
    assert key(sub=17) == key(sub=17, exp=2)


def test_without_a_subject_a_token_is_known_by_its_own_name_and_else_by_its_claims():
    assert key(jti="a", exp=1) == key(jti="a", exp=2)
    assert key(jti="a") != key(jti="b")
    assert key(exp=1) != key(exp=2)
    assert key(exp=1) == key(exp=1)


def test_a_subject_is_one_of_its_tenant():
    names = [
        scope({**TENANT, "sub": "ada"}).key,
        scope({**TENANT, "tenant_id": "tenant-2", "sub": "ada"}).key,
        scope({**TENANT, "project_id": "other", "sub": "ada"}).key,
        scope({**PROJECT, "sub": "ada"}).key,
        scope({**TENANT, "jti": "ada"}).key,
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("sub", [None, {"id": 1}, ["a"], [[[[]]]], 1.5])
def test_a_subject_that_is_no_name_is_none(sub):
    assert key(sub=sub, jti="a") == key(jti="a")


@pytest.mark.parametrize("sub", ["", "x" * 5_000, "a\0b", "a\ud800b", 10**300, -1, True])
def test_a_strange_subject_is_as_good_as_any(sub):
    assert len(key(sub=sub)) == 32


# Where tenant and project stand


@pytest.mark.parametrize(
    ("name", "claims", "found"),
    [
        ("org_id", {"org_id": "a"}, "a"),
        ("custom:tenant_id", {"custom:tenant_id": "a"}, "a"),
        ("https://app.example/tenant_id", {"https://app.example/tenant_id": "a"}, "a"),
        ("app_metadata.tenant_id", {"app_metadata": {"tenant_id": "a"}}, "a"),
        ("a.b.c", {"a": {"b": {"c": "a"}}}, "a"),
        ("a.b.c", {"a": {"b.c": "a"}}, "a"),
        ("https://app.example/x.id", {"https://app.example/x": {"id": "a"}}, "a"),
        # The exact name wins, then the longest part of it; there is no second try.
        ("a.b", {"a.b": "exact", "a": {"b": "path"}}, "exact"),
        ("a.b", {"a.b": None, "a": {"b": "path"}}, None),
        ("a.b.c", {"a.b": {"c": "longer"}, "a": {"b": {"c": "shorter"}}}, "longer"),
        ("a.b.c", {"a.b": {}, "a": {"b": {"c": "shorter"}}}, None),
        # A path that breaks off is not the same as no claim at all.
        ("a.b", {"a": {}}, None),
        ("a.b", {"a": "text"}, None),
        ("a.b", {"a": [{"b": "in a list"}]}, None),
        ("a.b", {"a": None}, None),
        ("a.b", {"b": "x"}, ABSENT),
        ("a.b", {}, ABSENT),
        ("org_id", {"ORG_ID": "a"}, ABSENT),
        ("a.", {"a": {"": "odd"}}, "odd"),
        (".a", {"": {"a": "odd"}}, "odd"),
    ],
)
def test_a_claim_is_found_by_its_name_or_by_a_path_to_it(name, claims, found):
    assert look_up(claims, name) == found


def test_a_path_as_long_as_a_name_may_be_is_followed():
    name = ".".join("a" * 128)
    claims: Any = "deep"
    for _ in range(128):
        claims = {"a": claims}
    assert look_up(claims, name) == "deep"


def refused(claims: dict[str, Any], names: ClaimNames) -> Refused:
    with pytest.raises(Refused) as caught:
        scope_from(claims, b"", claim_chars_max=256, names=names)
    return caught.value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (["a", "b"], "the token's org.id is a list of 2 values"),
        ([], "the token's org.id is empty"),
        ("", "the token's org.id is empty"),
        (" ", "the token's org.id is empty"),
        (None, "the token has no org.id"),
        ({"id": "a"}, "the token's org.id is neither a string nor a number"),
        ([{"id": "a"}], "the token's org.id is neither a string nor a number"),
        (True, "the token's org.id is neither a string nor a number"),
    ],
)
def test_a_tenant_that_is_none_says_which_claim_and_why(value, said):
    names = ClaimNames(tenant="org.id", fixed_project="my-app")
    caught = refused({"org": {"id": value}}, names)
    assert (caught.status, caught.code, caught.message, caught.field) == (403, "forbidden", said, "org.id")


def test_a_fixed_project_is_that_of_every_token():
    names = ClaimNames(fixed_project="my-app")
    for claims in ({"tenant_id": "t"}, {"tenant_id": "t", "project_id": "other"}):
        assert scope_from(claims, b"", claim_chars_max=256, names=names).project_id == "my-app"


@pytest.mark.parametrize("claims", [{"org": {}}, {"org": None}, {"org": "x"}, {"org": {"id": None}}])
def test_a_token_with_a_part_of_the_tenant_path_does_not_open_the_project(claims):
    names = ClaimNames(tenant="org.id", fixed_project="my-app")
    assert refused({**claims, "scope": "project"}, names).status == 403
    assert scope_from({"scope": "project"}, b"", claim_chars_max=256, names=names).tenant_id is None
