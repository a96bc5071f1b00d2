"""Take a seed's snapshot: boot it once more, and keep its memory when its application answers and it has nothing left to do."""

import contextlib
import hashlib
import ipaddress
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.errors import DpeError, Unavailable
from appliance.hypervisor.provider import Card, MachineSpec, Provider
from appliance.seeds.build import placed, seed_folder
from appliance.settings import Settings


@dataclass(frozen=True)
class SnapshotJob:
    """Of what to take it. `files` and `spec` are those of the seed and its class, as the catalog has them."""

    id: int
    class_name: str
    version: int
    files: dict[str, Any]
    spec: dict[str, Any]


def template_id(snapshot_id: int) -> str:
    """The id of the machine whose memory is kept; a repeated try finds it by that."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"dpe snapshot {snapshot_id}"))


def folder_of(job: SnapshotJob, settings: Settings) -> Path:
    """Where the snapshot is kept, beside its seed."""
    return seed_folder(job.class_name, job.version, settings) / f"snapshot-{job.id}"


def template_spec(job: SnapshotJob, settings: Settings) -> MachineSpec:
    """The machine whose memory is kept. Its address is one of the 14 that lie before the machines' slots, from the end: seeds use them from the start."""
    id = template_id(job.id)
    subnet = ipaddress.ip_network(settings.subnet)
    place = 13 - job.id % 14
    mac = ":".join(f"{byte:02x}" for byte in (0x52, 0x54, 0x00, *hashlib.sha256(id.encode()).digest()[:3]))
    size, application = job.spec["size"], job.spec["application"]
    disk, boot = placed(job.files, settings)
    return MachineSpec(
        id=id,
        name=f"snapshot-{job.class_name}-{job.version}",
        class_name=job.class_name,
        seed_disk=disk,
        disk=settings.machine_folder(id) / "disk.qcow2",
        disk_size=size["disk"],
        boot=boot,
        vcpus=size["vcpus"],
        memory=size["memory"],
        card=Card(mac, str(subnet[2 + place]), subnet.prefixlen, settings.gateway, f"{settings.network}p{place}"),
        application_port=application["port"],
        application_ready=application["ready"],
        boot_timeout=job.spec["boot_timeout"],
    )


def take_snapshot(job: SnapshotJob, settings: Settings, provider: Provider, report: Callable[[str], None]) -> dict[str, Any]:
    """Take the snapshot into `folder_of(job)` and return its facts; one that is there already is left. May be repeated after a crash.

    Raises DpeError when the seed does not come up or cannot be kept; nothing is left then.
    """
    final = folder_of(job, settings)
    if not final.exists():
        work = settings.state / "work" / f"snapshot-{job.id}"
        spec = template_spec(job, settings)
        if not spec.seed_disk.exists():
            raise Unavailable(f"The seed's disk {spec.seed_disk} is missing.", "Build a new seed of the class.")
        free = shutil.disk_usage(settings.state).free >> 20
        if free < settings.disk_reserve + spec.memory:
            raise Unavailable(
                f"A snapshot may take {spec.memory} MiB, and {free} MiB are free, of which {settings.disk_reserve} MiB are kept back.",
                "Remove old seeds, or put the state on a larger disk. Until then machines are booted.",
            )
        try:
            report("booting the seed")
            booting = work / "booting"  # a boot that outlived an engine is as good as another
            if not (booting.exists() and any(found.id == spec.id for found in provider.list())):
                provider.destroy(spec.id)
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir(mode=0o711, parents=True)
                booting.touch()
            provider.boot_template(spec, work)
            provider.wait(spec, report)
            report("waiting until it is idle, and keeping its memory")
            booting.unlink()
            provider.take_snapshot(spec, work)
            os.sync()  # its directory entries, too, before the catalog says that it is there
            durable.replace(work, final)
        except DpeError:
            _remove(provider, spec.id, work)
            raise
        except OSError as error:
            _remove(provider, spec.id, work)
            raise Unavailable(f"The snapshot cannot be written: {error}.", "Look at the disk that holds it.") from error
    return dict(provider.describe_snapshot(final))


def _remove(provider: Provider, id: str, work: Path) -> None:
    with contextlib.suppress(DpeError):  # the engine removes machines that it knows nothing of
        provider.destroy(id)
    shutil.rmtree(work, ignore_errors=True)
