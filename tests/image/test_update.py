"""Updates of a booted appliance, over RAUC, GRUB and systemd as they are: to a newer build, back from one that is not good, and what is refused.

The newer builds are the image's own system with another version in it, signed with its keys.
"""

import contextlib
import json
import os
import random
import shutil
import sqlite3
import struct
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from appliance import catalog
from appliance.run import run
from appliance.settings import REPOSITORY
from tests.image.booted import Booted, wait_for
from tests.image.forms import ALICE, Visitor, break_the_page, comes, python, rescue, set_up, somebody_holds_a_machine, what_is_kept

sys.path.insert(0, str(REPOSITORY / "image-build"))
import keys
import tools

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]
Boot = Callable[..., Booted]
MIB = 1 << 20

SLOW = """
CREATE TABLE of_a_test AS
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 800000) SELECT i, hex(randomblob(16)) AS said FROM n;
"""
MIGRATED = "print(json.dumps(catalog.database.rows('SELECT count(*) FROM of_a_test')[0][0] == 800000))"

ASK = """
from appliance.errors import DpeError
verb, args = json.loads({question!r})
try:
    print(json.dumps(Client(settings, "the test", 540).ask(verb, **args)))
except DpeError as error:
    print(json.dumps({{"error": str(error)}}))
"""


def partition(disk: IO[bytes], label: str) -> tuple[int, int]:
    """Where the partition of that label begins, and its size, in bytes, from the GPT."""
    disk.seek(512)
    table, count, size = struct.unpack_from("<QII", disk.read(92), 72)
    disk.seek(table * 512)
    for entry in (disk.read(size) for _ in range(count)):
        first, last = struct.unpack_from("<QQ", entry, 32)
        if entry[56:128].decode("utf-16-le").rstrip("\0") == label:
            return first * 512, (last - first + 1) * 512
    raise AssertionError(f"there is no partition {label}")


class Bundles:
    """Makes bundles of one image's system, changed here and there."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.folder, self.root = folder, folder / "root.img"
        with image.open("rb") as disk, self.root.open("wb") as out:
            first, size = partition(disk, "dpe-a")
            disk.seek(first)
            for at in range(0, size, MIB):
                if any(piece := disk.read(min(MIB, size - at))):
                    out.seek(at)
                    out.write(piece)
            out.truncate(size)
        # Without seeds, and without what was there before, a bundle is half as large; an emulated machine reads each several times.
        classes = [line.split("/")[5] for line in self.debugfs(self.root, "ls -p /usr/share/dpe/seeds").splitlines() if "/0407" in line]
        self.debugfs(self.root, *(f"rm /usr/share/dpe/seeds/{name}/disk.qcow2" for name in classes if not name.startswith(".")))
        run(["e2image", "-ra", self.root, small := folder / "small.img"], timeout=300)
        small.rename(self.root)
        self.image: dict[str, Any] = json.loads(self.debugfs(self.root, "cat /usr/lib/dpe/image.json"))

    def migration(self) -> list[str]:
        """Changes that give a build a catalog of a newer form, which takes a while to be made."""
        number = catalog.versions()[-1] + 1
        (file := self.folder / f"{number:04}.sql").write_text(SLOW)
        return [f"write {file} /usr/lib/dpe/appliance/catalog/migrations/{file.name}"]

    @staticmethod
    def debugfs(file: Path, *commands: str) -> str:
        return "".join(run(["debugfs", "-w", "-R", command, file]) for command in commands)

    def make(self, version: str, *changes: str) -> Path:
        """A signed bundle of the system as `version`, after debugfs(8) made these changes in it."""
        (content := self.folder / version).mkdir()
        root, about = content / "rootfs.img", self.folder / "image.json"
        run(["cp", "--sparse=always", self.root, root])
        about.write_text(json.dumps({**self.image, "version": version}))
        self.debugfs(root, "rm /usr/lib/dpe/image.json", f"write {about} /usr/lib/dpe/image.json", *changes)
        manifest = (
            f"[update]\ncompatible=dpe-appliance\nversion={version}\n\n[bundle]\nformat=verity\n\n[image.rootfs]\nfilename=rootfs.img\n"
        )
        (content / "manifest.raucm").write_text(manifest)
        for name in (keys.CERTIFICATE, keys.KEY):
            shutil.copy(REPOSITORY / "build/keys" / name, self.folder)
        tree = max((REPOSITORY / "build/stages").glob("tools-*"), key=lambda made: made.stat().st_mtime)
        signed = [f"--cert=/build/{keys.CERTIFICATE}", f"--key=/build/{keys.KEY}", "--mksquashfs-args=-comp zstd -Xcompression-level 1"]
        tools.inside(tree, ["rauc", "bundle", *signed, f"/build/{version}", f"/build/{version}.raucb"], build=self.folder)
        shutil.rmtree(content)
        return self.folder / f"{version}.raucb"


@pytest.fixture(scope="module")
def bundles(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    return Bundles(image, tmp_path_factory.mktemp("bundles"))


def as_disk(bundle: Path) -> Path:
    """The bundle as a disk, whose first bytes it is."""
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", bundle, disk := bundle.with_suffix(".qcow2")], timeout=300)
    return disk


def ask(server: Booted, verb: str, **args: Any) -> Any:
    """Use a verb of dpe-host's; what it refuses is an answer, too."""
    return server.python(ASK.format(question=json.dumps([verb, args])), 540)


