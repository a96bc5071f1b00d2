"""Seeds: built and removed, one at a time."""

from appliance.catalog import aside, seeds
from appliance.engine.jobs import Jobs
from appliance.hypervisor.provider import Provider
from appliance.lifecycle import seed_builds, smoke_test
from appliance.settings import Settings
from appliance.workflow.runner import Queue

KEY = "seed"
# Jobs that have a machine at one of the few addresses before the slots, one of them at a time.
TRIALS = frozenset({KEY, "snapshot", smoke_test.ID})


class Seeds:
    """Hands out the next build or removal."""

    def __init__(self, settings: Settings, provider: Provider, jobs: Jobs) -> None:
        self.settings, self.provider, self.jobs = settings, provider, jobs

    def build(self) -> None:
        """Build what is asked for; when nothing is, remove what nobody wants."""
        if TRIALS & self.jobs.keys():
            return
        for seed in seeds.unfinished():
            self.jobs.submit(Queue.LONG, KEY, seed_builds.run_current, seed, self.settings, self.provider)
            return
        for seed in seeds.leaving():
            if not aside.is_base(seed.name):
                self.jobs.submit(Queue.LONG, KEY, seed_builds.remove, seed, self.settings)
                return
