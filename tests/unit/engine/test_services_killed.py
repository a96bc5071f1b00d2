"""The engine killed at each point of a replacement: nothing is lost, and nothing is ever sent to a machine that is gone."""

import os

import pytest

from appliance import catalog
from appliance.catalog import Class, Machine, MachineState, machines, replicas
from appliance.engine import balancer as room
from appliance.engine.balancer import Balancer
from appliance.settings import Settings
from tests.unit.engine.haproxy import FakeRuntime

pytestmark = [pytest.mark.elastic, pytest.mark.crash]

S = MachineState
VERBS = ("serve", "drain", "stop", "take_out")
POINTS = 40  # more than there are
EVERY = 1 if "DPE_TEST_POINTS" in os.environ else 3


class KilledError(BaseException):
    """What kill -9 is to a thread."""


class Mortal:
    """Counts the points, before and after each thing that is done, at which it could be killed, and is at one of them."""

    def __init__(self, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.at, self.passed, self.runtime = at, 0, runtime
        for verb in VERBS:
            self._watch(monkeypatch, runtime, verb)
        self._watch(monkeypatch, room, "record")  # in the middle of a transaction
        self._watch(monkeypatch, room.replicas, "join")
        self._watch(monkeypatch, room.master, "move")

    def _watch(self, monkeypatch: pytest.MonkeyPatch, where: object, name: str) -> None:
        does = getattr(where, name)

        def watched(*arguments: object, **named: object) -> object:
            self.point()
            done = does(*arguments, **named)
            self.point()
            return done

        monkeypatch.setattr(where, name, watched)

    def point(self) -> None:
        self.passed += 1
        for server in self.runtime.servers["small"].values():
            if not server.is_off:
                there = {self.runtime.settings.address(one.machine.slot) for one in replicas.all() if one.machine.state is S.READY}
                assert server.address in there, "requests are sent to a machine that is gone"
        if self.passed == self.at:
            raise KilledError


def test_wherever_it_is_killed_it_goes_on(small: Class, ready, opened: Settings, monkeypatch) -> None:
    service = {"name": "www.example.org", "path": "/", "sticky": False, "drain": 60, "connections": 100}
    with catalog.write():
        Class.update(spec={**small.spec, "service": service}, maximum=4).execute()
    reached = 0
    for at in range(1, POINTS, EVERY):
        with catalog.write():
            replicas.Replica.delete().execute()
            Machine.update(state=S.RETIRED).execute()
        runtime = FakeRuntime(opened)
        runtime.start()
        first, _ = ready(2)
        Balancer(opened, runtime).keep()
        [third] = ready(1)
        with monkeypatch.context() as patch:
            mortal = Mortal(runtime, patch, at)
            balancer = Balancer(opened, runtime)
            for _ in range(14):
                try:
                    balancer.keep()
                    if machines.by_id(first.id).state is S.READY:
                        balancer.wish(Class.get(), [machines.by_id(first.id)], "fewer are wanted", at_once=False)
                    elif len(balancer.up) == 2:
                        break
                except KilledError:
                    balancer = Balancer(opened, runtime)  # another engine, which knows nothing but the catalog
        assert machines.by_id(first.id).state is S.RECLAIMING, at
        assert [one.state.value for one in replicas.all()] == ["serving", "serving"], at
        assert replicas.of_machine(third.id) is not None
        assert sum(not server.is_off for server in runtime.servers["small"].values()) == 2
        if mortal.passed < at:
            reached = mortal.passed
            break
    assert reached > 15
