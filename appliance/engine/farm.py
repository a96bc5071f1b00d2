"""Machines of the buffer work on jobs, one each: a job of the queue is run in its machine by the guest agent, once for a try, however often the engine is killed."""

import io
import logging
import tarfile

from appliance import catalog
from appliance.catalog import EventKind, JobState, doorbell, job_queue, record
from appliance.catalog.models import Job
from appliance.engine.jobs import Jobs
from appliance.errors import DpeError
from appliance.hypervisor.provider import Provider
from appliance.lifecycle.machine_steps import away

log = logging.getLogger("dpe.engine")

QUEUE, THREADS = "farm", 16  # jobs that are waited for at the same time
NOT_KILLED = 30  # seconds more for the machine to say that the command was ended
TIMED_OUT = 124  # what `timeout` ends with
FOLDER = "/run/dpe/jobs"
# $1 is the folder of the try, $2 seconds, $3 the user, $4 whether files come in, then the command. What was begun is waited for, and what has ended is
# not done again.
ONCE = """
folder=$1 seconds=$2 user=$3 files=$4; shift 4
umask 022; mkdir -p "$folder"; exec 9> "$folder/lock"; flock 9
if [ ! -e "$folder/status" ]; then
    rm -rf "$folder/work"; mkdir "$folder/work"; cd "$folder/work"
    [ "$files" = 0 ] || tar -x -f - || exit 125
    [ "$user" = root ] || { chown -R "$user" "$folder/work"; set -- runuser -u "$user" -- "$@"; }
    timeout -k 5 "$seconds" "$@" > "$folder/output" 2>&1 < /dev/null 9>&-
    echo $? > "$folder/new"; mv "$folder/new" "$folder/status"; cd /; rm -rf "$folder/work"
fi
tail -c 65536 "$folder/output"; read -r status < "$folder/status"; exit "$status"
"""


class Farm:
    """Hands jobs to machines, and learns what became of them."""

    def __init__(self, provider: Provider, jobs: Jobs) -> None:
        self.provider, self.jobs = provider, jobs

    def dispatch(self) -> None:
        """Give up on jobs whose machine is gone, hand out waiting ones, and go on waiting for those that another engine began."""
        for job in job_queue.abandoned():
            self._settle(job, None, "", "Its machine is gone.")
        if job_queue.lengths():
            with catalog.write():
                job_queue.take(THREADS - self.jobs.running(QUEUE))
        for job in job_queue.running():
            if (key := f"job-{job.id}") not in self.jobs:
                self.jobs.submit(QUEUE, key, self._work, job.id, kind=QUEUE)

    def _work(self, id: int) -> None:
        job = job_queue.by_id(id)
        if job is None or job.state is not JobState.RUNNING or job.machine_id is None:
            return
        try:
            done = self.provider.execute(job.machine_id, command(job), input=_tar(job.files), timeout=job.seconds + NOT_KILLED)
        except DpeError as error:
            if away(self.provider):
                return  # it is asked again when the hypervisor is back
            self._settle(job, None, "", str(error))
            return
        problem = f"It did not end within {job.seconds} s, and was ended." if done.status == TIMED_OUT else ""
        self._settle(
            job, done.status, done.output + done.error, problem or ("" if done.status == 0 else f"It ended with status {done.status}.")
        )

    def _settle(self, job: Job, status: int | None, output: str, problem: str) -> None:
        with catalog.write():
            after = job_queue.ended(job.id, job.attempt, status, output, problem)
            if after is not None and after.state is JobState.DEAD:
                record(
                    EventKind.JOB_DEAD,
                    f"Job {after.id} of {after.class_name}, {after.name}, is given up after {after.attempt} tries: {problem}",
                    class_name=after.class_name,
                    machine_id=after.machine_id,
                    hint="See its output on the class's page of jobs, and try it again there.",
                )
        doorbell.ring()


def command(job: Job) -> list[str]:
    """What runs a try of a job in its machine, once."""
    about = {"DPE_JOB": job.id, "DPE_JOB_NUMBER": job.number, "DPE_JOB_TRY": job.attempt}
    variables = [f"{name}={value}" for name, value in about.items()]
    folder, user = f"{FOLDER}/{job.id}-{job.attempt}", job.machine_class.spec.get("user", "root")
    return ["/usr/bin/env", *variables, "/bin/sh", "-c", ONCE, "dpe-job", folder, str(job.seconds), user, str(len(job.files)), *job.run]


def _tar(files: dict[str, str]) -> bytes:
    """Files as tar takes them; nothing of none."""
    if not files:
        return b""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
