"""API keys: opaque texts, known by their hash, each bound to what its configuration says."""

import hashlib

import pytest

from nealytics.auth.api_keys import ApiKeys
from nealytics.config import ApiKey
from nealytics.errors import ConfigError


def keys(*given: ApiKey) -> ApiKeys:
    return ApiKeys(given)


def test_a_key_is_found_with_its_place_in_the_configuration():
    found = keys(ApiKey(key="one"), ApiKey(key="two", project="p", kind="browser")).find("two")
    assert found is not None
    assert (found.index, found.project, found.tenant, found.kind) == (1, "p", "", "browser")


@pytest.mark.parametrize("presented", ["", "on", "one ", "One", "onee", "neavents", "\udcff", "x" * 100_000])
def test_what_is_not_exactly_a_key_is_unknown(presented):
    assert keys(ApiKey(key="one"), ApiKey(key="neavents:projkey123")).find(presented) is None


def test_without_keys_every_key_is_unknown():
    assert keys().find("") is None
    assert keys().find("any") is None


def test_a_colon_in_a_key_means_nothing():
    found = keys(ApiKey(key="neavents:projkey123")).find("neavents:projkey123")
    assert found is not None
    assert found.project == found.tenant == ""


def test_a_key_given_by_its_hash_is_found_by_itself_and_not_by_the_hash():
    digest = hashlib.sha256("schlüssel".encode()).hexdigest()
    known = keys(ApiKey(key_sha256=digest.upper()))
    assert known.find("schlüssel") is not None
    assert known.find(digest) is None


def test_the_keys_themselves_are_not_kept():
    known = keys(ApiKey(key="canary-key"))
    assert "canary" not in repr(vars(known))


def test_a_key_that_cannot_be_used_is_an_error_and_not_an_open_door():
    with pytest.raises(ConfigError, match=r"auth\.api_keys\[0\]"):
        keys(ApiKey())
    with pytest.raises(ConfigError):
        keys(ApiKey(key_sha256="00"))
