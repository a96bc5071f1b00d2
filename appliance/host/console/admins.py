"""A new password for an owner of the appliance, given to whoever stands at the server's screen.

It asks for no old one: whoever is there could take the disks as well. The password is told to root alone, which that screen is: a web process that
was taken over learns none.
"""

import contextlib
from collections.abc import Iterator

from appliance import catalog
from appliance.catalog import Account, Actor, EventKind, Grant, Level, RecoveryCode, SecondFactor, grants, options, record, sessions
from appliance.errors import BadInput, Conflict, NotFound
from appliance.host.interface import system
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.identity import names, passwords, throttle
from appliance.settings import Settings


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[None]:
    catalog.attach(settings.catalog)
    try:
        if not options.get("setup_done"):
            raise Conflict("The appliance has not been set up yet, so there is no admin.", "Set it up in a browser, with the setup code.")
        yield
    finally:
        catalog.close()


def _owners() -> list[Account]:
    """Those that hold everything for good and whose passwords are ours, disabled ones too."""
    lasting = Grant.over_unit.is_null() & Grant.over_class.is_null() & Grant.ends_at.is_null()
    holders = Grant.select(Grant.account).where(Grant.role == "owner", lasting)
    return list(Account.select().where(Account.id.in_(holders), Account.directory_id.is_null()).order_by(Account.name))


@implements(system.OWNERS)
def _list(args: Nothing, host: Host) -> list[system.Owner]:
    with _opened(host.settings):
        return [system.Owner(name=one.name, full_name=one.full_name, disabled=bool(one.disabled)) for one in _owners()]


@implements(system.RESET_PASSWORD)
def _reset(args: system.NewPassword, host: Host) -> system.Told:
    """A new random password for this owner, or for a new one of this name where there is none: the only time that it is told."""
    password, digest = passwords.generate()
    actor = Actor(host.by or "screen")
    with _opened(host.settings), catalog.write():
        owners = {one.name: one for one in _owners()}
        account = owners.get(args.name) or _new(args.name, owners)
        account.password, account.disabled = digest, False
        account.save()
        sessions.end_all(account.id)
        codes = SecondFactor.delete().where(SecondFactor.account == account.id).execute()
        RecoveryCode.delete().where(RecoveryCode.account == account.id).execute()
        throttle.forget(account.name)
        also = ", and turned their one-time codes off" if codes else ""
        record(
            EventKind.ACCOUNT_PASSWORD,
            f"Somebody at the server's screen gave {account.name} a new password{also}.",
            actor,
            level=Level.WARNING,
            account_id=account.id,
            object=f"account:{account.name}",
        )
        assert account.id in grants.owners()
    return system.Told(name=account.name, password=password)


def _new(name: str, owners: dict[str, Account]) -> Account:
    if owners:
        raise NotFound(f"There is no owner {name!r}.", "Choose one from the list.")
    if not names.ACCOUNT.fullmatch(name):
        raise BadInput(
            f"{name!r} cannot be an account's name.", "Use up to 32 letters, digits, dots, dashes and underscores, starting with a letter."
        )
    if Account.get_or_none(Account.name == name) is not None:
        raise Conflict(f"There is already an account {name}, which is no owner.", "Choose another name.")
    account = Account.create(name=name, password="!", full_name="", email="")  # noqa: S106 - nothing hashes to it
    Grant.create(role="owner", account=account.id)
    return account
