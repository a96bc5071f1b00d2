"""`dpe admin`: what admins do. Lists and verbs are declared here, one line each; commands are made of that."""

import base64
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import click

from dpe import output
from dpe.cli import Context, formatted
from dpe.errors import ClientError
from dpe.output import Column, columns

Entry = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of thing: where its list is, what is shown of it, and by which field it is called; `own` answers have another name than `items`."""

    path: str
    shown: Sequence[Column]
    by: str = "id"  # the field that an address has
    own: str = ""
    whole: bool = False  # the list has no pages
    about: str = ""


KINDS = {
    "machines": Kind("admin/machines", columns("name", "class", "state", "owner", "lease_ends_at=Lease ends", "problem"), about="machine"),
    "classes": Kind(
        "admin/classes",
        columns("name", "enabled", "creation", "buffer", "production", "failed", "waiting", "problem"),
        by="name",
        whole=True,
        about="class",
    ),
    "seeds": Kind("admin/seeds", columns("id", "class", "version", "state", "promoted", "created_at=Created", "problem"), about="seed"),
    "people": Kind(
        "admin/accounts", columns("id", "name", "full_name", "roles", "machines", "enabled", "seen_at=Last here"), about="account"
    ),
    "groups": Kind("admin/groups", columns("id", "name", "members", "description"), about="group"),
    "org-units": Kind("admin/org-units", columns("id", "name", "parent", "from_directory"), whole=True, about="org unit"),
    "grants": Kind("admin/grants", columns("id", "role", "starts_at=Starts", "ends_at=Ends"), whole=True, about="grant"),
    "quotas": Kind("admin/quotas", columns("id", "each", "class_name=Class", "limits"), whole=True, about="quota"),
    "sequences": Kind(
        "sequences", columns("name", "title", "classes", "version", "draft"), by="name", own="sequences", whole=True, about="sequence"
    ),
    "runs": Kind("admin/runs", columns("id", "kind", "state", "class", "for", "waits_for=Waits for", "problem"), about="run"),
    "events": Kind("admin/events", columns("at=At", "level", "kind", "message"), about="event"),
    "webhooks": Kind("admin/webhooks", columns("id", "name", "url", "kinds", "enabled", "pending", "dead"), about="webhook"),
    "operations": Kind(
        "admin/operations", columns("id", "title", "state", "progress", "by", "created_at=Begun", "said", "problem"), about="operation"
    ),
    "backups": Kind("admin/backups", columns("id", "at=Made", "bytes", "people", "machines", "disks", "version")),
    "settings": Kind("admin/settings", columns("name", "about"), by="name", whole=True, about="setting"),
    "scenario": Kind(
        "admin/scenario/versions",
        columns("number", "state", "author", "created_at=Created", "comment", "changes"),
        by="name",
        whole=True,
        about="version",
    ),
    "logs": Kind("admin/logs", columns("name", "about"), by="name", whole=True, about="log"),
    "orphans": Kind(
        "admin/orphans",
        columns("number", "kind", "name", "account", "since", "bytes", "wish", "problem"),
        by="name",
        whole=True,
        about="number",
    ),
    "applications": Kind(
        "admin/applications", columns("name", "title", "releases", "port", "own", "withdrawn"), by="name", whole=True, about="application"
    ),
    "needs": Kind("needs", columns("severity", "what", "why", "page"), whole=True),
}


@dataclass(frozen=True)
class Verb:
    """Something that is done to one thing: `dpe admin KIND NAME THING`. `loses` is asked for first."""

    kind: str
    name: str
    help: str
    path: str  # with {} for the thing
    method: str = "POST"
    loses: bool = False
    takes: bool = False  # an object, that may be empty


VERBS = (
    Verb("machines", "stop", "Shut a machine down.", "admin/machines/{}/stop"),
    Verb("machines", "start", "Start a machine.", "admin/machines/{}/start"),
    Verb("machines", "suspend", "Save a machine's memory and stop it.", "admin/machines/{}/suspend"),
    Verb("machines", "resume", "Resume a machine that is suspended.", "admin/machines/{}/resume"),
    Verb("machines", "reprovision", "Make a machine anew; data disks stay.", "admin/machines/{}/reprovision", loses=True),
    Verb("machines", "extend", "Extend a machine's lease.", "admin/machines/{}/extend"),
    Verb("machines", "reclaim", "Take a machine from whoever holds it, and destroy it.", "admin/machines/{}/reclaim", loses=True),
    Verb("classes", "enable", "Offer a class.", "admin/classes/{}/enable"),
    Verb("classes", "disable", "Withdraw a class; machines that are held stay.", "admin/classes/{}/disable"),
    Verb("classes", "retry", "Try again to refill a class whose machines failed to come up.", "admin/classes/{}/retry"),
    Verb("classes", "fork-again", "Take another snapshot of a class whose machines could not be forked.", "admin/classes/{}/fork-again"),
    Verb("seeds", "promote", "Have new machines be made from this seed.", "admin/seeds/{}/promote"),
    Verb("seeds", "cancel", "Stop the building of a seed.", "admin/seeds/{}/cancel"),
    Verb("seeds", "delete", "Delete a seed's files.", "admin/seeds/{}", "DELETE", loses=True),
    Verb("people", "enable", "Let somebody sign in again.", "admin/accounts/{}/enable"),
    Verb("people", "disable", "Sign somebody out, and let them in no more.", "admin/accounts/{}/disable"),
    Verb("groups", "delete", "Remove a group.", "admin/groups/{}", "DELETE", loses=True),
    Verb("org-units", "delete", "Remove an org unit that is empty.", "admin/org-units/{}", "DELETE", loses=True),
    Verb("grants", "delete", "Revoke a grant.", "admin/grants/{}", "DELETE", loses=True),
    Verb("quotas", "delete", "Remove a quota.", "admin/quotas/{}", "DELETE", loses=True),
    Verb("sequences", "discard", "Drop a sequence's draft; what is promoted stays.", "sequences/{}/discard", loses=True),
    Verb("sequences", "delete", "Delete a sequence that no class follows.", "sequences/{}", "DELETE", loses=True),
    Verb("webhooks", "send-dead-again", "Have all events sent again that could not be delivered.", "admin/webhooks/{}/send-dead-again"),
    Verb("webhooks", "delete", "Tell a webhook nothing any more.", "admin/webhooks/{}", "DELETE", loses=True),
    Verb(
        "scenario",
        "restore",
        "Have an earlier version of the scenario count again.",
        "admin/scenario/versions/{}/restore",
        loses=True,
        takes=True,
    ),
    Verb("orphans", "adopt", "Have what is set aside be what it was, for its owner.", "admin/orphans/{}/adopt", takes=True),
    Verb("orphans", "delete", "Delete what is set aside, with everything on it.", "admin/orphans/{}", "DELETE", loses=True),
    Verb("people", "withdraw", "Have the link be worth nothing by which somebody sets a password.", "admin/accounts/{}/invite", "DELETE"),
    Verb("applications", "withdraw", "Offer an application to no class that does not have it.", "admin/applications/{}/withdraw"),
    Verb("applications", "offer", "Offer an application again.", "admin/applications/{}/offer"),
    Verb("applications", "remove", "Take an application out of the scenario.", "admin/applications/{}", "DELETE", loses=True),
    Verb("runs", "cancel", "Have a run end early.", "runs/{}/cancel"),
    Verb("runs", "retry", "Go on with a run from the step that failed.", "runs/{}/retry"),
    Verb("runs", "skip", "Go on with a run without the step that waits or failed.", "runs/{}/skip"),
)
SHOWN = {  # where one of a kind is, for `show`
    "machines": "admin/machines/{}",
    "seeds": "admin/seeds/{}",
    "people": "admin/accounts/{}",
    "groups": "admin/groups/{}",
    "org-units": "admin/org-units/{}",
    "grants": "admin/grants/{}",
    "quotas": "admin/quotas/{}",
    "sequences": "sequences/{}",
    "runs": "runs/{}",
    "operations": "admin/operations/{}",
    "webhooks": "admin/webhooks/{}",
    "settings": "admin/settings/{}",
    "scenario": "admin/scenario/versions/{}",
}


@click.group()
def admin() -> None:
    """What admins do. It needs the scopes of an admin: dpe login --admin."""


def entries(client: Any, kind: Kind, **query: str) -> Any:
    """All of a kind."""
    return client.call("GET", kind.path)[kind.own] if kind.own else client.items(kind.path, **query)


def address(client: Any, kind: Kind, name: str) -> str:
    """What an address calls a thing that people call by its id or its name. Raises NotFound."""
    if kind.by == "name" or ":" in name or kind.about == "operation" or (kind.about in ("run", "seed") and name.isdecimal()):
        return name
    return str(client.find(list(entries(client, kind)), name, kind.about)["id"])


def _group(name: str) -> click.Group:
    kind = KINDS[name]
    plural = name.replace("-", " ")
    made = click.Group(name, help=f"{plural.capitalize()}: list them, and what can be done to each.")
    _list(made, kind, f"List {plural if plural != 'needs' else 'what needs somebody'}.")
    if name in SHOWN:
        _show(made, kind, SHOWN[name])
    for verb in VERBS:
        if verb.kind == name:
            _verb(made, kind, verb)
    return made


def _list(group: click.Group, kind: Kind, help: str) -> None:
    def command(context: Context, /, form: str, **asked: Any) -> None:
        query = dict(one.partition("=")[::2] for one in asked.get("filters", ()))
        if asked.get("sort"):
            query["sort"] = asked["sort"]
        found = entries(context.client, kind, **query)
        output.show(_first(found, asked.get("most") or sys.maxsize), kind.shown, form)

    command = formatted(click.pass_obj(command))
    if not kind.whole:
        command = click.option("--filter", "filters", multiple=True, metavar="NAME=VALUE", help="Only those; the names are the page's.")(
            command
        )
        command = click.option("--sort", metavar="NAME", help="Sort by it; -NAME descends.")(command)
        command = click.option("--limit", "most", type=click.IntRange(1), help="That many at most.")(command)
    group.command("list", help=help)(command)


def _first(found: Any, most: int) -> Any:
    for number, one in enumerate(found, 1):
        yield one
        if number == most:
            return


def _show(group: click.Group, kind: Kind, path: str) -> None:
    @formatted
    @click.pass_obj
    def command(context: Context, thing: str, form: str) -> None:
        output.show_one(context.client.call("GET", path.format(address(context.client, kind, thing))), form)

    group.command("show", help=f"Show one {kind.about}.")(click.argument("thing", metavar=_metavar(kind))(command))


def _verb(group: click.Group, kind: Kind, verb: Verb) -> None:
    @click.pass_obj
    def command(context: Context, thing: str, *, yes: bool = True) -> None:
        found = address(context.client, kind, thing)
        if verb.loses and not yes and sys.stdin.isatty():
            click.confirm(f"{verb.help} {thing}?", abort=True, err=True)
        context.client.call(verb.method, verb.path.format(found), {} if verb.takes else None)
        output.done(f"{thing}: {verb.name}, done.")

    if verb.loses:
        command = click.option("--yes", is_flag=True, help="Ask nothing.")(command)
    group.command(verb.name, help=verb.help)(click.argument("thing", metavar=_metavar(kind))(command))


def _metavar(kind: Kind) -> str:
    return kind.about.replace(" ", "_").upper()


GROUPS = {name: _group(name) for name in KINDS}
for one in GROUPS.values():
    admin.add_command(one)


# -- what takes more than a name ----------------------------------------------------------------------------


@GROUPS["machines"].command("limit")
@click.argument("machine", metavar="MACHINE")
@click.option("--network-in", type=click.IntRange(0), help="Mbit/s to it.")
@click.option("--network-out", type=click.IntRange(0), help="Mbit/s from it.")
@click.option("--disk-rate", type=click.IntRange(0), help="MiB/s that it reads and writes.")
@click.option("--disk-iops", type=click.IntRange(0), help="How often a second it reads and writes.")
@click.pass_obj
def limit(context: Context, /, machine: str, **given: int | None) -> None:
    """Say how fast a machine is at most; 0 is no limit, and what is left out is its class's."""
    id = address(context.client, KINDS["machines"], machine)
    changed = context.client.put(f"admin/machines/{id}/rates", {name: value for name, value in given.items() if value is not None})
    output.done(f"{machine}: {'changed' if changed else 'unchanged'}.")


