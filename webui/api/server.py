"""The server itself over the API: logs, storage, network, certificate, clock, processes and power. dpe-host does all of it."""

import base64
import binascii
from typing import Annotated, Literal, get_args

from flask import Response, request, send_file
from pydantic import AfterValidator, AwareDatetime, Field
from pydantic_core import PydanticCustomError

from appliance.errors import NotFound
from appliance.host.interface.access import LARGEST
from appliance.host.interface.access import Certificate as Served
from appliance.host.interface.system import LEVELS, MOST_LINES, Name
from appliance.services import logs, server, storage
from webui import forms
from webui.admin.server import POWER
from webui.api import schemas
from webui.api.host import OPERATION, Answer, _begun
from webui.api.mine import _time
from webui.api.operation import Body, Unfitting, blueprint, operation
from webui.guard import actor, needs, settings

SCOPE = "admin:host"
ARCHIVE = "application/gzip"
Level = Literal["error", "warning", "info", "debug"]

# -- logs ----------------------------------------------------------------------------------------------------


@blueprint.get("/admin/logs")
@needs("settings.manage")
@operation(SCOPE, {200: schemas.Logs})
def log_list() -> Answer:
    """The logs that there are."""
    return {"items": [{"name": name, "about": about} for name, about in logs.sources(settings()).items()]}


@blueprint.get("/admin/logs/<name>")
@needs("settings.manage")
@operation(
    SCOPE, {200: schemas.LogLines}, query={"level": Level, "text": Annotated[str, Field(max_length=200)], "most": Annotated[int, Field(ge=1, le=MOST_LINES)]}
)  # fmt: skip
def log_lines(name: str) -> Answer:
    """The last lines of a log, the newest last: at most so many (300), at least so serious, with these words."""
    wrong, most = dict[str, str](), request.args.get("most", "300")
    level, text = request.args.get("level", LEVELS[-1]), request.args.get("text", "")
    if level not in LEVELS:
        wrong["level"] = f"It is one of {', '.join(LEVELS)}."
    if len(text) > 200:
        wrong["text"] = "It has at most 200 characters."
    if not (most.isascii() and most.isdigit() and len(most) < 5 and 1 <= int(most) <= MOST_LINES):
        wrong["most"] = f"It is a number between 1 and {MOST_LINES}."
    if wrong:
        raise Unfitting(wrong)
    if name not in logs.sources(settings()):
        raise NotFound("There is no such log.", "/admin/logs lists them.")
    found = logs.lines(settings(), logs.Wanted(name, int(most), level, text))
    return {"items": [{"at": one.at, "source": one.source, "level": one.level, "text": one.text} for one in found]}


@blueprint.post("/admin/support-bundles")
@needs("settings.manage")
@operation(SCOPE, OPERATION)
def make_support_bundle() -> Answer:
    """Have a support bundle made: logs and how all stands, without secrets. Its operation has the name of its `file` when it is done."""
    return _begun(logs.begin_bundle(actor(), settings()))


@blueprint.get("/admin/support-bundles/<name>")
@needs("settings.manage")
@operation(SCOPE, {200: bytes}, media=ARCHIVE)
def support_bundle(name: str) -> Response:
    """One of the last three."""
    return send_file(logs.bundle(settings(), name), as_attachment=True, download_name=name, mimetype=ARCHIVE)


# -- storage -------------------------------------------------------------------------------------------------


class UseDisk(Body):
    """`typed` is the disk's serial number, or its name when it has none: needed when something is on it, which is erased."""

    disk: str = Field(min_length=1, max_length=100)
    typed: str = Field("", max_length=200)


class FactoryReset(Body):
    """`typed` is the appliance's name; thorough overwrites every byte."""

    typed: str = Field(min_length=1, max_length=200)
    how: Literal["quick", "thorough"] = "quick"


