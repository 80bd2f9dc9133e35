"""What an erasure covers, and when jobs run. That its SQL covers the same is in test_table."""

import msgspec

from nealytics.erasure.jobs import due, hash_of
from nealytics.timestamps import DAY_MS
from tests.erasure.erasures import erasure, job

NOW = 100 * DAY_MS


def test_the_hash_of_a_user_differs_by_project_and_tenant():
    """Names that join to the same text are other users."""
    hashes = {
        hash_of(*names)
        for names in (("p", "t", "u"), ("pt", "", "u"), ("p", "tu", ""), ("p", "t", "v"), ("", "pt", "u"))
    }
    assert len(hashes) == 5
    assert all(len(one) == 64 for one in hashes)


def test_an_erasure_of_a_user_does_not_contain_the_user():
    assert b"ada@example.com" not in msgspec.json.encode(erasure(user_id="ada@example.com"))


def test_the_first_jobs_run_at_once_and_together():
    jobs = [job("a"), job("b")]
    assert due(jobs, NOW) == jobs


def test_later_jobs_wait_for_the_mutation_of_the_day():
    done = job("done", "done", erased_at_ms=NOW - DAY_MS + 1, rows_erased=1)
    jobs = [done, job("a"), job("b")]
    assert due(jobs, NOW) == []
    assert due(jobs, NOW + 1) == jobs[1:]


def test_a_job_that_found_no_rows_makes_no_other_wait():
    jobs = [job("typo", "done", erased_at_ms=NOW), job("a")]
    assert due(jobs, NOW) == jobs[1:]


def test_a_job_that_must_not_wait_takes_the_others_with_it():
    done = job("done", "removing", erased_at_ms=NOW, rows_erased=1)
    jobs = [done, job("a"), job("b", now=True)]
    assert due(jobs, NOW) == jobs[1:]


def test_what_runs_is_finished_first():
    running = job("running", "running")
    assert due([running, job("a", now=True)], NOW) == [running]
