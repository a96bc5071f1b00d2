"""Take a seed's snapshot: boot it once more, and keep its memory when its application answers and it has nothing left to do."""

import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appliance.errors import DpeError
from appliance.hypervisor.provider import MachineSpec, Provider, Unfit, answering
from appliance.seeds import cards
from appliance.settings import Settings


@dataclass(frozen=True)
class SnapshotJob:
    """Of what to take it. `name` is what the snapshot is to be called; cmdline and `spec` are those of the seed and its class, as the catalog has them;
    `further` is port and ready path of each page but the first; memory_room is MiB that its machines may be given."""

    id: int
    name: str
    class_name: str
    version: int
    cmdline: str
    spec: dict[str, Any]
    further: tuple[tuple[int, str], ...] = ()
    memory_room: int = 0


def template_id(snapshot_id: int) -> str:
    """The id of the machine whose memory is kept; a repeated try finds it by that."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"dpe snapshot {snapshot_id}"))


def template_spec(job: SnapshotJob, settings: Settings) -> MachineSpec:
    """The machine whose memory is kept. Its address is one of the 14 that lie before the machines' slots, from the end: seeds use them from the start."""
    id = template_id(job.id)
    size = job.spec["size"]
    return MachineSpec(
        id=id,
        name=f"snapshot-{job.class_name}-{job.version}",
        class_name=job.class_name,
        seed=f"{job.class_name}/{job.version}",
        cmdline=job.cmdline,
        disk_size=size["disk"],
        vcpus=size["vcpus"],
        memory=size["memory"],
        card=cards.card(id, cards.PLACES - 1 - job.id % cards.PLACES, settings),
        **answering(job.spec),
        further=job.further,
        memory_room=job.memory_room,
    )


def take_snapshot(job: SnapshotJob, settings: Settings, provider: Provider, report: Callable[[str], None]) -> dict[str, Any]:
    """Take the snapshot and return its facts; one that is there already is left. May be repeated after a crash.

    Raises DpeError when the seed does not come up or cannot be kept; nothing is left then.
    """
    with contextlib.suppress(Unfit):
        return dict(provider.describe_snapshot(job.name))
    spec = template_spec(job, settings)
    try:
        report("booting the seed")
        provider.boot_template(spec, job.name)
        provider.wait(spec, report)
        report("waiting until it is idle, and keeping its memory")
        provider.take_snapshot(spec, job.name)
    except DpeError:
        with contextlib.suppress(DpeError):  # the engine removes machines that it knows nothing of
            provider.destroy(spec.id)
        provider.remove_snapshot(job.name)
        raise
    return dict(provider.describe_snapshot(job.name))
