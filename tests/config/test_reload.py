"""What of a new configuration a running node takes over."""

import msgspec
import pytest

from nealytics.auth.api_keys import ApiKeys
from nealytics.config import (
    ApiKey,
    AuthConfig,
    Config,
    IngestConfig,
    QuotaRule,
    RetentionRule,
    SegmentRule,
    ServerConfig,
    reloaded,
)

A, B, C = (ApiKey(key=name * 20) for name in "abc")


def with_keys(*keys: ApiKey) -> Config:
    return Config(auth=AuthConfig(api_keys=keys))


def places(config: Config) -> list[str]:
    keys = ApiKeys(config.auth.api_keys)
    grants = [(name, keys.find(name * 20)) for name in "abc"]
    return [f"{name}{grant.index}" for name, grant in grants if grant is not None]


def test_nothing_changes_with_the_same_configuration():
    config = with_keys(A, B)
    assert reloaded(config, with_keys(A, B), 10) == (config, [], [])


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (Config(retention=(RetentionRule(project="p", days=3),)), "retention"),
        (Config(quota=(QuotaRule(project="p", events_per_month=3),)), "quota"),
        (Config(segment=(SegmentRule(project="p", name="n", filter=("user_id:exists",)),)), "segment"),
        (Config(ingest=IngestConfig(rate_limit_requests=7)), "ingest.rate_limit_requests"),
        (
            Config(server=ServerConfig(cors_allowed_origins=("https://a.example",))),
            "server.cors_allowed_origins",
        ),
        (Config(auth=AuthConfig(jwt_key="k" * 40)), "auth.jwt_key"),
    ],
)
def test_keys_rate_limits_retention_and_cors_are_taken_over(wanted: Config, name: str):
    assert reloaded(Config(), wanted, 10) == (wanted, [name], [])


def test_a_setting_that_needs_a_restart_is_named_and_keeps_its_value():
    wanted = Config(
        server=ServerConfig(workers=4), ingest=IngestConfig(body_bytes_max=5_000, rate_limit_requests=7)
    )
    found = reloaded(Config(), wanted, 10)
    assert found.restart == ["server.workers", "ingest.body_bytes_max"]
    assert found.config == Config(ingest=IngestConfig(rate_limit_requests=7))


def test_keys_keep_their_places_when_another_is_removed():
    """The place of a key is the number of its rate limit."""
    first = reloaded(with_keys(A, B), with_keys(B, C), 10).config
    assert places(first) == ["b1", "c2"]
    assert places(reloaded(first, with_keys(C, A, B), 10).config) == ["a3", "b1", "c2"]


def test_the_place_of_a_removed_key_is_used_again_only_without_others():
    found = reloaded(with_keys(A, B), with_keys(B, C), 2)
    assert (places(found.config), found.restart) == (["b1", "c0"], [])


def test_more_keys_than_there_is_room_for_need_a_restart():
    found = reloaded(with_keys(A), with_keys(A, B, C), 2)
    assert (found.config, found.restart) == (with_keys(A), ["auth.api_keys"])


def test_a_key_that_gets_another_project_keeps_its_place():
    bound = msgspec.structs.replace(A, project="p")
    found = reloaded(with_keys(A), with_keys(bound), 10)
    assert (found.config, found.changed) == (with_keys(bound), ["auth.api_keys"])
