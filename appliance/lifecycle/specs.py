"""From catalog rows to what the hypervisor needs to know. Everything outside is named after the machine's id or slot."""

import ipaddress
import zlib
from typing import cast

from appliance.catalog import Machine, MachineState, data_disks
from appliance.hypervisor.provider import Card, MachineSpec
from appliance.paths import below, inside
from appliance.scenario.load import MACHINE_TASKS
from appliance.scenario.policy import Readiness
from appliance.seeds.build import placed
from appliance.settings import Settings

MADE = (MachineState.PLANNED, MachineState.CREATING)


def card(settings: Settings, slot: int) -> Card:
    """The network card of a slot: MAC, address and tap name follow from it, so that they are known beforehand.

    The MAC has QEMU's prefix 52:54:00, a byte that tells appliances on one host apart, and the slot.
    """
    octets = (0x52, 0x54, 0x00, zlib.crc32(settings.network.encode()) & 0xFF, *slot.to_bytes(2, "big"))
    return Card(
        mac=":".join(f"{octet:02x}" for octet in octets),
        address=settings.address(slot),
        prefix=ipaddress.ip_network(settings.subnet).prefixlen,
        gateway=settings.gateway,
        tap=f"{settings.network}-m{slot}",
    )


def machine_roles(machine: Machine, settings: Settings) -> list[str]:
    """The roles of the machine's class that bring tasks for each machine, in their order."""
    roles = settings.scenario / "roles"
    return [role for role in machine.machine_class.spec.get("roles", []) if (below(roles, role) / MACHINE_TASKS).is_file()]


def spec(machine: Machine, settings: Settings) -> MachineSpec:
    """Everything needed to make the machine."""
    described, (seed_disk, boot) = machine.machine_class.spec, placed(machine.seed.files, settings)
    # What tasks for each machine have done to a disk is not on that of a fork, which would take its place.
    snapshot = None if machine.readiness == "cold" and machine_roles(machine, settings) else machine.snapshot
    kept = data_disks.coming_back_as(machine.id) if machine.owner_id is not None and machine.state in MADE else None
    disk = data_disks.of_machine(machine.id) if machine.owner_id is not None else None  # nobody else's has one
    return MachineSpec(
        id=machine.id,
        name=machine.name,
        class_name=machine.class_name,
        seed_disk=seed_disk,
        disk=settings.machine_folder(machine.id) / "disk.qcow2",
        disk_size=machine.disk,
        boot=boot,
        vcpus=machine.vcpus,
        memory=machine.memory,
        card=card(settings, machine.slot),
        application_port=described["application"]["port"],
        application_ready=described["application"]["ready"],
        boot_timeout=described["boot_timeout"],
        readiness=cast(Readiness, machine.readiness),
        snapshot=None if snapshot is None else inside(settings.seeds, snapshot.folder),
        kept=None if kept is None else kept.id,
        data=None if disk is None else disk.id,
        data_size=disk.size if disk else 0,
    )
