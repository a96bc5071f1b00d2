"""Errors as pages of the rescue page."""

import logging
import secrets

from flask import Flask, render_template, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from appliance.errors import DpeError
from webui.answers import status_of

log = logging.getLogger(__name__)

Answer = tuple[str, int]


def init_app(app: Flask) -> None:
    app.register_error_handler(DpeError, _ours)
    app.register_error_handler(CSRFError, _stale)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _bug)


def _page(message: str, hint: str, status: int) -> Answer:
    return render_template("rescue/error.html", message=message, hint=hint, status=status), status


def _ours(error: DpeError) -> Answer:
    return _page(error.message, error.hint, status_of(error))


def _stale(error: CSRFError) -> Answer:
    return _page("This page was open for too long, or cookies are off.", "Open the rescue page again; nothing was done.", 400)


def _http(error: HTTPException) -> Answer:
    if (error.code or 500) >= 500:
        return _bug(error)
    if error.code == 404:
        return _page("There is no such page.", "The address may be mistyped.", 404)
    return _page(f"{error.name}.", "Go back and use the buttons of the page.", error.code or 400)


def _bug(error: Exception) -> Answer:
    number = secrets.token_hex(4)
    log.error("error %s at %s %s", number, request.method, request.path, exc_info=error)
    return _page("Something went wrong in the rescue page itself.", f"Its log has the details under the number {number}.", 500)
