"""The durable runner, a step at a time."""

from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Account, Event, Grant, Request, Run, RunState, Step, StepState, WorkItem, WorkItemState, runs
from appliance.errors import Conflict, DpeError
from appliance.workflow.runner import CUT_OFF, Done, Failed, Wait
from tests.unit.workflow.conftest import effect

pytestmark = pytest.mark.workflow
R, S = RunState, StepState


def states(id: int) -> list[tuple[str, str]]:
    return [(step.name, step.state.value) for step in runs.steps(id)]


def test_steps_are_done_in_order_before_the_move_and_after(bench):
    id = bench.begin(effect("one"), effect("two"), after=(effect("three"),))
    run = bench.go(id)
    assert run.state is R.DONE
    assert bench.done == ["one", "two", "destroy", "three"]
    assert [ended.id for ended in bench.ended] == [id]


def test_a_condition_that_does_not_hold_passes_a_step_over(bench):
    run = bench.go(bench.begin(effect("large", when={"memory": {"above": 4096}}), effect("any"), memory=1024))
    assert bench.done == ["any", "destroy"]
    assert states(run.id) == [("any", "done"), ("destroy", "done")]


def test_result_state_and_event_are_kept_together_or_not_at_all(bench):
    def commit():
        Account.create(name="x", password="!")
        raise DpeError("cut off in the middle")

    bench.says = lambda step: Done(commit=commit if step.planned.name == "one" else None)
    id = bench.begin(effect("one"))
    with pytest.raises(DpeError, match="cut off"):
        bench.runner.advance(id)
    assert Account.select().count() == 0
    assert states(id) == [("one", "running")]
    with catalog.write():
        runs.requeue()
    bench.says = lambda step: Done()
    assert bench.go(id).state is R.DONE


def test_a_finished_step_is_never_done_again_however_often_the_engine_dies(bench):
    def dies(step):
        if step.planned.name == "two" and bench.done.count("two") < 3:
            raise KeyboardInterrupt  # as kill -9: nothing is written any more
        return Done()

    bench.says = dies
    id = bench.begin(effect("one"), effect("two"))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            bench.runner.advance(id)
        assert runs.due_steps(bench.moment) == []  # until the next engine says so, it is taken for being done
        with catalog.write():
            assert runs.requeue() == 1
    assert bench.go(id).state is R.DONE
    assert bench.done == ["one", "two", "two", "two", "destroy"]


def test_a_step_in_which_the_engine_dies_again_and_again_is_given_up(bench):
    def dies(step):
        raise KeyboardInterrupt

    bench.says = dies
    id = bench.begin(effect("one"))
    for _ in range(CUT_OFF):
        with pytest.raises(KeyboardInterrupt):
            bench.runner.advance(id)
        with catalog.write():
            runs.requeue()
    bench.says = lambda step: Done()
    run = bench.go(id)
    assert run.state is R.FAILED
    assert "died" in run.problem


def test_a_failure_is_tried_again_after_waits_that_double_and_survive_a_restart(bench):
    def fails(step):
        raise DpeError("Not now.")

    bench.says = fails
    id = bench.begin(effect("one", retry={"tries": 4, "wait": "10s", "longest": "25s"}))
    waits = []
    while (run := bench.go(id)).state is R.WAITING:
        waits.append(round((run.wake_at - bench.moment).total_seconds()))
        with catalog.write():
            runs.requeue()
        assert runs.due_steps(bench.moment) == []
        bench.moment = run.wake_at
        assert [due.id for due in runs.due_steps(bench.moment)] == [id]
    assert waits == [10, 20, 25]
    assert run.state is R.FAILED
    assert run.problem == "Not now."
    assert Event.select().where(Event.kind == "run.failed").count() == 1


def test_a_failure_that_may_be_passed_over_is(bench):
    bench.says = lambda step: Failed(DpeError("No.")) if step.planned.name == "one" else Done()
    run = bench.go(bench.begin(effect("one", on_failure="go_on")))
    assert run.state is R.DONE
    assert states(run.id) == [("one", "failed"), ("destroy", "done")]


