"""First set-up: a wizard of one form whose steps are shown one at a time, each with a model of its own.

All that was typed travels in the form itself, so going back, an error or a restart of this process loses
nothing, and nothing is kept here for somebody who has not finished.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import urlsplit

import psutil
from flask import Blueprint, redirect, render_template, request, url_for
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, create_model, field_validator
from pydantic_core import PydanticCustomError
from werkzeug.wrappers import Response

from appliance.catalog import Actor, options, seeds
from appliance.errors import BadInput, DpeError
from appliance.identity import passwords
from appliance.scenario.schema import Os
from appliance.services import accounts, applications, aside, classes, overview, preferences, server, sessions, setup
from appliance.services import setup_server as setup_server_service
from appliance.services.directory import Finding, check_directory
from webui import auth, forms, setup_directory, setup_server
from webui.admin.preferences import zones
from webui.forms import SECRET, Form, Line, OneOf, Upload, checked
from webui.guard import is_set_up, needs, public, settings
from webui.upload import takes_file_of

blueprint = Blueprint("setup", __name__)

Values = dict[str, Any]  # what was typed, in all steps
Asked = dict[str, Any]  # the same as the form of each step

STEPS = {
    "code": "Setup code",
    "network": "Network",
    "you": "Account",
    "appliance": "Appliance",
    "storage": "Storage",
    "pools": "Machines",
    "directory": "Directory",
    "hardware": "Hardware",
    "review": "Review",
}
LARGEST = 4 << 20  # bytes of a scenario, for which nobody has signed in; a larger one is imported later
HARDWARE_ICONS = {"kvm": "bolt", "cpu": "cpu", "memory": "activity", "disk": "database", "network": "route"}
SERVER = ("network", "storage")  # only where these are the appliance's to decide on


class Pressed(Form):
    """Which button was pressed at which step, and what the browser is known by."""

    step: str = "code"
    go: str = "next"
    browser: str = ""


def _check_code(code: str) -> str:
    try:
        setup.check_code(code, request.remote_addr or "")
    except DpeError as error:
        error.field = "code"  # that there were too many is said there as well
        raise
    return code


class Code(Form):
    code: Annotated[Line, AfterValidator(_check_code)] = Field(
        title="Setup code",
        description="It is on the appliance's own screen, or at the end of what make run prints. It proves that you are the one who started it.",
    )


class You(Form):
    """The first admin."""

    name: Annotated[str, checked(accounts.check_name)] = Field(title="Name to sign in with")
    full_name: str = Field("", title="Full name", description="Optional; shown to other admins.")
    password: Annotated[str, checked(passwords.check)] = Field(
        title="Password",
        description=f"At least {passwords.SHORTEST} characters. A few words in a row are easy to remember.",
        json_schema_extra=SECRET,
    )
    again: str = Field(title="The same password again", json_schema_extra=SECRET)

    @field_validator("again")
    @classmethod
    def _is_the_same(cls, again: str, info: ValidationInfo) -> str:
        if again != info.data.get("password", again):
            raise PydanticCustomError("differs", "The two passwords differ. Type the second one again.")
        return again


class Appliance(Form):
    title: Annotated[str, checked(preferences.check_title)] = Field(title="Name of the appliance")
    time_zone: Annotated[str, checked(preferences.check_time_zone)] = Field("UTC", title="Time zone")


def _count(value: Any) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", str(value).strip(), re.ASCII):
        raise PydanticCustomError("count", "Write a whole number, like 2.")
    return int(value)


def _fits(buffer: int, info: ValidationInfo) -> int:
    maximum = info.data.get(str(info.field_name).replace("buffer", "maximum"), buffer)
    if buffer > maximum:
        raise PydanticCustomError("fits", f"{buffer} ready machines do not fit under a maximum of {maximum}.")
    return buffer


Count = Annotated[int, BeforeValidator(_count)]
Ready = Annotated[int, BeforeValidator(_count), AfterValidator(_fits)]


def _pools() -> type[Form]:
    """How many machines of each class there are to be: `buffer-CLASS` and `maximum-CLASS`."""
    return _pools_of(tuple((one.name, one.spec["title"], one.buffer, one.maximum) for one in setup.offered()))


@lru_cache(maxsize=2)
def _pools_of(sizes: tuple[tuple[str, str, int, int], ...]) -> type[Form]:
    machines: Any = {"unit": "machines"}
    found: Any = {}
    for number, (name, title, buffer, maximum) in enumerate(sizes):
        found |= {
            f"maximum_{number}": (Count, Field(maximum, alias=f"maximum-{name}", title=f"Maximum of {title}", json_schema_extra=machines)),
            f"buffer_{number}": (
                Ready,
                Field(buffer, alias=f"buffer-{name}", title=f"Ready and waiting of {title}", json_schema_extra=machines),
            ),
        }
    return create_model("Pools", __base__=Form, **found)


class Machines(Form):
    """Which classes there are; what came with the appliance, where nobody presses the button."""

    scenario_from: Annotated[
        str,
        OneOf({"shipped": "What came with the appliance", "class": "A class from the catalogue", "import": "A scenario from a zip"}),
    ] = Field("shipped", title="Machines")
    scenario_application: str = Field("", title="Application")
    scenario_os: Os = Field("debian-13", title="Operating system")
    scenario_file: Upload = Field(b"", title="Zip file", description="As Export of another appliance's scenario gives it.")


FORMS: dict[str, type[Form]] = {
    "code": Code,
    "network": setup_server.Network,
    "you": You,
    "appliance": Appliance,
    "machines": Machines,
    "storage": setup_server.Storage,
    "directory": setup_directory.Directory,
}


def _form_of(step: str) -> type[Form]:
    return _pools() if step == "pools" else FORMS.get(step, Form)


def _steps() -> list[str]:
    return [name for name in STEPS if name not in SERVER or setup_server_service.is_ours()]


@dataclass(frozen=True)
class Host:
    """The host in the wizard's words; memory is MiB and `room` what machines may have of it."""

    memory: int
    cpus: int
    room: int
    facts: dict[str, Any]  # the engine's, empty while it is not there


