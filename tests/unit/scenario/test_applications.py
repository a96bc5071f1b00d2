"""Applications: what is wrong with one, and with those that a class names; and what they make of the class."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from appliance.scenario import applications, edit
from appliance.scenario.applications import PAGES, Entry, catalogue, pages, read, resolved
from appliance.scenario.load import load
from appliance.scenario.schema import ClassSpec, Screen
from appliance.yamlfile import FileErrors
from tests.unit.scenario.test_load import GOOD, errors, write

MANIFEST = """\
title: Notes
description: Takes notes.
icon: notebook
licence: MIT
releases: [debian-12]
access: web
web: {port: 8080}
needs: {memory: 64}
options:
  depth: {type: integer, title: Depth, default: 3, minimum: 1, maximum: 9}
"""


def application(folder: Path, text: str) -> Path:
    (folder / "tasks").mkdir(parents=True)
    (folder / "tasks/main.yml").write_text("[]\n")
    (folder / "application.yml").write_text(text)
    return folder


def test_an_application_is_read_from_its_folder(tmp_path: Path) -> None:
    entry = read(application(tmp_path / "notes", MANIFEST))
    assert (entry.name, entry.manifest.web and entry.manifest.web.port, entry.renews) == ("notes", 8080, None)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("was", "now", "line", "says"),
    [
        ("port: 8080", "prt: 8080", 7, "prt is not a known key in web"),
        ("debian-12", "debian-11", 5, "releases.0 cannot be 'debian-11'"),
        ("access: web", "access: none", 1, "access and web do not fit together"),
        ("licence: MIT\n", "", 1, "licence is missing"),
        ("default: 3", "default: deep", 10, "the default of 'Depth' is no integer"),
        ("type: integer", "type: choice", 10, "the default of 'Depth' is no choice"),
        ("access: web", "access: desktop", 1, "access and web do not fit together"),
        ("access: web\nweb: {port: 8080}", "access: desktop", 1, "access and screen do not fit together"),
        (
            "access: web\nweb: {port: 8080}",
            "access: desktop\nscreen: {port: 5901, rdp: 3389}",
            1,
            "no option decides whether it speaks RDP",
        ),
        ("minimum: 1, maximum: 9", "packages: [xrdp]", 10, "packages are for a boolean"),
        (
            "type: integer, title: Depth, default: 3, minimum: 1, maximum: 9",
            "type: boolean, title: Depth, default: true, memory: 2",
            10,
            "memory is for an integer",
        ),
        ("needs:", "services: [notes]\nneeds:", 8, "services.0 cannot be 'notes'"),
        ("needs:", "data: [notes]\nneeds:", 8, "data.0 cannot be 'notes'"),
        ("needs:", "renew: By a signal.\nneeds:", 8, "renew says how, but there is no files/renew"),
    ],
)
def test_what_is_wrong_with_an_application_is_said_with_its_line(tmp_path: Path, was: str, now: str, line: int, says: str) -> None:
    assert was in MANIFEST
    with pytest.raises(FileErrors) as caught:
        read(application(tmp_path / "notes", MANIFEST.replace(was, now)))
    assert any(one.line == line and says in one.message and one.hint for one in caught.value.errors), caught.value.message


def test_one_without_tasks_is_none(tmp_path: Path) -> None:
    folder = application(tmp_path / "notes", MANIFEST)
    (folder / "tasks/main.yml").unlink()
    with pytest.raises(FileErrors, match="there are no tasks"):
        read(folder)


def test_each_of_the_catalogue_takes_its_own_defaults_and_fits_alone() -> None:
    assert {"jupyterlab", "terminal", "pages"} <= catalogue(dict).keys()
    taken = [entry.manifest.web.port for entry in catalogue(dict).values() if entry.manifest.web]
    assert len(taken) == len(set(taken)), "those that come with us fit together"
    for entry in catalogue(dict).values():
        assert entry.manifest.option_model.model_validate({}).model_dump().keys() == entry.manifest.options.keys()


TWO = GOOD.replace(
    "    application: {port: 8888, ready: /api}\n", "    applications: [{name: pages, options: {heading: Ours}}, {name: terminal}]\n"
)


def test_a_class_opens_with_its_first_page_and_has_the_others_besides(tmp_path: Path) -> None:
    spec = resolved(load(write(tmp_path, TWO)).scenario.classes["notes"], dict)
    found = pages(spec.model_dump(), dict)
    assert spec.application is not None
    assert spec.application.port == found[0].port
    assert [page.title for page in found] == ["Web pages", "Web terminal"]
    assert applications.further(spec.model_dump(), dict) == ((4200, "/"),)
    assert resolved(spec, dict) == spec, "it may be done again"
    assert spec.ingredients()["applications"][0]["options"] == {"heading": "Ours"}


def test_a_class_with_a_page_of_its_own_opens_with_that(tmp_path: Path) -> None:
    text = GOOD.replace("    roles: [web]\n", "    roles: [web]\n    applications: [{name: terminal}]\n")
    found = pages(resolved(load(write(tmp_path, text)).scenario.classes["notes"], dict).model_dump(), dict)
    assert [(page.title, page.port) for page in found] == [("Notebook", 8888), ("Web terminal", 4200)]


def test_who_brings_applications_is_asked_once_at_most() -> None:
    """The front door asks for a machine's pages with every request, and the current scenario is asked with a query."""
    asked = list[int]()

    def ask() -> Mapping[str, Entry]:
        asked.append(1)
        return {}

    pages({"title": "Plain", "application": {"port": 80, "path": "/", "ready": "/"}}, ask)
    assert not asked
    spec = {"title": "Two", "applications": [{"name": "pages"}, {"name": "terminal"}]}
    assert len(pages(spec, ask)) == 2
    assert len(asked) == 1


