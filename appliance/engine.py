"""The engine: the one process that touches the hypervisor, disks and Ansible, and where all rooms meet.

A reconciler. Each tick reads what is (the hypervisor) and what is wanted (the catalog), and hands out
jobs, at most one a machine at a time, to a few threads. A job does one idempotent thing and writes its
outcome in one transaction; nothing is remembered between ticks that the catalog does not say. So a
killed engine simply starts again: what was half done is found under its derived name and adopted.
"""

import argparse
import logging
import os
import signal
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import IO, Any

import psutil

from appliance import catalog, layout, syslog
from appliance.catalog import Class, Machine, MachineState, Reading, doorbell, machines, now, options, record, seeds
from appliance.catalog import Engine as EngineRow
from appliance.errors import Conflict, DpeError, Unavailable
from appliance.hypervisor.provider import Found, HostFacts, Power, Provider, Stats
from appliance.lifecycle import batch, directoryruns, leases, master, outcomes, seedruns
from appliance.lifecycle.specs import spec
from appliance.people import secrets
from appliance.pools.planner import Capacity, Decision, Demand, Policy, Pools, plan
from appliance.scenario.load import Loaded
from appliance.scenario.load import load as load_scenario
from appliance.seeds import guest
from appliance.seeds.build import test_machine_id
from appliance.services import setup
from appliance.settings import Settings
from appliance.settings import load as load_settings

log = logging.getLogger("dpe.engine")

S = MachineState

TICK = 1.0  # seconds between looks at the catalog when nobody rings
READ_EVERY = 10.0  # seconds between readings of machines and host
DISK_PER_MACHINE = 512  # MiB that a new machine's overlay is expected to grow to
OVERHEAD = 64  # MiB that the hypervisor needs for a machine beside its memory
RETRY = timedelta(seconds=5)
TRIES = 4  # attempts to hand a machine to its owner before another takes its place
HANDS = 4  # threads for short jobs, so that a person never waits behind a boot


def lock(settings: Settings) -> IO[str]:
    """Hold the state directory for this engine alone, as long as the file stays open. Raises Conflict."""
    return layout.hold(
        settings.run / "engine.lock",
        lambda other: Conflict(
            f"Another engine (process {other}) works on {settings.state}.",
            "Stop it first, or give this one a state directory of its own with DPE_STATE.",
        ),
    )


def adopt_scenario(loaded: Loaded) -> None:
    """Bring the catalog's classes in line with the scenario: new ones are added, policies an admin changed are kept, missing ones are withdrawn."""
    scenario = loaded.scenario
    with catalog.write():
        options.put("scenario", {"name": scenario.name, "title": scenario.title, "description": scenario.description})
        for name, described in scenario.classes.items():
            dumped = described.model_dump(mode="json")
            policy, lease = described.policy, described.lease
            Class.insert(
                name=name,
                spec=dumped,
                minimum=policy.minimum,
                maximum=policy.maximum,
                buffer=policy.buffer,
                lease_minutes=lease.minutes,
                extend_minutes=lease.extend,
                extensions=lease.extensions,
                per_person=described.per_person,
                fork=described.fork,
                readiness=described.readiness,
            ).on_conflict(conflict_target=[Class.name], update={Class.spec: dumped}).execute()
        Class.update(enabled=False).where(Class.name.not_in(list(scenario.classes))).execute()


