"""Runs: seeing where they stand, and cancelling, repeating or passing over what does not go on."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    EventKind,
    Machine,
    Request,
    RequestState,
    Run,
    RunState,
    SequenceVersion,
    Step,
    StepState,
    WorkItem,
    WorkItemState,
    doorbell,
    machines,
    now,
    record,
    runs,
    work_items,
)
from appliance.catalog.listing import Page, Window
from appliance.errors import BadInput, Conflict, NotFound
from appliance.identity import approvers, permissions
from appliance.services import inbox
from appliance.services import machines as machine_verbs
from appliance.workflow.master import master
from appliance.workflow.runner import planned_steps_of
from appliance.workflow.sequence import PlannedStep

R, S = RunState, StepState
LIVE = (R.QUEUED, R.RUNNING, R.WAITING, R.UNDOING)
REMEMBERED = timedelta(days=7)  # that a refused request is shown to whoever asked
SHOWN = 3  # names of people who are asked


@dataclass(frozen=True)
class RunRow:
    """One step as people see it. `state` is a step's, or `planned`, `skipped` when its conditions did not hold, `unreached` when the run
    ended before."""

    number: int
    name: str
    title: str
    kind: str
    part: str
    state: str
    by: str = ""  # who did it; empty: the appliance
    step: Step | None = None
    todo: WorkItem | None = None
    asked: tuple[str, ...] = ()  # names of those who may decide
    more: int = 0  # of them, whose names are not here


@dataclass(frozen=True)
class RunView:
    """A run with its steps. `cannot` says for each of cancel, retry and skip why not; empty when it can be done."""

    run: Run
    machine: Machine | None
    request: Request | None
    version: SequenceVersion | None
    lines: tuple[RunRow, ...]
    cannot: dict[str, str] = field(default_factory=dict)


def title(kind: str) -> str:
    """What people call a run of this kind."""
    move = master().move.get(kind)
    return move.title if move else kind


def kinds() -> dict[str, str]:
    """The kinds of run, with what people call them."""
    return {name: move.title for name, move in master().move.items() if move.core}


def page_of_runs(
    actor: Actor,
    window: Window,
    ids: Iterable[int] | None = None,
    *,
    kind: str = "",
    state: str = "",
    class_name: str = "",
    machine_id: str = "",
    text: str = "",
) -> Page[Run]:
    """Runs within the actor's reach, and their own; `state` may also be `live`."""
    return runs.list_runs(
        window, permissions.scope_of(actor, "machines.read"), ids, kind=kind, state=R(state) if state in set(R) else None, live=state == "live",
        class_name=class_name, machine_id=machine_id, text=text.strip()[:100], own=actor.account_id,
    )  # fmt: skip


def list_runs(actor: Actor, *, before: int | None = None, limit: int = 50, **narrowing: str) -> list[Run]:
    """The newest of them, with ids below `before`; the others are those of `page_of_runs`."""
    after = (before, before) if before is not None else None
    return page_of_runs(actor, Window("started", descending=True, after=after, size=limit), None, **narrowing).rows


def _demand(actor: Actor, id: int, permission: str) -> Run:
    run = runs.by_id(id)
    if run is None or not (permissions.owns(actor, run.account_id) or permissions.may(actor, permission, "run", id)):
        raise NotFound("There is no such run.", "It may be forgotten, or not yours to look at.")
    return run


def get_run(actor: Actor, id: int) -> RunView:
    """A run that is the actor's own or within their reach. Raises NotFound."""
    run = _demand(actor, id, "machines.read")
    planned_steps, steps = _planned_steps(run), {step.number: step for step in runs.steps(id)}
    machine = machines.by_id(run.machine_id) if run.machine_id else None
    asked_for = Request.get_or_none(Request.id == run.request_id)
    version = SequenceVersion.get_or_none(SequenceVersion.id == run.version_id)
    cannot = {
        "cancel": _not_cancelled(actor, run, planned_steps, steps, asked_for),
        "retry": _not_repeated(actor, run, planned_steps, steps, machine),
        "skip": _not_passed_over(actor, run, planned_steps, steps, machine),
    }
    return RunView(run, machine, asked_for, version, lines(run, planned_steps, steps), cannot)


def _planned_steps(run: Run) -> tuple[PlannedStep, ...]:
    try:
        return planned_steps_of(run)
    except BadInput:  # a kind of activity is gone: what was done is known still
        return ()


def lines(run: Run, planned_steps: tuple[PlannedStep, ...] | None = None, steps: dict[int, Step] | None = None) -> tuple[RunRow, ...]:
    """The steps of a run: those that were begun, were skipped, or are to come."""
    planned_steps = _planned_steps(run) if planned_steps is None else planned_steps
    steps = {step.number: step for step in runs.steps(run.id)} if steps is None else steps
    put = work_items.of_run(run.id)
    found = [_line(run, planned, steps.get(planned.number), put.get(planned.number)) for planned in planned_steps]
    known = {line.number for line in found}
    return (*found, *(_gone(step) for number, step in steps.items() if number not in known))


