"""Backups with the real restic, to a folder and over SSH to a real sshd: made, read again, damaged, cut off, and restored on a fresh appliance."""

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance import catalog, layout
from appliance.catalog import (
    Account,
    Class,
    DataDisk,
    DiskState,
    Event,
    Grant,
    Lease,
    Machine,
    MachineState,
    OutgoingMail,
    Run,
    Seed,
    SeedState,
    Sequence,
    Session,
    Snapshot,
    SnapshotState,
    VersionState,
    data_disks,
    lineage,
    now,
    options,
    record,
    sequences,
)
from appliance.engine import Engine
from appliance.errors import BadInput, CommandFailed, Conflict, Unavailable
from appliance.host.backup import appliance_backup, restic, restore, restore_testing
from appliance.host.interface.operations import DONE, Operation
from appliance.hypervisor.libvirt import disks
from appliance.identity import secrets
from appliance.lifecycle import disk_copies
from appliance.run import Process, run, start
from appliance.settings import Settings, environment, load
from tests import quick_keys
from tests.hosted import Wire
from tests.program import of_owner
from tests.seeds import SMALL, small_scenario
from tests.unit.engine.fake import Data, FakeProvider
from tests.unit.host.backed_up import small_appliance
from tests.waiting import until

pytestmark = pytest.mark.backup
S = MachineState
quick_keys.use()  # of repositories that are made in this process


class Files(FakeProvider):
    """Machines are none, but their data disks are real files."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        for disk in settings.data.glob("*.qcow2"):
            self.data[disk.stem] = Data(1)

    def make_data(self, id: str, size: int) -> None:
        if not self.settings.data_disk(id).exists():
            disks.make(self.settings.data_disk(id), size, disks.ROOT)
        super().make_data(id, size)

    def backup_data(self, id: str, target: Path, machine: str | None = None) -> None:
        disks.make_copy(self.settings.data_disk(id), target, self.settings.data_disk(id))


@contextmanager
def engine(settings: Settings) -> Iterator[Files]:
    """The engine at work over the state directory, in a thread."""
    catalog.open(settings.catalog)
    secrets.open(settings.web_secret)
    provider = Files(settings)
    made = Engine(settings, provider)

    def work() -> None:
        made.run()
        catalog.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield provider
    finally:
        made.stop()
        thread.join()
        made.close()


class Host:
    """dpe-host in a process of its own; its new repositories are opened quickly."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client = Wire(settings, "grace")
        self.process = self._start()

    def _start(self) -> Process:
        with (self.settings.logs / "host.log").open("ab") as out:
            process = start(
                [sys.executable, "-m", "tests.quick_keys"],
                env=environment(self.settings),
                stdout=out.fileno(),
                stderr=out.fileno(),
            )

        def answers() -> bool:
            assert process.poll() is None, (self.settings.logs / "host.log").read_text()
            with socket.socket(socket.AF_UNIX) as line:
                return line.connect_ex(str(self.settings.host_socket)) == 0

        until(answers)
        return process

    def ask(self, verb: str, **args: Any) -> Any:
        return self.client.ask(verb, **args)

    def begin(self, verb: str, **args: Any) -> str:
        return str(self.ask(verb, **args)["operation"])

    def do(self, verb: str, **args: Any) -> Operation:
        """A long verb to its end."""
        id = self.begin(verb, **args)
        return until(lambda: (operation := self.client.operation(id)).state != "running" and operation, 300)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        self.process = self._start()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def made(stack: ExitStack, name: str) -> Settings:
    """A state directory of its own, with a short path because of its sockets."""
    state = Path(tempfile.mkdtemp(prefix=f"dpe-{name}-"))
    stack.callback(shutil.rmtree, state)
    (state / "scenarios").mkdir()
    shutil.copytree(SMALL, state / "scenarios" / "small")
    state.joinpath("s").mkdir()
    settings = load({}, state=state / "s", scenario=state / "scenarios" / "small", network="bk", slots=20)
    layout.prepare(settings)
    return settings


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


