"""Build a seed: run playbooks/seed.yml for a class, follow it, keep the result or explain the failure.

A build works in one folder, settings.state/work/<seed id>; what it made is moved to settings.seeds by
one rename at the very end. So a build that fails, is cancelled or dies with the engine leaves nothing
that could be taken for a seed, and may simply be repeated.
"""

import hashlib
import ipaddress
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.errors import DpeError, Unavailable
from appliance.hypervisor.provider import Boot, Card, MachineSpec
from appliance.paths import below, inside
from appliance.scenario.schema import ClassSpec
from appliance.seeds import recipe, sources, unsafe
from appliance.seeds.failure import explain
from appliance.seeds.follow import follow
from appliance.seeds.play import PLAYBOOKS
from appliance.settings import Settings, environment

CMDLINE = (
    "root=/dev/vda rootfstype=ext4 rw rootflags=noatime net.ifnames=0 console=tty0 console=ttyS0 quiet systemd.condition_needs_update=0"
)
BASE_PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "kmod", "iproute2", "e2fsprogs"),
    *("linux-image-cloud-amd64", "tiny-initramfs", "qemu-guest-agent", "python3"),
)
KERNEL_MODULES = ("virtio_blk", "virtio_net", "virtio_console")  # disk, card, agent: nothing of these waits for udev
AS_ROOT = {"ansible_become_method": "dpe_runuser"}  # whatever method a role names: all of it runs as root, without sudo
# What is the same in every machine of a seed, whatever it runs on. In a chroot Ansible cannot know by itself what starts services.
FACTS = (
    {
        "name": "Gather what is known before a machine runs",
        "ansible.builtin.setup": {
            "gather_subset": ["!all", "!min", "distribution", "platform", "pkg_mgr", "python"],
            "filter": ["architecture", "distribution*", "os_family", "pkg_mgr", "python*", "system", "userspace_*"],
        },
    },
    {"name": "Say what starts services", "ansible.builtin.set_fact": {"ansible_service_mgr": "systemd", "cacheable": True}},
)
BOOT_TASKS = ("Start it", "Wait until its agent and its application answer")  # in seed.yml
LEAST_SPACE = 1536  # MiB that the smallest class needs


@dataclass(frozen=True)
class SeedJob:
    """What to build. `version` counts from 1 per class; `scenario` is the scenario's folder.

    `fresh` takes nothing from the cache; without `test_boot` the image is kept as it is made, for where no hypervisor runs.
    """

    seed_id: int
    class_name: str
    version: int
    spec: ClassSpec
    scenario: Path
    fresh: bool = False
    test_boot: bool = True


@dataclass(frozen=True)
class SeedProgress:
    """Where a build is; `elapsed` is in seconds."""

    task_number: int
    task_total: int
    task_name: str
    elapsed: float


@dataclass(frozen=True)
class SeedFiles:
    """A finished seed. `manifest` is what its seed.json holds."""

    disk: Path
    kernel: Path
    initrd: Path
    cmdline: str
    manifest: dict[str, Any]


class Cancelled(DpeError):
    """The build was ended because somebody asked for it."""


def seed_folder(class_name: str, version: int, settings: Settings) -> Path:
    """Where the files of a seed are kept."""
    return below(settings.seeds, class_name, version)


def placed(files: Mapping[str, str], settings: Settings) -> tuple[Path, Boot]:
    """A seed's disk and what boots it, as its row in the catalog names them. Raises BadInput for files that are no seed's."""
    disk, kernel, initrd = (inside(settings.seeds, files[name]) for name in ("disk", "kernel", "initrd"))
    return disk, Boot(kernel, initrd, files["cmdline"])


def seed_log(class_name: str, version: int, settings: Settings) -> Path:
    """The log of a build, finished or not."""
    return below(settings.logs, "seeds", f"{class_name}-{version}.log")


def work_folder(seed_id: int, settings: Settings) -> Path:
    """Everything that a build makes before its end, and nothing else."""
    return below(settings.state, "work", seed_id)


def test_machine_id(seed_id: int) -> str:
    """The id of the machine of the seed's test boot; a repeated build finds it by that."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"dpe seed {seed_id}"))


def boot_spec(job: SeedJob, settings: Settings) -> MachineSpec:
    """The throwaway machine of the test boot. Its address is one of the 14 that lie before the machines' slots."""
    id = test_machine_id(job.seed_id)
    subnet = ipaddress.ip_network(settings.subnet)
    place = job.seed_id % 14
    result = work_folder(job.seed_id, settings) / "result"
    mac = ":".join(f"{byte:02x}" for byte in (0x52, 0x54, 0x00, *hashlib.sha256(id.encode()).digest()[:3]))
    return MachineSpec(
        id=id,
        name=f"seed-{job.class_name}-{job.version}",
        class_name=job.class_name,
        seed_disk=result / "disk.qcow2",
        disk=settings.machine_folder(id) / "disk.qcow2",
        disk_size=job.spec.size.disk,
        boot=Boot(result / "vmlinuz", result / "initrd", CMDLINE),
        vcpus=job.spec.size.vcpus,
        memory=job.spec.size.memory,
        card=Card(mac, str(subnet[2 + place]), subnet.prefixlen, settings.gateway, f"{settings.network}s{place}"),
        application_port=job.spec.application.port,
        application_ready=job.spec.application.ready,
        boot_timeout=job.spec.boot_timeout,
    )