def _line(run: Run, planned: PlannedStep, step: Step | None, todo: WorkItem | None) -> RunRow:
    whom: list[Account] = []
    if todo is not None and todo.state is WorkItemState.OPEN:
        whom = inbox.asked_now(todo)
    if step is not None:  # what failed stays that, when it was undone
        state = "failed" if step.state is S.UNDONE and step.problem else step.state.value
    elif planned.part == "core" and planned.number < run.position:
        state = "done"  # with the run's beginning: a ready machine is claimed before there is a run
    elif planned.number < run.position or not planned.when.hold(run.facts):
        state = "skipped"
    else:
        state = "planned" if run.ended_at is None and run.state is not R.UNDOING else "unreached"
    names = tuple(one.full_name or one.name for one in whom[:SHOWN])
    by = step.actor if step else ""
    return RunRow(
        planned.number, planned.name, planned.title, planned.kind.name, planned.part, state, by, step, todo, names, len(whom) - len(names)
    )


def _gone(step: Step) -> RunRow:
    return RunRow(step.number, step.name, step.title, step.kind, "", step.state.value, step.actor, step)


# -- what may be done with it: each says why not, or nothing ------------------------------------


def _looks_after(actor: Actor, run: Run) -> bool:
    return permissions.may(actor, "machines.manage", "run", run.id)


def _core(planned_steps: tuple[PlannedStep, ...]) -> list[int]:
    return [planned.number for planned in planned_steps if planned.part == "core"]


def _not_cancelled(
    actor: Actor, run: Run, planned_steps: tuple[PlannedStep, ...], steps: dict[int, Step], asked_for: Request | None
) -> str:
    if run.ended_at is not None:
        return "It has ended."
    if run.cancel or run.state is R.UNDOING:
        return "It is being undone already."
    if not _looks_after(actor, run) and run.asked_by != actor.name:
        return "Somebody else began it, who looks after machines."
    core = _core(planned_steps)
    if core and run.position > core[-1]:
        return ""  # the machine has moved: only what comes after is left out
    if run.kind == "assign":
        waits = asked_for is not None and asked_for.state in machines.ASKED
        return "" if waits else "They have got their machine: give that back instead."
    if run.kind == "make":
        return "A machine that is being made is removed on its own page."
    if run.kind == "reclaim":
        return "What is being taken away cannot be kept any more."
    return "It is at work on the machine: wait until that is done." if any(number in steps for number in core) else ""


def cancel(actor: Actor, id: int) -> None:
    """Have a run end early; what it did is undone. Raises Conflict with the reason when it cannot be any more."""
    with catalog.write():
        sight = get_run(actor, id)
        if why := sight.cannot["cancel"]:
            raise Conflict(f"This run cannot be cancelled. {why}", "Reload the page to see where it stands.")
        run = sight.run
        if sight.request is not None and sight.request.state in machines.ASKED:
            machine_verbs.cancel_request(actor, sight.request.id)
        else:
            runs.cancel(id=id)
            _tell(actor, run, EventKind.RUN_CANCELLED, f"{actor.name} cancelled: {_what(sight)}.")
    doorbell.ring()


def _first_unfinished(run: Run, planned_steps: tuple[PlannedStep, ...], steps: dict[int, Step]) -> int:
    passed_over = {planned.number for planned in planned_steps if planned.goes_on}
    open_ones = (
        step.number for step in steps.values() if step.state is not S.DONE and not (step.state is S.FAILED and step.number in passed_over)
    )
    return min(open_ones, default=run.position)


def _not_repeated(actor: Actor, run: Run, planned_steps: tuple[PlannedStep, ...], steps: dict[int, Step], machine: Machine | None) -> str:
    if run.state is not R.FAILED:
        return "Only a run that failed is tried again."
    if not _looks_after(actor, run):
        return "That is for whoever looks after machines."
    if not planned_steps:
        return "A kind of activity that it needs is gone."
    core = _core(planned_steps)
    moved = _first_unfinished(run, planned_steps, steps) > core[-1]
    if run.kind == "assign" and not moved:
        return "The request was refused: ask again."
    move = master().move[run.kind]
    good = {move.to} if moved else {*move.from_, *([move.via] if move.via else [])}
    theirs = machine is not None and (run.account_id in (None, machine.owner_id) or run.kind == "transfer")
    if machine is None or machine.state not in good or not theirs:
        return "The machine has moved on since."
    if live := runs.live_of_machine(machine.id):
        return f"Another run is at work on the machine: {title(live[0].kind).lower()}."
    return ""


