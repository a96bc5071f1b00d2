"""The parts of the provider that need no libvirtd: the spec as JSON, readings, batches."""

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import libvirt
import pytest
from pydantic import ValidationError

from appliance.errors import Conflict, Unavailable
from appliance.hypervisor import making
from appliance.hypervisor.batch import Action, perform
from appliance.hypervisor.libvirt import inventory
from appliance.hypervisor.libvirt.memory import Taken
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import Boot, Card, MachineFound, MachineSpec, NoData, Power, Stats, Unfit
from appliance.settings import Settings
from tests.unit.engine.fake import FakeProvider


def spec(number: int = 0) -> MachineSpec:
    id = f"6b1c0000-0000-4000-8000-{number:012}"
    card = Card("52:54:00:00:00:01", "10.0.0.16", 16, "10.0.0.1", "dpe-m0")
    boot = Boot(Path("/s/vmlinuz"), Path("/s/initrd"), "root=/dev/vda")
    return MachineSpec(id, f"m{number}", "small", Path("/s/disk.qcow2"), Path("/m") / id, 2, boot, 1, 256, card, 80, "/ready", 60)


def test_a_spec_survives_json() -> None:
    assert MachineSpec.from_json(json.loads(json.dumps(spec().to_json()))) == spec()


@pytest.mark.badinput
@pytest.mark.parametrize(
    "change", [lambda data: data.pop("card"), lambda data: data.update(memory="much"), lambda data: data["boot"].clear()]
)
def test_what_is_no_spec_is_refused(change: Callable[[dict[str, object]], object]) -> None:
    data = spec().to_json()
    change(data)
    with pytest.raises(ValidationError):
        MachineSpec.from_json(data)


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


class Failing(FakeProvider):
    """Fails for one machine."""

    def clone(self, spec: MachineSpec) -> None:
        if spec.name == "m1":
            raise Unavailable("No room.", "Make some.")
        super().clone(spec)


def test_one_failure_leaves_the_others_alone() -> None:
    provider = Failing()
    outcomes = perform(provider, Action.CLONE, [spec(0), spec(1), spec(2)], parallel=2)
    assert [(outcome.id, outcome.ok) for outcome in outcomes] == [(spec(0).id, True), (spec(1).id, False), (spec(2).id, True)]
    assert (outcomes[1].error, outcomes[1].hint) == ("No room.", "Make some.")
    assert provider.files == {spec(0).id, spec(2).id}


def test_nothing_to_do_is_fine() -> None:
    assert perform(FakeProvider(), Action.START, [], parallel=2) == []


@pytest.mark.parametrize("readiness", ["running", "paused", "cold"])
@pytest.mark.parametrize("forks", [True, False])
def test_each_machine_takes_the_steps_it_needs(readiness: Literal["running", "paused", "cold"], forks: bool) -> None:
    provider = FakeProvider()
    wanted = replace(spec(), readiness=readiness, snapshot=Path("/snapshot") if forks else None)
    assert making.make(provider, wanted, lambda _text: None).fork_error is None
    assert [verb for verb, _ in provider.calls] == {
        ("running", True): ["fork", "start", "wait"],
        ("paused", True): ["fork"],
        ("cold", True): ["clone"],
        ("running", False): ["clone", "start", "wait"],
        ("paused", False): ["clone", "start", "wait", "suspend"],
        ("cold", False): ["clone"],
    }[readiness, forks]
    assert perform(provider, Action.DESTROY, [spec()], parallel=1)[0].ok
    assert provider.files == set()


def test_a_fork_that_fails_is_booted_and_says_why() -> None:
    provider = FakeProvider()
    provider.fails["fork"] = Unfit("It is damaged.")
    made = making.make(provider, replace(spec(), snapshot=Path("/snapshot")), lambda _text: None)
    assert isinstance(made.fork_error, Unfit)
    assert (made.forked, made.fork_error.message, made.spec.snapshot) == (False, "It is damaged.", None)
    assert [verb for verb, _ in provider.calls] == ["fork", "clone", "start", "wait"]


def test_a_fork_that_does_not_answer_gives_way_to_a_booted_clone() -> None:
    provider = FakeProvider()
    provider.fails["answer"] = Unavailable("Its agent does not answer.")
    made = making.make(provider, replace(spec(), readiness="running", snapshot=Path("/snapshot")), lambda text: None)
    assert not made.forked
    assert str(made.fork_error) == "Its agent does not answer."
    assert [verb for verb, _ in provider.calls] == ["fork", "start", "wait", "destroy", "clone", "start", "wait"]


def test_a_fork_whose_data_disk_is_of_no_use_is_not_made_again() -> None:
    """A booted one would fare no better with it, and takes much longer to say so."""
    provider = FakeProvider()
    provider.fails["answer"] = NoData("It has swap on it.")
    with pytest.raises(NoData, match="swap"):
        making.hand_over(provider, replace(spec(), readiness="cold", snapshot=Path("/snapshot")), b"user me\n")
    assert [verb for verb, _ in provider.calls] == ["fork", "start", "wait"]


def test_a_fork_that_is_given_up_is_not_booted_in_its_place() -> None:
    provider = FakeProvider()
    provider.fails["answer"] = Conflict("It is not wanted any more.")
    with pytest.raises(Conflict, match="not wanted"):
        making.hand_over(provider, replace(spec(), readiness="cold", snapshot=Path("/snapshot")), b"user me\n", lambda: True)
    assert [verb for verb, _ in provider.calls] == ["fork", "start", "wait"]


def test_a_hypervisor_that_is_away_is_no_fault_of_the_fork() -> None:
    provider = FakeProvider()
    provider.away = True
    with pytest.raises(Unavailable):
        making.make(provider, replace(spec(), snapshot=Path("/snapshot")), lambda text: None)
    provider.away = False
    assert provider.calls == []


@pytest.mark.parametrize("readiness", ["running", "paused", "cold"])
@pytest.mark.parametrize("forks", [True, False])
def test_handing_over_may_be_repeated(readiness: Literal["running", "paused", "cold"], forks: bool) -> None:
    provider = FakeProvider()
    wanted = replace(spec(), readiness=readiness, snapshot=Path("/snapshot") if forks else None)
    assert making.make(provider, wanted, lambda text: None).forked == (forks and readiness != "cold")
    for _ in range(2):
        assert making.hand_over(provider, wanted, b"user me\n").forked == forks
        assert provider.told[wanted.id] == b"user me\n"
        assert provider.domains[wanted.id].power is Power.RUNNING


def test_all_wait_at_once_and_no_more_than_told_are_started_at_once() -> None:
    class Meeting(FakeProvider):
        here, most, lock = 0, 0, threading.Lock()
        together = threading.Barrier(4)

        def wait(self, spec: MachineSpec, report: Callable[[str], None] | None = None, **_: object) -> None:
            self.together.wait(10)

        def start(self, spec: MachineSpec) -> None:
            with self.lock:
                self.here += 1
                self.most = max(self.most, self.here)
            threading.Event().wait(0.02)
            with self.lock:
                self.here -= 1

    provider, specs = Meeting(), [spec(number) for number in range(4)]
    assert all(outcome.ok for outcome in perform(provider, Action.WAIT, specs, parallel=1))
    perform(provider, Action.START, specs, parallel=2)
    assert provider.most <= 2


def test_a_bug_is_not_an_outcome() -> None:
    class Broken(FakeProvider):
        def clone(self, spec: MachineSpec) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        perform(Broken(), Action.CLONE, [spec()], parallel=1)
