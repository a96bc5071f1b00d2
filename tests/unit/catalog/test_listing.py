"""Lists, a page at a time: each sorted by each of its columns, both ways, and every row once, also while rows come and go."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import (
    ROOT,
    Account,
    Class,
    DataDisk,
    DiskState,
    Group,
    KeptDisk,
    Lease,
    Machine,
    MachineState,
    Member,
    OrgUnit,
    Reading,
    Run,
    RunState,
    Seed,
    SeedState,
    Session,
    accounts,
    data_disks,
    events,
    groups,
    machines,
    now,
    runs,
    seeds,
)
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page, Window, every, page_of
from appliance.settings import Settings
from tests import world

ALL = Scope(everything=True)
NOON = datetime.fromisoformat("2026-11-29T12:00:00+00:00")
ROWS, SIZE = 23, 5


@pytest.fixture
def filled(opened: Settings) -> None:
    """ROWS of everything, with many equal values, and many that are missing."""
    notebook, studio = world.machine_class("notebook", world.NOTEBOOK), world.machine_class("studio", world.STUDIO)
    with catalog.write():
        units = [ROOT, *(OrgUnit.create(parent=ROOT, name=name).id for name in ("science", "Workshop"))]
        made = {one.name: seeds_of(one) for one in (notebook, studio)}
        for n in range(ROWS):
            name, at, gone = ["notebook", "studio"][n // 4 % 2], NOON + timedelta(hours=n * 7 % 5), n % 3 == 0
            person = Account.create(
                name=f"P{n * 5 % ROWS:02}", full_name=["Ada", "bob", ""][n % 3], email=["x@example.org", ""][n % 2], password="!", org_unit=units[n % 3],
                disabled=n % 4 == 0, created_at=at, signed_in_at=None if gone else at,
            )  # fmt: skip
            if n % 5 == 0:
                Session.create(id=str(n), account=person, seen_at=at + timedelta(days=1), expires_at=now())
            machine = Machine.create(
                id=f"m{n}", name=f"{name}-{n + 1}", machine_class=name, seed=made[name], slot=n * 9 % ROWS, door=n, state_since=at,
                state=[MachineState.READY, MachineState.IN_USE, MachineState.STOPPED][n % 3], vcpus=1, memory=1, disk=1, owner=None if gone else person,
            )  # fmt: skip
            if not gone:
                Lease.create(machine=machine.id, account=person, ends_at=at)
                Reading.create(machine=machine.id, cpu=n % 4 / 4, memory_used=n % 6, disk_rate=0, net_rate=0)
            Run.create(
                kind=["assign", "reclaim"][n % 2], state=[RunState.DONE, RunState.FAILED][n // 2 % 2], machine=None if gone else machine.id,
                machine_class=name, account=None if gone else person, ended_at=None if n % 4 else at,
            )  # fmt: skip
            DataDisk.create(
                id=f"d{n * 9 % ROWS:02}", account=None if gone else person, name=["Thesis", "data"][n % 2], size=n % 4, machine_class=name,
                machine=None if n % 4 else machine.id, state=DiskState.READY, last_used_at=None if gone else at, backup_at=at if gone else None, created_at=at,
            )  # fmt: skip
            KeptDisk.create(
                id=f"k{n * 9 % ROWS:02}", machine_name=f"gone-{n % 6}", account=None if gone else person, machine_class=name, seed=made[name],
                size=1, bytes=n % 5, until=at,
            )  # fmt: skip
            group = Group.create(name=f"{'gG'[n % 2]}{n * 5 % ROWS}", about=["", "All"][n % 2], org_unit=units[n % 3])
            for member in range(1, 1 + n % 4):
                Member.insert(group=group, account=member).on_conflict_ignore().execute()
            catalog.record("support.bundle", f"Event {n} happened.")


def seeds_of(machine_class: Class) -> int:
    for version in range(1, 13 if machine_class.name == "notebook" else 12):
        at = NOON + timedelta(hours=version * 7 % 5)
        made = Seed.create(
            machine_class=machine_class, version=version, state=[SeedState.READY, SeedState.FAILED][version % 2], created_at=at,
            started_at=at if version % 3 else None, ended_at=at + timedelta(seconds=version % 4) if version % 3 else None,
        )  # fmt: skip
    return int(made.id)


def lower(found: Any, *names: str) -> str:
    for name in names:
        found = getattr(found, name) if found is not None else None
    return str(found or "").lower()


def at(moment: datetime | None, missing: str = "") -> str:
    return moment.isoformat(timespec="microseconds") if moment else missing


# Each list: how a page of it is found, and each of its columns once more, by Python.
Find = Callable[[Window], Page[Any]]
LISTS: dict[str, tuple[Find, Mapping[str, Any], Callable[[Any], Any], dict[str, Callable[[Any], Any]]]] = {
    "machines": (
        machines.list_machines, machines.SORTS, lambda row: row.number,
        {
            "created": lambda row: row.number, "machine": lambda row: (row.class_name, row.number), "state": lambda row: str(row.state),
            "class": lambda row: row.class_name, "owner": lambda row: lower(row.owner, "name"), "unit": lambda row: lower(row.owner, "org_unit", "name"),
            "address": lambda row: row.slot, "left": lambda row: at(row.lease and row.lease.ends_at, "9999"),
            "load": lambda row: row.reading.cpu if row.reading else -1, "memory": lambda row: row.reading.memory_used if row.reading else -1,
            "since": lambda row: at(row.state_since),
        },
    ),
    "accounts": (
        accounts.list_accounts, accounts.SORTS, lambda row: row.id,
        {
            "name": lambda row: row.account.name, "full_name": lambda row: lower(row.account.full_name), "email": lambda row: lower(row.account.email),
            "unit": lambda row: lower(row.account.org_unit.name), "state": lambda row: row.account.disabled, "machines": lambda row: row.machines,
            "seen": lambda row: at(row.seen_at), "created": lambda row: at(row.account.created_at),
        },
    ),
    "groups": (
        lambda window: groups.list_groups(window, ALL), groups.SORTS, lambda row: row.id,
        {
            "group": lambda row: lower(row.group.name), "about": lambda row: lower(row.group.about), "unit": lambda row: lower(row.group.org_unit.name),
            "members": lambda row: row.members,
        },
    ),
    "seeds": (
        lambda window: seeds.list_seeds(window, ALL), seeds.SORTS, lambda row: row.id,
        {
            "created": lambda row: row.id, "seed": lambda row: (row.class_name, row.version), "state": lambda row: str(row.state),
            "started": lambda row: at(row.started_at or row.created_at),
            "duration": lambda row: (row.ended_at - row.started_at).total_seconds() if row.ended_at else -1,
        },
    ),
    "runs": (
        runs.list_runs, runs.SORTS, lambda row: row.id,
        {
            "started": lambda row: row.id, "run": lambda row: row.kind, "state": lambda row: str(row.state), "class": lambda row: row.class_name,
            "machine": lambda row: row.machine.number if row.machine_id else 0, "account": lambda row: lower(row.account, "name"),
            "ended": lambda row: at(row.ended_at),
        },
    ),
    "data disks": (
        data_disks.list_disks, data_disks.SORTS, lambda row: row.id,
        {
            "disk": lambda row: lower(row.name), "owner": lambda row: lower(row.account, "name"), "machine": lambda row: row.machine.number if row.machine_id else 0,
            "class": lambda row: row.class_name, "size": lambda row: row.size, "used": lambda row: at(row.last_used_at),
            "backup": lambda row: at(row.backup_at), "created": lambda row: at(row.created_at),
        },
    ),
    "retained disks": (
        data_disks.list_retained, data_disks.RETAINED_SORTS, lambda row: row.id,
        {
            "until": lambda row: at(row.until), "machine": lambda row: row.machine_name, "owner": lambda row: lower(row.account, "name"),
            "class": lambda row: row.class_name, "size": lambda row: row.bytes,
        },
    ),
    "events": (events.page, events.SORTS, lambda row: row.id, {"at": lambda row: row.id}),
}  # fmt: skip


def pages(find: Find, window: Window) -> list[list[Any]]:
    found = [find(window)]
    while found[-1].following is not None:
        found.append(find(replace(window, after=found[-1].following)))
    return [page.rows for page in found]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("name", LISTS)
def test_each_list_is_sorted_by_each_column_both_ways_and_shows_each_row_once(name: str) -> None:
    find, sorts, key, values = LISTS[name]
    assert set(values) == set(sorts)
    for column, value in values.items():
        [everything] = pages(find, Window(column, size=1000))
        assert len(everything) >= ROWS
        expected = sorted(everything, key=lambda row: (value(row), key(row)))
        for descending, wanted in ((False, expected), (True, expected[::-1])):
            found = pages(find, Window(column, descending, size=SIZE))
            assert [key(row) for page in found for row in page] == [key(row) for row in wanted], (column, descending)
            assert {len(page) for page in found[:-1]} == {SIZE}


@pytest.mark.parametrize(("count", "expected"), [(0, [0]), (4, [4]), (5, [5]), (6, [5, 1]), (10, [5, 5])])
def test_a_list_knows_its_end(opened: Settings, count: int, expected: list[int]) -> None:
    """A last page that is full leads to no empty one."""
    with catalog.write():
        for number in range(count):
            Account.create(name=f"p{number}", password="!")
    assert [len(page) for page in pages(accounts.list_accounts, Window("name", size=SIZE))] == expected
    assert accounts.list_accounts(Window("name", size=SIZE)).total == count


def test_each_row_comes_once_also_when_others_come_and_go_meanwhile(opened: Settings) -> None:
    with catalog.write():
        for number in range(30):
            Account.create(name=f"p{number:02}", full_name=f"Person {number % 4}", password="!")
    window, seen = Window("full_name", size=SIZE), []
    while True:
        page = accounts.list_accounts(window)
        seen += [row.account.name for row in page.rows]
        if page.following is None:
            break
        with catalog.write():
            Account.delete().where(Account.name == seen[-1]).execute()  # the very one that the next page begins after
            Account.create(name=f"new{len(seen)}", full_name="Person 0", password="!")
        window = replace(window, after=page.following)
    assert len(seen) == len(set(seen))
    assert {name for name in seen if name.startswith("p")} == {f"p{number:02}" for number in range(30)}


@pytest.mark.usefixtures("filled")
def test_a_list_can_be_read_to_its_end_or_from_a_place_on() -> None:
    names = sorted(row.name for row in Account.select())
    assert [row.account.name for row in every(accounts.list_accounts, Window("name"), size=4)] == names
    assert [row.account.name for row in accounts.list_accounts(Window("name", skip=20)).rows] == names[20:]
    with pytest.raises(KeyError):
        accounts.list_accounts(Window("password"))


@pytest.mark.usefixtures("filled")
def test_nothing_beyond_somebodys_reach_is_listed_or_counted() -> None:
    science = OrgUnit.get(OrgUnit.name == "science").id
    unit, studio, nothing = Scope(units=frozenset({science})), Scope(classes=frozenset({"studio"})), Scope()
    for find in (machines.list_machines, data_disks.list_disks, data_disks.list_retained, runs.list_runs):
        window = Window({runs.list_runs: "started", machines.list_machines: "created"}.get(find, "owner"), size=100)
        assert find(window, nothing).rows == []
        assert {row.class_name for row in find(window, studio).rows} == {"studio"}
        owners = [row.owner if find is machines.list_machines else row.account for row in find(window, unit).rows]
        assert owners
        assert {owner.org_unit_id for owner in owners} == {science}
    assert accounts.list_accounts(Window("name"), unit).total == Account.select().where(Account.org_unit == science).count()
    assert accounts.list_accounts(Window("name"), studio).total == 0
    assert groups.list_groups(Window("group"), unit).total == Group.select().where(Group.org_unit == science).count()
    assert {row.class_name for row in seeds.list_seeds(Window("seed"), studio).rows} == {"studio"}
    assert machines.state_counts(nothing) == {}
    theirs = machines.list_machines(Window("created", size=100), unit).rows
    assert sum(machines.state_counts(unit).values()) == len(theirs)
    assert sum(machines.state_counts(ALL).values()) == ROWS


def test_what_is_searched_for_is_found_in_any_case(opened: Settings) -> None:
    with catalog.write():
        Account.create(name="mesut", full_name="Mesut Özil", password="!")
        Account.create(name="ada", password="!")
    for text in ("özil", "ÖZIL", "mesut", "MESUT ö"):
        assert [row.account.name for row in accounts.list_accounts(text=text).rows] == ["mesut"], text
    assert accounts.list_accounts(text="%").rows == []


def test_rows_that_are_at_hand_are_paged_as_those_of_a_table() -> None:
    found = [(n, n % 3) for n in (4, 1, 3, 0, 2)]
    sorts: dict[str, Callable[[tuple[int, int]], int]] = {"id": lambda row: row[0], "rest": lambda row: row[1]}
    for sort, down in (("id", False), ("rest", False), ("rest", True)):
        expected = sorted(found, key=lambda row: (sorts[sort](row), row[0]), reverse=down)

        def find(window: Window) -> Page[tuple[int, int]]:
            return page_of(found, lambda row: row[0], sorts, window)

        for size in (1, 2, 5, 6):
            assert list(every(find, Window(sort, down), size=size)) == expected
    assert page_of(found, lambda row: row[0], sorts, Window("id", size=2)) == Page([(0, 0), (1, 1)], (1, 1), 5)
    assert page_of(found, lambda row: row[0], sorts, Window("id", after=("x", "y"), size=9)).rows == sorted(found)
