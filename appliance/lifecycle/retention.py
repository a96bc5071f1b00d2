"""What the steps do that keep something of a machine, and that bring it back."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from appliance import catalog
from appliance.catalog import (
    Account,
    Class,
    DataDisk,
    DiskState,
    EventKind,
    KeptDisk,
    KeptState,
    Machine,
    MachineState,
    Run,
    RunState,
    data_disks,
    machines,
    memory,
    now,
    record,
    seeds,
    timezone,
)
from appliance.errors import Conflict, DpeError, NotFound
from appliance.hypervisor.provider import Power, Provider
from appliance.lifecycle import disk_copies, forks, master
from appliance.lifecycle.machine_steps import machine_of
from appliance.lifecycle.specs import spec
from appliance.paths import inside
from appliance.settings import Settings
from appliance.workflow.kinds import BackupData, KeepDisk
from appliance.workflow.runner import Context, Done, Failed, Handler, Outcome, Queue, Wait

S, D, K = MachineState, DiskState, KeptState
LATER = timedelta(seconds=5)


@dataclass(frozen=True)
class Retention:
    """All of them, over one provider."""

    settings: Settings
    provider: Provider

    def all(self) -> Mapping[str, Handler]:
        """By the kind of activity."""
        return {
            "keep_disk": Handler(self.keep_disk, self.forget_disk, queue=Queue.LONG),
            "backup_data": Handler(self.backup_data, queue=Queue.LONG),
            "recover": Handler(self.recover, self.leave_off, queue=Queue.LONG),
        }

    # -- keeping ------------------------------------------------------------------------------

    def keep_disk(self, step: Context, options: KeepDisk) -> Outcome:
        """Switch the machine off and keep its disk for some days."""
        machine = machine_of(step)
        try:
            self._forget_data(machine)
            self.provider.stop(machine.id)
            size = self.provider.keep(spec(machine, self.settings))
        except NotFound as error:
            return Done({"kept": f"nothing: {error.message}"})
        until = step.since + timedelta(days=options.days)

        def commit() -> None:
            disk = data_disks.of_machine(machine.id)
            KeptDisk.insert(
                id=machine.id, machine_name=machine.name, account=machine.owner_id, machine_class=machine.class_name, seed=machine.seed_id,
                data_id=disk.id if disk else None, size=machine.disk, bytes=size, until=until,
            ).on_conflict_ignore().execute()  # fmt: skip
            message = f"The disk of {machine.name} is kept until {timezone.timestamp(until)}."
            record(EventKind.KEPT_DISK_KEPT, message, class_name=machine.class_name, machine_id=machine.id, account_id=machine.owner_id)

        return Done({"until": until.isoformat(timespec="seconds")}, commit)

    def _forget_data(self, machine: Machine) -> None:
        """The disk is not to wait, when it boots again, for a data disk that another machine may have by then."""
        running = {found.id for found in self.provider.list() if found.power is Power.RUNNING}
        if machine.id in running and data_disks.of_machine(machine.id) is not None:
            with suppress(DpeError):  # it only takes longer
                self.provider.execute(machine.id, ["rm", "-f", "/etc/dpe/data"])

    def forget_disk(self, step: Context, _options: Any) -> None:
        """The machine stays after all."""
        with catalog.write():
            KeptDisk.update(state=K.REMOVING).where(KeptDisk.id == step.run.machine_id).execute()
        if data_disks.kept_by_id(step.run.machine_id or "") is None:
            self.provider.forget_kept(step.run.machine_id or "")

    def backup_data(self, step: Context, options: BackupData) -> Outcome:
        """Copy the machine's data disk, if it has one."""
        machine = machine_of(step)
        disk = data_disks.of_machine(machine.id)
        if disk is None or disk.state is not D.READY:
            return Done({"copy": "nothing: it has no data disk"})
        copy = disk_copies.write_manifest(disk, machine, step.since, options.copies, self.settings, self.provider)
        return Done({"copy": str(copy)})

    # -- bringing back ------------------------------------------------------------------------

    def recover(self, step: Context, _options: Any) -> Outcome:
        """Plan a machine for somebody: of a kept disk, or of its class with a data disk restored from a copy."""
        facts, run = step.run.facts, step.run
        if machines.by_id(facts["machine"]) is not None:
            return Done()
        account = Account.get_or_none(Account.id == run.account_id, Account.disabled == False)  # noqa: E712
        if account is None:
            return Failed(Conflict("Whoever it was to be for has no account any more.", "Bring it back for somebody else."))
        kept = data_disks.kept_by_id(facts["kept"]) if "kept" in facts else None
        if "kept" in facts and kept is None:
            return Failed(NotFound("The kept disk is gone.", "Its days may be over."))
        machine_class = Class.get_by_id(run.class_name)
        seed = kept.seed if kept else seeds.promoted(machine_class.name)
        if seed is None:
            return Failed(Conflict(f"{machine_class.name} has no seed yet.", "Build one, then bring the machine back."))
        if machine_class.spec["size"]["memory"] + memory.allowed().overhead > memory.room():
            return Wait(now() + LATER, "memory: it is all given out")
        if "backup" in facts:
            self._restore(facts, machine_class, account, step)

        def commit() -> None:
            slots = machines.next_slots(1, self.settings.slots)
            if not slots:
                raise Conflict("There are as many machines as there can be.", "Have some given back.")
            snapshot = None if kept else forks.usable(machine_class, seed)
            machine = machines.create(machine_class, seed, facts["machine"], slots[0], snapshot)
            size = max(machine.disk, kept.size) if kept else machine.disk
            Machine.update(owner=account, disk=size).where(Machine.id == machine.id).execute()
            machines.keep_door(machine.id, machine_class.name, account.id)
            if kept:
                KeptDisk.update(machine=machine.id).where(KeptDisk.id == kept.id).execute()
            if "backup" in facts:
                DataDisk.update(state=D.READY, machine=machine.id).where(DataDisk.id == facts["disk"]).execute()
            Run.update(machine=machine.id).where(Run.id == run.id).execute()
            what = f"{kept.machine_name} comes back" if kept else f"What {account.name} had on a data disk comes back"
            record(
                EventKind.MACHINE_PLANNED,
                f"{what}, as {machine.name}.",
                class_name=machine_class.name,
                machine_id=machine.id,
                account_id=account.id,
            )

        return Done({"machine": facts["machine"]}, commit)

    def _restore(self, facts: dict[str, Any], machine_class: Class, account: Account, step: Context) -> None:
        """The data disk of the copy, under an id of its own."""
        if data_disks.by_id(facts["disk"]) is None:
            with catalog.write():
                name = data_disks.free_name(account.id, machine_class.name)
                disk = DataDisk.create(
                    id=facts["disk"], account=account, machine_class=machine_class.name, name=name, size=facts["size"], state=D.RESTORING
                )
                data_disks.record_disk_event(
                    EventKind.DATA_DISK_RESTORING, f"The data disk {name} of {account.name} is restored from a copy.", disk
                )
        step.report("restoring the data disk")
        self.provider.restore_data(inside(self.settings.backups, facts["backup"]), facts["disk"])

    def leave_off(self, step: Context, _options: Any) -> None:
        """A data disk that was being restored is wanted no more; one that was restored stays its owner's."""
        disk = data_disks.by_id(step.run.facts.get("disk") or "")
        if disk is None or disk.state is not D.RESTORING:
            return
        self.provider.remove_data(disk.id)
        with catalog.write():
            DataDisk.delete().where(DataDisk.id == disk.id).execute()
            data_disks.record_disk_event(EventKind.DATA_DISK_NOT_RESTORED, f"The data disk {disk.name} was not restored.", disk)


def ended(run: Run) -> None:
    """What goes with the end of a run that was to bring something back; inside its transaction."""
    done = run.state is RunState.DONE
    if "kept" in run.facts:
        values = {"state": K.REMOVING} if done else {"state": K.KEPT, "machine": None}
        KeptDisk.update(values).where(KeptDisk.id == run.facts["kept"], KeptDisk.state == K.RETURNING).execute()
    machine = machines.by_id(run.machine_id) if run.machine_id else None
    if not done and machine is not None and machine.state in (S.PLANNED, S.CREATING, S.READY, S.ASSIGNED):
        machines.end_lease(machine.id, "not handed over")
        message = f"{machine.name} is not handed over: {run.problem}"
        master.move(machine.id, S.RECLAIMING, message, reclaim_reason="not handed over", owner=None)
