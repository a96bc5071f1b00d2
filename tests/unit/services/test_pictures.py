"""Small pictures of screens: who is shown one, of what, and what is written down of it."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from appliance import catalog, framebuffer
from appliance.catalog import Actor, Class, Event, Lease, Machine, MachineState, machines
from appliance.errors import Conflict, NotFound, Unavailable
from appliance.services import consoles, pictures
from appliance.services import machines as verbs
from appliance.services.consoles import Admission
from appliance.settings import Settings

pytestmark = pytest.mark.console


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets of which a picture was taken, each another one; time stands still."""
    targets: list[str] = []

    def take(_machine: Machine, target: str, _settings: Settings) -> bytes:
        targets.append(target)
        return f"picture {len(targets)}".encode()

    monkeypatch.setattr(pictures, "_picture", take)
    monkeypatch.setattr(pictures, "_taken", {})
    monkeypatch.setattr(consoles, "_noted", {})
    return targets


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(at=1000.0)
    monkeypatch.setattr(pictures.time, "monotonic", lambda: clock.at)
    return clock


@pytest.fixture
def hers(ready: Callable[[int], list[Machine]], alice: Actor) -> str:
    """A machine that Alice holds; there is another that waits."""
    ready(2)
    id = verbs.request(alice, "small").machine_id
    assert id
    with catalog.write():
        machines.change(id, [MachineState.ASSIGNED], MachineState.IN_USE)
    return id


def serves_a_screen() -> None:
    spec = Class.get().spec
    Class.update(spec={**spec, "screen": {"port": 5901}}).execute()


def watched() -> int:
    return Event.select().where(Event.kind == "machine.watched").count()


def test_a_desktop_is_shown_to_its_owner_and_nobody_is_told(alice: Actor, hers: str, settings: Settings, asked: list[str]) -> None:
    assert pictures.take(alice, hers, settings) == b"picture 1"
    serves_a_screen()
    assert pictures.take(alice, hers, settings) == b"picture 2"
    assert asked == ["screen", "vnc/5901"]
    assert watched() == 0


def test_whoever_looks_at_somebody_elses_is_written_down_once(
    admin: Actor, bob: Actor, hers: str, settings: Settings, asked: list[str]
) -> None:
    for _ in range(2):
        pictures.take(admin, hers, settings)
    assert watched() == 1
    with pytest.raises(NotFound):
        pictures.take(bob, hers, settings)
    assert len(asked) == 1


def test_one_that_waits_may_be_paused_and_shows_what_the_hypervisor_draws(
    admin: Actor, hers: str, settings: Settings, asked: list[str]
) -> None:
    serves_a_screen()
    waiting = Machine.get(Machine.state == MachineState.READY)
    pictures.take(admin, waiting.id, settings)
    assert asked == ["screen"]


def test_it_is_taken_seldom_and_never_of_the_one_who_had_it_before(
    alice: Actor, bob: Actor, hers: str, settings: Settings, asked: list[str], clock: SimpleNamespace
) -> None:
    assert [pictures.take(alice, hers, settings) for _ in range(2)] == [b"picture 1"] * 2
    clock.at += pictures.LASTS + 1
    assert pictures.take(alice, hers, settings) == b"picture 2"
    with catalog.write():
        Machine.update(owner=bob.account_id).where(Machine.id == hers).execute()
        Lease.update(account=bob.account_id).where(Lease.machine == hers).execute()
    assert pictures.take(bob, hers, settings) == b"picture 3"
    assert len(pictures._taken) == 2


def test_a_class_may_have_none(alice: Actor, hers: str, settings: Settings, asked: list[str]) -> None:
    Class.update(overrides={"pictures": False}).execute()
    with pytest.raises(NotFound, match="No pictures"):
        pictures.take(alice, hers, settings)
    assert asked == []


@pytest.mark.badinput
def test_what_shows_nothing_says_so(alice: Actor, hers: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_taken", {})
    with pytest.raises(Unavailable, match="shows no picture"):  # there is no socket
        pictures.take(alice, hers, settings)
    monkeypatch.setattr(pictures, "_connected", lambda *_: (_ for _ in ()).throw(framebuffer.NoPicture("it asks for a password")))
    with pytest.raises(Unavailable, match="it asks for a password"):
        pictures.take(alice, hers, settings)
    with catalog.write():
        machines.change(hers, [MachineState.IN_USE], MachineState.SUSPENDED)
    with pytest.raises(Conflict):
        pictures.take(alice, hers, settings)


def test_a_desktop_that_its_owner_has_open_is_opened_and_in_use(
    alice: Actor, admin: Actor, hers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    serves_a_screen()
    Class.update(idle_minutes=30).execute()
    monkeypatch.setattr(consoles, "_used", {})

    def used(who: Actor, target: str) -> bool:
        consoles.note_used([Admission("s", hers, who.account_id or 0, alice.account_id, target, control=True, address="")])
        lease = Lease.get(Lease.machine == hers)
        return lease.opened_at is not None and lease.busy_at is not None

    assert not used(alice, "screen")
    assert not used(admin, "vnc/5901")
    assert used(alice, "vnc/5901")
