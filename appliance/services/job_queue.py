"""The jobs of a class: submitted, cancelled, tried again, and what became of them."""

import re
from collections.abc import Mapping, Sequence

from appliance import catalog
from appliance.catalog import Actor, Class, EventKind, Job, JobState, doorbell, job_queue, policies, record
from appliance.errors import BadInput, Conflict, NotFound
from appliance.services import classes

SHOWN = 100  # of the latest
TIMES, TRIES, LONGEST = 1000, 20, 24 * 3600  # of one submission, of a job, and seconds of a try, at most
QUEUED = 10_000  # jobs of a class that wait or run, at most
WORDS, LENGTH = 100, 4096  # of a command
FILES, BYTES = 20, 256 * 1024  # files of a job, and what they come to
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def works(machine_class: Class) -> bool:
    """Whether machines of the class work on jobs."""
    return bool(policies.value(machine_class, "jobs"))


def latest(machine_class: Class) -> list[Job]:
    """The last that were submitted, latest first."""
    return job_queue.latest(machine_class.name, SHOWN)


def counts(machine_class: Class) -> dict[JobState, int]:
    """How many there are in each state."""
    return job_queue.counts(machine_class.name)


def get(name: str, id: int) -> Job:
    """A job of the class. Raises NotFound."""
    job = job_queue.by_id(id)
    if job is None or job.class_name != name:
        raise NotFound(f"{name} has no job {id}.", f"It is forgotten {job_queue.REMEMBERED.days} days after its end.")
    return job


def submit(
    actor: Actor,
    name: str,
    run: Sequence[str],
    *,
    title: str = "",
    files: Mapping[str, str] | None = None,
    seconds: int = 3600,
    tries: int = 3,
    times: int = 1,
) -> list[int]:
    """Have machines of the class run a command, beside these files, so many times; returns the jobs' numbers. Raises BadInput, and Conflict for a class
    that works on no jobs, or has too many."""
    found = dict(files or {})
    _check(run, found, seconds, tries, times)
    with catalog.write():
        machine_class = classes.get_class(name)
        if not works(machine_class):
            raise Conflict(f"Machines of {name} work on no jobs.", "Let them, under Provisioning of the class.")
        if job_queue.lengths().get(name, 0) + times > QUEUED:
            raise Conflict(f"{name} has {QUEUED} jobs that wait, at most.", "Wait until some are done, or cancel some.")
        called = title.strip()[:60] or run[0].rpartition("/")[2][:60]
        ids = job_queue.submit(name, actor.account_id, called, run, found, seconds, tries, times)
        after = {"jobs": ids[:20], "times": times, "run": list(run)}
        what = f"job {ids[0]}" if times == 1 else f"{times} jobs, from {ids[0]} on"
        record(EventKind.JOB_SUBMITTED, f"{actor.name} submitted {what} to {name}: {called}.", actor, class_name=name, after=after)
    doorbell.ring()
    return ids


def _check(run: Sequence[str], files: Mapping[str, str], seconds: int, tries: int, times: int) -> None:
    if not run or not run[0] or len(run) > WORDS or any("\0" in word for word in run) or sum(map(len, run)) > LENGTH:
        raise BadInput("There is no such command.", f"It has 1 to {WORDS} words, and {LENGTH} characters at most.", field="run")
    if len(files) > FILES or sum(len(text.encode()) for text in files.values()) > BYTES:
        raise BadInput(
            f"A job has {FILES} files at most, of {BYTES // 1024} KiB together.", "Have it fetch the rest itself.", field="files"
        )
    for file in files:
        if not _FILE.fullmatch(file):
            raise BadInput(f"{file[:40]!r} is no name of a file.", "Use letters, digits, and . _ - after the first.", field="files")
    for field, value, most in (("seconds", seconds, LONGEST), ("tries", tries, TRIES), ("times", times, TIMES)):
        if not 1 <= value <= most:
            raise BadInput(f"{field.capitalize()} cannot be {value}.", f"It is between 1 and {most}.", field=field)


def cancel(actor: Actor, name: str, id: int) -> None:
    """Take a job out of the queue. Raises NotFound, and Conflict for one that does not wait: one that runs ends by itself."""
    job = get(name, id)
    with catalog.write():
        if not job_queue.cancel(id):
            raise Conflict(f"Job {id} does not wait: it is {job.state.value}.", "One that runs ends by itself, in its time.")
        record(EventKind.JOB_CANCELLED, f"{actor.name} cancelled job {id} of {name}, {job.name}.", actor, class_name=name)


def again(actor: Actor, name: str, id: int) -> None:
    """Have a dead or cancelled job tried once more. Raises NotFound and Conflict."""
    job = get(name, id)
    with catalog.write():
        if not job_queue.again(id):
            raise Conflict(f"Job {id} is {job.state.value}.", "Only one that is dead or cancelled is tried again.")
        record(EventKind.JOB_AGAIN, f"{actor.name} has job {id} of {name}, {job.name}, tried again.", actor, class_name=name)
    doorbell.ring()
