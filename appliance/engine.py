"""The engine: the one process that touches the hypervisor, disks and Ansible, and where all rooms meet.

A reconciler. Each tick reads what is (the hypervisor) and what is wanted (the catalog), and hands out
jobs, at most one a machine at a time, to a few threads. A job does one idempotent thing and writes its
outcome in one transaction; nothing is remembered between ticks that the catalog does not say. So a
killed engine simply starts again: what was half done is found under its derived name and adopted.
"""

import argparse
import logging
import os
import shutil
import signal
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, NamedTuple

import psutil

from appliance import catalog, layout, syslog
from appliance.backoff import doubled
from appliance.catalog import (
    Class,
    Level,
    Machine,
    MachineState,
    Request,
    RequestState,
    Snapshot,
    aside,
    doorbell,
    is_to_come,
    lineage,
    machines,
    not_ahead,
    now,
    options,
    proofs,
    record,
    runs,
    seeds,
    sequences,
    snapshots,
    todos,
    usage,
)
from appliance.catalog import Engine as EngineRow
from appliance.catalog.lineage import Standing
from appliance.catalog.models import CLOCK_SLACK
from appliance.errors import BadInput, Conflict, DpeError, Unavailable
from appliance.host import ballast
from appliance.hypervisor import making
from appliance.hypervisor.provider import Found, HostFacts, Power, Provider, Stats
from appliance.lifecycle import backups, batch, directoryruns, forks, idle, leases, master, outcomes, proving, rules, seedruns
from appliance.lifecycle import disks as disk_work
from appliance.lifecycle.aside import SetAside, leftovers
from appliance.lifecycle.common import away, note, personal
from appliance.lifecycle.performers import Performers, ended
from appliance.lifecycle.sizing import Sizing
from appliance.lifecycle.specs import spec
from appliance.notify import ALIVE, READY, notify
from appliance.outside import post
from appliance.people import secrets
from appliance.pools.planner import Decision, plan
from appliance.scenario.load import Loaded
from appliance.scenario.load import load as load_scenario
from appliance.seeds.build import test_machine_id
from appliance.seeds.snapshot import template_id
from appliance.services import setup
from appliance.settings import Settings
from appliance.settings import load as load_settings
from appliance.workflow import kinds, start
from appliance.workflow.load import FOLDER as WORKFLOWS
from appliance.workflow.load import adopt_shipped
from appliance.workflow.master import master as load_master
from appliance.workflow.performers import PERFORMERS
from appliance.workflow.performers.people import notice_gone
from appliance.workflow.runner import Begun, Failed, Lane, Runner

log = logging.getLogger("dpe.engine")

S = MachineState