class Engine:
    """The reconciler over one catalog and one provider."""

    def __init__(self, settings: Settings, provider: Provider, loaded: Loaded) -> None:
        self.settings = settings
        self.provider = provider
        self.loaded = loaded
        self.stopping = False
        self._bell = doorbell.Listener(settings.doorbell)
        self._makers = ThreadPoolExecutor(settings.parallel + 3, "make")  # and one each for a batch, a seed and the directory
        self._hands = ThreadPoolExecutor(HANDS, "hand")
        self._sender = ThreadPoolExecutor(1, "syslog")  # its own, because a receiver may keep it waiting
        self._forwarder = syslog.Forwarder()
        self._jobs: dict[str, Future[None]] = {}
        self._batched: set[str] = set()
        self._last: dict[str, tuple[float, Stats]] = {}
        self._facts: HostFacts | None = None
        self._read_at = float("-inf")
        self._problem: str | None = None
        self._set_up = False
        provider.watch(lambda _id: doorbell.ring())

    def run(self) -> None:
        """Tick until `stop()`; a tick that fails is logged, and the next one tries again."""
        while not self.stopping:
            try:
                self.tick()
            except Exception:
                log.exception("a tick failed")
            self._bell.wait(TICK)

    def stop(self) -> None:
        """Make `run()` return soon. Jobs under way are cut off by the process's end, which they are made to survive."""
        self.stopping = True
        doorbell.ring()

    def close(self) -> None:
        """Let the threads end, and the bell go."""
        self._makers.shutdown(wait=True, cancel_futures=True)
        self._hands.shutdown(wait=True, cancel_futures=True)
        self._sender.shutdown(wait=True, cancel_futures=True)
        self._bell.close()

    def jobs(self) -> list[Future[None]]:
        """The jobs under way."""
        return [job for job in self._jobs.values() if not job.done()]

    def read_again(self) -> None:
        """Take the next reading of machines and host at the next tick, whenever the last one was."""
        self._read_at = float("-inf")

    # -- one tick ---------------------------------------------------------------------------

    def tick(self) -> None:
        """Look, compare, plan, and hand out jobs."""
        self._jobs = {key: job for key, job in self._jobs.items() if not job.done()}
        if "syslog" not in self._jobs and self._forwarder.wanted():
            self._submit(self._sender, "syslog", self._forwarder.forward)
        looked_at = now()
        found = self._look()
        leases.warn()
        leases.expire()
        for class_name in machines.waiting():
            outcomes.serve_waiting(class_name)
        self._synchronise()
        if found is None:
            return
        self._read(found)
        self._tend(found, looked_at)
        self._sweep(found)
        if options.get("setup_done"):
            if not self._set_up:
                setup.ensure_code(self.settings)  # takes the used code away, which the web process cannot
                self._set_up = True
            self._plan()
            self._build_seed()

    def _look(self) -> dict[str, Found] | None:
        """What the hypervisor has, by id; None while it is away, and then nothing is concluded from its silence."""
        try:
            found = {machine.id: machine for machine in self.provider.list()}
            problem = ""
        except Unavailable as error:
            found, problem = None, str(error)
        if problem != self._problem or time.monotonic() - self._read_at > READ_EVERY:
            self._say(problem)
        return found

    def _say(self, problem: str) -> None:
        changed = self._problem is not None and (problem == "") != (self._problem == "")
        self._problem = problem
        host: dict[str, Any] = {} if self._facts is None else {**asdict(self._facts), "cpu_percent": psutil.cpu_percent()}
        with catalog.write():
            EngineRow.insert(
                id=1, seen_at=now(), hypervisor_ok=not problem, hypervisor_problem=problem, host=host
            ).on_conflict_replace().execute()
            if changed and problem:
                record("hypervisor.away", f"The hypervisor is away: {problem}", level=catalog.Level.ERROR)
            elif changed:
                record("hypervisor.back", "The hypervisor is back; work goes on.")

    def _away(self) -> bool:
        """Whether a job failed because the hypervisor is not there, rather than by a fault of its machine."""
        try:
            self.provider.list()
        except Unavailable:
            return True
        return False

    def _read(self, found: dict[str, Found]) -> None:
        moment = time.monotonic()
        if self._facts is not None and moment - self._read_at < READ_EVERY:
            return
        self._read_at = moment
        try:
            self._facts = self.provider.host()
            readings = self.provider.stats()
        except Unavailable:
            return
        known = machines.live_ids()
        latest: dict[str, tuple[float, Stats]] = {}
        with catalog.write():
            for stats in readings:
                if stats.id not in known:
                    continue
                latest[stats.id] = (moment, stats)
                if stats.id in self._last:
                    Reading.insert(
                        machine=stats.id, at=now(), **_rates(*self._last[stats.id], moment, stats)
                    ).on_conflict_replace().execute()
        self._last = latest
        self._say("")

    def _tend(self, found: dict[str, Found], looked_at: datetime) -> None:
        """One job for each machine whose state asks for one."""
        to_make: dict[str, list[Machine]] = defaultdict(list)
        moment = now()
        for machine in machines.moving():
            if machine.id in self._jobs or machine.id in self._batched or (machine.retry_at and machine.retry_at > moment):
                continue
            match machine.state:
                case S.PLANNED | S.CREATING:
                    to_make[machine.class_name].append(machine)
                case S.ASSIGNED:
                    self._submit(self._hands, machine.id, self._hand_over, machine)
                case S.FAILED:
                    master.move(machine.id, S.RECLAIMING, f"{machine.name} is thrown away.")
                case S.RECLAIMING:
                    self._submit(self._hands, machine.id, self._reclaim, machine)
        self._make_all(to_make)
        for id, state, since in machines.steady():
            there = found.get(id)
            if id in self._jobs or since > looked_at or (there is not None and there.power is Power.RUNNING):
                continue
            steady = machines.by_id(id)
            if steady is not None and steady.state is state and not (steady.retry_at and steady.retry_at > moment):
                self._submit(self._hands, id, self._revive, steady, there)

    def _make_all(self, to_make: dict[str, list[Machine]]) -> None:
        """People who wait get theirs straight away, a thread each; the refill of buffers goes through the playbook, a batch at a time."""
        waiting = machines.waiting()
        refill: list[Machine] = []
        for class_name, planned in to_make.items():
            urgent = waiting.get(class_name, 0)
            for machine in planned[:urgent]:
                self._submit(self._makers, machine.id, self._make, machine)
            refill += planned[urgent:]
        if refill and "batch" not in self._jobs and not any(waiting.values()):
            chosen = refill[: self.settings.parallel]
            self._batched = {machine.id for machine in chosen}
            self._submit(self._makers, "batch", self._make_batch, chosen)

    def _sweep(self, found: dict[str, Found]) -> None:
        """Whatever the hypervisor or the disk has and the catalog does not is a leftover of a killed process: take it away."""
        known = machines.live_ids()
        known |= {test_machine_id(seed.id) for seed in seeds.unfinished()}
        for id in {*found, *self.provider.disks()} - known - self._jobs.keys():
            self._submit(self._hands, id, self._remove_leftover, id)

    # -- planning ---------------------------------------------------------------------------

    def _plan(self) -> None:
        if self._facts is None:
            return
        classes = list(Class.select().order_by(Class.name))
        counts, waiting, old, moment = machines.counts(), machines.waiting(), machines.on_old_seed(), now()
        demands = []
        for klass in classes:
            if seeds.promoted(klass.name) is None:
                continue
            states = counts.get(klass.name, {})
            allowance = None if not klass.failures else 0 if klass.failing_until and klass.failing_until > moment else 1
            demands.append(
                Demand(
                    klass.name,
                    Policy(klass.minimum, klass.maximum, klass.buffer),
                    Pools(
                        creation=states.get(S.PLANNED, 0) + states.get(S.CREATING, 0),
                        ready=states.get(S.READY, 0),
                        old=old.get(klass.name, 0),
                        production=sum(states.get(state, 0) for state in (*machines.HELD, S.QUARANTINED)),
                        waiting=waiting.get(klass.name, 0),
                    ),
                    memory=klass.spec["size"]["memory"] + OVERHEAD,
                    disk=DISK_PER_MACHINE,
                    allowance=allowance,
                    offered=klass.enabled,
                )
            )
        reasons = {klass.name: klass.limit_reason for klass in classes}
        for decision in plan(demands, self._capacity(self._facts)):
            if decision.reason != reasons[decision.name]:
                with catalog.write():
                    Class.update(limit_reason=decision.reason).where(Class.name == decision.name).execute()
            if decision.create:
                self._create(decision)
            for machine in machines.dispensable(decision.name, decision.remove):
                self._remove_ready(machine)

    def _capacity(self, facts: HostFacts) -> Capacity:
        """What is left for new machines: of what the host has, less what is promised; and never more than is free now."""
        count, committed = machines.promised()
        making, making_memory = machines.in_the_making()
        promised = facts.memory - self.settings.host_reserve - committed - count * OVERHEAD
        free = facts.memory_available - self.settings.host_reserve - making_memory - making * OVERHEAD
        return Capacity(
            memory=min(promised, free),
            disk=facts.disk_free - self.settings.disk_reserve - making * DISK_PER_MACHINE,
            slots=self.settings.slots - count,
        )

    def _create(self, decision: Decision) -> None:
        with catalog.write():
            klass, seed = Class.get_by_id(decision.name), seeds.promoted(decision.name)
            assert seed is not None
            for slot in machines.next_slots(decision.create, self.settings.slots):
                machine = machines.create(klass, seed, str(uuid.uuid4()), slot)
                record("machine.planned", f"{machine.name} is planned.", class_name=klass.name, machine_id=machine.id, seed_id=seed.id)
        doorbell.ring()

    def _remove_ready(self, machine: Machine) -> None:
        why = "its seed is no longer the promoted one" if not machine.seed.promoted else "the buffer is larger than its policy"
        try:
            master.move(machine.id, S.RECLAIMING, f"{machine.name} is removed: {why}.", expect=frozenset({S.READY}), reclaim_reason=why)
        except Conflict:
            log.info("%s was taken just before it would have been removed", machine.name)

    # -- jobs -------------------------------------------------------------------------------

    def _submit(self, pool: ThreadPoolExecutor, key: str, work: Callable[..., None], *args: Any) -> None:
        def job() -> None:
            try:
                work(*args)
            except Conflict as conflict:
                log.info("%s: overtaken: %s", key, conflict)
            except Unavailable as error:
                log.warning("%s: %s", key, error)
            except Exception:
                log.exception("%s: a job failed", key)
            finally:
                catalog.close()
                doorbell.ring()

        if not self.stopping:
            self._jobs[key] = pool.submit(job)

    def _make(self, machine: Machine) -> None:
        """Make one machine for somebody who waits, without a playbook's start-up."""
        if machine.state is S.PLANNED:
            master.move(machine.id, S.CREATING, f"{machine.name} is being made for somebody who waits.")
        wanted = spec(machine, self.settings)
        try:
            _step(machine.id, "cloning its disk")
            self.provider.clone(wanted)
            _step(machine.id, "booting")
            self.provider.start(wanted)
            self.provider.wait(wanted, lambda text: _step(machine.id, text))
        except DpeError as error:
            self._made(machine, error)
        else:
            self._made(machine, None)

    def _made(self, machine: Machine, error: DpeError | None) -> None:
        try:
            if error is None:
                outcomes.came_up(machine)
            elif not self._away():
                outcomes.did_not_come_up(machine, error)
        except Conflict as conflict:
            log.info("%s: overtaken: %s", machine.name, conflict)

    def _make_batch(self, chosen: list[Machine]) -> None:
        """Make machines for the buffer through playbooks/build.yml."""
        try:
            for machine in chosen:
                if machine.state is S.PLANNED:
                    master.move(machine.id, S.CREATING, f"{machine.name} is being made for the buffer.")
            wanted = [spec(machine, self.settings) for machine in chosen]

            def report(text: str) -> None:
                for machine in chosen:
                    _step(machine.id, text)

            results = batch.build(wanted, self.settings, report)
            for machine in chosen:
                self._made(machine, results[machine.id])
        finally:
            self._batched = set()

    def _hand_over(self, machine: Machine) -> None:
        """Put its owner's name and keys into an assigned machine."""
        try:
            self._personalise(machine)
        except DpeError as error:
            if self._away():
                return
            if machine.attempts + 1 >= TRIES:
                outcomes.could_not_be_handed_over(machine, error)
            else:
                log.warning("%s: not handed over yet: %s", machine.name, error)
                with catalog.write():
                    Machine.update(attempts=machine.attempts + 1, retry_at=now() + RETRY).where(Machine.id == machine.id).execute()
            return
        outcomes.personalised(machine)

    def _personalise(self, machine: Machine) -> None:
        owner = machine.owner
        assert owner is not None
        done = self.provider.execute(
            machine.id,
            guest.GUEST_PERSONALISE,
            input=guest.personalise_input(
                hostname=machine.name,
                user=machine.klass.spec["user"],
                full_name=owner.full_name or owner.name,
                owner=owner.name,
                ssh_keys=owner.ssh_keys.splitlines(),
                now=now(),
            ),
        )
        if done.status:
            raise DpeError(
                f"{guest.GUEST_PERSONALISE[0]} ended with status {done.status}: {done.error.strip()[-500:]}",
                "Look at the seed's role guest.",
            )

    def _revive(self, machine: Machine, there: Found | None) -> None:
        """A machine that should run does not: the host was restarted, the guest was shut down, or its process died."""
        held = machine.state is not S.READY
        if there is None and machine.id not in self.provider.disks():
            if held:
                outcomes.lost(machine, "The hypervisor no longer has it, and its disk is gone.")
            else:
                outcomes.did_not_come_up(machine, DpeError(f"The hypervisor no longer has {machine.name}."))
            return
        wanted = spec(machine, self.settings)
        try:
            _step(machine.id, "starting again")
            self.provider.start(wanted)
            self.provider.wait(wanted, lambda text: _step(machine.id, text))
            if held:
                self._personalise(machine)  # the clock stood still while the machine was off
        except DpeError as error:
            if self._away():
                return
            if not held:
                outcomes.did_not_come_up(machine, error)
                return
            _again_later(machine, error)
            return
        with catalog.write():
            Machine.update(step="", problem="", attempts=0, retry_at=None).where(Machine.id == machine.id).execute()
            record("machine.revived", f"{machine.name} runs again.", class_name=machine.class_name, machine_id=machine.id)

    def _reclaim(self, machine: Machine) -> None:
        """Take the machine away, wholly; then say so."""
        try:
            self.provider.destroy(machine.id)
        except DpeError as error:
            _again_later(machine, error)
            return
        outcomes.gone(machine)

    def _remove_leftover(self, id: str) -> None:
        log.warning("removing %s, which the catalog does not know", id)
        self.provider.destroy(id)
        with catalog.write():
            record("machine.leftover", f"A leftover of an interrupted run ({id}) was removed.", level=catalog.Level.WARNING)

    # -- seeds ------------------------------------------------------------------------------

    def _build_seed(self) -> None:
        if "seed" in self._jobs:
            return
        for seed in seeds.unfinished():
            self._submit(self._makers, "seed", seedruns.run, seed, self.loaded, self.settings)
            return

    # -- the directory ----------------------------------------------------------------------

    def _synchronise(self) -> None:
        if "directory" not in self._jobs and (due := directoryruns.due()):
            self._submit(self._makers, "directory", directoryruns.run, due)


