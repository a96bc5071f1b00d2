"""How a call of the API is declared, once: its scope, what it takes and answers. The document is made from that, and all that calls have alike is done
here: what a token is good for, how many calls there may be, what JSON may look like, idempotency keys, and ETags.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, ClassVar, TypeVar

from flask import Blueprint, Response, current_app, g, make_response, request
from flask_login import current_user
from pydantic import BaseModel, ConfigDict, RootModel
from werkzeug.exceptions import PreconditionFailed, TooManyRequests, UnprocessableEntity

from appliance import catalog
from appliance.catalog import doorbell, idempotency
from appliance.errors import BadInput, NotAllowed, NotFound
from appliance.services import sessions
from webui import lists
from webui.api.rate_limit import RateLimit
from webui.forms import Form
from webui.guard import csrf
from webui.lists import List
from webui.reauth import FRESH

View = TypeVar("View", bound=Callable[..., Any])

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
csrf.exempt(blueprint)  # of the check that comes first; see _check_scope

SCOPES = {
    "read": "See the account's machines, what it can get and what waits for it",
    "machines": "Get machines, stop and start them, extend them and give them back",
    "consoles": "Open screens, serial lines and ports of machines",
    "readings": "Send what the account's machines say of themselves",
    "todos": "Answer approvals and tasks",
    "sequences": "Change and promote sequences",
    "admin:read": "See all that the account may see: machines of others, people, classes, seeds, events",
    "admin:machines": "Move, extend and reclaim machines of others",
    "admin:people": "Manage accounts, groups, org units, grants and quotas",
    "admin:classes": "Change classes: policies, calendars, whether they are enabled",
    "admin:seeds": "Build, promote and delete seeds",
    "admin:server": "Back up and update the server, and see what is done to it",
    "metrics": "Read the appliance's metrics, as Prometheus does",
    "admin:settings": "Change webhooks, and see what they were sent",
    "admin:configuration": "See and change settings, and the directory",
    "admin:scenario": "See, import and change the scenario",
    "admin:disks": "Back up, restore and delete disks of others, and what is set aside",
    "admin:host": "Change the server itself: network, certificate, disks, power; and read its logs",
}
JSON = "application/json"
KEY = re.compile(r"[\x21-\x7e]{1,200}")
PAGE, LARGEST_PAGE = 50, 200
WIDEST = 2**63  # beyond what a column can hold


class Body(Form):
    """What a newer call takes: a field that it does not know is refused, not left out. `CALLED` are other names that services have for fields."""

    CALLED: ClassVar[Mapping[str, str]] = {}
    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Operation:
    """A call: `answers` has the type of the JSON for each status that is no error, `query` a type for each parameter of its address."""

    scope: str
    answers: Mapping[int, Any]
    takes: type[BaseModel] | Any = None
    query: Mapping[str, Any] | None = None
    listing: List | None = None
    creates: bool = False  # takes an idempotency key
    guarded_by: str = ""  # the endpoint that reads what this one writes; for If-Match
    verbs: tuple[str, ...] = ()  # what the argument `verb` may be
    example: Mapping[str, Any] | None = None
    sends: str = JSON  # what a body is; of another kind than JSON it is bytes
    media: str = JSON
    links: Mapping[str, Mapping[str, str]] | None = None  # calls that go on with what is answered: parameters by name

    @property
    def is_whole(self) -> bool:
        """Whether nothing sent would mean something: that all is to be as when nobody said anything."""
        return isinstance(self.takes, type) and issubclass(self.takes, Body | RootModel)


def operation(scope: str, answers: Mapping[int, Any], *, confirms: bool = False, **declared: Any) -> Callable[[View], View]:
    """Declare a call; the other arguments are those of `Operation`. With `confirms`, a browser must have confirmed access lately, as on pages."""
    said = Operation(scope, answers, **declared)
    assert scope in SCOPES, scope

    def mark(view: View) -> View:
        @wraps(view)
        def called(**arguments: Any) -> Any:
            if confirms and current_user.token is None and not sessions.confirmed_within(current_user.session_id, FRESH):
                raise NotAllowed("This needs your password once more.", "Confirm access in the web page, or use a token.")
            if said.listing is not None:
                _check_listing(said.listing)
            if said.is_whole and not isinstance(request.get_json(silent=True), dict):
                raise BadInput("This takes a JSON object.", "Send one, with Content-Type: application/json.")
            if said.creates and (key := request.headers.get("Idempotency-Key")) is not None:
                return _once(key, view, arguments)
            if said.guarded_by and (request.if_match or request.if_none_match):
                with catalog.write():
                    _check_match(said.guarded_by, arguments)
                    guarded = make_response(view(**arguments))
                doorbell.ring()  # what was rung inside came before the commit
                return guarded
            answer = make_response(view(**arguments))
            return _conditional(answer) if request.method == "GET" and not answer.is_streamed else answer

        called.scope = scope  # type: ignore[attr-defined]
        called.operation = said  # type: ignore[attr-defined]
        return called  # type: ignore[return-value]

    return mark


# -- before every call -------------------------------------------------------------------------------


@blueprint.before_request
def _check_scope() -> None:
    token = current_user.token if current_user.is_authenticated else None
    if token is None:
        csrf.protect()  # a browser's session: another site's page could have sent this
        return
    needed = current_app.view_functions[request.endpoint or ""].scope  # type: ignore[union-attr]
    if needed not in token.scope:
        raise NotAllowed(
            f"The token {token.name} is not good for this.", f"It needs the scope {needed}. Make another one on your account's page."
        )


@blueprint.before_request
def _limit() -> None:
    limit: RateLimit = current_app.extensions.setdefault("api_rate_limit", RateLimit())
    g.rate = limit.take(current_user.account.id)
    if g.rate.wait:
        raise TooManyRequests(f"Wait {g.rate.wait} s", retry_after=g.rate.wait)


@blueprint.after_request
def _tell_limit(response: Response) -> Response:
    if "rate" in g:
        response.headers["RateLimit-Policy"], response.headers["RateLimit"] = g.rate.policy, g.rate.told
    return response


@blueprint.before_request
def _check_json() -> None:
    """JSON is what RFC 8259 and I-JSON say, or is refused: no name twice, no NaN, nothing that the catalog cannot hold."""
    said: Operation | None = getattr(current_app.view_functions[request.endpoint or ""], "operation", None)
    if said is not None and said.sends == JSON and request.is_json and (sent := request.get_data()):
        try:
            found = json.loads(sent, object_pairs_hook=_object, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise BadInput("That is not JSON.", f"{error}."[:200]) from None
        _check_value(found, "")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("An object names something twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


def _check_value(value: Any, at: str) -> None:
    """Whether a value can be kept: text without NUL and lone surrogates, numbers of 64 bits. `at` is a JSON pointer."""
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise _Unkept("Text with a NUL or half a character cannot be kept.", at)
    elif isinstance(value, int | float):
        if abs(value) >= WIDEST:
            raise _Unkept("A number is too large.", at)
    elif isinstance(value, dict):
        for name, one in value.items():
            _check_value(name, at)
            _check_value(one, f"{at}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            _check_value(one, f"{at}/{number}")


class _Unkept(BadInput):
    def __init__(self, message: str, at: str) -> None:
        at = at.encode("utf-8", "replace").decode()
        super().__init__(message, f"It is at {at[:100] or 'the top'}.")
        self.wrong = [{"pointer": f"#{at}", "detail": message}]


# -- idempotency keys and ETags ------------------------------------------------------------------------


def _once(key: str, view: Callable[..., Any], arguments: Mapping[str, Any]) -> Response:
    """Do it, or answer as it was answered to the same key. What creates and the note of it are one transaction: a kill leaves both or neither."""
    if not KEY.fullmatch(key):
        raise BadInput("An idempotency key has 1 to 200 printable characters.", "A random UUID will do.")
    account_id = current_user.account.id
    asked = hashlib.sha256(f"{request.method} {request.full_path}\n".encode() + request.get_data()).hexdigest()
    with catalog.write():
        known = idempotency.find(account_id, key)
        if known is None:
            answer = make_response(view(**arguments))
            if answer.status_code < 300:
                idempotency.keep(
                    account_id,
                    key,
                    request=asked,
                    status=answer.status_code,
                    body=answer.get_data(as_text=True),
                    location=answer.headers.get("Location", ""),
                )
    if known is None:
        doorbell.ring()  # what was rung inside came before the commit
        return answer
    if known.request != asked:
        raise UnprocessableEntity("The idempotency key was used for something else.")
    again = Response(known.body, known.status, {"Idempotency-Replayed": "true"}, mimetype="application/json")
    if known.location:
        again.headers["Location"] = known.location
    return again


def _conditional(answer: Response) -> Response:
    """With an ETag of what it says; 304 for who has that already."""
    if answer.status_code == 200:
        answer.add_etag()
        answer.make_conditional(request)
    return answer


def _check_match(endpoint: str, arguments: Mapping[str, Any]) -> None:
    """Whether what is written over is what was seen; call it inside the `write()` that writes. Raises PreconditionFailed."""
    view: Any = current_app.view_functions[endpoint]
    try:
        seen = make_response(view.__wrapped__(**arguments))
        seen.add_etag()
        etag = seen.get_etag()[0]
    except NotFound:
        etag = None
    if request.if_match and (etag is None or not request.if_match.contains(etag)):
        raise PreconditionFailed("It was changed since you read it.")
    if request.if_none_match and etag is not None and request.if_none_match.contains(etag):
        raise PreconditionFailed("It is there already.")


# -- lists -------------------------------------------------------------------------------------------


def sorts_of(kind: List) -> list[str]:
    """What the list may be sorted by, each way."""
    return [f"{way}{one.name}" for one in kind.columns if one.sorts for way in ("", "-")]


def _check_listing(kind: List) -> None:
    """A page leaves out what its address says wrongly; a program is told."""
    asked, errors = request.args, {}
    filters = {one.name: one for one in kind.filters}
    for name, value in asked.items():
        if name not in filters and name not in ("sort", "after", "limit"):
            errors[name] = "There is no such parameter."
        elif (one := filters.get(name)) and value and not lists.takes(one, value):
            errors[name] = "It is not one of the choices."
    if (sort := asked.get("sort", kind.order)) not in sorts_of(kind):
        errors["sort"] = f"It is not sorted by {sort[:40]!r}."
    if (after := asked.get("after")) and not lists.is_cursor(after):
        errors["after"] = "It is not what the page before has as next."
    if not _limit_of(asked.get("limit", str(PAGE))):
        errors["limit"] = f"It is a number between 1 and {LARGEST_PAGE}."
    if errors:
        raise Unfitting(errors)


class Unfitting(BadInput):
    """Parameters of an address that do not fit, each with what is wrong."""

    def __init__(self, found: Mapping[str, str]) -> None:
        name = next(iter(found))
        super().__init__(f"{name[:60]}: {found[name]}", "The documentation lists the parameters.")
        self.wrong = [{"parameter": one[:60], "detail": said} for one, said in found.items()]


def _limit_of(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,3}", text) and 1 <= int(text) <= LARGEST_PAGE else 0


def page_of(kind: List, item: Callable[[Any], Any], **arguments: Any) -> dict[str, Any]:
    """A page of the list as the address asks for it: `items`, `next` to be sent as `after` (null: no more), and `total` where that is cheap."""
    shown = lists.show(replace(kind, size=_limit_of(request.args.get("limit", str(PAGE)))), **arguments)
    following = shown.page.following
    return {
        "items": [item(row) for row in shown.page.rows],
        "next": None if following is None else json.dumps(following, separators=(",", ":")),
        "total": shown.page.total,
    }
