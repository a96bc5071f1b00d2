"""What a scenario.yml may say. The names here are the names in the file, the forms and the documentation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, StringConstraints, model_validator
from pydantic_core import CoreSchema

from appliance.language import Written
from appliance.scenario.policy import ClassPolicy
from appliance.yamlfile import Part

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Words = Annotated[str, AfterValidator(Written)]
Package = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.:-]*$")]
Url = Annotated[str, StringConstraints(pattern=r"^/[^\s]*$")]


@dataclass(frozen=True, eq=False)
class Worded:
    """The words for each choice, where a form offers them."""

    words: Mapping[str, str]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "words": dict(self.words)}


Os = Annotated[Literal["debian-12", "debian-13"], Worded({"debian-12": "Debian 12 (bookworm)", "debian-13": "Debian 13 (trixie)"})]
MachineKind = Annotated[Literal["desktop", "server"], Worded({"desktop": "Desktop: one person's", "server": "Server: a service's"})]
Icon = Annotated[
    Literal["notebook", "device-desktop", "server-2", "database", "terminal-2", "package", "cpu", "activity", "stack-2", "clipboard-text"],
    Worded({
        "notebook": "Notebook", "device-desktop": "Screen", "server-2": "Server", "database": "Database", "terminal-2": "Terminal",
        "package": "Box", "cpu": "Processor", "activity": "Pulse", "stack-2": "Stack", "clipboard-text": "Clipboard",
    }),
]  # fmt: skip


class Application(Part):
    """The web application of a machine, which the front door shows to the machine's owner."""

    port: int = Field(ge=1, le=65535, description="TCP port inside the machine, plain HTTP.")
    path: Url = Field(default="/", title="Starts at", description="Where the browser starts.")
    ready: Url = Field(
        default="/",
        title="Answers at",
        description="What is asked, with GET, to know that the application answers; any status below 500 will do.",
    )


HostName = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", max_length=253)
]


ServicePath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./@+=,~-]*$", max_length=200)]
RESERVED_PATH = "/_dpe"  # the appliance answers there, under every name


class Service(Part):
    """Machines that serve everybody under one name, and that nobody holds: as many as load and policy say."""

    name: HostName = Field(
        title="Host name",
        description="The name that browsers find it by, like www.example.org: one of its own, which leads to this server and no page of the appliance.",
    )
    path: ServicePath = Field(
        default="/", description="It and what is below it, under that name, are the service's. Several services can share a name."
    )
    sticky: bool = Field(
        default=False,
        description="Whether a browser comes to the same replica again, by a cookie, until that is gone: one that is to go serves those to its deadline.",
    )
    drain: int = Field(
        default=60,
        ge=1,
        le=3600,
        json_schema_extra={"unit": "seconds"},
        description="Seconds that a replica which is to go has for what it began; what is not done by then is cut off.",
    )
    connections: int = Field(
        default=100,
        ge=1,
        le=10000,
        json_schema_extra={"unit": "at a time"},
        description="Requests that one replica gets at a time; further ones wait in a queue until any has room.",
    )

    @property
    def place(self) -> str:
        """Where it is, however its path ends: no two services are there."""
        return f"{self.name}{self.path.rstrip('/')}"


class Screen(Part):
    """A screen that the machine itself serves, a desktop for example, which the appliance shows in the browser."""

    port: int = Field(
        ge=1,
        le=65535,
        title="Port of its desktop",
        description="TCP port inside the machine that speaks RFB (VNC), without a password. The machine is ready when it answers there.",
    )
    rdp: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        title="Port of RDP",
        description="TCP port inside the machine where RDP clients get the same desktop; empty: nowhere.",
    )


class Chosen(Part):
    """An application of the catalogue that the machines of a class have."""

    name: Name = Field(description="Its name in the catalogue.")
    options: dict[str, str | int | bool] = Field(default={}, description="What is decided about it; its page says what can be.")
    port: int | None = Field(default=None, ge=1, le=65535, description="The port of its web page, where it is not to be its own.")


