"""Tokens: what a program signs in with, for an account, with no more than the permissions it was made for, until it expires."""

import contextlib
import hashlib
import secrets
from datetime import timedelta

from appliance import catalog
from appliance.catalog import Actor, EventKind, Token, now, record, sessions
from appliance.errors import BadInput, NotFound, Unavailable

PREFIX = "dpe_"  # so that one that was published by mistake is found and known for what it is
LONGEST = 366  # days
EACH = 50  # tokens of one account
USED_EVERY = timedelta(minutes=1)


def _digest(token: str) -> str:
    """Tokens are long and random, so that a plain hash will do."""
    return hashlib.sha256(token.encode()).hexdigest()


def create(actor: Actor, name: str, scope: list[str], days: int) -> str:
    """A new token for the actor's own account; it is returned this once, and kept only as a hash. Raises BadInput."""
    name = " ".join(name.split())
    if not name or len(name) > 60:
        raise BadInput("A token needs a name of 1 to 60 characters.", "Say which program will use it.", field="name")
    if not scope:
        raise BadInput("A token that may do nothing is of no use.", "Choose what it is for.", field="scope")
    if not 1 <= days <= LONGEST:
        raise BadInput(f"A token is good for 1 to {LONGEST} days.", "Choose a shorter time; a new one is made quickly.", field="days")
    token = PREFIX + secrets.token_urlsafe(32)
    with catalog.write():
        if Token.select().where(Token.account == actor.account_id).count() >= EACH:
            raise BadInput(f"You have {EACH} tokens already.", "End some that are no longer used.")
        expires = now() + timedelta(days=days)
        row = Token.create(
            account=actor.account_id, name=name, digest=_digest(token), ending=token[-4:], scope=sorted(scope), expires_at=expires
        )
        after = {"name": name, "scope": row.scope, "expires": expires.isoformat(timespec="minutes")}
        record(EventKind.ACCOUNT_TOKEN, f"{actor.name} made the token {name}.", actor, object=f"account:{actor.name}", after=after)
    return token


def of_account(account_id: int) -> list[Token]:
    """The account's tokens, newest first; expired ones too, until they are ended."""
    return list(Token.select().where(Token.account == account_id).order_by(Token.id.desc()))


def end_token(actor: Actor, account_id: int, id: int) -> None:
    """Take a token away: one's own, or somebody's. Raises NotFound."""
    with catalog.write():
        token = Token.get_or_none(Token.id == id, Token.account == account_id)
        if token is None:
            raise NotFound("There is no such token any more.", "Reload the page.")
        token.delete_instance()
        whose = "the token" if account_id == actor.account_id else f"{token.account.name}'s token"
        record(
            EventKind.ACCOUNT_TOKEN,
            f"{actor.name} ended {whose} {token.name}.",
            actor,
            account_id=account_id,
            object=f"account:{token.account.name}",
        )


def find(token: str, address: str) -> Token | None:
    """The token, with its account, while it is good. Notes, at most once a minute, that it was used."""
    found = sessions.live_token(_digest(token))
    if found is not None and (found.used_at is None or now() - found.used_at > USED_EVERY or found.address != address):
        with contextlib.suppress(Unavailable), catalog.write():  # a disk that is full is no reason not to answer
            Token.update(used_at=now(), address=address).where(Token.id == found.id).execute()
    return found
