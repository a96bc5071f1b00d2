"""The catalogue of applications: what each says of itself in its application.yml, and how those that a class names fit into one machine.

Some come with the appliance, others with a scenario: those are folders in its `applications/`.
"""

import difflib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, create_model, model_validator

from appliance.language import Written
from appliance.scenario.schema import Application, Chosen, ClassSpec, Icon, Os, Package, Screen, Worded
from appliance.settings import PAGES, REPOSITORY
from appliance.yamlfile import FileError, FileErrors, Part, Place, Source

CATALOGUE = REPOSITORY / "playbooks/applications"
MAIN = "application.yml"
OWN = "applications"  # of a scenario: the folder that its own are in
SYSTEM = 160  # MiB of memory that the operating system takes besides its applications
SYSTEM_DISK = 1  # GiB of disk
LONGEST = 200  # characters of an option
FOLDER = r"^[/~][^\s]*$"
HOME = "~"  # of the machine's owner, as a folder begins
SERVICE = r"^[A-Za-z0-9:_.@*?-]+\.(service|socket|timer)$"
OWN_PAGE = "the class's own page"
OWN_DESKTOP = "the desktop"
RDP = "rdp"  # the option that decides whether a desktop speaks it

OptionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
PATTERNS = {
    r"^[a-z][a-z0-9_]{0,30}$": "write a small letter, then small letters, digits and underscores, 31 at most",
    r"^[a-z0-9][a-z0-9+.:-]*$": "write the name of a Debian package, like python3-venv",
    r"^/[^\s]*$": "write a path that begins with /",
    FOLDER: "write a folder, like /var/lib/wiki, or ~ for the home of the machine's owner",
    SERVICE: "write the name of a unit of systemd, like wiki.service",
}


class Option(Part):
    """Something that whoever names the application for a class may decide."""

    type: Literal["string", "integer", "boolean", "choice"] = Field(description="string, integer, boolean or choice.")
    title: str = Field(min_length=1, max_length=60, description="What stands beside the field.")
    description: str = Field(default="", max_length=400, description="What it is about, below the field.")
    default: str | int | bool = Field(description="What counts when nothing is said; every option has one.")
    minimum: int | None = Field(default=None, description="Of an integer.")
    maximum: int | None = Field(default=None, description="Of an integer.")
    memory: int = Field(default=0, ge=0, le=1024, description="Of an integer: MiB that each one above its default needs besides.")
    pattern: str | None = Field(default=None, description="A regular expression that all of a string fits.")
    choices: dict[str, str] = Field(default={}, description="Of a choice: values, and the words for each.")
    packages: list[Package] = Field(default=[], description="Of a boolean: Debian packages that are installed where it is true.")

    @model_validator(mode="after")
    def fits(self) -> "Option":
        """Raises ValueError with what to write instead."""
        kind = {"integer": int, "boolean": bool}.get(self.type, str)
        if type(self.default) is not kind:
            raise ValueError(f"the default of {self.title!r} is no {self.type}", f"write one that is a {kind.__name__}")
        if (self.type == "choice") != bool(self.choices):
            raise ValueError(f"{self.title!r} is a {self.type}, and choices are for a choice", "give the type choice, and its choices")
        if self.packages and self.type != "boolean":
            raise ValueError(
                f"{self.title!r} is a {self.type}, and packages are for a boolean", "give the type boolean, or leave packages out"
            )
        if self.memory and self.type != "integer":
            raise ValueError(f"{self.title!r} is a {self.type}, and memory is for an integer", "give the type integer, or leave memory out")
        if self.choices and self.default not in self.choices:
            raise ValueError(f"{self.default!r} is not one of the choices", f"write one of: {', '.join(self.choices)}")
        return self

    def field(self) -> tuple[Any, Any]:
        """As a field of a model: forms, checks and documentation come from it."""
        about: dict[str, Any] = {"title": self.title, "description": self.description or self.title}
        kind: Any = {"integer": int, "boolean": bool}.get(self.type, str)
        if self.type == "integer":
            about |= {"ge": self.minimum, "le": self.maximum}
        elif self.type == "choice":
            kind = Annotated[Literal[tuple(self.choices)], Worded(self.choices)]
        elif self.type == "string":
            about |= {"max_length": LONGEST, "pattern": self.pattern and f"^(?:{self.pattern})$"}
        return kind, Field(default=self.default, **about)


