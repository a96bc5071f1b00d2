"""Disks for real: file systems in files, mounted through loop devices. A state moved and cut off; a disk erased; a disk that is full."""

import contextlib
import hashlib
import http.client
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from appliance import catalog, layout
from appliance.catalog import Event, Seed, SeedState
from appliance.errors import CommandFailed, Conflict, Unavailable
from appliance.host.disks import ballast, inventory, mirror, reset, second_disk
from appliance.host.interface.disks import Disk
from appliance.host.rpc.registry import Host
from appliance.run import run, start
from appliance.settings import REPOSITORY, Settings, environment, load
from tests import world
from tests.waiting import until

pytestmark = pytest.mark.alone  # a mount namespace that is made beside it holds what is mounted at that moment

MIB = 1 << 20


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A block device of so many MiB; `loop("name", 64)`. The file behind it is `name` in the test's folder."""
    made: list[str] = []

    def attach(name: str, size: int) -> Path:
        with (tmp_path / name).open("wb") as file:
            file.truncate(size * MIB)
        made.append(run(["losetup", "--find", "--show", tmp_path / name]).strip())
        return Path(made[-1])

    yield attach
    for device in made:
        run(["losetup", "--detach", device])


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the appliance mounts what is not in its place; all that is mounted below the test's folder is unmounted at the end."""
    monkeypatch.setattr(second_disk, "MOUNTS", tmp_path / "mounts")
    # As systemd has all mounts: what is mounted in one place appears wherever else that place can be seen.
    run(["mount", "--bind", tmp_path, tmp_path])
    run(["mount", "--make-shared", tmp_path])
    yield tmp_path / "mounts"
    unmount_all(tmp_path)
    run(["umount", "--lazy", tmp_path])  # loop devices have files open there


def unmount_all(folder: Path) -> None:
    """As a restart does, when all that one who was killed had started has ended."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    deadline = time.monotonic() + 60
    for point in reversed([line.split()[4] for line in lines]):
        while Path(point) != folder and Path(point).is_relative_to(folder) and Path(point).is_mount():
            try:
                run(["umount", point])
            except CommandFailed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def state(settings: Settings) -> dict[str, str]:
    """What there is to be moved: each file and the digest of it."""
    return {
        str(path.relative_to(settings.state)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in settings.state.rglob("*")
        if path.is_file() and path.relative_to(settings.state).parts[0] not in second_disk.LEFT
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An appliance that has something to lose."""
    settings = load({}, state=tmp_path / "state", disk_reserve=16)
    layout.prepare(settings)
    catalog.open(settings.catalog)
    world.set_up()
    catalog.close()
    for number in range(12):
        folder = settings.machines / f"machine-{number}"
        folder.mkdir()
        (folder / "disk.qcow2").write_bytes(os.urandom(2 * MIB))
    (settings.host / "host.json").write_text("{}")
    return settings


MOVING = second_disk.Store(uuid="11111111-2222-3333-4444-555555555555", name="Big X-1", state="moving")


def second(loop: Callable[..., Path]) -> Path:
    device = loop("second", 128)
    run(["mkfs.ext4", "-q", "-F", "-m", "0", "-U", MOVING.uuid, device])
    return device


def test_the_state_moves_to_a_second_disk_and_is_found_there_at_each_boot(
    settings: Settings, loop: Callable[..., Path], mounts: Path, tmp_path: Path
) -> None:
    device, before = second(loop), state(settings)
    settings.host.joinpath("before").touch()
    settings.state.joinpath("ballast").touch()
    inventory.copy(MOVING, 24 * MIB, Host(settings, "ada"), device)  # while all goes on
    assert second_disk.read_second_disk(settings) == MOVING
    (settings.machines / "machine-3/disk.qcow2").write_bytes(b"written meanwhile")
    changed = state(settings)

    second_disk.place(settings, device, MOVING)  # at the next boot
    assert settings.state.is_mount()
    assert state(settings) == changed != before
    assert (settings.host / "host.json").exists()
    used = second_disk.read_second_disk(settings)
    assert used is not None
    assert used.state == "used"
    assert second_disk.missing(settings) == ""
    (settings.state / "later").write_text("on the second disk")

    unmount_all(tmp_path)
    assert {path.name for path in settings.state.iterdir()} <= {"host", "run"}  # the first disk's room is free
    assert "Big X-1" in second_disk.missing(settings)
    assert (settings.host / "before").exists()
    second_disk.place(settings, device, used)
    assert (settings.state / "later").read_text() == "on the second disk"
    assert state(settings) == {**changed, "later": hashlib.sha256(b"on the second disk").hexdigest()}


