"""Whether strace can end a process at a system call, which a container may not permit."""

import functools
import shutil
import signal
import subprocess
import sys

import pytest


@functools.cache
def why_no_strace() -> str:
    if shutil.which("strace") is None:
        return "strace is not installed"
    # With a signal at the first write, to see that it is really injected.
    probe = ["strace", "-f", "-o", "/dev/null", "-e", "inject=write:signal=KILL:when=1", sys.executable, "-c"]
    done = subprocess.run([*probe, "import os; os.write(1, b'alive')"], capture_output=True)
    if done.returncode != -signal.SIGKILL:
        return "strace cannot trace or inject here (ptrace is not permitted?)"
    return ""


needs_strace = pytest.mark.skipif(bool(why_no_strace()), reason=why_no_strace())
