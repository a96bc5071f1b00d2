"""The component of lists, and each list: addresses, narrowing, columns, reach, files, and what is done to several rows at once.

How they are sorted and paged is the catalog's: unit/catalog/test_listing.py.
"""

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import (
    ROOT,
    Account,
    Actor,
    DataDisk,
    DiskState,
    Event,
    Grant,
    Group,
    KeptDisk,
    Machine,
    MachineState,
    Member,
    OrgUnit,
    Run,
    RunState,
    SavedView,
    Seed,
    Session,
    data_disks,
    groups,
    machines,
    now,
    runs,
    seeds,
)
from appliance.catalog import accounts as account_rows
from appliance.services import accounts, org_units
from tests import world
from tests.unit.webui.conftest import Browser
from webui.admin.accounts import ACCOUNTS
from webui.admin.disks import DISKS, RETAINED
from webui.admin.groups import GROUPS
from webui.admin.machines import MACHINES
from webui.admin.org_units import PEOPLE, UNITS
from webui.admin.seeds import SEEDS
from webui.runs import RUNS

pytestmark = pytest.mark.console_ui


def rows(page: str) -> list[str]:
    """What the rows of a list are called, in their order."""
    return re.findall(r'<td[^>]*><a class="name"[^>]*>([^<]+)</a>', page)


def after(page: str) -> str | None:
    """The address of the next page."""
    found = re.search(r'rel="next" href="([^"]+)"', page)
    return unescape(found[1]) if found else None


def table(browser: Browser, path: str) -> list[dict[str, str]]:
    answer = browser.get(path)
    assert answer.mimetype == "text/csv"
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def many_people(count: int, unit: int = ROOT) -> list[int]:
    with catalog.write():
        return [
            Account.create(
                name=f"p{number:03}", full_name=f"Person {number * 7 % 10}", email=f"{number % 3}@example.org", password="!",
                org_unit=unit, disabled=number % 4 == 0,
            ).id
            for number in range(count)
        ]  # fmt: skip


def test_an_address_says_all_that_a_list_shows_and_leads_back_to_it(grace: Browser) -> None:
    many_people(120)
    first = grace.get("/admin/accounts/?text=Person&state=enabled&sort=-email&columns=name,email,created").text
    assert re.findall(r'<th class="text-secondary"><a[^>]*>(\w+)', first) == ["Created"]
    assert 'aria-sort="descending"' in first
    assert "1 to 50 of 90 accounts" in first
    address = after(first)
    assert address
    second = grace.get(address).text
    assert {"text=Person", "state=enabled", "sort=-email", "columns=name,email,created"} <= set(re.split("[?&]", address))
    assert "51 to 90 of 90 accounts" in second
    assert "Last seen" not in re.sub(r'<div class="more" id="list-view".*?</div> </div>', "", second)
    assert not set(rows(first)) & set(rows(second))
    assert f'hx-get="{address}"'.replace("&", "&amp;") in second  # the live part asks for this very page again
    assert 'href="/admin/accounts/?text=Person&amp;state=enabled&amp;sort=-email&amp;columns=name,email,created"' in second


def test_the_live_filter_gets_the_live_part_with_the_address_it_stands_for(grace: Browser) -> None:
    part = grace.live("/admin/machines/?text=notebook-5&state=&class=&sort=-owner").text
    assert "<html" not in part
    assert rows(part) == ["notebook-5"]
    assert 'hx-get="/admin/machines/?text=notebook-5&amp;sort=-owner"' in part  # and nothing empty
    assert re.search(r'<input type="hidden" name="sort" value="-owner" form="list-filter">', part)


@pytest.mark.badinput
def test_strange_questions(grace: Browser) -> None:
    for query in (
        "sort=nonsense", "sort=--name", "sort=password", "columns=,,,", "columns=password", "start=x", "start=-1", "start=" + "9" * 40,
        "after=%5B%5D", "after=%5B1%2C2%2C3%5D", "after=%5Bnull%2C1%5D", "after=%5B1e400%2C1%5D", "after=%5BNaN%2C1%5D", "after=" + "9" * 40,
        "after=%5B%22%5Cud800%22%2C1%5D", "after=" + "%5B" * 500, "after=%7B%7D", "after=%22%00%22", "unit=x", "unit=99", "role=king", "state=%27",
        "all=maybe", "as=pdf",
    ):  # fmt: skip
        for path in ("/admin/accounts/", "/admin/machines/"):
            assert grace.get(f"{path}?{query}").status_code == 200, query


