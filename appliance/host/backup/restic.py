"""restic over a backup target: where it lies, how it is reached, and what its errors mean.

Passwords and keys reach restic as environment variables, which root alone can read, never as arguments.
"""

import base64
import contextlib
import hashlib
import json
import os
import re
import secrets
import shlex
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import durable
from appliance.errors import BadInput, CommandFailed, Conflict, DpeError, NotFound, Unavailable
from appliance.host.interface.backups import S3, Disk, Folder, Sftp, Target
from appliance.host.rpc.registry import Host
from appliance.run import Argument, run, start, tied
from appliance.settings import Settings

# Letters and digits that cannot be taken for one another on paper.
ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
GROUPS, GROUP = 8, 4  # of a recovery key: about 158 bits
SOON = 45.0  # seconds for what restic does at once
PAGE = 20.0  # seconds for the same while somebody waits for it in the page; there are at most two, and a look at the server's key
TAG = "dpe"

# -- keys ----------------------------------------------------------------------------------------


def new_key() -> str:
    """A recovery key: what restic encrypts with, and all that is needed to read a backup."""
    return "".join(secrets.choice(ALPHABET) for _ in range(GROUPS * GROUP))


def printed(key: str) -> str:
    """A recovery key as people write it down."""
    return "-".join(key[at : at + GROUP] for at in range(0, len(key), GROUP))


def typed(key: str) -> str:
    """A recovery key as somebody typed it. Raises BadInput for what is none."""
    found = re.sub(r"[\s-]", "", key).upper()
    if len(found) != GROUPS * GROUP or not set(found) <= set(ALPHABET):
        raise BadInput(
            "That is not a recovery key.",
            f"It has {GROUPS} groups of {GROUP} letters and digits, and was shown when the backup was set up.",
            field="key",
        )
    return found


def folder(settings: Settings) -> Path:
    """What the appliance knows of its backups: target, keys, schedule, last result. For root alone."""
    return settings.host / "backup"


def ssh_key(settings: Settings) -> tuple[Path, str]:
    """The appliance's own SSH key, made when there is none: its file, and its public half as a line for authorized_keys."""
    file = folder(settings) / "id_ed25519"
    if not file.exists():
        made = Ed25519PrivateKey.generate()
        form, no = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        durable.write(file, made.private_bytes(serialization.Encoding.PEM, form, no).decode())
    private = serialization.load_ssh_private_key(file.read_bytes(), None)
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return file, f"{public.decode()} dpe-backup"


def fingerprint(host_key: str) -> str:
    """A host key's fingerprint, as `ssh` prints it."""
    kind, blob = host_key.split()
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode().rstrip("=")
    return f"SHA256:{digest} ({kind.removeprefix('ssh-').upper()})"


def host_keys(target: Sftp) -> list[str]:
    """The keys that a server shows now, each as `type base64`. Raises Unavailable when it shows none."""
    try:
        # One connection a kind: a server of OpenSSH 9.8 and later turns away, for a while, who comes often without signing in.
        said = run(["ssh-keyscan", "-T", "10", "-t", "ed25519,ecdsa,rsa", "-p", str(target.port), "--", target.host], timeout=12)
    except CommandFailed:
        said = ""
    found = sorted(" ".join(line.split()[1:3]) for line in said.splitlines() if line and not line.startswith("#"))
    if not found:
        raise Unavailable(
            f"No SSH server answers at {target.host}, port {target.port}.",
            "Check the name and the port, and that nothing in between blocks it.",
        )
    return found


# -- a repository ----------------------------------------------------------------------------------

_mounting = threading.Lock()
_users = 0


