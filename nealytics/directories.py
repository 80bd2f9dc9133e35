"""Directories of events or secrets: private, durable, and of one owner."""

import contextlib
import errno
import fcntl
import os
import pwd
from collections.abc import Iterator
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


def make_durable(path: Path) -> None:
    """`make_private`, durable on return."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    make_private(path)
    for directory in missing:
        sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    """Makes the names in `path` durable: a new or renamed file is not durable until its directory is.

    Raises `OSError`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def act_as_owner(part: str, *directories: Path) -> None:
    """From here on, a process of root has the rights of the user who owns these directories, and no others.

    That user may replace each file in them, also by a link, so root neither writes there nor starts an
    engine there. Call it after the files are read that only root may read, before a thread or an event loop
    starts. A directory that does not exist has no owner. Raises `NealyticsError` if there are several owners,
    or if this process is neither root nor the owner.
    """
    caller = os.geteuid()
    others: dict[int, tuple[Path, int]] = {}
    for directory in directories:
        try:
            status = directory.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise NealyticsError(
                f"{part}: {directory} cannot be used: {error.strerror}; run it as the user of the node"
            ) from error
        # A volume of Kubernetes belongs to root, and the group of the node may write there.
        if status.st_uid != caller and not (status.st_uid == 0 and os.access(directory, os.W_OK)):
            others.setdefault(status.st_uid, (directory, status.st_gid))
    if not others:
        return
    if caller == 0 and len(others) > 1:
        belong = ", ".join(f"{path} belongs to {_user(owner)}" for owner, (path, _) in others.items())
        raise NealyticsError(f"{part}: {belong}; give them all to the user of the node, with chown -R")
    owner, (directory, group) = next(iter(others.items()))
    if caller != 0:
        raise _other_owner(part, directory, owner, f"and this process runs as {_user(caller)}")
    needed = dict.fromkeys(_program(), os.F_OK)
    needed |= {str(path): os.R_OK | os.W_OK | os.X_OK for path in directories if path.exists()}
    try:
        _become(owner, group)
    except OSError as error:
        raise _other_owner(
            part, directory, owner, f"and root cannot become that user: {error.strerror}"
        ) from error
    for path, rights in needed.items():
        if not os.access(path, rights):
            raise _other_owner(part, directory, owner, f"so root acts as that user, who cannot use {path}")


def _program() -> list[str]:
    """What of the program is read later: modules, and the engine is this program, started again."""
    return [path for path in (os.readlink("/proc/self/exe"), os.__file__, __file__) if os.path.exists(path)]


def refuse_root(part: str, *directories: Path) -> None:
    """Raises `NealyticsError` if this process is one of root and a directory is another user's."""
    for directory in directories if os.geteuid() == 0 else ():
        if directory.exists() and (owner := directory.stat().st_uid) != 0:
            why = "so root starts no engine there while the node is stopped"
            raise _other_owner(part, directory, owner, why)


def _other_owner(part: str, directory: Path, owner: int, why: str) -> NealyticsError:
    name = _user(owner)
    return NealyticsError(
        f"{part}: {directory} belongs to {name}, {why}; run the command as {name}: sudo -u '{name}' "
        "nealytics … (docs/install.md has it for systemd)"
    )


def _become(uid: int, gid: int) -> None:
    """All ids of this process, for good. Raises `OSError`."""
    home = "/"
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        gid = gid or uid  # never the group of root
        os.setgroups([])
    else:
        gid, home = entry.pw_gid, entry.pw_dir
        os.initgroups(entry.pw_name, gid)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.environ["HOME"] = home


def _user(id: int) -> str:
    """As sudo and ps know it."""
    try:
        return pwd.getpwuid(id).pw_name
    except KeyError:
        return f"#{id}"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time holds the lock of this directory; others wait for it. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
