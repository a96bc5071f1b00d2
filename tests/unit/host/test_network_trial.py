"""A network on trial, with the clock and systemd in the test's hands. With the real systemd-networkd: integration/test_network.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from appliance import layout
from appliance.access import tls
from appliance.errors import BadInput, CommandFailed, Conflict, NotFound, Unavailable
from appliance.host.system import apply, config, image, network, network_trial
from appliance.settings import Settings, load
from tests.hosted import Hosted, Wire, hosted

MAC = "52:54:00:12:34:56"
NEW = {"mode": "static", "card": MAC, "address": "192.0.2.20/24", "gateway": "192.0.2.1", "dns": []}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = load({}, state=tmp_path / "s")
    layout.prepare(found)
    tls.ensure(found)
    return found


@pytest.fixture
def host(settings: Settings, tmp_path: Path) -> Iterator[Hosted]:
    with hosted(settings, tmp_path) as made:
        yield made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The kernel's seconds."""
    now = [1000.0]
    monkeypatch.setattr(network_trial, "clock", lambda: now[0])
    return now


def used(host: Hosted) -> str:
    return (host.written / "run/systemd/network/10-dpe.network").read_text()


def test_it_begins_after_a_pause_and_ends_by_itself(settings: Settings, host: Hosted, clock: list[float]) -> None:
    client = Wire(settings, "grace")
    begun = client.ask("network.set", network=NEW)
    assert begun["seconds"] == 92
    network.step(settings)
    assert not (host.written / "run").exists()  # the answer has to reach the browser
    with pytest.raises(Conflict, match="not in use yet"):
        client.ask("network.confirm", token=begun["token"])
    clock[0] += 2
    network.step(settings)
    assert "Address=192.0.2.20/24" in used(host)
    assert host.asked == [["networkctl", "reload"]]
    clock[0] += 89.9
    network.step(settings)
    assert client.ask("network.get")["trial"]["state"] == "on"
    clock[0] += 0.2
    network.step(settings)
    assert "DHCP=yes" in used(host)
    assert client.ask("network.get")["trial"]["state"] == "back"
    with pytest.raises(NotFound, match="too late"):
        client.ask("network.confirm", token=begun["token"])
    assert config.read(settings)[0].network.mode == "dhcp"


def test_confirmed_it_stays(settings: Settings, host: Hosted, clock: list[float]) -> None:
    client = Wire(settings, "grace")
    begun = client.ask("network.set", network=NEW)
    clock[0] += 2
    network.step(settings)
    with pytest.raises(NotFound):
        client.ask("network.confirm", token="x")
    assert client.ask("network.confirm", token=begun["token"])["address"] == "192.0.2.20/24"
    clock[0] += 1000
    network.step(settings)
    assert "192.0.2.20/24" in used(host)
    assert config.read(settings)[0].network.address == "192.0.2.20/24"
    with pytest.raises(NotFound):
        client.ask("network.back")


def test_the_certificate_has_the_new_address_only_as_long_as_it_is_used(settings: Settings, host: Hosted, clock: list[float]) -> None:
    file, key = settings.tls / "appliance.crt", settings.tls / "appliance.key"
    before, private = file.read_bytes(), key.read_bytes()
    Wire(settings).ask("network.set", network=NEW)
    clock[0] += 2
    network.step(settings)
    names = x509.load_pem_x509_certificate(file.read_bytes()).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "192.0.2.20" in {str(one) for one in names.get_values_for_type(x509.IPAddress)}
    Wire(settings).ask("network.back")
    assert (file.read_bytes(), key.read_bytes()) == (before, private)  # the browser's exception is for that very one


