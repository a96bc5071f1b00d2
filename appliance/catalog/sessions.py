"""The session of a request: asked at every request of every page and every file of every application, so written as SQL."""

from datetime import datetime

from appliance.catalog.database import rows
from appliance.catalog.models import Account, Session, now, stamp


def live(id: str) -> Session | None:
    """The session with this id, with its account, unless it has run out or the account is disabled."""
    found = rows(
        """
        SELECT session.address, session.agent, session.created_at, session.seen_at, session.expires_at, session.confirmed_at,
               account.id, account.name, account.full_name, account.email, account.password, account.org_unit_id, account.ssh_keys,
               account.directory_id
        FROM session JOIN account ON account.id = session.account_id
        WHERE session.id = ? AND session.expires_at > ? AND session.waits = 0 AND account.disabled = 0
        """,
        (id, stamp(now())),
    )
    if not found:
        return None
    address, agent, created, seen, expires, confirmed, account_id, name, full_name, email, password, unit, keys, from_directory = found[0]
    account = Account(
        id=account_id,
        name=name,
        full_name=full_name,
        email=email,
        password=password,
        org_unit=unit,
        ssh_keys=keys,
        directory_id=from_directory,
    )
    created, seen, expires, confirmed = (moment and datetime.fromisoformat(moment) for moment in (created, seen, expires, confirmed))
    return Session(
        id=id, account=account, address=address, agent=agent, created_at=created, seen_at=seen, expires_at=expires, confirmed_at=confirmed
    )
