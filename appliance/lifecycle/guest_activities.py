"""Activities that sequences put around moves and that reach into a machine: a command in it, a playbook about it."""

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.catalog import Machine, MachineState, scenarios
from appliance.errors import Conflict, DpeError, Unavailable
from appliance.hypervisor.provider import Provider
from appliance.lifecycle.machine_steps import away, machine_of
from appliance.paths import below
from appliance.seeds import agents
from appliance.seeds.follow import follow, follow_here
from appliance.seeds.sandbox import Limits, Sandbox, give, hand_over, remove
from appliance.settings import REPOSITORY, Settings, environment
from appliance.workflow.kinds import Guest, Playbook, duration, playbook_file
from appliance.workflow.runner import Context, Done, Failed, Handler, Outcome, Queue

log = logging.getLogger(__name__)

KEPT = 4096  # bytes of a command's output, the last of them
NOT_KILLED = 30  # seconds more for the machine to say that the command was ended
MARKS = "/run/dpe/steps"
# $1 is the mark, $2 seconds, $3 the user, then the command. What was begun is waited for, and what has ended is not done again.
ONCE = """
mark=$1 seconds=$2 user=$3; shift 3
umask 077; mkdir -p "${mark%/*}"; exec 9> "$mark.lock"; flock 9
if [ ! -e "$mark.status" ]; then
    [ "$user" = root ] || set -- runuser -u "$user" -- "$@"
    timeout -k 5 "$seconds" "$@" > "$mark.output" 2>&1 < /dev/null 9>&-
    echo $? > "$mark.new"; mv "$mark.new" "$mark.status"
fi
tail -c 4096 "$mark.output"; read -r status < "$mark.status"; exit "$status"
"""
TIMED_OUT = 124  # what `timeout` ends with


def facts(step: Context, machine: Machine, settings: Settings) -> dict[str, str]:
    """What an activity may know of the machine. These are other people's words: they are given as variables, never put into a command."""
    return {
        "DPE_MACHINE_ID": machine.id,
        "DPE_MACHINE_NAME": machine.name,
        "DPE_MACHINE_ADDRESS": settings.address(machine.slot),
        "DPE_MACHINE_CLASS": machine.class_name,
        "DPE_MACHINE_OWNER": machine.owner.name if machine.owner else "",
        "DPE_MOVE": step.run.kind,
    }


def once(mark: str, known: Mapping[str, str], options: Guest, user: str) -> Sequence[str]:
    """The command that does what the options say, once for a mark (a path in the machine), however often it is called."""
    variables = [f"{name}={value}" for name, value in known.items()]
    seconds = f"{duration(options.timeout).total_seconds():.0f}"
    return ["/usr/bin/env", *variables, "/bin/sh", "-c", ONCE, "dpe-step", mark, seconds, user, *options.run]


@dataclass(frozen=True)
class Activities:
    """All of them, over one provider."""

    settings: Settings
    provider: Provider

    def all(self) -> Mapping[str, Handler]:
        """By the kind of activity."""
        return {"guest": Handler(self.guest), "playbook": Handler(self.playbook, queue=Queue.NETWORK)}

    def guest(self, step: Context, options: Guest) -> Outcome:
        """Run a command in the machine through its agent. A try that failed is forgotten by the next, one that was cut off is not."""
        machine = machine_of(step)
        if machine.state is not MachineState.IN_USE:
            return _does_not_run(machine)
        mark = f"{MARKS}/{step.name}-{step.attempts}"
        user = "root" if options.user == "root" else machine.machine_class.spec["user"]
        seconds = duration(options.timeout).total_seconds()
        try:
            done = self.provider.execute(
                machine.id, once(mark, facts(step, machine, self.settings), options, user), timeout=seconds + NOT_KILLED
            )
        except DpeError:
            if wait := away(self.provider):
                return wait
            raise
        output = (done.output + done.error).strip()[-KEPT:]
        if done.status in options.ok:
            return Done({"status": done.status, "output": output})
        if done.status == TIMED_OUT:
            raise Unavailable(f"{options.run[0]} did not end within {options.timeout}, and was ended.", output[-500:])
        raise DpeError(f"{options.run[0]} ended with status {done.status}.", output[-500:])

    def playbook(self, step: Context, options: Playbook) -> Outcome:
        """Run a playbook, on the appliance or in the machine through its agent. It may run again after a crash, as playbooks can."""
        scenarios.lay_out(self.settings)
        machine, file = machine_of(step), playbook_file(options.playbook)
        if file is None:
            return Failed(DpeError(f"There is no playbook {options.playbook} any more.", "Put it back, or choose another."))
        if options.target == "machine" and machine.state is not MachineState.IN_USE:
            return _does_not_run(machine)
        work = below(self.settings.state, "work", f"step-{step.name}")
        remove(work)
        work.mkdir(mode=0o711, parents=True)
        runner = hand_over(work / "runner", 0o700)
        here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        there = {"ansible_connection": "dpe_agent", "ansible_host": machine.id, "ansible_python_interpreter": "/usr/bin/python3"}
        host = {"localhost": here} if options.target == "appliance" else {"machine": there}
        described = {
            "playbook": str(file),
            "runner": str(runner),
            "inventory": {"all": {"hosts": host}},
            "variables": options.variables,
            "roles": [str(REPOSITORY / "playbooks/roles")],
            "skip": [],
        }
        job = give(work / "job.json", json.dumps(described))
        known, within = facts(step, machine, self.settings), duration(options.timeout).total_seconds()
        said, failed = [""], [""]

        def take(event: dict[str, Any]) -> None:
            match event["kind"]:
                case "output":
                    said[0] = f"{said[0]}{event['text']}\n"[-KEPT:]
                case "task":
                    step.report(event["name"])
                case "failed":
                    failed[0] = f"{event['task'] or options.playbook} failed: {event['message']}"

        try:
            clock = _Clock(within, step)
            if options.target == "appliance":
                ok = follow_here(job, {**environment(self.settings), **known}, take, clock)
            else:
                limits = Limits(seconds=within + 60, free=self.settings.disk_reserve)
                sandbox = Sandbox(
                    work / "scratch", reads=[file.parent], writes=[runner], environment={**known, **agents.INSIDE}, limits=limits
                )
                with agents.reaching(self.provider, [machine.id], sandbox.scratch, within):
                    ok = follow(job, sandbox, take, clock)
        finally:
            remove(work)
        if ok:
            return Done({"output": said[0].strip()})
        if clock.late:
            raise Unavailable(f"{options.playbook} did not end within {options.timeout}, and was ended.", said[0].strip()[-500:])
        if clock.cancelled:
            raise Conflict("It was cancelled.")
        raise DpeError(failed[0][:1000] or f"{options.playbook} failed.", "" if failed[0] else said[0].strip()[-500:])


class _Clock:
    """Whether a playbook is to be ended: its time is over, or its run was cancelled, which is asked now and then."""

    def __init__(self, seconds: float, step: Context) -> None:
        self._end, self._step, self._asked_at = time.monotonic() + seconds, step, 0.0
        self.late = self.cancelled = False

    def __call__(self) -> bool:
        moment = time.monotonic()
        self.late = moment > self._end
        if moment - self._asked_at > 1:
            self._asked_at, self.cancelled = moment, self._step.cancelled()
        return self.late or self.cancelled


def _does_not_run(machine: Machine) -> Failed:
    return Failed(Conflict(f"{machine.name} does not run: it is {machine.state.value.replace('_', ' ')}.", "Start it first."))
