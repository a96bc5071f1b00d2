"""Links by which somebody sets a password of their own, once: an invitation, or a way in for who forgot theirs.

What a link ends with is random and told once: to whom it is for, by mail, or to the admin who hands it over. It stands behind a `#`, so that no browser
sends it to a server before its person does, and no log, proxy or Referer has it. The catalog keeps its digest.
"""

import hashlib
import secrets as random
from dataclasses import dataclass
from datetime import datetime, timedelta

from appliance import catalog
from appliance.catalog import Account, Actor, EventKind, PasswordLink, doorbell, not_ahead, now, options, outgoing_mail, record, timezone
from appliance.catalog import accounts as account_rows
from appliance.errors import BadInput, Conflict, NotAllowed
from appliance.identity import passwords, permissions, secrets, throttle
from appliance.outbound import address
from appliance.outbound.mail_outbox import PURPOSE
from appliance.services import accounts, mail, overview

PATH = "/set-password"
INVITATION, RESET = "invitation", "reset"
RESET_LASTS = timedelta(hours=2)
DAYS = (1, 90)  # for which an invitation is good

GONE = ("This link is not good any more.", "Each is good once, and for some days. Ask your admin for a new one.")


@dataclass(frozen=True)
class Invited:
    """Somebody who is to set a password: mailed to their address, or, where `link` is not empty, to be told what it says. `link` is told only here."""

    account: Account
    expires_at: datetime
    link: str = ""


def can_mail() -> bool:
    """Whether links can be mailed: mail is sent, and it is known how others reach this page."""
    return mail.is_on() and bool(address.known())


def days() -> int:
    """For how many days an invitation is good."""
    found: int = options.get("invitation_days")
    return found


def set_days(actor: Actor, wanted: int) -> None:
    """Say for how many days an invitation is good. Raises BadInput."""
    if not DAYS[0] <= wanted <= DAYS[1]:
        raise BadInput(f"An invitation is good for {DAYS[0]} to {DAYS[1]} days.", "Choose a number between.", field="days")
    with catalog.write():
        before = days()
        options.put("invitation_days", wanted)
        record(
            EventKind.SETTINGS_CHANGED,
            f"{actor.name} decided that invitations are good for {wanted} days.",
            actor,
            before={"invitation_days": before},
            after={"invitation_days": wanted},
        )


def invite(actor: Actor, id: int, *, by_mail: bool, here: str = "") -> Invited:
    """Have somebody set a password of their own, by mail or by a link that the actor hands over; an older link is worth nothing then.

    Until they do, all stays as it is. `here` is where the actor sees the web page: the link's beginning while nobody said another one.
    Raises NotAllowed when they may do more than the actor; Conflict for a directory's, a disabled one, or one that mail does not reach.
    """
    with catalog.write():
        account = accounts.get_account(id)
        permissions.require_no_less(actor, id)
        if account.directory_id is not None:
            raise Conflict(f"The password of {account.name} is the directory's.", "They sign in with that one.")
        if account.disabled:
            raise Conflict(f"The account {account.name} is disabled.", "Enable it first.")
        if by_mail and not (account.email and can_mail()):
            raise Conflict(f"No mail reaches {account.name}.", "Show the link and hand it over, or enter their address and set up e-mail.")
        made = begin(actor, account, by_mail=by_mail, here=here)
        how = "by mail" if by_mail else "by a link to hand over"
        record(
            EventKind.ACCOUNT_INVITED,
            f"{actor.name} invited {account.name} {how} to set a password.",
            actor,
            account_id=id,
            object=f"account:{account.name}",
        )
    doorbell.ring()
    return made


def begin(actor: Actor, account: Account, *, by_mail: bool, here: str = "") -> Invited:
    """The same for an account that is the actor's to invite, without an event; call it inside `write()`."""
    expires, ending = _make(account, INVITATION, timedelta(days=days()), shown_to=None if by_mail else actor.account_id)
    if by_mail:
        text = (
            f"{actor.name} invites you to {overview.title()}. Your name there is {account.name}. Open this link and choose a password.\n\n"
            f"It is good once, until {timezone.timestamp(expires)}."
        )
        _mail(account, f"You are invited to {overview.title()}", text, ending)
    return Invited(account, expires, "" if by_mail else f"{address.known() or here.rstrip('/')}{PATH}#{ending}")


