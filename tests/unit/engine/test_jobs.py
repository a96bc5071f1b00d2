"""Jobs: how many at once, in which order, what becomes of those that fail, and their end."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import wait

import pytest

from appliance.engine.jobs import Jobs
from appliance.errors import Conflict, Unavailable


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    made = Jobs({"one": 1, "two": 2})
    yield made
    made.close()


def done(jobs: Jobs) -> None:
    assert wait(jobs.under_way(), 10).not_done == set()


def test_a_queue_has_as_many_at_once_as_threads_and_the_others_do_not_wait_for_it(jobs: Jobs) -> None:
    begun, may_end, other = threading.Semaphore(0), threading.Event(), threading.Event()

    def work() -> None:
        begun.release()
        assert may_end.wait(10)

    for key in "abc":
        jobs.submit("two", key, work)
    assert begun.acquire(timeout=10)
    assert begun.acquire(timeout=10)
    assert not begun.acquire(timeout=0.05), "two of them are at work, so the third waits"
    jobs.submit("one", "d", other.set)
    assert other.wait(10)
    may_end.set()
    done(jobs)
    assert begun.acquire(timeout=10)


def test_who_comes_first_is_served_first(jobs: Jobs) -> None:
    order: list[int] = []
    for number in range(20):
        jobs.submit("one", f"job {number}", order.append, number)
    done(jobs)
    assert order == list(range(20))


def test_a_key_is_taken_until_what_ended_is_forgotten(jobs: Jobs) -> None:
    jobs.submit("one", "a", lambda: None)
    done(jobs)
    assert "a" in jobs, "whatever was seen before it ended is not acted on"
    assert (jobs.keys(), jobs.under_way()) == ({"a"}, [])
    jobs.forget_ended()
    assert "a" not in jobs


def test_those_of_a_kind_are_counted_while_they_are_not_done(jobs: Jobs) -> None:
    may_end = threading.Event()
    for key in "abc":
        jobs.submit("one", key, may_end.wait, 10, kind="reclaim")
    jobs.submit("two", "d", may_end.wait, 10)
    assert (jobs.running("reclaim"), jobs.running("start")) == (3, 0)
    may_end.set()
    done(jobs)
    assert jobs.running("reclaim") == 0


def test_what_a_job_raises_is_logged_once_until_it_is_another_or_it_succeeds(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def fail(error: Exception | None) -> None:
        if error is not None:
            raise error

    bug, away = RuntimeError("a bug"), Unavailable("libvirtd does not answer.")
    for error in (bug, bug, away, away, bug, None, bug):
        jobs.submit("one", "a", fail, error)
        done(jobs)
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.ERROR, logging.WARNING, logging.ERROR, logging.ERROR]
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, True, True]
    caplog.clear()
    jobs.submit("one", "b", fail, Conflict("It was taken."))
    done(jobs)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.INFO, "b: overtaken: It was taken.")]


def test_what_is_to_come_after_a_job_comes_after_one_that_failed_too() -> None:
    names: list[str] = []
    jobs = Jobs({"queue": 1}, after=lambda: names.append(threading.current_thread().name))

    def fail() -> None:
        raise Conflict("It was taken.")

    for work in (fail, lambda: None):
        jobs.submit("queue", "a", work)
        done(jobs)
    jobs.close()
    assert names == ["queue_0", "queue_0"], "in its thread, which is called like the queue"


def test_whoever_stops_begins_nothing_more_and_ends_what_is_under_way() -> None:
    jobs, begun, may_end, ended = Jobs({"one": 1}), threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        assert may_end.wait(10)
        ended.append("a")

    jobs.submit("one", "a", work)
    jobs.submit("one", "b", ended.append, "b")
    assert begun.wait(10)
    jobs.stopping = True
    jobs.submit("one", "c", ended.append, "c")
    assert "c" not in jobs
    threading.Timer(0.05, may_end.set).start()
    jobs.close()
    assert ended == ["a"], "what waited for a thread is forgotten"
