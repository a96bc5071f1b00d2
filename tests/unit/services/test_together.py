"""Several machines asked for at once: all of them or none, in turn, and not for ever."""

import contextlib
import json
import threading
from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    Class,
    Event,
    Grant,
    Lease,
    MachineState,
    Quota,
    Request,
    RequestState,
    Run,
    RunState,
    Sequence,
    VersionState,
    machines,
    memory,
    now,
    runs,
    sequences,
)
from appliance.errors import BadInput, Conflict, NotFound
from appliance.lifecycle import outcomes
from appliance.lifecycle.handlers import Handlers, ended
from appliance.services import machines as verbs
from appliance.workflow.activities import ACTIVITIES
from appliance.workflow.runner import Runner
from tests.unit.engine.fake import FakeProvider

R, S = RequestState, MachineState


@pytest.fixture
def many(small):
    """The class gives up to five at once."""
    with catalog.write():
        Class.update(burst=5, per_person=10).execute()
    return small


@pytest.fixture
def runner(many, opened) -> Runner:
    return Runner({**ACTIVITIES, **Handlers(opened, FakeProvider()).all()}, ended=ended)


def states(first: Request) -> list[R]:
    return [one.state for one in Request.select().where(Request.batch == first.id).order_by(Request.id)]


def test_all_are_mine_at_once_when_so_many_are_ready(many, ready, alice):
    made = ready(6)
    first = verbs.request(alice, "small", 5)
    assert states(first) == [R.GRANTED] * 5
    assert {machine.id for machine in verbs.my_machines(alice.account_id)} == {machine.id for machine in made[:5]}
    assert {(run.machine_id, run.position) for run in Run.select()} == {(machine.id, 1) for machine in made[:5]}, "each is handed over"
    assert Event.select().where(Event.kind == "machine.assigned").count() == 5
    assert catalog.check() == []


def test_none_is_given_until_all_can_be(many, ready, alice):
    ready(4)
    first = verbs.request(alice, "small", 5)
    assert states(first) == [R.WAITING] * 5
    assert verbs.my_machines(alice.account_id) == []
    assert outcomes.serve_waiting("small") == 0
    assert Run.select().count() == 1, "the first one's run waits for all"
    assert machines.waiting() == {"small": 5}, "so many the planner has to make"
    ready(1)
    assert outcomes.serve_waiting("small") == 5
    assert states(first) == [R.GRANTED] * 5
    assert len(verbs.my_machines(alice.account_id)) == 5
    assert Run.select().where(Run.machine.is_null(False)).count() == 5


def test_nobody_slips_past_who_waits_for_several(many, ready, alice, bob):
    ready(2)
    first = verbs.request(alice, "small", 3)
    [offer] = verbs.offers(bob.account_id)
    assert (offer.ready, offer.place) == (0, 2), "he would wait"
    later = verbs.request(bob, "small")
    assert later.state is R.WAITING
    assert machines.ahead(later) == machines.Queue(1, 3)
    assert outcomes.serve_waiting("small") == 0
    ready(1)
    assert outcomes.serve_waiting("small") == 3
    assert states(first) == [R.GRANTED] * 3
    assert Request.get_by_id(later.id).state is R.WAITING
    ready(1)
    assert outcomes.serve_waiting("small") == 1


def test_the_person_sees_how_many_of_theirs_are_ready(many, ready, alice):
    ready(3)
    verbs.request(alice, "small", 5)
    [offer] = verbs.offers(alice.account_id)
    assert (offer.wanted, offer.there, offer.ahead) == (5, 3, 0)


@pytest.mark.badinput
@pytest.mark.parametrize("count", [0, -1, 6, 10**9])
def test_a_class_says_how_many_at_once(many, ready, alice, count):
    ready(6)
    with pytest.raises(BadInput, match="Ask for from 1 to 5"):
        verbs.request(alice, "small", count)
    assert Request.select().count() == 0


@pytest.mark.badinput
def test_most_classes_give_one_at_a_time(ready, alice):
    ready(6)
    with pytest.raises(BadInput, match=r"2 of these at once cannot be had\. Ask for one"):
        verbs.request(alice, "small", 2)


