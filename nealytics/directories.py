"""Directories that hold events or secrets belong to this user alone, whoever makes them first."""

import contextlib
import errno
import os
import pwd
import stat
from pathlib import Path

from nealytics.errors import NealyticsError


def make_private(path: Path) -> None:
    """Makes `path` and the parents it lacks, each with mode 0700.

    `Path.mkdir(mode, parents=True)` gives its mode to the last one only. What is there already keeps the mode
    that its owner gave it. Raises `OSError`.
    """
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process of the node came first
            directory.mkdir(mode=0o700)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def why_unusable(path: Path) -> str | None:
    """Why this process can neither use the directory `path` as its own nor make it: which directory on the
    way keeps whom out. None if it can."""
    before = Path("/")
    for step in (*reversed(path.absolute().parents), path.absolute()):
        try:
            about = step.stat()
        except FileNotFoundError:
            return None if _may(before, os.W_OK | os.X_OK) else _kept_out(before, "make a directory in")
        except PermissionError:
            return _kept_out(before, "enter")
        except OSError as error:
            return f"{step}: {os.strerror(error.errno or 0)}"
        if not stat.S_ISDIR(about.st_mode):
            return f"{step} is not a directory"
        before = step
    return None if _may(before, os.R_OK | os.W_OK | os.X_OK) else _kept_out(before, "read and write in")


def require_usable(path: Path, setting: str) -> None:
    """Raises `NealyticsError`: who is kept out, and what to do."""
    why = why_unusable(path)
    if why is not None:
        raise NealyticsError(f"{setting}: {path} cannot be used: {why}")


def denied(error: OSError) -> str | None:
    """What to tell of an error that came of missing rights; None if it is about something else."""
    if error.filename is None or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        return None
    path = Path(os.fsdecode(error.filename))
    why = None
    if error.errno == errno.EACCES:
        why = why_unusable(path if os.path.isdir(path) else path.parent)
    return f"{path}: {os.strerror(error.errno).lower()}" + (f": {why}" if why else "")


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)


def _kept_out(path: Path, what: str) -> str:
    about = path.stat()
    owner, me = _user(about.st_uid), _user(os.geteuid())
    kept = f"user {me} cannot {what} {path}"
    if owner == me or not stat.S_IMODE(about.st_mode) & 0o700:
        return f"{kept}, which has mode {stat.S_IMODE(about.st_mode):04o} (or its file system is read-only)"
    return (
        f"{kept}, which belongs to {owner} (mode {stat.S_IMODE(about.st_mode):04o}); run it as {owner}"
        f" (sudo -u {owner}), or set another directory"
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
