"""Machines that are not where they should be: those without the run that their state asks for, and those that stand still or run."""

from appliance import catalog
from appliance.catalog import MachineState, Request, RequestState, is_to_come, machines, now, runs
from appliance.engine.heartbeat import Heartbeat, Seen
from appliance.engine.jobs import Jobs
from appliance.engine.repair import LONGEST_WAIT, Repair
from appliance.hypervisor.provider import Power
from appliance.lifecycle import master, rules
from appliance.workflow import start
from appliance.workflow.runner import Queue, Runner

S = MachineState


class Upkeep:
    """One job for each machine that needs one."""

    def __init__(self, runner: Runner, heartbeat: Heartbeat, repair: Repair, jobs: Jobs) -> None:
        self.runner, self.heartbeat, self.repair, self.jobs = runner, heartbeat, repair, jobs

    def adopt_orphans(self) -> None:
        """Have failed machines thrown away, and begin the runs of machines from a catalog of before there were runs."""
        for machine in machines.failed():
            if machine.id not in self.jobs:
                master.move(machine.id, S.RECLAIMING, f"{machine.name} is thrown away.")
        for id, kind in runs.missing():
            self._adopt(id, kind)

    def _adopt(self, id: str, kind: str) -> None:
        with catalog.write():
            machine = machines.by_id(id)
            assert machine is not None
            asked = None if kind != "assign" else Request.get_or_none(Request.machine == id, Request.state == RequestState.GRANTED)
            if asked is not None:
                minutes = machine.machine_class.lease_minutes
                start.assign(asked, start.plan(kind, machine.class_name, machine.owner_id, lease_minutes=minutes), approved=True)
            elif kind == "assign":
                master.move(id, S.RECLAIMING, f"{machine.name} was given to nobody.")
            else:
                start.begin_run(kind, machine, bare=machine.owner_id is None)

    def repair_machines(self) -> None:
        """Have those repaired that should run or stand still, and do not."""
        seen, moment = self.heartbeat.seen, now()
        assert seen is not None
        for machine in machines.with_ids(_missing(seen) - self.jobs.keys()):
            rests = machine.state in (S.READY, S.IN_USE, *rules.OFF) and not is_to_come(machine.retry_at, LONGEST_WAIT, moment)
            if rests and machine.state_since <= seen.at and not self._is_moved(machine.id):
                self.jobs.submit(Queue.LONG, machine.id, self.repair.revive, machine, seen.machines.get(machine.id))

    def _is_moved(self, id: str) -> bool:
        """Whether a run is about to stop or start the machine, or the like: then it need not be as its state says."""
        run = rules.at_work(id)
        if run is None:
            return False
        planned = self.runner.next(run.id)
        return planned is None or planned.part == "core"


def _missing(seen: Seen) -> set[str]:
    """The machines that should stand still or run, and do not: ids."""
    by_power: dict[Power, set[str]] = {power: set() for power in Power}
    for machine in seen.machines.values():
        by_power[machine.power].add(machine.id)
    steady = machines.steady()
    return (
        steady["running"] - by_power[Power.RUNNING]
        | steady["paused"] - by_power[Power.RUNNING] - by_power[Power.PAUSED]
        | steady["cold"] - by_power[Power.OFF] - (seen.disks - seen.machines.keys())
        | steady["off"] & (by_power[Power.RUNNING] | by_power[Power.PAUSED])
        | steady["off"] - seen.disks
    )
