"""What a machine's life asks of a real libvirtd: off and on again, data disks that outlive machines, copies of them, kept disks, signs of use; and all of it going wrong."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from appliance.errors import BadInput, Conflict, DpeError, NotFound, Unavailable
from appliance.hypervisor.libvirt import daemon, disks
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec, NoData, Power
from appliance.run import run, start
from appliance.settings import Settings, environment
from tests.integration.conftest import Libvirtd, MakeSpec
from tests.integration.look import answers, boot_id, facts, power, traces
from tests.seeds import cached_seed, older_guests, place
from tests.waiting import until

pytestmark = pytest.mark.workflow

CUTS = int(os.environ.get("DPE_TEST_CUTS", "2"))
SEED = int(os.environ.get("DPE_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
OWNER = b"user user\n"


def data_disk(settings: Settings) -> Path:
    return settings.data / f"{uuid.uuid4()}.qcow2"


def up(provider: LibvirtProvider, spec: MachineSpec) -> None:
    """As the engine hands a machine over."""
    if power(provider, spec) is None:
        provider.fork(spec)
    provider.start(spec)
    provider.wait(spec, personalise=OWNER)


def inside(provider: LibvirtProvider, spec: MachineSpec, script: str) -> str:
    done = provider.execute(spec.id, ["/bin/sh", "-c", script])
    assert done.status == 0, done
    return done.output


def clock_is_wrong_by(provider: LibvirtProvider, spec: MachineSpec) -> float:
    before = time.time()
    told = float(inside(provider, spec, "date +%s.%N"))
    return max(before - told, told - time.time(), 0.0)


@pytest.fixture
def data(libvirtd: Libvirtd, provider: LibvirtProvider) -> Iterator[Path]:
    """A data disk of 1 GiB."""
    path = data_disk(libvirtd.settings)
    provider.make_data(path.stem, 1)
    yield path
    path.unlink(missing_ok=True)
    provider.remove_data(path.stem)
    assert list(libvirtd.settings.data.iterdir()) == []


@pytest.fixture
def spec(libvirtd: Libvirtd, provider: LibvirtProvider, make_spec: MakeSpec, small_snapshot: str) -> Iterator[MachineSpec]:
    """A fork that is only described; nothing of it may be left."""
    spec, before = make_spec(7, snapshot=small_snapshot), traces(libvirtd.settings)
    yield spec
    provider.destroy(spec.id)
    assert traces(libvirtd.settings) - before == set()


@pytest.fixture
def other(provider: LibvirtProvider, make_spec: MakeSpec, small_snapshot: str) -> Iterator[MachineSpec]:
    other = make_spec(8, snapshot=small_snapshot)
    yield other
    provider.destroy(other.id)


# -- off and on again -------------------------------------------------------------------------


def test_a_machine_shuts_down_in_order_and_boots_from_its_own_disk(provider: LibvirtProvider, spec: MachineSpec, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        provider.stop(spec.id)
    up(provider, spec)
    before = facts(spec)
    inside(provider, spec, "echo mine > /root/note")  # which no sync has written yet
    provider.stop(spec.id)
    provider.stop(spec.id)
    assert power(provider, spec) is Power.OFF
    assert spec.id in provider.disks()
    assert not answers(spec.card.address)
    up(provider, spec)
    assert inside(provider, spec, "cat /root/note") == "mine\n"
    after = facts(spec)
    assert (after["hostname"], after["machine_id"]) == (before["hostname"], before["machine_id"])
    assert after["boot_id"] != before["boot_id"]
    # A machine that is saved, or only paused, is stopped the same way: what it has not written is not lost.
    inside(provider, spec, "echo yours > /root/note")
    provider.save(spec.id)
    provider.stop(spec.id)
    assert power(provider, spec) is Power.OFF
    assert files_on(provider.layout.disk(spec.id), tmp_path, "root/note") == ["yours\n"]


HUNG = "nohup sh -c 'sleep 0.3; kill -STOP {pid}; sleep {seconds}; kill -CONT {pid}' > /dev/null 2>&1 &"


def hang_agent(provider: LibvirtProvider, spec: MachineSpec, seconds: int) -> None:
    pid = inside(provider, spec, 'for p in /proc/[0-9]*; do [ "$(cat $p/comm)" = qemu-ga ] && echo ${p#/proc/}; done; true').split()[0]
    inside(provider, spec, HUNG.format(pid=pid, seconds=seconds))
    time.sleep(1)  # there is no sign of it outside


@pytest.mark.badinput
def test_a_guest_that_ignores_all_requests_is_switched_off(provider: LibvirtProvider, spec: MachineSpec, tmp_path: Path) -> None:
    up(provider, spec)
    inside(provider, spec, "echo mine > /root/note; sync")
    hang_agent(provider, spec, 300)
    begun = time.monotonic()
    provider.stop(spec.id, timeout=6)
    assert 5 < time.monotonic() - begun < 30
    assert power(provider, spec) is Power.OFF
    assert files_on(provider.layout.disk(spec.id), tmp_path, "root/note") == ["mine\n"]  # no worse than a power cut


def test_a_resumed_machine_has_its_clock_its_address_and_its_data(provider: LibvirtProvider, spec: MachineSpec, data: Path) -> None:
    spec = replace(spec, data=data.stem, data_size=1)
    up(provider, spec)
    inside(provider, spec, "echo mine > /data/note")
    before = boot_id(spec)
    provider.save(spec.id)
    time.sleep(4)  # long enough for a clock that stood still to be seen
    provider.start(spec)
    assert clock_is_wrong_by(provider, spec) > 2, "the clock was never wrong, so that this shows nothing"
    provider.wait(spec)
    assert clock_is_wrong_by(provider, spec) < 2
    assert boot_id(spec) == before
    assert inside(provider, spec, "cat /data/note; echo more >> /data/note; cat /data/note") == "mine\nmine\nmore\n"


# -- data disks -------------------------------------------------------------------------------


def test_a_data_disk_is_its_machines_alone_and_outlives_it(
    provider: LibvirtProvider, spec: MachineSpec, other: MachineSpec, data: Path
) -> None:
    spec, other = replace(spec, data=data.stem), replace(other, data=data.stem)
    assert (data.owner(), data.stat().st_mode & 0o777) == (daemon.USER, 0o600)
    up(provider, spec)
    provider.start(spec)
    assert inside(provider, spec, "stat -c '%U %a' /data; findmnt -no SOURCE,FSTYPE /data") == "user 755\n/dev/vdb ext4\n"
    inside(provider, spec, "echo mine > /data/note")
    # Nobody else can have it, whether its machine runs or not; and nobody can remove it.
    provider.fork(other)
    for _ in range(2):
        with pytest.raises(Conflict, match=f"in use by another machine, {spec.id}"):
            provider.start(other)
        with pytest.raises(Conflict, match=spec.id):
            provider.remove_data(data.stem)
        provider.stop(spec.id)
    # It is there from the boot on, without anybody having told the machine again.
    provider.start(spec)
    until(lambda: answers(spec.card.address), seconds=200, every=0.2)
    assert inside(provider, spec, "cat /data/note; systemctl is-active dpe-data.service") == "mine\nactive\n"
    provider.destroy(spec.id)
    assert data.exists()
    up(provider, other)
    assert inside(provider, other, "cat /data/note") == "mine\n"


def test_a_machine_that_runs_is_given_a_data_disk_and_lets_go_of_it(
    provider: LibvirtProvider, spec: MachineSpec, other: MachineSpec, data: Path
) -> None:
    with_data = replace(spec, data=data.stem)
    up(provider, spec)
    up(provider, with_data)
    inside(provider, spec, "echo mine > /data/note; cd /data; nohup sleep 600 > /dev/null 2>&1 & echo $! > /run/busy")
    with pytest.raises(Conflict, match="busy"):
        provider.detach_data(with_data)
    assert inside(provider, spec, "cat /data/note; kill $(cat /run/busy)") == "mine\n"
    provider.detach_data(with_data)
    provider.detach_data(with_data)
    assert "vdb" not in inside(provider, spec, "ls /sys/block")
    up(provider, replace(other, data=data.stem))
    assert inside(provider, other, "cat /data/note") == "mine\n"


def test_a_data_disk_grows_and_never_shrinks(provider: LibvirtProvider, spec: MachineSpec, data: Path) -> None:
    spec = replace(spec, data=data.stem)

    def room() -> int:
        return int(inside(provider, spec, "df --output=size -BM /data | tail -1").strip(" M\n"))

    up(provider, spec)
    assert 900 < room() <= 1024
    provider.make_data(data.stem, 3)
    provider.wait(spec)
    assert 2900 < room() <= 3072
    provider.make_data(data.stem, 2)
    provider.stop(spec.id)
    provider.make_data(data.stem, 4)
    up(provider, spec)
    assert 3900 < room() <= 4096


@pytest.mark.parametrize("class_name", older_guests())
def test_an_older_guest_boots_with_its_data_disk(
    libvirtd: Libvirtd, provider: LibvirtProvider, make_spec: MakeSpec, data: Path, class_name: str
) -> None:
    seed = place(cached_seed(class_name), libvirtd.settings, class_name)
    spec = make_spec(7, class_name=class_name, seed=f"{class_name}/1", cmdline=seed.cmdline, data=data.stem)
    try:
        provider.clone(spec)
        provider.start(spec)
        provider.wait(spec, personalise=OWNER)
        assert inside(provider, spec, "stat -c %U /data; findmnt -no SOURCE,FSTYPE /data") == "user\n/dev/vdb ext4\n"
        assert clock_is_wrong_by(provider, spec) < 2
        provider.stop(spec.id)
        assert power(provider, spec) is Power.OFF
    finally:
        provider.destroy(spec.id)


def missing(data: Path) -> None:
    data.unlink()


def emptied(data: Path) -> None:
    os.truncate(data, 0)


def cut_short(data: Path) -> None:
    os.truncate(data, data.stat().st_size // 2)


def something_else(data: Path) -> None:
    data.write_bytes(b"no disk at all" * 1000)


@pytest.mark.badinput
@pytest.mark.parametrize("damage", [missing, emptied, cut_short, something_else])
def test_a_damaged_data_disk_is_said_and_keeps_no_machine_from_running(
    provider: LibvirtProvider, spec: MachineSpec, data: Path, damage: Callable[[Path], None]
) -> None:
    provider.fork(spec)
    damage(data)
    left = data.read_bytes() if data.exists() else None
    with pytest.raises(NoData, match="missing" if damage is missing else "damaged"):
        provider.start(replace(spec, data=data.stem))
    assert power(provider, spec) is Power.PAUSED
    assert left == (data.read_bytes() if data.exists() else None)
    up(provider, spec)


@pytest.mark.badinput
def test_what_is_on_a_foreign_disk_stays_as_it_is(provider: LibvirtProvider, spec: MachineSpec, data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    with raw.open("wb") as file:
        file.truncate(1 << 30)
    run(["mkswap", raw])
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, data])
    shutil.chown(data, daemon.USER, daemon.USER)
    with pytest.raises(NoData, match="has swap on it instead of ext4, and is left as it is"):
        up(provider, replace(spec, data=data.stem))
    # The machine is given another one.
    another = data_disk(provider.settings)
    provider.make_data(another.stem, 1)
    try:
        up(provider, replace(spec, data=another.stem))
        assert inside(provider, spec, "findmnt -no SOURCE,FSTYPE /data; ls /sys/block") == "/dev/vdb ext4\nvda\nvdb\n"
        run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, data])
        provider.remove_data(data.stem)
    finally:
        provider.destroy(spec.id)
        provider.remove_data(another.stem)


@pytest.mark.badinput
def test_a_disk_that_another_program_has_open_is_not_touched(
    provider: LibvirtProvider, spec: MachineSpec, data: Path, tmp_path: Path
) -> None:
    drive = ["-drive", f"file={data},format=qcow2,if=none,id=x", "-device", "virtio-blk-pci,drive=x"]
    monitor = tmp_path / "monitor"
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-S", *drive]
    with start([*command, "-qmp", f"unix:{monitor},server=on,wait=off"]) as qemu:
        try:
            until(monitor.exists)
            for verb in (
                lambda: up(provider, replace(spec, data=data.stem)),
                lambda: provider.make_data(data.stem, 2),
                lambda: provider.backup_data(data.stem, tmp_path / "copy"),
            ):
                with pytest.raises(Conflict, match="in use"):
                    verb()
        finally:
            qemu.kill()
    up(provider, replace(spec, data=data.stem))


@pytest.mark.badinput
def test_no_room_for_a_disk_that_outlives(provider: LibvirtProvider, spec: MachineSpec, data: Path, tmp_path: Path) -> None:
    settings = provider.settings
    greedy = LibvirtProvider(replace(settings, disk_reserve=1 << 40))
    kept, copy = settings.kept / f"{spec.id}.qcow2", tmp_path / "copy"
    up(provider, replace(spec, data=data.stem))
    provider.stop(spec.id)
    greedy.make_data(data.stem, 1)  # it is there
    for verb in (
        lambda: greedy.make_data(data_disk(settings).stem, 1),
        lambda: greedy.backup_data(data.stem, copy),
        lambda: greedy.keep(spec),
    ):
        with pytest.raises(Unavailable, match="There is no room"):
            verb()
    tight = LibvirtProvider(replace(settings, disk_reserve=0))
    for folder, work in (
        (settings.kept, lambda: tight.keep(spec)),
        (tmp_path, lambda: tight.backup_data(data.stem, copy)),
    ):
        run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder])
        try:
            with pytest.raises(Unavailable, match="There is no room"):
                work()
        finally:
            run(["umount", folder])
    assert not copy.exists()
    assert not kept.exists()


@pytest.mark.badinput
def test_only_disks_are_made_and_removed(provider: LibvirtProvider, tmp_path: Path) -> None:
    stranger = tmp_path / "x.qcow2"
    stranger.write_text("somebody's")
    for verb in (
        lambda: provider.make_data(str(stranger), 1),
        lambda: provider.remove_data(str(stranger.with_suffix(""))),
        lambda: provider.forget_kept(str(stranger.with_suffix(""))),
        lambda: provider.remove_data("../catalog/catalog"),
        lambda: provider.make_data(data_disk(provider.settings).stem, 0),
    ):
        with pytest.raises(BadInput):
            verb()
    assert stranger.read_text() == "somebody's"


# -- copies -----------------------------------------------------------------------------------


def files_on(disk: Path, folder: Path, *names: str) -> list[str]:
    """What these files on a disk hold, once its file system has replayed its journal and been checked; empty for one that is not there."""
    raw = folder / "look.raw"
    run(["qemu-img", "convert", "-O", "raw", disk, raw])
    run(["e2fsck", "-p", raw])  # fails unless all could be mended by the journal
    run(["e2fsck", "-f", "-n", raw])  # and nothing else was wrong
    found = [run(["debugfs", "-R", f"cat /{name}", raw]) for name in names]
    raw.unlink()
    return found


WRITER = """
nohup python3 -c '
import os, time
number = 0
while True:
    number += 1
    with open("/data/count.new", "w") as file:
        file.write(str(number) * 500)
    os.rename("/data/count.new", "/data/count")
