"""The bootable image in QEMU, under emulation: an overlay of it, never the image itself, cut off from every network but ours."""

import base64
import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil

from appliance.run import Process, run, start

T = TypeVar("T")
GUEST_PORTS = (443, 9000, 9001, 9002)
DISK = "24G"
KEPT = "kept"
# No svm: machines inside are emulated, too. And not "max": with that, QEMU 7.2 loses every mount that kernel 6.12.117 makes.
CPU = "qemu64,-svm"
OVMF = Path("/usr/share/OVMF")
# What the test's lines of Python inside begin with.
PRELUDE = """import json
from appliance import catalog
from appliance.catalog import options  # which makes catalog.options known, too
from appliance.host.rpc.client import Client
from appliance.settings import load
settings = load()
"""
# A root shell for the test, on a serial port of its own. It is handed to systemd from outside; nothing of it is in the image.
SHELL_UNIT = """[Unit]
DefaultDependencies=no
After=systemd-tmpfiles-setup.service
[Service]
Type=idle
ExecStart=/bin/sh
Environment=PATH=/usr/sbin:/usr/bin TERM=dumb
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
TTYReset=yes
Restart=always
"""


def patience(seconds: float) -> float:
    """A machine that others use, too, is given longer: DPE_PATIENCE=3."""
    return seconds * float(os.environ.get("DPE_PATIENCE", "2"))