@pytest.mark.crash
def test_killed_anywhere_the_old_or_the_new_disk_is_used_and_whole(
    settings: Settings, loop: Callable[..., Path], mounts: Path, tmp_path: Path
) -> None:
    device, wanted, rng = second(loop), state(settings), random.Random(os.environ.get("DPE_TEST_SEED", "6"))
    second_disk.write_second_disk(settings, MOVING)
    code = (
        "import sys; from pathlib import Path; from appliance.host.disks import second_disk; from appliance.settings import load;"
        f"second_disk.MOUNTS = Path({str(mounts)!r}); settings = load(); print('now', flush=True);"
        f"second_disk.place(settings, Path({str(device)!r}), second_disk.read_second_disk(settings))"
    )
    kills = 0
    for _ in range(40):
        process = start([sys.executable, "-c", code], env=environment(settings), stdout=subprocess.PIPE)
        assert process.stdout
        with process.stdout as said, contextlib.suppress(subprocess.TimeoutExpired):
            said.readline()
            process.wait(rng.uniform(0, 0.06 * kills) if kills < 8 else 60)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        if settings.state.is_mount() and (second_disk.MOUNTS / "host").is_mount():
            there = state(settings)
            assert there == wanted
        unmount_all(tmp_path)
        found = second_disk.read_second_disk(settings)
        assert found is not None
        if found.state == "used":
            break
        assert state(settings) == wanted  # the old one, whole
    else:
        raise AssertionError("it was never moved")
    for _ in range(2):
        second_disk.place(settings, device, found)
        assert state(settings) == wanted
        unmount_all(tmp_path)
    assert kills


