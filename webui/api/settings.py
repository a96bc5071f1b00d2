"""Settings over the API: each form of the pages that an admin decides something with, read and put whole. A line of `AREAS` is a GET and a PUT.

What a call takes is made of the page's own form, with the types that JSON has; secrets are taken and never told.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, get_args, get_origin

from flask import request
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StrictBool, StrictInt, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from appliance.catalog import DirectoryRun, options, public_holidays
from appliance.errors import NotFound
from appliance.identity import directory_settings
from appliance.identity.roles import ROLES
from appliance.services import (
    appliance_backups,
    aside,
    audit,
    calendars,
    directory,
    hooks,
    machine_names,
    mail,
    overview,
    password_links,
    preferences,
    second_factor,
    server,
    sessions,
    ssh,
    updates,
)
from webui import forms
from webui.admin import aside as aside_page
from webui.admin import backups, outside
from webui.admin import directory as directory_page
from webui.admin import events as events_page
from webui.admin import preferences as preferences_page
from webui.admin import server as server_page
from webui.admin import updates as updates_page
from webui.api import schemas
from webui.api.admin import CHANGED, Answer, _changed
from webui.api.mine import _time
from webui.api.operation import Body, blueprint, operation
from webui.forms import SECRET, Form, OneOf
from webui.guard import actor, needs, settings

SCOPE = "admin:configuration"
STRICT: Mapping[Any, Any] = {int: StrictInt, bool: StrictBool}
Values = Mapping[str, Any]
DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
ON = {"on": (StrictBool, True)}


@dataclass(frozen=True)
class Area:
    """A form of settings. `read` is what is stored, by the form's names; `write` stores what was sent.

    `types` are of fields whose type in a form is another than in JSON; `more` of those that only the API has, with their defaults; `facts` of what only
    answers have.
    Of the server's own (`host`) the look and the change are no transaction, so it takes no If-Match.
    """

    name: str
    about: str
    form: type[Form]
    read: Callable[[], Values]
    write: Callable[[Any], object]
    types: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    example: Values = field(default_factory=dict)
    permission: str = "settings.manage"
    confirms: bool = False
    host: bool = False
    more: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def fields(self) -> dict[str, tuple[Any, FieldInfo]]:
        """Type and what else is said of each field that is sent."""
        found: dict[str, tuple[Any, FieldInfo]] = {
            name: _other(self.types[name], info) if name in self.types else (_in_json(info), _said(info))
            for name, info in self.form.model_fields.items()
            if name not in LEFT_OUT
        }
        return found | {name: (type_, Field(default)) for name, (type_, default) in self.more.items()}

    @property
    def secrets(self) -> set[str]:
        return {name for name, info in self.form.model_fields.items() if info.json_schema_extra == SECRET}

    @property
    def title(self) -> str:
        return "".join(word.capitalize() for word in self.name.split("-")) + "Settings"


LEFT_OUT = ("wanted",)  # which of a form's buttons was pressed


def _in_json(info: FieldInfo) -> Any:
    """The type of a form's field without what only makes sense of what a browser sends."""
    said = [one for one in info.metadata if not isinstance(one, BeforeValidator)]
    type_ = STRICT.get(info.annotation, info.annotation)
    return Annotated[(type_, *said)] if said else type_


def _other(type_: Any, info: FieldInfo) -> tuple[Any, FieldInfo]:
    """Another type, and a default of it: what a form has as text is told of for people who type it."""
    bare = get_origin(_bare(type_)) or _bare(type_)
    default = info.get_default()
    return type_, Field(... if info.is_required() else bare(default), title=info.title)


def _said(info: FieldInfo) -> FieldInfo:
    default = ... if info.is_required() else info.get_default()
    made: FieldInfo = Field(default, title=info.title, description=info.description)
    return made


def _bare(type_: Any) -> Any:
    """The type without its limits: what is stored may be of before them."""
    return get_args(type_)[0] if get_origin(type_) is Annotated else type_


# -- what is read and written ------------------------------------------------------------------------------


def _read_general() -> Values:
    return {
        "title": overview.title(),
        "time_zone": overview.time_zone(),
        "language": preferences.language(),
        "overcommit": preferences.overcommit(),
    }


