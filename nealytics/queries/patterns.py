"""Regular expressions that a client may send: ClickHouse searches with RE2, whose time is linear in the text.

Accepted is what RE2 and Python read alike, so that a mistake is refused here and not by ClickHouse while it
runs the query: no look-around, no reference to a group, and escapes of classes, punctuation and spaces only.
"""

import re
import warnings

from nealytics.queries.invalid import invalid, shown

PATTERN_CHARS_MAX = 256
REPEAT_MAX = 100
# Of a pattern that is repeated inside of repeated groups, because RE2 copies what is repeated.
COPIES_MAX = 1_000

_NOT_IN_BOTH = re.compile(
    r"\(\?(?!:|P<\w+>|i\))"  # of the groups only (?:…), (?P<name>…) and (?i) at the beginning
    r"|[*+?}]\+"  # possessive
    r"|\[\[|\[\^?\]|\[:"  # classes of POSIX, and a bracket in a class
    r"|&&|\|\||~~|--"  # operators in classes of later versions of Python
)
_ESCAPES = re.compile(r"\\(?:[dDwWsSbBtnrfv]|[ -/:-@\[-`{-~])")
_COUNTS = re.compile(r"\{(?:(\d*),)?(\d*)\}")


def check_pattern(name: str, text: str) -> None:
    """Raises `Refused` (400) for the field `name`."""
    problem = _problem(text)
    if problem:
        raise invalid(
            name,
            f"{name} has the regular expression {shown(text)}: {problem}",
            f"Write at most {PATTERN_CHARS_MAX} characters of RE2 without look-around, references or classes"
            f" in [[:…:]], and repetitions up to {{{REPEAT_MAX}}}.",
        )


def _problem(text: str) -> str:
    if not text:
        return "it is empty"
    if len(text) > PATTERN_CHARS_MAX:
        return f"it has {len(text)} characters"
    if "\\" in _ESCAPES.sub("", text):
        return "it has an escape that is not supported"
    plain = _ESCAPES.sub("_", text)
    if unknown := _NOT_IN_BOTH.search(plain):
        return f"{unknown.group()} is not supported"
    of_groups = of_one = 1
    for found in _COUNTS.finditer(plain):
        digits = [part for part in found.groups() if part]
        if any(len(part) > 3 or int(part) > REPEAT_MAX for part in digits):
            return f"{found.group()} is above {{{REPEAT_MAX}}}"
        times = max(map(int, digits), default=1)
        if plain[found.start() - 1] == ")":
            of_groups *= max(times, 1)
        else:
            of_one = max(of_one, times)
    if of_groups * of_one > COPIES_MAX:
        return f"repetitions inside of repetitions make more than {COPIES_MAX} copies"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(text, re.ASCII)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        return str(error)
    return ""
