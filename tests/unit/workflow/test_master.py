"""The master workflow as data: what the shipped one says, and what a wrong one is answered with."""

import copy
import io
import re
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from appliance.catalog import MachineState, machines
from appliance.engine import daemon
from appliance.identity.roles import PERMISSIONS
from appliance.services import overview
from appliance.settings import Settings
from appliance.workflow.master import FILE, Master, Move, State, core, load, master
from appliance.yamlfile import FileErrors

pytestmark = pytest.mark.workflow

S = MachineState
TEXT = FILE.read_text()
SHIPPED = yaml.safe_load(TEXT)
MOVES = [move["name"] for move in SHIPPED["moves"]]

# What a machine may do, written out once more: nobody changes it without meaning to.
ALLOWED = {
    S.PLANNED: {S.CREATING, S.RECLAIMING},
    S.CREATING: {S.READY, S.FAILED, S.RECLAIMING},
    S.READY: {S.ASSIGNED, S.FAILED, S.RECLAIMING},
    S.ASSIGNED: {S.IN_USE, S.FAILED, S.RECLAIMING, S.QUARANTINED},
    S.IN_USE: {S.STOPPED, S.SUSPENDED, S.REPROVISIONING, S.RECLAIMING, S.QUARANTINED},
    S.STOPPED: {S.IN_USE, S.REPROVISIONING, S.RECLAIMING, S.QUARANTINED},
    S.SUSPENDED: {S.IN_USE, S.STOPPED, S.RECLAIMING, S.QUARANTINED},
    S.REPROVISIONING: {S.IN_USE, S.RECLAIMING, S.QUARANTINED},
    S.FAILED: {S.RECLAIMING},
    S.QUARANTINED: {S.IN_USE, S.RECLAIMING},
    S.RECLAIMING: {S.RETIRED},
    S.RETIRED: set(),
}


def line_of(text: str, part: str, name: str, key: str = "name") -> int:
    """The line of a key of a state or a move, as text editors count."""
    lines = text.splitlines()
    begin = lines.index(f"{part}:")
    begin = next(number for number in range(begin, len(lines)) if lines[number].strip() == f"- name: {name}")
    return next(number for number in range(begin, len(lines)) if lines[number].lstrip("- ").startswith(f"{key}:")) + 1


def errors(folder: Path, text: str | bytes) -> list[tuple[int, str, str]]:
    file = folder / "master.yml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FileErrors) as caught:
        load(file)
    for error in caught.value.errors:
        assert f"{file}:{error.line}: {error.message}; {error.hint}" in caught.value.message
        assert error.hint
    return [(error.line, error.message, error.hint) for error in caught.value.errors]


def test_the_shipped_one_allows_what_it_should() -> None:
    assert master().targets == ALLOWED
    assert {state: {origin for origin in S if state in ALLOWED[origin]} for state in S} == master().sources


def test_its_pools_are_those_of_the_product() -> None:
    found = {pool: {state.name for state in master().states if state.pool == pool} for pool in ("creation", "buffer", "production")}
    assert found == {"creation": set(overview.CREATION), "buffer": {S.READY}, "production": set(machines.HELD)}


def test_its_moves_say_who_may_ask() -> None:
    for move in master().moves:
        assert (move.permission in PERMISSIONS) == ("people" in move.by)
        assert bool(move.core) == move.sequences, "a move of the runner's has a step of its own, and all others none"
    assert core("assign") == ("claim", "hand_over")
    assert master().move["transfer"].keeps
    assert not list(master().move["transfer"].pairs)


def test_it_is_read_once() -> None:
    assert master() is master()


