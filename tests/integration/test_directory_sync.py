"""Bringing a real slapd's people, groups and org units into a catalog, and signing in as one of them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance import catalog, layout
from appliance.bulkhead import Breaker
from appliance.catalog import ROOT, Account, Actor, DirectoryRun, Event, Grant, Group, Member, Nesting, OrgUnit, RunState
from appliance.catalog.database import rows
from appliance.errors import BadInput, Conflict, NotAllowed, Unavailable
from appliance.identity import directory_link, passwords, secrets
from appliance.lifecycle import directory_runs
from appliance.services import directory, sessions
from appliance.settings import load as load_settings
from tests import slapd
from tests.slapd import PEOPLE, READER, READER_PASSWORD, SUFFIX, Slapd

pytestmark = pytest.mark.directory

SALES, LAB = f"ou=sales,{PEOPLE}", f"ou=lab,{PEOPLE}"
ADMIN = Actor("root", 1)


@pytest.fixture(autouse=True)
def appliance(tmp_path: Path) -> Iterator[None]:
    """An empty catalog, open, with the first admin's local account."""
    settings = load_settings({}, state=tmp_path / "state", network="people")
    layout.prepare(settings)
    catalog.open(settings.catalog)
    secrets.open(settings.web_secret)
    directory_link.breaker = Breaker(directory_link.REST)
    with catalog.write():
        Account.create(id=ADMIN.account_id, name="root", password=passwords.digest("a local password"))
        Grant.create(role="owner", account=ADMIN.account_id)
    yield
    catalog.close()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Slapd]:
    entries = [
        *slapd.top(),
        slapd.unit("people"),
        slapd.unit("sales", PEOPLE),
        slapd.unit("lab", PEOPLE),
        slapd.somebody("ada", "Ada Lovelace", LAB, mail="ada@example.org", password="ada's password"),
        slapd.somebody("bob", "Bob", SALES, password="bob's password"),
        slapd.somebody("cy", "Cy", SALES, password="cy's password"),
        slapd.group("staff", [f"uid=ada,{LAB}", f"cn=sellers,{SUFFIX}"]),
        slapd.group("sellers", [f"uid=bob,{SALES}", f"uid=cy,{SALES}"]),
    ]
    with slapd.serve(tmp_path / "slapd", entries) as server:
        yield server


def entered(*servers: Slapd, **values: Any) -> dict[str, Any]:
    addresses = [f"127.0.0.1:{server.port}" for server in servers]
    return {"servers": addresses, "authority": servers[0].authority.pem, "bind_dn": READER, "base": SUFFIX, **values}


def use(*servers: Slapd, **values: Any) -> None:
    directory.change(ADMIN, entered(*servers, **values), READER_PASSWORD)


def synchronise(*, force: bool = False) -> DirectoryRun:
    """A synchronisation, as the engine would do it."""
    directory.synchronise(ADMIN, force=force)
    run = directory_runs.due_run()
    assert run is not None
    directory_runs.run(run)
    return DirectoryRun.get_by_id(run.id)


def everything() -> list[Any]:
    """All that a synchronisation may change, and the record."""
    tables = ("account", "org_unit", "people_group", "member", "nesting", "permit", "event")
    return [(table, rows(f"SELECT * FROM {table} ORDER BY 1, 2")) for table in tables]


def people() -> dict[str, tuple[str, str, bool]]:
    found = Account.select().where(Account.directory_id.is_null(False))
    return {account.name: (account.full_name, account.org_unit.name, account.disabled) for account in found}


def members(group: str) -> set[str]:
    return {member.account.name for member in Member.select().join(Group).where(Group.name == group)}


