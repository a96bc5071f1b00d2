"""A class written into scenario.yml: what is not touched keeps its text, and what is written reads as it was meant."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.scenario import tree
from appliance.scenario.edit import with_class, without_class
from appliance.scenario.schema import ClassSpec
from appliance.scenario.tree import File
from tests.unit.scenario.test_load import GOOD

TEXT = "# What we are for\n" + GOOD.replace("packages: [git]", "packages: # of the shop\n    - git # for their work\n    - less").replace(
    "buffer: 1\n", "buffer: 1 # one is enough\n    fork: off\n    at_once: 1\n"
).replace("title: Notebook", "title: 'Notebook'")


def read(text: str) -> dict[str, ClassSpec]:
    return tree.check(
        {tree.MAIN: File(text.encode()), "roles/web/tasks/main.yml": File(b"- ansible.builtin.debug: {msg: hello}\n")}
    ).classes


def edited(text: str, name: str = "notes", **changes: Any) -> str:
    was = read(text)[name]
    spec = ClassSpec.model_validate({**was.model_dump(mode="json", exclude_none=True, exclude_defaults=True), **changes})
    made = with_class(text, name, was, spec)
    assert read(made)[name] == spec
    return made


def lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """Those that are gone, and those that came."""
    one, other = before.splitlines(), after.splitlines()
    return [line for line in one if line not in other], [line for line in other if line not in one]


def test_only_what_is_changed_is_another_line() -> None:
    assert lines(TEXT, edited(TEXT, title="Notes")) == (["    title: 'Notebook'"], ["    title: 'Notes'"])
    assert lines(TEXT, edited(TEXT, os="debian-12")) == (["    os: debian-13"], ["    os: debian-12"])
    found = edited(TEXT, size={"memory": 2048, "disk": 4, "data": 5})
    assert lines(TEXT, found) == (["    size: {memory: 512, disk: 4}"], ["    size: {memory: 2048, disk: 4, data: 5}"])
    assert lines(TEXT, edited(TEXT, policy={"minimum": 0, "maximum": 3, "buffer": 2})) == (
        ["      buffer: 1 # one is enough"], ["      buffer: 2 # one is enough"]
    )  # fmt: skip


def test_what_stays_in_a_list_keeps_its_comment_and_its_place() -> None:
    assert lines(TEXT, edited(TEXT, packages=["git", "less", "nano"])) == ([], ["    - nano"])
    assert lines(TEXT, edited(TEXT, packages=["git"])) == (["    - less"], [])
    assert edited(GOOD, packages=["git", "less"]).count("packages: [git, less]") == 1


def test_a_former_name_stays_where_it_is() -> None:
    changed = edited(TEXT, per_person=3, burst=2)
    assert lines(TEXT, changed) == (["    at_once: 1"], ["    per_person: 3", "    at_once: 2"])


def test_what_is_as_it_would_be_anyhow_is_not_written_and_taken_out() -> None:
    found = edited(TEXT, description="On its own", lease={"idle": {"minutes": 0, "then": "suspend"}})
    assert lines(TEXT, found)[1] == ["    description: On its own", "    lease:", "      idle: {minutes: 0, then: suspend}"]
    again = edited(found, description="", lease={})
    assert read(again)["notes"] == read(TEXT)["notes"]
    assert "description" not in again


def test_a_new_class_comes_last_and_goes_again() -> None:
    spec = ClassSpec.model_validate({
        "title": "Maps", "os": "debian-12", "application": {"port": 80}, "size": {"memory": 2048}, "packages": ["nginx"],
        "policy": {"windows": [{"name": "Day", "begin": "09:30", "end": "17:00", "buffer": 3}]},
    })  # fmt: skip
    made = with_class(GOOD, "maps", None, spec)
    assert made.startswith(GOOD)
    assert read(made)["maps"] == spec
    assert "    size: {memory: 2048}\n" in made
    assert "    packages: [nginx]\n" in made
    assert without_class(made, "maps") == GOOD


@pytest.mark.hostile
@given(
    st.text(min_size=1, max_size=60).filter(lambda text: text.isprintable()),
    st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=100),
)
@settings(max_examples=12)
def test_whatever_text_a_person_writes_reads_as_it_was_written(title: str, description: str) -> None:
    spec = ClassSpec.model_validate({"title": title, "description": description, "os": "debian-12", "application": {"port": 80}})
    assert read(with_class(GOOD, "maps", None, spec))["maps"] == spec


def test_what_looks_like_something_else_is_text() -> None:
    odd = ["off", "10:30", "1e3", "null", "~", "- a", "a: b", "{{ x }}", "# no", "'", '"', "*a", "&a", "!!x", "2026-01-01"]
    text = GOOD
    for number, title in enumerate(odd):
        spec = ClassSpec.model_validate({"title": title, "os": "debian-12", "application": {"port": 80}})
        text = with_class(text, f"odd-{number}", None, spec)
    assert [one.title for one in read(text).values()] == ["Notebook", *odd]


def test_a_desktop_takes_an_applications_place_and_gives_it_back() -> None:
    found = edited(GOOD, application=None, screen={"port": 5901})
    assert lines(GOOD, found) == (["    application: {port: 8888, ready: /api}"], ["    screen: {port: 5901}"])
    assert read(found)["notes"].application is None
    assert "screen" not in edited(found, application={"port": 8888}, screen=None)