TICK = 1.0  # seconds between looks at the catalog when nobody rings
RESTS, LONGEST_REST = 3, 10.0  # times as long as a look took, and seconds at most: on a slow host machines need the processor
READ_EVERY = 10.0  # seconds between readings of machines and host
LOOK_FOR_IDLE = 30.0  # seconds between looks for machines that nobody uses
READ_SOON = 2.0  # the same while the host has little memory left
ASK_EVERY = 60.0  # seconds between looks for people who are asked and have gone
REMEMBERED = timedelta(days=90)  # that runs are shown for after their end
LOOK_FOR_COPIES = 30.0
RETRY, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=5)
GO_ON = 64 << 20  # bytes that must be free for a machine that found the disk full
STALLED = "It stands still, because the appliance's disk is full. It goes on when there is room."
WAY = timedelta(seconds=3)  # that a refill gives way at most
FORKS = 10  # times as many machines in a batch that begins with a fork
TRIES = 4  # times that a machine nobody has used is made again under its name
TRYING = {"seed", "snapshot", proving.ID}  # jobs that have a machine at one of the few addresses before the slots, one at a time
HANDS = 4  # threads for short jobs, so that a person never waits behind a boot
OUTSIDE = 8  # threads that talk with people and servers, which may keep them waiting
# Runs of a kind, so that none takes all the threads.
AT_ONCE = {"reclaim": 2, "reprovision": 2, "recover": 1, "stop": 2, "start": 2, "suspend": 2, "resume": 2}


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
        there = {sequence.name for sequence in sequences.all()}
        options.put("scenario", {"name": scenario.name, "title": scenario.title, "description": scenario.description})
        for name, described in scenario.classes.items():
            dumped = described.model_dump(mode="json")
            policy, lease, wanted = described.policy, described.lease, described.sequence or described.kind
            if described.sequence not in ("", "none", *there) and not Class.select().where(Class.name == name).exists():
                message = f"{name} follows no sequence: there is no {described.sequence}."
                record("class.no_sequence", message, level=Level.WARNING, class_name=name, hint="Pick another on its page.")
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
                data_disk=described.size.data,
                sequence=wanted if wanted in there else "",
                at_once=described.at_once,
                together_minutes=described.together,
                idle_minutes=lease.idle.minutes,
                idle_grace=lease.idle.warning,
                idle_then=lease.idle.then,
                connect_minutes=lease.connect,
                warn_first=lease.warnings.first,
                warn_last=lease.warnings.last,
                busy_grace=lease.busy,
            ).on_conflict(conflict_target=[Class.name], update={Class.spec: dumped}).execute()
        Class.update(enabled=False).where(Class.name.not_in(list(scenario.classes))).execute()


def adopt_sequences(settings: Settings) -> None:
    """Make what is shipped, and what the scenario brings, sequences; say which kinds of activity are missing."""
    adopt_shipped(WORKFLOWS, settings.scenario / "workflows")
    with catalog.write():
        for name, problem in kinds.broken().items():
            message = f"The kind of activity {name} is missing: {problem}"
            record("activities.missing", message, level=Level.ERROR, hint="Repair or remove the package that brings it.")