def test_people_groups_and_org_units_come_as_they_are(office: Slapd) -> None:
    use(office)
    run = synchronise()
    assert (run.state, run.problem, run.problems) == (RunState.DONE, "", [])
    assert {name: run.counts[name] for name in ("people", "groups", "units", "added")} == {"people": 3, "groups": 2, "units": 3, "added": 8}
    assert people() == {"ada": ("Ada Lovelace", "lab", False), "bob": ("Bob", "sales", False), "cy": ("Cy", "sales", False)}
    tree = {unit.name: unit.parent.name for unit in OrgUnit.select() if unit.parent_id}
    assert tree == {"people": "Everybody", "lab": "people", "sales": "people"}
    assert (members("staff"), members("sellers")) == ({"ada"}, {"bob", "cy"})
    assert [(nesting.outer.name, nesting.inner.name) for nesting in Nesting.select()] == [("staff", "sellers")]
    before = everything()
    again = synchronise()
    assert [entry for entry in everything() if entry not in before and entry[0] != "event"] == []
    assert [event.kind for event in Event.select().where(Event.actor == "directory", Event.id > before[-1][1][-1][0])] == []
    assert (again.counts["added"], again.counts["changed"], again.counts["removed"]) == (0, 0, 0)


def test_changes_are_followed(office: Slapd) -> None:
    use(office)
    synchronise()
    ids = {account.name: account.id for account in Account.select()}
    office.change(f"uid=ada,{LAB}", cn=b"Ada King", mail=b"king@example.org")
    office.rename(f"uid=bob,{SALES}", "uid=robert", LAB)
    office.rename(LAB, "ou=laboratory", SUFFIX)
    office.change(f"cn=sellers,{SUFFIX}", member=[f"uid=cy,{SALES}".encode(), f"uid=robert,ou=laboratory,{SUFFIX}".encode()])
    office.change(f"cn=staff,{SUFFIX}", member=[f"uid=cy,{SALES}".encode()])
    run = synchronise()
    assert (run.counts["added"], run.counts["removed"]) == (0, 0)
    assert people() == {"ada": ("Ada King", "laboratory", False), "robert": ("Bob", "laboratory", False), "cy": ("Cy", "sales", False)}
    assert Account.get(Account.name == "robert").id == ids["bob"]
    assert OrgUnit.get(OrgUnit.name == "laboratory").parent_id == ROOT
    assert (members("staff"), members("sellers"), Nesting.select().count()) == ({"cy"}, {"cy", "robert"}, 0)
    [renamed] = Event.select().where(Event.kind == "account.changed", Event.message.contains("bob"))
    assert (renamed.actor, renamed.data["before"]["name"], renamed.data["after"]["name"]) == ("directory", "bob", "robert")


def test_two_people_may_change_names_with_each_other(office: Slapd) -> None:
    use(office)
    synchronise()
    ids = {account.full_name: account.id for account in Account.select()}
    office.rename(f"uid=bob,{SALES}", "uid=other")
    office.rename(f"uid=cy,{SALES}", "uid=bob")
    office.rename(f"uid=other,{SALES}", "uid=cy")
    assert synchronise().problem == ""
    assert {account.full_name: (account.id, account.name) for account in Account.select() if account.directory_id} == {
        "Ada Lovelace": (ids["Ada Lovelace"], "ada"), "Bob": (ids["Bob"], "cy"), "Cy": (ids["Cy"], "bob"),
    }  # fmt: skip


def test_whoever_leaves_is_signed_out_and_locked_and_comes_back_as_themselves(office: Slapd) -> None:
    use(office)
    synchronise()
    token, ada = sessions.sign_in("ada", "ada's password", "127.0.0.1")
    office.delete(f"uid=ada,{LAB}", LAB)
    assert synchronise().counts["removed"] == 2  # and the empty org unit
    assert sessions.find(token) is None
    assert people()["ada"] == ("Ada Lovelace", "people", True)
    with pytest.raises(NotAllowed):
        sessions.sign_in("ada", "ada's password", "127.0.0.2")
    assert Member.select().where(Member.account == ada.id).count() == 0
    # A new entry of the same name is somebody else.
    office.add(slapd.somebody("ada", "Ada Byron", SALES, password="new password"))
    synchronise()
    _, newcomer = sessions.sign_in("ada", "new password", "127.0.0.3")
    assert newcomer.id != ada.id
    assert people()[f"ada~{ada.id}"] == ("Ada Lovelace", "people", True)


