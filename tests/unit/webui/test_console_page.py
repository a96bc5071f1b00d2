"""A machine's console as a page: which tabs it has, where Open leads, what a viewer is told, and pictures."""

import re
from configparser import ConfigParser

import pytest

from appliance.catalog import Actor, Class, Event, Machine, MachineState
from appliance.services import pictures
from tests.unit.webui.conftest import HOST, Browser

pytestmark = pytest.mark.console


@pytest.fixture
def hers(people: dict[str, Actor]) -> Machine:
    found: Machine = Machine.get(Machine.owner == people["ada"].account_id)
    return found


def shows(*, application: bool = True, screen: bool = True) -> None:
    """What the class of the notebooks shows from now on."""
    spec = dict(Class.get_by_id("notebook").spec)
    changed = {**spec, "application": spec["application"] if application else None, "screen": {"port": 5901} if screen else None}
    Class.update(spec=changed).where(Class.name == "notebook").execute()


def tabs(page: str) -> list[str]:
    found = re.search(r'aria-label="Console of this machine">(.*?)</nav>', page)
    assert found
    return re.findall(r"<a [^>]*>\s*([\w ]+?)\s*<", found[1])


def test_a_class_with_both_has_a_tab_for_each(ada: Browser, hers: Machine) -> None:
    at = f"/machines/{hers.id}/console"
    assert tabs(ada.get(at).text) == ["Application", "Screen", "Serial line"]
    assert ada.get(f"{at}?target=vnc/5901").status_code == 400
    shows()
    page = ada.get(at).text
    assert tabs(page) == ["Application", "Desktop", "Screen", "Serial line"]
    assert 'data-target="vnc/5901"' in page
    assert f"dpe console {hers.name} --target vnc/5901 --listen 5900" in page
    assert ada.get(f"{at}?target=vnc/22").status_code == 400
    shows(application=False)
    assert tabs(ada.get(at).text) == ["Desktop", "Screen", "Serial line"]


def test_a_desktop_alone_is_what_open_leads_to(ada: Browser, grace: Browser, hers: Machine) -> None:
    shows(application=False)
    there = f"{HOST}/machines/{hers.id}/console?target=vnc/5901"
    assert f'href="{there}"' in ada.get("/").text
    page = grace.get(f"/admin/machines/{hers.id}").text
    assert "Open the desktop" in page
    assert "Published port" not in page
    assert "<dt>Desktop</dt> <dd>port 5901</dd>" in grace.get("/admin/classes/notebook/machine").text


def test_one_that_waits_shows_what_the_hypervisor_draws(grace: Browser, people: dict[str, Actor]) -> None:
    shows()
    waiting = Machine.get(Machine.state == MachineState.READY, Machine.class_name == "notebook")
    assert 'data-target="screen"' in grace.get(f"/machines/{waiting.id}/console").text


def test_the_file_for_a_viewer_points_at_this_computer_and_has_no_secret(ada: Browser, hers: Machine) -> None:
    answer = ada.get(f"/machines/{hers.id}/console.vv")
    assert answer.mimetype == "application/x-virt-viewer"
    assert f'filename="{hers.name}.vv"' in answer.headers["Content-Disposition"]
    parser = ConfigParser(interpolation=None)
    parser.read_string(answer.text)
    assert dict(parser["virt-viewer"]) == {"type": "vnc", "host": "127.0.0.1", "port": "5900", "title": hers.name}


def test_the_file_for_rdp_clients_is_there_where_the_desktop_speaks_it(ada: Browser, hers: Machine) -> None:
    shows()
    assert ada.get(f"/machines/{hers.id}/console.rdp").status_code == 404
    assert "There is no .rdp file" in ada.get(f"/machines/{hers.id}/console").text
    spec = {**Class.get_by_id("notebook").spec, "screen": {"port": 5901, "rdp": 3389}}
    Class.update(spec=spec).where(Class.name == "notebook").execute()
    page = ada.get(f"/machines/{hers.id}/console").text
    assert f"dpe console {hers.name} --target tcp/3389 --listen 3390" in page
    assert f'href="{HOST}/machines/{hers.id}/console.rdp"' in page or f'href="/machines/{hers.id}/console.rdp"' in page
    answer = ada.get(f"/machines/{hers.id}/console.rdp")
    assert answer.mimetype == "application/x-rdp"
    assert f'filename="{hers.name}.rdp"' in answer.headers["Content-Disposition"]
    said = dict(line.rsplit(":", 1) for line in answer.text.replace("127.0.0.1:3390", "127.0.0.1").splitlines())
    assert said["full address:s"] == "127.0.0.1"
    assert said["prompt for credentials:i"] == said["enablecredsspsupport:i"] == "0"
    assert not {"password 51:b", "password:s"} & said.keys()


def test_pictures_are_where_the_screen_is_seen_unless_the_class_has_none(
    ada: Browser, grace: Browser, hers: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_picture", lambda *_: b"a picture")
    monkeypatch.setattr(pictures, "_taken", {})
    at = f"/machines/{hers.id}/picture"
    answer = ada.get(at)
    assert (answer.mimetype, answer.data, answer.headers["Cache-Control"]) == ("image/png", b"a picture", "no-store")
    page, listing = f"/admin/machines/{hers.id}", "/admin/machines/?columns=machine,picture"
    assert f'src="{at}"' in grace.get(page).text
    assert f'src="{at}"' in grace.get(listing).text
    assert f'src="{at}"' not in grace.get("/admin/machines/").text
    assert not Event.select().where(Event.kind == "machine.watched").exists()  # until one is asked for
    assert grace.get(at).status_code == 200
    assert Event.select().where(Event.kind == "machine.watched").count() == 1
    Class.update(overrides={"pictures": False}).where(Class.name == "notebook").execute()
    assert f'src="{at}"' not in grace.get(page).text + grace.get(listing).text
    assert ada.get(at).status_code == 404


@pytest.mark.badinput
def test_a_screen_that_says_nothing_is_an_answer(ada: Browser, hers: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_taken", {})
    assert ada.get(f"/machines/{hers.id}/picture").status_code == 503