@pytest.fixture
def ours(stack: ExitStack) -> Settings:
    """An appliance with people, a seed, and alice's machine with her data disk; bob's is about to be his; one waits in the buffer."""
    settings = made(stack, "a")
    catalog.open(settings.catalog)
    folder = settings.seeds / "small" / "1"
    folder.mkdir(parents=True)
    for name in ("disk.qcow2", "vmlinuz", "initrd", "seed.json"):
        (folder / name).write_bytes(os.urandom(200_000) if name == "disk.qcow2" else b"{}")
    (folder / "snapshot-1").mkdir()
    (folder / "snapshot-1" / "memory").write_bytes(os.urandom(100_000))
    (settings.tls / "certificate.pem").write_text("certificate of a test")
    (settings.state / "settings.toml").write_text('slots = 30\nlisten = "192.0.2.7"\nhost_reserve = 512\n')
    with catalog.write():
        options.put("setup_done", True)
        options.put("title", "House of Ada")
        options.put("scenario", {"name": "small", "title": "Small", "description": ""})
        Sequence.create(name="recovery", title="Recovery")
        body = {
            "reprovision": {
                "after": [{"name": "note", "kind": "notify", "with": {"to": "owner", "subject": "It is there", "text": "Yes."}}]
            }
        }
        sequences.add("recovery", json.dumps(body), VersionState.PROMOTED)
        Class.create(
            name="small", spec=small_scenario().classes["small"].model_dump(mode="json"), minimum=0, maximum=3, buffer=1, lease_minutes=60,
            extend_minutes=30, extensions=1, per_person=3, data_disk=1, fork=False,
        )  # fmt: skip
        seed = Seed.create(machine_class="small", version=1, state=SeedState.READY, promoted=True, stored=True)
        Snapshot.create(seed=seed.id, state=SnapshotState.READY, name=f"{seed.name}/snapshot-1")
        alice, bob = (Account.create(name=name, password="!", email=f"{name}@example.org") for name in ("alice", "bob"))
        size = {"machine_class": "small", "seed": seed.id, "vcpus": 1, "memory": 256, "disk": 2}
        Machine.create(id="m1", name="small-1", slot=0, door=0, state=S.IN_USE, owner=alice, **size)
        Lease.create(machine="m1", account=alice, ends_at=now() + timedelta(hours=1))
        Machine.create(id="m2", name="small-2", slot=1, door=1, state=S.STOPPED, owner=bob, **size)
        Lease.create(machine="m2", account=bob, ends_at=now() + timedelta(days=5))
        Machine.create(id="m3", name="small-3", slot=2, door=2, state=S.READY, **size)
        DataDisk.create(id=DISK, account=alice, machine_class="small", name="thesis", size=1, machine="m1", state=DiskState.READY)
        Session.create(id="x" * 64, account=alice, expires_at=now() + timedelta(days=1))
        record("support.bundle", "Something was done.")
    disks.make(settings.data_disk(DISK), 1, disks.ROOT)
    write_to(settings.data_disk(DISK), "the thesis")
    catalog.close()
    return settings


DISK = "0b1e42fa-39c4-4be5-a5f5-0f2fb4f3e0a1"


def write_to(disk: Path, text: str) -> None:
    run(["qemu-io", "-f", "qcow2", "-c", f"write -P {ord(text[4])} 512M 3M", disk])


@pytest.fixture
def target(stack: ExitStack) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="dpe-target-"))
    stack.callback(shutil.rmtree, folder)
    return {"kind": "folder", "path": str(folder)}


@pytest.fixture
def host(stack: ExitStack, ours: Settings) -> Host:
    found = Host(ours)
    stack.callback(found.close)
    return found


def done(operation: Operation) -> Operation:
    assert operation.state == DONE, (operation.error, operation.hint, operation.said)
    return operation


def configured(host: Host, target: dict[str, Any]) -> str:
    """Configure it; the recovery key."""
    assert host.ask("backup.configure", target=target)["state"] == "empty"
    return str(host.ask("backup.key"))


def prepare(settings: Settings) -> None:
    """What the next start does, before anything else."""
    run([sys.executable, "-m", "appliance.host.system.prepare"], env=environment(settings))


def fresh(stack: ExitStack) -> tuple[Settings, Host]:
    settings = made(stack, "b")
    catalog.open(settings.catalog)
    catalog.close()
    found = Host(settings)
    stack.callback(found.close)
    return settings, found


