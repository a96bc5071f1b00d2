"""Machines on a real libvirtd: every verb, twice; the network's rules tried from inside a guest; libvirtd going away; nothing left behind.

Two machines are booted once and used by most tests, because a boot under emulation takes ten seconds.
"""

import contextlib
import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import libvirt
import pytest

from appliance.errors import BadInput, DpeError, NotFound, Unavailable
from appliance.hypervisor import making
from appliance.hypervisor.libvirt import daemon, inventory
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec, Power, Unfit
from appliance.lifecycle import batch
from appliance.run import run
from appliance.settings import Settings
from tests.integration.conftest import Libvirtd, MakeSpec
from tests.integration.look import answers, boot_id, facts, power, traces
from tests.waiting import PATIENCE, until


@pytest.fixture(scope="module")
def pair(libvirtd: Libvirtd, make_spec: MakeSpec) -> Iterator[tuple[MachineSpec, MachineSpec]]:
    """Two machines that run; taken away again at the end, when nothing of them may be left."""
    provider, specs = libvirtd.provider, (make_spec(1), make_spec(2))
    before = traces(libvirtd.settings)
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda spec: making.make(provider, spec, lambda _text: None), specs))
        yield specs
    finally:
        for spec in specs:
            provider.destroy(spec.id)
    assert traces(libvirtd.settings) - before == set()
    assert {spec.id for spec in specs}.isdisjoint({*provider.disks(), *(found.id for found in provider.list())})


@pytest.fixture
def spec(provider: LibvirtProvider, make_spec: MakeSpec) -> Iterator[MachineSpec]:
    """A machine that is only described; whatever the test makes of it is taken away."""
    spec = make_spec(5)
    yield spec
    provider.destroy(spec.id)


# -- verbs ------------------------------------------------------------------------------------


def test_every_verb_may_be_repeated_and_adopts(provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec]) -> None:
    first = pair[0]
    disk = provider.layout.disk(first.id)
    before, inode, said = boot_id(first), disk.stat().st_ino, list[str]()
    provider.clone(first)
    provider.start(first)
    provider.wait(first, said.append)
    assert (boot_id(first), disk.stat().st_ino) == (before, inode)
    assert said[:2] == ["waiting for its agent", "giving it its name and address"]
    assert power(provider, first) is Power.RUNNING
    assert first.id in provider.disks()


def test_a_disk_is_a_thin_overlay_that_only_qemu_may_read(provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec]) -> None:
    disk, seed = provider.layout.disk(pair[0].id), provider.layout.seed_disk(pair[0].seed)
    told = json.loads(run(["qemu-img", "info", "--force-share", "--output=json", disk]))
    assert told["virtual-size"] == 2 << 30
    assert told["full-backing-filename"] == str(seed)
    assert told["actual-size"] < 100 << 20
    assert (disk.owner(), disk.stat().st_mode & 0o777) == (daemon.USER, 0o600)
    assert (seed.owner(), seed.stat().st_mode & 0o777) == ("root", 0o444)


def test_the_domain_says_whose_it_is(libvirtd: Libvirtd, pair: tuple[MachineSpec, MachineSpec]) -> None:
    connection = libvirt.open(daemon.uri(libvirtd.settings))
    domain = connection.lookupByUUIDString(pair[0].id)
    told = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, "urn:dpe:machine:1")
    assert f'id="{pair[0].id}"' in told
    assert 'class="small"' in told
    assert domain.isPersistent()
    connection.close()


def test_execute_gives_status_output_and_error(provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec]) -> None:
    id = pair[0].id
    done = provider.execute(id, ["/bin/sh", "-c", "tr a-z A-Z; echo wrong >&2; exit 3"], input="héllo\n".encode())
    assert (done.status, done.output, done.error) == (3, "HéLLO\n", "wrong\n")
    assert provider.execute(id, ["/bin/sh", "-c", "kill -9 $$"]).status == 137
    assert provider.execute(id, ["cat"]).output == ""
    with pytest.raises(Unavailable, match="did not end in time"):
        provider.execute(id, ["sleep", "30"], timeout=0.5)
    with pytest.raises(DpeError, match="no-such-command"):
        provider.execute(id, ["/no-such-command"])
    with pytest.raises(NotFound):
        provider.execute("6b1c0000-0000-4000-8000-000000000000", ["true"])


