"""What the kernel is told of rates, by what it has; that it holds is measured in the integration tier."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Unavailable
from appliance.hypervisor.libvirt import agent
from appliance.hypervisor.libvirt.network import Network
from appliance.hypervisor.libvirt.rates import _Disciplines
from appliance.hypervisor.provider import Fill
from appliance.scenario.rates import UNLIMITED, Rates
from appliance.settings import load
from tests.unit.hypervisor.fake import FakeDomain

pytestmark = pytest.mark.resources
TAP, IFB = "dpe-m7", "dpe-i7"


class Kernel(Network):
    """Does what it is told, as far as tc and ip are concerned; ends with `Cut` when no more is to be done."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__(load({}))
        self.links = {TAP}
        self.buckets: dict[str, int] = {}
        self.led: dict[str, str] = {}
        self.entered: set[str] = set()
        self.left = most

    def inside(self, *command: str, input: str | None = None) -> str:
        if command[:4] == ("tc", "-json", "qdisc", "show"):
            tbf = [{"kind": "tbf", "dev": dev, "root": True, "options": {"rate": rate * 125_000}} for dev, rate in self.buckets.items()]
            fresh = [{"kind": "pfifo_fast", "dev": dev, "root": True} for dev in self.links - {TAP} - self.buckets.keys()]
            return json.dumps([*fresh, *tbf, *({"kind": "ingress", "dev": dev} for dev in self.entered)])
        if command[:4] == ("ip", "-json", "link", "show"):
            return json.dumps([{"ifname": link} for link in self.links - {TAP}])
        for line in (input or " ".join(command[1:])).splitlines():
            if not self.left:
                raise Cut
            self.left -= 1
            self._do(line.split())
        return ""

    def _do(self, words: list[str]) -> None:
        match words:
            case ["link", "add", name, "up", "type", "ifb"]:
                assert name not in self.links
                self.links.add(name)
            case ["link", "del", name]:
                self.links.remove(name)
                self.buckets.pop(name, None)
                assert name not in self.led.values()  # what is led to it would be lost
            case ["qdisc", "add", "dev", device, "handle", "ffff:", "ingress"]:
                assert device not in self.entered
                self.entered.add(device)
            case ["filter", "add", "dev", device, *_, "dev", target]:
                assert device in self.entered
                assert target in self.links
                self.led[device] = target
            case ["qdisc", "del", "dev", device, "ingress"]:
                self.entered.remove(device)
                self.led.pop(device, None)
            case ["qdisc", "replace", "dev", device, "root", "tbf", "rate", rate, "burst", burst, *_]:
                assert device in self.links
                assert int(burst) >= 65536
                self.buckets[device] = int(rate.removesuffix("mbit"))
            case ["qdisc", "del", "dev", device, "root"]:
                del self.buckets[device]
            case _:
                raise AssertionError(words)


class Cut(BaseException):
    """Killed."""


rates = st.builds(Rates, st.integers(0, 3) | st.integers(0, 100_000), st.integers(0, 3) | st.integers(0, 100_000))


@given(st.lists(st.tuples(rates, st.integers(0, 8)), max_size=6), rates)
def test_whoever_is_killed_whenever_the_next_one_has_it_be_so(before: list[tuple[Rates, int]], last: Rates) -> None:
    kernel = Kernel()
    for wanted, cut in before:
        kernel.left = cut
        with contextlib.suppress(Cut):
            _Disciplines(kernel).put(TAP, wanted)
    kernel.left = 1000
    _Disciplines(kernel).put(TAP, last)
    assert _Disciplines(kernel).of(TAP) == (last.network_in, last.network_out)
    assert (TAP in kernel.led) == bool(last.network_out)
    assert kernel.buckets.get(TAP, 0) == last.network_in
    left = 1000 - kernel.left
    _Disciplines(kernel).put(TAP, last)
    assert kernel.left == 1000 - left  # nothing is left to be done
    _Disciplines(kernel).put(TAP, UNLIMITED)
    assert (kernel.links, kernel.buckets, kernel.led) == ({TAP}, {}, {})


def test_a_machine_that_comes_back_with_another_tap_is_limited_anew() -> None:
    kernel = Kernel()
    _Disciplines(kernel).put(TAP, Rates(8, 9))
    kernel.buckets.pop(TAP)  # the tap went with QEMU, and all that was on it; the ifb stays
    kernel.entered, kernel.led = set(), {}
    assert _Disciplines(kernel).of(TAP) == (0, 0)
    _Disciplines(kernel).put(TAP, Rates(8, 9))
    assert _Disciplines(kernel).of(TAP) == (8, 9)
    assert kernel.led == {TAP: IFB}


def test_names_of_taps_and_of_what_leads_from_them_fit_and_differ() -> None:
    network = Network(load({}, network="a2345678"))
    taps = ["a2345678-m65535", "a2345678-t65535", "a2345678-m5", "a2345678-t5"]
    found = [network.ifb(tap) for tap in taps]
    assert len({*taps, *found}) == 8
    assert all(len(name) <= 15 for name in found)


GIB = 1 << 30


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (
            [{"mountpoint": "/", "used-bytes": 1, "total-bytes": 2}, {"mountpoint": "/data", "used-bytes": 5, "total-bytes": GIB}],
            Fill(5, GIB),
        ),
        ([{"mountpoint": "/data", "used-bytes": 5, "total-bytes": GIB + 1}], None),  # larger than its disk
        ([{"mountpoint": "/data", "used-bytes": 6, "total-bytes": 5}], None),
        ([{"mountpoint": "/data", "used-bytes": -1, "total-bytes": 5}], None),
        ([{"mountpoint": "/data", "used-bytes": 0, "total-bytes": 0}], None),
        ([{"mountpoint": "/data", "used-bytes": 1e300, "total-bytes": 1e300}], None),
        ([{"mountpoint": "/data", "used-bytes": True, "total-bytes": True}], None),
        ([{"mountpoint": "/data", "used-bytes": "5", "total-bytes": "9"}], None),
        ([{"mountpoint": "/data", "used-bytes": 1, "total-bytes": 2}] * 2, None),
        ([{"mountpoint": "/data"}], None),
        ([], None),
        ("/data", None),
        (None, None),
        (5, None),
    ],
)
def test_what_a_machine_says_of_its_data_disk_is_believed_only_if_it_can_be(
    monkeypatch: pytest.MonkeyPatch, said: object, found: Fill | None
) -> None:
    monkeypatch.setattr("libvirt_qemu.qemuAgentCommand", lambda *_: json.dumps({"return": said}))
    domain: Any = FakeDomain("notebook-1")
    if found is None:
        with pytest.raises(Unavailable):
            agent.fill(domain, "/data", GIB, within=5)
    else:
        assert agent.fill(domain, "/data", GIB, within=5) == found
