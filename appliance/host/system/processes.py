"""The processes of the appliance: how they are, and stopping and starting them.

In the image they are systemd's units. Elsewhere `make run` supervises them: it writes down what it started, and obeys a file for each part,
whose word is `stop` as long as it lies there, or `restart`, once.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from appliance import durable
from appliance.errors import CommandFailed, Conflict, Unavailable
from appliance.host.interface import system
from appliance.host.interface.system import Part
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import image
from appliance.run import run
from appliance.settings import Settings

# What each part does, in words, and its units; a socket goes with its service, or it would start it again.
PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "web": ("Serves the pages.", ("dpe-web.socket", "dpe-web.service")),
    "engine": ("Makes machines and looks after them.", ("dpe-engine.service",)),
    "libvirtd": ("Runs machines.", ("dpe-libvirtd.service",)),
    "nginx": ("The front door: lets browsers in.", ("dpe-nginx.service",)),
    "relay": ("Takes people to their machines, as long as they may be there.", ("dpe-relay.socket", "dpe-relay.service")),
    "console": ("Takes people to their machines' screens and serial lines.", ("dpe-console.socket", "dpe-console.service")),
    "haproxy": ("Shares the requests to services among their replicas.", ("dpe-haproxy.service",)),
    "ssh": ("Passes SSH on to machines, when it is switched on.", ("dpe-ssh.service",)),
    "host": ("Takes care of the server itself.", ("dpe-host.service",)),
    "rescue": ("This page, for when the others do not come.", ("dpe-rescue.service",)),
}

PATIENCE = 90.0  # seconds for parts to stop
STEP = 0.1  # seconds between two looks


# -- what the supervisor of `make run` and we tell each other -----------------------------------------


def _wishes(settings: Settings) -> Path:
    return settings.run / "wanted"


def wished(settings: Settings, name: str) -> str:
    """What the supervisor is to do with a part: `stop`, `restart` or nothing."""
    try:
        return (_wishes(settings) / name).read_text()
    except FileNotFoundError:
        return ""


def grant(settings: Settings, name: str) -> None:
    """The supervisor did as it was told."""
    (_wishes(settings) / name).unlink(missing_ok=True)


def _wish(settings: Settings, name: str, word: str) -> None:
    _wishes(settings).mkdir(mode=0o700, exist_ok=True)
    durable.write(_wishes(settings) / name, word)


def forget(settings: Settings) -> None:
    """Nothing is wanted any more: whoever wanted it is gone."""
    for name in PARTS:
        grant(settings, name)


def write_processes(settings: Settings, processes: dict[str, dict[str, Any]]) -> None:
    """The supervisor's word on its children: for each name pid (0: none), since, restarts, status, and whether it is held stopped."""
    durable.write(settings.run / "processes.json", json.dumps(processes))


