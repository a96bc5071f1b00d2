"""Steps of the wizard that concern the server itself, in the bootable image: its network, and a second disk."""

from typing import Annotated, Any, Self

from flask import flash, request
from pydantic import ConfigDict, Field, model_validator

from appliance.catalog import Actor
from appliance.errors import DpeError
from appliance.host.interface import network as host_network
from appliance.host.interface.disks import Disk
from appliance.host.interface.network import State
from appliance.services import setup_server
from webui.forms import ONE_LINE, Form, FormError, Line, OneOf, Words
from webui.guard import settings

MODES = {"dhcp": "By DHCP: your router gives the address", "static": "A fixed address"}


class Network(Form):
    """How the server is found; among the wizard's other fields, its own begin with `net_`. Looked at while dpe-host answers."""

    model_config = ConfigDict(alias_generator="net_{}".format)

    mode: Annotated[str, OneOf(MODES)] = Field("dhcp", title="Address")
    card: Line = Field("", title="Network interface")
    address: Line = Field("", title="Address with prefix", description="Like 192.168.1.20/24")
    gateway: Line = Field("", title="Gateway", description="Your router's address.")
    dns: Words = Field(
        [], title="Name servers", description="With spaces between; often your router's address.", json_schema_extra=ONE_LINE
    )
    name: Line = Field("", title="Host name", description="Lower-case letters, digits and dashes.")
    token: str = ""  # which keeps a network that is on trial

    def wanted(self) -> dict[str, Any]:
        """As dpe-host's Network has it."""
        return {"mode": "dhcp"} if self.mode == "dhcp" else self.model_dump(include=set(host_network.Network.model_fields))

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        if network()[0] is not None and (found := setup_server.problems(self.wanted(), self.name)):
            raise FormError(type(self), found)
        return self


class Storage(Form):
    """Where the data lies: on the first disk, or on the one at this path."""

    disk: str = Field("", title="Where the data lies")
    disk_word: Line = Field("", title="To erase it, type its serial number or name")

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        if not self.disk:
            return self
        disk = next((one for one in disks()[0] if one.path == self.disk), None)
        if disk is None or disk.refusal:
            raise FormError(type(self), {"disk": disk.refusal if disk else "This disk is no longer there. Choose another one."})
        word = setup_server.word_for(disk)
        if word and self.disk_word != word:
            said = f"Everything on it would be erased: {'; '.join(disk.holds)}. To say that you mean it, type {word}."
            raise FormError(type(self), {"disk_word": said})
        return self


def network() -> tuple[State | None, str]:
    """The network as it is, or why that is not known."""
    try:
        return setup_server.network(settings()), ""
    except DpeError as error:
        return None, str(error)


def disks() -> tuple[list[Disk], str]:
    """The disks, or why they are not known."""
    try:
        return setup_server.disks(settings()), ""
    except DpeError as error:
        return [], str(error)


def defaults() -> dict[str, str]:
    """What the fields hold at first: what is used now."""
    now, _ = network()
    if now is None:
        return {}
    used = now.network
    card = next((one for one in now.cards if one.connected), None)
    present = next((one for one in card.addresses if ":" not in one), "") if card else ""
    return {
        "net_mode": used.mode,
        "net_gateway": used.gateway,
        "net_card": next((one.name for one in now.cards if used.card in (one.name, one.mac)), used.card) or (card.name if card else ""),
        "net_address": used.address or present,
        "net_dns": " ".join(used.dns),
        "net_name": now.name,
    }


def try_network(asked: Network, code: str) -> setup_server.SetupNetworkTrial | None:
    """Use the network on trial, if it is another one than is used now; keep it, if it is on trial already. Raises DpeError."""
    now, _ = network()
    if now is None:
        return None
    if now.trial is not None and now.trial.state == "on":
        setup_server.keep_network(settings(), code, _address())
        return None
    return setup_server.change_network(settings(), code, _address(), asked.wanted(), asked.name)


def take_back(code: str) -> None:
    """Use the old network again. Raises DpeError."""
    setup_server.take_network_back(settings(), code, _address())


def use_disk(actor: Actor, asked: Storage) -> None:
    """Begin to give the disk to data; the appliance is set up by now, so what is refused is mended on the page of storage."""
    if not asked.disk:
        return
    try:
        setup_server.use_disk(actor, settings(), asked.disk, asked.disk_word)
        flash("The data is being moved to the second disk. The server restarts by itself when that is done.", "success")
    except DpeError as error:
        flash(f"The second disk is not in use: {error} You find it under Server, Storage.", "warning")


def _address() -> str:
    return request.remote_addr or ""
