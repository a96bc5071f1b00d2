"""The host's clock: who sets it, whether it is right, and setting it by hand."""

from datetime import UTC, datetime

from appliance.catalog import EventKind, timezone
from appliance.errors import BadInput, CommandFailed, Conflict
from appliance.host.interface import system
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import apply, config, events, image
from appliance.run import run

EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)


def read_properties(shown: str) -> dict[str, str]:
    """Lines of NAME=VALUE."""
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def _asked(*command: str) -> dict[str, str]:
    try:
        return read_properties(run(["timedatectl", *command]))
    except CommandFailed:  # no systemd here
        return {}


@implements(system.CLOCK)
def get(args: Nothing, host: Host) -> system.Clock:
    """How the clock is."""
    found, _ = config.read(host.settings)
    shown = _asked("show", "--property=NTPSynchronized,NTP")
    follows = _asked("show-timesync", "--property=ServerName,ServerAddress") if found.ntp_enabled else {}
    return system.Clock(
        ours=image.boot_image() is not None,
        now=datetime.now(UTC),
        enabled=found.ntp_enabled,
        servers=found.ntp,
        synchronised={"yes": True, "no": False}.get(shown.get("NTPSynchronized", "")),
        server=follows.get("ServerName") or follows.get("ServerAddress") or "",
    )


@implements(system.SET_TIME_SERVERS)
def set_servers(args: system.TimeServers, host: Host) -> None:
    """Ask these servers for the time, or nobody."""
    image.required()
    with config.change(host.settings) as changed:
        changed.ntp_enabled, changed.ntp = args.enabled, args.servers
    checked, _ = config.read(host.settings)
    apply.write_files(checked)
    apply.reload_clock(checked)
    said = f"asks {', '.join(checked.ntp) or 'the usual servers'} for the time" if checked.ntp_enabled else "asks nobody for the time"
    events.record_event(
        host.settings, EventKind.CLOCK_SERVERS, f"{host.by or 'Somebody at the screen'} changed the clock: the server {said}."
    )


@implements(system.SET_CLOCK)
def set_time(args: system.Moment, host: Host) -> None:
    """Set the clock by hand. Raises Conflict while servers are asked for the time, which would set it back."""
    image.required()
    found, _ = config.read(host.settings)
    if found.ntp_enabled:
        raise Conflict("The clock follows time servers.", "Switch them off first, or correct which servers are asked.")
    at = args.at.astimezone(UTC)
    if not EARLIEST <= at < LATEST:
        raise BadInput(f"{at:%Y-%m-%d} is no date of today.", "Write the present date and time.", field="at")
    run(["timedatectl", "set-time", f"{at:%Y-%m-%d %H:%M:%S} UTC"])
    events.record_event(
        host.settings,
        EventKind.CLOCK_SET,
        f"{host.by or 'Somebody at the screen'} set the clock to {timezone.timestamp(at, events.zone(host.settings))}.",
    )
