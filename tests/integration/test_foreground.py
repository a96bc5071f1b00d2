"""`make run` for real: libvirtd, engine, web and nginx, started, killed, stopped and started again."""

import base64
import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from appliance import layout, supervisor
from appliance.errors import Unavailable
from appliance.host.system import processes as units
from appliance.run import run, start
from appliance.settings import REPOSITORY, Settings, environment, load
from tests.authority import root
from tests.hosted import Wire
from tests.waiting import until

ENDS = 60  # seconds in which anything here must happen


class Running:
    """One `make run`, and what it says."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.output = settings.state.parent / f"output-{time.monotonic_ns()}"
        with self.output.open("wb") as file:
            command = [sys.executable, "-m", "appliance.supervisor"]
            self.process: subprocess.Popen[bytes] = start(
                command, env=environment(settings), cwd=REPOSITORY, stdout=file.fileno(), stderr=file.fileno(), new_session=True
            )

    def said(self) -> str:
        return self.output.read_text()

    def until(self, words: str, since: int = 0) -> float:
        """Wait until it has said `words`, after so many characters; returns the seconds that took."""
        begun = time.monotonic()
        while words not in self.said()[since:]:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() - begun < ENDS, self.said()
            time.sleep(0.05)
        return time.monotonic() - begun

    def end(self) -> int:
        return self.process.wait(ENDS)

    def processes(self) -> dict[str, psutil.Process]:
        """The processes that matter, by name."""
        names = {
            "libvirtd": "libvirtd",
            "engine": "appliance.engine",
            "web": "gunicorn",
            "relay": "appliance.relay",
            "console": "appliance.console",
            "nginx": "nginx: master",
        }
        found: dict[str, psutil.Process] = {}
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:  # it ended meanwhile
                continue
            for name, sign in names.items():
                if sign in line and not line.startswith(("unshare", "setpriv")):
                    found.setdefault(name, process)
        return found

    def page(self) -> tuple[str, str]:
        """Address and text of the first page."""
        context = ssl.create_default_context(cafile=str(self.settings.tls / "appliance.crt"))
        with urllib.request.urlopen(f"https://127.0.0.1:{self.settings.https_port}/", context=context, timeout=10) as answer:
            return answer.url, answer.read().decode()


@contextlib.contextmanager
def renewed(running: Running) -> Iterator[None]:
    """What nginx is told to serve in the block is all that is served after it: for a moment those before answer, too."""

    def serving() -> set[int]:
        found = set()
        for one in running.processes()["nginx"].children():
            with contextlib.suppress(psutil.Error):  # it ended meanwhile
                if "shutting down" not in " ".join(one.cmdline()):
                    found.add(one.pid)
        return found

    before = serving()
    yield
    until(lambda: not before & serving())


def left_behind(settings: Settings) -> list[str]:
    """Processes that name this appliance's state on their command line or in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            words = [*line, *process.environ().values()]
        except (psutil.Error, OSError):
            continue
        if process.pid != os.getpid() and any(str(settings.state) in word for word in words):
            found.append(f"{process.pid} {' '.join(line)}")
    return found


@contextlib.contextmanager
def an_appliance() -> Iterator[Settings]:
    """Settings of an appliance that has nothing yet."""
    # Not pytest's own folder: sockets need a short path, and other users must pass through.
    folder = Path(tempfile.mkdtemp(prefix="dpe-run-"))
    folder.chmod(0o711)
    scenario = folder / "small"
    shutil.copytree(REPOSITORY / "tests/scenarios/small", scenario)
    scenario.chmod(0o755)
    settings = load(
        {},
        state=folder / "s",
        network=f"r{os.getpid() % 10**6}",
        subnet="10.249.0.0/16",
        uplink="169.254.249.0/30",
        listen="127.0.0.1",
        https_port=16443,
        app_port=16500,
        slots=20,
        scenario=scenario,
    )
    yield settings
    shutil.rmtree(folder)


