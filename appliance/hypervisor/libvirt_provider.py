"""Machines on the appliance's own libvirtd (see daemon.py)."""

import contextlib
import errno
import hashlib
import http.client
import logging
import os
import re
import secrets
import shutil
import socket
import time
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import libvirt
import psutil

from appliance import durable, qcow2, run
from appliance.errors import BadInput, CommandFailed, Conflict, DpeError, NotFound, Unavailable
from appliance.hypervisor import agent, daemon, disks, monitor, snapshot, xml
from appliance.hypervisor.connection import Connection, ignoring
from appliance.hypervisor.memory import Gauge, Taken
from appliance.hypervisor.network import Network
from appliance.hypervisor.provider import Boot, Executed, Found, GuestSigns, HostFacts, MachineSpec, NoData, Power, Remains, Stats
from appliance.paths import below
from appliance.settings import Settings

log = logging.getLogger(__name__)

# In every seed; see playbooks/roles/guest.
PERSONALISE_COMMAND = "/usr/lib/dpe/personalise"
STILL_COMMAND = "/usr/lib/dpe/still"
DATA_COMMAND = "/usr/lib/dpe/data"
DATA_IS_NOT_OURS = 65  # its status, and then personalise's, when what is on the disk cannot be mounted
DATA_FOLDER = "/data"  # where a machine has its data disk
SHUT_DOWN = ("systemctl", "--no-block", "poweroff")
LETS_GO_WITHIN = 120  # seconds for a machine to let go of a disk or a card, on a host without virtualisation
SLOW = 1.5  # seconds that telling a machine the time may take before its clock is looked at
CLOSE = 0.5  # seconds that it may be wrong then
TELLINGS = 3  # times that it is told again at most
LOOK_EVERY = 0.5  # seconds between looks at whether a command in a machine has failed
IDLE = 0.1  # of one processor, over a second: what a guest that waits uses under emulation
BUSY_AT_MOST = 60  # seconds for a guest to become idle before its snapshot is taken as it is
AT_WORK = 0.3  # of one processor, on average: what a guest that is still coming up uses at least
LONGER = 10  # times its boot_timeout that it is given then on a server without virtualisation, which may be that much slower
READ_ONLY_MEMORY = 8_002_000  # the QEMU that first took a read-only file for private memory
NOT_MEASURED = Taken(0, 0)
QEMUS = disks.Owner(daemon.USER, 0o600)
OVERHEAD = 64  # MiB that QEMU needs beside a machine's memory
LARGEST_LOG, KEPT_OF_LOG = 1 << 20, 64 << 10

_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_POWER = {
    libvirt.VIR_DOMAIN_RUNNING: Power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: Power.RUNNING,
    libvirt.VIR_DOMAIN_SHUTDOWN: Power.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: Power.PAUSED,
    libvirt.VIR_DOMAIN_CRASHED: Power.CRASHED,
}
# Named one by one: asking for all of them takes seconds just after several guests have started.
_STATS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)


