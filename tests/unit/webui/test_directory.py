"""The directory's page without a directory; tests/browser has one."""

from datetime import timedelta

from appliance import catalog
from appliance.catalog import Account, DirectoryRun, RunState, Session, now
from appliance.identity import passwords
from appliance.services import directory
from tests import world
from tests.unit.webui.conftest import Browser

FORM = {
    "kind": "ldap",
    "servers": "ldap.invalid\n127.0.0.1:1",
    "encryption": "starttls",
    "base": "dc=example,dc=org",
    "minutes": "60",
    "sign_in": "search",
}
SECRET = {"bind_dn": "cn=reader,dc=example,dc=org", "password": "the reader's password"}


def test_what_is_saved_is_shown_but_for_the_password(grace: Browser) -> None:
    assert grace.post("/admin/directory/", FORM | SECRET).status_code == 303
    page = grace.get("/admin/directory/").text
    for words in (
        "ldap.invalid\n127.0.0.1:1",
        "cn=reader,dc=example,dc=org",
        "Leave it empty to keep the one that is stored.",
        "Waiting for the engine",
    ):
        assert words in page
    assert "the reader&#39;s password" not in page
    assert "the reader's password" not in page
    assert grace.post("/admin/directory/", FORM | {"bind_dn": SECRET["bind_dn"], "minutes": "15"}).status_code == 303
    current = directory.current()
    assert current is not None
    assert current[1] == SECRET["password"]


def test_who_says_that_there_is_none_is_asked_no_more_until_one_is_connected(grace: Browser) -> None:
    assert 'data-kind="connect-directory"' in grace.get("/needs/").text
    assert "There is none" in grace.get("/admin/directory/").text
    assert grace.post("/admin/directory/none", {}).status_code == 303
    assert 'data-kind="connect-directory"' not in grace.get("/needs/").text
    page = grace.get("/admin/directory/").text
    assert "There is no directory; only local accounts sign in." in page
    assert "/admin/directory/none" not in page
    assert grace.post("/admin/directory/switch", {"on": "yes"}).status_code == 409, "none can be switched on"
    assert grace.post("/admin/directory/", FORM).status_code == 303
    assert directory.is_on()
    assert grace.post("/admin/directory/none", {}).status_code == 409
    grace.post("/admin/directory/switch", {"on": "no"})
    assert 'data-kind="connect-directory"' not in grace.get("/needs/").text, "it was decided"


def test_a_slip_is_named_and_loses_nothing(grace: Browser) -> None:
    answer = grace.post("/admin/directory/", FORM | SECRET | {"base": "<example.org>"})
    assert answer.status_code == 400
    for words in ("&lt;example.org&gt;", "is not a place in a directory", "ldap.invalid", 'value="the reader&#39;s password"'):
        assert words in answer.text
    assert directory.entered() == {}


def test_the_test_names_each_server_and_changes_nothing(grace: Browser) -> None:
    page = grace.post("/admin/directory/test", FORM | SECRET).text
    assert "There is no host called ldap.invalid." in page
    assert "Nothing listens at 127.0.0.1:1." in page
    assert directory.entered() == {}


def test_changing_it_asks_once_more_who_it_is(grace: Browser) -> None:
    with catalog.write():
        Session.update(confirmed_at=now() - timedelta(hours=1)).execute()
    for path in ("/admin/directory/", "/admin/directory/switch"):
        answer = grace.post(path, FORM | SECRET)
        assert answer.status_code == 403
        assert "Confirm access" in answer.text
    assert grace.post("/admin/directory/", FORM | SECRET | {"again": world.PASSWORD}).status_code == 303
    assert directory.is_on()


def test_runs_are_told_in_words(grace: Browser) -> None:
    grace.post("/admin/directory/", FORM)
    with catalog.write():
        DirectoryRun.delete().execute()
        counts = {"people": 5000, "groups": 1, "units": 2, "added": 3, "changed": 0, "removed": 1}
        DirectoryRun.create(
            state=RunState.DONE, counts=counts, problems=[f"<b>{number}</b>" for number in range(7)], started_at=now(), ended_at=now()
        )
    page = grace.get("/admin/directory/").text
    for words in (
        "5 000 people, 1 group, 2 org units",
        "3 added, 1 removed",
        "7 things in the directory",
        "&lt;b&gt;6&lt;/b&gt;",
        "The other 2",
    ):
        assert words in page


def test_an_account_of_the_directory_has_no_password_here(grace: Browser, visitor: Browser) -> None:
    with catalog.write():
        row = Account.create(name="emmy", full_name="Emmy", password="!", directory_id="1", dn="uid=emmy,dc=example,dc=org")
    page = grace.get(f"/admin/accounts/{row.id}").text
    assert "uid=emmy,dc=example,dc=org" in page
    assert "Set password" not in page
    assert grace.post(f"/admin/accounts/{row.id}/password", {"password": "a long enough password"}).status_code == 409
    assert grace.post(f"/admin/accounts/{row.id}", {"full_name": "Someone else", "email": "", "ssh_keys": ""}).status_code == 303
    assert Account.get_by_id(row.id).full_name == "Emmy"
    with catalog.write():
        Account.update(password=passwords.digest("left from before")).where(Account.id == row.id).execute()
    assert visitor.sign_in("emmy", "left from before").status_code == 403, "while no directory is used, nobody vouches for its people"


def test_five_thousand_accounts_are_a_page_at_a_time_and_found_by_name(grace: Browser) -> None:
    with catalog.write():
        rows = [
            {"name": f"user{number:04}", "full_name": f"Person {number}", "password": "!", "directory_id": str(number)}
            for number in range(5000)
        ]
        for first in range(0, 5000, 500):
            Account.insert_many(rows[first : first + 500]).execute()
    page = grace.get("/admin/accounts/").text
    assert page.count("<tr>") == 51
    assert "1 to 50 of 5 0" in page
    assert "start=50" in page
    assert grace.get("/admin/accounts/?start=4990").text.count("<tr>") <= 51
    found = grace.get("/admin/accounts/?text=PERSON 4321").text
    assert "user4321" in found
    assert found.count("<tr>") == 2
    assert "No account is called like that." in grace.get("/admin/accounts/?text=nobody at all").text
    assert grace.get("/admin/accounts/?start=-5").status_code == 200
