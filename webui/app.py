"""The application: pages, live stream and the front door's question."""

import hashlib
import secrets
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask
from flask_login import current_user
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import IntegerConverter

from appliance import bulkhead, catalog, durable, packages, settings
from appliance.access import cookies, nginx
from appliance.catalog import options
from appliance.identity import secrets as secrets_of_others
from appliance.language import LANGUAGES
from appliance.settings import Settings
from webui import (
    admin,
    api,
    auth,
    auth_request,
    choices,
    console,
    device,
    disks,
    errors,
    format,
    guard,
    guide,
    hooks,
    inbox,
    language,
    live,
    metrics,
    moved,
    needs_you,
    password_links,
    portal,
    pwa,
    reauth,
    runs,
    saved_views,
    search,
    security,
    setup,
    setup_restore,
    upload,
)
from webui.concurrency_limit import ConcurrencyLimit

AT_ONCE = 4  # requests worked on at a time; enough that a few slow ones (a password's hash) hold nobody up


def _language() -> str:
    """The one that a person chose, else one that their browser asks for, else the appliance's."""
    if current_user.is_authenticated and current_user.account.language in LANGUAGES:
        return str(current_user.account.language)
    return language.asked_for() or str(options.get("language"))


def create_app(settings: Settings | None = None) -> Flask:
    """The application: pages, live stream and the front door's question, over the catalog of `settings`."""
    app = language.Application(__name__)
    app.jinja_options = {**app.jinja_options, "cache_size": 1000}  # templates times languages
    app.config.update(
        SESSION_COOKIE_NAME=cookies.SESSION,
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        PERMANENT_SESSION_LIFETIME=timedelta(days=400),  # of the cookie of who stays signed in; the catalog knows for how long that is
        SESSION_REFRESH_EACH_REQUEST=False,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session
        WTF_CSRF_SSL_STRICT=False,  # the token is enough, and some privacy tools strip the Referer it would ask for
        MAX_CONTENT_LENGTH=256 * 1024,
        SEND_FILE_MAX_AGE_DEFAULT=365 * 24 * 3600,  # every address of a static file carries its content's hash
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.url_defaults(_fingerprint)
    app.url_map.converters["int"] = _RowNumber
    errors.init_app(app)
    upload.init_app(app)
    metrics.init_app(app)
    guard.init_app(app)
    guide.init_app(app)
    reauth.init_app(app)
    format.init_app(app)
    language.init_app(app, _language)
    for area in (
        setup,
        setup_restore,
        auth,
        password_links,
        security,
        portal,
        choices,
        search,
        guide,
        disks,
        inbox,
        needs_you,
        runs,
        saved_views,
        console,
        device,
        live,
        pwa,
        auth_request,
        api,
        hooks,
        metrics,
    ):
        app.register_blueprint(area.blueprint)
    app.register_blueprint(api.described.pages)
    for blueprint in admin.BLUEPRINTS:
        app.register_blueprint(blueprint)
    moved.init_app(app)
    # Exactly one proxy, the front door, says who asks; a header from further out is not believed.
    proxied = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=0, x_port=0, x_prefix=0)
    # The door's question comes in by a socket and threads of its own.
    passing = frozenset({"/live", api.stream.ADDRESS, "/door/check", "/door/console", nginx.UPLOAD})
    turnstile = ConcurrencyLimit(proxied, AT_ONCE, passing=passing)
    app.wsgi_app = turnstile  # type: ignore[method-assign]
    bulkhead.aside = turnstile.aside
    metrics.watch(app, turnstile)
    work_on(app, settings or load_settings())
    return app


def work_on(app: Flask, settings: Settings) -> None:
    """Have the application work over the catalog of `settings` from now on, with the key that is kept beside it."""
    catalog.open(settings.catalog)
    packages.open(settings.packages)
    app.config.update(SECRET_KEY=_secret(settings.web_secret), SETTINGS=settings, SETUP_DONE=False)
    secrets_of_others.open(settings.web_secret)


class _RowNumber(IntegerConverter):
    """A number that a row can have. A larger one is no address of ours: not one that takes other methods, as werkzeug has it for what is past `max`."""

    regex = r"\d{1,18}"


def load_settings() -> Settings:
    return settings.load()


def _secret(file: Path) -> bytes:
    """The key in `file`, made when it is missing; two processes may race to it."""
    if not file.exists():
        durable.create(file, secrets.token_bytes(32))
    return file.read_bytes()


@lru_cache
def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:8]


def _fingerprint(endpoint: str, values: dict[str, Any]) -> None:
    """Add the file's hash to addresses of static files, so that browsers may keep them for good."""
    if endpoint == "static":
        file = Path(__file__).parent / "static" / values["filename"]
        if file.is_file():
            values["v"] = _hash(file)
