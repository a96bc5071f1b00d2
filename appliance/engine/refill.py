"""Machines for the buffer: one step of many runs at once, a batch at a time."""

from datetime import timedelta
from typing import NamedTuple

from appliance.catalog import Machine, machines, now
from appliance.engine.jobs import Jobs
from appliance.errors import Conflict
from appliance.hypervisor.provider import Provider
from appliance.lifecycle import batch, pace
from appliance.lifecycle.handlers import Handlers
from appliance.lifecycle.machine_steps import note_step
from appliance.settings import Settings
from appliance.workflow.runner import Begun, Failed, Queue, Runner

KEY = "batch"
YIELD_SECONDS = 3  # that a refill waits at most for hand-overs


class Making(NamedTuple):
    """A run that stands at making its machine."""

    run_id: int
    machine: Machine


class Refill:
    """`batch` has the ids of the machines that are being made together now."""

    def __init__(self, settings: Settings, provider: Provider, runner: Runner, handlers: Handlers, jobs: Jobs) -> None:
        self.settings, self.provider, self.runner, self.handlers, self.jobs = settings, provider, runner, handlers, jobs
        self.batch: set[str] = set()
        batch.tidy(settings)

    def begin(self, planned: list[Making]) -> None:
        """Make the first of them, unless a batch is under way or people come first."""
        if self.jobs.stopping or KEY in self.jobs or self._yields_to_people(planned):
            return
        chosen = planned[: pace.at_once(self.settings, forked=planned[0].machine.snapshot_id is not None)]
        self.batch = {one.machine.id for one in chosen}
        self.jobs.submit(Queue.LONG, KEY, self._make, chosen)

    @staticmethod
    def _yields_to_people(planned: list[Making]) -> bool:
        """Whether it waits a moment for people whose machines are being handed over.

        A claim empties a place in the buffer at the moment its machine is woken for somebody. A batch of forks, and what roles run in
        them, would take the processors that this needs; nobody waits for the batch.
        """
        return now() - min(one.machine.created_at for one in planned) < timedelta(seconds=YIELD_SECONDS) and machines.are_assigned()

    def _make(self, chosen: list[Making]) -> None:
        try:
            begun = {one.machine.id: step for one in chosen if (step := self._begin(one)) is not None}
            left = {one.machine.id: one.machine for one in chosen if one.machine.id in begun}
            wanted = {id: batch.order(machine, self.settings) for id, machine in left.items()}

            def done(id: str, built: batch.Built) -> None:
                self.runner.settle(begun[id], self.handlers.made(left.pop(id), built, wanted[id].spec.readiness))
                self.batch.discard(id)

            if wanted:
                batch.build(self.provider, list(wanted.values()), self.settings, note_step, done)
        finally:
            self.batch = set()

    def _begin(self, one: Making) -> Begun | None:
        """The step that makes the machine; None when it was overtaken, and then that is settled."""
        step = self.runner.begin(one.run_id)
        if step is None:
            return None
        if step.undoing or step.context.planned.name != "make":
            self.runner.settle(step, self.runner.perform(step))
            return None
        try:
            self.handlers.creating(one.machine, f"{one.machine.name} is being made for the buffer.")
        except Conflict as conflict:
            self.runner.settle(step, Failed(conflict))
            return None
        return step
