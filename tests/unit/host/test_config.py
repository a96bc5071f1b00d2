"""host.json: what may be in it, and that it is never lost."""

import stat
from pathlib import Path

import pytest

from appliance import layout
from appliance.errors import BadInput
from appliance.host.interface.network import Network
from appliance.host.system import config
from appliance.host.system.config import HostConfig
from appliance.settings import Settings, load

STATIC = {"mode": "static", "card": "eth0", "address": "192.0.2.10/24", "gateway": "192.0.2.1", "dns": ["192.0.2.1"]}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = load({}, state=tmp_path / "s")
    layout.prepare(found)
    return found


def test_a_fresh_host_asks_by_dhcp(settings: Settings) -> None:
    found, complaint = config.read(settings)
    assert (found.hostname, found.network.mode, found.ntp_enabled, found.shell_enabled, complaint) == ("dpe", "dhcp", True, False, "")


def test_what_is_changed_is_kept_for_root_alone_and_what_another_version_knows_stays(settings: Settings) -> None:
    config.file(settings).write_text('{"of_another_version": 7}')
    with config.change(settings) as host:
        host.network = Network.model_validate(STATIC)
    found, _ = config.read(settings)
    assert found.network.ip == "192.0.2.10"
    assert found.model_extra == {"of_another_version": 7}
    assert stat.S_IMODE(config.file(settings).stat().st_mode) == 0o600
    assert [one.name for one in settings.host.iterdir() if one.suffix == ".new"] == []


def test_a_change_that_fails_leaves_the_file_as_it_was(settings: Settings) -> None:
    with config.change(settings) as host:
        host.hostname = "first"
    with pytest.raises(BadInput), config.change(settings) as host:
        host.hostname = "not a name"
    assert config.read(settings)[0].hostname == "first"


@pytest.mark.badinput
@pytest.mark.parametrize(
    "broken", ["", "{", "[]", '{"network": {"mode": "carrier pigeon"}}', '{"hostname": "a_b"}', '{"network": 7}', "\0"]
)
def test_a_broken_file_means_dhcp_says_so_and_is_kept(settings: Settings, broken: str) -> None:
    config.file(settings).write_text(broken)
    found, complaint = config.read(settings)
    assert found == HostConfig()
    assert "asks for its address by DHCP" in complaint
    with config.change(settings) as host:
        host.hostname = "again"
    assert config.read(settings) == (HostConfig(hostname="again"), "")
    assert (settings.host / "host.json.broken").read_text() == broken


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"address": "192.0.2.10"}, "The address 192.0.2.10 has no prefix"),
        ({"address": ""}, "The address is missing"),
        ({"address": "192.0.2.300/24"}, "no IPv4 address"),
        ({"address": "192.0.2.10/33"}, "no IPv4 address"),
        ({"address": "ten"}, "The address 'ten' is no IP address"),
        ({"address": "2001:db8::1/64"}, "no IPv4 address"),
        ({"address": "192.0.2.0/24", "gateway": ""}, "192.0.2.0 means the network itself"),
        ({"address": "192.0.2.255/24"}, "192.0.2.255 means everybody in the network"),
        ({"address": "127.0.0.1/8"}, "cannot be the address of a server"),
        ({"address": "224.0.0.1/4"}, "cannot be the address of a server"),
        ({"address": "169.254.3.3/16"}, "cannot be the address of a server"),
        ({"gateway": "198.51.100.1"}, "The gateway 198.51.100.1 is not in the network of the address, 192.0.2.0/24"),
        ({"gateway": "2001:db8::1"}, "is not in the network"),
        ({"gateway": "192.0.2.10"}, "the same address as this server"),
        ({"gateway": "router"}, "The gateway 'router' is no IP address"),
        ({"dns": ["192.0.2.1", " 192.0.2.1"]}, "The name server 192.0.2.1 is listed twice"),
        ({"dns": ["8.8.8"]}, "The name server '8.8.8' is no IP address"),
        ({"dns": [f"192.0.2.{number}" for number in range(1, 5)]}, "4 name servers are more than the 3"),
        ({"card": ""}, "not said which network interface"),
        ({"card": "eth0/../.."}, "no network interface"),
        ({"card": "eth0\n[Network]"}, "no network interface"),
    ],
)
def test_a_network_that_cannot_be_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        Network.model_validate({**STATIC, **wrong})
    assert said in refused.value.message
    assert refused.value.hint


def test_a_netmask_is_understood_and_a_mac_address_written_as_the_kernel_does() -> None:
    found = Network.model_validate({**STATIC, "address": " 192.0.2.10/255.255.255.0 ", "card": "52:54:00:AB:CD:EF"})
    assert (found.address, found.card) == ("192.0.2.10/24", "52:54:00:ab:cd:ef")


@pytest.mark.badinput
@pytest.mark.parametrize("name", ["", "a b", "a_b", "-a", "a-", "a..b", ".a", "a.", "ä", "1234", "10.0.0.1", "x" * 65, "a\nb", "a/b"])
def test_a_host_name_with_what_is_not_allowed_is_refused(name: str) -> None:
    with pytest.raises(BadInput) as refused:
        config.check_host_name(name)
    assert "letters" in refused.value.hint


@pytest.mark.parametrize(("name", "kept"), [("dpe", "dpe"), (" DPE.Example.Org ", "dpe.example.org"), ("a-1", "a-1"), ("x" * 63, "x" * 63)])
def test_a_good_host_name_is_kept_in_small_letters(name: str, kept: str) -> None:
    assert config.check_host_name(name) == kept


@pytest.mark.badinput
def test_time_servers_are_names_or_addresses() -> None:
    assert HostConfig(ntp=["NTP.example.org ", "192.0.2.1", "2001:db8::1", "ntp.example.org"]).ntp == [
        "ntp.example.org",
        "192.0.2.1",
        "2001:db8::1",
    ]
    for wrong in (["a b"], ["ntp\nNTP=evil"], ["2001:db8::x"], [f"n{number}" for number in range(9)]):
        with pytest.raises(BadInput):
            HostConfig(ntp=wrong)
