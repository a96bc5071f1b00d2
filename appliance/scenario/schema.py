"""What a scenario.yml may say. The names here are the names in the file, the forms and the documentation."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from appliance.yamlfile import Part

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Package = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.:-]*$")]
Path = Annotated[str, StringConstraints(pattern=r"^/[^\s]*$")]
Os = Literal["debian-12", "debian-13"]
Readiness = Literal["running", "paused", "cold"]


class Size(Part):
    """What one machine is given."""

    vcpus: int = Field(default=1, ge=1, le=64, description="Virtual processors.")
    memory: int = Field(default=1024, ge=128, le=1 << 20, description="Memory in MiB.")
    disk: int = Field(default=8, ge=1, le=4096, description="Size of the system disk in GiB; it takes only what is written to it.")
    data: int = Field(
        default=0,
        ge=0,
        le=65536,
        description="Size in GiB of a data disk that each machine gets besides, at /data. It outlives the machine, and its owner's next one of the class gets it; 0: none.",
    )


class Application(Part):
    """The web application of a machine, which the front door shows to the machine's owner."""

    port: int = Field(ge=1, le=65535, description="TCP port inside the machine, plain HTTP.")
    path: Path = Field(default="/", description="Where the browser starts.")
    ready: Path = Field(
        default="/", description="What is asked, with GET, to know that the application answers; any status below 500 will do."
    )


class Policy(Part):
    """How large the pools of a class should be."""

    minimum: int = Field(default=0, ge=0, description="Machines that exist at least, assigned or not.")
    maximum: int = Field(default=10, ge=0, description="Machines that exist at most, assigned or not.")
    buffer: int = Field(default=1, ge=0, description="Machines kept ready and unassigned.")

    @model_validator(mode="after")
    def _order(self) -> "Policy":
        if self.minimum > self.maximum:
            raise ValueError(f"minimum ({self.minimum}) is above maximum ({self.maximum})", "raise maximum or lower minimum")
        if self.buffer > self.maximum:
            raise ValueError(f"buffer ({self.buffer}) is above maximum ({self.maximum})", "raise maximum or lower buffer")
        return self


class Idle(Part):
    """What becomes of a machine that nobody uses."""

    minutes: int = Field(ge=0, le=525600, description="It is idle when nothing told of its use for so many minutes; 0: it never is.")
    warning: int = Field(default=15, ge=1, le=10080, description="Minutes from the warning to what follows; any use ends it.")
    then: Literal["reclaim", "suspend"] = Field(
        default="reclaim",
        description="`reclaim` takes it back with all that is on it; `suspend` keeps its memory on disk until its owner goes on.",
    )


class Warnings(Part):
    """When the holder of a machine is told that the lease ends, on their page and by e-mail. 0: not at that time."""

    first: int = Field(default=1440, ge=0, le=525600, description="Minutes before the end, but at most a quarter of the lease.")
    last: int = Field(default=60, ge=0, le=525600, description="Minutes before the end, but at most an eighth of the lease.")


class LeaseTerms(Part):
    """How long a machine may be held."""

    minutes: int = Field(default=480, ge=1, le=525600, description="Length of a lease, in minutes.")
    extend: int = Field(default=240, ge=0, le=525600, description="Minutes that one extension adds.")
    extensions: int = Field(default=3, ge=0, le=1000, description="How often a lease may be extended.")
    idle: Idle = Field(default=Idle(minutes=0), description="What becomes of a machine that nobody uses.")
    warnings: Warnings = Field(default=Warnings(), description="When its end is announced.")
    busy: int = Field(
        default=60,
        ge=0,
        le=10080,
        description="Minutes that a machine which is busy when the lease ends is kept at most; it goes as soon as it comes to rest. 0: not at all.",
    )
    connect: int = Field(
        default=0,
        ge=0,
        le=525600,
        description="Minutes within which the application is opened for the first time, or the machine is taken back; 0: no limit.",
    )


class ClassSpec(Part):
    """A kind of machine."""

    title: str = Field(min_length=1, max_length=60, description="What users read on the button.")
    description: str = Field(default="", max_length=400, description="One or two sentences under the title.")
    kind: Literal["desktop", "server"] = Field(default="desktop", description="desktop: one person's; server: a service's.")
    os: Os = Field(description="Operating system of the seed.")
    packages: list[Package] = Field(default=[], description="Debian packages, besides those that every seed has.")
    roles: list[Name] = Field(
        default=[],
        description="Ansible roles, from roles/ beside this file, applied to the seed in order; their tasks/machine.yml is for each machine.",
    )
    user: Name = Field(default="user", description="The account inside the machine that its owner uses.")
    size: Size = Field(default=Size(), description="Processors, memory and disk of one machine.")
    application: Application = Field(description="The web application that the machine shows.")
    zone: Literal["inside"] = Field(default="inside", description="Where machines sit.")
    policy: Policy = Field(default=Policy(), description="How large the pools are, until an admin changes it.")
    lease: LeaseTerms = Field(default=LeaseTerms(), description="How long a machine may be held.")
    fork: bool = Field(
        default=True,
        description="Whether machines are forked from a booted snapshot of the seed; `off` boots each, and shares no memory between them.",
    )
    readiness: Readiness = Field(
        default="paused",
        description="How machines wait in the buffer: `running`; `paused`, which costs no processor and, forked, little memory; or `cold`, a disk only.",
    )
    per_person: int = Field(default=1, ge=1, le=1000, description="Machines of this class that one person may hold at once.")
    at_once: int = Field(
        default=1, ge=1, le=1000, description="Machines that one request may be for: it gets all of them together, or none."
    )
    together: int = Field(
        default=60, ge=1, le=10080, description="Minutes after which a request for several is refused, if so many were never there."
    )
    sequence: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,40}$")] = Field(
        default="", description="The sequence that its machines follow, or `none`; without it the one called like its kind."
    )
    boot_timeout: int = Field(
        default=300,
        ge=10,
        le=3600,
        description="Seconds until agent and application must answer. Without virtualisation, and while the machine is hard at work, ten times that.",
    )

    @model_validator(mode="after")
    def _together(self) -> "ClassSpec":
        if self.at_once > max(1, min(self.per_person, self.policy.maximum)):
            bound = "per_person" if self.per_person < self.policy.maximum else "policy.maximum"
            raise ValueError(
                f"at_once ({self.at_once}) is above {bound} ({min(self.per_person, self.policy.maximum)})",
                f"raise {bound} or lower at_once",
            )
        return self


class Scenario(Part):
    """One scenario.yml."""

    name: Name = Field(description="Short name; the folder has the same.")
    title: str = Field(min_length=1, max_length=60, description="What the appliance is for, in a few words.")
    description: str = Field(default="", max_length=1000, description="A paragraph for the setup wizard.")
    classes: dict[Name, ClassSpec] = Field(min_length=1, description="The kinds of machine, by short name.")
