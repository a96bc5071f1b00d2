"""The pages of what outlives machines: a person's data disks and kept machines, an admin's, and recovery."""

import uuid
from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Backup, DataDisk, DiskState, KeptDisk, KeptState, Run, machines, now
from appliance.catalog import seeds as seed_rows
from appliance.services import tokens
from tests import world
from tests.unit.webui.conftest import Browser


@pytest.fixture
def things(opened):
    """Ada's data disk, a kept machine of hers, and a copy of the disk."""
    people = world.busy(opened)
    with catalog.write():
        seed = seed_rows.promoted("notebook")
        ada = people["ada"].account_id
        disk = DataDisk.create(
            id=str(uuid.uuid4()), account=ada, machine_class="notebook", name="Thesis", size=20, state=DiskState.READY, last_used_at=now()
        )
        gone = machines.create(seed.machine_class, seed, str(uuid.uuid4()), 77)
        machines.change(gone.id, list(catalog.MachineState), catalog.MachineState.RETIRED)
        kept = KeptDisk.create(
            id=gone.id,
            machine_name=gone.name,
            account=ada,
            machine_class="notebook",
            seed=seed,
            size=8,
            bytes=10**9,
            until=now() + timedelta(days=2),
        )
        copy = Backup.create(
            path=f"/copies/{disk.id}/20261120T100000.qcow2", disk=disk.id, disk_name="Thesis", machine_name="notebook-1", class_name="notebook",
            account_name="ada", size=20, bytes=10**8, taken_at=now() - timedelta(days=1),
        )  # fmt: skip
    return disk, kept, copy


@pytest.fixture
def ada(app, things):
    browser = Browser(app.test_client())
    browser.sign_in("ada")
    return browser


@pytest.fixture
def grace(app, things):
    browser = Browser(app.test_client())
    browser.sign_in("grace")
    return browser


def test_a_person_sees_renames_and_deletes_their_data_disk(ada, things):
    disk, *_ = things
    assert "Thesis" in ada.get("/").text
    page = ada.get(f"/data-disks/{disk.id}").text
    assert "20 GiB" in page
    assert ada.post(f"/data-disks/{disk.id}/rename", {"name": "  My   work "}).status_code == 303
    assert DataDisk.get_by_id(disk.id).name == "My work"
    refused = ada.post(f"/data-disks/{disk.id}/delete", {"typed": "Thesis"})
    assert refused.status_code == 400
    assert "nothing is deleted" in refused.text
    assert ada.post(f"/data-disks/{disk.id}/delete", {"typed": "My work"}).status_code == 303
    assert DataDisk.get_by_id(disk.id).state is DiskState.REMOVING
    assert "My work" not in ada.get("/").text.replace("The data disk My work is deleted.", "")
    assert ada.get(f"/data-disks/{disk.id}").status_code == 404


@pytest.mark.badinput
@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\x00b", "a\u202eb"])
def test_what_cannot_be_a_name_is_refused_beside_its_field_and_kept_there(ada, things, name):
    answer = ada.post(f"/data-disks/{things[0].id}/rename", {"name": name})
    assert answer.status_code == 400
    assert "cannot be the name" in answer.text
    assert DataDisk.get_by_id(things[0].id).name == "Thesis"


@pytest.mark.badinput
def test_a_disk_in_use_is_not_deleted(ada, things):
    disk, *_ = things
    [mine] = machines.of_account(disk.account_id)
    DataDisk.update(machine=mine.id).execute()
    answer = ada.post(f"/data-disks/{disk.id}/delete", {"typed": "Thesis"})
    assert answer.status_code == 409
    assert "Give the machine back first" in answer.text
    assert "What is in /data stays" in ada.get("/").text


def test_other_people_do_not_learn_of_it(app, things):
    other = Browser(app.test_client())
    other.sign_in("alan")
    disk, kept, _ = things
    assert other.get(f"/data-disks/{disk.id}").status_code == 404
    assert other.post(f"/data-disks/{disk.id}/delete", {"typed": "Thesis"}).status_code == 404
    assert other.post(f"/retained-disks/{kept.id}/restore").status_code == 404


