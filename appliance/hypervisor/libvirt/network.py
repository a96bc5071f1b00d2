"""The machines' network: a namespace with a bridge, joined to the host by one routed link, and its rules.

    host --(uplink)-- [ namespace: bridge -- tap -- machine ... ]

What holds, whatever a machine does: it can send only from its own MAC and address, and only to answer
what the host has asked it. It reaches no other machine, not the bridge's own address, not the host and
nothing beyond. The rules are nftables' own JSON (libnftables-json(5)), and all live inside the namespace.
"""

import ipaddress
import json
from pathlib import Path
from typing import Any

from appliance.errors import BadInput, CommandFailed, Conflict
from appliance.hypervisor.provider import Card
from appliance.run import run
from appliance.settings import FIRST_SLOT, Settings

Json = dict[str, Any]

SET = "admitted"


class Network:
    """The machines' network of one appliance; every verb may be repeated."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.network
        self.bridge = f"{self.name}0"
        self.inner, self.outer = f"{self.name}-in", f"{self.name}-out"
        self.subnet = ipaddress.ip_network(settings.subnet)
        self.gateway = settings.gateway
        self.link = ipaddress.ip_network(settings.uplink)
        self.host_end, self.inner_end = str(self.link[1]), str(self.link[2])

    def inside(self, *command: str, input: str | None = None) -> str:
        """Run a command in the namespace."""
        # nsenter, because `ip netns exec` mounts /sys anew.
        return run(["nsenter", f"--net=/run/netns/{self.name}", "--", *command], input=input)

    def exists(self) -> bool:
        """Whether the namespace is there."""
        return any(entry["name"] == self.name for entry in _ip("netns", "list"))

    def up(self) -> None:
        """Make the namespace, bridge, link, route and rules, or what is missing of them. Raises BadInput when the addresses are in use."""
        self._check_free()
        if not self.exists():
            run(["ip", "netns", "add", self.name])
        for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"):
            self.inside("sysctl", "-qw", setting)
        links = {link["ifname"] for link in json.loads(self.inside("ip", "-json", "link"))}
        if self.bridge not in links:
            self.inside("ip", "link", "add", self.bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0")
        self._load_rules()  # before there is a way for anything to pass
        if self.inner not in links:
            run(["ip", "link", "add", self.outer, "type", "veth", "peer", "name", self.inner, "netns", self.name])
        self.inside("ip", "link", "set", "lo", "up")
        self.inside("ip", "address", "replace", f"{self.gateway}/{self.subnet.prefixlen}", "dev", self.bridge)
        self.inside("ip", "link", "set", self.bridge, "up")
        # Who asks a machine that is about to have its address should not wait a second to ask again.
        self.inside("sysctl", "-qw", f"net.ipv4.neigh.{self.bridge}.retrans_time_ms=50")
        self.inside("ip", "address", "replace", f"{self.inner_end}/{self.link.prefixlen}", "dev", self.inner)
        self.inside("ip", "link", "set", self.inner, "up")
        run(["ip", "address", "replace", f"{self.host_end}/{self.link.prefixlen}", "dev", self.outer])
        # Else the link's own IPv6 address would come some seconds later, and browsers on the host take that for another network.
        if (ipv6 := Path("/proc/sys/net/ipv6/conf") / self.outer / "disable_ipv6").exists():
            ipv6.write_text("1")
        run(["ip", "link", "set", self.outer, "up"])
        run(["ip", "route", "replace", str(self.subnet), "via", self.inner_end, "dev", self.outer])

    def down(self) -> None:
        """Take the network away, with all that is in it. Raises Conflict while something works in it."""
        if self.exists():
            if pids := run(["ip", "netns", "pids", self.name]).split():
                raise Conflict(
                    f"Processes still work in the machines' network {self.name}: {', '.join(pids)}.",
                    "Park or destroy the machines and stop libvirtd first.",
                )
            run(["ip", "netns", "delete", self.name])
        # The kernel takes the namespace's end of the link down some time later; a new one must not meet the old.
        if self._linked():
            try:
                run(["ip", "link", "delete", self.outer])
            except CommandFailed:
                if self._linked():
                    raise

    def _linked(self) -> bool:
        return any(link["ifname"] == self.outer for link in _ip("link"))

    def tap(self, card: Card) -> str:
        """The name of a card's end on this host, after its address: m and the slot, or t and its place among the addresses before the slots."""
        place = int(ipaddress.ip_address(card.address)) - int(self.subnet.network_address)
        return f"{self.name}-m{place - FIRST_SLOT}" if place >= FIRST_SLOT else f"{self.name}-t{place}"

    def ifb(self, tap: str) -> str:
        """The device through which is led what comes in at a tap, where that is limited (see rates.py): i in place of m, j in place of t."""
        network, _, place = tap.rpartition("-")
        return f"{network}-{'j' if place.startswith('t') else 'i'}{place[1:]}"

    def remove_ifb(self, tap: str) -> None:
        """Remove that device. None is fine."""
        ifb = self.ifb(tap)
        if ifb in {link["ifname"] for link in json.loads(self.inside("ip", "-json", "link", "show", "type", "ifb") or "[]") if link}:
            self.inside("ip", "link", "del", ifb)

    def admit(self, id: str, card: Card) -> None:
        """Let the machine use its card: its tap, with this MAC and this address, and no other."""
        tap = self.tap(card)
        key = [tap, card.mac, card.address]
        admitted = self._elements()
        if admitted.get(id) == [key]:
            return
        old = [other for keys in admitted.values() for other in keys if other[0] == tap or other == key]
        old += [other for other in admitted.get(id, []) if other not in old]
        self._nft([*_delete(self.name, old), {"add": {"element": _elements(self.name, [_element(key, id)])}}])

    def expel(self, id: str) -> None:
        """Forget what was admitted for the machine."""
        try:
            keys = self._elements().get(id, [])
            for tap, *_ in keys:
                self.remove_ifb(tap)
            self._nft(_delete(self.name, keys))
        except CommandFailed:
            if self.exists():  # else nothing is admitted either
                raise

    def admitted(self) -> dict[str, list[str]]:
        """Tap, MAC and address of every admitted card, by its machine's id."""
        return {id: key for id, keys in self._elements().items() for key in keys}

    def _elements(self) -> dict[str, list[list[str]]]:
        listed = json.loads(self.inside("nft", "-j", "list", "set", "bridge", self.name, SET))["nftables"]
        found: dict[str, list[list[str]]] = {}
        for entry in listed:
            for item in entry.get("set", {}).get("elem", []):
                named = item.get("elem", {"val": item})
                found.setdefault(named.get("comment", ""), []).append(named["val"]["concat"])
        return found

    def _load_rules(self) -> None:
        self._nft(rules(self))

    def _nft(self, commands: list[Json]) -> None:
        """All of the commands, or none."""
        if commands:
            self.inside("nft", "-j", "-f", "-", input=json.dumps({"nftables": commands}))

    def _check_free(self) -> None:
        for route in _ip("route"):
            if route["dst"] == "default" or route.get("dev") == self.outer:
                continue
            used = ipaddress.ip_network(route["dst"], strict=False)
            # The link lies in the range that hosts give themselves; only a route as narrow as it is in its way.
            if used.overlaps(self.subnet) or used == self.link:
                raise BadInput(
                    f"The machines' addresses {self.subnet} or {self.link} are in use on this host already: {used} on {route.get('dev', '?')}.",
                    "Choose free ones with the settings subnet and uplink, like DPE_SUBNET=10.99.0.0/16.",
                )


