"""The appliance's own SSH server as it runs: OpenSSH, as a user of its own, asked for what it should not do. Machines are SSH servers at addresses on loopback."""

import asyncio
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import SSHCertificateBuilder, SSHCertificateType, load_ssh_public_key

from appliance import catalog, layout, run
from appliance.catalog import Account, Actor, Machine, MachineState, SshKey, now
from appliance.console.ssh import Questions
from appliance.identity import secrets, ssh_authority
from appliance.services import accounts, ssh
from appliance.settings import REPOSITORY, Settings, environment, load
from appliance.ssh import sshd
from tests import world
from tests.integration.conftest import own_addresses
from tests.waiting import listens, until

pytestmark = pytest.mark.ssh

GOLDEN = Path(__file__).with_name("sshd.golden")
BANNER = b"SSH-2.0-"
WITHIN = 2.0  # seconds in which a connection is over whose right has ended


@dataclass
class Computer:
    """Somebody's: keys in a folder, and what ssh is called with. `ada` and `bob` have machines; `hers` and `his` are at these addresses."""

    folder: Path
    settings: Settings
    ada: Actor
    bob: Actor
    mine: Machine
    theirs: Machine

    @property
    def hers(self) -> str:
        return self.settings.address(self.mine.slot)

    @property
    def his(self) -> str:
        return self.settings.address(self.theirs.slot)

    def make_key(self, name: str) -> str:
        """A new key of this computer; its public half."""
        run.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.folder / name])
        return (self.folder / f"{name}.pub").read_text().strip()

    def words(self, key: str, *words: str) -> list[str]:
        """ssh with this key; `jump` is the appliance, everything else goes through it."""
        options = (
            f" IdentityFile {self.folder / key}\n IdentitiesOnly yes\n UserKnownHostsFile {self.folder}/known_hosts\n GlobalKnownHostsFile none\n"
            " StrictHostKeyChecking yes\n BatchMode yes\n ConnectTimeout 20\n KexAlgorithms curve25519-sha256\n ExitOnForwardFailure yes\n"
        )
        jump = f"Host jump\n HostName 127.0.0.1\n Port {self.settings.ssh_port}\n User {sshd.USER}\n"
        (self.folder / f"{key}.config").write_text(f"{jump}{options}Host * !jump\n ProxyJump jump\n User root\n{options}")
        return ["ssh", "-F", str(self.folder / f"{key}.config"), *words]

    def ssh(self, key: str, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(self.words(key, *words), stdin=subprocess.DEVNULL, capture_output=True, timeout=60)

    def reaches(self, key: str, place: str, master: Path = Path("none")) -> bool:
        """Whether something answers there, through the appliance; over the connection of a ControlMaster, if one is named."""
        return BANNER in self.ssh(key, "-S", str(master), "-W", place, "jump").stdout


def seconds_until(holds: Callable[[], object]) -> float:
    """Wait; returns how long it took."""
    begun = time.monotonic()
    until(holds)
    return time.monotonic() - begun


@contextmanager
def answering(settings: Settings) -> Iterator[None]:
    """dpe-console's part, in a thread."""
    over, loop = asyncio.Event(), asyncio.new_event_loop()

    async def answer() -> None:
        async with Questions(settings).answered():
            shutil.chown(settings.ssh_questions, group=sshd.USER)  # the folder's set-group-ID bit does it where the process is not root
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(answer()))
    thread.start()
    yield
    loop.call_soon_threadsafe(over.set)
    thread.join()
    loop.close()


