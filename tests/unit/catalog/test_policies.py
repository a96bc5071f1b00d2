"""What counts of a class's policy: the scenario's values, and what an admin changed of them."""

import ast
import json
import sqlite3
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from appliance import catalog
from appliance.catalog import Class, policies
from appliance.errors import BadInput
from appliance.scenario import document, policy
from appliance.scenario.policy import ClassPolicy, Editable, Form
from appliance.scenario.schema import ClassSpec, Name, Scenario
from appliance.services import classes
from appliance.services.scenario_adoption import adopt_scenario
from appliance.settings import REPOSITORY, Settings
from appliance.yamlfile import Part, Source
from tests.unit.catalog.test_database import at_version
from tests.unit.conftest import SPEC


def adopt(**more: object) -> Class:
    """The class `fresh` as it is after a start with that scenario."""
    spec = {**json.loads(json.dumps(SPEC)), **more}
    adopt_scenario(Scenario.model_validate({"name": "s", "title": "S", "classes": {"fresh": spec}}))
    found: Class = Class.get(Class.name == "fresh")
    return found


def pools(machine_class: Class) -> tuple[int, int, int]:
    return machine_class.minimum, machine_class.buffer, machine_class.maximum


def test_every_column_of_a_policy_belongs_to_a_field() -> None:
    """A field may be without a column, but no column without a field."""
    others = {
        "name",
        "spec",
        "overrides",
        "enabled",
        "holds",
        "forecast",
        "scaling",
        "failures",
        "failing_until",
        "problem",
        "limit_reason",
        "short_of_memory",
        "updated_at",
    }
    forking = {"forked", "fork_failed", "fork_failures", "fork_problem"}
    assert policies.COLUMNS - others - forking <= set(policy.fields())


def test_a_newer_scenario_reaches_what_nobody_changed(opened: Settings, admin: catalog.Actor) -> None:
    adopt(policy={"buffer": 1, "maximum": 8}, lease={"minutes": 60})
    classes.change_policy(admin, "fresh", Form.POLICY, {"maximum": 12, "lease_minutes": 60})
    machine_class = adopt(policy={"buffer": 3, "maximum": 9}, lease={"minutes": 90})
    assert pools(machine_class) == (0, 3, 12)
    assert (machine_class.lease_minutes, machine_class.overrides) == (90, {"maximum": 12})


def test_a_value_that_is_the_scenarios_follows_it_again(opened: Settings, admin: catalog.Actor) -> None:
    adopt(policy={"buffer": 1})
    classes.change_policy(admin, "fresh", Form.POLICY, {"buffer": 4})
    classes.change_policy(admin, "fresh", Form.POLICY, {"buffer": 1})
    assert adopt(policy={"buffer": 2}).buffer == 2
    classes.change_policy(admin, "fresh", Form.POLICY, {"buffer": 5})
    classes.reset_policy(admin, "fresh", "buffer")
    assert adopt(policy={"buffer": 3}).buffer == 3


def test_what_an_admin_decided_stays_though_the_scenario_came_to_it(opened: Settings, admin: catalog.Actor) -> None:
    adopt(policy={"buffer": 1})
    classes.change_policy(admin, "fresh", Form.POLICY, {"buffer": 4})
    adopt(policy={"buffer": 4})
    assert adopt(policy={"buffer": 2}).buffer == 4


def test_a_newer_scenario_with_less_room_bounds_what_an_admin_wanted(opened: Settings, admin: catalog.Actor) -> None:
    adopt(policy={"maximum": 10})
    classes.change_policy(admin, "fresh", Form.POLICY, {"buffer": 8})
    machine_class = adopt(policy={"maximum": 5})
    assert (pools(machine_class), machine_class.overrides) == ((0, 5, 5), {"buffer": 8})
    machine_class = adopt(policy={"maximum": 10})
    assert pools(machine_class) == (0, 8, 10), "it is there again with the room for it"


def test_the_wizards_pools_are_an_admins(opened: Settings) -> None:
    machine_class = adopt(policy={"buffer": 1, "maximum": 10})
    with catalog.write():
        policies.change(machine_class, {"buffer": 2, "maximum": 6})
    assert pools(adopt(policy={"buffer": 5, "maximum": 20})) == (0, 2, 6)


