"""Restarting this server, and switching it off. Machines are saved before, and come back with it."""

from appliance.host import events, image
from appliance.host.verbs import Arguments, Host, verb
from appliance.run import run


@verb("power.restart")
def restart(args: Arguments, host: Host) -> None:
    """Restart the server; it happens after this returns."""
    image.required()
    events.tell(host.settings, "power.restart", f"{host.by or 'Somebody at the screen'} restarts the server.")
    run(["systemctl", "--no-block", "reboot"])


@verb("power.off")
def off(args: Arguments, host: Host) -> None:
    """Switch the server off; it happens after this returns."""
    image.required()
    events.tell(host.settings, "power.off", f"{host.by or 'Somebody at the screen'} switches the server off.")
    run(["systemctl", "--no-block", "poweroff"])
