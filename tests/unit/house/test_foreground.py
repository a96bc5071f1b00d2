"""What `make run` checks before it starts anything, and what it says of what does not start. That it runs is another tier's."""

import contextlib
import os
import pwd
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance import foreground, layout
from appliance.access import nginx
from appliance.errors import BadInput, Unavailable
from appliance.foreground import Appliance, Child
from appliance.hypervisor.libvirt import daemon
from appliance.seeds import sources
from appliance.settings import REPOSITORY, Settings, load

pytestmark = pytest.mark.fresh


@pytest.fixture
def appliance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Appliance]]:
    """An appliance of one part, which is this shell script."""
    settings = load({}, state=tmp_path)
    settings.logs.mkdir()
    monkeypatch.setattr(foreground, "PATIENCE", 0.3)

    def begin(script: str) -> Appliance:
        built = Appliance.__new__(Appliance)
        built.settings, built.told = settings, {}
        built.stopping = foreground.threading.Event()
        settings.run.mkdir(exist_ok=True)
        settings.tls.mkdir(exist_ok=True)
        built.life = life
        built.children = [Child("part", ["sh", "-c", script], lambda: False)]
        return built

    with contextlib.closing(foreground._hear(tmp_path / "life")) as life:
        yield begin


def test_what_does_not_start_is_shown_with_its_own_last_words(appliance: Callable[[str], Appliance]) -> None:
    begun = appliance("seq 100; echo 'There is no user libvirt-qemu.' >&2; exit 3")
    (begun.settings.logs / "part.log").write_text("what it said an hour ago\n")
    with pytest.raises(Unavailable) as caught:
        begun.start()
    said = str(caught.value)
    assert "part did not start: it ended with status 3. It said:" in said
    assert "100\nThere is no user libvirt-qemu.\n" in said
    assert "an hour ago" not in said
    assert len(said.splitlines()) < foreground.LAST_WORDS + 5
    assert str(begun.settings.logs / "part.log") in caught.value.hint


def test_what_says_nothing_or_never_comes_is_shown_so(appliance: Callable[[str], Appliance]) -> None:
    with pytest.raises(Unavailable, match=r"it ended with status 0\. It said nothing\."):
        appliance("true").start()
    begun = appliance("echo waiting for a card; exec sleep 60")
    with pytest.raises(Unavailable, match=r"it cannot be used after 0 s\. It said:\nwaiting for a card"):
        begun.start()
    begun.children[0].stop()


ALIVE = f"""
import sys, time
sys.path.insert(0, {str(REPOSITORY)!r})
from appliance.notify import ALIVE, notify
while True:
    notify(ALIVE)
    time.sleep(0.05)
"""


@pytest.mark.lost
def test_what_stands_still_is_ended_and_started_again(
    appliance: Callable[[str], Appliance], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(foreground, "SILENT", 3.0)
    monkeypatch.setattr(Appliance, "_turn_away", lambda _: None)
    begun = appliance("")
    env = {"NOTIFY_SOCKET": str(begun.settings.state / "life")}
    command = [sys.executable, "-c", ALIVE]
    begun.children = [
        Child(name, command, lambda: True, env, watched=watched) for name, watched in (("well", True), ("other", False), ("hangs", True))
    ]
    begun.start()
    _well, other, hangs = before = [child.process for child in begun.children]
    assert other
    assert hangs
    watching = threading.Thread(target=begun.watch)
    watching.start()
    try:
        hangs.send_signal(signal.SIGSTOP)
        other.send_signal(signal.SIGSTOP)  # gives no signs of life, so that none are missed
        assert hangs.wait(30) == -signal.SIGKILL
        while begun.children[2].restarts == 0 and watching.is_alive():
            watching.join(0.05)
        assert [child.process is then for child, then in zip(begun.children, before, strict=True)] == [True, True, False]
        assert "hangs has given no sign of life for 3 s; it is ended." in capsys.readouterr().out
    finally:
        begun.stopping.set()
        watching.join()
        for child in begun.children:
            assert child.process
            child.process.kill()
            child.process.wait()


@pytest.mark.lost
def test_who_stood_still_ourselves_judges_nobody(appliance: Callable[[str], Appliance]) -> None:
    begun = appliance("exec sleep 60")
    begun.children[0].watched, begun.children[0].ready = True, lambda: True
    begun.start()
    child = begun.children[0]
    child.heard_at -= 2 * foreground.SILENT
    begun._end_what_hangs(time.monotonic() - 2 * foreground.LATE)
    assert child.alive()
    assert child.heard_at > time.monotonic() - 5
    child.heard_at -= 2 * foreground.SILENT
    begun._end_what_hangs(time.monotonic())
    assert not child.alive()


@pytest.mark.lost
def test_what_people_wait_for_is_never_long_away(settings: Settings) -> None:
    for folder in (settings.run, settings.tls, settings.logs):
        folder.mkdir(parents=True, exist_ok=True)
    built = Appliance(settings)
    built.close()
    assert {child.name for child in built.children if child.slowest <= 1} == {"rescue", "web", "relay", "nginx"}
    assert {child.name for child in built.children if child.watched} == {"host", "engine"}
    assert all((child.env.get("NOTIFY_SOCKET") == str(settings.run / "life")) == child.watched for child in built.children)


def test_every_part_says_what_ails_it_where_it_is_shown() -> None:
    assert daemon.LIBVIRTD_CONF["log_outputs"] == "3:stderr"
    assert nginx.command(load({}))[-2:] == ["-e", "stderr"]
    served = runpy.run_path(str(REPOSITORY / "webui/gunicorn.conf.py"))
    assert {"errorlog", "logconfig", "capture_output", "daemon"}.isdisjoint(served)  # it says all on its error stream


def test_a_shell_that_keeps_new_files_to_itself_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # it ends right after
    monkeypatch.setattr(os, "umask", masks.append)
    with pytest.raises(SystemExit):
        foreground.main()
    assert masks == [0o022]


def test_a_host_without_a_mirror_is_told_before_the_wizard_unless_seeds_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_configured: str) -> None:
        raise BadInput("This host's apt knows no mirror.", "Name one with the setting debian_mirror.")

    monkeypatch.setattr(sources, "mirror", none)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_name=name))
    monkeypatch.setattr(foreground, "_check_port", lambda *_: None)
    monkeypatch.setattr(foreground, "LEAST_DISK", 0)
    settings = load({}, state=tmp_path / "state")
    layout.prepare(settings)
    with pytest.raises(BadInput, match="knows no mirror"):
        foreground.check(settings)
    (settings.seeds / "notebook").mkdir()
    foreground.check(settings)


def test_a_host_that_can_give_no_network_cards_is_told_before_the_wizard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "TUN", tmp_path / "tun")
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_name=name))
    with pytest.raises(Unavailable, match="tun cannot be opened: No such file") as caught:
        daemon.prepare(load({}, state=tmp_path / "state"))
    assert "modprobe tun" in caught.value.hint