def test_pages_of_before_are_found_by_the_addresses_of_before(grace: Browser, people: dict[str, Actor]) -> None:
    """`after` was a machine's number alone, and `start` how many accounts to leave out."""
    many_people(60)
    assert rows(grace.get("/admin/machines/?after=4").text) == ["notebook-3", "notebook-2", "notebook-1"]
    names = [row.name for row in Account.select().order_by(Account.name)]
    assert rows(grace.get("/admin/accounts/?start=50").text) == names[50:]


def test_accounts_are_narrowed_by_org_unit_role_and_state(grace: Browser, people: dict[str, Actor]) -> None:
    science = OrgUnit.get(OrgUnit.name == "Science").id
    mathematics = OrgUnit.get(OrgUnit.name == "Mathematics").id
    org_units.move_people(people["grace"], [people["ada"].account_id or 0], mathematics)
    accounts.disable(people["grace"], people["alan"].account_id or 0)
    for query, wanted in (
        (f"unit={science}", ["ada"]), (f"unit={ROOT}", ["ada", "alan", "grace", "mary"]), ("role=owner", ["grace"]),
        ("role=class_manager", ["mary"]), ("role=user", ["ada", "alan", "grace", "mary"]), ("state=disabled", ["alan"]),
        ("state=enabled&text=a", ["ada", "grace", "mary"]),
    ):  # fmt: skip
        assert rows(grace.get(f"/admin/accounts/?{query}").text) == wanted, query
    page = grace.get("/admin/accounts/").text
    assert "Owner, User" in page
    assert "Class manager, User" in page  # by a group, and by the unit that everybody is in


@pytest.fixture
def delegate(signed_in: Callable[[str], Browser], people: dict[str, Actor]) -> Browser:
    """Alan, who looks after the org unit Science, in which ada is."""
    science = OrgUnit.get(OrgUnit.name == "Science").id
    with catalog.write():
        Grant.create(role="delegated_admin", account=people["alan"].account_id, over_unit=science)
        Account.update(org_unit=science).where(Account.name == "ada").execute()
    return signed_in("alan")


@pytest.mark.authz
def test_a_delegate_sees_what_is_theirs_alone_counts_included(delegate: Browser, people: dict[str, Actor]) -> None:
    page = delegate.get("/admin/accounts/").text
    assert rows(page) == ["ada"]
    assert "1 account<" in page
    machines = delegate.get("/admin/machines/").text
    assert rows(machines) == ["notebook-5"]
    assert "1 machine<" in machines
    assert "in use (1)" in machines
    assert "ready (" not in machines
    assert [row["Name"] for row in table(delegate, "/admin/accounts/?as=csv")] == ["ada"]
    mary = people["mary"].account_id
    refused = delegate.post("/admin/accounts/bulk", {"verb": "move", "id": [str(mary)], "to": str(Account.get(name="ada").org_unit_id)})
    assert refused.status_code == 303
    assert rows(delegate.get("/admin/accounts/").text) == ["ada"]
    assert Account.get_by_id(mary).org_unit_id == ROOT


@pytest.mark.authz
def test_who_may_only_look_is_offered_no_verbs(signed_in: Callable[[str], Browser], people: dict[str, Actor]) -> None:
    with catalog.write():
        Grant.create(role="approver", account=people["alan"].account_id)
    alan = signed_in("alan")
    for path in ("/admin/machines/", "/admin/accounts/", "/admin/org-units/1"):
        page = alan.get(path).text
        assert 'name="verb"' not in page
        assert 'type="checkbox" name="id"' not in page
    assert alan.post("/admin/machines/bulk", {"verb": "reclaim", "id": [Machine.get().id]}).status_code == 403


