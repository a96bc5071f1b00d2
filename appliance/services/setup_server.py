"""What the wizard does to the server itself, for whoever has the setup code: its network, and a second disk."""

from dataclasses import dataclass
from typing import Any

from appliance.catalog import Actor
from appliance.errors import BadInput
from appliance.host.interface import disks as disk_verbs
from appliance.host.interface import network as network_verbs
from appliance.host.interface.disks import Disk
from appliance.host.interface.network import Network, State, check_host_name
from appliance.host.rpc.client import Client
from appliance.host.system import image
from appliance.services import setup
from appliance.services.server import PATIENCE
from appliance.settings import Settings

BY = "the wizard"


def is_ours() -> bool:
    """Whether network and disks are the appliance's to decide on: in the bootable image."""
    return image.boot_image() is not None


def network(settings: Settings) -> State:
    """The network as it is. Raises Unavailable."""
    return Client(settings, BY).call(network_verbs.GET)


def problems(wanted: dict[str, Any], name: str) -> dict[str, str]:
    """What is wrong with the network that was typed, by field: card, address, gateway, dns and name."""
    found = {}
    given: dict[str, Any] = {"mode": "static"}
    for field in ("card", "address", "gateway", "dns") if wanted["mode"] == "static" else ():
        try:
            # Each with those before it, so that what is refused is what came last.
            given[field] = wanted[field]
            Network.model_validate({"card": "any", "address": "192.0.2.1/24", **given})
        except BadInput as error:
            found[field] = str(error)
            break
    try:
        check_host_name(name)
    except BadInput as error:
        found["name"] = str(error)
    return found


@dataclass(frozen=True)
class SetupNetworkTrial:
    """A network on trial: whoever opens the wizard under `address` (empty: not known) keeps it with the token, within `seconds`."""

    token: str
    seconds: int
    address: str


def change_network(settings: Settings, code: str, address: str, wanted: dict[str, Any], name: str) -> SetupNetworkTrial | None:
    """Try another network, and give the server this name; None when it is the one in use.

    Raises what `setup.check_code` raises, BadInput, Conflict (somebody has the address) and Unavailable.
    """
    setup.check_code(code, address)
    client = Client(settings, BY)
    now = client.call(network_verbs.GET)
    if check_host_name(name) != now.name:
        client.call(network_verbs.SET_NAME, network_verbs.Name(name=name))
    network = Network.model_validate(wanted)
    if network == now.network:
        return None
    begun = client.call(network_verbs.SET, network_verbs.Set(network=network, seconds=PATIENCE[network.mode]))
    return SetupNetworkTrial(begun.token, int(begun.seconds), network.ip)


def keep_network(settings: Settings, code: str, address: str) -> None:
    """Keep the network that is on trial: whoever says so has come over it. Raises NotFound when it is too late."""
    setup.check_code(code, address)
    Client(settings, BY).call(network_verbs.CONFIRM, network_verbs.Token())


def take_network_back(settings: Settings, code: str, address: str) -> None:
    """Use the old network again, now."""
    setup.check_code(code, address)
    Client(settings, BY).call(network_verbs.TAKE_BACK)


def disks(settings: Settings) -> list[Disk]:
    """All disks. Raises Unavailable."""
    return Client(settings, BY).call(disk_verbs.DISKS)


def word_for(disk: Disk) -> str:
    """What is typed before a disk with something on it is erased; empty when nothing is on it."""
    return (disk.serial or disk.name) if disk.holds else ""


def use_disk(actor: Actor, settings: Settings, disk: str, typed: str) -> str:
    """Begin to give a second disk to data; returns the id of the operation. The server restarts at its end."""
    return Client(settings, actor.name).begin(disk_verbs.USE, disk_verbs.Use(disk=disk, typed=typed))
