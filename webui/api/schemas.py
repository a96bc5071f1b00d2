"""What calls answer, as types: mypy holds the views to them, and the document is made from them. Times are RFC 3339; sizes MiB, disks GiB."""

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

Time = str | None


class Me(TypedDict):
    name: str
    full_name: str
    email: str


class Offer(TypedDict):
    name: str
    title: str
    ready: int
    held: int
    burst: int
    at_once: Annotated[int, Field(deprecated=True, description="Use burst.")]
    waiting: bool
    refusal: str
    choice: dict[str, Any]


class Offers(TypedDict):
    classes: list[Offer]


class Setting(TypedDict):
    value: Any
    scenario: Any
    changed: bool


class Policy(TypedDict):
    policy: dict[str, Setting]


class Part(TypedDict):
    of: str
    machines: int


class Bound(TypedDict):
    machines: int | None
    parts: list[Part]


class Calendar(TypedDict):
    now: dict[str, Bound]
    next: dict[str, Bound | str] | None
    prepares: Time


class Space(TypedDict):
    total: int
    available: int


class DiskSpace(TypedDict):
    total: int
    free: int


class Process(TypedDict):
    name: str
    state: str
    restarts: int | None


class Server(TypedDict):
    name: str
    addresses: list[str]
    version: str | None
    booted_at: Time
    load: list[float]
    processors: int
    memory: Space
    disk: DiskSpace
    temperature: float | None
    processes: list[Process]


class Page(TypedDict):
    title: str
    url: str


Machine = TypedDict(
    "Machine",
    {
        "id": str,
        "name": str,
        "class": str,
        "state": str,
        "url": str | None,
        "pages": list[Page],
        "user": str,
        "created_at": Time,
        "lease_ends_at": Time,
        "self": str,
    },
)


class Machines(TypedDict):
    machines: list[Machine]


class Waiting(TypedDict):
    state: str
    request: int


class Figure(TypedDict):
    mean: list[float | None]


class Series(TypedDict):
    step: int
    times: list[int]
    figures: dict[str, dict[str, list[float | None]]]


class Mark(TypedDict):
    at: Time
    kind: str
    text: str


Readings = TypedDict(
    "Readings",
    {
        "from": Time,
        "to": Time,
        "step": int,
        "times": list[int],
        "figures": dict[str, dict[str, list[float | None]]],
        "sent": dict[str, Series],
        "marks": list[Mark],
    },
)


class Console(TypedDict):
    """Where a WebSocket is opened, and whether it may type."""

    path: str
    control: bool


class SshCertificate(TypedDict):
    """A certificate, the line for known_hosts, and where the SSH server is, if it is switched on."""

    certificate: str
    known_hosts: str
    user: str
    port: int | None


class State(TypedDict):
    state: str


class Moved(TypedDict):
    state: str
    run: int


class Lease(TypedDict):
    lease_ends_at: Time


Todo = TypedDict(
    "Todo",
    {
        "id": int,
        "kind": str,
        "title": str,
        "text": str,
        "state": str,
        "class": str | None,
        "requester": str | None,
        "run": int | None,
        "created_at": Time,
        "expires_at": Time,
        "decided_by": str | None,
        "comment": str | None,
    },
)


class Todos(TypedDict):
    todos: list[Todo]


Run = TypedDict(
    "Run",
    {
        "id": int,
        "kind": str,
        "state": str,
        "machine": str | None,
        "class": str | None,
        "for": str | None,
        "asked_by": str,
        "waits_for": str,
        "problem": str,
        "hint": str,
        "created_at": Time,
        "ended_at": Time,
        "self": str,
    },
)


class Runs(TypedDict):
    runs: list[Run]


class RunStep(TypedDict, total=False):
    """A step; `output` is there for those who look after machines."""

    number: int
    name: str
    title: str
    kind: str
    state: str
    by: str | None
    asked: list[str]
    attempts: int
    problem: str
    started_at: Time
    ended_at: Time
    output: Any


class RunSteps(Run):
    """A run with its steps."""

    steps: list[RunStep]


DataDisk = TypedDict(
    "DataDisk",
    {
        "id": str,
        "name": str,
        "class": str,
        "size": int,
        "filled": int | None,
        "capacity": int | None,
        "state": str,
        "problem": str,
        "machine": str | None,
        "created_at": Time,
        "last_used_at": Time,
        "backup_at": Time,
    },
)


class DataDisks(TypedDict):
    data_disks: list[DataDisk]


RetainedDisk = TypedDict("RetainedDisk", {"id": str, "machine": str, "class": str, "state": str, "until": Time})