def test_what_was_done_before_the_move_is_undone_in_reverse_when_it_fails(bench):
    bench.says = lambda step: Failed(DpeError("No.")) if step.planned.name == "three" else Done()
    run = bench.go(bench.begin(effect("one"), effect("two"), effect("three")))
    assert run.state is R.FAILED
    assert bench.done == ["one", "two", "three", "undo three", "undo two", "undo one"]
    assert states(run.id) == [("one", "undone"), ("two", "undone"), ("three", "undone")]


def test_what_came_before_the_move_stands_once_it_is_made(bench):
    bench.says = lambda step: Failed(DpeError("No.")) if step.planned.name == "after" else Done()
    run = bench.go(bench.begin(effect("one"), after=(effect("after"),)))
    assert run.state is R.FAILED
    assert bench.done == ["one", "destroy", "after", "undo after"]


def test_undoing_goes_on_where_it_was_cut_off_and_what_cannot_be_undone_is_said(bench):
    bench.says = lambda step: Failed(DpeError("No.")) if step.planned.name == "two" else Done()

    def undo(step):
        if step.planned.name == "two" and bench.done.count("undo two") < 2:
            raise KeyboardInterrupt
        if step.planned.name == "one":
            raise DpeError("It is stuck.")

    bench.undoes = undo
    id = bench.begin(effect("one"), effect("two"))
    with pytest.raises(KeyboardInterrupt):
        bench.runner.advance(id)
    with catalog.write():
        runs.requeue()
    for _ in range(6):
        run = bench.go(id)
        bench.later(hours=1)
    assert run.state is R.FAILED
    assert bench.done.count("undo two") == 2
    assert Event.select().where(Event.kind == "step.not_undone").count() == 1


def test_a_cancelled_run_is_undone_and_ends(bench):
    bench.says = lambda step: Wait(None, "an answer") if step.planned.name == "two" else Done()
    id = bench.begin(effect("one"), effect("two"))
    assert bench.go(id).state is R.WAITING
    with catalog.write():
        assert runs.cancel(id=id) == [id]
    run = bench.go(id)
    assert run.state is R.CANCELLED
    assert bench.done == ["one", "two", "undo two", "undo one"]


def test_what_comes_back_after_a_cancellation_changes_nothing_more(bench):
    id = bench.begin(effect("one"), effect("two"))
    begun = bench.runner.begin(id)
    outcome = bench.runner.perform(begun)
    with catalog.write():
        runs.cancel(id=id)
    bench.runner.settle(begun, outcome)
    bench.go(id)
    bench.runner.settle(begun, outcome)  # a reply that comes twice
    assert runs.by_id(id).state is R.CANCELLED
    assert bench.done == ["one", "undo one"]


def test_a_wake_up_while_the_step_looks_is_not_lost_and_one_too_many_does_no_harm(bench):
    bench.says = lambda step: Wait(None, "an answer")
    id = bench.begin(effect("one"))
    begun = bench.runner.begin(id)
    outcome = bench.runner.perform(begun)
    with catalog.write():
        runs.wake(id)
    bench.runner.settle(begun, outcome)
    assert runs.by_id(id).state is R.QUEUED
    bench.says = lambda step: Done()
    assert bench.go(id).state is R.DONE
    with catalog.write():
        runs.wake(id)
    assert runs.due_steps(bench.moment) == []


def test_nobody_does_a_step_that_another_is_at(bench):
    id = bench.begin(effect("one"))
    assert bench.runner.begin(id) is not None
    assert bench.runner.begin(id) is None


def test_the_most_urgent_goes_first(bench):
    with catalog.write():
        ids = [runs.begin_run("reclaim", priority=priority) for priority in (5, 0, 3)]
    assert [due.id for due in runs.due_steps(bench.moment)] == [ids[1], ids[2], ids[0]]


def test_a_run_ends_on_the_version_it_began_with(bench):
    bench.says = lambda step: Wait(None, "an answer") if bench.done == ["one"] else Done()
    id = bench.begin(effect("one"), effect("two"))
    bench.go(id)
    bench.begin(effect("other"))  # the next version is promoted
    with catalog.write():
        runs.wake(id)
    bench.go(id)
    assert bench.done == ["one", "one", "two", "destroy"]


