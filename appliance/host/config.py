"""What this host alone is told: name, network, clock, shell. One JSON file, `host.json`, for root alone.

It is read before there is a catalog. When it cannot be read, the host asks for an address by DHCP and says so.
"""

import ipaddress
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from appliance import durable
from appliance.errors import BadInput, DpeError
from appliance.settings import Settings

LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
CARD = re.compile(r"[^\s/:]{1,15}")  # what the kernel takes as a name
LONGEST_NAME = 64  # of a host, in the kernel
MOST_DNS, MOST_NTP = 3, 8

_writing = threading.Lock()


def _is_name(text: str) -> bool:
    return len(text) <= 253 and all(LABEL.fullmatch(label) for label in text.split("."))


def check_host_name(name: str) -> str:
    """The name as it is kept. Raises BadInput."""
    name = name.strip().lower()
    if len(name) > LONGEST_NAME or not _is_name(name) or name.replace(".", "").isdigit():
        raise BadInput(
            f"{name!r} cannot be a host name." if name else "The host name is missing.",
            "Use letters from a to z, digits and dashes, at most 64 of them; dots only between the parts of a full name, like dpe.example.org.",
        )
    return name


def check_address(text: str, what: str) -> str:
    """An IP address as it is kept. Raises BadInput that begins with `what`."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise BadInput(f"{what} {text.strip()!r} is no IP address.", "Write one like 192.0.2.1.") from None


class Network(BaseModel):
    """How the host gets its IPv4 address; IPv6 addresses come by themselves.

    `card` is the name or the MAC address of a network card; with DHCP it may be empty, and then every card asks. `address` carries its
    prefix, as 192.0.2.10/24.
    """

    model_config = ConfigDict(extra="forbid")

    mode: Literal["dhcp", "static"] = "dhcp"
    card: str = ""
    address: str = ""
    gateway: str = ""
    dns: list[str] = []

    @field_validator("card")
    @classmethod
    def _check_card(cls, card: str) -> str:
        card = card.strip()
        if MAC.fullmatch(card.lower()):
            return card.lower()
        if card and not CARD.fullmatch(card):
            raise BadInput(f"{card!r} is no network card.", "Choose one of the list, or write its MAC address, like 52:54:00:12:34:56.")
        return card

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: str) -> str:
        return str(_interface(address)) if address.strip() else ""

    @field_validator("gateway")
    @classmethod
    def _check_gateway(cls, gateway: str) -> str:
        return check_address(gateway, "The gateway") if gateway.strip() else ""

    @field_validator("dns")
    @classmethod
    def _check_dns(cls, dns: list[str]) -> list[str]:
        found = [check_address(one, "The name server") for one in dns if one.strip()]
        if twice := next((one for one in found if found.count(one) > 1), None):
            raise BadInput(f"The name server {twice} is listed twice.", "Write each once.")
        if len(found) > MOST_DNS:
            raise BadInput(f"{len(found)} name servers are more than the {MOST_DNS} that are asked.", "Keep the best ones.")
        return found

    @model_validator(mode="after")
    def _check(self) -> "Network":
        if self.mode == "dhcp":
            self.address, self.gateway, self.dns = "", "", []
            return self
        if not self.card:
            raise BadInput("It is not said which network card gets the address.", "Choose one.")
        if not self.address:
            raise BadInput("The address is missing.", "Write it with its prefix, like 192.0.2.10/24.")
        mine = IPv4Interface(self.address)
        if self.gateway and ipaddress.ip_address(self.gateway) not in mine.network:
            raise BadInput(
                f"The gateway {self.gateway} is not in the network of the address, {mine.network}.",
                "Correct the gateway, or the number after the slash of the address.",
            )
        if self.gateway == str(mine.ip):
            raise BadInput("The gateway has the same address as this server.", "Write your router's address as the gateway.")
        return self

    @property
    def ip(self) -> str:
        """The address without its prefix; empty with DHCP."""
        return self.address.partition("/")[0]


def _interface(text: str) -> IPv4Interface:
    text = text.strip()
    if "/" not in text:
        check_address(text, "The address")
        raise BadInput(f"The address {text} has no prefix.", f"Write how large the network is, like {text}/24 or {text}/255.255.255.0.")
    try:
        found = IPv4Interface(text)
    except ValueError:
        raise BadInput(f"{text!r} is no IPv4 address with a prefix.", "Write one like 192.0.2.10/24.") from None
    net = found.network
    if (
        found.is_loopback
        or found.is_multicast
        or found.is_unspecified
        or found.is_link_local
        or found.ip in ipaddress.ip_network("240.0.0.0/4")
    ):
        raise BadInput(f"{found.ip} cannot be the address of a server.", "Write one of your own network.")
    if net.prefixlen < 31 and found.ip in (net.network_address, net.broadcast_address):
        part = "the network itself" if found.ip == net.network_address else "everybody in the network"
        raise BadInput(f"{found.ip} means {part}, {net}, and no server in it.", "Write another address, or another number after the slash.")
    return found


class HostConfig(BaseModel):
    """All of it. What another version keeps in the file besides stays in it. Empty `ntp` means those that DHCP names."""

    model_config = ConfigDict(extra="allow")

    hostname: str = "dpe"
    network: Network = Network()
    ntp_enabled: bool = True
    ntp: list[str] = []
    shell_enabled: bool = False

    @field_validator("hostname")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return check_host_name(name)

    @field_validator("ntp")
    @classmethod
    def _check_ntp(cls, ntp: list[str]) -> list[str]:
        found = list(dict.fromkeys(one.strip().lower() for one in ntp if one.strip()))
        for one in found:
            if not _is_name(one) and ":" not in one:
                raise BadInput(f"{one!r} is no name of a time server.", "Write names or addresses, like ntp.example.org.")
            if ":" in one:
                check_address(one, "The time server")
        if len(found) > MOST_NTP:
            raise BadInput(f"{len(found)} time servers are more than {MOST_NTP}.", "Keep the nearest ones.")
        return found


def file(settings: Settings) -> Path:
    return settings.host / "host.json"


def read(settings: Settings) -> tuple[HostConfig, str]:
    """The configuration, and why it is not the one in the file, when that is so: then it is what a fresh appliance has."""
    try:
        return HostConfig.model_validate(json.loads(file(settings).read_text())), ""
    except FileNotFoundError:
        return HostConfig(), ""
    except (OSError, ValueError, DpeError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        return (
            HostConfig(),
            f"What was told to this server cannot be read ({why}), so it has the name dpe and asks for its address by DHCP.",
        )


@contextmanager
def change(settings: Settings) -> Iterator[HostConfig]:
    """The configuration to change in place; written when the block ends well. A file that could not be read is kept beside as host.json.broken."""
    with _writing:
        config, complaint = read(settings)
        yield config
        checked = HostConfig.model_validate(config.model_dump())
        if complaint:
            file(settings).rename(file(settings).with_suffix(".json.broken"))
        durable.write(file(settings), checked.model_dump_json(indent=1, exclude_none=True) + "\n")
