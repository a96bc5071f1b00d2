"""The rules as nftables reads them. That they hold is tried from inside a guest, in the integration tier."""

import json
from collections.abc import Callable

from appliance.hypervisor.libvirt.network import Network, rules
from appliance.settings import load


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("rules.json", json.dumps(rules(Network(load({}))), indent=1) + "\n")


def test_loading_the_rules_again_forgets_nothing() -> None:
    commands = rules(Network(load({})))
    assert not any("delete" in command for command in commands)
    assert all("chain" in command["flush"] for command in commands if "flush" in command)


def test_every_chain_drops_what_no_rule_accepts() -> None:
    chains = [command["add"]["chain"] for command in rules(Network(load({}))) if "chain" in command.get("add", {})]
    assert len(chains) == 4
    assert {chain["policy"] for chain in chains} == {"drop"}


def test_two_appliances_share_no_name() -> None:
    one, other = (Network(load({}, network=name)) for name in ("dpe", "test"))
    assert {one.name, one.bridge, one.inner, one.outer}.isdisjoint({other.name, other.bridge, other.inner, other.outer})


def test_names_fit_into_what_the_kernel_allows() -> None:
    network = Network(load({}, network="a2345678"))
    assert all(len(name) <= 15 for name in (network.bridge, network.inner, network.outer))
