"""The preferences of a client: weights in its `Accept` headers (RFC 9110, 12.4.2)."""

import re
from collections.abc import Iterable

_WEIGHT = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def weights(header: str) -> dict[str, float]:
    """Each name of the header, in lower case and in its order, with its weight from 0 to 1.

    Other parameters than `q` are ignored, and so is an element with an invalid `q`. If a name occurs twice,
    the larger weight counts.
    """
    found: dict[str, float] = {}
    for element in header.lower().split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                value = value.strip()
                weight = float(value) if _WEIGHT.fullmatch(value) else -1.0
        if name and weight >= 0:
            found[name] = max(weight, found.get(name, 0.0))
    return found


def preferred_type(header: str, types: Iterable[str]) -> str | None:
    """Our media type with the highest weight; None if the client accepts none of them.

    The most specific range decides the weight of a type: `text/csv;q=0.1, */*` prefers anything to CSV. With
    equal weights, a named type precedes one that only a wildcard includes; then the order of `types` decides.
    """
    asked = weights(header)
    best: tuple[float, int] = (0.0, 0)
    chosen = None
    for name in types:
        ranges = (name, f"{name.partition('/')[0]}/*", "*/*")
        specificity, range_ = next(
            ((3 - n, range_) for n, range_ in enumerate(ranges) if range_ in asked), (0, "")
        )
        if specificity and (asked[range_], specificity) > best and asked[range_]:
            best, chosen = (asked[range_], specificity), name
    return chosen
