"""dpe-host in a thread of the tests, as in the bootable image: with a card, and with systemd's programs replaced by a list of what they were asked."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.host.interface import AnyVerb
from appliance.host.interface.system import Image, Part
from appliance.host.rpc.client import Client
from appliance.host.rpc.daemon import Server
from appliance.host.rpc.registry import HANDLERS, Handler
from appliance.host.system import apply, clock, image, network, power, processes
from appliance.settings import Settings

BUILD = {"version": "1.2.0", "built_at": "2026-11-20T10:00:00Z", "scenario": "notebook"}

PARTS = {
    "libvirtd": ("running", 88, 0),
    "host": ("running", 41, 0),
    "engine": ("running", 96, 2),
    "web": ("running", 151, 0),
    "nginx": ("failed", 0, 5),
}


@dataclass
class Hosted:
    """`asked` are commands of systemd that were run; `written` is the root below which files of /run are written."""

    settings: Settings
    written: Path
    server: Server | None = None
    asked: list[list[str]] = field(default_factory=list)
    synchronised: str = "yes"

    def run(self, command: Sequence[object], **_: object) -> str:
        """In place of `run`."""
        self.asked.append([str(part) for part in command])
        if command[0] == "timedatectl" and command[1] == "show":
            return f"NTPSynchronized={self.synchronised}\nNTP=yes\n"
        if command[0] == "timedatectl" and command[1] == "show-timesync":
            return "ServerName=ntp.example.org\nServerAddress=192.0.2.123\n"
        return ""


def card(sys: Path, name: str, mac: str, *, cable: bool = True, speed: int = 1000) -> None:
    """A network interface, as the kernel tells of it."""
    (sys / name / "device").mkdir(parents=True)
    for file, said in (("address", mac), ("carrier", str(int(cable))), ("speed", str(speed))):
        (sys / name / file).write_text(f"{said}\n")


class Wire(Client):
    """Asks by a verb's name, and gets what crosses the socket as it is: a long verb's answer is {"operation": id}."""

    def ask(self, verb: str, **args: Any) -> Any:
        return self.send(verb, args)


def do_instead(patch: pytest.MonkeyPatch, verb: AnyVerb, do: Callable[..., Any]) -> None:
    """Have dpe-host do this when it is asked for the verb."""
    patch.setitem(HANDLERS, verb.name, Handler(verb, do))


def used(verb: str, host: Any, **args: Any) -> Any:
    """Use a verb as dpe-host does, without its socket; what comes back is JSON."""
    handler = HANDLERS[verb]
    return handler.verb.pack(handler.do(handler.verb.read(args), host))


@contextmanager
def serving(settings: Settings) -> Iterator[Server]:
    """dpe-host, answering on its socket."""
    with Server(settings) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.operations.cancel()
            assert server.operations.wait(60), "an operation does not end"
            server.shutdown()
            thread.join()


@contextmanager
def hosted(settings: Settings, folder: Path, *, in_image: bool = True) -> Iterator[Hosted]:
    """Serve it; `folder` is for what it writes."""
    made = Hosted(settings, folder / "root")
    build = Image.model_validate(BUILD) if in_image else None
    card(folder / "sys", "enp1s0", "52:54:00:12:34:56")
    card(folder / "sys", "enp2s0", "52:54:00:12:34:57", cable=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image, "boot_image", lambda *_: build)
        patch.setattr(network, "SYS", folder / "sys")
        patch.setattr(network, "holder", lambda card, address: "52:54:00:aa:bb:cc" if address == "192.0.2.77" else "")
        patch.setattr("socket.sethostname", lambda name: None)
        for module in (apply, clock, power):
            patch.setattr(module, "run", made.run)
        real = apply.write_files
        patch.setattr(apply, "write_files", lambda host: real(host, made.written))
        parts = [
            Part(name, processes.PARTS[name][0], state, "2026-11-20T10:00:00+00:00", 1, memory, again, "exit-code" if again > 4 else "")
            for name, (state, memory, again) in PARTS.items()
        ]
        patch.setattr(processes, "parts", lambda _: parts)
        patch.setattr(processes, "restart", lambda _, name: made.asked.append(["restart", name]))
        with serving(settings) as server:
            made.server = server
            yield made
