"""The real HAProxy before small web servers on loopback: replicas come and go, one is killed, HAProxy itself is, and nobody notices."""

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance import catalog, layout
from appliance.balance import haproxy
from appliance.catalog import Class, Machine, MachineState, Replica, machines, now, replicas
from appliance.catalog import seeds as seed_rows
from appliance.engine.balancer import Balancer
from appliance.errors import Unavailable
from appliance.settings import Settings
from appliance.settings import load as load_settings
from tests import quick, waiting
from tests.balanced import Haproxy, Load, connects
from tests.unit.conftest import small_class

pytestmark = pytest.mark.elastic

PORT = 8080  # of small machines
CLIENTS = 6


class Page(BaseHTTPRequestHandler):
    """Says where it is and what it was told, in a moment; /slow when it may."""

    may = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.may.wait(30)
        time.sleep(0.01)
        said = f"{self.server.server_address[0]!s} {self.headers.get('Cookie')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # checks do not wait for the end of an answer
            super().handle()

    def log_message(self, *_: object) -> None:
        pass


class Site(Haproxy):
    """A service: its HAProxy, its balancer, and a web server for each of its machines."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.servers = dict[str, ThreadingHTTPServer]()
        self.balancer = Balancer(settings)

    def add(self, count: int) -> list[Machine]:
        """Machines that are ready, each with its web server."""
        with catalog.write():
            seed = seed_rows.promoted("small")
            assert seed is not None
            made = [machines.create(Class.get(), seed, f"id-{slot}", slot) for slot in machines.next_slots(count, 50)]
            for machine in made:
                machines.change(machine.id, [MachineState.PLANNED], MachineState.READY)
        for machine in made:
            server = ThreadingHTTPServer((self.settings.address(machine.slot), PORT), Page)
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            self.servers[machine.id] = server
        return made

    def end(self, machine: Machine) -> None:
        """Its machine is gone, and whoever asks it is refused."""
        server = self.servers.pop(machine.id)
        server.shutdown()
        server.server_close()

    def keep(self, until: Callable[[], bool]) -> None:
        """Look again and again, as the engine does, until it is so. A machine that is taken away is gone at once."""
        for _ in range(200):
            with contextlib.suppress(Unavailable):
                self.balancer.keep()
            for machine in Machine.select().where(Machine.state == MachineState.RECLAIMING, Machine.id.in_(list(self.servers))):
                self.end(machine)
            if until():
                return
            time.sleep(0.03)
        raise AssertionError("it did not come to that")

    def serve(self, count: int) -> None:
        self.keep(lambda: len(self.balancer.up) == count)

    def leave(self, *leaving: Machine) -> None:
        """Have these go, and wait until they have."""
        ids = {machine.id for machine in leaving}

        def gone() -> bool:
            rest = list(Machine.select().where(Machine.id.in_(ids), Machine.state == MachineState.READY))
            self.balancer.wish(Class.get(), rest, "fewer are wanted", at_once=False)
            return not rest

        self.keep(gone)


@pytest.fixture
def site() -> Iterator[Site]:
    state = Path(tempfile.mkdtemp(prefix="dpe-haproxy-"))  # pytest's own folder is for root alone
    settings = load_settings({}, state=state, network="balance", slots=50, subnet="127.77.0.0/16")
    layout.prepare(settings)
    quick.open_catalog(settings.catalog)
    machine_class = small_class()
    with catalog.write():
        service = {"name": "www.example.org", "path": "/", "sticky": False, "drain": 60, "connections": 100}
        Class.update(spec={**machine_class.spec, "service": service}, minimum=1, maximum=4).execute()
    made = Site(settings)
    yield made
    made.kill()
    for id in list(made.servers):
        made.end(Machine.get(Machine.id == id))
    catalog.close()
    shutil.rmtree(state)


def test_nothing_is_lost_while_replicas_come_go_and_are_replaced_and_little_when_one_dies(site: Site) -> None:
    [first] = site.add(1)
    site.serve(1)
    with Load(site, CLIENTS) as load:
        second, third = site.add(2)
        site.serve(3)
        site.leave(first, second)
        site.serve(1)
        [fourth] = site.add(1)  # of another seed: in, and the old one out
        site.serve(2)
        site.leave(third)
        with catalog.write():
            Class.update(maximum=6).execute()  # more servers than HAProxy has: it reads its configuration anew
        site.keep(lambda: len(site.balancer.state.proxies["small"].servers) == 6 if site.balancer.state else False)
        [fifth] = site.add(1)
        site.serve(2)
        waiting.until(lambda: load.done > 100)
        assert load.lost == []
        site.end(fourth)  # killed
        site.serve(1)
        assert len(load.lost) <= 5, load.lost
        assert not replicas.of_machine(fourth.id).up  # type: ignore[union-attr]
    assert replicas.of_machine(fifth.id).up  # type: ignore[union-attr]


def test_a_browser_comes_to_the_same_replica_until_that_is_gone(site: Site) -> None:
    with catalog.write():
        Class.update(spec={**Class.get().spec, "service": {**Class.get().spec["service"], "sticky": True}}).execute()
    first, second = site.add(2)
    site.serve(2)
    status, said, cookie = site.answer()
    mine, _, rest = cookie.partition(";")
    assert (status, mine.split("=")[0]) == (200, "dpe-replica-small"), "other services can be under the same name"
    assert {part.strip() for part in rest.split(";")} >= {"HttpOnly", "Secure"}
    here = said.split()[0]
    assert {site.ask(Cookie=mine)[1].split()[0] for _ in range(10)} == {here}
    [going] = [one for one in (first, second) if site.settings.address(one.slot) == here]
    [number] = [one.number for one in replicas.all() if one.machine_id == going.id]

    def is_draining() -> bool:
        site.balancer.wish(Class.get(), [going], "fewer are wanted", at_once=False)
        return site.balancer.state is not None and site.balancer.state.proxies["small"].servers[number].is_draining

    site.keep(is_draining)
    for _ in range(5):
        site.balancer.keep()
        assert site.ask(Cookie=mine)[1].split()[0] == here, "what it knows of this browser is nowhere else"
        assert site.ask()[1].split()[0] != here, "others are sent elsewhere"
    with catalog.write():
        Replica.update(deadline=now()).where(Replica.machine == going.id).execute()
    site.leave(going)
    status, said, cookie = site.answer(Cookie=mine)
    assert (status, said.split()[0] != here) == (200, True)
    assert cookie, "its next one is another"


def test_a_replica_ends_what_it_began_and_one_started_anew_has_its_members(site: Site) -> None:
    first, second = site.add(2)
    site.serve(2)
    slow: list[tuple[int, str]] = []
    threads = [threading.Thread(target=lambda: slow.append(site.ask("/slow"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    site.keep(
        lambda: sum(one.sessions for one in site.balancer.state.proxies["small"].servers.values()) == 2 if site.balancer.state else False
    )
    site.balancer.wish(Class.get(), [first], "fewer are wanted", at_once=False)
    number = replicas.all()[0].number
    site.keep(lambda: site.balancer.state is not None and site.balancer.state.proxies["small"].servers[number].is_draining)
    for _ in range(3):
        site.balancer.keep()
    assert Machine.get(Machine.id == first.id).state is MachineState.READY
    Page.may.set()
    site.leave(first)
    for thread in threads:
        thread.join()
    assert [status for status, _ in slow] == [200, 200]
    here = site.settings.address(second.slot)
    status, said = site.ask(Cookie="a=1; __Host-dpe=secret; __Secure-x=y; b=2")
    assert (status, said) == (200, f"{here} a=1; b=2")
    site.kill()
    site.start()
    waiting.until(lambda: connects(haproxy.door(site.settings, "small")))
    assert site.ask()[0] == 200  # without anybody telling it
    with catalog.write():
        Class.update(spec={**Class.get().spec, "service": None}).execute()
    site.keep(lambda: site.balancer.state is not None and not site.balancer.state.proxies)
    assert not connects(haproxy.door(site.settings, "small"))
