"""Speaking with the QEMU guest agent in a machine."""

import base64
import contextlib
import json
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import libvirt
import libvirt_qemu

from appliance.errors import Unavailable
from appliance.hypervisor.libvirt.xml import Agent
from appliance.hypervisor.provider import Executed, Fill, GuestSigns

REFUSED_WITHIN = 2  # seconds in which libvirt's refusal means that nothing has been sent yet
NOT_ANSWERED = 112  # VIR_ERR_AGENT_COMMAND_TIMEOUT, which libvirt 9 says as AGENT_UNRESPONSIVE, and its Python module does not know yet
NOT_GREETED = "synchronization"  # in what libvirt says when it has sent nothing yet but its greeting
READ_AT_MOST = 8192  # bytes of a file
ANSWERS_WITHIN = 30  # seconds for what the agent does at once, on a host that has more to do than it can


def connected(domain: libvirt.virDomain) -> bool:
    """Whether an agent listens. Asking this first keeps libvirt from writing an error to its log at each try."""
    described = ET.fromstring(domain.XMLDesc())  # noqa: S314  it comes from our own libvirtd
    target = described.find(f"devices/channel/target[@name='{Agent.NAME}']")
    return target is not None and target.get("state") == "connected"


def be_patient(domain: libvirt.virDomain) -> None:
    """libvirt greets the agent before each command; up to version 9 it waits as long for it to greet back as it is told here, once for a machine's run."""
    domain.agentSetResponseTimeout(ANSWERS_WITHIN)


@contextlib.contextmanager
def hurried(domain: libvirt.virDomain, seconds: float) -> Iterator[None]:
    """Give up on an agent that does not answer after so many seconds already."""
    domain.agentSetResponseTimeout(max(1, min(ANSWERS_WITHIN, int(seconds))))
    try:
        yield
    finally:
        with contextlib.suppress(libvirt.libvirtError):  # it may have gone off meanwhile
            be_patient(domain)


@contextlib.contextmanager
def listening(domain: libvirt.virDomain, seconds: float) -> Iterator[None]:
    """Ask a running machine something that it answers at once. Raises Unavailable when no agent listens; gives up as `hurried` does."""
    if not domain.isActive() or domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING or not connected(domain):
        raise Unavailable(f"The guest agent of {domain.name()} is not there.", "Is the machine running?")
    with hurried(domain, seconds):
        yield


def begin(domain: libvirt.virDomain, command: Sequence[str], *, input: bytes = b"", within: float = ANSWERS_WITHIN) -> int:
    """Start a command in the machine, for `ended`. Raises Unavailable when the agent does not take it within so many seconds."""
    arguments: dict[str, Any] = {"path": command[0], "arg": list(command[1:]), "capture-output": True}
    if input:
        arguments["input-data"] = base64.b64encode(input).decode()
    pid: int = _command(domain, "guest-exec", within, **arguments)["pid"]
    return pid


def ended(domain: libvirt.virDomain, pid: int, *, within: float = ANSWERS_WITHIN) -> Executed | None:
    """What a command that was begun ended with; None while it runs. It is told once."""
    status = _command(domain, "guest-exec-status", within, pid=pid)
    if not status["exited"]:
        return None
    # A command that a signal ended has no exit code; shells say 128 and the signal's number.
    code = status.get("exitcode", 128 + status.get("signal", 0))
    return Executed(code, _decoded(status, "out-data"), _decoded(status, "err-data"))


def execute(
    domain: libvirt.virDomain, command: Sequence[str], *, input: bytes = b"", deadline: float, within: float = ANSWERS_WITHIN
) -> Executed:
    """Run a command in the machine, whose agent must be connected. Raises Unavailable when it does not end before `deadline`."""
    pid = begin(domain, command, input=input, within=within)
    pause = 0.03  # the agent tells nobody when a command ends, and each question takes time from the command
    while (done := ended(domain, pid, within=within)) is None:
        if time.monotonic() > deadline:
            raise Unavailable(f"{command[0]} did not end in time in {domain.name()}.", "Look at the load of the machine and of the host.")
        time.sleep(pause)
        pause = min(pause * 1.2, 0.25)
    return done


