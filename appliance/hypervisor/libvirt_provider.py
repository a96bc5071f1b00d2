"""Machines on the appliance's own libvirtd (see daemon.py)."""

import errno
import http.client
import logging
import os
import shutil
import time
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import libvirt
import psutil

from appliance import run
from appliance.errors import BadInput, CommandFailed, DpeError, NotFound, Unavailable
from appliance.hypervisor import agent, daemon, xml
from appliance.hypervisor.connection import Connection, ignoring
from appliance.hypervisor.network import Network
from appliance.hypervisor.provider import Executed, Found, HostFacts, MachineSpec, Power, Stats
from appliance.settings import Settings

log = logging.getLogger(__name__)

NETWORK_COMMAND = "/usr/lib/dpe/network"  # in every seed; see playbooks/roles/guest
LARGEST_LOG, KEPT_OF_LOG = 1 << 20, 64 << 10

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

    def watch(self, changed: Callable[[str], None]) -> None:
        self._connection.watch(changed)

    def close(self) -> None:
        self._connection.close()

    # -- looking ----------------------------------------------------------------------------

    def host(self) -> HostFacts:
        with self._connection.use() as connection:
            hypervisor = f"QEMU {_version(connection.getVersion())}, libvirt {_version(connection.getLibVersion())}"
        acceleration, reason = daemon.acceleration(self.settings)
        memory = psutil.virtual_memory()
        return HostFacts(
            acceleration=acceleration,
            reason=reason,
            hypervisor=hypervisor,
            cpus=os.cpu_count() or 1,
            memory=memory.total >> 20,
            memory_available=memory.available >> 20,
            disk_free=self._disk_free(),
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
            found.append(Found(domain.UUIDString(), domain.name(), power))
        return found

    def disks(self) -> Sequence[str]:
        return [entry.name for entry in os.scandir(self.settings.machines) if _is_id(entry.name)]

    def stats(self) -> Sequence[Stats]:
        flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        with self._connection.use() as connection:
            readings = connection.getAllDomainStats(_STATS, flags)
        for domain, _ in readings:
            _shorten(self._serial_log(domain.UUIDString()))
        return [_reading(domain.UUIDString(), values) for domain, values in readings]

    # -- making -----------------------------------------------------------------------------

    def clone(self, spec: MachineSpec) -> None:
        if spec.disk.exists():
            return
        if not spec.seed_disk.exists():
            raise Unavailable(f"The seed's disk {spec.seed_disk} is missing.", "Build a new seed of the class.")
        if self._disk_free() < self.settings.disk_reserve:
            raise self._disk_full(spec)
        fresh = spec.disk.with_suffix(".new")
        size = max(
            spec.disk_size << 30, _virtual_size(spec.seed_disk)
        )  # smaller than its seed, the disk would lack the end of its file system
        try:
            spec.disk.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            run.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", spec.seed_disk.resolve(), fresh, str(size)])
            shutil.chown(fresh, daemon.USER, daemon.USER)
            fresh.chmod(0o600)
            with fresh.open("rb") as file:
                os.fsync(file.fileno())  # else a power cut could leave the name without the content
            fresh.rename(spec.disk)
        except (CommandFailed, OSError) as error:
            if os.strerror(errno.ENOSPC) in str(error):
                raise self._disk_full(spec) from error
            raise Unavailable(f"The disk of {spec.name} could not be made: {error}") from error

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
            if domain is None or not domain.isActive():
                # Anew each time, because host and QEMU may have changed; a saved machine keeps what it was saved with.
                domain = connection.defineXML(xml.to_text(self._describe(spec, connection).to_xml()))
            self.network.admit(spec.id, spec.card)
            if not domain.isActive():
                self._power_on(domain)
            elif domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                domain.resume()

    def _power_on(self, domain: libvirt.virDomain) -> None:
        try:
            domain.create()
        except libvirt.libvirtError as error:
            if domain.isActive() or not domain.hasManagedSaveImage():
                raise
            log.warning("%s cannot be resumed and boots instead: %s", domain.name(), error)
            domain.createWithFlags(libvirt.VIR_DOMAIN_START_FORCE_BOOT)

    def _describe(self, spec: MachineSpec, connection: libvirt.virConnect) -> xml.Domain:
        kvm = daemon.acceleration(self.settings)[0] == "kvm"
        kind = "kvm" if kvm else "qemu"
        if not self._machine_type:
            # By its versioned name, so that a saved machine resumes on the very type it was made with.
            capabilities = ET.fromstring(connection.getDomainCapabilities(None, "x86_64", "q35", kind))  # noqa: S314  our own libvirtd's
            self._machine_type = capabilities.findtext("machine") or "q35"
        return xml.Domain(
            id=spec.id,
            name=spec.name,
            class_name=spec.class_name,
            kind=kind,
            machine=self._machine_type,
            cpu=xml.HostCpu() if kvm else xml.EmulatedCpu(),
            vcpus=spec.vcpus,
            memory=spec.memory,
            kernel=spec.boot.kernel,
            initrd=spec.boot.initrd,
            cmdline=spec.boot.cmdline,
            devices=(
                xml.Disk(spec.disk),
                xml.Interface(self.network.bridge, spec.card.mac, spec.card.tap),
                xml.Agent(),
                xml.Serial(self._serial_log(spec.id)),
                xml.Random(),
                xml.Balloon(),
            ),
        )

    def _serial_log(self, id: str) -> Path:
        return self.settings.machines / id / "serial.log"

    def wait(self, spec: MachineSpec, report: Callable[[str], None] | None = None) -> None:
        say = report or (lambda _text: None)
        deadline = time.monotonic() + spec.boot_timeout
        said = f"What it said is in {self._serial_log(spec.id)}."

        def until(ready: Callable[[], bool], pause: float, what: str, hint: str) -> None:
            def alive_and_ready() -> bool:
                with self._connection.use() as connection:
                    domain = _find(connection, spec.id)
                    if domain is None or not domain.isActive():
                        raise DpeError(f"{spec.name} went off before {what} answered.", said)
                return ready()

            if not self._connection.until(alive_and_ready, deadline, pause):
                raise Unavailable(f"{spec.name} runs, but {what} did not answer within {spec.boot_timeout} s.", f"{hint} {said}")

        say("waiting for its agent")
        until(lambda: self._agent_answers(spec.id), 2, "its guest agent", "Does the seed have qemu-guest-agent, and does it boot?")
        say("setting its address")
        card = spec.card
        command = [NETWORK_COMMAND, f"{card.address}/{card.prefix}", card.gateway]
        done = self.execute(spec.id, command, timeout=max(1, deadline - time.monotonic()))
        if done.status:
            raise DpeError(
                f"{spec.name} did not take its address {card.address}: {(done.error or done.output).strip()[-300:]}",
                f"Look at {NETWORK_COMMAND} in its seed. {said}",
            )
        say("waiting for its application")
        port, path = spec.application_port, spec.application_ready
        until(
            lambda: _answers_http(card.address, port, path),
            0.1,
            f"its application (http port {port}, {path})",
            "Are port and ready path of the class right, and does its service start?",
        )

    def _agent_answers(self, id: str) -> bool:
        with self._connection.use() as connection:
            return agent.answers(connection.lookupByUUIDString(id))

    def execute(self, id: str, command: Sequence[str], *, input: bytes = b"", timeout: float = 60) -> Executed:
        deadline = time.monotonic() + timeout
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(id)
            # Just after a resume it is away for a moment. What was sent to it is never sent twice.
            if not self._connection.until(lambda: not domain.isActive() or agent.connected(domain), deadline, 0.1):
                raise Unavailable(f"The guest agent of {domain.name()} is not there.", "Is the machine still booting?")
            return agent.execute(domain, command, input=input, deadline=deadline)

    # -- ending -----------------------------------------------------------------------------

    def save(self, id: str) -> None:
        with self._connection.use() as connection:
            domain = connection.lookupByUUIDString(id)
            if domain.isActive():
                domain.managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)

    def destroy(self, id: str) -> None:
        if not _is_id(id):
            raise BadInput(f"{id!r} is not the id of a machine.")
        folder = self.settings.machines / id
        with self._connection.use() as connection:
            domain = _find(connection, id)
            if domain is not None and domain.isActive():
                with ignoring(libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):  # it was quicker
                    domain.destroy()
            # The folder and the domain go after all else: by these a destroy that was cut off is found again.
            self.network.expel(id)
            if domain is not None:
                (self.settings.libvirt / "log/qemu" / f"{domain.name()}.log").unlink(missing_ok=True)
                flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
                with ignoring(libvirt.VIR_ERR_NO_DOMAIN):
                    domain.undefineFlags(flags)
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise Unavailable(f"The files of machine {id} could not be removed: {error}.", f"Look at {folder}.") from error


def _find(connection: libvirt.virConnect, id: str) -> libvirt.virDomain | None:
    try:
        return connection.lookupByUUIDString(id)
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INVALID_ARG):
            return None
        raise


def _is_id(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def _virtual_size(image: Path) -> int:
    """The size in bytes of the disk in a qcow2 image, from its header."""
    with image.open("rb") as file:
        header = file.read(32)
    if header[:4] != b"QFI\xfb":
        raise NotFound(f"{image} is not a qcow2 image.", "Build a new seed of the class.")
    return int.from_bytes(header[24:32], "big")


def _shorten(file: Path) -> None:
    """Keep a guest that writes without end to its serial port from filling the host's disk; QEMU goes on at the new end."""
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


def _reading(id: str, values: dict[str, Any]) -> Stats:
    def total(prefix: str, name: str) -> int:
        return sum(int(values.get(f"{prefix}.{index}.{name}", 0)) for index in range(values.get(f"{prefix}.count", 0)))

    memory = int(values.get("balloon.current", 0)) >> 10
    usable, available = values.get("balloon.usable"), values.get("balloon.available")
    # Only a guest without a balloon driver is judged by its resident size, which counts the emulator's own memory in.
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


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
