"""Runs: seeing where they stand, cancelling, trying again and passing over, and when none of it can be."""

import pytest

from appliance import catalog
from appliance.catalog import (
    Event,
    Grant,
    Machine,
    MachineState,
    Request,
    RequestState,
    Run,
    RunState,
    Step,
    StepState,
    WorkItem,
    now,
    runs,
)
from appliance.errors import Conflict, DpeError, NotFound
from appliance.services import inbox, machines, moves
from appliance.services import runs as verbs
from appliance.workflow.runner import Done, Failed
from tests.plans import scans, statements

pytestmark = pytest.mark.workflow

S, R = MachineState, RunState
TASK = {"name": "cable", "kind": "task", "title": "Pull the cable", "with": {"text": "Pull it."}}
PAUSE = {"name": "pause", "kind": "wait", "title": "Let it cool", "with": {"time": "2h"}}
YES = {"name": "yes", "kind": "approval", "title": "A manager says yes"}
BROKEN = DpeError("It is too hot.", "Open a window.")


def fail(_step, _options):
    return Failed(BROKEN)


def run_of(kind):
    return Run.select().where(Run.kind == kind).order_by(Run.id.desc()).get()


def states(actor, run):
    return {line.name: line.state for line in verbs.get_run(actor, run.id).lines}


@pytest.fixture
def held(ready, walk, bob, admin):
    """A machine that bob uses."""
    [machine] = ready(1)
    machines.request(bob, "small")
    walk()
    return Machine.get(Machine.id == machine.id)


def test_steps_that_were_done_are_under_way_and_are_to_come(follow, walk, ready, bob, admin):
    large = {**YES, "name": "large", "when": {"memory": {"above": 99999}}}
    follow(assign={"before": [TASK, large, YES], "after": [PAUSE]})
    ready(1)
    machines.request(bob, "small")
    walk()
    [todo] = inbox.my_work_items(admin)
    inbox.decide(admin, todo.id, yes=True, comment="It was the blue one")
    walk()
    sight = verbs.get_run(bob, run_of("assign").id)
    assert {line.name: line.state for line in sight.lines} == {
        "cable": "done", "large": "skipped", "yes": "waiting", "claim": "planned", "hand_over": "planned", "pause": "planned",
    }  # fmt: skip
    done, *_ = sight.lines
    assert (done.by, done.part, done.todo.comment) == ("admin", "before", "It was the blue one")
    assert sight.lines[2].asked == ("Admin",)
    [todo] = inbox.my_work_items(admin)
    inbox.decide(admin, todo.id, yes=True)
    walk()
    sight = verbs.get_run(bob, run_of("assign").id)
    assert (sight.machine.state, sight.run.state) == (S.IN_USE, R.WAITING)
    assert states(bob, sight.run)["pause"] == "waiting"


def test_where_a_request_stands(follow, walk, ready, bob, admin):
    follow(assign={"before": [{**YES, "name": "large", "when": {"memory": {"above": 99999}}}, YES]})
    asked = machines.request(bob, "small")
    walk()
    standing = verbs.standing(asked)
    assert [line.name for line in standing.lines] == ["yes", "claim", "hand_over"]
    assert (standing.at.name, standing.at.asked) == ("yes", ("Admin",))


def test_nobody_sees_the_run_of_others(held, alice, bob):
    run = run_of("assign")
    assert verbs.get_run(bob, run.id).run.id == run.id
    with pytest.raises(NotFound):
        verbs.get_run(alice, run.id)
    assert verbs.list_runs(alice) == []
    assert [one.id for one in verbs.list_runs(bob)] == [run.id]
    with catalog.write():
        Grant.create(role="operator", account=alice.account_id, over_class="small")
    assert [one.id for one in verbs.list_runs(alice, text=held.name)] == [run.id]
    with pytest.raises(NotFound):
        verbs.get_run(alice, 10**18)


