"""The network of this host: its cards, its settings, and changing them so that nobody is locked out.

A change from a web page is a trial (trial.py): it becomes what holds only when the browser comes back over it in time.
"""

import contextlib
import ipaddress
import socket
import struct
import time
from pathlib import Path

import psutil

from appliance.access import tls
from appliance.catalog import EventKind
from appliance.errors import BadInput, CommandFailed, Conflict, DpeError, NotFound
from appliance.host.interface import network as interface
from appliance.host.interface.network import Begun, Card, Network, State
from appliance.host.rpc.periodic import every
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import apply, config, events, image, network_trial
from appliance.host.system.config import HostConfig
from appliance.settings import Settings

SYS = Path("/sys/class/net")
PAUSE = 2.0  # seconds until a change begins, for the answer to reach the browser
ARP_WAIT = 1.0


def cards() -> list[Card]:
    """The host's own cards, not those of the machines."""
    addresses = psutil.net_if_addrs()
    found = []
    for folder in sorted(SYS.iterdir()):
        if not (folder / "device").exists():
            continue
        mine = [
            f"{one.address}/{ipaddress.ip_network(f'0.0.0.0/{one.netmask}').prefixlen}"
            for one in addresses.get(folder.name, [])
            if one.family is socket.AF_INET
        ] + [one.address for one in addresses.get(folder.name, []) if one.family is socket.AF_INET6 and not one.address.startswith("fe80")]
        found.append(Card(folder.name, _read(folder, "address"), _read(folder, "carrier") == "1", _speed(folder), mine))
    return found


def _read(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text().strip()
    except OSError:  # a card that is switched off tells nothing
        return ""


def _speed(folder: Path) -> int:
    said = _read(folder, "speed")
    return int(said) if said.isdigit() else 0


def _find(card: str) -> Card | None:
    return next((one for one in cards() if card in (one.name, one.mac)), None)


def check_network(settings: Settings, network: Network) -> None:
    """Raise BadInput for what this host cannot use, and Conflict when somebody else has the address."""
    card = _find(network.card)
    if network.card and card is None:
        names = ", ".join(one.name for one in cards())
        raise BadInput(f"There is no network interface {network.card} in this server.", f"There are: {names}.", field="card")
    if card is None or network.mode == "dhcp":
        return
    mine = ipaddress.ip_interface(network.address)
    for name, taken in (("the machines", settings.subnet), ("the link to the machines", settings.uplink)):
        if mine.network.overlaps(ipaddress.ip_network(taken)):
            raise BadInput(
                f"{mine.network} is in use inside of the appliance, for {name} ({taken}).",
                "Use another network for this server.",
                field="address",
            )
    everywhere = [address.partition("/")[0] for one in cards() for address in one.addresses]
    if network.ip not in everywhere and (other := holder(card.name, network.ip)):
        raise Conflict(
            f"{network.ip} is in use already, by the device with the MAC address {other}.",
            "Choose an address that is free.",
            field="address",
        )


def holder(card: str, address: str, wait: float = ARP_WAIT) -> str:
    """The MAC address of who has the IPv4 address in the network at this card; empty when nobody answers (RFC 5227)."""
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as line:
            line.bind((card, 0x0806))
            mine = line.getsockname()[4]
            target = socket.inet_aton(address)
            asked = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mine, bytes(4), bytes(6), target)
            line.send(b"\xff" * 6 + mine + b"\x08\x06" + asked)
            end = time.monotonic() + wait
            while (left := end - time.monotonic()) > 0:
                line.settimeout(left)
                heard = line.recv(64)
                if len(heard) >= 42 and heard[20:22] == b"\0\2" and heard[28:32] == target:
                    return heard[22:28].hex(":")
    except OSError:  # among them that the time is over
        pass
    return ""


# -- verbs -------------------------------------------------------------------------------------------


def _trial_facts(settings: Settings, now: float) -> interface.Trial | None:
    found = network_trial.last(settings)
    if found is None:
        return None
    left = max(0.0, found.ends - now) if found.state == network_trial.ON else 0.0
    return interface.Trial(network=found.network, by=found.by, state=found.state, applied=found.applied, why=found.why, left=left)


