"""The tables, as peewee models. The schema itself is in migrations/; a test compares the two."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from peewee import (
    AutoField,
    BlobField,
    BooleanField,
    CharField,
    CompositeKey,
    Field,
    FloatField,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
)

from appliance.catalog.database import db
from appliance.language import Written

CLOCK_SLACK = timedelta(minutes=1)  # by which clocks are set every day


def now() -> datetime:
    """The present, UTC-aware."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """A time as the catalog writes it: always with microseconds, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def is_to_come(until: datetime | None, longest: timedelta, moment: datetime) -> bool:
    """Whether a wait is not over. One that lasts longer than it ever may is from a clock that was ahead when it began, and set right since:
    it counts for nothing."""
    return until is not None and moment < until <= moment + longest


def not_ahead(moment: datetime) -> datetime:
    """The latest moment at which something may have been made; what says a later one was made while the clock was ahead."""
    return moment + CLOCK_SLACK


class UtcField(Field):
    """A UTC-aware datetime."""

    field_type = "TEXT"

    def db_value(self, value: datetime | None) -> str | None:
        return None if value is None else stamp(value)

    def python_value(self, value: str | None) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


class JsonField(Field):
    """Plain values, kept as JSON text."""

    field_type = "TEXT"

    def db_value(self, value: Any) -> str:
        return json.dumps(value, separators=(",", ":"))

    def python_value(self, value: str) -> Any:
        return None if value is None else json.loads(value)  # of a row that an outer join did not find


class SpecField(JsonField):
    """A class as the scenario has it; what users read of it is what a person wrote."""

    def python_value(self, value: str) -> Any:
        spec = super().python_value(value)
        return {name: Written(one) if name in ("title", "description") else one for name, one in spec.items()}


