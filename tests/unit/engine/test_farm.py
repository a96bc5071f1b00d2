"""Machines of the buffer work on jobs: handed out one each, tried again, given up, never removed meanwhile, and gone on with by another engine."""

import threading
from collections.abc import Sequence
from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Actor, Class, Event, Job, JobState, Machine, MachineState, job_queue, machines, now
from appliance.engine import Engine
from appliance.engine.farm import command
from appliance.errors import BadInput, Conflict
from appliance.hypervisor.provider import Executed
from appliance.lifecycle import master
from appliance.scenario.policy import Form
from appliance.services import classes, rules
from appliance.services import job_queue as queue
from appliance.services import machines as people
from appliance.settings import Settings
from tests.unit.engine.fake import FakeProvider, settle

pytestmark = pytest.mark.policy
S = MachineState


class Worker(FakeProvider):
    """Runs jobs: `answers` says what a command ends with, by its first word; `gate` holds them up until it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.ran: list[tuple[str, str]] = []
        self.answers: dict[str, Executed] = {}
        self.asked: list[list[str]] = []
        self.says = Executed(0, "", "")

    def execute(self, id: str, command: Sequence[str], *, input: bytes = b"", timeout: float = 60) -> Executed:
        self._call("execute", id)
        if "dpe-job" not in command:
            self.asked.append(list(command))
            return self.says
        words = list(command)[list(command).index("dpe-job") :]
        self.ran.append((id, words[1]))
        assert self.gate.wait(10)
        return self.answers.get(words[5], Executed(0, f"{words[5]} was here", ""))


@pytest.fixture
def provider() -> Worker:
    return Worker()


@pytest.fixture
def farm(engine: Engine, small: Class, admin: Actor) -> Engine:
    """Two machines that work on jobs."""
    classes.change_policy(admin, "small", Form.MAKING, {"jobs": True})
    settle(engine, 5)
    assert Machine.select().where(Machine.state == S.READY, Machine.readiness == "running").count() == 2
    return engine


def states() -> list[str]:
    return [job.state.value for job in Job.select().order_by(Job.id)]


def hurry() -> None:
    """What waits for another try does not."""
    with catalog.write():
        Job.update(retry_at=None).where(Job.state == JobState.QUEUED).execute()


def test_jobs_run_once_each_and_their_results_are_kept(farm: Engine, provider: Worker, admin: Actor, alice: Actor) -> None:
    ids = queue.submit(admin, "small", ["hello"], times=3, files={"data.txt": "x"})
    settle(farm, 4)
    assert states() == ["done"] * 3
    assert len(provider.ran) == 3
    job = queue.get("small", ids[0])
    assert (job.status, job.output, job.attempt, job.ended_at is not None) == (0, "hello was here", 1, True)
    assert [f"DPE_JOB_NUMBER={number}" in command(queue.get("small", id)) for number, id in enumerate(ids, 1)] == [True] * 3
    with pytest.raises(Conflict, match="These machines work on jobs"):
        people.request(alice, "small")
    assert [one for one in people.offers(alice.account_id or 0) if one.machine_class.name == "small"] == []


def test_what_fails_is_tried_again_later_and_dead_after_its_last_try(farm: Engine, provider: Worker, admin: Actor) -> None:
    provider.answers = {"bad": Executed(3, "no such thing", ""), "slow": Executed(124, "", "")}
    bad, slow = queue.submit(admin, "small", ["bad"], tries=2)[0], queue.submit(admin, "small", ["slow"], tries=1, seconds=5)[0]
    settle(farm, 3)
    waits = queue.get("small", bad)
    assert (waits.state, waits.attempt, waits.problem) == (JobState.QUEUED, 1, "It ended with status 3.")
    assert waits.retry_at is not None
    assert waits.retry_at > now()
    assert queue.get("small", slow).problem == "It did not end within 5 s, and was ended."
    hurry()
    settle(farm, 3)
    assert states() == ["dead", "dead"]
    told = [one.message for one in Event.select().where(Event.kind == "job.dead").order_by(Event.id)]
    assert told[-1] == f"Job {bad} of small, bad, is given up after 2 tries: It ended with status 3."
    provider.answers = {}
    queue.again(admin, "small", bad)
    settle(farm, 3)
    assert (queue.get("small", bad).state, queue.get("small", bad).attempt) == (JobState.DONE, 3)
    with pytest.raises(Conflict, match="Only one that is dead"):
        queue.again(admin, "small", bad)
    with pytest.raises(Conflict, match="does not wait"):
        queue.cancel(admin, "small", bad)


def test_a_worker_with_a_job_is_not_removed_before_its_deadline(farm: Engine, provider: Worker, admin: Actor) -> None:
    provider.gate.clear()
    queue.submit(admin, "small", ["long"], seconds=60)
    farm.tick()
    [busy] = [job.machine_id for job in job_queue.running()]
    classes.change_policy(admin, "small", Form.POLICY, {"buffer": 0})
    for _ in range(3):
        farm.tick()
    assert machines.dispensable("small", 5) == []
    assert [machine.state for machine in machines.live() if machine.id == busy] == [S.READY]
    assert machines.largest("small", 5) == []
    with catalog.write():
        Machine.update(state=S.IN_USE).where(Machine.id != busy, Machine.state == S.READY).execute()
        assert machines.take_machine("small", admin.account_id or 0, now()) is None, "not to somebody who asked before, either"
        Machine.update(state=S.READY).where(Machine.state == S.IN_USE).execute()
    with catalog.write():
        Job.update(deadline=now() - timedelta(seconds=1)).execute()
    assert [machine.id for machine in machines.dispensable("small", 5)] == [busy]
    provider.gate.set()
    settle(farm, 4)
    assert states() == ["done"]
    assert machines.live() == []


def test_a_job_whose_machine_is_gone_is_run_by_another(farm: Engine, provider: Worker, admin: Actor) -> None:
    provider.gate.clear()
    [id] = queue.submit(admin, "small", ["long"])
    farm.tick()
    first = queue.get("small", id).machine_id
    assert first is not None
    master.move(first, S.RECLAIMING, "it is taken away", expect=frozenset({S.READY}), reclaim_reason="by hand")
    farm.tick()
    assert (queue.get("small", id).state, queue.get("small", id).problem) == (JobState.QUEUED, "Its machine is gone.")
    provider.gate.set()
    hurry()
    settle(farm, 4)
    done = queue.get("small", id)
    assert (done.state, done.attempt, done.machine_id != first) == (JobState.DONE, 2, True)


@pytest.mark.crash
def test_an_engine_that_was_killed_leaves_its_jobs_to_the_next(farm: Engine, provider: Worker, opened: Settings, admin: Actor) -> None:
    """Cut when a job was handed out and nothing was run, and when it was run and nobody knew: the same try, in the same machine, which runs it once."""
    [id] = queue.submit(admin, "small", ["work"])
    with catalog.write():
        assert job_queue.take(16) == [id]  # and then kill -9
    before = queue.get("small", id)
    other = Engine(opened, provider)
    settle(other, 3)
    done = queue.get("small", id)
    assert (done.state, done.attempt, done.machine_id) == (JobState.DONE, 1, before.machine_id)
    assert provider.ran == [(done.machine_id, f"/run/dpe/jobs/{id}-1")]
    with catalog.write():
        assert job_queue.ended(id, 1, 3, "", "late") is None, "what was settled stays"
    other.stop()
    other.close()


def test_while_the_hypervisor_is_away_no_try_is_lost(farm: Engine, provider: Worker, admin: Actor) -> None:
    [id] = queue.submit(admin, "small", ["work"], tries=1)
    provider.away = True
    with catalog.write():
        job_queue.take(16)
    farm.controllers.farm._work(id)
    assert queue.get("small", id).state is JobState.RUNNING
    provider.away = False
    settle(farm, 3)
    assert states() == ["done"]


def test_a_rule_has_as_many_workers_as_there_are_jobs(farm: Engine, provider: Worker, admin: Actor) -> None:
    classes.change_policy(admin, "small", Form.POLICY, {"buffer": 0})
    rules.put(
        admin,
        "small",
        "",
        {"name": "jobs", "metric": "jobs", "statistic": "last", "each": 2.0, "most": 4, "cooldown_up": 0, "cooldown_down": 0},
    )
    settle(farm, 4)
    assert machines.live() == []
    queue.submit(admin, "small", ["work"], times=6)
    for line in ("readings", "recorder", "rules"):
        farm.schedule.hurry(line)
        settle(farm, 1)
    assert Class.get().scaling["minimum"]["machines"] == 3
    settle(farm, 8)
    assert states() == ["done"] * 6


def test_a_queue_is_read_by_a_command_in_a_worker_and_what_prints_no_number_holds(farm: Engine, provider: Worker, admin: Actor) -> None:
    of = {"name": "queue", "of": "command", "metric": "length", "command": ["redis-cli", "llen", "q; x"], "each": 5.0, "statistic": "last"}
    rules.put(admin, "small", "", {**of, "cooldown_up": 0, "cooldown_down": 0})
    provider.says = Executed(0, "17\n", "")
    for line in ("probes", "rules"):
        farm.schedule.hurry(line)
        settle(farm, 1)
    assert provider.asked[-1][-3:] == ["redis-cli", "llen", "q; x"]
    assert Class.get().scaling["minimum"]["machines"] == 4
    for wrong in (Executed(0, "many", ""), Executed(0, "nan", ""), Executed(1, "3", "no route")):
        provider.says = wrong
        farm.schedule.hurry("probes")
        settle(farm, 1)
    farm.schedule.hurry("rules")
    settle(farm, 1)
    assert Class.get().scaling["minimum"]["machines"] == 4


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"run": []}, "run"), ({"run": ["a\0"]}, "run"), ({"files": {"../x": ""}}, "files"), ({"files": {"x": "y" * 300_000}}, "files"),
        ({"seconds": 0}, "seconds"), ({"tries": 99}, "tries"), ({"times": 1001}, "times"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_job_is_refused(small: Class, admin: Actor, values: dict[str, object], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        queue.submit(admin, "small", **{"run": ["true"], **values})  # type: ignore[arg-type]
    assert refused.value.field == field
    with pytest.raises(Conflict, match="work on no jobs"):
        queue.submit(admin, "small", ["true"])
