"""How long to wait before a retry. Pure: the caller sleeps."""

import random as _random
from collections.abc import Callable


def delay_s(
    failures: int, first_s: float, most_s: float, random: Callable[[], float] = _random.random
) -> float:
    """The pause after failure number `failures` (1 is the first): anything up to a bound that starts at
    `first_s`, doubles, and is at most `most_s`.

    `random` gives numbers in [0, 1). Full jitter: all clients lost the server in the same second and would
    come back in the same second.
    """
    # The exponent is capped because failures are counted for ever, and 2**100000 is a very large number.
    doublings = min(max(failures, 1) - 1, 30)
    return random() * min(most_s, first_s * (1 << doublings))
