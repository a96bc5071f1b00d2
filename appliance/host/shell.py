"""Whether the menu at the server's screen opens a shell."""

from appliance.catalog import Level
from appliance.host import config, events, image
from appliance.host.verbs import Arguments, Host, verb


class Switch(Arguments):
    enabled: bool


@verb("shell.set")
def switch(args: Switch, host: Host) -> None:
    """Allow it, or not any more: it is what the screen asks for before each one."""
    image.required()
    with config.change(host.settings) as changed:
        changed.shell_enabled = args.enabled
    said = "allowed a shell" if args.enabled else "allowed no more shell"
    events.tell(host.settings, "host.shell", f"{host.by or 'Somebody'} {said} at the server's screen.", level=Level.WARNING)


@verb("shell.get")
def enabled(args: Arguments, host: Host) -> bool | None:
    """None on a Debian of somebody's own, whose screen is not ours."""
    return config.read(host.settings)[0].shell_enabled if image.found() else None