class RetainedDisks(TypedDict):
    retained_disks: list[RetainedDisk]
    kept_disks: list[RetainedDisk]


class Restored(TypedDict):
    run: int


class SequenceLine(TypedDict):
    name: str
    title: str
    classes: list[str]
    version: int | None
    draft: bool
    self: str


class Sequences(TypedDict):
    sequences: list[SequenceLine]


class Fault(TypedDict):
    place: list[Any]
    message: str
    hint: str
    warning: bool


class Sequence(TypedDict):
    name: str
    title: str
    description: str
    moves: dict[str, Any]
    problems: list[Fault]


class Promoted(TypedDict):
    version: int


class Batch(TypedDict):
    """Machines that were got together: how many, and until when they are held."""

    machines: int
    lease_ends_at: Time


class Changed(TypedDict):
    """What a PUT did: whether anything changed, and which fields where that is known."""

    changed: bool
    fields: list[str]


AdminMachine = TypedDict(
    "AdminMachine",
    {
        "id": str,
        "name": str,
        "class": str,
        "state": str,
        "owner": str | None,
        "seed": int,
        "vcpus": int,
        "memory": int,
        "memory_start": int,
        "memory_most": int,
        "disk": int,
        "problem": str,
        "created_at": Time,
        "state_since": Time,
        "lease_ends_at": Time,
    },
)


class MachineRates(TypedDict):
    """What was said of one machine alone, what counts, and what was last seen in force; by name."""

    own: dict[str, int | None]
    counts: dict[str, int]
    in_force: dict[str, int]
    problem: str


class AdminMachines(TypedDict):
    items: list[AdminMachine]
    next: str | None
    total: int | None


class Account(TypedDict):
    id: int
    name: str
    full_name: str
    email: str
    ssh_keys: str
    org_unit: int
    enabled: bool
    from_directory: bool
    created_at: Time


class Invited(TypedDict):
    """Where the link by which somebody chooses a password went: mailed, or told here and nowhere again."""

    link: str | None
    mailed_to: str | None
    expires_at: Time


class AccountLine(Account):
    """An account in a list: with its roles now, how many machines it holds, and when it was last here."""

    roles: list[str]
    machines: int
    seen_at: Time


class Accounts(TypedDict):
    items: list[AccountLine]
    next: str | None
    total: int | None


class Session(TypedDict):
    """A browser that is signed in: what it calls itself, and from where it asks."""

    id: str
    browser: str
    address: str
    created_at: Time
    seen_at: Time
    expires_at: Time


class Sessions(TypedDict):
    items: list[Session]


class AccountToken(TypedDict):
    """An API token: of what it signs in with, only the last four characters are known."""

    id: int
    name: str
    ending: str
    scope: list[str]
    created_at: Time
    expires_at: Time
    used_at: Time
    address: str


class AccountTokens(TypedDict):
    items: list[AccountToken]


class OneTimeCodes(TypedDict):
    on: bool
    missing: bool


class GroupLine(TypedDict):
    id: int
    name: str
    description: str
    org_unit: int
    from_directory: bool
    members: int


class Groups(TypedDict):
    items: list[GroupLine]
    next: str | None
    total: int | None


class Group(TypedDict):
    """A group with who is in it itself: accounts by name, groups by id."""

    id: int
    name: str
    description: str
    org_unit: int
    from_directory: bool
    accounts: list[str]
    groups: list[int]


class OrgUnit(TypedDict):
    id: int
    name: str
    parent: int | None
    from_directory: bool


class OrgUnits(TypedDict):
    items: list[OrgUnit]


class Limits(TypedDict):
    """How much at once; null is no limit. Memory is MiB, disk GiB."""

    machines: int | None
    vcpus: int | None
    memory: int | None
    disk: int | None
    lease_minutes: int | None


class Holder(TypedDict):
    """Who holds something: an account, a group or an org unit (`unit`)."""

    kind: str
    id: int
    name: str


class Grant(TypedDict):
    """A role over an org unit, a class or, with neither, the appliance. Its id stays when it is given anew."""

    id: str
    role: str
    holder: Holder
    over_unit: int | None
    over_class: str | None
    starts_at: Time
    ends_at: Time
    limits: Limits


class Grants(TypedDict):
    items: list[Grant]


class Quota(TypedDict):
    """How much somebody may have: each person (`each`), or all together. Its id stays when it is set anew."""

    id: str
    holder: Holder
    each: bool
    class_name: str | None
    limits: Limits


class Quotas(TypedDict):
    items: list[Quota]