def _write_general(asked: Any) -> None:
    preferences.change(actor(), title=asked.title, time_zone=asked.time_zone, language=asked.language, overcommit=str(asked.overcommit))


def _read_sessions() -> Values:
    held = options.chosen(settings())
    return {"idle": held.session_idle // 60, "longest": max(1, held.session_longest // 3600)}


def _write_holidays(asked: Any) -> None:
    own = {date.fromisoformat(day): name for day, name in asked.own.items()}
    calendars.set_holidays(
        actor(), country=asked.country, part=asked.part, own=own, without=[date.fromisoformat(day) for day in asked.without]
    )


def _day(value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise PydanticCustomError("day", "it is no day like 2026-12-24.") from None


Day = Annotated[str, Field(pattern=DAY), AfterValidator(_day)]


def _read_mail() -> Values:
    fresh = {name: info.get_default() if not info.is_required() else "" for name, info in outside.Mail.model_fields.items()}
    found = fresh | mail.entered() | {"on": mail.is_on(), "has_password": mail.has_password()}
    return found | {"port": int(found["port"])}


def _write_mail(asked: Any) -> None:
    on = mail.is_on()
    if _differs(asked, _read_mail()):
        values = {name: str(getattr(asked, name)) for name in outside.Mail.model_fields if name != "password"}
        mail.change(actor(), values, asked.password, here=request.host_url)
        on = True
    if on != asked.on:
        mail.switch(actor(), on=asked.on)


def _differs(asked: Any, stored: Values) -> bool:
    """Whether more was sent than another switch."""
    return bool(asked.password) or any(
        stored[name] != value for name, value in asked.model_dump(exclude={"password", "on", "none"}).items()
    )


def _read_directory() -> Values:
    found = directory_page.NEW | directory_settings.entered()
    more = {
        "on": directory_settings.is_on(),
        "none": directory_settings.is_none(),
        "has_password": directory_settings.has_password(),
    }
    return found | more | {"servers": list(found["servers"]), "minutes": int(found["minutes"])}


def _directory_values(asked: Any) -> dict[str, Any]:
    sent = asked.model_dump(exclude={"password", "on", "none"})
    values: dict[str, Any] = directory_page.NEW | sent | {"servers": tuple(asked.servers)}
    return values


def _write_directory(asked: Any) -> None:
    on = directory_settings.is_on()
    if asked.none and not asked.servers:
        directory.say_none(actor())
        return
    if _differs(asked, _read_directory()):
        directory.change(actor(), _directory_values(asked), asked.password)
        on = True
    if on != asked.on:
        directory.switch(actor(), on=asked.on)


def _read_syslog() -> Values:
    found = audit.forwarding()
    to = found.receiver
    return {
        "host": to.host if to else "",
        "port": to.port if to else 514,
        "transport": to.transport if to else "tcp",
        "waiting": found.waiting,
        "problem": found.problem,
    }


def _read_source() -> Values:
    found = updates.state(settings())
    if found is None:
        raise NotFound("This appliance is no bootable image.", "It is updated with git and make run.")
    source = found.source
    return {"address": source.address, "daily": source.daily, "authority": source.authority, "found": source.found}


def _write_source(asked: Any) -> None:
    updates.set_source(actor(), settings(), address=asked.address, daily=asked.daily, authority=asked.authority)


def _write_schedule(asked: Any) -> None:
    appliance_backups.plan(actor(), settings(), asked.model_dump(exclude={"days"}), asked.days)


def _read_time() -> Values:
    found = server.clock(settings())
    return {"enabled": found.enabled, "servers": found.servers, "synchronised": found.synchronised, "server": found.server}


def _read_shell() -> Values:
    found = server.shell(settings())
    if found is None:
        raise NotFound("The screen of this server is not the appliance's.", "It is a Debian of your own.")
    return {"enabled": found}


def _read_choices() -> Values:
    held = options.chosen(settings())
    return {"unused_days": held.recipe_days, "space": held.recipe_space}


ROLE = Annotated[str, OneOf({name: role.title for name, role in ROLES.items()})]
AREAS = (
    Area(
        "general",
        "Name, time zone, language of who chose none, and memory overcommit in percent",
        preferences_page.General,
        _read_general,
        _write_general,
        {"overcommit": StrictInt},
        example={"title": "Physics lab", "time_zone": "Europe/Berlin", "overcommit": 100},
    ),
    Area(
        "invitations",
        "For how many days an invitation is good",
        preferences_page.Invitations,
        lambda: {"days": password_links.days()},
        lambda asked: password_links.set_days(actor(), asked.days),
        example={"days": 7},
    ),
    Area(
        "sessions",
        "Minutes without use, and hours in any case, after which a browser is signed out",
        preferences_page.Sessions,
        _read_sessions,
        lambda asked: preferences.sign_out_after(actor(), settings(), idle=asked.idle, longest=asked.longest),
        example={"idle": 60, "longest": 12},
    ),
    Area(
        "device-sign-in",
        "For how many days somebody may stay signed in on a device; 0: nobody does",
        preferences_page.Kept,
        lambda: {"kept_days": sessions.kept_days()},
        lambda asked: sessions.set_kept_days(actor(), asked.kept_days),
        confirms=True,
        example={"kept_days": 0},
    ),
    Area(
        "one-time-codes",
        "Roles that are worth nothing without one-time codes",
        preferences_page.Codes,
        lambda: {"role": second_factor.required_roles()},
        lambda asked: second_factor.require(actor(), asked.role),
        {"role": list[ROLE]},
        confirms=True,
        example={"role": []},
    ),
    Area(
        "debian-mirror",
        "The Debian mirror that seeds are built from; empty: the host's",
        preferences_page.DebianMirror,
        lambda: {"mirror": options.chosen(settings()).debian_mirror},
        lambda asked: preferences.build_from(actor(), settings(), asked.mirror),
        example={"mirror": ""},
    ),
    Area(
        "choices",
        "After how many days without a request seeds of what people chose are removed, and how many GiB these take together",
        preferences_page.Choices,
        _read_choices,
        lambda asked: preferences.keep_choices(actor(), settings(), days=asked.unused_days, space=asked.space),
        example={"unused_days": 30, "space": 20},
    ),
    Area(
        "holidays",
        "Public holidays of a country or its part, days of one's own, and days that are none",
        preferences_page.Holidays,
        public_holidays.chosen,
        _write_holidays,
        {"own": dict[Day, Annotated[str, Field(max_length=60)]], "without": list[Day]},
        example={"country": "DE", "part": "BE"},
    ),
    Area(
        "external-url",
        "Where others reach the appliance: links in mails begin with it",
        outside.Address,
        lambda: {"address": preferences.reached_at()},
        lambda asked: preferences.set_address(actor(), asked.address),
        example={"address": "https://dpe.example.org"},
    ),
    Area(
        "email",
        "Over which server mail is sent, and whether. A password that is not sent stays, for the same server",
        outside.Mail,
        _read_mail,
        _write_mail,
        {"port": StrictInt},
        {"has_password": bool},
        more=ON,
        confirms=True,
        example={"host": "mail.example.org", "sender": "dpe@example.org"},
    ),
    Area(
        "webhooks",
        "The authority (PEM) that webhooks trust; empty: those that everybody trusts",
        outside.Webhooks,
        lambda: {"authority": hooks.state()["authority"]},
        lambda asked: hooks.trust(actor(), asked.authority),
        confirms=True,
        example={"authority": ""},
    ),
    Area(
        "syslog",
        "The receiver that events are sent on to; without a host to none",
        events_page.Forwarding,
        _read_syslog,
        lambda asked: audit.set_forwarding(actor(), host=asked.host, port=str(asked.port), transport=asked.transport),
        {"port": StrictInt},
        {"waiting": int, "problem": str},
        confirms=True,
        example={"host": "logs.example.org"},
    ),
    Area(
        "orphans",
        "After how many days what is set aside is removed by itself; 0: never",
        aside_page.Retention,
        lambda: {"days": aside.days()},
        lambda asked: aside.keep_for(actor(), str(asked.days)),
        {"days": StrictInt},
        example={"days": 30},
    ),
    Area(
        "ssh",
        "Whether machines can be reached by SSH through the appliance",
        server_page.Enabled,
        lambda: {"enabled": ssh.wanted()},
        lambda asked: ssh.switch(actor(), on=asked.enabled),
        confirms=True,
        example={"enabled": True},
    ),
    Area(
        "directory",
        "The directory that people come from. A password that is not sent stays, for the same servers; a change is synchronised. `none` says "
        "that there is none",
        directory_page.Connection,
        _read_directory,
        _write_directory,
        {"minutes": StrictInt},
        {"has_password": bool},
        more={**ON, "none": (StrictBool, False)},
        permission="directory.manage",
        confirms=True,
        example={"servers": ["ldap.example.org"], "base": "dc=example,dc=org"},
    ),
    Area(
        "host-name",
        "How the server calls itself",
        server_page.HostName,
        lambda: {"name": server.network(settings()).name},
        lambda asked: server.set_name(actor(), settings(), asked.name),
        confirms=True,
        host=True,
        example={"name": "dpe"},
    ),
    Area(
        "time-servers",
        "Whether and which time servers are asked; none named: those of DHCP",
        server_page.TimeServers,
        _read_time,
        lambda asked: server.set_time_servers(actor(), settings(), asked.servers, enabled=asked.enabled),
        facts={"synchronised": bool | None, "server": str},
        host=True,
        example={"enabled": True, "servers": ["ntp.example.org"]},
    ),
    Area(
        "proxies",
        "Reverse proxies that may say where people come from: addresses and networks",
        server_page.Proxies,
        lambda: {"proxies": server.proxies(settings())},
        lambda asked: server.trust_proxies(actor(), settings(), "\n".join(asked.proxies)),
        {"proxies": list[Annotated[str, Field(max_length=200, pattern=r"^[0-9A-Fa-f:./]+$")]]},
        confirms=True,
        host=True,
        example={"proxies": []},
    ),
    Area(
        "machine-names",
        "The domain below which machines have names on the page's port, once that works; empty: they have ports",
        server_page.MachineNames,
        lambda: {"domain": machine_names.domain()},
        lambda asked: machine_names.switch(actor(), settings(), asked.domain),
        confirms=True,
        host=True,
        example={"domain": ""},
    ),
    Area(
        "shell",
        "Whether the menu at the server's screen opens a shell",
        server_page.Enabled,
        _read_shell,
        lambda asked: server.set_shell(actor(), settings(), enabled=asked.enabled),
        confirms=True,
        host=True,
        example={"enabled": False},
    ),
    Area(
        "backups",
        "When backups are made by themselves (days count from Monday, 0), and how many are kept",
        backups.Schedule,
        lambda: appliance_backups.state(settings()).plan.model_dump(mode="json"),
        _write_schedule,
        {"days": list[StrictInt], "daily": StrictInt, "weekly": StrictInt, "monthly": StrictInt},
        host=True,
        example={"on": True, "at": "02:30", "days": [0, 4], "daily": 7, "weekly": 4, "monthly": 6},
    ),
    Area(
        "updates",
        "Where updates are fetched from, and whether every day",
        updates_page.Source,
        _read_source,
        _write_source,
        facts={"found": str},
        confirms=True,
        host=True,
        example={"address": ""},
    ),
)


# -- a GET and a PUT of each -------------------------------------------------------------------------------


def _serve(area: Area) -> type[Body]:
    """Have an area's GET and PUT be calls; returns what the PUT takes."""
    fields = area.fields
    body: type[Body] = create_model(f"{area.title}Body", __base__=Body, __doc__="What is put.", **fields)  # type: ignore[call-overload]
    told = {name: (_bare(type_), ...) for name, (type_, _) in fields.items() if name not in area.secrets}
    more = {name: (type_, ...) for name, type_ in area.facts.items()}
    shown: type[BaseModel] = create_model(area.title, __doc__="What counts.", **told, **more)  # type: ignore[call-overload]
    call = area.name.replace("-", "_")

    def get() -> Answer:
        found = area.read()
        return {name: found[name] for name in shown.model_fields}

    def put() -> Answer:
        return _put(area, forms.read(body))

    get.__name__, get.__doc__ = f"{call}_settings", f"{area.about}."
    put.__name__, put.__doc__ = f"put_{call}_settings", "Have these be so."
    guarded = "" if area.host else f"api.{get.__name__}"
    reading = operation(SCOPE, {200: shown})(get)
    writing = operation(SCOPE, CHANGED, takes=body, guarded_by=guarded, confirms=area.confirms, example=area.example)(put)
    for method, view in (("GET", reading), ("PUT", writing)):
        blueprint.add_url_rule(f"/admin/settings/{area.name}", view.__name__, needs(area.permission)(view), methods=[method])
    return body


def _put(area: Area, asked: Body) -> Answer:
    """Write it, unless it is so already."""
    before, wanted = area.read(), asked.model_dump(mode="json")
    secret = any(wanted[name] for name in area.secrets)
    if not secret and all(before[name] == value for name, value in wanted.items() if name not in area.secrets):
        return _changed()
    area.write(asked)
    after = area.read()
    return _changed([name for name in wanted if name not in area.secrets and after[name] != before[name]], changed=secret)


BODIES: dict[str, type[Body]] = {area.name: _serve(area) for area in AREAS}  # what a PUT of each takes
EXAMPLES = {area.name: area.example for area in AREAS}


@blueprint.get("/admin/settings")
@needs("settings.manage")
@operation(SCOPE, {200: schemas.SettingsAreas})
def settings_list() -> Answer:
    """Which settings there are, and which fields of each can be put."""
    return {"items": [{"name": area.name, "about": area.about, "fields": list(BODIES[area.name].model_fields)} for area in AREAS]}


# -- what can be tried ---------------------------------------------------------------------------------------


@blueprint.post("/admin/settings/email/test")
@needs("settings.manage")
@operation(SCOPE, {200: schemas.Mailed}, takes=BODIES["email"], example=EXAMPLES["email"])
def test_email() -> Answer:
    """Send yourself a mail over these settings, saved or not."""
    asked: Any = forms.read(BODIES["email"])
    values = {name: str(getattr(asked, name)) for name in outside.Mail.model_fields if name != "password"}
    return {"mailed_to": mail.test(actor(), values, asked.password)}


@blueprint.post("/admin/settings/directory/test")
@needs("directory.manage")
@operation(SCOPE, {200: schemas.Findings}, takes=BODIES["directory"], example=EXAMPLES["directory"])
def test_directory() -> Answer:
    """Try these settings, saved or not, and say what is found."""
    asked: Any = forms.read(BODIES["directory"])
    found = directory.check_directory(_directory_values(asked), asked.password)
    return {"items": [{"ok": one.ok, "text": one.text, "hint": one.hint} for one in found]}


@blueprint.post("/admin/settings/webhooks/secret")
@needs("settings.manage")
@operation(SCOPE, {200: schemas.WebhookSecret}, confirms=True)
def new_webhooks_secret() -> Answer:
    """Sign what activities call with a new secret, for a day with the one before as well. It is told only here."""
    secret = hooks.new_secret(actor())
    return {"secret": secret, "before_until": _time(hooks.state()["before_until"])}


# -- the directory's synchronisations ------------------------------------------------------------------------


class Synchronisation(Body):
    """With `force` also when more than half of all people would go."""

    force: StrictBool = False


def _run(run: DirectoryRun) -> schemas.DirectoryRun:
    return {
        "id": run.id,
        "state": run.state.value,
        "asked_by": run.asked_by,
        "step": run.step,
        "problem": run.problem,
        "hint": run.hint,
        "counts": run.counts,
        "problems": run.problems,
        "created_at": _time(run.created_at),
        "started_at": _time(run.started_at),
        "ended_at": _time(run.ended_at),
    }


@blueprint.get("/admin/directory/synchronisations")
@needs("directory.manage")
@operation(SCOPE, {200: schemas.DirectoryRuns})
def synchronisations() -> Answer:
    """The last synchronisations with the directory, the newest first."""
    return {"items": [_run(one) for one in directory.runs()]}


@blueprint.post("/admin/directory/synchronisations")
@needs("directory.manage")
@operation(SCOPE, {202: schemas.State}, takes=Synchronisation, example={"force": False})
def synchronise_directory() -> Answer:
    """Have the directory synchronised now; 409 while it is not in use."""
    directory.synchronise(actor(), force=forms.read(Synchronisation).force)
    return {"state": "queued"}, 202
