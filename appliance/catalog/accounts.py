"""Accounts as a list shows them: with their org unit, what they hold, and when they were last here."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from peewee import JOIN, fn

from appliance.catalog import grants, listing
from appliance.catalog.database import rows
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page, Window
from appliance.catalog.models import Account, Lease, Member, OrgUnit, Session


@dataclass(frozen=True)
class AccountRow:
    """An account, with its org unit joined; how many machines it holds, when a browser of its was last seen, and its roles now, by name."""

    account: Account
    machines: int
    seen_at: datetime | None
    roles: tuple[str, ...]

    @property
    def id(self) -> int:
        found: int = self.account.id
        return found


_SEEN = Session.select(fn.MAX(Session.seen_at)).where(Session.account == Account.id)
_HELD = Lease.select(fn.COUNT(Lease.id)).where(Lease.account == Account.id, Lease.ended_at.is_null())

SORTS: dict[str, Any] = {
    "name": Account.name,
    "full_name": listing.text_of(Account.full_name),
    "email": listing.text_of(Account.email),
    "unit": listing.text_of(OrgUnit.name),
    "state": Account.disabled,
    "machines": fn.COALESCE(_HELD, 0),
    "seen": fn.COALESCE(_SEEN, Account.signed_in_at, ""),
    "created": Account.created_at,
}
BY_NAME = Window("name")


def list_accounts(
    window: Window = BY_NAME,
    reach: Scope = Scope(everything=True),  # noqa: B008 - immutable
    ids: Iterable[int] | None = None,
    *,
    text: str = "",
    disabled: bool | None = None,
    role: str = "",
    units: Iterable[int] | None = None,
    group: int | None = None,
) -> Page[AccountRow]:
    """Accounts within reach, with how many there are. `units` are the org units that they are in themselves, `group` is the one that they are in
    itself; `role` is held over anything."""
    query = listing.narrowed(
        Account.select(Account, OrgUnit).join(OrgUnit, JOIN.LEFT_OUTER),
        listing.has(text, Account.name, Account.full_name, Account.email),
        Account.disabled == disabled if disabled is not None else None,
        Account.id.in_(grants.bearers(role)) if role else None,
        Account.org_unit.in_(sorted(units)) if units is not None else None,
        Account.id.in_(Member.select(Member.account).where(Member.group == group)) if group is not None else None,
        Account.id.in_(list(ids)) if ids is not None else None,
        listing.within(reach, unit=Account.org_unit),
    )
    found = listing.page(query, Account.id, SORTS, window, count=True)
    return replace(found, rows=_with_what_they_hold(found.rows))


def _with_what_they_hold(found: list[Account]) -> list[AccountRow]:
    ids = [account.id for account in found]
    held = {
        id: (machines, datetime.fromisoformat(seen) if seen else None)
        for id, machines, seen in rows(
            """
            SELECT id, (SELECT count(*) FROM lease WHERE lease.account_id = account.id AND lease.ended_at IS NULL),
                   coalesce((SELECT max(seen_at) FROM session WHERE session.account_id = account.id), signed_in_at)
            FROM account WHERE id IN (SELECT value FROM json_each(?))
            """,
            (json.dumps(ids),),
        )
    }
    roles = grants.roles_of(ids)
    return [AccountRow(account, *held.get(account.id, (0, None)), roles.get(account.id, ())) for account in found]


def by_unit() -> dict[int, int]:
    """How many accounts are in each org unit itself; units without any are not in it."""
    return dict(rows("SELECT org_unit_id, count(*) FROM account GROUP BY org_unit_id"))


def reached_by_mail(text: str) -> Account | None:
    """The account of this name or, where it is one person's alone, of this address; None unless it may sign in and mail can reach it."""
    called = (Account.name == text) | (fn.LOWER(Account.email) == text.lower())
    found = list(Account.select().where(called, Account.email != "", Account.disabled == False).limit(2))  # noqa: E712
    return found[0] if len(found) == 1 else None