def _host() -> Host:
    facts = overview.health().host
    memory = facts.get("memory") or psutil.virtual_memory().total >> 20
    return Host(memory, facts.get("cpus") or psutil.cpu_count() or 1, max(0, memory - settings().host_reserve), facts)


@blueprint.route("/setup", methods=["GET", "POST"])
@public
def wizard() -> Response | str | tuple[str, int]:
    if is_set_up():
        return redirect("/", 303)
    if request.method == "GET":
        return _page("code", {})
    pressed, values = forms.read(Pressed), forms.sent()
    try:
        forms.check(Code, values)
    except DpeError as error:
        return _page("code", values, error)
    values = _defaults() | values
    names, go = _steps(), pressed.go
    step = pressed.step if pressed.step in names else "code"
    at, asked = names.index(step), Asked()
    for name in names[1 : at + 1] if go in ("next", "finish") else ():
        try:
            asked[name] = forms.check(_form_of(name), values)
        except DpeError as error:
            return _page(name, values, error)
    if act := ACTS.get((step, go)):
        try:
            return act(values, asked)
        except DpeError as error:
            return _page(step, values, error)
    return _page(go if go in names else names[max(at - 1, 0) if go == "back" else min(at + 1, len(names) - 1)], values)


def _defaults() -> Values:
    server = setup_server.defaults() if setup_server_service.is_ours() else {}
    return {**server, "scenario_from": "shipped", "scenario_os": "debian-13", "title": options.get("scenario").get("title", "")}


def _page(step: str, values: Values, error: DpeError | None = None, findings: list[Finding] | None = None) -> tuple[str, int]:
    known = step != "code"  # until the code is right, the page tells nothing of the appliance
    names = _steps()
    net, disks = setup_server.network() if step == "network" else None, setup_server.disks() if step in ("storage", "review") else None
    choices = {"time_zone": {zone: zone for zone in zones()}, "scenario_application": _applications()} if known else {}
    if net and net[0]:
        choices["net_card"] = {card.name: card.name if card.connected else f"{card.name} (no cable)" for card in net[0].cards}
    page = render_template(
        "setup.html",
        step=step,
        STEPS={name: STEPS[name] for name in names},
        at=names.index(step),
        form={
            name: forms.bound(_form_of(name), values, _error_of(name, step, error), choices=choices, keep=True, mine=True)
            for name in ([*names, "machines"] if known else ["code"])
        },
        net=net,
        disks=disks if "storage" in names else None,
        here=urlsplit(request.host_url).hostname,
        keep_at=lambda address, token: f"https://{address}{_port()}{url_for('server.keep', token=token)}",
        findings=findings,
        found_here=aside.count(),
        held=[one for one in server.capacity(settings()) if one.machine_class.enabled] if step == "hardware" else [],
        findings_of_host=server.findings(settings()) if step == "hardware" else [],
        HARDWARE_ICONS=HARDWARE_ICONS,
        classes=setup.offered() if known else [],
        to_build=setup.to_build() if step == "review" else 0,
        host=_host() if known else None,
        known=known,
    )
    return page, 400 if error else 200