@contextlib.contextmanager
def begun_with(settings: Settings) -> Iterator[Callable[..., Running]]:
    """What runs the appliance; whatever still runs in the end is killed."""
    begun: list[Running] = []

    def begin(**changes: object) -> Running:
        begun.append(Running(replace(settings, **changes)))  # type: ignore[arg-type]
        return begun[-1]

    yield begin
    for running in begun:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
    until(lambda: not left_behind(settings))
    run([sys.executable, "-m", "appliance.hypervisor.libvirt.daemon", "--remove"], env=environment(settings))
    assert settings.network not in run(["ip", "netns", "list"]).split()


@pytest.fixture
def settings() -> Iterator[Settings]:
    with an_appliance() as settings:
        yield settings


@pytest.fixture
def begin(settings: Settings) -> Iterator[Callable[..., Running]]:
    with begun_with(settings) as begin:
        yield begin


def begin_said(begin: Callable[..., Running]) -> str:
    """What an appliance says that refuses to start."""
    refused = begin()
    assert refused.end() == 1
    return refused.said()


def test_from_nothing_to_the_setup_code_and_back_to_nothing(begin: Callable[..., Running], settings: Settings) -> None:
    running = begin()
    running.until("The appliance runs.")
    said = running.said()
    assert f"https://127.0.0.1:{settings.https_port}/" in said
    code = re.search(r"Setup code: (\w{4}-\w{4}-\w{4})", said)
    assert code
    assert (settings.state / "setup-code").stat().st_mode & 0o777 == 0o600
    address, _ = running.page()
    assert address.endswith("/setup")

    assert f"The appliance already runs on {settings.state} (process {running.process.pid})" in begin_said(begin)

    # The web process is nobody: it owns no secret of root's and can write the catalog's folder alone.
    web = running.processes()["web"]
    assert web.username() == layout.WEB
    assert pwd.getpwuid(web.uids().effective).pw_name == layout.WEB

    os.killpg(running.process.pid, signal.SIGINT)
    assert running.end() == 0
    assert running.said().endswith("stopped.\n")
    assert left_behind(settings) == []
    assert settings.network not in run(["ip", "netns", "list"]).split()

    again = begin()
    assert again.until("The appliance runs.") < 20
    assert code[0] in again.said()
    again.process.terminate()
    assert again.end() == 0


def _answers(running: Running) -> bool:
    try:
        running.page()
    except OSError:
        return False
    return True


