"""A replica of a service that is to go ends what it began first. The engine's balancer does the rest."""

from appliance import catalog
from appliance.catalog import ENGINE, Actor, Class, EventKind, Machine, now, record, replicas


def begin(machine_class: Class, machine: Machine, reason: str, actor: Actor = ENGINE, *, dismissed: bool = False) -> None:
    """Send no new requests to a replica; when it has answered those that it has, or at its deadline, its machine is taken away.

    One that is `dismissed` goes, however many are wanted. Call it for replicas; nothing happens to one that drains.
    """
    moment = now()
    with catalog.write():
        if replicas.drain(machine.id, replicas.deadline(machine_class, moment), reason, dismissed=dismissed):
            record(
                EventKind.REPLICA_DRAINING,
                f"{machine.name} gets no new requests: {reason}. It has {machine_class.spec['service']['drain']} s for those that it has.",
                actor,
                class_name=machine_class.name,
                machine_id=machine.id,
            )
