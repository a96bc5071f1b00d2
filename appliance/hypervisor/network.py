"""The machines' network: a namespace with a bridge, joined to the host by one routed link, and its rules.

    host --(uplink)-- [ namespace: bridge -- tap -- machine ... ]

What holds, whatever a machine does: it can send only from its own MAC and address, reaches no other
machine, not the bridge's own address and not the host; it is reached, and may answer, from the host
alone. The rules are nftables' own JSON (libnftables-json(5)), and live inside the namespace but for one
chain on the host's end of the link.
"""

import ipaddress
import json
from typing import Any

from appliance.errors import CommandFailed, DpeError
from appliance.hypervisor.provider import Card
from appliance.run import run
from appliance.settings import Settings

Rule = dict[str, Any]


class Network:
    """The machines' network of one appliance; every verb may be repeated."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.network
        self.bridge = f"{self.name}0"
        self.inner = f"{self.name}-in"
        self.outer = f"{self.name}-out"
        self.subnet = ipaddress.ip_network(settings.subnet)
        self.gateway = settings.gateway
        link = ipaddress.ip_network(settings.uplink)
        self.host_end, self.inner_end = str(link[1]), str(link[2])
        self.link_prefix = link.prefixlen

    def inside(self, *command: str, input: str | None = None) -> str:
        """Run a command in the namespace."""
        # nsenter, because `ip netns exec` mounts /sys anew.
        return run(["nsenter", f"--net=/run/netns/{self.name}", "--", *command], input=input)

    def exists(self) -> bool:
        """Whether the namespace is there."""
        found = json.loads(run(["ip", "-json", "netns", "list"]) or "[]")
        return any(entry["name"] == self.name for entry in found)

    def up(self) -> None:
        """Make the namespace, bridge, link, route and rules, or what is missing of them. Raises DpeError when the subnet is in use."""
        if not self.exists():
            self._check_free()
            run(["ip", "netns", "add", self.name])
        for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"):
            self.inside("sysctl", "-qw", setting)
        links = {link["ifname"] for link in json.loads(self.inside("ip", "-json", "link"))}
        if self.inner not in links:
            run(["ip", "link", "add", self.outer, "type", "veth", "peer", "name", self.inner, "netns", self.name])
        if self.bridge not in links:
            self.inside("ip", "link", "add", self.bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0")
        self.inside("ip", "link", "set", "lo", "up")
        self.inside("ip", "address", "replace", f"{self.gateway}/{self.subnet.prefixlen}", "dev", self.bridge)
        self.inside("ip", "link", "set", self.bridge, "up")
        self.inside("ip", "address", "replace", f"{self.inner_end}/{self.link_prefix}", "dev", self.inner)
        self.inside("ip", "link", "set", self.inner, "up")
        run(["ip", "address", "replace", f"{self.host_end}/{self.link_prefix}", "dev", self.outer])
        run(["ip", "link", "set", self.outer, "up"])
        run(["ip", "route", "replace", str(self.subnet), "via", self.inner_end, "dev", self.outer])
        self.inside("ip", "route", "replace", "default", "via", self.host_end)
        self._load_rules()

    def down(self) -> None:
        """Take the network away, with all that is in it."""
        for table in self._host_tables():
            run(["nft", "-j", "-f", "-"], input=_commands([{"delete": {"table": table}}]))
        links = {link["ifname"] for link in json.loads(run(["ip", "-json", "link"]))}
        if self.outer in links:
            run(["ip", "link", "delete", self.outer])
        if self.exists():
            run(["ip", "netns", "delete", self.name])

    def admit(self, card: Card) -> None:
        """Let a machine use its card: this tap, with this MAC and this address, and no other."""
        self.inside("nft", "-j", "-f", "-", input=_commands([{"add": {"element": self._element([self._key(card)])}}]))

    def expel(self, taps: set[str]) -> None:
        """Forget whatever was admitted on these taps."""
        keys = [key for key in self._admitted() if key[0] in taps]
        if keys:
            self.inside("nft", "-j", "-f", "-", input=_commands([{"delete": {"element": self._element(keys)}}]))

    def admitted(self) -> set[str]:
        """The taps with an entry."""
        return {key[0] for key in self._admitted()}

    # -- rules ------------------------------------------------------------------------------

    def rules(self) -> list[Rule]:
        """The namespace's rules, as nftables' JSON commands; loading them again keeps what was admitted."""
        key = {"concat": [_meta("iifname"), _payload("ether", "saddr"), _payload("ip", "saddr")]}
        arp = {"concat": [_meta("iifname"), _payload("ether", "saddr"), _payload("arp", "saddr ip")]}
        spoof, route = {"family": "bridge", "table": self.name}, {"family": "inet", "table": self.name}

        def rule(where: dict[str, str], chain: str, *expr: Any) -> Rule:
            return {"add": {"rule": {**where, "chain": chain, "expr": list(expr)}}}

        return [
            {"add": {"table": {"family": "bridge", "name": self.name}}},
            {"add": {"set": {**spoof, "name": "admitted", "type": ["ifname", "ether_addr", "ipv4_addr"]}}},
            *_chain(spoof, "from-machine", "prerouting", -300),
            rule(spoof, "from-machine", _match(key, "@admitted"), {"accept": None}),
            rule(spoof, "from-machine", _match(arp, "@admitted"), {"accept": None}),
            # Machines meet on no path: the ports are isolated, and if they were not, this holds.
            *_chain(spoof, "between-machines", "forward", 0),
            {"add": {"table": {"family": "inet", "name": self.name}}},
            *_chain(route, "to-gateway", "input", 0),
            rule(route, "to-gateway", _match(_meta("iifname"), "lo"), {"accept": None}),
            *_chain(route, "through", "forward", 0),
            rule(route, "through", _state("established", "related"), {"accept": None}),
            rule(route, "through", _match(_meta("iifname"), self.inner), _match(_meta("oifname"), self.bridge), {"accept": None}),
        ]

    def host_rules(self) -> list[Rule]:
        """The host's end of the link: answers come in, nothing else does."""
        where = {"family": "inet", "table": self._host_table}
        return [
            {"add": {"table": {"family": "inet", "name": self._host_table}}},
            *[
                item
                for hook in ("input", "forward")
                for item in [
                    *_chain(where, f"machines-{hook}", hook, -10, policy="accept"),
                    {
                        "add": {
                            "rule": {
                                **where,
                                "chain": f"machines-{hook}",
                                "expr": [
                                    _match(_meta("iifname"), self.outer),
                                    {"match": {"op": "!=", "left": {"ct": {"key": "state"}}, "right": {"set": ["established", "related"]}}},
                                    {"drop": None},
                                ],
                            }
                        }
                    },
                ]
            ],
        ]

    @property
    def _host_table(self) -> str:
        return f"dpe-{self.name}"

    def _host_tables(self) -> list[Rule]:
        listed = json.loads(run(["nft", "-j", "list", "tables"]))["nftables"]
        return [
            {"family": t["table"]["family"], "name": t["table"]["name"]}
            for t in listed
            if t.get("table", {}).get("name") == self._host_table
        ]

    def _load_rules(self) -> None:
        self.inside("nft", "-j", "-f", "-", input=_commands(self.rules()))
        run(["nft", "-j", "-f", "-"], input=_commands(self.host_rules()))

    def _check_free(self) -> None:
        for route in json.loads(run(["ip", "-json", "route"])):
            if route["dst"] != "default" and self.subnet.overlaps(ipaddress.ip_network(route["dst"], strict=False)):
                raise DpeError(
                    f"The machines' subnet {self.subnet} is in use on this host already ({route['dst']} on {route.get('dev', '?')}).",
                    "Choose a free one with the setting subnet, like DPE_SUBNET=10.99.0.0/16.",
                )

    def _key(self, card: Card) -> list[str]:
        return [card.tap, card.mac, card.address]

    def _element(self, keys: list[list[str]]) -> Rule:
        return {"family": "bridge", "table": self.name, "name": "admitted", "elem": [{"concat": key} for key in keys]}

    def _admitted(self) -> list[list[str]]:
        try:
            listed = json.loads(self.inside("nft", "-j", "list", "set", "bridge", self.name, "admitted"))["nftables"]
        except CommandFailed:
            if self.exists():
                raise
            return []
        elements = [element for entry in listed for element in entry.get("set", {}).get("elem", [])]
        return [element["concat"] for element in elements]


def _commands(rules: list[Rule]) -> str:
    return json.dumps({"nftables": rules})


def _chain(where: dict[str, str], name: str, hook: str, priority: int, policy: str = "drop") -> list[Rule]:
    """A base chain, emptied when it was there before."""
    chain = {**where, "name": name, "type": "filter", "hook": hook, "prio": priority, "policy": policy}
    return [{"add": {"chain": chain}}, {"flush": {"chain": {**where, "name": name}}}]


def _match(left: Any, right: Any) -> Rule:
    return {"match": {"op": "==", "left": left, "right": right}}


def _state(*states: str) -> Rule:
    return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": list(states)}}


def _meta(key: str) -> Rule:
    return {"meta": {"key": key}}


def _payload(protocol: str, field: str) -> Rule:
    return {"payload": {"protocol": protocol, "field": field}}
