"""The kinds of activity: what each does, who does it, and the schema of its options. Forms, validation and documentation come from here.

What a kind does is a handler (see runner.py); the two are apart so that the web page knows the one without the other.
Another package adds a kind through an entry point of the group `dpe.activities`, an object with `kind` and `handler`.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from appliance.catalog import scenarios
from appliance.errors import BadInput
from appliance.identity.roles import ROLES
from appliance.outbound import mail, webhook
from appliance.settings import REPOSITORY
from appliance.settings import load as load_settings
from appliance.yamlfile import Part

log = logging.getLogger(__name__)

DURATION = r"^[1-9][0-9]{0,5}(s|m|h|d)$"
Duration = Annotated[str, StringConstraints(pattern=DURATION), Field(json_schema_extra={"widget": "duration"})]
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """The length of a duration such as 90s, 15m, 24h or 7d."""
    number, unit = int(text[:-1]), text[-1]
    return timedelta(**{_UNITS[unit]: number})


def _checked(check: Callable[[str], str]) -> Callable[[str], str]:
    """The check, in the way pydantic wants it."""

    def checked(text: str) -> str:
        try:
            return check(text)
        except BadInput as error:
            raise ValueError(error.message.rstrip("."), error.hint.rstrip(".")) from error

    return checked


class Options(Part):
    """What an activity is told; each kind has its own."""


@dataclass(frozen=True)
class Kind:
    """A kind of activity. `moves`: where it can be used, as (move, before|after); None is everywhere.

    One that is `core` belongs to a move and cannot be put anywhere. `tries` is how often it is tried, unless
    an activity says otherwise; 0 is for ever.
    """

    name: str
    title: str
    about: str
    options: type[Options] = Options
    by: Literal["software", "person"] = "software"
    moves: frozenset[tuple[str, str]] | None = None
    core: bool = False
    tries: int = 3
    title_now: str = ""  # what is being done, for the person who waits


# Moves before which, or after which, the machine runs and answers.
UP = frozenset(
    {("assign", "after"), ("stop", "before"), ("suspend", "before"), ("start", "after"), ("resume", "after"), ("transfer", "before")}
    | {("transfer", "after"), ("reprovision", "before"), ("reprovision", "after"), ("reclaim", "before"), ("recover", "after")}
)


class Approval(Options):
    """A person's yes or no."""

    role: Literal["approver", "operator", "class_manager", "delegated_admin", "owner"] = Field(
        default="approver", description="Who may say it: whoever holds this role over the person who asks, or over the class."
    )
    account: str = Field(
        default="", max_length=100, description="Or one person: the name of their account.", json_schema_extra={"format": "account"}
    )
    text: str = Field(default="", max_length=2000, description="What they should know to decide.")
    escalate: Duration | None = Field(default=None, description="After this time, whoever holds the role below is asked as well.")
    escalate_to: Literal["delegated_admin", "owner"] = Field(default="owner", description="The role that is asked then.")
    expires: Duration = Field(default="7d", description="After this time it counts as a no.")


class Task(Options):
    """Something that a person does by hand, and says when it is done."""

    role: Literal["approver", "operator", "class_manager", "delegated_admin", "owner"] = Field(
        default="operator", description="Who does it: whoever holds this role over the person who asks, or over the class."
    )
    account: str = Field(
        default="", max_length=100, description="Or one person: the name of their account.", json_schema_extra={"format": "account"}
    )
    text: str = Field(min_length=1, max_length=2000, description="What is to be done.")
    escalate: Duration | None = Field(default=None, description="After this time, whoever holds the role below is asked as well.")
    escalate_to: Literal["delegated_admin", "owner"] = Field(default="owner", description="The role that is asked then.")
    expires: Duration | None = Field(default=None, description="After this time it counts as not done; without it, it waits.")


class Guest(Options):
    """A command in the machine."""

    run: list[Annotated[str, StringConstraints(min_length=1, max_length=4000)]] = Field(
        min_length=1,
        max_length=100,
        description="The program and its arguments, a word each; no shell reads them. DPE_MACHINE_NAME, _ID, _ADDRESS, _CLASS and _OWNER "
        "are in its environment, and DPE_MOVE.",
    )
    user: Literal["root", "owner"] = Field(default="root", description="As whom: root, or the account that the machine's owner uses in it.")
    timeout: Duration = Field(default="5m", description="After this time it is ended, and has failed.")
    ok: list[Annotated[int, Field(ge=0, le=255)]] = Field(
        default=[0], min_length=1, description="The statuses that count as success; any other is a failure."
    )