def rules(network: Network) -> list[Json]:
    """The namespace's rules, as nftables' JSON commands; loading them again keeps what was admitted."""
    bridge, routed = {"family": "bridge", "table": network.name}, {"family": "inet", "table": network.name}
    tap, sender = _meta("iifname"), _payload("ether", "saddr")
    ip = {"concat": [tap, sender, _payload("ip", "saddr")]}
    arp = {"concat": [tap, sender, _payload("arp", "saddr ip")]}
    arp_sender = {"concat": [tap, _payload("arp", "saddr ether"), _payload("arp", "saddr ip")]}
    from_host = [_match(_meta("iifname"), network.inner), _match(_payload("ip", "saddr"), network.host_end)]
    return [
        {"add": {"table": {"family": "bridge", "name": network.name}}},
        {"add": {"set": {**bridge, "name": SET, "type": ["ifname", "ether_addr", "ipv4_addr"]}}},
        *_chain(bridge, "from-machine", "prerouting", -300),
        _rule(bridge, "from-machine", _match(ip, f"@{SET}")),
        _rule(bridge, "from-machine", _match(arp, f"@{SET}"), _match(arp_sender, f"@{SET}")),
        # Machines meet on no path: the ports are isolated, and if they were not, this holds.
        *_chain(bridge, "between-machines", "forward", 0),
        {"add": {"table": {"family": "inet", "name": network.name}}},
        *_chain(routed, "to-gateway", "input", 0),
        _rule(routed, "to-gateway", _match(_meta("iifname"), "lo")),
        *_chain(routed, "through", "forward", 0),
        _rule(routed, "through", _state("established", "related")),
        _rule(routed, "through", *from_host, _match(_meta("oifname"), network.bridge)),
    ]


def _ip(*command: str) -> list[Json]:
    found: list[Json] = json.loads(run(["ip", "-json", *command]) or "[]")
    return [entry for entry in found if entry]


def _element(key: list[str], id: str) -> Json:
    # The comment names the machine, so that an entry is found again when nothing else of the machine is left.
    return {"elem": {"val": {"concat": key}, "comment": id}}


def _elements(table: str, elements: list[Json]) -> Json:
    return {"family": "bridge", "table": table, "name": SET, "elem": elements}


def _delete(table: str, keys: list[list[str]]) -> list[Json]:
    return [{"delete": {"element": _elements(table, [{"concat": key} for key in keys])}}] if keys else []


def _chain(where: dict[str, str], name: str, hook: str, priority: int) -> list[Json]:
    """A base chain that drops what no rule accepts, emptied when it was there before."""
    chain = {**where, "name": name, "type": "filter", "hook": hook, "prio": priority, "policy": "drop"}
    return [{"add": {"chain": chain}}, {"flush": {"chain": {**where, "name": name}}}]


def _rule(where: dict[str, str], chain: str, *matches: Json) -> Json:
    """Accept what matches all."""
    return {"add": {"rule": {**where, "chain": chain, "expr": [*matches, {"accept": None}]}}}


def _match(left: Any, right: Any) -> Json:
    return {"match": {"op": "==", "left": left, "right": right}}


def _state(*states: str) -> Json:
    return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": list(states)}}


def _meta(key: str) -> Json:
    return {"meta": {"key": key}}


def _payload(protocol: str, field: str) -> Json:
    return {"payload": {"protocol": protocol, "field": field}}