def retry(actor: Actor, id: int) -> None:
    """Let a failed run go on from its first step that is not done, which is done anew with all after it. Raises Conflict."""
    with catalog.write():
        sight = get_run(actor, id)
        if why := sight.cannot["retry"]:
            raise Conflict(f"This run cannot be tried again. {why}", "Reload the page to see where it stands.")
        run = sight.run
        position = _first_unfinished(run, _planned_steps(run), {line.number: line.step for line in sight.lines if line.step})
        _tell(actor, run, EventKind.RUN_RETRIED, f"{actor.name} has this tried again: {_what(sight)}.", failed=run.problem)
        runs.rewind(run, position)
    doorbell.ring()


def _not_passed_over(
    actor: Actor, run: Run, planned_steps: tuple[PlannedStep, ...], steps: dict[int, Step], machine: Machine | None
) -> str:
    if not _looks_after(actor, run):
        return "That is for whoever looks after machines."
    failed = run.state is R.FAILED
    position = _first_unfinished(run, planned_steps, steps) if failed else run.position
    planned, step = next((one for one in planned_steps if one.number == position), None), steps.get(position)
    if run.cancel or not (failed or run.state is R.WAITING) or planned is None or step is None:
        return "Only a step that waits or has failed is passed over."
    if planned.part == "core":
        return "This step belongs to the move itself."
    if planned.kind.by == "person":
        return "People are asked: it is answered under To do."
    if run.account_id == actor.account_id and not approvers.rights(actor.account_id or 0, permissions.of(actor)).owner:
        return "Nobody passes over a step of what they ask for themselves."
    if failed and step.state is not S.FAILED:
        return "What came before the failure was undone: try it again instead."
    return _not_repeated(actor, run, planned_steps, steps, machine) if failed else ""


def skip(actor: Actor, id: int) -> None:
    """Go on without the step that waits or has failed. Raises Conflict for one that belongs to the move, or that people answer."""
    with catalog.write():
        sight = get_run(actor, id)
        if why := sight.cannot["skip"]:
            raise Conflict(f"This step cannot be passed over. {why}", "Reload the page to see where it stands.")
        run = sight.run
        steps = {line.number: line.step for line in sight.lines if line.step}
        number = _first_unfinished(run, _planned_steps(run), steps) if run.state is R.FAILED else run.position
        step = steps[number]
        runs.set_step(step, state=S.CANCELLED, actor=actor.name, ended_at=now())
        _tell(actor, run, EventKind.STEP_PASSED_OVER, f"{actor.name} passed over: {step.title}.", failed=step.problem)
        if run.state is R.FAILED:
            runs.rewind(run, number + 1)
        else:
            runs.set_run(run, position=number + 1, state=R.QUEUED, wake_at=None, why="")
    doorbell.ring()


def _what(sight: RunView) -> str:
    return f"{title(sight.run.kind).lower()} {sight.machine.name if sight.machine else sight.run.class_name or ''}".strip()


def _tell(actor: Actor, run: Run, kind: EventKind, message: str, **data: Any) -> None:
    record(kind, message, actor, class_name=run.class_name, machine_id=run.machine_id, run=run.id, **data)


# -- for whoever asked ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """Where somebody's request stands: its steps without those that were skipped."""

    run: Run
    lines: tuple[RunRow, ...]

    @property
    def at(self) -> RunRow | None:
        """The step that it is at."""
        return next((line for line in self.lines if line.number >= self.run.position), None)


def standing(asked_for: Request) -> Standing | None:
    """Where a request stands; None when nothing is known of it."""
    run = runs.of_request(asked_for.batch_id or asked_for.id) or runs.of_request(asked_for.id)
    return None if run is None else Standing(run, tuple(line for line in lines(run) if line.state not in ("skipped", "unreached")))


def refused(account_id: int, moment: datetime | None = None) -> list[Request]:
    """Requests of the last week that were refused, until who asked has read why or has asked for the class again; the latest first."""
    since = (moment or now()) - REMEMBERED
    found = Request.select().where(Request.account == account_id, Request.state == RequestState.REFUSED, Request.ended_at > since)
    latest: dict[str, Request] = {}
    for one in found.where(Request.dismissed == False).order_by(Request.id):  # noqa: E712
        latest[one.class_name] = one
    newer = {name for name, one in latest.items() if Request.select().where(Request.account == account_id, Request.machine_class == name, Request.id > one.id, Request.state != RequestState.REFUSED).exists()}  # fmt: skip
    return [one for name, one in reversed(latest.items()) if name not in newer]


def dismiss(actor: Actor, request_id: int) -> None:
    """Who asked has read why their request was refused, and all before it of the class. Raises NotFound."""
    with catalog.write():
        one = Request.get_or_none(Request.id == request_id, Request.account == actor.account_id, Request.state == RequestState.REFUSED)
        if one is None:
            raise NotFound("There is no such request of yours.", "Reload the page to see what you hold.")
        Request.update(dismissed=True).where(
            Request.account == actor.account_id, Request.machine_class == one.class_name, Request.state == RequestState.REFUSED
        ).execute()
