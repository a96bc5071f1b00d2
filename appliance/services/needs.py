"""What needs somebody: a list for each person of what is so, why it matters, and where it is mended. It is made of the state of things, so that an
entry goes when that does, and nobody clicks it away. Every page of who could mend something asks for it: nothing here waits for anybody.

A kind more is a function that finds it, and a line in KINDS.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property

from appliance.access import own_certificate
from appliance.catalog import needs as rows
from appliance.catalog.needs import Fact
from appliance.host.interface.access import SOON
from appliance.host.interface.conditions import Conditions
from appliance.host.system import conditions
from appliance.identity.permissions import Permissions
from appliance.identity.roles import OWN
from appliance.services import overview, storage, updates
from appliance.settings import Settings

URGENT = timedelta(days=7)  # before the end of a certificate


class Severity(StrEnum):
    """How much it matters, the worst first. A step is one of an appliance's first week."""

    ERROR = "error"
    WARNING = "warning"
    STEP = "step"


ORDER = list(Severity)


@dataclass(frozen=True)
class Need:
    """Something that needs somebody: what is so, as a sentence, why that matters, and a button with the page where it is mended: an endpoint with its values."""

    kind: str
    severity: Severity
    what: str
    why: str
    button: str
    endpoint: str
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sight:
    """What a person can see at one moment, each part looked up once, when it is first needed. `todos`: how much waits for their answer."""

    settings: Settings
    held: Permissions
    todos: int

    @cached_property
    def appliance(self) -> rows.Appliance:
        return rows.appliance()

    @cached_property
    def host(self) -> Conditions:
        return conditions.known(self.settings)

    @cached_property
    def _facts(self) -> list[Fact]:
        return rows.facts()

    def facts(self, kind: str) -> list[Fact]:
        """What is so of this kind and within reach of the kind's permission."""
        found = [fact for fact in self._facts if fact.kind == kind]
        if not found:
            return []  # mostly; to know a reach, the units below are asked for
        reach = self.held.reach(PERMISSIONS[kind])
        return [fact for fact in found if reach.covers(fact.location)]


def _days(count: float) -> str:
    return "1 day" if count == 1 else f"{count:.0f} days"


# -- classes, seeds, machines, disks -----------------------------------------------------------------


def _seeds(sight: Sight) -> Iterator[Need]:
    """The building of a seed failed."""
    for one in sight.facts("seed"):
        goes_on = "New machines are made from the one before." if one.number else "No machine of it can be made."
        severity = Severity.WARNING if one.number else Severity.ERROR
        yield Need(
            "seed", severity, f"{one.name}: the seed could not be built.", f"{one.why} {goes_on}", "See why", "seeds.page", {"id": one.id}
        )


def _classes(sight: Sight) -> Iterator[Need]:
    """Machines of a class fail one after the other, so that no more are made."""
    for one in sight.facts("class"):
        row = f", {one.number} in a row" if one.number > 1 else ""
        yield Need("class", Severity.ERROR, f"{one.name}: machines fail to come up{row}.", one.why, *_class(one, "Try again"))


def _handovers(sight: Sight) -> Iterator[Need]:
    """Machines of a class cannot be handed over."""
    for one in sight.facts("handover"):
        yield Need("handover", Severity.ERROR, f"{one.name}: machines cannot be handed over.", one.why, *_class(one, "Try again"))


def _snapshots(sight: Sight) -> Iterator[Need]:
    """Machines of a class are booted, because they could not be forked."""
    for one in sight.facts("snapshot"):
        why = f"{one.why} Until there is a snapshot, that takes longer and more memory."
        yield Need("snapshot", Severity.WARNING, f"{one.name}: machines are booted, not forked.", why, *_class(one, "Try again"))


def _offers(sight: Sight) -> Iterator[Need]:
    """A newer seed of a class came with this version of the appliance."""
    for one in sight.facts("offer"):
        why = "It came with this version of the appliance; machines are made from it once you use it."
        yield Need("offer", Severity.WARNING, f"{one.name}: there is a newer seed.", why, *_class(one, "Use it"))


def _class(one: Fact, button: str) -> tuple[str, str, dict[str, str]]:
    return button, "classes.page", {"name": one.id}