def test_an_admins_own_lock_is_not_opened(office: Slapd) -> None:
    from appliance.services import accounts

    use(office)
    synchronise()
    bob = Account.get(Account.name == "bob")
    accounts.disable(ADMIN, bob.id)
    before = everything()
    synchronise()
    assert everything()[:-1] == before[:-1]
    with pytest.raises(NotAllowed, match="disabled"):
        sessions.sign_in("bob", "bob's password", "127.0.0.1")


def test_what_rights_refer_to_is_kept_but_empty(office: Slapd) -> None:
    use(office)
    synchronise()
    with catalog.write():
        Grant.create(role="operator", group=Group.get(Group.name == "sellers"))
        Grant.create(role="operator", account=Account.get(Account.name == "ada"), over_unit=OrgUnit.get(OrgUnit.name == "lab"))
    office.delete(f"cn=sellers,{SUFFIX}")
    office.rename(f"uid=ada,{LAB}", "uid=ada", SALES)
    office.delete(LAB)
    run = synchronise()
    assert members("sellers") == set()
    assert Grant.select().where(Grant.role == "operator").count() == 2
    assert len(run.problems) == 2
    assert all("It is kept, empty, because grants or quotas name it." in problem for problem in run.problems)
    with catalog.write():
        Grant.delete().where(Grant.role == "operator").execute()
    synchronise()
    assert Group.get_or_none(Group.name == "sellers") is None
    assert OrgUnit.get_or_none(OrgUnit.name == "lab") is None


# -- going wrong ----------------------------------------------------------------------------


def test_a_directory_that_goes_away_in_the_middle_changes_nothing(office: Slapd, monkeypatch: pytest.MonkeyPatch) -> None:
    use(office)
    synchronise()
    office.change(f"uid=ada,{LAB}", cn=b"Changed")
    office.add(slapd.somebody("dee", parent=SALES))
    token, _ = sessions.sign_in("bob", "bob's password", "127.0.0.1")
    before = everything()

    def going_away(step: str) -> None:
        if step == "Reading groups":
            office.stop()

    read = directory_runs.directory_tree.read_tree
    monkeypatch.setattr(directory_runs.directory_tree, "read_tree", lambda config, password, _: read(config, password, going_away))
    run = synchronise()
    assert run.state is RunState.FAILED
    assert run.problem
    assert run.hint
    assert [entry for entry in everything()[:-1] if entry not in before] == []
    assert [event.kind for event in Event.select().where(Event.id > before[-1][1][-1][0])] == ["directory.asked", "directory.failed"]
    # Whoever is in stays in, and whoever has a local account can come in.
    assert sessions.find(token) is not None
    assert sessions.sign_in("root", "a local password", "127.0.0.1")[1].name == "root"
    with pytest.raises(Unavailable):
        sessions.sign_in("bob", "bob's password", "127.0.0.1")
    # The same failure is told once.
    synchronise()
    assert Event.select().where(Event.kind == "directory.failed").count() <= 2
    monkeypatch.undo()
    office.start()
    directory_link.breaker = Breaker(directory_link.REST)
    assert synchronise().state is RunState.DONE
    assert people()["ada"][0] == "Changed"


@pytest.mark.badinput
def test_a_wrong_search_base_does_not_lock_everybody_out(office: Slapd) -> None:
    use(office)
    synchronise()
    before = everything()
    use(office, base=f"ou=sales,{PEOPLE}", people="(uid=nobody)")
    run = synchronise()
    assert run.state is RunState.FAILED
    assert run.problem == "The directory no longer has 3 of 3 people, so nothing was changed."
    assert run.counts == {"going": 3}
    assert everything()[:-1] == before[:-1]
    assert synchronise(force=True).counts["removed"] >= 3
    assert all(disabled for _, _, disabled in people().values())
    use(office)
    synchronise()
    assert not any(disabled for _, _, disabled in people().values())