@dataclass(frozen=True)
class Repository:
    """restic's repository at a target, for as long as `at` lasts."""

    location: str
    options: tuple[str, ...]
    env: Mapping[str, str]
    target: Target
    owner: str  # whose locks are ours: `dpe-` and what no other appliance has
    ssh_log: Path | None = None  # what ssh says, which reaches the server of an Sftp
    patience: float = SOON  # seconds for what `ask` is not given a timeout for

    def _why(self, said: str) -> DpeError:
        """What went wrong. restic does not wait for the last words of ssh, so they are in a log of their own."""
        error = explain(said, self.target)
        if self.ssh_log and "cannot be reached" in error.message and (words := self.ssh_log.read_text(errors="replace").strip()):
            return explain(words[-2000:], self.target)
        return error

    def command(self, *arguments: Argument, gives_way: bool = False) -> list[Argument]:
        """The command line, of a process that dies with us, and gives way to machines, with processor and disk, when nobody waits for it.

        It has a host name of its own, which restic writes into its locks: they tell our own from others', and no restic ever takes the
        number in one for that of a process here, which it would ask by SIGHUP whether it lives.
        """
        answer = "--json" if "--json" in arguments else "--quiet"
        nice = ["nice", "-n", "10", "ionice", "-c", "2", "-n", "7"] if gives_way else []
        command = [*nice, "restic", answer, *self.options, *[a for a in arguments if a != "--json"]]
        name = f"{self.owner}-{secrets.token_hex(4)}"
        return list(tied(["unshare", "--uts", "--", "sh", "-c", 'hostname "$0" && exec "$@"', name, *command]))

    def ask(self, *arguments: Argument, timeout: float | None = None) -> str:
        """Run restic to its end; what it prints. Raises DpeError in words."""
        try:
            return run(self.command(*arguments), env=self.env, timeout=timeout or self.patience)
        except CommandFailed as error:
            if error.status == 124:  # it was waited for in vain; asking once more would be, too
                where = capital(str(self.target))
                hint = "Check its address and its load, and that nothing in between blocks it."
                raise Unavailable(f"{where} does not answer in time.", hint) from error
            raise self._why(error.output or error.message) from error

    def snapshots(self) -> list[dict[str, Any]]:
        """The backups that are there, the newest first."""
        found = json.loads(self.ask("snapshots", "--json", "--no-lock", "--tag", TAG) or "null") or []
        return sorted(found, key=lambda one: str(one["time"]), reverse=True)

    def id(self) -> str:
        """The repository's own id. Raises NotFound when there is no repository, BadInput when the key is another's."""
        return str(json.loads(self.ask("cat", "config", "--no-lock", "--json"))["id"])

    def clear_locks(self) -> None:
        """Take away locks of this appliance's that was cut off, and any that are old. Only for an operation, of which there is one at a time."""
        locks = self.ask("list", "locks", "--no-lock").split()
        owners = [str(json.loads(self.ask("cat", "lock", lock, "--no-lock"))["hostname"]) for lock in locks]
        if owners:
            ours = all(owner.startswith(f"{self.owner}-") for owner in owners)
            self.ask("unlock", *(["--remove-all"] if ours else []))

    def follow(self, host: Host, *arguments: Argument, cwd: Path, heard: Callable[[str], None]) -> int:
        """Run restic for long; `heard` gets each line that it prints. Returns its status, 0 or 3 (some files could not be read).

        Raises Conflict when it was cancelled, else DpeError in words.
        """
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            process = start(self.command(*arguments, gives_way=True), env=self.env, cwd=cwd, stdout=out_write, stderr=err_write)
        finally:
            os.close(out_write)
            os.close(err_write)
        errors: deque[str] = deque(maxlen=40)
        listener = threading.Thread(target=_listen, args=(os.fdopen(err_read, "rb"), errors, host), daemon=True)
        listener.start()
        over = threading.Event()
        stopper = threading.Thread(target=_stop_when_cancelled, args=(host, over, process.send_signal), daemon=True)
        stopper.start()
        try:
            with os.fdopen(out_read, "rb") as out:
                for line in out:
                    heard(line.decode(errors="replace").rstrip("\n"))
            status = process.wait()
        finally:
            over.set()
            if process.poll() is None:
                process.kill()
                process.wait()
            listener.join(5)
        if host.cancelled.is_set():
            raise Conflict("It was cancelled.", "What was there before is untouched.")
        if status not in (0, 3):
            raise self._why("\n".join(errors))
        return status