' > /dev/null 2>&1 &
"""


def test_a_copy_of_a_disk_that_is_written_to_is_of_one_moment(
    provider: LibvirtProvider, spec: MachineSpec, data: Path, tmp_path: Path
) -> None:
    spec = replace(spec, data=data.stem)
    up(provider, spec)
    inside(provider, spec, "dd if=/dev/urandom of=/data/ballast bs=1M count=20 2> /dev/null; echo before > /data/first")
    inside(provider, spec, WRITER)
    copy, again = tmp_path / "copy.qcow2", data_disk(provider.settings)
    provider.backup_data(data.stem, copy, spec.id)
    inside(provider, spec, "echo after > /data/second; sync")
    whole = copy.read_bytes()
    provider.backup_data(data.stem, copy, spec.id)
    assert copy.read_bytes() == whole
    with pytest.raises(Conflict, match="in use"):
        provider.backup_data(data.stem, tmp_path / "another")
    assert not list(provider.settings.data.glob("*.copying*"))
    try:
        provider.restore_data(copy, again.stem)
        provider.restore_data(copy, again.stem)
        first, second, count = files_on(again, tmp_path, "first", "second", "count")
        assert (first, second) == ("before\n", "")
        assert count == count[: len(count) // 500] * 500
        # The machine goes on, with the disk as it is.
        assert inside(provider, spec, "cat /data/first /data/second") == "before\nafter\n"
        provider.stop(spec.id)
        provider.backup_data(data.stem, tmp_path / "off.qcow2", spec.id)
        provider.restore_data(tmp_path / "off.qcow2", data.stem)  # which is what is there
        with pytest.raises(Conflict, match="another content"):
            provider.restore_data(copy, data.stem)
    finally:
        again.unlink(missing_ok=True)
    provider.remove_backup(copy)
    provider.remove_backup(copy)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["off.qcow2", "off.qcow2.json"]


VERB = """
import sys
from pydantic import TypeAdapter
from pathlib import Path
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec
from appliance.settings import load
provider = LibvirtProvider(load())
provider.list()
spec = TypeAdapter(MachineSpec).validate_json(sys.argv[1])
given = sys.argv[3:]
print("now", flush=True)
match sys.argv[2]:
    case "backup": provider.backup_data(given[0], Path(given[1]), spec.id)
    case "make": provider.make_data(*given, 2)
    case "restore": provider.restore_data(Path(given[0]), given[1])
    case "keep": provider.keep(spec)
    case "start": provider.start(spec)
    case "stop": provider.stop(spec.id)