def playbook_file(name: str) -> Path | None:
    """Where the playbook of that name lies: among those shipped, or in the scenario's folder `playbooks`; None when there is none."""
    shipped = REPOSITORY / "playbooks/activities" / name
    if shipped.is_file():
        return shipped
    path = f"playbooks/{name}"
    return scenarios.folder(load_settings()) / path if scenarios.has(path, load_settings()) else None


class Playbook(Options):
    """An Ansible playbook."""

    playbook: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,60}\.yml$")] = Field(
        description="Its file, in playbooks/activities or in the scenario's folder playbooks. Its plays are for `hosts: all`."
    )
    target: Literal["appliance", "machine"] = Field(
        default="machine", description="Where its tasks are done: in the machine, through its agent, or on the appliance, as root."
    )
    variables: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,60}$")], str | int | float | bool] = Field(
        default={}, description="Values for it. Of the machine it knows the same environment variables as a command, through lookup('env')."
    )
    timeout: Duration = Field(default="15m", description="After this time it is ended with all that it started, and has failed.")

    @field_validator("playbook")
    @classmethod
    def _there(cls, name: str) -> str:
        if playbook_file(name) is None:
            raise ValueError(f"there is no playbook {name}", "write the name of a file in playbooks/activities or the scenario's playbooks")
        return name

    @field_validator("variables")
    @classmethod
    def _plain(cls, variables: dict[str, Any]) -> dict[str, Any]:
        for name in variables:
            if name.startswith("ansible_"):
                raise ValueError(f"{name} would change how Ansible works", "choose another name")
        return variables


class KeepDisk(Options):
    """A last copy of the system disk."""

    days: int = Field(default=7, ge=1, le=365, description="For how many days it is kept; until then the machine can be brought back.")


class BackupData(Options):
    """A copy of the data disk."""

    copies: int = Field(default=3, ge=1, le=1000, description="How many copies of a data disk there are at most; the oldest go.")


class Pause(Options):
    """Nothing but time."""

    time: Duration = Field(description="How long.")


PLACEHOLDERS = {
    "machine": "the machine's name",
    "class": "the title of its class",
    "owner": "who holds the machine",
    "requester": "who asked",
    "run": "the number of the run",
    "link": "the page that shows it",
}


def _filled_in(text: str) -> str:
    """Raise ValueError for a placeholder that is none."""
    for name in re.findall(r"\{([^{}]*)\}", text):
        if name not in PLACEHOLDERS:
            raise ValueError(f"there is no placeholder {{{name}}}; there are {', '.join('{' + known + '}' for known in PLACEHOLDERS)}")
    return text


Template = Annotated[str, AfterValidator(_filled_in)]


class Notify(Options):
    """An e-mail."""

    to: Literal["requester", "owner", "role", "addresses"] = Field(
        default="requester",
        description="Who gets it: who asked, who holds the machine, everybody with the role below, or the addresses below.",
    )
    role: Literal["approver", "operator", "class_manager", "delegated_admin", "owner"] = Field(
        default="operator", description="Whoever holds this role over the person who asks, or over the class."
    )
    addresses: list[Annotated[str, AfterValidator(_checked(mail.check_address))]] = Field(
        default=[], max_length=20, description="E-mail addresses."
    )
    subject: Template = Field(
        min_length=1,
        max_length=150,
        description="The subject. It may have {machine}, {class}, {owner}, {requester}, {run} and {link} in it.",
    )
    text: Template = Field(
        min_length=1, max_length=5000, description="The text, with the same placeholders. Without {link}, the link stands below it."
    )

    @model_validator(mode="after")
    def _somebody(self) -> "Notify":
        if self.to == "addresses" and not self.addresses:
            raise ValueError("it goes to addresses, but there are none")
        return self


class Webhook(Options):
    """A call of another product."""

    url: Annotated[str, AfterValidator(_checked(webhook.check_url))] = Field(
        description="The address to call, with http or https. The call is signed with the secret under Settings, E-mail and webhooks."
    )
    event: Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9_.-]{0,60})?$")] = Field(
        default="", description="What the receiver reads as the type; else the move and the place, such as assign.before."
    )
    answer: Literal["now", "later"] = Field(
        default="now", description="now: what it answers to the call counts; later: it calls back, at the address that it is given."
    )
    within: Duration = Field(default="1h", description="How long an answer that comes later may take.")


