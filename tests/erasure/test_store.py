"""The jobs of a node, as several processes see them."""

import os
from pathlib import Path

import msgspec
import pytest

from nealytics.auth.scope import Scope
from nealytics.erasure.jobs import Job
from nealytics.erasure.store import DIRECTORY, Jobs
from nealytics.errors import ErasuresUnreadable
from tests.erasure.erasures import erasure, job


def test_a_node_without_erasures_has_no_directory(tmp_path: Path):
    jobs = Jobs(tmp_path)
    assert jobs.all() == {}
    assert not jobs.tombstones()
    assert list(tmp_path.iterdir()) == []


def test_another_process_sees_each_change_at_its_next_read(tmp_path: Path):
    """Also changes within one tick of the file system's clock."""
    here, there = Jobs(tmp_path), Jobs(tmp_path)
    for number in range(20):
        here.put(job(f"{number:02}"))
        assert list(there.all()) == [f"{n:02}" for n in range(number + 1)]
        here.put(job(f"{number:02}", "running"))
        assert there.all()[f"{number:02}"].state == "running"


def test_what_does_not_change_is_not_read_again(tmp_path: Path):
    Jobs(tmp_path).put(job("a"))
    os.utime(tmp_path / DIRECTORY, ns=(0, 0))
    jobs = Jobs(tmp_path)
    tombstones = jobs.tombstones()
    (tmp_path / DIRECTORY / "a.json").write_text("{")  # the directory does not change
    os.utime(tmp_path / DIRECTORY, ns=(0, 0))
    assert jobs.tombstones() is tombstones


def test_a_job_that_goes_on_keeps_the_tombstones(tmp_path: Path):
    jobs = Jobs(tmp_path)
    jobs.put(job("a"))
    tombstones = jobs.tombstones()
    jobs.put(job("a", "running"))
    assert jobs.all()["a"].state == "running"
    assert jobs.tombstones() is tombstones
    jobs.put(job("b"))
    assert jobs.tombstones() is not tombstones


def test_reads_leave_out_what_is_not_done_in_their_scope(tmp_path: Path):
    jobs = Jobs(tmp_path)
    jobs.put(job("a"))
    jobs.put(Job(erasure=erasure("b", tenant_id="other"), state="removing"))
    jobs.put(Job(erasure=erasure("c", project_id="other")))
    jobs.put(job("d", "done"))
    assert [one.id for one in jobs.hidden(Scope("shop", "acme"))] == ["a"]
    assert [one.id for one in jobs.hidden(Scope("shop", None))] == ["a", "b"]
    assert jobs.hidden(Scope("shop", "third")) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"erasure": {}}'])
def test_a_file_that_cannot_be_read_is_an_error_and_not_an_empty_list(tmp_path: Path, content: bytes):
    jobs = Jobs(tmp_path)
    jobs.put(job("a"))
    (tmp_path / DIRECTORY / "b.json").write_bytes(content)
    for read in (jobs.all, jobs.tombstones, lambda: jobs.hidden(Scope("shop", "acme"))):
        with pytest.raises(ErasuresUnreadable, match=r"b\.json"):
            read()
    (tmp_path / DIRECTORY / "b.json").unlink()
    assert list(jobs.all()) == ["a"]


def test_an_unfinished_file_is_no_job(tmp_path: Path):
    jobs = Jobs(tmp_path)
    jobs.put(job("a"))
    (tmp_path / DIRECTORY / "b.json.tmp").write_bytes(b"{")
    assert list(jobs.all()) == ["a"]


def test_which_logs_are_clean_is_remembered_for_each_job(tmp_path: Path):
    jobs = Jobs(tmp_path)
    jobs.put(job("a"))
    jobs.set_cleaned("a", "0")
    assert jobs.is_cleaned("a", "0")
    assert not jobs.is_cleaned("a", "1")
    assert not jobs.is_cleaned("b", "0")
    jobs.forget_cleaned("a")
    assert not jobs.is_cleaned("a", "0")


def test_a_job_is_for_its_owner_only(tmp_path: Path):
    Jobs(tmp_path).put(msgspec.structs.replace(job("a"), user_id="ada"))
    assert (tmp_path / DIRECTORY).stat().st_mode & 0o077 == 0
    assert (tmp_path / DIRECTORY / "a.json").stat().st_mode & 0o077 == 0


def test_after_a_restore_all_jobs_begin_again(tmp_path: Path):
    jobs = Jobs(tmp_path)
    jobs.put(msgspec.structs.replace(job("a", "done", erased_at_ms=5), table="t", removed_at_ms=6))
    jobs.put(job("b", "running"))
    jobs.set_cleaned("b", "0")
    jobs.begin_again()
    assert jobs.all() == {"a": job("a"), "b": job("b")}
    assert not jobs.is_cleaned("b", "0")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_directory_of_another_user_is_an_error_and_not_an_empty_list(tmp_path: Path):
    Jobs(tmp_path).put(job("a"))
    for parent in (tmp_path, *list(tmp_path.parents)[:2]):
        parent.chmod(0o711)
    os.seteuid(65534)
    try:
        with pytest.raises(ErasuresUnreadable, match="Permission denied"):
            Jobs(tmp_path).all()
    finally:
        os.seteuid(0)
