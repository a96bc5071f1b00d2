"""Snapshots that machines are forked from, and the smoke test, which is made after they were looked at."""

from appliance import catalog
from appliance.catalog import aside, smoke_tests, snapshots
from appliance.engine.jobs import Jobs
from appliance.engine.seeds import TRIALS
from appliance.hypervisor.provider import Provider
from appliance.lifecycle import forks
from appliance.lifecycle import smoke_test as proving
from appliance.settings import Settings
from appliance.workflow.runner import Queue

KEY = "snapshot"


class Snapshots:
    """`checked`: whether those that were here before this engine were looked at."""

    def __init__(self, settings: Settings, provider: Provider, jobs: Jobs) -> None:
        self.settings, self.provider, self.jobs = settings, provider, jobs
        self.checked = False

    def keep(self) -> None:
        """See that there is one to fork from for each class that forks, and none that nobody needs; one job at a time."""
        for snapshot in snapshots.ready():
            forks.renew(snapshot)
        for seed_id in snapshots.missing():
            with catalog.write():
                snapshots.begin_snapshot(seed_id)
        if TRIALS & self.jobs.keys():
            return
        if not self.checked:
            self.checked = True
            self.jobs.submit(Queue.LONG, KEY, self._check)
            return
        for snapshot in snapshots.due_snapshots():
            self.jobs.submit(Queue.LONG, KEY, forks.take_snapshot, snapshot, self.settings, self.provider)
            return
        for snapshot in snapshots.unused():
            if not aside.is_base(snapshot.name):
                self.jobs.submit(Queue.LONG, KEY, forks.remove, snapshot, self.provider)
                return

    def smoke_test(self) -> None:
        """Make a machine to see whether one can be, when somebody asks."""
        if self.checked and not TRIALS & self.jobs.keys() and (asked := smoke_tests.asked()):
            self.jobs.submit(Queue.LONG, proving.ID, proving.run, asked, self.settings, self.provider)

    def _check(self) -> None:
        """All of them are read once after a start: the host may have been upgraded, and disks forget."""
        for snapshot in snapshots.ready():
            forks.check_snapshot(snapshot, self.settings, self.provider)
