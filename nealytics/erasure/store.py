"""The erasures of a node on its disk: `<server.data_dir>/erasures`, shared by all its processes.

    <id>.json            the job; written by who takes the request, and by worker 0
    <id>.<log>.cleaned   the log `<log>` has none of the events any more

Every process sees a change at its next read, without being told: asking for the directory's time takes 2 µs.
"""

import contextlib
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from nealytics.auth.scope import Scope
from nealytics.directories import locked, make_private
from nealytics.erasure.jobs import Erasure, Job
from nealytics.erasure.tombstones import Tombstones
from nealytics.errors import ErasuresUnreadable
from nealytics.wal.files import OS_FILES, Files, publish

DIRECTORY = "erasures"
_SUFFIX = ".json"
# Two changes within one tick of the file system's clock have the same time.
_TICK_NS = 100_000_000


class Jobs:
    """The jobs of a node, as they are on disk now. What is written is durable on return.

    What reads raises `ErasuresUnreadable` if a file cannot be read: without it, erased events would be shown.
    """

    def __init__(self, data_dir: Path, files: Files = OS_FILES) -> None:
        self._directory = data_dir / DIRECTORY
        self._files = files
        self._changed_ns = -1
        self._loaded_ns = 0
        self._read_before: dict[str, tuple[tuple[int, int], Job]] = {}
        self._jobs: dict[str, Job] = {}
        self._erasures: dict[str, Erasure] = {}
        self._tombstones: Tombstones | None = None
        self._others: dict[str, Job] = {}

    def also(self, erasures: Iterable[Erasure]) -> None:
        """Erasures that count as if they were on disk."""
        self._others = {erasure.id: Job(erasure=erasure) for erasure in erasures}
        self._changed_ns = -1

    def all(self) -> Mapping[str, Job]:
        """By id, the oldest first."""
        try:
            changed_ns = os.stat(self._directory).st_mtime_ns
        except FileNotFoundError:
            changed_ns = 0
        except OSError as error:
            raise ErasuresUnreadable(f"erasure: cannot read {self._directory}: {error}") from error
        if changed_ns != self._changed_ns or self._loaded_ns - changed_ns < _TICK_NS:
            self._load(changed_ns)
        return self._jobs

    def erasures(self) -> Mapping[str, Erasure]:
        """By id. While none is added, the same object."""
        self.all()
        return self._erasures

    def tombstones(self) -> Tombstones:
        erasures = self.erasures()
        if self._tombstones is None:
            self._tombstones = Tombstones(erasures.values())
        return self._tombstones

    def hidden(self, scope: Scope) -> list[Job]:
        """Those whose events reads of `scope` leave out. One that is done left no events."""
        return [
            job
            for job in self.all().values()
            if job.state != "done"
            and job.erasure.project_id == scope.project_id
            and scope.tenant_id in (None, job.erasure.tenant_id)
        ]

    def put(self, job: Job, *, only_new: bool = False) -> None:
        """With `only_new`, unless there is one with its id. Raises `LogFull` or `LogBroken`, as `publish`
        does."""
        with _locked(self._directory, self._files):
            if not (only_new and self._path(job.id).exists()):
                self._write(job)

    def set_cleaned(self, id: str, log: str) -> None:
        publish(self._files, self._directory / f"{id}.{log}.cleaned", b"").close()

    def is_cleaned(self, id: str, log: str) -> bool:
        return (self._directory / f"{id}.{log}.cleaned").exists()

    def forget_cleaned(self, id: str) -> None:
        """The markers of a job that is done, or begins again."""
        for path in self._directory.glob(f"{id}.*.cleaned"):
            path.unlink(missing_ok=True)

    def begin_again(self, tables: Collection[str] = ()) -> None:
        """All of them, because a restored log or table may have what they erased; with `tables`, those whose
        rows were not deleted from all of them. Raises as `put` does."""
        if not self.all():
            return
        with _locked(self._directory, self._files):
            for job in list(self.all().values()):
                if not tables or job.is_of_other(tables):
                    self.forget_cleaned(job.id)
                    self._write(
                        msgspec.structs.replace(
                            job, state="pending", table="", erased_at_ms=None, removed_at_ms=None
                        )
                    )

    def _write(self, job: Job) -> None:
        data = msgspec.json.format(msgspec.json.encode(job)) + b"\n"
        publish(self._files, self._path(job.id), data).close()

    def _path(self, id: str) -> Path:
        return self._directory / f"{id}{_SUFFIX}"

    def _load(self, changed_ns: int) -> None:
        loaded_ns = time.time_ns()
        try:
            # Not glob: it takes a directory that cannot be read for an empty one.
            names = os.listdir(self._directory) if changed_ns else []
        except OSError as error:
            raise ErasuresUnreadable(f"erasure: cannot read {self._directory}: {error}") from error
        paths = [self._directory / name for name in names if name.endswith(_SUFFIX)]
        found = {**self._others, **{job.id: job for job in map(self._read, paths)}}
        jobs = sorted(found.values(), key=lambda job: (job.erasure.requested_at_ms, job.id))
        self._jobs = {job.id: job for job in jobs}
        if self._jobs.keys() != self._erasures.keys():
            self._erasures = {job.id: job.erasure for job in jobs}
            self._tombstones = None
        self._changed_ns, self._loaded_ns = changed_ns, loaded_ns

    def _read(self, path: Path) -> Job:
        try:
            status = path.stat()
            # Each change is a new file, so its number and its time name the content.
            version = status.st_ino, status.st_mtime_ns
            known = self._read_before.get(path.name)
            if known is None or known[0] != version:
                known = self._read_before[path.name] = (
                    version,
                    msgspec.json.decode(path.read_bytes(), type=Job),
                )
            return known[1]
        except (OSError, msgspec.MsgspecError) as error:
            raise ErasuresUnreadable(
                f"erasure: cannot read {path}: {error}; delete it if ClickHouse has the table `erasures`: "
                "the node writes it again"
            ) from error


@contextlib.contextmanager
def _locked(path: Path, files: Files) -> Iterator[None]:
    """Makes the directory. Several processes learn of an erasure at the same time."""
    if not path.exists():
        make_private(path)
        files.sync_directory(path.parent)
    with locked(path):
        yield