@pytest.mark.hostile
def test_a_file_has_all_that_the_filter_shows_and_no_formula(grace: Browser) -> None:
    many_people(130)
    with catalog.write():
        for number, name in enumerate(("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", '<b>Ö</b>, "x"')):
            Account.create(name=f"z{number}", full_name=name, password="!")
    found = table(grace, "/admin/accounts/?text=Person&sort=-name&as=csv")
    assert [row["Name"] for row in found] == [f"p{number:03}" for number in reversed(range(130))]
    assert found[0]["State"] == "enabled"
    assert found[0]["Roles"] == "user"
    names = [row["Full name"] for row in table(grace, "/admin/accounts/?text=z&as=csv") if row["Name"].startswith("z")]
    assert names == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", '<b>Ö</b>, "x"']
    assert list(found[0]) == ["Name", "Full name", "E-mail", "Roles", "Org unit", "State", "Machines", "Last seen"]
    assert list(table(grace, "/admin/accounts/?columns=name,created&as=csv")[0]) == ["Name", "Created"]
    machines = table(grace, "/admin/machines/?state=in_use&columns=machine,unit,address&as=csv")
    assert {row["Machine"] for row in machines} == {row.name for row in Machine.select().where(Machine.state == MachineState.IN_USE)}
    assert all(row["Address"].startswith("10.213.0.") and row["Org unit"] == "Everybody" for row in machines)


# -- views under names of one's own -----------------------------------------------------------------


def test_a_view_is_saved_under_a_name_found_again_and_deleted(grace: Browser, ada: Browser, people: dict[str, Actor]) -> None:
    page = grace.get("/admin/accounts/?text=a&state=enabled&sort=-email&columns=name,email").text
    to_save = unescape(re.search(r'href="(/views/new\?[^"]*)"', page)[1])  # type: ignore[index]
    form = grace.get(to_save).text
    sent = dict(re.findall(r'type="hidden" name="(list|query)" value="([^"]*)"', form))
    sent = {name: unescape(value) for name, value in sent.items()}
    refused = grace.post("/views/new", {**sent, "name": " "})
    assert refused.status_code == 400
    assert "A view needs a name" in refused.text
    saved = grace.post("/views/new", {**sent, "name": "  With <b>mail</b> "})
    address = "/admin/accounts/?text=a&state=enabled&sort=-email&columns=name%2Cemail"
    assert saved.headers["Location"] == address
    page = grace.get("/admin/accounts/").text
    assert f'href="{address.replace("&", "&amp;")}">With &lt;b&gt;mail&lt;/b&gt;</a>' in page
    assert "With &lt;b&gt;" not in grace.get("/admin/machines/").text
    grace.post("/views/new", {**sent, "query": "text=b", "name": "With <b>mail</b>"})  # the same name is the same view
    [view] = SavedView.select()
    assert view.query == "text=b"
    ada.get("/")
    assert ada.post(f"/views/{view.id}/delete").status_code == 404  # it is nobody else's
    assert grace.post(f"/views/{view.id}/delete").headers["Location"] == "/admin/accounts/"
    assert SavedView.select().count() == 0


@pytest.mark.hostile
@pytest.mark.parametrize("list", ["", "auth.sign_out", "accounts.page", "https://evil.test/", "static"])
def test_a_view_leads_to_a_list_and_nowhere_else(grace: Browser, list: str) -> None:
    assert grace.post("/views/new", {"list": list, "query": "a=b", "name": "x"}).status_code == 404
    assert SavedView.select().count() == 0


# -- several at once --------------------------------------------------------------------------------


def bulk(browser: Browser, path: str, verb: str, ids: list[Any], **more: str) -> str:
    """What the page says after a verb, where it leads to."""
    answer = browser.post(path, {"verb": verb, "id": [str(id) for id in ids], **more})
    while answer.status_code == 303:
        answer = browser.get(answer.headers["Location"].replace("https://appliance.test:8443", ""))
    return answer.text


def test_sixty_people_are_moved_at_once(grace: Browser, people: dict[str, Actor]) -> None:
    workshop = OrgUnit.get(OrgUnit.name == "Workshop").id
    ids = many_people(60)
    page = grace.get(f"/admin/org-units/{ROOT}").text
    assert len(re.findall(r'type="checkbox" name="id"', page)) == 64
    assert f'<option value="{workshop}">' in page
    assert "60 accounts moved to Workshop." in bulk(grace, f"/admin/org-units/{ROOT}/move", "move", ids, to=str(workshop))
    assert {row.org_unit_id for row in Account.select().where(Account.id.in_(ids))} == {workshop}
    assert Event.select().where(Event.kind == "account.moved").count() == 60
    # All are selected without a script, too; and a page that was open during an update calls them what they were called.
    assert len(re.findall(r'name="id"[^>]* checked', grace.get(f"/admin/org-units/{workshop}?all=yes").text)) == 60
    old = grace.post(f"/admin/org-units/{workshop}/move", {"account": [str(id) for id in ids[:3]], "to": str(ROOT)})
    assert old.status_code == 303
    assert Account.select().where(Account.org_unit == workshop).count() == 57


