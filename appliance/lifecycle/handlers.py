"""What the steps that belong to a move do to machines, through the provider."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from appliance import catalog
from appliance.catalog import Machine, MachineState, Request, RequestState, handovers, machines, now
from appliance.errors import Conflict, DpeError, Unavailable
from appliance.hypervisor import making
from appliance.hypervisor.provider import NoData, Provider
from appliance.laps import Stopwatch
from appliance.lifecycle import batch, disks, forks, master, outcomes, retention
from appliance.lifecycle.guest_activities import Activities
from appliance.lifecycle.machine_steps import SOON, away, machine_of, note_step, personal
from appliance.lifecycle.power import PowerVerbs, stuck
from appliance.lifecycle.retention import Retention
from appliance.lifecycle.specs import spec
from appliance.settings import Settings
from appliance.workflow.runner import Context, Decide, Done, Failed, GoTo, Handler, Outcome, Queue, Wait

S = MachineState


@dataclass(frozen=True)
class Handlers:
    """All of them, over one provider."""

    settings: Settings
    provider: Provider

    def all(self) -> Mapping[str, Handler]:
        """By the kind of activity."""
        return {
            "make": Handler(self.make, queue=Queue.LONG),
            "claim": Handler(self.claim, queue=Queue.SHORT),
            "hand_over": Handler(self.hand_over, queue=Queue.SHORT),
            "destroy": Handler(self.destroy, queue=Queue.SHORT),
            **PowerVerbs(self.settings, self.provider).all(),
            **Retention(self.settings, self.provider).all(),
            **Activities(self.settings, self.provider).all(),
        }

    # -- making ---------------------------------------------------------------------------

    def make(self, step: Context, _options: Any) -> Outcome:
        """Make one machine for somebody who waits."""
        machine = machine_of(step)
        self.creating(machine, f"{machine.name} is being made for somebody who waits.")
        if machine.owner_id is not None and (
            waits_for := disks.attach(machine, self.settings, self.provider, first=step.run.facts.get("disk"))
        ):
            note_step(machine.id, waits_for)
            return Wait(now() + SOON, waits_for)
        wanted = batch.order(machine, self.settings)
        if wanted.spec.snapshot is None:
            wanted = replace(wanted, spec=replace(wanted.spec, readiness="running"))  # it will be taken at once
        built = batch.build_one(self.provider, wanted, self.settings, lambda text: note_step(machine.id, text))
        return self.made(machine, built, wanted.spec.readiness)

    def creating(self, machine: Machine, message: str) -> None:
        """The machine is being made from now on, as the event says. Raises Conflict when it is not to be made any more."""
        if machine.state is S.PLANNED:
            master.move(machine.id, S.CREATING, message)
        elif machine.state is not S.CREATING:
            raise Conflict(f"The machine {machine.name} is {machine.state.value}.")

    def made(self, machine: Machine, built: batch.Built, readiness: str) -> Outcome:
        """What became of a machine that was to be made."""
        if built.error is not None and (waits := away(self.provider)):
            return waits
        error = built.error

        def commit() -> None:
            if built.fork_error is not None:
                forks.failed(machine, built.fork_error)
            if error is None:
                outcomes.came_up(machine, readiness, forked=built.forked)
            else:
                outcomes.did_not_come_up(machine, error)

        return Done({"forked": built.forked}, commit) if error is None else Failed(error, commit)

    # -- from asking to having ----------------------------------------------------------------

    def claim(self, step: Context, _options: Any) -> Outcome:
        """Take a ready machine for a request, in turn, or wait until one is ready."""
        id = step.run.request_id

        def judge() -> Done | Wait | Failed:
            asked = Request.get_by_id(id)
            if asked.state is RequestState.PENDING:
                machines.let_wait(asked)
            if asked.state is not RequestState.GRANTED:
                outcomes.serve_waiting(asked.class_name)
                asked = Request.get_by_id(id)
            if asked.state is RequestState.WAITING:
                return _wait_for(machines.together(asked), step)
            if asked.state is not RequestState.GRANTED:
                return Failed(Conflict("Nobody waits for it any more."))
            return Done()

        return Decide(judge)

    def hand_over(self, step: Context, _options: Any) -> Outcome:
        """Wake an assigned machine, and put its owner's name and keys into it."""
        machine = machine_of(step)
        if machine.state is not S.ASSIGNED:
            return Done() if machine.state in machines.HELD else Failed(Conflict(f"The machine {machine.name} is {machine.state.value}."))
        if waits_for := disks.attach(machine, self.settings, self.provider):
            note_step(machine.id, waits_for)
            return Wait(now() + SOON, waits_for)
        if waits_for_others := handovers.waits_until(machine.class_name, machine.id):
            until, why = waits_for_others
            note_step(machine.id, why)
            return Wait(until, why)
        watch = Stopwatch()
        try:
            made = making.hand_over(self.provider, spec(machine, self.settings), personal(machine), step.cancelled, watch.begin)
            laps = [*watch.laps(), *made.laps]
            disks.grow(machine, made.spec, self.provider, personal(machine))
        except DpeError as error:
            if isinstance(error, Conflict) and step.cancelled():
                return Failed(error)
            if isinstance(error, NoData) and disks.put_aside(machine, error, step.since):
                return Wait(now(), "another data disk")
            if waits := away(self.provider):
                return waits
            if step.attempts + 1 < step.planned.tries:
                raise
            return _not_handed_over(machine, error, step)

        def commit() -> None:
            if made.fork_error is not None:
                forks.failed(machine, made.fork_error)
            outcomes.personalised(machine, forked=made.forked)

        return Done({"forked": made.forked, "laps": laps}, commit)

    # -- taking away -------------------------------------------------------------------------

    def destroy(self, step: Context, _options: Any) -> Outcome:
        """Take the machine away, wholly; then say so."""
        machine = machine_of(step)
        try:
            self.provider.destroy(machine.id)
        except DpeError as error:
            with catalog.write():
                Machine.update(problem=str(error)).where(Machine.id == machine.id).execute()
            raise
        return Done(commit=lambda: outcomes.gone(machine))


