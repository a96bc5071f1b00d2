"""Reading sequences: whatever is wrong is said at its place, and whatever is given, nothing else is raised."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import catalog
from appliance.catalog import Class, Event, SequenceVersion, VersionState, sequences
from appliance.settings import Settings
from appliance.workflow import load, sequence
from appliance.workflow.kinds import known
from appliance.workflow.master import master
from appliance.yamlfile import FileErrors

pytestmark = pytest.mark.workflow

GOOD = """\
name: office
title: Office
moves:
  assign:
    before:
      - name: manager
        kind: approval
        title: A manager says yes
        when: {memory: {above: 4096}, classes: [small]}
        with:
          role: approver
          expires: 72h
    after:
      - name: settle
        kind: wait
        with: {time: 5s}
        retry: {tries: 2}
        on_failure: go_on
"""

WRONG = {
    "title: Office\n": ("", 1, "title is missing"),
    "  assign:": ("  marry:", 4, "there is no move 'marry'; write one of: make, assign"),
    "kind: approval": ("kind: aproval", 7, "there is no kind of activity 'aproval'; write one of: approval"),
    "kind: wait": ("kind: hand_over", 15, "there is no kind of activity 'hand_over'"),
    "name: settle": ("name: manager", 14, "manager is there twice, first before assign"),
    "name: manager": ("name: claim", 6, "claim is a step of assign itself"),
    "          role: approver\n": (
        "          role: king\n",
        11,
        "moves.assign.before.manager.with.role cannot be 'king'; write one of: approver",
    ),
    "expires: 72h": ("expires: 3 days", 12, "write a number and s, m, h or d"),
    "          expires: 72h\n": ("          expire: 72h\n", 12, "write expires"),
    "{time: 5s}": ("{}", 16, "time is missing in moves.assign.after.settle.with"),
    "{above: 4096}": ("{above: many}", 9, "must be a whole number"),
    "tries: 2": ("tries: 0", 17, "which is too small; write at least 1"),
    "go_on": ("goon", 18, "write go_on"),
    "before:": ("during:", 5, "during"),
}


@pytest.mark.parametrize("right", WRONG)
def test_each_error_names_its_line_and_what_to_write(right: str, tmp_path: Path) -> None:
    wrong, line, said = WRONG[right]
    assert right in GOOD
    (tmp_path / "office.yml").write_text(GOOD.replace(right, wrong, 1))
    with pytest.raises(FileErrors) as caught:
        load.load(tmp_path / "office.yml")
    [error] = caught.value.errors
    assert (error.line, said in f"{error.message}; {error.hint}") == (line, True), error


def test_a_placeholder_that_is_none_is_said_at_its_field() -> None:
    mail = {"name": "tell", "kind": "notify", "with": {"to": "owner", "subject": "{machine}", "text": "Dear {nobody}"}}
    [problem] = load.check_sequence({"stop": {"after": [mail]}})
    assert (problem.spot, problem.field) == (("stop", "after", 0), "with.text")
    assert "there is no placeholder {nobody}" in problem.message


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("72h", "soon").replace("tries: 2", "tries: 0").replace("kind: approval", "kind: oracle")
    with pytest.raises(FileErrors) as caught:
        load.load(tmp_path / "office.yml", text.replace("{time: 5s}", "{time: 5}").encode())
    assert [error.line for error in caught.value.errors] == [7, 16, 17]


def test_a_file_has_the_name_of_its_sequence(tmp_path: Path) -> None:
    (tmp_path / "home.yml").write_text(GOOD)
    with pytest.raises(FileErrors, match="the name is office"):
        load.load(tmp_path / "home.yml")


def test_a_move_that_takes_no_activities_takes_none(tmp_path: Path) -> None:
    assert not master().move["fail"].sequences
    with pytest.raises(FileErrors, match="nothing can be put around fail"):
        load.load(tmp_path / "x.yml", GOOD.replace("assign:", "fail:").encode())


def test_a_kind_stands_only_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from appliance.workflow import kinds

    narrow = dataclasses.replace(known()["wait"], moves=frozenset({("stop", "before")}))
    monkeypatch.setitem(kinds._KNOWN, "wait", narrow)
    [problem] = load.check_sequence({"assign": {"after": [{"name": "a", "kind": "wait", "with": {"time": "5s"}}]}})
    assert problem.place == ("moves", "assign", "after", 0, "kind")
    assert "Wait cannot come after assign" in problem.message
    assert problem.hint == "put it before stop"


def test_the_form_and_the_file_say_the_same_at_the_same_place(tmp_path: Path) -> None:
    import yaml

    text = GOOD.replace("72h", "soon").replace("tries: 2", "tries: 0").replace("name: settle", "name: manager")
    problems = load.check_sequence(yaml.safe_load(text)["moves"])
    assert {(problem.spot, problem.field) for problem in problems} == {
        (("assign", "before", 0), "with.expires"),
        (("assign", "after", 0), "name"),
        (("assign", "after", 0), "retry.tries"),
    }
    assert next(problem.message for problem in problems if problem.field == "with.expires") == "Expires cannot be 'soon'"
    with pytest.raises(FileErrors) as caught:
        load.load(tmp_path / "office.yml", text.encode())
    assert {error.place for error in caught.value.errors} == {problem.place for problem in problems}


def test_a_good_one_goes_round_as_yaml(tmp_path: Path) -> None:
    found = load.load(tmp_path / "office.yml", GOOD.encode())
    text = load.write_sequence(found.name, found.title, found.description, load.plain(found.moves))
    assert load.load(tmp_path / "office.yml", text.encode()) == found
    assert sequence.moves(sequence.dump(found.moves)) == found.moves


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "kind", "with", "when", "retry", "before", "after", "assign", "time", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
activity = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", "claim", ""]) | values,
        "kind": st.sampled_from(sorted(known())) | values,
        "with": st.dictionaries(st.sampled_from(["role", "text", "time", "expires", "account"]), values, max_size=3) | values,
        "when": st.dictionaries(st.sampled_from(["memory", "classes", "roles"]), values, max_size=3) | values,
        "retry": values,
        "on_failure": values,
    },
)
bodies = st.dictionaries(
    st.sampled_from(["assign", "stop", "fail", "x"]),
    st.dictionaries(st.sampled_from(["before", "after"]), st.lists(activity, max_size=3)) | values,
    max_size=3,
)


@given(bodies | values)
def test_whatever_is_given_it_is_checked_and_nothing_is_raised(moves: object) -> None:
    problems = load.check_sequence(moves)
    if not problems:
        found = sequence.Sequence.model_validate({"name": "x", "title": "x", "moves": moves})
        for move in found.moves:
            sequence.planned_steps(move, sequence.dump(found.moves))  # what is sound can be run


# -- what is shipped ------------------------------------------------------------------------------


def write(folder: Path, name: str, time: str) -> None:
    folder.mkdir(exist_ok=True)
    moves = {"stop": {"before": [{"name": "pause", "kind": "wait", "with": {"time": time}}]}}
    (folder / f"{name}.yml").write_text(load.write_sequence(name, name.title(), "", moves))


def versions(name: str) -> list[tuple[int, str]]:
    return [(version.number, version.state.value) for version in sequences.versions(name)]


def test_shipped_files_become_sequences_once(small: Class, tmp_path: Path) -> None:
    write(tmp_path / "shipped", "desktop", "5s")
    write(tmp_path / "scenario", "night", "6s")
    for _ in range(2):
        load.adopt_shipped(tmp_path / "shipped", tmp_path / "scenario", tmp_path / "none")
    assert versions("desktop") == versions("night") == [(1, "promoted")]
    assert Class.get_by_id("small").sequence == "desktop"  # its kind's, which it did not have


def test_a_newer_file_is_promoted_only_where_nobody_promoted_anything_else(small: Class, tmp_path: Path) -> None:
    write(tmp_path, "desktop", "5s")
    load.adopt_shipped(tmp_path)
    write(tmp_path, "desktop", "6s")
    load.adopt_shipped(tmp_path)
    assert versions("desktop") == [(2, "promoted"), (1, "kept")]
    with catalog.write():
        sequences.add("desktop", '{"stop":{}}', VersionState.PROMOTED, author="admin")
    write(tmp_path, "desktop", "7s")
    load.adopt_shipped(tmp_path)
    assert versions("desktop") == [(4, "kept"), (3, "promoted"), (2, "kept"), (1, "kept")]
    assert "the newer one can be promoted" in Event.select().order_by(Event.id.desc()).get().message


def test_a_class_that_was_given_none_keeps_none(small: Class, tmp_path: Path) -> None:
    write(tmp_path, "desktop", "5s")
    load.adopt_shipped(tmp_path)
    with catalog.write():
        Class.update(sequence="").execute()
    write(tmp_path, "desktop", "6s")
    load.adopt_shipped(tmp_path)
    assert Class.get_by_id("small").sequence == ""


def test_a_file_that_cannot_be_read_is_left_out_and_told_of(opened: Settings, tmp_path: Path) -> None:
    write(tmp_path, "desktop", "5s")
    (tmp_path / "broken.yml").write_text(GOOD.replace("approval", "oracle"))
    load.adopt_shipped(tmp_path)
    assert SequenceVersion.select().count() == 1
    assert "there is no kind of activity 'oracle'" in Event.get(Event.kind == "sequence.unreadable").message


def test_what_is_shipped_is_sound() -> None:
    for file in load.FOLDER.glob("*.yml"):
        if file.name != "master.yml":
            assert load.load(file).name == file.stem
