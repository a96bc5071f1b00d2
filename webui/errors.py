"""Errors as people meet them: what went wrong and what to do, on a page or as a message in the page they are on."""

import json
import logging
import secrets
from collections.abc import Mapping, Sequence

from flask import Flask, Response, current_app, g, make_response, render_template, request, url_for
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from pydantic import RootModel
from werkzeug.exceptions import HTTPException

from appliance import catalog, tracing
from appliance.errors import DpeError
from appliance.services import importing, scenarios
from webui import forms, saved_form
from webui.answers import status_of as status_of  # as the pages know it

log = logging.getLogger(__name__)

WORDS = {
    404: ("There is no such page.", "The address may be mistyped, or what it showed is gone."),
    401: (
        "Nobody is signed in, or the token is not good any more.",
        "Send “Authorization: Bearer” and a token; people make theirs on their account's page.",
    ),
    405: ("This address cannot be called like that.", "Go back and use the buttons of the page."),
    412: ("It is not as you saw it.", "Somebody changed it, or it is there already: read it again."),
    413: ("That is too much to send.", "Send less at once."),
    422: ("This idempotency key was used for something else.", "Make a new one for each thing that is to be created."),
    429: ("Those are too many calls.", "Come back after so many seconds as Retry-After says."),
}

Answer = Response | tuple[str, int]


def init_app(app: Flask) -> None:
    app.register_error_handler(DpeError, _ours)
    app.register_error_handler(CSRFError, _stale)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _bug)


def answer(message: str, hint: str, status: int, errors: Sequence[Mapping[str, str]] = ()) -> Answer:
    """The error as a page, for htmx as a message that lands beside the page's other messages, for a program as problem details (RFC 9457).

    `errors` are what is wrong with each field, by a JSON pointer into what was sent, or the name of a parameter of the address.
    """
    if request.path.startswith(("/api/", "/hooks/", "/metrics")) or request.accept_mimetypes.best == "application/json":
        id = tracing.current.get()
        more = {**({"errors": list(errors)} if errors else {}), **({"request_id": id} if id else {})}
        problem = {"title": message, "detail": hint, "status": status, **more}
        return Response(json.dumps(problem), status, mimetype="application/problem+json")
    said = {"message": message, "hint": hint, "status": status}
    part = bool(request.headers.get("HX-Request"))
    try:
        return render_template("error_message.html" if part else "error.html", **said), status
    except Exception:  # what every page shows cannot be read either
        log.warning("the page of an error could not be made", exc_info=True)
        return _alone(said, "error_message.html" if part else "error_alone.html"), status


def _alone(said: dict[str, object], template: str) -> str:
    """The error with nothing around it that would have to be asked of the catalog."""
    icons = url_for("static", filename="icons.svg")
    return current_app.jinja_env.get_template(template).render(icon_file=icons, **said)


def _ours(error: DpeError) -> Answer:
    return answer(error.message, error.hint, status_of(error), _errors(error))


def _errors(error: DpeError) -> Sequence[Mapping[str, str]]:
    """What is wrong with each field."""
    if isinstance(error, forms.FormError):
        return [{"pointer": f"#/{name}", "detail": said} for name, said in error.sent.items()]
    if isinstance(error, importing.BadLines):
        return [{"pointer": "#/table", "detail": one} for one in error.problems]
    if lines := scenarios.errors_of(error):
        at = {"pointer": "#/text"} if request.is_json else {}
        return [{**at, "detail": f"{file}:{line}: {message}; {hint}"} for file, line, message, hint in lines]
    found: Sequence[Mapping[str, str]] = getattr(error, "wrong", ())
    name = _sent_as(error.field)
    return found or ([{"pointer": f"#/{name}", "detail": str(error)}] if name else ())


def _sent_as(field: str) -> str:
    """Where in what was sent a field is that a service names, which calls it as the pages do; nothing when it was not sent."""
    if not request.is_json:
        return ""
    model = g.get("form")
    return field if model is None or issubclass(model, RootModel) else forms.names_of(model).get(field, "")


def _stale(error: CSRFError) -> Answer:
    form = saved_form.read(saved_form.of_request())
    if form is not None and current_user.is_authenticated and not request.headers.get("HX-Request"):
        return render_template("kept.html", form=form, after="/"), 400  # signed in anew since the page was opened
    return answer("This page was open for too long, or cookies are off.", "Reload it and try again; nothing was changed.", 400)


def _http(error: HTTPException) -> Answer:
    status = error.code or 500
    if status >= 500:
        return _bug(error)
    message, hint = WORDS.get(status, (f"{error.name}.", "Go back and try again."))
    made = make_response(answer(message, hint, status))
    # What HTTP says besides: which methods there are, how to sign in, when to come back.
    made.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
    return made


def _bug(error: Exception) -> Answer:
    if (why := catalog.refusal(error)) is not None:
        log.warning("%s at %s %s", why.message, request.method, request.path, exc_info=error)
        return _ours(why)
    number = secrets.token_hex(4)
    log.error("error %s at %s %s", number, request.method, request.path, exc_info=error)
    return answer("Something went wrong on our side.", f"Nothing you did. Tell your admin the number {number}: the log has the rest.", 500)
