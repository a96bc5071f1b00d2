"""Changing the address of the booted appliance: its own systemd-networkd, front door and certificate, and the power cut in between.

QEMU's user network forwards to the address that the card has by DHCP, and to the one that it is given.
"""

import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from tests.image.booted import Booted, free_port, patience, wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]

OLD, NEW = "10.0.2.15", "10.0.2.20"


def forward(server: Booted) -> int:
    """A port of ours that leads to the new address."""
    port = free_port()

    def ask_qemu() -> bool | None:
        with contextlib.suppress(ConnectionRefusedError):  # the socket of the QEMU before is still there
            server.qmp("human-monitor-command", **{"command-line": f"hostfwd_add n0 tcp:127.0.0.1:{port}-{NEW}:443"})
            return True
        return None

    wait_for(ask_qemu, 30, "QEMU's monitor")
    return port


def at(server: Booted, port: int, path: str = "/setup") -> int:
    """The status of a page through that port; 0 when nobody answers."""
    other = server.ports[443]
    server.ports[443] = port
    try:
        return server.get(path, timeout=10)[0]
    except OSError:
        return 0
    finally:
        server.ports[443] = other


def test_a_new_address_is_kept_when_a_browser_comes_back_over_it_and_else_not(boot: Callable[..., Booted], came_up: Path) -> None:
    server = boot(like=came_up)
    server.wait_page()
    (card,) = server.ask("network.get")["cards"]
    assert card["addresses"][0] == f"{OLD}/24"
    there = forward(server)
    static = {"mode": "static", "card": card["mac"], "address": f"{NEW}/24", "gateway": "10.0.2.2", "dns": ["10.0.2.3"]}

    # Nobody comes: it goes by itself.
    server.ask("network.set", network=static, seconds=int(patience(15)))
    wait_for(lambda: at(server, there) or None, 60, "the page at the new address")
    assert at(server, server.ports[443]) == 0
    wait_for(lambda: at(server, server.ports[443]) or None, 90, "the page at the old address")
    assert server.ask("network.get")["trial"]["state"] == "back"

    # The power goes before anybody came.
    server.ask("network.set", network=static, seconds=600)
    wait_for(lambda: at(server, there) or None, 60, "the page at the new address")
    server.power_cut()
    server.start()
    server.wait_page()

    # Somebody opens the link; from then on it has that address, also after the next power cut.
    there = forward(server)
    token = server.ask("network.set", network=static, seconds=600)["token"]
    wait_for(lambda: at(server, there) or None, 60, "the page at the new address")
    assert at(server, there, f"/admin/server/network/keep/{token}") == 200
    made = x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", there)).encode())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert NEW in {str(one) for one in names.get_values_for_type(x509.IPAddress)}
    assert "nameserver 10.0.2.3" in server.shell("cat /etc/resolv.conf")
    server.power_cut()
    server.start()
    there = forward(server)
    wait_for(lambda: at(server, there) or None, 240, "the page at the new address")
    assert server.ask("network.get")["network"]["address"] == f"{NEW}/24"


def test_a_broken_host_json_costs_no_network(boot: Callable[..., Booted], came_up: Path) -> None:
    server = boot(like=came_up)
    server.wait_page()
    server.shell("echo '{' > /var/lib/dpe/host/host.json; sync")
    server.power_cut()
    server.start()
    server.wait_page()
    assert "by DHCP" in server.ask("network.get")["complaint"]
