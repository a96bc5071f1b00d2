"""What machines look like from outside, for the tests that compare it."""

import json
import socket
from typing import Any
from urllib.request import urlopen

import psutil

from appliance.hypervisor.provider import MachineSpec, Power, Provider
from appliance.run import run
from appliance.settings import Settings


def facts(spec: MachineSpec) -> dict[str, Any]:
    """What the small seed's application says, asked from the host."""
    with urlopen(f"http://{spec.card.address}:{spec.application_port}/facts", timeout=20) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


IDENTITY = """
echo machine-id $(cat /etc/machine-id)
echo dbus-id $(cat /var/lib/dbus/machine-id 2>/dev/null)
echo hostname $(cat /proc/sys/kernel/hostname) $(cat /etc/hostname)
echo mac $(cat /sys/class/net/*/address | sort | tail -1)
echo address $(ip -4 -o address show scope global | tr -s ' ' | cut -d ' ' -f 4)
echo host-key $(cat /etc/ssh/ssh_host_*_key.pub 2> /dev/null | cut -d ' ' -f 2)
echo reseeded $(dmesg | grep -c 'crng reseeded due to virtual machine fork')
"""


def identity(provider: Provider, spec: MachineSpec) -> dict[str, str]:
    """What makes a machine one of its own, as it says so itself; what its page says only where it has one."""
    done = provider.execute(spec.id, ["sh", "-c", IDENTITY])
    assert done.status == 0, done
    told = dict(line.partition(" ")[::2] for line in done.output.splitlines())
    return {**told, "secret": facts(spec)["secret"]} if spec.application_port else told


def boot_id(spec: MachineSpec) -> str:
    """Another one after each boot; a fork has its snapshot's."""
    return str(facts(spec)["boot_id"])


def power(provider: Provider, spec: MachineSpec) -> Power | None:
    return {found.id: found.power for found in provider.list()}.get(spec.id)


def answers(address: str) -> bool:
    """Whether anything answers there, on the application's port."""
    try:
        socket.create_connection((address, 8080), timeout=2).close()
    except OSError:
        return False
    return True


def traces(settings: Settings) -> set[str]:
    """Everything that machines could leave: files, folders and sockets, taps, network entries, processes."""
    taps = {link["ifname"] for link in json.loads(run(["ip", "-netns", settings.network, "-json", "link"]))}
    folders = (
        settings.machines,
        settings.libvirt / "lib",
        settings.libvirt / "etc",
        settings.libvirt / "run",
        settings.libvirt / "log",
        settings.run,
    )
    theirs = folders[:2]  # elsewhere are folders that are made once for all machines
    files = {str(file) for folder in folders for file in folder.rglob("*") if folder in theirs or not file.is_dir()}
    files -= {str(file) for file in (settings.run / "verified").glob("*")}  # about snapshots, not machines
    admitted = run(["ip", "netns", "exec", settings.network, "nft", "list", "set", "bridge", settings.network, "admitted"]).split(",")
    # A process that has ended stays for a moment, without its command line.
    commands = {" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])}
    return taps | files | {line.strip() for line in admitted} | {command for command in commands if str(settings.machines) in command}