class Making(NamedTuple):
    """A run that stands at making its machine."""

    run_id: int
    machine: Machine


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
        self._reader = ThreadPoolExecutor(1, "read")
        self._jobs: dict[str, Future[None]] = {}
        self._kinds: dict[str, str] = {}  # of the runs among them
        self._batched: set[str] = set()
        self._last: dict[str, tuple[float, Stats]] = {}
        self._facts: HostFacts | None = None
        self._read_at = self._said_at = self._copies_at = self._asked_at = self._idle_at = float("-inf")
        self._wall = time.time() - time.monotonic()
        self._watched_since = now()
        self._said: HostFacts | None = None
        self._problem: str | None = None
        self._set_up = False
        self._checked = False
        self._cpu = 0.0
        self._sizing = Sizing(settings)
        self._aside = SetAside(settings, provider)
        self._outside = ThreadPoolExecutor(OUTSIDE, "outside")
        self._pools = {Lane.HANDS: self._hands, Lane.MAKERS: self._makers, Lane.OUTSIDE: self._outside}
        self._performers = Performers(settings, provider)
        others = {plugin.kind.name: plugin.performer for plugin in kinds.plugins()}
        self.runner = Runner({**others, **PERFORMERS, **self._performers.all()}, ended=ended)
        with catalog.write():
            runs.requeue()
            if self._seen_ahead():
                runs.look_again(now())
        provider.watch(lambda _id: doorbell.ring())

    def run(self) -> None:
        """Tick until `stop()`; a tick that fails is logged, and the next one tries again."""
        while not self.stopping:
            begun = time.monotonic()
            try:
                self.tick()
                notify(READY)  # systemd hears the first one
            except Exception:
                log.exception("a tick failed")
            notify(ALIVE)  # one that fails is none that hangs
            self._bell.wait(max(TICK, min(RESTS * (time.monotonic() - begun), LONGEST_REST)))
        self._aside.mark(at_once=True)

    def stop(self) -> None:
        """Make `run()` return soon. Jobs under way are cut off by the process's end, which they are made to survive."""
        self.stopping = True
        doorbell.ring()

    def close(self) -> None:
        """Let the threads end, and the bell go."""
        self._makers.shutdown(wait=True, cancel_futures=True)
        self._hands.shutdown(wait=True, cancel_futures=True)
        self._outside.shutdown(wait=True, cancel_futures=True)
        self._sender.shutdown(wait=True, cancel_futures=True)
        self._reader.shutdown(wait=True, cancel_futures=True)
        self._aside.mark(at_once=True)
        self._bell.close()

    def jobs(self) -> list[Future[None]]:
        """The jobs under way."""
        return [job for job in self._jobs.values() if not job.done()]

    def look_for_idle_again(self) -> None:
        """Look for machines that nobody uses at the next tick, whenever that was last."""
        self._idle_at = float("-inf")

    def read_again(self) -> None:
        """Take the next reading of machines and host at the next tick, whenever the last one was."""
        self._read_at = float("-inf")

    # -- one tick ---------------------------------------------------------------------------

    def tick(self) -> None:
        """Look, compare, plan, and hand out jobs."""
        self._jobs = {key: job for key, job in self._jobs.items() if not job.done()}
        self._kinds = {key: kind for key, kind in self._kinds.items() if key in self._jobs}
        if not self._may_work():
            return
        self._dispatch()  # first of all: somebody has just pressed the button
        if "syslog" not in self._jobs and self._forwarder.wanted():
            self._submit(self._sender, "syslog", self._forwarder.forward)
        if self._was_set_back():
            with catalog.write():
                runs.look_again(now())
        if "mail" not in self._jobs and todos.are_letters_due(now()):
            self._submit(self._outside, "mail", post.send_due)
        if time.monotonic() - self._asked_at > ASK_EVERY:
            self._asked_at = time.monotonic()
            notice_gone()
            with catalog.write():
                runs.forget(REMEMBERED)
        looked_at = now()
        found = self._look()
        leases.warn()
        leases.expire()
        for class_name in machines.waiting():
            outcomes.serve_waiting(class_name)
        self._synchronise()
        if found is None:
            self._watched_since = now()  # nobody looks at machines meanwhile
            return
        self._read_if_due()
        self._look_for_idle()
        disks = set(self.provider.disks())
        self._tend(found, disks, looked_at)
        self._sweep(found.keys() | disks)
        self._aside.mark()
        if "copies" not in self._jobs and time.monotonic() - self._copies_at >= LOOK_FOR_COPIES:
            self._copies_at = time.monotonic()
            self._submit(self._outside, "copies", backups.scan, self.settings)  # another server's folder may keep it waiting
        if "disks" not in self._jobs and disk_work.due():
            self._submit(self._makers, "disks", disk_work.sweep, self.settings, self.provider)
        if options.get("setup_done"):
            if not self._set_up:
                setup.ensure_code(self.settings)  # takes the used code away, which the web process cannot
                self._set_up = True
            self._keep_snapshots()  # before machines are planned, which wait for theirs
            self._prove()
            self._plan()
        self._build_seed()  # before set-up, those that came with the image

    def _was_set_back(self) -> bool:
        """Whether the host's clock was ahead until a moment ago."""
        before, self._wall = self._wall, time.time() - time.monotonic()
        return self._wall < before - CLOCK_SLACK.total_seconds()

    @staticmethod
    def _seen_ahead() -> bool:
        """Whether an engine before this one saw a time that is still to come."""
        before = EngineRow.get_or_none()
        return before is not None and before.seen_at > not_ahead(now())

    def _may_work(self) -> bool:
        """Whether this is the catalog that was here before, or an admin has decided what becomes of what another one does not know."""
        if self._aside.decided or self._aside.goes_on():
            return True
        if "syslog" not in self._jobs and self._forwarder.wanted():
            self._submit(self._sender, "syslog", self._forwarder.forward)
        found = self._look()
        if found is None:
            return False
        self._read_if_due()
        return self._aside.decide(found, set(self.provider.disks()))

    def _look(self) -> dict[str, Found] | None:
        """What the hypervisor has, by id; None while it is away, and then nothing is concluded from its silence."""
        try:
            found = {machine.id: machine for machine in self.provider.list()}
            problem = ""
        except Unavailable as error:
            found, problem = None, str(error)
        if problem != self._problem or self._facts is not self._said or time.monotonic() - self._said_at > READ_EVERY:
            self._say(problem)
        return found

    def _say(self, problem: str) -> None:
        changed = self._problem is not None and (problem == "") != (self._problem == "")
        self._problem, self._said, self._said_at = problem, self._facts, time.monotonic()
        host: dict[str, Any] = {} if self._facts is None else {**asdict(self._facts), "cpu_percent": self._cpu}
        with catalog.write():
            EngineRow.insert(
                id=1, seen_at=now(), hypervisor_ok=not problem, hypervisor_problem=problem, host=host
            ).on_conflict_replace().execute()
            if changed and problem:
                record("hypervisor.away", f"The hypervisor is away: {problem}", level=catalog.Level.ERROR)
            elif changed:
                record("hypervisor.back", "The hypervisor is back; work goes on.")

    def _read_if_due(self) -> None:
        """A reading of machines and host takes a while, so no tick waits for it."""
        moment = time.monotonic()
        scarce = self._facts is not None and self._facts.memory_available < 2 * self.settings.host_reserve
        if "reading" not in self._jobs and moment - self._read_at >= (READ_SOON if scarce else READ_EVERY):
            self._read_at = moment
            self._submit(self._reader, "reading", self._read, moment)

    def _look_for_idle(self) -> None:
        """Guests that are asked may take their time, so no tick waits for it."""
        if "idle" not in self._jobs and time.monotonic() - self._idle_at >= LOOK_FOR_IDLE:
            self._idle_at = time.monotonic()
            idle.take_back_unopened()
            self._submit(self._outside, "idle", idle.look, self.provider, self._watched_since)

    def _read(self, moment: float) -> None:
        facts, readings = self.provider.host(), self.provider.stats()
        known = machines.live_ids()
        latest = {stats.id: (moment, stats) for stats in readings if stats.id in known}
        # The first reading of a machine knows no rates yet.
        rates = {id: _rates(*self._last.get(id, (moment, stats)), moment, stats) for id, (_, stats) in latest.items()}
        busy = [id for id, rate in rates.items() if idle.is_busy(cpu=rate["cpu"], network=rate["net_rate"], disk=rate["disk_rate"])]
        with catalog.write():
            machines.note_readings(rates)
            if busy:
                usage.note(busy, now())
        self._last, self._cpu = latest, psutil.cpu_percent()
        self._sizing.note(facts, self._cpu / 100)
        self._facts = facts

    def _tend(self, found: dict[str, Found], disks: set[str], looked_at: datetime) -> None:
        """One job for each machine whose state asks for one."""
        moment = now()
        for machine in machines.failed():
            if machine.id not in self._jobs:
                master.move(machine.id, S.RECLAIMING, f"{machine.name} is thrown away.")
        for id, kind in runs.missing():
            self._adopt(id, kind)
        self._dispatch()
        for machine in machines.with_ids(self._amiss(found, disks) - self._jobs.keys()):
            idle = machine.state in (S.READY, S.IN_USE, *rules.OFF) and not is_to_come(machine.retry_at, LONGEST_WAIT, moment)
            if idle and machine.state_since <= looked_at and not self._is_moved(machine.id):
                self._submit(self._makers, machine.id, self._revive, machine, found.get(machine.id))

    def _adopt(self, id: str, kind: str) -> None:
        """Begin the run of a machine from a catalog of before there were runs."""
        with catalog.write():
            machine = machines.by_id(id)
            assert machine is not None
            asked = None if kind != "assign" else Request.get_or_none(Request.machine == id, Request.state == RequestState.GRANTED)
            if asked is not None:
                minutes = machine.klass.lease_minutes
                start.assign(asked, start.plan(kind, machine.class_name, machine.owner_id, lease_minutes=minutes), approved=True)
            elif kind == "assign":
                master.move(id, S.RECLAIMING, f"{machine.name} was given to nobody.")
            else:
                start.begin(kind, machine, bare=machine.owner_id is None)

    def _amiss(self, found: dict[str, Found], disks: set[str]) -> set[str]:
        """The machines that should stand still or run, and do not: ids."""
        by_power: dict[Power, set[str]] = {power: set() for power in Power}
        for machine in found.values():
            by_power[machine.power].add(machine.id)
        steady = machines.steady()
        return (
            steady["running"] - by_power[Power.RUNNING]
            | steady["paused"] - by_power[Power.RUNNING] - by_power[Power.PAUSED]
            | steady["cold"] - by_power[Power.OFF] - (disks - found.keys())
            | steady["off"] & (by_power[Power.RUNNING] | by_power[Power.PAUSED])
            | steady["off"] - disks
        )

    def _is_moved(self, id: str) -> bool:
        """Whether a run is about to stop or start the machine, or the like: then it need not be as its state says."""
        run = rules.at_work(id)
        if run is None:
            return False
        stage = self.runner.next(run.id)
        return stage is None or stage.part == "core"

    # -- runs ---------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Hand out the runs that can go on, the most urgent first: one at a time for a machine, and not too many of a kind."""
        at_work = Counter(self._kinds[key] for key, job in self._jobs.items() if key in self._kinds and not job.done())
        to_make: dict[str, list[Making]] = defaultdict(list)
        for due in runs.due(now()):
            key = due.machine_id or f"run-{due.id}"
            if key in self._jobs or key in self._batched or at_work[due.kind] >= AT_ONCE.get(due.kind, len(self._jobs) + 1):
                continue
            stage = self.runner.next(due.id)
            if stage is not None and stage.name == "make" and due.kind == "make" and due.machine_id:
                machine = machines.by_id(due.machine_id)
                assert machine is not None
                to_make[machine.class_name].append(Making(due.id, machine))
                continue
            at_work[due.kind] += 1
            self._kinds[key] = due.kind
            self._submit(self._pools[self.runner.lane(stage)], key, self._advance, due.id, due.machine_id)
        self._make_all(to_make)

    def _advance(self, id: int, machine_id: str | None) -> None:
        """Take a run as far as these threads do; when it has got a machine, or others are to go on, the next tick sees to it."""
        lane: Lane | None = None
        try:
            while not self.stopping and (lane is None or self.runner.lane(self.runner.next(id)) is lane):
                begun = self.runner.begin(id)
                if begun is None:
                    return
                lane = begun.performer.lane
                self.runner.settle(begun, self.runner.perform(begun))
                known = runs.by_id(id)
                if known is None or known.machine_id != machine_id:
                    return
        except BaseException:
            with catalog.write():
                runs.requeue(id)
            raise

    def _make_all(self, to_make: dict[str, list[Making]]) -> None:
        """People who wait get theirs straight away, a thread each; the refill of buffers goes through the playbook, a batch at a time."""
        waiting = machines.waiting()
        refill: list[Making] = []
        for class_name, planned in to_make.items():
            urgent = waiting.get(class_name, 0)
            for one in planned[:urgent]:
                self._submit(self._makers, one.machine.id, self._advance, one.run_id, one.machine.id)
            refill += planned[urgent:]
        if refill and "batch" not in self._jobs and not any(waiting.values()) and not self._gives_way(refill):
            # Forks are quick, so that more of them share a playbook's start-up.
            chosen = refill[: self.settings.parallel * (FORKS if refill[0].machine.snapshot_id else 1)]
            self._batched = {one.machine.id for one in chosen}
            self._submit(self._makers, "batch", self._make_batch, chosen)

    def _gives_way(self, refill: list[Making]) -> bool:
        """Whether the refill waits a moment for people whose machines are being handed over: a playbook's start-up would take the processors from them."""
        return now() - min(one.machine.created_at for one in refill) < WAY and machines.are_assigned()

    def _sweep(self, there: set[str]) -> None:
        """Take away what is left of machines that are over, and set aside what the catalog knows nothing of."""
        known = machines.live_ids()
        known |= {test_machine_id(seed.id) for seed in seeds.unfinished()}
        known |= {template_id(id) for id in snapshots.ids()}
        if unknown := there - known - self._jobs.keys():
            over, listed = leftovers(unknown), aside.machine_ids()
            for id in over:
                self._submit(self._hands, id, self._remove_leftover, id)
            for id in unknown - over - listed:
                self._submit(self._hands, id, self._aside.take_in, id)
        if "aside" not in self._jobs and self._aside.is_due():
            self._submit(self._makers, "aside", self._aside.look)

    # -- planning ---------------------------------------------------------------------------

    def _plan(self) -> None:
        if self._facts is None:
            return
        demands, capacity = self._sizing.look(self._facts)
        known = {klass.name: (klass.limit_reason, klass.short_of_memory) for klass in list(Class.select())}
        for decision in plan(demands, capacity):
            if (decision.reason, decision.short_of_memory) != known[decision.name]:
                with catalog.write():
                    Class.update(limit_reason=decision.reason, short_of_memory=decision.short_of_memory).where(
                        Class.name == decision.name
                    ).execute()
            if decision.create:
                self._create(decision)
            for machine in machines.dispensable(decision.name, decision.remove):
                self._remove_ready(machine, "the buffer is larger than its policy or than what could be handed out")
            for machine in machines.largest(decision.name, decision.shed):
                self._remove_ready(machine, "memory is short")

    def _create(self, decision: Decision) -> None:
        with catalog.write():
            klass, seed = Class.get_by_id(decision.name), seeds.promoted(decision.name)
            assert seed is not None
            snapshot = forks.usable(klass, seed)
            for slot in machines.next_slots(decision.create, self.settings.slots):
                machine = machines.create(klass, seed, str(uuid.uuid4()), slot, snapshot)
                record("machine.planned", f"{machine.name} is planned.", class_name=klass.name, machine_id=machine.id, seed_id=seed.id)
                start.begin("make", machine)
        doorbell.ring()

    def _remove_ready(self, machine: Machine, reason: str) -> None:
        why = reason if machine.seed.promoted else "its seed is no longer the promoted one"
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

    def _make_batch(self, chosen: list[Making]) -> None:
        """Make machines for the buffer through playbooks/build.yml: one step of many runs at once."""
        try:
            begun: dict[str, Begun] = {}
            left: dict[str, Machine] = {}
            for one in chosen:
                step = self.runner.begin(one.run_id)
                if step is None:
                    continue  # overtaken
                if step.undoing or step.context.stage.name != "make":
                    self.runner.settle(step, self.runner.perform(step))
                    continue
                try:
                    self._performers.creating(one.machine, "is being made for the buffer")
                except Conflict as conflict:
                    self.runner.settle(step, Failed(conflict))
                    continue
                begun[one.machine.id], left[one.machine.id] = step, one.machine
            wanted = {id: spec(machine, self.settings) for id, machine in left.items()}

            def report(text: str) -> None:
                for machine in left.values():
                    note(machine.id, text)

            def done(id: str, built: batch.Built) -> None:
                self.runner.settle(begun[id], self._performers.made(left.pop(id), built, wanted[id].readiness))
                self._batched.discard(id)

            if wanted:
                batch.build(list(wanted.values()), self.settings, report, done)
        finally:
            self._batched = set()

    def _revive(self, machine: Machine, there: Found | None) -> None:
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
            note(machine.id, "starting again")
            self.provider.start(wanted)
            self.provider.wait(wanted, lambda text: note(machine.id, text), personalise=personal(machine) if held else b"")
            if not held and wanted.readiness == "paused":
                self.provider.suspend(machine.id)
        except DpeError as error:
            if away(self.provider):
                return
            if not held:
                outcomes.did_not_come_up(machine, error)
                return
            _again_later(machine, error)
            return
        with catalog.write():
            Machine.update(step="", problem="", attempts=0, retry_at=None).where(Machine.id == machine.id).execute()
            record("machine.revived", f"{machine.name} runs again.", class_name=machine.class_name, machine_id=machine.id)

    def _has_room(self, machine: Machine) -> bool:
        """Whether a machine that found the disk full can go on. What was kept for that case is not for machines."""
        room = ballast.room(self.settings)
        if not room.full and room.free > GO_ON:
            return True
        with catalog.write():
            Machine.update(problem=STALLED, retry_at=now() + RETRY).where(Machine.id == machine.id).execute()
            if machine.problem != STALLED:
                record(
                    "machine.stalled",
                    f"{machine.name} stands still: it wanted to write, and the disk is full. It goes on when there is room.",
                    level=Level.ERROR,
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
                _again_later(machine, error)
            return
        with catalog.write():
            Machine.update(problem="", attempts=0, retry_at=None).where(Machine.id == machine.id).execute()
            record("machine.rests", f"{machine.name} ran, though it is {machine.state.value}; it is again.", machine_id=machine.id)

    def _make_again(self, machine: Machine) -> None:
        """Nobody has used it, so a new one under the same name is as good; but not for ever."""
        wanted = spec(machine, self.settings)
        try:
            if machine.attempts >= TRIES:
                raise DpeError(
                    f"{machine.name} went off again and again while it waited.", "Look at what its seed does when it is left alone."
                )
            self.provider.destroy(machine.id)
            made = making.make(self.provider, wanted, lambda text: note(machine.id, text))
        except DpeError as error:
            if not away(self.provider):
                outcomes.did_not_come_up(machine, error)
            return
        if made.fork_error is not None:
            forks.failed(machine, made.fork_error)
        with catalog.write():
            kept = machine.snapshot_id if made.spec.snapshot else None
            origin = "fork" if made.forked else "boot"
            again = machine.attempts + 1
            Machine.update(step="", problem="", attempts=again, snapshot=kept, origin=origin).where(Machine.id == machine.id).execute()
            record("machine.revived", f"{machine.name} was made again.", class_name=machine.class_name, machine_id=machine.id)

    def _remove_leftover(self, id: str) -> None:
        log.warning("removing %s, a leftover of a machine that is over", id)
        self.provider.destroy(id)
        with catalog.write():
            record("machine.leftover", f"A leftover of an interrupted run ({id}) was removed.", level=catalog.Level.WARNING)

    # -- seeds ------------------------------------------------------------------------------

    def _build_seed(self) -> None:
        if TRYING & self._jobs.keys():
            return
        for seed in seeds.unfinished():
            self._submit(self._makers, "seed", seedruns.run, seed, self.loaded, self.settings)
            return
        for seed in seeds.leaving():
            if self._is_lain_on(str(Path(seed.files["disk"]).parent)):
                continue
            self._submit(self._makers, "seed", seedruns.remove, seed, self.settings)
            return

    def _is_lain_on(self, folder: str) -> bool:
        """Whether a machine that is set aside has its disk on one in this folder."""
        return any(Path(base).is_relative_to(folder) for base in aside.bases())

    def _prove(self) -> None:
        """Make a machine to see whether one can be, when somebody asks; not before the snapshots were looked at, which it is forked from."""
        if self._checked and not TRYING & self._jobs.keys() and (asked := proofs.asked()):
            self._submit(self._makers, proving.ID, proving.run, asked, self.settings, self.provider)

    # -- the directory ----------------------------------------------------------------------

    def _synchronise(self) -> None:
        if "directory" not in self._jobs and (due := directoryruns.due()):
            self._submit(self._makers, "directory", directoryruns.run, due)

    # -- snapshots --------------------------------------------------------------------------

    def _keep_snapshots(self) -> None:
        """See that there is one to fork from for each class that forks, and none that nobody needs; one job at a time."""
        for seed_id in snapshots.missing():
            with catalog.write():
                snapshots.begin(seed_id)
        if TRYING & self._jobs.keys():
            return
        if not self._checked:
            self._checked = True
            self._submit(self._makers, "snapshot", self._check_snapshots)
            return
        for snapshot in snapshots.due():
            self._submit(self._makers, "snapshot", forks.take, snapshot, self.settings, self.provider)
            return
        for snapshot in snapshots.unused():
            if self._is_lain_on(snapshot.folder):
                continue
            self._submit(self._makers, "snapshot", self._remove_snapshot, snapshot)
            return

    def _check_snapshots(self) -> None:
        """All of them are read once after a start: the host may have been upgraded, and disks forget."""
        shutil.rmtree(self.settings.run / "verified", ignore_errors=True)
        for snapshot in snapshots.ready():
            forks.check(snapshot, self.settings, self.provider)

    def _remove_snapshot(self, snapshot: Snapshot) -> None:
        try:
            shutil.rmtree(forks.folder(snapshot, self.settings), ignore_errors=True)
        except BadInput as error:
            log.error("nothing of the snapshot %s is removed: %s", snapshot.id, error)
        forks.forget(snapshot)


def _again_later(machine: Machine, error: DpeError) -> None:
    """Note what went wrong, and try again after a wait that doubles up to five minutes."""
    wait = doubled(RETRY, machine.attempts, LONGEST_WAIT)
    with catalog.write():
        Machine.update(problem=str(error), attempts=machine.attempts + 1, retry_at=now() + wait).where(Machine.id == machine.id).execute()


def _rates(then: float, before: Stats, moment: float, after: Stats) -> dict[str, Any]:
    seconds = max(moment - then, 0.001)

    def rate(a: int, b: int) -> float:
        return max(0, b - a) / seconds  # a restarted machine counts from nought again

    return {
        "cpu": min(1.0, rate(before.cpu_ns, after.cpu_ns) / 1e9 / max(after.vcpus, 1)),
        "memory_used": after.memory_used,
        "memory_private": after.memory_private,
        "memory_shared": after.memory_shared,
        "disk_rate": rate(before.disk_read + before.disk_written, after.disk_read + after.disk_written),
        "net_rate": rate(before.net_received + before.net_sent, after.net_received + after.net_sent),
    }


def park(settings: Settings, provider: Provider) -> None:
    """Keep every running machine's memory on disk and stop it; the next engine resumes them all. Forks in the buffer are quicker made anew."""
    trusted = lineage.standing(lineage.read(settings.mark)) in (Standing.SAME, Standing.UNMARKED) and not options.get("undecided")
    buffered = machines.forked_and_ready() if trusted else set()  # else one may be somebody's by now
    running = [machine for machine in provider.list() if machine.power in (Power.RUNNING, Power.PAUSED)]
    saved = [machine for machine in running if machine.id not in buffered]
    with ThreadPoolExecutor(settings.parallel) as pool:
        removed = [pool.submit(provider.destroy, machine.id) for machine in running if machine.id in buffered]
        jobs = {machine: pool.submit(provider.save, machine.id) for machine in saved}
        for number, (machine, job) in enumerate(jobs.items(), 1):
            try:
                job.result()
                print(f"saved {machine.name} ({number} of {len(saved)})", flush=True)
            except DpeError as error:
                print(f"could not save {machine.name}: {error}", flush=True)
        for gone in removed:
            try:
                gone.result()
            except DpeError as error:
                print(f"could not remove a buffered machine: {error}", flush=True)


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
            catalog.open(settings.catalog)
            park(settings, LibvirtProvider(settings))
            return
        loaded = load_scenario(settings.scenario)
        load_master()
        catalog.open(settings.catalog)
        secrets.open(settings.web_secret)
        adopt_sequences(settings)
        adopt_scenario(loaded)  # whose classes follow them
        seedruns.queue_shipped(loaded, settings)
        seedruns.offer_shipped(loaded, settings)
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