@pytest.mark.crash
def test_nothing_is_removed_through_a_mount_that_shows_the_second_disk(
    settings: Settings, loop: Callable[..., Path], mounts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever makes it do so: the copy that is left on the first disk does no harm, and removing the other one would be the end."""
    device, before = second(loop), state(settings)
    monkeypatch.setattr(second_disk, "run", lambda command, **more: "" if "--make-private" in command else run(command, **more))
    second_disk.write_second_disk(settings, MOVING)
    with pytest.raises(Unavailable, match="is not removed"):
        second_disk.place(settings, device, MOVING)
    assert settings.state.is_mount()
    assert state(settings) == before


def test_what_does_not_fit_stays_where_it_is(settings: Settings, loop: Callable[..., Path], mounts: Path) -> None:
    device, before = loop("second", 16), state(settings)
    run(["mkfs.ext4", "-q", "-F", "-m", "0", device])
    with pytest.raises(Unavailable, match="cannot be copied to Big X-1"):
        inventory.copy(MOVING, 24 * MIB, Host(settings, "ada"), device)
    assert second_disk.read_second_disk(settings) is None
    second_disk.write_second_disk(settings, MOVING)
    second_disk.place(settings, device, MOVING)
    assert second_disk.read_second_disk(settings) is None
    assert not settings.state.is_mount()
    assert state(settings) == before


def test_a_copy_that_is_cancelled_changes_nothing(settings: Settings, loop: Callable[..., Path], mounts: Path) -> None:
    device, host = second(loop), Host(settings, "ada")
    host.cancelled.set()
    with pytest.raises(Conflict, match="lies where it was"):
        inventory.copy(MOVING, 1, host, device)
    assert second_disk.read_second_disk(settings) is None
    assert not (mounts / "new").is_mount()


def test_a_disk_that_holds_something_is_seen_as_such(settings: Settings, loop: Callable[..., Path]) -> None:
    device = loop("foreign", 16)
    assert inventory.is_blank(device)
    run(["mkfs.ext4", "-q", "-F", device])
    assert not inventory.is_blank(device)
    with pytest.raises(Conflict, match="larger disk"):
        inventory.refuse(Disk(str(device), "Old", "X", 16 * MIB, "foreign", ["ext4"]), "X", 0, blank=False)


@pytest.mark.parametrize("thorough", [False, True])
def test_a_factory_reset_leaves_an_empty_disk(loop: Callable[..., Path], tmp_path: Path, *, thorough: bool) -> None:
    marker = b"a secret of somebody " * 1000
    devices = [loop("data", 64), loop("second", 64)]
    folder = tmp_path / "mounted"
    for device in devices:
        run(["mkfs.ext4", "-q", "-F", device])
        second_disk.mount(device, folder)
        (folder / "catalog").write_bytes(marker)
        run(["umount", folder])
    assert all(marker in (tmp_path / name).read_bytes() for name in ("data", "second"))
    note = tmp_path / "note.json"
    reset.write_note(reset.Note(thorough=thorough), note)
    reset.do(reset.Note(thorough=thorough), *devices, note)
    assert not note.exists()
    for name in ("data", "second"):
        assert b"a secret" not in (tmp_path / name).read_bytes()
    second_disk.mount(devices[0], folder)
    assert {path.name for path in folder.iterdir()} == {"lost+found"}
    run(["umount", folder])
    assert run(["blkid", "-o", "value", "-s", "LABEL", devices[0]]).strip() == "dpe-data"


@pytest.mark.crash
def test_a_factory_reset_that_is_cut_off_begins_anew(loop: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, note = loop("data", 64), tmp_path / "note.json"
    run(["mkfs.ext4", "-q", "-F", device])

    class Cut(BaseException):
        pass

    ran = reset.run
    for cut in ("blkdiscard", "wipefs", "mkfs.ext4", "sync"):

        def until(command: list[str], cut: str = cut, **more: float | None) -> str:
            if command[0] == cut:
                raise Cut
            return ran(command, **more)

        reset.write_note(reset.Note(thorough=False), note)
        monkeypatch.setattr(reset, "run", until)
        with pytest.raises(Cut):
            reset.do(reset.Note(thorough=False), device, None, note)
        assert reset.read_note(note) is not None
    monkeypatch.setattr(reset, "run", ran)
    reset.do(reset.Note(thorough=False), device, None, note)
    assert not note.exists()
    run(["e2fsck", "-fn", device])


# -- a disk that is full -----------------------------------------------------------------------------------


class Web:
    """A browser without pictures, over the web process's socket."""

    def __init__(self, path: Path) -> None:
        self.path, self.cookies, self.token = path, dict[str, str](), ""

    def ask(self, method: str, address: str, **form: str) -> tuple[int, str]:
        with contextlib.closing(http.client.HTTPConnection("localhost", timeout=30)) as connection:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(30)
            connection.sock.connect(str(self.path))
            headers = {
                "Host": "localhost",
                "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
                "Content-Type": "application/x-www-form-urlencoded",
                "X-Forwarded-Proto": "https",
                "Referer": "https://localhost/",
            }
            connection.request(method, address, urlencode({**form, "csrf_token": self.token}) if method == "POST" else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        if found := re.search(r'name="csrf_token" value="([^"]+)"', text):
            self.token = found[1]
        return answer.status, text


def answers(web: Web) -> bool:
    """Whether it has come up."""
    try:
        return web.ask("GET", "/healthz")[0] == 200
    except OSError:
        return False


def fill(file: Path) -> int:
    """Write until there is no room left; returns the bytes."""
    written = 0
    with file.open("ab", buffering=0) as out:
        for piece in (MIB, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    written += out.write(b"x" * piece)
    return written


@pytest.fixture
def served(loop: Callable[..., Path], mounts: Path, tmp_path: Path) -> Iterator[tuple[Settings, Web]]:
    """dpe-host and the web page on a file system of 256 MiB."""
    device = loop("small", 256)
    run(["mkfs.ext4", "-q", "-F", "-m", "0", device])
    second_disk.mount(device, tmp_path / "s")
    settings = load({}, state=tmp_path / "s", disk_reserve=16, network="full")
    layout.prepare(settings)
    catalog.open(settings.catalog)
    world.busy(settings)
    with catalog.write():
        Seed.update(state=SeedState.FAILED).where(Seed.state == SeedState.BUILDING).execute()  # it would need the downloads
    catalog.close()
    web = settings.run / "web.sock"
    env = {**environment(settings), "PYTHONPATH": str(REPOSITORY)}
    gunicorn = ["gunicorn", "--config", REPOSITORY / "webui/gunicorn.conf.py", "--bind", f"unix:{web}", "webui:create_app()"]
    with (tmp_path / "log").open("wb") as log:
        processes = [
            start([sys.executable, "-m", *command], env=env, stdout=log.fileno(), stderr=log.fileno(), cwd=Path("/"))
            for command in (["appliance.host.rpc.daemon"], gunicorn)
        ]
    try:
        until(lambda: answers(Web(web)) and settings.host_socket.exists(), (tmp_path / "log").read_text())
        yield settings, Web(web)
    finally:
        for process in processes:
            process.terminate()
            process.wait(30)
        catalog.close()


@pytest.mark.lost
def test_when_root_fills_the_last_block_again_and_again_people_still_get_in_and_work(served: tuple[Settings, Web]) -> None:
    settings, web = served
    until((settings.state / "ballast").exists, "no room is kept")
    until(lambda: (settings.catalog.parent / "catalog.db-wal").stat().st_size > MIB, "the catalog's log has no room of its own", 90)
    smallest = (settings.state / "ballast").stat().st_size // ballast.PARTS

    def filled() -> bool:
        """Whoever writes without end has all of it but the last."""
        fill(settings.machines / "filler")
        return ballast.held(settings) == smallest and os.statvfs(settings.state).f_bavail == 0

    until(filled, "the room is not given out")
    web.ask("GET", "/sign-in")
    status, _ = web.ask("POST", "/sign-in", name="grace", password=world.PASSWORD)
    assert status == 303
    for path in ("/", "/account", "/admin/", "/admin/events/", "/admin/server/storage/"):
        status, page = web.ask("GET", path)
        assert status == 200, page
    assert "The disk is full:" in page
    status, page = web.ask("POST", "/request", **{"class": "notebook"})
    assert status == 303, page
    assert os.statvfs(settings.state).f_bavail == 0


def test_a_full_disk_leaves_the_admin_s_page_alive_and_says_what_to_delete(served: tuple[Settings, Web]) -> None:
    settings, web = served
    filler = settings.machines / "filler"
    (settings.cache / "bootstrap").mkdir()
    (settings.cache / "bootstrap/old.tar").write_bytes(b"x" * 20 * MIB)
    until((settings.state / "ballast").exists, "no room is kept")
    whole = ballast.held(settings)
    assert fill(filler) > 100 * MIB
    until(lambda: ballast.held(settings) < whole and os.statvfs(settings.state).f_bavail, "the room is not given out")

    web.ask("GET", "/sign-in")
    status, _ = web.ask("POST", "/sign-in", name="grace", password=world.PASSWORD)
    assert status == 303
    status, page = web.ask("GET", "/admin/")
    assert status == 200
    assert "The disk is full:" in page
    assert "See what can be deleted" in page
    status, page = web.ask("GET", "/admin/server/storage/")
    assert status == 200
    assert "Downloads for building seeds" in page
    assert "Delete them" in page
    assert "notebook v1" in page
    catalog.open(settings.catalog)
    assert Event.select().where(Event.kind == "storage.full").count() == 1

    status, _ = web.ask("POST", "/admin/server/storage/clean")
    assert status == 303
    assert mirror.size(settings.cache) < MIB
    until(lambda: ballast.held(settings) == whole, "the room is not taken back")
    _, page = web.ask("GET", "/admin/")
    assert "The disk is full:" not in page
    assert Event.select().where(Event.kind == "storage.room").count() == 1
    with contextlib.closing(sqlite3.connect(settings.catalog)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
