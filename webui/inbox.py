"""What waits for a person: a page made for a phone, and for browsers without a script."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_login import current_user
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.catalog import WorkItem
from appliance.errors import BadInput, DpeError
from appliance.services import inbox
from webui import forms
from webui.errors import status_of
from webui.forms import Form
from webui.guard import actor, needs

blueprint = Blueprint("todo", __name__, url_prefix="/todo")

ANSWERS = {"yes": True, "no": False}
# Of each kind: what one says, what one is asked before a no, and how the answer is called afterwards.
WORDS = {
    "approval": {"yes": "Say yes", "no": "Say no", "why": "Why not? Whoever asked reads it.", "done": "You said yes.", "refused": "You said no."},
    "task": {"yes": "Done", "no": "Could not be done", "why": "What went wrong? Whoever asked reads it.", "done": "Noted: it is done.",
             "refused": "Noted: it could not be done."},
}  # fmt: skip


class Answer(Form):
    answer: str = Field("", title="Answer")
    comment: str = Field("", title="Comment")  # how long it may be is for the service to say


def _page(error: DpeError | None = None, *, at: int = 0) -> tuple[str, int]:
    """The page; `at` is the id of what was answered."""
    form = forms.bound(Answer, error=error)
    page = render_template(
        "todo.html", todos=inbox.my_work_items(actor()), over=inbox.over(actor()), asked=current_user.is_asked,
        WORDS=WORDS, error=error, at=at, form=form,
    )  # fmt: skip
    return page, status_of(error) if error else 200


@blueprint.get("/")
@needs("own")
def index() -> tuple[str, int]:
    return _page()


@blueprint.post("/<int:id>")
@needs("own")
def answer(id: int) -> Response | tuple[str, int]:
    """Who may answer is for the service to say: it depends on the role that is asked."""
    try:
        asked = forms.read(Answer)
        if asked.answer not in ANSWERS:
            raise BadInput("That is neither yes nor no.", "Press one of the buttons.")
        todo: WorkItem = inbox.decide(actor(), id, yes=ANSWERS[asked.answer], comment=asked.comment)
    except DpeError as error:
        return _page(error, at=id)
    flash(WORDS[todo.kind][todo.state.value], "success")
    return redirect(url_for("todo.index"), 303)
