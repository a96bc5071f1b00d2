"""What is asked of a person besides the password: who they are once more, before what is dangerous; and first of all a password of their own, where
somebody else chose the one they have, and codes, where their role requires them.

The first question is a page with the form that was sent in it, so that nothing entered is lost: the answer comes to the same
address together with it, and the view then sees what it would have seen at once.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from flask import Flask, current_app, redirect, render_template, request, url_for
from flask_login import current_user
from pydantic import Field
from werkzeug.wrappers import Response

from appliance.errors import DpeError, NotAllowed
from appliance.services import second_factor, sessions
from webui import forms, saved_form
from webui.errors import status_of
from webui.forms import SECRET, Form
from webui.guard import actor

View = TypeVar("View", bound=Callable[..., Any])

FRESH = timedelta(minutes=15)


class Confirmation(Form):
    again: str = Field(title="Your password", json_schema_extra=SECRET)


def requires_reauth(view: View) -> View:
    """Before a POST to this view, whoever showed no password or code for a while is asked for it."""
    return requires_reauth_unless(lambda **_: False)(view)


def requires_reauth_unless(harmless: Callable[..., bool]) -> Callable[[View], View]:
    """The same, but not when `harmless`, called with the view's arguments, says so."""

    def mark(view: View) -> View:
        view.harmless = harmless  # type: ignore[attr-defined]
        return view

    return mark


ALWAYS = frozenset(
    {"static", "pwa.manifest", "pwa.worker", "pwa.offline", "auth.sign_out", "door.check", "door.healthz", "door.readyz", "live.stream"}
)
# What somebody has yet to do before anything else, by the page where it is done: what opens until then, and what a program is told.
FIRST = {
    "auth.new_password": (
        frozenset({"auth.new_password"}),
        ("This account has a password that somebody else chose.", "Sign in to the web page and choose one of your own."),
    ),
    "security.codes": (
        frozenset({"security.codes", "security.begin_codes", "security.confirm_codes"}),
        ("A role of this account needs one-time codes.", "Sign in to the web page and set them up."),
    ),
}


def init_app(app: Flask) -> None:
    app.before_request(_ask_first)
    app.before_request(_ask)


def was_answered() -> bool:
    """Whether this request brings the answer to the question who it is, and with it the form that was kept meanwhile."""
    return "again" in forms.sent()


def comes_first() -> str:
    """The endpoint of what the person who asks has to do before anything else; empty for most."""
    if not current_user.is_authenticated:
        return ""
    if current_user.account.must_change:
        return "auth.new_password"
    return "security.codes" if second_factor.is_missing(current_user.account.id) else ""


def _ask_first() -> Response | None:
    if request.endpoint in ALWAYS or not (first := comes_first()) or request.endpoint in FIRST[first][0]:
        return None
    if request.blueprint == "api":
        raise NotAllowed(*FIRST[first][1])
    there = url_for(first)
    return Response(status=401, headers={"HX-Redirect": there}) if request.headers.get("HX-Request") else redirect(there, 303)


def _ask() -> Response | tuple[str, int] | None:
    view = current_app.view_functions.get(request.endpoint or "")
    harmless = getattr(view, "harmless", None)
    if request.method != "POST" or harmless is None or harmless(**(request.view_args or {})):
        return None
    session_id = current_user.session_id
    if sessions.confirmed_within(session_id, FRESH):
        return None
    error = None
    if was_answered():
        try:
            answer = forms.read(Confirmation).again
            sessions.confirm(actor(), session_id, password=answer, code=answer)
            return None
        except DpeError as refused:
            refused.field = "again"  # whatever it is, it is about the one thing that is asked
            error = refused
    kept = saved_form.fields()
    by_code = second_factor.is_on(current_user.account.id)
    page = render_template(
        "again.html",
        kept=[(name, value) for name, value in kept or [] if name != "again"],
        files=kept is None,
        by_code=by_code,
        form=forms.bound(Confirmation, error=error),
        minutes=FRESH.seconds // 60,
    )
    return page, status_of(error) if error else 403
