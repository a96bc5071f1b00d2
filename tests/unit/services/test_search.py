"""Search: the best first, nothing that is out of reach, and what people type is text."""

import pytest

from appliance import catalog
from appliance.catalog import ROOT, Account, Actor, Grant, Group, Machine, MachineState, OrgUnit, grants
from appliance.catalog import search as rows
from appliance.errors import BadInput
from appliance.identity import permissions
from appliance.services import delegation, moves, org_units, search
from appliance.settings import Settings
from tests import world
from tests.plans import scans, statements


@pytest.fixture
def people(opened: Settings) -> dict[str, Actor]:
    return world.busy(opened)


def found(who: Actor, text: str, kind: str = "") -> list[str]:
    matches = search.find(permissions.of(who), text, {kind: search.KINDS[kind]} if kind else search.KINDS)
    return [match.name for match in matches]


def test_what_is_called_just_so_comes_before_what_begins_so_before_a_word_before_the_rest(people: dict[str, Actor]) -> None:
    with catalog.write():
        for name, full in (("love", ""), ("lovelace2", ""), ("x1", "My Love"), ("glove", ""), ("y1", "Love")):
            Account.create(name=name, full_name=full, password="!")
    order = sorted(
        search.find(permissions.of(people["grace"]), "love", each=20), key=lambda match: search.rank("love", match.name, match.words) or 0
    )
    names = [match.name for match in order]
    assert set(names[:2]) == {"love", "y1"}
    assert names[2] == "lovelace2"
    assert set(names[3:5]) == {"ada", "x1"}
    assert names[5] == "glove"


@pytest.mark.parametrize(
    ("text", "rank"),
    [
        ("ada", 0),
        ("Ada Lovelace", 0),
        ("AD", 1),
        ("ada l", 1),
        ("love", 2),
        ("example lovelace", 3),
        ("velace", 3),
        ("adal", None),
        ("", None),
    ],
)
def test_rank(text: str, rank: int | None) -> None:
    assert search.rank(text, "ada", "Ada Lovelace\nada@example.org") == rank


def test_each_kind_is_found_by_its_name(people: dict[str, Actor]) -> None:
    grace = people["grace"]
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    assert found(grace, machine.name)[0] == machine.name
    assert found(grace, "LOVELACE") == ["ada"]
    assert found(grace, "ada@example") == ["ada"]
    assert found(grace, "analysts") == ["analysts"]
    assert found(grace, "mathem") == ["Mathematics"]
    assert "studio" in found(grace, "statistics")
    assert found(grace, "notebook v2", "seed") == ["notebook v2"]
    [match] = search.find(permissions.of(grace), machine.name, {"machine": "machines.read"}, 1)
    assert (match.detail, match.owner) == (MachineState.IN_USE, "ada")


def test_a_machine_is_found_by_its_whole_name_among_many_that_begin_so(people: dict[str, Actor]) -> None:
    world.many_machines(catalog.Class.get_by_id("notebook"), 300, people["ada"])
    first = Machine.get(Machine.machine_class == "notebook", Machine.state == MachineState.READY)
    assert found(people["grace"], first.name, "machine")[0] == first.name
    assert len(found(people["grace"], "notebook", "machine")) == search.EACH


def test_retired_machines_are_not_found(people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    with catalog.write():
        Machine.update(state=MachineState.RETIRED).where(Machine.id == machine.id).execute()
    assert machine.name not in found(people["grace"], machine.name)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "text", ["%", "_", "\\", "a%", "'", '"; DROP TABLE account; --', "\x00", "?1", "%' OR '1'='1", "a" * 5000, "(" * 50]
)
def test_what_is_typed_is_text(people: dict[str, Actor], text: str) -> None:
    assert found(people["grace"], text) == []


def test_case_does_not_count_beyond_ascii(people: dict[str, Actor]) -> None:
    with catalog.write():
        Account.create(name="umlaut", full_name="Änne Öztürk", password="!")
        Account.create(name="other", full_name="Ynne Oztyrk", password="!")
    assert found(people["grace"], "änne öZTÜRK") == ["umlaut"]


def test_nobody_finds_what_is_out_of_reach(people: dict[str, Actor]) -> None:
    """Of each kind something is in the delegate's unit, and something like it is not."""
    with catalog.write():
        science = OrgUnit.get(OrgUnit.name == "Science")
        Account.update(org_unit=science).where(Account.name == "ada").execute()
        delegate = world.account("delegate")
        Grant.create(role="delegated_admin", account=delegate.account_id, over_unit=science)
        Group.create(name="analysts of the workshop", org_unit=ROOT)
    mine = [match.id for match in search.find(permissions.of(delegate), "notebook", each=50) if match.kind == "machine"]
    assert mine == [machine.id for machine in Machine.select().where(Machine.owner == people["ada"].account_id)]
    assert found(delegate, "a", "account") == ["ada"]
    assert found(delegate, "analysts") == ["analysts"]
    assert found(delegate, "workshop") == []
    assert found(delegate, "maths") == []
    assert found(delegate, "mathematics") == ["Mathematics"]
    assert found(delegate, "notebook", "class") == []
    assert found(delegate, "notebook", "seed") == []
    manager = people["mary"]  # looks after a class
    assert found(manager, "studio", "class") == ["studio"]
    assert found(manager, "notebook") == []
    assert found(people["ada"], "a") == []


def test_no_search_reads_all_machines_that_ever_were(people: dict[str, Actor], monkeypatch: pytest.MonkeyPatch) -> None:
    with statements(monkeypatch) as seen:
        for text in ("notebook-1", "n", "nothing like it"):
            found(people["grace"], text)
    assert scans(seen) == []


def test_a_wrong_name_is_answered_with_what_is_nearly_called_so(people: dict[str, Actor]) -> None:
    grace = people["grace"]
    with pytest.raises(BadInput) as caught:
        delegation.find_holder(grace, "account", "adda")
    assert caught.value.hint == "Did you mean ada?"
    with pytest.raises(BadInput) as caught:
        delegation.find_holder(grace, "group", "analyst")
    assert caught.value.hint == "Did you mean analysts?"
    with pytest.raises(BadInput) as caught:
        org_units.add_members(grace, Group.get().id, ["lovelace"])
    assert caught.value.hint == "Did you mean ada? Nobody was added."
    with pytest.raises(BadInput) as caught:
        moves.transfer(grace, Machine.get(Machine.owner == people["ada"].account_id).id, "mari")
    assert caught.value.hint == "Did you mean mary?"
    with pytest.raises(BadInput) as caught:
        delegation.find_holder(people["mary"], "account", "adda")  # who may see nobody is told of nobody
    assert caught.value.hint == "Check the name."


def test_what_may_be_given_is_what_one_holds(people: dict[str, Actor]) -> None:
    assert delegation.givable(people["grace"]).everything
    with catalog.write():
        Grant.delete().where(Grant.role == "user").execute()
    mary = delegation.givable(people["mary"])
    assert mary.roles == ["user", "class_manager"]
    assert mary.covers(class_name="studio")
    assert not mary.covers(class_name="notebook")
    assert not mary.covers(unit=ROOT)


def test_every_kind_that_is_found_has_a_place(opened: Settings) -> None:
    assert set(search.KINDS) == set(rows.SOURCES) <= set(grants.PLACES)
