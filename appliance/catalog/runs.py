"""Runs and their steps: begun, found when they are due, woken, cancelled, forgotten. What they mean is in workflow/."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from peewee import JOIN, fn

from appliance import tracing
from appliance.catalog import listing
from appliance.catalog.database import change, found, rows
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page, Window
from appliance.catalog.models import Account, Machine, Request, Run, RunState, Step, StepState, WorkItem, WorkItemState, now, stamp


def begin_run(
    kind: str,
    *,
    machine_id: str | None = None,
    request_id: int | None = None,
    class_name: str | None = None,
    account_id: int | None = None,
    version_id: int | None = None,
    position: int = 0,
    priority: int = 5,
    waits: str = "",
    facts: dict[str, Any] | None = None,
    asked_by: str = "",
) -> int:
    """A new run, and its id; call it inside `write()`. Its facts have the id of the request that it is begun for, as `request`. One that `waits` for something is not due until it is woken.

    The index run_one refuses a second live run of one kind for a machine.
    """
    asked = {"request": id} if (id := tracing.current.get()) else {}
    result = rows(
        """
        INSERT INTO run (kind, state, machine_id, request_id, class_name, account_id, version_id, position, priority, why, facts, asked_by,
                         created_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
        """,
        (
            kind,
            "waiting" if waits else "queued",
            machine_id,
            request_id,
            class_name,
            account_id,
            version_id,
            position,
            priority,
            waits,
            json.dumps({**(facts or {}), **asked}, separators=(",", ":")),
            asked_by,
            stamp(now()),
        ),
    )
    return int(result[0][0])


def handed_over(machine_id: str) -> Step | None:
    """The last step that handed the machine over to whoever asked for it, with its run and request."""
    done = (Run.machine == machine_id, Step.name == "hand_over", Step.state == StepState.DONE)
    chosen = Step.select(Step, Run, Request).join(Run).join(Request).where(*done).order_by(Step.ended_at.desc())
    step: Step | None = chosen.first()
    return step


class Due(NamedTuple):
    """A run that can go on."""

    id: int
    kind: str
    machine_id: str | None


def due_steps(moment: datetime, limit: int = 500) -> list[Due]:
    """The runs that can go on, the most urgent first."""
    result = rows(
        """
        SELECT id, kind, machine_id FROM run
        WHERE ended_at IS NULL AND (state = 'queued' OR (state IN ('waiting', 'undoing') AND wake_at <= ?)) ORDER BY priority, id LIMIT ?
        """,
        (stamp(moment), limit),
    )
    return [Due(*row) for row in result]


def next_wake() -> datetime | None:
    """When the next run goes on by itself."""
    result = rows("SELECT min(wake_at) FROM run WHERE ended_at IS NULL AND state IN ('waiting', 'undoing')")
    return datetime.fromisoformat(result[0][0]) if result[0][0] else None


def wake(id: int) -> None:
    """Let a run go on: something that it may wait for has happened. Call it inside `write()`."""
    rows(
        "UPDATE run SET woken = 1, state = iif(state = 'waiting', 'queued', state) WHERE id = ? AND ended_at IS NULL RETURNING id",
        (id,),
    )


def give(request_id: int, machine_id: str) -> bool:
    """The latest run of a request has got its machine, and goes on; False when there is none. Call it inside `write()`."""
    found = rows(
        """
        UPDATE run SET woken = 1, state = iif(state = 'waiting', 'queued', state), machine_id = ?
        WHERE id = (SELECT max(id) FROM run WHERE request_id = ?) AND ended_at IS NULL RETURNING id
        """,
        (machine_id, request_id),
    )
    return bool(found)


def take_back(request_id: int) -> None:
    """The run of a request has lost its machine; call it inside `write()`."""
    rows("UPDATE run SET machine_id = NULL WHERE request_id = ? AND ended_at IS NULL RETURNING id", (request_id,))


def requeue(id: int | None = None) -> int:
    """What was at work on a run has gone, or on all of them: it goes on from where it stands. Returns how many those are.

    Call it inside `write()`.
    """
    only, values = ("", ()) if id is None else (" AND id = ?", (id,))
    cut_off = rows(f"UPDATE run SET state = 'queued' WHERE ended_at IS NULL AND state = 'running'{only} RETURNING id", values)  # noqa: S608
    undoing = rows(f"UPDATE run SET wake_at = created_at WHERE ended_at IS NULL AND state = 'undoing'{only} RETURNING id", values)  # noqa: S608
    return len(cut_off) + len(undoing)


def look_again(moment: datetime) -> None:
    """Let every run look whether it still has to wait: the clock may have been ahead when that was counted. Call it inside `write()`."""
    rows(
        "UPDATE run SET wake_at = ? WHERE ended_at IS NULL AND state = 'waiting' AND wake_at > ? RETURNING id",
        (stamp(moment), stamp(moment)),
    )


def cancel(*, id: int | None = None, request_id: int | None = None, machine_id: str | None = None) -> list[int]:
    """Have runs end early; what they did is undone. Returns their ids; call it inside `write()`.

    One that is being undone already ends as what it would have. Those of a request that have done nothing yet end at once: so many may
    wait in vain that ending them would be work.
    """
    if request_id is not None:
        rows(
            """
            UPDATE run SET cancel = 1, state = 'cancelled', ended_at = ?, wake_at = NULL, why = '' WHERE request_id = ? AND ended_at IS NULL
              AND state IN ('waiting', 'queued') AND NOT EXISTS (SELECT 1 FROM step WHERE step.run_id = run.id) RETURNING id
            """,
            (stamp(now()), request_id),
        )
    column, value = next((name, value) for name, value in (("id", id), ("request_id", request_id), ("machine_id", machine_id)) if value)
    result = rows(
        f"""
        UPDATE run SET cancel = 1, woken = 1, state = iif(state = 'waiting', 'queued', state)
        WHERE {column} = ? AND ended_at IS NULL AND cancel = 0 AND state <> 'undoing' RETURNING id
        """,  # noqa: S608
        (value,),
    )
    return [row[0] for row in result]


def by_id(id: int) -> Run | None:
    return next(iter(found(Run, "id = ?", (id,))), None)


def set_run(run: Run, **values: Any) -> None:
    """Change a run, in the catalog and in hand; call it inside `write()`."""
    _set(run, values)
    change(Run, values, "id = ?", (run.id,))


def set_step(step: Step, **values: Any) -> None:
    """Change a step, in the catalog and in hand; call it inside `write()`."""
    _set(step, values)
    change(Step, values, "run_id = ? AND number = ?", (step.run_id, step.number))


def _set(row: Run | Step, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def steps(run_id: int) -> list[Step]:
    """The steps of a run that were begun, in order."""
    return found(Step, "run_id = ? ORDER BY number", (run_id,))


def step(run_id: int, number: int) -> Step | None:
    return next(iter(found(Step, "run_id = ? AND number = ?", (run_id, number))), None)


def live_of_machine(machine_id: str) -> list[Run]:
    """The runs of a machine that have not ended, oldest first."""
    return list(Run.select().where(Run.machine == machine_id, Run.ended_at.is_null()).order_by(Run.id))


def of_request(request_id: int) -> Run | None:
    """The latest run of a request."""
    found: Run | None = Run.select().where(Run.request == request_id).order_by(Run.id.desc()).first()
    return found


def missing() -> list[tuple[str, str]]:
    """Machines in a state that only a run leads out of, and that no run is at work on or has given up: ids with the kind of run.

    They come from a catalog of before there were runs.
    """
    result = rows(
        """
        SELECT machine.id, CASE machine.state WHEN 'assigned' THEN 'assign' WHEN 'reclaiming' THEN 'reclaim' ELSE 'make' END AS wanted
        FROM machine WHERE machine.state <> 'retired' AND machine.state IN ('planned', 'creating', 'assigned', 'reclaiming')
          AND NOT EXISTS (SELECT 1 FROM run WHERE run.machine_id = machine.id AND (ended_at IS NULL OR run.state = 'failed')
            AND (kind = CASE machine.state WHEN 'assigned' THEN 'assign' WHEN 'reclaiming' THEN 'reclaim' ELSE 'make' END
              OR kind = 'recover' AND machine.state <> 'reclaiming'))
        """
    )
    return [(id, kind) for id, kind in result]


SORTS: dict[str, Any] = {
    "started": Run.id,
    "run": Run.kind,
    "state": Run.state,
    "class": fn.COALESCE(Run.machine_class, ""),
    "machine": fn.COALESCE(Machine.number, 0),
    "account": listing.OWNER,
    "ended": fn.COALESCE(Run.ended_at, ""),
}


def list_runs(
    window: Window,
    reach: Scope = Scope(everything=True),  # noqa: B008 - immutable
    ids: Iterable[int] | None = None,
    *,
    kind: str = "",
    state: RunState | None = None,
    live: bool = False,
    class_name: str = "",
    machine_id: str = "",
    text: str = "",
    own: int | None = None,
) -> Page[Run]:
    """Runs within reach, and those of the account `own`; each with `.machine` and `.account`.

    `text` is part of the name of the machine or the person.
    """
    query = (
        Run.select(Run, Machine, Account)
        .join_from(Run, Machine, JOIN.LEFT_OUTER, on=(Run.machine == Machine.id))
        .join_from(Run, Account, JOIN.LEFT_OUTER, on=(Run.account == Account.id))
    )
    theirs = listing.within(reach, Run.machine_class, Account.org_unit)
    mine = Run.account == own if own is not None else None
    if theirs is not None and mine is not None:
        theirs = theirs | mine if reach else mine
    query = listing.narrowed(
        query,
        theirs,
        Run.kind == kind if kind else None,
        Run.state == state if state is not None else None,
        Run.ended_at.is_null() if live else None,
        Run.machine_class == class_name if class_name else None,
        Run.machine == machine_id if machine_id else None,
        listing.has(text, Machine.name, Account.name),
        Run.id.in_(list(ids)) if ids is not None else None,
    )
    return listing.page(query, Run.id, SORTS, window)


def rewind(run: Run, position: int) -> None:
    """Let a run that has ended go on from a step, which is done anew with all after it; call it inside `write()`.

    What people said yes to stays said.
    """
    Step.delete().where(Step.run == run.id, Step.number >= position).execute()
    WorkItem.delete().where(WorkItem.run == run.id, WorkItem.number >= position, WorkItem.state != WorkItemState.DONE).execute()
    set_run(
        run, state=RunState.QUEUED, position=position, ended_at=None, wake_at=None, cancel=False, woken=False, why="", problem="", hint=""
    )


def undoable(run_id: int) -> list[Step]:
    """The steps of a run that were begun and not undone, the last first."""
    states = "'running', 'waiting', 'done', 'failed', 'undoing'"
    return found(Step, f"run_id = ? AND state IN ({states}) ORDER BY number DESC", (run_id,))


def work_item_of(run_id: int, number: int) -> WorkItem | None:
    """What a step asked a person to do."""
    return next(iter(found(WorkItem, "run_id = ? AND number = ?", (run_id, number))), None)


def open_work_items() -> list[WorkItem]:
    """Everything that waits for a person, oldest first."""
    return list(WorkItem.select().where(WorkItem.state == WorkItemState.OPEN).order_by(WorkItem.id))


def withdraw(ids: Sequence[int], problem: str) -> None:
    """Runs end where they stand, and nothing of them is undone: what they were to do is no longer asked for. Call it inside `write()`."""
    moment = now()
    for at in range(0, len(ids), 500):
        some = list(ids[at : at + 500])
        WorkItem.update(state=WorkItemState.WITHDRAWN, decided_at=moment).where(
            WorkItem.run.in_(some), WorkItem.state == WorkItemState.OPEN
        ).execute()
        values = {"state": RunState.CANCELLED, "ended_at": moment, "wake_at": None, "why": "", "problem": problem}
        Run.update(values).where(Run.id.in_(some)).execute()


def stale() -> list[int]:
    """Runs that an older copy of the catalog has under way and that were over long ago, it may be: doing them again would harm."""
    kinds = "'reprovision', 'transfer', 'stop', 'start', 'suspend', 'resume'"
    return [row[0] for row in rows(f"SELECT id FROM run WHERE ended_at IS NULL AND kind IN ({kinds})")]  # noqa: S608 - a constant


def forget(older_than: timedelta, limit: int = 500) -> int:
    """Delete runs that ended long ago, some at a time; call it inside `write()`. Events tell of them still."""
    return len(
        rows(
            "DELETE FROM run WHERE id IN (SELECT id FROM run WHERE ended_at < ? ORDER BY ended_at LIMIT ?) RETURNING id",
            (stamp(now() - older_than), limit),
        )
    )


def recoveries(limit: int = 500) -> list[Run]:
    """The latest runs that brought something back, the oldest of them first."""
    found = list(Run.select().where(Run.kind == "recover").order_by(Run.id.desc()).limit(limit))
    return found[::-1]


def coming_back(account_id: int, class_name: str) -> int:
    """How many machines of the class are being brought back for the account, and not its own yet."""
    found = rows(
        """
        SELECT count(*) FROM run WHERE ended_at IS NULL AND kind = 'recover' AND account_id = ? AND class_name = ?
        AND NOT EXISTS (SELECT 1 FROM lease WHERE lease.machine_id = run.machine_id AND lease.ended_at IS NULL)
        """,
        (account_id, class_name),
    )
    return int(found[0][0])