def _not_handed_over(machine: Machine, error: DpeError, step: Context) -> Failed | GoTo:
    """Whoever asked gets another machine, but not for ever: what fails with several would use up one after the other."""

    def commit() -> None:
        outcomes.could_not_be_handed_over(machine, error)

    if machine.owner_id is None:
        return Failed(error)  # who asked for it was deleted meanwhile
    if step.run.request_id is None:
        return Failed(error, commit)
    if not handovers.is_last(machine.class_name, machine.owner_id):
        return GoTo("claim", commit)
    told = f"{handovers.TRIES} machines or more, one after the other, could not be made yours. The last one: {error.message}"
    return Failed(DpeError(told, error.hint), commit)


def _wait_for(party: list[Request], step: Context) -> Wait | Failed:
    """Somebody waits for one machine as long as it takes, but for several at once only as long as their class says."""
    if len(party) == 1:
        return Wait(None, "a machine of this class")
    minutes = party[0].machine_class.batch_window
    until = step.since + timedelta(minutes=minutes)
    if step.now >= until:
        what = f"There were not {len(party)} at once within {minutes} minutes."
        return Failed(Unavailable(what, "Ask for fewer, or when less is going on."))
    return Wait(until, f"{len(party)} machines of this class at once")


def not_made(run: catalog.Run) -> None:
    """A machine whose run has ended without having made it goes, and another is made in its place."""
    machine = machines.by_id(run.machine_id or "")
    if machine is not None and machine.state in (S.PLANNED, S.CREATING):
        outcomes.did_not_come_up(machine, DpeError(run.problem, run.hint))


def ended(run: catalog.Run) -> None:
    """What goes with the end of a run; called in the transaction that ends it."""
    stuck(run)
    if run.kind == "make" and run.state is not catalog.RunState.DONE:
        not_made(run)
    if run.kind == "recover":
        retention.ended(run)
    if run.request_id is None or run.state is catalog.RunState.DONE:
        return
    asked = Request.get_by_id(run.request_id)
    party = [asked]
    machine = machines.by_id(run.machine_id) if run.machine_id else None
    if machine is not None and machine.state is S.ASSIGNED:
        machines.end_lease(machine.id, "not handed over")
        master.move(
            machine.id, S.RECLAIMING, f"{machine.name} is not handed over: {run.problem}", reclaim_reason="not handed over", owner=None
        )
    elif asked.state not in machines.ASKED:
        return
    else:
        party = machines.together(asked)
    state = RequestState.REFUSED if run.state is catalog.RunState.FAILED else RequestState.CANCELLED
    Request.update(state=state, ended_at=now(), reason=run.problem).where(Request.id.in_([one.id for one in party])).execute()