@pytest.mark.badinput
def test_a_local_account_is_never_taken_over(office: Slapd) -> None:
    office.add(slapd.somebody("ROOT", "Impostor", SALES, password="impostor"))
    use(office)
    run = synchronise()
    assert run.problems == [f"uid=ROOT,{SALES} is left out: there is a local account called ROOT."]
    assert Account.get(Account.name == "root").directory_id is None
    with pytest.raises(NotAllowed):
        sessions.sign_in("ROOT", "impostor", "127.0.0.1")
    assert sessions.sign_in("root", "a local password", "127.0.0.1")


def test_the_second_server_takes_over(office: Slapd, tmp_path: Path) -> None:
    entries = [*slapd.top(), slapd.somebody("eve", "Eve", password="eve's password")]
    with slapd.serve(tmp_path / "second", entries, authority=office.authority) as second:
        use(office, second)
        office.stop()
        assert synchronise().state is RunState.DONE
        assert sessions.sign_in("eve", "eve's password", "127.0.0.1")[1].full_name == "Eve"
        office.start()


# -- signing in -----------------------------------------------------------------------------


def test_whoever_was_hired_a_minute_ago_comes_in_at_once(office: Slapd) -> None:
    use(office)
    synchronise()
    office.add(slapd.somebody("new", "New One", SALES, password="first day"))
    with pytest.raises(NotAllowed):
        sessions.sign_in("new", "wrong", "127.0.0.1")
    assert Account.get_or_none(Account.name == "new") is None
    _, account = sessions.sign_in("new", "first day", "127.0.0.1")
    run = directory_runs.due_run()
    assert run is not None  # which brings them their groups and org unit
    directory_runs.run(run)
    assert people()["new"] == ("New One", "sales", False)
    assert Account.get(Account.name == "new").id == account.id


def test_guessing_is_slowed_down_before_the_directory_locks_the_account(office: Slapd) -> None:
    use(office)
    synchronise()
    for attempt in range(5):
        with pytest.raises(NotAllowed, match="do not fit"):
            sessions.sign_in("bob", f"guess {attempt}", "127.0.0.1")
    with pytest.raises(NotAllowed, match="Too many"):
        sessions.sign_in("bob", "bob's password", "127.0.0.1")


def test_switched_off_it_lets_in_only_local_accounts(office: Slapd) -> None:
    use(office)
    synchronise()
    directory.switch(ADMIN, on=False)
    assert directory_runs.due_run() is None
    with pytest.raises(NotAllowed):
        sessions.sign_in("bob", "bob's password", "127.0.0.1")
    with pytest.raises(Conflict):
        directory.synchronise(ADMIN)
    directory.switch(ADMIN, on=True)
    assert sessions.sign_in("bob", "bob's password", "127.0.0.1")


# -- the reading account's password ------------------------------------------------------------


def test_the_password_lies_sealed_and_is_told_only_where_it_was_entered_for(office: Slapd, tmp_path: Path) -> None:
    use(office)
    synchronise()
    catalog.close()
    stored = b"".join(file.read_bytes() for file in (tmp_path / "state" / "catalog").iterdir() if file.is_file())
    assert READER.encode() in stored
    assert READER_PASSWORD.encode() not in stored
    directory.change(ADMIN, entered(office, minutes=15), "")
    assert directory.current()[1] == READER_PASSWORD
    for other in ({"servers": ["ldap.example.org"]}, {"encryption": "none"}, {"bind_dn": "cn=other"}, {"authority": ""}):
        with pytest.raises(BadInput, match="have changed"):
            directory.check_directory(entered(office) | other, "")
        with pytest.raises(BadInput, match="have changed"):
            directory.change(ADMIN, entered(office) | other, "")
    (tmp_path / "other").write_bytes(b"another appliance's key")
    secrets.open(tmp_path / "other")
    with pytest.raises(Unavailable, match="cannot be opened"):
        directory.current()


# -- the test button ------------------------------------------------------------------------


