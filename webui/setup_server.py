"""Steps of the wizard that concern the server itself, in the bootable image: its network, and a second disk."""

from typing import Any

from flask import flash, request

from appliance.catalog import Actor
from appliance.errors import DpeError
from appliance.host.interface.disks import Disk
from appliance.host.interface.network import State
from appliance.services import setup_server
from webui.guard import settings

Errors = dict[str, str]


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
    values = {"net_mode": "dhcp", "net_card": "", "net_address": "", "net_gateway": "", "net_dns": "", "net_name": "", "net_token": ""}
    values |= {"disk": "", "disk_word": ""}
    now, _ = network()
    if now is None:
        return values
    used = now.network
    card = next((one for one in now.cards if one.connected), None)
    present = next((one for one in card.addresses if ":" not in one), "") if card else ""
    return values | {
        "net_mode": used.mode,
        "net_gateway": used.gateway,
        "net_card": used.card or (card.name if card else ""),
        "net_address": used.address or present,
        "net_dns": " ".join(used.dns),
        "net_name": now.name,
    }


def _wanted(values: dict[str, str]) -> dict[str, Any]:
    wanted: dict[str, Any] = {key: values[f"net_{key}"].strip() for key in ("mode", "card", "address", "gateway")}
    if wanted["mode"] == "dhcp":
        return {"mode": "dhcp", "card": "", "address": "", "gateway": "", "dns": []}
    return wanted | {"dns": values["net_dns"].replace(",", " ").split()}


def check_network(values: dict[str, str]) -> Errors:
    """What is wrong with it, before it is tried."""
    if network()[0] is None:
        return {}
    return {f"net_{field}": said for field, said in setup_server.problems(_wanted(values), values["net_name"]).items()}


def check_storage(values: dict[str, str]) -> Errors:
    """Whether the disk may be given to data."""
    if not values["disk"]:
        return {}
    disk = next((one for one in disks()[0] if one.path == values["disk"]), None)
    if disk is None or disk.refusal:
        return {"disk": disk.refusal if disk else "This disk is no longer there. Choose another one."}
    word = setup_server.word_for(disk)
    if word and values["disk_word"].strip() != word:
        return {"disk_word": f"Everything on it would be erased: {'; '.join(disk.holds)}. To say that you mean it, type {word}."}
    return {}


def try_network(values: dict[str, str]) -> tuple[setup_server.SetupNetworkTrial | None, Errors]:
    """Use the network on trial, if it is another one than is used now; keep it, if it is on trial already."""
    now, _ = network()
    if now is None:
        return None, {}
    try:
        if is_on_trial(now):
            setup_server.keep_network(settings(), values["code"], _address())
            return None, {}
        return setup_server.change_network(settings(), values["code"], _address(), _wanted(values), values["net_name"]), {}
    except DpeError as error:
        return None, {"" if is_on_trial(now) else "net_address" if values["net_mode"] == "static" else "net_mode": str(error)}


def is_on_trial(now: State) -> bool:
    """Whether a network is on trial."""
    return now.trial is not None and now.trial.state == "on"


def take_back(values: dict[str, str]) -> Errors:
    """Use the old network again."""
    try:
        setup_server.take_network_back(settings(), values["code"], _address())
    except DpeError as error:
        return {"": str(error)}
    return {}


def use_disk(actor: Actor, values: dict[str, str]) -> None:
    """Begin to give the disk to data; the appliance is set up by now, so what is refused is mended on the page of storage."""
    if not values["disk"]:
        return
    try:
        setup_server.use_disk(actor, settings(), values["disk"], values["disk_word"])
        flash("The data is being moved to the second disk. The server restarts by itself when that is done.", "success")
    except DpeError as error:
        flash(f"The second disk is not in use: {error} You find it under Server, Storage.", "warning")


def _address() -> str:
    return request.remote_addr or ""