def test_stats_of_all_in_one_call(provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec]) -> None:
    deadline = time.monotonic() + 30  # the guest's balloon driver speaks every ten seconds
    while True:
        first, second = (stats for spec in pair for stats in provider.stats() if stats.id == spec.id)
        if first.memory_used < first.memory:
            break
        assert time.monotonic() < deadline
        time.sleep(1)
    assert first.memory == second.memory == 256
    assert first.memory_used > 10
    assert first.cpu_ns > 10**9
    assert first.vcpus == 1
    assert first.disk_read > 10 << 20
    assert first.net_received > 0
    assert first.net_sent > 0


def test_a_guest_cannot_fill_the_disk_through_its_serial_port(provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec]) -> None:
    log = provider.layout.serial_log(pair[0].id)
    with log.open("ab") as file:
        file.write(b"x" * (inventory.LARGEST_LOG + 1))
    provider.stats()
    assert log.stat().st_size <= inventory.KEPT_OF_LOG + 1000

    def heard() -> bool:
        """Said until it is: the kernel may write into the middle of it."""
        provider.execute(pair[0].id, ["/bin/sh", "-c", "echo still here > /dev/ttyS0"])
        return b"still here" in log.read_bytes()[inventory.KEPT_OF_LOG :]

    until(heard, every=0.2)
    assert b"\0" not in log.read_bytes()


def test_host_facts(provider: LibvirtProvider, appliance_settings: Settings) -> None:
    facts = provider.host()
    assert facts.acceleration in ("kvm", "emulation")
    assert facts.reason
    assert facts.hypervisor.startswith("QEMU ")
    assert 0 < facts.memory_available < facts.memory
    assert facts.disk_free == pytest.approx(shutil.disk_usage(appliance_settings.machines).free >> 20, rel=0.1)


def test_a_saved_machine_resumes_where_it_was(provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec]) -> None:
    second, changed = pair[1], threading.Event()
    provider.watch(lambda id: changed.set() if id == second.id else None)
    before = boot_id(second)
    provider.save(second.id)
    assert changed.wait(5)
    provider.save(second.id)
    assert power(provider, second) is Power.SAVED
    provider.start(second)
    provider.start(second)
    provider.wait(second)
    assert power(provider, second) is Power.RUNNING
    assert boot_id(second) == before


def test_a_suspended_machine_is_resumed_by_start(
    libvirtd: Libvirtd, provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec]
) -> None:
    connection = libvirt.open(daemon.uri(libvirtd.settings))
    connection.lookupByUUIDString(pair[1].id).suspend()
    connection.close()
    assert power(provider, pair[1]) is Power.PAUSED
    provider.start(pair[1])
    provider.wait(pair[1])


def test_a_machine_that_switched_itself_off_starts_again_with_its_address(
    provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec]
) -> None:
    second, before, off = pair[1], boot_id(pair[1]), threading.Event()
    provider.watch(lambda id: off.set() if id == second.id else None)
    with contextlib.suppress(DpeError):  # it may be gone before it has answered
        provider.execute(second.id, ["systemctl", "--force", "--force", "poweroff"])
    deadline = time.monotonic() + 60
    while power(provider, second) is not Power.OFF:
        assert time.monotonic() < deadline
        off.wait(1)
        off.clear()
    with pytest.raises(DpeError, match="went off before its guest agent answered"):
        provider.wait(second)
    provider.start(second)
    # Nobody sets the address this time: the machine kept it.
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(OSError):
            assert boot_id(second) != before
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)


# -- the network ------------------------------------------------------------------------------

CONNECT = """
import errno, socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).close()
    print("connected")
except TimeoutError:
    print("no way")
except OSError as error:
    print("no way" if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH) else error)
"""


