"""How fast machines are at most: on the network by queueing disciplines of the kernel (tc) in the machines' namespace, on disks by QEMU.

What is sent to a machine leaves by its tap, where a token bucket (tc-tbf) delays it. What it sends comes in there, where nothing can be delayed, and so is
led through a device of its own (ifb) with the same bucket; the rules that keep machines apart see it afterwards, as ever. libvirt's own `<bandwidth>` does
the same by a policer and another scheduler, which not every kernel has: then it fails after half of it was done.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import libvirt

from appliance.errors import CommandFailed, Unavailable
from appliance.hypervisor.libvirt.base import Base, find, targets
from appliance.hypervisor.libvirt.network import Network
from appliance.hypervisor.provider import MachineSpec
from appliance.scenario.rates import Rates

MEGABIT = 125_000  # bytes
SMALLEST_BURST = 64 << 10  # bytes: one packet as a machine hands it over, before it is cut
TICKS = 250  # a second, of the slowest kernels: what comes at a tick at full rate has to fit into the bucket
LATENCY = "200ms"  # that a packet waits at most before it is dropped; with less TCP does not come up to the rate of a slow guest


class Limits(Base):
    """Reads and sets them."""

    def rates(self) -> Mapping[str, Rates]:
        network, found = _Disciplines(self.network), {}
        taps = {id: key[0] for id, key in self.network.admitted().items()}
        flags = libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
        with self._connection.use() as connection:
            for domain in connection.listAllDomains(flags):
                with suppress(libvirt.libvirtError):  # it went off just now
                    id = domain.UUIDString()
                    into, out_of = network.of(taps.get(id, ""))
                    found[id] = Rates(into, out_of, *_of_disks(domain))
        return found

    def limit(self, spec: MachineSpec) -> None:
        with self._connection.use() as connection:
            domain = find(connection, spec.id)
            if domain is not None and domain.isActive():
                self._limit(domain, spec)

    def _limit(self, domain: libvirt.virDomain, spec: MachineSpec) -> None:
        tap = self.network.tap(spec.card)
        try:
            _Disciplines(self.network).put(tap, spec.rates)
        except CommandFailed as error:
            raise Unavailable(
                f"The network of {spec.name} cannot be limited: {error.output.strip()[-200:]}",
                "The server's kernel needs the modules sch_tbf, sch_ingress, cls_u32, act_mirred and ifb.",
            ) from error
        _put_on_disks(domain, spec.rates)


class _Disciplines:
    """What the kernel has in the namespace."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._found: list[dict[str, Any]] = json.loads(network.inside("tc", "-json", "qdisc", "show") or "[]")

    def of(self, tap: str) -> tuple[int, int]:
        """Mbit/s to and from the machine at this tap; 0: no limit."""
        led = self._has(tap, "ingress")
        return self._bucket(tap), self._bucket(self._network.ifb(tap)) if led else 0

    def put(self, tap: str, rates: Rates) -> None:
        """Have these be in force, and nothing else. The bucket comes last of what a machine sends, so that by it all else is known to be there."""
        ifb, (into, out_of) = self._network.ifb(tap), self.of(tap)
        commands = []
        if rates.network_in != into:
            commands.append(_tbf(tap, rates.network_in) if rates.network_in else f"qdisc del dev {tap} root")
        if rates.network_out != out_of or (not out_of and self._has_traces(tap, ifb)):
            if not (out_of and rates.network_out):
                self._clear(tap)
            if rates.network_out and not out_of:
                self._network.inside("ip", "link", "add", ifb, "up", "type", "ifb")
                commands += [
                    f"qdisc add dev {tap} handle ffff: ingress",
                    f"filter add dev {tap} parent ffff: protocol all prio 1 u32 match u32 0 0 action mirred egress redirect dev {ifb}",
                ]
            if rates.network_out:
                commands.append(_tbf(ifb, rates.network_out))
        if commands:
            self._network.inside("tc", "-batch", "-", input="\n".join(commands) + "\n")

    def _has_traces(self, tap: str, ifb: str) -> bool:
        """What a try left that was cut off."""
        return self._has(tap, "ingress") or any(one["dev"] == ifb for one in self._found)

    def _clear(self, tap: str) -> None:
        """First what leads there: what is led to a device that is gone would be lost."""
        if self._has(tap, "ingress"):
            self._network.inside("tc", "qdisc", "del", "dev", tap, "ingress")
        self._network.remove_ifb(tap)

    def _has(self, device: str, kind: str) -> bool:
        return any(one["dev"] == device and one["kind"] == kind for one in self._found)

    def _bucket(self, device: str) -> int:
        rates = [one["options"]["rate"] for one in self._found if one["dev"] == device and one["kind"] == "tbf" and one.get("root")]
        return round(rates[0] / MEGABIT) if rates else 0


def _tbf(device: str, megabits: int) -> str:
    burst = max(SMALLEST_BURST, megabits * MEGABIT // TICKS)
    return f"qdisc replace dev {device} root tbf rate {megabits}mbit burst {burst} latency {LATENCY}"


def _of_disks(domain: libvirt.virDomain) -> tuple[int, int]:
    """MiB and operations a second; where disks differ, or do not share them, -1."""
    found = set()
    for target in targets(domain).values():
        tune = domain.blockIoTune(target, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        found.add((tune["total_bytes_sec"] >> 20, tune["total_iops_sec"]))
    return found.pop() if len(found) == 1 else (-1, -1)


def _put_on_disks(domain: libvirt.virDomain, rates: Rates) -> None:
    """The group has all disks of a machine share what there is."""
    wanted = {"total_bytes_sec": rates.disk_rate << 20, "total_iops_sec": rates.disk_iops}
    if any(wanted.values()):
        wanted |= {"group_name": f"machine-{domain.UUIDString()}"}  # type: ignore[dict-item]
    for target in targets(domain).values():
        domain.setBlockIoTune(target, wanted, libvirt.VIR_DOMAIN_AFFECT_LIVE)
