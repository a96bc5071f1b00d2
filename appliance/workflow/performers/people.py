"""Approvals and tasks: something is put before people, and the run goes on when one of them has answered."""

from typing import Any

from appliance import catalog
from appliance.catalog import Account, Level, Todo, TodoState, record, runs
from appliance.errors import NotAllowed, Unavailable
from appliance.people.roles import ROLES
from appliance.workflow.kinds import Approval, Task, duration
from appliance.workflow.runner import Context, Decide, Done, Failed, Outcome, Wait

T = TodoState


def ask(step: Context, options: Approval | Task) -> Outcome:
    """Put it before them once; then look at what became of it, whenever the run is woken or a deadline has come."""
    return Decide(lambda: _judge(step, options))


def withdraw(step: Context, _options: Any) -> None:
    """Nobody need answer any more."""
    with catalog.write():
        Todo.update(state=T.WITHDRAWN, decided_at=step.now).where(
            Todo.run == step.run.id, Todo.number == step.stage.number, Todo.state == T.OPEN
        ).execute()


def _judge(step: Context, options: Approval | Task) -> Done | Wait | Failed:
    todo = runs.todo_of(step.run.id, step.stage.number) or _put(step, options)
    if todo.state is T.OPEN:
        if todo.expires_at is not None and todo.expires_at <= step.now:
            _set(todo, state=T.EXPIRED, decided_at=step.now)
        elif todo.escalates_at is not None and todo.escalated_at is None and todo.escalates_at <= step.now:
            _escalate(step, todo, options, "nobody has answered")
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


def _put(step: Context, options: Approval | Task) -> Todo:
    account = Account.get_or_none(Account.name == options.account, Account.disabled == False) if options.account else None  # noqa: E712
    later = {
        name: step.since + duration(value) for name, value in (("escalates_at", options.escalate), ("expires_at", options.expires)) if value
    }
    todo = Todo.create(
        run=step.run.id,
        number=step.stage.number,
        kind=step.stage.kind.name,
        title=step.stage.title,
        text=options.text,
        role="" if account else options.role,
        account=account,
        requester=step.run.account_id,
        klass=step.run.class_name,
        created_at=step.now,
        **later,
    )
    _tell(step, "todo.open", f"{todo.title}: {_whom(todo)} asked.")
    if options.account and account is None:
        _escalate(step, todo, options, f"there is no account {options.account}")
    return todo


def _escalate(step: Context, todo: Todo, options: Approval | Task, why: str) -> None:
    _set(todo, escalated_at=step.now)
    _tell(step, "todo.escalated", f"{todo.title}: {why}, so {ROLES[options.escalate_to].title.lower()}s are asked as well.", Level.WARNING)


def _whom(todo: Todo) -> str:
    account = todo.account
    return account.full_name or account.name if account is not None else f"{ROLES[todo.role].title.lower()}s"


def _set(todo: Todo, **values: Any) -> None:
    for name, value in values.items():
        setattr(todo, name, value)
    Todo.update(values).where(Todo.id == todo.id).execute()


def _tell(step: Context, kind: str, message: str, level: Level = Level.INFO) -> None:
    run = step.run
    record(kind, message, level=level, class_name=run.class_name, machine_id=run.machine_id, account_id=run.account_id, run=run.id)
