"""The user's choice: what a class leaves open, what a choice of it takes and how soon it is there, asking for it, and keeping it under a name."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from appliance import catalog
from appliance.catalog import Actor, Class, Favourite, Request, Seed, machines, policies, recipes, scenarios, seeds
from appliance.catalog.grants import Location
from appliance.catalog.quotas import Size
from appliance.errors import BadInput, NotFound
from appliance.identity import permissions, quotas
from appliance.identity.quotas import Allowance
from appliance.packages import sources
from appliance.scenario import choice
from appliance.scenario.choice import Chosen
from appliance.services import machines as machine_verbs
from appliance.services import packages

LONGEST = 60  # characters of a favourite's name
EACH = 30  # favourites of one person
SHOWN = 6  # recipes that are there at once


def open_class(actor: Actor, name: str) -> Class:
    """A class that leaves something open, for somebody who may have one of it. Raises NotFound."""
    found: Class | None = Class.get_or_none(Class.name == name)
    reach = permissions.scope_of(actor, "machines.use")
    if found is None or not found.enabled or not reach.covers(Location(classes=frozenset({name}))) or not choice.bounds_of(found.spec):
        raise NotFound(f"Nothing can be chosen of a class {name[:40]}.", "Reload the page to see what there is.", field="class_name")
    return found


def read(machine_class: Class, values: dict[str, Any]) -> Chosen:
    """What somebody chose of a class; what they do not say is as the class has it. Raises BadInput."""
    given = {**choice.usual(machine_class.spec).model_dump(), **values}
    try:
        asked = Chosen.model_validate(given)
    except ValidationError as error:
        place = str(error.errors(include_url=False)[0]["loc"][0])
        raise BadInput(f"This cannot be chosen: {place}.", "Reload the page to see what there is.", field=place) from None
    for name in asked.options.keys() - set(asked.applications):
        raise BadInput(
            f"There is nothing to decide about {name}.", "Choose the application, or leave its options out.", field="applications"
        )
    chosen = asked.normal()
    if wrong := choice.fault(machine_class.spec, chosen, scenarios.own_applications):
        field, message, hint = wrong
        raise BadInput(message, hint, field=field)
    chosen = choice.without_defaults(chosen, scenarios.own_applications)
    for name in chosen.packages:
        if said := packages.names("", chosen.os, name):
            raise BadInput(f"{said[0][:1].upper()}{said[0][1:]}.", f"{said[1][:1].upper()}{said[1][1:]}.", field="packages")
    return chosen


def lease_of(machine_class: Class, minutes: int | None) -> int | None:
    """How long somebody wants it; None is as the class has it. Raises BadInput."""
    most = max(machine_class.lease_minutes, choice.bounds_of(machine_class.spec).lease)
    if minutes is None or minutes == machine_class.lease_minutes:
        return None
    if not 1 <= minutes <= most or not choice.bounds_of(machine_class.spec).lease:
        raise BadInput(f"A lease cannot last {minutes} minutes.", f"Choose 1 to {most} minutes.", field="lease")
    return minutes


@dataclass(frozen=True)
class Outlook:
    """What a choice comes to: `ready` machines that would be theirs at once, or what has to be made before, and about how long that takes, where that
    is known; whether somebody has to give one back first, as people hold all that there may be (`is_full`); what it takes of the quota, and what is left of
    that; why it cannot be had, if so."""

    chosen: Chosen
    ready: int
    has_seed: bool
    building: Seed | None
    wait: timedelta | None
    takes: Size
    left: Allowance
    refusal: str
    lease_minutes: int
    is_full: bool = False


def outlook(actor: Actor, machine_class: Class, chosen: Chosen, lease_minutes: int | None = None) -> Outlook:
    """How soon a choice would be somebody's, and what it costs them."""
    assert actor.account_id is not None
    is_usual = chosen == choice.usual(machine_class.spec).normal()
    found = recipes.find(machine_class.name, chosen)
    name = machine_class.name if is_usual else found.class_name if found else ""
    takes = Size(machine_class.spec["size"]["vcpus"], chosen.memory, chosen.disk)
    left = quotas.allowance(actor.account_id, name or machine_class.name, takes)
    held = machines.held(actor.account_id, machine_class.name)
    has_seed = bool(name) and seeds.promoted(name) is not None
    refusal = ""
    if held >= machine_class.per_person:
        refusal = f"You hold {held} of {machine_class.per_person} already."
    elif left.left == 0:
        refusal = f"{left.reason}."
    return Outlook(
        chosen,
        ready=machines.counts().get(name, {}).get(catalog.MachineState.READY, 0) if name else 0,
        has_seed=has_seed,
        building=next(iter(seeds.unfinished(name)), None) if name else None,
        wait=_made_in(name) if has_seed else recipes.usual_build(machine_class.name, chosen.os),
        takes=takes,
        left=left,
        refusal=refusal,
        lease_minutes=left.lease(lease_minutes or machine_class.lease_minutes),
        is_full=_is_full(machine_class),
    )


