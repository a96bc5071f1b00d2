"""Machines forked from a snapshot of a booted seed, on a real libvirtd: every verb, twice and cut off; no two alike; damaged snapshots; many in a row."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import libvirt
import psutil
import pytest
from pydantic import TypeAdapter

from appliance.errors import Conflict, DpeError, Unavailable
from appliance.host.backup import restic
from appliance.hypervisor.libvirt import daemon, inventory, read_ahead, snapshot_files, snapshots
from appliance.hypervisor.libvirt.layout import Layout
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec, Power, Unfit
from appliance.run import run
from appliance.settings import Settings, environment
from tests.integration.conftest import Libvirtd, MakeSpec, kept_snapshot, take
from tests.integration.look import answers, facts, identity, power, traces
from tests.seeds import cached_seed, older_guests, place
from tests.waiting import until

FORKS = int(os.environ.get("DPE_TEST_FORKS", "10"))
AT_ONCE = int(os.environ.get("DPE_TEST_AT_ONCE", "4"))
CUTS = int(os.environ.get("DPE_TEST_CUTS", "4"))
OTHER = ["small"] if "DPE_TEST_OLDER" in os.environ else []  # of what its older sibling is the harder case of
SEED = int(os.environ.get("DPE_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)


@pytest.fixture
def spec(libvirtd: Libvirtd, provider: LibvirtProvider, make_spec: MakeSpec, small_snapshot: str) -> Iterator[MachineSpec]:
    """A fork that is only described; what the test makes of it is taken away, and nothing of it may be left."""
    spec, before = make_spec(5, snapshot=small_snapshot), traces(libvirtd.settings)
    yield spec
    provider.destroy(spec.id)
    assert traces(libvirtd.settings) - before == set()


@pytest.fixture
def domain(libvirtd: Libvirtd) -> Iterator[Callable[[MachineSpec], libvirt.virDomain]]:
    """A machine as libvirt has it."""
    connection = libvirt.open(daemon.uri(libvirtd.settings))
    yield lambda spec: connection.lookupByUUIDString(spec.id)
    connection.close()


# -- verbs ------------------------------------------------------------------------------------


@pytest.mark.fork
def test_what_nobody_wants_any_more_is_waited_for_no_longer(provider: LibvirtProvider, spec: MachineSpec) -> None:
    """Whoever gives a machine back while it is made theirs has it taken away at once, however long it would have been waited for."""
    provider.fork(spec)
    provider.start(spec)
    with pytest.raises(Conflict, match="not wanted any more"):
        provider.wait(replace(spec, application_port=9), given_up=lambda: True)


def test_a_fork_waits_paused_and_is_itself_when_it_resumes(
    provider: LibvirtProvider,
    spec: MachineSpec,
    make_spec: MakeSpec,
    small_snapshot: str,
    domain: Callable[[MachineSpec], libvirt.virDomain],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = list[Path]()
    monkeypatch.setattr(read_ahead, "read_ahead", asked.append)
    provider.fork(spec)
    assert power(provider, spec) is Power.PAUSED
    described = ET.fromstring(domain(spec).XMLDesc())
    assert described.findtext("name") == spec.name
    assert [mac.get("address") for mac in described.findall("devices/interface/mac")] == [spec.card.mac]
    assert [target.get("dev") for target in described.findall("devices/interface/target")] == [provider.network.tap(spec.card)]
    told = domain(spec).metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, "urn:dpe:machine:1")
    assert f'id="{spec.id}"' in told
    assert 'class="small"' in told
    assert provider.network.admitted()[spec.id] == [provider.network.tap(spec.card), spec.card.mac, spec.card.address]
    disk = json.loads(run(["qemu-img", "info", "--force-share", "--output=json", provider.layout.disk(spec.id)]))
    assert disk["full-backing-filename"] == str(provider.layout.snapshot(small_snapshot) / snapshot_files.DISK)
    assert disk["actual-size"] < 1 << 20
    assert not answers(spec.card.address)

    provider.start(spec)
    assert asked == [provider.layout.snapshot(small_snapshot)] * 2  # before it is made, and before it goes on
    provider.wait(spec)
    assert power(provider, spec) is Power.RUNNING
    assert facts(spec)["hostname"] == spec.name
    # Which pages it touched is known from now on: those of its programs, and not all that the guest ever wrote.
    memory = provider.layout.snapshot(small_snapshot) / snapshot_files.MEMORY
    touched = sum(end - start for start, end in json.loads((memory.parent / read_ahead.TOUCHED).read_text()))
    assert 8 << 20 < touched < memory.stat().st_blocks * 512
    inside = provider.execute(spec.id, ["ip", "-json", "address", "show", "dev", "eth0"])
    (card,) = json.loads(inside.output)
    assert card["address"] == spec.card.mac
    assert [address["local"] for address in card["addr_info"] if address["family"] == "inet"] == [spec.card.address]
    assert not answers(make_spec(49).card.address)  # where the snapshot's machine was


READER = r"""exec perl -e '
open R, "<:raw", "/dev/urandom" or die;
open O, ">>", "/run/read" or die;
select((select(O), $| = 1)[0]);
while (1) { sysread R, $b, 16; print O unpack("H*", $b), "\n"; select undef, undef, undef, 0.02 }'"""


