"""Restarting this server, and switching it off. Machines are saved before, and come back with it."""

from appliance.catalog import EventKind
from appliance.host.interface import system
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import events, image
from appliance.run import run


@implements(system.RESTART)
def restart(args: Nothing, host: Host) -> None:
    """Restart the server; it happens after this returns."""
    image.required()
    events.record_event(host.settings, EventKind.POWER_RESTART, f"{host.by or 'Somebody at the screen'} restarts the server.")
    run(["systemctl", "--no-block", "reboot"])


@implements(system.POWER_OFF)
def off(args: Nothing, host: Host) -> None:
    """Switch the server off; it happens after this returns."""
    image.required()
    events.record_event(host.settings, EventKind.POWER_OFF, f"{host.by or 'Somebody at the screen'} switches the server off.")
    run(["systemctl", "--no-block", "poweroff"])
