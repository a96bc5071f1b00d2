"""What is found by a text: what a look at every name finds, within reach, at a cost that does not grow with what there is."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import ROOT, Account, Class, Group, Machine, MachineState, OrgUnit, Seed, database, now, search
from appliance.catalog.grants import Scope
from appliance.settings import Settings
from tests import world
from tests.plans import scans, statements
from tests.unit.catalog.test_database import at_version

WORDS = (
    "Ada", "ada", "Lovelace", "van der Berg", "Öztürk", "öz", "Ångström", "Straße", "STRASSE", "Иван Петров", "иван", "Σοφός", "O'Brien", '"Bob"',
    "100%", "a_b", "x*", "NEAR", "AND", "-1", "name:x", "(y)", "back\\slash", "日本", "e\u0301t\u00e9", "A" * 45, "lab-12", "labor", "glove",
)  # fmt: skip
TEXTS = (
    "a", "z", "ö", "Ö", "ü", "ст", "ИВАН", "σ", "Σ", "ß", "ẞ", "'", '"', "%", "_", "*", "-", ":", "(", "\\", "NEAR", "NEAR(a b)", 'a" OR "b', "a*", "-ada",
    "name:x", "AND", "ada l", "ada lovelace", "l ada", "lace a", "12 lab", "love", "velace", "berg van", "öztürk ada", "STRASSE", "straße", "strasse", "tras", "日", "é", "été",
    "a" * 30, "a" * 46, "example", "example o", "lab-1", "v1", "notebook v", "seed", "Everybody", "no such thing", "ada ada ada ada", "\x00",
)  # fmt: skip


def filled(seed: int, people: int = 24) -> list[int]:
    """Units, people, groups and machines with such names; returns the units."""
    chance = random.Random(seed)
    notebook, studio = world.machine_class("notebook", world.NOTEBOOK), world.machine_class("studio", world.STUDIO)
    with catalog.write():
        units = [ROOT] + [OrgUnit.create(parent=ROOT, name=f"{chance.choice(WORDS)} {n}").id for n in range(4)]
        accounts = [
            Account.create(
                name=f"{chance.choice(WORDS)}{n}", full_name=" ".join(chance.choices(WORDS, k=chance.randrange(3))),
                email=chance.choice(["", f"p{n}@example.org"]), password="!", org_unit=chance.choice(units), created_at=now(),
            )
            for n in range(people)
        ]  # fmt: skip
        for n in range(8):
            Group.create(name=f"{chance.choice(WORDS)} {n}", about=" ".join(chance.choices(WORDS, k=2)), org_unit=chance.choice(units))
    for one in (notebook, studio):
        machines(one, world.seed(one.name, 1), [chance.choice([None, *accounts]) for _ in range(people // 2)])
    return units


def machines(of: Class, seed: Seed, owners: list[Account | None]) -> None:
    """Machines of a class, each with an owner or none; every seventh is gone."""
    rows = [
        {
            "id": f"m{number}", "name": f"{of.name}-{number}", "machine_class": of.name, "seed": seed.id, "slot": number, "door": number,
            "state": MachineState.READY if number % 7 else MachineState.RETIRED, "state_since": now(), "vcpus": 1, "memory": 1, "disk": 1,
            "owner": owner and owner.id, "created_at": now(),
        }
        for number, owner in enumerate(owners, 1 + Machine.select().count())
    ]  # fmt: skip
    with catalog.write():
        Machine.insert_many(rows).execute()


Thing = tuple[Any, str, str, int | None, str | None]  # its id, name, other words, org unit and class


def things() -> dict[str, list[Thing]]:
    """All that may be found, by its kind."""
    unit_of = {one.id: one.org_unit_id for one in Account.select()}
    alive = Machine.select().where(Machine.state != MachineState.RETIRED)
    return {
        "machine": [(one.id, one.name, "", unit_of.get(one.owner_id), one.class_name) for one in alive],
        "account": [(one.id, one.name, f"{one.full_name}\n{one.email}", one.org_unit_id, None) for one in Account.select()],
        "group": [(one.id, one.name, one.about, one.org_unit_id, None) for one in Group.select()],
        "unit": [(one.id, one.name, "", one.id, None) for one in OrgUnit.select()],
        "class": [(one.name, one.name, one.spec["title"], None, one.name) for one in Class.select()],
        "seed": [(one.id, f"{one.class_name} v{one.version}", "", None, one.class_name) for one in Seed.select()],
    }


def same_as_a_look(units: list[int]) -> None:
    """Whatever is asked for, within whatever reach: what a look at every name finds, and of that the best."""
    reaches = [
        Scope(everything=True), Scope(units=frozenset(units[1:3])), Scope(units=frozenset(units[2:4]), classes=frozenset(["studio"])), Scope(),
    ]  # fmt: skip
    for kind, all_of_it in things().items():
        for text in TEXTS[:: 1 if kind == "account" else 3]:
            fitting = [(one, rank) for one in all_of_it if (rank := search.rank(text, one[1], one[2])) is not None]
            for reach in reaches:
                wanted = {one[0]: rank for one, rank in fitting if reach.everything or one[3] in reach.units or one[4] in reach.classes}
                found = [match.id for match in search.find(kind, text, reach, 1000)]
                assert sorted(map(str, found)) == sorted(map(str, wanted)), (kind, text, reach)
                assert sorted(wanted[id] for id in found[:3]) == sorted(wanted.values())[:3], (kind, text, reach)


@pytest.mark.hostile
def test_what_is_found_is_what_a_look_at_every_name_finds(opened: Settings) -> None:
    same_as_a_look(filled(1))


def test_and_so_where_many_are_within_reach(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few, each is looked at; of many, those that the text finds are asked whether they are within."""
    monkeypatch.setattr(search, "FEW", 0)
    same_as_a_look(filled(2))