@pytest.mark.parametrize(("part", "model"), [("A state", State), ("A move", Move)])
def test_its_readme_has_every_key_and_what_it_means(part: str, model: type[State] | type[Move]) -> None:
    table = (FILE.parent / "README.md").read_text().split(f"\n{part}:\n\n")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)
    assert rows == [(field.alias or name, field.description) for name, field in model.model_fields.items()]


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("old", "new", "at", "says", "hint"),
    [
        ("name: stopped\n", "name: halted\n", ("states", "halted", "name"), "states.halted.name cannot be 'halted'", "write one of: planned"),
        ("name: stopped\n", "name: stoped\n", ("states", "stoped", "name"), "cannot be 'stoped'", "write stopped"),
        ("to: stopped\n", "to: stoped\n", ("moves", "stop", "to"), "moves.stop.to cannot be 'stoped'", "write stopped"),
        ("via: assigned\n", "via: given\n", ("moves", "assign", "via"), "cannot be 'given'", "write one of"),
        ("    pool: buffer\n", "    pool: puffer\n", ("states", "ready", "pool"), "cannot be 'puffer'", "write buffer"),
        ("    pool: buffer\n", "", ("states", "ready", "name"), "pool is missing in states.ready", "add pool: The pool"),
        ("    start: true\n", "", ("states", None, None), "no state is the start", "start: true"),
        ("    pool: buffer\n", "    pool: buffer\n    start: true\n", ("states", "ready", "start"), "planned is the start already", "one of"),
        ("    end: true\n", "", ("states", None, None), "no state is the end", "end: true"),
        ("at: [6, 3]", "at: [6, 1]", ("states", "retired", "at"), "retired is drawn over reclaiming", "of its own"),
        ("at: [6, 3]", "at: [6]", ("states", "retired", "at"), "states.retired.at has too few values", "column and row"),
        ("at: [6, 3]", "at: here", ("states", "retired", "at"), "must be a list", "[one, two]"),
        ("at: [6, 3]", "at: [60, 3]", ("states", "retired", "at"), "is 60, which is too large", "at most 11"),
        ("from: [suspended]", "from: [suspended, suspended]", ("moves", "resume", "from"), "begins in suspended twice", "keep one"),
        ("from: [suspended]", "from: [suspended, retired]", ("moves", "resume", "from"), "begins in retired, which is an end", "out of from"),
        ("from: [suspended]", "from: suspended", ("moves", "resume", "from"), "must be a list, not 'suspended'", "from: [one, two]"),
        ("from: [suspended]", "from: []", ("moves", "resume", "from"), "resume begins nowhere", "write the states"),
        ("    from: [suspended]\n", "", ("moves", "resume", "name"), "from is missing in moves.resume", "add from: The states"),
        ("    from: [suspended]\n", "    form: [suspended]\n", ("moves", "resume", "form"), "form is not a known key", "write from"),
        ("via: reclaiming", "via: retired", ("moves", "reclaim", "via"), "goes through retired, which is an end", "another state"),
        ("via: creating", "via: planned", ("moves", "make", "via"), "goes through planned, where it begins or ends", "another state"),
        ("    keeps: true\n", "", ("moves", "transfer", "to"), "transfer leads from in_use to itself", "keeps: true"),
        ("    to: suspended\n", "    to: suspended\n    keeps: true\n", ("moves", "suspend", "keeps"), "leads from one to another", "leave keeps out"),
        ("permission: machines.use\n", "permission: machines.us\n", ("moves", "assign", "permission"), "there is no permission", "machines.use"),
        ("    permission: machines.use\n", "", ("moves", "assign", "name"), "permission is missing in assign", "add permission"),
        ("by: [people, plan]\n    permission: machines.use", "by: [plan]\n    permission: machines.use", ("moves", "assign", "permission"), "nobody can ask for assign", "add people"),
        ("by: [people, plan]", "by: []", ("moves", "assign", "by"), "is empty", "at least 1"),
        ("by: [people, plan]", "by: [pepole, plan]", ("moves", "assign", "by"), "cannot be 'pepole'", "write people"),
        ("    to: reclaiming\n    by: [engine]", "    to: reclaiming\n    by: [engine]\n    sequences: true", ("moves", "discard", "sequences"), "discard happens by itself", "leave sequences out"),
        ("sequences: true", "sequences: maybe", ("moves", "make", "sequences"), "must be true or false", "write true or false"),
    ],
)  # fmt: skip
def test_an_error_names_its_line_and_what_to_write(
    tmp_path: Path, old: str, new: str, at: tuple[str, str | None, str | None], says: str, hint: str
) -> None:
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    part, name, key = at
    found = errors(tmp_path, text)
    line = line_of(text, part, name, key or "name") if name else text.splitlines().index(f"{part}:") + 1
    assert [one for one, message, advice in found if says in message and hint in advice] == [line], found


