"""E-mail: over which server, and whether that works."""

import secrets as random
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from appliance import catalog
from appliance.bulkhead import Bulkhead
from appliance.catalog import Account, Actor, EventKind, options, record
from appliance.errors import BadInput, Conflict
from appliance.identity import secrets
from appliance.outbound import address, mail
from appliance.outbound.mail import PURPOSE, Server

TESTING = Bulkhead("testing a mail server", 2)


def entered() -> dict[str, Any]:
    """The server as it was entered, without the password; empty before there is one."""
    values: dict[str, Any] = options.get("mail").get("server", {})
    return values


def is_on() -> bool:
    """Whether mail is sent."""
    on: bool = options.get("mail").get("on", False)
    return on


def has_password() -> bool:
    """Whether a password is kept."""
    return bool(options.get("mail").get("password"))


def _complete(values: Mapping[str, str], password: str) -> tuple[Server, str]:
    """What was entered, with the stored password where none was; it is told only to the server it was entered for."""
    wanted, stored = mail.server(values), options.get("mail")
    if not wanted.user:
        return wanted, ""
    if password:
        if not (password.isascii() and password.isprintable()):
            raise BadInput(
                "Mail servers are told passwords in plain letters only.",
                "Have a password without accents made for the appliance.",
                field="password",
            )
        return wanted, password
    if not stored.get("password"):
        raise BadInput("The password is missing.", "Enter it, or leave the account's name empty too.", field="password")
    before = Server(**stored["server"])
    if any(getattr(before, name) != getattr(wanted, name) for name in ("host", "port", "security", "authority", "user")):
        raise BadInput(
            "Server, encryption or account have changed.", "Enter the password again: it is not told to others.", field="password"
        )
    return wanted, secrets.unseal(PURPOSE, stored["password"])


def change(actor: Actor, values: Mapping[str, str], password: str, *, here: str = "") -> None:
    """Send mail over this server from now on. Raises BadInput; then nothing has changed.

    `here` is where the admin sees the web page: the appliance's address, unless somebody said another one.
    """
    wanted, password = _complete(values, password)
    after = asdict(wanted)
    with catalog.write():
        before = entered()
        options.put("mail", {"on": True, "server": after, "password": secrets.seal(PURPOSE, password) if password else ""})
        if here and not address.known():
            options.put("address", address.check_address(here))
        record(EventKind.MAIL_CHANGED, f"{actor.name} decided: mail is sent over {wanted}.", actor, before=before, after=after)


def switch(actor: Actor, *, on: bool) -> None:
    """Send mail, or send none any more; how it was sent stays known."""
    with catalog.write():
        stored = options.get("mail")
        if not stored:
            raise Conflict("No mail server is known yet.", "Say first how it is reached.")
        options.put("mail", {**stored, "on": on})
        record(EventKind.MAIL_ON if on else EventKind.MAIL_OFF, f"{actor.name} switched e-mail {'on' if on else 'off'}.", actor)


def test(actor: Actor, values: Mapping[str, str], password: str) -> str:
    """Send a mail to whoever asks, over what was entered, saved or not; returns their address. Raises DpeError with what went wrong."""
    wanted, password = _complete(values, password)
    to = Account.get_by_id(actor.account_id).email
    if not to:
        raise BadInput(
            "Your account has no e-mail address, so the test has nowhere to go.", "Enter it on your account's page, under People."
        )
    text = f"This is the test that {actor.name} asked for. Mail from the appliance arrives.\n\n{address.link('/')}"
    made = mail.message(to, "E-mail works", text, sender=wanted.sender, id=random.token_hex(8))
    with TESTING.wait(str(wanted)):
        mail.deliver(wanted, password, made, limit=15)  # well below what the front door and the page wait
    return to
