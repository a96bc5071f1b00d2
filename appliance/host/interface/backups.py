"""Backups of the whole appliance: where they go, when they are made, what is there, and putting one in the place of what is here."""

from types import NoneType
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, field_validator
from pydantic.dataclasses import dataclass

from appliance.host.rpc.verb import Arguments, LongVerb, Nothing, Result, Verb

# -- where they go ----

Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=300)]
UUID = r"^[0-9A-Za-z-]{4,40}$"  # of a file system


class Target(BaseModel):
    """Where backups lie."""

    model_config = ConfigDict(extra="forbid")


class Folder(Target):
    """A folder on this server, best one on which another server's disk is mounted."""

    kind: Literal["folder"]
    path: Annotated[Line, StringConstraints(pattern=r"^/[^\x00-\x1f]*$")]

    def __str__(self) -> str:
        return f"the folder {self.path}"


class Disk(Target):
    """A disk that is plugged in, by the UUID of its file system; it is only mounted while it is used."""

    kind: Literal["disk"]
    uuid: Annotated[Line, StringConstraints(pattern=UUID)]

    def __str__(self) -> str:
        return f"the disk {self.uuid}"


class Sftp(Target):
    """A folder on another server, through SSH. `host_keys` are those that an admin has confirmed, each as `type base64`."""

    kind: Literal["sftp"]
    host: Annotated[Line, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: Annotated[Line, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")]
    path: Annotated[Line, StringConstraints(pattern=r"^[^\x00-\x1f~-][^\x00-\x1f]*$")]
    host_keys: Annotated[list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9@.-]+ [A-Za-z0-9+/=]+$")]], Field(max_length=10)] = []

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.path}"


class Bucket(Target):
    """A bucket of a server that speaks S3, without what opens it."""

    kind: Literal["s3"]
    endpoint: Annotated[Line, StringConstraints(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+/?$")]
    bucket: Annotated[Line, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{1,62}$")]
    prefix: Annotated[Line, StringConstraints(pattern=r"^[A-Za-z0-9._/-]*$")] = ""
    region: Annotated[Line, StringConstraints(pattern=r"^[A-Za-z0-9-]*$")] = ""
    access_key: Annotated[Line, StringConstraints(min_length=1)]

    def __str__(self) -> str:
        return f"the bucket {self.bucket} of {self.endpoint}"


class S3(Bucket):
    """The same with it."""

    secret_key: Annotated[Line, StringConstraints(min_length=1)] = Field(repr=False)


AnyTarget = Annotated[Folder | Disk | Sftp | S3, Field(discriminator="kind")]
ShownTarget = Annotated[Folder | Disk | Sftp | Bucket, Field(discriminator="kind")]
TARGET: TypeAdapter[Folder | Disk | Sftp | S3] = TypeAdapter(AnyTarget)


class At(Arguments):
    """A target, and the recovery key of what is there; empty for the one in use or a new one."""

    target: AnyTarget
    key: Annotated[str, Field(max_length=100, repr=False)] = ""


class Found(Result):
    """What is at a target. `state`: confirm (the server's key has to be, with these fingerprints), empty, ours, or theirs (another key opens it).
    `same_disk`: as in State."""

    state: Literal["confirm", "empty", "ours", "theirs"]
    words: str
    backups: int = 0
    newest: str = ""
    fingerprints: list[str] = Field(default_factory=list)
    host_keys: list[str] = Field(default_factory=list)
    repository: str = ""
    same_disk: bool = False


class Written(Arguments):
    """The first and the last group of the recovery key, from what somebody wrote down."""

    ends: Annotated[str, Field(max_length=100, repr=False)]


class Volume(Result):
    """A file system that could hold backups; `size` as people read it."""

    uuid: str
    name: str
    label: str
    size: str
    model: str


TEST = Verb("backup.test", At, Found)
CONFIGURE = Verb("backup.configure", At, Found)
STOP = Verb("backup.stop", Nothing, NoneType)
KEY = Verb("backup.key", Nothing, str)
NOTED = Verb("backup.noted", Written, NoneType)
PUBLIC_KEY = Verb("backup.public_key", Nothing, str)
DISKS = Verb("backup.disks", Nothing, list[Volume])

# -- when they are made, and how it went ----


Often = Literal["never", "daily", "weekly", "monthly"]


class Plan(BaseModel):
    """When backups are made, how many are kept, and how often one is restored to see whether it can be. `days` counts from Monday, 0; `at` is
    in the appliance's time zone."""

    on: bool = True
    at: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = "02:30"
    days: list[Annotated[int, Field(ge=0, le=6)]] = Field(default_factory=lambda: list(range(7)), max_length=7)
    daily: Annotated[int, Field(ge=1, le=400)] = 7
    weekly: Annotated[int, Field(ge=0, le=400)] = 4
    monthly: Annotated[int, Field(ge=0, le=400)] = 6
    seeds: bool = True
    restore_test: Often = "weekly"

    @field_validator("days")
    @classmethod
    def _each_once(cls, days: list[int]) -> list[int]:
        return sorted(set(days))


class Schedule(Arguments):
    plan: Plan


class Last(Result):
    """What came of the last backup, the last check and the last restore test, as far as there was one. Times are ISO 8601; sizes are bytes."""

    begun_at: str = ""
    at: str = ""
    ok: bool | None = None
    error: str = ""
    ok_at: str = ""
    checked_at: str = ""
    check_ok: bool | None = None
    check_error: str = ""
    check_words: str = ""
    test_begun_at: str = ""
    tested_at: str = ""
    test_ok: bool | None = None
    test_error: str = ""
    test_words: str = ""
    test_ok_at: str = ""
    snapshot: str = ""
    bytes: int = 0
    added: int | None = None
    people: int = 0
    machines: int = 0
    disks: int = 0
    problems: list[str] = Field(default_factory=list)


class State(Result):
    """All that is known without asking the target; it is None before one was configured. `problem` and `restore_problem`, which is of restore
    tests, are a sentence each, or empty. `same_disk`: they lie on a disk that the appliance's own data lies on."""

    target: ShownTarget | None
    where: str
    noted: bool
    plan: Plan
    last: Last
    problem: str
    restore_problem: str = ""
    same_disk: bool = False


STATE = Verb("backup.state", Nothing, State)
PLAN = Verb("backup.plan", Schedule, NoneType)

# -- making and reading them ----


@dataclass(frozen=True)
class Backup:
    """A backup that is there; sizes are bytes. `missing` counts data disks that could not be copied for it."""

    id: str
    at: AwareDatetime
    bytes: int
    people: int
    machines: int
    disks: int
    missing: int
    seeds: int
    schema: int
    scenario: str
    version: str


class Made(Result):
    """What a backup that was made holds, in bytes and numbers; `problems` says what is missing from it."""

    snapshot: str
    bytes: int
    added: int
    people: int
    machines: int
    disks: int
    problems: list[str]


class Part(Arguments):
    """Per cent of the data that are read."""

    part: Annotated[int, Field(ge=1, le=100)] = 100


class Checked(Result):
    """How many backups are whole, and that in words."""

    words: str
    backups: int


LIST = Verb("backup.list", Nothing, list[Backup])
RUN = LongVerb("backup.run", Nothing, Made, title="Backup")
VERIFY = LongVerb("backup.verify", Part, Checked, title="Check of the backups")

# -- restoring ----

Snapshot = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]


class From(Arguments):
    """Which backups: of a target, with its recovery key, or the configured ones when no target is named."""

    target: AnyTarget | None = None
    key: Annotated[str, Field(max_length=100, repr=False)] = ""


class Restore(From):
    """`network`: also the network of the server that the backup is of."""

    snapshot: Snapshot
    network: bool = False


class Copies(From):
    snapshot: Snapshot


class Tested(Result):
    """What a restore test found, in words; `whole` is False where there was no room for data disks and seeds."""

    words: str
    whole: bool


class Restored(Result):
    people: int
    machines: int
    disks: int


class Copied(Result):
    copies: int


LIST_FROM = Verb("restore.list", From, list[Backup])
RESTORE = LongVerb("restore.begin", Restore, Restored, title="Restore")
TEST_RESTORE = LongVerb("restore.test", Nothing, Tested, title="Restore test")
FETCH_COPIES = LongVerb("restore.copies", Copies, Copied, title="Fetching copies of data disks")
