"""The host's page: what it is, and what machines take. Its charts are in test_charts.py."""

from html import unescape

import pytest

from appliance import catalog
from appliance.catalog import Class, Engine, Machine, MachineState, Reading, memory
from appliance.settings import Settings
from tests import world
from tests.unit.webui.conftest import Browser


def test_host_page(grace: Browser, opened: Settings) -> None:
    world.history(opened)
    page = unescape(grace.get("/admin/server/metrics/").text)
    for words in (
        "virtualisation works: a guest ran in it.",
        "QEMU 10.0.2",
        "Machines, shared",
        "Ready, paused (forked)",
        "34 MiB",
        "63 GiB",
        "There is no swap.",
    ):
        assert words in page, words
    assert 'href="/admin/server/metrics/"' in grace.get("/admin/").text
    assert 'href="/admin/server/metrics/"' in grace.get("/admin/server/").text


def test_host_page_before_there_is_anything_to_say(grace: Browser, opened: Settings) -> None:
    opened.readings.unlink()
    Engine.delete().execute()
    with catalog.write():
        Machine.update(state=MachineState.RETIRED).execute()
    page = grace.get("/admin/server/metrics/").text
    for words in (
        "Nothing is known of the host",
        "There is nothing to draw yet.",
        "There are no machines of it.",
        "The engine is not running.",
    ):
        assert words in page, words


@pytest.mark.badinput
@pytest.mark.parametrize("query", ["span=year", "as=csv", "span=%00&as=%27", "span=day&span=hour"])
def test_strange_questions_about_the_host(grace: Browser, query: str) -> None:
    assert grace.get(f"/admin/server/metrics/?{query}").status_code == 200


def test_the_host_is_the_admin_s_business(ada: Browser) -> None:
    assert ada.get("/admin/server/metrics/").status_code == 403


def test_what_was_not_measured_is_not_made_up(grace: Browser) -> None:
    Reading.update(memory_private=0, memory_shared=0).execute()
    page = grace.get("/admin/server/metrics/").text
    assert "not measured yet" in page
    machine = Machine.get(Machine.state == MachineState.IN_USE)
    assert "Host memory" not in grace.get(f"/admin/machines/{machine.id}").text
    Reading.update(memory_private=388, memory_shared=21).execute()
    found = unescape(grace.get(f"/admin/machines/{machine.id}").text)
    assert f"388 MiB alone and 21 MiB of what is shared, of up to {(machine.memory + memory.allowed().overhead) / 1024:.1f} GiB" in found


def test_who_waits_for_memory_is_told_so(ada: Browser, opened: object) -> None:
    with catalog.write():
        memory.allow(memory.Allowed(limit=5000))
        Class.update(per_person=9).execute()
    page = unescape(ada.get("/").text)
    assert "The server's memory is all given out: yours comes as soon as somebody gives one back." in page
    assert "ready, yours at once" not in page
