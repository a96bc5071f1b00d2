"""`dpe-engine --park`: before the host goes down, machines' memory is kept on disk."""

from concurrent.futures import ThreadPoolExecutor

from appliance.catalog import lineage, machines, options
from appliance.catalog.lineage import Standing
from appliance.errors import DpeError
from appliance.hypervisor.provider import Power, Provider
from appliance.settings import Settings


def park(settings: Settings, provider: Provider) -> None:
    """Keep every running machine's memory on disk and stop it; the next engine resumes them all. Forks in the buffer are quicker made anew."""
    trusted = lineage.standing(lineage.read_mark(settings.mark)) in (Standing.SAME, Standing.UNMARKED) and not options.get("undecided")
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