def test_no_more_is_found_than_was_asked_for(opened: Settings) -> None:
    filled(3)
    assert len(search.find("machine", "n", Scope(everything=True), 4)) == 4


def test_what_changes_its_name_is_found_by_the_new_one_alone(opened: Settings) -> None:
    """After whatever happened, the table of suffixes has what names have, in the very transaction."""
    units = filled(4)
    chance = random.Random(4)
    for _ in range(40):
        with catalog.write():
            one = chance.choice(list(Account.select()))
            match chance.randrange(6):
                case 0:
                    one.delete_instance()
                case 1:
                    Account.update(name=f"{chance.choice(WORDS)}{one.id}x").where(Account.id == one.id).execute()
                case 2:
                    Account.update(full_name=chance.choice(WORDS), email=chance.choice(WORDS), signed_in_at=now()).execute()
                case 3:
                    Group.update(about=chance.choice(WORDS)).execute()
                case 4:
                    OrgUnit.update(name=f"{chance.choice(WORDS)}").where(OrgUnit.id == units[-1]).execute()
                case 5:
                    state = chance.choice([MachineState.RETIRED, MachineState.READY])
                    Machine.update(state=state, owner=None).where(Machine.number % 5 == chance.randrange(5)).execute()
            Machine.update(owner=None).execute()
    with catalog.write():
        Group.delete().execute()
        Class.update(spec={**Class.get_by_id("studio").spec, "title": "Atelier"}).where(Class.name == "studio").execute()
        Seed.update(version=7).where(Seed.class_name == "studio").execute()
    kept, named = (set(database.rows(f"SELECT kind, tier, lower(suffix), thing FROM {one}")) for one in ("name_suffix", "name_suffixes"))
    assert kept == named
    everything = Scope(everything=True)
    assert [match.id for match in search.find("class", "atelier", everything, 9)] == ["studio"]
    assert [match.name for match in search.find("seed", "studio v7", everything, 9)] == ["studio v7"]
    assert search.find("seed", "studio v1", everything, 9) == []


def test_names_of_an_older_catalog_are_found(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    at_version(path, 31)
    catalog.open(path)
    assert [match.name for match in search.find("account", "kep", Scope(everything=True), 9)] == ["kept"]
    assert [match.name for match in search.find("unit", "every", Scope(everything=True), 9)] == ["Everybody"]
    catalog.close()


def steps(text: str, reach: Scope) -> int:
    """How many instructions of SQLite's it takes to find something of each kind."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection = database.db.connection()
    connection.set_progress_handler(step, 10)
    try:
        for kind in search.SOURCES:
            search.find(kind, text, reach, 6)
    finally:
        connection.set_progress_handler(None, 10)
    return count


def test_a_search_costs_the_same_however_many_there_are(opened: Settings) -> None:
    notebook = world.machine_class("notebook", world.NOTEBOOK)
    seed = world.seed("notebook", 1)
    world.seed("notebook", 2, promoted=True)
    texts, costs = ("n", "no", "notebook", "notebook-1", "z", "ada", "a 1", "nothing like it"), []
    for _ in range(2):
        with catalog.write():
            first = Account.select().count()
            Account.insert_many([{"name": f"ada{n}", "password": "!", "created_at": now()} for n in range(first, first + 350)]).execute()
        machines(notebook, seed, [None] * 350)
        costs.append([steps(text, Scope(everything=True)) for text in texts])
    for text, few, many in zip(texts, *costs, strict=True):
        assert many < few * 1.25, text


@pytest.mark.parametrize("reach", [Scope(everything=True), Scope(units=frozenset([ROOT]), classes=frozenset(["notebook"]))])
@pytest.mark.parametrize("few", [0, 300])
def test_no_search_reads_a_table_from_end_to_end(opened: Settings, monkeypatch: pytest.MonkeyPatch, reach: Scope, few: int) -> None:
    monkeypatch.setattr(search, "FEW", few)
    with statements(monkeypatch) as seen:
        for kind in search.SOURCES:
            for text in ("a", "notebook-1", "ada l"):
                search.find(kind, text, reach, 6)
    plans = [step for sql, parameters in seen for *_, step in database.rows(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    by_suffix = any("SEARCH suffix USING PRIMARY KEY (kind=? AND tier=? AND suffix>? AND suffix<?)" in step for step in plans)
    assert by_suffix or (few and not reach.everything)
    assert {step for step in plans if step.startswith("SCAN") and not re.match(r"SCAN (\w+ VIRTUAL TABLE|\(subquery)", step)} == set()


def test_what_is_named_anew_has_no_other_table_looked_through(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite looks for what refers to a new row, where a trigger writes more than that one."""
    with statements(monkeypatch) as seen, catalog.write():
        Account.create(name="newcomer", password="!")
    assert any("INSERT" in sql for sql, _ in seen)
    assert scans(seen) == []
