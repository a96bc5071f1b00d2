"""HAProxy's configuration: one proxy for each service, with as many servers as it may ever have replicas.

Replicas come and go by HAProxy's runtime API alone (runtime.py): a reload ends what takes long. So a configuration says how many servers
there are, and a reload is for that; who they are it says as well, so that a HAProxy which starts has its members at once.
"""

import hashlib
import os
import pwd
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance import durable
from appliance.errors import BadInput
from appliance.run import Argument
from appliance.settings import Settings

USER = "haproxy"  # Debian's own; it can read nothing of the appliance's
DOOR = "www-data"  # nginx, which alone may connect
ALIVE = "alive.sock"
OURS = "__(Host|Secure)-"  # cookies of the appliance's own pages, which no replica gets
STICKY = "dpe-replica"  # and the service: several can be under one name
NOWHERE = "127.0.0.1"  # of a server that no replica stands behind

Line = tuple[str | int | Path, ...]


@dataclass(frozen=True)
class Service:
    """Servers behind one address. `health` is asked with GET; `connections` are those of one replica at a time, others wait in the queue."""

    name: str
    servers: int
    health: str = "/"
    connections: int = 100
    is_sticky: bool = False


@dataclass(frozen=True)
class Members:
    """Where the replicas of a service are now: address and port, by the number of the server, from 1."""

    addresses: Mapping[int, tuple[str, int]] = field(default_factory=dict)


def folder(settings: Settings) -> Path:
    """Where its sockets are."""
    return settings.run / "haproxy"


def file(settings: Settings) -> Path:
    """Its configuration."""
    return settings.run / "haproxy.cfg"


def door(settings: Settings, name: str) -> Path:
    """Where a service is reached, for nginx."""
    return folder(settings) / f"service-{name}.sock"


def runtime_path(settings: Settings) -> Path:
    """Where the process that serves takes commands."""
    return folder(settings) / "runtime.sock"


def master_path(settings: Settings) -> Path:
    """Where the process that starts it again takes them."""
    return folder(settings) / "master.sock"


def alive_path(settings: Settings) -> Path:
    """Where it says that it serves."""
    return folder(settings) / ALIVE


def command(settings: Settings) -> list[Argument]:
    """How it is started, as USER; it stays in the foreground."""
    return ["haproxy", "-W", "-db", "-S", f"{master_path(settings)},mode,600", "-f", file(settings)]