def _told(settings: Settings) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads((settings.run / "processes.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


# -- how they are --------------------------------------------------------------------------------------


def parts(settings: Settings) -> list[Part]:
    """Every part as it is now."""
    return _units() if image.boot_image() else _children(settings)


def _children(settings: Settings) -> list[Part]:
    told = _told(settings)
    found = []
    for name, (about, _) in PARTS.items():
        said = told.get(name)
        if said is None:
            continue
        pid = int(said["pid"])
        alive = bool(pid) and psutil.pid_exists(pid)
        state = "running" if alive else "stopped" if said["held"] else "failed"
        found.append(
            Part(name, about, state, said["since"], pid if alive else 0, _memory(pid) if alive else 0, said["restarts"], said["status"])
        )
    return found


def _memory(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        top = psutil.Process(pid)
        for process in (top, *top.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total >> 20


PROPERTIES = "Id ActiveState Result ExecMainStatus MainPID NRestarts StateChangeTimestamp MemoryCurrent LoadState".split()  # noqa: SIM905


# systemd's words for how a unit ended; `exit-code` has a number.
RESULTS = {
    "timeout": "did not come up in time",
    "watchdog": "did not answer",
    "signal": "was killed",
    "core-dump": "crashed",
    "oom-kill": "was killed: too little memory",
    "start-limit-hit": "failed too often",
}


def _units() -> list[Part]:
    units = {name: units[-1] for name, (_, units) in PARTS.items()}
    try:
        shown = run(["systemctl", "show", "--timestamp=unix", f"--property={','.join(PROPERTIES)}", *units.values()])
    except CommandFailed as error:
        raise Unavailable("systemd does not say how the parts are.", "Restart the appliance if it stays so.") from error
    return read_units(shown, units)


def read_units(shown: str, units: dict[str, str]) -> list[Part]:
    """What `systemctl show` says of the units."""
    blocks = {}
    for block in shown.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        blocks[values.get("Id", "")] = values
    found = []
    for name, unit in units.items():
        values = blocks.get(unit, {})
        if values.get("LoadState") != "loaded":
            continue
        active = values.get("ActiveState", "")
        state = {"active": "running", "activating": "starting", "reloading": "running", "failed": "failed"}.get(active, "stopped")
        restarts = int(values.get("NRestarts") or 0)
        if state == "starting" and restarts:
            state = "failed"  # our units are started again for ever: between two attempts, and in one, it does not run
        result = values.get("Result", "success")
        ended = _ended(result, values.get("ExecMainStatus", ""))
        memory = values.get("MemoryCurrent", "")
        found.append(
            Part(
                name,
                PARTS[name][0],
                state,
                _unix(values.get("StateChangeTimestamp", "")),
                int(values.get("MainPID") or 0),
                int(memory) >> 20 if memory.isdigit() else 0,
                restarts,
                "" if result == "success" else ended,
            )
        )
    return found


def _ended(result: str, status: str) -> str:
    """How a process ended, as systemd has it in one word, and its status."""
    return f"ended with status {status}" if result == "exit-code" else RESULTS.get(result, result)


def _unix(stamp: str) -> str:
    return datetime.fromtimestamp(int(stamp[1:]), UTC).isoformat() if stamp[1:].isdigit() else ""


# -- stopping and starting -----------------------------------------------------------------------------


@contextlib.contextmanager
def stopped(settings: Settings, *names: str) -> Iterator[None]:
    """These parts are stopped meanwhile, and started again afterwards whatever happens, without waiting until they can be used.

    Raises Unavailable when one does not stop; then all are started again, and nothing was done.
    """
    here = image.boot_image() is not None
    try:
        for name in names:
            _wish(settings, name, "stop")
        if here:
            run(["systemctl", "stop", *_of(names)], timeout=PATIENCE)
        else:
            _wait_until_gone(settings, names)
        yield
    finally:
        for name in names:
            grant(settings, name)
        if here:
            run(["systemctl", "--no-block", "start", *_of(names)])


def _of(names: tuple[str, ...]) -> list[str]:
    return [unit for name in names for unit in PARTS[name][1]]


def _wait_until_gone(settings: Settings, names: tuple[str, ...]) -> None:
    deadline = time.monotonic() + PATIENCE
    while left := [name for name, said in _told(settings).items() if name in names and not said["held"]]:
        if time.monotonic() > deadline:
            raise Unavailable(f"{' and '.join(left)} did not stop.", "Nothing was done. Restart the appliance and try again.")
        time.sleep(STEP)


def resume(settings: Settings) -> None:
    """When dpe-host starts: what its predecessor stopped and could not start again is started."""
    left = tuple(name for name in PARTS if wished(settings, name) == "stop")
    forget(settings)
    if left and image.boot_image():
        run(["systemctl", "--no-block", "start", *_of(left)])


def restart(settings: Settings, name: str) -> None:
    """Ask for a part to be stopped and started; it happens after this returns. Raises Conflict while an operation holds it stopped."""
    if wished(settings, name) == "stop":
        raise Conflict(f"{name} is stopped while an operation goes on.", "It is started by itself when the operation has ended.")
    if image.boot_image():
        run(["systemctl", "reset-failed", *_of((name,))])  # it may have used up its tries
        run(["systemctl", "--no-block", "restart", *_of((name,))])
    elif name in _told(settings):
        _wish(settings, name, "restart")
    else:
        raise Unavailable("Nobody supervises the appliance's processes here.", "Start it with `make run`.")


@implements(system.UNITS)
def _show(args: Nothing, host: Host) -> list[Part]:
    return parts(host.settings)


@implements(system.RESTART_UNIT)
def _restart(args: system.Which, host: Host) -> None:
    restart(host.settings, args.name)