@blueprint.get("/admin/storage")
@needs("settings.manage")
@operation(SCOPE, {200: schemas.Storage})
def storage_state() -> Answer:
    """How full the disk is and with what, and the disks that there are. Sizes are bytes."""
    found = storage.read_storage(settings())
    return {
        "total": found.room.total,
        "free": found.room.free,
        "missing": found.missing,
        "used": [{"name": one.name, "about": one.words, "bytes": one.size} for one in found.parts],
        "unused_seeds": [
            {"seed": seed.id, "class": seed.class_name, "version": seed.version, "bytes": size} for seed, size in found.unused
        ],
        "disks": [
            {
                "path": one.path,
                "name": one.name,
                "serial": one.serial,
                "bytes": one.size,
                "use": one.use,
                "holds": one.holds,
                "refusal": one.refusal,
                "healthy": one.healthy,
                "health": one.health,
            }
            for one in found.disks
        ],
    }


@blueprint.post("/admin/storage/clean")
@needs("settings.manage")
@operation(SCOPE, {200: schemas.Freed})
def clean_storage() -> Answer:
    """Delete the downloads for building seeds; 409 while one is built."""
    return {"free": storage.clean(actor(), settings())}


@blueprint.post("/admin/storage/use")
@needs("settings.manage")
@operation(SCOPE, OPERATION, takes=UseDisk, confirms=True, example={"disk": "/dev/sdb", "typed": "S3Z8NB0K"})
def use_disk() -> Answer:
    """Give a second disk to data; what is on it is erased."""
    asked = forms.read(UseDisk)
    return _begun(storage.use(actor(), settings(), asked.disk, asked.typed))


@blueprint.post("/admin/storage/reset")
@needs("settings.manage")
@operation(SCOPE, {202: schemas.State}, takes=FactoryReset, confirms=True, example={"typed": "NAME OF THE APPLIANCE"})
def factory_reset() -> Answer:
    """Erase everything, and begin anew with the wizard."""
    asked = forms.read(FactoryReset)
    storage.reset(actor(), settings(), asked.typed, thorough=asked.how == "thorough")
    return {"state": "resetting"}, 202


# -- network -------------------------------------------------------------------------------------------------


class NetworkBody(Body):
    """How the server gets its IPv4 address; with dhcp the rest is empty. `address` carries its prefix."""

    mode: Literal["dhcp", "static"]
    card: str = Field("", max_length=100)
    address: str = Field("", max_length=100)
    gateway: str = Field("", max_length=100)
    dns: list[Annotated[str, Field(max_length=100)]] = Field([], max_length=10)


class NetworkToken(Body):
    token: str = Field(min_length=1, max_length=200)


@blueprint.get("/admin/network")
@needs("settings.manage")
@operation(SCOPE, {200: schemas.Network})
def network_state() -> Answer:
    """The network as it is set, its interfaces, and the trial that goes on or was the last."""
    found = server.network(settings())
    trial = found.trial
    return {
        **found.network.model_dump(),
        "name": found.name,
        "cards": [
            {"name": one.name, "mac": one.mac, "connected": one.connected, "speed": one.speed, "addresses": one.addresses}
            for one in found.cards
        ],
        "trial": {"state": trial.state, "address": trial.network.address, "why": trial.why, "left": trial.left} if trial else None,
    }


@blueprint.post("/admin/network")
@needs("settings.manage")
@operation(SCOPE, {202: schemas.NetworkTrial}, takes=NetworkBody, confirms=True, example={"mode": "dhcp"})
def try_network() -> Answer:
    """Try another network. Unless somebody keeps it by the token, at its new address, before `until`, the old one comes back by itself."""
    trial = server.set_network(actor(), settings(), forms.read(NetworkBody).model_dump())
    return {"token": trial.token, "until": _time(trial.until), "address": trial.address}, 202


@blueprint.post("/admin/network/keep")
@needs("settings.manage")
@operation(SCOPE, {200: schemas.State}, takes=NetworkToken, example={"token": "TOKEN OF THE TRIAL"})
def keep_network() -> Answer:
    """Keep the network on trial; 404 when it is over."""
    server.keep_network(settings(), forms.read(NetworkToken).token, actor().name)
    return {"state": "kept"}


@blueprint.post("/admin/network/back")
@needs("settings.manage")
@operation(SCOPE, {202: schemas.State})
def take_network_back() -> Answer:
    """Use the old network again, now; 404 when nothing is on trial."""
    server.take_network_back(actor(), settings())
    return {"state": "back"}, 202


