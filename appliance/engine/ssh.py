"""Machines whose owners changed their SSH keys, or whose host keys are to be signed."""

from appliance.catalog import ssh_keys
from appliance.engine.jobs import Jobs
from appliance.hypervisor.provider import Provider
from appliance.lifecycle import ssh
from appliance.settings import Settings
from appliance.workflow.runner import Queue


class Ssh:
    """One job for each machine that does not know yet."""

    def __init__(self, settings: Settings, provider: Provider, jobs: Jobs) -> None:
        self.settings, self.provider, self.jobs = settings, provider, jobs

    def tell(self) -> None:
        """Hand out the jobs. Nothing else is done to a machine meanwhile: it might be somebody else's then."""
        for machine in ssh_keys.untold():
            if machine.id not in self.jobs:
                self.jobs.submit(Queue.NETWORK, machine.id, self._tell, machine.id)

    def _tell(self, id: str) -> None:
        for machine in ssh_keys.untold():  # as it is now
            if machine.id == id:
                ssh.tell(machine, self.settings, self.provider)
