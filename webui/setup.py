"""First set-up: a wizard of one form whose steps are shown one at a time.

All that was typed travels in the form itself, so going back, an error or a restart of this process loses
nothing, and nothing is kept here for somebody who has not finished.
"""

import re
from dataclasses import dataclass
from typing import Any

import psutil
from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.catalog import options, seeds
from appliance.errors import DpeError
from appliance.people import passwords
from appliance.services import accounts, classes, overview, preferences, sessions, setup
from webui import auth
from webui.admin.preferences import zones
from webui.guard import is_set_up, needs, public, settings

blueprint = Blueprint("setup", __name__)

STEPS = {
    "code": "Setup code",
    "you": "Your account",
    "appliance": "The appliance",
    "pools": "Machines",
    "hardware": "Hardware",
    "review": "Review",
}
NAMES = list(STEPS)
DEFAULTS = {"code": "", "name": "", "full_name": "", "password": "", "again": "", "title": "", "time_zone": "UTC"}


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
    values = {**DEFAULTS, **_pool_defaults(), "title": options.get("scenario").get("title", ""), **request.form.to_dict()}
    if request.method == "GET":
        return _page("code", values, {})
    step, go = values.get("step", "code"), values.get("go", "next")
    at = NAMES.index(step) if step in STEPS else 0
    errors = _errors(values, NAMES[: at + 1] if go in ("next", "finish") else ["code"])
    if errors:
        return _page(next(name for name in NAMES if name in errors), values, errors)
    if go == "finish" and step == "review":
        return _finish(values)
    return _page(go if go in STEPS else NAMES[max(at - 1, 0) if go == "back" else min(at + 1, len(NAMES) - 1)], values, {})


def _pool_defaults() -> dict[str, str]:
    return {f"{key}-{cls.name}": str(getattr(cls, key)) for cls in classes.everything() for key in ("buffer", "maximum")}


def _page(step: str, values: dict[str, str], errors: dict[str, dict[str, str]]) -> tuple[str, int]:
    known = step != "code"  # until the code is right, the page tells nothing of the appliance
    page = render_template(
        "setup.html",
        step=step,
        STEPS=STEPS,
        at=NAMES.index(step),
        values=values,
        errors=errors.get(step, {}),
        classes=classes.everything() if known else [],
        host=_host() if known else None,
        zones=zones() if known else [],
        known=known,
        SHORTEST=passwords.SHORTEST,
    )
    return page, 400 if errors else 200


def _errors(values: dict[str, str], steps: list[str]) -> dict[str, dict[str, str]]:
    """What is wrong in these steps: step -> field -> what to do."""
    checks = {"code": _check_code, "you": _check_you, "appliance": _check_appliance, "pools": _check_pools}
    found = {step: checks[step](values) for step in steps if step in checks}
    return {step: errors for step, errors in found.items() if errors}


def _check_code(values: dict[str, str]) -> dict[str, str]:
    try:
        setup.check_code(values["code"], request.remote_addr or "")
    except DpeError as error:
        return {"code": str(error)}
    return {}


def _check_you(values: dict[str, str]) -> dict[str, str]:
    errors = {}
    if not accounts.NAME.match(values["name"]):
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
    for cls in classes.everything():
        for key in ("buffer", "maximum"):
            if not re.fullmatch(r"[0-9]{1,5}", values[f"{key}-{cls.name}"].strip(), re.ASCII):
                errors[f"{key}-{cls.name}"] = "Write a whole number, like 2."
        if not any(field.endswith(f"-{cls.name}") for field in errors):
            buffer, maximum = (int(values[f"{key}-{cls.name}"]) for key in ("buffer", "maximum"))
            if buffer > maximum:
                errors[f"buffer-{cls.name}"] = f"{buffer} ready machines do not fit under a maximum of {maximum}."
    return errors


def _finish(values: dict[str, str]) -> Response | tuple[str, int]:
    pools = {cls.name: (int(values[f"buffer-{cls.name}"]), int(values[f"maximum-{cls.name}"])) for cls in classes.everything()}
    name, password, address = values["name"], values["password"], request.remote_addr or ""
    wishes = setup.Wishes(name, values["full_name"], password, values["title"], values["time_zone"], pools)
    try:
        setup.finish(values["code"], wishes, address)
        token, _ = sessions.sign_in(name, password, address, request.user_agent.string)
    except DpeError as error:
        return _page("review", values, {"review": {"": str(error)}})
    auth.start_session(token)
    if request.headers.get("HX-Request"):
        return Response(headers={"HX-Redirect": url_for("setup.progress")})
    return redirect(url_for("setup.progress"), 303)


@blueprint.get("/setup/progress")
@needs("settings.manage")
def progress() -> str:
    latest = [next(iter(seeds.of_class(cls.name)), None) for cls in classes.everything()]
    builds = [(seed, classes.forking(seed.klass)) for seed in latest if seed is not None]
    return render_template("setup_progress.html", builds=builds, health=overview.health())
