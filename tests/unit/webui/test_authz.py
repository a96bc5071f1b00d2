"""The authorisation matrix: every address, for every role, in and out of its scope. Made from the route map: nothing is listed here."""

import uuid
from collections.abc import Iterator

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import (
    ROOT,
    Account,
    DataDisk,
    Grant,
    Group,
    KeptDisk,
    Machine,
    MachineState,
    Quota,
    Request,
    RequestState,
    Run,
    RunState,
    Seed,
    SeedState,
)
from appliance.catalog import machines as machine_rows
from appliance.catalog import seeds as seed_rows
from appliance.identity import roles
from appliance.services import machines, org_units
from appliance.settings import Settings
from tests import world
from tests.unit.webui.conftest import Browser
from webui.api.rate_limit import RateLimit
from webui.guard import PUBLIC, Need

pytestmark = pytest.mark.authz

# A role over each kind of scope; the things that are in it, and those that are not.
SCOPES = ("appliance", "unit", "class")
CASES = [(role, scope) for role in roles.ROLES for scope in SCOPES] + [("nobody", "appliance")]


class House:
    """Two of everything: one inside of the org unit `in` and of class `inside`, one outside of both."""

    def __init__(self) -> None:
        world.set_up()
        world.engine()
        self.owner = world.account("root", is_admin=True)
        Grant.delete().where(Grant.role == "user").execute()  # who is given nothing has nothing
        self.units = {side: org_units.create_unit(self.owner, ROOT, side).id for side in ("in", "out")}
        self.things: dict[str, dict[str, object]] = {side: {"unit": id} for side, id in self.units.items()}
        for side in ("in", "out"):
            self._fill(side)

    def _fill(self, side: str) -> None:
        person = world.account(f"{side}sider")
        with catalog.write():
            Account.update(org_unit=self.units[side]).where(Account.id == person.account_id).execute()
            name = f"{side}side"
            machine_class = world.machine_class(name, world.NOTEBOOK)
            seed_rows.promote(seed := Seed.create(machine_class=name, version=1, state=SeedState.READY))
            machine = machine_rows.create(machine_class, seed, str(uuid.uuid4()), 7 if side == "in" else 8)
            Machine.update(state=MachineState.IN_USE, owner=person.account_id).where(Machine.id == machine.id).execute()
            group = Group.create(name=side, org_unit=self.units[side])
            grant = Grant.create(role="user", account=person.account_id, over_class=name)
            quota = Quota.create(account=person.account_id, each=True, machines=5)
            disk = DataDisk.create(id=str(uuid.uuid4()), account=person.account_id, machine_class=name, name="data", size=1)
            kept = KeptDisk.create(
                id=machine.id,
                machine_name=machine.name,
                account=person.account_id,
                machine_class=name,
                seed=seed,
                size=8,
                bytes=1,
                until=catalog.now(),
            )
            asked = Request.create(account=person.account_id, machine_class=name, state=RequestState.WAITING, hit=False)
            run = Run.create(kind="assign", state=RunState.WAITING, request=asked, machine_class=name, account=person.account_id)
        self.things[side] |= {
            "account": person.account_id, "class": name, "seed": seed.id, "machine": machine.id,
            "group": group.id, "grant": grant.id, "quota": quota.id, "request": asked.id, "disk": disk.id, "kept": kept.id,
            "run": run.id,
        }  # fmt: skip

    def subject(self, role: str, scope: str) -> str:
        """Somebody outside of both units, with this role and nothing else."""
        person = world.account("subject")
        over = {"over_unit": self.units["in"]} if scope == "unit" else {"over_class": "inside"} if scope == "class" else {}
        if role != "nobody":
            Grant.create(role=role, account=person.account_id, **over)
        return person.name


# The kinds of thing that a role over a scope reaches, told here once more and in another way than the product does.
REACHED = {
    "appliance": {"machine", "class", "seed", "account", "unit", "group", "request", "run", "disk", "kept", "grant", "quota"},
    "unit": {"machine", "account", "unit", "group", "request", "run", "disk", "kept", "grant", "quota"},
    "class": {"machine", "class", "seed", "request", "run", "disk", "kept", "grant"},
}


def expected(need: Need, role: str, scope: str, side: str) -> str:
    """What somebody with this role over this scope must meet: `in`, `forbidden` (403) or `missing` (404)."""
    if need.permission == PUBLIC:
        return "in"
    if need.permission == "own":
        return "missing" if need.kind else "in"  # nothing here is the subject's own
    kinds = roles.PERMISSIONS[need.permission][1]
    holds = role in roles.ROLES and need.permission in roles.ROLES[role].permissions and (scope == "appliance" or scope in kinds)
    if not holds:
        return "missing" if need.own else "forbidden"
    if not need.kind or scope == "appliance":
        return "in"
    return "in" if need.kind in REACHED[scope] and side == "in" else "missing"


