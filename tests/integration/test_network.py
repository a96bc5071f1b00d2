"""Changing the network of the server, with systemd-networkd itself, in a network namespace with one cable and a neighbour."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from appliance.access import tls
from appliance.errors import BadInput, Conflict, NotFound
from appliance.host.interface.network import Network
from appliance.host.system import config
from appliance.settings import load
from tests.netbox import NETWORKD, Box
from tests.program import of_owner
from tests.waiting import until

pytestmark = pytest.mark.skipif(not NETWORKD.exists(), reason="systemd-networkd is not installed")

OLD = {"mode": "static", "card": "eth0", "address": "192.0.2.10/24", "gateway": "192.0.2.1"}
NEW = {**OLD, "address": "192.0.2.20/24", "gateway": "192.0.2.2"}


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A host that has the old network."""
    made = Box(load({}, state=tmp_path / "state", network="netbox"), tmp_path)
    try:
        tls.ensure(made.settings)  # as the front door does before
        with config.change(made.settings) as host:
            host.network, host.hostname = Network.model_validate(OLD), "first"
        made.boot()
        until(lambda: made.addresses() == ["192.0.2.10/24"])
        yield made
    finally:
        made.close()


def names(box: Box) -> set[str]:
    made = x509.load_pem_x509_certificate((box.settings.tls / "appliance.crt").read_bytes())
    found = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(one) for one in found.get_values_for_type(x509.IPAddress)}


def test_what_the_browser_confirms_stays_over_restart_and_power_cut(box: Box) -> None:
    assert box.reached_at("192.0.2.10")
    begun = box.client.ask("network.set", network=NEW)
    assert box.client.ask("network.get")["trial"]["left"] > 80
    with pytest.raises(Conflict, match="being tried already"):
        box.client.ask("network.set", network=NEW)
    until(lambda: box.addresses() == ["192.0.2.20/24"])
    assert box.reached_at("192.0.2.20")
    assert box.gateway() == "192.0.2.2"
    assert "192.0.2.20" in names(box)
    with pytest.raises(NotFound):
        box.client.ask("network.confirm", token="guessed")
    box.client.ask("network.confirm", token=begun["token"])
    box.client.ask("network.confirm", token=begun["token"])  # a link opened twice
    box.cut()
    box.boot()
    until(lambda: box.addresses() == ["192.0.2.20/24"])
    assert config.read(box.settings)[0].network.address == "192.0.2.20/24"


@pytest.mark.api
def test_a_program_tries_a_network_and_keeps_it_or_has_the_old_one_back(box: Box) -> None:
    """By API alone; what it sends wrongly, or may not, changes nothing."""
    program = of_owner(box.settings)
    program.ask(403, "POST", "admin/network", NEW, scope="admin:server")
    assert program.refused("POST", "admin/network", {**NEW, "mode": "sometimes", "dns": [1], "speed": 10}) == [
        "#/mode",
        "#/dns/0",
        "#/speed",
    ]
    assert program.refused("POST", "admin/network", {**NEW, "address": "192.0.2.20"}) == ["#/address"]
    assert program.refused("POST", "admin/network", {**NEW, "card": "eth7"}) == ["#/card"]
    program.ask(404, "POST", "admin/network/keep", {"token": "guessed"})
    assert program.ask(200, "GET", "admin/network")["trial"] is None

    begun = program.ask(202, "POST", "admin/network", NEW)
    assert begun["address"] == "192.0.2.20"
    program.ask(409, "POST", "admin/network", NEW)
    until(lambda: box.addresses() == ["192.0.2.20/24"])
    program.ask(202, "POST", "admin/network/back")
    until(lambda: box.addresses() == ["192.0.2.10/24"])
    program.ask(404, "POST", "admin/network/keep", {"token": begun["token"]})

    begun = program.ask(202, "POST", "admin/network", NEW)
    until(lambda: box.addresses() == ["192.0.2.20/24"])
    program.ask(404, "POST", "admin/network/keep", {"token": "guessed"})
    assert program.ask(200, "POST", "admin/network/keep", {"token": begun["token"]}) == {"state": "kept"}
    found = program.ask(200, "GET", "admin/network")
    assert (found["address"], found["trial"]["state"]) == ("192.0.2.20/24", "kept")
    assert box.reached_at("192.0.2.20")