def _listen(err: IO[bytes], errors: "deque[str]", host: Host) -> None:
    with err:
        for raw in err:
            line = raw.decode(errors="replace").rstrip("\n")
            errors.append(line)
            if "retrying after" in line or "operation failed" in line:
                host.tell("The backup target does not answer as it should; trying again.", None)


def _stop_when_cancelled(host: Host, over: threading.Event, send: Callable[[int], None]) -> None:
    while not over.wait(0.3):
        if host.cancelled.is_set():
            with contextlib.suppress(ProcessLookupError):
                send(signal.SIGINT)  # restic takes its lock away then
            if not over.wait(10):
                with contextlib.suppress(ProcessLookupError):
                    send(signal.SIGKILL)
            return


@contextlib.contextmanager
def at(target: Target, key: str, settings: Settings, patience: float = SOON) -> Iterator[Repository]:
    """The repository at a target, opened with a recovery key; a disk is mounted meanwhile. Raises DpeError when it cannot be reached."""
    with contextlib.ExitStack() as stack:
        env = {"RESTIC_PASSWORD": key, "RESTIC_CACHE_DIR": os.fspath(settings.cache / "restic"), "LC_ALL": "C.UTF-8"}
        options: tuple[str, ...] = ()
        ssh_log = None
        match target:
            case Folder():
                location = os.fspath(_usable(Path(target.path), settings))
            case Disk():
                location = os.fspath(stack.enter_context(_mounted(target, settings)) / "dpe-backup")
            case Sftp():
                location = f"sftp:{target.user}@{'server' if ':' in target.host else target.host}:{target.path}"
                ssh_log = Path(stack.enter_context(tempfile.NamedTemporaryFile(prefix="ssh-", dir=settings.run)).name)
                options = ("-o", f"sftp.command={shlex.join(_ssh(target, settings, ssh_log))}")
            case S3():
                location = f"s3:{target.endpoint.rstrip('/')}/{target.bucket}" + (f"/{target.prefix.strip('/')}" if target.prefix else "")
                env |= {"AWS_ACCESS_KEY_ID": target.access_key, "AWS_SECRET_ACCESS_KEY": target.secret_key}
                if target.region:
                    env["AWS_DEFAULT_REGION"] = target.region
            case _:
                raise BadInput("There is no such kind of backup target.")
        yield Repository(location, options, env | {"RESTIC_REPOSITORY": location}, target, _owner(settings), ssh_log, patience)


def _owner(settings: Settings) -> str:
    """What this appliance's locks are known by: not its host name, which others may have, too."""
    _, public = ssh_key(settings)
    return f"dpe-{hashlib.sha256(public.encode()).hexdigest()[:12]}"


def _usable(path: Path, settings: Settings) -> Path:
    if not path.is_dir():
        raise Unavailable(f"There is no folder {path}.", "Make it first; if it is on another disk or server, see that it is mounted.")
    inside = path.resolve()
    if inside == settings.state.resolve() or settings.state.resolve() in inside.parents:
        raise BadInput(
            f"{path} is where the appliance itself lies; a backup there would be lost with it.", "Choose another disk or server."
        )
    return path


@contextlib.contextmanager
def _mounted(target: Disk, settings: Settings) -> Iterator[Path]:
    global _users
    where = settings.run / "backup-disk"
    with _mounting:
        if _users == 0 and os.path.ismount(where):  # left by somebody who was killed; it may be another disk
            run(["umount", "--lazy", where])
        where.mkdir(mode=0o700, exist_ok=True)
        if _users == 0:
            try:
                run(["mount", "-o", "nosuid,nodev,noexec", f"UUID={target.uuid}", where])
            except CommandFailed as error:
                raise Unavailable("The backup disk is not there, or cannot be read.", "Plug it in, and try again.") from error
        _users += 1
    try:
        yield where
    finally:
        with _mounting:
            _users -= 1
            if _users == 0:
                with contextlib.suppress(DpeError):
                    run(["umount", where], timeout=600)


