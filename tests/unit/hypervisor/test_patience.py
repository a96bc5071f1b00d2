"""How long a machine is waited for: as its class says, and longer where the host is slow rather than the machine stuck."""

import socket
from typing import Any

import pytest

from appliance.hypervisor.libvirt import guest as libvirt_guest
from appliance.hypervisor.libvirt.guest import LONGER, _Patience
from appliance.hypervisor.provider import Card, MachineSpec, answering


class Clock:
    """A host whose time goes by as the test says, and a machine on it that uses a processor as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.used = 0.0
        monkeypatch.setattr(libvirt_guest.time, "monotonic", lambda: self.now)

    def pass_by(self, seconds: float, of_a_processor: float) -> None:
        self.now += seconds
        self.used += seconds * of_a_processor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_machine_that_waits_for_something_is_given_up_in_its_time(clock: Clock) -> None:
    patience = _Patience(lambda: clock.used, 300, LONGER)
    assert patience.deadline == clock.now + 300
    clock.pass_by(20, 1.0)
    clock.pass_by(280, 0.1)
    assert not patience.renewed()
    assert patience.waited == 300


def test_a_machine_at_work_is_given_longer_but_not_for_ever(clock: Clock) -> None:
    patience = _Patience(lambda: clock.used, 300, LONGER)
    rounds = 0
    while True:
        clock.pass_by(300, 0.9)
        rounds += 1
        if not patience.renewed():
            break
        assert patience.deadline == clock.now + 300
    assert rounds == LONGER


def test_where_it_is_virtualised_its_time_is_its_time(clock: Clock) -> None:
    patience = _Patience(lambda: clock.used, 300, 1)
    clock.pass_by(300, 1.0)
    assert not patience.renewed()


def test_one_that_stops_working_is_given_up_at_the_next_look(clock: Clock) -> None:
    patience = _Patience(lambda: clock.used, 300, LONGER)
    clock.pass_by(300, 0.9)
    assert patience.renewed()
    clock.pass_by(300, 0.05)
    assert not patience.renewed()


def test_one_that_was_switched_off_meanwhile_has_used_nothing(clock: Clock) -> None:
    patience = _Patience(lambda: clock.used, 300, LONGER)
    clock.pass_by(300, 0.9)
    assert patience.renewed()
    clock.used = 0.0
    clock.pass_by(300, 0.5)
    assert not patience.renewed()


@pytest.mark.parametrize(("waited", "soon"), [(0, 0.05), (0.9, 0.05), (10, 0.5), (600, 1)])
def test_the_longer_an_application_is_waited_for_the_slower_it_may_be(monkeypatch: pytest.MonkeyPatch, waited: float, soon: float) -> None:
    given = []

    def refuse(address: tuple[str, int], timeout: float) -> None:
        given.append(timeout)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert not libvirt_guest._Asked("192.0.2.1", 80, "it", "", libvirt_guest._says_rfb).answers(waited)
    assert given == [pytest.approx(soon)]


@pytest.mark.console
@pytest.mark.parametrize(
    ("said", "ready"), [(b"RFB 003.008\n", True), (b"RFB 003.003\n", True), (b"HTTP/1.1 200 OK\r\n", False), (b"RFB", False), (b"", False)]
)
def test_a_screen_is_ready_when_it_says_its_version(said: bytes, *, ready: bool) -> None:
    here, there = socket.socketpair()
    with here:
        with there:
            there.sendall(said)
        assert libvirt_guest._says_rfb(here, libvirt_guest._Asked("", 5901, "", "", libvirt_guest._says_rfb)) == ready


@pytest.mark.console
def test_a_machine_is_asked_for_its_application_and_for_its_screen() -> None:
    described = {"boot_timeout": 300, "application": {"port": 80, "path": "/", "ready": "/up"}, "screen": {"port": 5901}}
    card = Card("", "10.0.0.9", 16, "10.0.0.1")

    def asked(described: dict[str, Any]) -> list[str]:
        spec = MachineSpec("id", "one", "c", "c/1", "", 1, 1, 1, card, **answering(described))
        return [one.what for one in libvirt_guest._asked(spec)]

    assert asked(described) == ["its application (http port 80, /up)", "its screen (RFB at port 5901)"]
    assert asked({**described, "application": None}) == ["its screen (RFB at port 5901)"]
    del described["screen"]  # a class of an older version's
    assert asked(described) == ["its application (http port 80, /up)"]
