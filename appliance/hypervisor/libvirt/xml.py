"""A machine's domain XML, from small values: one class a device, built with ElementTree.

Every device says its place on the PCI bus, because a fork must find all of them where its snapshot left them;
spare root ports are for what is plugged in later. The format: libvirt.org/formatdomain.html.
"""

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.hypervisor.libvirt.layout import Boot

NAMESPACE = "urn:dpe:machine:1"
QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
ROOT_PORTS = 8  # five are taken by the devices that every machine has; each costs QEMU 0.16 MiB
LEAN = ("-machine", "sata=off")  # nobody has a disk on q35's own controller, for which QEMU keeps 1.5 MiB of buffers
DATA_PORT, DATA_TARGET = 6, "vdb"
GROWTH_PORT, GROWTH = 7, "growth"
TRANSLATED = 128  # MiB for an emulated machine's translated code

ET.register_namespace("dpe", NAMESPACE)
ET.register_namespace("qemu", QEMU_NAMESPACE)


def element(tag: str, *children: ET.Element, text: str = "", **attributes: str) -> ET.Element:
    """An element; an attribute that is a Python word gets an underscore behind it."""
    made = ET.Element(tag, {name.rstrip("_"): value for name, value in attributes.items()})
    made.text = text or None
    made.extend(children)
    return made


def _pci(bus: int, slot: int = 0, function: int = 0, **attributes: str) -> ET.Element:
    """A place: root port `bus` and, on the root bus, slot and function."""
    place = {"domain": "0x0000", "bus": f"{bus:#04x}", "slot": f"{slot:#04x}", "function": f"{function:#x}"}
    return element("address", type="pci", **place, **attributes)


class Part(Protocol):
    """A part of a machine."""

    def to_xml(self) -> ET.Element: ...


@dataclass(frozen=True)
class HostCpu:
    """The host's own processor, as far as QEMU knows it by name: what KVM runs."""

    def to_xml(self) -> ET.Element:
        return element("cpu", mode="host-model", check="partial")


@dataclass(frozen=True)
class EmulatedCpu:
    """What emulation runs: x86-64-v2, which numpy and its kind need, on a make of processor that Linux guards least.

    With an Intel model the guest would isolate its page tables from Meltdown, and every system call
    would cost the emulator its cache of translations.
    """

    features: tuple[str, ...] = ("cx16", "lahf_lm", "popcnt", "sse4.1", "sse4.2", "ssse3")

    def to_xml(self) -> ET.Element:
        return element(
            "cpu",
            element("model", text="qemu64", fallback="forbid"),
            *(element("feature", policy="require", name=name) for name in self.features),
            element("feature", policy="disable", name="svm"),  # else the guest would load its own hypervisor
            mode="custom",
            match="exact",
            check="none",
        )


@dataclass(frozen=True)
class Disk:
    """A qcow2 file as a virtio disk; freed blocks are given back to the host. The guest can read the serial, of 20 characters at most."""

    path: Path
    target: str = "vda"
    port: int = 1
    serial: str = ""

    def to_xml(self) -> ET.Element:
        return element(
            "disk",
            element(
                "driver",
                name="qemu",
                type="qcow2",
                cache="writeback",  # so that machines share what they read of their seed in the host's page cache
                error_policy="enospace",  # a full host disk pauses the guest instead of failing its writes
                discard="unmap",
                detect_zeroes="unmap",
            ),
            element("source", file=str(self.path)),
            element("target", dev=self.target, bus="virtio"),
            *((element("serial", text=self.serial),) if self.serial else ()),
            _pci(self.port),
            type="file",
            device="disk",
        )


def data_disk(path: Path, serial: str) -> Disk:
    """A machine's second disk."""
    return Disk(path, DATA_TARGET, DATA_PORT, serial)


@dataclass(frozen=True)
class CopyOfDisk:
    """What libvirt is told to write a copy of one of a machine's disks, as it is when it is told, to a file that is there."""

    target: str
    others: tuple[str, ...]
    file: Path

    def to_xml(self) -> ET.Element:
        disk = element(
            "disk", element("target", file=str(self.file)), element("driver", type="qcow2"), name=self.target, backup="yes", type="file"
        )
        return element("domainbackup", element("disks", disk, *(element("disk", name=name, backup="no") for name in self.others)))


@dataclass(frozen=True)
class Interface:
    """A virtio card on a bridge port that cannot talk to the other ports."""

    bridge: str
    mac: str
    tap: str

    def to_xml(self) -> ET.Element:
        return element(
            "interface",
            element("mac", address=self.mac),
            element("source", bridge=self.bridge),
            element("target", dev=self.tap),
            element("model", type="virtio"),
            element("port", isolated="yes"),
            _pci(5),
            type="bridge",
        )


