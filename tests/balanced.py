"""HAProxy as the appliance starts it, for tests, and clients that ask a service without a pause."""

import contextlib
import http.client
import os
import socket
import threading
from pathlib import Path
from typing import Self

from appliance import run
from appliance.balance import haproxy
from appliance.settings import REPOSITORY, Settings, environment
from tests.waiting import until


class Haproxy:
    """The real one, over the catalog that is open; `log` is what it said."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.log = settings, settings.state / "haproxy.log"
        self.start()

    def start(self) -> None:
        with self.log.open("a") as log:
            env = {**environment(self.settings), "PYTHONPATH": str(REPOSITORY)}
            self.process = run.start(run.confined(haproxy.supervised(self.settings)), env=env, stdout=log.fileno(), stderr=log.fileno())
        until(lambda: connects(haproxy.alive_path(self.settings)))

    def kill(self) -> None:
        """With all that it started, as when the supervisor is."""
        self.process.kill()
        self.process.wait()
        until(lambda: not connects(haproxy.alive_path(self.settings)))

    def ask(self, path: str = "/", **headers: str) -> tuple[int, str]:
        """Status and text of what the class small answers."""
        return self.answer(path, **headers)[:2]

    def answer(self, path: str = "/", **headers: str) -> tuple[int, str, str]:
        """The same, and the cookie that came with it."""
        client = http.client.HTTPConnection("www.example.org", timeout=30)
        with contextlib.closing(client):
            client.sock = socket.socket(socket.AF_UNIX)
            client.sock.settimeout(30)
            client.sock.connect(os.fspath(haproxy.door(self.settings, "small")))
            client.request("GET", path, headers=headers)
            answer = client.getresponse()
            return answer.status, answer.read().decode(), answer.getheader("Set-Cookie", "")


class Clients:
    """Threads of clients that ask until it is over; what was lost is in `lost`."""

    def __init__(self, clients: int) -> None:
        self.done, self.lost, self.stopping = 0, list[object](), threading.Event()
        self.threads = [threading.Thread(target=self.come) for _ in range(clients)]

    def come(self) -> None:
        """What one of them does, until `stopping`."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()


class Load(Clients):
    """Clients that ask again as soon as they were answered, or after a pause."""

    def __init__(self, site: Haproxy, clients: int, pause: float = 0.0) -> None:
        super().__init__(clients)
        self.site, self.pause = site, pause

    def come(self) -> None:
        while not self.stopping.wait(self.pause):
            try:
                status, said = self.site.ask()
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(error)
            else:
                self.done += 1
                if status != 200:
                    self.lost.append((status, said))


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(os.fspath(path)) == 0