def test_backup_on_one_appliance_restored_on_a_fresh_one(ours: Settings, host: Host, target: dict[str, Any], stack: ExitStack) -> None:
    key = configured(host, target)
    with engine(ours):
        operation = done(host.do("backup.run"))
    assert (operation.result["people"], operation.result["machines"], operation.result["disks"], operation.result["problems"]) == (
        2,
        2,
        1,
        [],
    )
    assert not list(ours.backups.glob("*/*")), "copies that nobody but the backup wanted stay"
    assert not (ours.state / appliance_backup.WORK).exists()
    [one] = host.ask("backup.list")
    assert (one["people"], one["machines"], one["disks"], one["seeds"], one["scenario"]) == (2, 2, 1, 1, "small")
    done(host.do("backup.verify"))
    tested = done(host.do("restore.test"))
    assert tested.result["whole"]
    assert "2 people, 2 machines that somebody holds and 1 data disks" in host.ask("backup.state")["last"]["test_words"]
    assert not restore_testing.place(ours).exists()

    settings, other = fresh(stack)
    [found] = other.ask("restore.list", target=target, key=key.lower().replace("-", " "))
    assert found["id"] == one["id"]
    before = settings.web_secret.read_bytes()
    done(other.do("restore.begin", target=target, key=key, snapshot=one["id"]))
    assert settings.web_secret.read_bytes() == before, "nothing changes before the next start"
    other.close()
    prepare(settings)
    assert not restore.place(settings).exists()

    assert settings.web_secret.read_bytes() == ours.web_secret.read_bytes()
    assert (settings.tls / "certificate.pem").read_text() == "certificate of a test"
    run(["qemu-img", "compare", "-q", ours.data_disk(DISK), settings.data_disk(DISK)])
    toml = (settings.state / "settings.toml").read_text()
    assert "slots = 30" in toml
    assert "192.0.2.7" not in toml, "another server has another address"
    seed_disk = settings.seeds / "small/1/disk.qcow2"
    assert seed_disk.read_bytes() == (ours.seeds / "small/1/disk.qcow2").read_bytes()
    assert not (settings.seeds / "small/1/snapshot-1").exists()
    assert settings.data_disk(DISK).stat().st_mode & 0o777 == 0o600

    catalog.open(settings.catalog)
    Class.update(buffer=0).execute()  # nobody waits for one
    catalog.close()
    with engine(settings):
        until(lambda: Machine.select().where(Machine.state == S.IN_USE).count() == 2)
        until(lambda: Run.select().where(Run.ended_at.is_null()).count() == 0)
        mine = Machine.get(Machine.id == "m1")
        assert (mine.name, mine.owner.name, mine.slot) == ("small-1", "alice", 0)
        assert (Machine.get(Machine.id == "m2").owner.name, Machine.get(Machine.id == "m3").state) == ("bob", S.RETIRED)
        disk = DataDisk.get_by_id(DISK)
        assert (disk.machine_id, disk.state, disk.account.name) == ("m1", DiskState.READY, "alice")
        short, long = (Lease.get(Lease.machine == id, Lease.ended_at.is_null()) for id in ("m1", "m2"))
        assert timedelta(hours=23) < short.ends_at - now() <= timedelta(hours=24)
        assert long.ends_at - now() > timedelta(days=4)
        assert Seed.get().stored
        assert (Session.select().count(), Snapshot.select().count()) == (0, 0)
        assert options.get("title") == "House of Ada"
        assert Event.select().where(Event.kind == "appliance.restored").count() == 1
        assert catalog.check() == []
        assert {one.kind: str(one.state) for one in Run.select()} == {"reprovision": "done"}
        assert Run.select().first().version.sequence_name == "recovery"


