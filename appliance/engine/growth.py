"""Data disks that fill: one job for each whose class has them grow, so that no machine that does not answer keeps another one's waiting."""

from appliance.engine.jobs import Jobs
from appliance.engine.readings import Readings
from appliance.hypervisor.provider import Provider
from appliance.lifecycle import growth
from appliance.settings import Settings
from appliance.workflow.runner import Queue

EVERY = 5.0  # seconds


class DataGrowth:
    """Hands out the jobs."""

    def __init__(self, settings: Settings, provider: Provider, readings: Readings, jobs: Jobs) -> None:
        self.settings, self.provider, self.readings, self.jobs = settings, provider, readings, jobs

    def look(self) -> None:
        """None before the host was read: nothing is given that it may not have."""
        if self.readings.facts is None:
            return
        for disk in growth.due():
            if (key := f"growth {disk.id}") not in self.jobs:
                self.jobs.submit(Queue.NETWORK, key, growth.look, disk.id, self.settings, self.provider, self.readings.facts.disk_free)
