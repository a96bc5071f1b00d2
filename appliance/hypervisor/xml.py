"""A machine's domain XML, from small values: one class a device, built with ElementTree.

Every PCI address that matters to a guest is left to libvirt, which gives the same devices the same
places; spare root ports are for what is plugged in later. The format: libvirt.org/formatdomain.html.
"""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

NAMESPACE = "https://dpe.example/domain"
SPARE_PORTS = 8

ET.register_namespace("dpe", NAMESPACE)


def element(tag: str, text: str = "", *children: ET.Element, **attributes: str) -> ET.Element:
    """An element; an attribute that is a Python word gets an underscore behind it."""
    made = ET.Element(tag, {name.rstrip("_"): value for name, value in attributes.items()})
    made.text = text or None
    made.extend(children)
    return made


class Device(Protocol):
    """A part of a machine."""

    def to_xml(self) -> ET.Element: ...


@dataclass(frozen=True)
class Disk:
    """A qcow2 file as a virtio disk; freed blocks are given back to the host."""

    path: Path
    target: str = "vda"

    def to_xml(self) -> ET.Element:
        return element(
            "disk",
            "",
            # A full host disk pauses the guest instead of corrupting what it believes it wrote.
            element(
                "driver", name="qemu", type="qcow2", cache="writeback", discard="unmap", detect_zeroes="unmap", error_policy="enospace"
            ),
            element("source", file=str(self.path)),
            element("target", dev=self.target, bus="virtio"),
            type="file",
            device="disk",
        )


@dataclass(frozen=True)
class Interface:
    """A virtio card on a bridge port that cannot talk to the other ports."""

    bridge: str
    mac: str
    tap: str

    def to_xml(self) -> ET.Element:
        return element(
            "interface",
            "",
            element("mac", address=self.mac),
            element("source", bridge=self.bridge),
            element("target", dev=self.tap),
            element("model", type="virtio"),
            element("port", isolated="yes"),
            type="bridge",
        )


@dataclass(frozen=True)
class Agent:
    """The channel of the QEMU guest agent."""

    def to_xml(self) -> ET.Element:
        return element("channel", "", element("target", type="virtio", name="org.qemu.guest_agent.0"), type="unix")


@dataclass(frozen=True)
class Serial:
    """The first serial port, with all that the guest says on it kept in a file."""

    log: Path

    def to_xml(self) -> ET.Element:
        return element("serial", "", element("log", file=str(self.log), append="off"), element("target", port="0"), type="pty")


@dataclass(frozen=True)
class Random:
    """Random bytes from the host."""

    def to_xml(self) -> ET.Element:
        return element("rng", "", element("backend", "/dev/urandom", model="random"), model="virtio")


@dataclass(frozen=True)
class Balloon:
    """Says every ten seconds how much memory the guest uses."""

    def to_xml(self) -> ET.Element:
        return element("memballoon", "", element("stats", period="10"), model="virtio", freePageReporting="on")


@dataclass(frozen=True)
class RootPort:
    """A place where a PCI Express device can be plugged in later."""

    index: int

    def to_xml(self) -> ET.Element:
        return element("controller", type="pci", index=str(self.index), model="pcie-root-port")


@dataclass(frozen=True)
class Domain:
    """A machine. memory is MiB; `kind` is libvirt's domain type, kvm or qemu; `cpu` is "host" or a model's name."""

    id: str
    name: str
    class_name: str
    kind: str
    machine: str
    cpu: str
    vcpus: int
    memory: int
    kernel: Path
    initrd: Path
    cmdline: str
    devices: tuple[Device, ...]

    def to_xml(self) -> ET.Element:
        ports = [RootPort(index) for index in range(1, SPARE_PORTS + 8)]
        return element(
            "domain",
            "",
            element("name", self.name),
            element("uuid", self.id),
            element("genid"),
            element("metadata", "", element(f"{{{NAMESPACE}}}machine", id=self.id, name=self.name, class_=self.class_name)),
            element("memory", str(self.memory), unit="MiB"),
            element("vcpu", str(self.vcpus)),
            element(
                "os",
                "",
                element("type", "hvm", arch="x86_64", machine=self.machine),
                element("kernel", str(self.kernel)),
                element("initrd", str(self.initrd)),
                element("cmdline", self.cmdline),
            ),
            element("features", "", element("acpi"), element("apic")),
            self._cpu(),
            element(
                "clock",
                "",
                element("timer", name="rtc", tickpolicy="catchup"),
                element("timer", name="pit", tickpolicy="delay"),
                element("timer", name="hpet", present="no"),
                offset="utc",
            ),
            element("on_poweroff", "destroy"),
            element("on_reboot", "restart"),
            element("on_crash", "destroy"),
            element("pm", "", element("suspend-to-mem", enabled="no"), element("suspend-to-disk", enabled="no")),
            element(
                "devices",
                "",
                element("emulator", "/usr/bin/qemu-system-x86_64"),
                element("controller", type="pci", index="0", model="pcie-root"),
                *(device.to_xml() for device in (*ports, *self.devices)),
                element("controller", type="usb", model="none"),
            ),
            type=self.kind,
        )

    def _cpu(self) -> ET.Element:
        if self.cpu == "host":
            return element("cpu", mode="host-passthrough", check="none", migratable="on")
        # check=none: an emulated model lacks some features of the real one, and no guest of ours misses them.
        return element("cpu", "", element("model", self.cpu, fallback="forbid"), mode="custom", match="exact", check="none")


def to_text(node: ET.Element) -> str:
    """The XML as text, indented."""
    ET.indent(node)
    return ET.tostring(node, encoding="unicode") + "\n"