def _failed(sight: Sight) -> Iterator[Need]:
    """Machines failed."""
    yield from _machines(
        sight.facts("machine"),
        "machine",
        Severity.WARNING,
        ("{name} failed.", "{count} machines failed.", "failed"),
        "Others are made in their place.",
    )


def _quarantined(sight: Sight) -> Iterator[Need]:
    """Nobody knows how machines stand; they are quarantined."""
    why = "Nobody knows how they stand, so they are left alone, and whoever holds one cannot go on."
    yield from _machines(
        sight.facts("quarantine"),
        "quarantine",
        Severity.ERROR,
        ("{name} is quarantined.", "{count} machines are quarantined.", "quarantined"),
        why,
    )


def _machines(found: list[Fact], kind: str, severity: Severity, so: tuple[str, str, str], why: str) -> Iterator[Need]:
    """Of one machine its page, of several the list of those in their state; `so` is what is said of one, of several, and the state."""
    count = sum(one.number for one in found)
    problem = next((one.why for one in found if one.why), "")
    why = f"{problem} {why}".strip()
    if count == 1:
        yield Need(kind, severity, so[0].format(name=found[0].name), why, "See the machine", "machines.page", {"id": found[0].id})
    elif found:
        yield Need(kind, severity, so[1].format(count=count), why, "See them", "machines.index", {"state": so[2]})


def _data_disks(sight: Sight) -> Iterator[Need]:
    """Data disks could not be used."""
    found = sight.facts("disk")
    count = sum(one.number for one in found)
    if count:
        what = f"The data disk {found[0].name} could not be used." if count == 1 else f"{count} data disks could not be used."
        why = f"{found[0].why} Nothing on it is lost: it is kept as it is, and the next machine gets another one."
        yield Need("disk", Severity.WARNING, what, why, "Data disks", "data_disks.index", {"use": "troubled"})


# -- the appliance -----------------------------------------------------------------------------------


def _engine(sight: Sight) -> Iterator[Need]:
    """The engine or the hypervisor does not answer."""
    health = overview.health()
    if health.problem:
        yield Need("engine", Severity.ERROR, health.problem, health.hint, "Status", "server.index")


def _orphans(sight: Sight) -> Iterator[Need]:
    """There are machines, disks or seeds that the catalog does not know."""
    undecided, count = sight.appliance.options["undecided"], sight.appliance.orphans
    if undecided:
        what, why = "This catalog may not know all that is here.", "Nothing is made and nothing is removed until you decide how to go on."
        yield Need("orphan", Severity.ERROR, what, why, "Decide", "aside.index")
    elif count:
        yield Need(
            "orphan", Severity.WARNING, f"{count} machine or disk is set aside." if count == 1 else f"{count} machines and disks are set aside.",
            "They are here, but the catalog does not know them.", "Orphans", "aside.index",
        )  # fmt: skip


def _room(sight: Sight) -> Iterator[Need]:
    """The disk is full or will be soon, or a disk is failing."""
    room, days = storage.room(sight.settings), sight.appliance.options["trends"].get("disk")
    left = f"{room.free / (1 << 30):.1f} GiB are left." if room is not None else ""
    to_storage = ("See what can be deleted", "storage.index")
    if room is not None and room.full:
        why = "Machines that want to write stand still, and go on when there is room."
        yield Need("room", Severity.ERROR, f"The disk is full: {left}", why, *to_storage)
    elif room is not None and room.scarce:
        yield Need("room", Severity.ERROR, f"The disk is nearly full: {left}", "No more machines are made.", *to_storage)
    elif days is not None:
        what = f"The disk is full in about {_days(days)}."
        yield Need("room", Severity.WARNING, what, f"So it is when it goes on filling as in the last weeks. {left}", *to_storage)
    for said in storage.failing(sight.settings):
        yield Need("room", Severity.ERROR, "A disk is failing.", said, "Storage", "storage.index")


def _memory(sight: Sight) -> Iterator[Need]:
    """Memory will be used up soon."""
    days = sight.appliance.options["trends"].get("memory")
    if days is not None:
        why = "So it is when it goes on growing as in the last weeks. Then fewer machines wait ready, and people wait for theirs."
        yield Need(
            "memory", Severity.WARNING, f"Memory is used up in about {_days(days)}.", why, "Metrics", "host.index", {"span": "month"}
        )


