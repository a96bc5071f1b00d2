"""`make run`: the whole appliance in the foreground, until Ctrl-C.

In the bootable image systemd starts the same processes as units; here one supervisor does, for any Debian
with or without systemd. It starts them in order, waits until each can be used, starts again what dies,
and stops them in the reverse order, keeping the memory of running machines on disk.

Children die with the supervisor even when it is killed with -9; machines do not, and are adopted by the
next start.
"""

import contextlib
import errno
import http.client
import itertools
import logging
import os
import pwd
import shutil
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Any

import psutil

from appliance import catalog, layout, run
from appliance.access import nginx, tls
from appliance.balance import haproxy
from appliance.errors import BadInput, Conflict, DpeError, Unavailable
from appliance.host.backup import restore
from appliance.host.disks import ballast
from appliance.host.system import processes
from appliance.hypervisor.providers import provider_service
from appliance.packages import sources
from appliance.scenario.load import load as load_scenario
from appliance.seeds import shipped
from appliance.services import setup
from appliance.settings import REPOSITORY, Settings, environment
from appliance.settings import load as load_settings
from appliance.ssh import sshd
from appliance.workflow.master import master

LOG_SIZE = 10 << 20  # bytes, kept twice
LEAST_DISK = 4096  # MiB, with which a first seed can be built
KEEPING = 60.0  # seconds between looks at the certificate
RETRY = 5.0  # the same while the last look failed
STEADY = 60.0  # seconds after which a process that ran is no longer taken for one that fails at once
SLOWEST = 30.0  # seconds between two starts of one that does
ANSWERING = 1.0  # seconds between two starts of one that people wait for
SILENT = 90.0  # seconds without a sign of life after which a process that gives them is taken to hang
LATE = 10.0  # seconds between two looks after which we ourselves stood still, and nobody else is judged by them
PATIENCE = 60.0  # seconds for a process to become usable, or to end
LAST_WORDS = 20  # lines of what a process said that are shown when it does not start

CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)

Ready = Callable[[], bool]


def print_line(text: str = "") -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone; that must not keep the rest from being stopped
        print(text, flush=True)


# -- before anything is started ------------------------------------------------------------------


def check_host(settings: Settings) -> None:
    """Raise DpeError, saying what to do, for whatever would keep the appliance from working."""
    if not REPOSITORY.joinpath("webui/__init__.py").stat().st_mode & 0o004:
        raise BadInput(f"The web process, which is not root, cannot read {REPOSITORY}.", f"Let it: chmod -R o+rX {REPOSITORY}")
    service = provider_service(settings)
    for user in (layout.WEB, layout.RESCUE, layout.JUMP, *((service.user,) if service else ())):
        try:
            pwd.getpwnam(user)
        except KeyError as error:
            raise Unavailable(f"There is no user {user}.", "Run `make setup`.") from error
    free = shutil.disk_usage(settings.state).free >> 20
    if free < LEAST_DISK and not settings.catalog.stat().st_size:  # one that was here before has all it needs
        raise Unavailable(
            f"Only {free} MiB are free in {settings.state}; building a seed needs {LEAST_DISK} MiB.",
            "Make room, or set DPE_STATE elsewhere.",
        )
    classes = load_scenario(settings.scenario).scenario.classes
    if not any(settings.seeds.iterdir()) and any(shipped.shipped_seed(name, settings) is None for name in classes):
        sources.mirror(settings.debian_mirror)  # the first seed is built right after the wizard
    master()
    _check_port(settings.listen, settings.https_port, "https_port")
    for port in itertools.chain(*settings.doors):
        _check_port(settings.listen, port, "app_port")


