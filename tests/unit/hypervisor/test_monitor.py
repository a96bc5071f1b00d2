"""Device state out of QEMU and into it, with a thread that speaks QEMU's side of the socket."""

import contextlib
import json
import os
import pwd
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from appliance.errors import Unavailable
from appliance.hypervisor.libvirt import monitor
from tests.unit.hypervisor.fake import FakeDomain, libvirt_error

STATE = os.urandom(600_000)  # more than a socket takes at once
DOMAIN: Any = FakeDomain("fork-1")
OWNER = pwd.getpwuid(os.geteuid()).pw_name


class Qemu:
    """Sends `state` when told to migrate, takes what comes when told that something comes in; `statuses` are told one after the other."""

    def __init__(self, *statuses: str, takes: int = 1 << 30) -> None:
        self.statuses, self.takes = list(statuses), takes
        self.said, self.got, self.threads = list[str](), b"", list[threading.Thread]()

    def __call__(self, domain: object, text: str, flags: int) -> str:
        told = json.loads(text)
        arguments = told["arguments"]
        self.said.append(told["execute"])
        match told["execute"]:
            case "migrate-set-capabilities":
                (capability,) = arguments["capabilities"]
                assert capability["capability"] == "x-ignore-shared"
                self.said[-1] = f"leave out: {capability['state']}"
            case "migrate":
                self._behind(self._send, arguments["uri"])
            case "migrate-incoming":
                server = socket.socket(socket.AF_UNIX)
                server.bind(arguments["uri"].removeprefix("unix:"))
                server.listen(1)
                self._behind(self._take, server)
            case "query-status" | "query-migrate":
                status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
                if status == "gone":
                    raise libvirt_error(libvirt.VIR_ERR_OPERATION_FAILED, "Unable to write to monitor: Broken pipe")
                if status == "forgotten":
                    raise libvirt_error(libvirt.VIR_ERR_NO_DOMAIN, "Domain not found", libvirt.VIR_FROM_DOM)
                if status == "no libvirtd":
                    raise libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, "Cannot recv data", libvirt.VIR_FROM_RPC)
                return json.dumps({"return": {"status": status}})
        return json.dumps({"return": {}})

    def _behind(self, call: Any, argument: Any) -> None:
        self.threads.append(threading.Thread(target=call, args=(argument,)))
        self.threads[-1].start()

    def _send(self, uri: str) -> None:
        with socket.socket(socket.AF_UNIX) as stream, contextlib.suppress(OSError):
            stream.connect(uri.removeprefix("unix:"))
            stream.sendall(STATE)

    def _take(self, server: socket.socket) -> None:
        with server:
            stream, _ = server.accept()
            with stream:
                # QEMU knows from the state itself where it ends.
                while len(self.got) < min(len(STATE), self.takes) and (chunk := stream.recv(1 << 16)):
                    self.got += chunk


@pytest.fixture
def qemu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made: list[Qemu] = []

    def make(*statuses: str, **more: Any) -> Qemu:
        made.append(Qemu(*statuses, **more))
        monkeypatch.setattr("libvirt_qemu.qemuMonitorCommand", made[0])
        return made[0]

    yield make
    for thread in made[0].threads:
        thread.join(10)
        assert not thread.is_alive()


def test_state_goes_out_as_qemu_sends_it(qemu: Any, tmp_path: Path) -> None:
    said = qemu("active", "completed").said
    path, into = tmp_path / "socket", tmp_path / "state"
    path.write_text("left by a try that was cut off")
    monitor.keep_state(DOMAIN, path, into, OWNER)
    assert into.read_bytes() == STATE
    assert not path.exists()
    assert said == ["leave out: True", "migrate", "query-migrate", "query-migrate"]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_state_that_qemu_could_not_write_is_not_kept_for_one(qemu: Any, tmp_path: Path, status: str) -> None:
    qemu(status)
    with pytest.raises(Unavailable, match=rf"device state of fork-1 \({status}\)"):
        monitor.keep_state(DOMAIN, tmp_path / "socket", tmp_path / "state", OWNER)
    assert not (tmp_path / "socket").exists()


def test_state_without_end_is_cut(qemu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qemu("active")
    monkeypatch.setattr(monitor, "LARGEST_STATE", 100_000)
    with pytest.raises(Unavailable, match="does not end"):
        monitor.keep_state(DOMAIN, tmp_path / "socket", tmp_path / "state", OWNER)
    assert (tmp_path / "state").stat().st_size < 300_000


def test_a_qemu_that_never_comes_is_given_up(qemu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = qemu("active")
    monkeypatch.setattr(monitor, "STALLED", 0.1)
    monkeypatch.setattr(fake, "_send", lambda uri: None)
    with pytest.raises(Unavailable, match="did not hand over the device state of fork-1"):
        monitor.keep_state(DOMAIN, tmp_path / "socket", tmp_path / "state", OWNER)
    assert not (tmp_path / "socket").exists()


def test_state_goes_in_whole_and_what_is_saved_later_has_its_memory(qemu: Any, tmp_path: Path) -> None:
    fake, path = qemu("inmigrate", "inmigrate", "paused"), tmp_path / "socket"
    path.write_text("left by a try that was cut off")
    monitor.load_state(DOMAIN, path, STATE)
    assert fake.got == STATE
    assert not path.exists()
    assert fake.said == ["leave out: True", "migrate-incoming", *["query-status"] * 3, "leave out: False"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("gone", "QEMU went off over the device state of fork-1"), ("forgotten", "QEMU went off over the device state of fork-1"),
        ("internal-error", "fork-1 is internal-error instead"),
    ],
)  # fmt: skip
def test_a_qemu_that_does_not_take_the_state_is_named(qemu: Any, tmp_path: Path, status: str, words: str) -> None:
    qemu("inmigrate", status)
    with pytest.raises(Unavailable, match=words):
        monitor.load_state(DOMAIN, tmp_path / "socket", STATE)
    assert not (tmp_path / "socket").exists()


def test_a_qemu_that_hangs_up_is_named(qemu: Any, tmp_path: Path) -> None:
    qemu("gone", takes=1000)
    with pytest.raises(Unavailable, match="device state of fork-1"):
        monitor.load_state(DOMAIN, tmp_path / "socket", STATE)
    assert not (tmp_path / "socket").exists()


def test_a_libvirtd_that_is_away_is_not_taken_for_a_bad_state(qemu: Any, tmp_path: Path) -> None:
    qemu("no libvirtd")
    with pytest.raises(libvirt.libvirtError, match="Cannot recv data"):
        monitor.load_state(DOMAIN, tmp_path / "socket", STATE)


def test_what_qemu_refuses_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"error": {"class": "GenericError", "desc": "No such device"}}
    monkeypatch.setattr("libvirt_qemu.qemuMonitorCommand", lambda *_args: json.dumps(answer))
    with pytest.raises(Unavailable, match="QEMU refused device_del for fork-1: No such device"):
        monitor.say(DOMAIN, "device_del", id="card")