@pytest.mark.api
def test_a_program_backs_up_and_restores(ours: Settings, host: Host, target: dict[str, Any]) -> None:
    """By API alone, on the appliance itself; what it sends wrongly, or may not, changes nothing."""
    program = of_owner(ours)
    path = "admin/backups/target"
    program.ask(403, "PUT", path, {"target": target}, scope="admin:server")
    assert program.refused("PUT", path, {"target": {"kind": "folder", "path": "here"}}) == ["#/target/path"]
    assert program.refused("PUT", path, {"target": {**target, "uuid": "1"}, "keys": ""}) == ["#/target/uuid", "#/keys"]
    assert program.ask(200, "GET", path)["target"] is None
    assert program.ask(200, "PUT", path, {"target": target})["state"] == "empty"

    def ended(begun: dict[str, Any]) -> dict[str, Any]:
        where = f"admin/operations/{begun['id']}"
        found: dict[str, Any] = until(
            lambda: (one := program.ask(200, "GET", where, scope="admin:server"))["state"] != "running" and one, 300
        )
        assert (found["state"], found["problem"]) == (DONE, ""), found
        return found

    with engine(ours):
        ended(program.ask(202, "POST", "admin/backups", scope="admin:server"))
    [one] = program.ask(200, "GET", "admin/backups", scope="admin:server")["items"]
    assert (one["people"], one["machines"], one["disks"]) == (3, 2, 1)
    catalog.open(ours.catalog)
    with catalog.write():
        options.put("title", "House of Bob")

    restoring = f"admin/backups/{one['id']}/restore"
    program.ask(403, "POST", restoring, {}, scope="admin:server")
    assert program.refused("POST", restoring, {"network": "yes", "now": True}) == ["#/network", "#/now"]
    assert program.ask(400, "POST", "admin/backups/nothing/restore", {}).get("errors", []) == []
    ended(program.ask(202, "POST", restoring, {}))
    assert options.get("title") == "House of Bob", "nothing changes before the next start"
    catalog.close()
    host.close()
    prepare(ours)
    catalog.open(ours.catalog)
    assert options.get("title") == "House of Ada"
    assert Event.select().where(Event.kind == "appliance.restored").count() == 1


def test_what_goes_wrong_is_said_in_words(ours: Settings, host: Host, target: dict[str, Any]) -> None:
    with pytest.raises(Conflict, match="not been said where backups go"):
        host.ask("backup.list")
    with pytest.raises(Unavailable, match="There is no folder /nowhere"):
        host.ask("backup.configure", target={"kind": "folder", "path": "/nowhere"})
    with pytest.raises(BadInput, match="where the appliance itself lies"):
        host.ask("backup.configure", target={"kind": "folder", "path": str(ours.seeds)})
    with pytest.raises(BadInput, match="not a recovery key"):
        host.ask("backup.configure", target=target, key="nonsense")
    key = configured(host, target)
    with pytest.raises(BadInput, match="not how the recovery key begins"):
        host.ask("backup.noted", ends="ABCD EFGH")
    host.ask("backup.noted", ends=f"{key[:4].lower()} {key[-4:]}")
    with pytest.raises(Conflict, match="only until"):
        host.ask("backup.key")
    with pytest.raises(BadInput, match="recovery key does not open"):
        host.ask("restore.list", target=target, key="ABCD" * 8)
    assert host.ask("backup.test", target=target, key="ABCD" * 8)["state"] == "theirs"
    with pytest.raises(Conflict, match="another recovery key opens"):
        host.ask("backup.configure", target=target, key="ABCD" * 8)
    assert host.ask("backup.test", target=target)["state"] == "ours"
    # No engine: nobody copies data disks. Owners are told once, however often it fails.
    catalog.open(ours.catalog)
    with catalog.write():
        options.put("mail", {"on": True})
        Grant.create(role="owner", account=Account.get(Account.name == "bob").id)
    for _ in range(2):
        assert "engine, which copies data disks" in host.do("backup.run").error
    [letter] = OutgoingMail.select()
    assert (letter.account.name, letter.subject) == ("bob", "The appliance's backup failed")
    assert "engine, which copies data disks" in letter.text
    assert not DataDisk.select().where(DataDisk.backup_asked).exists(), "nothing is asked for that nobody waits for"
    catalog.close()
    assert "failed" in host.ask("backup.state")["problem"]
    for file in ours.host.rglob("*"):
        if "tasks" in file.parts and file.is_file():
            assert key not in file.read_text()
    assert (restic.folder(ours) / "key").stat().st_mode & 0o777 == 0o600


