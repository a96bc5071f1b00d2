"""The policy of a class: what a scenario says, and an admin may change afterwards. **Each field is declared here, once.**

A field with an `Editable` is on the class's page, in the API and in the table of the scenarios' README, is checked by its limits wherever it comes
from, and can be changed by an admin; `appliance.catalog.policies` says what counts. Nothing else has to know of it but what acts on it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, Field, GetJsonSchemaHandler, StringConstraints, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

from appliance.scenario.calendar import MANY, ONE_OFFS, WINDOWS, OneOff, Window, faults
from appliance.scenario.rule import RULES, Rule, rule_faults
from appliance.yamlfile import Part

Readiness = Literal["running", "paused", "cold"]


class Form(StrEnum):
    """What is saved together on a class's page."""

    POLICY = "policy"
    LIFE = "life"
    MAKING = "making"
    CALENDAR = "calendar"  # on a page of its own
    RULES = "rules"  # so are these


@dataclass(frozen=True)
class Editable:
    """How a field stands on a class's page: its name there and in the catalog, the headings that it is under, and what numbers and choices mean."""

    name: str
    form: Form
    group: str
    label: str
    unit: str = ""
    choices: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # label and help of each

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The same for forms that are made of the schema."""
        words = {choice: label for choice, (label, _) in self.choices.items()}
        about = {"title": self.label, "unit": self.unit, "words": words}
        return {**handler(schema), **{name: value for name, value in about.items() if value}}


def _pools(name: str, label: str, unit: str = "machines") -> Editable:
    return Editable(name, Form.POLICY, "Pools", label, unit)


def _calendar(name: str, label: str) -> Editable:
    return Editable(name, Form.CALENDAR, "Calendar", label)


def _lease(name: str, label: str, unit: str = "minutes") -> Editable:
    return Editable(name, Form.POLICY, "Leases", label, unit)


def _life(name: str, group: str, label: str, unit: str = "minutes", **choices: tuple[str, str]) -> Editable:
    return Editable(name, Form.LIFE, group, label, unit, choices)


DATA, RATES = "What belongs to it", "Rates"


class Size(Part):
    """What one machine is given."""

    vcpus: int = Field(default=1, ge=1, le=64, title="Processors", description="Virtual processors.")
    memory: int = Field(
        default=1024, ge=128, le=1 << 20, description="Memory in MiB that it starts with.", json_schema_extra={"unit": "MiB"}
    )
    memory_most: Annotated[int, Editable("memory_most", Form.MAKING, "Memory by need", "Memory at most", "MiB")] = Field(
        default=0,
        ge=0,
        le=1 << 20,
        description="Memory in MiB that a running machine is given at most, 128 MiB at a time when it has little left; what it no longer needs is taken back. "
        "0: it keeps what it starts with. New machines follow it.",
    )
    disk: int = Field(
        default=8,
        ge=1,
        le=4096,
        description="Size of the system disk in GiB; it takes only what is written to it.",
        json_schema_extra={"unit": "GiB"},
    )
    data: Annotated[int, _life("data_disk", DATA, "Data disk", "GiB")] = Field(
        default=0,
        ge=0,
        le=65536,
        description="Size in GiB of a data disk that each machine gets besides, at /data. It outlives the machine, and its owner's next one of the class gets it; 0: none.",
    )

    @model_validator(mode="after")
    def _grows(self) -> "Size":
        if 0 < self.memory_most < self.memory:
            raise ValueError(f"memory_most ({self.memory_most}) is below memory ({self.memory})", "raise memory_most, or leave it out")
        return self


MEMORY_STEP = 128  # MiB, in which Linux takes memory and gives it back


def memory_room(memory: int, most: int) -> int:
    """MiB that a machine which starts with so much may be given besides: whole steps."""
    return max(0, most - memory) // MEMORY_STEP * MEMORY_STEP


class Growth(Part):
    """When a data disk is made larger, while its machine runs and writes to it. A disk never shrinks."""

    most: Annotated[int, _life("data_most", DATA, "Data disk grows to", "GiB")] = Field(
        default=0,
        ge=0,
        le=65536,
        description="A data disk that fills grows by itself: up to this, its owner's quota, and the server's room. 0: it does not.",
    )
    above: Annotated[int, _life("data_above", DATA, "Grows when filled to", "percent")] = Field(
        default=85, ge=10, le=99, description="It grows when so much of it is full."
    )
    step: Annotated[int, _life("data_step", DATA, "Grows by", "GiB")] = Field(
        default=1,
        ge=1,
        le=4096,
        description="What is added at a time; a quarter of its size at least.",
    )
    cooldown: Annotated[int, _life("data_cooldown", DATA, "Grows again after", "seconds")] = Field(
        default=30, ge=0, le=86400, description="Before it grows once more."
    )


class Rates(Part):
    """How fast one machine is at most, whatever it does; 0: as fast as it can."""

    network_in: Annotated[int, _life("network_in", RATES, "Network, to it", "Mbit/s")] = Field(
        default=0, ge=0, le=100_000, description="Sent to a machine, at most; 0: no limit."
    )
    network_out: Annotated[int, _life("network_out", RATES, "Network, from it", "Mbit/s")] = Field(
        default=0, ge=0, le=100_000, description="Sent by a machine, at most; 0: no limit."
    )
    disk_rate: Annotated[int, _life("disk_rate", RATES, "Disks", "MiB/s")] = Field(
        default=0, ge=0, le=100_000, description="Read and written on all its disks, at most; 0: no limit."
    )
    disk_iops: Annotated[int, _life("disk_iops", RATES, "Disk operations", "a second")] = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Reads and writes on all its disks, at most; 0: no limit.",
    )


class Policy(Part):
    """How large the pools of a class should be."""

    buffer: Annotated[int, _pools("buffer", "Ready and waiting")] = Field(
        default=1, ge=0, le=MANY, description="Machines kept ready and unassigned, so that a person gets one at once."
    )
    minimum: Annotated[int, _pools("minimum", "Minimum")] = Field(
        default=0, ge=0, le=MANY, description="Machines that exist at least, assigned or not."
    )
    maximum: Annotated[int, _pools("maximum", "Maximum")] = Field(
        default=10, ge=0, le=MANY, description="Machines that exist at most, assigned or not, whatever is asked for."
    )
    service_level: Annotated[int, Editable("service_level", Form.POLICY, "Forecast", "Met at once", "of 100 requests")] = Field(
        default=99, ge=50, le=99, description="Of a hundred requests, how many are to get a machine at once: what the forecast aims at."
    )
    forecast_acts: Annotated[bool, Editable("forecast_acts", Form.POLICY, "Forecast", "Let the forecast act")] = Field(
        default=False,
        description="Whether the forecast says how many are kept ready, by the quarter of an hour, in place of the buffer. Until then it only advises.",
    )
    windows: Annotated[tuple[Window, ...], Field(strict=False, max_length=WINDOWS), _calendar("windows", "Windows")] = Field(
        default=(), description="Other numbers for some hours of the week; where several hold at once, the last that says a number wins."
    )
    one_offs: Annotated[tuple[OneOff, ...], Field(strict=False, max_length=ONE_OFFS), _calendar("one_offs", "One-offs")] = Field(
        default=(), description="What happens once, like an exam: its numbers are added to those that hold otherwise."
    )

    rules: Annotated[tuple[Rule, ...], Field(strict=False, max_length=RULES), Editable("rules", Form.RULES, "Rules", "Rules")] = Field(
        default=(), description="What makes the minimum or the buffer larger and smaller by a metric."
    )
    priority: Annotated[int, _pools("priority", "Priority", "")] = Field(
        default=0,
        ge=0,
        le=100,
        description="When the host is full, classes of a higher priority get machines first, and lose ready ones last.",
    )

    @model_validator(mode="after")
    def _order(self) -> "Policy":
        if self.minimum > self.maximum:
            raise ValueError(f"minimum ({self.minimum}) is above maximum ({self.maximum})", "raise maximum or lower minimum")
        if self.buffer > self.maximum:
            raise ValueError(f"buffer ({self.buffer}) is above maximum ({self.maximum})", "raise maximum or lower buffer")
        for fault in faults(self.windows, self.one_offs, self.maximum):
            raise ValueError(fault.message, fault.hint)
        for wrong in rule_faults(self.rules):
            raise ValueError(wrong.message, wrong.hint)
        return self


UNUSED = "When nobody uses it"


class Idle(Part):
    """What becomes of a machine that nobody uses."""

    minutes: Annotated[int, _life("idle_minutes", UNUSED, "Idle after")] = Field(
        ge=0, le=525600, description="It is idle when nothing told of its use for so many minutes; 0: it never is."
    )
    warning: Annotated[int, _life("idle_grace", UNUSED, "Warned for")] = Field(
        default=15, ge=1, le=10080, description="Minutes from the warning, which its owner sees, to what follows; any use ends it."
    )
    then: Annotated[
        Literal["reclaim", "suspend"],
        _life(
            "idle_then",
            UNUSED,
            "What becomes of an idle machine",
            "",
            reclaim=("It is taken back", "The machine is destroyed, and another person can have its place."),
            suspend=(
                "It is suspended",
                "Its memory is saved to disk and freed; its owner lets it go on where it was, until the lease ends.",
            ),
        ),
    ] = Field(
        default="reclaim",
        description="`reclaim` takes it back with all that is on it; `suspend` keeps its memory on disk until its owner goes on.",
    )


class Warnings(Part):
    """When the holder of a machine is told that the lease ends, on their page and by e-mail. 0: not at that time."""

    first: Annotated[int, _lease("warn_first", "First warning")] = Field(
        default=1440, ge=0, le=525600, description="Minutes before the end, by e-mail, but at most a quarter of the lease; 0: none."
    )
    last: Annotated[int, _lease("warn_last", "Last warning")] = Field(
        default=60,
        ge=0,
        le=525600,
        description="Minutes before the end, by e-mail and on the page, but at most an eighth of the lease; 0: none.",
    )


class LeaseTerms(Part):
    """How long a machine may be held."""

    minutes: Annotated[int, _lease("lease_minutes", "A lease lasts")] = Field(
        default=480,
        ge=1,
        le=525600,
        description="Length of a lease, in minutes; when it ends, the machine is destroyed with everything on it.",
    )
    extend: Annotated[int, _lease("extend_minutes", "An extension adds")] = Field(
        default=240, ge=0, le=525600, description="Minutes that one extension adds; 0: leases cannot be extended."
    )
    extensions: Annotated[int, _lease("extensions", "Extensions", "times")] = Field(
        default=3, ge=0, le=1000, description="How often a lease may be extended."
    )
    warnings: Warnings = Field(default=Warnings(), description="When its end is announced.")
    busy: Annotated[int, _lease("busy_grace", "Kept while busy")] = Field(
        default=60,
        ge=0,
        le=10080,
        description="Minutes that a machine which is busy when the lease ends is kept at most; it goes as soon as it comes to rest. 0: not at all.",
    )
    idle: Idle = Field(default=Idle(minutes=0), description="What becomes of a machine that nobody uses.")
    connect: Annotated[int, _life("connect_minutes", "When it is never opened", "Opened within")] = Field(
        default=0,
        ge=0,
        le=525600,
        description="Minutes within which the application is opened for the first time, or the machine is taken back; 0: no limit.",
    )


class ClassPolicy(Part):
    """All that an admin may change of a class, in the shape of scenario.yml. A second name is a former one, which is still read."""

    size: Size = Field(default=Size(), description="Processors, memory and disk of one machine.")
    growth: Growth = Field(default=Growth(), description="When its data disks are made larger.")
    rates: Rates = Field(default=Rates(), description="How fast one machine is at most on network and disks.")
    policy: Policy = Field(default=Policy(), description="How large the pools are, until an admin changes it.")
    lease: LeaseTerms = Field(default=LeaseTerms(), description="How long a machine may be held.")
    per_person: Annotated[int, _lease("per_person", "Machines per person", "machines")] = Field(
        default=1, ge=1, le=1000, description="Machines of this class that one person may hold at once."
    )
    burst: Annotated[int, _life("burst", "Several at once", "Burst", "machines")] = Field(
        default=1,
        ge=1,
        le=1000,
        validation_alias=AliasChoices("burst", "at_once"),
        description="Machines that one request may be for: it gets all of them together, or none.",
    )
    batch_window: Annotated[int, _life("batch_window", "Several at once", "Batch window")] = Field(
        default=60,
        ge=1,
        le=10080,
        validation_alias=AliasChoices("batch_window", "together"),
        description="Minutes after which a request for several is refused, if so many were never there.",
    )
    sequence: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,40}$"),
        _life("sequence", "Activities", "Sequence", ""),
    ] = Field(default="", description="The sequence that its machines follow, or `none`; without it the one called like its kind.")
    pictures: Annotated[bool, Editable("pictures", Form.LIFE, "Console", "Show small pictures of the screen")] = Field(
        default=True,
        description="Whether whoever may see a machine's console is shown a small picture of its screen beforehand. It is taken when they ask, and never kept.",
    )
    fork: Annotated[bool, Editable("fork", Form.MAKING, "Forking", "Fork machines from a snapshot of their seed")] = Field(
        default=True,
        description="Whether machines go on from a booted snapshot of the seed, in a fraction of the time of a boot and with little memory of their own; `off` boots each. "
        "Forks of a seed share unchanged memory pages, a known side channel between tenants: `off` is for owners who must not learn anything of each other.",
    )
    readiness: Annotated[
        Readiness,
        Editable(
            "readiness",
            Form.MAKING,
            "Readiness of the buffer",
            "Readiness of the buffer",
            choices={
                "paused": (
                    "Paused",
                    "Made, then halted. Takes no processor and, forked, little memory; goes on at once when somebody gets it.",
                ),
                "running": ("Running", "Answers a little sooner, and takes memory and processor all the while."),
                "cold": (
                    "Cold",
                    "A disk only. Costs nothing until it is asked for; then it takes a moment longer, and without forking a whole boot.",
                ),
            },
        ),
    ] = Field(
        default="paused",
        description="How machines wait in the buffer: `running`; `paused`, which costs no processor and, forked, little memory; or `cold`, a disk only.",
    )

    jobs: Annotated[bool, Editable("jobs", Form.MAKING, "Jobs", "Work on jobs")] = Field(
        default=False,
        description="Whether its machines work on the jobs of a queue: then they wait running, and nobody gets one. A rule with the metric `jobs` has as many as are needed.",
    )

    @model_validator(mode="after")
    def _fits(self) -> "ClassPolicy":
        if self.burst > max(1, min(self.per_person, self.policy.maximum)):
            bound = "per_person" if self.per_person < self.policy.maximum else "policy.maximum"
            raise ValueError(
                f"burst ({self.burst}) is above {bound} ({min(self.per_person, self.policy.maximum)})",
                f"raise {bound} or lower burst",
            )
        return self


@dataclass(frozen=True)
class PolicyField:
    """A field as forms, documentation and the catalog need it. `path` leads to it in a class of scenario.yml; limits are None where there are none."""

    path: tuple[str, ...]
    editable: Editable
    help: str
    default: Any
    low: int | None
    high: int | None

    @property
    def name(self) -> str:
        return self.editable.name

    @property
    def widget(self) -> str:
        """number, switch, choice, list or text."""
        if self.editable.choices:
            return "choice"
        return {bool: "switch", int: "number", list: "list"}.get(type(self.default), "text")

    def of(self, spec: Mapping[str, Any]) -> Any:
        """Its value in a class as scenario.yml has it; the default where it does not say it."""
        value: Any = spec
        for key in self.path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return self.default if value is None else value


def fields() -> dict[str, PolicyField]:
    """All fields that an admin may change, by name, in the order of the page."""
    return _fields_of(ClassPolicy)


@cache
def _fields_of(model: type[ClassPolicy]) -> dict[str, PolicyField]:
    return {found.name: found for found in _walk(model, model(), ())}


def _walk(model: type[BaseModel], defaults: BaseModel, above: tuple[str, ...]) -> Iterator[PolicyField]:
    for key, info in model.model_fields.items():
        value, path = getattr(defaults, key), (*above, key)
        if isinstance(value, BaseModel):
            yield from _walk(type(value), value, path)
        elif editable := next((one for one in info.metadata if isinstance(one, Editable)), None):
            default = list(value) if isinstance(value, tuple) else value  # as JSON has it
            yield PolicyField(path, editable, info.description or "", default, _limit(info, "ge"), _limit(info, "le"))


def _limit(info: FieldInfo, which: str) -> int | None:
    return next((getattr(one, which) for one in info.metadata if hasattr(one, which)), None)