def test_a_desktop_is_the_screen_of_its_class_and_speaks_rdp_when_that_is_decided(tmp_path: Path) -> None:
    def described(option: str) -> ClassSpec:
        text = TWO.replace("{name: terminal}", f"{{name: desktop, options: {{rdp: {option}}}}}")
        return load(write(tmp_path / option, text.replace("disk: 4", "disk: 9").replace("memory: 512", "memory: 2048"))).scenario.classes[
            "notes"
        ]

    plain, speaking = resolved(described("false"), dict), resolved(described("true"), dict)
    assert plain.screen == Screen(port=5901)
    assert speaking.screen == Screen(port=5901, rdp=3389)
    assert resolved(speaking, dict) == speaking, "it may be done again"
    assert [page.title for page in pages(speaking.model_dump(), dict)] == ["Web pages"]
    assert plain.ingredients() != speaking.ingredients(), "its seed is another one"
    here = described("true").model_copy(update={"screen": Screen(port=5999)})
    assert resolved(here, dict).screen == Screen(port=5999), "what the class itself says counts"


@pytest.mark.parametrize(
    ("options", "more"), [({}, 0), ({"memory": 64}, 0), ({"memory": 16}, 0), ({"memory": 500}, 436), ({"memory": "much"}, 0)]
)
def test_an_option_takes_memory_where_it_says_more_than_usual(options: dict[str, str | int | bool], more: int) -> None:
    redis = catalogue(dict)["redis"]
    least, _ = applications.needed([(redis, {})])
    assert applications.needed([(redis, options)])[0] == least + more
    chosen = [{"name": "redis", "options": options}, {"name": "terminal"}]
    spec = ClassSpec.model_validate(
        {"title": "Store", "os": "debian-12", "size": {"memory": least + 48, "disk": 9}, "applications": chosen}
    )
    assert [one.place for one in applications.misfits(spec, dict)] == ([("size", "memory")] if more else [])


def test_what_is_on_a_data_disk_is_listed_for_the_machine() -> None:
    def listed(*names: str) -> list[str]:
        spec = {
            "title": "Kept",
            "os": "debian-12",
            "user": "ada",
            "size": {"memory": 4096, "disk": 20},
            "applications": [{"name": name} for name in names],
        }
        return applications.kept(ClassSpec.model_validate(spec), dict)

    assert listed() == listed("desktop") == [], "a desktop does it itself"
    assert listed("pages") == ["user ada", "folder /home/ada/Pages"]
    assert listed("radicale", "pages", "terminal", "r") == [
        "user ada",
        "service radicale.service",
        "folder /home/ada",
        "folder /var/lib/radicale",
    ]
    assert listed("postgresql")[-2:] == ["service postgresql@*.service", "folder /var/lib/postgresql/*/main"]


def test_each_of_the_catalogue_keeps_what_is_written_in_it() -> None:
    for entry in catalogue(dict).values():
        tasks = "".join(file.read_text() for file in entry.folder.rglob("*.service")) + (entry.folder / "tasks/main.yml").read_text()
        assert entry.manifest.data, entry.name
        own = any("data.d" in file.read_text() for file in (entry.folder / "tasks").iterdir())
        assert entry.manifest.keeps_itself == own, entry.name
        for service in entry.manifest.services:
            assert "@" in service or service in tasks or service.removesuffix(".service") in entry.manifest.packages, (
                f"{entry.name}: {service}"
            )


