"""A machine made only to see whether one can be, after an update: forked where it can be, else booted; it must answer, and is gone again."""

import ipaddress
import logging
import uuid
from contextlib import suppress

from appliance.catalog import Seed, scenarios, smoke_tests
from appliance.errors import DpeError
from appliance.hypervisor import making
from appliance.hypervisor.provider import Card, MachineSpec, Provider, answering
from appliance.lifecycle import forks
from appliance.scenario import applications
from appliance.settings import Settings

log = logging.getLogger(__name__)

ID = str(uuid.uuid5(uuid.NAMESPACE_OID, "dpe proof"))
PLACE = 13  # among the addresses before the machines' slots


def spec(seed: Seed, settings: Settings) -> MachineSpec:
    """A machine of the seed as the next one of its class would be, which waits running."""
    described = seed.machine_class.spec
    subnet = ipaddress.ip_network(settings.subnet)
    snapshot = forks.usable(seed.machine_class, seed)
    return MachineSpec(
        id=ID,
        name=f"proof-{seed.class_name}",
        class_name=seed.class_name,
        seed=seed.name,
        cmdline=seed.cmdline,
        disk_size=described["size"]["disk"],
        vcpus=described["size"]["vcpus"],
        memory=described["size"]["memory"],
        card=Card("52:54:00:00:00:0d", str(subnet[2 + PLACE]), subnet.prefixlen, settings.gateway),
        **answering(described),
        further=applications.further(described, scenarios.own_applications),
        snapshot=None if snapshot is None else snapshot.name,
    )


def run(asked: str, settings: Settings, provider: Provider) -> None:
    """Make it, and say what came of it."""
    seed = smoke_tests.seed()
    if seed is None:
        smoke_tests.note_outcome(asked, "")
        return
    problem = ""
    try:
        provider.destroy(ID)  # the last one may have been cut off
        made = making.make(provider, spec(seed, settings), lambda text: log.info("proof: %s", text))
        if made.fork_error is not None:
            log.warning("the machine made as a proof was booted, not forked: %s", made.fork_error)
    except DpeError as error:
        problem = str(error)
    finally:
        with suppress(DpeError):
            provider.destroy(ID)
    smoke_tests.note_outcome(asked, problem)
