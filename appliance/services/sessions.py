"""Signing in and out. A browser holds a random token; the catalog holds its hash."""

import contextlib
import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta

from appliance import catalog
from appliance.catalog import Account, Actor, EventKind, Session, not_ahead, now, options, record
from appliance.catalog import sessions as rows
from appliance.catalog.sessions import live
from appliance.errors import BadInput, NotAllowed, NotFound, Unavailable
from appliance.identity import throttle
from appliance.services import directory, second_factor
from appliance.settings import Settings

LENGTH = timedelta(hours=12)  # until it begins, when the settings say
PATIENCE = timedelta(minutes=5)  # between the password and the code
SEEN_EVERY = timedelta(minutes=1)
KEPT_MOST = 180  # days; browsers forget cookies after 400


def _id(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def kept_days() -> int:
    """For how many days somebody may stay signed in on a device where they ask for it; 0 when nobody may."""
    found: int = options.get("kept_days")
    return found


def set_kept_days(actor: Actor, wanted: int) -> None:
    """Say for how many days somebody may stay signed in; fewer count at once for who is. Raises BadInput."""
    if not 0 <= wanted <= KEPT_MOST:
        raise BadInput(f"Somebody may stay signed in for at most {KEPT_MOST} days.", f"Choose 0 to {KEPT_MOST}.", field="kept_days")
    with catalog.write():
        before = kept_days()
        options.put("kept_days", wanted)
        rows.shorten_kept(timedelta(days=wanted))
        record(
            EventKind.SETTINGS_CHANGED,
            f"{actor.name} decided that people may stay signed in on a device for {wanted} days."
            if wanted
            else f"{actor.name} decided that nobody stays signed in on a device.",
            actor,
            before={"kept_days": before},
            after={"kept_days": wanted},
        )


def sign_in(name: str, password: str, address: str, agent: str = "", browser: str = "", *, keep: bool = False) -> tuple[str, Account]:
    """Check name and password and open a session; returns its token, which is told nobody else, and the account.

    With `keep` it stays open on this device as long as the admin allows that.
    `browser` is what the browser keeps for itself; see `begin`.
    The session of somebody who uses one-time codes is none yet: it waits for `give_code`.
    Raises NotAllowed: too many attempts, wrong name or password (one message for both), or account disabled;
    Unavailable when the directory that would know is away.
    """
    name = directory.typed(name)
    found = Account.get_or_none(Account.name == name)
    names = throttle.of_guess(name, address, known=_known(found, browser))
    throttle.check_free(*names)
    account = directory.verify(found, name, password)
    if account is None:
        _failed(names, name, address, f"Failed sign-in as {name[:64]!r}.")
        raise NotAllowed("That name and password do not fit.", "Check both; after a few failures you have to wait a little.")
    if account.disabled:
        raise NotAllowed("This account is disabled.", "Ask your admin.")
    with catalog.write():
        throttle.succeeded(names)
    if not second_factor.is_on(account.id):
        return _open(account, address, agent, keep=keep), account
    token = secrets.token_urlsafe(32)
    with catalog.write():
        Session.insert(
            id=_id(token), account=account.id, address=address, agent=agent[:200], expires_at=now() + PATIENCE, waits=True, kept=keep
        ).execute()
    return token, account


def _known(account: Account | None, browser: str) -> str:
    """What tells a browser in which somebody signed in to this account before; nothing for any other."""
    return digest if account is not None and browser and rows.knows(account.id, digest := _id(browser)) else ""


def _failed(names: tuple[str, ...], name: str, address: str, message: str) -> None:
    throttle.failed(*names)
    with catalog.write():
        record(EventKind.SIGN_IN_FAILED, message, Actor(name[:64], None, address), object=f"account:{name[:64]}")


def _open(account: Account, address: str, agent: str, *, keep: bool, instead: str = "") -> str:
    """A session of somebody who has shown all that is asked for, in place of the one that waited; returns its token."""
    token, moment = secrets.token_urlsafe(32), now()
    with catalog.write():
        Session.delete().where((Session.expires_at < moment) | (Session.id == instead)).execute()
        row = {"id": _id(token), "account": account.id, "address": address, "agent": agent[:200], "expires_at": moment + LENGTH}
        Session.insert(**row, confirmed_at=moment, kept=keep and kept_days() > 0).execute()
        account.signed_in_at = moment
        account.save(only=[Account.signed_in_at])
        record(EventKind.SIGN_IN, f"{account.name} signed in.", Actor(account.name, account.id, address), object=f"account:{account.name}")
    return token


def waiting(token: str) -> Account | None:
    """Whose code this token's session waits for; None when it waits for none."""
    session = Session.get_or_none(Session.id == _id(token), Session.waits == True, Session.expires_at > now())  # noqa: E712
    return None if session is None or session.account.disabled else session.account


def give_code(token: str, code: str, address: str, agent: str = "") -> str:
    """The code that `sign_in` waits for, or a recovery code; returns the token of the session that is then open.

    Raises NotAllowed when it does not fit, after too many attempts, or when it came too late.
    """
    account = waiting(token)
    if account is None:
        raise NotAllowed("That took too long.", "Give your name and password again.")
    _check_code(account, code, address)
    asked: Session = Session.get_by_id(_id(token))
    return _open(account, address, agent, keep=asked.kept, instead=asked.id)


def _check_code(account: Account, code: str, address: str) -> None:
    names = throttle.of_code(account.name, address)
    throttle.check_free(*names)
    with catalog.write():
        fits = second_factor.check_code(account.id, code)
        if fits:
            throttle.succeeded(names)
    if not fits:
        _failed(names, account.name, address, f"A wrong one-time code for {account.name}.")
        raise NotAllowed("That code does not fit.", "Use the one that the app shows now, each only once, or one of your recovery codes.")


def confirm(actor: Actor, session_id: str, *, password: str = "", code: str = "") -> None:
    """Show once more who one is, before something dangerous: by code where those are on, else by password.

    Raises NotAllowed, and ends nothing.
    """
    account: Account = Account.get_by_id(actor.account_id)
    if second_factor.is_on(account.id):
        _check_code(account, code, actor.address)
    else:
        names = throttle.of_guess(account.name, actor.address, known=f"session {session_id}")  # no stranger's guesses count here
        throttle.check_free(*names)
        if directory.verify(account, account.name, password) is None:
            _failed(names, account.name, actor.address, f"A wrong password of {account.name}, asked for once more.")
            raise NotAllowed("That is not your password.", "Check it; after a few failures you have to wait a little.")
        with catalog.write():
            throttle.succeeded(names)
    with catalog.write():
        Session.update(confirmed_at=now()).where(Session.id == session_id).execute()


def is_kept(token: str) -> bool:
    """Whether the browser is to keep this session's cookie when it is closed."""
    session = live(_id(token))
    return session is not None and session.kept


def find(token: str) -> Session | None:
    """The live session of a token, with its account; None when there is none."""
    return live(_id(token))


def is_live(id: str) -> bool:
    """Whether the session of this id goes on, or the token; leaves no connection to the catalog behind."""
    try:
        return bool(rows.accounts_of([id]))
    finally:
        catalog.close()


def begin_session(token: str, settings: Settings, browser: str = "") -> None:
    """A browser has the session of this token from now on; `browser` is what its page keeps where no page of a machine reaches.

    By that the browser is known when somebody signs in to the same account again, and does not wait for what others tried.
    """
    session = live(_id(token))
    with catalog.write():
        if session is not None and browser:
            rows.know(session.account_id, _id(browser))
        Session.update(browser=browser).where(Session.id == _id(token)).execute()
        prolong([_id(token)], settings)


def end_swapped(actor: Actor, id: str) -> None:
    """End a session that came into a browser by another way than signing in there; that is on record."""
    with catalog.write():
        Session.delete().where(Session.id == id, Session.account == actor.account_id).execute()
        record(
            EventKind.SIGN_IN_SWAPPED,
            f"A browser was given a session of {actor.name} that was not signed in there; it is ended.",
            actor,
            object=f"account:{actor.name}",
            hint="A page of a machine may have done it: look at the machines that this browser's person opened.",
        )


def use(session: Session, settings: Settings) -> None:
    """Somebody works with this session: it goes on (see `prolong`). Noted at most once a minute, and not while the disk is full."""
    if now() - session.seen_at > SEEN_EVERY:
        with contextlib.suppress(Unavailable):
            prolong([session.id], settings)


def prolong(ids: Iterable[str], settings: Settings) -> None:
    """These sessions are used now, and go on for the setting session_idle from here, but never beyond session_longest; see `kept_days`."""
    with catalog.write():
        held = options.chosen(settings)
        idle, longest = timedelta(seconds=held.session_idle), timedelta(seconds=held.session_longest)
        rows.prolong(ids, idle, longest, timedelta(days=kept_days()))


def of_account(account_id: int) -> list[Session]:
    """The account's live sessions, last seen first."""
    moment = now()
    live = (Session.account == account_id) & (Session.expires_at > moment) & (Session.waits == False)  # noqa: E712
    live &= Session.created_at <= not_ahead(moment)
    return list(Session.select().where(live).order_by(Session.seen_at.desc()))


def end_session(actor: Actor, id: str) -> None:
    """End one of the actor's own sessions."""
    with catalog.write():
        if Session.delete().where(Session.id == id, Session.account == actor.account_id).execute():
            record(EventKind.SIGN_OUT, f"{actor.name} ended a session.", actor, object=f"account:{actor.name}")


def end_of(actor: Actor, account_id: int, id: str) -> None:
    """End somebody's session, for them. Raises NotFound when it is over already."""
    account: Account = Account.get_by_id(account_id)
    with catalog.write():
        if not Session.delete().where(Session.id == id, Session.account == account_id).execute():
            raise NotFound("That session is over already.", "Reload the page.")
        record(
            EventKind.SIGN_OUT,
            f"{actor.name} ended a session of {account.name}.",
            actor,
            account_id=account_id,
            object=f"account:{account.name}",
        )


def end_others(actor: Actor, keep: str) -> int:
    """End all of the actor's own sessions but one; returns how many."""
    with catalog.write():
        ended: int = Session.delete().where(Session.account == actor.account_id, Session.id != keep).execute()
        if ended:
            record(EventKind.SIGN_OUT, f"{actor.name} signed all other browsers out.", actor, object=f"account:{actor.name}")
    return ended


def confirmed_within(id: str, length: timedelta) -> bool:
    """Whether this session's person showed who they are, by password or code, at most so long ago."""
    since = Session.select(Session.confirmed_at).where(Session.id == id).scalar()
    return since is not None and abs(now() - since) < length  # the clock may have been ahead