class LibvirtProvider:
    """The Provider over our own libvirtd; may be used from many threads at once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.network = Network(settings)
        self._connection = Connection(daemon.uri(settings))
        self._machine_type = ""
        self._cpu = ""
        self._memory = Gauge()

    def watch(self, changed: Callable[[str], None]) -> None:
        self._connection.watch(changed)

    def close(self) -> None:
        self._connection.close()

    # -- looking ----------------------------------------------------------------------------

    def host(self) -> HostFacts:
        with self._connection.use() as connection:
            hypervisor = f"QEMU {_version(connection.getVersion())}, libvirt {_version(connection.getLibVersion())}"
        acceleration, reason = daemon.acceleration(self.settings)
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        return HostFacts(
            acceleration=acceleration,
            reason=reason,
            hypervisor=hypervisor,
            cpus=os.cpu_count() or 1,
            memory=memory.total >> 20,
            memory_available=memory.available >> 20,
            disk_free=self._disk_free(),
            disk=shutil.disk_usage(self.settings.machines).total >> 20,
            swap=swap.total >> 20,
            swap_used=swap.used >> 20,
            overhead=OVERHEAD + (xml.TRANSLATED if acceleration == "emulation" else 0),
        )

    def list(self) -> Sequence[Found]:
        with self._connection.use() as connection:
            states = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0)
        saved = {file.stem for file in (self.settings.libvirt / "lib/qemu/save").glob("*.save")}  # libvirt would be asked for each
        found = []
        for domain, values in states:
            power = _POWER.get(values["state.state"], Power.OFF)
            if power is Power.OFF and domain.name() in saved:
                power = Power.SAVED
            stalled = power is Power.PAUSED and values.get("state.reason") == libvirt.VIR_DOMAIN_PAUSED_IOERROR
            found.append(Found(domain.UUIDString(), domain.name(), power, stalled))
        return found

    def disks(self) -> Sequence[str]:
        return [entry.name for entry in os.scandir(self.settings.machines) if _is_id(entry.name)]

    def stats(self) -> Sequence[Stats]:
        flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        with self._connection.use() as connection:
            readings = connection.getAllDomainStats(_STATS, flags)
        for domain, _ in readings:
            _shorten(self._serial_log(domain.UUIDString()))
            _shorten(self._log(domain.name()))
        folder = self.settings.libvirt / "run/qemu"
        taken = self._memory.look({domain.UUIDString(): folder / f"{domain.name()}.pid" for domain, _ in readings})
        return [_reading(domain.UUIDString(), values, taken.get(domain.UUIDString(), NOT_MEASURED)) for domain, values in readings]

    # -- making -----------------------------------------------------------------------------

    def clone(self, spec: MachineSpec) -> None:
        if spec.disk.exists():
            return
        if spec.kept is not None:
            self._copy_kept(spec, spec.kept)
            return
        if not spec.seed_disk.exists():
            raise Unavailable(f"The seed's disk {spec.seed_disk} is missing.", "Build a new seed of the class.")
        self._overlay(spec, spec.seed_disk)

    def _overlay(self, spec: MachineSpec, below: Path) -> None:
        """A disk that takes only what the machine writes, on top of another."""
        if self._disk_free() < self.settings.disk_reserve:
            raise self._disk_full(spec)
        fresh = spec.disk.with_suffix(".new")
        size = max(
            spec.disk_size << 30, disks.virtual_size(below, "Build a new seed of the class.", alone=False)
        )  # smaller than what is below, it would lack the end of the file system
        try:
            spec.disk.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            run.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", below.resolve(), fresh, str(size)])
            shutil.chown(fresh, daemon.USER, daemon.USER)
            fresh.chmod(0o600)
            durable.replace(fresh, spec.disk)
        except (CommandFailed, OSError) as error:
            if os.strerror(errno.ENOSPC) in str(error):
                raise self._disk_full(spec) from error
            raise Unavailable(f"The disk of {spec.name} could not be made: {error}") from error

    def _copy_kept(self, spec: MachineSpec, kept: Path) -> None:
        """The machine's disk from one that was kept, and beside it what it boots from: its seed may be gone, or have another kernel."""
        boot = disks.own_boot(kept)
        if boot is None or not kept.exists():
            raise Unavailable(f"The kept disk {kept} is missing.", "Its days may be over.")
        disks.make_room(self.settings.machines, self.settings.disk_reserve, kept)
        spec.disk.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        disks.give_boot(boot, spec.disk)
        disks.expand(kept, spec.disk, QEMUS, spec.disk_size << 30)

    def _disk_free(self) -> int:
        return shutil.disk_usage(self.settings.machines).free >> 20

    def _disk_full(self, spec: MachineSpec) -> Unavailable:
        return Unavailable(
            f"There is no room for the disk of {spec.name}: {self._disk_free()} MiB are free in {self.settings.machines},"
            f" of which {self.settings.disk_reserve} MiB are kept back.",
            "Give machines back, remove old seeds, or put the state on a larger disk.",
        )

    def start(self, spec: MachineSpec) -> None:
        with self._connection.use() as connection:
            domain = _find(connection, spec.id)
            if spec.data is not None and not (domain is not None and domain.isActive() and _has(domain, spec.data)):
                disks.claim(spec.data, spec.disk.parent)
                disks.check(spec.data)
            if domain is None or not domain.isActive():
                # Anew each time, because host and QEMU may have changed; a saved machine keeps what it was saved with.
                domain = connection.defineXML(xml.to_text(self._describe(spec, connection).to_xml()))
            self.network.admit(spec.id, spec.card)
            if not domain.isActive():
                self._power_on(domain)
            if spec.data is not None and not _has(domain, spec.data):
                self._take_other_away(domain, spec)
                self._attach(domain, spec.data)
            if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                domain.resume()

    def _take_other_away(self, domain: libvirt.virDomain, spec: MachineSpec) -> None:
        """A machine whose data disk was found to be of no use is given another one."""
        for file, target in _targets(domain).items():
            if target == xml.DATA_TARGET:
                self._unplug(domain, Path(file))
                disks.release(Path(file), spec.disk.parent)

    def _attach(self, domain: libvirt.virDomain, data: Path) -> None:
        try:
            domain.attachDeviceFlags(_data_xml(data), libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError:
            if not _has(domain, data):  # somebody else, who was quicker
                raise

    def _power_on(self, domain: libvirt.virDomain) -> None:
        try:
            domain.create()
        except libvirt.libvirtError as error:
            if domain.isActive() or not domain.hasManagedSaveImage():
                raise
            log.warning("%s cannot be resumed and boots instead: %s", domain.name(), error)
            domain.createWithFlags(libvirt.VIR_DOMAIN_START_FORCE_BOOT)

    def _describe(self, spec: MachineSpec, connection: libvirt.virConnect, memory: xml.MemoryFile | None = None) -> xml.Domain:
        """The machine; one whose memory is a file has its card and data disk plugged in afterwards."""
        boot = _boot(spec)
        kvm = daemon.acceleration(self.settings)[0] == "kvm"
        kind = "kvm" if kvm else "qemu"
        if not self._machine_type:
            # By its versioned name, so that a saved machine resumes on the very type it was made with.
            capabilities = ET.fromstring(connection.getDomainCapabilities(None, "x86_64", "q35", kind))  # noqa: S314  our own libvirtd's
            self._machine_type = capabilities.findtext("machine") or "q35"
            host_cpu = capabilities.find("cpu/mode[@name='host-model']")
            self._cpu = "" if host_cpu is None or not kvm else ET.tostring(host_cpu, encoding="unicode")
        return xml.Domain(
            id=spec.id,
            name=spec.name,
            class_name=spec.class_name,
            kind=kind,
            machine=self._machine_type,
            cpu=xml.HostCpu() if kvm else xml.EmulatedCpu(),
            vcpus=spec.vcpus,
            memory=spec.memory,
            kernel=boot.kernel,
            initrd=boot.initrd,
            cmdline=boot.cmdline,
            devices=(
                xml.Disk(spec.disk),
                *(() if memory else (self._card(spec),)),
                *(() if memory or spec.data is None else (xml.data_disk(spec.data, disks.serial(spec.data)),)),
                xml.Agent(),
                xml.Serial(self._serial_log(spec.id)),
                xml.Random(),
                xml.NoBalloon() if memory else xml.Balloon(),
            ),
            memory_file=memory,
        )

    def _card(self, spec: MachineSpec) -> xml.Interface:
        return xml.Interface(self.network.bridge, spec.card.mac, spec.card.tap)

    def _serial_log(self, id: str) -> Path:
        return self.settings.machine_folder(id) / "serial.log"

    def _log(self, name: str) -> Path:
        """What QEMU and libvirt say of a machine."""
        return below(self.settings.libvirt / "log/qemu", f"{name}.log")

    def _log_link(self, id: str) -> Path:
        """Leads to a fork's log, as libvirt forgets its name when it goes off."""
        return self.settings.machine_folder(id) / "qemu.log"

    # -- forking ----------------------------------------------------------------------------

    def boot_template(self, spec: MachineSpec, folder: Path) -> None:
        memory = folder / snapshot.MEMORY
        with self._connection.use() as connection:
            domain = _find(connection, spec.id)
            if domain is None or not domain.isActive():
                self._serial_log(spec.id).parent.mkdir(mode=0o711, exist_ok=True)
                self.clone(spec)
                with memory.open("wb") as file:
                    file.truncate(spec.memory << 20)
                shutil.chown(memory, daemon.USER, daemon.USER)
                described = self._describe(spec, connection, xml.MemoryFile(memory, shared=True, incoming=False))
                domain = connection.createXML(xml.to_text(described.to_xml()))
            if not _has_card(domain):  # nor has one whose engine was killed just now
                self._plug_in(domain, spec)

    def _plug_in(self, domain: libvirt.virDomain, spec: MachineSpec) -> None:
        self.network.admit(spec.id, spec.card)
        domain.attachDeviceFlags(xml.to_text(self._card(spec).to_xml()), libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def take_snapshot(self, spec: MachineSpec, folder: Path) -> None:
        with self._connection.use() as connection:
            _wait_until_idle(connection.lookupByUUIDString(spec.id))  # what it has left to do each fork would do again
        done = self.execute(spec.id, [STILL_COMMAND], timeout=spec.boot_timeout)
        if done.status:
            raise DpeError(
                f"{STILL_COMMAND} ended with status {done.status}: {(done.error or done.output).strip()[-300:]}",
                "Look at the seed's role guest.",
            )
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(spec.id)
            facts = self._facts(spec, connection)
            # Forks have cards of their own. Plugged in until now, it has left its driver warm in the memory that they share.
            domain.detachDeviceFlags(xml.to_text(self._card(spec).to_xml()), libvirt.VIR_DOMAIN_AFFECT_LIVE)
            if not self._connection.until(lambda: not _has_card(domain), time.monotonic() + LETS_GO_WITHIN, 0.1):
                raise Unavailable(f"{spec.name} does not let go of its network card.", "Does its kernel know how to unplug PCI devices?")
            _wait_until_idle(domain)
            read_only = _reads_only(connection)
            domain.suspend()
            monitor.keep_state(domain, self._socket(spec.id), folder / snapshot.STATE, daemon.USER)
        self.destroy(spec.id)
        for name in (snapshot.STATE, snapshot.DISK):
            shutil.chown(folder / name, 0, 0)
            (folder / name).chmod(0o444)
        # An older QEMU opens even what it maps privately for writing, and only then finds that it need not.
        group, mode = (0, 0o444) if read_only else (daemon.USER, 0o660)
        shutil.chown(folder / snapshot.MEMORY, 0, group)
        (folder / snapshot.MEMORY).chmod(mode)
        snapshot.keep(folder, facts)

    def _facts(self, spec: MachineSpec, connection: libvirt.virConnect) -> snapshot.Facts:
        """What a snapshot of such a machine depends on here and now."""
        anyone = replace(spec, id=str(uuid.UUID(int=0)), name="any", class_name="any", disk=Path("disk"))
        described = self._describe(anyone, connection, _forked_memory(Path("memory"), connection))
        told = xml.to_text(described.to_xml()) + self._cpu
        return snapshot.Facts(
            hypervisor=f"QEMU {_version(connection.getVersion())}",
            acceleration=described.kind,
            machine=described.machine,
            cpu=type(described.cpu).__name__ if not self._cpu else ET.fromstring(self._cpu).findtext("model", "host"),  # noqa: S314
            memory=spec.memory,
            domain=hashlib.sha256(told.encode()).hexdigest(),
        )

    def check_snapshot(self, spec: MachineSpec, folder: Path) -> None:
        with self._connection.use() as connection:
            snapshot.check(folder, self._facts(spec, connection), self.settings.run / "verified")

    def fork(self, spec: MachineSpec) -> None:
        assert spec.snapshot is not None
        try:
            self.check_snapshot(spec, spec.snapshot)
            with self._connection.use() as connection:
                if _find(connection, spec.id) is not None or spec.disk.parent.exists():
                    self.destroy(spec.id)
                self._overlay(spec, spec.snapshot / snapshot.DISK)
                self._log_link(spec.id).symlink_to(self._log(spec.name))
                described = self._describe(spec, connection, _forked_memory(spec.snapshot / snapshot.MEMORY, connection))
                domain = connection.createXML(xml.to_text(described.to_xml()), libvirt.VIR_DOMAIN_START_PAUSED)
                monitor.load_state(domain, self._socket(spec.id), (spec.snapshot / snapshot.STATE).read_bytes())
                self._plug_in(domain, spec)
        except (DpeError, OSError) as error:
            with contextlib.suppress(DpeError):
                self.destroy(spec.id)
            if isinstance(error, OSError):
                raise Unavailable(f"{spec.name} could not be forked: {error}") from error
            raise

    def _socket(self, id: str) -> Path:
        """For a machine's device state, in a folder where QEMU may make it. Its name is short, as those of sockets must be."""
        folder = self.settings.run / "fork"
        folder.mkdir(mode=0o700, exist_ok=True)
        shutil.chown(folder, daemon.USER, daemon.USER)
        return below(folder, id[:13])

    def suspend(self, id: str) -> None:
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(id)
            if domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
                domain.suspend()

    # -- reaching into it -------------------------------------------------------------------

    def wait(
        self,
        spec: MachineSpec,
        report: Callable[[str], None] | None = None,
        *,
        personalise: bytes = b"",
        given_up: Callable[[], bool] | None = None,
    ) -> None:
        asked_at = time.monotonic()
        say = report or (lambda _text: None)
        times = LONGER if daemon.acceleration(self.settings)[0] == "emulation" else 1
        patience = _Patience(lambda: self._used(spec.id), spec.boot_timeout, times)
        said = f"What it said is in {self._serial_log(spec.id)}."

        def until(ready: Callable[[], bool], pause: float, what: str, hint: str) -> None:
            def alive_and_ready() -> bool:
                nonlocal asked_at
                if given_up is not None and time.monotonic() - asked_at > 1:
                    asked_at = time.monotonic()
                    if given_up():
                        raise Conflict(f"{spec.name} is not wanted any more.")
                with self._connection.use() as connection:
                    domain = _find(connection, spec.id)
                    if domain is None or not domain.isActive():
                        raise DpeError(f"{spec.name} went off before {what} answered.", said)
                return ready()

            while not self._connection.until(alive_and_ready, patience.deadline, pause):
                if not patience.renewed():
                    raise Unavailable(f"{spec.name} runs, but {what} did not answer within {patience.waited:.0f} s.", f"{hint} {said}")

        say("waiting for its agent")
        until(lambda: self._agent_connected(spec.id), 2, "its guest agent", "Does the seed have qemu-guest-agent, and does it boot?")
        say("giving it its name and address")
        told_at = time.monotonic()
        personalising = self._begin(spec, personalise, patience.deadline - told_at)
        address, port, path = spec.card.address, spec.application_port, spec.application_ready
        looked_at = time.monotonic()

        def answers() -> bool:
            """The address comes last in personalising, so that a machine that answers there is itself; looking there costs it nothing."""
            nonlocal looked_at
            if _answers_http(address, port, path, time.monotonic() - told_at):
                return True
            if not personalising.over and time.monotonic() - looked_at > LOOK_EVERY:
                looked_at = time.monotonic()
                if personalising.is_over():
                    say("waiting for its application")
            return False

        until(
            answers,
            0.02,
            f"its application (http port {port}, {path})",
            "Are port and ready path of the class right, and does its service start?",
        )
        self._connection.until(personalising.is_over, patience.deadline + 1, 0.02)
        if time.monotonic() - told_at > SLOW:
            self._correct_clock(spec.id)

    def _used(self, id: str) -> float:
        """Seconds of a processor that a machine has used since it was switched on; 0 for one that is off."""
        with self._connection.use() as connection:
            domain = _find(connection, id)
            return 0.0 if domain is None else float(domain.info()[4]) / 1e9

    def _correct_clock(self, id: str) -> None:
        """On a host that has more to do than it can, a machine may have read the time long after it was written. Its agent is quicker."""
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(id)
            for _ in range(TELLINGS):
                before = time.time()
                try:
                    told: Any = domain.getTime()
                except libvirt.libvirtError:
                    continue  # its agent has not answered in time
                clock = told["seconds"] + told["nseconds"] / 1e9
                if before - CLOSE < clock < time.time() + CLOSE:
                    return
                seconds, rest = divmod(time.time(), 1)
                right: Any = {"seconds": int(seconds), "nseconds": int(rest * 1e9)}
                # An error may mean that it has set the clock, and found no hardware clock to set besides: the next look tells.
                with contextlib.suppress(libvirt.libvirtError):
                    domain.setTime(right)

    def _begin(self, spec: MachineSpec, personalise: bytes, within: float) -> "_Personalising":
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(spec.id)
            agent.be_patient(domain)
            begun = agent.begin(
                domain, [PERSONALISE_COMMAND], input=_identity(spec) + personalise, within=max(within, agent.ANSWERS_WITHIN)
            )
            return _Personalising(self, spec, begun)

    def _agent_connected(self, id: str) -> bool:
        with self._connection.use() as connection:
            return agent.connected(connection.lookupByUUIDString(id))

    def ended(self, id: str, pid: int) -> Executed | None:
        """See agent.ended."""
        with self._connection.use() as connection:
            return agent.ended(connection.lookupByUUIDString(id), pid)

    def execute(self, id: str, command: Sequence[str], *, input: bytes = b"", timeout: float = 60) -> Executed:
        deadline = time.monotonic() + timeout
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(id)
            # Just after a resume it is away for a moment. What was sent to it is never sent twice.
            if not self._connection.until(lambda: not domain.isActive() or agent.connected(domain), deadline, 0.1):
                raise Unavailable(f"The guest agent of {domain.name()} is not there.", "Is the machine still booting?")
            return agent.execute(domain, command, input=input, deadline=deadline)

    def signs(self, id: str, *, timeout: float = 10) -> GuestSigns:
        deadline = time.monotonic() + timeout
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(id)
            if not domain.isActive() or domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING or not agent.connected(domain):
                raise Unavailable(f"The guest agent of {domain.name()} is not there.", "Is the machine running?")
            with agent.hurried(domain, timeout):
                return agent.signs(domain, deadline=deadline, within=timeout)

    # -- ending -----------------------------------------------------------------------------

    def save(self, id: str) -> None:
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(id)
            if domain.isActive():
                _lasting(domain, connection).managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)

    def stop(self, id: str, *, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        with self._connection.use() as connection:
            domain = _find(connection, id)
            if domain is None:
                if not self.settings.machine_folder(id).exists():
                    raise NotFound(f"The hypervisor has no machine {id}.")
                return  # a fork that went off by itself
            if not domain.isActive():
                if not domain.hasManagedSaveImage():
                    return
                self._power_on(domain)
            domain = _lasting(domain, connection)
            if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                domain.resume()
            self._ask_to_shut_down(domain, deadline)
            if not self._connection.until(lambda: not domain.isActive(), deadline, 5):
                log.warning("%s has not shut down within %.0f s and is switched off", domain.name(), timeout)
                with ignoring(libvirt.VIR_ERR_OPERATION_INVALID):  # it was quicker
                    domain.destroy()

    def _ask_to_shut_down(self, domain: libvirt.virDomain, deadline: float) -> None:
        """Through its agent, which is surer than its power button: a machine without people at its console minds none."""

        def is_off_or_listens() -> bool:
            return not domain.isActive() or agent.connected(domain)

        patience = (deadline - time.monotonic()) / 3
        try:
            self._connection.until(is_off_or_listens, time.monotonic() + patience, 1)  # it may have been resumed just now
            with agent.hurried(domain, patience):
                agent.begin(domain, SHUT_DOWN, within=patience)
        except (libvirt.libvirtError, Unavailable) as error:
            if domain.isActive():
                log.info("the agent of %s takes no order to shut down: %s", domain.name(), error)
                domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)

    def destroy(self, id: str) -> None:
        if not _is_id(id):
            raise BadInput(f"{id!r} is not the id of a machine.")
        folder = self.settings.machine_folder(id)
        with self._connection.use() as connection:
            domain = _find(connection, id)
            if domain is not None:
                with ignoring(libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):  # it was quicker
                    if domain.isActive():
                        domain.destroy()
            # The folder and the domain go after all else: by these a destroy that was cut off is found again.
            self.network.expel(id)
            self._socket(id).unlink(missing_ok=True)
            if self._log_link(id).is_symlink():
                self._log_link(id).readlink().unlink(missing_ok=True)
            if domain is not None:
                self._log(domain.name()).unlink(missing_ok=True)
                flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
                with ignoring(libvirt.VIR_ERR_NO_DOMAIN):
                    domain.undefineFlags(flags)
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise Unavailable(f"The files of machine {id} could not be removed: {error}.", f"Look at {folder}.") from error

    # -- what nobody knows ------------------------------------------------------------------

    def examine(self, id: str) -> Remains:
        disk = self.settings.machine_folder(id) / "disk.qcow2"
        with self._connection.use() as connection:
            domain = _find(connection, id)
            described = None if domain is None else ET.fromstring(domain.XMLDesc())  # noqa: S314  our own libvirtd's
        files = [file.lstat() for file in disk.parent.rglob("*")] if disk.parent.is_dir() else []
        found = Remains(
            base=qcow2.backing(disk) if disk.exists() else "",
            bytes=sum(file.st_blocks * 512 for file in files),
            made=datetime.fromtimestamp(disk.parent.stat().st_ctime, UTC) if files else None,
        )
        if described is None:
            return found
        told = described.find(f"metadata/{{{xml.NAMESPACE}}}machine")
        tap = described.find("devices/interface/target")
        return replace(
            found,
            name=described.findtext("name", ""),
            class_name="" if told is None else told.get("class", ""),
            tap="" if tap is None else tap.get("dev", ""),
            vcpus=int(described.findtext("vcpu", "0")),
            memory=int(described.findtext("memory", "0")) >> 10,
        )

    def rest(self, id: str, *, memory: bool) -> None:
        with self._connection.use() as connection:
            domain = _find(connection, id)
            if domain is not None and domain.isActive():
                needed = domain.info()[1] >> 10
                if memory and self._disk_free() > self.settings.disk_reserve + needed:
                    self.save(id)
                elif memory:
                    self.stop(id)
                else:
                    _lasting(domain, connection).destroy()
        self.network.expel(id)

    # -- disks that outlive machines --------------------------------------------------------

    def make_data(self, path: Path, size: int) -> None:
        _below(path, self.settings.data)
        if not path.exists():
            disks.make_room(self.settings.data, self.settings.disk_reserve)
            disks.make(path, size, QEMUS)
        elif size << 30 > disks.virtual_size(path):
            self._grow_data(path, size << 30)

    def _grow_data(self, path: Path, size: int) -> None:
        folder = disks.holder(path)
        with self._connection.use() as connection:
            domain = None if folder is None else _find(connection, folder.name)
            if domain is not None and domain.isActive() and _has(domain, path):
                domain.blockResize(os.fspath(path), size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
            elif domain is not None and domain.hasManagedSaveImage():
                raise Conflict(f"The data disk {path.name} belongs to {domain.name()}, which is suspended.", "Resume the machine first.")
            else:
                disks.grow(path, size)

    def remove_data(self, path: Path) -> None:
        _below(path, self.settings.data)
        disks.remove(path)

    def detach_data(self, spec: MachineSpec) -> None:
        assert spec.data is not None
        with self._connection.use() as connection:
            domain = _find(connection, spec.id)
            if domain is not None and domain.hasManagedSaveImage():
                raise Conflict(f"{spec.name} is suspended.", "Resume or stop it first.")
            if domain is not None and domain.isActive() and _has(domain, spec.data):
                if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                    raise Conflict(f"{spec.name} is paused.", "Resume or stop it first.")
                self._unplug(domain, spec.data)
        disks.release(spec.data, spec.disk.parent)

    def _unplug(self, domain: libvirt.virDomain, data: Path) -> None:
        # It has nothing to unmount when it was never told of the disk, or was cut off here before.
        done = self.execute(domain.UUIDString(), ["/bin/sh", "-c", f"[ ! -e /etc/dpe/data ] || {DATA_COMMAND} away"])
        if done.status:
            raise Conflict(
                f"{domain.name()} is busy with its data disk: {done.error.strip()[-200:]}", "Close what uses it, or stop the machine."
            )
        domain.detachDeviceFlags(_data_xml(data), libvirt.VIR_DOMAIN_AFFECT_LIVE)
        if not self._connection.until(lambda: not domain.isActive() or not _has(domain, data), time.monotonic() + LETS_GO_WITHIN, 1):
            raise Unavailable(f"{domain.name()} does not let go of its data disk.", "Stop the machine.")

    def backup_data(self, source: Path, target: Path, id: str | None = None) -> None:
        if disks.has_copy(target):
            return
        disks.virtual_size(source)
        with disks.held(source), self._connection.use() as connection:
            domain = None if id is None else _find(connection, id)
            if domain is not None and domain.isActive() and _has(domain, source):
                disks.make_room(source.parent, self.settings.disk_reserve, source)
                disks.make_room(target.parent, self.settings.disk_reserve, source)
                part = disks.copying(source)
                try:
                    self._copy_out(domain, source, part)
                    disks.make_copy(part, target, source)
                finally:
                    part.unlink(missing_ok=True)
            else:
                disks.make_room(target.parent, self.settings.disk_reserve, source)
                disks.check(source)
                disks.make_copy(source, target, source)

    def _copy_out(self, domain: libvirt.virDomain, source: Path, part: Path) -> None:
        """Have the machine's QEMU write the disk, as it is now, to a file; the machine goes on writing meanwhile."""
        if domain.jobStats().get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP:  # of somebody who was killed over it
            try:
                domain.abortJob()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:  # it ended by itself just now
                    raise
            self._job_over(domain, LETS_GO_WITHIN)
        try:  # what programs have written, but the kernel not yet; then the copy is as after a power cut just now, which ext4 is made for
            self.execute(domain.UUIDString(), ["sync"], timeout=LETS_GO_WITHIN)
        except DpeError as error:
            log.warning("%s has not written all it has before its data disk is copied: %s", domain.name(), error)
        disks.blank(part, disks.virtual_size(source), QEMUS)
        targets = _targets(domain)
        wanted = xml.CopyOfDisk(targets.pop(os.fspath(source)), tuple(targets.values()), part)
        domain.backupBegin(xml.to_text(wanted.to_xml()), None, libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL)
        self._job_over(domain, disks.LONGEST)
        ended = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
        if ended.get("success") != 1:
            raise Unavailable(f"The data disk of {domain.name()} could not be copied: {ended.get('errmsg', 'it was interrupted')}.")

    def _job_over(self, domain: libvirt.virDomain, seconds: float) -> None:
        over = self._connection.until(lambda: domain.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE, time.monotonic() + seconds, 1)
        if not over:
            raise Unavailable(f"A job of {domain.name()} does not end.", "Look at libvirtd's log.")

    def restore_data(self, backup: Path, target: Path) -> None:
        _below(target, self.settings.data)
        if not target.exists():
            disks.make_room(target.parent, self.settings.disk_reserve, *([backup] if backup.exists() else []))
        disks.restore(backup, target, QEMUS)

    def remove_backup(self, backup: Path) -> None:
        disks.remove_copy(backup)

    def keep(self, spec: MachineSpec, target: Path) -> None:
        if target.exists():
            return
        with self._connection.use() as connection:
            domain = _find(connection, spec.id)
            if domain is not None and domain.isActive():
                raise Conflict(f"{spec.name} runs, so that its disk cannot be kept.", "Stop it first.")
        if not spec.disk.exists():
            raise NotFound(f"{spec.name} has no disk to be kept.")
        disks.make_room(target.parent, self.settings.disk_reserve, spec.disk)
        disks.give_boot(_boot(spec), target)
        disks.compress(spec.disk, target)

    def forget_kept(self, path: Path) -> None:
        _below(path, self.settings.kept)
        disks.remove_kept(path)


def _boot(spec: MachineSpec) -> Boot:
    """A machine that was made of a kept disk has its own."""
    return disks.own_boot(spec.disk) or spec.boot


def _below(path: Path, folder: Path) -> None:
    """Raise BadInput unless the file belongs into the folder: nothing else is ever made or removed in its name."""
    if path.parent != folder or path.suffix != ".qcow2":
        raise BadInput(f"{path} is not a disk in {folder}.")


def _targets(domain: libvirt.virDomain) -> dict[str, str]:
    """The name of each disk of a machine, as it runs or else is defined, by its file."""
    described = ET.fromstring(domain.XMLDesc())  # noqa: S314  our own libvirtd's
    found = {}
    for disk in described.findall("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        if source is not None and target is not None:
            found[source.get("file", "")] = target.get("dev", "")
    return found


def _has(domain: libvirt.virDomain, disk: Path) -> bool:
    return os.fspath(disk) in _targets(domain)


def _data_xml(path: Path) -> str:
    return xml.to_text(xml.data_disk(path, disks.serial(path)).to_xml())


def _lasting(domain: libvirt.virDomain, connection: libvirt.virConnect) -> libvirt.virDomain:
    """A fork has libvirt forget it when it goes off, unless it is defined before."""
    if domain.isPersistent():
        return domain
    return connection.defineXML(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))


def _find(connection: libvirt.virConnect, id: str) -> libvirt.virDomain | None:
    try:
        return connection.lookupByUUIDString(id)
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INVALID_ARG):
            return None
        raise


@dataclass
class _Personalising:
    """The command that gives a machine its name and address, under way in it."""

    provider: LibvirtProvider
    spec: MachineSpec
    pid: int
    over: bool = False

    def is_over(self) -> bool:
        """Whether it has ended. Raises DpeError when it failed."""
        if not self.over and (done := self.provider.ended(self.spec.id, self.pid)) is not None:
            self.over = True
            if done.status:
                raise (NoData if done.status == DATA_IS_NOT_OURS else DpeError)(
                    f"{self.spec.name} did not take its name and address {self.spec.card.address}:"
                    f" {(done.error or done.output).strip()[-300:]}",
                    f"Look at {PERSONALISE_COMMAND} in its seed. What it said is in {self.spec.disk.parent / 'serial.log'}.",
                )
        return self.over


def _identity(spec: MachineSpec) -> bytes:
    """What the machine's personalise command is told of the machine itself; the clock first, as it is right only when it is read."""
    card = spec.card
    lines = (
        f"time {time.time():.3f}",
        f"random {secrets.token_hex(32)}",
        f"machine_id {uuid.UUID(spec.id).hex}",
        f"hostname {spec.name}",
        f"address {card.address}/{card.prefix} {card.gateway}",
        *((f"data {disks.serial(spec.data)} {DATA_FOLDER}",) if spec.data else ()),
    )
    return ("\n".join(lines) + "\n").encode()


def _reads_only(connection: libvirt.virConnect) -> bool:
    """Whether a snapshot's memory is a file that QEMU cannot write to."""
    return bool(connection.getVersion() >= READ_ONLY_MEMORY)


def _forked_memory(file: Path, connection: libvirt.virConnect) -> xml.MemoryFile:
    return xml.MemoryFile(file, shared=False, incoming=True, read_only=_reads_only(connection))


class _Patience:
    """How long a machine is waited for: so many seconds, and while it is hard at work as many again, so many times in all: a slow host is no fault of it."""

    def __init__(self, used: Callable[[], float], seconds: float, times: int) -> None:
        self._used, self._seconds, self._times = used, seconds, times
        self._begun = self._looked_at = time.monotonic()
        self._used_before = used()
        self.deadline = self._begun + seconds

    @property
    def waited(self) -> float:
        """Seconds."""
        return time.monotonic() - self._begun

    def renewed(self) -> bool:
        """Whether it is worth waiting on; the deadline is a new one then."""
        now, used = time.monotonic(), self._used()
        at_work = used - self._used_before > AT_WORK * (now - self._looked_at)
        self._looked_at, self._used_before = now, used
        self.deadline = now + self._seconds
        return at_work and self.deadline <= self._begun + (self._times + 0.5) * self._seconds


def _has_card(domain: libvirt.virDomain) -> bool:
    return "<interface" in domain.XMLDesc()


def _wait_until_idle(domain: libvirt.virDomain) -> None:
    """Return when the guest has little to do, or will not stop. The hypervisor only counts processor time, so it has to be looked at now and then."""
    deadline = time.monotonic() + BUSY_AT_MOST
    before = domain.info()[4]
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        time.sleep(1)
        now = domain.info()[4]
        quiet = quiet + 1 if now - before < IDLE * 1e9 else 0
        before = now


def _is_id(name: str) -> bool:
    return _ID.fullmatch(name) is not None


def _shorten(file: Path) -> None:
    """Keep a guest that writes without end to its serial port, or has QEMU complain without end, from filling the host's disk; QEMU goes on at the new end."""
    try:
        if file.stat().st_size > LARGEST_LOG:
            with file.open("r+b") as open_file:
                open_file.seek(-KEPT_OF_LOG, os.SEEK_END)
                rest = open_file.read()
                open_file.seek(0)
                open_file.truncate()
                open_file.write(rest)
    except FileNotFoundError:
        pass


def _reading(id: str, values: dict[str, Any], taken: Taken) -> Stats:
    def total(prefix: str, name: str) -> int:
        return sum(int(values.get(f"{prefix}.{index}.{name}", 0)) for index in range(values.get(f"{prefix}.count", 0)))

    memory = int(values.get("balloon.current", 0)) >> 10
    usable, available = values.get("balloon.usable"), values.get("balloon.available")
    # A guest without a balloon, as forks are, is judged by its resident size, which counts the emulator's own memory in.
    resident = min(int(values.get("balloon.rss", 0)) >> 10, memory)
    return Stats(
        id=id,
        cpu_ns=int(values.get("cpu.time", 0)),
        vcpus=int(values.get("vcpu.current", 1)),
        memory=memory,
        memory_used=resident if usable is None or available is None else (int(available) - int(usable)) >> 10,
        disk_read=total("block", "rd.bytes"),
        disk_written=total("block", "wr.bytes"),
        net_received=total("net", "rx.bytes"),
        net_sent=total("net", "tx.bytes"),
        memory_private=taken.private,
        memory_shared=taken.shared,
    )


def _answers_http(address: str, port: int, path: str, waited: float) -> bool:
    """Whether the application answers a GET with any status below 500. A machine without its address yet is given up soon, to be asked again;
    the longer it has been waited for, the slower it may be, which is much within a machine without virtualisation."""
    soon = min(max(0.05, waited / 20), 1)
    try:
        # A lost first packet would be sent again only after a second.
        connected = socket.create_connection((address, port), timeout=soon)
    except OSError:
        return False
    connection = http.client.HTTPConnection(address, port)
    connection.sock = connected
    connected.settimeout(max(5, 20 * soon))
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
