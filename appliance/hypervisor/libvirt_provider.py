"""Machines on the appliance's own libvirtd (see daemon.py).

One connection and one event-loop thread a process. While libvirtd is away every verb raises
Unavailable; the first one after it is back connects again. Nothing is ever concluded from its silence.
"""

import base64
import contextlib
import http.client
import json
import logging
import os
import pwd
import shutil
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import libvirt
import libvirt_qemu
import psutil

from appliance import run
from appliance.errors import CommandFailed, DpeError, Unavailable
from appliance.hypervisor import daemon, xml
from appliance.hypervisor.network import Network
from appliance.hypervisor.provider import Executed, Found, HostFacts, MachineSpec, Power, Stats
from appliance.settings import Settings

log = logging.getLogger(__name__)

# The model for emulation: numpy and its kind need x86-64-v2, and every feature more is slower to emulate.
EMULATED_CPU = "Nehalem"
NETWORK_COMMAND = "/usr/lib/dpe/network"
POLL = 0.1  # seconds between questions to something in a machine, which has no way to call us
LEAST_CLONE = 256  # MiB of disk without which not even a clone is begun

_STATES = {
    libvirt.VIR_DOMAIN_RUNNING: Power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: Power.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: Power.PAUSED,
    libvirt.VIR_DOMAIN_CRASHED: Power.CRASHED,
}
_AWAY = {
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_SYSTEM_ERROR,
    libvirt.VIR_ERR_RPC,
}
_STATS_GROUPS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)

_loop_started = threading.Event()
_loop_lock = threading.Lock()


def _start_event_loop() -> None:
    """libvirt wants the loop registered before the first connection, and once a process."""
    with _loop_lock:
        if _loop_started.is_set():
            return
        libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors come as exceptions; stderr need not have them too
        libvirt.virEventRegisterDefaultImpl()

        def loop() -> None:
            while True:
                libvirt.virEventRunDefaultImpl()

        threading.Thread(target=loop, name="libvirt-events", daemon=True).start()
        _loop_started.set()


