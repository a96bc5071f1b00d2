"""The server itself: how it is, its network, clock, power and hardware, and what dpe-host does or did."""

from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from appliance.catalog import now
from appliance.errors import BadInput, DpeError, NotFound
from appliance.host.interface.network import State
from appliance.services import overview, server
from webui.errors import status_of
from webui.format import zone
from webui.guard import actor, needs, public, settings
from webui.reauth import FIELD, requires_reauth

blueprint = Blueprint("server", __name__, url_prefix="/admin/server")

Page = str | Response | tuple[str, int]

POWER = {"restart": "Restart the server", "off": "Shut the server down"}


@blueprint.get("/")
@needs("settings.manage")
def index() -> str:
    operations, network, clock, certificate, proxies, error = [], None, None, None, None, None
    try:
        operations, network, clock = server.recent(settings()), server.network(settings()), server.clock(settings())
        certificate, proxies = server.certificate(settings()), server.proxies(settings())
    except DpeError as refused:
        error = refused
    return render_template(
        "admin/server.html",
        status=server.status(settings()),
        findings=[found for found in server.findings(settings()) if found.level != "ok"],
        held=server.capacity(settings(), current_user.powers.reach("classes.read")),
        operations=operations,
        network=network,
        clock=clock,
        certificate=certificate,
        proxies=proxies,
        shell=server.shell(settings()),
        error=error,
    )


@blueprint.get("/hardware")
@needs("settings.manage")
def hardware() -> str:
    held = server.capacity(settings(), current_user.powers.reach("classes.read"))
    return render_template("admin/hardware.html", findings=server.findings(settings()), held=held)


@blueprint.post("/shell")
@needs("settings.manage")
@requires_reauth
def set_shell() -> Response:
    enabled = request.form.get("enabled") == "yes"
    server.set_shell(actor(), settings(), enabled=enabled)
    flash("The menu at the server's screen opens a shell from now on." if enabled else "The menu opens no more shells.", "success")
    return redirect(url_for("server.index"), 303)


@blueprint.post("/processes/<name>/restart")
@needs("settings.manage")
@requires_reauth
def restart_part(name: str) -> Response:
    server.restart_part(actor(), settings(), name)
    flash(f"{name} is restarted.", "success")
    return redirect(url_for("server.index"), 303)


# -- operations --------------------------------------------------------------------------------------


@blueprint.get("/operations/<id>")
@needs("settings.manage")
def operation(id: str) -> str:
    """The page of an operation, which renews itself while it runs."""
    return render_template("admin/operation.html", t=server.get_operation(settings(), id))


@blueprint.post("/operations/<id>/cancel")
@needs("settings.manage")
def cancel(id: str) -> Response:
    server.cancel(actor(), settings(), id)
    flash("It ends as soon as it can.", "success")
    return redirect(url_for("server.operation", id=id), 303)


# -- network -----------------------------------------------------------------------------------------


def _network_page(error: DpeError | None = None, at: str = "", values: dict[str, Any] | None = None) -> Page:
    found = server.network(settings())
    if found.trial and found.trial.state == "on" and not error:
        return redirect(url_for("server.network_trial"), 303)
    page = render_template(
        "admin/network.html",
        found=found,
        values=values or {**found.network.model_dump(), "dns": ", ".join(found.network.dns)},
        name=request.form["name"] if at == "name" else found.name,
        at=at,
        error=error,
    )
    return page, status_of(error) if error else 200


@blueprint.get("/network")
@needs("settings.manage")
def network() -> Page:
    return _network_page()


@blueprint.post("/name")
@needs("settings.manage")
@requires_reauth
def set_name() -> Page:
    try:
        server.set_name(actor(), settings(), request.form.get("name", "")[:200])
    except BadInput as error:
        return _network_page(error, "name")
    flash("The server has its new name.", "success")
    return redirect(url_for("server.network"), 303)