def _check_port(address: str, port: int, setting: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise Conflict(
                f"Port {port} of {address} cannot be had{_holder(port)}: {error.strerror}.",
                f"Stop what uses it, or choose another port with DPE_{setting.upper()}.",
            ) from error


def _holder(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port and connection.pid:
            with contextlib.suppress(psutil.Error):
                return f", {psutil.Process(connection.pid).name()} (process {connection.pid}) listens there"
    return ""


@contextlib.contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Hold the state directory for this appliance. Raises Conflict when another one runs on it."""
    held = layout.hold(
        settings.run / "appliance.lock",
        lambda other: Conflict(
            f"The appliance already runs on {settings.state} (process {other}).",
            "Stop that one, or set DPE_STATE to another directory.",
        ),
    )
    with held:
        yield


# -- one process -----------------------------------------------------------------------------------


@dataclass
class Process:
    """A process of the appliance. `ready` says whether it can be used.

    `confined` are those whose own children must not outlive them; `slowest` is the longest pause, in seconds, before it is started again;
    one that is `watched` gives signs of life (notify.py).
    """

    name: str
    command: Sequence[run.Argument]
    ready: Ready
    env: dict[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()
    confined: bool = False
    slowest: float = SLOWEST
    watched: bool = False
    process: run.Process | None = None
    started_at: float = 0.0
    heard_at: float = 0.0
    pause: float = 0.0
    retry_at: float = 0.0
    since: str = ""
    restarts: int = -1
    status: str = ""
    held: bool = False
    last: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_WORDS))
    listener: threading.Thread | None = None

    def start(self, logs: Path) -> None:
        """Start it; what it says goes to its log."""
        reading, writing = os.pipe()
        command = run.confined(self.command) if self.confined else run.tied(self.command)
        try:
            # A session of its own: Ctrl-C is for the supervisor, which stops the others in their order.
            self.process = run.start(
                command, env=self.env, cwd=Path("/"), stdout=writing, stderr=writing, pass_fds=self.pass_fds, new_session=True
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.started_at = self.heard_at = time.monotonic()
        self.since = datetime.now(UTC).isoformat()
        self.restarts += 1
        self.last.clear()
        self.listener = threading.Thread(target=_keep, args=(os.fdopen(reading, "rb"), logs / f"{self.name}.log", self.last), daemon=True)
        self.listener.start()

    def last_words(self) -> str:
        """The end of what it said since it was started; when it has ended, to its very end."""
        if self.listener is not None and not self.alive():
            self.listener.join(1)  # the end may still be in the pipe, which a child of its own may hold open
        return "\n".join(list(self.last))

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, signum: int) -> bool:
        """Send it a signal; whether it was there. One that is confined may not be yet, and its wrapper, which passes nothing on, would die of it."""
        if self.process is None or self.process.poll() is not None:
            return False
        with contextlib.suppress(psutil.Error):
            wrapper = psutil.Process(self.process.pid)
            for one in wrapper.children() if self.confined else [wrapper]:
                one.send_signal(signum)
                return True
        return False

    def stop(self) -> None:
        """End it in its own good way, and wait; after PATIENCE seconds by force."""
        if self.process is None or self.process.poll() is not None:
            return
        if not self.signal(signal.SIGTERM):
            self.process.kill()
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _keep(pipe: IO[bytes], file: Path, last: deque[str]) -> None:
    """Write what a child says to its log, which is kept small, and the last lines of it to `last`."""
    handler = RotatingFileHandler(file, maxBytes=LOG_SIZE, backupCount=1, delay=True)  # even a log that cannot be made must not end it
    handler.setFormatter(logging.Formatter("%(message)s"))
    with pipe:
        for line in pipe:
            text = line.decode(errors="replace").rstrip("\n")
            last.append(text)
            handler.emit(logging.LogRecord(file.stem, logging.INFO, "", 0, text, None, None))
    handler.close()


# -- the appliance -----------------------------------------------------------------------------------


class Appliance:
    """The processes of the appliance, in the order in which they start."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping = threading.Event()
        self.checkout = settings.run / "house"
        self.web_socket = self._listen(nginx.socket_path(settings))
        self.door_socket = self._listen(nginx.door_path(settings))
        self.rescue_socket = self._listen(nginx.rescue_path(settings))
        self.relay_socket = self._listen(nginx.relay_path(settings))
        self.console_socket = self._listen(nginx.console_path(settings))
        self.life = _hear(settings.run / "life")
        tls.ensure(settings)
        self.complaint = ""
        self.told: dict[str, dict[str, Any]] = {}
        processes.forget(settings)
        env = environment(settings)
        watched = {**env, "NOTIFY_SOCKET": os.fspath(settings.run / "life")}
        begun = catalog.now()
        self.service = provider_service(settings)
        self.children = [
            *([] if self.service is None else [Process(self.service.name, self.service.command, self._service_answers, env)]),
            Process("host", [sys.executable, "-m", "appliance.host.rpc.daemon"], self._host_answers, watched, watched=True),
            Process(
                "rescue",
                self._rescue(),
                lambda: _healthy(nginx.rescue_path(settings), "/rescue/healthz"),
                {**env, "PYTHONPATH": str(self.checkout), "RUNTIME_DIRECTORY": str(self._memory())},
                (self.rescue_socket.fileno(),),
                confined=True,
                slowest=ANSWERING,
            ),
            Process("engine", [sys.executable, "-m", "appliance.engine"], lambda: _engine_ticks(begun), watched, watched=True),
            Process(
                "web",
                self._web(),
                lambda: _healthy(nginx.socket_path(settings), "/healthz"),
                {**env, "PYTHONPATH": str(self.checkout)},
                (self.web_socket.fileno(), self.door_socket.fileno()),
                confined=True,
                slowest=ANSWERING,
            ),
            Process(
                "relay",
                self._relay(),
                lambda: _healthy(nginx.relay_path(settings), "/"),
                {**env, "PYTHONPATH": str(self.checkout)},
                (self.relay_socket.fileno(),),
                confined=True,
                slowest=ANSWERING,
            ),
            Process(
                "console",
                self._console(),
                lambda: _healthy(nginx.console_path(settings), "/"),
                {**env, "PYTHONPATH": str(self.checkout)},
                (self.console_socket.fileno(),),
                confined=True,
                slowest=ANSWERING,
            ),
            Process(
                "haproxy",
                haproxy.supervised(settings),
                lambda: _healthy(haproxy.alive_path(settings), "/"),
                env,
                confined=True,
                slowest=ANSWERING,
            ),
            Process(
                "ssh",
                self._ssh(),
                lambda: _listens(sshd.socket_path(settings.ssh_folder)),
                {**env, "PYTHONPATH": str(self.checkout)},
                confined=True,
            ),
            Process("nginx", self._nginx(), self._door_answers, confined=True, slowest=ANSWERING),
        ]

    def _listen(self, path: Path) -> socket.socket:
        """A web process's socket, which outlives it: nginx never finds it missing while that starts again."""
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(os.fspath(path))
        door = pwd.getpwnam(nginx.USER)
        os.chown(path, 0, door.pw_gid)
        path.chmod(0o660)
        listening.listen(1024)
        listening.setblocking(False)
        return listening

    def _housed(self, command: list[run.Argument]) -> list[run.Argument]:
        """The command where the checkout is mounted at a place that unprivileged users can reach; it may lie in root's home."""
        self.checkout.mkdir(exist_ok=True)
        script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        return ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", script, "sh", REPOSITORY, self.checkout, *command]

    def _python(self, user: str, *groups: str) -> list[run.Argument]:
        """Our Python at that place, as a user who is not root."""
        rights = [f"--groups={','.join(groups)}"] if groups else ["--clear-groups"]
        # The change of user clears the wish to die with the supervisor, so it is made again.
        command: list[run.Argument] = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            f"--reuid={user}",
            f"--regid={user}",
            *rights,
            "--no-new-privs",
            "--",
        ]
        return [*command, self.checkout / Path(sys.executable).relative_to(REPOSITORY)]

    def _web(self) -> list[run.Argument]:
        served: list[run.Argument] = ["--config", self.checkout / "webui/gunicorn.conf.py"]
        for listening in (self.web_socket, self.door_socket):
            served += ["--bind", f"fd://{listening.fileno()}"]
        return self._housed([*self._python(layout.WEB), "-m", "gunicorn", *served])

    def _relay(self) -> list[run.Argument]:
        return self._housed([*self._python(layout.WEB), "-m", "appliance.relay", "--fd", str(self.relay_socket.fileno())])

    def _console(self) -> list[run.Argument]:
        return self._housed([*self._python(layout.WEB), "-m", "appliance.console", "--fd", str(self.console_socket.fileno())])

    def _ssh(self) -> list[run.Argument]:
        return self._housed([*self._python(layout.JUMP), "-m", "appliance.ssh"])

    def _rescue(self) -> list[run.Argument]:
        return self._housed([*self._python(layout.RESCUE, layout.WEB), "-m", "webui.rescue", "--fd", str(self.rescue_socket.fileno())])

    def _memory(self) -> Path:
        """A folder in which the rescue page may write."""
        folder = self.settings.run / "rescue"
        folder.mkdir(mode=0o700, exist_ok=True)
        shutil.chown(folder, layout.RESCUE)
        return folder

    def _nginx(self) -> list[run.Argument]:
        self.seen = self._certificates()  # before it is written: what is put there from now on is noticed
        nginx.write_configuration(self.settings, self.checkout)
        return self._housed(nginx.command(self.settings))

    # -- readiness ----

    def _service_answers(self) -> bool:
        return self.service is None or _listens(self.service.socket)

    def _host_answers(self) -> bool:
        return _listens(self.settings.host_socket)

    def _door_answers(self) -> bool:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.settings.listen, self.settings.listen)  # noqa: S104
        try:
            socket.create_connection((host, self.settings.https_port), 5).close()
        except OSError:
            return False
        return True

    # -- life ----

    def start(self) -> None:
        """Start all, each when the one before can be used. Raises Unavailable with the end of its log when one does not come."""
        for child in self.children:
            if self.stopping.is_set():
                return
            print_line(f"starting {child.name} ...")
            child.start(self.settings.logs)
            self._tell()
            deadline = time.monotonic() + PATIENCE
            while not child.ready():
                if not child.alive() or time.monotonic() > deadline:
                    raise self._no_start(child)
                if self.stopping.wait(0.1):
                    return

    def _no_start(self, child: Process) -> Unavailable:
        """What is to be said of one that did not start: how it ended, and in its own words why."""
        assert child.process
        how = f"it cannot be used after {PATIENCE:.0f} s" if child.alive() else f"it ended with status {child.process.returncode}"
        said = child.last_words()
        told = f"It said:\n{said}\n" if said else "It said nothing."
        return Unavailable(f"{child.name} did not start: {how}. {told}", f"Its whole log is {self.settings.logs / child.name}.log.")

    def watch(self) -> None:
        """Start again what dies or hangs, at once at first, then waiting twice as long each time; returns when asked to stop, or a restore waits."""
        looked_at = time.monotonic()
        renewal = time.monotonic() + KEEPING
        while not self.stopping.wait(0.5) and not restore.waits(self.settings):
            if time.monotonic() > renewal or self.seen != self._certificates():
                self.seen = self._certificates()
                renewal = time.monotonic() + (KEEPING if self._renew_door() else RETRY)
            self._end_what_hangs(looked_at)
            looked_at = time.monotonic()
            for child in self.children:
                if self._obeys(child) or child.alive():
                    continue
                if child.process is not None:
                    assert child.process.returncode is not None
                    self._ended(child, f"ended ({child.process.returncode})", f"ended with status {child.process.returncode}")
                    child.process = None
                if time.monotonic() >= child.retry_at:
                    try:
                        child.start(self.settings.logs)
                    except OSError as error:  # no memory for one more process, for a while
                        self._ended(child, f"cannot be started ({error.strerror})", f"cannot be started: {error.strerror}")
            self._tell()
            self._turn_away()

    def _ended(self, child: Process, how: str, status: str) -> None:
        """Say so, and when it is started again: at once when it ran well, else after a pause that doubles."""
        moment = time.monotonic()
        steady = child.process is not None and moment - child.started_at > STEADY
        child.pause = 0.0 if steady else min(max(1.0, child.pause * 2), child.slowest)
        child.retry_at = moment + child.pause
        when = f"in {child.pause:.0f} s" if child.pause else "now"
        print_line(f"{child.name} {how}; it is started again {when}. Its log: {self.settings.logs / child.name}.log")
        child.since, child.status = datetime.now(UTC).isoformat(), status

    def _end_what_hangs(self, looked_at: float) -> None:
        """Kill what is there but does nothing, as systemd does in the image (WatchdogSec); it is started again then."""
        alive = set(_heard(self.life))
        moment = time.monotonic()
        for child in self.children:
            if not child.watched or child.process is None or not child.alive():
                continue
            if child.process.pid in alive or moment - looked_at > LATE:
                child.heard_at = moment
            elif moment - child.heard_at > SILENT:
                print_line(f"{child.name} has given no sign of life for {SILENT:.0f} s; it is ended.")
                child.process.kill()
                child.process.wait()

    def _obeys(self, child: Process) -> bool:
        """Do with a child what dpe-host wants; whether it is to stay away."""
        wish = processes.wished(self.settings, child.name)
        child.held = wish == "stop"
        if not wish:
            return False
        if child.process is not None:
            print_line(f"{child.name} is {'stopped' if wish == 'stop' else 'started again'}, as dpe-host wants it.")
            child.stop()
            child.process, child.pause, child.retry_at, child.since, child.status = None, 0.0, 0.0, datetime.now(UTC).isoformat(), ""
        if wish == "restart":
            processes.grant(self.settings, child.name)
        return child.held

    def _turn_away(self) -> None:
        """Nobody has to wait for a process that does not come: nginx shows its own page instead."""
        for name, listening in (
            ("web", self.web_socket),
            ("web", self.door_socket),
            ("relay", self.relay_socket),
            ("console", self.console_socket),
        ):
            if any(child.name == name and not child.alive() for child in self.children):
                with contextlib.suppress(BlockingIOError):
                    while True:
                        listening.accept()[0].close()

    def _tell(self) -> None:
        """Write down how the children are, for dpe-host."""
        told = {
            child.name: {
                "pid": child.process.pid if child.process is not None and child.alive() else 0,
                "since": child.since,
                "restarts": max(0, child.restarts),
                "held": child.held,
                "status": child.status,
            }
            for child in self.children
        }
        if told != self.told:
            with contextlib.suppress(OSError):  # the disk may be full; it is told again
                processes.write_processes(self.settings, told)
                self.told = told

    def _certificates(self) -> int:
        """Another number when a file was put where certificates and trusted proxies are, or taken away."""
        try:
            return self.settings.tls.stat().st_mtime_ns
        except FileNotFoundError:  # it is made again with the next certificate
            return 0

    def _renew_door(self) -> bool:
        """Have nginx serve another certificate when its time comes, or when the admin put one there, and trust the proxies that they name.
        False when that cannot be done now, which is said once and leaves nginx as it is."""
        try:
            served, _ = tls.ensure(self.settings)
            fingerprint = tls.fingerprint(served)
            changed = nginx.changed(self.settings, self.checkout)
            if changed:
                nginx.write_configuration(self.settings, self.checkout)
        except (DpeError, OSError) as error:  # the admin's own may run out while we serve it; nginx may just be replaced by apt
            if self.complaint != str(error):
                self.complaint = str(error)
                print_line(self.complaint)
            return False
        self.complaint = ""
        if changed:
            next(child for child in self.children if child.name == "nginx").signal(signal.SIGHUP)
            print_line(f"The door was given another certificate or other proxies. The certificate's SHA-256 fingerprint is {fingerprint}")
        return True

    def stop(self) -> None:
        """Stop all: the door first; machines are saved before what runs them goes, and come back as they were."""
        services, others = (self.children[:1], self.children[1:]) if self.service else ([], self.children)
        for child in reversed(others):
            child.stop()
        if all(child.alive() for child in services):
            print_line("saving machines ...")
            # A session of its own, so that an impatient second Ctrl-C does not reach it.
            park = ["setsid", "--wait", sys.executable, "-m", "appliance.engine", "--park"]
            try:
                run.run(park, env=environment(self.settings), timeout=600)
            except DpeError as error:
                print_line(f"Not all machines could be saved; those will start anew. {error}")
        for child in services:
            child.stop()
        if self.service is not None:
            with contextlib.suppress(DpeError):
                run.run(self.service.remove, env=environment(self.settings))
        self.close()

    def close(self) -> None:
        """Let the sockets go, which outlive the processes that serve them."""
        for listening in (self.web_socket, self.door_socket, self.rescue_socket, self.relay_socket, self.console_socket, self.life):
            listening.close()