def _ssh(target: Sftp, settings: Settings, log: Path) -> list[str]:
    if not target.host_keys:
        raise Conflict("Nobody has confirmed the server's key yet.", "Compare the fingerprint that is shown with the server's own.")
    lines = "".join(f"backup-server {one}\n" for one in sorted(target.host_keys))
    known = settings.run / f"backup-hosts-{hashlib.sha256(lines.encode()).hexdigest()[:16]}"
    durable.write(known, lines)
    private, _ = ssh_key(settings)
    options = {
        "IdentityFile": private, "IdentitiesOnly": "yes", "BatchMode": "yes", "UserKnownHostsFile": known, "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes", "HostKeyAlias": "backup-server", "UpdateHostKeys": "no", "ConnectTimeout": "15",
        "ServerAliveInterval": "15", "ServerAliveCountMax": "4", "Port": target.port, "User": target.user,
    }  # fmt: skip
    command = [
        "ssh",
        "-F",
        "/dev/null",
        "-E",
        os.fspath(log),
        *(part for name, value in options.items() for part in ("-o", f"{name}={value}")),
    ]
    return [*command, "-s", "--", target.host, "sftp"]


# -- what went wrong -------------------------------------------------------------------------------

MEANINGS: Sequence[tuple[str, type[DpeError], str, str]] = (
    (r"wrong password|no key found", BadInput, "That recovery key does not open the backups at {target}.", "Look at what was written down when they were set up."),
    (r"No space left on device|disk quota exceeded|XMinioStorageFull|QuotaExceeded", Unavailable, "There is no room left at {target}.", "Make room there, or keep fewer backups."),
    (r"Host key verification failed|REMOTE HOST IDENTIFICATION", Unavailable, "The server at {target} shows another key than the one that was confirmed.", "Somebody may be in between. If the server was set up anew, configure the backup again."),
    (r"Permission denied \(|Too many authentication failures", Unavailable, "{target} does not let the appliance in.", "Put the appliance's public key, which the page shows, into authorized_keys there."),
    (r"ssh: .*|Connection (refused|timed out|closed|reset|lost)|ssh command exited|EOF$|broken pipe|unable to start the sftp session", Unavailable, "{target} cannot be reached.", "Check that the server is up, its address, and that nothing in between blocks it."),
    (r"did not end within", Unavailable, "{target} did not answer in time.", "Check that the server is up and not too busy, and try again."),
    (r"InvalidAccessKeyId|SignatureDoesNotMatch|Access ?Denied|403 Forbidden", Unavailable, "{target} refuses the access key.", "Check the key and its secret, and that it may read, write and delete there."),
    (r"repository is already locked|unable to create lock", Conflict, "Something else works on the backups at {target} just now.", "Wait for it to end; what was cut off elsewhere stops counting after half an hour."),
    (r"ciphertext verification failed|invalid data returned|repository contains errors|blob .* not found|pack .* (damaged|hash)|hash mismatch|unexpected pack|tree .* not found|file not found", Conflict, "Backups at {target} are damaged.", "Do not count on them. Check that disk or server, then back up to another place."),
    (r"Is there a repository|repository does not exist|unable to open config file|bucket does not exist|NoSuchBucket", NotFound, "There are no backups at {target}.", "See that the right disk, folder or bucket is named, and that it is mounted."),
    (r"no such host|dial tcp|i/o timeout|network is unreachable|no route to host|x509|tls:", Unavailable, "{target} cannot be reached.", "Check its address, and that nothing in between blocks it."),
    (r"read-only file system|permission denied|Input/output error", Unavailable, "{target} cannot be written to.", "Check that disk, and who may write there."),
)  # fmt: skip


def explain(said: str, target: Target) -> DpeError:
    """What restic's last words mean for people."""
    for pattern, kind, message, hint in MEANINGS:
        if re.search(pattern, said, re.MULTILINE | re.IGNORECASE):
            return kind(capital(message.format(target=target)), hint)
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "no reason was given")
    return Unavailable(f"The backup program failed: {last.removeprefix('Fatal: ').strip()[:300]}", "The log of dpe-host has the details.")


def capital(text: str) -> str:
    """The text as a sentence begins; an address stays as it is."""
    return text[:1].upper() + text[1:] if not text.split()[0].count("@") else text