class Described(Part):
    """What a kind of machine is, and stays."""

    title: Words = Field(min_length=1, max_length=60, description="What users read on the button.")
    description: Words = Field(default="", max_length=400, description="One or two sentences under the title.")
    icon: Icon | None = Field(default=None, description="The picture beside the title; without it, one by its kind.")
    kind: MachineKind = Field(
        default="desktop",
        description="desktop: one person's; server: a service's. It follows the sequence of that name unless another is said.",
    )
    os: Os = Field(title="Operating system", description="Operating system of the seed.")
    packages: list[Package] = Field(default=[], title="Debian packages", description="Debian packages, besides those that every seed has.")
    roles: list[Name] = Field(
        default=[],
        description="Ansible roles, from roles/ beside this file, applied to the seed in order; their tasks/machine.yml is for each machine.",
    )
    user: Name = Field(default="user", title="Account inside", description="The account inside the machine that its owner uses.")
    applications: list[Chosen] = Field(default=[], description="Applications of the catalogue, in the order in which they are shown.")
    application: Application | None = Field(
        default=None,
        title="Page of its own",
        description="The web application that the machine shows first, where that is not the first of its applications.",
    )
    screen: Screen | None = Field(
        default=None, title="Desktop", description="The desktop that the machine shows, in place of an application or beside it."
    )
    zone: Literal["inside"] = Field(default="inside", description="Where machines sit.")
    boot_timeout: int = Field(
        default=300,
        ge=10,
        le=3600,
        title="Boots within",
        json_schema_extra={"unit": "seconds"},
        description="Seconds until agent and application must answer. Without virtualisation, and while the machine is hard at work, ten times that.",
    )


class Choice(Part):
    """What the requester decides; what is not named here is as the class has it. A choice becomes a class of its own, whose seed is built when somebody asks."""

    os: list[Os] = Field(
        default=[], title="Operating systems", description="Operating systems of which one is chosen; none: the class's own."
    )
    applications: list[Name] = Field(
        default=[], description="Roles of the scenario, any of which may be chosen, besides those that the class has anyway."
    )
    packages: bool = Field(default=False, title="Any Debian packages", description="Whether Debian packages may be added.")
    memory: int = Field(
        default=0,
        ge=0,
        le=1 << 20,
        title="Memory up to",
        json_schema_extra={"unit": "MiB"},
        description="MiB that may be asked for, from the class's own size on; 0: only that.",
    )
    disk: int = Field(
        default=0,
        ge=0,
        le=4096,
        title="Disk up to",
        json_schema_extra={"unit": "GiB"},
        description="GiB that may be asked for, from the class's own size on; 0: only that.",
    )
    lease: int = Field(
        default=0,
        ge=0,
        le=525600,
        title="Lease up to",
        json_schema_extra={"unit": "minutes"},
        description="Minutes that a lease may last; 0: as long as the class's.",
    )

    def __bool__(self) -> bool:
        """Whether it leaves anything open."""
        return self != Choice()


class ClassSpec(ClassPolicy, Described):
    """A kind of machine: what it is, and the policy that counts until an admin changes it."""

    service: Service | None = Field(
        default=None,
        description="Makes a service of the class: its machines are replicas behind one name, `minimum` to `maximum` of them, which nobody asks for or holds.",
    )

    @model_validator(mode="after")
    def _ports_differ(self) -> "ClassSpec":
        if self.application and self.screen and self.application.port == self.screen.port:
            raise ValueError(f"application and screen are both at port {self.screen.port}", "give each a port of its own")
        return self

    INGREDIENTS: ClassVar[frozenset[str]] = frozenset({*Described.model_fields, "size"}) - {"title", "description", "icon"}

    choice: Choice = Field(default=Choice(), title="The user's choice", description="What is left open to who asks for a machine.")

    def ingredients(self) -> dict[str, Any]:
        """What its seed is made from: how many there are, for whom and for how long makes no other seed."""
        return self.model_dump(mode="json", include=set(self.INGREDIENTS), exclude_none=True)


class Scenario(Part):
    """One scenario.yml."""

    name: Name = Field(description="Short name; the folder has the same.")
    title: Words = Field(min_length=1, max_length=60, description="What the appliance is for, in a few words.")
    description: Words = Field(default="", max_length=1000, description="A paragraph for the setup wizard.")
    classes: dict[Name, ClassSpec] = Field(min_length=1, description="The kinds of machine, by short name.")