class EnumField(Field):
    """A StrEnum, kept by value."""

    field_type = "TEXT"

    def __init__(self, kind: type[StrEnum], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind

    def db_value(self, value: StrEnum | str | None) -> str | None:
        return None if value is None else str(value)

    def python_value(self, value: str | None) -> StrEnum | None:
        return None if value is None else self.kind(value)


class MachineState(StrEnum):
    """A machine's life; the allowed moves are in lifecycle.master."""

    PLANNED = "planned"
    CREATING = "creating"
    READY = "ready"
    ASSIGNED = "assigned"
    IN_USE = "in_use"
    STOPPED = "stopped"
    SUSPENDED = "suspended"
    REPROVISIONING = "reprovisioning"
    RECLAIMING = "reclaiming"
    RETIRED = "retired"
    FAILED = "failed"
    QUARANTINED = "quarantined"


class SeedState(StrEnum):
    """A seed version's life."""

    QUEUED = "queued"
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REMOVED = "removed"


class SnapshotState(StrEnum):
    """A snapshot's life; a stale one forks no more machines, and is kept while machines live on it."""

    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"
    STALE = "stale"


class RequestState(StrEnum):
    """Where somebody's asking for a machine stands: pending while people or software have to agree, waiting while none is ready."""

    PENDING = "pending"
    WAITING = "waiting"
    GRANTED = "granted"
    CANCELLED = "cancelled"
    REFUSED = "refused"


class RunState(StrEnum):
    """Where a run stands. One that is undone ends as failed or cancelled afterwards."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    UNDOING = "undoing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepState(StrEnum):
    """Where a step of a run stands."""

    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNDOING = "undoing"
    UNDONE = "undone"


class ReplicaState(StrEnum):
    """Where a replica of a service stands; one that drains gets no new requests."""

    SERVING = "serving"
    DRAINING = "draining"


class VersionState(StrEnum):
    """Where a version of a sequence stands; only a draft changes, and no run goes by it."""

    DRAFT = "draft"
    TRIAL = "trial"
    PROMOTED = "promoted"
    KEPT = "kept"


class DiskState(StrEnum):
    """Where a data disk stands; a troubled one could not be used, and is kept as it is."""

    NEW = "new"
    READY = "ready"
    RESTORING = "restoring"
    TROUBLED = "troubled"
    REMOVING = "removing"


class KeptState(StrEnum):
    """Where the kept disk of a machine that is gone stands."""

    KEPT = "kept"
    RETURNING = "returning"
    REMOVING = "removing"


class AsideKind(StrEnum):
    """What is set aside."""

    MACHINE = "machine"
    DATA_DISK = "data_disk"
    KEPT_DISK = "kept_disk"
    SEED = "seed"
    SNAPSHOT = "snapshot"


class WorkItemState(StrEnum):
    """Where something that waits for a person stands."""

    OPEN = "open"
    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class DeliveryState(StrEnum):
    """Where the delivery of an event to a webhook stands; a dead one is tried again only when somebody says so."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class JobState(StrEnum):
    """Where a job stands; a dead one is tried again only when somebody says so."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


class Level(StrEnum):
    """How much an event should worry its reader."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Row(Model):
    """A row of the catalog."""

    class Meta:
        database = db
        legacy_table_names = False


class Option(Row):
    """What an admin decided in the web page; see catalog.options."""

    name = CharField(primary_key=True)
    value = JsonField()


class OrgUnit(Row):
    """A branch of the tree that everybody is in; ROOT is its top."""

    id = AutoField()
    parent = ForeignKeyField("self", null=True, backref="children")
    parent_id: int | None
    name = CharField()
    directory_id = CharField(null=True)


ROOT = 1


class Account(Row):
    """Who."""

    id = AutoField()
    name = CharField(unique=True)
    full_name = CharField(default="")
    email = CharField(default="")
    password = CharField()
    org_unit = ForeignKeyField(OrgUnit, default=ROOT, backref="accounts")
    org_unit_id: int
    disabled = BooleanField(default=False)
    created_at = UtcField(default=now)
    signed_in_at = UtcField(null=True)
    directory_id = CharField(null=True)
    dn = TextField(default="")
    directory_off = BooleanField(default=False)
    must_change = BooleanField(default=False)
    language = CharField(default="")


class Group(Row):
    """People, and groups, who are given the same; it belongs to an org unit for those who look after it."""

    id = AutoField()
    name = CharField()
    about = TextField(default="")
    org_unit = ForeignKeyField(OrgUnit, default=ROOT, backref="groups")
    org_unit_id: int
    directory_id = CharField(null=True)

    class Meta:
        table_name = "people_group"


class Member(Row):
    """Somebody in a group."""

    group = ForeignKeyField(Group, on_delete="CASCADE", backref="members")
    group_id: int
    account = ForeignKeyField(Account, on_delete="CASCADE", backref="memberships")
    account_id: int

    class Meta:
        primary_key = CompositeKey("account", "group")


class Nesting(Row):
    """A group in a group: the members of the inner one are members of the outer one."""

    outer = ForeignKeyField(Group, on_delete="CASCADE", backref="inner")
    outer_id: int
    inner = ForeignKeyField(Group, on_delete="CASCADE", backref="outer")
    inner_id: int

    class Meta:
        primary_key = CompositeKey("inner", "outer")


class Session(Row):
    """A browser that is signed in."""

    id = CharField(primary_key=True)
    account = ForeignKeyField(Account, backref="sessions", on_delete="CASCADE")
    account_id: int
    address = CharField(default="")
    agent = CharField(default="")
    created_at = UtcField(default=now)
    seen_at = UtcField(default=now)
    expires_at = UtcField()
    confirmed_at = UtcField(null=True)
    waits = BooleanField(default=False)
    browser = CharField(default="")
    kept = BooleanField(default=False)


class KnownBrowser(Row):
    """A browser in which somebody signed in to an account before, by a digest of what it keeps for itself."""

    account = ForeignKeyField(Account, on_delete="CASCADE")
    account_id: int
    digest = CharField()
    used_at = UtcField(default=now)

    class Meta:
        primary_key = CompositeKey("account", "digest")


class SecondFactor(Row):
    """What makes an account's one-time codes; asked for once it is confirmed."""

    account = ForeignKeyField(Account, primary_key=True, on_delete="CASCADE")
    account_id: int
    secret = CharField()
    step = IntegerField(default=0)
    confirmed_at = UtcField(null=True)


class RecoveryCode(Row):
    """A code that lets in once, in place of one from the phone."""

    account = ForeignKeyField(Account, on_delete="CASCADE")
    account_id: int
    digest = CharField()

    class Meta:
        primary_key = CompositeKey("account", "digest")


class Token(Row):
    """What a program signs in with."""

    id = AutoField()
    account = ForeignKeyField(Account, backref="tokens", on_delete="CASCADE")
    account_id: int
    name = CharField()
    digest = CharField(unique=True)
    ending = CharField()
    scope = JsonField(default=list)
    created_at = UtcField(default=now)
    expires_at = UtcField()
    used_at = UtcField(null=True)
    address = CharField(default="")


class SshKey(Row):
    """A public key of somebody's: its type and base64 text, and what they call it."""

    id = AutoField()
    account = ForeignKeyField(Account, backref="+", on_delete="CASCADE")
    account_id: int
    key = TextField()
    label = TextField(default="")
    created_at = UtcField(default=now)
    used_at = UtcField(null=True)

    class Meta:
        table_name = "ssh_key"


class PasswordLink(Row):
    """By what somebody sets a password of their own, once: an invitation, or a way in for who forgot theirs. An account has one at most."""

    account = ForeignKeyField(Account, primary_key=True, on_delete="CASCADE")
    account_id: int
    kind = CharField()
    digest = CharField(unique=True)
    shown_to = ForeignKeyField(Account, null=True, column_name="shown_to", object_id_name="shown_to_id", backref="+", on_delete="CASCADE")
    shown_to_id: int | None
    created_at = UtcField(default=now)
    expires_at = UtcField()

    class Meta:
        table_name = "password_link"


class SavedView(Row):
    """How somebody looks at a list: the query of its address, under a name."""

    id = AutoField()
    account = ForeignKeyField(Account, on_delete="CASCADE")
    account_id: int
    list = CharField()
    name = CharField()
    query = TextField()

    class Meta:
        table_name = "saved_view"


class IdempotencyKey(Row):
    """What was answered to a create that came with this key; `request` is the digest of what was asked."""

    id = AutoField()
    account = ForeignKeyField(Account, on_delete="CASCADE")
    account_id: int
    key = CharField()
    request = CharField()
    status = IntegerField()
    body = TextField()
    location = CharField(default="")
    created_at = UtcField(default=now)

    class Meta:
        table_name = "idempotency_key"


class Grant(Row):
    """A role, held by an account, a group or an org unit with all below it, over an org unit, a class or, with neither, the appliance."""

    id = AutoField()
    role = CharField()
    account = ForeignKeyField(Account, null=True, on_delete="CASCADE", backref="grants")
    account_id: int | None
    group = ForeignKeyField(Group, null=True, on_delete="CASCADE", backref="grants")
    group_id: int | None
    org_unit = ForeignKeyField(OrgUnit, null=True, on_delete="CASCADE", backref="grants")
    org_unit_id: int | None
    over_unit = ForeignKeyField(OrgUnit, null=True, on_delete="CASCADE", backref="granted")
    over_unit_id: int | None
    over_class = CharField(null=True)
    starts_at = UtcField(null=True)
    ends_at = UtcField(null=True)
    given_by = ForeignKeyField(Account, null=True, column_name="given_by", backref="given", object_id_name="given_by_id")
    given_by_id: int | None
    created_at = UtcField(default=now)

    class Meta:
        table_name = "permit"


class Quota(Row):
    """How much an account, a group or an org unit may have at once: each person in it, or all together. None is no limit.

    Memory is MiB, disk GiB.
    """

    id = AutoField()
    account = ForeignKeyField(Account, null=True, on_delete="CASCADE", backref="quotas")
    account_id: int | None
    group = ForeignKeyField(Group, null=True, on_delete="CASCADE", backref="quotas")
    group_id: int | None
    org_unit = ForeignKeyField(OrgUnit, null=True, on_delete="CASCADE", backref="quotas")
    org_unit_id: int | None
    each = BooleanField()
    class_name = CharField(null=True)
    grant = ForeignKeyField(Grant, null=True, column_name="permit_id", on_delete="CASCADE", backref="quotas", object_id_name="grant_id")
    grant_id: int | None
    machines = IntegerField(null=True)
    vcpus = IntegerField(null=True)
    memory = IntegerField(null=True)
    disk = IntegerField(null=True)
    lease_minutes = IntegerField(null=True)


class Throttle(Row):
    """Failed sign-ins of an account or an address."""

    name = CharField(primary_key=True)
    failures = IntegerField()
    blocked_until = UtcField()
    updated_at = UtcField(default=now)


class Class(Row):
    """A kind of machine. The columns of its policy have what counts, and are written by catalog.policies."""

    name = CharField(primary_key=True)
    spec = SpecField()
    overrides = JsonField(default=dict)
    minimum = IntegerField()
    maximum = IntegerField()
    buffer = IntegerField()
    lease_minutes = IntegerField()
    extend_minutes = IntegerField()
    extensions = IntegerField()
    per_person = IntegerField()
    enabled = BooleanField(default=True)
    failures = IntegerField(default=0)
    failing_until = UtcField(null=True)
    problem = TextField(default="")
    limit_reason = TextField(default="")
    short_of_memory = BooleanField(default=False)
    fork = BooleanField(default=True)
    readiness = CharField(default="paused")
    forked = IntegerField(default=0)
    fork_failed = IntegerField(default=0)
    fork_failures = IntegerField(default=0)
    fork_problem = TextField(default="")
    sequence = CharField(default="")
    data_disk = IntegerField(default=0)
    burst = IntegerField(default=1)
    batch_window = IntegerField(default=60)
    idle_minutes = IntegerField(default=0)
    idle_grace = IntegerField(default=15)
    idle_then = CharField(default="reclaim")
    connect_minutes = IntegerField(default=0)
    warn_first = IntegerField(default=1440)
    warn_last = IntegerField(default=60)
    busy_grace = IntegerField(default=60)
    windows = JsonField(default=list)
    one_offs = JsonField(default=list)
    holds = JsonField(default=dict)
    forecast = JsonField(default=dict)
    updated_at = UtcField(default=now)
    scaling = JsonField(default=dict)

    @property
    def waits(self) -> str:
        """How its machines wait in the buffer: those of a service serve meanwhile."""
        return "running" if self.spec.get("service") else str(self.readiness)


class Recipe(Row):
    """What was chosen of a class that leaves something open: a class of its own. `chosen` is a scenario.choice.Chosen."""

    machine_class = ForeignKeyField(Class, column_name="class_name", primary_key=True, object_id_name="class_name", on_delete="CASCADE")
    class_name: str
    base = ForeignKeyField(Class, column_name="base", object_id_name="base_name", backref="recipes")
    base_name: str
    digest = CharField(unique=True)
    chosen = JsonField()
    created_at = UtcField(default=now)
    used_at = UtcField(default=now)


class Favourite(Row):
    """A choice that somebody keeps: the query of the address of its form, under a name."""

    id = AutoField()
    account = ForeignKeyField(Account, on_delete="CASCADE")
    account_id: int
    machine_class = ForeignKeyField(Class, column_name="class_name", object_id_name="class_name", on_delete="CASCADE")
    class_name: str
    name = CharField()
    query = TextField()


class Seed(Row):
    """An immutable, versioned disk image of a class, or the building of one."""

    id = AutoField()
    machine_class = ForeignKeyField(Class, column_name="class_name", backref="seeds", object_id_name="class_name")
    class_name: str  # peewee makes the raw column of each foreign key; mypy has to be told
    version = IntegerField()
    state = EnumField(SeedState, default=SeedState.QUEUED)
    promoted = BooleanField(default=False)
    cancel = BooleanField(default=False)
    attempts = IntegerField(default=0)
    task = TextField(default="")
    task_number = IntegerField(default=0)
    task_total = IntegerField(default=0)
    problem = TextField(default="")
    hint = TextField(default="")
    log = TextField(default="")
    stored = BooleanField(default=False)
    manifest = JsonField(default=dict)
    created_at = UtcField(default=now)
    started_at = UtcField(null=True)
    ended_at = UtcField(null=True)

    @property
    def name(self) -> str:
        """What the provider knows it by, as long as it is stored."""
        return f"{self.class_name}/{self.version}"

    @property
    def cmdline(self) -> str:
        """What its kernel is told."""
        return str(self.manifest.get("cmdline", ""))


class Snapshot(Row):
    """A seed's booted memory and device state, or the taking of it."""

    id = AutoField()
    seed = ForeignKeyField(Seed, backref="snapshots")
    seed_id: int
    state = EnumField(SnapshotState)
    attempts = IntegerField(default=0)
    retry_at = UtcField(null=True)
    step = TextField(default="")
    problem = TextField(default="")
    hint = TextField(default="")
    name = TextField(default="")
    facts = JsonField(default=dict)
    created_at = UtcField(default=now)
    ended_at = UtcField(null=True)


class Sequence(Row):
    """A named set of activities before and after the moves of a machine's life."""

    name = CharField(primary_key=True)
    title = CharField()
    about = TextField(default="")
    shipped = CharField(default="")

    @property
    def shown_title(self) -> str:
        """What people read: a title of one that was made here is in whatever language it was written in."""
        return self.title if self.shipped else Written(self.title)

    @property
    def shown_about(self) -> str:
        """The description, likewise."""
        return self.about if self.shipped else Written(self.about)


class SequenceVersion(Row):
    """A sequence as it was at one time."""

    id = AutoField()
    sequence = ForeignKeyField(
        Sequence, column_name="sequence_name", backref="versions", object_id_name="sequence_name", on_delete="CASCADE"
    )
    sequence_name: str
    number = IntegerField()
    state = EnumField(VersionState)
    body = TextField()
    comment = TextField(default="")
    author = CharField(default="")
    created_at = UtcField(default=now)
    promoted_at = UtcField(null=True)


class ScenarioState(StrEnum):
    """Where a version of the scenario stands. What is offered (by the folder) or imported (by somebody) has no number, and nothing goes by it.

    Of an application that somebody sent, the tree has the files of that alone.
    """

    CURRENT = "current"
    KEPT = "kept"
    OFFERED = "offered"
    IMPORTED = "imported"
    APPLICATION = "application"


class ScenarioFile(Row):
    """What is in files of the scenario, once for all versions."""

    digest = CharField(primary_key=True)
    content = BlobField()


class ScenarioVersion(Row):
    """The scenario as it was at one time. `tree` and `base`: digest and whether it can be run, by path."""

    id = AutoField()
    number = IntegerField()
    state = EnumField(ScenarioState)
    tree = JsonField()
    digest = CharField()
    base = JsonField()
    changes = TextField(default="")
    comment = TextField(default="")
    author = CharField(default="")
    created_at = UtcField(default=now)


class Machine(Row):
    """One VM."""

    number = AutoField()
    id = CharField(unique=True)
    name = CharField(unique=True)
    machine_class = ForeignKeyField(Class, column_name="class_name", backref="machines", object_id_name="class_name")
    class_name: str
    seed = ForeignKeyField(Seed, backref="machines")
    seed_id: int
    slot = IntegerField()
    door = IntegerField()
    state = EnumField(MachineState)
    state_since = UtcField(default=now)
    vcpus = IntegerField()
    memory = IntegerField()  # what it has now
    memory_more = IntegerField(default=0)  # of it, what it was given since it runs
    memory_room = IntegerField(default=0)  # the most that may be
    disk = IntegerField()
    owner = ForeignKeyField(Account, null=True, backref="machines")
    owner_id: int | None
    origin = CharField(default="boot")
    readiness = CharField(default="running")
    snapshot = ForeignKeyField(Snapshot, null=True, backref="machines")
    snapshot_id: int | None
    step = TextField(default="")
    problem = TextField(default="")
    attempts = IntegerField(default=0)
    retry_at = UtcField(null=True)
    reclaim_reason = TextField(default="")
    trial = ForeignKeyField(SequenceVersion, null=True)
    trial_id: int | None
    created_at = UtcField(default=now)
    ready_at = UtcField(null=True)
    retired_at = UtcField(null=True)
    ssh_changed_at = UtcField(null=True)
    host_label = CharField(
        default=lambda: f"m{secrets.token_hex(8)}", unique=True
    )  # begins its host names; whoever gets it is given another one
    rates = JsonField(default=dict)  # what an admin said of this one alone, by the policy's names
    rates_in_force = JsonField(default=dict)  # as they were last seen, or why they cannot be: {"problem": ...}

    @property
    def memory_start(self) -> int:
        """MiB that it starts with."""
        return int(self.memory) - int(self.memory_more)


class Replica(Row):
    """A machine that requests to its class are sent to."""

    machine = ForeignKeyField(Machine, field=Machine.id, column_name="machine_id", primary_key=True, object_id_name="machine_id")
    machine_id: str
    machine_class = ForeignKeyField(Class, column_name="class_name", object_id_name="class_name")
    class_name: str
    number = IntegerField()
    state = EnumField(ReplicaState)
    since = UtcField(default=now)
    deadline = UtcField(null=True)
    reason = TextField(default="")
    dismissed = BooleanField(default=False)
    up = BooleanField(default=True)


class Job(Row):
    """A command that a machine of the class is to run, or has run; see catalog.job_queue."""

    id = AutoField()
    machine_class = ForeignKeyField(Class, column_name="class_name", object_id_name="class_name")
    class_name: str
    account = ForeignKeyField(Account, null=True, on_delete="SET NULL")
    account_id: int | None
    name = CharField()
    number = IntegerField()
    run = JsonField()
    files = JsonField(default=dict)
    seconds = IntegerField()
    tries = IntegerField()
    state = EnumField(JobState, default=JobState.QUEUED)
    attempt = IntegerField(default=0)
    machine = ForeignKeyField(Machine, null=True)
    machine_id: str | None
    retry_at = UtcField(null=True)
    deadline = UtcField(null=True)
    status = IntegerField(null=True)
    output = TextField(default="")
    problem = TextField(default="")
    created_at = UtcField(default=now)
    started_at = UtcField(null=True)
    ended_at = UtcField(null=True)


class Lease(Row):
    """The right to hold a machine until a time."""

    id = AutoField()
    machine = ForeignKeyField(Machine, field="id", backref="leases")
    machine_id: str
    account = ForeignKeyField(Account, null=True, on_delete="SET NULL", backref="leases")
    account_id: int  # of one that has not ended
    began_at = UtcField(default=now)
    ends_at = UtcField()
    extensions = IntegerField(default=0)
    warned_at = UtcField(null=True)
    opened_at = UtcField(null=True)
    opened_pages = IntegerField(default=0)
    busy_at = UtcField(null=True)
    idle_warned_at = UtcField(null=True)
    kept_until = UtcField(null=True)
    ended_at = UtcField(null=True)
    end_reason = TextField(default="")


class ConsoleSession(Row):
    """Somebody at a machine's screen or serial line just now; `control`: what they type arrives."""

    id = AutoField()
    machine = ForeignKeyField(Machine, field="id", on_delete="CASCADE")
    machine_id: str
    account = ForeignKeyField(Account, on_delete="CASCADE")
    account_id: int
    target = CharField()
    control = BooleanField()
    began_at = UtcField(default=now)

    class Meta:
        table_name = "console_session"


class KeptDoor(Row):
    """A port of the front door, counted from the first one, that a person had a machine of a class behind."""

    account = ForeignKeyField(Account, on_delete="CASCADE")
    account_id: int
    machine_class = ForeignKeyField(Class, column_name="class_name", object_id_name="class_name")
    class_name: str
    door = IntegerField()
    used_at = UtcField(default=now)

    class Meta:
        table_name = "kept_door"
        primary_key = CompositeKey("account", "machine_class", "door")


class Request(Row):
    """Asking for a machine."""

    id = AutoField()
    account = ForeignKeyField(Account, null=True, on_delete="SET NULL", backref="requests")
    machine_class = ForeignKeyField(Class, column_name="class_name", backref="requests", object_id_name="class_name")
    class_name: str
    account_id: int  # of one that has not ended
    state = EnumField(RequestState)
    hit = BooleanField(null=True)
    machine = ForeignKeyField(Machine, field="id", null=True, backref="requests")
    machine_id: str | None
    created_at = UtcField(default=now)
    granted_at = UtcField(null=True)
    ended_at = UtcField(null=True)
    trial = ForeignKeyField(SequenceVersion, null=True)
    trial_id: int | None
    reason = TextField(default="")
    batch = ForeignKeyField("self", null=True)
    batch_id: int | None
    dismissed = BooleanField(default=False)
    lease_minutes = IntegerField(null=True)


class Handover(Row):
    """Machines of a class that did not take a person, until one does."""

    machine_class = ForeignKeyField(Class, column_name="class_name", on_delete="CASCADE", object_id_name="class_name")
    class_name: str
    account = ForeignKeyField(Account, on_delete="CASCADE")
    account_id: int
    failures = IntegerField()
    in_a_row = IntegerField()
    problem = TextField()
    hint = TextField()
    failed_at = UtcField()
    held_until = UtcField()

    class Meta:
        primary_key = CompositeKey("machine_class", "account")


class DataDisk(Row):
    """A disk that outlives the machines it is plugged into."""

    id = CharField(primary_key=True)
    account = ForeignKeyField(Account, null=True, on_delete="SET NULL", backref="data_disks")
    account_id: int | None
    machine_class = ForeignKeyField(Class, column_name="class_name", backref="data_disks", object_id_name="class_name")
    class_name: str
    name = CharField()
    size = IntegerField()
    machine = ForeignKeyField(Machine, field="id", null=True, backref="data_disks")
    machine_id: str | None
    state = EnumField(DiskState, default=DiskState.NEW)
    problem = TextField(default="")
    backup_asked = BooleanField(default=False)
    backup_at = UtcField(null=True)
    backup_problem = TextField(default="")
    created_at = UtcField(default=now)
    last_used_at = UtcField(null=True)
    filled = IntegerField(null=True)  # bytes of `capacity`, as its machine said at `filled_at`
    capacity = IntegerField(null=True)
    filled_at = UtcField(null=True)
    grown_at = UtcField(null=True)  # by rule; `growing` until disk and file system have followed
    growing = BooleanField(default=False)
    not_grown = JsonField(default=dict)  # what was last told of why it does not


class KeptDisk(Row):
    """The system disk of a machine that is gone, kept for some days."""

    id = CharField(primary_key=True)
    machine_name = CharField()
    account = ForeignKeyField(Account, null=True, on_delete="SET NULL", backref="kept_disks")
    account_id: int | None
    machine_class = ForeignKeyField(Class, column_name="class_name", backref="kept_disks", object_id_name="class_name")
    class_name: str
    seed = ForeignKeyField(Seed)
    seed_id: int
    data_id = CharField(null=True)
    size = IntegerField()
    bytes = IntegerField()
    state = EnumField(KeptState, default=KeptState.KEPT)
    machine = ForeignKeyField(Machine, field="id", null=True)
    machine_id: str | None
    until = UtcField()
    created_at = UtcField(default=now)


class Backup(Row):
    """A copy of a data disk in the folder of copies, of this appliance or another one."""

    path = CharField(primary_key=True)
    disk = CharField()
    disk_name = CharField()
    machine_name = CharField()
    class_name = CharField()
    account_name = CharField()
    size = IntegerField()
    bytes = IntegerField()
    taken_at = UtcField()
    problem = TextField(default="")


class Run(Row):
    """One move of a machine, or one request from asking to having, made durable."""

    id = AutoField()
    kind = CharField()
    state = EnumField(RunState)
    machine = ForeignKeyField(Machine, field="id", null=True, backref="runs")
    machine_id: str | None
    request = ForeignKeyField(Request, null=True, backref="runs")
    request_id: int | None
    machine_class = ForeignKeyField(Class, null=True, column_name="class_name", object_id_name="class_name")
    class_name: str | None
    account = ForeignKeyField(Account, null=True, on_delete="SET NULL")
    account_id: int | None
    version = ForeignKeyField(SequenceVersion, null=True)
    version_id: int | None
    position = IntegerField(default=0)
    turn = IntegerField(default=0)
    priority = IntegerField(default=5)
    wake_at = UtcField(null=True)
    woken = BooleanField(default=False)
    cancel = BooleanField(default=False)
    why = TextField(default="")
    problem = TextField(default="")
    hint = TextField(default="")
    facts = JsonField(default=dict)
    asked_by = CharField(default="")
    created_at = UtcField(default=now)
    started_at = UtcField(null=True)
    ended_at = UtcField(null=True)


class Step(Row):
    """One step of a run that was begun."""

    run = ForeignKeyField(Run, on_delete="CASCADE", backref="steps")
    run_id: int
    number = IntegerField()
    name = CharField()
    kind = CharField()
    title = CharField()
    state = EnumField(StepState)
    starts = IntegerField(default=0)
    attempts = IntegerField(default=0)
    output = JsonField(default=dict)
    problem = TextField(default="")
    hint = TextField(default="")
    actor = CharField(default="")
    started_at = UtcField(default=now)
    ended_at = UtcField(null=True)

    class Meta:
        primary_key = CompositeKey("run", "number")


class WorkItem(Row):
    """Something that waits for a person: an approval or a task."""

    id = AutoField()
    run = ForeignKeyField(Run, on_delete="CASCADE", backref="todos")
    run_id: int
    number = IntegerField()
    kind = CharField()
    title = CharField()
    text = TextField(default="")
    state = EnumField(WorkItemState, default=WorkItemState.OPEN)
    role = CharField(default="")
    account = ForeignKeyField(Account, null=True, on_delete="SET NULL", backref="todos")
    account_id: int | None
    requester = ForeignKeyField(Account, null=True, on_delete="SET NULL")
    requester_id: int | None
    machine_class = ForeignKeyField(Class, null=True, column_name="class_name", object_id_name="class_name")
    class_name: str | None
    created_at = UtcField(default=now)
    escalates_at = UtcField(null=True)
    escalated_at = UtcField(null=True)
    expires_at = UtcField(null=True)
    escalate_role = CharField(default="")
    decided_at = UtcField(null=True)
    decided_by = CharField(default="")
    comment = TextField(default="")


class OutgoingMail(Row):
    """A mail that is to be sent to somebody."""

    id = AutoField()
    about = CharField()
    account = ForeignKeyField(Account, on_delete="CASCADE")
    account_id: int
    subject = CharField()
    text = TextField()
    path = CharField()
    secret = TextField(default="")
    tries = IntegerField(default=0)
    created_at = UtcField(default=now)
    next_at = UtcField(default=now)


class Event(Row):
    """One line of the append-only record of everything that happened."""

    id = AutoField()
    at = UtcField(default=now)
    kind = CharField()
    level = EnumField(Level, default=Level.INFO)
    message = TextField()
    actor = CharField(default="")
    address = CharField(default="")
    account_id = IntegerField(null=True)
    class_name = CharField(null=True)
    machine_id = CharField(null=True)
    seed_id = IntegerField(null=True)
    data = JsonField(default=dict)
    object = CharField(default="")
    hash = CharField(default="")


class Webhook(Row):
    """Who is told of which events; see catalog.webhooks."""

    id = AutoField()
    name = CharField(unique=True)
    url = TextField()
    kinds = JsonField(default=list)
    classes = JsonField(default=list)
    enabled = BooleanField(default=True)
    secret = TextField()
    rotated_at = UtcField(default=now)
    secret_before = TextField(default="")
    before_until = UtcField(null=True)
    position = IntegerField()
    failures = IntegerField(default=0)
    failing_since = UtcField(null=True)
    retry_at = UtcField(null=True)
    created_at = UtcField(default=now)


class WebhookDelivery(Row):
    """An event on its way to a webhook's receiver, or what became of that."""

    id = AutoField()
    webhook = ForeignKeyField(Webhook, on_delete="CASCADE", backref="deliveries")
    webhook_id: int
    event = ForeignKeyField(Event)
    event_id: int
    state = EnumField(DeliveryState, default=DeliveryState.PENDING)
    tries = IntegerField(default=0)
    answer = TextField(default="")
    created_at = UtcField(default=now)
    next_at = UtcField(default=now)
    tried_at = UtcField(null=True)

    class Meta:
        table_name = "webhook_delivery"


class Reading(Row):
    """The last reading of a machine's load."""

    machine = ForeignKeyField(Machine, field="id", primary_key=True, on_delete="CASCADE")
    at = UtcField(default=now)
    cpu = FloatField()
    memory_used = IntegerField()
    memory_private = IntegerField(default=0)
    memory_shared = IntegerField(default=0)
    disk_rate = FloatField()
    net_rate = FloatField()


class Engine(Row):
    """What the engine last said of itself and its host; one row."""

    id = IntegerField(primary_key=True)
    seen_at = UtcField(default=now)
    hypervisor_ok = BooleanField()
    hypervisor_problem = TextField()
    host = JsonField()
    internals = JsonField(default=dict)


class Aside(Row):
    """Something that is there and that the catalog does not know: set aside, shown, never deleted by itself."""

    number = AutoField()
    kind = EnumField(AsideKind)
    id = CharField()
    name = CharField(default="")
    class_name = CharField(default="")
    account_name = CharField(default="")
    account = ForeignKeyField(Account, null=True, on_delete="SET NULL")
    account_id: int | None
    source = CharField(default="")
    doubt = TextField(default="")
    slot = IntegerField(null=True)
    power = CharField(default="")
    base = TextField(default="")
    bytes = IntegerField(default=0)
    facts = JsonField(default=dict)
    made_at = UtcField(null=True)
    found_at = UtcField(default=now)
    since = UtcField(null=True)
    wish = CharField(default="")
    wished_by = CharField(default="")
    problem = TextField(default="")


class DirectoryRun(Row):
    """A synchronisation with the directory."""

    id = AutoField()
    state = EnumField(RunState, default=RunState.QUEUED)
    asked_by = CharField(default="")
    force = BooleanField(default=False)
    step = TextField(default="")
    problem = TextField(default="")
    hint = TextField(default="")
    counts = JsonField(default=dict)
    problems = JsonField(default=list)
    created_at = UtcField(default=now)
    started_at = UtcField(null=True)
    ended_at = UtcField(null=True)


TABLES = (
    Replica,
    Option,
    OrgUnit,
    Account,
    Group,
    Member,
    Nesting,
    Grant,
    Quota,
    Session,
    KnownBrowser,
    SecondFactor,
    RecoveryCode,
    Token,
    PasswordLink,
    SavedView,
    SshKey,
    IdempotencyKey,
    Throttle,
    Class,
    Recipe,
    Favourite,
    Seed,
    Snapshot,
    Sequence,
    SequenceVersion,
    ScenarioFile,
    ScenarioVersion,
    Machine,
    Job,
    Lease,
    KeptDoor,
    ConsoleSession,
    Request,
    Handover,
    DataDisk,
    KeptDisk,
    Backup,
    Run,
    Step,
    WorkItem,
    OutgoingMail,
    Event,
    Webhook,
    WebhookDelivery,
    Reading,
    Engine,
    DirectoryRun,
    Aside,
)