CORE = (
    Kind("make", "Create the machine", "Forks it from its seed's snapshot, or boots it.", core=True, tries=1, title_now="being made"),
    Kind("claim", "Find a machine", "Takes a ready machine, or waits for one.", core=True, tries=0, title_now="waiting for a machine"),
    Kind("hand_over", "Hand it over", "Wakes the machine and puts its owner's name and keys into it.", core=True, tries=4),
    Kind("recover", "Restore it", "Plans a machine of what was kept or copied.", core=True, title_now="being brought back"),
    Kind("destroy", "Take it away", "Removes the machine with its system disk.", core=True, tries=0),
    Kind("stop", "Shut it down", "Shuts the machine down; its disk stays.", core=True, title_now="being stopped"),
    Kind("start", "Boot it", "Boots the machine from its own disk.", core=True, title_now="being started"),
    Kind("suspend", "Save its memory", "Writes the machine's memory to disk and stops it.", core=True, title_now="being suspended"),
    Kind("resume", "Let it go on", "Lets a suspended machine go on where it was.", core=True, title_now="being resumed"),
    Kind("reprovision", "Reprovision it", "Gives the machine a clean disk from the promoted seed.", core=True, title_now="being made anew"),
    Kind("transfer", "Pass it on", "Puts the new owner's name and keys into the machine.", core=True, title_now="being passed on"),
)
DISKS = (
    Kind(
        "keep_disk", "Keep its disk", "Switches the machine off and keeps its system disk for some days, so that it can be brought back.",
        KeepDisk, moves=frozenset({("reclaim", "before")}), title_now="keeping its disk",
    ),
    Kind(
        "backup_data", "Copy its data disk", "Writes a copy of the machine's data disk to the folder for copies, while it runs or not.",
        BackupData, moves=frozenset((move, "before") for move in ("stop", "suspend", "reprovision", "transfer", "reclaim")),
        title_now="copying its data disk",
    ),
)  # fmt: skip
PEOPLE = (
    Kind("approval", "Approval", "Asks a person to say yes or no; a no ends the run.", Approval, by="person", tries=1),
    Kind("task", "Task", "Asks a person to do something by hand, and waits until they say that it is done.", Task, by="person", tries=1),
)
MACHINES = (
    Kind("guest", "Command", "Runs a command in the machine, once; its output is kept.", Guest, moves=UP, title_now="running a command"),
    Kind("playbook", "Playbook", "Runs an Ansible playbook, in the machine or on the appliance.", Playbook, title_now="running a playbook"),
)
OTHERS = (
    Kind("wait", "Wait", "Lets some time pass.", Pause, tries=1),
    Kind("notify", "E-mail", "Writes to people. While e-mail is not set up, nothing is sent and the run goes on.", Notify, tries=5),
    Kind("webhook", "Webhook", "Calls another product, which may say no, and may answer later.", Webhook, tries=5),
)

_KNOWN: dict[str, Kind] = {}


def register(kinds: Iterable[Kind]) -> None:
    """Add kinds to the catalogue. Raises ValueError for a name that is taken by another, or cannot be one."""
    for kind in kinds:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", kind.name) or _KNOWN.get(kind.name, kind) != kind:
            raise ValueError(f"a kind of activity cannot be named {kind.name!r}, or there is another of that name")
        _KNOWN[kind.name] = kind


@cache
def _from_entry_points() -> tuple[tuple[Any, ...], Mapping[str, str]]:
    """What other packages brought, and what is wrong with those that cannot be used: a bad one must not stop the others."""
    found, broken = [], {}
    for point in entry_points(group="dpe.activities"):
        try:
            one = point.load()
            if not (isinstance(one.kind, Kind) and callable(one.handler.perform)):
                raise TypeError("it has no kind, or no handler")
            register([one.kind])
            found.append(one)
        except Exception as error:
            log.exception("the kind of activity %s cannot be used", point.name)
            broken[point.name] = f"{type(error).__name__}: {error}"
    return tuple(found), broken


def plugins() -> tuple[Any, ...]:
    """What other packages brought: objects with `kind` and `handler`."""
    return _from_entry_points()[0]


def broken() -> Mapping[str, str]:
    """Entry points whose kind of activity is missing, by name, with what is wrong with each."""
    return _from_entry_points()[1]


def known() -> Mapping[str, Kind]:
    """Every kind by its name."""
    _from_entry_points()
    return _KNOWN


register(CORE + DISKS + PEOPLE + MACHINES + OTHERS)
assert {"approver", "operator", "class_manager", "delegated_admin", "owner"} < set(ROLES)
