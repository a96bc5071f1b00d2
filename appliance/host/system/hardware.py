"""What this server is made of, and what is wrong with it, in words that need no knowledge of Linux."""

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from appliance.host.interface.network import Card
from appliance.host.system import network
from appliance.settings import Settings

CPUINFO = Path("/proc/cpuinfo")
BLOCK = Path("/sys/dev/block")
KVM = Path("/sys/class/misc/kvm")  # not in /dev, which the web process does not see

LEAST_DISK = 10240  # MiB free, below which it is called little
LEAST_MEMORY = 4096  # MiB
SLOW = 1000  # Mbit/s, below which a network is called slow

OK, WARNING, BAD = "ok", "warning", "bad"


@dataclass(frozen=True)
class Hardware:
    """Sizes are MiB. `virtualisation` is whether the processor offers it, `kvm` whether the kernel does; `virtual`: this server is a
    virtual machine itself; `spinning` is None where that cannot be told."""

    processor: str
    cpus: int
    intel: bool
    virtualisation: bool
    kvm: bool
    virtual: bool
    memory: int
    disk: int
    disk_free: int
    spinning: bool | None
    cards: list[Card]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `level` is ok, warning or bad; `about` names it; `text` says what it means and what to do."""

    level: str
    about: str
    title: str
    text: str


def read_hardware(settings: Settings) -> Hardware:
    """The server as it is now."""
    flags, values = set(), {}
    for line in CPUINFO.read_text().splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        values[name] = value
        if name == "flags":
            flags = set(value.split())
    virtual = "hypervisor" in flags
    disk = psutil.disk_usage(str(settings.state))
    return Hardware(
        processor=" ".join(values.get("model name", "").split()) or "Processor",
        cpus=psutil.cpu_count() or 1,
        intel=values.get("vendor_id") == "GenuineIntel",
        virtualisation=bool(flags & {"vmx", "svm"}),
        kvm=KVM.exists(),
        virtual=virtual,
        memory=psutil.virtual_memory().total >> 20,
        disk=disk.total >> 20,
        disk_free=disk.free >> 20,
        spinning=None if virtual else _spins(settings.state),  # virtual disks say what comes to their mind
        cards=network.cards(),
    )


def _spins(path: Path) -> bool | None:
    device = path.stat().st_dev
    folder = (BLOCK / f"{os.major(device)}:{os.minor(device)}").resolve()
    for place in (folder, folder.parent):  # a partition's queue is that of its disk
        try:
            return (place / "queue/rotational").read_text().strip() == "1"
        except OSError:
            continue
    return None


def findings(found: Hardware, acceleration: str, reason: str, problems: list[str]) -> list[Finding]:
    """All that there is to say. `acceleration` and `reason` are what the engine found by running a machine, empty while it has not;
    `problems` are what the disks say of themselves."""
    return [
        _virtualisation(found, acceleration, reason),
        Finding(OK, "cpu", _processors(found), "Shared by all machines; those that idle take next to nothing."),
        _memory(found),
        _disk(found),
        *(Finding(BAD, "disk", problem, "") for problem in problems),
        *_network(found.cards),
    ]


def _processors(found: Hardware) -> str:
    return f"{found.cpus} processor{'s' if found.cpus != 1 else ''}: {found.processor}"


def _virtualisation(found: Hardware, acceleration: str, reason: str) -> Finding:
    if acceleration == "kvm":
        return Finding(OK, "kvm", "Hardware virtualisation works", f"{reason} Machines run at nearly the speed of this server.")
    slow = "Until then machines are emulated: everything works, but ten to twenty times slower."
    if found.virtualisation and found.kvm:
        if not acceleration:
            return Finding(
                WARNING, "kvm", "Hardware virtualisation is there, and has not been tried yet", "The engine tries it when it starts."
            )
        return Finding(WARNING, "kvm", "Hardware virtualisation is there, but is not used", f"{reason} {slow.replace('Until then m', 'M')}")
    if found.virtual:
        return Finding(
            WARNING,
            "kvm",
            "This server is a virtual machine without virtualisation of its own",
            f"Switch on nested virtualisation in the settings of this virtual machine, with the processor type “host”, and start it again. {slow}",
        )
    if found.virtualisation:
        return Finding(
            BAD,
            "kvm",
            "Virtualisation is locked in the firmware",
            "The processor offers it, but Linux may not use it. Restart, open the firmware's set-up (often with F2 or Del), switch on "
            f"{'Intel VT-x' if found.intel else 'AMD-V, also called SVM'}, save, and switch the server off and on. {slow}",
        )
    return Finding(
        BAD,
        "kvm",
        "Virtualisation is switched off in the firmware, or this processor has none",
        "Restart, open the firmware's set-up (often with F2 or Del), and switch on "
        f"{'Intel VT-x (“Virtualization Technology”)' if found.intel else 'AMD-V, also called SVM'}, mostly under CPU or Advanced. {slow}",
    )


def _gib(size: int) -> str:
    return f"{size / 1024:.0f} GiB" if size >= 10240 else f"{size / 1024:.1f} GiB"


def _memory(found: Hardware) -> Finding:
    if found.memory < LEAST_MEMORY:
        return Finding(WARNING, "memory", f"{_gib(found.memory)} of memory", "That is little: add memory to have more than a few machines.")
    return Finding(OK, "memory", f"{_gib(found.memory)} of memory", "This is what bounds the number of machines most of the time.")


def _room(found: Hardware) -> str:
    return f"{_gib(found.disk_free)} of {_gib(found.disk)} free on disk"


def _disk(found: Hardware) -> Finding:
    title = _room(found)
    if found.disk_free < LEAST_DISK:
        return Finding(
            WARNING, "disk", title, "That is little: a seed takes one to three GiB. Make room, or give the appliance a second disk."
        )
    if found.spinning:
        text = "It is a spinning disk: machines start slowly, and hold each other up. An SSD, also as a second disk, makes much of a difference."
        return Finding(WARNING, "disk", title, text)
    return Finding(OK, "disk", title, "A seed takes one to three GiB; a machine only what it writes.")


def _network(cards: list[Card]) -> list[Finding]:
    connected = [card for card in cards if card.connected]
    if cards and not connected:
        names = ", ".join(card.name for card in cards)
        return [
            Finding(BAD, "network", "No network cable is plugged in", f"Plug one into this server, and into a switch that is on ({names}).")
        ]
    found = []
    for card in connected:
        if 0 < card.speed < SLOW:
            text = "That is slow for more than a few people: look at the cable and at the switch; both should be good for 1 Gbit/s."
            found.append(Finding(WARNING, "network", f"The network at {card.name} runs at {card.speed} Mbit/s", text))
        else:
            mac, speed = f"Its MAC address is {card.mac}.", f"{card.speed / 1000:g}"
            if card.speed:
                found.append(Finding(OK, "network", f"The network at {card.name} runs at {speed} Gbit/s", mac))
            else:
                found.append(Finding(OK, "network", f"The network at {card.name} is connected", mac))
    return found
