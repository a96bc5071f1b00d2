"""A newer scenario and a changed one brought together, and what differs between two."""

import pytest

from appliance.scenario import changes, tree
from appliance.scenario.merge import merge
from appliance.scenario.tree import File, Tree
from tests.unit.scenario.test_load import GOOD

BASE = "# What we are for\n" + GOOD.replace("buffer: 1\n", "buffer: 1 # one is enough\n")
OTHER = "  maps:\n    title: Maps\n    os: debian-12\n    size: {memory: 1024, disk: 8}\n    application: {port: 80}\n"


def folder(text: str, **files: str) -> Tree:
    return {"scenario.yml": File(text.encode()), **{path.replace("_", "/"): File(content.encode()) for path, content in files.items()}}


def main(found: Tree) -> str:
    return found["scenario.yml"].content.decode()


def test_what_only_one_side_changed_is_taken_and_comments_stay() -> None:
    ours = BASE.replace("memory: 512", "memory: 2048").replace("# What we are for", "# What grace wants")
    theirs = BASE.replace("packages: [git]", "packages: [git, less]").replace("os: debian-13", "os: debian-12") + OTHER
    found = merge(folder(BASE), folder(ours), folder(theirs), {})
    assert found.conflicts == ()
    text = main(found.tree)
    assert "# What grace wants" in text
    assert "# one is enough" in text
    assert "size: {memory: 2048, disk: 4}" in text
    assert "packages: [git, less]" in text
    assert text.index("maps:") > text.index("notes:")
    said = changes.classes(None, tree.check({**found.tree, "roles/web/tasks/main.yml": File(b"")}), roles=False)
    assert [one.name for one in said] == ["notes", "maps"]


def test_what_nobody_changed_here_is_theirs_to_the_byte() -> None:
    theirs = folder(BASE.replace("title: Notebook", "title:   'Notes'"), roles_a="new")
    assert merge(folder(BASE), folder(BASE), theirs, {}).tree == theirs
    assert merge(folder(BASE), theirs, theirs, {}).tree == theirs
    assert merge(folder(BASE), theirs, folder(BASE), {}).tree == theirs


@pytest.mark.parametrize(("side", "memory"), [("ours", 2048), ("theirs", 1024)])
def test_a_key_that_both_changed_is_chosen(side: str, memory: int) -> None:
    ours, theirs = BASE.replace("memory: 512", "memory: 2048"), BASE.replace("memory: 512", "memory: 1024").replace("disk: 4", "disk: 9")
    asked = merge(folder(BASE), folder(ours), folder(theirs), {})
    (conflict,) = asked.conflicts
    assert (conflict.place, conflict.base, conflict.ours, conflict.theirs) == (
        "scenario.yml: classes.notes.size.memory", "512", "2048", "1024",
    )  # fmt: skip
    assert conflict.chosen is None
    found = merge(folder(BASE), folder(ours), folder(theirs), {conflict.place: side})  # type: ignore[dict-item]
    assert [one.chosen for one in found.conflicts] == [side]
    assert f"size: {{memory: {memory}, disk: 9}}" in main(found.tree)


def test_an_application_of_two_origins_is_chosen_as_a_whole() -> None:
    ours = folder(BASE, applications_wiki_about="ours", applications_wiki_script="s", applications_mine_about="m")
    theirs = folder(BASE, applications_wiki_about="theirs", applications_wiki_templates="t", applications_more_about="n")
    asked = merge(folder(BASE), ours, theirs, {})
    [conflict] = asked.conflicts
    assert (conflict.place, conflict.base, conflict.chosen) == ("applications/wiki", None, None)
    assert "# about, script" in (conflict.ours or "")
    assert "# about, templates" in (conflict.theirs or "")
    others = {"scenario.yml", "applications/mine/about", "applications/more/about"}
    assert asked.tree.keys() == {*others, "applications/wiki/about", "applications/wiki/script"}, "ours, until somebody says otherwise"
    taken = merge(folder(BASE), ours, theirs, {"applications/wiki": "theirs"}).tree
    assert taken.keys() == {*others, "applications/wiki/about", "applications/wiki/templates"}
    assert taken["applications/wiki/about"].content == b"theirs"
    assert merge(folder(BASE), ours, ours, {}).conflicts == ()
    # One that was there before is merged file by file.
    both = merge(ours, folder(BASE, applications_wiki_about="new", applications_wiki_script="s", applications_mine_about="m"), ours, {})
    assert (both.conflicts, both.tree["applications/wiki/about"].content) == ((), b"new")