def sent(server: Booted, device: str, bundle: Path, harm: str = "true") -> Any:
    """Put the bundle from a disk where the web page puts what it was sent, do it some harm, and have it looked at."""
    file = "/var/lib/dpe/uploads/test.raucb"
    server.shell(f"head -c {bundle.stat().st_size} {device} >{file} && file={file} && {harm}", 300)
    return ask(server, "update.inspect", file="test.raucb")


def ended(server: Booted, id: str) -> dict[str, Any]:
    """The operation, when it has ended."""

    def look() -> dict[str, Any] | None:
        operation: dict[str, Any] = ask(server, "operation", id=id)
        return operation if operation["state"] != "running" else None

    return wait_for(look, 900, f"the end of operation {id}")


def install(server: Booted, version: str) -> None:
    operation = ended(server, ask(server, "update.install", version=version)["operation"])
    assert operation["state"] == "done", operation


def switch(server: Booted) -> None:
    """Restart into what is installed, and wait until that has begun."""
    before = server.shell("cat /proc/sys/kernel/random/boot_id")
    now = server.shell("date -u +%Y-%m-%dT%H:%M:%S+00:00").strip()
    assert "version" in ask(server, "update.restart", at=now)
    wait_for(lambda: _boot(server) not in (None, before) or None, 900, "the restart")


def _boot(server: Booted) -> str | None:
    try:
        server.wait_shell(5)
        return server.shell("cat /proc/sys/kernel/random/boot_id", 10)
    except (AssertionError, OSError):
        return None


def settled(server: Booted, count: int) -> dict[str, Any]:
    """The state of updates when so many switches have ended."""

    def look() -> dict[str, Any] | None:
        try:
            server.wait_shell(5)
            state: dict[str, Any] = ask(server, "update.status")
        except (AssertionError, OSError, ValueError):
            return None
        return state if len(state.get("past", [])) >= count and not state["trial"] else None

    return wait_for(look, 2400, f"the end of switch {count}")


def slot(server: Booted) -> str:
    return server.shell("grep -o 'rauc.slot=.' /proc/cmdline").strip()[-1]


def cut_while_it_migrates(server: Booted) -> None:
    """Begin the switch, and cut the power when the catalog is half brought to the new version."""
    switch(server)

    def look() -> bool | None:
        try:
            wal = server.shell("stat -c %s /var/lib/dpe/catalog/catalog.db-wal || true")
        except (AssertionError, OSError):
            return None
        return True if wal.strip().isdigit() and int(wal) > 4 * MIB else None

    server.wait_shell(600)
    wait_for(look, 900, "the migration")
    server.power_cut()


def cut_while_it_is_looked_at(server: Booted) -> None:
    """Begin the switch, and cut the power at some moment before it is found good."""
    switch(server)
    server.wait_shell(600)
    wait_for(lambda: unit(server, "dpe-health") == "activating" or None, 900, "the health check")
    time.sleep(random.Random(os.environ.get("DPE_TEST_SEED", "6")).uniform(0, 20))
    server.power_cut()


def unit(server: Booted, name: str) -> str:
    return server.shell(f"systemctl is-active {name} || true").strip()