@GROUPS["seeds"].command("build")
@click.argument("class_name", metavar="CLASS")
@click.option("--wait", is_flag=True, help="Wait until it is built.")
@click.pass_obj
def build(context: Context, class_name: str, wait: bool) -> None:
    """Build a new version of a class's seed."""
    client = context.client
    seed = client.create(f"admin/classes/{class_name}/build")
    with output.progress(f"building {class_name}") as told:
        while wait and seed["state"] in ("queued", "waiting", "building"):
            told(f"{class_name} {seed['version']}: {seed['task'] or seed['state']}")
            client.sleep(2)
            seed = client.call("GET", f"admin/seeds/{seed['id']}")
    if seed["problem"]:
        raise ClientError(seed["problem"], seed["hint"])
    output.done(f"Seed {seed['id']}, {class_name} version {seed['version']}: {seed['state']}.")


@GROUPS["people"].command("create")
@click.argument("name")
@click.option("--full-name", default="")
@click.option("--email", default="")
@click.option("--org-unit", default=1, type=int, help="The number of an org unit; else the top one.")
@click.pass_obj
def create_account(context: Context, name: str, full_name: str, email: str, org_unit: int) -> None:
    """Create an account. Its password is read from standard input, or asked for."""
    body = {"name": name, "password": _password(), "full_name": full_name, "email": email, "org_unit": org_unit}
    output.done(f"Account {context.client.create('admin/accounts', body)['id']}: {name}.")