def wait_for(look: Callable[[], T | None], seconds: float, what: str) -> T:
    """What `look` returns as soon as that is something; fails after `seconds`."""
    deadline = time.monotonic() + patience(seconds)
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.25)
    raise AssertionError(f"{what} did not come within {patience(seconds):.0f} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Booted:
    """An appliance with its disk in `folder`; what is in `credentials` is handed to its systemd. May be stopped and started again."""

    def __init__(
        self,
        image: Path,
        folder: Path,
        *,
        firmware: str = "bios",
        memory: int = 2560,
        disk: str = DISK,
        disks: Sequence[Path] = (),
        credentials: dict[str, str] | None = None,
        shell: bool = True,
        like: Path | None = None,
    ) -> None:
        """`like` is the folder of one that was kept: this one goes on from there, but for its first start with other disks or firmware."""
        folder.mkdir(parents=True, exist_ok=True)
        self.goes_on = False
        if like:
            os.link(like / "base.img", folder / "base.img")
            run(["cp", "--sparse=always", like / "disk.qcow2", folder], timeout=600)
            self.goes_on = not disks
        self.folder, self.firmware, self.memory, self.disks = folder, firmware, memory, disks
        self.credentials = dict(credentials or {})
        if shell:
            self.credentials["systemd.extra-unit.test-shell.service"] = SHELL_UNIT
            self.credentials["systemd.unit-dropin.sysinit.target~test"] = "[Unit]\nWants=test-shell.service\n"
        self.disk, base = folder / "disk.qcow2", folder / "base.img"
        if not self.disk.exists():
            try:
                os.link(image, base)  # a build puts another file in the image's place; this one stays what it is
            except OSError:
                run(["cp", "--sparse=always", image, base], timeout=600)
            run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base.name, self.disk, disk])
        if firmware != "bios":
            shutil.copy(OVMF / ("OVMF_VARS_4M.ms.fd" if firmware == "secure" else "OVMF_VARS_4M.fd"), folder / "vars.fd")
        self.serial_log = folder / "serial.log"
        self.ports = {port: free_port() for port in GUEST_PORTS}
        self.process: Process | None = None
        self.console: socket.socket | None = None
        self.started_at = 0.0

    # -- life ----

    def start(self) -> "Booted":
        """Switch it on."""
        self.serial_log.unlink(missing_ok=True)
        self.console = None
        forwarded = "".join(f",hostfwd=tcp:127.0.0.1:{here}-:{there}" for there, here in self.ports.items())
        secure = self.firmware == "secure"
        machine = f"q35,accel=tcg,smm={'on' if secure else 'off'}"
        command: list[str | Path] = ["nice", "-n", "5", "qemu-system-x86_64", "-machine", machine, "-cpu", CPU, "-smp", "2"]
        command += ["-m", str(self.memory), "-display", "none", "-vga", "std", "-nodefaults", "-no-user-config"]
        command += ["-chardev", f"socket,id=s0,path={self.folder}/serial.sock,server=on,wait=off,logfile={self.serial_log}"]
        command += ["-serial", "chardev:s0"]
        command += ["-chardev", f"socket,id=s1,path={self.folder}/shell.sock,server=on,wait=off", "-serial", "chardev:s1"]
        command += ["-qmp", f"unix:{self.folder}/qmp.sock,server=on,wait=off"]
        command += ["-netdev", f"user,id=n0,restrict=on{forwarded}", "-device", "virtio-net-pci,netdev=n0"]
        command += ["-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r0"]
        for number, file in enumerate((self.disk, *self.disks)):
            command += ["-drive", f"file={file},if=none,id=d{number},format=qcow2,cache=writeback,discard=unmap"]
            command += ["-device", f"virtio-blk-pci,drive=d{number},serial=disk{number}{',bootindex=0' if not number else ''}"]
        if self.firmware != "bios":
            code = OVMF / ("OVMF_CODE_4M.secboot.fd" if secure else "OVMF_CODE_4M.fd")
            command += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"]
            command += ["-drive", f"if=pflash,unit=1,format=raw,file={self.folder}/vars.fd"]
        if secure:
            command += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        if self.goes_on:
            command += ["-loadvm", KEPT]
            self.goes_on = False
        for name, text in self.credentials.items():
            encoded = base64.b64encode(text.encode()).decode()
            command += ["-smbios", f"type=11,value=io.systemd.credential.binary:{name}={encoded}"]
        with (self.folder / "qemu.log").open("wb") as log:
            self.process = start(command, stdout=log.fileno(), stderr=log.fileno(), new_session=True)
        self.started_at = time.monotonic()
        wait_for(lambda: (self.folder / "qmp.sock").exists() or None, 10, "QEMU")
        return self

    def qmp(self, execute: str, **arguments: Any) -> Any:
        """One command to QEMU."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(patience(60))
            monitor.connect(os.fspath(self.folder / "qmp.sock"))
            lines = monitor.makefile("rw")
            lines.readline()
            for command in ({"execute": "qmp_capabilities"}, {"execute": execute, "arguments": arguments}):
                lines.write(json.dumps(command) + "\n")
                lines.flush()
                while "return" not in (answer := json.loads(lines.readline())):
                    assert "error" not in answer, answer
            return answer["return"]

    def seconds(self) -> float:
        """Since it was switched on."""
        return time.monotonic() - self.started_at

    def work(self) -> float:
        """Processor seconds that it has cost so far: unlike time, what else the machine does hardly changes them."""
        assert self.process is not None
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def keep(self) -> None:
        """Keep it in its folder as it is at this moment, and switch it off. Only with BIOS."""
        said = self.qmp("human-monitor-command", **{"command-line": f"savevm {KEPT}"})
        assert not said, said
        self.power_cut()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def power_cut(self) -> None:
        """Nothing is written any more from one moment to the next."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def shut_down(self, seconds: float = 120) -> None:
        """Press the power button and wait until it is off."""
        self.qmp("system_powerdown")
        self.wait_off(seconds)

    def wait_off(self, seconds: float = 120) -> None:
        assert self.process is not None
        self.process.wait(patience(seconds))

    def __enter__(self) -> "Booted":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.alive():
            self.power_cut()

    # -- what it shows ----

    def serial(self) -> str:
        """What it wrote on its serial console since it was switched on."""
        return self.serial_log.read_text(errors="replace") if self.serial_log.exists() else ""

    def wait_serial(self, pattern: str, seconds: float = 240) -> re.Match[str]:
        def look() -> re.Match[str] | None:
            assert self.alive(), (self.folder / "qemu.log").read_text()
            return re.search(pattern, self.serial())

        return wait_for(look, seconds, f"{pattern!r} on the serial console")

    def type(self, text: str) -> None:
        """Type on the serial console."""
        if self.console is None:
            # It stays open and is read: what QEMU cannot get rid of while somebody hangs up is missing in the log, too.
            self.console = socket.socket(socket.AF_UNIX)
            self.console.connect(os.fspath(self.folder / "serial.sock"))
            threading.Thread(target=_read_all, args=(self.console,), daemon=True).start()
        self.console.sendall(text.encode())

    def screenshot(self, file: Path) -> Path:
        """What its screen shows, as PNG."""
        self.qmp("screendump", filename=os.fspath(file), format="png")
        return file

    def setup_code(self, seconds: float = 240) -> str:
        """The setup code that the screen shows."""
        return self.wait_serial(r"[Ss]etup code\W+(?:\x1b\[[0-9;]*m)*([A-Z0-9]{4}(?:-[A-Z0-9]{4})*)", seconds).group(1)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.ports[443]}"

    def get(self, path: str = "/", timeout: float = 30) -> tuple[int, str]:
        """Status and text of a page, redirections not followed."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.ports[443], timeout=timeout, context=ssl._create_unverified_context())
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def wait_page(self, path: str = "/setup", seconds: float = 240) -> str:
        """The page at `path`, as soon as it comes."""

        def look() -> str | None:
            assert self.alive(), (self.folder / "qemu.log").read_text()
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, text = self.get(path)
                return text if status == 200 else None
            return None

        return wait_for(look, seconds, f"the page {path}")

    # -- inside ----

    def shell(self, command: str, seconds: float = 60) -> str:
        """What a command prints that root runs inside; fails when its status is not zero."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(patience(seconds))
            line.connect(os.fspath(self.folder / "shell.sock"))
            # The terminal shows what is typed: the marks are put together by printf, so that only what it prints matches.
            script = f"( {command}\n) >/run/test.out 2>&1; printf '\\nBE%s %s ' GIN $?; base64 -w0 /run/test.out; printf ' E%s\\n' ND\n"
            line.sendall(script.encode())
            got = b""
            while not (found := re.search(rb"BEGIN (\d+) (\S*) END", got)):
                piece = line.recv(65536)
                assert piece, "the shell inside is gone"
                got += piece
        output = base64.b64decode(found.group(2)).decode(errors="replace")
        assert found.group(1) == b"0", f"{command} ended with {found.group(1).decode()}: {output}"
        return output

    def wait_shell(self, seconds: float = 240) -> None:
        """Wait until commands can be run inside."""

        def look() -> bool | None:
            with contextlib.suppress(OSError, AssertionError), socket.socket(socket.AF_UNIX) as line:
                line.settimeout(patience(5))
                line.connect(os.fspath(self.folder / "shell.sock"))
                line.sendall(b"printf 'RE%s\\n' ADY\n")
                got = b""
                while b"READY" not in got:
                    got += line.recv(4096)
                return True
            return None

        wait_for(look, seconds, "the shell inside")

    def python(self, code: str, seconds: float = 120) -> Any:
        """What lines of Python print last, as JSON, run by root inside; `catalog`, not opened, `Client`, `json` and `settings` are there."""
        packed = base64.b64encode((PRELUDE + code).encode()).decode()
        command = f"set -a; . /etc/dpe/environment; cd /usr/lib/dpe && echo {packed} | base64 -d | .venv/bin/python -"
        return json.loads(self.shell(command, seconds).splitlines()[-1])

    def ask(self, verb: str, **args: Any) -> Any:
        """Use a verb of dpe-host, as the screen's menu does."""
        return self.python(f"print(json.dumps(Client(settings, 'the test').send({verb!r}, json.loads({json.dumps(args)!r}))))")

    def catalog(self, query: str) -> list[list[Any]]:
        """Rows of its catalog, read as it lies there."""
        source = f"import json, sqlite3; c = sqlite3.connect('file:/var/lib/dpe/catalog/catalog.db?mode=ro', uri=True, timeout=60); print(json.dumps(c.execute({query!r}).fetchall()))"
        rows: list[list[Any]] = json.loads(self.shell(f"/usr/bin/python3 -c {shlex.quote(source)}"))
        return rows

    def leftovers(self) -> set[str]:
        """What lies and runs inside of machines that the catalog does not know."""
        known = {id for (id,) in self.catalog("SELECT id FROM machine WHERE state <> 'retired'")}
        lying = self.shell("ls -A /var/lib/dpe/machines").split()
        running = self.shell("ps -ww -o args= -C qemu-system-x86_64 | grep -o 'uuid [0-9a-f-]*' | cut -d' ' -f2 || true").split()
        at_work = self.shell("ls -A /var/lib/dpe/work 2>/dev/null || true").split()
        return {*lying, *running, *at_work} - known - {"batch"}

    def memory_used(self) -> int:
        """MiB that everything takes which is not a machine, nor may be given up at any time."""
        memory = {line.split(":")[0]: int(line.split()[1]) for line in self.shell("cat /proc/meminfo").splitlines()}
        used = memory["MemTotal"] - sum(memory[name] for name in ("MemFree", "Buffers", "Cached", "SReclaimable")) + memory["Shmem"]
        machines = "for pid in $(pidof qemu-system-x86_64); do cat /proc/$pid/smaps_rollup; done | awk '/^Pss_(Anon|Shmem):/ { sum += $2 } END { print sum + 0 }'"
        return (used - int(self.shell(machines))) >> 10

    def wait_idle(self, seconds: float = 300) -> None:
        """Wait until its processors have had next to nothing to do for ten seconds."""
        busy = "awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 }' /proc/stat"

        def look() -> bool | None:
            before = int(self.shell(busy))
            time.sleep(10)
            return True if int(self.shell(busy)) - before < 400 else None  # hundredths of a second, of 2000

        wait_for(look, seconds, "idleness")


def _read_all(line: socket.socket) -> None:
    """Until the other side is gone."""
    with line, contextlib.suppress(OSError):
        while line.recv(65536):
            pass


def build(scenario: str, *arguments: str) -> Path:
    """Make an image with the builder and return it."""
    command = ["make", "--no-print-directory", "image", "UNDERSIZED=yes", f"SCENARIO={scenario}", *arguments]
    made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=3600)
    return Path(made.stdout.splitlines()[-1])