def healthy(server: Booted, kept: Any) -> None:
    """The page, the engine, and all that was there before."""
    server.wait_page("/sign-in", 900)
    for name in ("dpe-engine", "dpe-web", "dpe-host", "dpe-libvirtd"):
        wait_for(lambda name=name: unit(server, name) == "active" or None, 300, name)  # type: ignore[misc]
    assert what_is_kept(server) == kept
    Visitor(server).sign_in("alice", ALICE)


def again(server: Booted, device: str, bundle: Path, version: str) -> None:
    """Send it and install it."""
    assert sent(server, device, bundle)["version"] == version
    install(server, version)


def test_updates(boot: Boot, bundles: Bundles) -> None:
    """A tampered one is refused, and a power cut in the middle of writing, or of the catalog's migration, costs nothing; one that is not good is
    gone back from, a newer build works, and is gone back from by hand. People and machines outlive all of it.
    """
    newer = bundles.make("99.1.0", *bundles.migration())
    app = "/usr/lib/dpe/webui/app.py"
    (wrong := bundles.folder / "app.py").write_text("raise SystemExit('this build is broken')\n")
    kept_file = "/usr/lib/dpe/webui/__pycache__/app.cpython-313.pyc"
    broken = bundles.make("99.2.0", f"rm {app}", f"write {wrong} {app}", f"rm {kept_file}")
    server = boot(disks=[as_disk(newer), as_disk(broken)])
    server.wait_page()
    server.wait_shell()
    assert slot(server) == "A"
    version = ask(server, "image")["version"]
    set_up(server)
    somebody_holds_a_machine(server)

    for harm, words in (
        ("printf x | dd of=$file bs=1 seek=50000000 conv=notrunc status=none", "not all of it is what was signed"),
        ("truncate -s 60000000 $file", "only a part of one"),
    ):
        assert words in sent(server, "/dev/disk/by-id/virtio-disk1", newer, harm)["error"]
    assert ask(server, "update.status")["staged"] is None

    assert sent(server, "/dev/disk/by-id/virtio-disk1", newer)["version"] == "99.1.0"
    operation = ask(server, "update.install", version="99.1.0")["operation"]
    wait_for(lambda: (ask(server, "operation", id=operation)["progress"] or 0) >= 80 or None, 600, "writing")
    kept = what_is_kept(server)
    server.power_cut()
    server.start()
    server.wait_page("/sign-in", 900)
    server.wait_shell()
    assert (slot(server), ask(server, "image")["version"]) == ("A", version)
    state = ask(server, "update.status")
    assert (state["installed"], state["past"], state["staged"]["version"]) == (None, [], "99.1.0")
    assert ask(server, "operation", id=operation)["state"] == "interrupted"
    assert what_is_kept(server) == kept

    install(server, "99.1.0")
    assert slot(server) == "A"
    cut_while_it_migrates(server)
    server.start()
    state = settled(server, 1)
    assert (slot(server), ask(server, "image")["version"]) == ("A", version)
    assert (state["past"][0]["outcome"], state["past"][0]["version"]) == ("rolled back", "99.1.0")
    healthy(server, kept)

    again(server, "/dev/disk/by-id/virtio-disk2", broken, "99.2.0")
    switch(server)
    state = settled(server, 2)
    assert (slot(server), ask(server, "image")["version"]) == ("A", version)
    assert (state["past"][0]["outcome"], state["past"][0]["version"]) == ("rolled back", "99.2.0")
    assert "web page" in state["past"][0]["reason"]
    healthy(server, kept)

    again(server, "/dev/disk/by-id/virtio-disk1", newer, "99.1.0")
    switch(server)
    state = settled(server, 3)
    assert (slot(server), ask(server, "image")["version"]) == ("B", "99.1.0")
    assert (state["past"][0]["outcome"], state["past"][0]["before"]) == ("updated", version)
    assert all(each["good"] for each in state["slots"])
    healthy(server, kept)
    assert python(server, MIGRATED)

    # And back by hand, from the page that comes when the newer version's own does not.
    break_the_page(server)
    visitor = rescue(server)
    assert "Go back to the version before" in visitor.ask("/rescue/repair").text
    before = server.shell("cat /proc/sys/kernel/random/boot_id")
    assert visitor.send(visitor.ask("/rescue/repair/back"), "/repair/back").where == "/rescue/done/back"
    wait_for(lambda: _boot(server) not in (None, before) or None, 900, "the restart")
    state = settled(server, 4)
    assert (slot(server), ask(server, "image")["version"]) == ("A", version)
    assert (state["past"][0]["outcome"], state["past"][0]["before"]) == ("went back", "99.1.0")
    assert state["past"][0]["catalog_of"]
    healthy(server, kept)