@blueprint.post("/network")
@needs("settings.manage")
@requires_reauth
def set_network() -> Page:
    """The answer is the page itself: after it, this address may not be reached any more."""
    values = {name: request.form.get(name, "")[:200] for name in ("mode", "card", "address", "gateway", "dns")}
    asked = {**values, "dns": values["dns"].replace(",", " ").split()}
    try:
        trial = server.set_network(actor(), settings(), asked)
    except DpeError as error:
        return _network_page(error, "network", values)
    return _trial_page(server.network(settings()), trial)


def _ends(left: float) -> str:
    return (now() + timedelta(seconds=left)).isoformat()


def _trial_page(found: State, trial: server.NetworkTrialView | None = None) -> str:
    address = found.trial.network.ip if found.trial else ""
    port = request.host.rpartition(":")[2] if ":" in request.host.rpartition("]")[2] else ""
    there = f"https://{address}{f':{port}' if port else ''}" if address else ""
    link = there + url_for("server.keep", token=trial.token) if trial and address else ""
    return render_template("admin/network_trial.html", found=found, trial=found.trial, there=there, link=link, ends=_ends)


@blueprint.get("/network/trial")
@needs("settings.manage")
def network_trial() -> Page:
    """Asked again and again by the page of a trial. Who is signed in at the new address has confirmed it by asking."""
    found = server.network(settings())
    trial = found.trial
    if trial is None:
        return redirect(url_for("server.network"), 303)
    mine = request.host.rpartition(":")[0] or request.host
    if trial.state == "on" and trial.applied and mine == trial.network.ip:
        server.confirm_network(actor(), settings())
        found = server.network(settings())
    return _trial_page(found)


@blueprint.post("/network/keep")
@needs("settings.manage")
def keep_it() -> Response:
    server.confirm_network(actor(), settings())
    flash("The new network settings are kept.", "success")
    return redirect(url_for("server.network"), 303)


@blueprint.post("/network/back")
@needs("settings.manage")
def take_back() -> Response:
    server.take_network_back(actor(), settings())
    flash("The old network settings are in use again.", "success")
    return redirect(url_for("server.network"), 303)


@blueprint.get("/network/keep/<token>")
@public
def keep(token: str) -> Page:
    """The link to the new address: that the browser gets here is the proof. Nobody can guess the token, and it is good for a trial only."""
    try:
        kept = server.keep_network(settings(), token)
    except NotFound as error:
        return render_template("admin/network_kept.html", error=error, kept=None), 404
    return render_template("admin/network_kept.html", error=None, kept=kept)


# -- certificate -------------------------------------------------------------------------------------

CERTIFICATE_FILES = ("certificate", "chain", "key")


def _certificate_page(error: DpeError | None = None) -> Page:
    page = render_template(
        "admin/certificate.html",
        found=server.certificate(settings()),
        ticked={name: request.form.get(name) == "yes" for name in ("other_name", "private_authority")},
        host=_host(),
        error=error,
    )
    return page, status_of(error) if error else 200


def _host() -> str:
    """The name or address by which the admin sees this page."""
    return request.host if request.host.endswith("]") else request.host.rpartition(":")[0] or request.host


@blueprint.get("/certificate")
@needs("settings.manage")
def certificate() -> Page:
    return _certificate_page()


@blueprint.post("/certificate")
@needs("settings.manage")
@requires_reauth
def set_certificate() -> Page:
    files = [content for name in CERTIFICATE_FILES if (file := request.files.get(name)) and (content := file.read())]
    try:
        if FIELD in request.form and not files:
            raise BadInput(
                "The files were not kept while you were asked who you are.", "Choose them again; you are not asked another time."
            )
        served = server.set_certificate(
            actor(),
            settings(),
            files,
            request.form.get("passphrase", ""),
            host=_host(),
            other_name=request.form.get("other_name") == "yes",
            private_authority=request.form.get("private_authority") == "yes",
        )
    except DpeError as error:
        return _certificate_page(error)
    flash(f"The certificate for {', '.join(served.names)} is used from now on. Reload the page to see it in the browser.", "success")
    return redirect(url_for("server.certificate"), 303)


