"""Work beside the tick: named queues, each with threads of its own, and what is under way in them."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from appliance import tracing
from appliance.errors import Conflict, Unavailable

log = logging.getLogger("dpe.engine")

PROBLEMS = 1000  # that are remembered, so as to be logged once


@dataclass(frozen=True)
class Job:
    """One piece of work that was handed out. `kind` is what `running` counts it by."""

    kind: str
    future: Future[None]
    queue: str


class Jobs:
    """Who is at work on what. All but the jobs themselves runs in one thread, the engine's.

    A job has a key, usually the id of its machine, and nobody hands out a second one under that key before `forget_ended`. So whatever
    was looked at before a job ended is never acted on as if it had not been.
    """

    def __init__(self, threads: Mapping[str, int], *, after: Callable[[], None] = lambda: None) -> None:
        """`threads`: how many each queue has, by its name. `after` is called in the job's thread, whatever became of it."""
        self.stopping = False  # nothing more is begun, and what takes several steps ends after the one it is at
        self._queues = {name: ThreadPoolExecutor(count, name) for name, count in threads.items()}
        self._jobs: dict[str, Job] = {}
        self._problems: dict[str, str] = {}
        self._after = after

    def submit(self, queue: str, key: str, work: Callable[..., None], *args: Any, kind: str = "") -> None:
        """Have the work done when a thread of the queue is free; not at all once we stop. What it raises is logged, a problem that stays once."""
        if not self.stopping:
            self._jobs[key] = Job(kind, self._queues[queue].submit(self._do, key, work, args), queue)

    def _do(self, key: str, work: Callable[..., None], args: tuple[Any, ...]) -> None:
        try:
            work(*args)
            self._problems.pop(key, None)
        except Conflict as conflict:
            log.info("%s: overtaken: %s", key, conflict)
        except Exception as error:
            if self._problems.get(key) != repr(error):
                expected = isinstance(error, Unavailable)
                log.log(logging.WARNING if expected else logging.ERROR, "%s: the job failed: %s", key, error, exc_info=not expected)
            if len(self._problems) > PROBLEMS:
                self._problems.clear()
            self._problems[key] = repr(error)
        finally:
            tracing.begin("")
            self._after()

    def __contains__(self, key: str) -> bool:
        return key in self._jobs

    def keys(self) -> set[str]:
        """The keys of the jobs that were not forgotten yet."""
        return set(self._jobs)

    def running(self, kind: str) -> int:
        """How many of a kind wait for a thread or are under way."""
        return sum(job.kind == kind and not job.future.done() for job in self._jobs.values())

    def load(self) -> dict[str, dict[str, int]]:
        """How many jobs of each queue run, and how many wait for a thread."""
        found = {queue: {"running": 0, "waiting": 0} for queue in self._queues}
        for job in self._jobs.values():
            if not job.future.done():
                found[job.queue]["running" if job.future.running() else "waiting"] += 1
        return found

    def under_way(self) -> list[Future[None]]:
        """What has not ended."""
        return [job.future for job in self._jobs.values() if not job.future.done()]

    def forget_ended(self) -> None:
        """Call it before everything is looked at anew."""
        self._jobs = {key: job for key, job in self._jobs.items() if not job.future.done()}

    def close(self) -> None:
        """Begin nothing more, forget what waits for a thread, and let what is under way end."""
        self.stopping = True
        for queue in self._queues.values():
            queue.shutdown(wait=True, cancel_futures=True)
