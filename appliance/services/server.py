"""The server itself: how it is, what it can hold, and what `dpe-host` does to it for an admin."""

import base64
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil

from appliance.catalog import Account, Actor, Class, machines, memory, options, seeds
from appliance.catalog.grants import Scope
from appliance.errors import BadInput, Conflict, DpeError
from appliance.host.console import status as facts
from appliance.host.interface import access, disks, operations, system
from appliance.host.interface import network as network_verbs
from appliance.host.interface.access import LARGEST, Certificate
from appliance.host.interface.network import Network
from appliance.host.interface.operations import Operation
from appliance.host.interface.system import Clock, Image, Part
from appliance.host.rpc.client import Client
from appliance.host.system import hardware
from appliance.host.system.hardware import Finding
from appliance.identity.permissions import EVERYTHING
from appliance.pools.capacity import Holds, holds, most
from appliance.pools.planner import Capacity
from appliance.services import overview
from appliance.settings import Settings

RECENT = 10
SEED = 3072  # MiB that a seed and its snapshot will take
SENSORS = ("coretemp", "k10temp", "cpu_thermal", "acpitz")  # of those that a server has, the first is shown


# -- operations --------------------------------------------------------------------------------------


def recent(settings: Settings) -> list[Operation]:
    """The last operations, the newest first. Raises Unavailable while dpe-host does not answer."""
    return Client(settings).operations()[:RECENT]


def get_operation(settings: Settings, id: str) -> Operation:
    """Raises NotFound, and Unavailable while dpe-host does not answer."""
    return Client(settings).operation(id)


def cancel(actor: Actor, settings: Settings, id: str) -> None:
    """Ask an operation to end. Raises Conflict when it has ended."""
    client = Client(settings, actor.name)
    if client.operation(id).state != operations.RUNNING:
        raise Conflict("It has ended already.", "Reload the page.")
    client.call(operations.CANCEL)


# -- how it is ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Status:
    """The server now. Memory and disk are MiB, temperature is degrees Celsius or None, load is as many processes as want a processor
    (over 1, 5, 15 minutes). `parts` are the appliance's processes; `problem` says why they are not known."""

    name: str
    addresses: list[str]
    image: Image | None
    booted_at: datetime
    load: tuple[float, float, float]
    cpus: int
    memory: int
    memory_available: int
    disk: int
    disk_free: int
    temperature: float | None
    parts: list[Part] = field(default_factory=list)
    problem: DpeError | None = None

    @property
    def uptime(self) -> timedelta:
        return datetime.now(UTC) - self.booted_at


def status(settings: Settings) -> Status:
    """How the server is. What needs nobody is told also while dpe-host does not answer."""
    parts, build, problem = list[Part](), None, None
    try:
        client = Client(settings)
        build = client.call(system.IMAGE).root
        parts = client.call(system.UNITS)
    except DpeError as error:
        problem = error
    main, disk = psutil.virtual_memory(), psutil.disk_usage(str(settings.state))
    return Status(
        name=socket.gethostname(),
        addresses=facts.addresses(settings),
        image=build,
        booted_at=datetime.fromtimestamp(psutil.boot_time(), UTC),
        load=psutil.getloadavg(),
        cpus=psutil.cpu_count() or 1,
        memory=main.total >> 20,
        memory_available=main.available >> 20,
        disk=disk.total >> 20,
        disk_free=disk.free >> 20,
        temperature=_temperature(),
        parts=parts,
        problem=problem,
    )


def _temperature() -> float | None:
    found = psutil.sensors_temperatures()
    return next((max(one.current for one in found[name]) for name in SENSORS if found.get(name)), None)