@pytest.mark.badinput
def test_a_name_that_is_there_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    text = TEXT.replace("name: suspend\n", "name: stop\n")
    first, second = [number for number, line in enumerate(text.splitlines(), 1) if line == "  - name: stop"]
    assert [one[:2] for one in errors(tmp_path, text)] == [(second, f"stop is there twice, first in line {first}")]


def changed(**changes: dict[str, object]) -> dict[str, list[dict[str, object]]]:
    """The shipped workflow with some keys of some moves changed; None takes one out."""
    document = copy.deepcopy(SHIPPED)
    for name, keys in changes.items():
        move = next(move for move in document["moves"] if move["name"] == name)
        move.update(keys)
        for key in [key for key, value in move.items() if value is None]:
            del move[key]
    return document


def dump(document: object) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


@pytest.mark.badinput
def test_a_state_that_is_missing_is_named(tmp_path: Path) -> None:
    document = changed(stop={"to": "suspended", "from": ["in_use"]}, start={"from": ["suspended"]})
    document["states"] = [state for state in document["states"] if state["name"] != "stopped"]
    for move in document["moves"]:
        move["from"] = [state for state in move["from"] if state != "stopped"]
    assert [message for _, message, _ in errors(tmp_path, dump(document))] == ["the state stopped is missing"]


@pytest.mark.badinput
def test_a_state_that_nothing_leads_to_is_dead(tmp_path: Path) -> None:
    text = dump(changed(suspend={"to": "stopped"}))
    found = errors(tmp_path, text)
    assert [one[:2] for one in found] == [(line_of(text, "states", "suspended"), "nothing leads to suspended")]


@pytest.mark.badinput
def test_states_that_only_lead_to_each_other_are_dead(tmp_path: Path) -> None:
    document = changed(
        suspend={"to": "stopped"}, lose={"from": ["suspended"]}, rescue={"to": "suspended"}, reprovision={"on_failure": None}
    )
    assert [message for _, message, _ in errors(tmp_path, dump(document))] == ["nothing leads to suspended", "nothing leads to quarantined"]


@pytest.mark.badinput
def test_a_state_without_a_way_to_the_end_is_named(tmp_path: Path) -> None:
    document = changed(
        rescue={"from": ["stopped"]}, reclaim={"from": [str(state) for state in S if state not in ("retired", "reclaiming", "quarantined")]}
    )
    text = dump(document)
    found = errors(tmp_path, text)
    assert [one[:2] for one in found] == [(line_of(text, "states", "quarantined"), "no way leads from quarantined to an end")]


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("changes", "loop"),
    [
        ({"discard": {"to": "creating"}}, "creating -> failed -> creating"),
        ({"make": {"on_failure": None}, "discard": {"to": "assigned"}}, "assigned -> failed -> assigned"),
        ({"reclaim": {"to": "planned", "on_failure": "failed"}, "discard": {"to": "reclaiming"}}, "failed -> reclaiming -> failed"),
        ({"rescue": {"by": ["engine"]}, "lose": {"by": ["engine"], "from": ["in_use"]}}, "in_use -> quarantined -> in_use"),
        ({"make": {"to": "failed", "on_failure": None}, "discard": {"to": "creating"}}, "creating -> failed -> creating"),
    ],
)
def test_a_loop_that_the_engine_would_go_round_for_ever_is_refused(
    tmp_path: Path, changes: dict[str, dict[str, object]], loop: str
) -> None:
    text = dump(changed(**changes))
    found = [(line, message) for line, message, _ in errors(tmp_path, text) if "for ever" in message]
    assert [message for _, message in found] == [f"the engine would go round by itself for ever: {loop}"]
    assert text.splitlines()[found[0][0] - 1].split(":")[0].strip() in ("to", "on_failure", "via")


def test_a_loop_that_somebody_has_to_begin_is_none(tmp_path: Path) -> None:
    file = tmp_path / "master.yml"
    file.write_text(dump(changed(discard={"by": ["plan"], "to": "creating"})))
    assert S.CREATING in load(file).targets[S.FAILED]


