"""The server itself: what it is, its processes and what they say, its clock, and restarting it."""

from types import NoneType
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, RootModel
from pydantic.dataclasses import dataclass

from appliance.host.rpc.verb import Arguments, Nothing, Result, Verb

# -- what it is ----


class Image(Result):
    """What a build says of itself."""

    version: str
    built_at: Annotated[AwareDatetime, Field(strict=False)]
    scenario: str
    commit: str = ""


class MaybeImage(RootModel[Image | None]):
    """The image that this host was booted from; None on a Debian of somebody's own."""


class Machines(Result):
    """How many machines there are, by what they are good for now."""

    in_use: int
    ready: int
    coming: int
    troubled: int


class Room(Result):
    """Of the disk, in MiB."""

    free: int
    total: int


class Facts(Result):
    """What the screen says. `set_up` is None when the catalog cannot be read; problems are sentences, the worst first."""

    set_up: bool | None = None
    title: str = ""
    language: str = "en"
    machines: Machines | None = None
    version: str = ""
    host_name: str = ""
    addresses: list[str] = Field(default_factory=list)
    port: int = 443
    fingerprint: str = ""
    storage: Room | None = None
    shell: bool = False
    problems: list[str] = Field(default_factory=list)


IMAGE = Verb("image", Nothing, MaybeImage)
FACTS = Verb("facts", Nothing, Facts)
VERBS = Verb("verbs", Nothing, list[str])

# -- its processes, and what they say ----

Name = Literal["libvirtd", "host", "engine", "web", "relay", "console", "haproxy", "nginx", "rescue"]


@dataclass(frozen=True)
class Part:
    """A process as it is. `state` is running, starting, stopped or failed; memory is MiB; `since` is when it came to be so, ISO 8601."""

    name: str
    about: str
    state: str
    since: str = ""
    pid: int = 0
    memory: int = 0
    restarts: int = 0
    status: str = ""
    """How it ended last, when it did."""


class Which(Arguments):
    name: Name


UNITS = Verb("units", Nothing, list[Part])
RESTART_UNIT = Verb("units.restart", Which, NoneType)

LEVELS = ("error", "warning", "info", "debug")  # the most serious first
MOST_LINES = 2000  # of an answer


@dataclass(frozen=True)
class Line:
    """A line of a log; `at` is ISO 8601, or empty where the log keeps no time."""

    at: str
    source: str
    level: str
    text: str


class Lines(Arguments):
    """Which lines: of which log, at most how many, at least how serious, with which words."""

    source: Annotated[str, Field(max_length=40)]
    most: Annotated[int, Field(ge=1, le=MOST_LINES)] = 200
    level: Literal["error", "warning", "info", "debug"] = "debug"
    text: Annotated[str, Field(max_length=200)] = ""


LOGS = Verb("logs", Nothing, dict[str, str])  # name and what it is
LOG_LINES = Verb("logs.lines", Lines, list[Line])

# -- its clock ----


class Clock(Result):
    """`servers` as set, `synchronised` (None: not known) and the `server` that is asked now; `ours`: whether the appliance decides on it."""

    ours: bool
    now: AwareDatetime
    enabled: bool
    servers: list[str]
    synchronised: bool | None
    server: str


class TimeServers(Arguments):
    """`servers` are names or addresses; none of them means those that DHCP names."""

    enabled: bool
    servers: list[str] = Field(default_factory=list)


class Moment(Arguments):
    at: Annotated[AwareDatetime, Field(strict=False)]


CLOCK = Verb("clock.get", Nothing, Clock)
SET_TIME_SERVERS = Verb("clock.servers", TimeServers, NoneType)
SET_CLOCK = Verb("clock.set", Moment, NoneType)

# -- its power, and its screen ----


class Switch(Arguments):
    enabled: bool


class MaybeEnabled(RootModel[bool | None]):
    """None on a Debian of somebody's own, whose screen is not ours."""


class Owner(Result):
    """An account that owns the appliance."""

    name: str
    full_name: str
    disabled: bool


class NewPassword(Arguments):
    name: Annotated[str, Field(max_length=100)]


class Told(Result):
    """A new password: the only time that it is told."""

    name: str
    password: str


RESTART = Verb("power.restart", Nothing, NoneType)
POWER_OFF = Verb("power.off", Nothing, NoneType)
SHELL = Verb("shell.get", Nothing, MaybeEnabled)
SET_SHELL = Verb("shell.set", Switch, NoneType)
OWNERS = Verb("admins.owners", Nothing, list[Owner], root=True)
RESET_PASSWORD = Verb("admins.reset", NewPassword, Told, title="New password for an admin", root=True)
