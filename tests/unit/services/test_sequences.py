"""Sequences as admins edit them: what differs, who saved first, what a run keeps to, and when one may go."""

import json
from collections.abc import Callable
from datetime import timedelta

import peewee
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import catalog
from appliance.catalog import Actor, Class, Event, Machine, Request, RequestState, Run, SequenceVersion, VersionState, now, runs
from appliance.catalog import sequences as rows
from appliance.errors import BadInput, Conflict, NotFound
from appliance.lifecycle import outcomes
from appliance.services import machines, sequences
from appliance.services.sequences import Spot
from appliance.workflow import load, runner, start
from tests import sequences as world

pytestmark = pytest.mark.workflow


@pytest.fixture
def office(small: Class, admin: Actor) -> str:
    world.shipped()
    with catalog.write():
        Class.update(sequence="office").execute()
    return "office"


def wait(name: str, time: str = "5s") -> dict[str, object]:
    return {"name": name, "kind": "wait", "with": {"time": time}}


def put(actor: Actor, *activities: dict[str, object], move: str = "stop", part: str = "before") -> None:
    for activity in activities:
        sequences.put_sequence(actor, "office", sequences.view_sequence("office").stamp, Spot(move, part, -1), activity, new=True)


# -- what differs ---------------------------------------------------------------------------------


def test_what_differs_is_told_by_name() -> None:
    before = {"stop": {"before": [wait("a"), wait("b"), wait("c")], "after": [wait("d", "1m")]}}
    after = {"stop": {"before": [wait("c"), wait("a"), wait("b", "6s")]}, "start": {"after": [wait("d", "1m"), wait("e")]}}
    found = [(change.what, change.name, change.move, change.part, change.fields) for change in sequences.diff(before, after)]
    assert found == [
        ("moved", "c", "stop", "before", ()),
        ("changed", "b", "stop", "before", (("time", "5s", "6s"),)),
        ("moved", "d", "start", "after", ()),
        ("added", "e", "start", "after", ()),
    ]
    assert next(str(change) for change in sequences.diff(before, {})) == "Wait: removed before stop"


activity = st.fixed_dictionaries(
    {"name": st.sampled_from("abcdef"), "kind": st.just("wait"), "with": st.fixed_dictionaries({"time": st.sampled_from(["1s", "2s"])})}
)
lists = st.fixed_dictionaries({}, optional={part: st.lists(activity, max_size=4) for part in ("before", "after")})
bodies = st.fixed_dictionaries({}, optional=dict.fromkeys(("stop", "start"), lists))


@given(bodies, bodies)
def test_what_differs_is_nothing_only_when_nothing_does(one: sequences.Moves, other: sequences.Moves) -> None:
    assert sequences.diff(one, one) == []
    named = [[activity["name"] for _, activity in load.activities(side)] for side in (one, other)]
    if all(len(names) == len(set(names)) for names in named):
        places = [
            {(place[1:3], activity["name"], activity["with"]["time"]) for place, activity in load.activities(side)} for side in (one, other)
        ]
        if places[0] != places[1]:
            assert sequences.diff(one, other)
        gone = {change.name for change in sequences.diff(one, other) if change.what == "removed"}
        assert gone == set(named[0]) - set(named[1])


# -- drafts ---------------------------------------------------------------------------------------


def test_a_draft_that_is_as_what_is_promoted_is_none(office: str, admin: Actor) -> None:
    put(admin, wait("a"))
    assert rows.draft(office) is not None
    sequences.remove(admin, office, sequences.view_sequence(office).stamp, Spot("stop", "before", 0))
    assert rows.draft(office) is None


def test_what_is_wrong_is_kept_in_the_draft_and_not_promoted(office: str, admin: Actor) -> None:
    put(admin, wait("a", "soon"), wait("a"))
    look = sequences.view_sequence(office)
    assert [(problem.spot, problem.field) for problem in look.errors] == [
        (("stop", "before", 0), "with.time"),
        (("stop", "before", 1), "name"),
    ]
    assert look.moves["stop"]["before"][0]["with"] == {"time": "soon"}
    for refused in (lambda: sequences.promote(admin, office, untried=True), lambda: sequences.try_draft(admin, office, "small")):
        with pytest.raises(BadInput, match="Time cannot be 'soon'"):
            refused()
    promoted = rows.promoted(office)
    assert promoted is not None
    assert promoted.number == 1


