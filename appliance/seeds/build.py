"""Build a seed: run playbooks/seed.yml for a class, follow it, boot what it made once, keep the result or explain the failure.

A build works in one folder, settings.state/work/<seed id>. What it made is booted under a name that is no seed's, `<class>/<version>.new`, and
gets its own by one rename at the very end. So a build that fails, is cancelled or dies with the engine leaves nothing
that could be taken for a seed, and may simply be repeated.
"""

import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance import durable
from appliance.errors import DpeError, Unavailable
from appliance.hypervisor.provider import MachineSpec, Provider
from appliance.packages import sources
from appliance.paths import below
from appliance.scenario.schema import ClassSpec
from appliance.seeds import cards, recipe, unsafe
from appliance.seeds.failure import explain
from appliance.seeds.follow import follow
from appliance.seeds.play import PLAYBOOKS
from appliance.settings import Settings, environment

CMDLINE = (
    "root=/dev/vda rootfstype=ext4 rw rootflags=noatime net.ifnames=0 console=tty0 console=ttyS0 quiet systemd.condition_needs_update=0"
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
BOOT_TASKS = ("Make a machine of the seed", "Start it", "Wait until its agent and its application answer", "Remove it")
UNTRIED = ".new"  # behind the name of a seed that has yet to boot
LEAST_SPACE = 1536  # MiB that the smallest class needs


@dataclass(frozen=True)
class SeedJob:
    """What to build. `version` counts from 1 per class; `scenario` is the scenario's folder.

    `fresh` takes nothing from the cache.
    """

    seed_id: int
    class_name: str
    version: int
    spec: ClassSpec
    scenario: Path
    fresh: bool = False

    @property
    def name(self) -> str:
        """The seed's."""
        return f"{self.class_name}/{self.version}"


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
    """The throwaway machine of the test boot, of the seed that is tried. Its address is one of the 14 that lie before the machines' slots."""
    id = test_machine_id(job.seed_id)
    return MachineSpec(
        id=id,
        name=f"seed-{job.class_name}-{job.version}",
        class_name=job.class_name,
        seed=f"{job.name}{UNTRIED}",
        cmdline=CMDLINE,
        disk_size=job.spec.size.disk,
        vcpus=job.spec.size.vcpus,
        memory=job.spec.size.memory,
        card=cards.card(id, job.seed_id % cards.PLACES, settings),
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


def build(
    job: SeedJob,
    settings: Settings,
    progress: Callable[[SeedProgress], None],
    cancelled: Callable[[], bool],
    provider: Provider | None = None,
) -> SeedFiles:
    """Build the seed and return its files; `progress` is called at each task, `cancelled` asked several times a second.

    It is booted once with the `provider`; without one the image is kept as it is made, for where no hypervisor runs.
    Raises BadInput (the scenario must be corrected), Unavailable (disk full, mirror not reached), Cancelled,
    or DpeError for any other task that fails. In each case the log stays and everything else is removed.
    """
    final = seed_folder(job.class_name, job.version, settings)
    if not final.exists():
        try:
            with _emptied(work_folder(job.seed_id, settings)) as work:
                _Build(job, settings, work, progress, cancelled, provider).run(final)
        except OSError as error:
            raise Unavailable(f"The seed of {job.class_name} cannot be built: {error}.", "Look at the disk that holds it.") from error
    return load_files(job.class_name, job.version, settings)


def clear(seed_id: int, class_name: str, version: int, settings: Settings) -> None:
    """Remove what a build that was cut off left, if it is not tried again."""
    for folder in (work_folder(seed_id, settings), _untried(class_name, version, settings)):
        shutil.rmtree(folder, ignore_errors=True)


def _untried(class_name: str, version: int, settings: Settings) -> Path:
    return below(settings.seeds, class_name, f"{version}{UNTRIED}")


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
        self,
        job: SeedJob,
        settings: Settings,
        work: Path,
        progress: Callable[[SeedProgress], None],
        cancelled: Callable[[], bool],
        provider: Provider | None = None,
    ) -> None:
        self.job, self.settings, self.work, self.progress, self.cancelled, self.provider = (
            job,
            settings,
            work,
            progress,
            cancelled,
            provider,
        )
        self.untried = _untried(job.class_name, job.version, settings)
        self.begun = self.lap = time.monotonic()
        self.total = self.number = 0
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
            well = follow(self.described(self.description()), environment(self.settings), self.take, self.cancelled)
            self.end_task()
            self.check_cancelled()
            if not well or self.failure:
                raise self.explain(*(self.failure or ("", self.output, "")))
            self.untried.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            shutil.rmtree(self.untried, ignore_errors=True)  # of an earlier try
            durable.replace(self.work / "result", self.untried)
            if self.provider is not None:
                self.test_boot(self.provider)
            durable.write(self.untried / "seed.json", json.dumps(self.manifest(), indent=1), mode=0o444)
            os.sync()  # else a power cut could leave the name, and the catalog's word for it, without the content
            durable.replace(self.untried, final)
        except OSError as error:
            raise self.note(self.explain("", str(error))) from error
        except DpeError as error:
            raise self.note(error) from error
        finally:
            shutil.rmtree(self.untried, ignore_errors=True)
        self.write(f"Built in {time.monotonic() - self.begun:.0f} s.")

    def check_cancelled(self) -> None:
        """Raise Cancelled when somebody asked to stop."""
        if self.cancelled():
            raise Cancelled(f"The build of seed {self.job.version} of {self.job.class_name} was cancelled.", "Build again when you like.")

    def test_boot(self, provider: Provider) -> None:
        """Make a machine of the seed, which must answer; what it said is kept in the log when it does not."""
        spec = boot_spec(self.job, self.settings)
        provider.destroy(spec.id)  # what an earlier try left
        steps: tuple[Callable[[], object], ...] = (
            lambda: provider.clone(spec),
            lambda: provider.start(spec),
            lambda: provider.wait(spec, given_up=self.cancelled),
            lambda: provider.destroy(spec.id),
        )
        try:
            for name, step in zip(BOOT_TASKS, steps, strict=True):
                self.begin_task(name, self.number + 1)
                self.write(name)
                step()
                self.end_task()
        except DpeError as error:
            self.write(f"\nThe machine's console:\n{provider.console(spec.id)}")
            with suppress(DpeError):  # the engine removes machines that it knows nothing of
                provider.destroy(spec.id)
            self.check_cancelled()
            raise self.explain(self.task, str(error)) from error

    def described(self, description: dict[str, Any]) -> Path:
        """Write a description for the inner process; returns the file."""
        Path(description["runner"]).mkdir(mode=0o700)
        file = self.work / "job.json"
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
                self.total = event["tasks"] + (len(BOOT_TASKS) if self.provider is not None else 0)
            case "task":
                self.end_task()
                self.begin_task(event["name"], event["number"])
            case "output":
                self.write(event["text"])
                self.output = (self.output + event["text"] + "\n")[-4000:]
            case "failed":
                self.failure = self.failure or (event["task"], event["message"], event["role"])

    def begin_task(self, name: str, number: int) -> None:
        self.task, self.number = name, number
        self.progress(SeedProgress(number, max(self.total, number), name, time.monotonic() - self.begun))

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

    def description(self) -> dict[str, Any]:
        """What play.py reads."""
        job, settings, work = self.job, self.settings, self.work
        suite = sources.SUITES[job.spec.os]
        lines = sources.mirror(settings.debian_mirror).lines(suite)
        packages = sources.wanted(job.spec.packages)
        tarball = sources.bootstrap(settings.cache, job.spec.os, lines, packages, datetime.now(UTC))
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
        }
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **AS_ROOT}
        inside = {"ansible_connection": "dpe_chroot", "ansible_host": str(tree), "ansible_python_interpreter": "/usr/bin/python3"}
        return {
            "playbook": str(PLAYBOOKS / "seed.yml"),
            "runner": str(work / "runner"),
            "inventory": {"all": {"hosts": {"localhost": local, "root": {**inside, "ansible_package_use": "dpe_packages", **AS_ROOT}}}},
            "variables": variables,
            "roles": [str(PLAYBOOKS / "roles"), str(job.scenario.resolve() / "roles")],
        }

    def manifest(self) -> dict[str, Any]:
        """What is known of a finished seed, in the result folder."""
        result = self.untried
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
            "boot_seconds": round(sum(self.seconds.get(task, 0) for task in BOOT_TASKS[1:3]), 1) or None,
            "tasks": self.seconds,
            "files": files,
            "packages": installed,
        }
