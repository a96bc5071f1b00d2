"""What waits for a person: approvals and tasks, and answering them. Who may is written in people/asked.py."""

from appliance import catalog
from appliance.catalog import Account, Actor, EventKind, WorkItem, WorkItemState, doorbell, now, outgoing_mail, record, runs, work_items
from appliance.catalog.work_items import Rights
from appliance.errors import BadInput, Conflict, NotFound
from appliance.identity import approvers, permissions
from appliance.identity.permissions import Permissions

T = WorkItemState
LONGEST = 1000  # characters of a comment
DONE = {
    ("approval", T.DONE): "said yes",
    ("approval", T.REFUSED): "said no",
    ("task", T.DONE): "did it",
    ("task", T.REFUSED): "could not do it",
}


def _rights(actor: Actor, held: Permissions | None = None) -> Rights:
    return approvers.rights(actor.account_id or 0, held or permissions.of(actor))


def count(actor: Actor, held: Permissions) -> int:
    """How much waits for somebody who holds this."""
    return work_items.count(_rights(actor, held))


def is_asked(actor: Actor, held: Permissions) -> bool:
    """Whether somebody who holds this has a role that is asked."""
    return bool(_rights(actor, held).over)


def my_work_items(actor: Actor) -> list[WorkItem]:
    """What waits for them, oldest first."""
    return work_items.open_for(_rights(actor))


def over(actor: Actor) -> list[WorkItem]:
    """What waited for them in the last month and was decided, by them or another, or came to nothing; the latest first."""
    return work_items.over_for(_rights(actor))


def get_work_item(actor: Actor, id: int) -> WorkItem:
    """A to-do that is or was theirs to decide. Raises NotFound."""
    found = work_items.known_to(_rights(actor), id)
    if found is None:
        raise NotFound("There is no such to-do.", "It may have been for somebody else. Reload the page to see what waits for you.")
    return found


def asked_now(todo: WorkItem) -> list[Account]:
    """The people whom it is put before."""
    return list(Account.select().where(Account.id.in_(approvers.of_todo(todo))).order_by(Account.full_name, Account.name))


def decide(actor: Actor, id: int, *, yes: bool, comment: str = "") -> WorkItem:
    """Say yes or no to an approval, or that a task is done or could not be done; the run goes on. The first answer counts.

    Raises BadInput for a no without a reason, Conflict when it is decided already or too late, NotFound when it is not theirs.
    """
    comment = comment.replace("\r\n", "\n").strip()
    if len(comment) > LONGEST:
        raise BadInput(f"A comment has at most {LONGEST} characters; this has {len(comment)}.", "Say it in fewer words.", field="comment")
    if not yes and not comment:
        raise BadInput("Say why not: whoever asked reads it.", "Write a sentence, then answer again.", field="comment")
    state = T.DONE if yes else T.REFUSED
    with catalog.write():
        todo = get_work_item(actor, id)
        if todo.state is not T.OPEN or (todo.expires_at is not None and todo.expires_at <= now()):
            raise Conflict(*_too_late(todo))
        run = runs.by_id(todo.run_id)
        if run is None or run.cancel:
            raise Conflict(f"{todo.title}: it was cancelled meanwhile.", "There is nothing left to answer.")
        whom = approvers.of_todo(todo)
        if not work_items.decide(id, state, actor.name, comment):
            raise Conflict(*_too_late(WorkItem.get_by_id(id)))
        answer = _answer(todo, state, actor.name, comment)
        record(
            EventKind(f"todo.{state}"),
            f"{todo.title}: {answer}",
            actor,
            class_name=todo.class_name,
            machine_id=run.machine_id,
            object=f"todo:{id}",
            run=todo.run_id,
        )
        outgoing_mail.enqueue_mail(set(whom) - {actor.account_id}, f"todo-{id}-decided", f"{todo.title}: answered", answer, "/todo/")
        if todo.requester_id is not None and todo.requester_id != actor.account_id:
            outgoing_mail.enqueue_mail([todo.requester_id], f"todo-{id}-answer", f"{todo.title}: {DONE[todo.kind, state]}", answer, "/")
        runs.wake(todo.run_id)
    doorbell.ring()
    return WorkItem.get_by_id(id)


def _answer(todo: WorkItem, state: WorkItemState, name: str, comment: str) -> str:
    said = DONE[todo.kind, state]
    return f"{name} {said}{f': {comment}' if comment else '.'}"


def _too_late(todo: WorkItem) -> tuple[str, str]:
    match todo.state:
        case T.DONE | T.REFUSED:
            return f"{todo.decided_by} {DONE[todo.kind, todo.state]} already.", "The first answer counts."
        case T.WITHDRAWN:
            return f"{todo.title}: it was cancelled meanwhile.", "There is nothing left to answer."
    return f"{todo.title}: its time is over, which counted as a no.", "Whoever asked can ask again."
