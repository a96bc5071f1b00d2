"""Whether the menu at the server's screen opens a shell."""

from appliance.catalog import EventKind
from appliance.host.interface import system
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import config, events, image


@implements(system.SET_SHELL)
def switch(args: system.Switch, host: Host) -> None:
    """Allow it, or not any more: it is what the screen asks for before each one."""
    image.required()
    with config.change(host.settings) as changed:
        changed.shell_enabled = args.enabled
    said = "allowed a shell" if args.enabled else "allowed no more shell"
    events.record_event(host.settings, EventKind.HOST_SHELL, f"{host.by or 'Somebody'} {said} at the server's screen.")


@implements(system.SHELL)
def enabled(args: Nothing, host: Host) -> system.MaybeEnabled:
    """Whether it does."""
    return system.MaybeEnabled(config.read(host.settings)[0].shell_enabled if image.boot_image() else None)