def test_a_class_that_one_withdrew_and_the_other_changed_is_chosen() -> None:
    both = BASE + OTHER
    ours, theirs = BASE, both.replace("title: Maps", "title: Atlas")
    place = "scenario.yml: classes.maps"
    (conflict,) = merge(folder(both), folder(ours), folder(theirs), {}).conflicts
    assert (conflict.place, conflict.ours) == (place, None)
    assert "title: Atlas" in str(conflict.theirs)
    assert "maps" not in main(merge(folder(both), folder(ours), folder(theirs), {place: "ours"}).tree)
    assert "title: Atlas" in main(merge(folder(both), folder(ours), folder(theirs), {place: "theirs"}).tree)
    (other,) = merge(folder(both), folder(theirs), folder(ours), {}).conflicts
    assert other.theirs is None
    assert "maps" not in main(merge(folder(both), folder(theirs), folder(ours), {place: "theirs"}).tree)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "outcome", "conflicts"),
    [
        ("1", "1", "2", "2", 0), ("1", "2", "1", "2", 0), ("1", "2", "2", "2", 0), ("1", "2", "3", "2", 1),
        (None, None, "1", "1", 0), (None, "1", None, "1", 0), (None, "1", "2", "1", 1),
        ("1", "1", None, None, 0), ("1", None, "1", None, 0), ("1", "2", None, "2", 1), ("1", None, "2", None, 1), ("1", None, None, None, 0),
    ],
)  # fmt: skip
def test_a_file_is_one_side_s_as_a_whole(
    base: str | None, ours: str | None, theirs: str | None, outcome: str | None, conflicts: int
) -> None:
    sides = [folder(BASE, **({} if content is None else {"roles_x": content})) for content in (base, ours, theirs)]
    found = merge(sides[0], sides[1], sides[2], {})
    assert (found.tree.get("roles/x"), len(found.conflicts)) == (None if outcome is None else File(outcome.encode()), conflicts)
    if conflicts:
        taken = merge(sides[0], sides[1], sides[2], {"roles/x": "theirs"})
        assert taken.tree == sides[2]


def test_what_is_no_mapping_is_chosen_as_a_whole() -> None:
    found = merge(folder("- a"), folder("- b"), folder("- c"), {})
    assert [one.place for one in found.conflicts] == ["scenario.yml"]


@pytest.mark.hostile
def test_files_that_are_no_text_are_chosen_without_being_shown() -> None:
    sides = [{"roles/x": File(bytes([255, number]))} for number in range(3)]
    (conflict,) = merge(sides[0], sides[1], sides[2], {}).conflicts
    assert not conflict.is_text


@pytest.mark.parametrize(
    ("change", "roles", "effect", "keys"),
    [
        (("packages: [git]", "packages: [git, vim]"), False, "seed", ("packages",)),
        (("memory: 512", "memory: 1024"), False, "seed", ("size.memory",)),
        (("buffer: 1", "buffer: 2"), False, "now", ("policy.buffer",)),
        (("title: Notebook", "title: Notes"), False, "now", ("title",)),
        (("title: Notebook", "title: Notes"), True, "seed", ("title",)),
    ],
)
def test_it_is_said_which_kind_a_change_is(change: tuple[str, str], roles: bool, effect: str, keys: tuple[str, ...]) -> None:
    web = {"roles/web/tasks/main.yml": File(b"")}
    before, after = (tree.check({**folder(text), **web}) for text in (GOOD, GOOD.replace(*change)))
    (found,) = changes.classes(before, after, roles=roles)
    assert (found.name, found.effect, found.keys, found.is_built) == ("notes", effect, keys, effect == "seed")
    assert changes.classes(before, before, roles=False) == []


def test_classes_come_and_go() -> None:
    web = {"roles/web/tasks/main.yml": File(b"")}
    one, two = (tree.check({**folder(text), **web}) for text in (GOOD, GOOD + OTHER))
    assert [(found.name, found.effect) for found in changes.classes(one, two, roles=False)] == [("maps", "new")]
    assert [(found.name, found.effect) for found in changes.classes(two, one, roles=False)] == [("maps", "withdrawn")]


def test_lines_are_told_apart_with_their_numbers() -> None:
    one, other = "\n".join(map(str, range(20))), "\n".join([*map(str, range(8)), "eight", *map(str, range(9, 20)), "end"])
    (found,) = changes.files(folder(one), folder(other))
    assert [line for line in found.lines if line.what != "same"] == [
        ("removed", 9, 0, "8"), ("added", 0, 9, "eight"), ("gap", 0, 0, ""), ("added", 0, 21, "end"),
    ]  # fmt: skip
    assert sum(line.what == "same" for line in found.lines) == 9
    files = changes.files(folder("x", roles_a="a", roles_b="b"), folder("x", roles_b="b", roles_c="c"))
    assert [(file.path, file.what) for file in files] == [("roles/a", "removed"), ("roles/c", "added")]


def test_what_cannot_be_shown_says_why() -> None:
    run, plain = {"roles/x": File(b"1", executable=True)}, {"roles/x": File(b"1")}
    assert "can be run now" in changes.files(plain, run)[0].why
    assert "no text" in changes.files(plain, {"roles/x": File(b"\xff")})[0].why
    assert "more than 3000 lines" in changes.files(plain, {"roles/x": File(b"1\n" * 5000)})[0].why
