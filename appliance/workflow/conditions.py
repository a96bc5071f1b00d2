"""When an activity is done at all: conditions on the class, who asks, the machine's size and the lease, judged by facts kept with the run."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from appliance.catalog import Account, Class, Group, OrgUnit, grants
from appliance.yamlfile import Part

Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Bounds(Part):
    """A number above one and below another, or either."""

    above: int | None = Field(default=None, ge=0, description="More than this.")
    below: int | None = Field(default=None, ge=0, description="Less than this.")

    @model_validator(mode="after")
    def _some(self) -> "Bounds":
        if self.above is None and self.below is None:
            raise ValueError("neither above nor below is given")
        if self.above is not None and self.below is not None and self.below - self.above < 2:
            raise ValueError(f"no number is above {self.above} and below {self.below}")
        return self

    def hold(self, number: int) -> bool:
        return (self.above is None or number > self.above) and (self.below is None or number < self.below)


NUMBERS = ("vcpus", "memory", "disk", "lease_minutes", "count")
NAMES = {"classes": "class", "units": "units", "groups": "groups", "roles": "roles"}


class When(Part):
    """All that are given must hold; of a list, one name is enough."""

    classes: list[Text] = Field(default=[], description="Names of classes.")
    units: list[Text] = Field(
        default=[], title="Org units", description="Names of org units that the person is in, directly or further up."
    )
    groups: list[Text] = Field(default=[], description="Names of groups that the person is in, directly or through another.")
    roles: list[Text] = Field(default=[], description="Roles that the person holds, over anything.")
    vcpus: Bounds | None = Field(default=None, title="Processors", description="Virtual processors of the machine.")
    memory: Bounds | None = Field(default=None, description="Memory of the machine, MiB.")
    disk: Bounds | None = Field(default=None, description="System disk of the machine, GiB.")
    lease_minutes: Bounds | None = Field(default=None, title="Lease, in minutes", description="Length of the lease, in minutes.")
    count: Bounds | None = Field(default=None, title="How many at once", description="Machines asked for at once.")

    def hold(self, facts: dict[str, Any]) -> bool:
        """Whether all conditions hold; what the facts do not know, does not."""
        for name, fact in NAMES.items():
            wanted = getattr(self, name)
            found = facts.get(fact, [])
            if wanted and not set(wanted) & set([found] if isinstance(found, str) else found):
                return False
        for name in NUMBERS:
            bounds = getattr(self, name)
            if bounds is not None and not (isinstance(facts.get(name), int) and bounds.hold(facts[name])):
                return False
        return True


def facts_of(machine_class: Class, account_id: int | None, *, lease_minutes: int, count: int = 1) -> dict[str, Any]:
    """What conditions are judged by: of the class and, unless there is none, of the person."""
    size = machine_class.spec["size"]
    facts: dict[str, Any] = {"class": machine_class.name, "lease_minutes": lease_minutes, "count": count}
    facts |= {name: size[name] for name in ("vcpus", "memory", "disk")}
    account = None if account_id is None else Account.get_or_none(Account.id == account_id)
    if account is not None:
        units = [unit.name for unit in OrgUnit.select().where(OrgUnit.id.in_(grants.units_of(account.id)))]
        groups = [group.name for group in Group.select().where(Group.id.in_(grants.groups_of(account.id)))]
        facts |= {"units": sorted(units), "groups": sorted(groups), "roles": sorted({held.role for held in grants.held_by(account.id)})}
    return facts
