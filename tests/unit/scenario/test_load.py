"""What a wrong scenario is answered with."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.scenario.load import ScenarioErrors, load
from appliance.scenario.schema import Scenario
from appliance.settings import REPOSITORY

GOOD = """\
name: shop
title: Tools of the shop
classes:
  notes:
    title: Notebook
    os: debian-13
    packages: [git]
    roles: [web]
    size: {memory: 512, disk: 4}
    application: {port: 8888, ready: /api}
    policy:
      minimum: 0
      maximum: 3
      buffer: 1
"""


def write(folder: Path, text: str | bytes) -> Path:
    """A scenario folder named shop with one role."""
    folder = folder / "shop"
    (folder / "roles/web/tasks").mkdir(parents=True, exist_ok=True)
    (folder / "roles/web/tasks/main.yml").write_text("- ansible.builtin.debug: {msg: hello}\n")
    (folder / "scenario.yml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def errors(folder: Path) -> list[tuple[str, int, str, str]]:
    with pytest.raises(ScenarioErrors) as caught:
        load(folder)
    for error in caught.value.errors:
        assert f"{error.file}:{error.line}: {error.message}; {error.hint}" in caught.value.message
        assert error.hint
    return [(error.file.name, error.line, error.message, error.hint) for error in caught.value.errors]


def test_a_scenario_keeps_its_folder(tmp_path: Path) -> None:
    folder = write(tmp_path, GOOD)
    loaded = load(folder)
    assert loaded.folder == folder
    assert loaded.scenario.classes["notes"].size.memory == 512


@pytest.mark.console
@pytest.mark.parametrize(
    ("shown", "says"),
    [
        ("screen: {port: 5901}", ""),
        ("application: {port: 80}\n    screen: {port: 5901}", ""),
        ("application: {port: 80}\n    screen: {port: 80}", "application and screen are both at port 80"),
        ("zone: inside", "nothing of this machine can be opened in a browser"),
    ],
)
def test_a_class_shows_an_application_or_a_screen_or_both(tmp_path: Path, shown: str, says: str) -> None:
    folder = write(tmp_path, GOOD.replace("application: {port: 8888, ready: /api}", shown))
    if says:
        assert [message for _, _, message, _ in errors(folder)] == [says]
        return
    found = load(folder).scenario.classes["notes"]
    assert found.screen is not None
    assert found.screen.port == 5901


SERVED = """\
  {name}:
    title: Served
    os: debian-13
    roles: [web]
    size: {{memory: 512, disk: 4}}
    application: {{port: 80}}
    service: {{name: www.example.org, path: {path}}}
