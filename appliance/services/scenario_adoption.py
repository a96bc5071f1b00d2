"""The classes of the catalog, brought in line with the scenario."""

from appliance import catalog
from appliance.catalog import Class, EventKind, options, policies, recipes, record, scenarios, sequences
from appliance.scenario import applications
from appliance.scenario.schema import Scenario


def adopt_scenario(scenario: Scenario) -> None:
    """Bring the catalog's classes in line with the scenario: new ones are added, what an admin changed is kept, missing ones are withdrawn."""
    with catalog.write():
        there = {sequence.name for sequence in sequences.all()}
        options.put("scenario", {"name": scenario.name, "title": scenario.title, "description": scenario.description})
        for name, described in scenario.classes.items():
            spec = applications.resolved(described, scenarios.own_applications).model_dump(mode="json")
            machine_class: Class | None = Class.get_or_none(Class.name == name)
            if machine_class is not None:
                policies.follow(machine_class, spec)
                continue
            if described.sequence not in ("", "none", *there):
                message = f"{name} follows no sequence: there is no {described.sequence}."
                record(EventKind.CLASS_NO_SEQUENCE, message, class_name=name, hint="Pick another on its page.")
            Class.insert(name=name, **policies.columns(spec, {})).execute()
        chosen = recipes.bases()
        Class.update(enabled=False).where(Class.name.not_in([*scenario.classes, *chosen])).execute()
        for base in set(chosen.values()):
            recipes.follow(base)