@pytest.mark.badinput
def test_the_engine_never_has_a_choice(tmp_path: Path) -> None:
    text = dump(changed(discard={"from": ["creating"]}, rescue={"from": ["failed", "quarantined"]}))
    found = errors(tmp_path, text)
    assert [one[:2] for one in found] == [
        (line_of(text, "moves", "discard", "to"), "from creating discard leads on by itself to reclaiming, but make to ready")
    ]


@pytest.mark.badinput
@pytest.mark.parametrize(
    "text", [b"", b"5", b"[1]", b"\xff\xfe\x00", b"states: \x07", b"states: []\nmoves: []", b"{" * 5000, b"states: *a"]
)
def test_a_file_that_is_no_workflow_is_refused(tmp_path: Path, text: bytes) -> None:
    assert errors(tmp_path, text)


@pytest.mark.badinput
def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileErrors, match=r"nowhere\.yml:1: it cannot be opened"):
        load(tmp_path / "nowhere.yml")


@pytest.mark.badinput
def test_the_engine_does_not_start_with_a_wrong_one(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "master.yml"
    wrong.write_text(TEXT.replace("to: suspended\n", "to: stopped\n"))
    monkeypatch.setattr(daemon, "load_master", lambda: load(wrong))
    monkeypatch.setattr(daemon, "lock", lambda _: io.StringIO())
    monkeypatch.setattr(sys, "argv", ["dpe-engine"])
    monkeypatch.setenv("DPE_STATE", str(settings.state))
    with pytest.raises(SystemExit) as ended:
        daemon.main()
    assert ended.value.code == 1
    assert (
        f"{wrong}:{line_of(wrong.read_text(), 'states', 'suspended')}: nothing leads to suspended; write suspended as to"
        in capsys.readouterr().err
    )
    assert not settings.catalog.stat().st_size, "it was refused before anything was touched"


_STATES = st.sampled_from([str(state) for state in S])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 20) | st.text(max_size=6) | _STATES | st.sampled_from(MOVES) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "to", "at"]) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
_LIKELY = (
    st.lists(_STATES, max_size=4) | _STATES | st.sampled_from([["engine"], ["event"], ["plan"], ["people", "engine"], [3, 1], True, False])
)
_KEYS = st.sampled_from([*sorted({key for part in ("states", "moves") for entry in SHIPPED[part] for key in entry}), "zzz"])
_CHANGE = st.tuples(
    st.sampled_from(["set", "drop", "twice", "gone"]), st.sampled_from(["states", "moves"]), st.integers(0, 13), _KEYS, _LIKELY | _VALUES
)


@pytest.mark.badinput
@examples(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(_CHANGE, min_size=1, max_size=5))
def test_whatever_is_written_the_answer_is_a_sound_workflow_or_errors_with_lines(
    tmp_path: Path, changes: list[tuple[str, str, int, str, object]]
) -> None:
    document = copy.deepcopy(SHIPPED)
    for what, part, number, key, value in changes:
        entries = document[part]
        entry = entries[number % len(entries)] if entries else {}
        match what:
            case "set":
                entry[key] = value
            case "drop":
                entry.pop(key, None)
            case "twice":
                entries.append(copy.deepcopy(entry))
            case "gone":
                document[part] = [one for one in entries if one is not entry]
    text = dump(document)
    file = tmp_path / "master.yml"
    file.write_text(text)
    try:
        check_soundness(load(file))
    except FileErrors as wrong:
        said = wrong.errors
    else:
        return
    assert said
    assert all(1 <= error.line <= text.count("\n") + 1 and error.message and error.hint for error in said)


def check_soundness(loaded: Master) -> None:
    """Told once more in another way than the loader does: by walking."""
    assert {state.name for state in loaded.states} == set(S)
    ends = {state.name for state in loaded.states if state.end}
    by_itself = {move.via: move.to for move in loaded.moves if move.via}
    by_itself |= {origin: move.via or move.to for move in loaded.moves if "engine" in move.by for origin in move.from_}
    for state in S:
        seen, here = set(), state
        while here in by_itself:
            assert here not in seen
            seen.add(here)
            here = by_itself[here]
        reach, new = set(), {state}
        while new:
            reach |= new
            new = {to for one in new for to in loaded.targets[one]} - reach
        assert reach & ends
