"""Names of machines on the page's port, in place of ports (`access.machine_names`): whether they have them, and how somebody who is signed in
to the page comes in there.

The page's cookie is for the page's name alone. So it hands the sign-in over: a code, good once and for seconds, leads to the machine's name,
where a cookie comes of it that is for this name alone and goes by the same session. What ends the session ends it, too.
"""

import hashlib
import json
import re
import secrets as random
from urllib.parse import quote, urlencode, urlsplit

from appliance import catalog, connect
from appliance.access import machine_names, own_certificate
from appliance.bulkhead import Bulkhead
from appliance.catalog import Actor, EventKind, Session, doorbell, options, record
from appliance.catalog import sessions as session_rows
from appliance.errors import BadInput, NotFound, Unavailable
from appliance.host.interface.access import Certificate
from appliance.identity import secrets
from appliance.outbound import address
from appliance.services import app_access, server
from appliance.services.one_shot import OneShot
from appliance.settings import Settings

OPTION = "machine_names"
SECONDS = 5.0  # for each address of a name to answer, when it is checked
ENTER = "/_dpe/enter"  # where a code is taken, below each name; the machine never hears of it
PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")  # one of the same name, whatever a browser makes of it
CHECKING = Bulkhead("checking names", 2)

_codes = OneShot[tuple[str, str]]()  # session and name


def domain() -> str:
    """Below which machines have names; empty while they have ports."""
    found: str = options.get(OPTION)
    return found


def origin(name: str) -> str:
    """https://NAME.DOMAIN, with the page's port where it has another than browsers think of; empty while machines have ports."""
    found = below()
    return f"https://{name}{found}" if found else ""


def below() -> str:
    """The same from the dot on, for who has many names."""
    found = domain()
    return f".{found}{_port()}" if found else ""


def portal() -> str:
    """The page, where people sign in."""
    return address.link("/")


def _port() -> str:
    port = urlsplit(address.known()).port
    return f":{port}" if port not in (None, 443) else ""


# -- whether machines have names ---------------------------------------------------------------------


def switch(actor: Actor, settings: Settings, text: str) -> str:
    """Have machines reached by names below this domain, or by ports again when it is empty. Raises BadInput with what to do before they can
    have names, and Unavailable; nothing is changed then. Returns the domain."""
    wanted = machine_names.check_domain(text) if text.strip() else ""
    if wanted:
        _check(wanted, server.certificate(settings))
    with catalog.write():
        if (before := domain()) != wanted:
            options.put(OPTION, wanted)
            named, unnamed = f"{actor.name} gave machines names below {wanted}.", f"{actor.name} had machines reached by ports again."
            record(EventKind.SETTINGS_CHANGED, named if wanted else unnamed, actor, before={OPTION: before}, after={OPTION: wanted})
    doorbell.ring()
    return wanted


def _check(wanted: str, certificate: Certificate) -> None:
    """Raise BadInput unless a name below the domain, whichever, leads to this appliance, whose certificate is good for it."""
    page = urlsplit(address.known())
    if page.scheme != "https":
        raise BadInput(
            "It is not known by which address people reach this page, and they sign in there.",
            "Enter the external URL first, under E-mail and webhooks.",
            field="domain",
        )
    name, port = f"m{random.token_hex(8)}.{wanted}", page.port or 443
    with CHECKING.wait():
        try:
            found = list(dict.fromkeys(str(where[0]) for *_, where in connect.resolve(name, port, SECONDS)))
        except (OSError, UnicodeError):
            raise BadInput(
                f"There is no host called {name}, which was made up to try it.",
                f"Have your name server answer for *.{wanted} with the address of this server.",
                field="domain",
            ) from None
        for where in found[:4]:
            _check_there(name, where, port, certificate)
    if not own_certificate.are_for(certificate.names, name):
        raise BadInput(
            f"The certificate in use is not for *.{wanted}: it is for {', '.join(certificate.names)}.",
            f"Get one for *.{wanted} and {page.hostname} from your authority, and put it in on the page Certificate.",
            field="domain",
        )


def _check_there(name: str, where: str, port: int, certificate: Certificate) -> None:
    try:
        shown = connect.certificate_of(where, port, name, SECONDS)
    except OSError:
        raise BadInput(
            f"{name} leads to {where}, where nobody answers on port {port}.",
            f"Have *{name[name.index('.') :]} lead to this server alone, and let the firewall pass port {port}.",
            field="domain",
        ) from None
    if hashlib.sha256(shown).digest().hex(":").upper() != certificate.fingerprint:
        raise BadInput(
            f"{name} leads to {where}, where something else answers: it shows another certificate than this appliance's.",
            f"Have *{name[name.index('.') :]} lead to this server, without anything in between that has a certificate of its own.",
            field="domain",
        )


# -- coming in ---------------------------------------------------------------------------------------


def sign_in_at(name: str, uri: str) -> str:
    """Where on the page somebody goes who has to sign in, or has to be handed over, before they see `uri` below a name; see `hand_over`."""
    return f"{address.link('/enter')}?to={quote(origin(name) + uri, safe='')}"


def hand_over(actor: Actor, session_id: str, to: str) -> str:
    """Where a browser goes that is signed in to the page and wants to the address `to` of a machine: to the machine's name, with a code.

    Raises NotFound when that is not below the name of a machine, and NotAllowed when it is somebody else's: nobody is sent elsewhere.
    """
    rest = below()
    asked = re.match(rf"https://({machine_names.NAME}){re.escape(rest)}(?=/|$)", to) if rest else None
    if asked is None:
        raise NotFound("There is no machine of that name.", "Open your machine from your page.")
    app_access.find_enterable(actor, asked[1])
    code = _codes.give(session_id, (session_id, asked[1]))
    return f"{asked[0]}{ENTER}?{urlencode({'code': code, 'to': own_path(to[asked.end() :])})}"


def own_path(path: str) -> str:
    """The path and query, when they are such; else the first page. Nobody is sent to another host."""
    return path if PATH.fullmatch(path) else "/"


def redeem(code: str, name: str) -> str:
    """What the browser keeps as its cookie for this name. Whatever comes of it, the code is used up; nothing when it is not good."""
    given = _codes.take(code)
    if given is None or given[1] != name or session_rows.live(given[0]) is None:
        return ""
    return secrets.seal(OPTION, json.dumps(given))


def session_of(cookie: str, name: str) -> Session | None:
    """The live session that the cookie goes by, which this name alone was given; None when there is none."""
    try:
        session_id, given_to = json.loads(secrets.unseal(OPTION, cookie))
    except (Unavailable, UnicodeError):
        return None
    return session_rows.live(session_id) if given_to == name else None