def test_all_that_fit_are_moved_beyond_the_page_once_it_is_said_which_they_are(
    grace: Browser, people: dict[str, Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = str(OrgUnit.get(OrgUnit.name == "Workshop").id)
    ids = many_people(70)
    assert "All 74 accounts that fit" in grace.get("/admin/accounts/").text
    form = {"verb": "move", "every": "yes", "to": workshop, "view": "text=p0&start=50"}
    asked = grace.post("/admin/accounts/bulk", form)
    assert asked.status_code == 200
    assert "Move: 70 accounts?" in asked.text
    assert "Move to Workshop." in asked.text
    assert Account.select().where(Account.org_unit == workshop).count() == 0
    shown = re.findall(r'type="hidden" name="id" value="(\d+)"', asked.text)
    assert sorted(map(int, shown)) == ids
    assert "70 accounts moved to Workshop." in bulk(grace, "/admin/accounts/bulk", "move", shown, to=workshop, confirmed="yes")
    assert Account.select().where(Account.org_unit == workshop).count() == 70
    monkeypatch.setattr("webui.lists.MOST", 73)
    assert "More than 73 accounts fit" in bulk(grace, "/admin/accounts/bulk", "move", [], every="yes", to=workshop, view="")


def test_what_is_refused_for_some_is_done_to_the_others_and_named(grace: Browser, people: dict[str, Actor]) -> None:
    ids = many_people(3)
    with catalog.write():
        Account.update(directory_id="7", full_name="<b>D</b>").where(Account.id == ids[1]).execute()
    to = str(OrgUnit.get(OrgUnit.name == "Workshop").id)
    page = bulk(grace, "/admin/accounts/bulk", "move", [*ids, 9999], to=to, view="sort=-name&text=p0")
    assert "Move: 2 accounts refused" in page
    assert "<strong>p001</strong>" in page
    assert "The directory says where p001 is." in page
    assert "<strong>1 account</strong>" in page
    assert "Not there any more" in page
    assert "2 accounts moved to Workshop" in page
    assert 'href="/admin/accounts/?sort=-name&amp;text=p0">Back to the list' in page
    assert [row.org_unit.name for row in Account.select().where(Account.id.in_(ids)).order_by(Account.id)] == [
        "Workshop",
        "Everybody",
        "Workshop",
    ]


def test_what_is_sent_in_pieces_is_told_together(grace: Browser, people: dict[str, Actor]) -> None:
    ids = many_people(4)
    with catalog.write():
        Account.update(directory_id="7").where(Account.id == ids[1]).execute()
    to = str(OrgUnit.get(OrgUnit.name == "Workshop").id)
    form = {"verb": "move", "to": to, "confirmed": "yes", "view": ""}
    piece = grace.post("/admin/accounts/bulk", {**form, "id": ids[:2]}, Accept="application/json")
    assert piece.json is not None
    assert piece.json["done"] == 1
    assert piece.json["refused"] == [["p001", "The directory says where p001 is.", "Move them in the directory; it is followed here."]]
    page = grace.post("/admin/accounts/bulk", {**form, "id": ids[2:], "before": piece.text}).text
    assert "Move: 1 account refused" in page
    assert "3 accounts moved to Workshop" in page
    assert "The directory says where p001 is." in page
    hostile = grace.post("/admin/accounts/bulk", {**form, "id": ids[2:], "before": '{"refused": [["<script>", "<b>", ""]]}'}).text
    assert "<strong>&lt;script&gt;</strong>" in hostile
    assert "2 accounts moved" in bulk(grace, "/admin/accounts/bulk", "move", ids[2:], to=to, before="{")


def test_before_a_loss_it_is_asked_with_how_many_and_which(grace: Browser, people: dict[str, Actor]) -> None:
    held = list(Machine.select().where(Machine.state == MachineState.IN_USE))
    ids = [row.id for row in held]
    page = bulk(grace, "/admin/machines/bulk", "reclaim", ids)
    assert "Reclaim: 4 machines?" in page
    assert all(f"<li>{row.name}</li>" in page for row in held)
    assert Machine.select().where(Machine.state == MachineState.RECLAIMING).count() == 1
    assert "4 machines reclaimed." in bulk(grace, "/admin/machines/bulk", "reclaim", ids, confirmed="yes")
    assert {row.state for row in Machine.select().where(Machine.id.in_(ids))} == {MachineState.RECLAIMING}


def test_what_loses_nothing_is_done_at_once(grace: Browser, people: dict[str, Actor]) -> None:
    ids = [row.id for row in Machine.select().where(Machine.state.in_([MachineState.IN_USE, MachineState.READY]))]
    page = bulk(grace, "/admin/machines/bulk", "extend", ids)
    assert "4 machines extended" in page
    assert "Extend: 3 machines refused" in page
    assert page.count("Nobody holds") == 3


def test_accounts_are_disabled_and_enabled_at_once_but_not_ones_own(grace: Browser, people: dict[str, Actor]) -> None:
    ids = [actor.account_id for actor in people.values()]
    assert "Disable: 4 accounts?" in bulk(grace, "/admin/accounts/bulk", "disable", ids)
    page = bulk(grace, "/admin/accounts/bulk", "disable", ids, confirmed="yes")
    assert "3 accounts disabled" in page
    assert "You cannot disable your own account." in page
    assert Account.select().where(Account.disabled == True).count() == 3  # noqa: E712
    assert "3 accounts enabled." in bulk(grace, "/admin/accounts/bulk", "enable", [id for id in ids if id != people["grace"].account_id])


def test_who_it_is_is_asked_once_more_like_for_one(grace: Browser, people: dict[str, Actor]) -> None:
    with catalog.write():
        Session.update(confirmed_at=None).execute()
    ids = [row.id for row in Machine.select().where(Machine.state == MachineState.IN_USE)]
    asked = grace.post("/admin/machines/bulk", {"verb": "reclaim", "id": ids, "confirmed": "yes"})
    assert 'name="again"' in asked.text
    assert asked.text.count('name="id"') == len(ids)
    assert Machine.select().where(Machine.state == MachineState.RECLAIMING).count() == 1
    answer = grace.post("/admin/machines/bulk", {"verb": "reclaim", "id": ids, "confirmed": "yes", "again": world.PASSWORD})
    assert answer.status_code == 303
    assert Machine.select().where(Machine.state == MachineState.RECLAIMING).count() == 1 + len(ids)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({}, 303), ({"verb": "nonsense", "id": ["1"]}, 404), ({"verb": "move", "id": ["1"], "to": "99"}, 303), ({"verb": "move", "id": ["x", "9" * 40]}, 303),
        ({"verb": "move", "id": ["1"], "to": "x" * 300}, 400), ({"verb": "enable", "view": "%0d%0aSet-Cookie: a=b&x=\r\ny"}, 303),
    ],
)  # fmt: skip
def test_strange_things_to_do(grace: Browser, form: dict[str, Any], status: int) -> None:
    answer = grace.post("/admin/accounts/bulk", form)
    assert answer.status_code == status
    assert answer.headers.get("Location", "/admin/accounts/").startswith("/admin/accounts/")
    assert "Set-Cookie: a" not in str(answer.headers)


