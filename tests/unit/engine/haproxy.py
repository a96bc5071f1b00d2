"""HAProxy without HAProxy: what its runtime API says and does, in memory. The real one is tested in tests/integration/test_balance.py."""

from dataclasses import replace

from appliance.balance import haproxy
from appliance.balance.runtime import Proxy, Runtime, Server, State
from appliance.balance.wanted import members, services
from appliance.catalog import replicas
from appliance.errors import Unavailable
from appliance.settings import Settings


class FakeRuntime(Runtime):
    """Servers are entries of `servers`, by service and number; what is done with them is noted in `calls`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings = settings
        self.shape, self.process = haproxy.shape([]), "1"
        self.servers: dict[str, dict[int, Server]] = {}
        self.calls: list[str] = []
        self.away = self.reloading = False

    def start(self) -> None:
        """Come up, or read the configuration anew: with whom the catalog has."""
        classes = replicas.classes()
        self.shape, self.process = haproxy.shape(services(classes)), f"{self.process}1"
        there = members(classes, self.settings)
        self.servers = {}
        for one in services(classes):
            known = there[one.name].addresses
            self.servers[one.name] = {
                number: Server(
                    number, *known.get(number, (haproxy.NOWHERE, 1)), number not in known, False, number in known, 0, 0, 0, 0, 0.0
                )
                for number in range(1, one.servers + 1)
            }

    def look(self) -> State:
        if self.away:
            raise Unavailable("HAProxy does not answer.", "")
        proxies = {
            name: Proxy(dict(found), 0, sum(one.requests for one in found.values()), 0, 0.02) for name, found in self.servers.items()
        }
        return State(self.shape, self.process, proxies)

    def change(self, service: str, number: int, **values: object) -> None:
        self.servers[service][number] = replace(self.servers[service][number], **values)  # type: ignore[arg-type]

    def serve(self, service: str, number: int, address: str, port: int) -> None:
        self.calls.append(f"serve {number}")
        self.change(service, number, address=address, port=port, is_off=False, is_draining=False, up=True)

    def go_on(self, service: str, number: int) -> None:
        self.calls.append(f"go on {number}")
        self.change(service, number, is_off=False, is_draining=False)

    def drain(self, service: str, number: int) -> None:
        self.calls.append(f"drain {number}")
        self.change(service, number, is_draining=True)

    def stop(self, service: str, number: int) -> None:
        self.calls.append(f"stop {number}")
        self.change(service, number, is_off=True)

    def take_out(self, service: str, number: int) -> None:
        self.calls.append(f"take out {number}")
        self.change(service, number, is_off=True, sessions=0)

    def is_reloading(self) -> bool:
        return self.reloading

    def reload(self) -> None:
        self.calls.append("reload")
        self.start()
