"""A network on trial: kept in a file, so that it ends by itself also when this process, or the power, goes meanwhile.

host.json holds the old network until somebody confirms the new one. Times are those of the clock that starts with the kernel: setting
the time moves no deadline.
"""

import hashlib
import secrets
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from appliance import durable
from appliance.errors import Conflict, DpeError, NotFound
from appliance.host.interface.network import Begun, Network
from appliance.host.system import config
from appliance.settings import Settings

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

ON, KEPT, BACK = "on", "kept", "back"


class NetworkTrial(BaseModel):
    """One trial, and how it ended: `state` is on, kept or back. `certificate` is the one it replaced, PEM, if it replaced one."""

    model_config = ConfigDict(extra="forbid")

    network: Network
    by: str
    token: str  # its digest
    boot: str
    begins: float
    ends: float
    state: str = ON
    applied: bool = False
    certificate: str = ""
    why: str = ""


def clock() -> float:
    """Seconds since the kernel started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot() -> str:
    return BOOT_ID.read_text().strip()


def _file(settings: Settings) -> Path:
    return settings.host / "network-trial.json"


def write_trial(settings: Settings, trial: NetworkTrial) -> None:
    durable.write(_file(settings), trial.model_dump_json(indent=1))


def last(settings: Settings) -> NetworkTrial | None:
    """The trial that goes on, or the last one that ended."""
    try:
        return NetworkTrial.model_validate_json(_file(settings).read_bytes())
    except (OSError, ValidationError, DpeError):
        return None


def current(settings: Settings) -> NetworkTrial | None:
    """The trial that goes on."""
    found = last(settings)
    return found if found and found.state == ON else None


def begin_trial(settings: Settings, network: Network, by: str, *, pause: float, seconds: float, now: float) -> Begun:
    """Begin one: the network is changed after `pause` seconds, for so many seconds. Raises Conflict while another one goes on."""
    if current(settings):
        raise Conflict("A change of the network is being tried already.", "Confirm it or take it back first.")
    token = secrets.token_urlsafe(24)
    write_trial(
        settings,
        NetworkTrial(network=network, by=by, token=_digest(token), boot=_boot(), begins=now + pause, ends=now + pause + seconds),
    )
    return Begun(token=token, seconds=pause + seconds)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def confirm(settings: Settings, token: str | None, now: float) -> Network:
    """Keep the network: it is what host.json says from now on. None for a token is somebody's own word.

    Raises NotFound when nothing is on trial, or not under this token.
    """
    found = last(settings)
    if found is None or (token is not None and not secrets.compare_digest(found.token, _digest(token))):
        raise NotFound("Nothing waits to be confirmed under this link.", "Look at the page of the network what is in use.")
    if found.state == KEPT and token is not None:
        return found.network  # a link opened twice
    if found.state != ON or is_over(found, now):
        raise NotFound("It was too late: the old network settings are back.", "Try again, and open the link in time.")
    if not found.applied:
        raise Conflict("The new network settings are not in use yet.", "Wait two seconds and try again.")
    with config.change(settings) as host:
        host.network = found.network
    write_trial(settings, found.model_copy(update={"state": KEPT}))
    return found.network


def is_over(trial: NetworkTrial, now: float) -> bool:
    """Whether its time is over, or the kernel was started anew since it began."""
    return trial.boot != _boot() or now >= trial.ends


def end_trial(settings: Settings, trial: NetworkTrial, why: str) -> None:
    """Write down that it was taken back."""
    write_trial(settings, trial.model_copy(update={"state": BACK, "why": why}))


def forget(settings: Settings) -> bool:
    """At boot: what nobody confirmed is taken back. Whether there was such a thing."""
    found = current(settings)
    if found is not None:
        end_trial(settings, found, "the appliance was restarted before anybody confirmed it")
    return found is not None