@pytest.mark.authz
def test_nothing_is_done_to_what_somebody_may_look_at_and_no_more(signed_in: Callable[[str], Browser], people: dict[str, Actor]) -> None:
    """Alan sees everybody, and looks after those in Science only."""
    science = OrgUnit.get(OrgUnit.name == "Science").id
    with catalog.write():
        Grant.create(role="approver", account=people["alan"].account_id)
        Grant.create(role="delegated_admin", account=people["alan"].account_id, over_unit=science)
    ids = many_people(2) + many_people_in_science(science)
    page = bulk(signed_in("alan"), "/admin/accounts/bulk", "disable", ids, confirmed="yes")
    assert "Disable: 2 accounts refused" in page
    assert page.count("This is not yours to look after.") == 2
    disabled = {row.name for row in Account.select().where(Account.disabled == True)}  # noqa: E712
    assert disabled == {"p000", "s0", "s1"}  # the first of them was before
    held = [row.id for row in Machine.select().where(Machine.state == MachineState.IN_USE)]
    page = bulk(signed_in("alan"), "/admin/machines/bulk", "reclaim", held, confirmed="yes")
    assert "1 machine reclaimed" in page
    assert page.count("This is not yours to look after.") == 3


def many_people_in_science(unit: int) -> list[int]:
    with catalog.write():
        Account.update(org_unit=unit).where(Account.name == "ada").execute()
        return [Account.create(name=f"s{number}", password="!", org_unit=unit).id for number in range(2)]


