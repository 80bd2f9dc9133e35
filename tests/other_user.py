"""What a node does that has a user of its own, beside commands that root runs."""

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from nealytics import directories

NODE = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@contextlib.contextmanager
def as_node() -> Iterator[None]:
    """This process has no rights of root within it."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NODE)
    try:
        yield
    finally:
        os.seteuid(0)


def in_a_process(work: Callable[[], object], program: list[str] | None = None) -> str:
    """Runs `work` in a process that may become another user. What it raised, or ""."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = ""
        # The Python of the tests may be one in the home of root.
        directories._program = lambda: program or []
        try:
            work()
        except BaseException as error:
            said = f"{error or type(error).__name__}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said
