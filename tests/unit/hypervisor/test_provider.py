"""The parts of the provider that need no libvirtd: readings, and how a machine comes to be."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import libvirt
import pytest

from appliance.errors import Conflict, Unavailable
from appliance.hypervisor import making
from appliance.hypervisor.libvirt import inventory
from appliance.hypervisor.libvirt.memory import Taken
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import Card, MachineFound, MachineSpec, NoData, Power, Stats, Unfit
from appliance.settings import Settings
from tests.unit.engine.fake import FakeProvider


def spec(number: int = 0) -> MachineSpec:
    id = f"6b1c0000-0000-4000-8000-{number:012}"
    card = Card("52:54:00:00:00:01", "10.0.0.16", 16, "10.0.0.1")
    return MachineSpec(id, f"m{number}", "small", "small/1", "root=/dev/vda", 2, 1, 256, card, 80, "/ready", 60)


def test_a_reading_sums_up_what_libvirt_says() -> None:
    values = {"cpu.time": 5, "vcpu.current": 2, "balloon.current": 1 << 20, "balloon.available": 1 << 20, "balloon.usable": 1 << 18}
    values |= {"block.count": 2, "block.0.rd.bytes": 1, "block.0.wr.bytes": 10, "block.1.rd.bytes": 2}
    values |= {"net.count": 1, "net.0.rx.bytes": 7, "net.0.tx.bytes": 8, "balloon.rss": 1 << 21}
    assert inventory._reading("a", values, Taken(40, 90)) == Stats("a", 5, 2, 1024, 768, 3, 10, 7, 8, 40, 90)


@pytest.mark.parametrize(
    ("state", "reason", "power", "stalled"),
    [
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, Power.PAUSED, True),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, Power.PAUSED, False),
        # The same number, of another state.
        (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_UNPAUSED, Power.RUNNING, False),
    ],
)
def test_a_machine_that_found_the_disk_full_is_told_from_one_that_somebody_paused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, state: int, reason: int, power: Power, *, stalled: bool
) -> None:
    class Libvirt:
        def getAllDomainStats(self, stats: int, flags: int) -> list[tuple[Any, dict[str, int]]]:
            return [(self, {"state.state": state, "state.reason": reason})]

        def UUIDString(self) -> str:
            return "a"

        def name(self) -> str:
            return "m0"

    provider = LibvirtProvider(settings)
    monkeypatch.setattr(provider._connection, "use", lambda: contextlib.nullcontext(Libvirt()))
    assert provider.list() == [MachineFound("a", "m0", power, stalled)]


def test_a_guest_without_a_balloon_driver_is_judged_by_its_resident_size() -> None:
    values = {"balloon.current": 1 << 20, "balloon.rss": 300 << 10}
    assert inventory._reading("a", values, Taken(0, 0)).memory_used == 300
    assert inventory._reading("a", {**values, "balloon.rss": 1 << 21}, Taken(0, 0)).memory_used == 1024


def test_a_log_is_cut_to_its_end_for_who_appends_to_it(tmp_path: Path) -> None:
    file = tmp_path / "serial.log"
    inventory._shorten(file)  # none is fine
    with file.open("ab", buffering=0) as guest:
        guest.write(b"a" * inventory.LARGEST_LOG)
        inventory._shorten(file)
        assert file.stat().st_size == inventory.LARGEST_LOG
        guest.write(b"the end")
        inventory._shorten(file)
        guest.write(b"!")
    assert file.stat().st_size == inventory.KEPT_OF_LOG + 1
    assert file.read_bytes().endswith(b"the end!")


@pytest.mark.parametrize("readiness", ["running", "paused", "cold"])
@pytest.mark.parametrize("forks", [True, False])
def test_each_machine_takes_the_steps_it_needs(readiness: Literal["running", "paused", "cold"], forks: bool) -> None:
    provider = FakeProvider()
    wanted = replace(spec(), readiness=readiness, snapshot="small/1/snapshot-1" if forks else None)
    assert making.make(provider, wanted, lambda _text: None).fork_error is None
    assert [verb for verb, _ in provider.calls] == {
        ("running", True): ["fork", "start", "wait"],
        ("paused", True): ["fork"],
        ("cold", True): ["clone"],
        ("running", False): ["clone", "start", "wait"],
        ("paused", False): ["clone", "start", "wait", "suspend"],
        ("cold", False): ["clone"],
    }[readiness, forks]
    provider.destroy(wanted.id)
    assert provider.files == set()


def test_a_fork_that_fails_is_booted_and_says_why() -> None:
    provider = FakeProvider()
    provider.fails["fork"] = Unfit("It is damaged.")
    made = making.make(provider, replace(spec(), snapshot="small/1/snapshot-1"), lambda _text: None)
    assert isinstance(made.fork_error, Unfit)
    assert (made.forked, made.fork_error.message, made.spec.snapshot) == (False, "It is damaged.", None)
    assert [verb for verb, _ in provider.calls] == ["fork", "clone", "start", "wait"]


def test_a_fork_that_does_not_answer_gives_way_to_a_booted_clone() -> None:
    provider = FakeProvider()
    provider.fails["answer"] = Unavailable("Its agent does not answer.")
    made = making.make(provider, replace(spec(), readiness="running", snapshot="small/1/snapshot-1"), lambda text: None)
    assert not made.forked
    assert str(made.fork_error) == "Its agent does not answer."
    assert [verb for verb, _ in provider.calls] == ["fork", "start", "wait", "destroy", "clone", "start", "wait"]


def test_a_fork_whose_data_disk_is_of_no_use_is_not_made_again() -> None:
    """A booted one would fare no better with it, and takes much longer to say so."""
    provider = FakeProvider()
    provider.fails["answer"] = NoData("It has swap on it.")
    with pytest.raises(NoData, match="swap"):
        making.hand_over(provider, replace(spec(), readiness="cold", snapshot="small/1/snapshot-1"), b"user me\n")
    assert [verb for verb, _ in provider.calls] == ["fork", "start", "wait"]


def test_a_fork_that_is_given_up_is_not_booted_in_its_place() -> None:
    provider = FakeProvider()
    provider.fails["answer"] = Conflict("It is not wanted any more.")
    with pytest.raises(Conflict, match="not wanted"):
        making.hand_over(provider, replace(spec(), readiness="cold", snapshot="small/1/snapshot-1"), b"user me\n", lambda: True)
    assert [verb for verb, _ in provider.calls] == ["fork", "start", "wait"]


def test_a_hypervisor_that_is_away_is_no_fault_of_the_fork() -> None:
    provider = FakeProvider()
    provider.away = True
    with pytest.raises(Unavailable):
        making.make(provider, replace(spec(), snapshot="small/1/snapshot-1"), lambda text: None)
    provider.away = False
    assert provider.calls == []


@pytest.mark.parametrize("readiness", ["running", "paused", "cold"])
@pytest.mark.parametrize("forks", [True, False])
def test_handing_over_may_be_repeated(readiness: Literal["running", "paused", "cold"], forks: bool) -> None:
    provider = FakeProvider()
    wanted = replace(spec(), readiness=readiness, snapshot="small/1/snapshot-1" if forks else None)
    assert making.make(provider, wanted, lambda text: None).forked == (forks and readiness != "cold")
    for _ in range(2):
        assert making.hand_over(provider, wanted, b"user me\n").forked == forks
        assert provider.told[wanted.id] == b"user me\n"
        assert provider.domains[wanted.id].power is Power.RUNNING
