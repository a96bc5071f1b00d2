"""Signing in and out. A browser holds a random token; the catalog holds its hash."""

import hashlib
import secrets
from datetime import timedelta

from appliance import catalog
from appliance.catalog import Account, Actor, Session, now, record
from appliance.catalog.sessions import live
from appliance.errors import NotAllowed
from appliance.people import passwords, throttle

LENGTH = timedelta(hours=12)
SEEN_EVERY = timedelta(minutes=1)


def _id(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def sign_in(name: str, password: str, address: str, agent: str = "") -> tuple[str, Account]:
    """Check name and password and open a session; returns its token, which is told nobody else, and the account.

    Raises NotAllowed: too many attempts, wrong name or password (one message for both), or account disabled.
    """
    keys = (f"account:{name.lower()[:64]}", f"address:{address}")
    throttle.check(*keys)
    account: Account | None = Account.get_or_none(Account.name == name)
    if not passwords.matches(account.password if account else None, password) or account is None:
        throttle.failed(*keys)
        with catalog.write():
            record("sign_in.failed", f"Failed sign-in as {name[:64]!r}.", Actor(name[:64], None, address), level=catalog.Level.WARNING)
        raise NotAllowed("That name and password do not fit.", "Check both; after a few failures you have to wait a little.")
    if account.disabled:
        raise NotAllowed("This account is disabled.", "Ask your admin.")
    token = secrets.token_urlsafe(32)
    with catalog.write():
        throttle.succeeded(keys[0])
        Session.delete().where(Session.expires_at < now()).execute()
        Session.insert(id=_id(token), account=account.id, address=address, agent=agent[:200], expires_at=now() + LENGTH).execute()
        account.signed_in_at = now()
        account.save(only=[Account.signed_in_at])
        record("sign_in", f"{account.name} signed in.", Actor(account.name, account.id, address))
    return token, account


def find(token: str) -> Session | None:
    """The live session of a token, with its account; None when there is none. Notes, at most once a minute, that it was seen."""
    session = live(_id(token))
    if session is not None and now() - session.seen_at > SEEN_EVERY:
        with catalog.write():
            Session.update(seen_at=now()).where(Session.id == session.id).execute()
    return session


def of_account(account_id: int) -> list[Session]:
    """The account's live sessions, last seen first."""
    return list(Session.select().where(Session.account == account_id, Session.expires_at > now()).order_by(Session.seen_at.desc()))


def end(actor: Actor, id: str) -> None:
    """End one of the actor's own sessions."""
    with catalog.write():
        if Session.delete().where(Session.id == id, Session.account == actor.account_id).execute():
            record("sign_out", f"{actor.name} ended a session.", actor)
