"""Whoever looks after a part sees nothing of the rest: two worlds that differ only outside of their reach look the same to them, to the byte.

Every address that is read, of pages and of the API, is asked before and after something changes elsewhere. Nothing is listed here: a new page is asked, too.
"""

import re
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import (
    ROOT,
    Account,
    Actor,
    Class,
    DataDisk,
    DiskState,
    EventKind,
    Grant,
    Group,
    KeptDisk,
    Lease,
    Machine,
    MachineState,
    Member,
    Nesting,
    OrgUnit,
    Quota,
    Request,
    RequestState,
    Run,
    RunState,
    Seed,
    SeedState,
    WorkItem,
    now,
    record,
)
from appliance.catalog import machines as machine_rows
from appliance.catalog import seeds as seed_rows
from appliance.settings import Settings
from tests import world
from tests.unit.webui.conftest import Browser
from webui import format as words
from webui.api.rate_limit import RateLimit

pytestmark = [pytest.mark.authz, pytest.mark.console_ui]

UNANSWERED = ("live.", "door.", "moved.", "setup", "static", "api.stream")  # streams, and what no page shows
ROWS = iter(range(1, 1_000_000))


def fill(side: str, unit: int, number: int) -> dict[str, object]:
    """One of everything, of somebody in the unit and of a class called like the side; ids by kind."""
    name, person = f"{side}side", world.account(f"{side}sider{number}", f"{side.title()} Sider")
    id = person.account_id
    with catalog.write():
        Account.update(org_unit=unit).where(Account.id == id).execute()
        machine_class = Class.get_or_none(Class.name == name) or world.machine_class(name, {**world.NOTEBOOK, "title": f"The {side}"})
        seed = Seed.create(machine_class=name, version=number, state=SeedState.READY)
        seed_rows.promote(seed)
        machine = _machine(machine_class, seed, MachineState.IN_USE, id)
        Lease.create(machine=machine.id, account=id, began_at=now() - timedelta(hours=1), ends_at=now() + timedelta(hours=7))
        _machine(machine_class, seed, MachineState.FAILED, None, problem=f"It went wrong {side}.")
        group = Group.create(name=f"{side}group{number}", org_unit=unit)
        Member.create(group=group, account=id)
        grant = Grant.create(role="user", account=id, over_class=name)
        Grant.create(role="user", group=group, over_unit=None, over_class=name)
        quota = Quota.create(account=id, each=True, machines=5)
        of = {"account": id, "machine_class": name}
        disk = DataDisk.create(id=_uuid(), name=f"{side}data{number}", size=1, state=DiskState.TROUBLED, problem=f"Broken {side}.", **of)
        kept = KeptDisk.create(
            id=_uuid(), machine_name=f"{name}-{number}", seed=seed, size=8, bytes=1, until=now() + timedelta(days=3), **of
        )
        asked = Request.create(state=RequestState.WAITING, hit=False, **of)
        run = Run.create(kind="assign", state=RunState.WAITING, request=asked, **of)
        Run.create(kind="stop", state=RunState.FAILED, problem=f"No {side}.", machine=machine.id, ended_at=now(), **of)
        todo = WorkItem.create(run=run, number=1, kind="approval", title=f"For {side}", role="approver", requester=id, machine_class=name)
        record(EventKind.MACHINE_ASSIGNED, f"{person.name} got {machine.name}.", person, class_name=name, machine_id=machine.id)
    return {
        "unit": unit, "account": id, "class": name, "seed": seed.id, "machine": machine.id, "group": group.id, "grant": grant.id,
        "quota": quota.id, "request": asked.id, "run": run.id, "disk": disk.id, "kept": kept.id, "todo": todo.id,
    }  # fmt: skip


def _uuid() -> str:
    return str(uuid.UUID(int=next(ROWS)))


def _machine(machine_class: Class, seed: Seed, state: MachineState, owner: int | None, **values: object) -> Machine:
    machine = machine_rows.create(machine_class, seed, _uuid(), 20 + Machine.select().count())
    Machine.update(state=state, owner=owner, **values).where(Machine.id == machine.id).execute()
    return machine