class LibvirtProvider:
    """The Provider over our own libvirtd."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.network = Network(settings)
        self._connection: libvirt.virConnect | None = None
        self._lock = threading.RLock()
        self._watchers: list[Callable[[str], None]] = []
        self._machine = ""
        # Opening many QEMUs at once makes each slower than one after the other would be.
        self._starts = threading.Semaphore(max(2, settings.parallel))
        _start_event_loop()

    # -- the connection ---------------------------------------------------------------------

    @contextlib.contextmanager
    def _connected(self) -> Iterator[libvirt.virConnect]:
        """The connection, opened again if need be; libvirt's errors become ours."""
        try:
            connection = self._open()
            yield connection
        except libvirt.libvirtError as error:
            code = error.get_error_code()
            if code in _AWAY and not self._answers():
                raise Unavailable(
                    f"The hypervisor (libvirtd) does not answer: {error.get_error_message() or error}.",
                    "Machines that run go on running. It is started again by itself; if not, look at libvirtd's log.",
                ) from error
            raise DpeError(f"The hypervisor refused: {error.get_error_message() or error}.", "Look at the machine's log.") from error

    def _open(self) -> libvirt.virConnect:
        with self._lock:
            if self._connection is not None and self._connection.isAlive():
                return self._connection
            self._drop()
            connection = libvirt.open(daemon.uri(self.settings))
            connection.setKeepAlive(5, 3)
            connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._changed, None)
            self._connection = connection
            return connection

    def _answers(self) -> bool:
        with self._lock:
            try:
                if self._connection is not None and self._connection.isAlive():
                    self._connection.getLibVersion()
                    return True
            except libvirt.libvirtError:
                pass
            self._drop()
            return False

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(libvirt.libvirtError):
                self._connection.close()
            self._connection = None

    def _changed(self, _connection: libvirt.virConnect, domain: libvirt.virDomain, _event: int, _detail: int, _opaque: object) -> None:
        for watcher in self._watchers:
            watcher(domain.UUIDString())

    def watch(self, changed: Callable[[str], None]) -> None:
        self._watchers.append(changed)

    def close(self) -> None:
        with self._lock:
            self._drop()

    # -- looking ----------------------------------------------------------------------------

    def host(self) -> HostFacts:
        with self._connected() as connection:
            version = connection.getVersion()
            lib = connection.getLibVersion()
        accelerated, reason = daemon.acceleration(self.settings)
        memory = psutil.virtual_memory()
        self.settings.machines.mkdir(parents=True, exist_ok=True)
        return HostFacts(
            acceleration=accelerated,
            reason=reason,
            hypervisor=f"QEMU {_version(version)}, libvirt {_version(lib)}",
            cpus=os.cpu_count() or 1,
            memory=memory.total >> 20,
            memory_available=memory.available >> 20,
            disk_free=self._disk_free(),
        )

    def _disk_free(self) -> int:
        return shutil.disk_usage(self.settings.machines).free >> 20

    def list(self) -> Sequence[Found]:
        with self._connected() as connection:
            found = []
            for record in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0):
                domain, stats = record
                power = _STATES.get(stats.get("state.state"), Power.OFF)
                if power is Power.OFF and _saved(domain):
                    power = Power.SAVED
                found.append(Found(domain.UUIDString(), domain.name(), power))
            return found

    def disks(self) -> Sequence[str]:
        try:
            return [entry.name for entry in os.scandir(self.settings.machines) if entry.is_dir()]
        except FileNotFoundError:
            return []

    def stats(self) -> Sequence[Stats]:
        with self._connected() as connection:
            readings = connection.getAllDomainStats(_STATS_GROUPS, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE)
            return [_reading(domain.UUIDString(), values) for domain, values in readings]

    # -- making -----------------------------------------------------------------------------

    def clone(self, spec: MachineSpec) -> None:
        folder = spec.disk.parent
        if spec.disk.exists():
            return
        if not spec.seed_disk.exists():
            raise DpeError(f"The seed's disk {spec.seed_disk} is missing.", "Build the seed again.")
        if self._disk_free() < max(LEAST_CLONE, self.settings.disk_reserve):
            raise Unavailable(
                f"The disk is full: {self._disk_free()} MiB are free, and {max(LEAST_CLONE, self.settings.disk_reserve)} MiB are kept back.",
                "Give machines back, delete old seeds, or give the appliance a larger disk.",
            )
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        fresh = spec.disk.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        backing = ["-b", str(spec.seed_disk.resolve()), "-F", "qcow2"]
        try:
            run.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, "-o", "lazy_refcounts=on", fresh, f"{spec.disk_size}G"])
        except CommandFailed as error:
            fresh.unlink(missing_ok=True)
            raise Unavailable(f"The machine's disk could not be made: {error.output}", "Look whether the disk is full.") from error
        user = pwd.getpwnam(daemon.USER)
        os.chown(fresh, user.pw_uid, user.pw_gid)
        fresh.chmod(0o600)
        fresh.rename(spec.disk)

    def start(self, spec: MachineSpec) -> None:
        with self._starts, self._connected() as connection:
            domain = self._lookup(connection, spec.id)
            if domain is None:
                domain = connection.defineXML(xml.to_text(self.describe(spec).to_xml()))
            state = domain.state()[0]
            if state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED):
                self.network.admit(spec.card)
                return
            self.network.admit(spec.card)
            if state == libvirt.VIR_DOMAIN_PAUSED:
                domain.resume()
                return
            try:
                domain.create()
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:  # somebody else started it
                    return
                raise

    def describe(self, spec: MachineSpec) -> xml.Domain:
        """The domain that a spec becomes on this host."""
        kvm = daemon.acceleration(self.settings)[0] == "kvm"
        return xml.Domain(
            id=spec.id,
            name=spec.name,
            class_name=spec.class_name,
            kind="kvm" if kvm else "qemu",
            machine=self._machine_type(),
            cpu="host" if kvm else EMULATED_CPU,
            vcpus=spec.vcpus,
            memory=spec.memory,
            kernel=spec.boot.kernel,
            initrd=spec.boot.initrd,
            cmdline=spec.boot.cmdline,
            devices=(
                xml.Disk(spec.disk),
                xml.Interface(self.network.bridge, spec.card.mac, spec.card.tap),
                xml.Agent(),
                xml.Serial(spec.disk.parent / "serial.log"),
                xml.Random(),
                xml.Balloon(),
            ),
        )

    def _machine_type(self) -> str:
        """The newest q35 of this QEMU, by its versioned name: a saved machine resumes on the very type it was made with."""
        if not self._machine:
            kind = "kvm" if daemon.acceleration(self.settings)[0] == "kvm" else "qemu"
            with self._connected() as connection:
                text = connection.getDomainCapabilities(None, "x86_64", "q35", kind)
            found = ET.fromstring(text).findtext("machine")  # noqa: S314  it comes from our own libvirtd
            assert found
            self._machine = found
        return self._machine

    def wait(self, spec: MachineSpec, report: Callable[[str], None] | None = None) -> None:
        say = report or (lambda _text: None)
        deadline = time.monotonic() + spec.boot_timeout
        say("waiting for its agent")
        self._until(
            spec,
            deadline,
            lambda: self._ping(spec.id),
            "its guest agent did not answer",
            "Look at the seed: is qemu-guest-agent in it and started?",
        )
        say("setting its address")
        card = spec.card
        done = self.execute(
            spec.id, [NETWORK_COMMAND, f"{card.address}/{card.prefix}", card.gateway], timeout=max(5, deadline - time.monotonic())
        )
        if done.status:
            raise DpeError(f"{spec.name} did not take its address: {done.error.strip()[-300:]}", f"Look at {NETWORK_COMMAND} in its seed.")
        say("waiting for its application")
        self._until(
            spec,
            deadline,
            lambda: _answers_http(card.address, spec.application_port, spec.application_ready),
            f"its application did not answer on port {spec.application_port}",
            "Look at the class's application: its port, its ready path, and the service in the seed.",
        )
        say("")

    def _until(self, spec: MachineSpec, deadline: float, ready: Callable[[], bool], failure: str, hint: str) -> None:
        """Ask until it is so; a machine that died meanwhile is told at once."""
        checked = time.monotonic()
        while not ready():
            moment = time.monotonic()
            if moment > deadline:
                raise Unavailable(f"{spec.name}: {failure} within {spec.boot_timeout} s.", hint)
            if moment - checked > 1:
                checked = moment
                with self._connected() as connection:
                    domain = self._lookup(connection, spec.id)
                    if domain is None or not domain.isActive():
                        raise DpeError(f"{spec.name} went off while it was starting.", f"Look at {spec.disk.parent / 'serial.log'}.")
            time.sleep(POLL)

    def _ping(self, id: str) -> bool:
        try:
            self._agent(id, "guest-ping", timeout=2)
        except libvirt.libvirtError:
            return False
        return True

    def _agent(self, id: str, command: str, *, timeout: float, **arguments: Any) -> Any:
        """One command to a machine's agent. Raises libvirtError when it does not answer in time."""
        connection = self._open()
        text = json.dumps({"execute": command, "arguments": arguments} if arguments else {"execute": command})
        answer = libvirt_qemu.qemuAgentCommand(connection.lookupByUUIDString(id), text, max(1, int(timeout)), 0)
        return json.loads(answer).get("return")

    def execute(self, id: str, command: Sequence[str], *, input: bytes = b"", timeout: float = 60) -> Executed:
        deadline = time.monotonic() + timeout
        arguments: dict[str, Any] = {"path": command[0], "arg": list(command[1:]), "capture-output": True}
        if input:
            arguments["input-data"] = base64.b64encode(input).decode()
        with self._connected():
            pid = self._patient(deadline, lambda: self._agent(id, "guest-exec", timeout=min(10, timeout), **arguments))["pid"]
            pause = 0.02
            while True:
                status = self._agent(id, "guest-exec-status", timeout=10, pid=pid)
                if status["exited"]:
                    break
                if time.monotonic() > deadline:
                    raise Unavailable(f"{command[0]} in the machine did not end within {timeout:.0f} s.", "Look at the machine's load.")
                time.sleep(pause)
                pause = min(pause * 1.5, 0.25)
        return Executed(status.get("exitcode", -1), _decoded(status, "out-data"), _decoded(status, "err-data"))

    def _patient(self, deadline: float, ask: Callable[[], Any]) -> Any:
        """Right after a resume the agent's channel is not connected for some tens of milliseconds."""
        while True:
            try:
                return ask()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_AGENT_UNRESPONSIVE or time.monotonic() > deadline:
                    raise
                time.sleep(POLL)

    # -- ending -----------------------------------------------------------------------------

    def save(self, id: str) -> None:
        with self._connected() as connection:
            domain = self._lookup(connection, id)
            if domain is not None and domain.isActive():
                domain.managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)

    def destroy(self, id: str) -> None:
        taps: set[str] = set()
        with self._connected() as connection:
            domain = self._lookup(connection, id)
            if domain is not None:
                taps = _taps(domain)
                with _tolerating(libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):
                    if domain.isActive():
                        domain.destroy()
                with _tolerating(libvirt.VIR_ERR_NO_DOMAIN):
                    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
        self._expel(taps)
        shutil.rmtree(self.settings.machines / id, ignore_errors=True)
        if (self.settings.machines / id).exists():
            raise DpeError(f"The files of machine {id} could not be removed.", f"Look at {self.settings.machines / id}.")

    def _expel(self, taps: set[str]) -> None:
        """Forget these taps, and any that an interrupted destroy left: admitted, but neither defined nor there."""
        admitted = self.network.admitted()
        if not admitted:
            return
        with self._connected() as connection:
            known = {tap for domain in connection.listAllDomains() for tap in _taps(domain)}
        # start() defines the domain before it admits the card, so an admitted tap without a domain is a leftover.
        if gone := (taps | admitted) - known:
            self.network.expel(gone)

    def _lookup(self, connection: libvirt.virConnect, id: str) -> libvirt.virDomain | None:
        try:
            return connection.lookupByUUIDString(id)
        except libvirt.libvirtError as error:
            if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INVALID_ARG):
                return None
            raise