def test_who_saves_second_learns_what_the_first_did(office: str, admin: Actor, bob: Actor) -> None:
    seen = sequences.view_sequence(office).stamp
    put(bob, wait("a"))
    with pytest.raises(Conflict) as refused:
        sequences.save_draft(admin, office, {}, seen)
    assert refused.value.hint == "bob: Wait: added before stop. Reload the page, and do yours again."
    assert len(list(load.activities(sequences.view_sequence(office).moves))) == 4


def test_what_names_nobody_is_only_doubtful(office: str, admin: Actor) -> None:
    approval = {"name": "x", "kind": "approval", "with": {"account": "nobody"}, "when": {"classes": ["none"], "roles": ["king"]}}
    put(admin, approval, move="assign")
    look = sequences.view_sequence(office)
    assert look.errors == []
    found = {(problem.field, problem.message) for problem in look.problems if problem.spot == ("assign", "before", 1)}
    assert found == {
        ("with.account", "there is no account nobody"),
        ("when.classes", "there is no class none"),
        ("when.roles", "there is no role king"),
    }
    assert sequences.promote(admin, office, untried=True).number == 2


def test_for_a_wrong_name_what_is_called_nearly_so_is_suggested(office: str, admin: Actor, bob: Actor) -> None:
    approval = {"name": "x", "kind": "approval", "with": {"account": "Bpb"}, "when": {"classes": ["smal"], "roles": ["king"]}}
    put(admin, approval, move="assign")
    found = [problem.hint for problem in sequences.view_sequence(office).problems if problem.spot == ("assign", "before", 1)]
    assert found == ["did you mean small?", "as long as there is none, this condition holds for nobody", "did you mean bob?"]


@pytest.mark.parametrize("name", ["", "Office", "a b", "1st", "x" * 42, "../x"])
def test_a_name_that_cannot_be_one_is_refused(office: str, admin: Actor, name: str) -> None:
    with pytest.raises(BadInput):
        sequences.create(admin, name, "Title")
    with pytest.raises(Conflict):
        sequences.create(admin, office, "Again")


# -- versions -------------------------------------------------------------------------------------


def test_a_version_never_changes_once_it_is_no_draft(office: str) -> None:
    promoted = rows.promoted(office)
    assert promoted is not None
    with pytest.raises(peewee.IntegrityError, match="does not change"), catalog.write():
        SequenceVersion.update(body="{}").where(SequenceVersion.id == promoted.id).execute()


def test_a_run_ends_on_the_version_that_it_began_with(office: str, admin: Actor, ready: Callable[[int], list[Machine]]) -> None:
    """An edit while runs are in flight: steps are added, renamed and removed, and the run knows nothing of it."""
    ready(1)
    put(admin, wait("first"), move="assign")
    sequences.promote(admin, office, untried=True)
    asked = machines.request(admin, "small")
    run = runs.of_request(asked.id)
    assert run is not None
    planned = [step.name for step in runner.planned_steps_of(run)]
    assert planned == ["manager", "first", "claim", "hand_over", "desk"]
    sequences.save_draft(admin, office, {"assign": {"before": [wait("other")]}}, sequences.view_sequence(office).stamp)
    sequences.promote(admin, office, untried=True)
    sequences.roll_back(admin, office, 1)
    assert [step.name for step in runner.planned_steps_of(Run.get_by_id(run.id))] == planned
    later = start.plan("assign", "small", admin.account_id, lease_minutes=5)
    promoted = rows.promoted(office)
    assert promoted is not None
    assert later.version_id == promoted.id != run.version_id


