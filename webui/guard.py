"""Who may call what: every view says so itself, and a view that does not is not served."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Response, abort, current_app, redirect, render_template, request, session, url_for
from flask_login import LoginManager, current_user
from flask_wtf.csrf import CSRFProtect
from pydantic import Field
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.wrappers import Response as BaseResponse

from appliance.access import cookies
from appliance.catalog import Account, Actor, Token, grants
from appliance.catalog import sessions as session_rows
from appliance.errors import NotAllowed, NotFound
from appliance.identity import permissions
from appliance.identity.permissions import Permissions
from appliance.identity.roles import OWN, PERMISSIONS
from appliance.services import inbox, machine_names, password_links, sessions, tokens
from appliance.services import needs as needs_service
from appliance.services import setup as setup_service
from appliance.services.needs import Need as ToMend
from webui import forms, saved_form
from webui.answers import protect
from webui.forms import SECRET, Form, Line, Ticked

View = TypeVar("View", bound=Callable[..., Any])

csrf = CSRFProtect()
login = LoginManager()


WITHOUT_PAGES = ("door", "live", "api", "hooks", "metrics")  # blueprints that programs ask, and no person sees
WITH_TOKENS = ("api", "metrics")  # those of them to which a token lets in
PUBLIC = "public"


@dataclass(frozen=True)
class Need:
    """What a view asks of whoever calls it: a permission, and over which thing; `own` lets in whose own the thing is as well."""

    permission: str
    kind: str = ""  # of the thing; empty: held over anything
    argument: str = ""  # of the view, with the thing's id
    own: bool = False


class Arriving(Form):
    """What the pages of signing in pass on: where to go afterwards, a form that was kept, and what this browser is known by."""

    next: str = "/"
    kept: str = ""
    browser: str = ""


class SignIn(Arriving):
    name: Line = Field(title="Name")
    password: str = Field(title="Password", json_schema_extra=SECRET)
    keep: Ticked = Field(False, title="Keep me signed in on this device", description="Only where nobody else uses it.")


def needs(permission: str, *, own: bool = False, **thing: str) -> Callable[[View], View]:
    """Who may call this view: those who hold the permission.

    With `machine="id"`, over the machine whose id is the view's argument `id`, and so for all kinds of catalog.grants.PLACES; other
    things do not exist for them. `own=True` lets in, besides, whose own the thing is. `needs("own")` is everybody who is signed in;
    with a thing, its owner alone.
    """
    assert permission == OWN or permission in PERMISSIONS, permission
    kind, argument = next(iter(thing.items()), ("", ""))
    kind = kind.rstrip("_")
    assert len(thing) <= 1, thing
    assert not kind or kind in grants.PLACES, kind

    def mark(view: View) -> View:
        view.need = Need(permission, kind, argument, own)  # type: ignore[attr-defined]
        return view

    return mark


def public(view: View) -> View:
    """Anybody may call this view."""
    view.need = Need(PUBLIC)  # type: ignore[attr-defined]
    return view


@dataclass(frozen=True)
class Person:
    """Who is signed in, as flask-login wants it."""

    account: Account
    session_id: str
    browser: str = ""  # what the browser that signed in keeps by itself
    token: Token | None = None  # what a program came with, in place of a session
    is_authenticated: bool = True
    is_active: bool = True
    is_anonymous: bool = False

    def get_id(self) -> str:
        return str(self.account.id)

    @property
    def credential(self) -> str:
        """What a connection of theirs goes by: the session, or the token that a program came with."""
        return self.session_id if self.token is None else session_rows.of_token(self.token.id)

    @property
    def actor(self) -> Actor:
        return Actor(self.account.name, self.account.id, request.remote_addr or "")

    @cached_property
    def powers(self) -> Permissions:
        """What they hold, as of this request."""
        return permissions.of(self.actor)

    @cached_property
    def is_asked(self) -> bool:
        """Whether they hold a role that is asked to decide or to do something."""
        return inbox.is_asked(self.actor, self.powers)

    @cached_property
    def todos(self) -> int:
        """How much waits for them, as of this request."""
        return inbox.count(self.actor, self.powers)

    @cached_property
    def needs(self) -> list[ToMend] | None:
        """What needs them, as of this request; None for who can mend nothing and is never asked."""
        asked = self.is_asked or self.todos
        return needs_service.of(self.powers, settings(), self.todos) if asked or needs_service.concern(self.powers) else None

    def may(self, permission: str, kind: str = "", id: object = None) -> bool:
        """Whether they hold the permission over anything, or over the thing of one of the kinds in catalog.grants.PLACES."""
        if not kind:
            return self.powers.has(permission)
        place = grants.location_of(kind, id)
        return place is not None and self.powers.reach(permission).covers(place)


def actor() -> Actor:
    """Who asks; only in views that are not public."""
    found: Actor = current_user.actor
    return found


def settings() -> Any:
    """The appliance's settings."""
    return current_app.config["SETTINGS"]


def row_number(name: str) -> int | None:
    """The row's number in the address's query, or None when there is none or it cannot be one."""
    number = request.args.get(name, type=int)
    return number if number is not None and abs(number) < 2**63 else None


