"""The page Storage: what it shows of dpe-host, what it asks of it, and what it says on every page when the disk is full."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from appliance import catalog, durable
from appliance.catalog import Event, Seed, SeedState
from appliance.host.disks import ballast, inventory, reset
from appliance.host.interface import disks
from appliance.host.interface.disks import Disk
from appliance.host.rpc.daemon import Server
from appliance.host.system import image
from appliance.services import overview
from tests import world
from tests.hosted import do_instead, serving
from tests.pages import is_at

PAGE = "/admin/server/storage/"
DISKS = [
    Disk("/dev/vda", "QEMU DISK", "S1", 10**11, "system", ["system A, 4.0 GB"], "The appliance itself is on it."),
    Disk(
        "/dev/vdb", "Big SSD", "X-1", 10**12, "foreign", ["Windows data (NTFS) “Photos”, 999.0 GB"], healthy=False, health="It is failing."
    ),
    Disk("/dev/vdc", "Empty SSD", "X-2", 10**12, "empty", []),
]
BUILT = image.Image.model_validate_json('{"version": "1", "built_at": "2026-11-21T10:00:00Z", "scenario": "notebook"}')


@pytest.fixture
def asked(monkeypatch) -> list[tuple[str, dict[str, object]]]:
    """What the page had dpe-host do that erases disks; it does not."""
    said: list[tuple[str, dict[str, object]]] = []
    assert reset.NOTE  # imported, so that its verb is there
    for verb in (disks.USE, disks.RESET):

        def do(args, host, verb=verb):
            if verb is disks.USE:
                inventory.refuse(next(disk for disk in DISKS if disk.path == args.disk), args.typed, 0, blank=args.disk != "/dev/vdb")
            said.append((verb.name, args.model_dump()))

        do_instead(monkeypatch, verb, do)
    return said


@pytest.fixture
def host(opened, people, monkeypatch, asked) -> Iterator[Server]:
    """dpe-host of the bootable image, with three disks."""
    monkeypatch.setattr(image, "boot_image", lambda *_: BUILT)
    monkeypatch.setattr(inventory, "disks", lambda *_: DISKS)
    with serving(opened) as server:
        yield server
        server.operations.wait(10)


def test_it_says_what_takes_the_room_and_where_it_can_go(host, grace, opened):
    (opened.cache / "bootstrap").mkdir()
    (opened.cache / "bootstrap/one.tar").write_bytes(b"x" * 3_000_000)
    (opened.seeds / "notebook/1").mkdir(parents=True)
    (opened.seeds / "notebook/1/disk.qcow2").write_bytes(b"x" * 7_000_000)
    page = grace.get(PAGE).text
    for words in ("Downloads for building seeds", "Seeds and their snapshots", "6.7 MiB", "notebook v1", "Big SSD", "Photos", "failing"):
        assert words in page
    assert 'href="/admin/seeds/"' in page
    assert "notebook v2" not in page  # new machines are made from it


def test_downloads_are_deleted_unless_a_build_needs_them(host, grace, opened):
    (opened.cache / "one.tar").write_bytes(b"x" * 3_000_000)
    grace.get(PAGE)
    assert grace.post(PAGE + "clean").status_code == 409
    with catalog.write():
        Seed.update(state=SeedState.FAILED).where(Seed.state == SeedState.BUILDING).execute()
    assert grace.post(PAGE + "clean").status_code == 303
    assert not (opened.cache / "one.tar").exists()
    assert "2.9 MiB are free again" in grace.get(PAGE).text
    assert Event.select().where(Event.kind == "storage.cleaned").count() == 1


def test_a_seed_that_nothing_uses_is_deleted_from_there(host, grace):
    grace.get(PAGE)
    old = Seed.get(Seed.machine_class == "notebook", Seed.version == 1)
    answer = grace.post(f"/admin/seeds/{old.id}/remove")
    assert answer.status_code == 303
    assert Seed.get_by_id(old.id).state is SeedState.REMOVED
    assert "Its files were deleted" in grace.get(f"/admin/seeds/{old.id}").text
    assert grace.post(f"/admin/seeds/{old.id}/remove").status_code == 409


def test_an_empty_disk_is_given_to_data(host, grace, asked):
    grace.get(PAGE)
    answer = grace.post(PAGE + "use", {"disk": "/dev/vdc", "typed": "", "again": world.PASSWORD})
    host.operations.wait(10)
    assert answer.status_code == 303
    assert "/admin/server/operations/" in answer.location
    assert asked == [("storage.use", {"disk": "/dev/vdc", "typed": ""})]
    assert Event.select().where(Event.kind == "storage.use").count() == 1


@pytest.mark.badinput
def test_factory_reset_asks_for_the_name_and_loses_nothing_otherwise(host, grace, asked):
    grace.get(PAGE)
    for typed in ("", "hillside school", "yes"):
        answer = grace.post(PAGE + "reset", {"typed": typed, "how": "thorough"})
        assert answer.status_code == 400
        assert "nothing is erased" in answer.text
        assert is_at("typed", answer.text)
        assert f'value="{typed}"' in answer.text
    assert asked == []
    answer = grace.post(PAGE + "reset", {"typed": overview.title(), "how": "thorough"})
    assert answer.status_code == 200
    assert "restarts and forgets everything" in answer.text
    assert asked == [("reset.begin", {"thorough": True})]


def test_who_showed_no_password_for_a_while_is_asked_before_anything_is_erased(host, grace, asked):
    with catalog.write():
        catalog.Session.update(confirmed_at=None, created_at=catalog.now() - timedelta(hours=1)).execute()
    grace.get(PAGE)
    for path, form in (("reset", {"typed": overview.title()}), ("use", {"disk": "/dev/vdc"})):
        assert "password" in grace.post(PAGE + path, form).text
    assert asked == []


def test_elsewhere_than_in_the_image_nothing_is_offered_that_cannot_be_done(host, grace, monkeypatch):
    monkeypatch.setattr(image, "boot_image", lambda *_: None)
    page = grace.get(PAGE).text
    assert "a Debian of your own" in page
    assert "Use for data" not in page
    assert "Factory reset" not in page


def test_without_dpe_host_the_page_says_so(opened, people, grace):
    answer = grace.get(PAGE)
    assert answer.status_code == 200
    assert "does not answer" in answer.text


@pytest.mark.parametrize(("full", "reserve", "says"), [(True, 1, "The disk is full:"), (False, 1 << 40, "nearly full"), (False, 1, "")])
def test_a_full_disk_is_said_on_every_page_to_those_who_can_help(opened, people, grace, ada, app, full, reserve, says):
    app.config["SETTINGS"] = replace(opened, disk_reserve=reserve)
    if full:
        ballast.mark(opened).touch()
    for path in ("/admin/", "/", "/admin/machines/"):
        page = grace.get(path).text
        assert says in page
        assert ("See what can be deleted" in page) == bool(says)
    assert "See what can be deleted" not in ada.get("/").text


def test_a_failing_disk_is_said_too(opened, people, grace, ada):
    durable.write(opened.host / "health.json", json.dumps({"X-1": {"healthy": False, "health": "It is failing.", "name": "Big SSD"}}))
    assert "Big SSD: It is failing." in grace.get("/admin/").text
    assert "Big SSD" not in ada.get("/").text
