"""One-time codes from a phone: setting them up, checking them, and what to do without the phone."""

from collections.abc import Iterable
from dataclasses import dataclass

from appliance import catalog
from appliance.catalog import Account, Actor, EventKind, RecoveryCode, SecondFactor, grants, now, options, record
from appliance.errors import BadInput, Conflict, NotFound
from appliance.identity import permissions, roles, totp
from appliance.services import accounts, overview


@dataclass(frozen=True)
class Setup:
    """What an authenticator app has to be told: as a picture's text, or typed."""

    address: str
    secret: str


def is_on(account_id: int) -> bool:
    """Whether this account is asked for a code."""
    return _of(account_id) is not None


def _of(account_id: int) -> SecondFactor | None:
    found: SecondFactor | None = SecondFactor.get_or_none(SecondFactor.account == account_id, SecondFactor.confirmed_at.is_null(False))
    return found


def required_roles() -> list[str]:
    """The roles that are worth nothing without one-time codes."""
    found: list[str] = options.get("codes_required")
    return found


def require(actor: Actor, wanted: list[str]) -> None:
    """Ask those who hold one of these roles for one-time codes. Who has none sets them up before anything else."""
    chosen = [role for role in roles.ROLES if role in wanted]
    with catalog.write():
        before = required_roles()
        options.put("codes_required", chosen)
        said = f"of {', '.join(roles.ROLES[role].title.lower() for role in chosen)}" if chosen else "of nobody"
        record(
            EventKind.SETTINGS_CHANGED,
            f"{actor.name} decided that one-time codes are required {said}.",
            actor,
            before={"codes required of": before},
            after={"codes required of": chosen},
        )


def is_missing(account_id: int) -> bool:
    """Whether this account holds a role that requires one-time codes, and has none."""
    wanted = required_roles()
    return bool(wanted) and any(held.role in wanted for held in grants.held_by(account_id)) and not is_on(account_id)


def missing(account_ids: Iterable[int]) -> set[int]:
    """Those of these accounts of which that is so."""
    return {id for id in set(account_ids) if is_missing(id)} if required_roles() else set()


def accounts_with() -> set[int]:
    """The accounts that are asked for a code."""
    return {row.account_id for row in SecondFactor.select().where(SecondFactor.confirmed_at.is_null(False))}


def begin_enrolment(actor: Actor) -> Setup:
    """A secret for the actor's authenticator app, the same until it is confirmed. Raises Conflict when one is in use."""
    assert actor.account_id is not None
    with catalog.write():
        row = SecondFactor.get_or_none(SecondFactor.account == actor.account_id)
        if row is not None and row.confirmed_at is not None:
            raise Conflict("Your codes are set up already.", "Turn them off first to use another phone.")
        if row is None:
            row = SecondFactor.create(account=actor.account_id, secret=totp.new_secret())
    return Setup(totp.address(row.secret, actor.name, overview.title()), row.secret)


def pending(actor: Actor) -> Setup | None:
    """What the app has to be told, while it is being set up; None before `begin` and once it is confirmed."""
    row = SecondFactor.get_or_none(SecondFactor.account == actor.account_id, SecondFactor.confirmed_at.is_null())
    return None if row is None else Setup(totp.address(row.secret, actor.name, overview.title()), row.secret)


def confirm(actor: Actor, code: str) -> list[str]:
    """The app shows the right code, so codes are asked for from now on; returns the recovery codes, which are told only this once."""
    with catalog.write():
        row = SecondFactor.get_or_none(SecondFactor.account == actor.account_id)
        if row is None or row.confirmed_at is not None:
            raise Conflict("There is nothing to confirm.", "Reload the page to see where it stands.")
        step = totp.matching_step(row.secret, code, now(), row.step)
        if step is None:
            raise BadInput(
                "That is not the code that the app should show now.",
                "Wait for the next one; if none fits, set the phone's clock right.",
                field="code",
            )
        row.step, row.confirmed_at = step, now()
        row.save()
        codes = _renew(row.account_id)
        record(EventKind.ACCOUNT_CODES, f"{actor.name} turned one-time codes on.", actor, object=f"account:{actor.name}")
    return codes


def _renew(account_id: int) -> list[str]:
    codes = totp.recovery_codes()
    RecoveryCode.delete().where(RecoveryCode.account == account_id).execute()
    RecoveryCode.insert_many([{"account": account_id, "digest": totp.digest(code)} for code in codes]).execute()
    return codes


def renew_recovery(actor: Actor) -> list[str]:
    """New recovery codes in place of all old ones."""
    assert actor.account_id is not None
    with catalog.write():
        if not is_on(actor.account_id):
            raise Conflict("One-time codes are not set up.", "Set them up first.")
        codes = _renew(actor.account_id)
        record(EventKind.ACCOUNT_CODES, f"{actor.name} made new recovery codes.", actor, object=f"account:{actor.name}")
    return codes


def recovery_left(account_id: int) -> int:
    """How many recovery codes are left."""
    count: int = RecoveryCode.select().where(RecoveryCode.account == account_id).count()
    return count


def check_code(account_id: int, entered: str) -> bool:
    """Whether this is the account's code of now, or one of its recovery codes; either is used up by it. Call it inside `write()`."""
    row = _of(account_id)
    if row is None:
        return False
    step = totp.matching_step(row.secret, entered, now(), row.step)
    if step is not None:
        row.step = step
        row.save()
        return True
    spent = RecoveryCode.delete().where(RecoveryCode.account == account_id, RecoveryCode.digest == totp.digest(entered)).execute()
    return bool(spent)


def remove(actor: Actor, account_id: int) -> None:
    """Ask this account for codes no more: a person for themselves, or an admin for somebody whose phone is gone."""
    with catalog.write():
        account: Account = accounts.get_account(account_id)
        permissions.require_no_less(actor, account_id)
        if not SecondFactor.delete().where(SecondFactor.account == account_id).execute():
            raise NotFound("One-time codes are not set up.", "Reload the page to see where it stands.")
        RecoveryCode.delete().where(RecoveryCode.account == account_id).execute()
        record(
            EventKind.ACCOUNT_CODES,
            f"{actor.name} turned one-time codes of {account.name} off.",
            actor,
            account_id=account_id,
            object=f"account:{account.name}",
            level=catalog.Level.WARNING,
        )