@contextlib.contextmanager
def listening(address: str, settings: Settings) -> Iterator[int]:
    """A service on one of the host's addresses, which the host itself reaches."""
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection((address, port), timeout=2).close()
        yield port


def reached(provider: LibvirtProvider, spec: MachineSpec, address: str, port: int) -> bool:
    """Whether the machine can connect; that it gets not even a refusal is how the rules look from inside."""
    done = provider.execute(spec.id, ["python3", "-c", CONNECT, address, str(port)])
    assert done.output.strip() in ("connected", "no way"), done
    return done.output.strip() == "connected"


def comes_to_answer(address: str) -> bool:
    """Whether it answers within seconds: the bridge gives up on an address for a moment after it was silent."""
    deadline = time.monotonic() + PATIENCE
    while not answers(address):
        if time.monotonic() > deadline:
            return False
    return True


def test_a_machine_reaches_itself_and_is_reached_from_the_host(provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec]) -> None:
    first, second = pair
    assert reached(provider, first, first.card.address, 8080)
    assert answers(first.card.address)
    assert answers(second.card.address)


def test_a_machine_reaches_no_other(provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec]) -> None:
    first, second = pair
    assert answers(second.card.address)
    assert not reached(provider, first, second.card.address, 8080)
    # Neither when it knows the other's MAC, nor by way of the gateway.
    neighbour = ["ip", "neigh", "replace", second.card.address, "lladdr", second.card.mac, "dev", "eth0"]
    assert provider.execute(first.id, neighbour).status == 0
    assert not reached(provider, first, second.card.address, 8080)
    assert provider.execute(first.id, ["ip", "neigh", "del", second.card.address, "dev", "eth0"]).status == 0
    around = ["ip", "route", "replace", f"{second.card.address}/32", "via", first.card.gateway]
    assert provider.execute(first.id, around).status == 0
    assert not reached(provider, first, second.card.address, 8080)
    assert provider.execute(first.id, ["ip", "route", "del", f"{second.card.address}/32"]).status == 0


def test_a_machine_reaches_neither_gateway_nor_host(
    provider: LibvirtProvider, appliance_settings: Settings, pair: tuple[MachineSpec, MachineSpec]
) -> None:
    with listening(provider.network.host_end, appliance_settings) as port:
        assert not reached(provider, pair[0], provider.network.host_end, port)
        for other in (provider.network.inner_end, provider.network.gateway):
            assert not reached(provider, pair[0], other, port)
    own = next((address for address in _host_addresses() if not address.startswith("127.")), None)
    if own:
        with listening(own, appliance_settings) as port:
            assert not reached(provider, pair[0], own, port)


def _host_addresses() -> list[str]:
    links = json.loads(run(["ip", "-json", "-4", "address"]))
    return [info["local"] for link in links if not link["ifname"].endswith("-out") for info in link.get("addr_info", [])]


def test_a_machine_cannot_take_another_address(
    provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, stolen = pair[0], provider.settings.address(30)
    assert provider.execute(first.id, ["ip", "address", "add", f"{stolen}/16", "dev", "eth0"]).status == 0
    assert not answers(stolen)
    # It is the rule that holds it: with the other entry for its tap, the very same address answers, and its own does not.
    tap = provider.network.tap(first.card)
    with monkeypatch.context() as lying:
        lying.setattr(provider.network, "tap", lambda _card: tap)
        provider.network.admit(first.id, replace(first.card, address=stolen))
    assert comes_to_answer(stolen)
    assert not answers(first.card.address)
    provider.network.admit(first.id, first.card)
    assert not answers(stolen)
    assert provider.execute(first.id, ["ip", "address", "del", f"{stolen}/16", "dev", "eth0"]).status == 0
    assert comes_to_answer(first.card.address)


def test_a_machine_cannot_take_another_mac(provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec]) -> None:
    first = pair[0]
    assert provider.execute(first.id, ["ip", "link", "set", "eth0", "address", "52:54:00:00:99:99"]).status == 0
    try:
        assert not answers(first.card.address)
    finally:
        provider.execute(first.id, ["ip", "link", "set", "eth0", "address", first.card.mac])
    assert comes_to_answer(first.card.address)


