"""The form in which a person chooses what their machine is, and the same by a program."""

import html
import re
from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import (
    Actor,
    Class,
    Favourite,
    Machine,
    MachineState,
    OutgoingMail,
    Recipe,
    Request,
    RequestState,
    Seed,
    SeedState,
    policies,
)
from appliance.catalog import seeds as seed_rows
from appliance.scenario.schema import ClassSpec
from appliance.services import tokens
from tests import world
from tests.unit.webui.conftest import HOST, Browser

pytestmark = pytest.mark.choice
CHOICE = {
    "os": ["debian-12", "debian-13"],
    "applications": ["jupyterlab", "postgresql"],
    "packages": True,
    "memory": 4096,
    "disk": 16,
    "lease": 2880,
}


@pytest.fixture
def people(people: dict[str, Actor]) -> dict[str, Actor]:
    """A class more, which leaves something open."""
    spec = {**world.NOTEBOOK, "title": "Data studio", "roles": [], "choice": CHOICE, "per_person": 2}
    with catalog.write():
        Class.create(name="data", **policies.columns(ClassSpec.model_validate(spec).model_dump(mode="json"), {}))
    return people


@pytest.fixture
def mary(signed_in: Callable[[str], Browser]) -> Browser:
    return signed_in("mary")


def test_what_is_chosen_is_asked_for_waited_for_and_built_for_everybody(ada: Browser, mary: Browser, grace: Browser) -> None:
    assert 'href="/choose/data"' in ada.get("/").text
    page = ada.get("/choose/data").text
    assert "Choose a data studio" in page
    assert "it was never made, and is built" in page
    assert "1 machine, 2 processors, 1 GiB memory" in " ".join(page.split())
    looked = ada.post(
        "/choose/data/look", {"os": "debian-12", "applications": ["postgresql", "jupyterlab"], "memory": "2048", "lease": "2880"}
    )
    there = looked.headers["Location"]
    assert there == "/choose/data?os=debian-12&applications=jupyterlab&applications=postgresql&memory=2048&lease=2880"
    shared = " ".join(mary.get(there).text.split())  # the link, opened by another one
    assert 'value="debian-12" checked' in shared
    assert shared.count('type="checkbox"') == 3, "two applications, and an option of one of them"
    assert len(re.findall(r'name="applications" value="\w+"[^>]* checked', shared)) == 2
    assert 'value="2880"' in shared
    asked = ada.post("/choose/data", {"os": "debian-12", "applications": ["postgresql"]})
    assert (asked.status_code, asked.headers["Location"]) == (303, "/")
    recipe = Recipe.get()
    for page in ("machine", "seeds", "policy"):  # as an admin sees it
        assert grace.get(f"/admin/classes/{recipe.class_name}/{page}").status_code == 200
    assert recipe.class_name in grace.get("/admin/").text
    with catalog.write():
        seed = Seed.create(machine_class=recipe.class_name, version=1, state=SeedState.BUILDING, task="Unpack", task_number=2, task_total=9)
    page = ada.get("/").text
    assert "Data studio: Debian 12, postgresql" in page
    assert "Task 2 of 9" in page
    assert "Data studio: Debian 12, postgresql" not in mary.get("/").text
    assert "it is being built just" in mary.get("/choose/data?os=debian-12&applications=postgresql").text
    with catalog.write():
        Seed.update(state=SeedState.READY, stored=True).where(Seed.id == seed.id).execute()
        seed_rows.promote(seed)
        Request.update(state=RequestState.REFUSED, reason="It could not be built: no.", ended_at=catalog.now()).execute()
    assert "It could not be built: no." in ada.get("/").text, "said where it was asked for"
    page = mary.get("/choose/data").text
    assert "Debian 12, PostgreSQL with Adminer" in " ".join(page.split()), "what is there already"


def test_what_cannot_be_had_is_said_at_its_field_and_loses_nothing(ada: Browser) -> None:
    ada.get("/choose/data")
    answer = ada.post("/choose/data", {"os": "debian-12", "applications": ["jupyterlab"], "memory": "9999"})
    assert answer.status_code == 400
    page = " ".join(answer.text.split())
    assert "It cannot have 9999 MiB. Choose 1024 to 4096 MiB." in page
    assert 'value="9999"' in page
    assert re.search(r'name="applications" value="jupyterlab"[^>]* checked', page)
    assert ada.get("/choose/data?memory=x").status_code == 400
    assert ada.get("/choose/notebook").status_code == 404, "it leaves nothing open"
    assert Recipe.select().count() == OutgoingMail.select().count() == 0