def init_app(app: Flask) -> None:
    public(app.view_functions["static"])
    app.before_request(_first_setup)
    app.before_request(_check)
    csrf.init_app(app)
    login.init_app(app)
    login.session_protection = None  # the session is the server's, bound to a token
    login.request_loader(_load)
    app.after_request(_headers)


def _load(_request: object) -> Person | None:
    if (request.blueprint in WITH_TOKENS or request.endpoint == "door.console") and request.authorization is not None:
        bearer = request.authorization.token if request.authorization.type == "bearer" else ""
        known = tokens.find(bearer or "", request.remote_addr or "")
        return Person(known.account, "", token=known) if known else None
    if name := request.headers.get("X-DPE-Name") if request.endpoint == "door.check" else "":
        found = machine_names.session_of(request.cookies.get(cookies.DOOR, ""), name)
    else:
        token = session.get("token")
        found = sessions.find(token) if token else None
    if found is None:
        return None
    # A page that is only left open asks for itself, by script; that is no use of it.
    if request.endpoint != "live.stream" and not (request.method == "GET" and request.headers.get("HX-Request")):
        sessions.use(found, settings())
    return Person(found.account, found.id, found.browser)


def is_set_up() -> bool:
    """Whether set-up is done; asked of the catalog until it is."""
    config = current_app.config
    config["SETUP_DONE"] = config["SETUP_DONE"] or setup_service.is_done()
    done: bool = config["SETUP_DONE"]
    return done


def _first_setup() -> BaseResponse | None:
    if is_set_up() or request.endpoint in (
        "static",
        "door.healthz",
        "door.readyz",
        "setup.machines",
        "setup.wizard",
        "setup_restore.begin",
        "setup_restore.progress",
        "server.keep",
    ):
        return None
    if request.blueprint in WITHOUT_PAGES:
        return Response(status=401)
    return redirect(url_for("setup.wizard"), 303)


def asks_for_live_part() -> bool:
    """Whether a page asks for its own live part again, and for no more."""
    return request.headers.get("HX-Target") == "div#live"


def _check() -> BaseResponse | None:
    if request.endpoint is None:
        return None  # becomes a 404 or 405
    need = getattr(current_app.view_functions[request.endpoint], "need", None)
    if need is None:
        abort(500, f"{request.endpoint} does not say who may call it")
    if need.permission == PUBLIC:
        return None
    if not current_user.is_authenticated:
        return _ask_to_sign_in()
    if not need.own and not current_user.may(need.permission):
        raise NotAllowed("This page is not for you.", f"It is for those who may {PERMISSIONS[need.permission][0]}; ask your admin.")
    if need.kind and not _may_know(need, (request.view_args or {})[need.argument]):
        raise NotFound(*GONE.get(need.kind, NO_PAGE))
    return None


NO_PAGE = ("There is no such page.", "What it showed may be gone.")
GONE = {
    "machine": ("There is no such machine.", "It may have been given back."),
    "request": ("You are not waiting for that any more.", "Reload the page to see what you hold."),
    "run": ("There is no such run.", "It may be forgotten, or not yours to look at."),
    "account": ("There is no such account.", "It may have been deleted."),
    "class": ("There is no such class.", "The list of classes shows those there are."),
    "disk": ("There is no such data disk.", "It may have been deleted."),
    "kept": ("There is no such retained disk.", "Its days may be over."),
    "seed": ("There is no such seed.", "The list of seeds shows those there are."),
}


def _may_know(need: Need, id: Any) -> bool:
    place = grants.location_of(need.kind, id)
    if place is None:
        return False
    if (need.own or need.permission == OWN) and place.account_id == current_user.account.id:
        return True
    return need.permission != OWN and bool(current_user.powers.reach(need.permission).covers(place))


SIGN_IN_ELSEWHERE = "Sign in in another tab, then try again here: what you entered stays as long as this page is open."


def _ask_to_sign_in() -> BaseResponse:
    if request.blueprint in ("door", "live"):
        return Response(status=401)
    if request.blueprint in WITH_TOKENS:
        abort(401, www_authenticate=WWWAuthenticate("bearer"))
    came_from = request.full_path.rstrip("?") if request.method == "GET" else here()
    address = url_for("auth.sign_in", next=came_from if came_from != "/" else None)
    if request.headers.get("HX-Request"):
        if request.method != "GET":
            return Response(render_template("error_message.html", message="You are signed out.", hint=SIGN_IN_ELSEWHERE), 401)
        return Response(status=401, headers={"HX-Redirect": url_for("auth.sign_in", next=here())})
    if text := saved_form.of_request():
        page = render_template("sign_in.html", after=came_from, form=forms.bound(SignIn), kept=text, can_reset=password_links.can_mail())
        return Response(page, 401)
    return redirect(address, 303)


def here() -> str:
    """The page of ours on which the browser is, as path and query; the portal when it does not say."""
    address = urlsplit(request.headers.get("HX-Current-URL") or request.referrer or "")
    if address.netloc != request.host or not address.path.startswith("/") or address.path.startswith("//"):
        return "/"
    return address.path + (f"?{address.query}" if address.query else "")


def back() -> BaseResponse:
    """To the page that the browser came from."""
    return redirect(here(), 303)


def _headers(response: Response) -> Response:
    return protect(response, getattr(response, "form_targets", ""))
