"""Domains and disks that belong to no live machine: leftovers are removed, what nobody knows is set aside."""

import logging

from appliance import catalog
from appliance.catalog import EventKind, aside, machines, record, seeds, snapshots
from appliance.engine.heartbeat import Heartbeat
from appliance.engine.jobs import Jobs
from appliance.hypervisor.provider import Provider
from appliance.lifecycle.aside import SetAside, leftovers
from appliance.seeds.build import test_machine_id
from appliance.seeds.snapshot import template_id
from appliance.workflow.runner import Queue

log = logging.getLogger("dpe.engine")


class Orphans:
    """Sweeps them up, a job each."""

    def __init__(self, provider: Provider, heartbeat: Heartbeat, set_aside: SetAside, jobs: Jobs) -> None:
        self.provider, self.heartbeat, self.set_aside, self.jobs = provider, heartbeat, set_aside, jobs

    def sweep(self) -> None:
        """Take away what is left of machines that are over, and set aside what the catalog knows nothing of."""
        seen = self.heartbeat.seen
        assert seen is not None
        known = machines.live_ids()
        known |= {test_machine_id(seed.id) for seed in seeds.unfinished()}
        known |= {template_id(id) for id in snapshots.ids()}
        if unknown := (seen.machines.keys() | seen.disks) - known - self.jobs.keys():
            over, listed = leftovers(unknown), aside.machine_ids()
            for id in over:
                self.jobs.submit(Queue.SHORT, id, self._remove, id)
            for id in unknown - over - listed:
                self.jobs.submit(Queue.SHORT, id, self.set_aside.take_in, id)

    def _remove(self, id: str) -> None:
        log.warning("removing %s, a leftover of a machine that is over", id)
        self.provider.destroy(id)
        with catalog.write():
            record(EventKind.MACHINE_LEFTOVER, f"A leftover of an interrupted run ({id}) was removed.")