def test_an_option_brings_packages_where_it_is_on() -> None:
    desktop = catalogue(dict)["desktop"]
    assert "libreoffice-calc" in desktop.packages({})
    assert "xrdp" not in desktop.packages({})
    assert {"xrdp", "firefox-esr"} <= set(desktop.packages({"office": False, "rdp": True}))
    assert "libreoffice-calc" not in desktop.packages({"office": False})


def test_a_machine_has_one_desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = MANIFEST.replace("access: web\nweb: {port: 8080}", "access: desktop\nscreen: {port: 5901}").replace("debian-12", "debian-13")
    own = {name: read(application(tmp_path / name, screen.replace("Notes", name))) for name in ("one", "two")}
    monkeypatch.setattr(applications, "catalogue", lambda _own: own)
    text = TWO.replace("[{name: pages, options: {heading: Ours}}, {name: terminal}]", "[{name: one}, {name: two}]")
    found = {message for _, _, message, _ in errors(write(tmp_path / "class", text))}
    assert found == {"one and two each bring a desktop, and a machine has one", "two and one both take port 5901"}


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("was", "now", "says", "hint"),
    [
        ("{name: terminal}", "{name: terminl}", "there is no application terminl", "terminal"),
        ("{name: terminal}", "{name: pages}", "pages is there twice", "keep one"),
        ("{name: terminal}", "{name: terminal, port: 8080}", "Web terminal and Web pages both take port 8080", "port: 8081"),
        ("heading: Ours", "headng: Ours", "headng is not a known key", "heading"),
        ("heading: Ours", "listing: maybe", "must be true or false", "true"),
        ("{name: terminal}", "{name: redis, options: {memory: 4}}", "memory is 4, which is too small", "at least 16"),
        ("{name: terminal}", "{name: redis, port: 99}", "Redis has no web page", "leave port out"),
        ("memory: 512", "memory: 200", "need 240 with the operating system", "at least 240"),
        ("disk: 4", "disk: 2", "need 3 with the operating system", "at least 3"),
        ("{name: terminal}]", "{name: terminal, port: 5901}]\n    screen: {port: 5901}", "Web terminal and the desktop both take port 5901", "port: 5902"),
        ("[{name: pages, options: {heading: Ours}}, {name: terminal}]", "[{name: redis}]", "nothing of this machine can be opened", "web page"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said_with_its_line(tmp_path: Path, was: str, now: str, says: str, hint: str) -> None:
    assert was in TWO
    found = errors(write(tmp_path, TWO.replace(was, now)))
    line = next(number for number, text in enumerate(TWO.split("\n"), 1) if was in text)
    assert any(one[1] == line and says in one[2] and hint in one[3] for one in found), found


def test_releases_that_it_does_not_run_on_and_too_many_pages_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    for number in range(PAGES + 1):
        application(tmp_path / f"own/n{number}", MANIFEST.replace("8080", str(8080 + number)))
    own = {one.name: one for one in map(read, sorted((tmp_path / "own").iterdir()))}
    monkeypatch.setattr(applications, "catalogue", lambda _: own)
    names = ", ".join(f"{{name: {name}}}" for name in own)
    text = TWO.replace("[{name: pages, options: {heading: Ours}}, {name: terminal}]", f"[{names}]").replace("disk: 4", "disk: 9")
    found = {message for _, _, message, _ in errors(write(tmp_path, text))}
    assert found == {"Notes does not run on debian-13", f"these are {PAGES + 1} web pages"}


def test_a_form_writes_them_into_the_text_and_takes_them_out_again() -> None:
    was = ClassSpec.model_validate(yaml.safe_load(GOOD)["classes"]["notes"])
    wanted = was.model_copy(update={"applications": [applications.Chosen(name="pages", options={"heading": "Ours"})], "application": None})
    text = edit.with_class(GOOD, "notes", was, wanted)
    written = yaml.safe_load(text)["classes"]["notes"]
    assert written["applications"] == [{"name": "pages", "options": {"heading": "Ours"}}]
    assert "application" not in written
    assert yaml.safe_load(edit.with_class(text, "notes", wanted, was)) == yaml.safe_load(GOOD)