class AdminClass(TypedDict):
    """A class, and how many of its machines are in which state of their life."""

    name: str
    title: str
    enabled: bool
    problem: str
    creation: int
    buffer: int
    production: int
    failed: int
    waiting: int
    seed: int | None
    building: int | None


class AdminClasses(TypedDict):
    items: list[AdminClass]


Job = TypedDict(
    "Job",
    {
        "id": int,
        "class": str,
        "name": str,
        "number": int,
        "run": list[str],
        "state": str,
        "try": int,
        "tries": int,
        "seconds": int,
        "status": int | None,
        "output": str,
        "problem": str,
        "machine": str | None,
        "created_at": Time,
        "started_at": Time,
        "ended_at": Time,
    },
)


class Jobs(TypedDict):
    """The last hundred, latest first."""

    items: list[Job]


class JobIds(TypedDict):
    jobs: list[int]


class PolicyValues(TypedDict):
    """What an admin changed of a policy (the scenario says all else), and what counts."""

    values: dict[str, Any]
    counts: dict[str, Any]


Seed = TypedDict(
    "Seed",
    {
        "id": int,
        "class": str,
        "version": int,
        "state": str,
        "promoted": bool,
        "task": str,
        "problem": str,
        "hint": str,
        "created_at": Time,
        "started_at": Time,
        "ended_at": Time,
    },
)


class Seeds(TypedDict):
    items: list[Seed]
    next: str | None
    total: int | None


class ApplicationOption(TypedDict):
    """What a class decides about an application. `minimum` and `maximum` are of integers, `choices` of choices."""

    name: str
    type: str
    title: str
    description: str
    default: str | int | bool
    minimum: int | None
    maximum: int | None
    choices: list[str]


class Application(TypedDict):
    """An application of the catalogue. `memory` is MiB and `disk` GiB that it needs; `port`: of its page in a machine, if it has one.

    `own`: the scenario brings it; `withdrawn`: it is offered to no class that does not have it.
    """

    name: str
    title: str
    description: str
    licence: str
    releases: list[str]
    memory: int
    disk: int
    port: int | None
    packages: list[str]
    own: bool
    withdrawn: bool
    options: list[ApplicationOption]


class Taken(TypedDict):
    """`version`: of the scenario, which has it."""

    name: str
    version: int


class Zip(TypedDict):
    """A zip, in Base64."""

    name: str
    zip: str


class Applications(TypedDict):
    items: list[Application]


class PackageSizes(TypedDict):
    """What a package brings besides what every seed has, itself included: names, and bytes."""

    packages: list[str]
    size: int
    installed: int


class Package(TypedDict):
    """A Debian package. `size` are the bytes of its download, `installed` those on the disk; `base`: every seed has it."""

    name: str
    version: str
    section: str
    summary: str
    base: bool
    size: int
    installed: int
    brings: PackageSizes


class Packages(TypedDict):
    """The best of what was found, and how many there are."""

    release: str
    read_at: Time
    total: int
    items: list[Package]


class PackageDetail(Package):
    """A package with its long description, and the classes of whose recipe it is."""

    description: str
    classes: list[str]


class RunPage(TypedDict):
    items: list[Run]
    next: str | None
    total: int | None


Event = TypedDict(
    "Event",
    {
        "id": int,
        "at": Time,
        "kind": str,
        "level": str,
        "message": str,
        "actor": str,
        "address": str,
        "class": str | None,
        "machine": str | None,
        "seed": int | None,
        "object": str,
        "data": dict[str, Any],
    },
)


class Events(TypedDict):
    items: list[Event]
    next: str | None
    total: int | None


class Check(TypedDict):
    """What a look at the whole record found: nothing in `problems` when it is as it was written."""

    lines: int
    last: int
    problems: list[str]


class Need(TypedDict):
    """Something that does not mend itself, and the page where it is mended."""

    kind: str
    severity: str
    what: str
    why: str
    page: str


class Needs(TypedDict):
    items: list[Need]


class HostOperation(TypedDict):
    """Something that is done to the server and may take long: it goes on while `state` is running; `progress` is per cent, `file` that of a support bundle."""

    id: str
    title: str
    by: str
    state: str
    progress: int | None
    said: str
    problem: str
    hint: str
    file: str | None
    created_at: Time
    ended_at: Time


class HostOperations(TypedDict):
    items: list[HostOperation]


class Backup(TypedDict):
    """A backup at the target: how many people, machines and data disks are in it."""

    id: str
    at: Time
    bytes: int
    people: int
    machines: int
    disks: int
    scenario: str
    version: str


class Backups(TypedDict):
    items: list[Backup]


