"""Mail that is to be sent: put here by whoever changes what it tells of, in the same transaction, and sent by `outbound.mail_outbox`."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from appliance import language
from appliance.catalog import options
from appliance.catalog.database import rows
from appliance.catalog.models import now, stamp

LONGEST_WAIT = timedelta(hours=1)  # between two tries to send a letter


class Letter(NamedTuple):
    """A mail that is to be sent now."""

    id: int
    about: str
    to: str
    subject: str
    text: str
    path: str
    secret: str
    tries: int
    created_at: datetime


def enqueue_mail(accounts: Iterable[int], about: str, subject: str, text: str, path: str, *, secret: str = "") -> None:
    """Have this mailed to them, each in their language, once, however often it is said, unless no mail is sent; call it inside `write()`.

    `secret` is what the link ends with after a `#`, sealed for outbound.mail_outbox.
    """
    if not options.get("mail").get("on"):
        return
    moment = stamp(now())
    for account in accounts:
        chosen = next((row[0] for row in rows("SELECT language FROM account WHERE id = ?", (account,))), "")
        texts = language.catalog(chosen or options.get("language"))
        rows(
            """
            INSERT INTO outgoing_mail (about, account_id, subject, text, path, secret, created_at, next_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) ON CONFLICT DO NOTHING RETURNING id
            """,
            (about, account, texts.sentence(subject), texts.sentence(text), path, secret, moment),
        )


def _due(moment: datetime) -> tuple[str, str]:
    """Until when a letter must have waited to be sent now, and from when on its wait is from a clock that was ahead, and over, too."""
    return stamp(moment), stamp(moment + LONGEST_WAIT)


def is_mail_due(moment: datetime) -> bool:
    """Whether there is anything to be sent now."""
    return bool(rows("SELECT 1 FROM outgoing_mail WHERE next_at <= ? OR next_at > ? LIMIT 1", _due(moment)))


def due_mail(moment: datetime, limit: int = 50) -> list[Letter]:
    """What is to be sent now, oldest first. Who has no address by then, or may not sign in any more, gets none."""
    found = rows(
        """
        SELECT outgoing_mail.id, about, CASE WHEN disabled THEN '' ELSE email END, subject, text, path, secret, tries, outgoing_mail.created_at
        FROM outgoing_mail JOIN account ON account.id = account_id WHERE next_at <= ? OR next_at > ? ORDER BY next_at LIMIT ?
        """,
        (*_due(moment), limit),
    )
    return [Letter._make((*row, datetime.fromisoformat(created))) for *row, created in found]


def delete_mail(id: int) -> None:
    """It was sent, or never will be; call it inside `write()`."""
    rows("DELETE FROM outgoing_mail WHERE id = ? RETURNING id", (id,))


def defer_mail(id: int, until: datetime) -> None:
    """Try it again then; call it inside `write()`."""
    rows("UPDATE outgoing_mail SET tries = tries + 1, next_at = ? WHERE id = ? RETURNING id", (stamp(until), id))
