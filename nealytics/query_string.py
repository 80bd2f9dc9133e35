"""What the query strings of all routes share: they are UTF-8, and a flag is true or false.

Each function raises `Refused` (400) with the name of the parameter.
"""

from urllib.parse import unquote, unquote_to_bytes

from multidict import MultiMapping

from nealytics.errors import Refused

_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0", ""})


def check_utf8(raw: str) -> None:
    """Of a query string as it was sent. The decoding of `aiohttp` puts U+FFFD for bytes that are no UTF-8,
    which is another value than the one that was meant."""
    if "%" not in raw:
        return
    for pair in raw.split("&"):
        try:
            unquote_to_bytes(pair).decode()
        except UnicodeDecodeError:
            name = unquote(pair.partition("=")[0])[:64]
            raise not_utf8(name) from None


def not_utf8(name: str) -> Refused:
    return _invalid(name, f"{name} is not valid UTF-8", "Percent-encode the UTF-8 bytes of the text.")


def flag(query: MultiMapping[str], name: str) -> bool:
    """The flag `name`, in any case, of a query string; false if it is absent or blank."""
    values = [value for key, value in query.items() if key.lower() == name]
    if len(values) > 1:
        raise _invalid(name, f"{name} is given {len(values)} times", "Give it once.")
    return is_true(name, values[0] if values else "")


def is_true(name: str, text: str) -> bool:
    said = text.strip().lower()
    if said not in _TRUE | _FALSE:
        shown = repr(text if len(text) <= 40 else text[:40] + "…")
        raise _invalid(name, f"{name} is {shown}", "Write true or false.")
    return said in _TRUE


def _invalid(name: str, message: str, detail: str) -> Refused:
    return Refused(400, "invalid_parameter", message, detail=detail, field=name)