def served(settings: Settings) -> bytes:
    """The certificate that a new connection is shown."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", settings.https_port), timeout=10))


@pytest.fixture(scope="class")
def running() -> Iterator[Running]:
    with an_appliance() as settings, begun_with(settings) as begin:
        running = begin()
        running.until("The appliance runs.")
        yield running


class TestWhileItRuns:
    """One appliance that runs, for all of these."""

    def test_parts_are_stopped_and_started_as_dpe_host_wants(self, running: Running) -> None:
        settings = running.settings
        before = running.processes()
        restarts = next(part.restarts for part in units.parts(settings) if part.name == "web")
        with units.stopped(settings, "web", "relay", "engine"):
            assert {"web", "relay", "engine"}.isdisjoint(running.processes())
            with pytest.raises(urllib.error.HTTPError, match="502"):  # at once, rather than after a minute
                running.page()
            left = {part.name: part.state for part in units.parts(settings)}
            assert (left["web"], left["engine"], left["nginx"]) == ("stopped", "stopped", "running")
        until(lambda: _answers(running) and "engine" in running.processes())
        after = running.processes()
        assert after["nginx"] == before["nginx"]
        assert after["web"] != before["web"]

        units.restart(settings, "web")
        until(lambda: running.processes().get("web") not in (None, after["web"]))
        until(lambda: _answers(running))
        part = next(part for part in units.parts(settings) if part.name == "web")
        assert (part.state, part.restarts) == ("running", restarts + 2)
        assert part.memory > 10

    def test_what_dies_is_started_again(self, running: Running) -> None:
        for name in ("libvirtd", "engine", "web", "relay", "console", "nginx"):
            killed = running.processes()[name]
            said = len(running.said())
            killed.kill()
            running.until(f"{name} ended", said)
            until(lambda name=name, killed=killed: running.processes().get(name) not in (None, killed))
        until(lambda: _answers(running))
        virsh = ["virsh", "--connect", f"qemu+unix:///system?socket={running.settings.libvirt}/run/libvirt-sock", "uri"]
        assert "qemu" in run(virsh)

    @pytest.mark.cases
    def test_a_certificate_of_ones_own_is_served_at_once_and_what_is_open_goes_on(self, running: Running) -> None:
        settings = running.settings
        house = root()
        leaf = house.sign("dpe", names=("dpe.example.org",))
        with socket.create_connection(("127.0.0.1", settings.https_port), timeout=10) as line:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(line) as kept:
                kept.sendall(b"GET /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\n")  # and the rest of it comes later
                files = [base64.b64encode(content).decode() for content in (house.pem + leaf.pem, leaf.key_pem())]
                with renewed(running):
                    Wire(settings, "grace").ask("certificate.set", files=files, host="dpe.example.org")
                    until(lambda: served(settings) == leaf.der)
                kept.sendall(b"Connection: close\r\n\r\n")
                assert kept.recv(12) == b"HTTP/1.1 303"
        with renewed(running):
            Wire(settings, "grace").ask("certificate.remove")
        assert served(settings) != leaf.der
        assert leaf.key_pem().decode().splitlines()[1] not in running.said()

    @pytest.mark.hostile
    def test_where_somebody_comes_from_is_believed_of_named_proxies_alone(self, running: Running) -> None:
        settings = running.settings

        def seen(claim: str) -> str:
            """The address that the door has of a request that claims to come from these."""
            path = f"/seen/{uuid.uuid4().hex}"
            context = ssl.create_default_context(cafile=str(settings.tls / "appliance.crt"))
            asked = urllib.request.Request(f"https://127.0.0.1:{settings.https_port}{path}", headers={"X-Forwarded-For": claim})
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(asked, context=context, timeout=10).close()
            log = settings.logs / "nginx.log"
            os.kill(running.processes()["nginx"].pid, signal.SIGUSR1)  # it writes down what it would only in some seconds
            until(lambda: path in log.read_text())
            [line] = [line for line in log.read_text().splitlines() if path in line]
            return line.split()[0]

        assert seen("203.0.113.5") == "127.0.0.1"
        with renewed(running):
            said = len(running.said())
            Wire(settings, "grace").ask("proxies.set", proxies=["127.0.0.0/8", "192.0.2.0/24"])
            running.until("other proxies", said)
        assert seen("203.0.113.5") == "203.0.113.5"
        assert seen("198.51.100.1, 203.0.113.5, 192.0.2.7") == "203.0.113.5"  # what stands before is what the client itself claims
        assert seen("unknown, 192.0.2.7") == "192.0.2.7"
        with renewed(running):
            Wire(settings, "grace").ask("proxies.set", proxies=[])
        assert seen("203.0.113.5") == "127.0.0.1"


def test_killed_it_leaves_nothing_that_bars_the_next_start(begin: Callable[..., Running], settings: Settings) -> None:
    running = begin()
    running.until("starting nginx")
    running.process.kill()
    running.process.wait()
    until(lambda: not left_behind(settings))
    begin().until("The appliance runs.")


def test_asked_to_stop_while_it_starts_it_stops(begin: Callable[..., Running], settings: Settings) -> None:
    running = begin()
    running.until("starting engine")
    running.process.terminate()
    assert running.end() == 0
    assert left_behind(settings) == []


@pytest.mark.badinput
@pytest.mark.parametrize(("offset", "setting"), [(0, "DPE_HTTPS_PORT"), (57 + 12, "DPE_APP_PORT")])
def test_a_port_in_use_is_named_with_its_holder_and_setting(
    begin: Callable[..., Running], settings: Settings, offset: int, setting: str
) -> None:
    port = settings.https_port + offset
    with socket.create_server(("127.0.0.1", port)):
        said = begin_said(begin)
    assert f"Port {port} of 127.0.0.1" in said
    assert f"(process {os.getpid()}) listens there" in said
    assert setting in said
    assert "starting" not in said


@pytest.mark.badinput
def test_a_catalog_from_a_newer_version_is_refused_and_left_as_it_is(begin: Callable[..., Running], settings: Settings) -> None:
    layout.prepare(settings)
    connection = sqlite3.connect(settings.catalog)
    connection.execute("PRAGMA user_version = 9999")
    connection.commit()
    connection.close()
    before = settings.catalog.read_bytes()
    said = begin_said(begin)
    assert "is of version 9999" in said
    assert "Install the newer appliance again" in said
    assert settings.catalog.read_bytes() == before


@pytest.mark.badinput
def test_a_wrong_scenario_is_refused_before_anything_starts(begin: Callable[..., Running], settings: Settings) -> None:
    file = settings.scenario / "scenario.yml"
    file.write_text(file.read_text().replace("memory:", "memmory:", 1))
    said = begin_said(begin)
    assert "memmory" in said
    assert re.search(r"scenario\.yml:\d+|line \d+", said)
    assert "starting" not in said


@pytest.mark.fresh
@pytest.mark.parametrize("part", ["libvirtd", "host", "nginx"])
def test_what_does_not_start_is_shown_with_the_reason_that_its_own_program_gives(
    begin: Callable[..., Running], settings: Settings, part: str
) -> None:
    layout.prepare(settings)
    match part:
        case "libvirtd":
            (settings.libvirt / "run/libvirtd.pid").mkdir(parents=True)
            reason = "libvirt/run/libvirtd.pid': Is a directory"
        case "host":
            settings.host_socket.mkdir()
            reason = f"Is a directory: '{settings.host_socket}'"
        case _:
            (settings.run / "nginx/scgi").symlink_to("/nowhere/at/all")
            reason = "[emerg]"
    said = begin_said(begin)
    assert f"{part} did not start: it ended with status" in said
    assert reason in said.split("did not start")[1]


@pytest.mark.badinput
def test_a_full_disk_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.prepare(settings)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**10, 10**10, 50 << 20))  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match="Only 50 MiB are free") as caught:
        supervisor.check_host(settings)
    assert "DPE_STATE" in caught.value.hint


@pytest.fixture
def small_disk(settings: Settings) -> Iterator[Path]:
    """The state directory is a file system of its own, of 5 GiB."""
    image = settings.state.parent / "disk"
    with image.open("wb") as file:
        file.truncate(5 << 30)
    run(["mkfs.ext4", "-q", "-F", "-m", "0", image])
    settings.state.mkdir()
    run(["mount", "-o", "loop", image, settings.state])
    yield settings.state
    run(["umount", "--lazy", settings.state])


def fill(folder: Path) -> None:
    """To the last byte, as root."""
    with (folder / "filler").open("ab", buffering=0) as out:
        for piece in (64 << 20, 1 << 20, 4096):
            with contextlib.suppress(OSError):
                while True:
                    os.posix_fallocate(out.fileno(), out.seek(0, os.SEEK_END), piece)
        with contextlib.suppress(OSError):
            while True:
                out.write(b"x")


@pytest.mark.lost
@pytest.mark.badinput
def test_on_a_disk_that_is_full_to_the_last_byte_it_starts_when_everything_is_there(
    small_disk: Path, begin: Callable[..., Running], settings: Settings
) -> None:
    first = begin()
    first.until("The appliance runs.")
    until((small_disk / "ballast").exists)
    first.process.terminate()
    assert first.end() == 0
    fill(small_disk)
    assert os.statvfs(small_disk).f_bavail == 0

    again = begin()
    again.until("The appliance runs.")
    address, _ = again.page()
    assert address.endswith("/setup")
    again.process.terminate()
    assert again.end() == 0


@pytest.mark.badinput
def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit):
        supervisor.main()
    assert "needs root" in (said := capsys.readouterr().err)
    assert "sudo" in said