def supervised(settings: Settings) -> list[Argument]:
    """The same by root, where no systemd does it: with its configuration written anew, and the replicas that there are, whenever it is started."""
    script = '"$1" -m appliance.balance && shift && exec "$@"'
    rights = ["--pdeathsig", "KILL", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
    return ["sh", "-c", script, "sh", sys.executable, "setpriv", *rights, "--", *command(settings)]


def prepare(settings: Settings) -> None:
    """Make the folder of its sockets: it makes them, nginx may connect, and nobody else."""
    path = folder(settings)
    path.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(path, pwd.getpwnam(USER).pw_uid, pwd.getpwnam(DOOR).pw_gid)
    path.chmod(0o2710)  # what is made there is the group's


def shape(services: Iterable[Service]) -> str:
    """What a running HAProxy says it was made for, whoever its members are: another one needs a reload."""
    return hashlib.sha256(repr(sorted(services, key=lambda one: one.name)).encode()).hexdigest()[:16]


def write_configuration(settings: Settings, services: Sequence[Service], members: Mapping[str, Members]) -> None:
    """Write it where `command` looks for it."""
    prepare(settings)
    durable.write(file(settings), configuration(settings, services, members), mode=0o644)


def configuration(settings: Settings, services: Sequence[Service], members: Mapping[str, Members]) -> str:
    """The whole haproxy.cfg. Raises BadInput for a word that HAProxy could not be given."""
    sections: list[tuple[Line, list[Line]]] = [
        (("global",), [
            ("description", shape(services)),
            ("stats", "socket", runtime_path(settings), "mode", "600", "level", "admin"),
            ("stats", "timeout", "10s"),
            ("hard-stop-after", "10m"),
            ("maxconn", 8000),
            ("log", "stdout", "format", "raw", "local0", "notice"),
        ]),
        (("defaults",), [
            ("mode", "http"),
            ("log", "global"),
            # A replica that died is noticed by whoever is sent there, who is sent on: nobody but them is to pay for it, and they a moment.
            ("option", "redispatch", 1),
            ("retries", 3),
            ("retry-on", "conn-failure", "empty-response", "response-timeout"),
            ("timeout", "connect", "2s"),
            ("timeout", "check", "5s"),  # one that is slow is not one that is gone
            ("timeout", "queue", "30s"),
            ("timeout", "http-request", "15s"),
            ("timeout", "client", "60s"),
            ("timeout", "server", "60s"),
            ("timeout", "tunnel", "1h"),
        ]),
        (("listen", "alive"), [("bind", _bind(alive_path(settings)), "mode", "660"), ("http-request", "return", "status", 200)]),
        *(_service(settings, one, members.get(one.name, Members())) for one in services),
    ]  # fmt: skip
    return "\n".join(_render(head, lines) for head, lines in sections)


def _bind(path: Path) -> str:
    return f"unix@{path}"


def _service(settings: Settings, service: Service, members: Members) -> tuple[Line, list[Line]]:
    server: Line = (
        # One that was killed still looks least busy: it is out at the third error of those who were sent there.
        "check", "inter", "1s", "fastinter", "200ms", "fall", 2, "rise", 1,
        "observe", "layer7", "error-limit", 3, "on-error", "mark-down", "on-marked-down", "shutdown-sessions",
        "maxconn", service.connections,
    )  # fmt: skip
    sticky: list[Line] = (
        [("cookie", f"{STICKY}-{service.name}", "insert", "indirect", "nocache", "httponly", "secure")] if service.is_sticky else []
    )
    lines: list[Line] = [
        ("bind", _bind(door(settings, service.name)), "mode", "660"),
        # What was sent twice is done twice, unless it only asked.
        ("http-request", "disable-l7-retry", "unless", "{", "method", "GET", "HEAD", "OPTIONS", "}"),
        ("http-request", "set-header", "Cookie", f'%[req.hdr(Cookie),regsub("(^|; *){OURS}[^;]*","",gi)]', "if", "{", "req.hdr(Cookie)", "-m", "found", "}"),
        ("balance", "leastconn"),
        *sticky,
        ("option", "httpchk"),
        ("http-check", "send", "meth", "GET", "uri", service.health, "ver", "HTTP/1.1", "hdr", "Host", service.name),
        ("http-check", "expect", "status", "200-499"),
    ]  # fmt: skip
    for number in range(1, service.servers + 1):
        address, port = members.addresses.get(number, (NOWHERE, 1))
        known: Line = ("cookie", server_name(number)) if service.is_sticky else ()
        off: Line = () if number in members.addresses else ("disabled",)
        lines.append(("server", server_name(number), f"{address}:{port}", *server, *known, *off))
    return ("listen", proxy_name(service.name)), lines


def proxy_name(service: str) -> str:
    """What HAProxy calls a service."""
    return f"service-{service}"


def server_name(number: int) -> str:
    """What it calls the server with this number."""
    return f"s{number}"


def _render(head: Line, lines: Iterable[Line]) -> str:
    return "\n".join([" ".join(map(_quote, head)), *("    " + " ".join(map(_quote, line)) for line in lines)]) + "\n"


def _quote(word: str | int | Path) -> str:
    text = str(word)
    if re.fullmatch(r"[\w./:@+=,{}-]+", text, re.ASCII):
        return text
    if "'" in text or not text.isprintable():
        raise BadInput(f"HAProxy cannot be given {text!r}.", "Use another word.")
    return f"'{text}'"  # it takes what is between them as it is