# -- certificate ---------------------------------------------------------------------------------------------


def _file(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("base64", "it is no Base64.") from None
    return text


File = Annotated[str, Field(min_length=4, max_length=LARGEST * 4 // 3 + 4), AfterValidator(_file)]


class CertificateBody(Body):
    """An own certificate, as files in Base64: with its chain and key, PEM or DER; or a .pfx with all of it."""

    files: list[File] = Field(min_length=1, max_length=3)
    passphrase: str = Field("", max_length=1000)
    host: str = Field(min_length=1, max_length=300, description="The name under which people open the page.")
    other_name: bool = Field(False, strict=True, description="It is for another name than host.")
    private_authority: bool = Field(False, strict=True, description="Browsers know its authority though nobody else does.")


def _certificate(found: Served) -> schemas.Certificate:
    return {
        "own": found.own,
        "problem": found.problem,
        "fingerprint": found.fingerprint,
        "names": found.names,
        "begins_at": _time(found.begins),
        "ends_at": _time(found.ends),
        "issuer": found.issuer,
        "chain": found.chain,
    }


@blueprint.get("/admin/certificate")
@needs("settings.manage")
@operation(SCOPE, {200: schemas.Certificate})
def certificate() -> Answer:
    """The certificate that is served."""
    return _certificate(server.certificate(settings()))


@blueprint.put("/admin/certificate")
@needs("settings.manage")
@operation(
    SCOPE, {200: schemas.Certificate}, takes=CertificateBody, confirms=True, example={"files": ["BASE64"], "host": "dpe.example.org"}
)
def put_certificate() -> Answer:
    """Serve a certificate of your own; what does not fit it is said, and nothing is changed."""
    asked = forms.read(CertificateBody)
    made = server.set_certificate(
        actor(),
        settings(),
        [base64.b64decode(one) for one in asked.files],
        asked.passphrase,
        host=asked.host,
        other_name=asked.other_name,
        private_authority=asked.private_authority,
    )
    return _certificate(made)


@blueprint.delete("/admin/certificate")
@needs("settings.manage")
@operation(SCOPE, {204: None}, confirms=True)
def delete_certificate() -> Answer:
    """Serve the one again that the appliance signs itself."""
    server.remove_certificate(actor(), settings())
    return {}, 204


# -- clock, processes, power -----------------------------------------------------------------------------------


class Moment(Body):
    at: AwareDatetime


@blueprint.post("/admin/clock")
@needs("settings.manage")
@operation(SCOPE, {200: schemas.Clock}, takes=Moment, confirms=True, example={"at": "2027-03-01T14:30:00+01:00"})
def set_clock() -> Answer:
    """Set the clock by hand; 409 while time servers are asked."""
    server.set_time(actor(), settings(), forms.read(Moment).at)
    return {"now": _time(server.clock(settings()).now)}


@blueprint.post("/admin/processes/<name>/restart")
@needs("settings.manage")
@operation(SCOPE, {202: schemas.State}, confirms=True)
def restart_process(name: str) -> Answer:
    """Stop and start one of the appliance's processes; /server lists them."""
    if name not in get_args(Name):
        raise NotFound(f"There is no process {name[:40]!r}.", f"There is {', '.join(get_args(Name))}.")
    server.restart_part(actor(), settings(), name)
    return {"state": "restarting"}, 202


@blueprint.post("/admin/power/<verb>")
@needs("settings.manage")
@operation(SCOPE, {202: schemas.State}, verbs=tuple(POWER), confirms=True)
def power(verb: str) -> Answer:
    """Restart the server, or shut it down (`off`)."""
    if verb not in POWER:
        raise NotFound(f"The server cannot be told to {verb[:40]!r}.", f"It can be told to {', '.join(POWER)}.")
    server.power(actor(), settings(), verb)
    return {"state": "going"}, 202


@blueprint.post("/admin/operations/<id>/cancel")
@needs("settings.manage")
@operation("admin:server", {202: schemas.State})
def cancel_operation(id: str) -> Answer:
    """Have an operation end as soon as it can; 409 when it has ended."""
    server.cancel(actor(), settings(), id)
    return {"state": "cancelling"}, 202