def test_a_power_cut_before_an_update_is_found_good(boot: Boot, bundles: Bundles) -> None:
    newer = bundles.make("99.3.0", *bundles.migration())
    server = boot(disks=[as_disk(newer)])
    server.wait_page()
    server.wait_shell()
    version = ask(server, "image")["version"]
    set_up(server)
    somebody_holds_a_machine(server)
    kept = what_is_kept(server)
    again(server, "/dev/disk/by-id/virtio-disk1", newer, "99.3.0")
    cut_while_it_is_looked_at(server)
    server.start()
    state = settled(server, 1)
    ended = {"updated": ("B", "99.3.0"), "rolled back": ("A", version)}[state["past"][0]["outcome"]]
    assert (slot(server), ask(server, "image")["version"]) == ended
    healthy(server, kept)


def test_a_newer_seed_of_the_image_is_offered_and_used(boot: Boot, came_up: Path) -> None:
    """As if an update had brought it along: the image's own, said to have been built later."""
    server = boot(like=came_up)
    server.wait_shell()
    server.wait_page()
    # A snapshot comes first otherwise, which takes this emulated server for ever.
    python(server, "with catalog.write(): catalog.Class.update(fork=False).execute()\nprint(1)")
    set_up(server, pools={"small": (0, 6)})
    there = "SELECT version FROM seed WHERE class_name = 'small' AND promoted"
    wait_for(lambda: server.catalog(there) == [[1]] or None, 900, "the seed that came with the image")
    server.shell(
        'cp -a /usr/share/dpe/seeds /var/tmp/ && sed -i -E \'s/("built": ")[0-9]{4}/\\12099/\' /var/tmp/seeds/small/seed.json'
        " && mount --bind /var/tmp/seeds /usr/share/dpe/seeds && systemctl restart dpe-engine",
        300,
    )
    grace = Visitor(server)
    grace.sign_in("grace")
    page = comes(grace, "/admin/seeds/", lambda page: "came with this version of the appliance" in page.text)
    came = grace.send(page, "/classes/small/use-shipped")
    assert "small v2" in came.text, came.said
    wait_for(lambda: server.catalog(there) == [[2]] or None, 600, "the newer seed")
    server.shell("cmp /var/lib/dpe/seeds/small/2/disk.qcow2 /usr/share/dpe/seeds/small/disk.qcow2", 300)
    assert "came with this version" not in grace.ask("/admin/seeds/").text


def test_what_an_earlier_version_left_behind_is_gone_on_with(boot: Boot, micro: Path, tmp_path: Path) -> None:
    """The catalog and the key of 410fb78, as they lie on the data partition when a system of today starts over them for the first time."""
    left = REPOSITORY / "tests/upgrades/410fb78"
    (old := tmp_path / "old").mkdir()
    with contextlib.closing(sqlite3.connect(old / "catalog.db")) as connection:
        connection.executescript((left / "catalog.sql").read_text())
    shutil.copy(left / "web-secret", old)
    with tarfile.open(archive := tmp_path / "old.tar", "w") as tar:
        tar.add(old, "old")
    server = boot(of=micro, disks=[as_disk(archive)])
    server.wait_page()
    server.wait_shell()
    server.shell("systemctl stop 'dpe-*'", 300)
    state = "/var/lib/dpe"  # whose owners and modes are put right at each start
    server.shell(f"cd /run && tar -xf /dev/disk/by-id/virtio-disk1 && rm -f {state}/catalog/catalog*")
    server.shell(f"cp /run/old/catalog.db {state}/catalog/ && cp /run/old/web-secret {state}/ && sync")
    server.power_cut()
    server.start()
    server.wait_page("/sign-in", 900)
    server.wait_shell()
    for name in ("dpe-engine", "dpe-web", "dpe-host", "dpe-libvirtd"):
        wait_for(lambda name=name: unit(server, name) == "active" or None, 300, name)  # type: ignore[misc]
    assert server.catalog("PRAGMA user_version") == [[server.python("print(catalog.versions()[-1])")]]
    visitor = Visitor(server)
    visitor.sign_in("grace")
    page = visitor.ask("/admin/classes/").text
    for title in ("Notebook", "Statistics studio"):
        assert title in page
    server.shell(f"test -s {state}/catalog/catalog-v6.db")