def _backups(sight: Sight) -> Iterator[Need]:
    """Backups are not set up, fail or are late, could not be restored, lie on the appliance's own disk, or nobody has written the recovery key down."""
    found = sight.host.backups
    if found is None:
        return
    if not found.set_up:
        why = "If this server is lost, everything on it is. Say where backups go, and they are made every night."
        yield Need("backup", Severity.STEP, "Nothing of this appliance is backed up.", why, "Set up backups", "backups.index")
        return
    if found.problem:
        yield Need("backup", Severity.ERROR, found.problem, "Nothing new is safe until they work again.", "Backups", "backups.index")
    if found.restore_problem:
        why = "A backup counts only if it can be restored."
        yield Need("backup", Severity.ERROR, found.restore_problem, why, "Backups", "backups.index")
    if not found.noted:
        why = "If this server is lost without it, its backups are worth nothing."
        yield Need("backup", Severity.WARNING, "Nobody has written the recovery key down.", why, "Show the recovery key", "backups.key")
    if found.same_disk:
        why = "A disk that fails takes both. Another disk, another server or a bucket does not go with it."
        what = "The backups lie on the appliance's own disk."
        yield Need("backup", Severity.WARNING, what, why, "Choose another place", "backups.index", {"_anchor": "target"})


def _certificate(sight: Sight) -> Iterator[Need]:
    """The certificate ends soon, cannot be used, or is not for the names of machines."""
    found, domain = sight.host.certificate, sight.appliance.options["machine_names"]
    to_it = ("Certificate", "server.certificate")
    if found is not None and domain and found.names and not own_certificate.are_for(found.names, f"m.{domain}"):
        why = "Browsers warn of every machine. Put one in that is, or have machines reached by ports again."
        yield Need("certificate", Severity.ERROR, f"The certificate is not for *.{domain}, below which machines have names.", why, *to_it)
    if found is not None and found.problem:
        why = f"{found.problem} The appliance's own, which browsers warn of, is in its place."
        yield Need("certificate", Severity.WARNING, "Your certificate cannot be served.", why, *to_it)
    elif found is not None and found.ends is not None:
        left = found.ends - datetime.now(UTC)
        what = f"The certificate ends in {_days(left.days)}." if left.days > 0 else "The certificate ends today."
        what = "The certificate has ended." if left < timedelta() else what
        if left < SOON:
            yield Need(
                "certificate", Severity.ERROR if left < URGENT else Severity.WARNING, what, "Then browsers warn of this page.", *to_it
            )


def _updates(sight: Sight) -> Iterator[Need]:
    """An update waits, or one was gone back from."""
    found = sight.host.updates
    to_them = ("Updates", "updates.index")
    if found is None:
        return
    if found.failed:
        yield Need("update", Severity.WARNING, "The last update was not good, and was gone back from.", found.failed, *to_them)
    if found.written and updates.announced() is None:
        what = f"Version {found.written} is written, and starts at the next restart."
        yield Need("update", Severity.WARNING, what, "Choose a time for it, which everybody is told.", *to_them)
    elif found.staged and not found.written:
        why = "It is signed and whole. It is written beside the version that runs, which goes on until you restart."
        yield Need("update", Severity.WARNING, f"Version {found.staged} can be installed.", why, *to_them)


def _scenario(sight: Sight) -> Iterator[Need]:
    """A newer version of the scenario came with this version of the appliance."""
    if sight.appliance.scenario_offered:
        why = "It was changed here, so that nothing is taken of the newer one before you say what."
        yield Need("scenario", Severity.WARNING, "A newer scenario came with the appliance.", why, "Compare", "scenario.offer")


def _directory(sight: Sight) -> Iterator[Need]:
    """The directory could not be synchronised."""
    if sight.appliance.options["directory"].get("on") and (why := sight.appliance.directory_problem):
        yield Need("directory", Severity.WARNING, "The directory could not be synchronised.", why, "Directory", "directory.index")


def _webhooks(sight: Sight) -> Iterator[Need]:
    """Events could not be delivered."""
    if count := sight.appliance.webhooks:
        what = "A webhook did not take all events." if count == 1 else f"{count} webhooks did not take all events."
        why = "They were tried for three days. See what the receiver answers, and send them again."
        yield Need("webhook", Severity.WARNING, what, why, "Webhooks", "webhooks.index")