def read(domain: libvirt.virDomain, path: str, *, deadline: float, within: float) -> str:
    """The beginning of a file in the machine, read by the agent itself. Raises Unavailable when it does not tell in time."""
    handle = _command(domain, "guest-file-open", within, path=path, mode="r")
    try:
        if time.monotonic() > deadline:
            raise Unavailable(f"{path} could not be read in time in {domain.name()}.", "Look at the load of the machine and of the host.")
        found = _command(domain, "guest-file-read", within, handle=handle, count=READ_AT_MOST)
    finally:
        with contextlib.suppress(libvirt.libvirtError, Unavailable):
            _command(domain, "guest-file-close", within, handle=handle)
    return _decoded(found, "buf-b64")


# Terminals that belong to somebody else than root, who has them from the start. A terminal is "read" when a key is pressed. At its own consoles a
# machine signs its owner in by itself, which changes their owner: whoever has pressed no key since then is not there.
SIGNS = """
read -r load rest < /proc/loadavg && echo "load $load" && echo "now $(date +%s)"
for terminal in /dev/pts/[0-9]* /dev/tty[0-9]* /dev/ttyS[0-9]*; do
    [ ! -e "$terminal" ] || [ -O "$terminal" ] || stat -c "terminal %U %X %Z %n" "$terminal"
done
"""


class _Terminal(NamedTuple):
    """Of whom, when a key was pressed last, and since when it is theirs: seconds since 1970."""

    owner: str
    read: float
    since: float
    name: str

    @property
    def used(self) -> bool:
        return self.name.startswith("/dev/pts/") or self.read > self.since


def signs(domain: libvirt.virDomain, *, deadline: float, within: float) -> GuestSigns:
    """Whether somebody works in the machine, whose agent must be connected. Raises Unavailable when it does not tell in time."""
    done = execute(domain, ["/bin/sh", "-c", SIGNS], deadline=deadline, within=within)
    try:
        (load,), (now,) = ([float(rest) for rest in _lines(done.output, name)] for name in ("load", "now"))
        terminals = [
            _Terminal(owner, float(read), float(since), name)
            for owner, read, since, name in map(str.split, _lines(done.output, "terminal"))
        ]
    except ValueError as error:
        raise Unavailable(f"{domain.name()} does not say whether somebody works in it: {(done.error or done.output)[-200:]}") from error
    used = [one for one in terminals if one.used]
    return GuestSigns(len({one.owner for one in used}), load, min((max(0.0, now - one.read) for one in used), default=None))


def fill(domain: libvirt.virDomain, folder: str, size: int, *, within: float) -> Fill:
    """How full the file system at `folder` is, on a disk of `size` bytes. It is the machine's own word: what cannot be raises Unavailable."""
    told = _command(domain, "guest-get-fsinfo", within)
    try:
        (found,) = (one for one in told if one["mountpoint"] == folder)
        used, total = found["used-bytes"], found["total-bytes"]
    except (ValueError, TypeError, LookupError) as error:
        raise Unavailable(f"{domain.name()} does not say how full its data disk is.", "Is it mounted at /data?") from error
    if not (type(used) is type(total) is int and 0 <= used <= total <= size and total):
        raise Unavailable(f"{domain.name()} says of its data disk what cannot be: {str(used)[:20]} of {str(total)[:20]} bytes.")
    return Fill(used, total)


def _lines(output: str, name: str) -> list[str]:
    return [line.removeprefix(f"{name} ") for line in output.splitlines() if line.startswith(f"{name} ")]


def _command(domain: libvirt.virDomain, name: str, within: float = ANSWERS_WITHIN, **arguments: Any) -> Any:
    text = json.dumps({"execute": name, "arguments": arguments} if arguments else {"execute": name})
    begun = time.monotonic()
    while True:
        try:
            return json.loads(libvirt_qemu.qemuAgentCommand(domain, text, max(1, int(within)), 0))["return"]
        except libvirt.libvirtError as error:
            code = error.get_error_code()
            if code not in (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, NOT_ANSWERED):
                raise
            tried = time.monotonic() - begun
            # Just after a resume libvirt refuses at once, as the agent's port opens anew, and later versions than 9 wait only five seconds
            # for its greeting. What was sent is never sent twice.
            patience = within if NOT_GREETED in error.get_error_message() else REFUSED_WITHIN
            if tried > patience or code == NOT_ANSWERED:
                raise Unavailable(
                    f"The guest agent of {domain.name()} does not answer: {error.get_error_message()}.",
                    "Look at the load of the machine and of the host.",
                ) from error
            time.sleep(0.02)


def _decoded(status: dict[str, Any], name: str) -> str:
    return base64.b64decode(status.get(name, "")).decode(errors="replace")
