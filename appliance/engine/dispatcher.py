"""Runs that can go on get threads: one job at a time for a machine, and not too many of a kind."""

from collections import defaultdict

from appliance import catalog
from appliance.catalog import machines, now, runs
from appliance.engine.jobs import Jobs
from appliance.engine.refill import Making, Refill
from appliance.workflow.runner import Queue, Runner

# Runs of a kind at the same time, so that none takes all the threads.
LIMITS = {"reclaim": 2, "reprovision": 2, "recover": 1, "stop": 2, "start": 2, "suspend": 2, "resume": 2}


class Dispatcher:
    """Hands out runs, the most urgent first."""

    def __init__(self, runner: Runner, refill: Refill, jobs: Jobs) -> None:
        self.runner, self.refill, self.jobs = runner, refill, jobs

    def dispatch(self) -> None:
        """Hand out the runs that can go on."""
        to_make: dict[str, list[Making]] = defaultdict(list)
        for due in runs.due_steps(now()):
            key = due.machine_id or f"run-{due.id}"
            if key in self.jobs or key in self.refill.batch or self._is_enough(due.kind):
                continue
            planned = self.runner.next(due.id)
            if planned is not None and planned.name == "make" and due.kind == "make" and due.machine_id:
                machine = machines.by_id(due.machine_id)
                assert machine is not None
                to_make[machine.class_name].append(Making(due.id, machine))
                continue
            self.jobs.submit(self.runner.queue(planned), key, self._advance, due.id, due.machine_id, kind=due.kind)
        self._make(to_make)

    def _is_enough(self, kind: str) -> bool:
        return kind in LIMITS and self.jobs.running(kind) >= LIMITS[kind]

    def _make(self, to_make: dict[str, list[Making]]) -> None:
        """People who wait get theirs straight away, a thread each; the rest refills buffers."""
        waiting = machines.waiting()
        refill: list[Making] = []
        for class_name, planned in to_make.items():
            urgent = waiting.get(class_name, 0)
            for one in planned[:urgent]:
                self.jobs.submit(Queue.LONG, one.machine.id, self._advance, one.run_id, one.machine.id)
            refill += planned[urgent:]
        if refill and not any(waiting.values()):
            self.refill.begin(refill)

    def _advance(self, id: int, machine_id: str | None) -> None:
        """Take a run as far as these threads do; when it has got a machine, or others are to go on, the next tick sees to it."""
        queue: Queue | None = None
        try:
            while not self.jobs.stopping and (queue is None or self.runner.queue(self.runner.next(id)) is queue):
                begun = self.runner.begin(id)
                if begun is None:
                    return
                queue = begun.handler.queue
                self.runner.settle(begun, self.runner.perform(begun))
                known = runs.by_id(id)
                if known is None or known.machine_id != machine_id:
                    return
        except BaseException:
            with catalog.write():
                runs.requeue(id)
            raise