def test_more_than_a_person_may_hold_is_refused_at_once(many, ready, alice):
    Class.update(per_person=4).execute()
    ready(6)
    verbs.request(alice, "small")
    with pytest.raises(Conflict, match=r"You hold 1 of 4 already, so 4 more are too many\. Ask for fewer"):
        verbs.request(alice, "small", 4)
    assert len(verbs.my_machines(alice.account_id)) == 1
    [offer] = verbs.offers(alice.account_id)
    assert offer.burst == 3


def test_more_than_a_quota_leaves_is_refused_at_once(many, ready, alice):
    ready(6)
    Quota.create(account=alice.account_id, each=False, machines=3)
    verbs.request(alice, "small")
    with pytest.raises(Conflict, match=r"Your quota: 1 of 3 machines in use, so 3 more are too many\."):
        verbs.request(alice, "small", 3)
    [offer] = verbs.offers(alice.account_id)
    assert offer.burst == 2
    verbs.request(alice, "small", 2)
    assert len(verbs.my_machines(alice.account_id)) == 3


def test_more_than_there_may_ever_be_is_refused_at_once(many, ready, alice):
    ready(2)
    Class.update(maximum=3).execute()
    with pytest.raises(Conflict, match="never more than 3"):
        verbs.request(alice, "small", 4)
    with catalog.write():
        memory.allow(memory.Allowed(900, 900))  # each takes 256 + 64
    with pytest.raises(Conflict, match="too little memory for so many"):
        verbs.request(alice, "small", 3)
    [offer] = verbs.offers(alice.account_id)
    assert offer.burst == 2
    assert Request.select().count() == 0


def test_memory_must_be_there_for_all_of_them(many, ready, alice, bob):
    ready(5)
    with catalog.write():
        memory.allow(memory.Allowed(4 * 320, 10 * 320))
    first = verbs.request(bob, "small", 5)
    assert states(first) == [R.WAITING] * 5
    with catalog.write():
        memory.allow(memory.Allowed(5 * 320, 10 * 320))
    assert outcomes.serve_waiting("small") == 5


def test_who_stops_waiting_stops_for_all_of_them(many, ready, alice, bob, runner):
    first = verbs.request(alice, "small", 3)
    other = verbs.request(bob, "small")
    verbs.cancel_request(alice, Request.select().where(Request.batch == first.id).order_by(Request.id.desc()).get().id)
    assert states(first) == [R.CANCELLED] * 3
    runner.advance(Run.select().where(Run.request == first.id).get().id)
    assert runs.of_request(first.id).state is RunState.CANCELLED
    ready(1)
    outcomes.serve_waiting("small")
    assert Request.get_by_id(other.id).state is R.GRANTED


def test_after_a_while_it_is_refused_and_those_behind_get_theirs(many, ready, alice, bob, opened):
    moment = now()
    runner = Runner({**ACTIVITIES, **Handlers(opened, FakeProvider()).all()}, ended=ended, clock=lambda: moment)
    ready(2)
    first, later = verbs.request(alice, "small", 3), verbs.request(bob, "small")
    id = runs.of_request(first.id).id
    runner.advance(id)
    assert runs.by_id(id).wake_at == moment + timedelta(minutes=60)
    moment += timedelta(minutes=59)
    runner.advance(id)
    assert states(first) == [R.WAITING] * 3
    moment += timedelta(minutes=1)
    runner.advance(id)
    assert states(first) == [R.REFUSED] * 3
    assert Request.get_by_id(first.id).reason == "There were not 3 at once within 60 minutes."
    assert outcomes.serve_waiting("small") == 1
    assert Request.get_by_id(later.id).state is R.GRANTED


def _follow(activities: list[dict[str, object]]) -> None:
    with catalog.write():
        Sequence.create(name="asks", title="Asks")
        sequences.add("asks", json.dumps({"assign": {"before": activities}}), VersionState.PROMOTED)
        Class.update(sequence="asks").execute()