@pytest.mark.hostile
@pytest.mark.fork
@pytest.mark.unique
@pytest.mark.parametrize("class_name", ["small12", *OTHER])
def test_no_two_forks_ever_read_the_same_random_numbers(
    libvirtd: Libvirtd, provider: LibvirtProvider, make_spec: MakeSpec, class_name: str
) -> None:
    """A program that was running in the template reads some every 20 ms, from the moment that its forks go on. small12's kernel knows nothing of forks."""
    seed = place(cached_seed(class_name), libvirtd.settings, class_name)
    of_class = {"class_name": class_name, "seed": f"{class_name}/1", "cmdline": seed.cmdline}
    name, before = f"{class_name}/read/snapshot-1", list[str]()

    def lines(spec: MachineSpec) -> list[str]:
        return provider.execute(spec.id, ["cat", "/run/read"]).output.split()

    def look(spec: MachineSpec) -> None:
        provider.execute(spec.id, ["systemd-run", "--unit=reader", "/bin/sh", "-c", READER])
        deadline = time.monotonic() + 60
        while len(before) < 10:
            assert time.monotonic() < deadline, "the reader does not read"
            before[:] = lines(spec)
        provider.execute(spec.id, [snapshots.STILL_COMMAND])
        before[:] = lines(spec)  # what it has read when it comes to rest is in both

    take(provider, make_spec(47, **of_class), name, look)
    specs = [make_spec(7 + number, snapshot=name, **of_class) for number in range(2)]
    try:
        for spec in specs:
            provider.fork(spec)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(provider.start, specs))
            list(pool.map(provider.wait, specs))
        read = list[set[str]]()
        for spec in specs:
            deadline = time.monotonic() + 60
            while len(now := lines(spec)) < len(before) + 20:
                assert time.monotonic() < deadline, "the reader does not go on"
            assert now[: len(before)] == before
            read.append(set(now[len(before) :]))
        assert read[0] & read[1] == set()
    finally:
        for spec in specs:
            provider.destroy(spec.id)


