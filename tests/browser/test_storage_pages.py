"""The page Storage in a real browser, in front of a dpe-host with disks that a test has made up."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from appliance.host.disks import ballast, inventory
from appliance.host.interface import disks
from appliance.host.interface.disks import Disk
from appliance.host.rpc.registry import Host
from appliance.host.system import image
from tests import world
from tests.browser import steps
from tests.browser.conftest import Site
from tests.browser.test_pages import Browse, Serve, sound
from tests.hosted import do_instead, serving

BUILT = image.Image.model_validate_json('{"version": "1", "built_at": "2026-11-21T10:00:00Z", "scenario": "notebook"}')
DISKS = [
    Disk(
        "/dev/nvme0n1", "Samsung SSD 980", "S64DNX0T", 500 * 10**9, "system",
        ["start-up files, 0.3 GB", "system A, 4.3 GB", "system B, 4.3 GB", "this appliance's data, 491.2 GB"],
        "The appliance itself is on it.", True, "It says that it is well: 5210 hours in use, 38 °C, 4 % worn.",
    ),
    Disk(
        "/dev/sda", "WDC WD40EFRX-68N32N0", "WD-WCC7K4NP", 4 * 10**12, "foreign", ["Windows data (NTFS) “Photos”, 4000.6 GB"], "", False,
        "It works, but shows its age: 12 sectors were replaced. Have another one ready, and see that there is a backup.",
    ),
    Disk("/dev/sdb", "INTEL SSDSC2KB960G8", "PHYF0012", 960 * 10**9, "empty", [], "", None, "It does not tell how it is."),
]  # fmt: skip
SIZES = {"seeds": 6_200, "machines": 41_000, "data": 83_000, "kept": 9_100, "backups": 22_000, "catalog": 38, "cache": 1_400, "logs": 12}


@pytest.fixture
def site(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A bootable image's page, with dpe-host in this process."""
    monkeypatch.setattr(image, "boot_image", lambda *_: BUILT)
    monkeypatch.setattr(inventory, "disks", lambda *_: DISKS)
    monkeypatch.setattr(inventory, "sizes", lambda *_: {name: SIZES.get(name, 0) << 20 for name in inventory.PARTS})
    monkeypatch.setattr(inventory, "seed_sizes", lambda *_: {"notebook/1": 2 << 30})

    def do(args: disks.Use, host: Host) -> None:
        disk = next(one for one in DISKS if one.path == args.disk)
        inventory.refuse(disk, args.typed, 0, blank=disk.use == "empty")
        host.tell(f"Copying to {disk.name}", 100)

    do_instead(monkeypatch, disks.USE, do)
    found = serve(world.busy)
    with serving(found.settings):
        yield found


def test_a_disk_with_something_on_it_is_erased_only_by_who_types_which(site: Site, browse: Browse) -> None:
    page = browse(site)
    steps.sign_in(page, "grace")
    page.goto("/admin/server/storage/")
    disk = page.get_by_role("article", name="WDC")
    disk.get_by_text("Use for data", exact=True).click()
    disk.get_by_label("Type WD-WCC7K4NP to erase what is on it").fill("WD")
    disk.get_by_role("button", name="Erase and use for data").click()
    expect(page.get_by_role("dialog")).to_contain_text("Everything on WDC")
    page.get_by_role("button", name="Erase and use it").click()
    page.wait_for_url("**/operations/*")
    expect(page.get_by_role("alert")).to_contain_text("would be erased. Nothing was done.")

    page.goto("/admin/server/storage/")
    disk.get_by_text("Use for data", exact=True).click()
    disk.get_by_label("Type WD-WCC7K4NP").fill("WD-WCC7K4NP")
    disk.get_by_role("button", name="Erase and use for data").press("Enter")
    page.get_by_role("button", name="Erase and use it").click()
    page.wait_for_url("**/operations/*")
    expect(page.get_by_text("Done in")).to_be_visible()


def test_what_can_go_is_deleted_there(site: Site, browse: Browse) -> None:
    page = browse(site)
    steps.sign_in(page, "grace")
    page.goto("/admin/server/storage/")
    row = page.get_by_role("row", name="notebook v1")
    expect(row).to_contain_text("2 GiB")
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Its files are being deleted")).to_be_visible()
    expect(page.get_by_role("row", name="notebook v1")).to_have_count(0)


def test_it_fits_any_screen(site: Site, browse: Browse) -> None:
    ballast.mark(site.settings).touch()
    page = browse(site)
    steps.sign_in(page, "grace")
    page.goto("/admin/server/storage/")
    page.get_by_role("article", name="WDC").get_by_text("Use for data", exact=True).click()
    expect(page.get_by_text("The disk is full:")).to_be_visible()
    sound(page)
    expect(page.get_by_role("heading", name="Factory reset")).to_be_visible()
