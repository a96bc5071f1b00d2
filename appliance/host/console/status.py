"""What the screen at the server says: read from the catalog's file and the kernel, so that it needs no other process to be well."""

import shutil
import socket
from datetime import UTC, datetime, timedelta

import psutil

from appliance.access import tls
from appliance.catalog import readonly
from appliance.catalog.machines import HELD
from appliance.errors import DpeError, Unavailable
from appliance.host.disks import ballast, inventory
from appliance.host.interface import system
from appliance.host.interface.system import Facts
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import config, image
from appliance.language import SOURCE
from appliance.settings import Settings

STALE = timedelta(seconds=30)
LITTLE = 10  # per cent of the disk


def addresses(settings: Settings) -> list[str]:
    """Where others can reach this server, IPv4 first; not the machines' own network."""
    found: list[tuple[int, str]] = []
    for name, ones in psutil.net_if_addrs().items():
        if name == f"{settings.network}-out":
            continue
        for one in ones:
            if one.family is socket.AF_INET and not one.address.startswith(("127.", "169.254.")):
                found.append((4, one.address))
            elif one.family is socket.AF_INET6 and not one.address.startswith(("::1", "fe80:")):
                found.append((6, one.address))
    return [address for _, address in sorted(found)]


def _certificate(settings: Settings) -> str:
    """The fingerprint of the certificate that is served; empty before there is one."""
    try:
        return tls.fingerprint(tls.served(settings))
    except (OSError, ValueError):
        return ""


def _version() -> str:
    try:
        found = image.boot_image()
    except Unavailable:
        return ""
    return found.version if found else ""


@implements(system.FACTS)
def facts(args: Nothing, host: Host) -> Facts:
    """All of it."""
    settings, problems = host.settings, []
    set_up, title, spoken, machines = None, "", SOURCE, None
    try:
        seen = readonly.read_only(settings.catalog)
    except DpeError as error:
        problems.append(str(error))
    else:
        count = seen.states
        machines = system.Machines(
            in_use=sum(count.get(state, 0) for state in HELD),
            ready=count.get("ready", 0),
            coming=count.get("planned", 0) + count.get("creating", 0),
            troubled=count.get("failed", 0) + count.get("quarantined", 0),
        )
        set_up, title, spoken = seen.set_up, seen.title, seen.language
        if seen.engine_seen is None:
            problems.append("The engine has not started yet: machines are made once it has.")
        elif datetime.now(UTC) - seen.engine_seen > STALE:
            problems.append("The engine is not running: machines in use go on, nothing new is made.")
        elif seen.hypervisor_problem:
            problems.append(f"Machines cannot be made: {seen.hypervisor_problem}")
    told, complaint = config.read(settings)
    problems += [complaint] if complaint else []
    problems += inventory.problems(settings)
    disk = shutil.disk_usage(settings.state)
    if disk.free * 100 < disk.total * LITTLE and not ballast.room(settings).full:
        problems.append("The disk is nearly full: delete machines, seeds or backups on the web page.")
    return Facts(
        set_up=set_up,
        title=title,
        language=spoken,
        machines=machines,
        version=_version(),
        host_name=socket.gethostname(),
        addresses=addresses(settings),
        port=settings.https_port,
        fingerprint=_certificate(settings),
        storage=system.Room(free=disk.free >> 20, total=disk.total >> 20),
        shell=told.shell_enabled,
        problems=problems,
    )
