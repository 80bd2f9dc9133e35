"""Which regular expressions are accepted."""

import pytest

from nealytics.errors import Refused
from nealytics.queries.patterns import PATTERN_CHARS_MAX, check_pattern


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "^/shop(/[0-9]+)?$",
        "(?i)^ada@",
        "(?:a|b)+?",
        "(?P<year>[0-9]{4})-[0-9]{2}",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        r"\d+\.\w\s\b\\",
        r"\[\]\(\)\{\}\+\+",
        r"a\ b",  # as Python's re.escape writes a space
        "é{2,}",
        "(ab{10}){100}",
        "a{0}",
    ],
)
def test_accepted(text: str):
    check_pattern("filter", text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("a" * (PATTERN_CHARS_MAX + 1), "it has 257 characters"),
        ("(", "missing )"),
        ("a**", "multiple repeat"),
        ("a{2,1}", "min repeat greater than max repeat"),
        ("[b-a]", "bad character range"),
        (r"(a)\1", "an escape that is not supported"),
        (r"\pL", "an escape that is not supported"),
        (r"\Aa", "an escape that is not supported"),
        ("a\\", "an escape that is not supported"),
        ("(?=a)", "(? is not supported"),
        ("(?<!a)b", "(? is not supported"),
        ("(?>a)", "(? is not supported"),
        ("(?P=a)", "(? is not supported"),
        ("a(?#b)", "(? is not supported"),
        ("a++", "++ is not supported"),
        ("a{2}+", "}+ is not supported"),
        ("[[:alpha:]]", "[[ is not supported"),
        ("a{101}", "above {100}"),
        ("a{1,99999999999999999999}", "above {100}"),
        ("((a{2}){100}){100}", "more than 1000 copies"),
        ("a(?i)b", "global flags not at the start"),
    ],
)
def test_refused(text: str, problem: str):
    with pytest.raises(Refused) as refused:
        check_pattern("filter", text)
    assert (refused.value.code, refused.value.field) == ("invalid_parameter", "filter")
    assert problem in refused.value.message
    assert refused.value.detail