def routes(app: Flask, things: dict[str, object]) -> Iterator[tuple[str, str, Need]]:
    """Every address and method, with this side's things in it, and what it needs."""
    with app.test_request_context():
        adapter = app.create_url_adapter(None) or app.url_map.bind("appliance.test")
        for rule in app.url_map.iter_rules():
            if rule.endpoint == "static":
                continue
            need = app.view_functions[rule.endpoint].need  # type: ignore[attr-defined]
            for method in sorted({"GET", "POST", "PUT", "DELETE"} & (rule.methods or set())):
                values = {name: things[need.kind] if name == need.argument else 1 for name in rule.arguments}
                yield method, adapter.build(rule.endpoint, values, method=method), need


@pytest.mark.parametrize(("role", "scope"), CASES, ids=lambda value: value)
def test_every_address_for_every_role_in_and_out_of_scope(
    app: Flask, opened: Settings, role: str, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the guard decides is asked of the real application; the views behind it are replaced, so that one does not spoil the next."""
    house = House()
    name = house.subject(role, scope)
    app.extensions["api_rate_limit"] = RateLimit(burst=1_000_000)
    addresses = [(side, *found) for side in ("in", "out") for found in routes(app, house.things[side])]
    browser = Browser(app.test_client())
    assert browser.sign_in(name).status_code == 303
    for endpoint in app.view_functions:
        reached = lambda **_: "reached"  # noqa: E731
        reached.need = app.view_functions[endpoint].need  # type: ignore[attr-defined]
        reached.scope = "read"  # type: ignore[attr-defined]
        monkeypatch.setitem(app.view_functions, endpoint, reached)
    assert len(addresses) > 120
    wrong = []
    for side, method, path, need in addresses:
        answer = {"GET": browser.get, "POST": browser.post, "PUT": browser.put, "DELETE": browser.delete}[method](path)
        met = {200: "in", 403: "forbidden", 404: "missing"}.get(answer.status_code, str(answer.status_code))
        if (want := expected(need, role, scope, side)) != met or (met == "in") != (answer.text == "reached"):
            wrong.append(f"{method} {path} ({side}, {need.permission}): {met}, not {want}")
    assert wrong == []


def test_no_form_is_sent_to_an_address_that_only_asks_for_leave_to_look(app: Flask) -> None:
    """Whatever is read and written at the same address needs more than a permission to read."""
    for rule in app.url_map.iter_rules():
        need = getattr(app.view_functions[rule.endpoint], "need", None)
        if need is not None and "GET" in (rule.methods or set()) and {"POST", "PUT"} & (rule.methods or set()):
            assert not need.permission.endswith(".read"), rule.rule


def test_who_may_only_look_changes_nothing_and_is_offered_nothing(app: Flask, opened: Settings) -> None:
    """An approver sees classes and accounts; changing a policy or somebody's keys is not theirs."""
    house = House()
    browser = Browser(app.test_client())
    browser.sign_in(house.subject("approver", "appliance"))
    inside, person = house.things["in"]["class"], house.things["in"]["account"]
    for path, form in (
        (f"/admin/classes/{inside}", {"buffer": "0", "minimum": "0", "maximum": "9", "lease_minutes": "9"}),
        (f"/admin/classes/{inside}/making", {"readiness": "cold", "memory_most": "0"}),
        (f"/admin/accounts/{person}", {"ssh_keys": "", "full_name": "Somebody else"}),
    ):
        assert browser.post(path, form).status_code == 403, path
    for section in ("", "/machine", "/policy", "/life", "/making", "/seeds"):
        page = browser.get(f"/admin/classes/{inside}{section}")
        assert page.status_code == 200
        assert not any(word in page.text for word in ("Save", "Delete", "New class")), section
    assert "Save" not in browser.get(f"/admin/accounts/{person}").text
    assert Account.get_by_id(person).full_name != "Somebody else"


@pytest.mark.parametrize(
    "path", ["/admin/machines/", "/admin/classes/", "/admin/seeds/", "/admin/accounts/", "/admin/org-units/", "/admin/groups/"]
)
def test_lists_show_what_is_in_scope_only(app: Flask, opened: Settings, path: str) -> None:
    house = House()
    subject = house.subject("delegated_admin", "unit")
    Grant.create(role="class_manager", account=Account.get(Account.name == subject).id, over_class="inside")
    browser = Browser(app.test_client())
    browser.sign_in(subject)
    page = browser.get(path).text
    assert any(word in page for word in ("inside", ">in<"))
    assert not any(word in page for word in ("outside", ">out<"))


def test_what_is_granted_by_default_is_what_everybody_had(app: Flask, opened: Settings) -> None:
    [grant] = Grant.select()
    assert (grant.role, grant.org_unit_id, grant.over_class) == ("user", ROOT, None)
    world.machine_class("notebook", world.NOTEBOOK)
    ada = world.account("ada").account_id or 0
    assert [offer.machine_class.name for offer in machines.offers(ada)] == ["notebook"]
    grant.delete_instance()
    assert machines.offers(ada) == []
