"""A name for each request: in its answer, in the body of its error, and in every log line it causes.

So what a user reports leads to what happened here. A client that has a name already sends it as
`X-Request-Id`, and it is taken over if it is harmless in a header, in JSON and in a shell.

It travels in a context variable: the task of a request has a context of its own, and so has every task and
thread that is begun from it. What serves many requests (a hub of live streams) is begun with an empty one.
"""

import random
import re
from contextvars import ContextVar

from multidict import istr

HEADER = istr("X-Request-Id")  # twice as fast to look up as a plain text

CHARS_MAX = 128
# UUIDs, trace ids, base64, and what proxies send ("Root=1-67891233-abcdef012345678912345678").
_TAKEN_OVER = re.compile(rf"[A-Za-z0-9._:/+=@-]{{1,{CHARS_MAX}}}").fullmatch

# Seeded by the system once. An id has to be another one each time and nothing more, so no system call is made
# for it (os.urandom costs twice as much, uuid4 ten times). One that counts would be cheaper still, and would
# tell every client how many requests the others send.
_bits = random.Random().getrandbits

_current: ContextVar[str] = ContextVar("request_id", default="")

current = _current.get  # "" outside of requests


def begin(given: str | None) -> None:
    """From here on, this task serves a request, whose client calls it `given`."""
    _current.set(given if given is not None and _TAKEN_OVER(given) else new())


def new() -> str:
    return _bits(80).to_bytes(10).hex()  # half the time of a format string
