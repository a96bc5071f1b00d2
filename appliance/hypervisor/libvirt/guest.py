"""Reaching into a machine: through its agent, and to its application."""

import contextlib
import http.client
import logging
import re
import secrets
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import libvirt

from appliance.errors import Conflict, DpeError, Unavailable
from appliance.hypervisor.libvirt import agent, daemon, disks, read_ahead
from appliance.hypervisor.libvirt.base import Base, find
from appliance.hypervisor.provider import PERSONALISE_COMMAND, Executed, GuestSigns, MachineSpec, NoData
from appliance.laps import NAMING, Lap

log = logging.getLogger(__name__)

DATA_IS_NOT_OURS = 65  # its status, and then personalise's, when what is on the disk cannot be mounted
DATA_FOLDER = "/data"  # where a machine has its data disk
SLOW = 1.5  # seconds that telling a machine the time may take before its clock is looked at
CLOSE = 0.5  # seconds that it may be wrong then
TELLINGS = 3  # times that it is told again at most
LOOK_EVERY = 0.5  # seconds between looks at whether a command in a machine has failed
AT_WORK = 0.3  # of one processor, on average: what a guest that is still coming up uses at least
LONGER = 10  # times its boot_timeout that it is given then on a server without virtualisation, which may be that much slower


class Guest(Base):
    """Commands in machines, and waiting until they are themselves."""

    def wait(
        self,
        spec: MachineSpec,
        report: Callable[[str], None] | None = None,
        *,
        personalise: bytes = b"",
        given_up: Callable[[], bool] | None = None,
    ) -> Sequence[Lap]:
        asked_at = time.monotonic()
        say = report or (lambda _text: None)
        times = LONGER if daemon.acceleration(self.settings)[0] == "emulation" else 1
        patience = _Patience(lambda: self._used(spec.id), spec.boot_timeout, times)
        said = f"What it said is in {self.layout.serial_log(spec.id)}."

        def until(ready: Callable[[], bool], pause: float, what: str, hint: str) -> None:
            def alive_and_ready() -> bool:
                nonlocal asked_at
                if given_up is not None and time.monotonic() - asked_at > 1:
                    asked_at = time.monotonic()
                    if given_up():
                        raise Conflict(f"{spec.name} is not wanted any more.")
                with self._connection.use() as connection:
                    domain = find(connection, spec.id)
                    if domain is None or not domain.isActive():
                        raise DpeError(f"{spec.name} went off before {what} answered.", said)
                return ready()

            while not self._connection.until(alive_and_ready, patience.deadline, pause):
                if not patience.renewed():
                    raise Unavailable(f"{spec.name} runs, but {what} did not answer within {patience.waited:.0f} s.", f"{hint} {said}")

        say("waiting for its agent")
        until(lambda: self._agent_connected(spec.id), 2, "its guest agent", "Does the seed have qemu-guest-agent, and does it boot?")
        say(NAMING)
        told_at = time.monotonic()
        personalising = self._begin(spec, personalise, patience.deadline - told_at)

        def answers(asked: "_Asked") -> bool:
            """The address comes last in personalising, so that a machine that answers there is itself; looking there costs it nothing."""
            if asked.answers(time.monotonic() - told_at):
                return True
            if personalising.has_just_ended():
                say("waiting for its application")
            return False

        for asked in _asked(spec):
            until(partial(answers, asked), 0.02, asked.what, f"{asked.hint}, and does its service start?")
        self._connection.until(personalising.is_over, patience.deadline + 1, 0.02)
        if time.monotonic() - told_at > SLOW:
            self._correct_clock(spec.id)
        self._note_touched(spec)
        return personalising.laps

    def _note_touched(self, spec: MachineSpec) -> None:
        """Of a machine that became itself: which pages of its snapshot that takes."""
        if spec.snapshot is not None:
            read_ahead.record(self.layout.snapshot(spec.snapshot), self.layout.pid_file(spec.name))

    def _used(self, id: str) -> float:
        """Seconds of a processor that a machine has used since it was switched on; 0 for one that is off."""
        with self._connection.use() as connection:
            domain = find(connection, id)
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
            with agent.listening(domain, timeout):
                return agent.signs(domain, deadline=deadline, within=timeout)


@dataclass
class _Personalising:
    """The command that gives a machine its name and address, under way in it."""

    provider: Guest
    spec: MachineSpec
    pid: int
    over: bool = False
    laps: Sequence[Lap] = ()
    looked_at: float = field(default_factory=time.monotonic)

    def has_just_ended(self) -> bool:
        """Whether it has ended since the last look, of which there are few. Raises DpeError when it failed."""
        if self.over or time.monotonic() - self.looked_at <= LOOK_EVERY:
            return False
        self.looked_at = time.monotonic()
        return self.is_over()

    def is_over(self) -> bool:
        """Whether it has ended. Raises DpeError when it failed."""
        if not self.over and (done := self.provider.ended(self.spec.id, self.pid)) is not None:
            self.over = True
            if done.status:
                raise (NoData if done.status == DATA_IS_NOT_OURS else DpeError)(
                    f"{self.spec.name} did not take its name and address {self.spec.card.address}:"
                    f" {(done.error or done.output).strip()[-300:]}",
                    f"Look at {PERSONALISE_COMMAND} in its seed. What it said is in {self.provider.layout.serial_log(self.spec.id)}.",
                )
            self.laps = _laps(done.output)
        return self.over


def _laps(said: str) -> Sequence[Lap]:
    """What the personalise command said of its steps: "NAME SECONDS SECONDS" a line; other lines, as a hook may print, are none."""
    found = (re.fullmatch(r"(\w+) (\d+\.\d+) (\d+\.\d+)", line) for line in said.splitlines())
    return [Lap(one[1], round(float(one[3]) - float(one[2]), 3), inside=True) for one in found if one]


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


@dataclass(frozen=True)
class _Asked:
    """What a machine is asked, to know that it is ready."""

    address: str
    port: int
    what: str
    hint: str
    says: Callable[[socket.socket, "_Asked"], bool]
    path: str = ""

    def answers(self, waited: float) -> bool:
        """Whether it does. A machine without its address yet is given up soon, to be asked again; the longer it has been waited for,
        the slower it may be, which is much within a machine without virtualisation."""
        soon = min(max(0.05, waited / 20), 1)
        try:
            # A lost first packet would be sent again only after a second.
            with socket.create_connection((self.address, self.port), timeout=soon) as connected:
                connected.settimeout(max(5, 20 * soon))
                return self.says(connected, self)
        except (OSError, http.client.HTTPException):
            return False


def _asked(spec: MachineSpec) -> Iterator[_Asked]:
    address, screen = spec.card.address, spec.screen_port
    for port, path in spec.pages:
        yield _Asked(
            address, port, f"its application (http port {port}, {path})", "Are port and ready path of the class right", _says_http, path
        )
    if screen is not None:
        yield _Asked(address, screen, f"its screen (RFB at port {screen})", "Is the port of the class's screen right", _says_rfb)


def _says_http(connected: socket.socket, asked: _Asked) -> bool:
    """An application answers a GET with any status below 500."""
    connection = http.client.HTTPConnection(asked.address, asked.port)
    connection.sock = connected
    connection.request("GET", asked.path)
    return connection.getresponse().status < 500


def _says_rfb(connected: socket.socket, _asked: _Asked) -> bool:
    """A screen says its version first: "RFB 003.008" and a line's end (RFC 6143, 7.1.1)."""
    return connected.recv(12, socket.MSG_WAITALL).startswith(b"RFB 003.")
