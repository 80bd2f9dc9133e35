"""One value for one key: what TOML and the environment may write, and what is refused."""

from typing import Any

import pytest

from nealytics.config.values import KEYS, Unusable


def refusal(name: str, raw: object, *, text: bool) -> str:
    with pytest.raises(Unusable) as caught:
        KEYS[name].parse(raw, text=text)
    return caught.value.what + caught.value.advice


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("server.workers", " 2 ", 2),
        ("commit.flush_interval_s", "3", 3.0),
        ("observe.prometheus", "Yes", True),
        ("observe.log_level", "Information", "info"),
        ("web.frame_ancestors", "https://a, https://b", ("https://a", "https://b")),
        ("web.frame_ancestors", '["https://a"]', ("https://a",)),
        ("clickhouse.url", '["http://a:1", "http://b:2"]', "http://a:1,http://b:2"),
        ("auth.jwt_keys", "", ()),
    ],
)
def test_a_text_of_the_environment_is_read_leniently(name: str, raw: str, value: Any):
    assert KEYS[name].parse(raw, text=True) == value


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("server.workers", "2"),
        ("server.workers", True),
        ("commit.flush_interval_s", "3"),
        ("observe.prometheus", "true"),
        ("observe.log_level", "Information"),
        ("web.frame_ancestors", "https://a"),
    ],
)
def test_a_value_of_toml_has_its_own_type(name: str, raw: object):
    assert refusal(name, raw, text=False).startswith(f"{name} is ")


def test_an_integer_is_a_float_where_a_float_is_wanted():
    value = KEYS["commit.flush_interval_s"].parse(3, text=False)
    assert (value, type(value)) == (3.0, float)


def test_a_secret_of_the_wrong_type_is_not_shown():
    assert refusal("clickhouse.password", ["canary"], text=False) == (
        'clickhouse.password is not a text; write it in quotes, "…"'
    )
    assert refusal("auth.api_keys", [{"key": 17}], text=False) == (
        'auth.api_keys[0].key is not a text; write it in quotes, "…"'
    )