class Needs(Part):
    """What it takes besides the operating system and other applications."""

    memory: int = Field(ge=0, le=65536, description="MiB, at rest and with one person at work.")
    disk: int = Field(default=1, ge=0, le=1024, description="GiB, with room for some data.")


class Manifest(Part):
    """One application.yml."""

    title: str = Field(min_length=1, max_length=60, description="What it is called.")
    description: str = Field(min_length=1, max_length=400, description="What it is for, in one or two sentences.")
    brings: str = Field(default="", max_length=1000, description="What there is in a machine that has it, and how it is set up.")
    icon: Icon = Field(description="The picture beside the title.")
    licence: str = Field(min_length=1, max_length=60, description="Its licence, by the name in the SPDX list.")
    homepage: str = Field(default="", max_length=200, description="Where more is said of it.")
    releases: list[Os] = Field(min_length=1, description="Releases that it was seen to work on.")
    access: Literal["web", "desktop", "none"] = Field(
        description="web: a page behind the front door; desktop: a screen that the console shows; none: it is used from within the machine."
    )
    web: Application | None = Field(default=None, description="Where its page is, if it has one.")
    screen: Screen | None = Field(
        default=None, description="Where its desktop is, if it has one; its `rdp` counts where the option of that name is true."
    )
    needs: Needs = Field(description="What it takes.")
    packages: list[Package] = Field(default=[], description="Debian packages.")
    options: dict[OptionName, Option] = Field(default={}, description="What a class decides about it.")
    data: list[Annotated[str, StringConstraints(pattern=FOLDER)]] = Field(
        default=[], description="Folders that people's data is in: they are on the data disk, in classes that have one."
    )
    services: list[Annotated[str, StringConstraints(pattern=SERVICE)]] = Field(
        default=[], description="What has files in these open: it is stopped while they come from the data disk, and then started."
    )
    keeps_itself: bool = Field(
        default=False, description="Whether a hook of its own in /usr/lib/dpe/data.d does that, and its folders are left alone."
    )
    renew: str = Field(default="", max_length=400, description="How a fork gets what no two machines may share, in a sentence.")

    @model_validator(mode="after")
    def fits(self) -> "Manifest":
        """Raises ValueError with what to write instead."""
        if (self.access == "web") != (self.web is not None):
            raise ValueError("access and web do not fit together", "write web: {port: 8080} where access is web, and only there")
        if (self.access == "desktop") != (self.screen is not None):
            raise ValueError("access and screen do not fit together", "write screen: {port: 5901} where access is desktop, and only there")
        if self.screen and self.screen.rdp and (RDP not in self.options or self.options[RDP].type != "boolean"):
            raise ValueError("no option decides whether it speaks RDP", f"add the option {RDP}, a boolean, or leave rdp out of screen")
        return self

    @functools.cached_property
    def option_model(self) -> type[Part]:
        """The options as a model."""
        fields: dict[str, Any] = {name: option.field() for name, option in self.options.items()}
        return create_model("Options", __base__=Part, **fields)