@GROUPS["people"].command("password")
@click.argument("account", metavar="ACCOUNT")
@click.pass_obj
def set_password(context: Context, account: str) -> None:
    """Set somebody's password, read from standard input or asked for."""
    id = address(context.client, KINDS["people"], account)
    context.client.call("POST", f"admin/accounts/{id}/password", {"password": _password()})
    output.done(f"The password of {account} is set; all their browsers are signed out.")


@GROUPS["people"].command("invite")
@click.argument("account", metavar="ACCOUNT")
@click.option("--by", type=click.Choice(["link", "mail"]), default="link", help="Print the link, or have it mailed to them.")
@click.pass_obj
def invite(context: Context, account: str, by: str) -> None:
    """Have somebody choose a password by a link, which is good once."""
    id = address(context.client, KINDS["people"], account)
    made = context.client.call("POST", f"admin/accounts/{id}/invite", {"by": by})
    output.done(made["link"] or f"The link is on its way to {made['mailed_to']}.")


# How somebody gets in: what is listed of it, and how one of these ends.
SESSIONS = columns("id", "browser", "address", "seen_at=Last seen", "expires_at=Expires")
TOKENS = columns("id", "name", "ending", "scope", "expires_at=Expires", "used_at=Last used")


def _signins(name: str, shown: Sequence[Column], list_help: str, end: str, end_help: str, metavar: str) -> None:
    @GROUPS["people"].command(name, help=list_help)
    @click.argument("account", metavar="ACCOUNT")
    @formatted
    @click.pass_obj
    def listed(context: Context, account: str, form: str) -> None:
        id = address(context.client, KINDS["people"], account)
        output.show(context.client.items(f"admin/accounts/{id}/{name}"), shown, form)

    @GROUPS["people"].command(end, help=end_help)
    @click.argument("account", metavar="ACCOUNT")
    @click.argument("one", metavar=metavar)
    @click.pass_obj
    def ended(context: Context, account: str, one: str) -> None:
        place = f"admin/accounts/{address(context.client, KINDS['people'], account)}/{name}"
        found = context.client.find(list(context.client.items(place)), one, metavar.lower())
        context.client.call("DELETE", f"{place}/{found['id']}")
        output.done(f"{account}: {end}, done.")


