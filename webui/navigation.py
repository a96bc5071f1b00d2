"""The one registry of pages: groups at the side of every page, breadcrumbs, and what is found by its name. A new page is one entry here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

May = Callable[[str], bool]


@dataclass(frozen=True)
class Page:
    """An entry. It is the current one at its endpoint and at those in `also`, else anywhere in its blueprint or those in `also`."""

    title: str
    endpoint: str
    icon: str
    permission: str = ""  # held over anything; empty: everybody who is signed in
    also: tuple[str, ...] = ()
    words: str = ""  # in which it is found besides its title
    key: str = ""  # the letter that leads there after a g

    @property
    def blueprint(self) -> str:
        return self.endpoint.split(".")[0]


@dataclass(frozen=True)
class Group:
    """Pages below one heading. It is not shown to who may see none of them."""

    title: str
    pages: tuple[Page, ...]


@dataclass(frozen=True)
class Place:
    """What is looked for by a name of its own: a setting, or something that is done, on a page or a page below one."""

    title: str
    endpoint: str
    permission: str = ""
    anchor: str = ""  # the id of what has it, on the page
    words: str = ""
    form: str = ""  # the id of a form of every page that does it at once


GROUPS = (
    Group(
        "Use",
        (
            Page("My machines", "portal.index", "device-desktop", also=("choices",), words="portal", key="m"),
            Page("To do", "todo.index", "circle-check", words="approvals tasks inbox", key="t"),
        ),
    ),
    Group(
        "Machines",
        (
            Page("Overview", "overview.index", "layout-dashboard", "classes.read", words="dashboard", key="o"),
            Page(
                "Classes",
                "classes.index",
                "package",
                "classes.read",
                also=("calendar", "rules", "forecast", "job_queue", "class_form"),
                words="policy pools calendar rules forecast jobs",
                key="c",
            ),
            Page(
                "Scenario",
                "scenario.index",
                "notebook",
                "scenario.manage",
                words="scenario.yml roles recipe versions import export",
                key="y",
            ),
            Page(
                "Applications",
                "applications.index",
                "wand",
                "classes.read",
                also=("own_applications",),
                words="catalogue software upload zip script",
                key="k",
            ),
            Page("Packages", "packages.index", "clipboard-text", "seeds.read", words="Debian apt index mirror", key="p"),
            Page("Seeds", "seeds.index", "plant-2", "seeds.read", words="images snapshots", key="s"),
            Page("Machines", "machines.index", "server-2", "machines.read", also=("portal.transfer_form", "portal.transfer"), key="v"),
            Page("Orphans", "aside.index", "alert-circle", "settings.manage"),
        ),
    ),
    Group(
        "Data protection",
        (
            Page("Data disks", "data_disks.index", "database", "machines.read", words="volumes copies", key="d"),
            Page("Retained disks", "data_disks.kept", "clock", "machines.read", words="volumes restore"),
            Page("Disk backups", "recovery.index", "arrow-back-up", "settings.manage", words="restore recovery copies"),
            Page("Backups", "backups.index", "lock", "settings.manage", words="restore recovery", key="b"),
        ),
    ),
    Group(
        "People",
        (
            Page("Accounts", "accounts.index", "users", "people.read", also=("importing", "signins", "grants.why"), words="users", key="a"),
            Page("Org units", "units.index", "stack-2", "people.read", words="departments", key="u"),
            Page("Groups", "groups.index", "user-plus", "people.read", key="g"),
            Page("Grants", "grants.index", "key", "grants.read", words="roles permissions", key="r"),
            Page("Quotas", "grants.quotas", "hourglass", "people.read", also=("grants.set_quota",), words="limits", key="q"),
            Page("Directory", "directory.index", "search", "directory.manage", words="LDAP Active Directory"),
        ),
    ),
    Group(
        "Workflow",
        (
            Page("Lifecycle", "workflow.index", "refresh", "classes.read", words="states moves", key="l"),
            Page("Sequences", "sequences.index", "route", "classes.read", words="activities", key="f"),
            Page("Runs", "runs.index", "player-play", "machines.read", words="jobs", key="n"),
        ),
    ),
    Group(
        "Server",
        (
            Page("Status", "server.index", "activity", "settings.manage", key="h"),
            Page("Metrics", "host.index", "cpu", "classes.read", words="monitoring load memory", key="i"),
            Page("Storage", "storage.index", "device-floppy", "settings.manage", words="disk usage"),
            Page("Updates", "updates.index", "download", "settings.manage", words="version"),
            Page("Logs", "logs.index", "notebook", "settings.manage", words="journal"),
            Page("Events", "events.index", "history", "events.read", words="audit log record", key="e"),
            Page("Webhooks", "webhooks.index", "bolt", "settings.manage", words="subscriptions events API", key="w"),
            Page("Settings", "preferences.index", "settings", "settings.manage", key="x"),
            Page("E-mail and webhooks", "outside.index", "external-link", "settings.manage", words="SMTP"),
        ),
    ),
)
PERSONAL = GROUPS[0]  # a person's own pages

SETTINGS = (
    Place("Password", "auth.account", anchor="f-old"),
    Place("SSH keys", "auth.account", anchor="f-keys"),
    Place("One-time codes", "security.codes", words="second factor two-factor TOTP"),
    Place("API tokens", "security.token_list"),
    Place("Guide", "guide.index", words="help documentation manual reference"),
    Place("API", "api_docs.page", words="REST OpenAPI documentation"),
    Place("Command line", "device.command_line", words="dpe CLI shell pipx Python Ansible"),
    Place("Sign in a device", "device.page", words="code approve login"),
    Place("Name of the appliance", "preferences.index", "settings.manage", "f-title"),
    Place("Time zone", "preferences.index", "settings.manage", "f-time_zone"),
    Place("Memory overcommit", "preferences.index", "settings.manage", "f-overcommit"),
    Place("One-time codes for roles", "preferences.index", "settings.manage", "f-role", "second factor required"),
    Place("Signed in on a device", "preferences.index", "settings.manage", "f-kept_days", "remember session cookie keep"),
    Place("Invitations", "preferences.index", "settings.manage", "f-days", "links password"),
    Place("Sessions", "preferences.index", "settings.manage", "sessions", "sign out idle timeout"),
    Place("Debian mirror", "preferences.index", "settings.manage", "mirror", "apt packages"),
    Place("External URL", "outside.index", "settings.manage", "address", "address"),
    Place("E-mail", "outside.index", "settings.manage", "mail", "SMTP"),
    Place("Webhooks of activities", "outside.index", "settings.manage", "webhooks", "secret"),
    Place("Forwarding of events", "events.record", "events.read", words="syslog integrity"),
    Place("Host name", "server.network", "settings.manage"),
    Place("Network", "server.network", "settings.manage", words="IP address gateway DNS DHCP"),
    Place("Time servers", "server.time", "settings.manage", words="NTP clock"),
    Place("Certificate", "server.certificate", "settings.manage", words="TLS HTTPS"),
    Place("Reverse proxies", "server.proxies", "settings.manage", words="load balancer"),
    Place("Machine names", "server.names", "settings.manage", words="wildcard domain DNS ports subdomain"),
    Place("SSH server", "server.index", "settings.manage", "ssh", "jump host bastion port"),
    Place("Hardware", "server.hardware", "settings.manage", words="capacity findings"),
    Place("Backup schedule", "backups.index", "settings.manage", "plan"),
    Place("Backup target", "backups.index", "settings.manage", "target", "SSH S3 recovery key"),
)

VERBS = (
    Place("New account", "accounts.new", "people.manage", words="user person create"),
    Place("Import accounts", "importing.index", "people.manage", words="CSV users people"),
    Place("New org unit", "units.index", "people.manage", "new", "create department"),
    Place("New group", "groups.index", "people.manage", "new", "create"),
    Place("Grant a role", "grants.index", "grants.manage", "new", "permission give"),
    Place("Set a quota", "grants.quotas", "quotas.manage", "new", "limit"),
    Place("New sequence", "sequences.index", "sequences.manage", "new", "create workflow"),
    Place("New class", "class_form.new", "scenario.manage", words="create copy machine kind"),
    Place("New webhook", "webhooks.new", "settings.manage", words="subscription create"),
    Place("Build a seed", "seeds.index", "seeds.manage", words="image"),
    Place("Refresh a package index", "packages.index", "seeds.manage", words="apt update mirror"),
    Place("Back up now", "backups.index", "settings.manage", words="backup"),
    Place("Create support bundle", "logs.index", "settings.manage"),
    Place("Restart a process", "server.index", "settings.manage", "parts", "part service engine"),
    Place("Restart the server", "server.index", "settings.manage", "power", "reboot"),
    Place("Shut down the server", "server.index", "settings.manage", "power", "switch off"),
    Place("Sign out", "", words="log out", form="sign-out"),
)


@dataclass(frozen=True)
class Entry:
    """A page as one person sees it at one address."""

    page: Page
    is_current: bool


def entries(may: May, endpoint: str) -> Iterator[tuple[str, list[Entry]]]:
    """The headings below which somebody may see pages, each with those; `endpoint` is where they are."""
    here = current(endpoint)
    for group in GROUPS:
        shown = [Entry(page, page is here) for page in group.pages if allowed(page, may)]
        if shown:
            yield group.title, shown


def allowed(it: Page | Place, may: May) -> bool:
    """Whether it is for somebody who may do that."""
    return not it.permission or may(it.permission)


@lru_cache(maxsize=1024)  # endpoints
def current(endpoint: str) -> Page | None:
    """The page that an endpoint belongs to; None for one that the navigation does not know."""
    pages = [page for group in GROUPS for page in group.pages]
    blueprint = endpoint.split(".")[0]
    exact = (page for page in pages if endpoint in (page.endpoint, *page.also))
    return next(exact, None) or next((page for page in pages if blueprint in (page.blueprint, *page.also)), None)


def trail(may: May, endpoint: str) -> tuple[str, Page] | None:
    """The heading and the page that an endpoint is below; None for one that is a page itself, or below one that is not theirs to see."""
    page = current(endpoint)
    if page is None or page.endpoint == endpoint or not allowed(page, may):
        return None
    return next(group.title for group in GROUPS if page in group.pages), page