def test_a_flipped_byte_is_found(ours: Settings, host: Host, target: dict[str, Any]) -> None:
    configured(host, target)
    with engine(ours):
        done(host.do("backup.run"))
    pack = max((file for file in Path(target["path"]).glob("data/*/*")), key=lambda file: file.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    operation = host.do("backup.verify")
    assert "are damaged" in operation.error
    assert "are damaged" in host.ask("backup.state")["problem"]


def test_a_backup_of_a_newer_appliance_is_refused(
    ours: Settings, host: Host, target: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = configured(host, target)
    with engine(ours):
        done(host.do("backup.run"))
    [one] = host.ask("backup.list")
    monkeypatch.setattr(catalog, "versions", lambda: [3])
    with restic.at(restic.Folder(**target), restic.typed(key), ours) as there, pytest.raises(Conflict, match="made by a newer appliance"):
        appliance_backup.read_manifest(there, one["id"])


def test_a_target_that_is_full(ours: Settings, host: Host, stack: ExitStack) -> None:
    small = Path(tempfile.mkdtemp(prefix="dpe-full-"))
    stack.callback(small.rmdir)
    run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", small])
    stack.callback(run, ["umount", small])
    configured(host, {"kind": "folder", "path": str(small)})
    with engine(ours):
        operation = host.do("backup.run")
    assert "There is no room left" in operation.error, operation
    assert not host.ask("backup.state")["last"]["ok"]


def test_killed_at_any_moment_the_next_backup_is_whole(ours: Settings, host: Host, target: dict[str, Any]) -> None:
    configured(host, target)
    (restore_testing.place(ours) / "new").mkdir(parents=True)  # of a restore test that was killed, too
    with engine(ours):
        for after in (0.05, 0.6, 1.2, 2.0, 3.0):
            host.begin("backup.run")
            time.sleep(after)  # a moment is what is wanted
            host.kill()
            host.restart()
        assert host.client.operations()[0].state in ("interrupted", "done")
        done(host.do("backup.run"))
    done(host.do("backup.verify"))
    assert not (ours.state / appliance_backup.WORK).exists()
    assert not restore_testing.place(ours).exists()


@contextmanager
def locked(there: restic.Repository, held: bool = True) -> Iterator[None]:
    """A restic that has its lock on the repository; cut off unless `held`, and its number is one that lives: nobody has waited for it."""
    reads, writes = os.pipe()
    held_by = start(there.command("backup", "--stdin"), env=there.env, stdin=reads)
    os.close(reads)
    until(lambda: there.ask("list", "locks", "--no-lock").split())
    if not held:
        os.kill(held_by.pid, signal.SIGKILL)
    try:
        yield
    finally:
        os.close(writes)
        held_by.wait()


def test_locks_of_what_was_cut_off_are_taken_away_and_others_are_not(ours: Settings, target: dict[str, Any], stack: ExitStack) -> None:
    other = made(stack, "b")
    with restic.at(restic.Folder(**target), restic.new_key(), ours) as there:
        there.ask("init")
        theirs = replace(there, owner=restic._owner(other))
        with locked(there, held=False):
            theirs.clear_locks()
            with pytest.raises(Conflict, match="Something else works on the backups"):
                theirs.ask("forget", "--keep-last", "1")
            there.clear_locks()
            assert not there.ask("list", "locks", "--no-lock")
        with locked(theirs):
            there.clear_locks()
            assert there.ask("list", "locks", "--no-lock"), "another appliance's, which works there"


def test_no_restic_asks_a_process_of_the_host_by_a_signal_whether_it_lives(ours: Settings, target: dict[str, Any]) -> None:
    with restic.at(restic.Folder(**target), restic.new_key(), ours) as there:
        there.ask("init")
        names = set()
        for _ in range(2):
            with locked(there):
                [lock] = there.ask("list", "locks", "--no-lock").split()
                names.add(json.loads(there.ask("cat", "lock", lock, "--no-lock"))["hostname"])
    assert len(names - {socket.gethostname()}) == 2, "it asks those with its own host name"


def test_what_was_backed_up_is_read_also_while_something_is_locked(ours: Settings, host: Host, target: dict[str, Any]) -> None:
    key = configured(host, target)
    with engine(ours):
        done(host.do("backup.run"))
    [one] = host.ask("backup.list")
    Path(target["path"]).joinpath("locks").rmdir()  # nothing can be locked there, as on a disk that is only read
    with restic.at(restic.Folder(**target), restic.typed(key), ours) as there:
        assert appliance_backup.check_newest(there, one["id"], ours).people


def test_a_restore_that_is_cut_off_anywhere_ends_the_same(
    ours: Settings, host: Host, target: dict[str, Any], stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = configured(host, target)
    with engine(ours):
        done(host.do("backup.run"))
    [one] = host.ask("backup.list")
    settings, other = fresh(stack)
    # Killed while it fetches: nothing has changed, and nothing is left.
    other.begin("restore.begin", target=target, key=key, snapshot=one["id"])
    until(lambda: (restore.place(settings) / "new").exists())
    other.kill()
    prepare(settings)
    assert not restore.place(settings).exists()
    other.restart()
    done(other.do("restore.begin", target=target, key=key, snapshot=one["id"]))
    other.close()

    class Cut(BaseException):
        pass

    def tree() -> set[str]:
        return {str(file.relative_to(settings.state)) for file in settings.state.rglob("*") if file.is_file()}

    calls, cuts = 0, 0
    real, real_swap = Path.rename, restore._swap

    def rename(self: Path, to: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == 2:  # each try gets one rename further
            raise Cut
        return real(self, to)

    monkeypatch.setattr(Path, "rename", rename)
    assert real_swap is restore._swap
    while True:
        calls = 0
        try:
            assert restore.finish(settings)
            break
        except Cut:
            cuts += 1
            assert restore.waits(settings)
    monkeypatch.undo()
    assert cuts >= 5
    assert not restore.place(settings).exists()
    run(["qemu-img", "compare", "-q", ours.data_disk(DISK), settings.data_disk(DISK)])
    assert settings.web_secret.read_bytes() == ours.web_secret.read_bytes()
    catalog.open(settings.catalog)
    assert Event.select().where(Event.kind == "appliance.restored").count() == 1
    assert catalog.check() == []
    assert lineage.standing(lineage.read_mark(settings.mark)) is lineage.Standing.SAME  # so that nobody is asked whose machines there were
    catalog.close()
    assert {"seeds/small/1/disk.qcow2", f"data/{DISK}.qcow2", "tls/certificate.pem"} <= tree()


@pytest.mark.alone  # a mount namespace that is made beside it holds what is mounted at that moment
def test_a_disk_is_only_mounted_while_it_is_used(ours: Settings, host: Host, stack: ExitStack) -> None:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dpe-disk-")))
    with (folder / "image").open("wb") as file:
        file.truncate(64 << 20)
    run(["mkfs.ext4", "-q", folder / "image"])
    loop = run(["losetup", "--find", "--show", folder / "image"]).strip()
    unplug = stack.enter_context(ExitStack())
    unplug.callback(run, ["losetup", "--detach", loop])
    uuid = run(["blkid", "-s", "UUID", "-o", "value", loop]).strip()
    configured(host, {"kind": "disk", "uuid": uuid})
    with engine(ours):
        done(host.do("backup.run"))
    assert not (ours.run / "backup-disk").is_mount()
    assert len(host.ask("backup.list")) == 1
    unplug.close()
    with engine(ours):
        assert "backup disk is not there" in host.do("backup.run").error


def test_make_run_starts_again_with_what_was_restored(target: dict[str, Any], stack: ExitStack) -> None:
    """The whole appliance in the foreground, fresh and waiting to be set up, becomes the one that was backed up."""
    from tests.integration.test_foreground import Running

    lost = small_appliance(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dpe-l-"))) / "s")
    backing_up = Host(lost)
    key = configured(backing_up, target)
    done(backing_up.do("backup.run"))
    backing_up.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = replace(
        made(stack, "r"), network=f"k{os.getpid() % 10**6}", subnet="10.247.0.0/16", uplink="169.254.247.0/30", listen="127.0.0.1",
        https_port=port, app_port=20000 if port < 20000 else 10000,
    )  # fmt: skip
    settings.state.parent.chmod(0o711)
    running = Running(settings)
    try:
        running.until("Setup code")
        client = Wire(settings, "set-up")
        [one] = client.ask("restore.list", target=target, key=key)
        client.ask("restore.begin", target=target, key=key, snapshot=one["id"])
        running.until("starting again, with what was restored")
        until(lambda: running.said().count("The appliance runs.") == 2, 120)
        assert running.said().count("Setup code") == 1
        assert not restore.place(settings).exists()
        catalog.open(settings.catalog)
        assert [account.name for account in Account.select()] == ["ada"]
        assert Event.select().where(Event.kind == "appliance.restored").count() == 1
        catalog.close()
        known = appliance_backup.config(settings)
        assert known is not None, "it goes on with the backups that it came from"
        assert known.target.model_dump() == target
        assert len(client.ask("backup.list")) == 1
    finally:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(120) == 0


# -- over SSH -----------------------------------------------------------------------------------------


# In place of the SFTP server, once somebody is to pull the plug: the SSH server dies with the 10,000,000th byte.
GOING = """
import os, pathlib, signal, subprocess
server, plug = "/usr/lib/openssh/sftp-server", pathlib.Path(FOLDER, "plug")
if not plug.exists():
    os.execv(server, [server])
behind, left = subprocess.Popen([server], stdin=subprocess.PIPE), 10_000_000
while left > 0 and (piece := os.read(0, min(left, 65536))):
    behind.stdin.write(piece)
    behind.stdin.flush()
    left -= len(piece)
if left:
    behind.communicate()
else:
    os.kill(int(plug.read_text()), signal.SIGKILL)
    os.kill(os.getppid(), signal.SIGKILL)  # this session of it
"""


class Sshd:
    """An SSH server on loopback that knows nothing but SFTP, as root, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        Path("/run/sshd").mkdir(exist_ok=True)
        self.new_key()
        (folder / "authorized").write_text("")
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
            f"PidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nStrictModes no\nUsePAM no\n"
            f"Subsystem sftp internal-sftp\nForceCommand {folder}/sftp\n"
            "SetEnv SHLVL=2\n"  # no login of its own, for which bash would read the profile of whoever runs the tests
        )
        with suppress(CommandFailed):  # tests come often; before OpenSSH 9.8 nobody was turned away for that
            run(["/usr/sbin/sshd", "-t", "-f", folder / "config", "-o", "PerSourcePenalties=no"])
            with (folder / "config").open("a") as config:
                config.write("PerSourcePenalties no\n")
        (folder / "sftp").write_text(f"#!{sys.executable}\nFOLDER = {str(folder)!r}\n{GOING}")
        (folder / "sftp").chmod(0o755)

    def new_key(self) -> None:
        for file in self.folder.glob("host*"):
            file.unlink()
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "host"])

    def start(self) -> None:
        self.process = start(["/usr/sbin/sshd", "-D", "-e", "-f", self.folder / "config"])

        def answers() -> bool:
            with socket.socket() as line:
                return line.connect_ex(("127.0.0.1", self.port)) == 0

        until(answers)

    @contextmanager
    def going_in_the_middle(self) -> Iterator[None]:
        """The server dies once a session has sent it 10 MB."""
        assert self.process
        (self.folder / "plug").write_text(str(self.process.pid))
        yield
        assert self.process.wait(120) == -signal.SIGKILL
        self.process = None
        (self.folder / "plug").unlink()

    def stop(self) -> None:
        """The server and its sessions go at once."""
        if self.process is not None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):  # a session that just came to its end
                    child.kill()
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def sshd(stack: ExitStack) -> Sshd:
    folder = Path(tempfile.mkdtemp(prefix="dpe-sshd-"))
    stack.callback(shutil.rmtree, folder)
    found = Sshd(folder)
    found.start()
    stack.callback(found.stop)
    return found


def test_over_ssh_with_a_key_of_the_appliance_and_a_server_that_was_confirmed(ours: Settings, host: Host, sshd: Sshd) -> None:
    target = {"kind": "sftp", "host": "127.0.0.1", "port": sshd.port, "user": "root", "path": str(sshd.folder / "backup")}
    shown = host.ask("backup.configure", target=target)
    assert shown["state"] == "confirm"
    told = run(["ssh-keygen", "-l", "-f", sshd.folder / "host.pub"]).split()[1]
    assert [one.split()[0] for one in shown["fingerprints"]] == [told]
    target["host_keys"] = shown["host_keys"]
    with pytest.raises(Unavailable, match="does not let the appliance in"):
        host.ask("backup.configure", target=target)
    (sshd.folder / "authorized").write_text(host.ask("backup.public_key") + "\n")
    assert host.ask("backup.configure", target=target)["state"] == "empty"
    with engine(ours):
        done(host.do("backup.run"))
    done(host.do("backup.verify"))
    assert len(host.ask("backup.list")) == 1

    # The server goes in the middle.
    (ours.seeds / "small/1/disk.qcow2").write_bytes(os.urandom(40 << 20))
    with engine(ours), sshd.going_in_the_middle():
        operation = host.do("backup.run")
    assert (operation.state, "cannot be reached" in operation.error) == ("failed", True), operation
    catalog.open(ours.catalog)
    assert Event.select().where(Event.kind == "backup.failed").count() == 1
    catalog.close()
    with pytest.raises(Unavailable, match="No SSH server answers"):
        host.ask("backup.test", target=target)
    sshd.start()
    with engine(ours):
        done(host.do("backup.run"))
    assert host.ask("backup.state")["last"]["ok"]

    # Another server in its place.
    sshd.stop()
    sshd.new_key()
    sshd.start()
    with pytest.raises(Unavailable, match="shows another key"):
        host.ask("backup.list")
    assert host.ask("backup.test", target=target)["state"] == "confirm"
    assert "PRIVATE" not in (ours.logs / "host.log").read_text()


def test_copies_of_data_disks_alone_come_to_the_page_recovery(ours: Settings, host: Host, target: dict[str, Any]) -> None:
    configured(host, target)
    with engine(ours):
        done(host.do("backup.run"))
        write_to(ours.data_disk(DISK), "otherwise")
        [one] = host.ask("backup.list")
        assert done(host.do("restore.copies", snapshot=one["id"])).result == {"copies": 1}
        disk_copies.scan(ours)
        [copy] = data_disks.backups()
        assert (copy.disk, copy.problem, copy.account_name) == (DISK, "", "alice")
        disks.verify(Path(copy.path))


def test_without_seeds_they_are_built_again_and_the_machines_wait_for_them(
    ours: Settings, host: Host, target: dict[str, Any], stack: ExitStack
) -> None:
    key = configured(host, target)
    host.ask("backup.plan", plan={"seeds": False})
    with engine(ours):
        done(host.do("backup.run"))
    settings, other = fresh(stack)
    [one] = other.ask("restore.list", target=target, key=key)
    assert one["seeds"] == 0
    done(other.do("restore.begin", target=target, key=key, snapshot=one["id"]))
    other.close()
    prepare(settings)
    catalog.open(settings.catalog)
    assert [(seed.version, str(seed.state), seed.promoted) for seed in Seed.select().order_by(Seed.version)] == [
        (1, "removed", False),
        (2, "queued", False),
    ]
    Seed.update(state=SeedState.FAILED).where(Seed.version == 2).execute()  # no test builds it
    with engine(settings):
        until(lambda: Run.select().where(Run.why.contains("a seed of its class")).count() == 2)
        with catalog.write():
            Seed.create(machine_class="small", version=3, state=SeedState.READY, promoted=True, stored=True)
            Class.update(buffer=0).execute()
        until(lambda: Machine.select().where(Machine.state == S.IN_USE).count() == 2)
        assert {machine.seed.version for machine in Machine.select().where(Machine.state == S.IN_USE)} == {3}


def test_a_disk_that_could_not_be_copied_is_told_of_and_put_aside(
    ours: Settings, host: Host, target: dict[str, Any], stack: ExitStack
) -> None:
    key = configured(host, target)
    with engine(ours) as provider:
        provider.backup_data = refuse  # type: ignore[method-assign]
        operation = done(host.do("backup.run"))
    assert operation.result["problems"] == ["thesis: There is no room for a disk."]
    settings, other = fresh(stack)
    [one] = other.ask("restore.list", target=target, key=key)
    assert (one["disks"], one["missing"]) == (0, 1)
    done(other.do("restore.begin", target=target, key=key, snapshot=one["id"]))
    other.close()
    prepare(settings)
    catalog.open(settings.catalog)
    disk = DataDisk.get_by_id(DISK)
    assert (disk.state, disk.machine_id) == (DiskState.TROUBLED, None)
    assert "not in the backup" in disk.problem
    catalog.close()


def refuse(*_: object) -> None:
    raise Unavailable("There is no room for a disk.")


def test_cancelling_ends_it_and_leaves_nothing(ours: Settings, host: Host, target: dict[str, Any]) -> None:
    configured(host, target)
    (ours.seeds / "small/1/disk.qcow2").write_bytes(os.urandom(60 << 20))
    with engine(ours):
        id = host.begin("backup.run")
        until(lambda: "Writing" in host.client.operation(id).line)
        host.ask("operation.cancel")
        operation = until(lambda: (operation := host.client.operation(id)).state != "running" and operation)
        assert operation.error == "It was cancelled."
        assert not (ours.state / appliance_backup.WORK).exists()
        done(host.do("backup.run"))
