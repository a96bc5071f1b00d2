"""Stopping and starting parts: what dpe-host asks of the supervisor and of systemd."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import layout
from appliance.errors import Conflict, Unavailable
from appliance.host.system import image, processes
from appliance.settings import Settings, load
from tests.waiting import until


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(image, "boot_image", lambda: None)
    found = load({}, state=tmp_path / "s")
    layout.prepare(found)
    return found


def child(held: bool = False, pid: int = 0) -> dict[str, object]:
    return {"pid": pid, "since": "2026-11-21T10:00:00+00:00", "restarts": 2, "status": "", "held": held}


@pytest.fixture
def supervisor(settings: Settings) -> Iterator[list[str]]:
    """Obeys as that of `make run` does; the list says what it did."""
    did: list[str] = []
    over = threading.Event()

    def supervise() -> None:
        while not over.wait(0.01):
            for name in ("web", "engine"):
                if (wish := processes.wished(settings, name)) and did[-1:] != [f"{wish} {name}"]:
                    did.append(f"{wish} {name}")
                if wish == "restart":
                    processes.grant(settings, name)
            processes.write_processes(settings, {name: child(processes.wished(settings, name) == "stop") for name in ("web", "engine")})

    processes.write_processes(settings, {"web": child(), "engine": child()})
    thread = threading.Thread(target=supervise)
    thread.start()
    yield did
    over.set()
    thread.join()


def states(settings: Settings) -> dict[str, str]:
    return {part.name: part.state for part in processes.parts(settings)}


def eventually(settings: Settings, expected: dict[str, str]) -> None:
    until(lambda: states(settings) == expected, lambda: states(settings), every=0.01)


def test_parts_are_stopped_meanwhile_and_started_again_whatever_happens(settings: Settings, supervisor: list[str]) -> None:
    with pytest.raises(ZeroDivisionError), processes.stopped(settings, "web", "engine"):
        assert states(settings) == {"web": "stopped", "engine": "stopped"}
        with pytest.raises(Conflict, match="web is stopped while an operation goes on"):
            processes.restart(settings, "web")
        _ = 1 // 0
    eventually(settings, {"web": "failed", "engine": "failed"})  # these have no process, but nobody holds them


def test_a_part_that_does_not_stop_is_an_error_and_nothing_is_held(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    processes.write_processes(settings, {"web": child()})
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    with pytest.raises(Unavailable, match="web did not stop"), processes.stopped(settings, "web"):
        raise AssertionError("it went on")
    assert processes.wished(settings, "web") == ""


def test_what_a_daemon_left_stopped_is_let_go_by_the_next(settings: Settings, supervisor: list[str]) -> None:
    held = processes.stopped(settings, "engine")
    held.__enter__()  # and the daemon is killed here
    assert states(settings)["engine"] == "stopped"
    processes.resume(settings)
    eventually(settings, {"web": "failed", "engine": "failed"})


def test_restart_is_asked_for_once(settings: Settings, supervisor: list[str]) -> None:
    processes.restart(settings, "web")
    until(lambda: supervisor == ["restart web"], every=0.01)
    assert processes.wished(settings, "web") == ""


def test_where_nobody_supervises_that_is_said(settings: Settings) -> None:
    assert processes.parts(settings) == []
    with pytest.raises(Unavailable, match="Nobody supervises"):
        processes.restart(settings, "web")
    with processes.stopped(settings, "web"):
        pass  # nothing runs, so nothing has to be stopped


SHOWN = """\
Id=dpe-web.service
ActiveState=active
SubState=running
Result=success
MainPID=512
NRestarts=3
StateChangeTimestamp=@1795255200
MemoryCurrent=83886080
LoadState=loaded

Id=dpe-engine.service
ActiveState=failed
SubState=failed
Result=oom-kill
MainPID=0
NRestarts=5
StateChangeTimestamp=@1795255260
MemoryCurrent=[not set]
LoadState=loaded

Id=dpe-rescue.service
ActiveState=inactive
LoadState=not-found
"""


def test_what_systemd_says_of_the_units() -> None:
    names = {"web": "dpe-web.service", "engine": "dpe-engine.service", "rescue": "dpe-rescue.service", "nginx": "dpe-nginx.service"}
    web, engine = processes.read_units(SHOWN, names)
    assert (web.name, web.state, web.pid, web.memory, web.restarts, web.since) == (
        "web",
        "running",
        512,
        80,
        3,
        "2026-11-21T10:00:00+00:00",
    )
    assert (engine.state, engine.pid, engine.memory, engine.status) == ("failed", 0, 0, "was killed: too little memory")


def test_one_that_is_started_again_and_again_does_not_run() -> None:
    shown = "Id=dpe-web.service\nLoadState=loaded\nActiveState=activating\nResult={}\nExecMainStatus=3\nNRestarts={}\n"
    names = {"web": "dpe-web.service"}
    states = [processes.read_units(shown.format(*each), names)[0] for each in (("success", 0), ("exit-code", 6), ("success", 7))]
    assert [(part.state, part.status) for part in states] == [("starting", ""), ("failed", "ended with status 3"), ("failed", "")]


def test_in_the_image_systemd_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(image, "boot_image", lambda: object())
    monkeypatch.setattr(processes, "run", lambda command, **_: asked.append(command) or "")
    with processes.stopped(settings, "web", "engine"):
        pass
    both = ["dpe-web.socket", "dpe-web.service", "dpe-engine.service"]
    assert asked == [["systemctl", "stop", *both], ["systemctl", "--no-block", "start", *both]]
