"""What `make run` says of what does not start, and does with what stands still: each part is a shell script here."""

import contextlib
import errno
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance import run, supervisor
from appliance.access import nginx, proxies
from appliance.errors import CommandFailed, Unavailable
from appliance.settings import REPOSITORY, Settings, load
from appliance.supervisor import Appliance, Process
from tests.waiting import until

pytestmark = pytest.mark.fresh


@pytest.fixture
def appliance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Appliance]]:
    """An appliance of one part, which is this shell script."""
    settings = load({}, state=tmp_path)
    settings.logs.mkdir()
    monkeypatch.setattr(supervisor, "PATIENCE", 0.3)

    def begin(script: str) -> Appliance:
        built = Appliance.__new__(Appliance)
        built.settings, built.told = settings, {}
        built.stopping = supervisor.threading.Event()
        settings.run.mkdir(exist_ok=True)
        settings.tls.mkdir(exist_ok=True)
        built.life, built.seen = life, built._certificates()
        built.children = [Process("part", ["sh", "-c", script], lambda: False)]
        return built

    with contextlib.closing(supervisor._hear(tmp_path / "life")) as life:
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
    assert len(said.splitlines()) < supervisor.LAST_WORDS + 5
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
from appliance.sd_notify import ALIVE, notify
while True:
    notify(ALIVE)
    time.sleep(0.05)
"""


@pytest.mark.lost
def test_what_stands_still_is_ended_and_started_again(
    appliance: Callable[[str], Appliance], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervisor, "SILENT", 3.0)
    monkeypatch.setattr(Appliance, "_turn_away", lambda _: None)
    begun = appliance("")
    env = {"NOTIFY_SOCKET": str(begun.settings.state / "life")}
    command = [sys.executable, "-c", ALIVE]
    begun.children = [
        Process(name, command, lambda: True, env, watched=watched) for name, watched in (("well", True), ("other", False), ("hangs", True))
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
    child.heard_at -= 2 * supervisor.SILENT
    begun._end_what_hangs(time.monotonic() - 2 * supervisor.LATE)
    assert child.alive()
    assert child.heard_at > time.monotonic() - 5
    child.heard_at -= 2 * supervisor.SILENT
    begun._end_what_hangs(time.monotonic())
    assert not child.alive()


@pytest.mark.lost
def test_what_people_wait_for_is_never_long_away(settings: Settings) -> None:
    for folder in (settings.run, settings.tls, settings.logs):
        folder.mkdir(parents=True, exist_ok=True)
    built = Appliance(settings)
    built.close()
    assert {child.name for child in built.children if child.slowest <= 1} == {"rescue", "web", "relay", "console", "haproxy", "nginx"}
    assert {child.name for child in built.children if child.watched} == {"host", "engine"}
    assert all((child.env.get("NOTIFY_SOCKET") == str(settings.run / "life")) == child.watched for child in built.children)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Appliance], None]]:
    """Watches an appliance beside the test, and ends it with it."""
    monkeypatch.setattr(Appliance, "_turn_away", lambda _: None)
    watching: list[tuple[Appliance, threading.Thread]] = []

    def begin(begun: Appliance) -> None:
        begun.checkout, begun.complaint = begun.settings.run / "house", ""
        thread = threading.Thread(target=begun.watch)
        watching.append((begun, thread))
        thread.start()

    yield begin
    for begun, thread in watching:
        begun.stopping.set()
        thread.join()
        for child in begun.children:
            if child.process:
                child.process.kill()
                child.process.wait()


HEARS = """
import signal
signal.signal(signal.SIGHUP, lambda *_: print("read again", flush=True))
print("up", flush=True)
while True:
    signal.pause()
"""


@pytest.mark.lost
def test_a_door_that_cannot_be_renewed_ends_nothing_and_is_renewed_later(
    appliance: Callable[[str], Appliance],
    watch: Callable[[Appliance], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """nginx cannot say its version while apt replaces it, nor can a process be started when there is no memory for it."""
    failures = [CommandFailed("nginx died of a signal.", status=-10, output=""), OSError(errno.ENOMEM, "Cannot allocate memory")]

    def version() -> tuple[int, ...]:
        if failures:
            raise failures.pop(0)
        return (1, 22, 1)

    monkeypatch.setattr(nginx, "version", version)
    monkeypatch.setattr(supervisor, "RETRY", 0.1)
    begun = appliance("")
    monkeypatch.setattr(supervisor, "PATIENCE", 60)
    begun.children = [Process("nginx", [sys.executable, "-c", HEARS], lambda: "up" in begun.children[0].last, confined=True)]
    begun.start()
    before = begun.children[0].process
    proxies.trust(begun.settings, ["192.0.2.7"])  # before anybody looks: what is put there while all starts is noticed, too
    watch(begun)
    until(lambda: "read again" in begun.children[0].last)
    assert not failures
    said = capsys.readouterr().out
    assert "nginx died of a signal." in said
    assert "Cannot allocate memory" in said
    assert "other proxies" in said
    assert begun.children[0].process is before


@pytest.mark.lost
def test_what_cannot_be_started_for_a_while_is_started_later(
    appliance: Callable[[str], Appliance],
    watch: Callable[[Appliance], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = appliance("exec sleep 60")
    child = begun.children[0]
    child.slowest = 0.1
    failures = [OSError(errno.EAGAIN, "Resource temporarily unavailable")] * 2
    real = Process.start

    def start(self: Process, logs: Path) -> None:
        if failures:
            raise failures.pop()
        real(self, logs)

    monkeypatch.setattr(Process, "start", start)
    watch(begun)
    until(child.alive)
    assert "part cannot be started (Resource temporarily unavailable); it is started again in" in capsys.readouterr().out


def test_a_sign_for_what_is_confined_never_hits_its_wrapper(appliance: Callable[[str], Appliance]) -> None:
    child = appliance("exec sleep 60").children[0]
    child.confined = True
    child.process = run.start(["sleep", "60"])  # a wrapper whose own process is not there yet
    assert not child.signal(signal.SIGHUP)
    assert child.alive()
    child.stop()
    assert child.process.returncode == -signal.SIGKILL