def _hear(path: Path) -> socket.socket:
    """Where processes give signs of life; the kernel tells with each whose it is."""
    path.unlink(missing_ok=True)
    life = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    life.bind(os.fspath(path))
    path.chmod(0o600)
    life.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    life.setblocking(False)
    return life


def _heard(life: socket.socket) -> Iterator[int]:
    """The processes that gave a sign of life since the last look: pids."""
    with contextlib.suppress(BlockingIOError):
        while True:
            _said, others, _flags, _address = life.recvmsg(64, socket.CMSG_SPACE(CREDENTIALS.size))
            yield from (
                CREDENTIALS.unpack(data)[0] for level, kind, data in others if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS)
            )


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(os.fspath(path)) == 0


def _healthy(path: Path, address: str) -> bool:
    """Whether a web process answers on its socket."""
    connection = http.client.HTTPConnection("localhost", timeout=5)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(5)
    try:
        connection.sock.connect(os.fspath(path))
        connection.request("GET", address)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _engine_ticks(since: object) -> bool:
    row = catalog.Engine.get_or_none()
    return row is not None and row.seen_at > since


def welcome(settings: Settings, certificate: Path) -> None:
    """The last lines of a start: where to go."""
    port = "" if settings.https_port == 443 else f":{settings.https_port}"
    hosts = [settings.listen]
    if settings.listen in ("0.0.0.0", "::"):  # noqa: S104
        names = psutil.net_if_addrs()
        found = {
            a.address
            for name, addresses in names.items()
            for a in addresses
            if a.family is socket.AF_INET and name != f"{settings.network}-out"
        }
        hosts = sorted(found, key=lambda host: (host.startswith("127."), host))
    print_line()
    for host in hosts:
        print_line(f"  https://{host}{port}/")
    print_line()
    print_line(
        f"  The browser will warn that it does not know the certificate. Its SHA-256 fingerprint is\n  {tls.fingerprint(certificate)}"
    )
    if not setup.is_done():
        print_line(f"\n  Setup code: {(settings.state / 'setup-code').read_text().strip()}")
    print_line("\nThe appliance runs. Ctrl-C stops it; machines in use are kept as they are.")