@contextmanager
def machines(computer: Computer) -> Iterator[None]:
    """Hers and his: each an SSH server with a host key that the appliance signed, which takes her key."""
    folder = computer.folder
    public = run.run(["sh", "-c", f"ssh-keygen -q -t ed25519 -N '' -f {folder}/machine && cat {folder}/machine.pub"])
    certificate = ssh_authority.sign_host(public, [computer.hers], now())
    (folder / "machine-cert.pub").write_text(f"{certificate}\n")
    (folder / "machine_config").write_text(
        f"ListenAddress {computer.hers}\nListenAddress {computer.his}\nHostKey {folder}/machine\nHostCertificate {folder}/machine-cert.pub\n"
        f"AuthorizedKeysFile {folder}/ada.pub\nPermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    process = run.start(["/usr/sbin/sshd", "-D", "-f", folder / "machine_config"])
    until(lambda: listens(22, computer.his))
    yield
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def computer() -> Iterator[Computer]:
    with tempfile.TemporaryDirectory(prefix="dpe-ssh-") as name, own_addresses() as number, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o711)
        settings = load({}, state=folder / "s", listen="127.0.0.1", ssh_port=26000 + number, subnet=f"127.{64 + number}.0.0/16", slots=50)
        layout.prepare(settings)
        catalog.open(settings.catalog)
        secrets.open(settings.web_secret)
        small, ada, bob = world.machine_class("small", world.NOTEBOOK), world.account("ada"), world.account("bob")
        world.seed("small", 1, promoted=True)
        mine, theirs = (world.machine(small, MachineState.IN_USE, owner=who) for who in (ada, bob))
        made = Computer(folder, settings, ada, bob, mine, theirs)
        accounts.add_ssh_keys(ada, made.make_key("ada"))
        (folder / "known_hosts").write_text(ssh_authority.known_hosts(settings.ssh_names) + "\n")
        stack.enter_context(answering(settings))
        command = ["setpriv", f"--reuid={sshd.USER}", f"--regid={sshd.USER}", "--clear-groups", "--no-new-privs", "--"]
        env = {**environment(settings), "PYTHONPATH": str(REPOSITORY)}
        process = run.start([*command, sys.executable, "-m", "appliance.ssh"], env=env, cwd=Path("/"))
        stack.callback(process.wait)
        stack.callback(process.terminate)
        stack.enter_context(machines(made))
        yield made
    catalog.close()


@pytest.fixture(scope="module")
def on(computer: Computer) -> Computer:
    """The server is switched on."""
    assert not listens(computer.settings.ssh_port)
    ssh.switch(computer.ada, on=True)
    until(lambda: listens(computer.settings.ssh_port))
    return computer


def test_a_persons_own_machine_and_nothing_else(on: Computer) -> None:
    """Nobody is asked whether they know a host key: neither the appliance's nor the machine's."""
    done = on.ssh("ada", on.hers, "echo", "in", "$SSH_CONNECTION")
    assert re.fullmatch(rf"in {on.hers} \d+ {on.hers} 22\n".encode(), done.stdout) or b" 22\n" in done.stdout, done.stderr
    until(lambda: SshKey.get(SshKey.account == on.ada.account_id).used_at)
    number = int.from_bytes(socket.inet_aton(on.hers))
    places = {
        "another's": f"{on.his}:22", "another port": f"{on.hers}:{on.settings.ssh_port}", "the appliance": f"127.0.0.1:{on.settings.ssh_port}",
        "by name": "localhost:22", "as a number": f"{number}:22", "in hexadecimal": f"{number:#x}:22", "as IPv6": f"[::ffff:{on.hers}]:22",
        "shortened": f"{on.hers.split('.')[0]}.{number & 0xFFFFFF}:22",
    }  # fmt: skip
    asked = {
        "shell": ["jump"], "command": ["jump", "id"], "sftp": ["-s", "jump", "sftp"], "agent": ["-A", "jump", "ssh-add", "-l"],
        "-R": ["-N", "-R", "0:127.0.0.1:22", "jump"], "-R of a socket": ["-N", "-R", f"{on.folder}/back:127.0.0.1:22", "jump"],
        "-w": ["-N", "-w", "0:0", "jump"], "tty": ["-tt", "jump"], "X11": ["-X", "jump", "id"],
    }  # fmt: skip
    with connected(on, "ada") as (_, path):
        assert {name: place for name, place in places.items() if on.reaches("ada", place, path)} == {}
        for name, words in asked.items():
            done = on.ssh("ada", *(["-S", str(path)] if "-w" not in words else []), *words)
            assert (bool(done.returncode), done.stdout) == (True, b""), (name, done)


