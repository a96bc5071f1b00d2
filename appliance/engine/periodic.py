"""The controllers, and the table of all that the engine does by itself."""

from dataclasses import dataclass, field
from datetime import timedelta

from appliance import catalog, syslog
from appliance.access import machine_names
from appliance.catalog import job_queue, machines, now, options, outgoing_mail, runs, webhooks
from appliance.engine import forecasts, listeners
from appliance.engine.balancer import Balancer
from appliance.engine.clock import Clock
from appliance.engine.dispatcher import Dispatcher
from appliance.engine.farm import QUEUE as FARM
from appliance.engine.farm import THREADS as FARM_THREADS
from appliance.engine.farm import Farm
from appliance.engine.growth import EVERY as GROWTH_EVERY
from appliance.engine.growth import DataGrowth
from appliance.engine.heartbeat import Heartbeat
from appliance.engine.jobs import Jobs
from appliance.engine.listeners import Listeners
from appliance.engine.orphans import Orphans
from appliance.engine.pools import Pools
from appliance.engine.probes import Probes
from appliance.engine.rates import EVERY as LIMITS_EVERY
from appliance.engine.rates import Limits
from appliance.engine.readings import EVERY as READ_EVERY
from appliance.engine.readings import Readings
from appliance.engine.recorder import Recorder
from appliance.engine.refill import Refill
from appliance.engine.repair import Repair
from appliance.engine.rules import EVERY as DECIDED_EVERY
from appliance.engine.rules import Rules
from appliance.engine.scenario import Follower
from appliance.engine.schedule import EVERY_TICK, ONCE, Needs, Periodic
from appliance.engine.seeds import Seeds
from appliance.engine.snapshots import Snapshots
from appliance.engine.ssh import Ssh
from appliance.engine.trends import EVERY as JUDGED_EVERY
from appliance.engine.trends import Trends
from appliance.engine.upkeep import Upkeep
from appliance.engine.vertical import EVERY as MEMORY_EVERY
from appliance.engine.vertical import QUEUE as MEMORY
from appliance.engine.vertical import THREADS as MEMORY_THREADS
from appliance.engine.vertical import Vertical
from appliance.hypervisor.provider import Provider
from appliance.lifecycle import directory_runs, disk_copies, disks, idle, leases, outcomes, package_index, recipes
from appliance.lifecycle.aside import SetAside
from appliance.lifecycle.handlers import Handlers
from appliance.lifecycle.sizing import Sizing
from appliance.outbound import mail_outbox, subscriptions
from appliance.readings import Store
from appliance.services import setup
from appliance.services.webhooks import MOST as WEBHOOKS_MOST
from appliance.settings import Settings
from appliance.workflow.activities.people import notice_gone
from appliance.workflow.runner import Queue, Runner

REMEMBERED = timedelta(days=90)  # that runs are shown for after their end
READINGS, SYSLOG = "readings", "syslog"  # queues of one thread, because a host or a receiver may keep it waiting
WEBHOOKS = "webhooks"  # as many as there may be, so that no receiver keeps another one's events waiting
THREADS = {Queue.SHORT: 4, Queue.NETWORK: 8, READINGS: 1, SYSLOG: 1, WEBHOOKS: WEBHOOKS_MOST, FARM: FARM_THREADS, MEMORY: MEMORY_THREADS}
BESIDE_MACHINES = 3  # threads for long jobs besides those that make machines: a batch, a seed and the directory


def threads(settings: Settings) -> dict[str, int]:
    """How many each queue has."""
    return {Queue.LONG: settings.parallel + BESIDE_MACHINES, **THREADS, listeners.QUEUE: listeners.threads()}


