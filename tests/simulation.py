"""A simulated appliance: the real catalog, runner and handlers, driven by dice instead of threads and time.

One seed is one history of some people, machines and activities in which anything may happen between any two transactions:
the engine is killed, a reply is lost, a wake-up comes twice, the clock jumps, the provider fails, somebody cancels. At its
end the faults stop, time passes until nothing is left to wait for, and what must hold is checked.
"""

import random
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    Class,
    Grant,
    Lease,
    Machine,
    MachineState,
    Request,
    RequestState,
    Run,
    RunState,
    Seed,
    SeedState,
    Sequence,
    Step,
    StepState,
    VersionState,
    WorkItem,
    WorkItemState,
    database,
    machines,
    now,
    runs,
    sequences,
)
from appliance.catalog import seeds as seed_rows
from appliance.errors import Conflict, DpeError, NotFound
from appliance.lifecycle import master, outcomes
from appliance.lifecycle.handlers import Handlers, ended
from appliance.services import machines as verbs
from appliance.settings import Settings
from appliance.workflow import kinds, sequence, start
from appliance.workflow.activities import ACTIVITIES
from appliance.workflow.kinds import Kind, Options
from appliance.workflow.runner import Begun, Context, Done, Handler, Outcome, Runner, Wait, planned_steps_of
from tests.unit.conftest import SPEC
from tests.unit.engine.fake import FakeProvider

S, R = MachineState, RunState
PEOPLE = 3
ACTS = 40  # things that happen before the faults stop
CHANGING = ("_ask", "_give_back", "_go_on", "_plan", "_kill")
LONGEST = 4000  # steps after which a history that does not come to rest is held not to


class Effect(Options):
    """What the simulated outside world is asked for."""

    answers: bool = True  # whether at once; otherwise somebody there answers later


# An activity with an effect outside, as a webhook has; who uses it registers it, in a process or a test of its own.
EFFECT = Kind("effect", "Effect", "Changes something outside.", Effect)


class Lost(DpeError):
    """The reply was lost, or the provider failed: nobody knows whether anything was done."""


@dataclass
class World:
    """What lies outside, and survives the engine."""

    effects: dict[str, int] = field(default_factory=dict)  # name -> times it was asked for
    answered: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)  # steps whose end was kept


@dataclass
class Flight:
    """A step that a thread is at work on."""

    key: str
    begun: Begun
    outcome: Any = None
    performed: bool = False


def activity(dice: random.Random, name: str, move: str, part: str) -> dict[str, Any]:
    kind = dice.choice(["effect", "effect", "effect", "approval", "task", "wait"])
    kinds: dict[str, dict[str, Any]] = {
        "effect": {"answers": dice.random() < 0.7},
        "approval": {"expires": dice.choice(["1h", "3d"])},
        "task": {"text": "Do it.", "expires": "2d"} | ({"escalate": "1h"} if dice.random() < 0.5 else {}),
        "wait": {"time": dice.choice(["30s", "2h"])},
    }
    found: dict[str, Any] = {"name": name, "kind": kind, "with": kinds[kind]}
    if dice.random() < 0.4:
        found["retry"] = {"tries": dice.randint(1, 4), "wait": "1s", "longest": "1m"}
    if dice.random() < (0.9 if move == "reclaim" else 0.4):
        found["on_failure"] = "go_on"
    if dice.random() < 0.3:
        found["when"] = {"memory": {"above": dice.choice([100, 1000])}}
    return found


@lru_cache(maxsize=1)
def bodies() -> list[str]:
    """Some sequences, as strange as they may be."""
    dice = random.Random(7)
    found = []
    for _ in range(60):
        moves: dict[str, Any] = {}
        for move in ("make", "assign", "reclaim"):
            if dice.random() < 0.6:
                moves[move] = {
                    part: [activity(dice, f"{move}-{part}-{n}", move, part) for n in range(dice.choice([0, 0, 1, 1, 2]))]
                    for part in ("before", "after")
                }
        found.append(sequence.dump({name: sequence.Around.model_validate(around) for name, around in moves.items()}))
    return found