# -- libvirtd goes away -----------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_machines_outlive_libvirtd_and_are_adopted(
    libvirtd: Libvirtd, provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec], signum: signal.Signals
) -> None:
    first, second = pair
    before, changed = boot_id(first), threading.Event()
    provider.watch(lambda id: changed.set() if id == second.id else None)
    waiting = ThreadPoolExecutor(1).submit(provider.wait, replace(first, application_port=9))
    assert provider.list()
    libvirtd.stop(signum)
    # Who waits is told at once; nobody takes the silence for an absence.
    with pytest.raises(Unavailable, match="does not answer"):
        waiting.result(10)
    for verb in (
        provider.list,
        provider.stats,
        provider.host,
        lambda: provider.start(first),
        lambda: provider.wait(first),
        lambda: provider.save(first.id),
        lambda: provider.destroy(first.id),
        lambda: provider.execute(first.id, ["true"]),
    ):
        with pytest.raises(Unavailable, match="does not answer"):
            verb()
    assert provider.layout.disk(first.id).exists()
    assert first.id in provider.disks()
    assert boot_id(first) == before
    libvirtd.start()
    assert power(provider, first) is Power.RUNNING
    assert provider.execute(first.id, ["cat", "/proc/sys/kernel/random/boot_id"]).output.strip() == before
    assert first.id in provider.network.admitted()
    # Events come again, on the new connection.
    provider.save(second.id)
    assert changed.wait(5)
    provider.start(second)
    provider.wait(second)


# -- what goes wrong --------------------------------------------------------------------------


def test_a_machine_whose_agent_never_comes_is_given_up_in_time(provider: LibvirtProvider, spec: MachineSpec) -> None:
    silent = replace(spec, boot_timeout=4, cmdline=f"{spec.cmdline} init=/bin/sh")
    provider.clone(silent)
    provider.start(silent)
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"its guest agent did not answer within \d+ s") as caught:
        provider.wait(silent)
    assert time.monotonic() - begun < 30  # and not the five minutes of a class
    assert "serial.log" in caught.value.hint
    with pytest.raises(Unavailable, match="is not there"):
        provider.execute(silent.id, ["true"], timeout=0.5)


def test_a_machine_whose_application_never_comes_is_given_up_in_time(
    provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec]
) -> None:
    with pytest.raises(Unavailable, match=r"its application \(http port 9, /ready\) did not answer within 3 s"):
        provider.wait(replace(pair[0], boot_timeout=3, application_port=9))


def test_a_machine_that_does_not_take_its_address_is_named(provider: LibvirtProvider, pair: tuple[MachineSpec, MachineSpec]) -> None:
    with pytest.raises(DpeError, match="did not take its name and address not-an-address"):
        provider.wait(replace(pair[0], card=replace(pair[0].card, address="not-an-address")))
    provider.wait(pair[0])


def test_a_machine_that_dies_while_it_boots_is_told_at_once(provider: LibvirtProvider, spec: MachineSpec) -> None:
    provider.clone(spec)
    provider.start(spec)
    pid = (provider.settings.libvirt / f"run/qemu/{spec.name}.pid").read_text().strip()
    waiting = ThreadPoolExecutor(1).submit(provider.wait, spec)
    run(["kill", "-9", pid])
    with pytest.raises(DpeError, match="went off before its guest agent answered"):
        waiting.result(10)


@pytest.mark.badinput
def test_no_room_for_a_clone(provider: LibvirtProvider, spec: MachineSpec) -> None:
    greedy = LibvirtProvider(replace(provider.settings, disk_reserve=1 << 40))
    with pytest.raises(Unavailable, match="There is no room for the disk") as caught:
        greedy.clone(spec)
    assert "larger disk" in caught.value.hint
    assert spec.id not in provider.disks()


