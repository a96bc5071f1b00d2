"""Build a seed: a root file system from packages, playbooks/seed.yml for a class in it, an image, booted once; kept, or the failure explained.

All that other people's words may have a part in runs in a sandbox (sandbox.py), a program after the other, each with no more than it needs. What
comes out of it is three files, taken as data: plain files of known names, the disk raw, of which our own qemu-img makes the image.

A build works in one folder, settings.state/work/<seed id>. What it made is booted under a name that is no seed's, `<class>/<version>.new`, and
gets its own by one rename at the very end. So a build that fails, is cancelled or dies with the engine leaves nothing
that could be taken for a seed, and may simply be repeated.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from appliance import durable, qcow2
from appliance.errors import DpeError, Unavailable
from appliance.hypervisor.provider import MachineSpec, Provider, answering
from appliance.packages import sources
from appliance.paths import below
from appliance.run import Argument, run
from appliance.scenario import applications
from appliance.scenario.load import check_confined, role_folders
from appliance.scenario.schema import Chosen, ClassSpec
from appliance.seeds import cards, layers, recipe, seen, unsafe, wheels
from appliance.seeds.failure import DISK_FULL, explain
from appliance.seeds.follow import execute, follow
from appliance.seeds.play import PLAYBOOKS
from appliance.seeds.sandbox import Limits, Sandbox, give, hand_over, remove
from appliance.settings import Settings

CMDLINE = (
    "root=/dev/vda rootfstype=ext4 rw rootflags=noatime net.ifnames=0 console=tty0 console=ttyS0 quiet systemd.condition_needs_update=0"
    " no_timer_check"  # where a busy host emulates, ticks come too late for a kernel that counts them; it would panic
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
# What mmdebstrap is told, whatever the class: what is only for reading is left out. The sandbox knows no account but root.
BOOTSTRAP = (
    *("--mode=root", "--variant=minbase", "--format=tar"),
    *('--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Retries "3"', '--aptopt=APT::Sandbox::User "root"'),
    *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright"),
    *("--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/info/*"),
    *("--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-include=/usr/share/locale/locale.alias"),
)
BOOT_TASKS = (
    "Make a machine of the seed",
    "Start it",
    "Wait until its agent and its application answer",
    "Look at what it shows",
    "Remove it",
)
UNTRIED = ".new"  # behind the name of a seed that has yet to boot
OWN_STEPS = 4  # besides the tasks and the test boot
RESULT = {"vmlinuz": 64 << 20, "initrd": 256 << 20}  # bytes at most
LONGEST_LOG = 32 << 20  # bytes
ONLY_FILES = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
LONGEST_LIST = 4 << 20  # bytes of text that a build says of itself
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
LEAST_SPACE = 1536  # MiB that the smallest class needs


@dataclass(frozen=True)
class SeedJob:
    """What to build. `version` counts from 1 per class; `scenario` is the scenario's folder.

    `fresh` takes nothing from the cache. `layered` lays the class's packages and roles upon what is kept of its operating system alone, see layers.py.
    """

    seed_id: int
    class_name: str
    version: int
    spec: ClassSpec
    scenario: Path
    fresh: bool = False
    layered: bool = False

    @property
    def name(self) -> str:
        """The seed's."""
        return f"{self.class_name}/{self.version}"

    @cached_property
    def own(self) -> applications.Own:
        """The applications that the scenario brings. Raises FileErrors."""
        return applications.own(self.scenario.resolve())


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
    id, described = test_machine_id(job.seed_id), applications.resolved(job.spec, job.own).model_dump()
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
        **answering(described),
        further=applications.further(described, job.own),
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


def link(job: SeedJob, twin: Path, settings: Settings) -> SeedFiles:
    """Make a seed of the files of another one in `twin` that has just the same: they are immutable, and each name keeps them. May be repeated after a crash."""
    final = seed_folder(job.class_name, job.version, settings)
    if not final.exists():
        try:
            with _emptied(work_folder(job.seed_id, settings)) as work:
                manifest = json.loads((twin / "seed.json").read_text())
                for name in manifest["files"]:
                    os.link(twin / name, work / name)
                manifest |= {"class": job.class_name, "version": job.version, "recipe": recipe.digest(job.spec, job.scenario.resolve())}
                durable.write(work / "seed.json", json.dumps(manifest, indent=1), mode=0o444)
                work.chmod(0o755)
                final.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                os.sync()
                durable.replace(work, final)
        except (OSError, ValueError, KeyError) as error:
            raise Unavailable(f"The seed of {job.class_name} cannot be made of {twin}: {error}.", "Ask for it again.") from error
    return load_files(job.class_name, job.version, settings)