def test_the_test_says_what_it_found(office: Slapd) -> None:
    found = directory.check_directory(entered(office), READER_PASSWORD)
    assert [finding.ok for finding in found] == [True] * 4
    said = [finding.text for finding in found]
    assert said[0].startswith(f"127.0.0.1:{office.port} answers and takes the reading account's password. Its certificate is good until 20")
    assert said[1:] == ["3 people: ada, bob, cy", "2 groups: sellers, staff", "3 org units: lab, people, sales"]
    assert options_are_untouched()
    wrong = directory.check_directory(
        entered(office, servers=["127.0.0.1:1", f"127.0.0.1:{office.port}"], people="(uid=nobody)"), READER_PASSWORD
    )
    assert [(finding.ok, finding.text.partition(" ")[0]) for finding in wrong] == [
        (False, "127.0.0.1:1:"), (True, f"127.0.0.1:{office.port}"), (False, "No"), (True, "2"), (True, "3"),
    ]  # fmt: skip
    assert wrong[2].hint == "Check the search base and the filter for people."
    [refused] = directory.check_directory(entered(office), "wrong password")
    assert not refused.ok
    assert "does not take this name and password" in refused.text
    open_to_all = directory.check_directory(entered(office, encryption="none"), READER_PASSWORD)
    assert open_to_all[0].text == "Passwords travel unencrypted."


def options_are_untouched() -> bool:
    return directory.entered() == {} and not directory.is_on()


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"servers": []}, "Name at least one server."),
        ({"servers": ["ldap://server"]}, "'ldap://server' is not a server's name."),
        ({"servers": ["server:70000"]}, "'server:70000' is not a server's name."),
        ({"authority": "no certificate"}, "The authority's certificate cannot be read."),
        ({"base": "example.org"}, "'example.org' is not a place in a directory."),
        ({"base": ""}, "'' is not a place in a directory."),
        ({"people": "uid=*"}, "'uid=*' is not a filter."),
        ({"name": "u id)("}, "'u id)(' is not the name of an attribute."),
        ({"minutes": 1}, "Synchronise every 5 minutes to every week"),
        ({"sign_in": "direct"}, "Binding directly needs a pattern with {name} in it"),
        ({"kind": "nis"}, "kind: Input should be 'ldap' or 'ad'."),
    ],
)
def test_what_is_entered_wrong_is_named(values: dict[str, Any], words: str) -> None:
    usual = {"servers": ["ldap.example.org"], "base": SUFFIX}
    with pytest.raises(BadInput) as caught:
        directory.change(ADMIN, usual | values, "")
    assert words in str(caught.value)
    assert options_are_untouched()
    assert Event.select().count() == 0


# -- Active Directory -----------------------------------------------------------------------


def test_active_directory(tmp_path: Path) -> None:
    """memberOf, sAMAccountName, userAccountControl, objectGUID, nested groups, computers: as AD has them."""
    staff = f"ou=Staff,{SUFFIX}"
    entries = [
        *slapd.top(),
        slapd.ad_unit("Staff"),
        slapd.ad_unit("Machines"),
        slapd.ad_user("alovelace", "Lovelace, Ada", staff, password="ada's password"),
        slapd.ad_user("bbabbage", "Babbage, Bob", staff, control=514, password="bob's password"),
        slapd.ad_user("PC-17$", "PC-17", f"ou=Machines,{SUFFIX}", control=4096, kind="computer"),
    ]
    with slapd.serve(tmp_path / "slapd", entries, kind="ad") as server:
        server.add(
            slapd.ad_group("Engineers", [f"cn=Lovelace\\, Ada,{staff}"], staff),
            slapd.ad_group("Everyone at work", [f"cn=Engineers,{staff}", f"cn=Babbage\\2C Bob,{staff}"], staff),
        )
        use(server, kind="ad")
        run = synchronise()
        assert (run.problem, run.problems) == ("", [])
        assert people() == {"alovelace": ("Lovelace, Ada", "Staff", False), "bbabbage": ("Babbage, Bob", "Staff", True)}
        assert (members("Engineers"), members("Everyone at work")) == ({"alovelace"}, {"bbabbage"})
        assert [(nesting.outer.name, nesting.inner.name) for nesting in Nesting.select()] == [("Everyone at work", "Engineers")]
        assert sessions.sign_in("ALovelace", "ada's password", "127.0.0.1")[1].name == "alovelace"
        with pytest.raises(NotAllowed, match="disabled in the directory"):
            sessions.sign_in("bbabbage", "bob's password", "127.0.0.1")
        id = Account.get(Account.name == "bbabbage").id
        server.change(f"cn=Babbage\\2C Bob,{staff}", userAccountControl=b"512")
        assert sessions.sign_in("bbabbage", "bob's password", "127.0.0.1")[1].id == id  # before the next synchronisation
        assert synchronise().counts["changed"] == 0
        # What AD answers about groups agrees with what we have.
        root = server.root()
        [(_, found)] = root.search_s(f"cn=Lovelace\\, Ada,{staff}", 0, attrlist=["memberOf"])
        root.unbind_s()
        assert found["memberOf"] == [f"cn=Engineers,{staff}".encode()]


