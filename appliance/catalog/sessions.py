"""The session of a request, or its token: asked at every request of every page and every file of every application, so written as SQL."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from appliance.catalog.database import rows
from appliance.catalog.models import Account, KnownBrowser, PasswordLink, Session, Token, not_ahead, now, stamp

HOLDER = (  # as _account takes it
    "account.id, account.name, account.full_name, account.email, account.password, account.org_unit_id, "
    "account.directory_id, account.must_change, account.language"
)
REMEMBERED = timedelta(days=180)  # that a browser is known after it was signed in


def _open() -> tuple[str, str]:
    """After which a session must end, and before which it must have been opened, to be good now."""
    moment = now()
    return stamp(moment), stamp(not_ahead(moment))


def live(id: str) -> Session | None:
    """The session with this id, with its account, unless it has run out or the account is disabled."""
    found = rows(
        f"""
        SELECT {HOLDER}, session.address, session.agent, session.created_at, session.seen_at, session.expires_at, session.confirmed_at,
               session.browser, session.kept
        FROM session JOIN account ON account.id = session.account_id
        WHERE session.id = ? AND session.expires_at > ? AND session.created_at <= ? AND session.waits = 0 AND account.disabled = 0
        """,  # noqa: S608 - constants
        (id, *_open()),
    )
    if not found:
        return None
    *holder, address, agent, created, seen, expires, confirmed, browser, kept = found[0]
    created, seen, expires, confirmed = (moment and datetime.fromisoformat(moment) for moment in (created, seen, expires, confirmed))
    return Session(
        id=id,
        account=_account(holder),
        address=address,
        agent=agent,
        created_at=created,
        seen_at=seen,
        expires_at=expires,
        confirmed_at=confirmed,
        browser=browser,
        kept=bool(kept),
    )


def _account(columns: Sequence[Any]) -> Account:
    """Whoever is signed in, with what requests ask of them."""
    id, name, full_name, email, password, unit, from_directory, must_change, language = columns
    return Account(
        id=id,
        name=name,
        full_name=full_name,
        email=email,
        password=password,
        org_unit=unit,
        directory_id=from_directory,
        must_change=bool(must_change),
        language=language,
    )


def live_token(digest: str) -> Token | None:
    """The token with this digest, with its account, unless it has run out or the account is disabled."""
    found = rows(
        f"""
        SELECT {HOLDER}, token.id, token.name, token.scope, token.used_at, token.address
        FROM token JOIN account ON account.id = token.account_id
        WHERE token.digest = ? AND token.expires_at > ? AND token.created_at <= ? AND account.disabled = 0
        """,  # noqa: S608 - constants
        (digest, *_open()),
    )
    if not found:
        return None
    *holder, id, name, scope, used, address = found[0]
    return Token(
        id=id,
        account=_account(holder),
        name=name,
        scope=json.loads(scope),
        used_at=used and datetime.fromisoformat(used),
        address=address,
    )


def end_all(account_id: int, *, keep: str = "") -> None:
    """End all that lets somebody in as this account: its sessions, except the one in `keep`, its tokens, and the link by which its password is
    set. Its browsers are known no more. Call it inside `write()`."""
    PasswordLink.delete().where(PasswordLink.account == account_id).execute()
    KnownBrowser.delete().where(KnownBrowser.account == account_id).execute()
    Session.delete().where(Session.account == account_id, Session.id != keep).execute()
    Token.delete().where(Token.account == account_id).execute()


def know(account_id: int, digest: str) -> None:
    """Somebody signed in to the account in this browser; call it inside `write()`."""
    KnownBrowser.delete().where(KnownBrowser.used_at < now() - REMEMBERED).execute()
    KnownBrowser.insert(account=account_id, digest=digest, used_at=now()).on_conflict_replace().execute()


def knows(account_id: int, digest: str) -> bool:
    """Whether somebody signed in to the account in this browser before."""
    return bool(rows("SELECT 1 FROM known_browser WHERE account_id = ? AND digest = ?", (account_id, digest)))


def accounts_of(ids: Iterable[str]) -> dict[str, int]:
    """The accounts of those of these sessions that are live, by the session's id; a token that is good is one, as `of_token` calls it."""
    asked = json.dumps(list(ids))
    return dict(
        rows(
            """
            SELECT session.id, account.id FROM session JOIN account ON account.id = session.account_id
            WHERE session.id IN (SELECT value FROM json_each(?)) AND session.expires_at > ? AND session.created_at <= ?
                AND session.waits = 0 AND account.disabled = 0
            UNION ALL
            SELECT 'token:' || token.id, account.id FROM json_each(?) JOIN token ON value = 'token:' || token.id
                JOIN account ON account.id = token.account_id
            WHERE token.expires_at > ? AND token.created_at <= ? AND account.disabled = 0
            """,
            (asked, *_open(), asked, *_open()),
        )
    )


def of_token(id: int) -> str:
    """What a token is called where connections go by sessions; no session has such an id."""
    return f"token:{id}"


def prolong(ids: Iterable[str], idle: timedelta, longest: timedelta, kept: timedelta) -> None:
    """These live sessions are used now: each goes on for `idle` from here, but never longer than `longest` from when it was opened;
    one that is kept on its device for `kept` from when it was opened, if that is longer. Call it inside `write()`."""
    moment = now()
    for session in Session.select().where(Session.id.in_(list(ids)), Session.expires_at > moment, Session.waits == False):  # noqa: E712
        until = min(moment + idle, session.created_at + longest)
        if session.kept:
            until = max(until, session.created_at + kept)
        Session.update(seen_at=moment, expires_at=until).where(Session.id == session.id).execute()


def shorten_kept(kept: timedelta) -> None:
    """Sessions that are kept on their device go on no longer than `kept` from when they were opened, and need no less than a new sign-in
    after that. Call it inside `write()`."""
    for session in Session.select().where(Session.kept == True):  # noqa: E712
        if session.created_at + kept < session.expires_at:
            Session.update(expires_at=session.created_at + kept).where(Session.id == session.id).execute()
