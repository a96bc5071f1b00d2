"""A machine's life on its class's page."""

from html import unescape

import pytest

from appliance import catalog
from appliance.catalog import Class, Sequence, VersionState, sequences
from tests.unit.webui.conftest import Browser

FORM = {
    "sequence": "farm", "idle_then": "suspend", "data_disk": "20", "burst": "2", "batch_window": "30", "idle_minutes": "90",
    "idle_grace": "15", "connect_minutes": "0", "data_most": "0", "data_above": "85", "data_step": "1", "data_cooldown": "30", "network_in": "0",
    "network_out": "0", "disk_rate": "0", "disk_iops": "0",
}  # fmt: skip


@pytest.fixture
def farm(grace: Browser) -> None:
    with catalog.write():
        Sequence.create(name="farm", title="Test farm", about="Many machines for an hour or two.")
        sequences.add("farm", "{}", VersionState.PROMOTED)


def test_it_is_shown_and_saved(grace: Browser, farm: None) -> None:
    assert '<option value="farm">Test farm<' in grace.get("/admin/classes/notebook/life").text
    assert grace.post("/admin/classes/notebook/life", FORM).headers["Location"] == "/admin/classes/notebook/life"
    machine_class = Class.get(Class.name == "notebook")
    assert (machine_class.sequence, machine_class.idle_then, machine_class.data_disk, machine_class.burst, machine_class.idle_minutes) == (
        "farm",
        "suspend",
        20,
        2,
        90,
    )
    page = grace.get("/admin/classes/notebook/life").text
    assert '<option value="farm" selected>Test farm<' in page
    assert "Many machines for an hour or two." in page
    assert 'name="idle_then" value="suspend" required aria-describedby="h-suspend" checked' in page


def test_a_sequence_that_is_gone_is_not_changed_in_silence(grace: Browser) -> None:
    Class.update(sequence="gone").execute()
    page = grace.get("/admin/classes/notebook/life").text
    assert '<option value="gone" selected>gone (not there any more)<' in page
    grace.post("/admin/classes/notebook/life", {**FORM, "sequence": "gone"})
    assert Class.get(Class.name == "notebook").sequence == "gone"


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"burst": "many"}, "Burst: 'many' is not a number."),
        ({"idle_minutes": ""}, "Idle after: a number is missing."),
        ({"burst": "3"}, "Burst (3) is above machines per person (2)."),
        ({"sequence": "nosuch"}, "There is no sequence nosuch to follow."),
        ({"idle_then": ""}, "What becomes of an idle machine cannot be ''."),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_that_was_entered_is_lost(
    grace: Browser, farm: None, wrong: dict[str, str], words: str
) -> None:
    answer = grace.post("/admin/classes/notebook/life", {**FORM, **wrong})
    assert answer.status_code == 400
    page = unescape(answer.text)
    assert words in page
    assert 'name="batch_window" type="number" value="30"' in page
    assert Class.get(Class.name == "notebook").idle_minutes == 0
