"""Jobs: the queue of a class, which machine works on which, and what became of them. A worker is a machine of the buffer."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from peewee import fn

from appliance.backoff import doubled
from appliance.catalog.database import rows
from appliance.catalog.models import Job, JobState, now, stamp

LATE = timedelta(seconds=60)  # after the time of a try, within which its end is told
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=10), timedelta(minutes=10)  # before another try
KEPT = 65_536  # characters of output
GLIMPSE = 2000  # of them in a list
REMEMBERED = timedelta(days=30)  # that a job is kept after its end


def submit(
    class_name: str, account_id: int | None, name: str, run: Sequence[str], files: Mapping[str, str], seconds: int, tries: int, times: int
) -> list[int]:
    """Put a command into the queue, so many times; returns their numbers. Call it inside `write()`."""
    return [
        Job.create(
            machine_class=class_name,
            account=account_id,
            name=name,
            number=number,
            run=list(run),
            files=dict(files),
            seconds=seconds,
            tries=tries,
        ).id
        for number in range(1, times + 1)
    ]


def by_id(id: int) -> Job | None:
    """The job; None when there is none, or it was forgotten."""
    found: Job | None = Job.get_or_none(Job.id == id)
    return found


def latest(class_name: str, count: int) -> list[Job]:
    """The last that were submitted, latest first, without their files and with the end of their output."""
    columns = [field for field in Job._meta.sorted_fields if field.name not in ("files", "output")]
    query = Job.select(*columns, fn.substr(Job.output, -GLIMPSE).alias("output"))
    return list(query.where(Job.machine_class == class_name).order_by(Job.id.desc()).limit(count))


def lengths() -> dict[str, int]:
    """How many wait or run, by class; of classes without any, nothing."""
    return dict(rows("SELECT class_name, count(*) FROM job WHERE state IN ('queued', 'running') GROUP BY class_name"))


def counts(class_name: str) -> dict[JobState, int]:
    """How many there are in each state."""
    found = rows("SELECT state, count(*) FROM job WHERE class_name = ? GROUP BY state", (class_name,))
    return {JobState(state): count for state, count in found}


def running() -> list[Job]:
    """Those that a machine works on."""
    return list(Job.select().where(Job.state == JobState.RUNNING).order_by(Job.id))


def take(at_most: int) -> list[int]:
    """Give waiting jobs to machines that wait and run, one each, the oldest first; returns their numbers. Call it inside `write()`."""
    moment, taken = now(), list[int]()
    free = rows(
        """
        SELECT machine.id, machine.class_name FROM machine JOIN class ON class.name = machine.class_name
        WHERE machine.state = 'ready' AND machine.readiness = 'running'
          AND EXISTS (SELECT 1 FROM job WHERE job.class_name = machine.class_name AND job.state = 'queued')
          AND NOT EXISTS (SELECT 1 FROM job WHERE job.machine_id = machine.id AND job.state = 'running')
        ORDER BY machine.number LIMIT ?
        """,
        (max(0, at_most),),
    )
    for machine_id, class_name in free:
        due = (Job.retry_at.is_null()) | (Job.retry_at <= moment) | (Job.retry_at > moment + LONGEST_WAIT)
        waiting = Job.select().where(Job.machine_class == class_name, Job.state == JobState.QUEUED, due)
        if (job := waiting.order_by(Job.id).first()) is None:
            continue
        job.state, job.attempt, job.machine_id, job.started_at = JobState.RUNNING, job.attempt + 1, machine_id, moment
        job.retry_at, job.problem, job.deadline = None, "", moment + timedelta(seconds=job.seconds) + LATE
        job.save()
        taken.append(job.id)
    return taken


def ended(id: int, attempt: int, status: int | None, output: str, problem: str) -> Job | None:
    """What a try came to: done with status 0, else queued once more, or dead. None when that was settled before. Call it inside `write()`."""
    job = by_id(id)
    if job is None or job.state is not JobState.RUNNING or job.attempt != attempt:
        return None
    job.status, job.output, job.problem = status, output[-KEPT:], problem
    if status == 0:
        job.state, job.ended_at = JobState.DONE, now()
    elif attempt >= job.tries:
        job.state, job.ended_at = JobState.DEAD, now()
    else:
        job.state, job.retry_at = JobState.QUEUED, now() + doubled(FIRST_WAIT, attempt - 1, LONGEST_WAIT)
    job.save()
    return job


def abandoned() -> list[Job]:
    """Those whose machine is gone, or can no longer be worked on."""
    found = rows(
        """
        SELECT job.id FROM job JOIN machine ON machine.id = job.machine_id
        WHERE job.state = 'running' AND machine.state <> 'ready'
        """
    )
    return list(Job.select().where(Job.id.in_([id for (id,) in found]))) if found else []


def cancel(id: int) -> bool:
    """Take a job that waits out of the queue; whether it waited. Call it inside `write()`."""
    return bool(rows("UPDATE job SET state = 'cancelled', ended_at = ? WHERE id = ? AND state = 'queued' RETURNING id", (stamp(now()), id)))


def again(id: int) -> bool:
    """Have a dead or cancelled job tried once more; whether it was one. Call it inside `write()`."""
    return bool(
        rows(
            """
            UPDATE job SET state = 'queued', tries = attempt + 1, retry_at = NULL, ended_at = NULL
            WHERE id = ? AND state IN ('dead', 'cancelled') RETURNING id
            """,
            (id,),
        )
    )


def forget(moment: datetime) -> None:
    """Forget those that ended long ago; call it inside `write()`."""
    rows("DELETE FROM job WHERE ended_at < ?", (stamp(moment - REMEMBERED),))
