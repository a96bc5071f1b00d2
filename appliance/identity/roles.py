"""Roles: named permissions, and the sets of them that are granted."""

from dataclasses import dataclass
from functools import cache

UNIT, CLASS = "unit", "class"

# What each allows, and over what it can be held besides the appliance.
PERMISSIONS: dict[str, tuple[str, frozenset[str]]] = {
    "machines.use": ("ask for machines and use them", frozenset({CLASS})),
    "machines.read": ("see everybody's machines", frozenset({UNIT, CLASS})),
    "machines.manage": ("stop, start, extend and take back everybody's machines", frozenset({UNIT, CLASS})),
    "machines.enter": ("open the application of everybody's machines", frozenset({UNIT, CLASS})),
    "requests.approve": ("say yes or no to requests", frozenset({UNIT, CLASS})),
    "classes.read": ("see classes and their pools", frozenset({CLASS})),
    "classes.manage": ("change classes and their policy", frozenset({CLASS})),
    "scenario.manage": ("change the scenario: what machines are", frozenset()),
    "sequences.manage": ("change what is done before and after the moves of machines", frozenset()),
    "seeds.read": ("see seeds and the logs of their building", frozenset({CLASS})),
    "seeds.manage": ("build and promote seeds", frozenset({CLASS})),
    "people.read": ("see people, groups and org units", frozenset({UNIT})),
    "people.manage": ("change people, groups and org units", frozenset({UNIT})),
    "grants.read": ("see who may do what", frozenset({UNIT, CLASS})),
    "grants.manage": ("grant roles that one holds oneself", frozenset({UNIT, CLASS})),
    "quotas.manage": ("set quotas", frozenset({UNIT})),
    "events.read": ("read the record of everything that happened", frozenset()),
    "settings.manage": ("change the appliance's settings", frozenset()),
    "directory.manage": ("connect the directory server", frozenset()),
}

# What everybody who is signed in may do, with what is their own.
OWN = "own"


@dataclass(frozen=True)
class Role:
    """A set of permissions with a name."""

    title: str
    about: str
    permissions: frozenset[str]


_USER = frozenset({"machines.use"})
_APPROVER = frozenset({"machines.read", "requests.approve", "classes.read", "people.read"})
_OPERATOR = frozenset({"machines.read", "machines.manage", "classes.read", "seeds.read", "events.read"})
_CLASS_MANAGER = _USER | {"machines.read", "machines.manage", "classes.read", "classes.manage", "seeds.read", "seeds.manage"}
_PEOPLE = {"machines.enter", "people.read", "people.manage", "grants.read", "grants.manage", "quotas.manage", "sequences.manage"}

# Those who hold a role.
SEVERAL = {
    "user": "users",
    "approver": "approvers",
    "operator": "operators",
    "class_manager": "class managers",
    "delegated_admin": "delegated admins",
    "owner": "owners",
}

ROLES: dict[str, Role] = {
    "user": Role("User", "Asks for machines and uses them.", _USER),
    "approver": Role("Approver", "Sees who asks for what, and says yes or no.", _APPROVER),
    "operator": Role("Operator", "Keeps machines running: sees them all, extends them and takes them back.", _OPERATOR),
    "class_manager": Role("Class manager", "Looks after classes: policy, seeds and machines.", _CLASS_MANAGER),
    "delegated_admin": Role(
        "Delegated admin",
        "Looks after people and all they have: accounts, groups, quotas, machines; passes on roles.",
        _APPROVER | _OPERATOR | _CLASS_MANAGER | _PEOPLE,
    ),
    "owner": Role("Owner", "May do everything.", frozenset(PERMISSIONS)),
}


def counting_as(role: str) -> frozenset[str]:
    """The roles whose holders count as holding this one: itself, and those that have all its permissions. A name that is no role is nobody's."""
    return frozenset(name for name, other in ROLES.items() if role in ROLES and ROLES[role].permissions <= other.permissions)


@cache  # each page asks many times
def permissions(role: str, kind: str | None) -> frozenset[str]:
    """The permissions that a role gives over a unit, a class or (None) the appliance; none for a role that is not known."""
    if role not in ROLES:
        return frozenset()
    return frozenset(name for name in ROLES[role].permissions if kind is None or kind in PERMISSIONS[name][1])
