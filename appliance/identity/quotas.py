"""How much somebody may still have: every quota that counts for them, at every level, has to have room."""

from dataclasses import dataclass
from typing import Any

from appliance.catalog import Account, Class, Group, OrgUnit, quotas
from appliance.catalog.quotas import Bound, Size

NAMES = {"machines": "machines", "vcpus": "processors", "memory": "MiB of memory", "disk": "GiB of disk"}


@dataclass(frozen=True)
class Allowance:
    """What is left for one person of one class: `left` more machines (None: no quota says), because of `reason`."""

    left: int | None = None
    reason: str = ""
    lease_minutes: int | None = None  # a lease may not be longer

    def lease(self, minutes: int) -> int:
        """How long a lease of a class that gives so many minutes is for this person."""
        return min(minutes, self.lease_minutes or minutes)


def size_of(machine_class: Class) -> Size:
    """What a machine of the class takes."""
    size = machine_class.spec["size"]
    return Size(size["vcpus"], size["memory"], size["disk"])


def allowance(account_id: int, class_name: str, size: Size, *, machines: int = 1) -> Allowance:
    """What is left before a claim; without `machines`, before one that is held takes so much more. Inside the claiming `write()`, nobody else can use it up meanwhile."""
    left: int | None = None
    reason = ""
    found = quotas.bounds(account_id, class_name)
    takes = {"machines": machines, "vcpus": size.vcpus, "memory": size.memory, "disk": size.disk}
    if machines and any(bound.disk is not None for bound in found):
        takes["disk"] += quotas.data_of_next(account_id, class_name)
    for bound in found:
        if all(getattr(bound, name) is None for name in takes):
            continue
        kind, id = ("account", account_id) if bound.each else (bound.kind, bound.id)
        for (name, one), used in zip(takes.items(), quotas.used(kind, id, bound.class_name), strict=True):
            limit = getattr(bound, name)
            if limit is None or not one:
                continue
            fits = max(0, (limit - used) // one)
            if left is None or fits < left:
                left, reason = fits, _used_up(_whose(bound, account_id), used, limit, name)
    minutes = [bound.lease_minutes for bound in found if bound.lease_minutes is not None]
    return Allowance(left, reason, min(minutes, default=None))


def disk_room(account_id: int, class_name: str) -> int | None:
    """GiB that the account's data disks of the class may have more; None: no quota says."""
    left = []
    for bound in quotas.bounds(account_id, class_name):
        if bound.disk is not None:
            kind, id = ("account", account_id) if bound.each else (bound.kind, bound.id)
            left.append(max(0, bound.disk - quotas.used(kind, id, bound.class_name)[3]))
    return min(left, default=None)


def _used_up(whose: str, used: int, limit: int, name: str) -> str:
    return f"{whose}: {used} of {limit} {NAMES[name]} in use"


def _whose(bound: Bound, account_id: int) -> str:
    if bound.each or (bound.kind, bound.id) == ("account", account_id):
        return "Your quota"
    model: Any = {"account": Account, "group": Group, "unit": OrgUnit}[bound.kind]
    return f"The quota of {model.get_by_id(bound.id).name}"