def _again_later(machine: Machine, error: DpeError) -> None:
    """Note what went wrong, and try again after a wait that doubles up to five minutes."""
    wait = min(RETRY * 2 ** min(machine.attempts, 6), timedelta(minutes=5))
    with catalog.write():
        Machine.update(problem=str(error), attempts=machine.attempts + 1, retry_at=now() + wait).where(Machine.id == machine.id).execute()


def _step(id: str, text: str) -> None:
    with catalog.write():
        Machine.update(step=text).where(Machine.id == id).execute()


def _rates(then: float, before: Stats, moment: float, after: Stats) -> dict[str, Any]:
    seconds = max(moment - then, 0.001)

    def rate(a: int, b: int) -> float:
        return max(0, b - a) / seconds  # a restarted machine counts from nought again

    return {
        "cpu": min(1.0, rate(before.cpu_ns, after.cpu_ns) / 1e9 / max(after.vcpus, 1)),
        "memory_used": after.memory_used,
        "disk_rate": rate(before.disk_read + before.disk_written, after.disk_read + after.disk_written),
        "net_rate": rate(before.net_received + before.net_sent, after.net_received + after.net_sent),
    }


def park(settings: Settings, provider: Provider) -> None:
    """Keep every running machine's memory on disk and stop it; the next engine resumes them all."""
    running = [machine for machine in provider.list() if machine.power in (Power.RUNNING, Power.PAUSED)]
    with ThreadPoolExecutor(settings.parallel) as pool:
        jobs = {machine: pool.submit(provider.save, machine.id) for machine in running}
        for number, (machine, job) in enumerate(jobs.items(), 1):
            try:
                job.result()
                print(f"saved {machine.name} ({number} of {len(running)})", flush=True)
            except DpeError as error:
                print(f"could not save {machine.name}: {error}", flush=True)


def main() -> None:
    """`dpe-engine`: run in the foreground until SIGTERM or SIGINT; `--park` saves running machines and ends."""
    parser = argparse.ArgumentParser(prog="dpe-engine", description=main.__doc__)
    parser.add_argument("--park", action="store_true", help="save all running machines to disk and end")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    from appliance.hypervisor.libvirt_provider import LibvirtProvider

    try:
        settings = load_settings()
        layout.prepare(settings)
        held = lock(settings)
        if arguments.park:
            park(settings, LibvirtProvider(settings))
            return
        loaded = load_scenario(settings.scenario)
        catalog.open(settings.catalog)
        secrets.open(settings.web_secret)
        adopt_scenario(loaded)
        setup.ensure_code(settings)
        engine = Engine(settings, LibvirtProvider(settings), loaded)
    except DpeError as error:
        print(f"dpe-engine: {error}", file=sys.stderr)
        sys.exit(1)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: engine.stop())
    log.info("the engine works on %s", settings.state)
    engine.run()
    held.close()
    # Threads may be in the middle of a boot or a build; they are made to be cut off, so nobody waits for them.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