def _error_of(form: str, step: str, error: DpeError | None) -> DpeError | None:
    """The error, if it is about this form: that of the step, or the one of machines that stands on the step of pools."""
    if error is not None and (error.field or "").startswith("scenario_"):
        step = "machines"
    return error if form == step else None


def _port() -> str:
    """What follows the host's name in this page's own address."""
    port = urlsplit(request.host_url).port
    return f":{port}" if port else ""


def _applications() -> dict[str, str]:
    return {one.name: one.manifest.title for one in applications.entries() if one.is_opened}


@blueprint.post("/setup/machines")
@public
@takes_file_of(LARGEST)
def machines() -> Response | str | tuple[str, int]:
    """The wizard, where its form brings a file."""
    return wizard()


def _choose_machines(values: Values, asked: Asked) -> tuple[str, int]:
    wanted = forms.check(Machines, values | forms.sent(Machines))
    address = request.remote_addr or ""
    if wanted.scenario_from == "class":
        setup.choose_class(wanted.scenario_application, wanted.scenario_os, address)
    elif wanted.scenario_from == "shipped":
        setup.choose_shipped(address)
    elif wanted.scenario_file:
        setup.choose_import(wanted.scenario_file, address)
    else:
        raise BadInput("No file was sent.", "Choose a zip file.", field="scenario_file")
    return _page("pools", values)


def _network(values: Values, asked: Asked) -> tuple[str, int]:
    """On from the network: another one than is used now is tried first. Who goes on from a trial came over it, and keeps it."""
    trial = setup_server.try_network(asked["network"], values["code"])
    return _page("network", values | {"net_token": trial.token}) if trial else _page("you", values)


def _take_network_back(values: Values, asked: Asked) -> tuple[str, int]:
    setup_server.take_back(values["code"])
    return _page("network", values)


def _test_directory(values: Values, asked: Asked) -> tuple[str, int]:
    wanted = forms.check(setup_directory.Directory, values | {"dir_use": "yes"})
    return _page("directory", values, findings=check_directory(wanted.values(), wanted.password))


def _finish(values: Values, asked: Asked) -> Response:
    you: You = asked["you"]
    about: Appliance = asked["appliance"]
    sizes, address = asked["pools"].model_dump(by_alias=True), request.remote_addr or ""
    pools = {one.name: (sizes[f"buffer-{one.name}"], sizes[f"maximum-{one.name}"]) for one in setup.offered()}
    wishes = setup.Wishes(you.name, you.full_name, you.password, about.title, about.time_zone, pools)
    account = setup.finish(values["code"], wishes, address)
    token, _ = sessions.sign_in(you.name, you.password, address, request.user_agent.string)
    auth.start_session(token, forms.read(Pressed).browser)
    actor = Actor(account.name, account.id, address)
    setup_directory.use(actor, asked["directory"])
    if "storage" in asked:
        setup_server.use_disk(actor, asked["storage"])
    if request.headers.get("HX-Request"):
        return Response(headers={"HX-Redirect": url_for("setup.progress")})
    return redirect(url_for("setup.progress"), 303)


# What a step's button does besides leading elsewhere.
ACTS: dict[tuple[str, str], Callable[[Values, Asked], Response | tuple[str, int]]] = {
    ("network", "next"): _network,
    ("network", "undo"): _take_network_back,
    ("pools", "machines"): _choose_machines,
    ("directory", "test"): _test_directory,
    ("review", "finish"): _finish,
}


@blueprint.get("/setup/progress")
@needs("settings.manage")
def progress() -> str:
    latest = [next(iter(seeds.of_class(machine_class.name)), None) for machine_class in setup.offered()]
    builds = [(seed, classes.forking(seed.machine_class)) for seed in latest if seed is not None]
    return render_template("setup_progress.html", builds=builds, pools=overview.pools(), health=overview.health())