def test_options_of_what_is_chosen_are_decided_too(ada: Browser, mary: Browser) -> None:
    page = ada.get("/choose/data").text
    assert "Options of PostgreSQL with Adminer" in " ".join(page.split())
    assert re.search(r'name="options\.postgresql\.connections"[^>]*value="20"', page)
    form = {
        "os": "debian-12", "applications": ["postgresql"], "options.postgresql": "yes", "options.postgresql.database": "marks",
        "options.postgresql.connections": "20", "options.jupyterlab": "yes",
    }  # fmt: skip
    there = ada.post("/choose/data/look", form).headers["Location"]
    assert dict(parse_qsl(urlsplit(there).query))["options"] == '{"postgresql":{"database":"marks"}}', (
        "of what is chosen, what is decided otherwise"
    )
    shared = mary.get(there).text
    assert re.search(r'name="options\.postgresql\.database"[^>]*value="marks"', shared)
    kept = {"os": "debian-12", "applications": ["postgresql"], "options": '{"postgresql": {"database": "marks"}}', "name": "Marks"}
    assert ada.post("/choose/data/keep", kept).headers["Location"] == there
    assert ada.post("/choose/data", form).status_code == 303
    recipe = Recipe.get()
    assert recipe.chosen["options"] == {"postgresql": {"database": "marks"}}
    [one] = Class.get_by_id(recipe.class_name).spec["applications"]
    assert (one["name"], one["options"]) == ("postgresql", {"database": "marks"})


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("{", "This cannot be chosen: options."),
        ("[1]", "This cannot be chosen: options."),
        ('{"postgresql": 3}', "This cannot be chosen: options."),
        ('{"postgresql": {"connections": 4000}}', "PostgreSQL with Adminer cannot have that connections"),
        ('{"postgresql": {"colour": "red"}}', "PostgreSQL with Adminer cannot have that colour"),
        ('{"jupyterlab": {"terminal": false}}', "There is nothing to decide about jupyterlab."),
    ],
)
def test_options_that_cannot_be_are_refused(ada: Browser, options: str, says: str) -> None:
    answer = ada.post("/choose/data", {"os": "debian-12", "applications": ["postgresql"], "options": options})
    assert answer.status_code == 400
    assert says in html.unescape(answer.text)
    assert not Recipe.select().exists()
    assert says in html.unescape(ada.get(f"/choose/data?{urlencode({'applications': 'postgresql', 'options': options})}").text)


def test_a_favourite_is_kept_opened_and_deleted(ada: Browser, mary: Browser) -> None:
    ada.get("/choose/data")
    kept = ada.post("/choose/data/keep", {"os": "debian-12", "applications": ["jupyterlab"], "name": "Thesis"})
    assert kept.headers["Location"] == "/choose/data?os=debian-12&applications=jupyterlab"
    assert '<a href="/choose/data?os=debian-12&amp;applications=jupyterlab">Thesis</a>' in ada.get("/choose/data").text
    assert "Thesis" not in mary.get("/choose/data").text
    refused = ada.post("/choose/data/keep", {"os": "debian-12", "name": ""})
    assert (refused.status_code, "A favourite needs a name" in refused.text) == (400, True)
    assert ada.post(f"/choose/favourites/{Favourite.get().id}/delete").status_code == 303
    assert Favourite.select().count() == 0


def test_a_program_asks_for_a_choice(app: Flask, people: dict[str, Actor]) -> None:
    token = tokens.create(people["ada"], "script", ["read", "machines"], 7)
    client, with_token = app.test_client(), {"Authorization": f"Bearer {token}"}
    offered = client.get("/api/v1/classes", base_url=HOST, headers=with_token).json["classes"]
    assert next(one for one in offered if one["name"] == "data")["choice"]["applications"] == ["jupyterlab", "postgresql"]
    for wanted, status in (
        ({"class": "data", "choice": {"os": "debian-12", "packages": ["git"], "lease": 60}}, 202),
        ({"class": "data", "choice": {"os": "beos"}}, 400),
        ({"class": "data", "choice": {"color": "red"}}, 400),
        ({"class": "data", "choice": {}, "count": 2}, 400),
        ({"class": "data", "choice": {"applications": ["postgresql"], "options": {"postgresql": {"connections": 1}}}}, 400),
        ({"class": "data", "choice": {"applications": ["postgresql"], "options": {"postgresql": {"connections": 50}}}}, 202),
        ({"class": "notebook", "choice": {"os": "debian-12"}}, 404),
    ):
        answer = client.post("/api/v1/machines", base_url=HOST, json=wanted, headers=with_token)
        assert answer.status_code == status, answer.text
    first, second = Recipe.select().order_by(Recipe.created_at)
    assert Request.get(Request.machine_class == first.class_name).lease_minutes == 60
    assert second.chosen["options"] == {"postgresql": {"connections": 50}}


def test_who_chooses_of_a_class_that_is_all_given_out_is_told_and_its_admin_sees_of_how_many(
    ada: Browser, mary: Browser, grace: Browser
) -> None:
    ada.post("/choose/data", {"os": "debian-12", "applications": ["postgresql"]})
    name = Recipe.get().class_name
    with catalog.write():
        policies.change(Class.get_by_id("data"), {"maximum": 1, "buffer": 0})
        Machine.create(
            number=900, id="m", name="data-900", machine_class=name, seed=Seed.select().first().id, slot=900, door=900,
            state=MachineState.IN_USE, vcpus=1, memory=1, disk=1,
        )  # fmt: skip
    said = " ".join(mary.get("/choose/data?applications=jupyterlab").text.split())
    assert "when somebody gives one back: people hold all that there may be" in said
    for one, whose in (("data", ", with what was chosen of it"), (name, ", with all of data")):
        assert f"1 of at most 1{whose}" in " ".join(grace.get(f"/admin/classes/{one}").text.split())
