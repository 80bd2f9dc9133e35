"""An id for each request: in its answer, in the body of its error, and in every log line it causes.

So an error that a user reports can be found in the log. A client may send its own id as `X-Request-Id`; it is
used if it is harmless in a header, in JSON and in a shell.

It is a context variable: the task of a request has its own context, which its tasks and threads inherit. A
task that serves many requests (a hub of live streams) starts with an empty context.
"""

import os
import random
import re
from contextvars import ContextVar

from multidict import istr

HEADER = istr("X-Request-Id")  # a lookup takes half the time of one with a str

CHARS_MAX = 128
# UUIDs, trace ids, base64, and what proxies send ("Root=1-67891233-abcdef012345678912345678").
_HARMLESS = re.compile(rf"[A-Za-z0-9._:/+=@-]{{1,{CHARS_MAX}}}").fullmatch

# Seeded by the system once. An id must be unique and nothing more, so it needs no system call (os.urandom
# costs twice as much, uuid4 ten times). A counter would be cheaper, but would show every client how many
# requests the others send.
_random = random.Random()
os.register_at_fork(after_in_child=_random.seed)
_bits = _random.getrandbits

_current: ContextVar[str] = ContextVar("request_id", default="")

current = _current.get  # "" outside of requests


def begin(sent: str | None) -> None:
    """This task serves a request. `sent` is the id that its client sent."""
    _current.set(chosen(sent))


def chosen(sent: str | None) -> str:
    """The id of a request whose client sent this one."""
    return sent if sent is not None and _HARMLESS(sent) else new()


def new() -> str:
    return _bits(80).to_bytes(10).hex()  # half the time of a format string