# -- cancelling --------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["bob", "admin"])
def test_a_request_is_cancelled_before_it_is_granted(follow, walk, ready, bob, admin, who):
    follow(assign={"before": [YES]})
    asked = machines.request(bob, "small")
    walk()
    verbs.cancel({"bob": bob, "admin": admin}[who], run_of("assign").id)
    walk()
    assert Request.get_by_id(asked.id).state is RequestState.CANCELLED
    assert run_of("assign").state is R.CANCELLED
    assert WorkItem.get().state.value == "withdrawn"
    assert who in Event.get(Event.kind == "request.cancelled").message
    with pytest.raises(Conflict, match="It has ended"):
        verbs.cancel(admin, run_of("assign").id)


def test_what_was_handed_over_is_not_cancelled_but_what_follows_is(follow, walk, ready, bob, admin):
    follow(assign={"after": [PAUSE]})
    ready(1)
    machines.request(bob, "small")
    run = run_of("assign")
    with pytest.raises(Conflict, match="give that back instead"):
        verbs.cancel(bob, run.id)
    walk()
    verbs.cancel(bob, run.id)
    walk()
    assert (run_of("assign").state, Machine.get().state) == (R.CANCELLED, S.IN_USE)


def test_neither_making_nor_taking_away_is_cancelled(follow, walk, held, small, admin, bob):
    follow(reclaim={"before": [TASK]})
    machines.release(bob, held.id)
    walk()
    with pytest.raises(Conflict, match="cannot be kept any more"):
        verbs.cancel(admin, run_of("reclaim").id)
    with catalog.write():
        id = runs.begin_run("make", machine_id=held.id, class_name="small")
    with pytest.raises(Conflict, match="removed on its own page"):
        verbs.cancel(admin, id)


def test_a_verb_is_cancelled_until_it_is_at_work(follow, walk, held, bob, admin):
    follow(stop={"before": [PAUSE]})
    moves.plain(bob, held.id, "stop")
    walk()
    verbs.cancel(bob, run_of("stop").id)
    walk()
    assert (run_of("stop").state, Machine.get().state) == (R.CANCELLED, S.IN_USE)
    moves.plain(admin, held.id, "stop")
    walk()
    with pytest.raises(Conflict, match="Somebody else began it"):
        verbs.cancel(bob, run_of("stop").id)
    with catalog.write():
        run = run_of("stop")
        Step.create(run=run.id, number=1, name="stop", kind="stop", title="Stop", state=StepState.RUNNING)
    with pytest.raises(Conflict, match="at work on the machine"):
        verbs.cancel(admin, run.id)


# -- trying again ------------------------------------------------------------------------------


def test_what_failed_before_a_move_is_tried_again_from_there(follow, walk, held, bob, admin, alice):
    follow(reclaim={"before": [TASK, PAUSE]})
    machines.release(bob, held.id)
    walk(wait=fail)
    [todo] = inbox.my_work_items(admin)
    inbox.decide(admin, todo.id, yes=True)
    walk(wait=fail)
    run = run_of("reclaim")
    assert (run.state, run.problem, Machine.get().state) == (R.FAILED, "It is too hot.", S.RECLAIMING)
    with pytest.raises(NotFound):
        verbs.retry(alice, run.id)
    with pytest.raises(Conflict, match="whoever looks after machines"):
        verbs.retry(bob, run.id)
    verbs.retry(admin, run.id)
    walk(wait=lambda *_: Done())
    assert (run_of("reclaim").state, Machine.get().state) == (R.DONE, S.RETIRED)
    assert WorkItem.select().count() == 1  # what was said stays said
    assert Event.get(Event.kind == "run.retried").data["failed"] == "It is too hot."
    with pytest.raises(Conflict, match="Only a run that failed"):
        verbs.retry(admin, run.id)


def test_a_no_is_asked_about_anew(follow, walk, held, bob, admin):
    follow(reclaim={"before": [TASK]})
    machines.release(bob, held.id)
    walk()
    inbox.decide(admin, inbox.my_work_items(admin)[0].id, yes=False, comment="Not found")
    walk()
    assert run_of("reclaim").state is R.FAILED
    verbs.retry(admin, run_of("reclaim").id)
    walk()
    inbox.decide(admin, inbox.my_work_items(admin)[0].id, yes=True)
    walk()
    assert Machine.get().state is S.RETIRED


