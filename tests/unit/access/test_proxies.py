"""Which proxies in front of the door are believed."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.access import nginx, proxies
from appliance.errors import BadInput
from appliance.run import run
from appliance.settings import Settings

pytestmark = pytest.mark.hostile


def text(settings: Settings) -> str:
    return nginx.configuration(settings, Path("/house"), Path("/c"), Path("/k"), (1, 22, 1))


@pytest.fixture
def prepared(settings: Settings) -> Settings:
    settings.tls.mkdir(parents=True, exist_ok=True)
    return replace(settings, listen="127.0.0.1", https_port=17043, app_port=17100)


def test_addresses_and_networks_are_kept_in_one_form_each_once(settings: Settings) -> None:
    lines = ["  192.0.2.7", "", "10.1.0.9/24", "10.1.0.0/24", "2001:DB8::7", "2001:db8:1::/48"]
    assert proxies.check(lines, settings) == ["192.0.2.7", "10.1.0.0/24", "2001:db8::7", "2001:db8:1::/48"]


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["192.0.2.7", "proxy.example.org"], "Line 2: 'proxy.example.org' is neither"),
        (["192.0.2.7; return 200"], "Line 1: '192.0.2.7; return 200' is neither"),
        (["0.0.0.0/0"], "0.0.0.0/0 is nearly everybody"),
        (["::/0"], "nearly everybody"),
        (["unix:"], "neither"),
        ([f"192.0.2.{number}" for number in range(60)], "60 proxies are too many"),
    ],
)
def test_what_is_none_is_refused_with_its_line(settings: Settings, lines: list[str], says: str) -> None:
    with pytest.raises(BadInput, match=says.replace("(", r"\(")):
        proxies.check(lines, settings)


@pytest.mark.badinput
def test_machines_are_never_believed(settings: Settings) -> None:
    for network in (settings.subnet, settings.subnet.split("/")[0], settings.uplink, "10.0.0.0/8"):
        changed = replace(settings, subnet="10.20.0.0/16") if network == "10.0.0.0/8" else settings
        with pytest.raises(BadInput, match="Line 1: machines have addresses in"):
            proxies.check([network], changed)


def test_the_door_believes_those_alone(prepared: Settings) -> None:
    assert "real_ip" not in text(prepared)
    proxies.trust(prepared, ["192.0.2.7", "2001:db8::/64"])
    said = text(prepared)
    assert [line.strip() for line in said.splitlines() if "real_ip" in line] == [
        "set_real_ip_from 192.0.2.7;",
        "set_real_ip_from 2001:db8::/64;",
        "real_ip_header X-Forwarded-For;",
        "real_ip_recursive on;",
    ]
    assert "$proxy_add_x_forwarded_for" not in said, "what came is never passed on"
    run(["nginx", "-t", "-c", nginx.write(prepared, Path("/house")), "-e", "stderr"])


def test_a_change_is_noticed_and_a_damaged_file_trusts_nobody(prepared: Settings) -> None:
    nginx.write(prepared, Path("/house"))
    assert not nginx.changed(prepared, Path("/house"))
    proxies.trust(prepared, ["192.0.2.7"])
    assert nginx.changed(prepared, Path("/house"))
    for damaged in ("", "[", "7", '["192.0.2.7; return 200"]', '["0.0.0.0/0"]', "[7]"):
        (prepared.tls / "trusted-proxies.json").write_text(damaged)
        assert proxies.trusted(prepared) == [], damaged
