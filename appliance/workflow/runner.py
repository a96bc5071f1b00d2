"""The durable runner: takes a run from step to step so that a kill at any point changes nothing.

For each step, one transaction writes that it begins, then its handler works outside of any transaction, then one
transaction keeps the result together with whatever the handler wants committed with it. A handler may therefore be called
again for a step whose result was lost, and must find what it left: all names outside derive from the ids of run and machine.
The design is that of DBOS: a finished step is never run again, and what a killed process was doing is queued anew.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from appliance import catalog, tracing
from appliance.catalog import EventKind, Run, RunState, Step, StepState, now, record, runs, sequences
from appliance.errors import BadInput, Conflict, DpeError
from appliance.workflow import master, sequence
from appliance.workflow.sequence import PlannedStep

log = logging.getLogger(__name__)

CUT_OFF = 25  # times that the engine may die in a step before the step is held to be why
UNDO_TRIES = 3
R, S = RunState, StepState


@dataclass(frozen=True)
class Done:
    """The step is finished. `commit` is called in the transaction that says so."""

    output: dict[str, Any] = field(default_factory=dict)
    commit: Callable[[], None] | None = None
    actor: str = ""


@dataclass(frozen=True)
class Wait:
    """The step goes on at a time, or with None only when the run is woken; then its handler is called again."""

    until: datetime | None
    why: str
    commit: Callable[[], None] | None = None


@dataclass(frozen=True)
class Failed:
    """The step has failed for good: trying again would not help."""

    error: DpeError
    commit: Callable[[], None] | None = None
    actor: str = ""


@dataclass(frozen=True)
class GoTo:
    """The run goes back to an earlier step of those that belong to the move, which is done anew, and all from there on."""

    to: str
    commit: Callable[[], None] | None = None


@dataclass(frozen=True)
class Decide:
    """What became of the step is found out by `judge`, in the transaction that keeps it."""

    judge: Callable[[], "Done | Wait | Failed"]


Outcome = Done | Wait | Failed | GoTo | Decide


class Queue(StrEnum):
    """Which threads do it: short work for a person who waits, long work on machines, or talk with servers and guests."""

    SHORT = "short"
    LONG = "long"
    NETWORK = "network"


@dataclass(frozen=True)
class Context:
    """What a handler knows. `report` shows people where it stands; `cancelled` says whether to stop early."""

    run: Run
    planned: PlannedStep
    attempts: int  # times it failed already
    since: datetime  # when it was begun first
    now: datetime
    report: Callable[[str], None] = lambda _text: None
    cancelled: Callable[[], bool] = lambda: False

    @property
    def name(self) -> str:
        """A name for the step that is the same however often it is tried."""
        return f"{self.run.id}-{self.planned.name}"


@dataclass(frozen=True)
class Handler:
    """What a kind of activity does, and how it is undone. Both may be called again, and then change nothing more."""

    perform: Callable[[Context, Any], Outcome]
    undo: Callable[[Context, Any], None] | None = None
    queue: Queue = Queue.NETWORK


@dataclass(frozen=True)
class Begun:
    """A step that was begun, or whose undoing was."""

    context: Context
    handler: Handler
    undoing: bool = False


@dataclass(frozen=True)
class Raised:
    """The handler failed, and may be tried again."""

    error: DpeError


class Runner:
    """Knows what the kinds of activity do, and nothing else: all it goes by is in the catalog."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        ended: Callable[[Run], None] = lambda _run: None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        """`ended` is called in the transaction that ends a run."""
        self._handlers, self._ended, self._clock = handlers, ended, clock

    def next(self, id: int) -> PlannedStep | None:
        """The step at which a run stands; None when it has ended, is being undone, or can only fail: its kind of activity is gone."""
        run = runs.by_id(id)
        if run is None or run.ended_at is not None or run.state is R.UNDOING or run.cancel:
            return None
        return next((planned for planned in self._all(run)[run.position :] if planned.when.hold(run.facts)), None)

    def queue(self, planned: PlannedStep | None) -> Queue:
        """Which threads do the step; ending and undoing a run talks to the outside, if anything."""
        handler = self._handlers.get(planned.kind.name) if planned else None
        return handler.queue if handler else Queue.NETWORK

    def _left(self, run: Run) -> tuple[PlannedStep, ...]:
        return planned_steps_of(run)[run.position :]

    def advance(self, id: int) -> None:
        """Take the run as far as it goes now."""
        while (begun := self.begin(id)) is not None:
            self.settle(begun, self.perform(begun))

    # -- a step: begin, perform, settle -------------------------------------------------------

    def begin(self, id: int) -> Begun | None:
        """Write down that the next step begins, or end the run. None when there is nothing to do now."""
        with catalog.write():
            run = runs.by_id(id)
            moment = self._clock()
            if run is None or not _can_go_on(run, moment):
                return None
            _is_for(run)
            if run.state is R.UNDOING:
                return self._begin_undo(run)
            if run.cancel:
                return self._begin_undo(self._turn_back(run, DpeError("It was cancelled.")))
            try:
                left = self._left(run)
            except BadInput as gone:
                return self._begin_undo(self._turn_back(run, gone))
            planned = next((planned for planned in left if planned.when.hold(run.facts)), None)
            if planned is None:
                self._end(run, R.DONE)
                return None
            step = runs.step(id, planned.number)
            if step is not None and planned.tries and step.starts >= CUT_OFF:
                died = DpeError(f"The engine died {CUT_OFF} times while it did this.", "Look at its log, then try again.")
                self._failed(run, planned, step, died, None, "")
                return self._begin_undo(run) if run.state is R.UNDOING else None
            step = self._note(run, planned, step, moment)
            runs.set_run(
                run,
                state=R.RUNNING,
                position=planned.number,
                wake_at=None,
                woken=False,
                why="",
                turn=run.turn + 1,
                started_at=run.started_at or moment,
            )
        return Begun(self._context(run, planned, step), self._handler(planned))

    def _note(self, run: Run, planned: PlannedStep, step: Step | None, moment: datetime) -> Step:
        if step is None:
            return Step.create(
                run=run.id, number=planned.number, name=planned.name, kind=planned.kind.name, title=planned.title, state=S.RUNNING, starts=1,
                started_at=moment,
            )  # fmt: skip
        runs.set_step(step, state=S.RUNNING, starts=step.starts + 1, ended_at=None)
        return step

    def _handler(self, planned: PlannedStep) -> Handler:
        return self._handlers.get(planned.kind.name) or Handler(_nobody)

    def _context(self, run: Run, planned: PlannedStep, step: Step) -> Context:
        def report(text: str) -> None:
            with catalog.write():
                runs.set_run(run, why=text)

        def cancelled() -> bool:
            known = runs.by_id(run.id)
            return known is None or known.cancel

        return Context(run, planned, step.attempts, step.started_at, self._clock(), report, cancelled)

    def perform(self, begun: Begun) -> Outcome | Raised:
        """Do what was begun, outside of any transaction."""
        context, handler = begun.context, begun.handler
        _is_for(context.run)
        try:
            if begun.undoing:
                assert handler.undo is not None
                handler.undo(context, context.planned.options)
                return Done()
            return handler.perform(context, context.planned.options)
        except DpeError as error:
            return Raised(error)
        except Exception:
            log.exception("run %d: %s failed", context.run.id, context.planned.name)
            return Raised(DpeError("Something went wrong on our side.", "The engine's log has the rest."))

    def settle(self, begun: Begun, outcome: Outcome | Raised) -> None:
        """Keep what became of a step, and all that goes with it, in one transaction; nothing when the run has moved on since."""
        _is_for(begun.context.run)
        try:
            self._settle(begun, outcome)
        except Conflict as conflict:  # what was to be committed with it could not be: the machine is no longer where it was
            if begun.undoing or isinstance(outcome, Raised):
                raise
            self._settle(begun, Failed(conflict))

    def _settle(self, begun: Begun, outcome: Outcome | Raised) -> None:
        planned, id = begun.context.planned, begun.context.run.id
        with catalog.write():
            run, step = runs.by_id(id), runs.step(id, planned.number)
            if run is None or step is None or run.ended_at is not None or run.turn != begun.context.run.turn:
                return
            if begun.undoing:
                if run.state is R.UNDOING and step.state is S.UNDOING:
                    self._undone(run, step, outcome)
                return
            if run.state is not R.RUNNING or run.position != planned.number or step.state is not S.RUNNING:
                return
            if isinstance(outcome, Decide):
                outcome = outcome.judge()
            match outcome:
                case Done():
                    self._done(run, planned, step, outcome)
                case Wait():
                    self._waits(run, step, outcome)
                case Failed():
                    self._failed(run, planned, step, outcome.error, outcome.commit, outcome.actor)
                case GoTo():
                    self._back(run, planned, outcome)
                case Raised():
                    failures = step.attempts + 1
                    if planned.tries and failures >= planned.tries:
                        runs.set_step(step, attempts=failures)
                        self._failed(run, planned, step, outcome.error, None, "")
                    else:
                        self._again(run, planned, step, outcome.error, failures)

    # -- what becomes of it: each inside the transaction --------------------------------------

    def _done(self, run: Run, planned: PlannedStep, step: Step, outcome: Done) -> None:
        if outcome.commit:
            outcome.commit()
        moment = self._clock()
        runs.set_step(step, state=S.DONE, output=outcome.output, problem="", hint="", actor=outcome.actor, ended_at=moment)
        runs.set_run(run, position=planned.number + 1, state=R.QUEUED, wake_at=None, why="")
        if planned.part != "core":
            _tell(run, EventKind.STEP_DONE, f"{planned.title}: done{f' by {outcome.actor}' if outcome.actor else ''}.")
        if not run.cancel and not any(one.when.hold(run.facts) for one in self._left(run)):
            self._end(run, R.DONE)

    def _waits(self, run: Run, step: Step, outcome: Wait) -> None:
        if outcome.commit:
            outcome.commit()
        runs.set_step(step, state=S.WAITING, starts=0)
        runs.set_run(run, state=R.QUEUED if run.woken else R.WAITING, wake_at=outcome.until, why=outcome.why)

    def _back(self, run: Run, planned: PlannedStep, outcome: GoTo) -> None:
        if outcome.commit:
            outcome.commit()
        to = next(one.number for one in planned_steps_of(run) if one.name == outcome.to and one.part == "core")
        Step.update(state=S.UNDONE, starts=0, attempts=0, ended_at=self._clock()).where(
            Step.run == run.id, Step.number.between(to, planned.number)
        ).execute()
        runs.set_run(run, position=to, state=R.QUEUED, wake_at=None, why="")

    def _again(self, run: Run, planned: PlannedStep, step: Step, error: DpeError, failures: int) -> None:
        runs.set_step(step, state=S.WAITING, starts=0, attempts=failures, problem=error.message, hint=error.hint)
        until = self._clock() + planned.retry.pause(failures)
        runs.set_run(run, state=R.QUEUED if run.cancel else R.WAITING, wake_at=until, why=f"Tried again after a failure: {error.message}")
        if failures == 1:
            log.warning("run %d: %s: %s", run.id, planned.name, error)

    def _failed(self, run: Run, planned: PlannedStep, step: Step, error: DpeError, commit: Callable[[], None] | None, actor: str) -> None:
        moment = self._clock()
        runs.set_step(step, state=S.FAILED, problem=error.message, hint=error.hint, actor=actor, ended_at=moment)
        if planned.goes_on:
            runs.set_run(run, position=planned.number + 1, state=R.QUEUED, wake_at=None, why="")
            _tell(run, EventKind.STEP_FAILED, f"{planned.title} failed, and was passed over: {error.message}", hint=error.hint)
            return
        if commit:
            commit()
        self._turn_back(run, error)
        if planned.part != "core":  # of what belongs to a move, the machine's own event tells
            _tell(run, EventKind.RUN_FAILED, f"{planned.title}: {error.message}", hint=error.hint)

    def _turn_back(self, run: Run, error: DpeError) -> Run:
        runs.set_run(run, state=R.UNDOING, wake_at=self._clock(), problem=error.message, hint=error.hint, why="being undone")
        return run

    def _begin_undo(self, run: Run) -> Begun | None:
        by_number = {planned.number: planned for planned in self._all(run)}
        moved = max((planned.number for planned in by_number.values() if planned.part == "core"), default=0) < run.position
        for step in runs.undoable(run.id):
            planned = by_number.get(step.number)
            if moved and planned is not None and planned.part != "after":
                break  # what came before a move stands, once the machine has moved
            handler = self._handler(planned) if planned else None
            if planned is None or handler is None or handler.undo is None:
                if step.state is not S.DONE and step.state is not S.FAILED:
                    runs.set_step(step, state=S.CANCELLED, ended_at=self._clock())
                continue
            runs.set_step(step, state=S.UNDOING, starts=step.starts + 1 if step.state is S.UNDOING else 1)
            runs.set_run(run, wake_at=None, turn=run.turn + 1)
            return Begun(self._context(run, planned, step), handler, undoing=True)
        self._end(run, R.CANCELLED if run.cancel else R.FAILED)
        return None

    def _undone(self, run: Run, step: Step, outcome: Outcome | Raised) -> None:
        runs.set_run(run, wake_at=self._clock())
        if isinstance(outcome, Raised):
            if step.starts < UNDO_TRIES:
                runs.set_run(run, wake_at=self._clock() + timedelta(seconds=5 * 2**step.starts))
                return
            error = outcome.error
            _tell(run, EventKind.STEP_NOT_UNDONE, f"{step.title} could not be undone: {error.message}", hint=error.hint)
        runs.set_step(step, state=S.UNDONE, ended_at=self._clock())

    def _end(self, run: Run, state: RunState) -> None:
        runs.set_run(run, state=state, ended_at=self._clock(), wake_at=None, why="")
        self._ended(run)

    def _all(self, run: Run) -> tuple[PlannedStep, ...]:
        try:
            return planned_steps_of(run)
        except BadInput:
            return ()


def _can_go_on(run: Run, moment: datetime) -> bool:
    match run.state:
        case R.QUEUED:
            return True
        case R.WAITING | R.UNDOING:
            return run.wake_at is not None and run.wake_at <= moment
        case _:
            return False  # it has ended, or somebody is at work on it


def _is_for(run: Run) -> None:
    """Log lines and events of this thread are of the request that the run was begun for, from now on."""
    tracing.begin(str(run.facts.get("request", "")))


def planned_steps_of(run: Run) -> tuple[PlannedStep, ...]:
    """All steps of a run, from the version of the sequence that it began with."""
    return sequence.planned_steps(run.kind, sequences.body(run.version_id), bare=bool(run.facts.get("bare")))


def before_move(run: Run) -> bool:
    """Whether a run that has not ended has yet to make its move, or is being undone."""
    last = master.core(run.kind)[-1]
    return run.state is R.UNDOING or run.position <= sequence.core_at(run.kind, sequences.body(run.version_id), last)


def _nobody(context: Context, _options: Any) -> Outcome:
    kind = context.planned.kind.name
    return Failed(DpeError(f"Nothing here does activities of the kind {kind}.", "Install what brought it, or take it out of the sequence."))


def _tell(run: Run, kind: EventKind, message: str, **data: Any) -> None:
    record(kind, message, class_name=run.class_name, machine_id=run.machine_id, account_id=run.account_id, run=run.id, **data)
