"""What a scenario.yml may say. The names here are the names in the file, the forms and the documentation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, GetJsonSchemaHandler, StringConstraints
from pydantic_core import CoreSchema

from appliance.scenario.policy import ClassPolicy
from appliance.yamlfile import Part

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
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


class Chosen(Part):
    """An application of the catalogue that the machines of a class have."""

    name: Name = Field(description="Its name in the catalogue.")
    options: dict[str, str | int | bool] = Field(default={}, description="What is decided about it; its page says what can be.")
    port: int | None = Field(default=None, ge=1, le=65535, description="The port of its web page, where it is not to be its own.")


class Described(Part):
    """What a kind of machine is, and stays."""

    title: str = Field(min_length=1, max_length=60, description="What users read on the button.")
    description: str = Field(default="", max_length=400, description="One or two sentences under the title.")
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
    zone: Literal["inside"] = Field(default="inside", description="Where machines sit.")
    boot_timeout: int = Field(
        default=300,
        ge=10,
        le=3600,
        title="Boots within",
        json_schema_extra={"unit": "seconds"},
        description="Seconds until agent and application must answer. Without virtualisation, and while the machine is hard at work, ten times that.",
    )


class ClassSpec(ClassPolicy, Described):
    """A kind of machine: what it is, and the policy that counts until an admin changes it."""

    INGREDIENTS: ClassVar[frozenset[str]] = frozenset({*Described.model_fields, "size"}) - {"title", "description", "icon"}

    def ingredients(self) -> dict[str, Any]:
        """What its seed is made from: how many there are, for whom and for how long makes no other seed."""
        return self.model_dump(mode="json", include=set(self.INGREDIENTS))

    @property
    def page(self) -> Application:
        """The page that it opens with; a class that is in the catalog has one (`applications.resolved`)."""
        assert self.application is not None, "applications.resolved says which"
        return self.application


class Scenario(Part):
    """One scenario.yml."""

    name: Name = Field(description="Short name; the folder has the same.")
    title: str = Field(min_length=1, max_length=60, description="What the appliance is for, in a few words.")
    description: str = Field(default="", max_length=1000, description="A paragraph for the setup wizard.")
    classes: dict[Name, ClassSpec] = Field(min_length=1, description="The kinds of machine, by short name.")
