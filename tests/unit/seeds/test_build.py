"""What a build derives from its job."""

import ipaddress
from pathlib import Path

import pytest

from appliance.errors import Unavailable
from appliance.scenario.schema import Application, ClassSpec
from appliance.seeds import build
from appliance.settings import Settings

SPEC = ClassSpec(title="One", os="debian-13", application=Application(port=80))


def job(id: int) -> build.SeedJob:
    return build.SeedJob(id, "one", 1, SPEC, Path("/scenario"))


def test_the_test_boot_takes_no_address_of_a_machine(settings: Settings) -> None:
    machines = {settings.address(slot) for slot in range(settings.slots)} | {settings.gateway}
    cards = [build.boot_spec(job(id), settings).card for id in range(1, 30)]
    assert not {card.address for card in cards} & machines
    assert len({card.address for card in cards}) == 14
    assert all(ipaddress.ip_address(card.address) in ipaddress.ip_network(settings.subnet) for card in cards)
    assert max(len(card.tap) for card in cards) <= 15
    assert len({card.mac for card in cards}) == len(cards)


def test_a_repeated_build_finds_the_machine_of_the_earlier_try(settings: Settings) -> None:
    assert build.boot_spec(job(7), settings) == build.boot_spec(job(7), settings)
    assert build.boot_spec(job(7), settings).id == build.test_machine_id(7) != build.test_machine_id(8)


@pytest.mark.badinput
def test_files_that_are_gone_are_said_to_be(settings: Settings) -> None:
    with pytest.raises(Unavailable, match="seed 3 of one are missing or damaged"):
        build.load_files("one", 3, settings)