@dataclass
class Controllers:
    """All of them, each handed what it needs."""

    settings: Settings
    provider: Provider
    jobs: Jobs
    runner: Runner
    handlers: Handlers
    clock: Clock = field(default_factory=Clock)
    forwarder: syslog.Forwarder = field(default_factory=syslog.Forwarder)

    def __post_init__(self) -> None:
        settings, provider, jobs = self.settings, self.provider, self.jobs
        sizing = Sizing(settings)
        self.set_aside = SetAside(settings, provider)
        self.readings = Readings(settings, provider, sizing)
        store = Store(settings.readings)
        self.balancer = Balancer(settings)
        self.recorder, self.trends = Recorder(store, self.readings, self.balancer), Trends(settings, store, self.readings)
        self.rules, self.farm, self.probes = Rules(store), Farm(provider, jobs), Probes(provider, store)
        self.vertical = Vertical(settings, provider, self.readings, jobs)
        self.limits, self.growth = Limits(settings, provider), DataGrowth(settings, provider, self.readings, jobs)
        self.heartbeat = Heartbeat(provider, self.readings)
        self.dispatcher = Dispatcher(self.runner, Refill(settings, provider, self.runner, self.handlers, jobs), jobs)
        self.upkeep = Upkeep(self.runner, self.heartbeat, Repair(settings, provider), jobs)
        self.orphans = Orphans(provider, self.heartbeat, self.set_aside, jobs)
        self.snapshots = Snapshots(settings, provider, jobs)
        self.seeds = Seeds(settings, provider, jobs)
        self.ssh = Ssh(settings, provider, jobs)
        self.scenario = Follower(settings, jobs)
        self.listeners = Listeners(jobs)
        self.pools = Pools(settings, self.readings, sizing, self.balancer)

    # -- work that needs no controller of its own ---------------------------------------------

    def decide(self) -> None:
        """See whether this is the catalog that was here before, or an admin has decided what becomes of what another one does not know."""
        if not (self.set_aside.decided or self.set_aside.goes_on()):
            self.heartbeat.look()
            if (seen := self.heartbeat.seen) is not None:
                self.set_aside.decide(seen.machines, seen.disks)

    def keep_leases(self) -> None:
        """Announce the ends of leases, take back what has ended, and give what is free to who waits."""
        leases.warn()
        leases.expire()
        for class_name in machines.waiting():
            outcomes.serve_waiting(class_name)

    def call_webhooks(self) -> None:
        """Hand out a job for each webhook that has something to deliver."""
        for id in webhooks.due(now()):
            if (key := f"webhook-{id}") not in self.jobs:
                self.jobs.submit(WEBHOOKS, key, subscriptions.send_due, id)

    def forget(self) -> None:
        """Forget runs that ended long ago, and deliveries to webhooks that are no longer of use."""
        with catalog.write():
            runs.forget(REMEMBERED)
            job_queue.forget(now())
            webhooks.forget(now())

    def synchronise(self) -> None:
        """Bring people, groups and org units in line with the directory."""
        if (due := directory_runs.due_run()) is not None:
            directory_runs.run(due)

    def take_back_unopened(self) -> None:
        """Take back what its owner never opened."""
        idle.take_back_unopened()

    def judge_idle(self) -> None:
        """Look for machines that nobody uses; guests that are asked may take their time."""
        idle.look_for_idle(self.provider, self.heartbeat.watched_since)


