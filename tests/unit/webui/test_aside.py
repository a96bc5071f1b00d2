"""The page of what is set aside."""

import pytest

from appliance import catalog
from appliance.catalog import Aside, AsideKind, now, options
from appliance.catalog import aside as rows
from appliance.services import aside
from tests import world
from tests.unit.webui.conftest import Browser

pytestmark = pytest.mark.lost


@pytest.fixture
def things(opened):
    """A machine whose owner is certain, and a data disk that nothing tells of."""
    people = world.busy(opened)
    with catalog.write():
        Aside.create(
            kind=AsideKind.MACHINE, id="11111111-aaaa", name="notebook-99", class_name="notebook", account_name="ada",
            account=people["ada"].account_id, power="saved", bytes=3 << 30, made_at=now(), since=now(),
        )  # fmt: skip
        Aside.create(kind=AsideKind.DATA_DISK, id="22222222-<b>", doubt="Nothing tells whose it is.", bytes=1 << 20, since=now())
    return people


@pytest.fixture
def grace(app, things):
    browser = Browser(app.test_client())
    browser.sign_in("grace")
    return browser


def test_it_shows_what_is_told_of_each(grace):
    text = grace.get("/admin/orphans/").text
    for word in ("notebook-99", "ada", "3 GiB", "saved", "Nothing tells whose it is.", "22222222-&lt;b&gt;"):
        assert word in text
    assert "<b>" not in text.replace("&lt;b&gt;", "")


def test_the_overview_says_that_something_is_set_aside(grace):
    assert "2 machines and disks are set aside" in " ".join(grace.get("/admin/").text.replace("<strong>", "").split())
    with catalog.write():
        options.put("undecided", {"why": "older", "at": now().isoformat(), "choice": "", "by": ""})
    assert "until you decide how to go on" in grace.get("/admin/").text


def test_an_admin_adopts_for_somebody_and_removes(grace):
    machine, disk = Aside.get(Aside.name == "notebook-99").number, Aside.get(Aside.kind == AsideKind.DATA_DISK).number
    grace.get("/admin/orphans/")
    answer = grace.post(f"/admin/orphans/{disk}/adopt", {"account": "nobody-here"})
    assert answer.status_code == 400
    assert "nobody of that name" in answer.text
    assert grace.post(f"/admin/orphans/{disk}/adopt", {"account": "ada"}).status_code == 303
    assert (rows.by_number(disk).wish, rows.by_number(disk).account.name) == ("adopt", "ada")
    assert grace.post(f"/admin/orphans/{machine}/remove").status_code == 303
    assert (rows.by_number(machine).wish, rows.by_number(machine).wished_by) == ("remove", "grace")
    assert "being removed" in grace.get("/admin/orphans/").text
    assert grace.post("/admin/orphans/999/remove").status_code == 404


def test_an_admin_decides_how_the_appliance_goes_on_once(grace):
    with catalog.write():
        options.put("undecided", {"why": "other", "at": now().isoformat(), "choice": "", "by": ""})
    text = grace.get("/admin/orphans/").text
    assert "another catalog" in text
    assert "Adopt what is certain, and go on" in text
    assert grace.post("/admin/orphans/1/remove").status_code == 409  # that comes later
    assert grace.post("/admin/orphans/decide", {"choice": "adopt"}).status_code == 303
    assert (aside.undecided()["choice"], aside.undecided()["by"]) == ("adopt", "grace")
    assert grace.post("/admin/orphans/decide", {"choice": "aside"}).status_code == 409


def test_how_long_things_stay_is_a_setting(grace):
    grace.get("/admin/orphans/")
    assert grace.post("/admin/orphans/days", {"days": "7"}).status_code == 303
    assert aside.days() == 7
    answer = grace.post("/admin/orphans/days", {"days": "soon"})
    assert answer.status_code != 303
    assert "whole number" in answer.text
    assert aside.days() == 7


def test_what_is_told_of_each_is_german_too(grace):
    text = grace.get("/admin/orphans/", **{"Accept-Language": "de"}).text
    assert "auf dem Datenträger abgelegt" in text
    assert "Nichts sagt, wem es gehört." in text