class Template:
    """An opened catalog with people and a class, copied for each history because making it is what takes longest."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        file = settings.catalog
        catalog.open(file)
        with catalog.write():
            for n in range(PEOPLE):
                Account.create(name=f"person{n}", password="!")
            Grant.create(role="approver", account=Account.create(name="boss", password="!").id)
            machine_class = Class.create(
                name="small", spec=SPEC | {"per_person": 2, "user": "user", "boot_timeout": 60}, minimum=0, maximum=4, buffer=1,
                lease_minutes=60, extend_minutes=30, extensions=2, per_person=2, fork=False, readiness="running", sequence="simulated",
            )  # fmt: skip
            folder = file.parents[1] / "seeds/small/1"
            files = {"disk": f"{folder}/disk.qcow2", "kernel": f"{folder}/vmlinuz", "initrd": f"{folder}/initrd", "cmdline": ""}
            seed_rows.promote(Seed.create(machine_class=machine_class.name, version=1, state=SeedState.READY, files=files))
            Sequence.create(name="simulated", title="Simulated")
        catalog.close()
        self._copy = sqlite3.connect(":memory:")
        with sqlite3.connect(file) as source:
            source.backup(self._copy)

    def open(self) -> None:
        """A fresh copy, in memory, as the catalog of this process."""
        catalog.close()
        database.db.init(":memory:", pragmas={"foreign_keys": 1})
        database.db.connect()
        self._copy.backup(database.db.connection())


class Simulation:
    """One history."""

    def __init__(self, template: Template, seed: int) -> None:
        template.open()
        self.dice = random.Random(seed)
        self.settings = template.settings
        self.body = self.dice.choice(bodies())
        with catalog.write():
            sequences.add("simulated", self.body, VersionState.PROMOTED)
        self.people = [Actor(account.name, account.id) for account in Account.select().where(Account.name != "boss")]
        self.provider = FakeProvider()
        self.world = World()
        self.offset = timedelta(days=1)
        self.flights: list[Flight] = []
        self.settled: list[Flight] = []
        self.calm = False
        self.log: list[str] = []
        self.trouble = self.dice.choice([0.02, 0.15, 0.4])
        self._start()

    def _start(self) -> None:
        """A new engine process: all that the last one knew is lost."""
        handlers: Mapping[str, Handler] = {
            **ACTIVITIES,
            "effect": Handler(self._effect, self._undo_effect),
            **Handlers(self.settings, self.provider).all(),
        }
        self.runner = Runner(handlers, ended=ended, clock=self.now)
        with catalog.write():
            runs.requeue()

    def now(self) -> datetime:
        return now() + self.offset

    # -- what is outside -----------------------------------------------------------------------

    def _effect(self, step: Context, options: Effect) -> Outcome:
        assert step.name not in self.world.finished, f"{step.name} was finished, and is done again"
        self._maybe("the reply was lost before anything was done")
        self.world.effects[step.name] = self.world.effects.get(step.name, 0) + 1
        self._maybe("the reply was lost afterwards")
        if not options.answers and step.name not in self.world.answered:
            return Wait(None, "an answer")
        return Done({"told": step.name})

    def _undo_effect(self, step: Context, _options: Effect) -> None:
        self._maybe("the undoing was lost before")
        self.world.effects.pop(step.name, None)

    def _maybe(self, why: str) -> None:
        if not self.calm and self.dice.random() < self.trouble:
            raise Lost(why)

    # -- what happens --------------------------------------------------------------------------

    def play(self) -> None:
        acts: list[tuple[int, Callable[[], None]]] = [
            (6, self._ask), (4, self._give_back), (1, self._stop_waiting), (4, self._answer), (1, self._cancel), (3, self._plan),
            (12, self._dispatch), (14, self._go_on), (3, self._time), (2, self._kill), (2, self._echo), (2, self._provider), (2, self._wake), (1, self._retry),
        ]  # fmt: skip
        weights = [weight for weight, _ in acts]
        for _ in range(ACTS):
            [(_, act)] = self.dice.choices(acts, weights)
            self.log.append(act.__name__)
            try:
                act()
            except (Conflict, NotFound) as refused:
                self.log.append(f"  refused: {refused}")
            if act.__name__ in CHANGING:
                self._always()
        self._calm()
        self._at_the_end()

    def _ask(self) -> None:
        verbs.request(self.dice.choice(self.people), "small")

    def _give_back(self) -> None:
        leases = list(Lease.select().where(Lease.ended_at.is_null()))
        if leases:
            lease = self.dice.choice(leases)
            verbs.release(next(person for person in self.people if person.account_id == lease.account_id), lease.machine_id)

    def _stop_waiting(self) -> None:
        asked = list(Request.select().where(Request.state.in_(machines.ASKED)))
        if asked:
            one = self.dice.choice(asked)
            verbs.cancel_request(next(person for person in self.people if person.account_id == one.account_id), one.id)

    def _answer(self) -> None:
        todos = runs.open_work_items()
        if todos:
            todo = self.dice.choice(todos)
            state = WorkItemState.DONE if self.dice.random() < 0.7 else WorkItemState.REFUSED
            with catalog.write():
                WorkItem.update(state=state, decided_by="boss", decided_at=self.now()).where(WorkItem.id == todo.id).execute()
                runs.wake(todo.run_id)
        self._outside_answers([name for name in self.world.effects if self.dice.random() < 0.3])

    def _outside_answers(self, names: list[str]) -> None:
        """Once for each: who does not hear it then never will."""
        for name in names:
            if name not in self.world.answered:
                self.world.answered.add(name)
                with catalog.write():
                    runs.wake(int(name.split("-")[0]))

    def _cancel(self) -> None:
        live = list(Run.select().where(Run.ended_at.is_null(), Run.kind == "assign", Run.machine.is_null()))
        if live:
            with catalog.write():
                runs.cancel(id=self.dice.choice(live).id)

    def _plan(self) -> None:
        """What the planner does: a machine for whoever waits, and one for the buffer."""
        counts = machines.counts().get("small", {})
        there = sum(counts.get(state, 0) for state in (S.PLANNED, S.CREATING, S.READY))
        [(failures,)] = database.rows("SELECT failures FROM class")  # the real one waits longer and longer, and for ever
        if failures < 5 and there < 1 + machines.waiting().get("small", 0) and sum(counts.values()) < 6:
            with catalog.write():
                seed = seed_rows.promoted("small")
                assert seed is not None
                [slot] = machines.next_slots(1, 50)
                start.begin_run("make", machines.create(Class.get(), seed, str(uuid.UUID(int=self.dice.getrandbits(128), version=4)), slot))
        self._react()

    def _react(self) -> None:
        """What the engine does at each tick besides."""
        counts = machines.counts().get("small", {})
        if counts.get(S.FAILED):
            for machine in machines.failed():
                master.move(machine.id, S.RECLAIMING, "thrown away")
        if counts.get(S.READY) and machines.waiting():
            outcomes.serve_waiting("small")

    def _dispatch(self) -> None:
        """Begin a step of some run that can go on, as a free thread would: one at a time for a machine."""
        keys = {flight.key for flight in self.flights}
        for due in self._shuffled(runs.due_steps(self.now())):
            key = due.machine_id or f"run-{due.id}"
            if key not in keys and (begun := self.runner.begin(due.id)) is not None:
                self.flights.append(Flight(key, begun))
                return

    def _shuffled(self, found: list[Any]) -> list[Any]:
        return self.dice.sample(found, len(found))

    def _go_on(self) -> None:
        """Some thread does its step, or keeps what came of it."""
        if not self.flights:
            return
        flight = self.dice.choice(self.flights)
        if not flight.performed:
            flight.outcome, flight.performed = self.runner.perform(flight.begun), True
            return
        self.flights.remove(flight)
        self.settled.append(flight)
        self.runner.settle(flight.begun, flight.outcome)
        step = runs.step(flight.begun.context.run.id, flight.begun.context.planned.number)
        if step is not None and step.state is StepState.DONE:
            self.world.finished.add(flight.begun.context.name)

    def _echo(self) -> None:
        """What became of a step is told once more, when others have long been at work."""
        if self.settled:
            flight = self.dice.choice(self.settled)
            self.runner.settle(flight.begun, flight.outcome)

    def _time(self) -> None:
        self.offset += timedelta(seconds=self.dice.choice([-600, 1, 60, 3600, 4 * 3600, 2 * 86400]))

    def _kill(self) -> None:
        """kill -9: whatever threads were at is cut off where it is, and a new engine starts."""
        if self.dice.random() < 0.3:
            self.provider.fails.clear()
        self.flights.clear()
        self._start()

    def _provider(self) -> None:
        self.provider.fails.clear()
        self.provider.away = self.dice.random() < 0.2
        if self.dice.random() < 0.5:
            self.provider.fails[self.dice.choice(["clone", "start", "wait", "destroy"])] = Lost("The provider failed.")

    def _wake(self) -> None:
        live = list(Run.select().where(Run.ended_at.is_null()))
        if live:
            with catalog.write():
                runs.wake(self.dice.choice(live).id)

    def _retry(self) -> None:
        """The engine's own thread died: its run is queued again by the thread's last words, while nobody else is at it."""
        if self.flights:
            flight = self.flights.pop(self.dice.randrange(len(self.flights)))
            with catalog.write():
                runs.requeue(flight.begun.context.run.id)

    def _calm(self) -> None:
        """The faults stop, people answer, and time passes until nothing is left to wait for."""
        self.calm = True
        self.provider.fails.clear()
        self.provider.away = False
        self._kill()
        for _ in range(LONGEST):
            while self.flights:
                self._go_on()
            self._dispatch()
            if self.flights:
                continue
            self._plan()
            if runs.due_steps(self.now()):
                continue
            if unanswered := [name for name in self.world.effects if name not in self.world.answered]:
                self._outside_answers(unanswered)
                continue
            self._nothing_overslept()
            wake = runs.next_wake()
            if wake is None:
                return
            self.offset += max(timedelta(), wake - self.now()) + timedelta(seconds=1)
        raise AssertionError(f"it does not come to rest: {self._live()}")

    def _nothing_overslept(self) -> None:
        """No run waits for what has happened already."""
        late = """
            SELECT run.id FROM run JOIN work_item AS item ON item.run_id = run.id AND item.number = run.position WHERE run.state = 'waiting' AND item.state <> 'open'
            UNION SELECT run.id FROM run JOIN request ON request.id = run.request_id
            WHERE run.state = 'waiting' AND run.why = 'a machine of this class' AND request.state <> 'waiting'
        """
        assert not database.rows(late), "a wake-up was lost"

    def _live(self) -> list[tuple[Any, ...]]:
        return [(run.id, run.kind, run.state, run.position, run.why) for run in Run.select().where(Run.ended_at.is_null())]

    # -- what must hold --------------------------------------------------------------------------

    def _always(self) -> None:
        """At every moment: one owner at most, and whoever holds a machine has a lease of it."""
        leases = database.rows("SELECT machine_id FROM lease WHERE ended_at IS NULL")
        assert len(leases) == len(set(leases)), leases
        for id, state in database.rows("SELECT id, state FROM machine WHERE state IN ('assigned', 'in_use')"):
            assert (id,) in leases, f"{id} is {state} without a lease"

    def _at_the_end(self) -> None:
        self._always()
        live = [run for run in self._live() if not (run[1] == "assign" and run[4] == "a machine of this class")]
        assert not live, f"runs that never end: {live}"
        for machine in Machine.select():
            # What failed before a machine is taken away leaves it there for an admin to say what is to become of it.
            failed = machine.state is S.RECLAIMING and Run.select().where(Run.machine == machine.id, Run.state == R.FAILED).count()
            assert machine.state in (S.READY, S.IN_USE, S.RETIRED) or failed, f"{machine.name} is left {machine.state}"
        left = machines.live_ids()
        assert set(self.provider.domains) <= left, "a domain is left behind"
        assert self.provider.files <= left, "a disk is left behind"
        for asked in Request.select().where(Request.state == RequestState.GRANTED):
            assert asked.__data__["machine"], "a request was granted without a machine"
        for asked in Request.select().where(Request.state == RequestState.PENDING):
            raise AssertionError(f"request {asked.id} is pending for ever")
        self._effects_stand_or_fall()

    def _effects_stand_or_fall(self) -> None:
        """What a finished step did outside is there; what an undone one did is not."""
        stuck = {row[0] for row in database.rows("SELECT json_extract(data, '$.run') FROM event WHERE kind = 'step.not_undone'")}
        for step in Step.select(Step, Run).join(Run).where(Step.kind == "effect"):
            name, run = f"{step.run_id}-{step.name}", step.run
            if step.state is StepState.DONE:
                assert name in self.world.effects, f"{name} is done, and was not"
            turned_back = run.state in (R.FAILED, R.CANCELLED) and not self._moved(run)
            if (step.state is StepState.UNDONE or turned_back) and run.id not in stuck:
                assert name not in self.world.effects, f"{name} should have been undone, and is there"

    @staticmethod
    def _moved(run: Run) -> bool:
        core = [planned.number for planned in planned_steps_of(run) if planned.part == "core"]
        return run.position > max(core)


def play(folder: Path, seeds: range) -> str:
    """Play these histories in this process; says what went wrong with the first that did, or nothing."""
    from appliance import layout
    from appliance.settings import load

    kinds.register([EFFECT])
    settings = load({}, state=folder, network="sim", slots=50)
    layout.prepare(settings)
    template = Template(settings)
    for seed in seeds:
        simulation = Simulation(template, seed)
        try:
            simulation.play()
        except BaseException as error:
            story = "\n".join(simulation.log)
            return f"seed {seed}: {type(error).__name__}: {error}\nsequence: {simulation.body}\n{story}"
    catalog.close()
    return ""