_signins("sessions", SESSIONS, "List where somebody is signed in.", "end-session", "Sign somebody out of one browser.", "SESSION")
_signins("tokens", TOKENS, "List somebody's API tokens.", "end-token", "End one of somebody's API tokens.", "TOKEN")


@GROUPS["people"].command("codes")
@click.argument("account", metavar="ACCOUNT")
@formatted
@click.pass_obj
def show_codes(context: Context, account: str, form: str) -> None:
    """Show whether somebody is asked for one-time codes, and whether a role of theirs needs some that are not set up."""
    id = address(context.client, KINDS["people"], account)
    output.show_one(context.client.call("GET", f"admin/accounts/{id}/one-time-codes"), form)


@GROUPS["people"].command("remove-codes")
@click.argument("account", metavar="ACCOUNT")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.pass_obj
def remove_codes(context: Context, account: str, yes: bool) -> None:
    """Ask somebody whose phone is gone for one-time codes no more."""
    id = address(context.client, KINDS["people"], account)
    if not yes and sys.stdin.isatty():
        click.confirm(f"Have the password alone let {account} in?", abort=True, err=True)
    context.client.call("DELETE", f"admin/accounts/{id}/one-time-codes")
    output.done(f"{account}: one-time codes are off, until they set up new ones.")