@dataclass(frozen=True)
class Agent:
    """The channel of the QEMU guest agent."""

    NAME = "org.qemu.guest_agent.0"

    def to_xml(self) -> ET.Element:
        place = element("address", type="virtio-serial", controller="0", bus="0", port="1")
        return element("channel", element("target", type="virtio", name=self.NAME), place, type="unix")


@dataclass(frozen=True)
class Channels:
    """What the agent's channel is plugged into."""

    def to_xml(self) -> ET.Element:
        return element("controller", _pci(2), type="virtio-serial", index="0")


@dataclass(frozen=True)
class Serial:
    """The first serial port, on a socket; what the guest says on it goes to the end of a file, too, which may be cut shorter at any time."""

    log: Path
    socket: Path

    def to_xml(self) -> ET.Element:
        return element(
            "serial",
            element("source", mode="bind", path=str(self.socket)),
            element("log", file=str(self.log), append="on"),
            element("target", port="0"),
            type="unix",
        )


@dataclass(frozen=True)
class Screen:
    """What the guest shows, in RFB on a socket. Whoever connects throws nobody out, whatever they ask for."""

    socket: Path

    def to_xml(self) -> ET.Element:
        return element("graphics", element("listen", type="socket", socket=str(self.socket)), type="vnc", sharePolicy="force-shared")


@dataclass(frozen=True)
class Video:
    """A VGA card, the one that Debian's cloud kernel has a driver for: text. Its memory (KiB) is part of the device state of a snapshot."""

    memory: int = 8192

    def to_xml(self) -> ET.Element:
        return element("video", element("model", type="vga", vram=str(self.memory), heads="1", primary="yes"), _pci(0, 3))


@dataclass(frozen=True)
class Random:
    """Random bytes from the host."""

    def to_xml(self) -> ET.Element:
        return element("rng", element("backend", text="/dev/urandom", model="random"), _pci(3), model="virtio")


@dataclass(frozen=True)
class Balloon:
    """Says every ten seconds how much memory the guest uses."""

    def to_xml(self) -> ET.Element:
        return element("memballoon", element("stats", period="10"), _pci(4), model="virtio")


@dataclass(frozen=True)
class NoBalloon:
    """None, which libvirt would add by itself. What a guest gives back through a balloon QEMU takes out of the memory *file*, a private view of it
    included (ram_block_discard_range): before QEMU 8.2 others that are forked from it would find noughts there, later ones fill their log.
    """

    def to_xml(self) -> ET.Element:
        return element("memballoon", model="none")


@dataclass(frozen=True)
class Controller:
    """A PCI controller; a root port is a place where a device can be plugged in."""

    index: int
    model: str

    def to_xml(self) -> ET.Element:
        place: tuple[ET.Element, ...] = ()
        if self.index:
            slot, function = divmod(self.index - 1, 8)
            more = {"multifunction": "on"} if function == 0 else {}
            place = (_pci(0, slot + 1, function, **more),)
        return element("controller", *place, type="pci", index=str(self.index), model=self.model)


@dataclass(frozen=True)
class NoUsb:
    """No USB, whose controllers a guest would look through at boot."""

    def to_xml(self) -> ET.Element:
        return element("controller", type="usb", model="none")


@dataclass(frozen=True)
class MemoryFile:
    """The guest's memory is this file: `shared` writes to it, which makes a snapshot; otherwise each page is copied before its first write.

    libvirt would choose the file's name itself, so QEMU is told past it. With `incoming` it waits for device state.
    `read_only` is for a file that QEMU may not write to, and needs QEMU 8.2.
    """

    path: Path
    shared: bool
    incoming: bool
    read_only: bool = False

    def arguments(self, memory: int) -> list[str]:
        """What QEMU is told, for so many MiB."""
        backend = {
            "qom-type": "memory-backend-file",
            "id": "seedmem",
            "size": memory << 20,
            "mem-path": str(self.path),
            "share": self.shared,
            **({"readonly": True, "rom": "off"} if self.read_only else {}),  # the file is, the guest's memory is not
        }
        return ["-object", json.dumps(backend), "-machine", "memory-backend=seedmem", *(["-incoming", "defer"] if self.incoming else [])]