"""


def cut_off(libvirtd: Libvirtd, spec: MachineSpec, verb: str, *given: str | Path, after: float) -> None:
    """Begin a verb in a process, and kill that."""
    command: list[str | Path] = [sys.executable, "-c", VERB, TypeAdapter(MachineSpec).dump_json(spec).decode(), verb, *given]
    with subprocess.Popen(command, env={**os.environ, **environment(libvirtd.settings)}, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"now\n"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        process.kill()


def test_what_was_cut_off_anywhere_is_simply_done_again(
    libvirtd: Libvirtd, provider: LibvirtProvider, spec: MachineSpec, tmp_path: Path
) -> None:
    dice, settings = random.Random(SEED), libvirtd.settings
    data, again, copy = data_disk(settings), data_disk(settings), tmp_path / "copy"
    kept = settings.kept / f"{spec.id}.qcow2"
    spec = replace(spec, data=data.stem)
    provider.fork(spec)
    try:
        for cut in range(CUTS):
            cut_off(libvirtd, spec, "make", data.stem, after=dice.uniform(0, 0.2))
            provider.make_data(data.stem, 2)
            if cut < CUTS - 1:
                provider.remove_data(data.stem)
        cut_off(libvirtd, spec, "start", after=dice.uniform(0, 0.3))
        up(provider, spec)
        inside(provider, spec, "dd if=/dev/urandom of=/data/ballast bs=1M count=30 2> /dev/null; echo mine > /data/note")
        for cut in range(CUTS):
            provider.remove_backup(copy)
            cut_off(libvirtd, spec, "backup", data.stem, copy, after=dice.uniform(0, 1.5))
            provider.backup_data(data.stem, copy, spec.id)
            cut_off(libvirtd, spec, "restore", copy, again.stem, after=dice.uniform(0, 0.5))
            provider.restore_data(copy, again.stem)
            assert files_on(again, tmp_path, "note") == ["mine\n"], f"cut {cut} with seed {SEED}"
            provider.remove_data(again.stem)
        cut_off(libvirtd, spec, "stop", after=dice.uniform(0, 1))
        provider.stop(spec.id)
        for _ in range(CUTS):
            provider.forget_kept(kept.stem)
            cut_off(libvirtd, spec, "keep", after=dice.uniform(0, 1.5))
            provider.keep(spec)
            run(["qemu-img", "check", "-q", kept])
    finally:
        provider.destroy(spec.id)
        for path in (data, again):
            provider.remove_data(path.stem)
        provider.forget_kept(kept.stem)
    assert [file.name for folder in (settings.data, settings.kept) for file in folder.iterdir()] == []


@pytest.mark.badinput
def test_a_damaged_copy_is_refused(provider: LibvirtProvider, data: Path, tmp_path: Path) -> None:
    copy, target = tmp_path / "copy", data_disk(provider.settings)
    provider.backup_data(data.stem, copy)
    manifest = tmp_path / "copy.json"
    whole, told = copy.read_bytes(), manifest.read_text()
    middle = len(whole) // 2
    for damaged, words in (
        (whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], "its content is not what was written"),
        (whole[:middle], "bytes instead of"),
        (b"", "0 bytes instead of"),
    ):
        copy.write_bytes(damaged)
        with pytest.raises(DpeError, match=f"is damaged and not used: .*{words}"):
            provider.restore_data(copy, target.stem)
    copy.write_bytes(whole)
    for wrong in ("", "[]", "{}", json.dumps({**json.loads(told), "sha256": "0"})):
        manifest.write_text(wrong)
        with pytest.raises(DpeError, match="is damaged and not used"):
            provider.restore_data(copy, target.stem)
    manifest.unlink()
    with pytest.raises(DpeError, match="is damaged and not used"):
        provider.restore_data(copy, target.stem)
    assert not target.exists()
    manifest.write_text(told)
    provider.restore_data(copy, target.stem)
    provider.remove_data(target.stem)


# -- kept disks -------------------------------------------------------------------------------


def test_a_kept_disk_comes_back_without_its_seed(
    libvirtd: Libvirtd, provider: LibvirtProvider, make_spec: MakeSpec, spec: MachineSpec
) -> None:
    kept = libvirtd.settings.kept / f"{spec.id}.qcow2"
    up(provider, spec)
    inside(provider, spec, "echo mine > /root/note")
    with pytest.raises(Conflict, match="Stop it first"):
        provider.keep(spec)
    provider.stop(spec.id)
    provider.keep(spec)
    provider.destroy(spec.id)
    provider.keep(spec)  # it is, although the machine is gone
    told = json.loads(run(["qemu-img", "info", "--output=json", kept]))
    assert "backing-filename" not in told
    again = make_spec(7, kept=kept.stem, seed="small/7", cmdline="nothing", disk_size=3)  # which is gone
    disk = provider.layout.disk(again.id)
    try:
        provider.clone(again)
        provider.clone(again)
        provider.forget_kept(kept.stem)
        provider.forget_kept(kept.stem)
        assert list(libvirtd.settings.kept.iterdir()) == []
        provider.start(again)
        provider.wait(again, personalise=OWNER)
        assert inside(provider, again, "cat /root/note") == "mine\n"
        assert facts(again)["hostname"] == again.name
        told = json.loads(run(["qemu-img", "info", "--force-share", "--output=json", disk]))
        assert (told["virtual-size"], told.get("backing-filename")) == (3 << 30, None)
        assert (disk.owner(), disk.stat().st_mode & 0o777) == (daemon.USER, 0o600)
    finally:
        provider.destroy(again.id)
    with pytest.raises(Unavailable, match="is missing"):
        provider.clone(make_spec(7, kept=kept.stem))
    with pytest.raises(NotFound, match="no disk"):
        provider.keep(again)


# -- signs of use -----------------------------------------------------------------------------

SIGNED_IN = """
nohup python3 -c '
import os, pty, pwd, time
os.setuid(pwd.getpwnam("user").pw_uid)
ours, theirs = pty.openpty()
os.write(ours, b"ls\\n")
os.read(theirs, 3)
open("/tmp/signed-in", "w").close()
time.sleep(600)
' > /dev/null 2>&1 &
while [ ! -e /tmp/signed-in ]; do sleep 0.1; done
"""


def test_signs_of_somebody_at_work(provider: LibvirtProvider, spec: MachineSpec) -> None:
    with pytest.raises(NotFound):
        provider.signs(spec.id)
    provider.fork(spec)
    with pytest.raises(Unavailable, match="guest agent"):
        provider.signs(spec.id)
    up(provider, spec)
    deadline = time.monotonic() + 30  # its terminals begin anew, as somebody else's
    while (before := provider.signs(spec.id)).users or before.last_input_seconds is not None:
        assert time.monotonic() < deadline, before
    assert before.load >= 0
    inside(provider, spec, SIGNED_IN)
    signs = provider.signs(spec.id)
    assert signs.users == 1
    assert signs.last_input_seconds is not None
    assert 0 <= signs.last_input_seconds < 60
    hang_agent(provider, spec, 15)
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        provider.signs(spec.id, timeout=2)
    assert time.monotonic() - begun < 10
    deadline = time.monotonic() + 60  # it comes back, and is heard again
    while True:
        with contextlib.suppress(Unavailable):
            assert provider.signs(spec.id).users == 1
            break
        assert time.monotonic() < deadline
    provider.stop(spec.id)
    with pytest.raises(Unavailable, match="guest agent"):
        provider.signs(spec.id)


def test_the_serial_is_one_that_virtio_has_room_for() -> None:
    serials = {disks.serial(str(uuid.uuid4())) for _ in range(100)}
    assert len(serials) == 100
    assert {len(serial) for serial in serials} == {20}