# -- what it can hold --------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeldMachines:
    """A class, and how many machines of it this server can hold if there are no others."""

    machine_class: Class
    holds: Holds

    @property
    def words(self) -> str:
        """In one sentence, like "This server can hold 38 notebooks."."""
        title = self.machine_class.spec["title"]
        first, _, rest = title.partition(" ")
        noun = f"{first if first[1:] != first[1:].lower() else first.lower()} {rest}".strip()
        count = self.holds.count
        return f"This server can hold {f'{count:,}'.replace(',', ' ') if count else 'no'} {noun if count == 1 else f'{noun}s'}."

    @property
    def why(self) -> str:
        """What runs out first, and how far the others would go."""
        found = self.holds
        memory, disk, slots = _count(found.memory), _count(found.disk), _count(found.slots)
        each = self.machine_class.spec["size"]["memory"]
        bound = {
            "memory": f"What ends first is memory, of which each may use {each} MiB; the disk would do for {disk}, addresses would do for {slots}.",
            "disk": f"What ends first is room on the disk; memory would do for {memory}, addresses would do for {slots}.",
            "slots": f"What ends first is addresses and ports (the setting slots); memory would do for {memory}, the disk would do for {disk}.",
        }[found.binds]
        if self.machine_class.maximum < found.count:
            bound += f" Its policy allows {self.machine_class.maximum}."
        return bound


def _count(number: int) -> str:
    return f"{number} or more" if number >= 5000 else str(number)


def capacity(settings: Settings, reach: Scope = EVERYTHING) -> list[HeldMachines]:
    """For every class within reach, as the planner would count on a host without machines."""
    classes = [
        machine_class for machine_class in Class.select().order_by(Class.name) if reach.everything or machine_class.name in reach.classes
    ]
    empty = _empty(settings, sum(seeds.promoted(machine_class.name) is None for machine_class in classes))
    return [HeldMachines(machine_class, _fits(machine_class.spec["size"]["memory"], empty)) for machine_class in classes]


def fits(settings: Settings, each: int) -> Holds:
    """The same for machines of so many MiB, whose seed is yet to be built."""
    return _fits(each, _empty(settings, 1))


def _fits(each: int, empty: Capacity) -> Holds:
    return holds(each + memory.allowed().overhead, empty)


def _empty(settings: Settings, to_build: int) -> Capacity:
    """What this host has without any machine, when so many seeds are yet to be built."""
    said = overview.health().host
    main = psutil.virtual_memory()
    total, available, free = (
        said.get("memory") or main.total >> 20,
        said.get("memory_available") or main.available >> 20,
        said.get("disk_free") or hardware.read_hardware(settings).disk_free,
    )
    parts = [part for part in memory.parts() if part.kind not in (memory.Kind.COLD, memory.Kind.OFF)]
    overcommit: int = options.get("overcommit")
    return Capacity(
        memory=available + sum(part.private for part in parts) - settings.host_reserve,
        disk=free - settings.disk_reserve - SEED * to_build,
        slots=settings.slots,
        room=most(total, settings.host_reserve, overcommit),
        overcommit=overcommit,
    )


def findings(settings: Settings) -> list[Finding]:
    """The hardware in plain words."""
    said = overview.health().host
    try:
        problems = Client(settings).call(disks.PROBLEMS)
    except DpeError:
        problems = []
    return hardware.findings(hardware.read_hardware(settings), said.get("acceleration", ""), said.get("reason", ""), problems)


# -- certificate -------------------------------------------------------------------------------------


def certificate(settings: Settings) -> Certificate:
    """What is served now. Raises Unavailable."""
    return Client(settings).call(access.CERTIFICATE)


def set_certificate(
    actor: Actor, settings: Settings, files: list[bytes], passphrase: str, *, host: str, other_name: bool, private_authority: bool
) -> Certificate:
    """Serve one of the admin's own; `host` is the name under which they see the page. Raises BadInput with what is wrong; nothing is changed then."""
    if not files:
        raise BadInput("No file was sent.", "Choose the certificate and its key, or a .pfx with both.", field="certificate")
    if any(len(content) > LARGEST for content in files):
        raise BadInput("A file is too large to be a certificate or a key.", "Choose the ones that your authority gave you.")
    sent = [base64.b64encode(content).decode() for content in files]
    given = access.Files(
        files=sent, passphrase=passphrase[:1000], host=host[:300], other_name=other_name, private_authority=private_authority
    )
    return Client(settings, actor.name).call(access.SET_CERTIFICATE, given)


def remove_certificate(actor: Actor, settings: Settings) -> Certificate:
    """Serve the appliance's own again."""
    return Client(settings, actor.name).call(access.REMOVE_CERTIFICATE)


def proxies(settings: Settings) -> list[str]:
    """The reverse proxies that are trusted. Raises Unavailable."""
    return Client(settings).call(access.PROXIES)