def test_going_back_is_a_new_version_with_the_old_body(office: str, admin: Actor) -> None:
    put(admin, wait("a"))
    sequences.promote(admin, office, "One more", untried=True)
    made = sequences.roll_back(admin, office, 1)
    assert (made.number, made.body, made.comment) == (3, sequences.version(office, 1).body, "Version 1 again")
    assert [(version.number, version.state.value) for version in rows.versions(office)] == [(3, "promoted"), (2, "kept"), (1, "kept")]
    for number, error in ((3, Conflict), (9, NotFound)):
        with pytest.raises(error):
            sequences.roll_back(admin, office, number)
    assert "sequence.promoted" in {event.kind for event in Event.select()}


def test_what_is_used_shipped_or_remembered_is_not_deleted(office: str, admin: Actor) -> None:
    sequences.create(admin, "mine", "Mine", copy_of=office)
    sequences.promote(admin, "mine", untried=True)
    with pytest.raises(Conflict, match="follow"):
        sequences.delete(admin, office)
    with catalog.write():
        Class.update(sequence="mine").execute()
    with pytest.raises(Conflict, match="came with"):
        sequences.delete(admin, office)
    machines.request(admin, "small")
    with catalog.write():
        Class.update(sequence="").execute()
    with pytest.raises(Conflict, match="runs that went by"):
        sequences.delete(admin, "mine")
    sequences.create(admin, "other", "Other")
    sequences.delete(admin, "other")
    assert [line.row.name for line in sequences.everything()] == ["mine", "office"]


# -- trials ---------------------------------------------------------------------------------------


def test_a_trial_goes_by_the_draft_all_its_life_and_nobody_else_does(
    office: str, admin: Actor, alice: Actor, ready: Callable[[int], list[Machine]]
) -> None:
    ready(2)
    sequences.save_draft(admin, office, {"stop": {"before": [wait("a")]}}, sequences.view_sequence(office).stamp)
    asked = sequences.try_draft(admin, office, "small")
    tried = SequenceVersion.get(SequenceVersion.state == VersionState.TRIAL)
    machine = Machine.get_by_id(Machine.get(Machine.id == asked.machine_id).number)
    assert machine.trial_id == tried.id  # it was there at once
    with catalog.write():
        id = start.begin_run("stop", machine, admin)
    assert Run.get_by_id(id).version_id == tried.id
    other = machines.request(alice, "small")
    run = runs.of_request(other.id)
    promoted = rows.promoted(office)
    assert run is not None
    assert promoted is not None
    assert run.version_id == promoted.id
    assert other.state is RequestState.GRANTED
    assert Machine.get(Machine.id == other.machine_id).trial_id is None


def test_a_trial_that_has_to_wait_marks_its_machine_when_it_comes(office: str, admin: Actor, ready: Callable[[int], list[Machine]]) -> None:
    sequences.save_draft(admin, office, {"stop": {"before": [wait("a")]}}, sequences.view_sequence(office).stamp)
    asked = sequences.try_draft(admin, office, "small")
    assert asked.state is RequestState.WAITING
    ready(1)
    outcomes.serve_waiting("small")
    asked = Request.get_by_id(asked.id)
    assert asked.trial_id is not None
    assert Machine.get(Machine.id == asked.machine_id).trial_id == asked.trial_id


def test_a_change_after_a_trial_asks_for_another(office: str, admin: Actor) -> None:
    put(admin, wait("a"))
    sequences.try_draft(admin, office, "small")
    trial = sequences.trial(office)
    assert trial is not None
    assert trial.state == "going"
    put(admin, wait("b"))
    assert sequences.trial(office) is None
    with pytest.raises(Conflict, match="was not tried yet"):
        sequences.promote(admin, office)


def test_a_newer_shipped_version_is_said_until_it_is_chosen(office: str, admin: Actor) -> None:
    put(admin, wait("a"))
    sequences.promote(admin, office, untried=True)
    with catalog.write():
        rows.add(office, "{}", VersionState.KEPT, comment="As shipped")
    newer = sequences.view_sequence(office).line.newer
    assert newer is not None
    assert newer.number == 3
    sequences.roll_back(admin, office, 3)
    assert sequences.view_sequence(office).line.newer is None
    assert json.loads(sequences.version(office, 4).body) == {}
    assert now() - sequences.version(office, 4).created_at < timedelta(minutes=1)
