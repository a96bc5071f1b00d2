"""Rates of a real fork, measured from outside, and its data disk, which grows while it is written to."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from appliance import catalog
from appliance.catalog import Account, DataDisk, DiskState, Event, Machine, MachineState, Seed
from appliance.errors import Unavailable
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec
from appliance.lifecycle import growth
from appliance.run import start
from appliance.scenario.rates import Rates
from appliance.settings import environment
from tests.integration.conftest import Libvirtd, MakeSpec, empty
from tests.integration.look import power, traces
from tests.unit.conftest import account, small_class

pytestmark = pytest.mark.resources

PORT, MEGABIT = 9000, 125_000
SERVER = r"""use IO::Socket::INET; $SIG{PIPE} = "IGNORE";
my $s = IO::Socket::INET->new(LocalPort => 9000, Listen => 5, ReuseAddr => 1) or die;
while (my $c = $s->accept) {
    sysread $c, my $what, 1;
    if ($what eq "r") { my ($n, $b) = 0; while (my $got = sysread $c, $b, 65536) { $n += $got } syswrite $c, "$n\n" }
    else { 1 while syswrite $c, "x" x 65536 }
    close $c;
}"""
# Blocks that say what they are, each made sure of before the next; the last that was is in /run/last. It ends with status 1 when one is refused.
WRITER = r"""use IO::Handle; open my $o, ">", "/data/blocks" or die; $n = 0;
while (! -e "/run/enough") {
    syswrite($o, pack("A65536", "block $n ")) == 65536 or die; $o->sync or die if $n % 8 == 7;
    open my $l, ">", "/run/last.new"; print $l $n++; close $l; rename "/run/last.new", "/run/last"; select undef, undef, undef, 0.01
} $o->sync or die; close $o or die; open my $d, ">", "/run/done"; """
READER = r"""open my $i, "<", "/data/blocks" or die; $n = 0;
while (my $got = sysread $i, my $b, 65536) { $got == 65536 && $b eq pack("A65536", "block $n ") or die "block $n is another"; $n++ }
print $n"""
KILLED = """
import os, signal, sys
from appliance import catalog
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.lifecycle import growth
from appliance.settings import load
setattr(LibvirtProvider, sys.argv[2], lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
settings = load()
catalog.open(settings.catalog)
growth.look(sys.argv[1], settings, LibvirtProvider(settings), 100_000)
"""


@pytest.fixture
def spec(libvirtd: Libvirtd, provider: LibvirtProvider, make_spec: MakeSpec, small_snapshot: str) -> Iterator[MachineSpec]:
    """A fork that is only described; nothing of it may be left."""
    spec, before = make_spec(6, snapshot=small_snapshot), traces(libvirtd.settings)
    yield spec
    provider.destroy(spec.id)
    assert provider.network.inside("ip", "-json", "link", "show", "type", "ifb").strip() in ("", "[]")
    assert traces(libvirtd.settings) - before == set()


@pytest.fixture
def _catalog(libvirtd: Libvirtd) -> Iterator[None]:
    empty(libvirtd.settings)
    catalog.open(libvirtd.settings.catalog)
    yield
    catalog.close()


def inside(provider: LibvirtProvider, spec: MachineSpec, *command: str) -> str:
    done = provider.execute(spec.id, command)
    assert done.status == 0, done
    return done.output


def to_it(spec: MachineSpec, size: int) -> float:
    """Mbit/s at which a machine gets so many bytes."""
    with closing(socket.create_connection((spec.card.address, PORT), timeout=60)) as connected:
        begun = time.monotonic()
        connected.sendall(b"r" + b"x" * size)
        connected.shutdown(socket.SHUT_WR)
        assert int(connected.makefile().readline()) == size
        return size / MEGABIT / (time.monotonic() - begun)


def from_it(spec: MachineSpec, size: int) -> float:
    """Mbit/s at which it sends them."""
    with closing(socket.create_connection((spec.card.address, PORT), timeout=60)) as connected:
        begun = time.monotonic()
        connected.sendall(b"s")
        left = size
        while left > 0:
            left -= len(connected.recv(1 << 16))
        return (size - left) / MEGABIT / (time.monotonic() - begun)


def test_rates_hold_both_ways_change_at_once_and_are_back_after_resume_and_boot(provider: LibvirtProvider, spec: MachineSpec) -> None:
    spec = replace(spec, rates=Rates(network_in=4, network_out=8, disk_rate=4, disk_iops=500))
    provider.fork(spec)
    provider.start(spec)
    provider.wait(spec)
    assert provider.rates()[spec.id] == spec.rates
    inside(provider, spec, "systemd-run", "--unit=server", "perl", "-e", SERVER)
    inside(provider, spec, "sh", "-c", "until ss -ltn | grep -q :9000; do sleep 0.05; done")
    assert 0.85 * 4 <= to_it(spec, 8 * MEGABIT) <= 1.05 * 4
    assert 0.85 * 8 <= from_it(spec, 16 * MEGABIT) <= 1.05 * 8
    begun = time.monotonic()
    inside(provider, spec, "dd", "if=/dev/zero", "of=/root/written", "bs=1M", "count=8", "oflag=direct")
    assert time.monotonic() - begun >= 8 / (1.05 * 4) - 0.5  # QEMU lets a tenth of a second's worth pass at once

    spec = replace(spec, rates=Rates(network_in=8, network_out=4))
    for _ in range(2):
        provider.limit(spec)
        assert provider.rates()[spec.id] == spec.rates
    assert 0.85 * 8 <= to_it(spec, 16 * MEGABIT) <= 1.05 * 8
    assert 0.85 * 4 <= from_it(spec, 8 * MEGABIT) <= 1.05 * 4

    for off in (provider.save, lambda id: provider.stop(id, timeout=1)):
        off(spec.id)
        assert spec.id not in provider.rates()
        provider.start(spec)
        assert provider.rates()[spec.id] == spec.rates
    # What was cut off after it had led the way, but before the bucket was there, limits nothing yet, and is done anew.
    provider.network.inside("tc", "qdisc", "del", "dev", provider.network.ifb(provider.network.tap(spec.card)), "root")
    assert provider.rates()[spec.id].network_out == 0
    provider.limit(spec)
    assert provider.rates()[spec.id] == spec.rates
    provider.limit(replace(spec, rates=Rates()))
    assert provider.rates()[spec.id] == Rates()


@pytest.mark.usefixtures("_catalog")
def test_a_data_disk_grows_while_it_is_written_to_whoever_is_killed_over_it(
    libvirtd: Libvirtd, provider: LibvirtProvider, spec: MachineSpec
) -> None:
    settings, machine_class, owner = libvirtd.settings, small_class(), account("alice")
    with catalog.write():
        seed = Seed.get()
        Machine.create(
            id=spec.id, name=spec.name, machine_class=machine_class, seed=seed, slot=6, door=6, state=MachineState.IN_USE,
            vcpus=1, memory=256, disk=2, owner=Account.get_by_id(owner.account_id),
        )  # fmt: skip
        disk = DataDisk.create(
            id=spec.id[::-1].replace("-", "0"), account=owner.account_id, machine_class=machine_class, name="mine", size=1,
            machine=spec.id, state=DiskState.READY,
        )  # fmt: skip
        catalog.policies.change(machine_class, {"data_most": 4, "data_above": 85, "data_cooldown": 0})
    spec = replace(spec, data=disk.id, data_size=1)

    def look() -> DataDisk:
        growth.look(disk.id, settings, provider, 100_000)
        return DataDisk.get()

    try:
        provider.make_data(disk.id, 1)
        provider.fork(spec)
        provider.start(spec)
        provider.wait(spec, personalise=b"user user\n")
        assert not look().growing
        inside(provider, spec, "fallocate", "-l", "880M", "/data/full")
        inside(provider, spec, "systemd-run", "--unit=writer", "perl", "-e", WRITER)
        for step in ("make_data", "execute"):  # what was decided and nothing was done of it; the disk is larger, its file system is not
            assert start([sys.executable, "-c", KILLED, disk.id, step], env=environment(settings)).wait(60) == -9
            assert (DataDisk.get().size, DataDisk.get().growing) == (2, True)
            assert provider.data_size(disk.id) == (1 if step == "make_data" else 2)
        found = look()
        assert (found.size, found.growing) == (2, False)
        assert provider.fill(replace(spec, data_size=2)).size > 1.9 * (1 << 30)

        provider.suspend(spec.id)
        with pytest.raises(Unavailable):
            look()
        provider.start(spec)
        inside(provider, spec, "fallocate", "-l", "1800M", "/data/full")
        with catalog.write():
            DataDisk.update(not_grown={}).execute()  # half a minute later
        found = look()
        assert (found.size, found.growing) == (4, False)
        inside(provider, spec, "fallocate", "-l", "3500M", "/data/full")
        assert look().size == 4  # its class gives no more
        inside(provider, spec, "sh", "-c", "rm /data/full; touch /run/enough; until [ -e /run/done ]; do sleep 0.1; done")
        inside(provider, spec, "sh", "-c", "echo 3 > /proc/sys/vm/drop_caches")
        assert int(inside(provider, spec, "perl", "-e", READER)) == int(inside(provider, spec, "cat", "/run/last")) + 1
    finally:
        provider.destroy(spec.id)
        provider.remove_data(disk.id)
    told = [(one.kind, one.data["after"]["size"]) for one in Event.select().where(Event.kind.contains("grow")).order_by(Event.id)]
    assert told == [*(("data_disk.grows", size) for size in (2, 4)), ("data_disk.not_grown", 4)]
    assert power(provider, spec) is None
