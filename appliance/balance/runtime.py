"""HAProxy's runtime API, over its Unix sockets: which servers there are, how they are, and what is done with them."""

import csv
import io
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.balance import haproxy
from appliance.errors import Unavailable
from appliance.settings import Settings

PATIENCE = 5.0  # seconds for an answer
MAINTENANCE = (
    0x01 | 0x02 | 0x20
)  # bits of srv_admin_state (HAProxy's management guide, `show servers state`): forced, inherited, unresolved
DRAINING = 0x08


@dataclass(frozen=True)
class Server:
    """One of a service's servers. `up` is what its checks and its traffic say; times are seconds, counts since HAProxy started.

    `sessions` are requests that it answers now, or that wait for it alone; `since` when `up` became what it is.
    """

    number: int
    address: str
    port: int
    is_off: bool
    is_draining: bool
    up: bool
    since: int
    sessions: int
    requests: int
    errors: int
    latency: float


@dataclass(frozen=True)
class Proxy:
    """A service: its servers by number, requests that wait for any of them, all requests and those that failed since HAProxy started."""

    servers: Mapping[int, Server]
    queue: int
    requests: int
    errors: int
    latency: float


@dataclass(frozen=True)
class State:
    """All of it: `shape` is what it was configured for, `started` which process says so."""

    shape: str
    started: str
    proxies: Mapping[str, Proxy]


class Runtime:
    """Speaks to the one HAProxy of the appliance. All methods raise Unavailable while it is away."""

    def __init__(self, settings: Settings) -> None:
        self._runtime, self._master = haproxy.runtime_path(settings), haproxy.master_path(settings)

    def look(self) -> State:
        """Everything at once."""
        info, states, stats = (_ask(self._runtime, [what]) for what in ("show info", "show servers state", "show stat"))
        said = dict(line.split(": ", 1) for line in info.splitlines() if ": " in line)
        return State(said.get("description", ""), f"{said.get('Start_time_sec', '')}-{said.get('Pid', '')}", _proxies(states, stats))

    def serve(self, service: str, number: int, address: str, port: int) -> None:
        """Send requests to the replica at this address from now on."""
        name = _name(service, number)
        _ask(self._runtime, [f"set server {name} addr {address} port {port}", f"set server {name} state ready"])

    def go_on(self, service: str, number: int) -> None:
        """Send requests again to one that was drained."""
        _ask(self._runtime, [f"set server {_name(service, number)} state ready"])

    def drain(self, service: str, number: int) -> None:
        """Send no new requests there; what is under way goes on."""
        _ask(self._runtime, [f"set server {_name(service, number)} state drain"])

    def stop(self, service: str, number: int) -> None:
        """Send nothing there any more, not even to who comes back to it; what is under way goes on."""
        _ask(self._runtime, [f"set server {_name(service, number)} state maint"])

    def take_out(self, service: str, number: int) -> None:
        """Nothing is sent there any more, and what is still under way ends."""
        name = _name(service, number)
        _ask(self._runtime, [f"set server {name} state maint", f"shutdown sessions server {name}"])

    def is_reloading(self) -> bool:
        """Whether the process before the last reload still ends what it began; nobody sees its sessions."""
        said = _ask(self._master, ["show proc"])
        return any(line and not line.startswith("#") for line in said.partition("# old workers")[2].partition("# programs")[0].splitlines())

    def reload(self) -> None:
        """Read the configuration anew. Whether it was taken says `look`."""
        _ask(self._master, ["reload"], closes=True)


def _name(service: str, number: int) -> str:
    return f"{haproxy.proxy_name(service)}/{haproxy.server_name(number)}"


def _ask(path: Path, commands: Iterable[str], *, closes: bool = False) -> str:
    """What it says to these, each in words that need no quoting."""
    said = bytearray()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect(os.fspath(path))
            client.sendall("; ".join(commands).encode() + b"\n")
            client.shutdown(socket.SHUT_WR)  # the master process answers nobody who might say more
            while part := client.recv(65536):
                said += part
        except ConnectionError as error:
            if not closes:
                raise Unavailable(f"HAProxy ended while it was asked: {error}.", "It is started again by itself.") from error
        except OSError as error:
            raise Unavailable(f"HAProxy does not answer: {error}.", "It is started again by itself; its log says why.") from error
    return said.decode(errors="replace")


def _proxies(states: str, stats: str) -> dict[str, Proxy]:
    """From `show servers state` and `show stat`, which know different things of a server."""
    admin = {(row["be_name"], row["srv_name"]): row for row in _table(states[states.find("#") :], " ")}
    found: dict[str, dict[int, Server]] = {}
    totals: dict[str, Mapping[str, str]] = {}
    for row in _table(stats, ","):
        proxy, name = row["pxname"], row["svname"]
        if not proxy.startswith(haproxy.proxy_name("")):
            continue
        if name == "BACKEND":
            totals[proxy] = row
        elif (state := admin.get((proxy, name))) is not None:
            number = int(name.removeprefix(haproxy.server_name(0)[:-1]))
            found.setdefault(proxy, {})[number] = _server(number, row, state)
    return {
        proxy.removeprefix(haproxy.proxy_name("")): Proxy(
            found.get(proxy, {}), _whole(row["qcur"]), _whole(row["stot"]), _failed(row), _whole(row["ttime"]) / 1000
        )
        for proxy, row in totals.items()
    }


def _server(number: int, row: Mapping[str, str], state: Mapping[str, str]) -> Server:
    bits = int(state["srv_admin_state"])
    return Server(
        number,
        state["srv_addr"],
        int(state["srv_port"]),
        is_off=bool(bits & MAINTENANCE),
        is_draining=bool(bits & DRAINING),
        up=state["srv_op_state"] != "0",
        since=_whole(row["lastchg"]),
        sessions=_whole(row["scur"]) + _whole(row["qcur"]),
        requests=_whole(row["stot"]),
        errors=_failed(row),
        latency=_whole(row["rtime"]) / 1000,
    )


def _failed(row: Mapping[str, str]) -> int:
    """Requests that were answered with a status of 500 and more, by a replica or in its place."""
    return _whole(row["hrsp_5xx"])


def _table(text: str, separator: str) -> list[dict[str, str]]:
    lines = text.lstrip("# \n")
    return list(csv.DictReader(io.StringIO(lines), delimiter=separator))


def _whole(text: str | None) -> int:
    return int(text) if text else 0
