"""What a libvirtd that was killed left behind, and the next one would trip over."""

import os
from types import SimpleNamespace

import psutil
import pytest

from appliance.hypervisor.libvirt import daemon
from appliance.settings import Settings

MONITOR = "<monitor path='/var/lib/libvirt/qemu/domain-81-half/monitor.sock' type='unix'/>"
STARTING = f"<domstatus state='paused' reason='starting up' pid='0'>{MONITOR}<job type='none' async='start'/></domstatus>"
RUNNING = "<domstatus state='running' reason='booted' pid='12'/>"


@pytest.fixture
def killed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What was killed of the processes 7, of a machine called half, and 8, of another."""
    killed = list[int]()
    commands = {7: ["qemu", "-name", "guest=half,debug-threads=on"], 8: ["qemu", "-name", "guest=halfway,debug-threads=on"]}

    def process(pid: int) -> SimpleNamespace:
        if pid not in commands:
            raise psutil.NoSuchProcess(pid)
        return SimpleNamespace(cmdline=lambda: commands[pid], kill=lambda: killed.append(pid), wait=lambda _seconds: None)

    monkeypatch.setattr(daemon.psutil, "Process", process)
    (settings.libvirt / "run/qemu").mkdir(parents=True)
    return killed


@pytest.mark.lost
@pytest.mark.parametrize(("pid", "ended"), [("7", [7]), ("8", []), ("9", []), ("", [])])
def test_a_machine_that_was_half_started_is_forgotten_and_its_process_ended(
    settings: Settings, killed: list[int], pid: str, ended: list[int]
) -> None:
    folder, left = settings.libvirt / "run/qemu", settings.libvirt / "lib/qemu"
    for one in ("domain-81-half", "channel/target/domain-81-half", "domain-80-whole"):
        (left / one).mkdir(parents=True)
    for name, text in {
        "half.xml": STARTING,
        "half.pid": pid,
        "whole.xml": RUNNING,
        "torn.xml": STARTING[:20],
        "other.xml": "<network/>",
    }.items():
        (folder / name).write_text(text)
    daemon.end_half_started(settings)
    assert killed == ended
    assert {file.name for file in folder.iterdir()} == {"whole.xml", "torn.xml", "other.xml"}
    assert {str(one.relative_to(left)) for one in left.rglob("domain-*")} == {"domain-80-whole"}


@pytest.mark.parametrize(("name", "runs"), [("libvirtd", True), ("qemu", False)])
def test_libvirtd_runs_when_its_pid_is_a_libvirtds(settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, *, runs: bool) -> None:
    assert not daemon.is_running(settings)
    (settings.libvirt / "run").mkdir(parents=True, exist_ok=True)
    (settings.libvirt / "run/libvirtd.pid").write_text("7")
    monkeypatch.setattr(daemon.psutil, "Process", lambda _pid: SimpleNamespace(name=lambda: name))
    assert daemon.is_running(settings) is runs


@pytest.mark.lost
@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("argument", ["--remove", ""])
def test_leftovers_are_ended_before_a_start_and_before_the_network_goes_but_not_beside_a_libvirtd(
    settings: Settings, killed: list[int], monkeypatch: pytest.MonkeyPatch, argument: str, *, runs: bool
) -> None:
    class Done(Exception):
        pass

    def done(*_: object) -> None:
        raise Done

    folder = settings.libvirt / "run/qemu"
    (folder / "half.xml").write_text(STARTING)
    (folder / "half.pid").write_text("7")
    monkeypatch.setattr(daemon, "is_running", lambda _settings: runs)
    monkeypatch.setattr(daemon, "load_settings", lambda: settings)
    for name in ("_check_passable", "probe"):  # what comes after, at a start
        monkeypatch.setattr(daemon, name, done)
    monkeypatch.setattr(daemon, "_check_cards", lambda: None)
    monkeypatch.setattr(daemon.pwd, "getpwnam", lambda _name: SimpleNamespace(pw_uid=os.geteuid()))
    monkeypatch.setattr(daemon.Network, "down", done)
    monkeypatch.setattr("sys.argv", ["daemon", *filter(None, [argument])])
    with pytest.raises(Done):
        daemon.main()
    assert killed == ([] if runs else [7])
    assert (folder / "half.xml").exists() is runs