def test_an_admin_lists_finds_and_deletes_after_saying_who_they_are(grace, things, app):
    disk, *_ = things
    for query, there in (
        ("", True),
        ("?text=ada", True),
        ("?text=nobody", False),
        ("?use=free", True),
        ("?use=attached", False),
        ("?use=nobody", False),
        ("?class=studio", False),
    ):
        assert ("Thesis" in grace.get(f"/admin/data-disks/{query}").text) == there, query
    catalog.Session.update(confirmed_at=now() - timedelta(hours=1)).execute()
    asked = grace.post(f"/data-disks/{disk.id}/delete", {"typed": "Thesis"})
    assert asked.status_code == 403
    assert DataDisk.get_by_id(disk.id).state is DiskState.READY
    assert grace.post(f"/data-disks/{disk.id}/delete", {"typed": "Thesis", "again": world.PASSWORD}).status_code == 303
    assert DataDisk.get_by_id(disk.id).state is DiskState.REMOVING


def test_disks_of_those_who_cannot_sign_in_any_more_are_kept_and_found(grace, things):
    catalog.Account.update(disabled=True).where(catalog.Account.name == "ada").execute()
    page = grace.get("/admin/data-disks/?use=nobody").text
    assert "Thesis" in page
    assert "cannot sign in" in page


def test_a_kept_machine_is_brought_back_by_its_owner(ada, things):
    _, kept, _ = things
    assert "a machine you gave back" in ada.get("/").text
    catalog.Class.update(per_person=5).execute()
    assert ada.post(f"/retained-disks/{kept.id}/restore").status_code == 303
    assert KeptDisk.get_by_id(kept.id).state is KeptState.RETURNING
    assert "coming back" in ada.get("/").text
    assert Run.get(Run.kind == "recover").account_id == kept.account_id


def test_recovery_shows_what_is_there_and_brings_back_what_is_ticked(grace, things):
    _, _, copy = things
    page = grace.get("/admin/disk-backups/").text
    assert "Thesis" in page
    nothing = grace.post("/admin/disk-backups/restore", {})
    assert nothing.status_code == 400
    assert "Nothing is chosen" in nothing.text
    assert grace.post("/admin/disk-backups/restore", {"path": copy.path}).status_code == 303
    run = Run.get(Run.kind == "recover")
    assert (run.facts["backup"], run.class_name, run.asked_by) == (copy.path, "notebook", "grace")
    assert f"/runs/{run.id}" in grace.get("/admin/disk-backups/").text


@pytest.mark.badinput
def test_recovery_for_somebody_who_is_not_here_keeps_what_was_chosen(grace, things):
    _, _, copy = things
    Backup.update(account_name="somebody", class_name="gone").execute()
    assert "somebody is not here" in grace.get("/admin/disk-backups/").text
    refused = grace.post("/admin/disk-backups/restore", {"path": copy.path, f"class {copy.path}": "notebook"})
    assert refused.status_code == 400
    assert "nobody here is called somebody" in refused.text
    assert "checked" in refused.text
    alan = catalog.Account.get(catalog.Account.name == "alan").id
    for wrong in ("x", "-1", "9" * 30, "a\x00b", " "):
        answer = grace.post(
            "/admin/disk-backups/restore", {"path": copy.path, f"account {copy.path}": wrong, f"class {copy.path}": "notebook"}
        )
        assert answer.status_code == 400
    assert Run.select().where(Run.kind == "recover").count() == 0
    form = {"path": copy.path, f"account {copy.path}": "alan", f"class {copy.path}": "notebook"}
    assert grace.post("/admin/disk-backups/restore", form).status_code == 303
    assert Run.get(Run.kind == "recover").account_id == alan


def test_the_api_lists_deletes_and_brings_back(app, things):
    disk, kept, _ = things
    person = catalog.Actor("ada", disk.account_id, "127.0.0.1")
    secret = tokens.create(person, "script", ["read", "machines"], 1)
    secret = secret if isinstance(secret, str) else secret[0]
    client = app.test_client()
    head = {"Authorization": f"Bearer {secret}"}
    [found] = client.get("/api/v1/data-disks", headers=head).get_json()["data_disks"]
    assert (found["name"], found["size"], found["machine"]) == ("Thesis", 20, None)
    [one] = client.get("/api/v1/retained-disks", headers=head).get_json()["retained_disks"]
    assert client.get("/api/v1/kept-disks", headers=head).get_json()["kept_disks"] == [one], "its former name"
    assert one["id"] == kept.id
    for body in ({}, {"name": 3}, {"name": "other"}):
        assert client.post(f"/api/v1/data-disks/{disk.id}/delete", headers=head, json=body).status_code == 400
    assert client.post(f"/api/v1/data-disks/{disk.id}/back-up", headers=head).status_code == 202
    assert client.post(f"/api/v1/data-disks/{disk.id}/delete", headers=head, json={"name": "Thesis"}).status_code == 202
    catalog.Class.update(per_person=5).execute()
    assert client.post(f"/api/v1/retained-disks/{kept.id}/restore", headers=head).status_code == 202