@dataclass(frozen=True)
class Entry:
    """An application of the catalogue, and its folder, which is an Ansible role; of one that only the catalog has, there is no such folder."""

    name: str
    manifest: Manifest
    folder: Path

    @property
    def is_own(self) -> bool:
        """Whether it is the scenario's, and did not come with the appliance."""
        return self.folder.parent != CATALOGUE

    @property
    def is_opened(self) -> bool:
        """Whether there is something of it to open: a page or a desktop."""
        return self.manifest.access != "none"

    @property
    def hides(self) -> bool:
        """Whether it is the scenario's, and one that came with the appliance has the same name: the scenario's counts."""
        return self.is_own and self.name in shipped()

    @property
    def renews(self) -> Path | None:
        """What is called in each fork; see playbooks/README.md."""
        file = self.folder / "files/renew"
        return file if file.is_file() else None

    def values(self, chosen: Chosen) -> dict[str, Any]:
        """The options with what counts where nothing is said."""
        return self.manifest.option_model.model_validate(chosen.options).model_dump()

    def port(self, chosen: Chosen) -> int | None:
        """That of its page, in the machine."""
        return None if self.manifest.web is None else chosen.port or self.manifest.web.port

    def screen(self, chosen: Chosen) -> Screen | None:
        """Its desktop, in the machine."""
        screen = self.manifest.screen
        return screen if screen is None or self.values(chosen).get(RDP) else screen.model_copy(update={"rdp": None})

    def memory(self, options: Mapping[str, Any]) -> int:
        """MiB that it needs with these options."""
        counted = [(one, options.get(key)) for key, one in self.manifest.options.items() if one.memory]
        more = [one.memory * (said - int(one.default)) for one, said in counted if isinstance(said, int)]
        return self.manifest.needs.memory + sum(max(0, one) for one in more)

    def packages(self, options: Mapping[str, Any]) -> list[str]:
        """The Debian packages that it brings with these options; what is not said in them counts as it does otherwise."""
        own = self.manifest.options
        return [
            *self.manifest.packages,
            *(name for key, one in own.items() if options.get(key, one.default) is True for name in one.packages),
        ]


def read(folder: Path) -> Entry:
    """The application in a folder. Raises FileErrors with all that is wrong with it."""
    source = Source(folder / MAIN, Manifest, patterns=PATTERNS)
    manifest, errors = source.validate(), list(source.errors)
    if not (folder / "tasks/main.yml").is_file():
        errors.append(FileError(folder / "tasks/main.yml", 1, "there are no tasks", "write what installs it, as Ansible's tasks"))
    if manifest is not None and manifest.renew and not (folder / "files/renew").is_file():
        line = source.line(("renew",))
        errors.append(FileError(source.file, line, "renew says how, but there is no files/renew", "write the program, or leave renew out"))
    if manifest is None or errors:
        raise FileErrors(f"The application {folder.name}", errors)
    return Entry(folder.name, manifest if folder.parent == CATALOGUE else _written(manifest), folder)


def _written(manifest: Manifest) -> Manifest:
    """One that a person wrote: its words are in their language."""

    def told(option: Option) -> Option:
        words = {value: Written(word) for value, word in option.choices.items()}
        return option.model_copy(update={"title": Written(option.title), "description": Written(option.description), "choices": words})

    words = {name: Written(getattr(manifest, name)) for name in ("title", "description", "brings", "renew")}
    return manifest.model_copy(update={**words, "options": {name: told(option) for name, option in manifest.options.items()}})


@functools.cache
def shipped() -> Mapping[str, Entry]:
    """Those that came with the appliance. Raises FileErrors."""
    return {below.name: read(below) for below in sorted(CATALOGUE.iterdir()) if below.is_dir()}


Own = Callable[[], Mapping[str, Entry]]
"""Says which applications a scenario brings, by name; it is asked where a class has applications, as each request of the front door asks of a class."""


def own(scenario: Path) -> Own:
    """Those in a scenario's folder, read once. Raises FileErrors for the first that is wrong."""
    found = {below.name: read(below) for below in folders(scenario)}
    return lambda: found


def folders(scenario: Path) -> list[Path]:
    """Where a scenario's own lie, by their names."""
    return sorted(below for below in (scenario / OWN).iterdir() if below.is_dir()) if (scenario / OWN).is_dir() else []


def catalogue(own: Own) -> Mapping[str, Entry]:
    """All there are, by name, in the order of their titles; a scenario's own one counts in place of a shipped one. Raises FileErrors."""
    found = {**shipped(), **own()}
    return {one.name: one for one in sorted(found.values(), key=lambda one: (one.manifest.title.lower(), one.name))}


# -- those of a class ---------------------------------------------------------------------------------


def of(spec: ClassSpec, own: Own) -> list[tuple[Chosen, Entry]]:
    """The applications that a class names, in its order; what the catalogue does not have is left out."""
    known = catalogue(own) if spec.applications else {}
    return [(one, known[one.name]) for one in spec.applications if one.name in known]