def table(of: Controllers) -> list[Periodic]:
    """Looked at from top to bottom at every tick. README.md says what each is for."""
    settings, provider, forwarder, aside = of.settings, of.provider, of.forwarder, of.set_aside
    anyway, decided, watched, set_up = Needs.NOTHING, Needs.DECISION, Needs.MACHINES, Needs.MACHINES | Needs.SETUP
    return [
        Periodic("decision", EVERY_TICK, of.decide, anyway),
        Periodic("runs", EVERY_TICK, of.dispatcher.dispatch, decided),  # before all looks: somebody has just pressed the button
        Periodic("syslog", EVERY_TICK, forwarder.forward, anyway, SYSLOG, forwarder.wanted),
        Periodic("clock", EVERY_TICK, of.clock.check, decided),
        Periodic("mail", EVERY_TICK, mail_outbox.send_due, decided, Queue.NETWORK, lambda: outgoing_mail.is_mail_due(now())),
        Periodic("webhooks", EVERY_TICK, of.call_webhooks, decided),
        Periodic("listeners", EVERY_TICK, of.listeners.dispatch, decided),
        Periodic("names", EVERY_TICK, lambda: machine_names.serve(settings, options.get("machine_names")), decided),
        Periodic("approvers", 60, notice_gone, decided),
        Periodic("retention", 60, of.forget, decided),
        Periodic("heartbeat", EVERY_TICK, of.heartbeat.look, decided),
        Periodic("scenario", EVERY_TICK, of.scenario.follow, decided, Queue.SHORT, of.scenario.is_due),
        Periodic("leases", EVERY_TICK, of.keep_leases, decided),
        Periodic("directory", EVERY_TICK, of.synchronise, decided, Queue.LONG, lambda: directory_runs.due_run() is not None),
        Periodic("packages", EVERY_TICK, lambda: package_index.read_wanted(settings), decided, Queue.NETWORK, package_index.is_due),
        Periodic("readings", of.readings.every, of.readings.take, Needs.HYPERVISOR, READINGS),
        Periodic("recorder", READ_EVERY, of.recorder.record, Needs.HYPERVISOR, READINGS),  # after them, in the one thread of their queue
        Periodic("probes", 30, of.probes.read, watched, Queue.NETWORK, of.probes.is_due),
        Periodic("rules", DECIDED_EVERY, of.rules.decide, Needs.HYPERVISOR, READINGS),  # and after what was recorded
        Periodic("memory", MEMORY_EVERY, of.vertical.dispatch, watched),
        Periodic("rates", LIMITS_EVERY, of.limits.keep, watched, READINGS, of.limits.is_due),
        Periodic("growth", GROWTH_EVERY, of.growth.look, watched),
        Periodic("trends", JUDGED_EVERY, of.trends.judge, Needs.HYPERVISOR, READINGS),
        Periodic("unopened", 30, of.take_back_unopened, watched),
        Periodic("idle", 30, of.judge_idle, watched, Queue.NETWORK),
        Periodic("orphaned runs", EVERY_TICK, of.upkeep.adopt_orphans, watched),
        Periodic("new runs", EVERY_TICK, of.dispatcher.dispatch, watched),
        Periodic("repair", EVERY_TICK, of.upkeep.repair_machines, watched),
        Periodic("orphans", EVERY_TICK, of.orphans.sweep, watched),
        Periodic("ssh", 2, of.ssh.tell, watched),
        Periodic("aside", EVERY_TICK, aside.look, watched, Queue.LONG, aside.is_due),
        Periodic("mark", EVERY_TICK, aside.mark, watched),
        Periodic("copies", 30, lambda: disk_copies.scan(settings), watched, Queue.NETWORK),  # another server's folder may be slow
        Periodic("disks", EVERY_TICK, lambda: disks.sweep(settings, provider), watched, Queue.LONG, disks.is_sweep_due),
        Periodic("setup code", ONCE, lambda: setup.ensure_code(settings), set_up),  # takes it away, which the web process cannot
        Periodic("snapshots", EVERY_TICK, of.snapshots.keep, set_up),  # before machines are planned, which wait for theirs
        Periodic("smoke test", EVERY_TICK, of.snapshots.smoke_test, set_up),
        Periodic("forecast", 60, lambda: forecasts.make(settings), set_up, Queue.LONG, lambda: bool(forecasts.due())),
        Periodic("services", EVERY_TICK, of.balancer.keep, watched, Queue.SHORT, of.balancer.is_due),
        Periodic("jobs", EVERY_TICK, of.farm.dispatch, set_up),  # before machines are removed that could work on one
        Periodic("pools", EVERY_TICK, of.pools.plan, set_up),
        Periodic("recipes", EVERY_TICK, recipes.build_wanted, set_up, Queue.SHORT, recipes.is_due),
        Periodic("recipes unused", 600, lambda: recipes.tidy(settings), set_up, Queue.LONG),
        Periodic("seeds", EVERY_TICK, of.seeds.build, watched),  # before set-up, those that came with the image
    ]