"""


@pytest.mark.elastic
@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (("/", "/wiki", "/wikipedia/"), ""),
        (("/", "/wiki", "/wiki/"), "www.example.org/wiki is the service of b already"),
        (("/", "/"), "www.example.org is the service of a already"),
        (("/_dpe/pages/",), "/_dpe/pages/ is where the appliance answers itself"),
        (("/a%b",), "classes.a.service.path cannot be '/a%b'"),
    ],
)
def test_two_services_are_never_at_one_place_nor_any_where_the_appliance_is(tmp_path: Path, paths: tuple[str, ...], says: str) -> None:
    text = GOOD + "".join(SERVED.format(name=name, path=path) for name, path in zip("abc", paths, strict=False))
    if not says:
        assert set(load(write(tmp_path, text)).scenario.classes) == {"notes", "a", "b", "c"}
        return
    [(file, line, message, _)] = errors(write(tmp_path, text))
    assert (file, message) == ("scenario.yml", says)
    assert "path" in text.splitlines()[line - 1]


def test_what_a_class_does_not_say_makes_no_other_seed() -> None:
    spec = Scenario.model_validate(yaml.safe_load(GOOD)).classes["notes"]
    assert {"screen", "icon"}.isdisjoint(spec.ingredients())


@pytest.mark.parametrize("folder", sorted([*(REPOSITORY / "playbooks/scenarios").iterdir(), *(REPOSITORY / "tests/scenarios").iterdir()]))
def test_the_scenarios_that_come_with_the_product_are_right(folder: Path) -> None:
    if folder.is_dir():
        assert load(folder).scenario.name == folder.name


def test_the_former_names_of_keys_are_still_read(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, f"{GOOD}    per_person: 3\n    at_once: 3\n    together: 10\n"))
    notes = loaded.scenario.classes["notes"]
    assert (notes.burst, notes.batch_window) == (3, 10)
    assert {"burst": 3, "batch_window": 10}.items() <= notes.model_dump().items(), "it is kept by the names of today"


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("key", "says"),
    [("burst: 0", "burst is 0, which is too small"), ("at_once: 0", "at_once is 0, which is too small"),
     ("at_once: 2\n    burst: 2", "at_once is not a known key")],
)  # fmt: skip
def test_an_error_names_the_key_that_is_written(tmp_path: Path, key: str, says: str) -> None:
    [(_, line, message, _)] = errors(write(tmp_path, f"{GOOD}    per_person: 3\n    {key}\n"))
    assert (line, says in message) == (16, True), message


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("old", "new", "line", "says", "hint"),
    [
        ("    title: Notebook", "    titel: Notebook", 5, "titel is not a known key in classes.notes", "write title"),
        (
            "    title: Notebook",
            "    banana: 1\n    title: Notebook",
            5,
            "banana is not a known key",
            "the keys here are title, description",
        ),
        ("    os: debian-13\n", "", 4, "os is missing in classes.notes", "add os: Operating system"),
        ("debian-13", "debian-14", 6, "cannot be 'debian-14'", "write debian-13"),
        ("debian-13", "windows", 6, "cannot be 'windows'", "write one of: debian-12, debian-13"),
        ("[git]", "git", 7, "must be a list, not 'git'", "packages: [one, two]"),
        ("[git]", "[Git!]", 7, "packages.0 cannot be 'Git!'", "Debian package"),
        ("[web]", "[web, mail]", 8, "there is no role mail", "roles/mail/tasks/main.yml"),
        ("[web]", "[guest]", 8, "the role guest is the appliance's own", "another name"),
        ("[web]", "[../web]", 8, "cannot be '../web'", "write a small letter"),
        ("memory: 512", "memory: 64", 9, "is 64, which is too small", "write at least 128"),
        ("memory: 512", "memory: 512 MiB", 9, "must be a whole number, not '512 MiB'", "digits only"),
        ("memory: 512", "memory: true", 9, "must be a whole number, not true", "digits only"),
        ("disk: 4", "disk: 9999", 9, "is 9999, which is too large", "write at most 4096"),
        ("{port: 8888, ready: /api}", "8888", 10, "must have keys below it, not be 8888", "write port"),
        ("/api", "api", 10, "cannot be 'api'", "begins with /"),
        ("minimum: 0", "minimum: 4", 11, "minimum (4) is above maximum (3)", "raise maximum"),
        ("buffer: 1", "buffer: 9", 11, "buffer (9) is above maximum (3)", "raise maximum"),
        ("buffer: 1", "buffer: 1\n      buffer: 2", 15, "buffer is there twice, first in line 14", "keep one"),
        ("title: Tools of the shop", "title: 2026", 2, "title must be text, not 2026", "in quotes"),
        ("title: Tools of the shop", "title: yes", 2, "title must be text, not true", "in quotes"),
        ("title: Tools of the shop", "title: Tools: of the shop", 2, "not YAML", "quotes around text that has a colon"),
        ("name: shop", "name: store", 1, "name is store, but the folder is shop", "write name: shop"),
        ("    size:", "\tsize:", 9, "there is a tab", "indent with spaces"),
        ("[git]", "[git", 8, "not YAML", "check indentation, quotes and brackets"),
        ("title: Notebook", "title: &a Notebook\n    description: *a", 6, "alias", "write the value out"),
        ("  notes:\n", "  Notes!:\n", 4, "cannot be 'Notes!'", "small letter"),
    ],
)
def test_an_error_names_its_line_and_what_to_write(tmp_path: Path, old: str, new: str, line: int, says: str, hint: str) -> None:
    assert old in GOOD
    found = errors(write(tmp_path, GOOD.replace(old, new, 1)))
    assert len(found) == 1, found
    assert found[0][:2] == ("scenario.yml", line)
    assert says in found[0][2]
    assert hint in found[0][3]


@pytest.mark.badinput
def test_all_errors_are_said_at_once(tmp_path: Path) -> None:
    text = (
        GOOD.replace("shop", "store")
        .replace("title: Notebook", "titel: x")
        .replace("debian-13", "debian-1")
        .replace("[web]", "[a, b]")
        .replace("maximum: 3", "maximum: -1")
    )
    assert [line for _, line, _, _ in errors(write(tmp_path, text))] == [1, 5, 6, 8, 8, 13]


@pytest.mark.badinput
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"5",
        b"[1]",
        b"\xff\xfe\x00",
        b"a: \x07",
        b"---\na: 1\n---\nb: 2",
        b"{" * 5000,
        b"? [a]\n: 1",
        b"a: 2026-13-45",
        b"a: !!python/name:os.system x",
        b"null",
    ],
)
def test_a_file_that_is_no_scenario_is_refused(tmp_path: Path, text: bytes) -> None:
    assert errors(write(tmp_path, text))


@pytest.mark.badinput
def test_a_missing_folder_or_file_says_which_to_make(tmp_path: Path) -> None:
    assert "there is no folder" in errors(tmp_path / "nowhere")[0][2]
    assert "there is no scenario.yml" in errors(tmp_path)[0][2]


@pytest.mark.badinput
def test_a_broken_file_of_a_role_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, GOOD)
    (folder / "roles/web/tasks/main.yml").write_text("- one\n- a: b: c\n")
    assert [found[:2] for found in errors(folder)] == [("main.yml", 2)]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "title", "classes", "size", "os", "zzz"]) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.badinput
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.lists(st.sampled_from(["classes", "notes", "size", "policy", "application", "roles", "os"]), max_size=3), value=_VALUES)
def test_whatever_is_written_the_answer_is_a_scenario_or_errors_with_lines(tmp_path: Path, place: list[str], value: object) -> None:
    document = yaml.safe_load(GOOD)
    spot = document
    for key in place:
        spot = spot.setdefault(key, {}) if isinstance(spot, dict) else {}
        if not isinstance(spot, dict):
            return
    spot["title"] = value
    text = yaml.safe_dump(document, allow_unicode=True)
    folder = write(tmp_path, text)
    try:
        assert isinstance(load(folder).scenario, Scenario)
    except ScenarioErrors as wrong:
        lines = [error.line for error in wrong.errors]
    else:
        lines = [1]
    assert lines
    assert 1 <= min(lines) <= max(lines) <= text.count("\n") + 1


@pytest.mark.cases
def test_a_module_of_a_collection_that_is_not_there_is_said_with_its_line(tmp_path: Path) -> None:
    folder = write(tmp_path, GOOD)
    role = folder / "roles/web"
    (role / "handlers").mkdir()
    (role / "tasks/main.yml").write_text(
        "- name: Zone\n  community.general.timezone: {name: Europe/Berlin}\n"
        "- block:\n    - ansible.builtin.debug: {msg: hello}\n  rescue:\n    - ansible.posix.sysctl: {name: a, value: b}\n"
        "- ansible.builtin.import_tasks: more.yml\n- include_tasks: redhat.yml\n- import_tasks: {file: main.yml}\n"
    )
    (role / "tasks/more.yml").write_text("- community.mysql.mysql_db: {name: x}\n")
    (role / "tasks/redhat.yml").write_text("- ansible.posix.seboolean: {name: x}\n")  # never read on Debian
    (role / "handlers/main.yml").write_text("- name: Again\n  community.docker.docker_container: {name: x}\n")
    found = errors(folder)
    assert [(file, line, message.split()[0]) for file, line, message, _ in found] == [
        ("main.yml", 2, "community.docker.docker_container"),
        ("main.yml", 2, "community.general.timezone"),
        ("main.yml", 6, "ansible.posix.sysctl"),
        ("more.yml", 1, "community.mysql.mysql_db"),
    ]
    assert "of the collection community.general, which is not installed" in found[1][2]
    assert "ansible.builtin" in found[1][3]


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "no list of tasks"),
        ("name: Write\ncommand: touch /a\n", 1, "no list of tasks"),
        ("- name: Write\n  command: touch /a\n- hosts: all\n  tasks: []\n", 3, "a play, not a task"),
        ("- name: Write\n  command: touch /a\n- name: Nothing\n  when: true\n", 3, "no module"),
        ("- command: touch /a\n- touch /b\n", 2, "no module"),
        ("- name: Zone\n  community.general.timezone: {name: Europe/Berlin}\n", 2, "not installed"),
        ("- name: [\n", 2, "not YAML"),
    ],
)
def test_tasks_for_each_machine_are_tasks(tmp_path: Path, text: str, line: int, words: str) -> None:
    folder = write(tmp_path, GOOD)
    (folder / "roles/web/tasks/machine.yml").write_text(text)
    ((file, at, message, hint),) = errors(folder)
    assert (file, at) == ("machine.yml", line)
    assert words in message
    assert hint


def test_tasks_for_each_machine_may_be_blocks(tmp_path: Path) -> None:
    folder = write(tmp_path, GOOD)
    (folder / "roles/web/tasks/machine.yml").write_text(
        "- name: Try\n  block:\n    - command: touch /a\n  rescue:\n    - command: touch /b\n"
    )
    assert load(folder)
