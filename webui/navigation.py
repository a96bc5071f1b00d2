"""The navigation, declared once: the sections in every page's head, and the pages of each as tabs. A new page is one entry here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """An entry. It is the current one at its endpoint and at those in `also`, else anywhere in its blueprint or those in `also`."""

    title: str
    endpoint: str
    permission: str = ""  # held over anything; empty: everybody who is signed in
    also: tuple[str, ...] = ()

    @property
    def blueprint(self) -> str:
        return self.endpoint.split(".")[0]


@dataclass(frozen=True)
class Section:
    """An entry in the head. It leads to the first of its pages that somebody may see, and is not shown to who may see none."""

    title: str
    icon: str
    pages: tuple[Page, ...]
    is_personal: bool = False  # a person's own pages come first, apart from those of the appliance


SECTIONS = (
    Section("My machines", "device-desktop", (Page("My machines", "portal.index"),), is_personal=True),
    Section("To do", "circle-check", (Page("To do", "todo.index"),), is_personal=True),
    Section("Overview", "layout-dashboard", (Page("Overview", "overview.index", "classes.read"),)),
    Section("Classes", "package", (Page("Classes", "classes.index", "classes.read", also=("calendar",)),)),
    Section("Seeds", "plant-2", (Page("Seeds", "seeds.index", "seeds.read"),)),
    Section(
        "Machines",
        "server-2",
        (
            Page("Machines", "machines.index", "machines.read"),
            Page("Data disks", "data_disks.index", "machines.read"),
            Page("Retained disks", "data_disks.kept", "machines.read"),
            Page("Disk backups", "recovery.index", "settings.manage"),
            Page("Orphans", "aside.index", "settings.manage"),
        ),
    ),
    Section(
        "Workflow",
        "route",
        (
            Page("Lifecycle", "workflow.index", "classes.read"),
            Page("Sequences", "sequences.index", "classes.read"),
            Page("Runs", "runs.index", "machines.read"),
        ),
    ),
    Section(
        "Server",
        "activity",
        (
            Page("Status", "server.index", "settings.manage"),
            Page("Metrics", "host.index", "classes.read"),
            Page("Storage", "storage.index", "settings.manage"),
            Page("Updates", "updates.index", "settings.manage"),
            Page("Backups", "backups.index", "settings.manage"),
            Page("Logs", "logs.index", "settings.manage"),
        ),
    ),
    Section(
        "People",
        "users",
        (
            Page("Accounts", "accounts.index", "people.read", also=("importing", "signins", "directory", "grants.why")),
            Page("Org units", "units.index", "people.read"),
            Page("Groups", "groups.index", "people.read"),
            Page("Grants", "grants.index", "grants.read"),
            Page("Quotas", "grants.quotas", "people.read", also=("grants.set_quota",)),
        ),
    ),
    Section("Events", "history", (Page("Events", "events.index", "events.read"),)),
    Section("Settings", "settings", (Page("Settings", "preferences.index", "settings.manage", also=("outside",)),)),
)


@dataclass(frozen=True)
class Entry:
    """A page or section as one person sees it at one address."""

    title: str
    icon: str
    endpoint: str
    is_current: bool
    is_personal: bool = False
    tabs: tuple["Entry", ...] = ()


def entries(may: Callable[[str], bool], endpoint: str) -> Iterator[Entry]:
    """The sections that somebody may see, each with its pages; `endpoint` is where they are."""
    here = current(endpoint)
    for section in SECTIONS:
        tabs = tuple(
            Entry(page.title, section.icon, page.endpoint, page is here)
            for page in section.pages
            if not page.permission or may(page.permission)
        )
        if tabs:
            yield Entry(section.title, section.icon, tabs[0].endpoint, here in section.pages, section.is_personal, tabs)


def current(endpoint: str) -> Page | None:
    """The page that an endpoint belongs to; None for one that the navigation does not know."""
    pages = [page for section in SECTIONS for page in section.pages]
    blueprint = endpoint.split(".")[0]
    exact = (page for page in pages if endpoint in (page.endpoint, *page.also))
    return next(exact, None) or next((page for page in pages if blueprint in (page.blueprint, *page.also)), None)