def _is_full(machine_class: Class) -> bool:
    """Whether people hold all machines that there may be of a class and what was chosen of it."""
    family, counts = {machine_class.name, *recipes.families().get(machine_class.name, [])}, machines.counts()
    held = sum(counts.get(name, {}).get(state, 0) for name in family for state in machines.HELD)
    return 0 < policies.most(machine_class) <= held


def _made_in(name: str) -> timedelta | None:
    times = sorted(machines.making_times(name))
    return times[len(times) // 2] if times else None


def at_once(machine_class: Class) -> list[tuple[Chosen, int]]:
    """What was chosen of a class before and needs no build, with how many machines are ready; what was asked for last first."""
    return [(Chosen.model_validate(recipe.chosen), count) for recipe, count in recipes.ready(machine_class.name)[:SHOWN]]


def request(actor: Actor, machine_class: Class, chosen: Chosen, lease_minutes: int | None = None) -> Request:
    """Ask for a machine of a choice; one that was never made is built first, and the machine is theirs when that is done. Raises what asking for one of
    the class raises."""
    minutes = lease_of(machine_class, lease_minutes)
    with catalog.write():
        is_usual = chosen == choice.usual(machine_class.spec).normal()
        name = machine_class.name if is_usual else recipes.use(machine_class, chosen)
        return machine_verbs.request(actor, name, lease_minutes=minutes)


# -- favourites ---------------------------------------------------------------------------------------


def favourites(account_id: int, class_name: str) -> list[Favourite]:
    """Somebody's favourites of a class, by name."""
    mine = Favourite.select().where(Favourite.account == account_id, Favourite.machine_class == class_name)
    return list(mine.order_by(Favourite.name))


def keep(actor: Actor, class_name: str, name: str, query: str) -> None:
    """Keep a choice under a name; one of the same name is replaced. Raises BadInput."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST or not name.isprintable():
        raise BadInput(f"A favourite needs a name of 1 to {LONGEST} characters.", "Say what it is for, like “Thesis”.", field="name")
    with catalog.write():
        mine = Favourite.account == actor.account_id
        if Favourite.select().where(mine, Favourite.name != name).count() >= EACH:
            raise BadInput(f"You have {EACH} favourites already.", "Delete one that you do not use.", field="name")
        Favourite.delete().where(mine, Favourite.name == name).execute()
        Favourite.create(account=actor.account_id, machine_class=class_name, name=name, query=query)


def drop(actor: Actor, id: int) -> Favourite:
    """Forget one of the actor's favourites. Raises NotFound."""
    found: Favourite | None = Favourite.get_or_none(Favourite.id == id, Favourite.account == actor.account_id)
    if found is None:
        raise NotFound("There is no such favourite.", "Reload the page.")
    with catalog.write():
        found.delete_instance()
    return found


def systems(machine_class: Class) -> dict[str, str]:
    """The operating systems to choose from, with what they are called."""
    return {os: sources.title(os) for os in choice.bounds_of(machine_class.spec).os or [machine_class.spec["os"]]}
