"""What needs somebody: each kind is told while it is so and not once it is mended, and nobody is told of what is beyond their reach."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from appliance import catalog, durable
from appliance.catalog import (
    Account,
    Aside,
    AsideKind,
    Class,
    DataDisk,
    DeliveryState,
    DirectoryRun,
    DiskState,
    Event,
    EventKind,
    Grant,
    Handover,
    Machine,
    MachineState,
    OrgUnit,
    RunState,
    ScenarioState,
    Seed,
    SeedState,
    Snapshot,
    SnapshotState,
    Webhook,
    WebhookDelivery,
    now,
    options,
    record,
    scenarios,
)
from appliance.catalog import seeds as seed_rows
from appliance.host.disks import ballast
from appliance.host.interface.conditions import Backups, Certificate, Conditions, Updates
from appliance.host.system import conditions
from appliance.identity import permissions
from appliance.services import directory as directory_verbs
from appliance.services import needs
from appliance.services.needs import Need, Severity
from appliance.settings import Settings
from tests import world
from tests.plans import scans, statements
from tests.unit.conftest import account

Act = Callable[[Settings], Any]
UNWELL = "It does not go on."


def told(who: catalog.Actor, settings: Settings, todos: int = 0) -> dict[str, Need]:
    """What needs somebody, by kind."""
    return {need.kind: need for need in needs.of(permissions.of(who), settings, todos)}


def host(**parts: Any) -> Act:
    """dpe-host wrote this down."""
    return lambda settings: durable.write(conditions.file(settings), Conditions(**parts).model_dump_json())


def option(name: str, value: Any) -> Act:
    return lambda _: options.put(name, value)


def both(first: Act, second: Act) -> Act:
    return lambda settings: (first(settings), second(settings))


def machine(state: MachineState) -> Act:
    return lambda _: Machine.update(state=state, problem=UNWELL).execute()


def seed(version: int, state: SeedState) -> Act:
    def put(_: Settings) -> None:
        Seed.delete().where(Seed.version >= version).execute()
        Seed.create(machine_class="small", version=version, state=state, problem=UNWELL)

    return put


def snapshot(state: SnapshotState) -> Act:
    def put(_: Settings) -> None:
        Snapshot.delete().execute()
        Snapshot.create(seed=Seed.get().id, state=state, problem=UNWELL)
        Class.update(fork=True).execute()

    return put


def handover(_: Settings) -> None:
    Handover.create(
        machine_class="small", account=Account.get().id, failures=1, in_a_row=1, problem=UNWELL, hint="", failed_at=now(), held_until=now()
    )


def data_disk(_: Settings) -> None:
    DataDisk.create(id="d", account=Account.get().id, machine_class="small", name="Stars", size=1, state=DiskState.TROUBLED, problem=UNWELL)


def dead_letter(_: Settings) -> None:
    record(EventKind.MACHINE_FAILED, "It failed.")
    one = Webhook.create(name="Chat", url="https://example.org", secret="x", position=0)
    WebhookDelivery.create(webhook=one.id, event=Event.get().id, state=DeliveryState.DEAD)


def directory(state: RunState) -> Act:
    def put(_: Settings) -> None:
        options.put("directory", {"on": True})
        DirectoryRun.create(state=state, problem=UNWELL, ended_at=now())

    return put


def now_in(days: float) -> str:
    return in_days(days).isoformat()


def in_days(count: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=count, hours=1)


class Case(NamedTuple):
    """What makes it so, what mends it, and how much it matters; `says` stands in it."""

    so: Act
    mended: Act
    severity: Severity
    says: str = UNWELL


ERROR, WARNING, STEP = Severity
NOTHING: Act = lambda _: None  # noqa: E731
WELL = Backups(set_up=True, noted=True)
S = MachineState

CASES: dict[str, list[Case]] = {
    "engine": [Case(NOTHING, lambda _: world.engine(), ERROR, "The engine is not running.")],
    "orphan": [
        Case(lambda _: Aside.create(kind=AsideKind.MACHINE, id="x"), lambda _: Aside.delete().execute(), WARNING, "set aside"),
        Case(option("undecided", {"why": "older", "choice": ""}), option("undecided", {}), ERROR, "until you decide how to go on"),
    ],
    "class": [
        Case(lambda _: Class.update(problem=UNWELL, failures=3).execute(), lambda _: Class.update(problem="").execute(), ERROR),
    ],
    "handover": [Case(handover, lambda _: Handover.update(in_a_row=0).execute(), ERROR)],
    "seed": [
        Case(seed(2, SeedState.FAILED), seed(3, SeedState.READY), WARNING),
        Case(seed(2, SeedState.FAILED), seed(3, SeedState.BUILDING), WARNING, "New machines are made from the one before."),
    ],
    "quarantine": [Case(machine(S.QUARANTINED), machine(S.IN_USE), ERROR)],
    "machine": [Case(machine(S.FAILED), machine(S.RECLAIMING), WARNING)],
    "todo": [],  # below: it is counted by others
    "room": [
        Case(lambda s: ballast.mark(s).touch(), lambda s: ballast.mark(s).unlink(), ERROR, "The disk is full"),
        Case(option("trends", {"disk": 9}), option("trends", {}), WARNING, "full in about 9 days"),
        Case(
            lambda s: durable.write(s.host / "health.json", '{"X": {"healthy": false, "health": "It fails.", "name": "SSD"}}'),
            lambda s: durable.write(s.host / "health.json", '{"X": {"healthy": true, "health": "", "name": "SSD"}}'),
            ERROR,
            "SSD: It fails.",
        ),
    ],
    "backup": [
        Case(host(backups=Backups()), host(backups=WELL), STEP, "Nothing of this appliance is backed up."),
        Case(host(backups=Backups(set_up=True)), host(backups=WELL), WARNING, "recovery key"),
        Case(host(backups=Backups(set_up=True, noted=True, same_disk=True)), host(backups=WELL), WARNING, "own disk"),
        Case(host(backups=Backups(set_up=True, noted=True, problem=UNWELL)), host(backups=WELL), ERROR),
        Case(host(backups=Backups(set_up=True, noted=True, restore_problem=UNWELL)), host(backups=WELL), ERROR),
    ],
    "certificate": [
        Case(host(certificate=Certificate(ends=in_days(20))), host(certificate=Certificate(ends=in_days(90))), WARNING, "in 20 days"),
        Case(host(certificate=Certificate(ends=in_days(1))), host(certificate=Certificate()), ERROR, "in 1 day."),
        Case(host(certificate=Certificate(ends=in_days(-2))), host(certificate=Certificate()), ERROR, "has ended"),
        Case(host(certificate=Certificate(problem=UNWELL)), host(certificate=Certificate()), WARNING),
        Case(
            both(
                option("machine_names", "dpe.example.org"), host(certificate=Certificate(names=["*.example.org", "portal.dpe.example.org"]))
            ),
            host(certificate=Certificate(names=["portal.example.org", "*.dpe.example.org"])),
            ERROR,
            "is not for *.dpe.example.org",
        ),
        Case(
            both(option("machine_names", "dpe.example.org"), host(certificate=Certificate(names=["dpe.lan"]))),
            option("machine_names", ""),
            ERROR,
            "is not for *.dpe.example.org",
        ),
    ],
    "disk": [Case(data_disk, lambda _: DataDisk.update(state=DiskState.READY).execute(), WARNING)],
    "snapshot": [Case(snapshot(SnapshotState.FAILED), snapshot(SnapshotState.READY), WARNING)],
    "directory": [Case(directory(RunState.FAILED), directory(RunState.DONE), WARNING)],
    "webhook": [
        Case(dead_letter, lambda _: WebhookDelivery.update(state=DeliveryState.PENDING).execute(), WARNING, "did not take all events")
    ],
    "memory": [Case(option("trends", {"memory": 1}), option("trends", {}), WARNING, "in about 1 day")],
    "update": [
        Case(host(updates=Updates(staged="1.3")), host(updates=Updates()), WARNING, "Version 1.3 can be installed."),
        Case(
            host(updates=Updates(written="1.3")),
            option("restart", {"at": now_in(1), "why": "an update"}),
            WARNING,
            "starts at the next restart",
        ),
        Case(host(updates=Updates(failed=UNWELL)), host(updates=Updates()), WARNING),
    ],
    "offer": [Case(option("offered_seeds", {"small": {}}), option("offered_seeds", {}), WARNING, "there is a newer seed")],
    "scenario": [
        Case(
            lambda _: scenarios.put({}, ScenarioState.OFFERED, {}),
            lambda _: scenarios.drop(ScenarioState.OFFERED),
            WARNING,
            "A newer scenario came",
        )
    ],
    "first-class": [
        Case(lambda _: Seed.update(promoted=False).execute(), lambda _: Seed.update(promoted=True).execute(), STEP, "No class has a seed.")
    ],
    "second-admin": [Case(NOTHING, lambda _: account("bob", is_admin=True), STEP, "owner")],
    "people": [Case(NOTHING, lambda _: account("bob"), STEP, "Nobody but you can sign in.")],
    "connect-directory": [
        Case(NOTHING, lambda _: directory_verbs.say_none(catalog.ENGINE), STEP, "No directory is connected."),
        Case(NOTHING, option("directory", {"on": False, "config": {"base": "x"}}), STEP, "or say that there is none"),
    ],
    "mail": [Case(NOTHING, option("mail", {"on": True}), STEP, "E-mail is not sent.")],
}


@pytest.fixture
def one(admin, small, ready, opened):
    """An appliance with an admin, a class with a seed, and a machine."""
    ready(1)
    return opened


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind, cases in CASES.items() for case in cases])
def test_it_is_told_while_it_is_so_and_goes_when_it_is_mended(one, admin, kind, case):
    with catalog.write():
        case.so(one)
    need = told(admin, one)[kind]
    assert need.severity is case.severity
    assert case.says in f"{need.what} {need.why}"
    assert need.what.endswith("."), "a sentence, as all of them"
    assert not need.what.endswith("..")
    assert need.button
    with catalog.write():
        case.mended(one)
    assert kind not in told(admin, one)


def test_every_kind_has_a_case():
    assert CASES.keys() == needs.PERMISSIONS.keys()
    assert len(needs.KINDS) == len(needs.PERMISSIONS)


def test_what_waits_for_an_answer_is_told_whoever_is_asked(one, alice):
    assert told(alice, one, 2)["todo"].what == "2 approvals and tasks wait for you."
    assert told(alice, one) == {}


def test_the_worst_comes_first(one, admin):
    with catalog.write():
        seed(2, SeedState.FAILED)(one)
        machine(S.QUARANTINED)(one)
    found = [need.severity for need in needs.of(permissions.of(admin), one)]
    assert found == sorted(found, key=list(Severity).index)
    assert set(found) == set(Severity)


def test_a_class_without_a_seed_is_worse_off(one, admin):
    with catalog.write():
        Seed.update(promoted=False).execute()
        seed(2, SeedState.FAILED)(one)
    assert (told(admin, one)["seed"].severity, told(admin, one)["seed"].values) == (ERROR, {"id": str(Seed.get(Seed.version == 2).id)})


@pytest.fixture
def house(small, opened, admin):
    """Somebody in an org unit, and somebody outside; each holds a machine of a class that is quarantined, and the seed of each class failed."""
    people = {name: account(name) for name in ("inside", "outside", "delegate", "manager", "user")}
    with catalog.write():
        unit = OrgUnit.create(parent=1, name="Science")
        Account.update(org_unit=unit.id).where(Account.name == "inside").execute()
        other = {**small.spec, "title": "Other"}
        Class.create(name="other", **{**{f: getattr(small, f) for f in ("minimum", "maximum", "buffer", "lease_minutes", "extend_minutes", "extensions", "per_person")}, "spec": other})  # fmt: skip
        for number, (name, class_name) in enumerate((("inside", "small"), ("outside", "other"))):
            made = Seed.create(machine_class=class_name, version=7, state=SeedState.FAILED, problem=UNWELL)
            Machine.create(
                number=number + 1, id=str(uuid.uuid4()), name=f"{class_name}-1", machine_class=class_name, seed=made.id, slot=number,
                door=number, state=S.QUARANTINED, vcpus=1, memory=1, disk=1, owner=people[name].account_id,
            )  # fmt: skip
        Grant.create(role="operator", account=people["delegate"].account_id, over_unit=unit.id)
        Grant.create(role="class_manager", account=people["manager"].account_id, over_class="other")
    return people


def test_nobody_is_told_of_what_is_beyond_their_reach(house, admin, opened):
    assert told(admin, opened)["quarantine"].what == "2 machines are quarantined."
    assert {name: told(house[name], opened).keys() for name in ("delegate", "manager", "user")} == {
        "delegate": {"quarantine"}, "manager": {"quarantine", "seed"}, "user": set(),
    }  # fmt: skip
    assert told(house["delegate"], opened)["quarantine"].what == "small-1 is quarantined."
    assert told(house["manager"], opened)["quarantine"].what == "other-1 is quarantined."
    assert told(house["manager"], opened)["seed"].what == "Other: the seed could not be built."
    assert [needs.concern(permissions.of(house[name])) for name in ("delegate", "manager", "user")] == [True, True, False]


def test_what_it_costs_does_not_grow(house, admin, opened, monkeypatch):
    for who, most in ((admin, 3), (house["manager"], 1), (house["user"], 0)):
        held = permissions.of(who)
        with statements(monkeypatch) as seen:
            needs.of(held, opened)
        assert (len(seen) <= most, scans(seen)) == (True, []), [sql for sql, _ in seen]


def test_nothing_is_told_of_what_dpe_host_never_wrote(one, admin):
    assert {"backup", "certificate", "update"} & told(admin, one).keys() == set()
    conditions.file(one).write_text("{")
    assert {"backup", "certificate", "update"} & told(admin, one).keys() == set()


def test_of_a_class_the_newest_version_counts(one, admin):
    with catalog.write():
        seed(2, SeedState.FAILED)(one)
        seed(3, SeedState.FAILED)(one)
        seed(4, SeedState.CANCELLED)(one)
    found = [need for need in needs.of(permissions.of(admin), one) if need.kind == "seed"]
    assert [need.values for need in found] == [{"id": str(Seed.get(Seed.version == 3).id)}]
    with catalog.write():
        seed_rows.promote(Seed.create(machine_class="small", version=5, state=SeedState.READY))
    assert "seed" not in told(admin, one)
