"""A real fork that is given memory by its need, and gives it back: nothing that a program holds is lost, and the host has what was given again."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import Class, Event, Machine, MachineState, Seed, SeedState
from appliance.engine.jobs import Jobs
from appliance.engine.readings import Readings
from appliance.engine.vertical import EVERY, Vertical
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import MachineSpec
from appliance.lifecycle.sizing import Sizing
from appliance.seeds.build import SeedFiles
from tests.integration.conftest import Libvirtd, MakeSpec, empty, kept_snapshot
from tests.seeds import small_scenario
from tests.waiting import until

pytestmark = [pytest.mark.resources, pytest.mark.fork]
ROOM, CHUNKS = 640, 60  # MiB; of 8 MiB each
# Takes memory as long as some is left, holds it, lets half of it go when it is told, and looks whether what it held is as it was written. The first to be
# killed when the machine has none left.
EATER = r"""
my @held; sub there { -e "/run/$_[0]" } sub say { open my $out, ">", "/run/$_[0]"; close $out }
while (@held < CHUNKS) {
    open my $in, "<", "/proc/meminfo"; my ($left) = join("", <$in>) =~ /MemAvailable: +(\d+)/;
    if ($left < 40 << 10) { select undef, undef, undef, 0.05; next }
    my $chunk = chr(65 + @held % 26) x (8 << 20); push @held, \$chunk;
}
say("full"); select undef, undef, undef, 0.1 until there("half");
splice @held, CHUNKS / 2; say("halved"); select undef, undef, undef, 0.1 until there("end");
for my $at (0 .. $#held) { my $letter = chr(65 + $at % 26); exit 1 if ${$held[$at]} !~ /\A$letter{8388608}\z/ && length(${$held[$at]} =~ s/$letter//gr) }
say("whole");
""".replace("CHUNKS", str(CHUNKS))


@dataclass
class Grown:
    """A machine that is in use, and the engine's part that looks at its memory; `now` is the clock that it is told."""

    provider: LibvirtProvider
    spec: MachineSpec
    vertical: Vertical
    now: float = 0.0

    def sh(self, command: str) -> str:
        return self.provider.execute(self.spec.id, ["/bin/sh", "-c", command]).output

    def look(self, seconds: float = EVERY) -> int:
        """One look, so many seconds after the last; what counts as given afterwards."""
        self.now += seconds
        self.vertical.readings.facts = self.provider.host()
        self.vertical.look(Machine.get(), self.now)
        return int(Machine.get().memory_more)

    def until_more_is(self, wanted: int) -> None:
        """Look, by a clock that is in a hurry, until so much counts as given."""
        for _ in range(60):
            if self.look(30) == wanted:
                return
        pytest.fail(f"{Machine.get().memory_more} MiB instead of {wanted}: {[event.message for event in Event.select()]}")

    def rss(self) -> tuple[int, int]:
        """MiB of the host: what the machine takes alone, and of it that in the memory that it was given."""
        pid = (self.provider.settings.libvirt / f"run/qemu/{self.spec.name}.pid").read_text()
        found = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) .*?^Rss: +(\d+) kB", Path(f"/proc/{pid}/smaps").read_text(), re.M | re.S)
        given = max(int(rss) for begin, end, rss in found if int(end, 16) - int(begin, 16) == ROOM << 20)
        (stats,) = (one for one in self.provider.stats() if one.id == self.spec.id)
        return stats.memory_private, given >> 10


@pytest.fixture
def grown(libvirtd: Libvirtd, provider: LibvirtProvider, make_spec: MakeSpec, small_seed: SeedFiles) -> Iterator[Grown]:
    name, settings = "small/grows/snapshot-1", libvirtd.settings
    empty(settings)
    catalog.open(settings.catalog)
    kept_snapshot(provider, make_spec(48, memory_room=ROOM), small_seed, name)
    spec = make_spec(11, memory_room=ROOM, snapshot=name)
    with catalog.write():
        Class.create(name="small", spec=small_scenario().classes["small"].model_dump(mode="json"), minimum=0, maximum=1, buffer=0,
                     lease_minutes=600, extend_minutes=30, extensions=1, per_person=2)  # fmt: skip
        seed = Seed.create(machine_class="small", version=1, state=SeedState.READY, stored=True, manifest=small_seed.manifest)
        Machine.create(id=spec.id, name=spec.name, machine_class="small", seed=seed.id, slot=11, door=11, state=MachineState.IN_USE,
                       vcpus=1, memory=256, memory_room=ROOM, disk=2, origin="fork")  # fmt: skip
    try:
        provider.fork(spec)
        provider.start(spec)
        provider.wait(spec)
        yield Grown(provider, spec, Vertical(settings, provider, Readings(settings, provider, Sizing(settings)), Jobs({})))
    finally:
        provider.destroy(spec.id)
        provider.remove_snapshot(name)
        catalog.close()


def test_a_fork_under_load_is_given_memory_and_gives_it_back_whole(grown: Grown) -> None:
    assert grown.look() == 0
    assert grown.provider.examine(grown.spec.id).memory_room == ROOM
    grown.provider.execute(grown.spec.id, ["/bin/sh", "-c", "cat > /run/eater"], input=EATER.encode())
    grown.sh("systemd-run --unit=eater --property=OOMScoreAdjust=1000 perl /run/eater")
    begun = time.monotonic()
    while grown.look() < 512:
        assert time.monotonic() - begun < 20, [event.message for event in Event.select()]
        time.sleep(EVERY)  # the pace of the engine
    until(lambda: "full" in grown.sh("ls /run"), "it never had enough", 60, every=0.2)
    most, given = grown.rss()
    assert given > 256, "the load is in the memory that was given"

    grown.sh("touch /run/half")
    until(lambda: "halved" in grown.sh("ls /run"), "it did not let go", 30, every=0.2)
    before = Machine.get().memory_more
    grown.until_more_is(before - 256)
    for _ in range(6):  # what it still holds is in the way of another step
        grown.look(30)
    held = Machine.get().memory_more
    assert 0 < held < before
    with catalog.write():  # an engine that was killed, over an older catalog
        Machine.update(memory=256, memory_more=0).execute()
    assert grown.look() == held
    grown.provider.save(grown.spec.id)
    grown.provider.start(grown.spec)
    grown.provider.wait(grown.spec)
    assert grown.look() == held, "it has what it had when it was saved"
    grown.sh("touch /run/end")
    until(lambda: "inactive" in grown.sh("systemctl is-active eater"), "it did not end", 60, every=0.2)
    assert "whole" in grown.sh("ls /run")
    assert "Out of memory" not in grown.sh("dmesg")

    grown.until_more_is(0)
    least, left = grown.rss()
    assert left <= given * 0.1
    assert most - least >= given * 0.9