# -- 5,000 people ---------------------------------------------------------------------------


def working_time(server: Slapd) -> float:
    """Seconds that we and the server have worked: what the clock would say if nobody else used the machine."""
    theirs = psutil.Process(server.process.pid).cpu_times()
    return time.process_time() + theirs.user + theirs.system


def test_five_thousand_people_and_four_hundred_groups(tmp_path: Path) -> None:
    departments = [f"d{number}" for number in range(40)]
    homes = [f"ou={name},{PEOPLE}" for name in departments]
    everybody = [
        slapd.somebody(f"user{number}", f"Person Number {number}", homes[number % 40], mail=f"user{number}@example.org")
        for number in range(5000)
    ]
    dns = [dn for dn, _ in everybody]
    groups = [slapd.group(f"team{number}", [*dns[number::400], *dns[number : number + 40]], f"ou=groups,{SUFFIX}") for number in range(360)]
    groups += [
        slapd.group(f"division{number}", [dn for dn, _ in groups[number * 9 : number * 9 + 9]], f"ou=groups,{SUFFIX}")
        for number in range(40)
    ]
    entries = [
        *slapd.top(),
        slapd.unit("people"),
        slapd.unit("groups"),
        *(slapd.unit(name, PEOPLE) for name in departments),
        *everybody,
        *groups,
    ]
    with slapd.serve(tmp_path / "slapd", entries) as server:
        use(server)
        begun = working_time(server)
        run = synchronise()
        first = working_time(server) - begun
        assert (run.state, run.problems) == (RunState.DONE, [])
        assert {name: run.counts[name] for name in ("people", "groups", "units")} == {"people": 5000, "groups": 400, "units": 42}
        assert Account.select().where(Account.directory_id.is_null(False)).count() == 5000
        assert Member.select().count() == sum(len(set(values["member"])) for _, values in groups[:360])
        assert Nesting.select().count() == 360
        before = everything()
        begun = working_time(server)
        again = synchronise()
        second = working_time(server) - begun
        assert (again.counts["added"], again.counts["changed"], again.counts["removed"]) == (0, 0, 0)
        after = everything()
        assert after[:-1] == before[:-1]
        assert len(after[-1][1]) == len(before[-1][1]) + 1  # that somebody asked for it
    print(f"first {first:.2f} s, second {second:.2f} s")
    assert first < 20


# -- as Active Directory has it ---------------------------------------------------------------


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """A directory in Active Directory's terms, which no test changes."""
    staff = f"ou=staff,{SUFFIX}"
    shared = {"mail": [b"office@example.org"]}
    entries = [
        *slapd.top(),
        slapd.ad_unit("staff"),
        slapd.ad_user("anna", "Anna Baker", staff, password="annas password", userPrincipalName=[b"a.baker@example.org"]),
        slapd.ad_user("ben", "Ben Ort", staff, password="bens password", primary=1200),
        slapd.ad_user("c@example.org", "Carl", staff, password="carls password", mail=[b"carl@example.org"]),
        slapd.ad_user("dora", "Dora", staff, password="doras password", mail=[b"c@example.org"]),
        slapd.ad_user("eve", "Eve", staff, password="eves password", **shared),
        slapd.ad_user("fay", "Fay", staff, password="fays password", **shared),
        slapd.ad_user("gus", "Gus", staff, password="gus's password", mail=[b"a.baker@example.org"]),
        slapd.ad_group("Domain Users", [], staff, relative=513),
        slapd.ad_group("Students", [f"cn=Anna Baker,{staff}"], staff, relative=1200),
        slapd.ad_group("Elsewhere", [], staff),
    ]
    with slapd.serve(tmp_path_factory.mktemp("domain") / "slapd", entries, kind="ad") as server:
        yield server


