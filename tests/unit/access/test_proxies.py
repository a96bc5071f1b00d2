"""Which proxies in front of the door are believed."""

from dataclasses import replace

import pytest

from appliance.access import proxies
from appliance.errors import BadInput
from appliance.settings import Settings

pytestmark = pytest.mark.hostile


def test_addresses_and_networks_are_kept_in_one_form_each_once(settings: Settings) -> None:
    lines = ["  192.0.2.7", "", "10.1.0.9/24", "10.1.0.0/24", "2001:DB8::7", "2001:db8:1::/48"]
    assert proxies.check_proxies(lines, settings) == ["192.0.2.7", "10.1.0.0/24", "2001:db8::7", "2001:db8:1::/48"]


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
        proxies.check_proxies(lines, settings)


@pytest.mark.badinput
def test_machines_are_never_believed(settings: Settings) -> None:
    for network in (settings.subnet, settings.subnet.split("/")[0], settings.uplink, "10.0.0.0/8"):
        changed = replace(settings, subnet="10.20.0.0/16") if network == "10.0.0.0/8" else settings
        with pytest.raises(BadInput, match="Line 1: machines have addresses in"):
            proxies.check_proxies([network], changed)
