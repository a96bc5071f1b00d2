"""The server itself: how it is, its network, clock, power and hardware, and what dpe-host does or did."""

from datetime import datetime, timedelta
from typing import Annotated

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError
from werkzeug.wrappers import Response

from appliance.catalog import now
from appliance.errors import BadInput, DpeError, NotFound
from appliance.host.interface.network import State
from appliance.services import machine_names, overview, server, ssh
from webui import forms
from webui.errors import status_of
from webui.format import zone
from webui.forms import ONE_LINE, SECRET, Form, Line, OneOf, Ticked, Upload, Words
from webui.guard import actor, needs, public, settings
from webui.language import text
from webui.reauth import requires_reauth, was_answered

blueprint = Blueprint("server", __name__, url_prefix="/admin/server")

Page = str | Response | tuple[str, int]

POWER = {"restart": "Restart the server", "off": "Shut the server down"}


class Enabled(Form):
    """A button that switches something on or off."""

    enabled: Ticked = False


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
        findings=server.findings(settings()),
        held=server.capacity(settings(), current_user.powers.reach("classes.read")),
        operations=operations,
        network=network,
        clock=clock,
        certificate=certificate,
        proxies=proxies,
        machine_names=machine_names.domain(),
        shell=server.shell(settings()),
        ssh=ssh.wanted(),
        ssh_port=settings().ssh_port,
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
    enabled = forms.read(Enabled).enabled
    server.set_shell(actor(), settings(), enabled=enabled)
    flash("The menu at the server's screen opens a shell from now on." if enabled else "The menu opens no more shells.", "success")
    return redirect(url_for("server.index"), 303)


@blueprint.post("/ssh")
@needs("settings.manage")
@requires_reauth
def switch_ssh() -> Response:
    enabled = forms.read(Enabled).enabled
    ssh.switch(actor(), on=enabled)
    flash("The SSH server is there in a moment." if enabled else "The SSH server is off; whoever was there is cut off.", "success")
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


MODES = {"dhcp": "Automatic (DHCP)", "static": "Static"}


class HostName(Form):
    name: Line = Field(
        title="Host name",
        description="How it calls itself to the DHCP server and in the certificate, like dpe or dpe.example.org. How it calls itself to people is in "
        "the settings.",
    )


class Network(Form):
    mode: Annotated[str, OneOf(MODES)] = Field(title="IPv4 address")
    card: Line = Field("", title="Network interface")
    address: Line = Field("", title="Address with prefix", description="Like 192.0.2.10/24, or with the netmask: 192.0.2.10/255.255.255.0")
    gateway: Line = Field("", title="Gateway", description="Your router. Empty where there is none.")
    dns: Words = Field([], title="Name servers", description="Up to three, separated by commas.", json_schema_extra=ONE_LINE)