def main() -> None:
    """Run until SIGINT, SIGTERM or SIGHUP."""
    os.umask(0o022)  # what is made for other users to read, they can read, whatever the shell that started us wants for its own files
    try:
        if os.geteuid() != 0:
            raise BadInput("The appliance needs root: it makes networks and machines.", "Run it with sudo, or as root.")
        settings = load_settings()
        ballast.give_for_start(settings)
        layout.prepare(settings)
        with alone(settings):
            if restore.finish(settings):
                settings = load_settings()
            check_host(settings)
            catalog.open(settings.catalog)
            certificate, _key = tls.ensure(settings)
            appliance = Appliance(settings)
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(signum, lambda *_: appliance.stopping.set())
            try:
                appliance.start()
                if not appliance.stopping.is_set():
                    welcome(settings, certificate)
                appliance.watch()
            finally:
                print_line("stopping ...")
                appliance.stop()
                print_line("stopped.")
            if restore.waits(settings) and not appliance.stopping.is_set():
                print_line("starting again, with what was restored ...")
                os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - settings and certificate may be others now
    except DpeError as error:
        print(f"\nThe appliance cannot start: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(
            f"\nThe appliance cannot start: there is no room at all on the disk with {settings.state}. Delete something there: "
            f"what is in {settings.cache} can be had again.",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
