"""First set-up: a wizard of one form whose steps are shown one at a time.

All that was typed travels in the form itself, so going back, an error or a restart of this process loses
nothing, and nothing is kept here for somebody who has not finished.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psutil
from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.catalog import Actor, options, seeds
from appliance.errors import DpeError
from appliance.identity import names, passwords
from appliance.services import aside, classes, overview, preferences, server, sessions, setup
from appliance.services import setup_server as setup_server_service
from appliance.services.directory import Finding
from webui import auth, forms, setup_directory, setup_server
from webui.admin.preferences import zones
from webui.guard import is_set_up, needs, public, settings

blueprint = Blueprint("setup", __name__)

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
HARDWARE_ICONS = {"kvm": "bolt", "cpu": "cpu", "memory": "activity", "disk": "database", "network": "route"}
SERVER = ("network", "storage")  # only where these are the appliance's to decide on
DEFAULTS = {"code": "", "name": "", "full_name": "", "password": "", "again": "", "title": "", "time_zone": "UTC"}


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
        return _page("code", dict(DEFAULTS), {})
    typed = {name: value for name, value in forms.sent().items() if isinstance(value, str)}
    if errors := _errors(DEFAULTS | typed, ["code"]):
        return _page("code", DEFAULTS | typed, errors)
    values = DEFAULTS | setup_directory.DEFAULTS | _defaults() | typed
    names, go = _steps(), values.get("go", "next")
    step = values.get("step", "code")
    at = names.index(step) if step in names else 0
    if errors := _errors(values, names[: at + 1] if go in ("next", "finish") else []):
        return _page(next(name for name in names if name in errors), values, errors)
    if act := ACTS.get((step, go)):
        return act(values)
    return _page(go if go in names else names[max(at - 1, 0) if go == "back" else min(at + 1, len(names) - 1)], values, {})


def _defaults() -> dict[str, str]:
    server = setup_server.defaults() if setup_server_service.is_ours() else {}
    return {**_pool_defaults(), **server, "title": options.get("scenario").get("title", "")}


def _pool_defaults() -> dict[str, str]:
    return {
        f"{key}-{machine_class.name}": str(getattr(machine_class, key))
        for machine_class in classes.everything()
        for key in ("buffer", "maximum")
    }


def _page(step: str, values: dict[str, str], errors: dict[str, dict[str, str]], findings: list[Finding] | None = None) -> tuple[str, int]:
    known = step != "code"  # until the code is right, the page tells nothing of the appliance
    names = _steps()
    net, disks = setup_server.network() if step == "network" else None, setup_server.disks() if step in ("storage", "review") else None
    page = render_template(
        "setup.html",
        step=step,
        STEPS={name: STEPS[name] for name in names},
        at=names.index(step),
        net=net,
        disks=disks if "storage" in names else None,
        here=urlsplit(request.host_url).hostname,
        keep_at=lambda address: f"https://{address}{_port()}{url_for('server.keep', token=values['net_token'])}",
        findings=findings,
        found_here=aside.count(),
        held=server.capacity(settings()) if step == "hardware" else [],
        findings_of_host=server.findings(settings()) if step == "hardware" else [],
        HARDWARE_ICONS=HARDWARE_ICONS,
        **setup_directory.CHOICES,
        values=values,
        errors=errors.get(step, {}),
        classes=classes.everything() if known else [],
        to_build=setup.to_build() if step == "review" else 0,
        host=_host() if known else None,
        zones=zones() if known else [],
        known=known,
        SHORTEST=passwords.SHORTEST,
    )
    return page, 400 if errors else 200


def _port() -> str:
    """What follows the host's name in this page's own address."""
    port = urlsplit(request.host_url).port
    return f":{port}" if port else ""


def _errors(values: dict[str, str], steps: list[str]) -> dict[str, dict[str, str]]:
    """What is wrong in these steps: step -> field -> what to do."""
    found = {step: CHECKS[step](values) for step in steps if step in CHECKS}
    return {step: errors for step, errors in found.items() if errors}


def _check_code(values: dict[str, str]) -> dict[str, str]:
    try:
        setup.check_code(values["code"], request.remote_addr or "")
    except DpeError as error:
        return {"code": str(error)}
    return {}


def _check_you(values: dict[str, str]) -> dict[str, str]:
    errors = {}
    if not names.ACCOUNT.fullmatch(values["name"]):
        errors["name"] = "Use up to 32 letters, digits, dots, dashes and underscores, starting with a letter."
    if len(values["password"]) < passwords.SHORTEST:
        errors["password"] = f"It needs at least {passwords.SHORTEST} characters. A few words in a row are easy to remember."
    elif len(values["password"]) > passwords.LONGEST:
        errors["password"] = f"It is longer than {passwords.LONGEST} characters."
    elif values["password"] != values["again"]:
        errors["again"] = "The two passwords differ. Type the second one again."
    return errors


def _check_appliance(values: dict[str, str]) -> dict[str, str]:
    errors = {}
    for field, check in (("title", preferences.check_title), ("time_zone", preferences.check_time_zone)):
        try:
            check(values[field])
        except DpeError as error:
            errors[field] = str(error)
    return errors


def _check_pools(values: dict[str, str]) -> dict[str, str]:
    errors = {}
    for machine_class in classes.everything():
        for key in ("buffer", "maximum"):
            if not re.fullmatch(r"[0-9]{1,5}", values[f"{key}-{machine_class.name}"].strip(), re.ASCII):
                errors[f"{key}-{machine_class.name}"] = "Write a whole number, like 2."
        if not any(field.endswith(f"-{machine_class.name}") for field in errors):
            buffer, maximum = (int(values[f"{key}-{machine_class.name}"]) for key in ("buffer", "maximum"))
            if buffer > maximum:
                errors[f"buffer-{machine_class.name}"] = f"{buffer} ready machines do not fit under a maximum of {maximum}."
    return errors


def _network(values: dict[str, str]) -> tuple[str, int]:
    """On from the network: another one than is used now is tried first. Who goes on from a trial came over it, and keeps it."""
    trial, errors = setup_server.try_network(values)
    if trial is None and not errors:
        return _page("you", values, {})
    return _page("network", values | {"net_token": trial.token if trial else ""}, {"network": errors} if errors else {})


def _take_network_back(values: dict[str, str]) -> tuple[str, int]:
    errors = setup_server.take_back(values)
    return _page("network", values, {"network": errors} if errors else {})


def _test_directory(values: dict[str, str]) -> tuple[str, int]:
    findings: list[Finding] = []
    errors = setup_directory.check(values | {"dir_use": "yes"})
    if not errors:
        findings, errors = setup_directory.test(values)
    return _page("directory", values, {"directory": errors} if errors else {}, findings or None)


def _finish(values: dict[str, str]) -> Response | tuple[str, int]:
    pools = {
        machine_class.name: (int(values[f"buffer-{machine_class.name}"]), int(values[f"maximum-{machine_class.name}"]))
        for machine_class in classes.everything()
    }
    name, password, address = values["name"], values["password"], request.remote_addr or ""
    wishes = setup.Wishes(name, values["full_name"], password, values["title"], values["time_zone"], pools)
    try:
        account = setup.finish(values["code"], wishes, address)
        token, _ = sessions.sign_in(name, password, address, request.user_agent.string)
    except DpeError as error:
        return _page("review", values, {"review": {"": str(error)}})
    auth.start_session(token, values.get("browser", ""))
    actor = Actor(account.name, account.id, address)
    setup_directory.use(actor, values)
    if "storage" in _steps():
        setup_server.use_disk(actor, values)
    if request.headers.get("HX-Request"):
        return Response(headers={"HX-Redirect": url_for("setup.progress")})
    return redirect(url_for("setup.progress"), 303)


CHECKS = {
    "code": _check_code,
    "network": setup_server.check_network,
    "you": _check_you,
    "appliance": _check_appliance,
    "storage": setup_server.check_storage,
    "pools": _check_pools,
    "directory": setup_directory.check,
}
# What a step's button does besides leading elsewhere.
ACTS: dict[tuple[str, str], Callable[[dict[str, str]], Response | tuple[str, int]]] = {
    ("network", "next"): _network,
    ("network", "undo"): _take_network_back,
    ("directory", "test"): _test_directory,
    ("review", "finish"): _finish,
}


@blueprint.get("/setup/progress")
@needs("settings.manage")
def progress() -> str:
    latest = [next(iter(seeds.of_class(machine_class.name)), None) for machine_class in classes.everything()]
    builds = [(seed, classes.forking(seed.machine_class)) for seed in latest if seed is not None]
    return render_template("setup_progress.html", builds=builds, pools=overview.pools(), health=overview.health())
