"""A backup made on one booted appliance, to a disk that is plugged in, and restored from that disk by a fresh one's set-up."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.run import run
from tests.image.booted import Booted, wait_for
from tests.image.forms import ALICE, Visitor, comes, python, set_up, setup_code, somebody_holds_a_machine, what_is_kept

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]
Boot = Callable[..., Booted]
PAGE = "/admin/server/backups/"
SEEDS = """
from appliance.catalog import Seed, SeedState
print(json.dumps(sorted(one.class_name for one in Seed.select().where(Seed.state == SeedState.READY, Seed.promoted == True))))
"""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk with an empty file system, as one buys them."""
    raw, made = tmp_path / "backups.raw", tmp_path / "backups.qcow2"
    run(["truncate", "-s", "3G", raw])
    run(["mke2fs", "-q", "-t", "ext4", "-U", str(uuid.uuid4()), "-L", "backups", raw])
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, made])
    return made


def is_there(server: Booted, words: str, seconds: float = 600) -> None:
    """Wait for the page on which one signs in, of the appliance of that title."""

    def look() -> bool | None:
        try:
            page = Visitor(server).ask("/sign-in", timeout=30)
        except OSError:
            return None
        return True if page.status == 200 and words in page.text else None

    wait_for(look, seconds, f"the sign-in page of {words}")


def test_what_one_appliance_backed_up_a_fresh_one_restores(boot: Boot, disk: Path) -> None:
    old = boot("old", disks=[disk])
    old.wait_page()
    old.wait_shell()
    set_up(old)
    somebody_holds_a_machine(old)
    grace = Visitor(old)
    grace.sign_in("grace")
    key, id = backed_up(old, grace)
    kept = what_is_kept(old)
    print_of_front_door = old.shell("cat /var/lib/dpe/tls/appliance.crt")
    old.shut_down(300)

    new = boot("new", disks=[disk])
    new.wait_page()
    new.wait_shell()
    assert new.shell("cat /var/lib/dpe/tls/appliance.crt") != print_of_front_door
    restored(new, key, id)
    new.wait_shell()
    assert what_is_kept(new) == kept
    assert new.shell("cat /var/lib/dpe/tls/appliance.crt") == print_of_front_door
    Visitor(new).sign_in("alice", ALICE)
    grace = Visitor(new)
    grace.sign_in("grace")
    wait_for(lambda: python(new, SEEDS) == ["small", "small12"] or None, 900, "the seeds of the image, which were not in the backup")

    checked(new, grace)
    damaged(new, grace)


def checked(server: Booted, grace: Visitor) -> None:
    """The button that reads all of it again."""
    assert "Done" in grace.operation(grace.send(grace.ask(PAGE), "/backups/verify"), 1800)
    assert "One backup is whole" in grace.ask(PAGE).text


def damaged(server: Booted, grace: Visitor) -> None:
    """Damage what lies on the disk, and read it again."""
    server.shell("mkdir /run/disk && mount LABEL=backups /run/disk")
    pack = server.shell("find /run/disk/dpe-backup/data -type f -size +8k | head -1").strip()
    server.shell(f"chmod 600 {pack}; printf damaged | dd of={pack} bs=1 seek=5000 conv=notrunc status=none; umount /run/disk")
    assert "are damaged" in grace.operation(grace.send(grace.ask(PAGE), "/backups/verify"), 1800)
    assert "The last check found" in grace.ask(PAGE).text


def backed_up(old: Booted, grace: Visitor) -> tuple[str, str]:
    """Set backups up, note the recovery key, and make one; the key, and the backup's name."""
    uuid = old.shell("blkid -s UUID -o value $(findfs LABEL=backups)").strip()
    grace.send(grace.ask(PAGE), "/configure", kind="disk", disk_uuid=uuid)
    # Not the answer's own page: an emulated machine takes longer to derive restic's key than the front door waits.
    page = comes(grace, PAGE, lambda page: "Back up now" in page.text)
    page = grace.send(page, "/backups/key")
    key = page.text.split('recovery-key mono user-select-all">')[1].split("<")[0]
    grace.send(grace.ask(PAGE + "written"), "/backups/noted", ends=key[:4] + key[-4:])
    page = grace.ask(PAGE)
    form = page.form("/backups/schedule")
    form.values.pop("seeds")  # they came with the image, and take long to encrypt in an emulated machine
    page = grace.ask(form.action, form.values)
    assert "Saved." in page.text
    said = grace.operation(grace.send(page, "/backups/run"), 1800)
    assert "Done" in said, said
    [facts] = old.ask("backup.list")
    assert (facts["people"], facts["machines"], facts["disks"], facts["missing"], facts["seeds"]) == (2, 1, 1, 0, 0)
    assert old.shell("findmnt -n $(findfs LABEL=backups) || true").strip() == ""
    return key, facts["id"]


def restored(new: Booted, key: str, id: str) -> None:
    """Set-up of the fresh appliance, from the backup."""
    visitor = Visitor(new)
    page = visitor.send(visitor.ask("/setup/restore"), "/setup/restore", code=setup_code(new))
    uuid = new.shell("blkid -s UUID -o value $(findfs LABEL=backups)").strip()
    assert uuid in page.text
    wrong = visitor.send(page, "/setup/restore", kind="disk", disk_uuid=uuid, key="ABCD-" * 7 + "ABCD")
    assert "does not open the backups" in wrong.text
    page = visitor.send(wrong, "/setup/restore", kind="disk", disk_uuid=uuid, key=key)
    assert page.form("/setup/restore").values["snapshot"] == id, page.said
    page = visitor.send(page, "/setup/restore")
    assert page.where == "/setup/restore/progress", page.said
    is_there(new, "House of Ada", 1200)
