"""Approvals and tasks: something is put before people, and the run goes on when one of them has answered."""

from typing import Any

from appliance import catalog
from appliance.catalog import (
    Account,
    EventKind,
    Level,
    Run,
    WorkItem,
    WorkItemState,
    now,
    outgoing_mail,
    record,
    runs,
    timezone,
    work_items,
)
from appliance.catalog.work_items import Asked
from appliance.errors import NotAllowed, Unavailable
from appliance.identity import approvers
from appliance.identity.roles import ROLES, SEVERAL
from appliance.workflow.kinds import Approval, Task, duration
from appliance.workflow.runner import Context, Decide, Done, Failed, Outcome, Wait

T = WorkItemState


def ask(step: Context, options: Approval | Task) -> Outcome:
    """Put it before them once; then look at what became of it, whenever the run is woken or a deadline has come."""
    return Decide(lambda: _judge(step, options))


def withdraw(step: Context, _options: Any) -> None:
    """Nobody need answer any more."""
    with catalog.write():
        WorkItem.update(state=T.WITHDRAWN, decided_at=step.now).where(
            WorkItem.run == step.run.id, WorkItem.number == step.planned.number, WorkItem.state == T.OPEN
        ).execute()


def _judge(step: Context, options: Approval | Task) -> Done | Wait | Failed:
    todo = runs.work_item_of(step.run.id, step.planned.number) or _put(step, options)
    if todo.state is T.OPEN:
        if todo.expires_at is not None and todo.expires_at <= step.now:
            _set(todo, state=T.EXPIRED, decided_at=step.now)
        elif todo.escalates_at is not None and todo.escalated_at is None and todo.escalates_at <= step.now:
            _escalate(step.run, todo, todo.escalate_role, "nobody has answered")
    match todo.state:
        case T.DONE:
            return Done({"comment": todo.comment} if todo.comment else {}, actor=todo.decided_by)
        case T.REFUSED:
            what = "said no" if todo.kind == "approval" else "could not do it"
            why = f": {todo.comment}" if todo.comment else "."
            return Failed(NotAllowed(f"{todo.decided_by} {what}{why}", "Ask them, or your admin."), actor=todo.decided_by)
        case T.EXPIRED | T.WITHDRAWN:
            return Failed(Unavailable(f"{todo.title}: nobody answered in time.", "Ask again, or ask your admin."))
    deadlines = [at for at in (todo.expires_at, None if todo.escalated_at else todo.escalates_at) if at is not None]
    return Wait(min(deadlines, default=None), f"{todo.title}: {_whom(todo)}")


def _put(step: Context, options: Approval | Task) -> WorkItem:
    account = Account.get_or_none(Account.name == options.account, Account.disabled == False) if options.account else None  # noqa: E712
    later = {
        name: step.since + duration(value) for name, value in (("escalates_at", options.escalate), ("expires_at", options.expires)) if value
    }
    todo = WorkItem.create(
        run=step.run.id,
        number=step.planned.number,
        kind=step.planned.kind.name,
        title=step.planned.title,
        text=options.text,
        role="" if options.account else options.role,
        account=account,
        requester=step.run.account_id,
        machine_class=step.run.class_name,
        created_at=step.now,
        escalate_role=options.escalate_to,
        **later,
    )
    if approvers.holders(approvers.whom(todo)):
        _tell(step.run, EventKind.TODO_OPEN, f"{todo.title}: {_whom(todo)} asked.")
        _write(step.run, todo)
    else:
        _escalate(step.run, todo, approvers.OWNER, _nobody(todo, options.account), Level.WARNING if options.account else Level.INFO)
    return todo


def notice_gone() -> None:
    """Put before owners what waits for people of whom none is left: the account was deleted, or nobody holds the role any more."""
    known: dict[Asked, set[int]] = {}
    for whom, ids in work_items.unheard().items():
        anybody = whom._replace(requester_id=None)  # the same for many who ask
        if anybody not in known:
            known[anybody] = set(approvers.holders(anybody))
        if known[anybody] - {whom.requester_id} or approvers.holders(whom):
            continue
        with catalog.write():
            for todo in list(WorkItem.select().where(WorkItem.id.in_(ids), WorkItem.state == T.OPEN, WorkItem.escalated_at.is_null())):
                _escalate(todo.run, todo, approvers.OWNER, _nobody(todo, ""))


def _nobody(todo: WorkItem, name: str) -> str:
    if todo.role:
        return f"nobody else holds the role {ROLES[todo.role].title.lower()} over this"
    return f"there is no account {name}" if name and todo.account is None else "the person it was for cannot answer"


def _escalate(run: Run, todo: WorkItem, role: str, why: str, level: Level | None = None) -> None:
    _set(todo, escalated_at=now(), escalate_role=role)
    _tell(run, EventKind.TODO_ESCALATED, f"{todo.title}: {why}, so {SEVERAL[role]} are asked.", level)
    _write(run, todo)


def _write(run: Run, todo: WorkItem) -> None:
    """Mail to whoever is asked and was not before."""
    asker = todo.requester and (todo.requester.full_name or todo.requester.name)
    what = todo.machine_class.spec["title"] if todo.machine_class is not None else ""
    about = f"{asker or 'The appliance'}{f', for: {what}' if what else ''}"
    until = f"Please answer until {timezone.timestamp(todo.expires_at)}." if todo.expires_at else ""
    text = "\n\n".join(part for part in (todo.text, f"Asked by {about}.", until) if part)
    outgoing_mail.enqueue_mail(approvers.of_todo(todo), f"todo-{todo.id}-open", f"{todo.title}: {about}", text, f"/todo/#todo-{todo.id}")


def _whom(todo: WorkItem) -> str:
    account, escalated = todo.account, todo.escalated_at is not None and todo.escalate_role
    if account is not None and not escalated:
        return account.full_name or account.name
    return SEVERAL[todo.escalate_role if escalated or not todo.role else todo.role]


def _set(todo: WorkItem, **values: Any) -> None:
    for name, value in values.items():
        setattr(todo, name, value)
    WorkItem.update(values).where(WorkItem.id == todo.id).execute()


def _tell(run: Run, kind: EventKind, message: str, level: Level | None = None) -> None:
    record(kind, message, level=level, class_name=run.class_name, machine_id=run.machine_id, account_id=run.account_id, run=run.id)
