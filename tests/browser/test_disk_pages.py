"""What outlives machines, in a real browser."""

import re
import uuid
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from appliance import catalog
from appliance.catalog import Actor, Aside, AsideKind, Backup, DataDisk, DiskState, KeptDisk, MachineState, Run, machines, now
from appliance.catalog import seeds as seed_rows
from appliance.settings import Settings
from tests import world
from tests.browser import steps
from tests.browser.test_pages import Browse, Serve, is_sideways


def keeping(settings: Settings) -> dict[str, Actor]:
    """Data disks in use, unused, in trouble and nobody's; kept machines; copies of here and elsewhere."""
    people = world.busy(settings)
    ada, alan, mary = (people[name].account_id or 0 for name in ("ada", "alan", "mary"))
    day = timedelta(days=1)
    with catalog.write():
        seed = seed_rows.promoted("notebook")
        assert seed is not None
        [held] = machines.of_account(ada)

        def disk(account: int | None, name: str, class_name: str = "notebook", **values: object) -> DataDisk:
            defaults = {"size": 20, "state": DiskState.READY, "last_used_at": now() - 3 * day, "created_at": now() - 40 * day}
            return DataDisk.create(id=str(uuid.uuid4()), account=account, machine_class=class_name, name=name, **{**defaults, **values})

        thesis = disk(ada, "Thesis", machine=held.id, backup_at=now() - timedelta(hours=5))
        disk(ada, "notebook 2")
        disk(alan, "studio", "studio", state=DiskState.TROUBLED, problem="The data disk is damaged: it is not a qcow2 image.")
        disk(None, "notebook")
        disk(mary, "Stars", "studio", backup_problem="There is no room for a disk: 12 MiB are free.")
        gone = machines.create(seed.machine_class, seed, str(uuid.uuid4()), 77)
        machines.change(gone.id, list(MachineState), MachineState.RETIRED)
        KeptDisk.create(
            id=gone.id,
            machine_name=gone.name,
            account=ada,
            machine_class="notebook",
            seed=seed,
            size=8,
            bytes=2_400_000_000,
            until=now() + 2 * day,
        )
        for id, name, owner, class_name, age, problem in (
            (thesis.id, "Thesis", "ada", "notebook", timedelta(hours=5), ""),
            (thesis.id, "Thesis", "ada", "notebook", day, ""),
            (str(uuid.uuid4()), "Lab book", "rosalind", "laboratory", 9 * day, ""),
            (str(uuid.uuid4()), "Broken", "mary", "studio", 3 * day, "The copy is damaged: it has 4 bytes instead of 734003200."),
        ):
            Backup.create(
                path=f"/copies/{id}/{age.total_seconds():.0f}.qcow2", disk=id, disk_name=name, machine_name=f"{class_name}-1", class_name=class_name,
                account_name=owner, size=20, bytes=734_003_200, taken_at=now() - age, problem=problem,
            )  # fmt: skip
        Aside.create(
            kind=AsideKind.MACHINE, id=str(uuid.uuid4()), name="notebook-104", class_name="notebook", account_name="ada", account=ada, power="saved",
            bytes=3_100_000_000, made_at=now() - 2 * day, since=now() - day,
        )  # fmt: skip
        Aside.create(
            kind=AsideKind.MACHINE, id=str(uuid.uuid4()), name="laboratory-7", class_name="laboratory", account_name="rosalind", power="running",
            doubt="It was rosalind's in another catalog; whether that is the same person here only you can tell.", bytes=8_800_000_000,
            made_at=now() - 30 * day, since=now() - day, problem="It could not be stopped: libvirtd does not answer.",
        )  # fmt: skip
        Aside.create(
            kind=AsideKind.DATA_DISK, id=str(uuid.uuid4()), doubt="Nothing tells whose it is.", bytes=734_003_200, since=now() - day
        )
        Aside.create(
            kind=AsideKind.SEED, id="notebook/9", name="notebook v9", class_name="notebook", bytes=2_000_000_000, since=now() - day
        )
    return people


def test_a_person_looks_after_their_data_disks(serve: Serve, browse: Browse) -> None:
    page = browse(serve(keeping))
    steps.sign_in(page, "ada")
    page.goto("/")
    page.get_by_role("link", name="notebook 2").click()
    page.get_by_label("What it is called").fill("Summer")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", name="Summer")).to_be_visible()
    page.get_by_label("Type Summer to delete it").fill("Sumer")
    page.get_by_role("button", name="Delete the data disk").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing is deleted")
    expect(page.get_by_label("Type Summer to delete it")).to_have_value("Sumer")
    page.get_by_label("Type Summer to delete it").fill("Summer")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The data disk Summer is deleted.")).to_be_visible()
    expect(page.get_by_role("link", name="Summer")).to_have_count(0)
    catalog.Class.update(per_person=5).execute()
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_text("coming back", exact=False).first).to_be_visible()
    assert Run.get(Run.kind == "recover").asked_by == "ada"


def test_an_admin_brings_back_what_another_appliance_had(serve: Serve, browse: Browse) -> None:
    page = browse(serve(keeping))
    steps.sign_in(page, "grace")
    page.goto("/admin/machines/")
    page.get_by_role("link", name="Disk backups").click()
    expect(page.get_by_role("checkbox", name="Broken")).to_be_disabled()
    expect(page.get_by_label("Who gets Thesis")).to_have_value("ada")
    page.get_by_role("checkbox", name="Lab book").check()
    page.get_by_role("button", name="Restore selected").click()
    expect(page.get_by_role("alert")).to_contain_text("nobody here is called rosalind")
    expect(page.get_by_role("checkbox", name="Lab book")).to_be_checked()
    expect(page.get_by_label("Who gets Thesis")).to_have_value("ada")
    expect(page.get_by_label("Who gets Lab book")).to_have_accessible_description(re.compile("nobody here is called rosalind"))
    page.get_by_label("Who gets Lab book").fill("mary")
    page.get_by_label("Class of the machine for Lab book").select_option("studio")
    page.get_by_role("button", name="Restore selected").click()
    expect(page.get_by_role("link", name="about to go on")).to_be_visible()
    assert Run.get(Run.kind == "recover").class_name == "studio"


@pytest.mark.lost
def test_an_admin_looks_after_what_is_set_aside(serve: Serve, browse: Browse) -> None:
    page = browse(serve(keeping))
    steps.sign_in(page, "grace")
    page.goto("/admin/")
    expect(page.get_by_text("3 machines and disks are set aside")).to_be_visible()
    page.get_by_role("main").get_by_role("link", name="Orphans").click()
    page.get_by_label("Who gets laboratory-7").fill("mary")
    page.get_by_role("row", name="laboratory-7").get_by_role("button", name="Adopt").click()
    expect(page.get_by_text("being adopted")).to_be_visible()
    row = page.get_by_role("row", name="notebook-104")
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove it").click()
    expect(row.get_by_text("being removed")).to_be_visible()
    assert {one.name: one.wish for one in Aside.select().where(Aside.wish != "")} == {"laboratory-7": "adopt", "notebook-104": "remove"}


@pytest.mark.parametrize("path", ["/", "/admin/data-disks/", "/admin/retained-disks/", "/admin/disk-backups/", "/admin/orphans/", "disk"])
def test_they_fit_on_a_phone(serve: Serve, browse: Browse, path: str) -> None:
    page = browse(serve(keeping), width=390)
    who = "ada" if path in ("/", "disk") else "grace"
    steps.sign_in(page, who)
    page.goto(f"/data-disks/{DataDisk.get(DataDisk.name == 'Thesis').id}" if path == "disk" else path)
    assert not is_sideways(page)