# -- the other lists --------------------------------------------------------------------------------


def make_runs(people: dict[str, Actor], count: int) -> None:
    states = [RunState.DONE, RunState.FAILED, RunState.WAITING]
    accounts_of = [people["ada"].account_id, people["mary"].account_id, None]
    with catalog.write():
        for number in range(count):
            Run.create(
                kind=["assign", "reclaim"][number % 2], state=states[number % 3], machine_class=["notebook", "studio"][number // 7 % 2],
                account=accounts_of[number % 3], ended_at=now() if number % 3 < 2 else None,
            )  # fmt: skip


def make_disks(people: dict[str, Actor], count: int) -> None:
    with catalog.write():
        for number in range(count):
            DataDisk.create(
                id=f"{number * 37 % count:04}", account=people["ada" if number % 2 else "mary"].account_id, name=f"Disk {number % 9}", size=number % 4,
                machine_class="notebook" if number % 5 else "studio", state=DiskState.READY, last_used_at=now() if number % 3 else None,
            )  # fmt: skip
            KeptDisk.create(
                id=f"{number * 37 % count:04}", machine_name=f"gone-{number % 8}", account=people["ada"].account_id if number % 2 else None,
                machine_class="notebook", seed=Seed.get().id, size=8, bytes=number % 6, until=now() + timedelta(hours=number % 10),
            )  # fmt: skip


def make_groups(people: dict[str, Actor], count: int) -> None:
    units = [row.id for row in OrgUnit.select()]
    with catalog.write():
        for number in range(count):
            group = Group.create(name=f"g{number:03}", about=f"About {number % 5}", org_unit=units[number % len(units)])
            for name in list(people)[: number % 4]:
                Member.create(group=group, account=people[name].account_id)


# Path, the list, what the catalog sorts it by.
LISTS = [
    ("/admin/machines/", MACHINES, machines.SORTS), ("/admin/accounts/", ACCOUNTS, account_rows.SORTS), ("/admin/org-units/1", PEOPLE, account_rows.SORTS),
    ("/admin/org-units/", UNITS, org_units.SORTS), ("/admin/groups/", GROUPS, groups.SORTS), ("/admin/seeds/", SEEDS, seeds.SORTS), ("/admin/workflow/runs/", RUNS, runs.SORTS),
    ("/admin/data-disks/", DISKS, data_disks.SORTS), ("/admin/retained-disks/", RETAINED, data_disks.RETAINED_SORTS),
]  # fmt: skip


def test_each_list_shows_each_of_its_columns_and_is_sorted_by_what_the_catalog_knows(grace: Browser, people: dict[str, Actor]) -> None:
    make_runs(people, 3)
    make_disks(people, 3)
    make_groups(people, 3)
    for path, kind, sorts in LISTS:
        assert {column.name for column in kind.columns if column.sorts} <= set(sorts), path
        assert kind.order.removeprefix("-") in sorts
        page = grace.get(f"{path}?columns={','.join(column.name for column in kind.columns)}").text
        for column in kind.columns[1:]:
            assert f'data-label="{column.title}"' in page, (path, column.title)
        assert list(table(grace, f"{path}?as=csv")[0]) == [column.title for column in kind.columns if column.shown and column.value], path


def test_events_know_their_end_and_go_both_ways(grace: Browser) -> None:
    with catalog.write():
        for number in range(100):
            catalog.record("support.bundle", f"number-{number} happened.")
    said = []
    for order in ("-at", "at"):
        address: str | None = f"/admin/events/?kind=support&sort={order}"
        pages = []
        while address:
            page = grace.get(address).text
            pages.append(re.findall(r"number-(\d+) ", page))
            address = after(page)
        assert [len(page) for page in pages] == [50, 50]
        said.append([int(number) for page in pages for number in page])
    assert said == [list(reversed(range(100))), list(range(100))]
    assert "form=csv&amp;kind=support" in grace.get("/admin/events/?kind=support").text


def test_what_is_done_to_several_disks_groups_seeds_and_runs(grace: Browser, people: dict[str, Actor]) -> None:
    make_disks(people, 4)
    make_groups(people, 3)
    assert "4 data disks to be backed up." in bulk(grace, "/admin/data-disks/bulk", "back-up", ["0000", "0001", "0002", "0003"])
    assert DataDisk.select().where(DataDisk.backup_asked == True).count() == 4  # noqa: E712
    kept = ["0000", "0001"]
    assert "Remove selected: 2 retained disks?" in bulk(grace, "/admin/retained-disks/bulk", "remove", kept)
    assert "2 retained disks to be removed." in bulk(grace, "/admin/retained-disks/bulk", "remove", kept, confirmed="yes")
    ids = [row.id for row in Group.select().where(Group.name.startswith("g0"))]
    assert "3 groups removed." in bulk(grace, "/admin/groups/bulk", "remove", ids, confirmed="yes")
    seeds = [row.id for row in Seed.select().where(Seed.machine_class == "notebook")]
    page = bulk(grace, "/admin/seeds/bulk", "delete", seeds, confirmed="yes")
    assert "1 seed deleted" in page
    assert "New machines of notebook are made from this version." in page
    make_runs(people, 3)
    runs = [row.id for row in Run.select()]
    assert "Cancel: 3 runs?" in bulk(grace, "/admin/workflow/runs/bulk", "cancel", runs)


@pytest.mark.authz
def test_other_lists_end_at_the_reach_too(delegate: Browser, people: dict[str, Actor]) -> None:
    make_runs(people, 9)
    make_disks(people, 8)
    for path in ("/admin/workflow/runs/", "/admin/data-disks/", "/admin/retained-disks/"):
        owners = {row.get("Owner") or row.get("Account") for row in table(delegate, f"{path}?as=csv")}
        assert owners == {"ada"}, path
    assert "4 data disks<" in delegate.get("/admin/data-disks/").text
    assert [row["Group"] for row in table(delegate, "/admin/groups/?as=csv")] == ["analysts"]
    assert delegate.get("/admin/events/").status_code == 403


def test_org_units_are_a_tree_until_they_are_searched_or_sorted_and_empty_ones_are_removed_at_once(
    grace: Browser, delegate: Browser, people: dict[str, Actor]
) -> None:
    path = "/admin/org-units/"
    with catalog.write():
        above = OrgUnit.create(parent=ROOT, name="Arts")
        for name in ("Zoo", "Music"):
            OrgUnit.create(parent=above, name=name)
        Group.create(name="choir", org_unit=OrgUnit.get(OrgUnit.name == "Music"))
    tree = re.findall(r'<a class="name[^>]*>([^<]+)</a>', grace.get(path).text)
    assert tree[tree.index("Arts") :][:3] == ["Arts", "Music", "Zoo"]
    assert 'class="name tree-1"' in grace.get(path).text
    assert rows(grace.get(f"{path}?text=mus").text) == ["Arts / Music"]
    found = table(grace, f"{path}?sort=-people&as=csv")
    assert [int(row["People"]) for row in found] == sorted((int(row["People"]) for row in found), reverse=True)
    assert {row["Org unit"]: row["Groups"] for row in found}["Arts / Music"] == "1"
    assert "Arts" not in delegate.get(path).text + delegate.get(f"{path}?as=csv").text
    empty, full = (OrgUnit.get(OrgUnit.name == name).id for name in ("Zoo", "Music"))
    asked = grace.post(f"{path}bulk", {"verb": "remove", "id": [str(empty), str(full)]}).text
    assert "Remove: 2 org units?" in asked
    done = grace.post(f"{path}bulk", {"verb": "remove", "id": [str(empty), str(full)], "confirmed": "yes"}).text
    assert "1 org unit removed" in done
    assert "Music is not empty." in done