@pytest.mark.badinput
def test_a_disk_that_fills_up_while_cloning(provider: LibvirtProvider, spec: MachineSpec) -> None:
    (folder := provider.layout.machine(spec.id)).mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder])
    try:
        tight = LibvirtProvider(replace(provider.settings, disk_reserve=0))
        with pytest.raises(Unavailable, match="There is no room for the disk"):
            tight.clone(spec)
        assert not provider.layout.disk(spec.id).exists()
    finally:
        run(["umount", folder])


@pytest.mark.badinput
def test_a_seed_that_is_gone_or_no_image(provider: LibvirtProvider, spec: MachineSpec) -> None:
    wrong = replace(spec, seed="small/text")
    with pytest.raises(Unavailable, match="is missing"):
        provider.clone(wrong)
    (disk := provider.layout.seed_disk(wrong.seed)).parent.mkdir()
    try:
        disk.write_text("not an image")
        with pytest.raises(DpeError, match="not a qcow2 image"):
            provider.clone(wrong)
    finally:
        shutil.rmtree(disk.parent)
    assert spec.id not in provider.disks()


def test_a_disk_is_never_smaller_than_its_seed(provider: LibvirtProvider, spec: MachineSpec) -> None:
    provider.clone(replace(spec, disk_size=1))
    assert json.loads(run(["qemu-img", "info", "--output=json", provider.layout.disk(spec.id)]))["virtual-size"] == 2 << 30


def test_destroy_takes_whatever_there_is(libvirtd: Libvirtd, provider: LibvirtProvider, spec: MachineSpec) -> None:
    before = traces(libvirtd.settings)
    provider.destroy(spec.id)  # nothing
    provider.clone(spec)
    provider.destroy(spec.id)  # a disk only
    provider.network.admit(spec.id, spec.card)
    provider.destroy(spec.id)  # an entry only
    provider.clone(spec)
    provider.start(spec)
    provider.save(spec.id)
    provider.destroy(spec.id)  # saved memory
    assert traces(libvirtd.settings) - before == set()
    for bad in ("", "..", "../seeds", "lost+found"):
        with pytest.raises(BadInput):
            provider.destroy(bad)


# -- batches --------------------------------------------------------------------------------


@pytest.mark.fork
def test_a_batch(appliance_settings: Settings, provider: LibvirtProvider, make_spec: MakeSpec, small_snapshot: str) -> None:
    """One is booted, one cannot be made, one is forked, and one should be, from a snapshot that is no good."""
    settings, told, built = appliance_settings, list[tuple[str, str]](), dict[str, batch.Built]()
    good, bad = make_spec(8), make_spec(9, seed="small/77")
    forked = make_spec(6, snapshot=small_snapshot, readiness="paused")
    instead = make_spec(7, snapshot="small/1/snapshot-77", readiness="paused")
    specs = [good, bad, forked, instead]
    try:
        batch.build(provider, [batch.Order(spec) for spec in specs], settings, lambda id, text: told.append((id, text)), built.__setitem__)
        assert set(built) == {spec.id for spec in specs}
        assert (built[good.id].error, built[good.id].forked) == (None, False)
        error = built[bad.id].error
        assert error is not None
        assert (error.message, error.hint) == (
            f"The seed's disk {settings.seeds}/small/77/disk.qcow2 is missing.",
            "Build a new seed of the class.",
        )
        assert (built[forked.id].error, built[forked.id].forked, built[forked.id].fork_error) == (None, True, None)
        assert (built[instead.id].error, built[instead.id].forked) == (None, False)
        assert isinstance(built[instead.id].fork_error, Unfit)
        assert list(built).index(forked.id) < list(built).index(good.id), "it is told of only when slower ones are there"
        assert [text for id, text in told if id == good.id][:4] == [
            "cloning its disk",
            "starting",
            "waiting for its agent",
            "giving it its name and address",
        ]
        assert boot_id(good)
        assert bad.id not in provider.disks()
        assert [power(provider, spec) for spec in specs] == [Power.RUNNING, None, Power.PAUSED, Power.PAUSED]
        for spec in (forked, instead):
            provider.start(spec)
            provider.wait(spec)
            assert facts(spec)["hostname"] == spec.name
    finally:
        for spec in specs:
            provider.destroy(spec.id)
