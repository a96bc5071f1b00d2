"""Two real machines of the buffer work on three jobs: by the guest agent, beside their files, as the class's user; what fails is given up."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, Class, Grant, JobState, Seed, SeedState, Snapshot, SnapshotState, machines, options
from appliance.catalog import seeds as seed_rows
from appliance.engine import Engine
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.services import job_queue as queue
from appliance.settings import Settings
from tests.integration.conftest import Libvirtd, empty
from tests.seeds import SMALL, place, small_scenario

pytestmark = [pytest.mark.elastic, pytest.mark.fork]
WAIT = 300  # seconds: two busy processors emulate


@pytest.fixture
def farm(libvirtd: Libvirtd, small_seed: object, small_snapshot: str) -> Iterator[Settings]:
    """An engine over a class of two machines that work on jobs."""
    settings = replace(libvirtd.settings, scenario=SMALL)
    empty(settings)
    catalog.open(settings.catalog)
    files = place(small_seed, settings)  # type: ignore[arg-type]
    with catalog.write():
        options.put("setup_done", True)
        Class.create(
            name="small", spec=small_scenario().classes["small"].model_dump(mode="json"), overrides={"jobs": True}, readiness="running",
            minimum=0, maximum=2, buffer=2, lease_minutes=600, extend_minutes=30, extensions=1, per_person=2,
        )  # fmt: skip
        seed_rows.promote(
            seed := Seed.create(machine_class="small", version=1, state=SeedState.READY, stored=True, manifest=files.manifest)
        )
        Snapshot.create(seed=seed.id, state=SnapshotState.READY, name=small_snapshot)
        Grant.create(role="owner", account=Account.create(name="grace", full_name="Grace", password="!").id)
    provider = LibvirtProvider(settings)
    engine = Engine(settings, provider)

    def work() -> None:
        engine.run()
        catalog.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield settings
    engine.stop()
    thread.join()
    for machine in machines.live():
        provider.destroy(machine.id)
    engine.close()
    provider.close()
    catalog.close()


def test_two_machines_work_on_three_jobs(farm: Settings) -> None:
    grace = Actor("grace", Account.get(Account.name == "grace").id)
    run = ["sh", "-c", 'echo "$DPE_JOB_NUMBER: $(cat data.txt), $(id -un)"; sleep 1; exec ./last.sh']
    files = {"data.txt": "beans; $(reboot)", "last.sh": "#!/bin/sh\necho gone >&2\n"}
    good = queue.submit(grace, "small", run, files=files, times=2, seconds=60)
    [bad] = queue.submit(grace, "small", ["sleep", "60"], tries=1, seconds=1)
    deadline = time.monotonic() + WAIT
    jobs = []
    while not jobs or not all(job.ended_at for job in jobs):
        jobs = [queue.get("small", id) for id in (*good, bad)]
        assert time.monotonic() < deadline, [(job.state, job.problem, job.output) for job in jobs]
        time.sleep(0.2)
    user = Class.get().spec["user"]
    assert [job.output.split("\n")[:2] for job in jobs[:2]] == [[f"{n}: beans; $(reboot), {user}", "gone"] for n in (1, 2)], jobs[0].problem
    assert [(job.state, job.status) for job in jobs] == [(JobState.DONE, 0), (JobState.DONE, 0), (JobState.DEAD, 124)]
    assert len({job.machine_id for job in jobs}) == 2
