"""The network of this host: its name, its cards, and changing their addresses so that nobody is locked out."""

import ipaddress
import re
from ipaddress import IPv4Interface
from types import NoneType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from appliance.errors import BadInput
from appliance.host.rpc.verb import Arguments, Nothing, Result, Verb

LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
CARD = re.compile(r"[^\s/:]{1,15}")  # what the kernel takes as a name
LONGEST_NAME = 64  # of a host, in the kernel
MOST_DNS = 3
SECONDS = 90  # to confirm a change


def is_name(text: str) -> bool:
    return len(text) <= 253 and all(LABEL.fullmatch(label) for label in text.split("."))


def check_host_name(name: str) -> str:
    """The name as it is kept. Raises BadInput."""
    name = name.strip().lower()
    if len(name) > LONGEST_NAME or not is_name(name) or name.replace(".", "").isdigit():
        raise BadInput(
            f"{name!r} cannot be a host name." if name else "The host name is missing.",
            "Use letters from a to z, digits and dashes, at most 64 of them; dots only between the parts of a full name, like dpe.example.org.",
            field="name",
        )
    return name


def check_address(text: str, what: str, field: str) -> str:
    """An IP address as it is kept. Raises BadInput that begins with `what`, about the field."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise BadInput(f"{what} {text.strip()!r} is no IP address.", "Write one like 192.0.2.1.", field=field) from None


class Network(BaseModel):
    """How the host gets its IPv4 address; IPv6 addresses come by themselves.

    `card` is the name or the MAC address of a network interface; with DHCP it may be empty, and then every card asks. `address` carries its
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
            raise BadInput(
                f"{card!r} is no network interface.",
                "Choose one of the list, or write its MAC address, like 52:54:00:12:34:56.",
                field="card",
            )
        return card

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: str) -> str:
        return str(_interface(address)) if address.strip() else ""

    @field_validator("gateway")
    @classmethod
    def _check_gateway(cls, gateway: str) -> str:
        return check_address(gateway, "The gateway", "gateway") if gateway.strip() else ""

    @field_validator("dns")
    @classmethod
    def _check_dns(cls, dns: list[str]) -> list[str]:
        found = [check_address(one, "The name server", "dns") for one in dns if one.strip()]
        if twice := next((one for one in found if found.count(one) > 1), None):
            raise BadInput(f"The name server {twice} is listed twice.", "Write each once.", field="dns")
        if len(found) > MOST_DNS:
            raise BadInput(f"{len(found)} name servers are more than the {MOST_DNS} that are asked.", "Keep the best ones.", field="dns")
        return found

    @model_validator(mode="after")
    def _check(self) -> "Network":
        if self.mode == "dhcp":
            self.address, self.gateway, self.dns = "", "", []
            return self
        if not self.card:
            raise BadInput("It is not said which network interface gets the address.", "Choose one.", field="card")
        if not self.address:
            raise BadInput("The address is missing.", "Write it with its prefix, like 192.0.2.10/24.", field="address")
        mine = IPv4Interface(self.address)
        if self.gateway and ipaddress.ip_address(self.gateway) not in mine.network:
            raise BadInput(
                f"The gateway {self.gateway} is not in the network of the address, {mine.network}.",
                "Correct the gateway, or the number after the slash of the address.",
                field="gateway",
            )
        if self.gateway == str(mine.ip):
            raise BadInput(
                "The gateway has the same address as this server.", "Write your router's address as the gateway.", field="gateway"
            )
        return self

    @property
    def ip(self) -> str:
        """The address without its prefix; empty with DHCP."""
        return self.address.partition("/")[0]


def _interface(text: str) -> IPv4Interface:
    text = text.strip()
    if "/" not in text:
        check_address(text, "The address", "address")
        raise BadInput(
            f"The address {text} has no prefix.",
            f"Write how large the network is, like {text}/24 or {text}/255.255.255.0.",
            field="address",
        )
    try:
        found = IPv4Interface(text)
    except ValueError:
        raise BadInput(f"{text!r} is no IPv4 address with a prefix.", "Write one like 192.0.2.10/24.", field="address") from None
    net = found.network
    if (
        found.is_loopback
        or found.is_multicast
        or found.is_unspecified
        or found.is_link_local
        or found.ip in ipaddress.ip_network("240.0.0.0/4")
    ):
        raise BadInput(f"{found.ip} cannot be the address of a server.", "Write one of your own network.", field="address")
    if net.prefixlen < 31 and found.ip in (net.network_address, net.broadcast_address):
        part = "the network itself" if found.ip == net.network_address else "everybody in the network"
        raise BadInput(
            f"{found.ip} means {part}, {net}, and no server in it.",
            "Write another address, or another number after the slash.",
            field="address",
        )
    return found


@dataclass(frozen=True)
class Card:
    """A network interface: its name, MAC address, whether a cable is in, its speed in Mbit/s (0: not known) and its addresses with prefixes."""

    name: str
    mac: str
    connected: bool
    speed: int
    addresses: list[str]


class Trial(Result):
    """A network on trial: `state` is on, kept or back, `why` it went back; `left` is in seconds."""

    network: Network
    by: str
    state: str
    applied: bool
    why: str
    left: float


class State(Result):
    """`ours` is whether the appliance decides the network here; `complaint`: host.json cannot be read; the trial that goes on or was the last."""

    ours: bool
    name: str
    network: Network
    complaint: str
    cards: list[Card]
    trial: Trial | None


class Set(Arguments):
    """`seconds` to confirm it in; 0 for whoever is at the server's own screen, and needs no way back."""

    network: Network
    seconds: int = Field(default=SECONDS, ge=0, le=900)


class Begun(Result):
    """What whoever began it needs: the token that confirms it, and how many seconds there are."""

    token: str
    seconds: float


class Token(Arguments):
    token: str | None = None


class Name(Arguments):
    name: str


GET = Verb("network.get", Nothing, State)
SET = Verb("network.set", Set, Begun, title="Changing the network")
CONFIRM = Verb("network.confirm", Token, Network)
TAKE_BACK = Verb("network.back", Nothing, NoneType)
SET_NAME = Verb("host.name", Name, NoneType)
