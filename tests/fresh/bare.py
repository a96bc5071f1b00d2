"""A bare Debian in namespaces of its own, which has nothing of this machine but its network: what a newcomer begins with.

The minimal tree is bootstrapped once for what it is made of, and kept in CACHE with the packages that apt and pip downloaded into it.
"""

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import IO

import psutil

from appliance.errors import DpeError
from appliance.packages import sources
from appliance.run import run
from appliance.settings import REPOSITORY

CACHE = Path(os.environ.get("DPE_TEST_FRESH", "/var/cache/dpe-fresh"))
ENTER = Path(__file__).with_name("enter.sh")
ASKED_FOR = ("git", "make")  # what README.md asks for; all else is set-up's to bring
# As in images for containers: no manuals, and no waiting for the disk, to which nobody will look after a power cut.
SLIM = ["path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright", "path-exclude=/usr/share/man/*", "force-unsafe-io"]
# What programs downloaded, in the tree, and where it is kept.
KEPT = {"var/cache/apt/archives": "archives", "root/.cache/pip": "pip"}
# How this machine's network is reached. All else of this machine stays outside.
NETWORK_FILES = ("etc/resolv.conf", "etc/pip.conf")
CERTIFICATES = "usr/local/share/ca-certificates"
VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "UNDERSIZED")
# A tree that is used takes about 2 GiB; README.md wants 10 GiB of disk besides. Two of them, and what runs in them, must leave room.
MEMORY, PLENTY = "16g", 12 << 30
ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Typed:
    """A command that was typed, and the lines that it says, each with the seconds since it began."""

    def __init__(self, command: list[str]) -> None:
        self.begun = time.monotonic()
        self.lines: list[tuple[float, str]] = []
        self.ended = False
        self.more = threading.Condition()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        with self.process.stdout as pipe:
            for line in pipe:
                with self.more:
                    self.lines.append((time.monotonic() - self.begun, line.decode(errors="replace").rstrip("\n")))
                    self.more.notify_all()
        with self.more:
            self.ended = True
            self.more.notify_all()

    @property
    def said(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def until(self, words: str, seconds: float) -> float:
        """Wait until it says so; returns after how many seconds it did. Fails when it ends without."""
        with self.more:
            came = self.more.wait_for(lambda: words in self.said or self.ended, seconds)
        assert came, f"no {words!r} within {seconds} s:\n{self.said[-6000:]}"
        assert words in self.said, self.said[-6000:]
        return next(at for at, line in self.lines if words in line)

    def end(self, seconds: float, status: int = 0) -> str:
        """Wait until it ends, with that status; returns what it said."""
        self.process.wait(seconds)
        self.listener.join(20)
        assert self.process.returncode == status, self.said[-8000:]
        return self.said

    def silence(self, since: str, until: str) -> float:
        """The longest time without a line between two lines."""
        begin, end = (next(number for number, (_, line) in enumerate(self.lines) if words in line) for words in (since, until))
        moments = [at for at, _ in self.lines[begin : end + 1]]
        return max(later - sooner for sooner, later in pairwise(moments))

    def interrupt(self, seconds: float = 120) -> None:
        """Ctrl-C, which reaches all of it, and its end."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(seconds)
        self.listener.join(20)


class Bare:
    """A bare Debian. `port` is its appliance's; `url` and `ports` are what a Visitor of tests.image.forms goes by."""

    SLOTS = 20

    def __init__(self, root: Path, first: subprocess.Popen[bytes]) -> None:
        self.root, self.first = root, first
        self.init = psutil.Process(first.pid).children()[0]
        self.started: list[Typed] = []
        # Addresses of its own on this host's network, which it shares with others: none of theirs lie among these.
        self.place, self.held = _place()
        self.network, self.port = f"fresh{self.place}", 29000 + self.place * (self.SLOTS + 1)
        self.ports, self.url = {443: self.port}, f"https://127.0.0.1:{self.port}"

    def settings(self) -> dict[str, str]:
        """What sets its appliance apart from others."""
        return {
            "DPE_LISTEN": "127.0.0.1",
            "DPE_HTTPS_PORT": str(self.port),
            "DPE_APP_PORT": str(self.port + 1),
            "DPE_SLOTS": str(self.SLOTS),
            "DPE_NETWORK": self.network,
            "DPE_SUBNET": f"10.{232 + self.place}.0.0/16",
            "DPE_UPLINK": f"169.254.{232 + self.place}.0/30",
        }

    def _command(self, script: str, env: Mapping[str, str], cwd: str) -> list[str]:
        network = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        given = {"HOME": "/root", "TERM": "dumb", "PATH": ROOTS_PATH, **network, **env}
        inside = ["nsenter", f"--target={self.init.pid}", "--mount", "--pid", "--uts", "--ipc", "--root", "--"]
        environ = [f"{name}={value}" for name, value in given.items()]
        return [*inside, "/usr/bin/env", "-i", *environ, "/bin/sh", "-euc", f"cd {shlex.quote(cwd)}\n{script}"]

    def shell(self, script: str, seconds: float = 60, env: Mapping[str, str] | None = None, cwd: str = "/root") -> str:
        """What a script says, run in it as root; fails when that fails."""
        return run(self._command(script, env or {}, cwd), timeout=seconds)

    def begin(self, script: str, env: Mapping[str, str] | None = None, cwd: str = "/root") -> "Typed":
        """Start a script as one types it at a terminal."""
        self.started.append(Typed(self._command(script, env or {}, cwd)))
        return self.started[-1]

    def processes(self) -> list[str]:
        """What runs in it, besides its first process."""
        found = []
        for process in self.init.children(recursive=True):
            with suppress(psutil.Error):
                found.append(" ".join(process.cmdline()))
        return found

    def boot_links(self) -> dict[str, str]:
        """Links of what starts at its next boot, and where they lead."""
        folders = [self.root / "etc/systemd/system", *self.root.glob("etc/rc[2-5S].d")]
        links = [file for folder in folders for file in folder.rglob("*") if file.is_symlink() and not file.name.startswith("K")]
        return {str(link.relative_to(self.root)): str(link.readlink()) for link in links if str(link.readlink()) != "/dev/null"}

    def end(self) -> None:
        """End all that runs in it."""
        self.first.stdin.close()
        self.first.stdout.close()
        try:
            self.first.wait(20)
        except subprocess.TimeoutExpired:
            self.init.kill()
            self.first.wait()
        for typed in self.started:
            typed.process.wait(20)
            typed.listener.join(20)
        with suppress(DpeError):  # an appliance that was killed could not take its end of the link along
            run(["ip", "link", "delete", f"{self.network}-out"])
        self.held.close()


def _place() -> tuple[int, IO[str]]:
    """The first of 14 places that no other tree has, and the file that holds it as long as it is open."""
    for place in range(14):
        held = (CACHE / f"place-{place}.lock").open("w")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
        else:
            return place, held
    raise AssertionError(f"14 trees are in use in {CACHE}")


@contextmanager
def bare(release: str) -> Iterator[Bare]:
    """A bare Debian of the release (bookworm, trixie), and a clone of this commit to be had at /srv/dpe.git in it."""
    base = _base(release)
    with _folder() as root:
        run(["cp", "-a", "--reflink=auto", f"{base}/.", root], timeout=300)
        root.chmod(0o755)
        for name in NETWORK_FILES:
            if (file := Path("/", name)).exists():
                shutil.copy(file, root / name)
        if (certificates := Path("/", CERTIFICATES)).is_dir():
            shutil.copytree(certificates, root / CERTIFICATES, dirs_exist_ok=True)
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n")  # without its own name
        (root / "etc/hostname").write_text("fresh\n")
        run(["git", "clone", "--quiet", "--bare", "--no-hardlinks", REPOSITORY, root / "srv/dpe.git"])
        with _alone(release):
            for inside, kept in KEPT.items():
                _link(CACHE / release / kept, root / inside)
        namespaces = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL", "--"]
        first = subprocess.Popen([*namespaces, ENTER, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert first.stdout.readline() == b"ready\n"
        tree = Bare(root, first)
        try:
            yield tree
        finally:
            with suppress(DpeError):
                tree.shell("apt-get -q autoclean")
            tree.end()
            with _alone(release):
                for inside, kept in KEPT.items():
                    _keep(root / inside, CACHE / release / kept)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for a tree; in memory where there is plenty, as what is written there is written once and soon removed."""
    root = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    memory = psutil.virtual_memory().available > PLENTY
    if memory:
        run(["mount", "-t", "tmpfs", "-o", f"size={MEMORY}", "none", root])
    try:
        yield root
    finally:
        if memory:
            run(["umount", "--lazy", root])
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def _alone(release: str) -> Iterator[None]:
    """What is kept of a release changes for one run of the tests at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{release}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _base(release: str) -> Path:
    """The minimal tree, made anew when what it is made of or the week is another."""
    lines = sources.mirror(os.environ.get("DPE_DEBIAN_MIRROR", "")).lines(release)
    options = [*(f"--dpkgopt={line}" for line in SLIM), f"--include={','.join(ASKED_FOR)}"]
    made_of = "\n".join([release, *lines, *options, f"{datetime.now(UTC):%G-%V}"])
    base = CACHE / f"{release}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
    with _alone(release):
        if not base.exists():
            for old in CACHE.glob(f"{release}-*"):
                shutil.rmtree(old)
            for left in CACHE.glob("run-*"):  # of tests that were killed
                if time.time() - left.stat().st_mtime > 86400:
                    if left.is_mount():
                        run(["umount", "--lazy", left])
                    shutil.rmtree(left)
            new = CACHE / f"{base.name}.new"
            command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", *options, release, new, "-"]
            # What it mounts goes with the namespace, however it ends.
            run(["unshare", "--mount", "--propagation", "private", "--", *command], input="\n".join(lines), timeout=900)
            new.rename(base)
    return base


def _link(kept: Path, inside: Path) -> None:
    """Put what was downloaded before into the tree."""
    if kept.exists():
        shutil.rmtree(inside, ignore_errors=True)
        inside.parent.mkdir(parents=True, exist_ok=True)
        run(["cp", "-a", kept, inside], timeout=60)


def _keep(inside: Path, kept: Path) -> None:
    """Keep what was downloaded for the next run, in place of what was kept before."""
    if inside.exists():
        kept.mkdir(parents=True, exist_ok=True)
        run(["cp", "-a", "--update", f"{inside}/.", kept], timeout=60)
        for file in kept.rglob("*"):
            if file.is_file() and not (inside / file.relative_to(kept)).exists():
                file.unlink()


def readme_commands() -> list[str]:
    """The lines that README.md tells a newcomer to type, as they stand there."""
    section = (REPOSITORY / "README.md").read_text().split("## Try it without an image")[1].split("\n## ")[0]
    return re.findall(r"^    (.+)$", section, re.M)