@pytest.mark.cases
def test_those_whose_primary_group_it_is_are_in_the_group(domain: Slapd) -> None:
    use(domain, kind="ad")
    assert synchronise().problems == ["2 people have the mail address office@example.org: eve, fay."]
    assert members("Domain Users") == {"anna", "c@example.org", "dora", "eve", "fay", "gus"}
    assert members("Students") == {"anna", "ben"}
    assert members("Elsewhere") == set()


@pytest.mark.cases
def test_those_whose_number_is_a_posix_groups_are_in_it(tmp_path: Path) -> None:
    account = {"objectClass": [b"inetOrgPerson", b"posixAccount"], "uidNumber": [b"1001"], "homeDirectory": [b"/home/ben"]}
    entries = [
        *slapd.top(),
        slapd.somebody("anna", parent=SUFFIX),
        slapd.somebody("ben", parent=SUFFIX, gidNumber=[b"2000"], **account),
        slapd.somebody("cy", parent=SUFFIX, gidNumber=[b"2001"], **account),
        (f"cn=students,{SUFFIX}", {"objectClass": [b"posixGroup"], "cn": [b"students"], "gidNumber": [b"2000"], "memberUid": [b"anna"]}),
        slapd.group("no posix group", [f"uid=anna,{SUFFIX}"]),
    ]
    with slapd.serve(tmp_path / "slapd", entries) as server:
        use(server)
        assert synchronise().problems == []
    assert members("students") == {"anna", "ben"}
    assert members("no posix group") == {"anna"}


@pytest.mark.cases
@pytest.mark.parametrize(
    ("entered", "password", "name"),
    [
        ("anna", "annas password", "anna"),
        ("EXAMPLE\\anna", "annas password", "anna"),
        ("a.baker@example.org", "annas password", "anna"),  # her principal name, though it is somebody's mail address
        ("A.Baker@Example.ORG", "annas password", "anna"),
        ("anna@example.org", "annas password", "anna"),  # her mail address
        ("c@example.org", "carls password", "c@example.org"),  # a name is a name, though it is somebody's mail address
        ("carl@example.org", "carls password", "c@example.org"),
    ],
)
def test_people_sign_in_as_they_do_everywhere(domain: Slapd, entered: str, password: str, name: str) -> None:
    use(domain, kind="ad")
    assert sessions.sign_in(entered, password, "192.0.2.1")[1].name == name
    with pytest.raises(NotAllowed, match="do not fit"):
        sessions.sign_in(entered, "another password", "192.0.2.1")


@pytest.mark.cases
@pytest.mark.badinput
def test_an_address_of_several_people_is_nobodys(domain: Slapd) -> None:
    use(domain, kind="ad")
    with pytest.raises(BadInput, match="2 people with the address office@example"):
        sessions.sign_in("office@example.org", "eves password", "192.0.2.1")
    for odd in ("*@example.org", "x)(mail=*@example.org", "anna@", "@example.org", "a b@example.org"):
        with pytest.raises(NotAllowed, match="do not fit"):
            sessions.sign_in(odd, "annas password", f"192.0.2.{len(odd)}")


@pytest.mark.cases
def test_a_domain_before_a_name_means_nothing_to_a_directory_that_knows_none(office: Slapd) -> None:
    use(office)
    assert directory.typed("EXAMPLE\\ada") == "EXAMPLE\\ada"
    with pytest.raises(NotAllowed, match="do not fit"):
        sessions.sign_in("EXAMPLE\\ada", "ada's password", "192.0.2.1")
    assert sessions.sign_in("ada@example.org", "ada's password", "192.0.2.1")[1].name == "ada"