@implements(interface.GET)
def get(args: Nothing, host: Host) -> State:
    """How it is now."""
    found, complaint = config.read(host.settings)
    return State(
        ours=image.boot_image() is not None,
        name=socket.gethostname(),
        network=found.network,
        complaint=complaint,
        cards=cards(),
        trial=_trial_facts(host.settings, network_trial.clock()),
    )


@implements(interface.SET)
def set_network(args: interface.Set, host: Host) -> Begun:
    """Use another network. Answers the token that confirms it and how many seconds there are."""
    image.required()
    if network_trial.current(host.settings):
        raise Conflict("A change of the network is being tried already.", "Confirm it or take it back first.")
    check_network(host.settings, args.network)
    if args.seconds:
        return network_trial.begin_trial(host.settings, args.network, host.by, pause=PAUSE, seconds=args.seconds, now=network_trial.clock())
    with config.change(host.settings) as changed:
        changed.network = args.network
    _use(changed)
    _say(host.settings, EventKind.NETWORK_CHANGED, f"{host.by or 'Somebody at the screen'} changed the network: {words(args.network)}.")
    return Begun(token="", seconds=0)


@implements(interface.CONFIRM)
def confirm(args: interface.Token, host: Host) -> Network:
    """Keep the network that is on trial. Answers it."""
    kept = network_trial.confirm(host.settings, args.token, network_trial.clock())
    by = host.by or getattr(network_trial.last(host.settings), "by", "")
    _say(host.settings, EventKind.NETWORK_CHANGED, f"{by} changed the network: {words(kept)}.")
    return kept


@implements(interface.TAKE_BACK)
def take_back(args: Nothing, host: Host) -> None:
    """Take back the network that is on trial, now."""
    found = network_trial.current(host.settings)
    if found is None:
        raise NotFound("No change of the network is being tried.", "Reload the page.")
    back(host.settings, found, f"{host.by or 'somebody'} took it back")


@implements(interface.SET_NAME)
def set_name(args: interface.Name, host: Host) -> None:
    """Give the host another name."""
    image.required()
    with config.change(host.settings) as changed:
        changed.hostname = interface.check_host_name(args.name)
    tls.add_names(host.settings, [changed.hostname])
    _use(changed)
    _say(host.settings, EventKind.HOST_NAME, f"{host.by or 'Somebody at the screen'} named the server {changed.hostname}.")


def words(network: Network) -> str:
    """A network in a few words."""
    if network.mode == "dhcp":
        return "its address comes by DHCP"
    return f"{network.address}{f', gateway {network.gateway}' if network.gateway else ''}"


# -- the trial's course ------------------------------------------------------------------------------


@every(0.5)
def step(settings: Settings) -> None:
    """Begin or end the trial whose time has come."""
    found = network_trial.current(settings)
    if found is None:
        return
    now = network_trial.clock()
    if network_trial.is_over(found, now):
        back(settings, found, "no browser came back over it in time")
    elif not found.applied and now >= found.begins:
        _begin(settings, found)


def _begin(settings: Settings, found: network_trial.NetworkTrial) -> None:
    host, _ = config.read(settings)
    before = tls.add_names(settings, [found.network.ip]) if found.network.ip else ""
    # Written first: should we die in between, the time still runs.
    begun = found.model_copy(update={"applied": True, "certificate": before})
    network_trial.write_trial(settings, begun)
    try:
        _use(host.model_copy(update={"network": found.network}))
    except DpeError as error:
        back(settings, begun, f"it could not be used: {error}")


def back(settings: Settings, found: network_trial.NetworkTrial, why: str) -> None:
    """Use the old network again."""
    host, _ = config.read(settings)
    if found.certificate:
        tls.put_back(settings, found.certificate)
    network_trial.end_trial(settings, found, why)
    with contextlib.suppress(CommandFailed):
        _use(host)
    _say(settings, EventKind.NETWORK_BACK, f"The old network settings are in use again: {why}.")


def _use(host: HostConfig) -> None:
    apply.write_files(host)
    apply.reload(host)


def _say(settings: Settings, kind: EventKind, message: str) -> None:
    events.record_event(settings, kind, message)