@pytest.mark.lost
@pytest.mark.fork
def test_no_fork_can_take_memory_out_from_under_the_others(
    provider: LibvirtProvider,
    spec: MachineSpec,
    make_spec: MakeSpec,
    small_snapshot: str,
    domain: Callable[[MachineSpec], libvirt.virDomain],
) -> None:
    """What a balloon gives back QEMU punches out of the file that all forks have their memory from."""
    other, before = (
        make_spec(6, snapshot=small_snapshot),
        snapshot_files.digest(provider.layout.snapshot(small_snapshot) / snapshot_files.MEMORY),
    )
    provider.fork(spec)
    provider.fork(other)
    try:
        provider.start(spec)
        provider.wait(spec)
        devices = provider.execute(spec.id, ["/bin/sh", "-c", "cat /sys/bus/pci/devices/*/device"]).output.split()
        assert devices
        assert not {"0x1002", "0x1045"} & set(devices)  # virtio's balloon, old and new: with one, a driver of the guest's own would do
        with pytest.raises(libvirt.libvirtError, match="balloon"):
            domain(spec).setMemoryFlags(128 << 10, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        assert snapshot_files.digest(provider.layout.snapshot(small_snapshot) / snapshot_files.MEMORY) == before
        provider.start(other)
        provider.wait(other)
        assert facts(other)["hostname"] == other.name
        (reading,) = (stats for stats in provider.stats() if stats.id == spec.id)
        assert 10 < reading.memory_used <= reading.memory == 256
    finally:
        provider.destroy(other.id)


@pytest.mark.lost
@pytest.mark.fork
def test_what_qemu_says_of_a_machine_cannot_fill_the_disk(provider: LibvirtProvider, libvirtd: Libvirtd, spec: MachineSpec) -> None:
    provider.fork(spec)
    log = libvirtd.settings.libvirt / "log/qemu" / f"{spec.name}.log"
    with log.open("ab") as file:
        file.write(b"Discarding RAM with readonly files is not supported\n" * (inventory.LARGEST_LOG // 40))
    assert log.stat().st_size > inventory.LARGEST_LOG
    provider.stats()
    assert log.stat().st_size <= inventory.LARGEST_LOG


@pytest.mark.fork
def test_every_verb_may_be_repeated(provider: LibvirtProvider, spec: MachineSpec) -> None:
    provider.fork(spec)
    provider.fork(spec)
    assert power(provider, spec) is Power.PAUSED
    provider.start(spec)
    provider.start(spec)
    provider.wait(spec)
    before = facts(spec)
    provider.wait(spec)
    assert facts(spec) == before  # it is itself already, and does not become another
    provider.suspend(spec.id)
    provider.suspend(spec.id)
    assert power(provider, spec) is Power.PAUSED
    assert not answers(spec.card.address)
    provider.start(spec)
    provider.wait(spec)
    assert facts(spec) == before
    # A fork that is made again is a new one, whatever the last one did.
    assert provider.execute(spec.id, ["touch", "/root/mine"]).status == 0
    provider.fork(spec)
    assert power(provider, spec) is Power.PAUSED
    provider.start(spec)
    provider.wait(spec)
    assert provider.execute(spec.id, ["ls", "/root/mine"]).status != 0
    assert facts(spec)["secret"] != before["secret"]
    provider.destroy(spec.id)
    provider.destroy(spec.id)
    assert power(provider, spec) is None


FORK = """
import sys
from pydantic import TypeAdapter
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec
from appliance.settings import load
provider = LibvirtProvider(load())
provider.list()
print("now", flush=True)
provider.fork(TypeAdapter(MachineSpec).validate_json(sys.argv[1]))
"""


@pytest.mark.fork
def test_a_fork_cut_off_anywhere_is_simply_made_again(libvirtd: Libvirtd, provider: LibvirtProvider, spec: MachineSpec) -> None:
    dice, command = random.Random(SEED), [sys.executable, "-c", FORK, TypeAdapter(MachineSpec).dump_json(spec).decode()]
    for cut in range(CUTS):
        with subprocess.Popen(command, env={**os.environ, **environment(libvirtd.settings)}, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline() == b"now\n"
            time.sleep(dice.uniform(0, 0.25))
            process.kill()
        try:
            provider.fork(spec)
        except DpeError as error:
            pytest.fail(f"cut {cut} with seed {SEED}: {error}")
        assert power(provider, spec) is Power.PAUSED
        if cut % 2:  # so that the next one starts from nothing
            provider.destroy(spec.id)
    provider.fork(spec)
    provider.start(spec)
    provider.wait(spec)


@pytest.mark.fork
@pytest.mark.crash
def test_a_template_whose_engine_was_killed_before_its_card_was_plugged_in_comes_up(
    libvirtd: Libvirtd, provider: LibvirtProvider, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    template, name = make_spec(48), "small/1/snapshot-48"
    try:
        with monkeypatch.context() as patch:
            patch.setattr(provider, "_plug_in", killed)
            with pytest.raises(Killed):
                provider.boot_template(template, name)
        for _ in range(2):
            provider.boot_template(template, name)
        provider.wait(template)
    finally:
        provider.destroy(template.id)
        provider.remove_snapshot(name)


@pytest.mark.fork
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_forks_outlive_libvirtd_and_are_adopted(
    libvirtd: Libvirtd, provider: LibvirtProvider, spec: MachineSpec, make_spec: MakeSpec, small_snapshot: str, signum: signal.Signals
) -> None:
    paused = make_spec(6, snapshot=small_snapshot)
    try:
        provider.fork(paused)
        provider.fork(spec)
        provider.start(spec)
        provider.wait(spec)
        before = facts(spec)
        libvirtd.restart(signum)
        assert (power(provider, spec), power(provider, paused)) == (Power.RUNNING, Power.PAUSED)
        provider.wait(spec)
        assert facts(spec) == before
        provider.start(paused)
        provider.wait(paused)
        assert facts(paused)["hostname"] == paused.name
        assert facts(paused)["secret"] != before["secret"]
    finally:
        provider.destroy(paused.id)


@pytest.mark.fork
def test_a_saved_fork_resumes_where_it_was(provider: LibvirtProvider, spec: MachineSpec) -> None:
    provider.fork(spec)
    provider.start(spec)
    provider.wait(spec)
    before = facts(spec)
    provider.save(spec.id)
    provider.save(spec.id)
    assert power(provider, spec) is Power.SAVED
    provider.start(spec)
    provider.wait(spec)
    assert power(provider, spec) is Power.RUNNING
    assert facts(spec) == before
    provider.save(spec.id)  # and is taken away as it is


@pytest.mark.fork
def test_a_fork_that_was_never_resumed_may_be_saved(provider: LibvirtProvider, spec: MachineSpec) -> None:
    provider.fork(spec)
    provider.save(spec.id)
    assert power(provider, spec) is Power.SAVED
    provider.start(spec)
    provider.wait(spec)
    assert facts(spec)["hostname"] == spec.name


@pytest.mark.fork
def test_a_fork_that_resets_itself_goes_off_and_boots_and_keeps_its_identity(provider: LibvirtProvider, spec: MachineSpec) -> None:
    """It has nothing to start from itself: whoever sees that it is off starts it, as the engine does. One that was powered off is no other."""
    provider.fork(spec)
    provider.start(spec)
    provider.wait(spec)
    before = facts(spec)
    with contextlib.suppress(DpeError):  # it may be gone before it has answered
        provider.execute(spec.id, ["systemctl", "--force", "--force", "reboot"])
    until(lambda: power(provider, spec) in (None, Power.OFF), every=0.1)
    assert spec.id in provider.disks()
    provider.start(spec)
    provider.wait(spec)
    after = facts(spec)
    assert after["boot_id"] != before["boot_id"]
    assert (after["hostname"], after["machine_id"]) == (before["hostname"], before["machine_id"])


@pytest.mark.fork
def test_an_agent_held_up_longer_than_libvirt_waits_is_waited_for(provider: LibvirtProvider, spec: MachineSpec) -> None:
    """As on a host that has more to do than it can: libvirt's own patience is five seconds."""
    provider.fork(spec)
    provider.start(spec)
    provider.wait(spec)
    qemu = int((provider.settings.libvirt / f"run/qemu/{spec.name}.pid").read_text())
    os.kill(qemu, signal.SIGSTOP)
    going_on = threading.Timer(8, os.kill, (qemu, signal.SIGCONT))
    going_on.start()
    assert provider.execute(spec.id, ["echo", "here"]).output == "here\n"
    going_on.join()


# -- no two alike -----------------------------------------------------------------------------

RANDOM = "od -An -v -tx1 -N 32 /dev/urandom; date +%s.%N"


def host_key(spec: MachineSpec) -> str:
    """The key that its SSH server shows to those who come."""
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(Unavailable):  # it does not answer yet, on a host that is busy
            return restic.host_keys(restic.Sftp(kind="sftp", host=spec.card.address, user="root", path="/"))[0].split()[1]
        assert time.monotonic() < deadline, "no SSH server"
        time.sleep(0.2)


@pytest.mark.fork
@pytest.mark.unique
@pytest.mark.parametrize("class_name", ["small", *older_guests()])
def test_forks_at_once_share_nothing(
    libvirtd: Libvirtd,
    provider: LibvirtProvider,
    make_spec: MakeSpec,
    domain: Callable[[MachineSpec], libvirt.virDomain],
    class_name: str,
) -> None:
    """small12 is an older Debian, whose kernel does not notice that it was forked, and has an SSH server."""
    settings, older = libvirtd.settings, class_name == "small12"
    seed = place(cached_seed(class_name), settings, class_name)
    of_class = {"class_name": class_name, "seed": f"{class_name}/1", "cmdline": seed.cmdline}
    name = f"{class_name}/ten/snapshot-1"
    template = kept_snapshot(provider, make_spec(49, **of_class), seed, name)
    taken = (provider.layout.snapshot(name) / snapshot_files.STATE).stat().st_mtime
    specs = [make_spec(10 + number, snapshot=name, **of_class) for number in range(AT_ONCE)]
    first, later, keys = list[str](), list[str](), list[str]()
    behind, apart = list[float](), list[float]()
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(provider.fork, specs))
            genids = [ET.fromstring(domain(spec).XMLDesc()).findtext("genid") for spec in specs]
            while time.time() - taken < 5:  # old enough that a clock which went on from the snapshot is seen to be wrong
                time.sleep(0.1)

            def resume(spec: MachineSpec) -> str:
                provider.start(spec)
                return provider.execute(spec.id, ["sh", "-c", RANDOM]).output

            for output in pool.map(resume, specs):
                *said, clock = output.split()
                first.append("".join(said))
                behind.append(time.time() - float(clock))
            list(pool.map(provider.wait, specs))
        for spec in specs:
            before = time.time()
            *said, clock = provider.execute(spec.id, ["sh", "-c", RANDOM]).output.split()
            later.append("".join(said))
            apart.append(max(before - float(clock), float(clock) - time.time(), 0))
        told = [identity(provider, spec) for spec in specs]
        keys = [host_key(spec) for spec in specs] if older else []
    finally:
        for spec in specs:
            provider.destroy(spec.id)

    assert min(behind) > 2, "the clocks were never wrong, so that this shows nothing"
    assert max(apart) < 2
    assert None not in genids
    assert len(set(genids)) == AT_ONCE
    assert {len(said) for said in (*first, *later)} == {64}
    if older:
        assert not any(int(each["reseeded"]) for each in told), "this kernel notices it too, and personalise need not care"
    else:
        assert all(int(each["reseeded"]) for each in told)
        assert len(set(first)) == AT_ONCE
    assert len({*first, *later}) == AT_ONCE + len(set(first))
    assert [each["mac"] for each in told] == [spec.card.mac for spec in specs]
    assert [each["address"] for each in told] == [f"{spec.card.address}/{spec.card.prefix}" for spec in specs]
    assert [each["hostname"] for each in told] == [f"{spec.name} {spec.name}" for spec in specs]
    assert [each["machine-id"] for each in told] == [spec.id.replace("-", "") for spec in specs]
    assert all(each["dbus-id"] in ("", each["machine-id"]) for each in told)
    assert [each["host-key"] for each in told] == (keys or [""] * AT_ONCE)
    for what in ("machine-id", "hostname", "mac", "address", "secret", *(["host-key"] if older else [])):
        values = [template[what], *(each[what] for each in told)]
        assert all(values), what
        assert len(set(values)) == AT_ONCE + 1, f"{what}: {values}"


# -- what goes wrong --------------------------------------------------------------------------


def flip(file: Path, offset: int) -> None:
    """Change one bit of one byte."""
    with file.open("r+b") as content:
        content.seek(offset)
        byte = content.read(1)[0]
        content.seek(offset)
        content.write(bytes([byte ^ 1]))


def shorten(file: Path) -> None:
    with file.open("r+b") as content:
        content.truncate(file.stat().st_size // 2)


def told_otherwise(file: Path, **changes: object) -> None:
    file.chmod(0o644)
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "memory cut short": (lambda folder: shorten(folder / "memory"), "memory is damaged: 134217728 bytes instead of 268435456"),
    "memory changed": (lambda folder: flip(folder / "memory", 20 << 20), "memory is damaged: its content"),
    "memory missing": (lambda folder: (folder / "memory").unlink(), "missing"),
    "state cut short": (lambda folder: shorten(folder / "state"), "state is damaged"),
    "state changed": (lambda folder: flip(folder / "state", 100_000), "state is damaged: its content"),
    "state missing": (lambda folder: (folder / "state").unlink(), "missing"),
    "disk changed": (lambda folder: flip(folder / "disk.qcow2", 300_000), "disk.qcow2 is damaged: its content"),
    "disk missing": (lambda folder: (folder / "disk.qcow2").unlink(), "missing"),
    "another QEMU": (lambda folder: told_otherwise(folder / "snapshot.json", hypervisor="QEMU 6.2.0"), "hypervisor was QEMU 6.2.0, and is"),
    "another machine type": (lambda folder: told_otherwise(folder / "snapshot.json", machine="pc-q35-6.2"), "machine was pc-q35-6.2"),
    "other devices": (lambda folder: told_otherwise(folder / "snapshot.json", domain="0"), "the machines' devices have changed"),
    "facts cut short": (lambda folder: shorten(folder / "snapshot.json"), "cannot be read"),
    "facts of something else": (lambda folder: (folder / "snapshot.json").write_text("[]"), "cannot be read"),
    "facts without files": (lambda folder: told_otherwise(folder / "snapshot.json", files={}), "cannot be read"),
    "facts missing": (lambda folder: (folder / "snapshot.json").unlink(), "cannot be read"),
}


@contextlib.contextmanager
def copy_of(name: str, settings: Settings) -> Iterator[str]:
    """A snapshot to be damaged."""
    copy, layout = "small/damaged/snapshot-1", Layout(settings)
    layout.snapshot(copy).parent.mkdir(mode=0o711, exist_ok=True)
    run(["cp", "--archive", "--sparse=always", layout.snapshot(name), layout.snapshot(copy)])
    yield copy
    shutil.rmtree(layout.snapshot(copy))


@pytest.fixture
def copy(libvirtd: Libvirtd, small_snapshot: str) -> Iterator[str]:
    with copy_of(small_snapshot, libvirtd.settings) as copy:
        yield copy


@pytest.mark.fork
@pytest.mark.badinput
def test_a_damaged_snapshot_ends_in_a_clear_error_and_a_working_cold_machine(
    libvirtd: Libvirtd, provider: LibvirtProvider, spec: MachineSpec, small_snapshot: str
) -> None:
    """Although it was forked from before, and known to be whole; and nothing is left of what was forked, so that it is booted once, after all of them."""
    before = traces(libvirtd.settings)
    for what, (damage, words) in DAMAGE.items():
        with copy_of(small_snapshot, libvirtd.settings) as copy:
            print(what)
            forked = replace(spec, snapshot=copy)
            provider.fork(forked)
            damage(provider.layout.snapshot(copy))
            with pytest.raises(Unfit, match=words) as caught:
                provider.fork(forked)
            assert "by itself" in caught.value.hint
            assert traces(libvirtd.settings) - before == set()
            assert power(provider, spec) is None
    cold = replace(spec, snapshot=None)
    provider.clone(cold)
    provider.start(cold)
    provider.wait(cold)
    assert facts(cold)["hostname"] == cold.name


@pytest.mark.fork
@pytest.mark.badinput
def test_no_room_for_a_forks_disk(libvirtd: Libvirtd, provider: LibvirtProvider, spec: MachineSpec) -> None:
    before = traces(libvirtd.settings)
    greedy = LibvirtProvider(replace(provider.settings, disk_reserve=1 << 40))
    with pytest.raises(Unavailable, match="There is no room for the disk"):
        greedy.fork(spec)
    assert traces(libvirtd.settings) - before == set()
    tight = LibvirtProvider(replace(provider.settings, disk_reserve=0))
    run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=711", "tmpfs", provider.settings.machines])
    try:
        with pytest.raises(Unavailable, match="There is no room for the disk"):
            tight.fork(spec)
        assert traces(libvirtd.settings) - before == set()
        assert provider.disks() == []
    finally:
        run(["umount", provider.settings.machines])
    provider.fork(spec)
    provider.start(spec)
    provider.wait(spec)


@pytest.mark.fork
@pytest.mark.badinput
def test_what_goes_wrong_late_leaves_nothing_either(
    libvirtd: Libvirtd, provider: LibvirtProvider, spec: MachineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that is whole, as its digest says, and that QEMU does not take."""
    before = traces(libvirtd.settings)
    monkeypatch.setattr(snapshot_files, "STATE", "snapshot.json")
    monkeypatch.setattr(snapshot_files, "check", lambda *_args: None)
    with pytest.raises(Unavailable, match=spec.name):
        provider.fork(spec)
    assert traces(libvirtd.settings) - before == set()
    assert power(provider, spec) is None


@pytest.mark.fork
@pytest.mark.badinput
def test_a_file_touched_after_it_was_verified_is_read_again(
    provider: LibvirtProvider, spec: MachineSpec, copy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, digest = list[str](), snapshot_files.digest
    monkeypatch.setattr(snapshot_files, "digest", lambda file: read.append(file.name) or digest(file))
    forked, state = replace(spec, snapshot=copy), provider.layout.snapshot(copy) / "state"
    provider.fork(forked)
    assert sorted(read) == ["disk.qcow2", "memory", "state"]
    provider.fork(forked)
    assert len(read) == 3, "it is read each time"
    times = state.stat()
    flip(state, 100_000)
    os.utime(state, ns=(times.st_atime_ns, times.st_mtime_ns))  # an accident does not do that; who does is found out too
    with pytest.raises(Unfit, match="state is damaged"):
        provider.fork(forked)
    flip(state, 100_000)
    provider.fork(forked)
    assert len(read) > 6


# -- many in a row ----------------------------------------------------------------------------


def taken(libvirtd: Libvirtd) -> dict[str, int]:
    """What a leak would take more of; memory in MiB. Of the host's, what no process has: others may start and end meanwhile."""
    assert libvirtd.process
    theirs, ours = psutil.Process(libvirtd.pid), psutil.Process()
    host = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return {
        "the kernel's memory": sum(int(host[name].split()[0]) for name in ("Shmem", "SUnreclaim", "Percpu")) >> 10,
        "libvirtd's memory": theirs.memory_info().rss >> 20,
        "libvirtd's files": theirs.num_fds(),
        "our memory": ours.memory_info().rss >> 20,
        "our files": ours.num_fds(),
        "processes": len(psutil.Process(libvirtd.process.pid).children(recursive=True)),
    }


GROWTH = {"the kernel's memory": 100, "libvirtd's memory": 16, "libvirtd's files": 8, "our memory": 16, "our files": 8, "processes": 0}


@pytest.mark.fork
@pytest.mark.timeout(2400)
def test_forks_in_a_row_lose_none_and_leave_nothing(
    libvirtd: Libvirtd, provider: LibvirtProvider, make_spec: MakeSpec, small_snapshot: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, resumed, going = libvirtd.settings, 0, deque[Future[None]]()
    before = traces(settings)

    with ThreadPoolExecutor(1) as removing:

        def one(number: int) -> None:
            nonlocal resumed
            spec = make_spec(number % 8, snapshot=small_snapshot)
            provider.fork(spec)
            assert power(provider, spec) is Power.PAUSED, f"fork {number} is lost"
            if number % 50 == 0:
                provider.start(spec)
                provider.wait(spec)
                assert facts(spec)["hostname"] == spec.name
                resumed += 1
            going.append(removing.submit(provider.destroy, spec.id))
            if len(going) > 3:
                going.popleft().result()

        def all_gone() -> None:
            while going:
                going.popleft().result()

        for number in range(20):  # what is made once: threads, connections, caches
            one(number)
        all_gone()
        first, begun = taken(libvirtd), time.monotonic()
        for number in range(FORKS):
            one(number)
        all_gone()
    seconds, last = time.monotonic() - begun, taken(libvirtd)
    grown = {what: last[what] - first[what] for what in first}
    with capsys.disabled():
        print(f"\n{FORKS} forks in {seconds:.0f} s, {resumed} resumed; grown by {grown}")
    assert traces(settings) - before == set()
    assert {what: more for what, more in grown.items() if more > GROWTH[what]} == {}