def test_what_nobody_confirms_goes_by_itself(box: Box) -> None:
    before = (box.settings.tls / "appliance.crt").read_bytes()
    begun = box.client.ask("network.set", network=NEW, seconds=3)
    until(lambda: box.addresses() == ["192.0.2.20/24"])
    until(lambda: box.addresses() == ["192.0.2.10/24"])
    until(lambda: box.gateway() == "192.0.2.1")
    assert box.reached_at("192.0.2.10")
    trial = box.client.ask("network.get")["trial"]
    assert (trial["state"], trial["why"]) == ("back", "no browser came back over it in time")
    assert (box.settings.tls / "appliance.crt").read_bytes() == before
    with pytest.raises(NotFound, match="too late"):
        box.client.ask("network.confirm", token=begun["token"])


def test_a_power_cut_in_between_brings_the_old_network_back(box: Box) -> None:
    begun = box.client.ask("network.set", network=NEW)
    until(lambda: box.addresses() == ["192.0.2.20/24"])
    box.cut()
    box.boot()
    until(lambda: box.addresses() == ["192.0.2.10/24"])
    assert "restarted" in box.client.ask("network.get")["trial"]["why"]
    with pytest.raises(NotFound, match="too late"):
        box.client.ask("network.confirm", token=begun["token"])


def test_the_time_runs_on_while_dpe_host_is_killed(box: Box) -> None:
    box.client.ask("network.set", network=NEW, seconds=4)
    until(lambda: box.addresses() == ["192.0.2.20/24"])
    box.kill("host")
    assert box.addresses() == ["192.0.2.20/24"]
    box.begin_host()
    until(lambda: box.addresses() == ["192.0.2.10/24"])


@pytest.mark.badinput
def test_what_cannot_be_used_changes_nothing(box: Box) -> None:
    with pytest.raises(Conflict, match=r"192\.0\.2\.2 is in use already, by the device with the MAC address ([0-9a-f]{2}:){5}"):
        box.client.ask("network.set", network={**NEW, "address": "192.0.2.2/24", "gateway": ""})
    with pytest.raises(BadInput, match="no network interface eth7"):
        box.client.ask("network.set", network={**NEW, "card": "eth7"})
    with pytest.raises(BadInput, match=r"10\.213\.0\.0/24 is in use inside of the appliance"):
        box.client.ask("network.set", network={**NEW, "address": "10.213.0.9/24", "gateway": ""})
    assert box.client.ask("network.get")["trial"] is None
    assert box.addresses() == ["192.0.2.10/24"]


def test_a_name_is_given_at_once_and_kept(box: Box) -> None:
    assert box.client.ask("network.get")["name"] == "first"
    box.client.ask("host.name", name="Second.example.org")
    assert box.client.ask("network.get")["name"] == "second.example.org"
    box.cut()
    box.boot()
    assert box.client.ask("network.get")["name"] == "second.example.org"


@pytest.mark.badinput
def test_a_broken_file_falls_back_to_dhcp_and_says_so(box: Box) -> None:
    box.cut()
    config.file(box.settings).write_text('{"hostname": "first", "netw')
    box.boot()
    said = box.client.ask("network.get")
    assert said["network"]["mode"] == "dhcp"
    assert "asks for its address by DHCP" in said["complaint"]
    box.client.ask("network.set", network=OLD, seconds=0)
    until(lambda: box.addresses() == ["192.0.2.10/24"])
    assert box.client.ask("network.get")["complaint"] == ""
    assert config.file(box.settings).with_suffix(".json.broken").read_text().endswith('"netw')
    assert json.loads(config.file(box.settings).read_text())["network"]["address"] == "192.0.2.10/24"
