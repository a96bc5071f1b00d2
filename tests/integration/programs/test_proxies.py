"""Which proxies in front of the door are believed."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.access import nginx, proxies
from appliance.run import run
from appliance.settings import Settings

pytestmark = pytest.mark.hostile


def text(settings: Settings) -> str:
    return nginx.configuration(settings, Path("/house"), Path("/c"), Path("/k"), (1, 22, 1))


@pytest.fixture
def prepared(settings: Settings) -> Settings:
    settings.tls.mkdir(parents=True, exist_ok=True)
    return replace(settings, listen="127.0.0.1", https_port=17043, app_port=17100)


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
    run(["nginx", "-t", "-c", nginx.write_configuration(prepared, Path("/house")), "-e", "stderr"])


def test_a_change_is_noticed_and_a_damaged_file_trusts_nobody(prepared: Settings) -> None:
    nginx.write_configuration(prepared, Path("/house"))
    assert not nginx.changed(prepared, Path("/house"))
    proxies.trust(prepared, ["192.0.2.7"])
    assert nginx.changed(prepared, Path("/house"))
    for damaged in ("", "[", "7", '["192.0.2.7; return 200"]', '["0.0.0.0/0"]', "[7]"):
        (prepared.tls / "trusted-proxies.json").write_text(damaged)
        assert proxies.trusted(prepared) == [], damaged