def _todos(sight: Sight) -> Iterator[Need]:
    """Approvals and tasks wait for an answer."""
    if sight.todos:
        yield Need(
            "todo", Severity.WARNING, f"{sight.todos} approval or task waits for you." if sight.todos == 1 else f"{sight.todos} approvals and tasks wait for you.",
            "Somebody cannot go on before you answer.", "To do", "todo.index",
        )  # fmt: skip


# -- the first week ----------------------------------------------------------------------------------


def _first_class(sight: Sight) -> Iterator[Need]:
    """No class has a seed yet."""
    if not sight.appliance.has_seed:
        why = "Machines are made from seeds, and none has been built yet."
        yield Need("first-class", Severity.STEP, "No class has a seed.", why, "Seeds", "seeds.index")


def _second_admin(sight: Sight) -> Iterator[Need]:
    """Only one account may do everything."""
    if sight.appliance.owners < 2:
        why = "Should you lose your password or your phone, somebody else can let you in again."
        yield Need("second-admin", Severity.STEP, "Nobody but you is an owner.", why, "Grant a role", "grants.index")


def _people(sight: Sight) -> Iterator[Need]:
    """There are no people besides the first admin."""
    if sight.appliance.people < 2 and not sight.appliance.options["directory"].get("on"):
        why = "Add people, or import a list of them."
        yield Need("people", Severity.STEP, "Nobody but you can sign in.", why, "Accounts", "accounts.index")


def _no_directory(sight: Sight) -> Iterator[Need]:
    """Nobody has said whether there is a directory."""
    if not sight.appliance.options["directory"]:
        why = "Where there is one, people sign in with the name and password that they have everywhere. Connect it, or say that there is none."
        yield Need("connect-directory", Severity.STEP, "No directory is connected.", why, "Directory", "directory.index")


def _mail(sight: Sight) -> Iterator[Need]:
    """No e-mail is sent."""
    if not sight.appliance.options["mail"].get("on"):
        why = "Nobody is told when a lease ends, an approval waits or a backup fails."
        yield Need("mail", Severity.STEP, "E-mail is not sent.", why, "Set up e-mail", "outside.index")


# -- all of them -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A kind of need: the permission of who sees and can mend it, within its reach, and how it is found; the docstring of that says what is so."""

    name: str
    permission: str
    find: Callable[[Sight], Iterator[Need]]


KINDS = (
    Kind("engine", "settings.manage", _engine),
    Kind("orphan", "settings.manage", _orphans),
    Kind("class", "classes.manage", _classes),
    Kind("handover", "classes.manage", _handovers),
    Kind("seed", "seeds.manage", _seeds),
    Kind("quarantine", "machines.manage", _quarantined),
    Kind("machine", "machines.manage", _failed),
    Kind("todo", OWN, _todos),
    Kind("room", "settings.manage", _room),
    Kind("backup", "settings.manage", _backups),
    Kind("certificate", "settings.manage", _certificate),
    Kind("disk", "machines.manage", _data_disks),
    Kind("snapshot", "classes.manage", _snapshots),
    Kind("directory", "directory.manage", _directory),
    Kind("webhook", "settings.manage", _webhooks),
    Kind("memory", "settings.manage", _memory),
    Kind("update", "settings.manage", _updates),
    Kind("offer", "seeds.manage", _offers),
    Kind("scenario", "scenario.manage", _scenario),
    Kind("first-class", "settings.manage", _first_class),
    Kind("second-admin", "settings.manage", _second_admin),
    Kind("people", "settings.manage", _people),
    Kind("connect-directory", "directory.manage", _no_directory),
    Kind("mail", "settings.manage", _mail),
)
PERMISSIONS = {kind.name: kind.permission for kind in KINDS}


def concern(held: Permissions) -> bool:
    """Whether anything but what waits for an answer could ever need somebody who holds this."""
    return any(held.has(kind.permission) for kind in KINDS if kind.permission != OWN)


def of(held: Permissions, settings: Settings, todos: int = 0) -> list[Need]:
    """What needs somebody who holds this, and for whose answer so much waits: the worst first."""
    sight = Sight(settings, held, todos)
    found = [need for kind in KINDS if held.has(kind.permission) for need in kind.find(sight)]
    return sorted(found, key=lambda need: ORDER.index(need.severity))