def test_another_boot_ends_it(
    settings: Settings, host: Hosted, clock: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Wire(settings).ask("network.set", network=NEW)
    other = tmp_path / "boot"
    other.write_text("another\n")
    monkeypatch.setattr(network_trial, "BOOT_ID", other)
    network.step(settings)
    assert network_trial.current(settings) is None
    assert "DHCP=yes" in used(host)


def test_what_networkd_refuses_is_taken_back_at_once(
    settings: Settings, host: Hosted, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise CommandFailed("networkctl ended with status 1.", status=1, output="")

    monkeypatch.setattr(apply, "reload", refuse)
    Wire(settings).ask("network.set", network=NEW)
    clock[0] += 2
    network.step(settings)
    ended = network_trial.last(settings)
    assert ended is not None
    assert ended.state == network_trial.BACK
    assert "networkctl" in ended.why
    assert "DHCP=yes" in used(host)


def test_at_the_screen_there_is_no_trial(settings: Settings, host: Hosted) -> None:
    assert Wire(settings).ask("network.set", network=NEW, seconds=0) == {"token": "", "seconds": 0}
    assert "192.0.2.20/24" in used(host)
    assert config.read(settings)[0].network.address == "192.0.2.20/24"


def test_a_new_name_is_in_the_certificate_too(settings: Settings, host: Hosted) -> None:
    Wire(settings, "grace").ask("host.name", name="Desk.example.org")
    made = x509.load_pem_x509_certificate((settings.tls / "appliance.crt").read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "desk.example.org" in names.get_values_for_type(x509.DNSName)
    assert config.read(settings)[0].hostname == "desk.example.org"
    with pytest.raises(BadInput, match="cannot be a host name"):
        Wire(settings).ask("host.name", name="the desk")


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        ({"address": "192.0.2.77/24"}, Conflict, "192.0.2.77 is in use already, by the device with the MAC address 52:54:00:aa:bb:cc"),
        ({"card": "52:54:00:00:00:01"}, BadInput, "There is no network interface 52:54:00:00:00:01 in this server"),
        ({"address": "10.213.4.5/24", "gateway": ""}, BadInput, "in use inside of the appliance"),
        ({"gateway": "203.0.113.1"}, BadInput, "The gateway 203.0.113.1 is not in the network"),
        ({"mode": "smoke"}, BadInput, "mode"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(
    settings: Settings, host: Hosted, wrong: dict[str, str], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said.replace("(", r"\(")):
        Wire(settings).ask("network.set", network={**NEW, **wrong})
    assert network_trial.last(settings) is None
    assert host.asked == []


@pytest.mark.badinput
def test_the_clock_is_set_only_when_nobody_else_does(settings: Settings, host: Hosted) -> None:
    client = Wire(settings, "grace")
    with pytest.raises(Conflict, match="follows time servers"):
        client.ask("clock.set", at="2027-03-01T12:00:00+01:00")
    with pytest.raises(BadInput, match="no name of a time server"):
        client.ask("clock.servers", enabled=True, servers=["a_b"])
    client.ask("clock.servers", enabled=True, servers=["ntp.example.org"])
    assert "NTP=ntp.example.org" in (host.written / apply.CLOCK).read_text()
    client.ask("clock.servers", enabled=False, servers=[])
    assert (host.written / apply.NO_CLOCK).exists()
    assert host.asked[-1] == ["systemctl", "stop", "systemd-timesyncd.service"]
    for wrong in ("1999-01-01T00:00:00Z", "soon", "2027-03-01T12:00:00"):
        with pytest.raises(BadInput):
            client.ask("clock.set", at=wrong)
    client.ask("clock.set", at="2027-03-01T12:00:00+01:00")
    assert host.asked[-1] == ["timedatectl", "set-time", "2027-03-01 11:00:00 UTC"]
    said = client.ask("clock.get")
    assert (said["enabled"], said["synchronised"]) == (False, True)


def test_outside_of_the_image_nothing_of_that_is_done(settings: Settings, tmp_path: Path) -> None:
    with hosted(settings, tmp_path, in_image=False) as host:
        client = Wire(settings)
        assert client.ask("network.get")["ours"] is False
        for verb, args in (
            ("network.set", {"network": NEW}),
            ("host.name", {"name": "dpe"}),
            ("clock.servers", {"enabled": True}),
            ("clock.set", {"at": "2027-03-01T12:00:00Z"}),
            ("power.off", {}),
            ("power.restart", {}),
        ):
            with pytest.raises(Unavailable, match="a Debian of your own"):
                client.ask(verb, **args)
        assert host.asked == []
    assert image.boot_image() is None
