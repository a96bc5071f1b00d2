"""Domain XML against golden files and libvirt's own schema, and defined on libvirt's test driver."""

import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from appliance.hypervisor.libvirt import xml
from appliance.hypervisor.libvirt.connection import Connection
from appliance.hypervisor.libvirt.layout import Boot

FOLDER = Path("/var/lib/dpe/machines/6b1cdb5e-3c0f-4b8e-9a55-0d9a3f0b7c11")
BOOT = Boot(Path("/var/lib/dpe/seeds/notebook/1/vmlinuz"), Path("/var/lib/dpe/seeds/notebook/1/initrd"), "root=/dev/vda rw quiet")
EMULATED = xml.Domain(
    id="6b1cdb5e-3c0f-4b8e-9a55-0d9a3f0b7c11",
    name="notebook-7",
    class_name="notebook",
    kind="qemu",
    machine="pc-q35-7.2",
    cpu=xml.EmulatedCpu(),
    vcpus=2,
    memory=1024,
    boot=BOOT,
    devices=(
        xml.Disk(FOLDER / "disk.qcow2"),
        xml.Interface("dpe0", "52:54:00:2c:00:07", "dpe-m7"),
        xml.Agent(),
        xml.Serial(FOLDER / "serial.log", Path("/var/lib/dpe/run/tty/6b1cdb5e-3c0f")),
        xml.Screen(Path("/var/lib/dpe/run/vnc/6b1cdb5e-3c0f")),
        xml.Video(),
        xml.Random(),
        xml.Balloon(),
    ),
)
TEMPLATE = dataclasses.replace(EMULATED, devices=(*EMULATED.devices[:-1], xml.NoBalloon()))
FORK = dataclasses.replace(TEMPLATE, boot=None)
DOMAINS = {
    "emulated": EMULATED,
    "kvm": dataclasses.replace(EMULATED, kind="kvm", machine="pc-q35-10.0", cpu=xml.HostCpu()),
    "bare": dataclasses.replace(EMULATED, vcpus=1, devices=()),
    "template": dataclasses.replace(TEMPLATE, memory_file=xml.MemoryFile(Path("/var/lib/dpe/work/memory"), shared=True, incoming=False)),
    "fork": dataclasses.replace(FORK, memory_file=xml.MemoryFile(Path("/var/lib/dpe/a,b/memory"), shared=False, incoming=True)),
    "fork_read_only": dataclasses.replace(
        FORK, memory_file=xml.MemoryFile(Path("/var/lib/dpe/memory"), shared=False, incoming=True, read_only=True)
    ),
    "fork_that_grows": dataclasses.replace(
        FORK, memory_file=xml.MemoryFile(Path("/var/lib/dpe/memory"), shared=False, incoming=True), growth=xml.Growth(3072)
    ),
    "data": dataclasses.replace(
        EMULATED, devices=(*EMULATED.devices, xml.data_disk(Path("/var/lib/dpe/data/5f0c.qcow2"), "8b53639f152c8fc6ef30"))
    ),
    "escaped": dataclasses.replace(EMULATED, class_name="a<b&'c\"", boot=dataclasses.replace(BOOT, cmdline="""a='<&>' b="é" """)),
}


@pytest.mark.parametrize("name", sorted(DOMAINS))
def test_golden(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.xml", xml.to_text(DOMAINS[name].to_xml()))


def test_every_part_is_in_a_golden_file() -> None:
    """A device class that no golden file shows could say anything."""
    parts = {kind for kind in vars(xml).values() if isinstance(kind, type) and hasattr(kind, "to_xml")} - {xml.Part, xml.Domain}
    shown = {type(part) for domain in DOMAINS.values() for part in (*domain.devices, domain.cpu, domain.memory_file)}
    assert parts - shown - {xml.CopyOfDisk} == {xml.Controller, xml.NoUsb, xml.Channels}  # which every domain has


def test_what_a_machine_may_be_given_is_read_again_from_what_was_told() -> None:
    rooms = {name: xml.memory_room(ET.fromstring(xml.to_text(domain.to_xml()))) for name, domain in DOMAINS.items()}
    assert {name: room for name, room in rooms.items() if room} == {"fork_that_grows": 3072}


def test_no_two_devices_share_a_place() -> None:
    """And none leaves it to libvirt, whose choice another version might change: a fork must find them where its snapshot left them."""
    devices = EMULATED.to_xml().find("devices")
    assert devices is not None
    pci = [
        device
        for device in devices
        if device.tag not in ("serial", "graphics") and device.get("type") not in ("usb", "unix") and device.get("index") != "0"
    ]
    channels = [device for device in devices if device.get("type") == "virtio-serial"]
    places = [tuple(sorted(address.attrib.items())) for device in (*pci, *channels) if (address := device.find("address")) is not None]
    assert len(pci) == xml.ROOT_PORTS + 5
    assert len(set(places)) == len(pci) + len(channels)


def test_what_libvirt_reads_is_what_was_meant() -> None:
    connection = Connection("test:///default")
    escaped = dataclasses.replace(DOMAINS["escaped"], kind="test", cpu=xml.HostCpu(), devices=())
    text = xml.to_text(escaped.to_xml()).replace("pc-q35-7.2", "pc").replace("x86_64", "i686")  # all that the test driver can be
    with connection.use() as opened:
        domain = opened.defineXML(text)
        told = ET.fromstring(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, xml.NAMESPACE))
        read = ET.fromstring(domain.XMLDesc())
        domain.undefine()
    assert told.attrib == {"id": escaped.id, "name": "notebook-7", "class": escaped.class_name}
    assert escaped.boot is not None
    assert read.findtext("os/cmdline") == escaped.boot.cmdline
    assert read.findtext("uuid") == escaped.id
    connection.close()