@contextlib.contextmanager
def _tolerating(*codes: int) -> Iterator[None]:
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() not in codes:
            raise


def _saved(domain: libvirt.virDomain) -> bool:
    saved = False
    with _tolerating(libvirt.VIR_ERR_NO_DOMAIN):
        saved = bool(domain.hasManagedSaveImage())
    return saved


def _taps(domain: libvirt.virDomain) -> set[str]:
    taps: set[str] = set()
    with _tolerating(libvirt.VIR_ERR_NO_DOMAIN):
        described = ET.fromstring(domain.XMLDesc())  # noqa: S314  it comes from our own libvirtd
        taps = {target.get("dev", "") for target in described.iterfind("devices/interface/target")} - {""}
    return taps


def _reading(id: str, values: dict[str, Any]) -> Stats:
    def total(prefix: str, *names: str) -> int:
        count = values.get(f"{prefix}.count", 0)
        return sum(int(values.get(f"{prefix}.{index}.{name}", 0)) for index in range(count) for name in names)

    memory = int(values.get("balloon.current", 0)) >> 10
    usable, available = values.get("balloon.usable"), values.get("balloon.available")
    # The resident size counts the emulator's own memory in; only a guest without a balloon driver is judged by it.
    resident = min(int(values.get("balloon.rss", 0)) >> 10, memory)
    used = resident if usable is None or available is None else (int(available) - int(usable)) >> 10
    return Stats(
        id=id,
        cpu_ns=int(values.get("cpu.time", 0)),
        vcpus=int(values.get("vcpu.current", 1)),
        memory=memory,
        memory_used=used,
        disk_read=total("block", "rd.bytes"),
        disk_written=total("block", "wr.bytes"),
        net_received=total("net", "rx.bytes"),
        net_sent=total("net", "tx.bytes"),
    )


def _answers_http(address: str, port: int, path: str) -> bool:
    """Whether the application answers a GET with any status below 500."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _decoded(status: dict[str, Any], name: str) -> str:
    return base64.b64decode(status.get(name, "")).decode(errors="replace")


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