def resolved(spec: ClassSpec, own: Own) -> ClassSpec:
    """The class with what its applications say of themselves: the ports of their pages, the page that it opens with, and its desktop."""
    named = of(spec, own)
    known = {one.name: entry for one, entry in named}
    chosen = [one.model_copy(update={"port": known[one.name].port(one)}) if one.name in known else one for one in spec.applications]
    pages = [entry.manifest.web.model_copy(update={"port": entry.port(one)}) for one, entry in named if entry.manifest.web is not None]
    screens = [screen for one, entry in named if (screen := entry.screen(one))]
    update = {"application": spec.application or next(iter(pages), None), "screen": spec.screen or next(iter(screens), None)}
    return spec.model_copy(update={"applications": chosen, **update})


@dataclass(frozen=True)
class Page:
    """A web page of a machine: what it is called, its port inside, where a browser starts, and what is asked to know that it answers."""

    title: str
    port: int
    path: str
    ready: str


def pages(spec: Mapping[str, Any], own: Own) -> list[Page]:
    """The pages of a class as the catalog has it, that which it opens with first; the front door shows each on a port of its own."""
    found = dict[int, Page]()
    if first := spec.get("application"):
        found[first["port"]] = Page(spec.get("title", ""), first["port"], first["path"], first["ready"])
    named = spec.get("applications", [])
    known = catalogue(own) if named else {}
    for one in named:
        entry = known.get(one["name"])
        web = entry.manifest.web if entry else None
        if entry and web and (port := one.get("port") or web.port):
            here = (first["path"], first["ready"]) if first and port == first["port"] else (web.path, web.ready)
            found[port] = Page(entry.manifest.title, port, *here)
    return list(found.values())[:PAGES]


def kept(spec: ClassSpec, own: Own) -> list[str]:
    """What of a machine is on its data disk, as lines of /etc/dpe/folders (playbooks/roles/guest/files/root/usr/lib/dpe/folders)."""
    moved = [entry.manifest for _, entry in of(spec, own) if entry.manifest.data and not entry.manifest.keeps_itself]
    named = {f"/home/{spec.user}{folder[1:]}" if folder[0] == HOME else folder.rstrip("/") for one in moved for folder in one.data}
    outer = sorted(folder for folder in named if not any(folder.startswith(f"{other}/") for other in named))
    services = dict.fromkeys(service for one in moved for service in one.services)
    return [f"user {spec.user}", *(f"service {one}" for one in services), *(f"folder {one}" for one in outer)] if outer else []


def further(spec: Mapping[str, Any], own: Own) -> tuple[tuple[int, str], ...]:
    """Port and ready path of each page but the first, which has to answer, too."""
    return tuple((page.port, page.ready) for page in pages(spec, own)[1:])


# -- checks -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Misfit:
    """Why a class's applications do not fit into one machine: where in the class, what is wrong, and what to do about it, for who writes
    the class and for who chooses from what it leaves open."""

    place: Place
    message: str
    write: str
    choose: str


def check(source: Source[Any], place: Place, spec: ClassSpec, own: Own) -> None:
    """Note in the source what is wrong with the applications of the class that is at the place."""
    seen, known = set[str](), catalogue(own)
    for number, one in enumerate(spec.applications):
        at: Place = (*place, "applications", number)
        entry = known.get(one.name)
        if entry is None:
            near = difflib.get_close_matches(one.name, known, 2) or list(known)
            source.wrong((*at, "name"), f"there is no application {one.name}", f"write one of: {', '.join(near)}")
        elif one.name in seen:
            source.wrong((*at, "name"), f"{one.name} is there twice", "keep one of the two")
        else:
            source.validate_at((*at, "options"), entry.manifest.option_model, one.options)
        seen.add(one.name)
    if not (spec.application or spec.screen or any(entry.is_opened for _, entry in of(spec, own))):
        hint = "add an application with a web page or a desktop, or write application: {port: 8080}, or screen: {port: 5900}, for what the class brings itself"
        source.wrong((*place, "applications"), "nothing of this machine can be opened in a browser", hint)
    if spec.service and resolved(spec, own).application is None:
        hint = "add an application with a web page, or write application: {port: 8080} for what the class brings itself"
        source.wrong((*place, "service"), "a service without a page has nothing to serve", hint)
    for found in misfits(spec, own):
        source.wrong((*place, *found.place), found.message, found.write)