def test_a_catalog_from_before_keeps_its_values(tmp_path: Path) -> None:
    """What equals the scenario that the class was adopted from follows the next one; all else was changed, and stays."""
    path = tmp_path / "catalog.db"
    at_version(path, 11)
    spec = ClassSpec.model_validate({**SPEC, "policy": {"buffer": 1, "maximum": 8}, "lease": {"minutes": 60}}).model_dump(mode="json")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(
        "INSERT INTO class (name, spec, minimum, maximum, buffer, lease_minutes, extend_minutes, extensions, per_person, idle_minutes, updated_at)"
        " VALUES ('fresh', ?, 0, 8, 5, 60, 240, 3, 2, 45, '2026-01-01T00:00:00.000000+00:00')",
        (json.dumps(spec),),
    )
    connection.close()
    catalog.open(path)
    try:
        assert pools(Class.get()) == (0, 5, 8)
        machine_class = adopt(policy={"buffer": 2, "maximum": 9}, lease={"minutes": 90, "idle": {"minutes": 30}})
        assert (pools(machine_class), machine_class.lease_minutes, machine_class.idle_minutes) == ((0, 5, 9), 90, 45)
        assert machine_class.overrides == {"buffer": 5, "idle_minutes": 45}
    finally:
        catalog.close()


def test_a_catalog_from_before_burst_and_batch_window_keeps_what_was_said_of_both(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    at_version(path, 13)
    spec = ClassSpec.model_validate({**SPEC, "per_person": 9, "policy": {"maximum": 9}, "burst": 2}).model_dump(mode="json")
    former = dict(spec)
    former["at_once"], former["together"] = former.pop("burst"), former.pop("batch_window")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(
        "INSERT INTO class (name, spec, overrides, minimum, maximum, buffer, lease_minutes, extend_minutes, extensions, per_person, at_once,"
        " together_minutes, updated_at)"
        " VALUES ('fresh', ?, ?, 0, 9, 1, 480, 240, 3, 9, 5, 30, '2026-01-01T00:00:00.000000+00:00')",
        (json.dumps(former), json.dumps({"at_once": 5, "together_minutes": 30})),
    )
    connection.close()
    catalog.open(path)
    try:
        machine_class = Class.get()
        assert (machine_class.burst, machine_class.batch_window) == (5, 30)
        assert machine_class.overrides == {"burst": 5, "batch_window": 30}
        assert machine_class.spec == spec
    finally:
        catalog.close()


def test_nothing_else_writes_the_columns_of_a_policy() -> None:
    """But for the sequences that came with the appliance, which the classes follow that have none."""
    written = {
        (file.relative_to(REPOSITORY).as_posix(), keyword.arg)
        for file in (REPOSITORY / "appliance").rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("Class.update", "Class.insert", "Class.create")
        for keyword in call.keywords
        if keyword.arg in policy.fields()
    }
    assert written == {("appliance/workflow/load.py", "sequence")}


def test_the_documentation_is_what_the_model_makes() -> None:
    for file, made in ((document.FILE, document.document()), (document.APPLICATIONS, document.of_applications())):
        text = file.read_text()
        assert document.updated(text, made) == text, "make it anew: python -m appliance.scenario.document"


# -- a field is added in one place ------------------------------------------------------------------


class Greeting(ClassPolicy):
    """The policy with one field more."""

    greeting: Annotated[int, Editable("greeting_minutes", Form.LIFE, "Manners", "Greeted for", "minutes")] = Field(
        default=7, ge=1, le=9, description="Minutes that a machine greets its owner."
    )


class GreetingSpec(ClassSpec, Greeting):
    """A class of such a scenario."""


class GreetingScenario(Part):
    """Such a scenario."""

    classes: dict[Name, GreetingSpec]


@pytest.fixture
def greeting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "ClassPolicy", Greeting)


def test_a_new_field_is_in_the_documentation(greeting: None) -> None:
    assert "| `greeting` | `7` | 1 to 9 minutes | Minutes that a machine greets its owner. |" in document.document()


def test_a_new_field_of_a_scenario_is_checked() -> None:
    body = json.dumps({"classes": {"one": {**SPEC, "greeting": 12}}}).encode()
    source = Source(Path("scenario.yml"), GreetingScenario, body)
    assert source.validate() is None
    assert "greeting is 12, which is too large" in source.errors[0].message


def test_a_new_field_can_be_changed_without_a_column(greeting: None, opened: Settings, admin: catalog.Actor) -> None:
    machine_class = adopt()
    assert policies.values(machine_class)["greeting_minutes"] == 7
    with pytest.raises(BadInput, match=r"Greeting minutes cannot be 12\. It is between 1 and 9"):
        classes.change_policy(admin, "fresh", Form.LIFE, {"greeting_minutes": 12})
    classes.change_policy(admin, "fresh", Form.LIFE, {"greeting_minutes": 9})
    assert policies.values(adopt())["greeting_minutes"] == 9
    classes.reset_policy(admin, "fresh", "greeting_minutes")
    assert policies.values(adopt())["greeting_minutes"] == 7