@GROUPS["people"].command("delete")
@click.argument("account", metavar="ACCOUNT")
@click.option("--data", default="", metavar="JSON", help="What becomes of disks, as the API takes it; else they are deleted.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.pass_obj
def delete_account(context: Context, account: str, data: str, yes: bool) -> None:
    """Delete an account; its machines are reclaimed."""
    id = address(context.client, KINDS["people"], account)
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {account}, with machines and disks?", abort=True, err=True)
    context.client.call("POST", f"admin/accounts/{id}/delete", _value(data) if data else {"disks": "delete"})
    output.done(f"{account} is deleted.")


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\n")


@GROUPS["groups"].command("create")
@click.argument("name")
@click.option("--description", default="")
@click.pass_obj
def create_group(context: Context, name: str, description: str) -> None:
    """Create a group."""
    made = context.client.create("admin/groups", {"name": name, "description": description})
    output.done(f"Group {made['id']}: {name}.")


@GROUPS["org-units"].command("create")
@click.argument("name")
@click.option("--parent", default=1, type=int, help="The number of an org unit; else the top one.")
@click.pass_obj
def create_unit(context: Context, name: str, parent: int) -> None:
    """Create an org unit."""
    made = context.client.create("admin/org-units", {"name": name, "parent": parent})
    output.done(f"Org unit {made['id']}: {name}.")


def _put(path: Callable[[str], str], body: Callable[[Any], Any]) -> Callable[..., None]:
    """A command that has something be as a file, or standard input, says: YAML or JSON."""

    @click.pass_obj
    def command(context: Context, thing: str, file: Any) -> None:
        changed = context.client.put(path(thing), body(document(file)))
        output.done(f"{thing}: {'changed' if changed else 'unchanged'}.")

    return command


def document(file: Any) -> Any:
    """What a file says, YAML or JSON. Raises ClientError."""
    import yaml

    try:
        return yaml.safe_load(file)
    except yaml.YAMLError as error:
        raise ClientError(f"That is no YAML: {error}") from error


FILE = click.argument("file", type=click.File("rb"), default="-")
for name, path, help in (
    ("grants", "admin/grants/{}", "Have a grant be there, with the terms in FILE. An id is like user:account:17:class:notebook."),
    ("quotas", "admin/quotas/{}", "Have a quota be there, with the limits in FILE. An id is like account:17:each:all."),
    ("sequences", "sequences/{}", "Keep FILE as the draft of a sequence."),
):
    GROUPS[name].command("set", help=help)(
        click.argument("thing", metavar=_metavar(KINDS[name]))(FILE(_put(path.format, lambda found: found or {})))
    )


@GROUPS["sequences"].command("promote")
@click.argument("name")
@click.option("--comment", default="", help="What it is about.")
@click.option("--untried", is_flag=True, help="Although its draft was not tried.")
@click.pass_obj
def promote_sequence(context: Context, name: str, comment: str, untried: bool) -> None:
    """Promote a sequence's draft."""
    made = context.client.call("POST", f"sequences/{name}/promote", {"comment": comment, "untried": untried})
    output.done(f"{name}: version {made['version']}.")


@GROUPS["sequences"].command("roll-back")
@click.argument("name")
@click.argument("version", type=int)
@click.pass_obj
def roll_back_sequence(context: Context, name: str, version: int) -> None:
    """Promote what an earlier version of a sequence was, as a new one."""
    made = context.client.call("POST", f"sequences/{name}/roll-back", {"version": version})
    output.done(f"{name}: version {made['version']}.")


@GROUPS["applications"].command("upload")
@click.argument("file", type=click.File("rb"))
@click.option("--name", default="", help="Its short name, if not the folder's in the zip.")
@click.option("--build", is_flag=True, help="Build the seeds of the classes that have it.")
@click.pass_obj
def upload_application(context: Context, file: Any, name: str, build: bool) -> None:
    """Take the application in a zip into the scenario, or another version of one."""
    sent = {"zip": base64.b64encode(file.read()).decode(), "name": name, "build": build}
    taken = context.client.call("POST", "admin/applications", sent)
    output.done(f"{taken['name']} is in version {taken['version']} of the scenario.")


@GROUPS["applications"].command("download")
@click.argument("name")
@click.argument("file", type=click.File("wb"))
@click.pass_obj
def download_application(context: Context, name: str, file: Any) -> None:
    """Write an application as a zip that can be uploaded again; - is standard output."""
    file.write(base64.b64decode(context.client.call("GET", f"admin/applications/{name}/zip")["zip"]))


@admin.group()
def policies() -> None:
    """Policies of classes: what an admin changed of them."""


@policies.command("show")
@click.argument("class_name", metavar="CLASS")
@formatted
@click.pass_obj
def show_policy(context: Context, class_name: str, form: str) -> None:
    """Show what counts for a class, and what an admin changed."""
    found = context.client.call("GET", f"admin/classes/{class_name}/policy")
    if form == "json":
        output.show_one(found, form)
        return
    lines = [{"name": name, "value": value, "changed": name in found["values"]} for name, value in found["counts"].items()]
    output.show(lines, columns("name", "value", "changed"), form)


@policies.command("set")
@click.argument("class_name", metavar="CLASS")
@click.argument("values", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.pass_obj
def set_policy(context: Context, class_name: str, values: tuple[str, ...]) -> None:
    """Change values of a class's policy; NAME= alone gives one back to the scenario."""
    path = f"admin/classes/{class_name}/policy"
    found, etag = context.client.read(path)
    wanted: Entry = dict(found["values"])
    for name, _, text in (one.partition("=") for one in values):
        if text:
            wanted[name] = _value(text)
        else:
            wanted.pop(name, None)
    output.done(f"{class_name}: {'changed' if context.client.put(path, wanted, etag) else 'unchanged'}.")


def _value(text: str) -> Any:
    """JSON where it is, else text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


# -- settings, directory, scenario, logs -----------------------------------------------------------------------


def _settings(context: Context, name: str) -> tuple[Entry, str]:
    """What can be put of settings, as it is now, and its ETag."""
    found, etag = context.client.read(f"admin/settings/{name}")
    [fields] = [one["fields"] for one in context.client.items("admin/settings") if one["name"] == name]
    return {field: value for field, value in found.items() if field in fields}, etag


@GROUPS["settings"].command("set")
@click.argument("name", metavar="SETTING")
@click.argument("values", nargs=-1, metavar="NAME=VALUE...")
@click.option("--secret", default="", metavar="NAME", help="Ask for this value, or read it from standard input.")
@click.pass_obj
def set_settings(context: Context, name: str, values: tuple[str, ...], secret: str) -> None:
    """Change some values of a form of settings; all others stay as they are."""
    wanted, etag = _settings(context, name)
    wanted |= {field: _value(text) for field, _, text in (one.partition("=") for one in values)}
    if secret:
        wanted[secret] = _password()
    output.done(f"{name}: {'changed' if context.client.put(f'admin/settings/{name}', wanted, etag) else 'unchanged'}.")


@admin.group()
def directory() -> None:
    """The directory: try it, and have it synchronised. Its settings are `settings show directory`."""


@directory.command("test")
@click.pass_obj
def test_directory(context: Context) -> None:
    """Ask the directory's servers, as they are set, and say what is found."""
    found = context.client.call("POST", "admin/settings/directory/test", _settings(context, "directory")[0])["items"]
    for one in found:
        click.echo(output.plain(f"{'ok' if one['ok'] else 'problem'}: {one['text']} {one['hint']}".rstrip()))
    if not all(one["ok"] for one in found):
        raise ClientError("Not all is as it should be.", "Mend what is named above.")


@directory.command("synchronise")
@click.option("--force", is_flag=True, help="Although more than half of all people would go.")
@click.pass_obj
def synchronise(context: Context, force: bool) -> None:
    """Have the directory synchronised now."""
    context.client.call("POST", "admin/directory/synchronisations", {"force": force})
    output.done("The synchronisation is asked for.")


@GROUPS["scenario"].command("export")
@click.argument("file", type=click.File("wb"))
@click.option("--version", type=int, default=None, metavar="NUMBER", help="An earlier version; else the one that counts.")
@click.pass_obj
def export_scenario(context: Context, file: Any, version: int | None) -> None:
    """Write the scenario, a zip of scenario.yml and its roles, to FILE."""
    path = "admin/scenario/export" if version is None else f"admin/scenario/versions/{version}/export"
    file.write(context.client.request("GET", path).content)


@GROUPS["scenario"].command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--comment", default="", help="What it is about.")
@click.option("--build", is_flag=True, help="Build the seeds that are other ones.")
@click.option("--dry-run", is_flag=True, help="Only say what it would change.")
@click.pass_obj
def import_scenario(context: Context, file: Any, comment: str, build: bool, dry_run: bool) -> None:
    """Have the zip FILE be the scenario from now on; what it changes is said."""
    found = context.client.call("PUT", "admin/scenario/import", file.read(), headers={"Content-Type": "application/zip"})
    for one in found["classes"]:
        click.echo(output.plain(f"class {one['name']}: {one['effect']} {' '.join(one['keys'])}".rstrip()))
    for one in found["files"]:
        click.echo(output.plain(f"{one['path']}: {one['what']}"))
    if dry_run or not found["files"]:
        context.client.call("DELETE", "admin/scenario/import")
        output.done("The scenario is as it was." if found["files"] else "The scenario is that already.")
        return
    body = {"digest": found["digest"], "seen": found["seen"], "comment": comment, "build": build}
    output.done(f"The scenario: version {context.client.create('admin/scenario/import/take', body)['number']}.")


@GROUPS["logs"].command("show")
@click.argument("log")
@click.option("--level", type=click.Choice(["error", "warning", "info", "debug"]), default="debug", help="At least so serious.")
@click.option("--text", default="", help="Only lines with these words.")
@click.option("--limit", "most", type=click.IntRange(1, 2000), default=300, help="That many lines at most.")
@formatted
@click.pass_obj
def show_log(context: Context, log: str, level: str, text: str, most: int, form: str) -> None:
    """Show the last lines of a log, the newest last."""
    query = urlencode({"level": level, "text": text, "most": most})
    output.show(context.client.call("GET", f"admin/logs/{log}?{query}")["items"], columns("at", "level", "source", "text"), form)


@GROUPS["people"].command("import")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--org-unit", default=1, type=int, help="The number of an org unit; else the top one.")
@click.option("--dry-run", is_flag=True, help="Only look whether it can be done.")
@click.pass_obj
def import_people(context: Context, file: Any, org_unit: int, dry_run: bool) -> None:
    """Create an account for each line of a table (CSV: name, full_name, email, password); prints links to hand over."""
    body = {"table": file.read().decode("utf-8-sig", "replace"), "org_unit": org_unit, "dry_run": dry_run}
    made = context.client.call("POST", "admin/accounts/import", body)
    for one in made["accounts"]:
        if one["link"]:
            click.echo(f"{output.plain(one['name'])}\t{output.plain(one['link'])}")
    output.done(f"Accounts that {'can be' if dry_run else 'were'} created: {made['count']}.")


@GROUPS["events"].command("watch")
@click.option("--after", type=int, default=None, metavar="NUMBER", help="Begin after the event of this number; else with the next.")
@click.option("--count", type=click.IntRange(1), default=None, help="End after so many.")
@click.option("--lines", is_flag=True, help="Print a JSON object a line.")
@click.pass_obj
def watch_events(context: Context, after: int | None, count: int | None, lines: bool) -> None:
    """Watch what happens, as it happens."""
    for event in _first(context.client.events(after), count or sys.maxsize):
        click.echo(json.dumps(event) if lines else output.plain(f"{event['at']} {event['level']} {event['message']}"))


@GROUPS["events"].command("check")
@click.pass_obj
def check_events(context: Context) -> None:
    """Look whether the whole record is as it was written."""
    found: Mapping[str, Any] = context.client.call("POST", "admin/events/check")
    if found["problems"]:
        raise ClientError(f"The record is not as it was written: {found['problems'][0]}", "The web page Events has all that was found.")
    output.done(f"{found['lines']} lines are as they were written.")


@admin.command("support-bundle")
@click.argument("file", type=click.File("wb"))
@click.pass_obj
def support_bundle(context: Context, file: Any) -> None:
    """Have a support bundle made, and write it to FILE: logs and how all stands, without secrets."""
    begun = _ended(context, context.client.call("POST", "admin/support-bundles"))
    file.write(context.client.request("GET", f"admin/support-bundles/{begun['file']}").content)


# -- the server itself --------------------------------------------------------------------------------------


def _ended(context: Context, operation: Entry) -> Entry:
    """The operation, once it has ended well. Raises ClientError."""
    with output.progress(operation["title"]) as told:
        while operation["state"] == "running":
            told(f"{operation['title']}: {operation['progress'] or 0} % {operation['said']}")
            context.client.sleep(2)
            operation = context.client.call("GET", f"admin/operations/{operation['id']}")
    if operation["problem"]:
        raise ClientError(operation["problem"], operation["hint"])
    return operation


def _follow(context: Context, operation: Entry, *, wait: bool) -> None:
    """Say what was begun; with `wait` when it has ended."""
    if wait:
        operation = _ended(context, operation)
    output.done(f"{operation['title']}: {operation['state']}. Operation {operation['id']}.")


WAIT = click.option("--wait", is_flag=True, help="Wait until it has ended.")


@GROUPS["backups"].command("create")
@WAIT
@click.pass_obj
def back_up(context: Context, wait: bool) -> None:
    """Back up the appliance now."""
    _follow(context, context.client.call("POST", "admin/backups"), wait=wait)


@GROUPS["backups"].command("verify")
@WAIT
@click.pass_obj
def verify_backups(context: Context, wait: bool) -> None:
    """Read all backups again, whether they can be restored."""
    _follow(context, context.client.call("POST", "admin/backups/verify"), wait=wait)


@GROUPS["backups"].command("test-restore")
@WAIT
@click.pass_obj
def test_restore(context: Context, wait: bool) -> None:
    """Restore the newest backup into a scratch folder, to see whether it can be."""
    _follow(context, context.client.call("POST", "admin/backups/restore-test"), wait=wait)


@admin.group()
def update() -> None:
    """Updates of the bootable image."""


@update.command("show")
@formatted
@click.pass_obj
def show_update(context: Context, form: str) -> None:
    """Show what runs, what waits to be installed, and whether there is a way back."""
    output.show_one(context.client.call("GET", "admin/update"), form)


@update.command("fetch")
@WAIT
@click.pass_obj
def fetch_update(context: Context, wait: bool) -> None:
    """Fetch what is at the configured address."""
    _follow(context, context.client.call("POST", "admin/update/fetch"), wait=wait)


@update.command("install")
@click.argument("version")
@click.option("--older", is_flag=True, help="Although it is older than what runs.")
@WAIT
@click.pass_obj
def install_update(context: Context, version: str, older: bool, wait: bool) -> None:
    """Write the version that waits to the other slot; it starts with the next restart."""
    _follow(context, context.client.call("POST", "admin/update/install", {"version": version, "older": older}), wait=wait)


@update.command("restart")
@click.option("--when", type=click.Choice(["soon", "night"]), default="soon", help="In five minutes, or the next night at three.")
@click.pass_obj
def restart_into_update(context: Context, when: str) -> None:
    """Restart into the update that was written, at a time that everybody is told."""
    output.done(f"The restart is at {context.client.call('POST', 'admin/update/restart', {'when': when})['at']}.")