def load_files(class_name: str, version: int, settings: Settings) -> SeedFiles:
    """The files of a seed that was built before. Raises Unavailable when they are gone."""
    folder = seed_folder(class_name, version, settings)
    try:
        manifest = json.loads((folder / "seed.json").read_text())
        return SeedFiles(folder / "disk.qcow2", folder / "vmlinuz", folder / "initrd", manifest["cmdline"], manifest)
    except (OSError, ValueError, KeyError) as error:
        raise Unavailable(f"The files of seed {version} of {class_name} are missing or damaged: {error}.", "Build a new seed.") from error


def build(job: SeedJob, settings: Settings, progress: Callable[[SeedProgress], None], cancelled: Callable[[], bool]) -> SeedFiles:
    """Build the seed and return its files; `progress` is called at each task, `cancelled` asked several times a second.

    Raises BadInput (the scenario must be corrected), Unavailable (disk full, mirror not reached), Cancelled,
    or DpeError for any other task that fails. In each case the log stays and everything else is removed.
    """
    final = seed_folder(job.class_name, job.version, settings)
    if not final.exists():
        try:
            with _emptied(work_folder(job.seed_id, settings)) as work:
                _Build(job, settings, work, progress, cancelled).run(final)
        except OSError as error:
            raise Unavailable(f"The seed of {job.class_name} cannot be built: {error}.", "Look at the disk that holds it.") from error
    return load_files(job.class_name, job.version, settings)