class Update(TypedDict):
    """Versions: what runs, what waits to be installed (`staged`), what going back leads to; and the operation that runs or ran last."""

    version: str
    built_at: Time
    staged: str | None
    back_to: str | None
    operation: str | None
    problem: str


class Restarting(TypedDict):
    at: Time


class FieldError(TypedDict, total=False):
    """What is wrong with a field of what was sent (`pointer`, RFC 6901) or with a parameter of the address."""

    pointer: str
    parameter: str
    detail: str


class _Said(TypedDict):
    title: str
    detail: str
    status: int


class Problem(_Said, total=False):
    """Problem details (RFC 9457): what went wrong, what to do, what is wrong with each field, and the id of the request, as the log has it."""

    errors: list[FieldError]
    request_id: str


class Webhook(TypedDict):
    """A webhook: no `kinds` are all events, no `classes` all classes; `pending` and `dead` are how many deliveries wait, and were given up."""

    id: int
    name: str
    url: str
    kinds: list[str]
    classes: list[str]
    enabled: bool
    pending: int
    dead: int
    failing_since: Time
    before_until: Time
    created_at: Time


class Webhooks(TypedDict):
    items: list[Webhook]


class EventMessage(TypedDict):
    """What a webhook's receiver is sent of an event."""

    type: str
    timestamp: Time
    data: Event


class WebhookSecret(TypedDict):
    """A new secret, told this once, and until when the one before it is good."""

    secret: str
    before_until: Time


class WebhookAnswer(TypedDict):
    answer: str


class Delivery(TypedDict):
    """An event on its way to a webhook's receiver, or what became of that: pending, delivered or dead."""

    id: int
    event: int
    kind: str
    message: str
    state: str
    tries: int
    answer: str
    tried_at: Time
    next_at: Time


class Deliveries(TypedDict):
    items: list[Delivery]
    next: str | None
    total: int | None


class ScenarioVersion(TypedDict):
    """A version of the scenario. What is offered (by the appliance) or imported (by somebody) waits, and has the number 0."""

    number: int
    state: str
    digest: str
    author: str
    comment: str
    changes: str
    created_at: Time


class ScenarioVersions(TypedDict):
    items: list[ScenarioVersion]


class Scenario(ScenarioVersion):
    """The version that counts, with its scenario.yml; `offered` and `imported` are digests of what waits."""

    text: str
    offered: str | None
    imported: str | None


class ClassChange(TypedDict):
    """What becomes of a class. effect: new, withdrawn, seed (a seed is to be built), machines (of those made from then on), or now."""

    name: str
    effect: str
    keys: list[str]


class ScenarioFileChange(TypedDict):
    path: str
    what: str


class ScenarioChange(TypedDict):
    """What it is to go from the version that counts to another."""

    classes: list[ClassChange]
    files: list[ScenarioFileChange]


class ScenarioDetail(ScenarioVersion):
    """A version, what it changed of the one before (null: that is not kept any more), and what going back to it would change."""

    made: ScenarioChange | None
    back: ScenarioChange | None


class ImportedScenario(ScenarioChange):
    """What was sent and waits: `digest` and `seen` say what was looked at when it is taken."""

    digest: str
    seen: int


class ScenarioConflict(TypedDict):
    """What both sides changed: a file or, in scenario.yml, a key; null is not there."""

    place: str
    base: str | None
    ours: str | None
    theirs: str | None
    chosen: str | None


class OfferedScenario(TypedDict):
    """A newer scenario, and what comes of the choices: `outcome` is empty while a conflict has none, `problems` is what is wrong with it."""

    digest: str
    seen: int
    conflicts: list[ScenarioConflict]
    outcome: str
    change: ScenarioChange | None
    problems: list[str]


class Number(TypedDict):
    number: int


class Finding(TypedDict):
    ok: bool
    text: str
    hint: str


class Findings(TypedDict):
    """What a test found, good and bad."""

    items: list[Finding]


class Mailed(TypedDict):
    mailed_to: str


class DirectoryRun(TypedDict):
    """A synchronisation: what it counted, and what is wrong with single people."""

    id: int
    state: str
    asked_by: str
    step: str
    problem: str
    hint: str
    counts: dict[str, Any]
    problems: list[Any]
    created_at: Time
    started_at: Time
    ended_at: Time


class DirectoryRuns(TypedDict):
    items: list[DirectoryRun]


class Log(TypedDict):
    name: str
    about: str


class Logs(TypedDict):
    items: list[Log]


class LogLine(TypedDict):
    at: str
    source: str
    level: str
    text: str


class LogLines(TypedDict):
    items: list[LogLine]


class StorageUse(TypedDict):
    name: str
    about: str
    bytes: int


