"""The policy of a class: the scenario's values, what an admin changed of them, and what counts.

`Class.spec` is the scenario's, `Class.overrides` what an admin changed, by name. What counts is written into the class's columns, for the queries
that need it, and only here; a field that no query needs has no column, and is read with `values`.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from appliance.catalog.models import Class, Recipe, Sequence, now
from appliance.catalog.scenarios import own_applications
from appliance.scenario import choice, policy
from appliance.scenario.calendar import OneOff

COLUMNS = frozenset(Class._meta.fields)
OVER = timedelta(days=2)  # after the day on which it begins a one-off is over, in whatever time zone


def scenarios(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a class as its scenario has it, by name. It follows the sequence called like its kind where none is said, if there is one."""
    found = {name: field.of(spec) for name, field in policy.fields().items()}
    wanted = found["sequence"] or spec.get("kind", "desktop")
    found["sequence"] = wanted if Sequence.select().where(Sequence.name == wanted).exists() else ""
    return found


def values(machine_class: Class) -> dict[str, Any]:
    """What counts, by name."""
    merged = effective(machine_class.spec, machine_class.overrides)
    return {name: getattr(machine_class, name) if name in COLUMNS else value for name, value in merged.items()}


def value(machine_class: Class, name: str) -> Any:
    """What counts of a field that has no column, and that nothing else bounds."""
    return machine_class.overrides.get(name, policy.fields()[name].of(machine_class.spec))


def memory_room(machine_class: Class) -> int:
    """MiB that a machine of the class may be given while it runs, beside what it starts with."""
    return policy.memory_room(machine_class.spec["size"]["memory"], value(machine_class, "memory_most"))


def effective(spec: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What counts of a scenario's values and an admin's; what a newer scenario left no room for is as much as there is."""
    found = scenarios(spec) | {name: value for name, value in overrides.items() if name in policy.fields()}
    for name in ("minimum", "buffer"):
        found[name] = min(found[name], found["maximum"])
    if found["jobs"]:
        found["readiness"] = "running"  # or nothing could be run in them
    found["burst"] = min(found["burst"], max(1, min(found["per_person"], found["maximum"])))
    return found


def most(machine_class: Class) -> int:
    """The most machines of a class that may ever exist at once, at any time of its calendar."""
    return most_of(machine_class.maximum, machine_class.windows, machine_class.one_offs)


def most_of(maximum: int, windows: Iterable[Mapping[str, Any]], one_offs: Iterable[Mapping[str, Any]]) -> int:
    """The same of its values, as the columns have them; one-offs that are over do not count."""
    largest = max(maximum, *(window["maximum"] or 0 for window in windows), 0)
    coming = [one for one in map(OneOff.model_validate, one_offs) if one.day >= now().date() - OVER]
    return largest + sum(one.room for one in coming)


def columns(spec: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What the row of a class has of both."""
    counts = {name: value for name, value in effective(spec, overrides).items() if name in COLUMNS}
    return {"spec": dict(spec), "overrides": dict(overrides), **counts}


def change(machine_class: Class, wanted: Mapping[str, Any]) -> None:
    """Set values of a class; what is as the scenario has it follows the scenario from then on. Call it inside `write()`."""
    now_counts, scenario = values(machine_class), scenarios(machine_class.spec)
    changed = {name: value for name, value in wanted.items() if value != now_counts[name]}
    overrides = {**_noticed(machine_class), **changed}
    _save(
        machine_class,
        machine_class.spec,
        {name: value for name, value in overrides.items() if name not in changed or value != scenario[name]},
        updated_at=now(),
    )


def put(machine_class: Class, wanted: Mapping[str, Any]) -> None:
    """Have an admin's values be these and no others. Call it inside `write()`."""
    scenario = scenarios(machine_class.spec)
    _save(
        machine_class,
        machine_class.spec,
        {name: value for name, value in wanted.items() if value != scenario[name]},
        updated_at=now(),
    )


def reset(machine_class: Class, names: Iterable[str]) -> None:
    """Let the scenario say these again. Call it inside `write()`."""
    _save(
        machine_class,
        machine_class.spec,
        {name: value for name, value in _noticed(machine_class).items() if name not in set(names)},
        updated_at=now(),
    )


def follow(machine_class: Class, spec: Mapping[str, Any]) -> None:
    """Bring a class in line with its scenario: an admin's values stay, all others are as the scenario has them now. Call it inside `write()`."""
    scenario = scenarios(spec)
    _save(
        machine_class,
        spec,
        {name: value for name, value in _noticed(machine_class).items() if name in machine_class.overrides or value != scenario[name]},
    )


def _noticed(machine_class: Class) -> dict[str, Any]:
    """The overrides, and what the columns have that neither these nor the scenario explain: from before overrides were kept, when only the columns
    said what an admin had changed."""
    counts = effective(machine_class.spec, machine_class.overrides)
    return {
        **machine_class.overrides,
        **{name: getattr(machine_class, name) for name in counts.keys() & COLUMNS if getattr(machine_class, name) != counts[name]},
    }


def _save(machine_class: Class, spec: Mapping[str, Any], overrides: Mapping[str, Any], **more: Any) -> None:
    row = {**columns(spec, overrides), **more}
    Class.update(**row).where(Class.name == machine_class.name).execute()
    for name, value in row.items():
        setattr(machine_class, name, value)
    for recipe in Recipe.select().where(Recipe.base == machine_class.name):
        follow_base(recipe)


def of_recipe(base: Class, chosen: choice.Chosen, *, buffer: int = 0) -> dict[str, Any]:
    """What the row of the class has that a choice comes to: the policy is its base's, an admin's values included, but how many are kept ready."""
    overrides = {name: value for name, value in base.overrides.items() if name not in choice.BARE}
    allowed = base.enabled and choice.fault(base.spec, chosen, own_applications) is None
    return {**columns(choice.spec_of(base.spec, chosen, own_applications, buffer=buffer), overrides), "enabled": allowed}


def follow_base(recipe: Recipe, *, buffer: int | None = None) -> None:
    """Bring the class of a recipe in line with the class that it was chosen of. Call it inside `write()`."""
    base, mine = Class.get_by_id(recipe.base_name), Class.get_by_id(recipe.class_name)
    row = of_recipe(base, choice.Chosen.model_validate(recipe.chosen), buffer=mine.buffer if buffer is None else buffer)
    Class.update(**row).where(Class.name == recipe.class_name).execute()
