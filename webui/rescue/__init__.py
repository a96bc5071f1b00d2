"""`dpe-rescue`: the page that comes when the others do not.

An application of its own, on one process of its own. It needs no engine, no catalog that opens, no live events and no script in the
browser; it asks dpe-host for everything, and reads who may sign in from a file that dpe-host keeps.
"""

import os
import secrets
from datetime import datetime
from pathlib import Path

from flask import Flask, url_for
from flask_wtf.csrf import CSRFProtect
from jinja2 import FileSystemLoader
from werkzeug.middleware.proxy_fix import ProxyFix

from appliance import settings as all_settings
from appliance.access import cookies
from appliance.settings import Settings
from webui import forms, language
from webui.answers import protect
from webui.rescue import errors, views
from webui.rescue.sign_in import SignIn


def create_rescue(settings: Settings | None = None, memory: Path | None = None) -> Flask:
    """The application; `memory` is a file in which failed sign-ins are remembered across restarts, if there is room for it."""
    settings = settings or all_settings.load()
    app = language.Application(__name__, static_folder="../static", static_url_path="/rescue/static")
    here = Path(app.root_path)
    app.jinja_loader = FileSystemLoader([here / "templates", here.parent / "templates"])  # the component of forms is in the latter
    app.config.update(
        SECRET_KEY=secrets.token_bytes(32),  # its own, and new with each start: who was signed in signs in again
        SETTINGS=settings,
        DOOR=SignIn(settings, memory),
        SESSION_COOKIE_NAME=cookies.RESCUE,
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_PATH="/",  # else a browser refuses a name that begins with __Host-
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=False,
        MAX_CONTENT_LENGTH=64 * 1024,
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(size=_size, when=_when, by=_by)
    app.context_processor(lambda: {"icon_file": url_for("static", filename="icons.svg"), "who": views.who()})
    language.init_app(app, views.language)
    CSRFProtect(app)
    app.before_request(views.check)
    app.after_request(protect)
    app.jinja_env.filters["code"] = forms.code
    app.register_blueprint(views.blueprint)
    errors.init_app(app)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=0, x_port=0, x_prefix=0)  # type: ignore[method-assign]
    return app


def memory() -> Path | None:
    """Where failed sign-ins are remembered: a folder that systemd, or whoever started us, gave for it."""
    folder = os.environ.get("RUNTIME_DIRECTORY")
    return Path(folder) / "failures.json" if folder else None


def _size(count: float) -> str:
    """A number of bytes in words."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{language.decimal(count, 0 if unit in ('bytes', 'KiB') or count >= 100 else 1)} {unit}"
        count /= 1024
    return f"{language.decimal(count, 1)} TiB"


def _by(name: str) -> str:
    """Who began an operation."""
    owner, here, _ = name.partition(views.HERE)
    return language.text("%(owner)s, on this page", owner=owner) if here else name or language.text("the appliance")


def _when(stamp: str) -> str:
    """A time as others told it, in UTC: the appliance's own time zone is in the catalog."""
    try:
        return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return stamp