def test_only_what_comes_after_is_tried_again_once_the_machine_has_moved(follow, walk, ready, bob, admin):
    follow(assign={"before": [YES], "after": [PAUSE]})
    ready(1)
    machines.request(bob, "small")
    walk()
    inbox.decide(admin, inbox.my_work_items(admin)[0].id, yes=True)
    walk(wait=fail)
    run = run_of("assign")
    before = {step.number: step.started_at for step in runs.steps(run.id)}
    assert (run.state, Machine.get().state) == (R.FAILED, S.IN_USE)
    verbs.retry(admin, run.id)
    walk(wait=lambda *_: Done())
    after = {step.number: step.started_at for step in runs.steps(run.id)}
    assert run_of("assign").state is R.DONE
    assert [number for number in after if after[number] != before[number]] == [3]


def test_what_the_machine_has_left_behind_is_not_tried_again(follow, walk, held, bob, admin):
    follow(stop={"before": [PAUSE]})
    moves.plain(bob, held.id, "stop")
    walk(wait=fail)
    run = run_of("stop")
    moves.plain(bob, held.id, "stop")
    with pytest.raises(Conflict, match="Another run is at work on the machine: stop"):
        verbs.retry(admin, run.id)
    walk(wait=lambda *_: Done())
    assert Machine.get().state is S.STOPPED
    with pytest.raises(Conflict, match="moved on since"):
        verbs.retry(admin, run.id)


def test_a_refused_request_is_asked_for_again_by_who_wants_it(follow, walk, bob, admin):
    follow(assign={"before": [YES]})
    machines.request(bob, "small")
    walk()
    inbox.decide(admin, inbox.my_work_items(admin)[0].id, yes=False, comment="No")
    walk()
    with pytest.raises(Conflict, match="The request was refused: ask again"):
        verbs.retry(admin, run_of("assign").id)


# -- passing over ------------------------------------------------------------------------------


def test_a_step_that_waits_is_passed_over(follow, walk, held, bob, admin):
    follow(reclaim={"before": [PAUSE]})
    machines.release(bob, held.id)
    walk()
    run = run_of("reclaim")
    with pytest.raises(Conflict, match="whoever looks after machines"):
        verbs.skip(bob, run.id)
    verbs.skip(admin, run.id)
    walk()
    assert Machine.get().state is S.RETIRED
    assert (states(admin, run)["pause"], verbs.get_run(admin, run.id).lines[0].by) == ("cancelled", "admin")
    assert Event.get(Event.kind == "step.passed_over").message == "admin passed over: Let it cool."


def test_a_step_that_failed_for_good_is_passed_over(follow, walk, held, bob, admin):
    follow(reclaim={"before": [PAUSE]})
    machines.release(bob, held.id)
    walk(wait=fail)
    verbs.skip(admin, run_of("reclaim").id)
    walk(wait=fail)
    assert Machine.get().state is S.RETIRED


def test_what_people_are_asked_and_what_makes_the_move_is_not_passed_over(follow, walk, ready, bob, admin):
    follow(assign={"before": [YES]})
    machines.request(bob, "small")
    walk()
    with pytest.raises(Conflict, match="answered under To do"):
        verbs.skip(admin, run_of("assign").id)
    inbox.decide(admin, inbox.my_work_items(admin)[0].id, yes=True)
    walk()
    with pytest.raises(Conflict, match="belongs to the move itself"):
        verbs.skip(admin, run_of("assign").id)


def test_nobody_passes_over_a_step_of_their_own_request(follow, walk, ready, bob, admin):
    with catalog.write():
        Grant.create(role="operator", account=bob.account_id)
    follow(assign={"before": [PAUSE]})
    machines.request(bob, "small")
    walk()
    with pytest.raises(Conflict, match="what they ask for themselves"):
        verbs.skip(bob, run_of("assign").id)
    verbs.skip(admin, run_of("assign").id)


def test_lists_are_found_by_indexes(held, bob, admin, monkeypatch):
    run = run_of("assign")
    with statements(monkeypatch) as seen:
        verbs.list_runs(bob)
        verbs.list_runs(admin)
        verbs.list_runs(admin, machine_id=held.id)
        verbs.get_run(bob, run.id)
        verbs.refused(bob.account_id)
        runs.due_steps(now())
        runs.next_wake()
        runs.missing()
    assert scans(seen) == []