def test_keys_that_are_nobodys_and_keys_that_were_removed(on: Computer) -> None:
    key = on.make_key("other")
    assert b"Permission denied" in on.ssh("other", "-W", f"{on.hers}:22", "jump").stderr
    accounts.add_ssh_keys(on.ada, key)
    assert on.reaches("other", f"{on.hers}:22")
    with connected(on, "other") as (master, _):
        accounts.remove_ssh_key(on.ada, accounts.ssh_keys_of(on.ada.account_id or 0)[-1].id)
        assert seconds_until(lambda: master.poll() is not None) < WITHIN
    assert not on.reaches("other", f"{on.hers}:22")


@contextmanager
def connected(on: Computer, key: str) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """A ControlMaster of this key, and its socket."""
    path = on.folder / f"{key}.control"
    with subprocess.Popen(on.words(key, "-N", "-M", "-S", str(path), "jump"), stderr=subprocess.DEVNULL) as master:
        try:
            until(path.exists)
            assert on.reaches(key, f"{on.hers}:22", path)
            yield master, path
        finally:
            master.kill()


def test_certificates_of_ten_minutes(on: Computer) -> None:
    key = on.make_key("short").rpartition(" ")[0]
    file = on.folder / "short-cert.pub"

    def reaches(certificate: str) -> bool:
        file.write_text(f"{certificate}\n")
        return on.reaches("short", f"{on.hers}:22")

    moment, who = now(), on.ada.account_id or 0
    assert reaches(ssh.certificate(on.ada, key))
    assert not on.reaches("short", f"{on.his}:22")
    assert not reaches(ssh_authority.sign_user(key, who, moment - timedelta(minutes=10, seconds=1)))
    theirs = Ed25519PrivateKey.generate()
    forged = SSHCertificateBuilder().public_key(load_ssh_public_key(key.encode())).type(SSHCertificateType.USER).key_id(b"x")
    forged = forged.valid_principals([ssh_authority.name_of(who).encode()]).valid_after(0).valid_before(1 << 40)
    assert not reaches(forged.add_extension(b"permit-port-forwarding", b"").sign(theirs).public_bytes().decode())


@pytest.mark.revoked
def test_a_connection_that_outlives_the_lease_is_cut(on: Computer) -> None:
    """The next machine at the address is somebody else's; the connection would open a channel to it."""
    with connected(on, "ada") as (master, _):
        with catalog.write():
            Machine.update(state=MachineState.RECLAIMING, owner=None).where(Machine.id == on.mine.id).execute()
        assert seconds_until(lambda: master.poll() is not None) < WITHIN
    assert not on.reaches("ada", f"{on.hers}:22")
    with catalog.write():
        Machine.update(state=MachineState.IN_USE, owner=on.ada.account_id).where(Machine.id == on.mine.id).execute()
    with connected(on, "ada") as (master, _):
        with catalog.write():
            Account.update(disabled=True).where(Account.id == on.ada.account_id).execute()
        assert seconds_until(lambda: master.poll() is not None) < WITHIN
    with catalog.write():
        Account.update(disabled=False).where(Account.id == on.ada.account_id).execute()
    with connected(on, "ada") as (master, _):
        ssh.switch(on.ada, on=False)
        until(lambda: master.poll() is not None)
    until(lambda: not listens(on.settings.ssh_port))


def test_what_sshd_makes_of_its_configuration(tmp_path: Path) -> None:
    """The order of directives matters to some releases; what they make of it does not change by itself."""
    settings = load({}, state=tmp_path)
    run.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", sshd.host_key(tmp_path)])
    (tmp_path / "sshd_config").write_text(sshd.configuration(settings, tmp_path))
    Path("/run/sshd").mkdir(exist_ok=True)
    told = run.run([sshd.SSHD, "-T", "-f", tmp_path / "sshd_config", "-o", "HostCertificate=none"])
    told = told.replace(str(tmp_path), "FOLDER").replace(sys.executable, "PYTHON").replace(str(REPOSITORY), "CHECKOUT")
    golden = GOLDEN.read_text()
    named = {line.split(" ", 1)[0] for line in golden.splitlines()}
    assert "".join(sorted(f"{line}\n" for line in told.splitlines() if line.split(" ", 1)[0] in named)) == golden