@blueprint.post("/certificate/remove")
@needs("settings.manage")
@requires_reauth
def remove_certificate() -> Response:
    server.remove_certificate(actor(), settings())
    flash("The certificate that the appliance signs itself is used again. Browsers will warn of it.", "success")
    return redirect(url_for("server.certificate"), 303)


# -- reverse proxies ---------------------------------------------------------------------------------


def _proxies_page(written: str | None = None, error: DpeError | None = None) -> Page:
    known = server.proxies(settings())
    via, claim = request.headers.get("X-DPE-Via", ""), request.headers.get("X-DPE-Claim", "")[:200]
    page = render_template(
        "admin/proxies.html",
        known=known,
        written="\n".join(known) if written is None else written,
        here=request.remote_addr or "",
        via=via,
        claim=claim,
        error=error,
    )
    return page, status_of(error) if error else 200


@blueprint.get("/proxies")
@needs("settings.manage")
def proxies() -> Page:
    return _proxies_page()


@blueprint.post("/proxies")
@needs("settings.manage")
@requires_reauth
def set_proxies() -> Page:
    written = request.form.get("proxies", "")
    try:
        known = server.trust_proxies(actor(), settings(), written)
    except DpeError as error:
        return _proxies_page(written, error)
    flash(f"Saved: {', '.join(known)} may say where people come from." if known else "Saved: no proxy is trusted.", "success")
    return redirect(url_for("server.proxies"), 303)


# -- clock -------------------------------------------------------------------------------------------


def _time_page(error: DpeError | None = None, at: str = "") -> Page:
    found = server.clock(settings())
    servers, enabled = ", ".join(found.servers), found.enabled
    if at == "servers":
        servers, enabled = request.form.get("servers", ""), request.form.get("enabled") == "yes"
    page = render_template(
        "admin/time.html",
        found=found,
        servers=servers,
        enabled=enabled,
        entered=request.form.get("at", "") if at == "set" else found.now.astimezone(zone()).strftime("%Y-%m-%dT%H:%M:%S"),
        time_zone=overview.time_zone(),
        at=at,
        error=error,
    )
    return page, status_of(error) if error else 200


@blueprint.get("/time")
@needs("settings.manage")
def time() -> Page:
    return _time_page()


@blueprint.post("/time/servers")
@needs("settings.manage")
def set_time_servers() -> Page:
    asked = request.form.get("servers", "")[:1000].replace(",", " ").split()
    try:
        server.set_time_servers(actor(), settings(), asked, enabled=request.form.get("enabled") == "yes")
    except DpeError as error:
        return _time_page(error, "servers")
    flash("Saved.", "success")
    return redirect(url_for("server.time"), 303)


@blueprint.post("/time/set")
@needs("settings.manage")
@requires_reauth
def set_time() -> Page:
    try:
        server.set_time(actor(), settings(), _moment(request.form.get("at", "")))
    except DpeError as error:
        return _time_page(error, "set")
    flash("The clock is set.", "success")
    return redirect(url_for("server.time"), 303)


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text[:40]).replace(tzinfo=zone())
    except ValueError:
        raise BadInput(f"{text[:40]!r} is no date and time.", "Write it like 2027-03-01 14:30.") from None


# -- power -------------------------------------------------------------------------------------------


@blueprint.get("/power/<what>")
@needs("settings.manage")
def ask_power(what: str) -> str:
    if what not in POWER:
        raise NotFound("There is no such page.", "The page Server has what there is.")
    return render_template("admin/power.html", what=what, title=POWER[what], holders=server.in_use(), image=server.status(settings()).image)


@blueprint.post("/power/<what>")
@needs("settings.manage")
@requires_reauth
def power(what: str) -> Page:
    if what not in POWER:
        raise NotFound("There is no such page.", "The page Server has what there is.")
    server.power(actor(), settings(), what)
    return render_template("admin/power_going.html", what=what)