@dataclass(frozen=True)
class Growth:
    """Memory that a running machine may be given besides, MiB: a virtio-mem device, empty at first (qemu.org, "virtio-mem").

    libvirt has words for it, but its own would be a NUMA node's, which a memory file cannot be. It lies in the snapshot and in what libvirt saves:
    plugged in later, a saved machine could not be resumed. QEMU adds a second -m to libvirt's; the MiB to spare are for the device's alignment.
    """

    room: int

    def arguments(self, memory: int) -> list[str]:
        """What QEMU is told, for a machine that starts with so many MiB."""
        backend = {"qom-type": "memory-backend-ram", "id": f"{GROWTH}mem", "size": self.room << 20, "share": False}
        device = {
            "driver": "virtio-mem-pci",
            "id": GROWTH,
            "memdev": f"{GROWTH}mem",
            "bus": f"pci.{GROWTH_PORT}",
            "addr": "0x0",
            "requested-size": 0,
        }
        return ["-m", f"slots=1,maxmem={memory + self.room + 1024}M", "-object", json.dumps(backend), "-device", json.dumps(device)]


def memory_room(described: ET.Element) -> int:
    """MiB that the machine which is described so, as libvirt has it, may be given besides."""
    told = (argument.get("value", "") for argument in described.iter(f"{{{QEMU_NAMESPACE}}}arg"))
    return sum(json.loads(one)["size"] >> 20 for one in told if f'"id": "{GROWTH}mem"' in one)


@dataclass(frozen=True)
class Domain:
    """A machine. memory is MiB; `kind` is libvirt's domain type, kvm or qemu; `machine` a versioned machine type.

    Without `boot` it has nothing to start from, as a fork, which goes on where its snapshot was: QEMU would keep kernel and initial RAM disk in
    its own memory for it. It goes off when its guest resets it, and is booted by whoever sees that.
    """

    id: str
    name: str
    class_name: str
    kind: str
    machine: str
    cpu: Part
    vcpus: int
    memory: int
    boot: Boot | None
    devices: tuple[Part, ...]
    memory_file: MemoryFile | None = None
    growth: Growth | None = None

    def to_xml(self) -> ET.Element:
        controllers: tuple[Part, ...] = (
            Controller(0, "pcie-root"),
            *(Controller(index, "pcie-root-port") for index in range(1, ROOT_PORTS + 1)),
            NoUsb(),
            Channels(),
        )
        return element(
            "domain",
            element("name", text=self.name),
            element("uuid", text=self.id),
            element("genid"),
            element("metadata", element(f"{{{NAMESPACE}}}machine", id=self.id, name=self.name, class_=self.class_name)),
            element("memory", text=str(self.memory), unit="MiB"),
            element("vcpu", text=str(self.vcpus)),
            element(
                "os",
                element("type", text="hvm", arch="x86_64", machine=self.machine),
                *(() if self.boot is None else _booted(self.boot)),
            ),
            element("features", element("acpi"), element("apic"), *(_bounded_translation() if self.kind == "qemu" else ())),
            self.cpu.to_xml(),
            element("clock", offset="utc"),
            element("on_poweroff", text="destroy"),
            element("on_reboot", text="destroy" if self.boot is None else "restart"),
            element("on_crash", text="destroy"),
            element("pm", element("suspend-to-mem", enabled="no"), element("suspend-to-disk", enabled="no")),
            element("devices", *(part.to_xml() for part in (*controllers, *self.devices))),
            _told(
                *LEAN,
                *(() if self.growth is None else self.growth.arguments(self.memory)),  # before -incoming
                *(() if self.memory_file is None else self.memory_file.arguments(self.memory)),
            ),
            # Else libvirt asks QEMU for each of some hundred processor features by itself, for as long as the rest of the start takes.
            element(f"{{{QEMU_NAMESPACE}}}capabilities", element(f"{{{QEMU_NAMESPACE}}}del", capability="cpu-unavailable-features")),
            type=self.kind,
        )


def _told(*words: str) -> ET.Element:
    """Arguments past libvirt, which has no words for them."""
    arguments = (ET.Element(f"{{{QEMU_NAMESPACE}}}arg", {"value": word}) for word in words)
    return element(f"{{{QEMU_NAMESPACE}}}commandline", *arguments)


def _booted(boot: Boot) -> tuple[ET.Element, ...]:
    return element("kernel", text=str(boot.kernel)), element("initrd", text=str(boot.initrd)), element("cmdline", text=boot.cmdline)


def _bounded_translation() -> tuple[ET.Element]:
    """An emulated machine's code is kept translated, in up to 1 GiB of the host's memory; a boot fills 230 MiB and is no slower with half of that."""
    return (element("tcg", element("tb-cache", text=str(TRANSLATED), unit="MiB")),)


def to_text(node: ET.Element) -> str:
    """The XML as text, indented."""
    ET.indent(node)
    return ET.tostring(node, encoding="unicode") + "\n"
