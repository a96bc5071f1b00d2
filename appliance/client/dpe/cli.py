"""`dpe`: the commands of people, and what all commands have alike. What is seldom used is imported when it is."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar

import click

from dpe import hosts, output
from dpe.errors import ClientError, Refused, TimedOut, Unreachable

Command = TypeVar("Command", bound=Callable[..., Any])

LATER = {  # groups and commands in modules of their own
    "admin": "dpe.admin:admin",
    "apply": "dpe.declare:apply",
    "diff": "dpe.declare:diff",
    "inventory": "dpe.inventory:inventory",
    "console": "dpe.console:console",
    "proxy": "dpe.console:proxy",
    "ssh": "dpe.console:ssh",
}
MACHINES = output.columns("name", "class", "state", "lease_ends_at=Lease ends", "url=Address")
CLASSES = output.columns("name", "title", "ready", "held", "waiting", "refusal=Why not")


class Group(click.Group):
    """With commands that are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *LATER])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in LATER:
            module, _, attribute = LATER[name].partition(":")
            found: click.Command = getattr(import_module(module), attribute)
            return found
        return super().get_command(ctx, name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ClientError as error:
            _show_error(error)
            ctx.exit(error.exit_code)


def _show_error(error: ClientError) -> None:
    """What happened, what to do, and what is wrong with each field."""
    coloured = output.is_terminal(sys.stderr) and "NO_COLOR" not in os.environ
    click.echo(f"{click.style('dpe:', fg='red') if coloured else 'dpe:'} {output.plain(error.message)}", err=True)
    fields = error.errors if isinstance(error, Refused) else ()
    for line in (error.hint, *(f"{one.get('pointer') or one.get('parameter')}: {one.get('detail')}" for one in fields)):
        if line:
            output.note(f"     {line}")


class Context:
    """What a command works with: the appliance that is meant, and how to print."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client: Any = None

    @property
    def client(self) -> Any:
        """Whom to ask: made when somebody is."""
        if self._client is None:
            from dpe.client import Client

            self._client = Client.signed_in(self.address)
        return self._client


def formatted(command: Callable[..., Any]) -> Callable[..., Any]:
    """With --json and --lines; the command is told which as `form`."""

    @wraps(command)
    def told(*arguments: Any, as_json: bool, as_lines: bool, **named: Any) -> Any:
        return command(*arguments, form="json" if as_json else "lines" if as_lines else "table", **named)

    in_lines = click.option("--lines", "as_lines", is_flag=True, help="Print a JSON object a line.")
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(in_lines(told))


def complete_machines(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of machines, for the shell."""
    try:
        return [one["name"] for one in _context(ctx).client.machines() if one["name"].startswith(incomplete)]
    except ClientError:
        return []


def complete_classes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of classes, for the shell."""
    try:
        return [one["name"] for one in _context(ctx).client.classes() if one["name"].startswith(incomplete)]
    except ClientError:
        return []


def _context(ctx: click.Context) -> Context:
    return ctx.find_object(Context) or Context("")


def one_machine(command: Command) -> Command:
    """With the name of a machine."""
    return click.argument("machine", shell_complete=complete_machines)(command)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", "address", default="", metavar="ADDRESS", help="The appliance that is meant, of those you are signed in to.")
@click.version_option(package_name="dpe")
@click.pass_context
def cli(ctx: click.Context, address: str) -> None:
    """Machines of a DPE Appliance, from the command line."""
    ctx.obj = ctx.obj or Context(address)


# -- signing in ------------------------------------------------------------------------------------------


@cli.command()
@click.argument("address")
@click.option("--admin", is_flag=True, help="Ask for the scopes of an admin, too.")
@click.option("--scope", multiple=True, help="Ask for just this scope; may be repeated.")
@click.option("--name", default="", help="What the token is called on your account's page; else the name of this computer.")
@click.option("--fingerprint", default="", help="The SHA-256 fingerprint of the appliance's certificate, so that nobody has to be asked.")
@click.option("--with-token", is_flag=True, help="Read a token from standard input instead of asking for approval.")
@click.option("--no-browser", is_flag=True, help="Open no browser; print the address alone.")
def login(address: str, admin: bool, scope: tuple[str, ...], name: str, fingerprint: str, with_token: bool, no_browser: bool) -> None:
    """Sign in to the appliance at ADDRESS, by approving it in a browser."""
    from dpe import login as device
    from dpe.client import Client

    address = hosts.normal(address)
    certificate = _trust(address, fingerprint)
    client = Client(address, certificate=certificate)
    if with_token:
        client.token = sys.stdin.readline().strip()
    else:
        wanted = scope or (*device.SCOPES, *(device.ADMIN_SCOPES if admin else ()))
        client.token = device.sign_in(client, lambda asked: _show_code(asked, browser=not no_browser), wanted, name)
    account = client.me()["name"]
    kept = hosts.keep(hosts.Host(address, account, client.token, certificate))
    output.done(f"Signed in to {address} as {account}. The token is in {'the keyring' if kept else hosts.folder() / 'hosts.json'}.")


def _trust(address: str, fingerprint: str) -> str:
    """The certificate to pin; none where this computer trusts the one that is there."""
    from dpe import certificate

    try:
        if fingerprint:
            return certificate.pinned(address, fingerprint)
        if certificate.is_trusted(address):
            return ""
        pem = certificate.fetch(address)
    except OSError as error:
        raise Unreachable(f"{address} does not answer: {error}.", "Look whether the address is right and the appliance is on.") from error
    known = hosts.every().get(address)
    if known and known["certificate"] == pem:
        return pem
    output.note(f"The certificate of {address} is signed by nobody whom this computer knows. Its fingerprint (SHA-256):")
    output.note(f"  {certificate.fingerprint_of(pem)}")
    if known and known["certificate"]:
        output.note("It is ANOTHER one than before. Go on only if you know why.")
    output.note("Compare it with the one on the server's screen, or on the page Certificate.")
    if not sys.stdin.isatty():
        raise ClientError("Nobody can be asked whether that is right.", "Say so with --fingerprint.")
    if not click.confirm("Is it the same?", err=True):
        raise click.Abort
    return pem


def _show_code(asked: Mapping[str, Any], *, browser: bool) -> None:
    output.note(f"Open {asked['verification_uri']} and approve the code {asked['user_code']}.")
    if browser and sys.stdin.isatty() and _browse(asked["verification_uri_complete"]):
        output.note("The page is open in your browser.")


def _browse(address: str) -> bool:
    """Open a page; whether there is a browser."""
    import webbrowser

    return webbrowser.open(address)


@cli.command()
@click.pass_obj
def logout(context: Context) -> None:
    """Forget the sign-in. The token ends on your account's page, API tokens."""
    address = hosts.current(context.address).address
    hosts.forget(address)
    output.done(f"Signed out of {address}. The token itself ends on the page {address}/account/tokens, or when its time is over.")


@cli.command()
@formatted
@click.pass_obj
def whoami(context: Context, form: str) -> None:
    """Show who is signed in, and where."""
    host = context.client
    output.show_one({"address": host.address, **host.me()}, form)


# -- machines --------------------------------------------------------------------------------------------


@cli.command("list")
@formatted
@click.pass_obj
def list_machines(context: Context, form: str) -> None:
    """List your machines."""
    output.show(context.client.machines(), MACHINES, form)


@cli.command()
@formatted
@click.pass_obj
def classes(context: Context, form: str) -> None:
    """List the classes of machines that you can get."""
    output.show(context.client.classes(), CLASSES, form)


@cli.command()
@one_machine
@formatted
@click.pass_obj
def show(context: Context, machine: str, form: str) -> None:
    """Show one of your machines."""
    output.show_one(context.client.machine(machine), form)


@cli.command()
@click.argument("class_name", metavar="CLASS", shell_complete=complete_classes)
@click.option("--count", default=1, type=click.IntRange(1), help="Several together: all, or none.")
@click.option("--wait/--no-wait", default=True, help="Wait until it can be used (the default).")
@click.option("--timeout", default=600, type=click.IntRange(1), metavar="SECONDS", help="How long to wait.")
@formatted
@click.pass_obj
def get(context: Context, class_name: str, count: int, wait: bool, timeout: int, form: str) -> None:
    """Get a machine of CLASS."""
    if not wait:
        made = context.client.claim(class_name, count)
        if not made:
            output.note("None is ready: it is asked for, and dpe list shows it when it is there.")
        output.show(made, MACHINES, form)
        return
    with output.progress(f"getting a {class_name}") as told:
        found = context.client.get(class_name, count, timeout=timeout, told=told)
    output.show(found, MACHINES, form)


@cli.command("open")
@one_machine
@click.option("--print", "only", is_flag=True, help="Print the address alone.")
@click.pass_obj
def open_(context: Context, machine: str, only: bool) -> None:
    """Open a machine's application, or its desktop, in the browser."""
    address = context.client.machine(machine)["url"]
    if only or not _browse(address):
        output.done(address)


@cli.command()
@one_machine
@formatted
@click.pass_obj
def extend(context: Context, machine: str, form: str) -> None:
    """Extend a machine's lease."""
    found = context.client.machine(machine)
    output.show([{**found, "lease_ends_at": context.client.extend(found)}], MACHINES, form)


@cli.command()
@click.argument("machines", nargs=-1, required=True, metavar="MACHINE...", shell_complete=complete_machines)
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.pass_obj
def release(context: Context, machines: tuple[str, ...], yes: bool) -> None:
    """Give machines back. They are destroyed, with what is on them."""
    found = [context.client.machine(name) for name in machines]
    if not yes and sys.stdin.isatty():
        click.confirm(f"Destroy {', '.join(one['name'] for one in found)}?", abort=True, err=True)
    for one in found:
        context.client.release(one)
        output.done(f"{one['name']} is given back.")


def _verb(name: str, help: str, done: str) -> None:
    @cli.command(name, help=help)
    @one_machine
    @click.pass_obj
    def command(context: Context, machine: str) -> None:
        found = context.client.machine(machine)
        context.client.call("POST", f"machines/{found['id']}/{name}")
        output.done(f"{found['name']} {done}.")


_verb("stop", "Shut a machine down; it stays yours.", "is being shut down")
_verb("start", "Start a machine that is stopped.", "is being started")
_verb("suspend", "Save a machine's memory and stop it.", "is being suspended")
_verb("resume", "Resume a machine that is suspended.", "is being resumed")
_verb("reprovision", "Make a machine anew; data disks stay.", "is being made anew")


@cli.command()
@click.argument("machine", required=False, default="", shell_complete=complete_machines)
@click.option("--until", default="", metavar="STATE", help="End when the machine, or each of them, is in this state, or gone.")
@click.option("--timeout", default=0, type=click.IntRange(0), metavar="SECONDS", help="Give up then (0: never).")
@click.option("--lines", is_flag=True, help="Print a JSON object a line.")
@click.pass_obj
def watch(context: Context, machine: str, until: str, timeout: int, lines: bool) -> None:
    """Watch how the states of your machines change."""
    client, seen = context.client, dict[str, Any]()
    end = time.monotonic() + timeout if timeout else None
    if machine:
        machine = client.machine(machine)["id"]
    while True:
        now = {one["id"]: one for one in client.machines() if machine in ("", one["id"])}
        gone = {id: {**one, "state": "gone"} for id, one in seen.items() if id not in now}
        for one in (*now.values(), *gone.values()):
            if seen.get(one["id"], {}).get("state") != one["state"]:
                click.echo(json.dumps(one) if lines else f"{output.plain(one['name'])} is {one['state']}")
        seen = now
        if (machine and not now) or (until and all(one["state"] == until for one in now.values())):
            return
        if end is not None and time.monotonic() > end:
            raise TimedOut(f"It was not so after {timeout} s.")
        client.sleep(2)


# -- what waits, and everything else -----------------------------------------------------------------------


@cli.command()
@formatted
@click.pass_obj
def todos(context: Context, form: str) -> None:
    """List what waits for you to decide or to do."""
    found = context.client.call("GET", "todos")["todos"]
    output.show(found, output.columns("id", "title", "requester", "class", "state", "expires_at=Expires"), form)


@cli.command()
@click.argument("number", type=int)
@click.argument("said", metavar="yes|no", type=click.Choice(["yes", "no"]))
@click.option("--comment", default="", help="Why; a no needs it.")
@click.pass_obj
def answer(context: Context, number: int, said: str, comment: str) -> None:
    """Answer an approval or a task, by its number in the list of todos."""
    found = context.client.call("POST", f"todos/{number}", {"answer": said, "comment": comment})
    output.done(f"{found['title']}: {found['state']}.")


@cli.command()
@click.argument("method", type=click.Choice(["GET", "POST", "PUT", "DELETE"], case_sensitive=False))
@click.argument("path")
@click.option("--data", default=None, metavar="JSON", help="What is sent; - reads it from standard input.")
@click.pass_obj
def api(context: Context, method: str, path: str, data: str | None) -> None:
    """Make any call of the API. PATH is what follows /api/v1/."""
    body = (sys.stdin.read() if data == "-" else data or "").encode() or None
    path = path.removeprefix("/api/v1")
    found = context.client.call(method.upper(), path, body)
    if found is not None:
        output.show_one(found, "json")


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands, and names of machines.

    \b
    eval "$(dpe completion bash)" in ~/.bashrc; eval "$(dpe completion zsh)" in ~/.zshrc, after compinit; or
    dpe completion fish > ~/.config/fish/completions/dpe.fish
    """
    from click.shell_completion import ShellComplete, get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(
        ShellComplete.source(found(cli, {}, "dpe", "_DPE_COMPLETE"))
    )  # without asking for the version of a bash that may not be here


if __name__ == "__main__":
    cli(prog_name="dpe")