@contextmanager
def _emptied(work: Path) -> Iterator[Path]:
    """The working folder without what an earlier try left, removed in the end: mounts in it went with the build's own namespace."""
    work.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    if work.exists():
        shutil.rmtree(work)
    try:
        work.mkdir(mode=0o711)
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Build:
    """One try."""

    def __init__(
        self, job: SeedJob, settings: Settings, work: Path, progress: Callable[[SeedProgress], None], cancelled: Callable[[], bool]
    ) -> None:
        self.job, self.settings, self.work, self.progress, self.cancelled = job, settings, work, progress, cancelled
        self.begun = self.lap = time.monotonic()
        self.total = 0
        self.task = ""
        self.seconds: dict[str, float] = {}
        self.failure: tuple[str, str, str] | None = None  # task, message, role
        self.output = ""  # its end, for a failure that is no task's
        self.log = seed_log(job.class_name, job.version, settings)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_text(f"Seed {job.version} of {job.class_name}, {job.spec.os}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n")

    def run(self, final: Path) -> None:
        """Build, and move the result to `final`."""
        try:
            file = self.described("job.json", self.description())
            well = follow(file, environment(self.settings), self.take, self.cancelled)
            self.end_task()
            if self.cancelled():
                raise Cancelled(
                    f"The build of seed {self.job.version} of {self.job.class_name} was cancelled.", "Build again when you like."
                )
            if not well or self.failure:
                raise self.explain(*(self.failure or ("", self.output, "")))
            durable.write(self.work / "result/seed.json", json.dumps(self.manifest(), indent=1), mode=0o444)
            for file in (self.work / "result").iterdir():
                os.chown(file, 0, 0)  # the test boot gave them to the hypervisor's user, who could then write to them
            final.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            os.sync()  # else a power cut could leave the name, and the catalog's word for it, without the content
            durable.replace(self.work / "result", final)
        except OSError as error:
            raise self.note(self.explain("", str(error))) from error
        except DpeError as error:
            raise self.note(error) from error
        finally:
            self.discard()
        self.write(f"Built in {time.monotonic() - self.begun:.0f} s.")

    def discard(self) -> None:
        """Remove the machine of a test boot that did not come to its end, after keeping what it said."""
        spec = boot_spec(self.job, self.settings)
        if not spec.disk.parent.exists():
            return
        serial = spec.disk.parent / "serial.log"
        if serial.exists():
            self.write(f"\nThe machine's console:\n{serial.read_text(errors='replace')[-8000:]}")
        shutil.rmtree(self.work, ignore_errors=True)  # the disk may be full
        try:
            self.work.mkdir(mode=0o711)
            file = self.described("discard.json", self.describe("retire.yml", {"machines": [spec.to_json()]}))
        except OSError:
            return  # the engine removes machines that it knows nothing of
        follow(file, environment(self.settings), lambda event: self.write(event.get("text", "")), lambda: False)

    def described(self, name: str, description: dict[str, Any]) -> Path:
        """Write a description for the inner process; returns the file."""
        Path(description["runner"]).mkdir(mode=0o700)
        file = self.work / name
        file.write_text(json.dumps(description))
        return file

    def note(self, error: DpeError) -> DpeError:
        self.write(f"\n{error}")
        return error

    def write(self, text: str) -> None:
        """Add to the log. A full disk must not hide the error that is about to be explained."""
        if not text:
            return
        try:
            with self.log.open("a") as out:
                out.write(text.rstrip("\n") + "\n")
        except OSError:
            pass

    def take(self, event: dict[str, Any]) -> None:
        """One event of the inner process."""
        match event["kind"]:
            case "total":
                self.total = event["tasks"]
            case "task":
                self.end_task()
                self.task = event["name"]
                number = event["number"]
                self.progress(SeedProgress(number, max(self.total, number), self.task, time.monotonic() - self.begun))
            case "output":
                self.write(event["text"])
                self.output = (self.output + event["text"] + "\n")[-4000:]
            case "failed":
                self.failure = self.failure or (event["task"], event["message"], event["role"])

    def end_task(self) -> None:
        now = time.monotonic()
        if self.task:
            self.seconds[self.task] = round(self.seconds.get(self.task, 0) + now - self.lap, 2)
        self.lap = now

    def explain(self, task: str, message: str, role: str = "") -> DpeError:
        used = sum(file.lstat().st_blocks * 512 for file in self.work.rglob("*")) >> 20
        full = (
            f"The build had written {used} MiB to {self.work} and needs about {self.space()} MiB in all;"
            f" {shutil.disk_usage(self.work).free >> 20} MiB were left."
        )
        return explain(self.job.class_name, task, message, role=role, log=str(self.log), full=full)

    def space(self) -> int:
        """MiB that a build of this class takes while it runs: tree, packages, raw disk and image, as large as the last seed."""
        known = [file.stat().st_size >> 20 for file in below(self.settings.seeds, self.job.class_name).glob("*/disk.qcow2")]
        return max([LEAST_SPACE, *(4 * size for size in known)])

    def describe(self, playbook: str, variables: dict[str, Any]) -> dict[str, Any]:
        """What play.py reads, for any playbook of ours."""
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **AS_ROOT}
        return {
            "playbook": str(PLAYBOOKS / playbook),
            "runner": str(self.work / "runner"),
            "inventory": {"all": {"hosts": {"localhost": local}}},
            "variables": {"state": str(self.settings.state), **variables},
        }

    def description(self) -> dict[str, Any]:
        """What play.py reads."""
        job, settings, work = self.job, self.settings, self.work
        suite = sources.SUITES[job.spec.os]
        lines = sources.mirror(settings.debian_mirror).lines(suite)
        packages = sorted({*BASE_PACKAGES, *job.spec.packages})
        # The week is in the name so that what is kept never lacks security updates for long.
        key = json.dumps([lines, packages, datetime.now(UTC).strftime("%G-%V")])
        tarball = settings.cache / "bootstrap" / f"{suite}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.tar"
        tarball.parent.mkdir(parents=True, exist_ok=True)
        for kept in tarball.parent.glob("*.tar"):
            if (kept == tarball and job.fresh) or time.time() - kept.stat().st_mtime > 8 * 86400:
                kept.unlink(missing_ok=True)
        roles = work / "roles.yml"
        play = {
            "name": "Roles inside the root file system",
            "hosts": "root",
            "gather_facts": False,
            "pre_tasks": FACTS,
            "roles": ["guest", *job.spec.roles],
        }
        roles.write_text(unsafe.dump([play]))
        tree = work / "tree/root"
        variables = {
            "work": str(work),
            "tree": str(tree),
            "tarball": str(tarball),
            "cache": str(settings.cache),
            "apt_lines": lines,
            "packages": packages,
            "suite": suite,
            "kernel_modules": KERNEL_MODULES,
            "spec": job.spec.model_dump(mode="json"),
            "roles_play": str(roles),
            "boot_spec": boot_spec(job, settings).to_json(),
        }
        description = self.describe("seed.yml", variables)
        inside = {"ansible_connection": "dpe_chroot", "ansible_host": str(tree), "ansible_python_interpreter": "/usr/bin/python3"}
        description["inventory"]["all"]["hosts"]["root"] = {**inside, "ansible_package_use": "dpe_packages", **AS_ROOT}
        description["roles"] = [str(PLAYBOOKS / "roles"), str(job.scenario.resolve() / "roles")]
        description["skip"] = [] if job.test_boot else ["boot"]
        return description

    def manifest(self) -> dict[str, Any]:
        """What is known of a finished seed, in the result folder."""
        result = self.work / "result"
        installed = dict(line.split() for line in (self.work / "packages.txt").read_text().splitlines())
        files = {}
        for file in sorted(result.iterdir()):
            with file.open("rb") as content:
                files[file.name] = {"size": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}
        return {
            "class": self.job.class_name,
            "version": self.job.version,
            "os": self.job.spec.os,
            "kernel": (self.work / "kernel.txt").read_text().strip(),
            "cmdline": CMDLINE,
            "recipe": recipe.digest(self.job.spec, self.job.scenario.resolve()),
            "built": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self.begun, 1),
            "boot_seconds": round(sum(self.seconds.get(task, 0) for task in BOOT_TASKS), 1) or None,
            "tasks": self.seconds,
            "files": files,
            "packages": installed,
        }
