"""A machine that is not as it should be is started again, switched off, made anew, or given up."""

from datetime import timedelta

from appliance import catalog
from appliance.backoff import doubled
from appliance.catalog import EventKind, Machine, MachineState, now, record
from appliance.errors import DpeError
from appliance.host.disks import ballast
from appliance.hypervisor.provider import MachineFound, Provider
from appliance.lifecycle import batch, forks, outcomes, rules
from appliance.lifecycle.machine_steps import away, note_step, personal
from appliance.lifecycle.specs import spec
from appliance.settings import Settings

S = MachineState

RETRY, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=5)
GO_ON = 64 << 20  # bytes that must be free for a machine that found the disk full
STALLED = "It stands still, because the appliance's disk is full. It goes on when there is room."
TRIES = 4  # times that a machine nobody has used is made again under its name


class Repair:
    """What is done to one machine, in a job."""

    def __init__(self, settings: Settings, provider: Provider) -> None:
        self.settings, self.provider = settings, provider

    def revive(self, machine: Machine, there: MachineFound | None) -> None:
        """A machine is not as it should be: the host was restarted, the guest was shut down, or its process died."""
        if machine.state is S.READY and (machine.snapshot_id is not None or there is None):
            self._make_again(machine)
            return
        held = machine.state is not S.READY
        if (there is None or machine.state in rules.OFF) and machine.id not in self.provider.disks():
            outcomes.lost(machine, "The hypervisor no longer has it, and its disk is gone.")
            return
        if machine.state in rules.OFF:
            self._switch_off(machine)
            return
        if there is not None and there.stalled and not self._has_room(machine):
            return
        wanted = spec(machine, self.settings)
        try:
            note_step(machine.id, "starting again")
            self.provider.start(wanted)
            self.provider.wait(wanted, lambda text: note_step(machine.id, text), personalise=personal(machine) if held else b"")
            if not held and wanted.readiness == "paused":
                self.provider.suspend(machine.id)
        except DpeError as error:
            if away(self.provider):
                return
            if not held:
                outcomes.did_not_come_up(machine, error)
                return
            _try_later(machine, error)
            return
        with catalog.write():
            Machine.update(step="", problem="", attempts=0, retry_at=None).where(Machine.id == machine.id).execute()
            record(EventKind.MACHINE_REVIVED, f"{machine.name} runs again.", class_name=machine.class_name, machine_id=machine.id)

    def _has_room(self, machine: Machine) -> bool:
        """Whether a machine that found the disk full can go on. What was kept for that case is not for machines."""
        room = ballast.room(self.settings)
        if not room.full and room.free > GO_ON:
            return True
        with catalog.write():
            Machine.update(problem=STALLED, retry_at=now() + RETRY).where(Machine.id == machine.id).execute()
            if machine.problem != STALLED:
                record(
                    EventKind.MACHINE_STALLED,
                    f"{machine.name} stands still: it wanted to write, and the disk is full. It goes on when there is room.",
                    class_name=machine.class_name,
                    machine_id=machine.id,
                    hint=ballast.HINT,
                )
        return False

    def _switch_off(self, machine: Machine) -> None:
        """It is stopped or suspended, and runs all the same: somebody started it past us, and its memory is counted nowhere."""
        try:
            if machine.state is S.SUSPENDED:
                self.provider.save(machine.id)
            else:
                self.provider.stop(machine.id)
        except DpeError as error:
            if not away(self.provider):
                _try_later(machine, error)
            return
        with catalog.write():
            Machine.update(problem="", attempts=0, retry_at=None).where(Machine.id == machine.id).execute()
            record(EventKind.MACHINE_RESTS, f"{machine.name} ran, though it is {machine.state.value}; it is again.", machine_id=machine.id)

    def _make_again(self, machine: Machine) -> None:
        """Nobody has used it, so a new one under the same name is as good; but not for ever."""
        try:
            if machine.attempts >= TRIES:
                raise DpeError(
                    f"{machine.name} went off again and again while it waited.", "Look at what its seed does when it is left alone."
                )
            self.provider.destroy(machine.id)
            built = batch.build_one(
                self.provider, batch.order(machine, self.settings), self.settings, lambda text: note_step(machine.id, text)
            )
            if built.error is not None:
                raise built.error
        except DpeError as error:
            if not away(self.provider):
                outcomes.did_not_come_up(machine, error)
            return
        if built.fork_error is not None:
            forks.failed(machine, built.fork_error)
        with catalog.write():
            kept = None if built.fork_error else machine.snapshot_id
            origin = "fork" if built.forked else "boot"
            again = machine.attempts + 1
            Machine.update(step="", problem="", attempts=again, snapshot=kept, origin=origin).where(Machine.id == machine.id).execute()
            record(EventKind.MACHINE_REVIVED, f"{machine.name} was made again.", class_name=machine.class_name, machine_id=machine.id)


def _try_later(machine: Machine, error: DpeError) -> None:
    """Note what went wrong, and try again after a wait that doubles up to five minutes."""
    wait = doubled(RETRY, machine.attempts, LONGEST_WAIT)
    with catalog.write():
        Machine.update(problem=str(error), attempts=machine.attempts + 1, retry_at=now() + wait).where(Machine.id == machine.id).execute()
