"""The pages of one person: what they show, and deleting the account."""

from collections.abc import Callable

import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, DataDisk, DiskState, Event, Group, Machine, MachineState, Member
from appliance.services import tokens
from tests.unit.webui.conftest import HOST, Browser

pytestmark = pytest.mark.console_ui


def disk(people: dict[str, Actor], name: str = "thesis") -> None:
    with catalog.write():
        DataDisk.create(id=name, account=people["mary"].account_id, machine_class="notebook", name=name, size=1, state=DiskState.READY)


def test_a_persons_page_shows_unit_groups_roles_quota_and_leads_to_the_rest(grace: Browser, people: dict[str, Actor]) -> None:
    disk(people)
    page, address = "", f"/admin/accounts/{people['mary'].account_id}"
    page = grace.get(address).text
    for words in (
        "Everybody",
        "analysts",
        "Class manager over the class studio",
        "User over the appliance",
        "6 machines",
        "2 machines",
        "enabled",
    ):
        assert words in page, words
    for section, words in (
        ("machines", ("notebook-", "studio-", "thesis", "Retained disks")),
        ("sign-in", ("Mary Somerville", "One-time codes", "API tokens", "Sessions")),
        ("permissions", ("group analysts",)),
        ("events", ("mary got notebook-",)),
    ):
        shown = grace.get(f"{address}/{section}")
        assert shown.status_code == 200
        assert f'href="{address}/{section}" aria-current="page"' in shown.text
        for word in words:
            assert word in shown.text, (section, word)
    grace.post(f"{address}/password", {"password": "chosen by an admin"})
    assert "the password is to be changed" in grace.get(address).text


def test_deleting_an_account_says_what_its_person_has_and_asks_what_becomes_of_it(grace: Browser, people: dict[str, Actor]) -> None:
    disk(people)
    address = f"/admin/accounts/{people['mary'].account_id}"
    page = grace.get(f"{address}/delete").text
    for words in ("2 machines", "They are reclaimed", "1 data disk", "thesis", "Become somebody else&#39;s", "a place in 1 group"):
        assert words in page, words
    refused = grace.post(f"{address}/delete", {"disks": "hand over", "to": "alann"})
    assert refused.status_code == 400
    assert "There is no account alann." in refused.text
    assert "Did you mean alan?" in refused.text
    assert 'value="alann"' in refused.text  # nothing entered is lost
    answer = grace.post(f"{address}/delete", {"disks": "hand over", "to": "alan"})
    assert answer.headers["Location"] == "/admin/accounts/"
    assert "The account mary is deleted." in grace.get("/admin/accounts/").text
    assert grace.get(address).status_code == 404
    assert DataDisk.get().account_id == people["alan"].account_id
    assert Member.select().where(Member.group == Group.get().id).count() == 0
    assert Machine.select().where(Machine.reclaim_reason == "taken back by an admin").count() == 2
    assert Machine.select().where(Machine.state == MachineState.IN_USE).count() == 2
    for path in ("/admin/events/", "/admin/machines/", "/admin/workflow/runs/", "/admin/data-disks/", "/admin/", "/"):
        assert grace.get(path).status_code == 200, path


def test_who_cannot_be_deleted_is_said_before_it_is_tried(grace: Browser, people: dict[str, Actor]) -> None:
    page = grace.get(f"/admin/accounts/{people['grace'].account_id}/delete")
    assert "You cannot delete your own account." in page.text
    assert " disabled>" in page.text
    assert "Delete …" not in grace.get(f"/admin/accounts/{people['grace'].account_id}").text
    assert grace.post(f"/admin/accounts/{people['grace'].account_id}/delete").status_code == 409
    assert Account.get(Account.name == "grace")


@pytest.mark.api
def test_the_api_deletes_an_account(grace: Browser, people: dict[str, Actor], signed_in: Callable[[str], Browser]) -> None:
    mary = signed_in("mary")
    disk(people)
    token = tokens.create(people["grace"], "script", ["admin:people"], 7)

    def delete(**plan: str) -> tuple[int, str]:
        answer = grace.client.post(
            f"/api/v1/admin/accounts/{people['mary'].account_id}/delete",
            base_url=HOST, json=plan, headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        return answer.status_code, answer.text

    status, said = delete(disks="hand over", to="nobody")
    assert status == 400
    assert "There is no account nobody." in said
    assert delete(disks="burn")[0] == 400
    assert delete(disks="delete") == (204, "")
    assert delete()[0] == 404
    assert mary.get("/").status_code == 303  # signed out
    assert DataDisk.get().state is DiskState.REMOVING
    assert Event.get(Event.kind == "account.deleted").data["before"]["email"] == "mary@example.org"
