"""`dpe admin`: what admins do. Lists and verbs are declared here, one line each; commands are made of that."""

import base64
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    creates: bool = False


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
        context.client.call(verb.method, verb.path.format(found))
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


# -- the server itself --------------------------------------------------------------------------------------


def _follow(context: Context, operation: Entry, *, wait: bool) -> None:
    """Say what was begun; with `wait` when it has ended."""
    with output.progress(operation["title"]) as told:
        while wait and operation["state"] == "running":
            told(f"{operation['title']}: {operation['progress'] or 0} % {operation['said']}")
            context.client.sleep(2)
            operation = context.client.call("GET", f"admin/operations/{operation['id']}")
    if operation["problem"]:
        raise ClientError(operation["problem"], operation["hint"])
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