def _make(account: Account, kind: str, lasts: timedelta, *, shown_to: int | None = None) -> tuple[datetime, str]:
    """A new link in place of an older one; returns until when it is good, and what it ends with: the name, so that its page can greet, and a secret."""
    secret, moment = random.token_urlsafe(32), now()
    row = {"kind": kind, "digest": _digest(secret), "shown_to": shown_to, "created_at": moment, "expires_at": moment + lasts}
    PasswordLink.insert(account=account.id, **row).on_conflict_replace().execute()
    return moment + lasts, f"{account.name}:{secret}"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _mail(account: Account, subject: str, text: str, ending: str) -> None:
    about = f"password-{_digest(ending)[:20]}"
    outgoing_mail.enqueue_mail([account.id], about, subject, text, PATH, secret=secrets.seal(PURPOSE, ending))


def pending(account_id: int) -> PasswordLink | None:
    """The link that somebody has not used yet, while it is good."""
    found: PasswordLink | None = PasswordLink.get_or_none(PasswordLink.account == account_id)
    return found if found is not None and _is_good(found) else None


def withdraw(actor: Actor, id: int) -> None:
    """Have somebody's link be worth nothing. Raises Conflict when there is none."""
    with catalog.write():
        account = accounts.get_account(id)
        permissions.require_no_less(actor, id)
        if not PasswordLink.delete().where(PasswordLink.account == id).execute():
            raise Conflict(f"{account.name} has no link any more.", "Reload the page.")
        message = f"{actor.name} withdrew the link by which {account.name} was to set a password."
        record(EventKind.ACCOUNT_INVITED, message, actor, account_id=id, object=f"account:{account.name}")


def _is_good(link: PasswordLink) -> bool:
    account = link.account
    return bool(
        link.expires_at > now()
        and link.created_at <= not_ahead(now())
        and not account.disabled
        and account.directory_id is None
        and (link.shown_to_id is None or _may_still_show(link.shown_to_id, account.id))
    )


def _may_still_show(shown_to: int, id: int) -> bool:
    """Whether who has seen somebody's link would be shown it today: their person may have come to hold more since."""
    try:
        permissions.require_no_less(Actor("", shown_to), id)
    except NotAllowed:
        return False
    return True


def ask(name: str, asked_from: str) -> None:
    """Somebody says that they forgot their password. Who is called so, or has that address, is written to; nobody learns whether there is anybody.

    Raises NotAllowed when it was asked too often.
    """
    name = " ".join(name.split())[:200]
    names = throttle.of_forgotten(name, asked_from)
    throttle.check_free(*names)
    throttle.failed(*names)
    with catalog.write():
        account = account_rows.reached_by_mail(name)
        actor = Actor(name[:64], None, asked_from)
        record(
            EventKind.ACCOUNT_RESET_ASKED,
            f"Somebody says that they are {name[:64]!r} and forgot the password.",
            actor,
            object=f"account:{account.name if account else name[:64]}",
        )
        if account is not None and can_mail():
            _write_to(account)
    doorbell.ring()


def _write_to(account: Account) -> None:
    about = f"Somebody said on the sign-in page of {overview.title()} that they are {account.name} and forgot the password."
    if account.directory_id is not None:
        text = (
            f"{about} Your password is the one of the directory, the same as elsewhere in your network: it is changed there, and not here."
        )
        outgoing_mail.enqueue_mail(
            [account.id], f"directory-{now().isoformat(timespec='hours')}", "Your password is the directory's", text, "/sign-in"
        )
        return
    expires, ending = _make(account, RESET, RESET_LASTS)
    text = (
        f"{about} If it was you, open this link and choose a new one. It is good once, until {timezone.timestamp(expires)}.\n\n"
        "If it was not you, leave it: nothing is changed."
    )
    _mail(account, "Choose a new password", text, ending)


def redeem(ending: str, password: str, came_from: str) -> Account:
    """Set the password of whom the link is for; returns the account. Everything that let somebody in as them before is ended.

    Raises BadInput for a password that is none, NotAllowed for a link that is not good, or after too many of those.
    """
    names = throttle.of_link(came_from)
    throttle.check_free(*names)
    hashed = passwords.digest(password)
    with catalog.write():
        link = PasswordLink.get_or_none(PasswordLink.digest == _digest(ending.strip().rpartition(":")[2]))
        if link is not None and _is_good(link):
            account: Account = link.account
            accounts.store_password(
                Actor(account.name, account.id, came_from), account, hashed, f"{account.name} set a password by {_A[link.kind]}."
            )
            throttle.forget(account.name)
            return account
    throttle.failed(*names)
    raise NotAllowed(*GONE)


_A = {INVITATION: "an invitation", RESET: "a link that was mailed"}
