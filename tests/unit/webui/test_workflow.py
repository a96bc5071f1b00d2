"""The page of a machine's life: how many machines are where, for whom."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import Actor, Class, Grant, Machine, MachineState
from tests import world
from tests.unit.webui.conftest import Browser

pytestmark = pytest.mark.workflow


def drawn(page: str) -> dict[str, tuple[str, str]]:
    """For each state in the drawing: its address, and what a screen reader says."""
    found = re.findall(r'<a class="life-state[^"]*" data-state="(\w+)" href="([^"]+)" aria-label="([^"]+)">', page)
    return {state: (unescape(address), said) for state, address, said in found}


def test_each_state_has_its_machines_and_leads_to_them(grace: Browser) -> None:
    found = drawn(grace.get("/admin/workflow/").text)
    assert set(found) == set(MachineState)
    for state, (address, said) in found.items():
        count = Machine.select().where(Machine.state == state).count()
        if state != MachineState.RETIRED:
            assert re.search(rf": {count} machines?$", said)
        listed = grace.get(address).text
        assert listed.count('<td><a class="name"') == count
        assert f'value="{state}" selected' in listed
    assert found["ready"][1] == "Ready: 3 machines"


def test_of_one_class(grace: Browser) -> None:
    found = drawn(grace.get("/admin/workflow/?class=studio").text)
    assert found["creating"] == ("/admin/machines/?state=creating&class=studio", "Creating: 1 machine")
    assert found["ready"][1] == "Ready: 0 machines"
    assert drawn(grace.get("/admin/workflow/?class=nothing").text)["ready"][1] == "Ready: 3 machines"


def test_nobody_sees_how_many_machines_there_are_of_classes_beyond_their_reach(
    signed_in: Callable[[str], Browser], people: dict[str, Actor]
) -> None:
    assert signed_in("alan").get("/admin/workflow/").status_code == 403
    with catalog.write():
        Grant.create(role="approver", account=people["alan"].account_id, over_class="studio")
    alan = signed_in("alan")
    found = drawn(alan.get("/admin/workflow/").text)
    assert (found["creating"][1], found["in_use"][1], found["ready"][1]) == (
        "Creating: 1 machine",
        "In use: 1 machine",
        "Ready: 0 machines",
    )
    beyond = alan.get("/admin/workflow/?class=notebook")
    assert drawn(beyond.text)["ready"][1] == "Ready: 0 machines"
    assert ">notebook<" not in beyond.text


def test_the_live_part_has_the_counts(grace: Browser) -> None:
    before = drawn(grace.live("/admin/workflow/").text)["ready"][1]
    world.machine(Class.get_by_id("notebook"), MachineState.READY)
    assert (before, drawn(grace.live("/admin/workflow/").text)["ready"][1]) == ("Ready: 3 machines", "Ready: 4 machines")


def test_before_there_are_classes(app: Flask) -> None:
    with catalog.write():
        world.set_up()
        world.account("grace", "Grace Hopper", is_admin=True)
    grace = Browser(app.test_client())
    grace.sign_in("grace")
    page = grace.get("/admin/workflow/").text
    assert {said.split(": ")[1] for state, (_, said) in drawn(page).items() if state != MachineState.RETIRED} == {"0 machines"}
    assert "Every class" not in page


def test_each_move_says_what_it_does_and_who_may_ask(grace: Browser) -> None:
    page = unescape(re.sub(r"<[^>]+>", " ", grace.get("/admin/workflow/").text))
    for words in (
        "The machine gets a clean disk from the promoted seed; data disk, name and address stay.",
        "its owner, or who may stop, start, extend and take back everybody's machines",
        "every state but reclaiming, retired",
        "stays in use",
        "claim",
        "hand_over",
    ):
        assert words in page
