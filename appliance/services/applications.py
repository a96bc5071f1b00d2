"""The catalogue of applications as people look at it."""

from appliance.catalog import Class, options, scenarios
from appliance.errors import NotFound
from appliance.scenario import applications
from appliance.scenario.applications import Entry

WITHDRAWN = "withdrawn_applications"  # the option with the names of those that are not offered any more


def entries() -> list[Entry]:
    """All there are, by their titles."""
    return list(applications.catalogue(scenarios.own_applications).values())


def get(name: str) -> Entry:
    """One of them. Raises NotFound."""
    found = applications.catalogue(scenarios.own_applications).get(name)
    if found is None:
        raise NotFound(f"There is no application {name[:40]!r}.", "The page Applications has those there are.")
    return found


def withdrawn() -> set[str]:
    """The names of those that are offered no more to classes that do not have them."""
    return set(options.get(WITHDRAWN))


def classes(name: str) -> list[Class]:
    """The classes whose machines have it."""
    return [
        one for one in Class.select().order_by(Class.name) if any(chosen["name"] == name for chosen in one.spec.get("applications", []))
    ]