def test_a_kind_of_activity_that_nobody_does_any_more_fails_and_says_so(bench):
    id = bench.begin(effect("one"))
    bench.runner._handlers = {}
    run = bench.go(id)
    assert run.state is R.FAILED
    assert "Nothing here does activities of the kind effect" in run.problem


def test_a_conflict_while_the_result_is_kept_fails_the_run_and_keeps_nothing(bench):
    def commit():
        Account.create(name="x", password="!")
        raise Conflict("The machine is gone.")

    bench.says = lambda step: Done(commit=commit)
    run = bench.go(bench.begin(effect("one")))
    assert run.state is R.FAILED
    assert run.problem == "The machine is gone."
    assert Account.select().count() == 0


# -- time and people ---------------------------------------------------------------------------


def test_time_passes_whatever_happens_meanwhile(bench):
    id = bench.begin({"name": "pause", "kind": "wait", "with": {"time": "2h"}})
    assert bench.go(id).wake_at == bench.moment + timedelta(hours=2)
    bench.later(hours=1)
    with catalog.write():
        runs.wake(id)  # too early
    assert bench.go(id).state is R.WAITING
    bench.later(hours=-3)  # the clock was wrong
    assert bench.go(id).state is R.WAITING
    bench.later(hours=4)
    assert bench.go(id).state is R.DONE


@pytest.fixture
def boss(opened):
    with catalog.write():
        Grant.create(role="approver", account=Account.create(name="boss", password="!").id)


def approval(**options):
    return {"name": "boss", "kind": "approval", "title": "The boss says yes", "with": options}


def decide(id: int, state: WorkItemState, comment: str = "") -> None:
    with catalog.write():
        WorkItem.update(state=state, decided_by="boss", comment=comment).where(WorkItem.run == id).execute()
        runs.wake(id)


def test_an_approval_is_put_once_and_the_run_goes_on_with_the_answer(bench, boss):
    id = bench.begin(approval())
    assert bench.go(id).why == "The boss says yes: approvers"
    with catalog.write():
        runs.wake(id)
    bench.go(id)
    assert WorkItem.select().count() == 1
    decide(id, WorkItemState.DONE)
    assert bench.go(id).state is R.DONE
    assert runs.step(id, 0).actor == "boss"


def test_a_no_ends_the_run_and_its_reason_is_kept(bench):
    id = bench.begin(effect("one"), approval())
    bench.go(id)
    decide(id, WorkItemState.REFUSED, "too large")
    run = bench.go(id)
    assert run.state is R.FAILED
    assert run.problem == "boss said no: too large"
    assert bench.done == ["one", "undo one"]


def test_an_approval_escalates_then_expires(bench, boss):
    id = bench.begin(approval(escalate="2h", expires="1d"))
    assert bench.go(id).wake_at == bench.moment + timedelta(hours=2)
    bench.later(hours=2)
    assert bench.go(id).wake_at == bench.moment + timedelta(hours=22)
    assert WorkItem.get().escalated_at is not None
    assert Event.select().where(Event.kind == "todo.escalated").count() == 1
    bench.later(days=1)
    run = bench.go(id)
    assert run.state is R.FAILED
    assert WorkItem.get().state is WorkItemState.EXPIRED
    assert "nobody answered in time" in run.problem


def test_what_nobody_need_answer_any_more_is_withdrawn(bench):
    id = bench.begin(approval())
    bench.go(id)
    with catalog.write():
        runs.cancel(id=id)
    assert bench.go(id).state is R.CANCELLED
    assert WorkItem.get().state is WorkItemState.WITHDRAWN


@pytest.mark.badinput
def test_an_approver_who_does_not_exist_is_passed_over_at_once(bench):
    id = bench.begin(approval(account="nobody"))
    assert bench.go(id).state is R.WAITING
    assert WorkItem.get().escalated_at is not None
    assert Event.select().where(Event.kind == "todo.escalated").count() == 1


def test_old_runs_are_forgotten_and_their_steps_with_them(bench):
    id = bench.begin(effect("one"))
    bench.go(id)
    bench.later(days=1)
    with catalog.write():
        Run.update(ended_at=bench.moment - timedelta(days=40)).where(Run.id == id).execute()
        assert runs.forget(timedelta(days=30)) == 1
    assert Step.select().count() == Request.select().count() == 0