def trust_proxies(actor: Actor, settings: Settings, text: str) -> list[str]:
    """Trust those that stand in the text, one a line, and no others. Raises BadInput with the line that is wrong; nothing is changed then."""
    lines = [line[:200] for line in text.splitlines()[:500]]
    return Client(settings, actor.name).call(access.SET_PROXIES, access.Proxies(proxies=lines))


# -- network, clock, power ---------------------------------------------------------------------------


def network(settings: Settings) -> network_verbs.State:
    """Name, network, cards and trial. Raises Unavailable."""
    return Client(settings).call(network_verbs.GET)


@dataclass(frozen=True)
class NetworkTrialView:
    """A change of the network on its way: what confirms it, until when, and the address where; empty with DHCP."""

    token: str
    until: datetime
    address: str


PATIENCE = {"static": 90, "dhcp": 300}  # seconds; an address that DHCP gives has to be found first


def set_network(actor: Actor, settings: Settings, values: dict[str, Any]) -> NetworkTrialView:
    """Try another network. Raises BadInput and Conflict for what cannot be used."""
    seconds = PATIENCE.get(str(values.get("mode")), 90)
    begun = Client(settings, actor.name).call(network_verbs.SET, network_verbs.Set.model_validate({"network": values, "seconds": seconds}))
    address = str(values.get("address", "")).strip().partition("/")[0] if values.get("mode") == "static" else ""
    return NetworkTrialView(begun.token, datetime.now(UTC) + timedelta(seconds=begun.seconds), address)


def keep_network(settings: Settings, token: str, by: str = "") -> Network:
    """Keep the network on trial, by the link that only its page has. Raises NotFound when it is over."""
    return Client(settings, by).call(network_verbs.CONFIRM, network_verbs.Token(token=token))


def confirm_network(actor: Actor, settings: Settings) -> None:
    """Keep the network on trial. Raises NotFound when it is over."""
    Client(settings, actor.name).call(network_verbs.CONFIRM, network_verbs.Token())


def take_network_back(actor: Actor, settings: Settings) -> None:
    """Use the old network again, now. Raises NotFound when nothing is on trial."""
    Client(settings, actor.name).call(network_verbs.TAKE_BACK)


def set_name(actor: Actor, settings: Settings, name: str) -> None:
    """Give the server another name. Raises BadInput."""
    Client(settings, actor.name).call(network_verbs.SET_NAME, network_verbs.Name(name=name))


def clock(settings: Settings) -> Clock:
    """How the clock is. Raises Unavailable."""
    return Client(settings).call(system.CLOCK)


def set_time_servers(actor: Actor, settings: Settings, servers: list[str], *, enabled: bool) -> None:
    """Whom to ask for the time. Raises BadInput."""
    Client(settings, actor.name).call(system.SET_TIME_SERVERS, system.TimeServers(enabled=enabled, servers=servers))


def set_time(actor: Actor, settings: Settings, at: datetime) -> None:
    """Set the clock by hand. Raises BadInput, and Conflict while time servers are asked."""
    Client(settings, actor.name).call(system.SET_CLOCK, system.Moment(at=at))


def in_use() -> list[tuple[Account, int]]:
    """Who holds machines, and how many, most first: those who notice when the server goes."""
    counts = machines.held_by_account()
    return sorted(((one, counts[one.id]) for one in Account.select() if one.id in counts), key=lambda found: (-found[1], found[0].name))


def power(actor: Actor, settings: Settings, what: str) -> None:
    """`restart` the server, or switch it `off`."""
    Client(settings, actor.name).call({"restart": system.RESTART, "off": system.POWER_OFF}[what])


def restart_part(actor: Actor, settings: Settings, name: str) -> None:
    """Stop and start one of the appliance's processes. Raises BadInput for another name."""
    Client(settings, actor.name).call(system.RESTART_UNIT, system.Which.model_validate({"name": name}))


def shell(settings: Settings) -> bool | None:
    """Whether the menu at the server's screen opens a shell; None where that is not ours to decide on, or not known now."""
    try:
        return Client(settings).call(system.SHELL).root
    except DpeError:
        return None


def set_shell(actor: Actor, settings: Settings, *, enabled: bool) -> None:
    """Allow a shell at the server's screen, or not any more."""
    Client(settings, actor.name).call(system.SET_SHELL, system.Switch(enabled=enabled))