def clear(seed_id: int, class_name: str, version: int, settings: Settings) -> None:
    """Remove what a build that was cut off left, if it is not tried again."""
    remove(work_folder(seed_id, settings))
    shutil.rmtree(_untried(class_name, version, settings), ignore_errors=True)


def _untried(class_name: str, version: int, settings: Settings) -> Path:
    return below(settings.seeds, class_name, f"{version}{UNTRIED}")


@contextmanager
def _emptied(work: Path) -> Iterator[Path]:
    """The working folder without what an earlier try left, removed in the end: mounts in it went with the build's own namespace."""
    work.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    remove(work)
    try:
        work.mkdir(mode=0o711)
        yield work
    finally:
        remove(work)


def taken(source: Path, most: int) -> bytes | None:
    """What a sandbox wrote to that file, at most so many bytes; None when it is not a plain file, or longer."""
    with suppress(OSError), open(source, "rb", opener=lambda path, _: os.open(path, ONLY_FILES)) as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode) and len(content := file.read(most + 1)) <= most:
            return content
    return None


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
        self.suite = sources.SUITES[job.spec.os]
        self.applications = applications.of(job.spec, job.own)
        self.folders = [entry.folder for _, entry in self.applications if entry.is_own]
        self.folders += role_folders(job.scenario.resolve(), job.spec.roles)
        self.own_packages = [*job.spec.packages, *(name for one, entry in self.applications for name in entry.packages(one.options))]
        self.packages = sources.wanted(() if job.layered else self.own_packages)
        self.roles: tuple[str | dict[str, Any], ...] = (
            *(() if job.layered else layers.OWN),
            *(self.role_of(chosen, entry) for chosen, entry in self.applications),
            *job.spec.roles,
        )
        self.tree, self.out, self.runner = work / "tree/root", work / "out", work / "runner"
        self.cache = below(settings.cache, "roles", job.class_name)
        self.begun = self.lap = time.monotonic()
        self.total = self.number = self.sandboxes = 0
        self.task = ""
        self.seconds: dict[str, float] = {}
        self.failure: tuple[str, str, str] | None = None  # task, message, role
        self.stopped = ""  # why the sandbox was
        self.logged = 0  # bytes
        self.output = ""  # its end, for a failure that is no task's
        self.seen: dict[str, Any] = {}
        self.log = seed_log(job.class_name, job.version, settings)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_text(f"Seed {job.version} of {job.class_name}, {job.spec.os}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n")

    def run(self, final: Path) -> None:
        """Build, and move the result to `final`."""
        try:
            check_confined(self.job.scenario.resolve(), self.job.spec.roles)
            self.make()
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
            lambda: self.look(spec),
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

    def look(self, spec: MachineSpec) -> None:
        """Keep what the machine of the test boot shows."""
        pages = applications.pages(applications.resolved(self.job.spec, self.job.own).model_dump(), self.job.own)
        self.seen = seen.look(spec.card.address, pages, spec.screen_port, self.untried)

    def described(self, description: dict[str, Any], name: str = "job") -> Path:
        """Write a description for the inner process; returns the file."""
        return give(self.work / f"{name}.json", json.dumps(description))

    def note(self, error: DpeError) -> DpeError:
        self.write(f"\n{error}")
        return error

    def write(self, text: str) -> None:
        """Add to the log. A full disk must not hide the error that is about to be explained."""
        if not text or self.logged > LONGEST_LOG:
            return
        self.logged += len(text) + 1
        if self.logged > LONGEST_LOG:
            text = "The rest is left out: it is too long."
        try:
            with self.log.open("a") as out:
                out.write(text.rstrip("\n") + "\n")
        except OSError:
            pass

    def take(self, event: dict[str, Any]) -> None:
        """One event of the inner process."""
        match event["kind"]:
            case "total":
                self.total += event["tasks"]
            case "task":
                self.end_task()
                self.begin_task(event["name"][:200], self.number + 1)
            case "output":
                self.write(event["text"])
                self.output = (self.output + event["text"] + "\n")[-4000:]
            case "stopped":
                self.stopped = self.stopped or event["reason"][:500]
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
        full = self.full() if DISK_FULL in message else ""
        return explain(self.job.class_name, task, message, role=role, log=str(self.log), full=full)

    def full(self) -> str:
        used = int(run(["du", "--summarize", "--block-size=1M", "--", self.work], timeout=600).split()[0])
        return (
            f"The build had written {used} MiB to {self.work} and needs about {self.space()} MiB in all;"
            f" {shutil.disk_usage(self.work).free >> 20} MiB were left."
        )

    def space(self) -> int:
        """MiB that a build of this class takes while it runs: tree, packages, raw disk and image, as large as the last seed."""
        known = [file.stat().st_size >> 20 for file in below(self.settings.seeds, self.job.class_name).glob("*/disk.qcow2")]
        return max([LEAST_SPACE, *(4 * size for size in known)])

    def make(self) -> None:
        """All steps up to the image, in result/."""
        job = self.description()
        self.total = layers.steps(self) if self.job.layered else OWN_STEPS
        self.total += len(BOOT_TASKS) if self.provider is not None else 0
        self.count(job)
        if self.job.layered:
            layers.lay(self)
        else:
            self.root()
        self.play(job)
        self.step("Make the file system", self.file_system)
        self.step("Make the disk image", self.image)

    def root(self) -> None:
        """Have a root file system of the packages alone."""
        self.step(f"Install {len(self.packages)} packages and what they need", self.bootstrap)
        self.step("Unpack them", lambda: self.unpack(self.tarball))

    def count(self, job: dict[str, Any]) -> None:
        """Add the tasks of roles to what is to be done."""
        self.enter(lambda sandbox: follow(self.described({**job, "list": True}, "list"), sandbox, self.take, self.cancelled), self.inside())

    def play(self, job: dict[str, Any]) -> None:
        """Apply roles in the root file system."""
        self.enter(lambda sandbox: follow(self.described(job, "play"), sandbox, self.take, self.cancelled), self.inside(entered=True))
        self.end_task()

    def step(self, name: str, do: Callable[[], None]) -> None:
        """One of our own."""
        self.begin_task(name, self.number + 1)
        self.write(name)
        self.output = ""
        do()
        self.end_task()

    def execute(self, command: Sequence[Argument], sandbox: Sandbox) -> None:
        """Run a program in a sandbox to its end."""
        self.enter(lambda inside: execute(command, inside, self.take, self.cancelled), sandbox)

    def enter(self, do: Callable[[Sandbox], bool], sandbox: Sandbox) -> None:
        """Have something done in a sandbox. Raises what is to be told when it does not end well."""
        well = do(sandbox)
        self.check_cancelled()
        if self.stopped and DISK_FULL not in self.stopped:
            raise DpeError(
                f"The build of the seed of {self.job.class_name} was ended{self.during}: {self.stopped}.",
                "Correct the role that does that, and build again.",
            )
        if not well or self.failure:
            raise self.explain(*(self.failure or (self.task, self.stopped or self.output, "")))

    @property
    def during(self) -> str:
        return f" in the task “{self.task}”" if self.task else ""

    def sandbox(self, *writes: Path) -> Sandbox:
        """One that writes there, and nothing more."""
        self.sandboxes += 1  # what one left in its scratch folder is no other's
        limits = Limits(free=self.settings.disk_reserve, file=self.job.spec.size.disk << 10)
        return Sandbox(self.work / f"scratch/{self.sandboxes}", writes=writes, limits=limits)

    @cached_property
    def index(self) -> wheels.Index:
        return wheels.index()

    def inside(self, *, entered: bool = False) -> Sandbox:
        """The one of the roles; without the root file system, for what only looks at them."""
        index = self.index
        hosts = sorted({*index.hosts, *sources.mirror(self.settings.debian_mirror).hosts})
        reads = [self.work / "roles.yml", *index.paths, *self.folders]
        writes = [hand_over(self.runner, 0o700)]
        sandbox = replace(self.sandbox(*writes), reads=reads, hosts=hosts, environment=index.environment)
        if not entered:
            return sandbox
        writes += [hand_over(self.out), self.work / "tree"]
        return replace(sandbox, writes=writes, tree=self.tree, cache=hand_over(self.cache))

    def kept(self) -> Path:
        """Where the bootstrap of exactly these packages is kept between builds; older ones are removed."""
        lines = sources.mirror(self.settings.debian_mirror).lines(self.suite)
        tarball = sources.bootstrap(self.settings.cache, self.job.spec.os, lines, self.packages, datetime.now(UTC))
        tarball.parent.mkdir(parents=True, exist_ok=True)
        for kept in tarball.parent.glob("*.tar"):
            if (kept == tarball and self.job.fresh) or time.time() - kept.stat().st_mtime > 8 * 86400:
                kept.unlink(missing_ok=True)
        return tarball

    def bootstrap(self) -> None:
        """Have the packages, kept or fetched. These are Debian's own programs, as signed."""
        self.tarball = self.kept()
        if self.tarball.exists():
            return
        mirror, made = sources.mirror(self.settings.debian_mirror), hand_over(self.work / "bootstrap")
        listed = give(self.work / "apt.list", "\n".join(mirror.lines(self.suite)) + "\n")
        plain = self.sandbox(made)
        sandbox = replace(plain, reads=[listed], hosts=mirror.hosts, mounts=True, environment={"TMPDIR": str(made)})
        packages = f"--include={','.join(self.packages)}"
        self.execute(["mmdebstrap", *BOOTSTRAP, packages, self.suite, made / "packages.tar", listed], sandbox)
        if not stat.S_ISREG((made / "packages.tar").lstat().st_mode):
            raise DpeError("mmdebstrap wrote no file.", "Build again.")
        self.keep(made / "packages.tar", self.tarball)

    def keep(self, made: Path, kept: Path) -> None:
        """Keep what a sandbox made for other builds, in two steps, so that a move to another disk which is cut off leaves no half of it there."""
        fresh = kept.with_name(f"{kept.name}.new")
        shutil.move(made, fresh)
        os.chown(fresh, 0, 0)
        fresh.chmod(0o644)
        durable.replace(fresh, kept)

    def unpack(self, tarball: Path) -> None:
        """Lay down what is kept in an archive. Devices, which a sandbox cannot make, the kernel gives each machine."""
        hand_over(self.work / "tree", 0o700)
        hand_over(self.tree)
        extract = ["tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--exclude=./dev/*"]
        self.execute([*extract, f"--file={tarball}", f"--directory={self.tree}"], replace(self.sandbox(self.tree), reads=[tarball]))

    def file_system(self) -> None:
        """Take kernel and initial RAM disk out, and make the rest a file system."""
        boot = self.tree / "boot"
        self.execute(["mv", boot / "vmlinuz", boot / "initrd", self.out], self.sandbox(self.work / "tree", self.out))
        # Nothing is left for the machine's kernel to write in the background: it would grow every clone.
        made: list[Argument] = ["mke2fs", "-q", "-t", "ext4", "-L", "root", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-d", self.tree]
        self.execute([*made, self.out / "disk.raw", f"{self.job.spec.size.disk}G"], self.sandbox(self.work / "tree", self.out))

    def image(self) -> None:
        """Make the disk image: not compressed, because all machines read it and each would decompress for itself."""
        result = self.work / "result"
        result.mkdir(mode=0o755)
        for name, most in RESULT.items():
            if not (content := taken(self.out / name, most)):
                raise DpeError(f"The build of {self.job.class_name} left no {name}.", "Look at what its roles do to /boot.")
            (result / name).write_bytes(content)
        raw, disk = self.out / "disk.raw", result / "disk.qcow2"
        found = raw.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != self.job.spec.size.disk << 30:
            raise DpeError(f"The build of {self.job.class_name} left no disk.", "Look at the log.")
        disk.touch()
        run(qcow2.alone("convert", "-f", "raw", "-O", "qcow2", reads=raw, writes=disk), timeout=qcow2.CONVERTS)
        for file in result.iterdir():
            file.chmod(0o444)
        for folder in ("tree", "scratch"):
            remove(self.work / folder)
        raw.unlink()

    def description(self, applied: Sequence[str] | None = None) -> dict[str, Any]:
        """What play.py reads; `applied` are the roles, if not all that the seed has."""
        job, work = self.job, self.work
        roles = work / "roles.yml"
        play = {
            "name": "Roles inside the root file system",
            "hosts": "root",
            "gather_facts": False,
            "pre_tasks": FACTS,
            "roles": list(self.roles if applied is None else applied),
            "post_tasks": list(self.afterwards()) if applied is None else [],
        }
        give(roles, unsafe.dump([play]))
        variables = {
            "tree": str(self.tree),
            "out": str(self.out),
            "cache": str(self.cache),
            "kernel_modules": KERNEL_MODULES,
            "spec": applications.resolved(job.spec, job.own).model_dump(mode="json"),
            "roles_play": str(roles),
        }
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **AS_ROOT}
        inside = {"ansible_connection": "dpe_chroot", "ansible_host": str(self.tree), "ansible_python_interpreter": "/usr/bin/python3"}
        return {
            "playbook": str(PLAYBOOKS / "seed.yml"),
            "runner": str(self.runner),
            "inventory": {"all": {"hosts": {"localhost": local, "root": {**inside, "ansible_package_use": "dpe_packages", **AS_ROOT}}}},
            "variables": variables,
            "roles": [str(PLAYBOOKS / "roles"), str(job.scenario.resolve() / "roles")],
        }

    @staticmethod
    def role_of(chosen: Chosen, entry: applications.Entry) -> dict[str, Any]:
        """An application as a role: by its folder, so that a role of a scenario may be called like it."""
        return {"role": str(entry.folder), "vars": {"application": {"port": entry.port(chosen), "options": entry.values(chosen)}}}

    def afterwards(self) -> Iterator[dict[str, Any]]:
        """The tasks after the applications' own: what makes them others in each fork, and what of them is on a data disk."""
        yield from (self.renewing(entry) for _, entry in self.applications if entry.renews)
        if lines := applications.kept(self.job.spec, self.job.own):
            listed = {"dest": "/etc/dpe/folders", "content": "\n".join([*lines, ""]), "mode": "0644"}
            yield {"name": "List what is on a data disk", "ansible.builtin.copy": listed}

    @staticmethod
    def renewing(entry: applications.Entry) -> dict[str, Any]:
        """The task that has an application made its own in each fork."""
        copied = {"src": str(entry.renews), "dest": f"/usr/lib/dpe/fork.d/{entry.name}", "mode": "0755"}
        return {"name": f"Copy what makes a fork's {entry.manifest.title} its own", "ansible.builtin.copy": copied}

    def said(self, name: str) -> str:
        """What the build says of itself in that file: its own words."""
        return (taken(self.out / name, LONGEST_LIST) or b"").decode(errors="replace")

    def manifest(self) -> dict[str, Any]:
        """What is known of a finished seed, in the result folder."""
        result = self.untried
        words = [line.split() for line in self.said("packages.txt").splitlines()]
        installed = {two[0]: two[1] for two in words if len(two) == 2 and _PACKAGE.fullmatch(two[0])}
        files = {}
        for file in sorted(result.iterdir()):
            with file.open("rb") as content:
                files[file.name] = {"size": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}
        return {
            "class": self.job.class_name,
            "version": self.job.version,
            "os": self.job.spec.os,
            "kernel": self.said("kernel.txt").strip()[:100],
            "cmdline": CMDLINE,
            "recipe": recipe.digest(self.job.spec, self.job.scenario.resolve()),
            "built": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self.begun, 1),
            "boot_seconds": round(sum(self.seconds.get(task, 0) for task in BOOT_TASKS[1:3]), 1) or None,
            "tasks": self.seconds,
            "files": files,
            "packages": installed,
            "seen": self.seen,
        }
