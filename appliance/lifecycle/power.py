"""What the steps do that stop, start, suspend, resume and make anew the machine of somebody, or pass it on."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from appliance import catalog
from appliance.catalog import Account, Actor, EventKind, Machine, MachineState, machines, now, policies, record, seeds
from appliance.errors import Conflict, DpeError, NotFound
from appliance.hypervisor import making
from appliance.hypervisor.provider import NoData, Provider
from appliance.lifecycle import disks, forks, master, outcomes, rules, ssh
from appliance.lifecycle.machine_steps import SOON, away, machine_of, personal
from appliance.lifecycle.specs import spec
from appliance.settings import Settings
from appliance.workflow.runner import Context, Done, Failed, Handler, Outcome, Queue, Wait, before_move

S = MachineState
LATER = timedelta(seconds=5)
SHUTS_DOWN_WITHIN = 90  # seconds; then it is switched off


@dataclass(frozen=True)
class PowerVerbs:
    """All of them, over one provider."""

    settings: Settings
    provider: Provider

    def all(self) -> Mapping[str, Handler]:
        """By the kind of activity."""
        return {
            "stop": Handler(self.stop, queue=Queue.LONG),
            "start": Handler(self.start, self.off_again, queue=Queue.LONG),
            "suspend": Handler(self.suspend, queue=Queue.LONG),
            "resume": Handler(self.start, self.off_again, queue=Queue.LONG),
            "reprovision": Handler(self.reprovision, queue=Queue.LONG),
            "transfer": Handler(self.transfer, self.tell_owner, queue=Queue.SHORT),
        }

    # -- off and on -----------------------------------------------------------------------

    def stop(self, step: Context, _options: Any) -> Outcome:
        """Shut the machine down. One that is suspended goes on for that, so that nothing is lost."""
        return self._move(step, (S.IN_USE, S.SUSPENDED), S.STOPPED, "shutting it down", self._stop)

    def _stop(self, machine: Machine, _step: Context) -> None:
        self.provider.stop(machine.id, timeout=SHUTS_DOWN_WITHIN)

    def suspend(self, step: Context, _options: Any) -> Outcome:
        """Keep the machine's memory on disk, and stop it."""
        return self._move(step, (S.IN_USE,), S.SUSPENDED, "writing its memory to disk", self._save)

    def _save(self, machine: Machine, _step: Context) -> None:
        self.provider.save(machine.id)

    def start(self, step: Context, _options: Any) -> Outcome:
        """Boot the machine, or let it go on; its clock and whose it is are told to it again."""
        begun = "starting it" if step.run.kind == "start" else "reading its memory"
        return self._move(step, rules.OFF, S.IN_USE, begun, self._start)

    def _start(self, machine: Machine, step: Context) -> None:
        wanted = spec(machine, self.settings)
        self.provider.start(wanted)
        self.provider.wait(wanted, step.report, personalise=personal(machine))

    def _move(
        self,
        step: Context,
        sources: tuple[S, ...],
        to: S,
        begun: str,
        work: Callable[[Machine, Context], None],
    ) -> Outcome:
        machine = machine_of(step)
        if machine.state is to:
            return Done()
        if machine.state not in sources:
            return Failed(Conflict(f"The machine {machine.name} is {machine.state.value.replace('_', ' ')}."))
        step.report(begun)
        try:
            work(machine, step)
        except DpeError:
            if wait := away(self.provider):
                return wait
            raise
        words = "runs again" if to is S.IN_USE else f"is now {to.value}"
        # What kept it from running before counts no more.
        return Done(
            commit=lambda: master.move(
                machine.id, to, f"{machine.name} {words}.", expect=frozenset(sources), problem="", attempts=0, retry_at=None
            )
        )

    def off_again(self, step: Context, _options: Any) -> None:
        """A machine that did not come up stays as it is said to be: it must not take memory that is not counted."""
        machine = machines.by_id(step.run.machine_id or "")
        if machine is None or machine.state not in rules.OFF:
            return
        with suppress(NotFound):
            if machine.state is S.SUSPENDED:
                self.provider.save(machine.id)
            else:
                self.provider.stop(machine.id, timeout=SHUTS_DOWN_WITHIN)

    # -- made anew ------------------------------------------------------------------------

    def reprovision(self, step: Context, _options: Any) -> Outcome:
        """A clean disk from the promoted seed; name, slot, id and data disk stay. Whatever an earlier try left is removed first."""
        machine = machine_of(step)
        if machine.state in (S.IN_USE, S.STOPPED):
            try:
                self._renew(machine)
            except Conflict as refused:
                return Failed(refused)
            machine = machine_of(step)
        if machine.state is not S.REPROVISIONING:
            return Failed(Conflict(f"The machine {machine.name} is {machine.state.value.replace('_', ' ')}."))
        if step.run.facts.get("restored") and not self._adopt_seed(machine):
            return Wait(now() + LATER, "a seed of its class")
        try:
            step.report("removing what was on it")
            self.provider.destroy(machine.id)
            if waits_for := disks.attach(machine, self.settings, self.provider):
                return Wait(now() + SOON, waits_for)
            step.report("making it")
            # As one that waited as a disk: forked where it can be, booted where it cannot, and told whose it is.
            made = making.hand_over(self.provider, replace(spec(machine, self.settings), readiness="cold"), personal(machine))
        except DpeError as error:
            if isinstance(error, NoData) and disks.put_aside(machine, error, step.since):
                return Wait(now(), "another data disk")
            if wait := away(self.provider):
                return wait
            raise

        def commit() -> None:
            if made.fork_error is not None:
                forks.failed(machine, made.fork_error)
            if made.forked:
                forks.came_up(machine.class_name)
                forks.answered(machine.class_name)
            master.move(
                machine.id,
                S.IN_USE,
                f"{machine.name} is new, from seed v{machine.seed.version}, and in use by {machine.owner.name if machine.owner else 'nobody'}.",
                expect=frozenset({S.REPROVISIONING}),
                readiness="running",
                origin="fork" if made.forked else "boot",
                snapshot=machine.snapshot_id if made.forked else None,
                problem="",
                attempts=0,
                retry_at=None,
                **ssh.news(machine),
            )

        return Done({"forked": made.forked, "seed": machine.seed.version}, commit)

    def _adopt_seed(self, machine: Machine) -> bool:
        """After a restore the machine's own seed may not be there, or not yet; whether one is."""
        with catalog.write():
            seed = seeds.promoted(machine.class_name)
            if seed is not None and seed.id != machine.seed_id:
                Machine.update(seed=seed.id, snapshot=None).where(Machine.id == machine.id).execute()
                machine.seed = seed
        return seed is not None

    def _renew(self, machine: Machine) -> None:
        with catalog.write():
            machine_class, seed = machine.machine_class, seeds.promoted(machine.class_name)
            if seed is None:
                raise Conflict(f"No seed of {machine.class_name} is promoted.", "Build one, then try again.")
            snapshot, size = forks.usable(machine_class, seed), machine_class.spec["size"]
            if (machine.vcpus, machine.memory_start, machine.memory_room) != (
                size["vcpus"],
                size["memory"],
                policies.memory_room(machine_class),
            ):
                snapshot = None  # it is of a machine of another size
            master.move(
                machine.id,
                S.REPROVISIONING,
                f"{machine.name} is made anew from seed v{seed.version}; all that is on its system disk goes.",
                expect=frozenset({S.IN_USE, S.STOPPED}),
                seed=seed.id,
                snapshot=snapshot.id if snapshot else None,
            )

    # -- passed on ------------------------------------------------------------------------

    def transfer(self, step: Context, _options: Any) -> Outcome:
        """Put the new owner's name and keys into the machine; with that, machine and lease are theirs."""
        machine, to = machine_of(step), Account.get_or_none(Account.id == step.run.facts["to"])
        if to is None:
            return Failed(Conflict("There is no such account any more."))
        if machine.owner_id == to.id:
            return Done()
        if machine.state is not S.IN_USE:
            return Failed(Conflict(f"The machine {machine.name} is {machine.state.value.replace('_', ' ')}.", "Start it first."))
        try:
            rules.try_passing_on(machine, to)
        except Conflict as refused:
            return Failed(refused)
        former = machine.owner
        assert former is not None
        step.report(f"telling it of {to.name}")
        try:
            self.provider.wait(spec(machine, self.settings), personalise=personal(machine, to))
        except DpeError:
            if wait := away(self.provider):
                return wait
            raise

        def commit() -> None:
            rules.pass_on(machine, to)
            disks.follow(machine.id, to.id)
            message = f"{machine.name} went from {former.name} to {to.name}."
            for account in (former, to):  # each finds it among what happened to them
                record(
                    EventKind.MACHINE_TRANSFERRED, message, Actor(step.run.asked_by), account_id=account.id, class_name=machine.class_name,
                    machine_id=machine.id, before={"owner": former.name}, after={"owner": to.name},
                )  # fmt: skip

        return Done({"from": former.name, "to": to.name}, commit)

    def tell_owner(self, step: Context, _options: Any) -> None:
        """Put the name and keys of whoever holds the machine into it again."""
        machine = machines.by_id(step.run.machine_id or "")
        if machine is not None and machine.state is S.IN_USE and machine.owner is not None:
            self.provider.wait(spec(machine, self.settings), personalise=personal(machine))


def stuck(run: catalog.Run) -> None:
    """What becomes of a machine whose run of such a move has not made it; called in the transaction that ends the run."""
    machine = machines.by_id(run.machine_id or "")
    if machine is None or run.kind not in rules.VERBS or run.state is catalog.RunState.DONE:
        return
    if machine.state is S.REPROVISIONING:
        outcomes.lost(machine, f"It could not be made anew: {run.problem} Its old disk is gone.")
    elif machine.state in (S.IN_USE, *rules.OFF) and run.state is catalog.RunState.FAILED and before_move(run):
        problem = f"Could not {run.kind}: {run.problem}"
        Machine.update(problem=problem).where(Machine.id == machine.id).execute()
        record(
            catalog.EventKind(f"machine.{run.kind}_failed"), f"{machine.name}: {problem[0].lower()}{problem[1:]}",
            class_name=machine.class_name, machine_id=machine.id, hint=run.hint, run=run.id,
        )  # fmt: skip
