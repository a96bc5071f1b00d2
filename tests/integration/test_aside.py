"""Live machines in use, and the catalog is put back to an older copy, then taken away: all of them survive, and are their owners' again."""

import shutil
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import Actor, Aside, AsideKind, Class, Machine, MachineState, machines
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.hypervisor.provider import Power
from appliance.services import aside, moves
from appliance.services import machines as verbs
from appliance.settings import Settings
from tests.integration.test_kills import engine, people, populate, until

__all__ = ["engine", "people"]

pytestmark = [pytest.mark.lost, pytest.mark.timeout(900)]

S = MachineState


def in_use(person: Actor) -> Machine:
    """A machine of somebody's own."""
    verbs.request(person, "small")
    until(lambda: [one.state for one in verbs.my_machines(person.account_id)] == [S.IN_USE], 240, f"{person.name} has a machine")
    return verbs.my_machines(person.account_id)[0]


def told(provider: LibvirtProvider, id: str, *, write: bool = False) -> str:
    """Something that was written in the machine, on its disk and in its memory; so it is known again."""
    words = "mkdir -p /run/here && cp /proc/sys/kernel/random/uuid /root/mark && cp /root/mark /run/here/mark && sync; " if write else ""
    done = provider.execute(id, ["/bin/sh", "-c", f"{words}cat /root/mark /run/here/mark /proc/sys/kernel/random/boot_id"])
    assert done.status == 0
    return str(done.output)


def powers(provider: LibvirtProvider) -> dict[str, Power]:
    return {found.id: found.power for found in provider.list()}


def take_away(settings: Settings, instead: Path | None = None) -> None:
    catalog.close()
    for ending in ("", "-wal", "-shm"):
        settings.catalog.with_name(settings.catalog.name + ending).unlink(missing_ok=True)
    if instead is not None:
        shutil.copyfile(instead, settings.catalog)


def listed() -> list[Aside]:
    """The machines that are set aside; tests before this one may have left other things that its catalog does not know."""
    return [one for one in aside.everything() if one.kind is AsideKind.MACHINE]


def test_no_machine_is_lost_with_the_catalog(appliance_settings, libvirtd, provider, people, engine, small_seed, tmp_path):
    settings, (ada, bob, *_) = appliance_settings, people
    with catalog.write():
        Class.update(buffer=0, fork=False).execute()
    engine.start()
    first = in_use(ada)
    catalog.copy(settings.catalog, tmp_path / "older.db")
    second = in_use(bob)
    both = {first.id, second.id}
    written = {id: told(provider, id, write=True) for id in both}

    # An older copy: what is younger than it is not swept, and is its owner's again.
    engine.end()
    take_away(settings, tmp_path / "older.db")
    catalog.open(settings.catalog)
    engine.start()
    until(lambda: bool(aside.undecided()), 60, "an admin is asked")
    assert aside.undecided()["why"] == "older"
    until(lambda: len(listed()) == 1, 30, "the younger one is listed")
    [one] = listed()
    assert (one.id, one.name, one.account_id, one.slot, one.doubt) == (second.id, second.name, bob.account_id, second.slot, "")
    assert one.bytes > 0
    assert powers(provider) == dict.fromkeys(both, Power.RUNNING)
    aside.decide(ada, "adopt")
    until(lambda: not aside.undecided(), 60, "it goes on")
    adopted = machines.by_id(second.id)
    assert (adopted.owner_id, adopted.state, adopted.slot) == (bob.account_id, S.IN_USE, second.slot)
    assert {id: told(provider, id) for id in both} == written

    # None at all: nothing is swept before or after somebody sets the appliance up anew.
    engine.end()
    take_away(settings)
    ada, bob, *_ = populate(settings, small_seed)
    with catalog.write():
        Class.update(buffer=0, fork=False).execute()
    engine.start()
    until(lambda: len(listed()) == 2, 60, "both are listed")
    assert aside.undecided()["why"] == "other"
    assert powers(provider) == dict.fromkeys(both, Power.RUNNING)
    aside.decide(ada, "aside")
    until(lambda: set(powers(provider).values()) == {Power.SAVED}, 120, "both stand still")
    assert set(provider.disks()) == both == {one.id for one in listed()}
    assert {one.account_name for one in listed()} == {ada.name, bob.name}

    aside.adopt(ada, Aside.get(Aside.id == second.id).number, bob.name)
    until(lambda: machines.by_id(second.id) is not None, 60, "it is adopted")
    moves.resume(bob, second.id)
    until(lambda: machines.by_id(second.id).state is S.IN_USE, 120, "it goes on where it was")
    assert told(provider, second.id) == written[second.id]

    aside.remove(ada, Aside.get(Aside.id == first.id).number)
    until(lambda: set(powers(provider)) == {second.id}, 60, "the other is removed, and it alone")
    until(lambda: not listed(), 30, "none is set aside")
    assert provider.disks() == [second.id]
