"""What a class leaves open to who asks for a machine, and what somebody chose of it. Pure: a choice in, the class that it comes to out."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from appliance.scenario import applications
from appliance.scenario.applications import Entry, Own
from appliance.scenario.schema import Choice, ClassSpec, Name, Os, Package
from appliance.scenario.schema import Chosen as Named
from appliance.yamlfile import Part

MOST_PACKAGES = 30
TITLE = 60  # characters of a class's title
FITTED = ("title", "os", "size", "application", "applications", "screen")  # of a class, what decides whether its applications fit
PREFIX = 22  # characters of the base in the name of a recipe's class, which has 31 at most


class Chosen(Part):
    """What somebody chose: all that a seed is made from, and the size. Lists are sorted, each word once, so that equal choices are equal.

    `options`: what is decided about chosen applications, by their names, where it is not what counts otherwise.
    """

    os: Os
    applications: list[Name] = Field(default=[])
    options: dict[Name, dict[str, str | int | bool]] = Field(default={})
    packages: list[Package] = Field(default=[])
    memory: int = Field(ge=1, description="MiB")
    disk: int = Field(ge=1, description="GiB")

    def normal(self) -> "Chosen":
        """The same as everybody else would write it."""
        names = sorted(set(self.applications))
        options = {name: dict(sorted(said.items())) for name in names if (said := self.options.get(name))}
        return self.model_copy(update={"applications": names, "options": options, "packages": sorted(set(self.packages))})

    def written(self) -> dict[str, Any]:
        """As it is kept. Without options it is as it was before there were any, so that the hash of a choice is for good."""
        normal = self.normal()
        return normal.model_dump(mode="json", exclude=None if normal.options else {"options"})


def bounds_of(spec: Mapping[str, Any]) -> Choice:
    """Of a class as the catalog has it."""
    return Choice.model_validate(spec.get("choice") or {})


def usual(spec: Mapping[str, Any]) -> Chosen:
    """The class as it is, as a choice."""
    return Chosen(os=spec["os"], memory=spec["size"]["memory"], disk=spec["size"]["disk"])


def fault(spec: Mapping[str, Any], chosen: Chosen, own: Own) -> tuple[str, str, str] | None:
    """What a class does not allow of a choice: the field, what is wrong, and what to do; None when all is well."""
    open_, size = bounds_of(spec), spec["size"]
    if chosen.os not in (open_.os or [spec["os"]]):
        return "os", f"{chosen.os[:40]} is not offered.", f"Choose {' or '.join(open_.os or [spec['os']])}."
    for name in chosen.applications:
        if name not in open_.applications:
            return "applications", f"There is no application {name} to choose.", "Reload the page to see what there is."
    if wrong := _option_fault(chosen, own):
        return "applications", *wrong
    if chosen.packages and not open_.packages:
        return "packages", "Packages cannot be added.", "Leave them out."
    if len(chosen.packages) > MOST_PACKAGES:
        return "packages", f"These are {len(chosen.packages)} packages.", f"Choose {MOST_PACKAGES} at most."
    for key, unit in (("memory", "MiB"), ("disk", "GiB")):
        least, most = size[key], max(size[key], getattr(open_, key))
        if not least <= getattr(chosen, key) <= most:
            return key, f"It cannot have {getattr(chosen, key)} {unit}.", f"Choose {least}{f' to {most}' if most > least else ''} {unit}."
    return _misfit(spec, chosen, own)


def digest(base: str, chosen: Chosen) -> str:
    """The hash of a choice of a class: equal for the same choice, whoever makes it."""
    return hashlib.sha256(json.dumps([base, chosen.written()]).encode()).hexdigest()


def class_name(base: str, chosen: Chosen) -> str:
    """What the class of that recipe is called."""
    return f"{base[:PREFIX].rstrip('-')}-{digest(base, chosen)[:8]}"


def spec_of(spec: Mapping[str, Any], chosen: Chosen, own: Own, *, buffer: int = 0) -> dict[str, Any]:
    """The class that a choice comes to, as the catalog has classes: the same policy, but none kept ready unless `buffer` says so."""
    parts = [chosen.os.replace("-", " ").title(), *chosen.applications, *chosen.packages]
    title = f"{spec['title']}: {', '.join(parts)}"
    policy = {**spec.get("policy", {}), "buffer": buffer, "minimum": 0, "windows": [], "one_offs": [], "forecast_acts": False}
    known = applications.catalogue(own) if chosen.applications else {}
    roles = [name for name in chosen.applications if name not in known and name not in spec.get("roles", [])]
    return {
        **spec,
        "title": title if len(title) <= TITLE else f"{title[: TITLE - 1]}…",
        "os": chosen.os,
        "roles": [*spec.get("roles", []), *roles],
        "applications": [*spec.get("applications", []), *_further(spec, chosen, known)],
        "packages": sorted({*spec.get("packages", []), *chosen.packages}),
        "size": {**spec["size"], "memory": chosen.memory, "disk": chosen.disk},
        "policy": policy,
        "choice": Choice().model_dump(mode="json"),
    }


def _further(spec: Mapping[str, Any], chosen: Chosen, known: Mapping[str, Entry]) -> list[dict[str, Any]]:
    """The applications of the catalogue that a choice adds to those of the class."""
    there = {one["name"] for one in spec.get("applications", [])}
    added = [known[name] for name in chosen.applications if name in known and name not in there]
    return [{"name": one.name, "options": chosen.options.get(one.name, {}), "port": one.port(Named(name=one.name))} for one in added]


def _option_fault(chosen: Chosen, own: Own) -> tuple[str, str] | None:
    """What is wrong with what was decided about applications, and what to do; None when nothing is."""
    known = applications.catalogue(own) if chosen.options else {}
    for name, said in chosen.options.items():
        if name not in known or name not in chosen.applications:
            return f"There is nothing to decide about {name}.", "Choose the application, or leave its options out."
        try:
            known[name].manifest.option_model.model_validate(said)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            what = ".".join(str(part) for part in first["loc"])
            return f"{known[name].manifest.title} cannot have that {what}: {first['msg']}.", "Its page says what can be."
    return None


def without_defaults(chosen: Chosen, own: Own) -> Chosen:
    """The same without options that are as they would be anyhow."""
    known = applications.catalogue(own) if chosen.options else {}
    options = {
        name: {key: value for key, value in said.items() if value != known[name].manifest.options[key].default}
        for name, said in chosen.options.items()
        if name in known
    }
    return chosen.model_copy(update={"options": options}).normal()


def _misfit(spec: Mapping[str, Any], chosen: Chosen, own: Own) -> tuple[str, str, str] | None:
    """Why the class that a choice comes to cannot be; see `fault`."""
    if not (chosen.applications or chosen.packages) and chosen.normal() == usual(spec):
        return None  # it is the class itself, which was looked at when it was written
    came_to = ClassSpec.model_validate({name: value for name, value in spec_of(spec, chosen, own).items() if name in FITTED})
    found = next(applications.misfits(came_to, own), None)
    if found is None:
        return None
    field = str(found.place[-1]) if found.place[0] == "size" else "applications"
    return field, found.message, found.choose


BARE = frozenset({"buffer", "minimum", "windows", "one_offs", "forecast_acts"})
"""Of an admin's values of a class, those that say how many are kept ready: of its recipes that is decided by their use."""
