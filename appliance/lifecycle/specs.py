"""From catalog rows to what the hypervisor needs to know. Everything outside is named after the machine's id or slot."""

import ipaddress
import zlib
from pathlib import Path
from typing import cast

from appliance.catalog import Machine, MachineState, data_disks, scenarios
from appliance.hypervisor.provider import Card, MachineSpec, answering
from appliance.lifecycle import rates
from appliance.paths import below
from appliance.scenario import applications
from appliance.scenario.load import MACHINE_TASKS
from appliance.scenario.policy import Readiness
from appliance.settings import Settings

MADE = (MachineState.PLANNED, MachineState.CREATING)


def card(settings: Settings, slot: int) -> Card:
    """The network card of a slot: MAC and address follow from it, so that they are known beforehand.

    The MAC has QEMU's prefix 52:54:00, a byte that tells appliances on one host apart, and the slot.
    """
    octets = (0x52, 0x54, 0x00, zlib.crc32(settings.network.encode()) & 0xFF, *slot.to_bytes(2, "big"))
    return Card(
        mac=":".join(f"{octet:02x}" for octet in octets),
        address=settings.address(slot),
        prefix=ipaddress.ip_network(settings.subnet).prefixlen,
        gateway=settings.gateway,
    )


def slot_of(mac: str, settings: Settings) -> int | None:
    """The slot that a card with this MAC belongs to; None when it is none of this appliance's."""
    slot = int.from_bytes(bytes.fromhex(mac.replace(":", ""))[-2:], "big") if mac else settings.slots
    return slot if slot < settings.slots and card(settings, slot).mac == mac else None


def machine_roles(machine: Machine, scenario: Path) -> list[str]:
    """The roles of the machine's class that bring tasks for each machine, in their order, as they are in the scenario's folder."""
    roles = scenario / "roles"
    return [role for role in machine.machine_class.spec.get("roles", []) if (below(roles, role) / MACHINE_TASKS).is_file()]


def spec(machine: Machine, settings: Settings) -> MachineSpec:
    """Everything needed to make the machine."""
    described, seed = machine.machine_class.spec, machine.seed
    # What tasks for each machine have done to a disk is not on that of a fork, which would take its place.
    snapshot = None if machine.readiness == "cold" and machine_roles(machine, scenarios.lay_out(settings)) else machine.snapshot
    kept = data_disks.coming_back_as(machine.id) if machine.owner_id is not None and machine.state in MADE else None
    disk = data_disks.of_machine(machine.id) if machine.owner_id is not None else None  # nobody else's has one
    return MachineSpec(
        id=machine.id,
        name=machine.name,
        class_name=machine.class_name,
        seed=seed.name,
        cmdline=seed.cmdline,
        disk_size=machine.disk,
        vcpus=machine.vcpus,
        memory=machine.memory_start,
        memory_room=machine.memory_room,
        card=card(settings, machine.slot),
        **answering(described),
        further=applications.further(described, scenarios.own_applications),
        readiness=cast(Readiness, machine.readiness),
        snapshot=None if snapshot is None else snapshot.name,
        kept=None if kept is None else kept.id,
        data=None if disk is None else disk.id,
        data_size=disk.size if disk else 0,
        rates=rates.wanted(machine),
    )