UnusedSeed = TypedDict("UnusedSeed", {"seed": int, "class": str, "version": int, "bytes": int})


class BlockDevice(TypedDict):
    """A disk. use: system, data, other, empty or foreign; `refusal` says why it cannot be given to data; healthy is null where it cannot tell."""

    path: str
    name: str
    serial: str
    bytes: int
    use: str
    holds: list[str]
    refusal: str
    healthy: bool | None
    health: str


class Storage(TypedDict):
    """The file system with all that the appliance keeps; `missing` says when the second disk does not answer."""

    total: int
    free: int
    missing: str
    used: list[StorageUse]
    unused_seeds: list[UnusedSeed]
    disks: list[BlockDevice]


class Freed(TypedDict):
    """Bytes that are free now."""

    free: int


class NetworkCard(TypedDict):
    name: str
    mac: str
    connected: bool
    speed: int
    addresses: list[str]


class LastTrial(TypedDict):
    """A network on trial: on, kept or back, and why it went back; `left` is seconds."""

    state: str
    address: str
    why: str
    left: float


class Network(TypedDict):
    mode: str
    card: str
    address: str
    gateway: str
    dns: list[str]
    name: str
    cards: list[NetworkCard]
    trial: LastTrial | None


class NetworkTrial(TypedDict):
    """What keeps a network that is tried, until when, and where the server is meanwhile; with dhcp nobody knows."""

    token: str
    until: Time
    address: str


class Certificate(TypedDict):
    """What is served: whether it is `own`, for which names; `problem` says why one that was sent cannot be."""

    own: bool
    problem: str
    fingerprint: str
    names: list[str]
    begins_at: Time
    ends_at: Time
    issuer: str
    chain: list[str]


class Clock(TypedDict):
    now: Time


Orphan = TypedDict(
    "Orphan",
    {
        "number": int,
        "kind": str,
        "id": str,
        "name": str,
        "class": str,
        "account": str,
        "doubt": str,
        "bytes": int,
        "since": Time,
        "wish": str,
        "problem": str,
    },
)


class Undecided(TypedDict):
    """Why nothing is made and nothing removed: the catalog is older, other or unmarked."""

    why: str
    at: Time
    choice: str


class Orphans(TypedDict):
    """What is set aside; `undecided` is null when all goes on."""

    items: list[Orphan]
    undecided: Undecided | None


DiskCopy = TypedDict(
    "DiskCopy",
    {
        "path": str,
        "disk": str,
        "machine": str,
        "class": str,
        "account": str,
        "bytes": int,
        "taken_at": Time,
        "newest": bool,
        "problem": str,
    },
)


class DiskCopies(TypedDict):
    items: list[DiskCopy]


class RunIds(TypedDict):
    runs: list[int]


class AdminDataDisk(DataDisk):
    """A data disk, and whose it is."""

    owner: str | None


class AdminDataDisks(TypedDict):
    items: list[AdminDataDisk]
    next: str | None
    total: int | None


AdminRetainedDisk = TypedDict(
    "AdminRetainedDisk", {"id": str, "machine": str, "class": str, "state": str, "until": Time, "owner": str | None, "bytes": int}
)


class AdminRetainedDisks(TypedDict):
    items: list[AdminRetainedDisk]
    next: str | None
    total: int | None


class ImportedAccount(TypedDict):
    """A new account: with the table's password, mailed an invitation, or with a link to hand over, told only here."""

    id: int
    name: str
    has_password: bool
    link: str | None


class ImportedAccounts(TypedDict):
    """What a table came to; with a dry run nothing is made, and `accounts` is empty."""

    count: int
    accounts: list[ImportedAccount]


class BackupTarget(TypedDict):
    """Where backups go, without what opens it; null: nowhere. `noted`: somebody wrote the recovery key down."""

    target: dict[str, Any] | None
    noted: bool
    problem: str
    same_disk: bool


class BackupTargetFound(TypedDict):
    """What is at a target: confirm (its keys have to be looked at), empty, ours, or theirs (another recovery key opens it)."""

    state: str
    said: str
    backups: int
    fingerprints: list[str]
    host_keys: list[str]
    same_disk: bool


class StagedUpdate(TypedDict):
    """An update that waits to be installed: when it was built, and by whose key it is signed."""

    version: str
    built: str
    signed_by: str
    bytes: int


class RequestState(TypedDict):
    """A request for a machine that waits, or was met."""

    request: int
    state: str


class SettingsArea(TypedDict):
    """A form of settings, at /admin/settings/NAME."""

    name: str
    about: str
    fields: list[str]


class SettingsAreas(TypedDict):
    items: list[SettingsArea]