def elsewhere(inside: dict[str, object], out: int, number: int) -> None:
    """Everything outside changes, and people from there come into what is inside."""
    things = fill("out", out, number)
    with catalog.write():
        OrgUnit.create(parent=out, name=f"A corner {number}")
        Account.update(full_name=f"Somebody else {number}").where(Account.id == things["account"]).execute()
        Member.create(group=inside["group"], account=things["account"])
        Nesting.create(outer=inside["group"], inner=things["group"])
        Nesting.create(outer=things["group"], inner=Group.create(name=f"deep{number}", org_unit=out))
        Grant.create(role="operator", account=things["account"], given_by=things["account"])
        # Somebody from inside is in a group of theirs, which is called something else by then.
        theirs, _ = Group.get_or_create(directory_id="theirs", defaults={"name": "theirs", "org_unit": out})
        Group.update(name=f"theirs{number}").where(Group.id == theirs.id).execute()
        Member.insert(group=theirs.id, account=inside["account"]).on_conflict_ignore().execute()
        Member.create(group=Group.create(name=f"plain{number}", org_unit=out), account=inside["account"])
        if number == 1:
            Grant.create(role="operator", group=theirs.id, over_class="inside", given_by=things["account"])
    world.account(f"newcomer{number}")  # in nobody's unit
    with catalog.write():
        record(EventKind.SIGN_IN, "A newcomer signed in.", Actor("newcomer", None, "192.0.2.9"))


def addresses(app: Flask, things: dict[str, object]) -> Iterator[str]:
    """Every address that is read, with the things that are inside; lists as files, too, and searches."""
    with app.test_request_context():
        adapter = app.create_url_adapter(None) or app.url_map.bind("appliance.test")
        for rule in app.url_map.iter_rules():
            if "GET" not in (rule.methods or ()) or rule.endpoint.startswith(UNANSWERED):
                continue
            need = app.view_functions[rule.endpoint].need  # type: ignore[attr-defined]
            values = {
                name: things[need.kind] if name == need.argument else things.get(_KINDS.get(rule.endpoint, ""), 1)
                for name in rule.arguments
            }
            yield adapter.build(rule.endpoint, values, method="GET")
    for path in LISTS:
        yield f"{path}?as=csv"
        yield f"{path}?text=out"
    for text in ("out", "side", "group", "newcomer", "corner"):
        yield f"/search?q={text}"
        for offer in ("holder", "bound", "person", "people"):
            yield f"/search?offer={offer}&field=name&name={text}"


_KINDS = {"todo.index": "todo"}
LISTS = [
    f"/admin/{name}/"
    for name in ("machines", "accounts", "groups", "seeds", "workflow/runs", "data-disks", "retained-disks")
]  # fmt: skip


def told(text: str) -> str:
    """An answer without what no two have alike."""
    text = re.sub(r'(name="csrf_token" value=|X-CSRFToken": ?)"[^"]*"', "", text)
    return re.sub(r'since=\d+|data-now="[^"]*"|"(from|to)":"[^"]*"', "", text)


def test_what_changes_elsewhere_changes_nothing_for_who_looks_after_a_part(
    app: Flask, opened: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = now()
    monkeypatch.setattr(words, "now", lambda: moment)
    monkeypatch.setitem(app.jinja_env.globals, "now", lambda: moment)
    world.set_up()
    world.engine()
    world.account("root", is_admin=True)
    with catalog.write():
        Grant.delete().where(
            Grant.role == "user"
        ).execute()  # or everybody could have machines of every class, and sees how long they would wait
        units = {side: OrgUnit.create(parent=ROOT, name=side.title()).id for side in ("in", "out")}
    inside = fill("in", units["in"], 1)
    elsewhere(inside, units["out"], 1)
    subject = world.account("subject")
    with catalog.write():
        Account.update(org_unit=units["in"]).where(Account.id == subject.account_id).execute()
        Grant.create(role="delegated_admin", account=subject.account_id, over_unit=units["in"])
        Grant.create(role="class_manager", account=subject.account_id, over_class="inside")
    app.extensions["api_rate_limit"] = RateLimit(burst=1_000_000)
    browser = Browser(app.test_client())
    assert browser.sign_in("subject").status_code == 303
    paths = list(addresses(app, inside))
    before = {path: _answer(browser, path) for path in paths}
    elsewhere(inside, units["out"], 2)
    after = {path: _answer(browser, path) for path in paths}
    assert len([path for path, (status, _) in before.items() if status == 200]) > 60
    wrong = [difference(path, before[path], after[path]) for path in paths if before[path] != after[path]]
    assert not wrong, "\n".join(wrong)


def _answer(browser: Browser, path: str) -> tuple[int, str]:
    answer = browser.get(path)
    heads = " ".join(f"{name}: {answer.headers.get(name)}" for name in ("Link", "Location") if name in answer.headers)
    return answer.status_code, f"{told(answer.text)} {told(heads)}"


def difference(path: str, before: tuple[int, str], after: tuple[int, str]) -> str:
    at = next((number for number, (one, other) in enumerate(zip(before[1], after[1], strict=False)) if one != other), 0)
    return f"{path}: {before[0]} {before[1][max(0, at - 60) : at + 60]!r}, then {after[0]} {after[1][max(0, at - 60) : at + 60]!r}"