def test_one_yes_is_enough_for_all_of_them(many, ready, alice, admin, runner):
    _follow([{"name": "yes", "kind": "approval", "when": {"count": {"above": 2}}}])
    ready(3)
    assert states(verbs.request(alice, "small", 2)) == [R.GRANTED] * 2, "it is asked of three"
    ready(2)
    first = verbs.request(alice, "small", 3)
    assert states(first) == [R.PENDING] * 3
    run = runs.of_request(first.id)
    runner.advance(run.id)
    [todo] = runs.open_work_items()
    with catalog.write():
        todo.state, todo.decided_by = catalog.WorkItemState.DONE, "admin"
        todo.save()
        runs.wake(run.id)
    for name in ("yes", "claim"):
        begun = runner.begin(run.id)
        assert begun is not None
        assert begun.context.planned.name == name
        runner.settle(begun, runner.perform(begun))
    assert states(first) == [R.GRANTED] * 3
    of_these = list(Run.select().where(Run.request.in_(Request.select(Request.id).where(Request.batch == first.id))))
    assert {run.machine_id for run in of_these} == {machine.id for machine in verbs.my_machines(alice.account_id)[2:]}
    assert {runner.next(run.id).name for run in of_these} == {"hand_over"}, "nobody is asked about the others"


def test_one_no_is_enough_for_all_of_them(many, ready, alice, runner):
    _follow([{"name": "yes", "kind": "approval"}])
    ready(3)
    first = verbs.request(alice, "small", 3)
    run = runs.of_request(first.id)
    runner.advance(run.id)
    with catalog.write():
        [todo] = runs.open_work_items()
        todo.state, todo.decided_by, todo.comment = catalog.WorkItemState.REFUSED, "admin", "not today"
        todo.save()
        runs.wake(run.id)
    runner.advance(run.id)
    assert states(first) == [R.REFUSED] * 3
    assert "not today" in Request.select().where(Request.batch == first.id).order_by(Request.id.desc()).get().reason
    assert verbs.my_machines(alice.account_id) == []


def test_all_are_extended_and_given_back_with_one_word(many, ready, alice, bob):
    ready(4)
    first = verbs.request(alice, "small", 3)
    verbs.request(alice, "small")
    alone, together = sorted(verbs.grouped(alice.account_id), key=lambda group: group.batch or 0)
    assert (alone.batch, len(alone.machines)) == (None, 1)
    assert (together.batch, len(together.machines), together.ready) == (first.id, 3, 0)
    verbs.extend(alice, together.machines[0].id)
    verbs.extend(alice, together.machines[0].id)
    number, ends_at = verbs.extend_together(alice, first.id)
    assert number == 2, "the other was extended as often as it may be"
    assert ends_at == min(lease.ends_at for lease in Lease.select().where(Lease.extensions == 1))
    with pytest.raises(NotFound, match="You hold none of those any more"):
        verbs.release_together(bob, first.id)
    assert verbs.release_together(alice, first.id) == 3
    assert [machine.id for machine in verbs.my_machines(alice.account_id)] == [alone.machines[0].id]
    with pytest.raises(NotFound):
        verbs.extend_together(alice, first.id)


def test_when_none_may_be_extended_it_says_why(many, ready, alice):
    ready(2)
    first = verbs.request(alice, "small", 2)
    Lease.update(extensions=2).execute()
    with pytest.raises(Conflict, match="extended as often as it may be"):
        verbs.extend_together(alice, first.id)


def test_two_hundred_claims_at_once_with_a_quota_of_three_end_with_three(many, ready, opened):
    """Twos and ones from many threads: the quota is never passed, and nothing is given by halves."""
    ready(100)
    with catalog.write():
        Class.update(per_person=1000).execute()
        person = Actor("eve", Account.create(name="eve", password="!").id)
        Grant.create(role="user", account=person.account_id)
        Quota.create(account=person.account_id, each=False, machines=3)
    others: list[Exception] = []

    def claim(number: int) -> None:
        try:
            for _ in range(10):
                with contextlib.suppress(Conflict):
                    verbs.request(person, "small", 1 + number % 2)
        except Exception as error:
            others.append(error)
        finally:
            catalog.close()

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert others == []
    assert Lease.select().where(Lease.ended_at.is_null()).count() == 3
    for first in Request.select().where(Request.batch == Request.id):
        assert states(first) == [R.GRANTED] * 2
    assert catalog.check() == []