def _network_page(error: DpeError | None = None) -> Page:
    found = server.network(settings())
    if found.trial and found.trial.state == "on" and not error:
        return redirect(url_for("server.network_trial"), 303)
    now = found.network
    card = next((one.mac for one in found.cards if now.card in (one.mac, one.name)), now.card)
    if not card and now.mode == "static" and found.cards:
        card = found.cards[0].mac
    cards = {"": "Every interface (DHCP only)"} | {
        one.mac: f"{one.name} – {one.mac}" if one.connected else text("%(name)s – %(mac)s (no cable)", name=one.name, mac=one.mac)
        for one in found.cards
    }
    page = render_template(
        "admin/network.html",
        found=found,
        name=forms.bound(HostName, {"name": found.name}, error),
        network=forms.bound(Network, now.model_dump() | {"card": card, "dns": ", ".join(now.dns)}, error, choices={"card": cards}),
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
        server.set_name(actor(), settings(), forms.read(HostName).name)
    except BadInput as error:
        return _network_page(error)
    flash("The server has its new name.", "success")
    return redirect(url_for("server.network"), 303)


@blueprint.post("/network")
@needs("settings.manage")
@requires_reauth
def set_network() -> Page:
    """The answer is the page itself: after it, this address may not be reached any more."""
    try:
        trial = server.set_network(actor(), settings(), forms.read(Network).model_dump())
    except DpeError as error:
        return _network_page(error)
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


class OwnCertificate(Form):
    certificate: Upload = Field(b"", title="Certificate", description="PEM, DER or .p7b; or a .pfx or .p12 with everything in it.")
    chain: Upload = Field(
        b"",
        title="Intermediate certificates",
        description="If they are in a file of their own, often called chain or bundle. The order does not matter.",
    )
    key: Upload = Field(
        b"",
        title="Private key",
        description="If it is in a file of its own. It stays on this server, and is shown to nobody.",
    )
    passphrase: str = Field(
        "",
        max_length=1000,
        title="Passphrase",
        description="If the key or the .pfx is encrypted. It is used once and not kept.",
        json_schema_extra=SECRET,
    )
    private_authority: Ticked = Field(
        False,
        title="Our browsers know its authority",
        description="For an authority of your own house: a chain that does not lead to a known one is not refused.",
    )
    other_name: Ticked = Field(
        False,
        title="It is for another name",
        description="For when people will open the page by another name than you do now.",
    )


def _certificate_page(error: DpeError | None = None) -> Page:
    form = forms.bound(OwnCertificate, error=error)
    page = render_template("admin/certificate.html", found=server.certificate(settings()), form=form, host=_host())
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
    try:
        given = forms.read(OwnCertificate)
        files = [content for content in (given.certificate, given.chain, given.key) if content]
        if was_answered() and not files:
            raise BadInput(
                "The files were not kept while you were asked who you are.",
                "Choose them again; you are not asked another time.",
                field="certificate",
            )
        served = server.set_certificate(
            actor(),
            settings(),
            files,
            given.passphrase,
            host=_host(),
            other_name=given.other_name,
            private_authority=given.private_authority,
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


class Proxies(Form):
    proxies: str = Field(
        "",
        max_length=20000,
        title="Addresses and networks",
        description="One a line, like 192.0.2.7, 10.1.0.0/24 or 2001:db8::7. Leave it empty when there is none. What is open goes on.",
    )


def _proxies_page(error: DpeError | None = None) -> Page:
    known = server.proxies(settings())
    via, claim = request.headers.get("X-DPE-Via", ""), request.headers.get("X-DPE-Claim", "")[:200]
    page = render_template(
        "admin/proxies.html",
        form=forms.bound(Proxies, {"proxies": "\n".join(known)}, error),
        here=request.remote_addr or "",
        via=via,
        claim=claim,
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
    try:
        known = server.trust_proxies(actor(), settings(), forms.read(Proxies).proxies)
    except DpeError as error:
        return _proxies_page(error)
    flash(f"Saved: {', '.join(known)} may say where people come from." if known else "Saved: no proxy is trusted.", "success")
    return redirect(url_for("server.proxies"), 303)


# -- names of machines -------------------------------------------------------------------------------


class MachineNames(Form):
    domain: Line = Field(
        "",
        title="Domain",
        description="Like dpe.example.org, when *.dpe.example.org leads to this server and its certificate is good for that.",
    )


def _machine_names_page(error: DpeError | None = None) -> Page:
    form = forms.bound(MachineNames, {"domain": machine_names.domain()}, error)
    page = render_template("admin/machine_names.html", form=form, domain=machine_names.domain(), there=machine_names.portal())
    return page, status_of(error) if error else 200


@blueprint.get("/machine-names")
@needs("settings.manage")
def names() -> Page:
    return _machine_names_page()


@blueprint.post("/machine-names")
@needs("settings.manage")
@requires_reauth
def set_names() -> Page:
    try:
        domain = machine_names.switch(actor(), settings(), forms.read(MachineNames).domain)
    except DpeError as error:
        return _machine_names_page(error)
    flash(f"In a moment, machines have names below {domain}." if domain else "Machines are reached by ports again.", "success")
    return redirect(url_for("server.names"), 303)


# -- clock -------------------------------------------------------------------------------------------


class TimeServers(Form):
    enabled: Ticked = Field(
        False,
        title="Ask time servers",
        description="Switch it off only where none can be reached; then set the clock below by hand.",
    )
    servers: Words = Field(
        [],
        title="Servers",
        description="Names or addresses, separated by commas; mostly your router or domain controller is one. Empty means those that DHCP names.",
        json_schema_extra=ONE_LINE,
    )


def _moment(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value[:40]).replace(tzinfo=zone())
    except ValueError:
        raise PydanticCustomError("moment", "{typed} is no date and time.", {"typed": repr(value[:40])}) from None


class Clock(Form):
    at: Annotated[datetime, BeforeValidator(_moment)] = Field(title="Date and time", description="Write it like 2027-03-01 14:30.")


def _time_page(error: DpeError | None = None) -> Page:
    found = server.clock(settings())
    page = render_template(
        "admin/time.html",
        found=found,
        servers=forms.bound(TimeServers, {"enabled": found.enabled, "servers": ", ".join(found.servers)}, error),
        clock=forms.bound(Clock, {"at": found.now.astimezone(zone()).strftime("%Y-%m-%dT%H:%M:%S")}, error),
        time_zone=overview.time_zone(),
    )
    return page, status_of(error) if error else 200


@blueprint.get("/time")
@needs("settings.manage")
def time() -> Page:
    return _time_page()


@blueprint.post("/time/servers")
@needs("settings.manage")
def set_time_servers() -> Page:
    try:
        asked = forms.read(TimeServers)
        server.set_time_servers(actor(), settings(), asked.servers, enabled=asked.enabled)
    except DpeError as error:
        return _time_page(error)
    flash("Saved.", "success")
    return redirect(url_for("server.time"), 303)


@blueprint.post("/time/set")
@needs("settings.manage")
@requires_reauth
def set_time() -> Page:
    try:
        server.set_time(actor(), settings(), forms.read(Clock).at)
    except DpeError as error:
        return _time_page(error)
    flash("The clock is set.", "success")
    return redirect(url_for("server.time"), 303)


# -- power -------------------------------------------------------------------------------------------


@blueprint.get("/power/<what>")
@needs("settings.manage")
def ask_power(what: str) -> str:
    if what not in POWER:
        raise NotFound("There is no such page.", "The page Status has what there is.")
    return render_template("admin/power.html", what=what, title=POWER[what], holders=server.in_use(), image=server.status(settings()).image)


@blueprint.post("/power/<what>")
@needs("settings.manage")
@requires_reauth
def power(what: str) -> Page:
    if what not in POWER:
        raise NotFound("There is no such page.", "The page Status has what there is.")
    server.power(actor(), settings(), what)
    return render_template("admin/power_going.html", what=what)
