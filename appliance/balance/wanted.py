"""What HAProxy is to be configured for, as the catalog has it."""

from collections.abc import Iterable

from appliance.balance.haproxy import Members, Service
from appliance.catalog import Class, Replica, ReplicaState, replicas
from appliance.settings import Settings


def services(classes: Iterable[Class]) -> list[Service]:
    """All services, by name."""
    return [
        Service(
            one.name,
            replicas.servers(one),
            one.spec["application"].get("ready", "/"),
            one.spec["service"].get("connections", 100),
            is_sticky=one.spec["service"].get("sticky", False),
        )
        for one in classes
    ]


def address(replica: Replica, machine_class: Class, settings: Settings) -> tuple[str, int]:
    """Where a replica answers."""
    return settings.address(replica.machine.slot), machine_class.spec["application"]["port"]


def members(classes: Iterable[Class], settings: Settings) -> dict[str, Members]:
    """Who serves now; those that drain are not among them."""
    known = {one.name: one for one in classes}
    found: dict[str, dict[int, tuple[str, int]]] = {name: {} for name in known}
    for replica in replicas.all():
        if replica.class_name in known and replica.state is ReplicaState.SERVING:
            found[replica.class_name][replica.number] = address(replica, known[replica.class_name], settings)
    return {name: Members(addresses) for name, addresses in found.items()}
