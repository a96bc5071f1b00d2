"""The scenario's pages: versions, the editor, going back, import and export, and a newer one."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from appliance.catalog import Class, Seed, SeedState
from appliance.scenario import tree
from appliance.services import scenarios
from appliance.settings import Settings
from tests.unit.scenario.test_load import GOOD, write
from tests.unit.webui.conftest import HOST, Browser

HERE = "/admin/scenario/"


@pytest.fixture
def folder(opened: Settings, tmp_path: Path) -> Settings:
    return replace(opened, scenario=write(tmp_path, GOOD))


@pytest.fixture
def owner(grace: Browser, folder: Settings) -> Browser:
    scenarios.follow_folder(folder)
    return grace


def take(browser: Browser, path: str, **values: str) -> None:
    """Go by what is looked at, with what its form has."""
    current = scenarios.current().number
    answer = browser.post(path, {"seen": str(current), **values})
    assert answer.status_code == 303, answer.text
    assert scenarios.current().number == current + 1


def export(browser: Browser, query: str = "") -> bytes:
    return browser.client.get(f"{HERE}export{query}", base_url=HOST).data


def send(browser: Browser, content: bytes) -> tuple[int, str]:
    browser.get(HERE)
    answer = browser.post(f"{HERE}import", {"file": (io.BytesIO(content), "shop.zip")})
    return answer.status_code, answer.text


def test_before_the_engine_has_read_one_there_is_none(grace: Browser) -> None:
    assert "There is no scenario yet." in grace.get(HERE).text
    assert grace.get(f"{HERE}edit").status_code == 404


def test_the_text_is_looked_at_then_saved_and_gone_back_from(owner: Browser) -> None:
    assert "packages: [git]" in owner.get(f"{HERE}edit").text
    text = GOOD.replace("packages: [git]", "packages: [git, less]").replace("\n", "\r\n")
    looked = owner.post(f"{HERE}edit", {"text": text, "seen": "1"})
    assert looked.status_code == 200
    assert "other seed" in looked.text
    assert '<span class="visually-hidden">added</span></td><td> packages: [git, less]</td>'.replace("> pack", ">    pack") in looked.text
    assert scenarios.current().number == 1, "nothing is saved yet"
    digest = scenarios.stamp(text)
    take(owner, f"{HERE}edit/save", text=text, digest=digest, comment="For reading", build="yes")
    assert Class.get_by_id("notes").spec["packages"] == ["git", "less"]
    assert [(seed.class_name, seed.state) for seed in Seed.select().where(Seed.class_name == "notes")] == [("notes", SeedState.QUEUED)]
    listed = owner.get(HERE).text
    assert "For reading" in listed
    assert "notes: packages" in listed
    shown = owner.get(f"{HERE}versions/1").text
    assert "Go back to this version" in shown
    assert 'data-confirm="Notebook: Machines are other ones once its seed is built anew. "' in shown
    take(owner, f"{HERE}versions/1/go-back")
    assert scenarios.text(scenarios.current()) == GOOD
    assert "Changes since version 2" in owner.get(f"{HERE}versions/3").text
    assert owner.get(f"{HERE}versions/9").status_code == 404


@pytest.mark.badinput
def test_what_is_wrong_is_told_at_its_line_and_what_was_typed_stays(owner: Browser) -> None:
    owner.get(f"{HERE}edit")
    text = GOOD.replace("os: debian-13", "os: debian-31") + "# <b>typed</b>\n"
    for path in ("edit", "edit/save"):
        answer = owner.post(HERE + path, {"text": text, "seen": "1", "digest": scenarios.stamp(text)})
        assert answer.status_code == 400
        assert "line 6" in answer.text
        assert "debian-31" in answer.text
        assert "# &lt;b&gt;typed&lt;/b&gt;" in answer.text
    assert scenarios.current().number == 1


@pytest.mark.badinput
def test_nothing_is_saved_that_was_not_looked_at_or_that_somebody_overtook(owner: Browser) -> None:
    owner.get(f"{HERE}edit")
    text = GOOD.replace("buffer: 1", "buffer: 2")
    answer = owner.post(f"{HERE}edit/save", {"text": text, "seen": "1", "digest": "of another text"})
    assert (answer.status_code, "has changed since you looked" in answer.text) == (409, True)
    take(owner, f"{HERE}edit/save", text=text, digest=scenarios.stamp(text))
    other = GOOD.replace("buffer: 1", "buffer: 0")
    answer = owner.post(f"{HERE}edit/save", {"text": other, "seen": "1", "digest": scenarios.stamp(other)})
    assert (answer.status_code, "grace made version 2 in the meantime" in answer.text) == (409, True)
    assert 'name="seen" value="2"' in answer.text
    assert "buffer: 0" in answer.text


def test_what_is_exported_is_imported_looked_at_and_used(owner: Browser) -> None:
    packed = export(owner)
    files = {**tree.read_zip(packed), "roles/web/files/motd": tree.File(b"Hello\n")}
    status, _ = send(owner, tree.to_zip(files, "shop"))
    assert status == 303
    shown = owner.get(f"{HERE}import").text
    assert "roles/web/files/motd" in shown
    assert "grace sent a scenario" in owner.get(HERE).text
    take(owner, f"{HERE}import/take", digest=tree.digest(tree.listing(files)))
    assert export(owner) == tree.to_zip(files, "shop")
    assert export(owner, "?version=1") == packed
    assert owner.get(f"{HERE}import").status_code == 404
    send(owner, packed)
    owner.get(f"{HERE}import")
    assert owner.post(f"{HERE}import/discard").status_code == 303
    assert scenarios.current().number == 2


@pytest.mark.badinput
@pytest.mark.hostile
def test_a_zip_that_cannot_be_used_is_refused_with_the_reason(owner: Browser, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.view_functions["scenario.send"], "most", 64 << 10)
    broken = tree.to_zip({"scenario.yml": tree.File(GOOD.replace("os: debian-13", "os: dos").encode())}, "shop")
    for content, status, said in (
        (b"", 400, "No file was sent"),
        (b"no zip", 400, "cannot be read"),
        (broken, 400, "scenario.yml, line 6"),
        (bytes(150 << 10), 413, ""),
    ):
        answered, text = send(owner, content)
        assert (answered, said.replace("scenario.yml, ", "") in text) == (status, True)
    assert scenarios.current().number == 1


def test_a_file_that_only_a_form_of_the_scenario_may_bring_is_too_large_elsewhere(owner: Browser) -> None:
    large = tree.to_zip({**tree.read_zip(export(owner)), "roles/web/files/data": tree.File(bytes(300 << 10))}, "shop")
    assert send(owner, large)[0] == 303
    assert owner.post("/admin/workflow/sequences/import", {"file": (io.BytesIO(large), "x")}).status_code == 413


@pytest.mark.parametrize(("button", "memory", "disk"), [("merge", 2048, 9), ("take", 1024, 9), ("leave", 2048, 4)])
def test_a_newer_one_is_merged_taken_or_left(owner: Browser, folder: Settings, button: str, memory: int, disk: int) -> None:
    owner.get(f"{HERE}edit")
    text = GOOD.replace("memory: 512", "memory: 2048")
    take(owner, f"{HERE}edit/save", text=text, digest=scenarios.stamp(text))
    (folder.scenario / "scenario.yml").write_text(GOOD.replace("memory: 512", "memory: 1024").replace("disk: 4", "disk: 9"))
    scenarios.follow_folder(folder)
    assert "A newer scenario came with the appliance" in owner.get(HERE).text
    shown = owner.get(f"{HERE}offer").text
    place = "scenario.yml: classes.notes.size.memory"
    assert all(f"<pre>{side}</pre>" in shown for side in (1024, 2048))
    digest = shown.split('name="digest" value="')[1].split('"')[0]
    asked = {"seen": "2", "digest": digest}
    refused = owner.post(f"{HERE}offer/merge", asked)
    assert (refused.status_code, "Nothing is chosen for" in refused.text) == (400, True)
    looked = owner.post(f"{HERE}offer", {**asked, f"choice:{place}": "theirs"}).text
    assert "memory: 1024, disk: 9" in looked
    assert 'value="theirs" checked' in looked
    seen = looked.split('name="shown" value="')[1].split('"')[0]
    other = owner.post(f"{HERE}offer/merge", {**asked, "shown": seen, f"choice:{place}": "ours"})
    assert (other.status_code, "not what you looked at" in other.text) == (409, True)
    seen = other.text.split('name="shown" value="')[1].split('"')[0]
    take(owner, f"{HERE}offer/{button}", digest=digest, shown=seen, **{f"choice:{place}": "ours"})
    assert Class.get_by_id("notes").spec["size"] == {**Class.get_by_id("notes").spec["size"], "memory": memory, "disk": disk}
    assert owner.get(f"{HERE}offer").status_code == 404


@pytest.mark.authz
def test_it_is_for_owners_alone(signed_in: Callable[[str], Browser], owner: Browser, ada: Browser) -> None:
    for path in ("", "edit", "export", "versions/1"):
        assert ada.get(HERE + path).status_code == 403