def misfits(spec: ClassSpec, own: Own) -> Iterator[Misfit]:
    """What is wrong with the applications of a class beside each other, those that the catalogue knows."""
    ports = {spec.screen.port: OWN_DESKTOP} if spec.screen else {}
    if spec.application:
        ports[spec.application.port] = OWN_PAGE
    named = of(spec, own)
    seen, known = set[str](), {one.name: entry for one, entry in named}
    for number, one in enumerate(spec.applications):
        if one.name in known and one.name not in seen:
            yield from _against(known[one.name], one, spec, ports, ("applications", number))
        seen.add(one.name)
    desktops = [entry.manifest.title for entry in known.values() if entry.manifest.screen]
    if len(desktops) > 1:
        message = f"{' and '.join(desktops)} each bring a desktop, and a machine has one"
        yield Misfit(("applications",), message, "leave all but one out", "Leave all but one out.")
    if len(ports) > PAGES:
        write, choose = f"leave some out: a machine has {PAGES} at most", f"Leave some out: a machine has {PAGES} at most."
        yield Misfit(("applications",), f"these are {len(ports)} web pages", write, choose)
    yield from _room(spec, named)


def _against(entry: Entry, one: Chosen, spec: ClassSpec, ports: dict[int, str], at: Place) -> Iterator[Misfit]:
    """Of one application beside those before it, whose ports are known."""
    title = entry.manifest.title
    if spec.os not in entry.manifest.releases:
        releases = " or ".join(entry.manifest.releases)
        message = f"{title} does not run on {spec.os}"
        yield Misfit((*at, "name"), message, f"choose {releases}, or leave it out", f"Choose {releases}, or leave it out.")
    if one.port is not None and entry.manifest.web is None:
        yield Misfit((*at, "port"), f"{title} has no web page", "leave port out", "Leave it out.")
    screen = entry.screen(one)
    for port in [port for port in (entry.port(one), screen and screen.port, screen and screen.rdp) if port]:
        whose = ports.get(port)
        said = (OWN_PAGE, spec.application) if port == entry.port(one) else (OWN_DESKTOP, spec.screen)
        if whose is None or (whose == said[0] and said[1] is not None and port == said[1].port):
            ports[port] = title  # the class says how that page opens, or its desktop
            continue
        free = next(other for other in range(port + 1, 65536) if other not in ports)
        where = (*at, "port" if one.port else "name")
        write = f"write port: {free}" if screen is None else "leave one of the two out"
        yield Misfit(where, f"{title} and {whose} both take port {port}", write, "Leave one of the two out.")


def _room(spec: ClassSpec, chosen: Sequence[tuple[Chosen, Entry]]) -> Iterator[Misfit]:
    if not chosen:
        return
    names = " and ".join(entry.manifest.title for _, entry in chosen)
    needs = dict(zip(("memory", "disk"), needed((entry, one.options) for one, entry in chosen), strict=True))
    for name, unit in (("memory", "MiB"), ("disk", "GiB")):
        given, least = getattr(spec.size, name), needs[name]
        if least > given:
            message = f"{name} is {given} {unit}, and {names} need {least} with the operating system"
            yield Misfit(("size", name), message, f"write at least {least}", f"Choose at least {least} {unit}, or leave some out.")


def needed(chosen: Iterable[tuple[Entry, Mapping[str, Any]]]) -> tuple[int, int]:
    """MiB of memory and GiB of disk that a machine with these, each with its options, has at least, its operating system included."""
    takes = [(entry.memory(options), entry.manifest.needs.disk) for entry, options in chosen]
    return SYSTEM + sum(memory for memory, _ in takes), SYSTEM_DISK + sum(disk for _, disk in takes)
