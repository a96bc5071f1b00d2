"""Accounts: who may come in."""

from appliance import catalog
from appliance.catalog import ROOT, Account, Actor, EventKind, PasswordLink, Session, SshKey, grants, handovers, record, sessions
from appliance.catalog import ssh_keys as key_rows
from appliance.errors import BadInput, Conflict, NotFound
from appliance.identity import names, passwords, permissions, throttle
from appliance.identity import ssh_keys as keys
from appliance.language import LANGUAGES
from appliance.services import org_units


def everyone() -> list[Account]:
    """All accounts, by name."""
    return list(Account.select().order_by(Account.name))


def get_account(id: int) -> Account:
    """The account. Raises NotFound."""
    account: Account | None = Account.get_or_none(Account.id == id)
    if account is None:
        raise NotFound("There is no such account.")
    return account


def check_name(name: str) -> str:
    """The name itself. Raises BadInput for what no account can be called."""
    if not names.ACCOUNT.fullmatch(name):
        raise BadInput(
            f"{name!r} cannot be an account's name.",
            "Use up to 32 letters, digits, dots, dashes and underscores, starting with a letter.",
            field="name",
        )
    return name


def insert(
    actor: Actor,
    name: str,
    password: str,
    *,
    full_name: str = "",
    email: str = "",
    ssh_keys: str = "",
    org_unit_id: int = ROOT,
    must_change: bool = False,
) -> Account:
    """A new account with a password already hashed; call it inside `write()`. `must_change`: it is not one that its person chose."""
    taken = Account.get_or_none(Account.name == check_name(name))
    org_units.demand_free(actor, "account", name, taken, f"There is already an account {name}.")
    parsed = keys.parse(ssh_keys)
    account = Account.create(
        name=name,
        password=password,
        full_name=full_name.strip()[:100],
        email=email.strip()[:200],
        org_unit=org_unit_id,
        must_change=must_change and bool(password),
    )
    key_rows.add(account.id, parsed)
    return account


def create(
    actor: Actor, name: str, password: str = "", *, full_name: str = "", email: str = "", ssh_keys: str = "", org_unit_id: int = ROOT
) -> Account:
    """A new account. With a password, its person changes that first of all; without, nobody signs in before they are invited and set one.

    Raises BadInput or Conflict, and NotFound or NotAllowed when the actor may not bring people into the unit.
    """
    hashed = passwords.digest(password) if password else ""
    with catalog.write():
        org_units.demand_unit(actor, org_unit_id)
        account = insert(
            actor, name, hashed, full_name=full_name, email=email, ssh_keys=ssh_keys, org_unit_id=org_unit_id, must_change=True
        )
        record(EventKind.ACCOUNT_CREATED, f"{actor.name} made the account {name}.", actor, account_id=account.id, object=f"account:{name}")
    return account


def update(actor: Actor, id: int, *, full_name: str, email: str, ssh_keys: str) -> None:
    """Change an account. Raises BadInput."""
    with catalog.write():
        account = get_account(id)
        permissions.require_no_less(actor, id)
        before = {"full_name": account.full_name, "email": account.email}
        parsed = keys.parse(ssh_keys, known=key_rows.text(id))
        if parsed != key_rows.text(id).splitlines():
            key_rows.replace(id, parsed)
        if account.directory_id is None:  # else the directory says who they are
            account.full_name, account.email = full_name.strip()[:100], email.strip()[:200]
        account.save()
        handovers.changed(id)
        after = {"full_name": account.full_name, "email": account.email}
        record(
            EventKind.ACCOUNT_CHANGED,
            f"{actor.name} changed the account {account.name}.",
            actor,
            account_id=id,
            object=f"account:{account.name}",
            before=before,
            after=after,
        )


def ssh_keys_of(account_id: int) -> list[SshKey]:
    """Somebody's public SSH keys, the oldest first."""
    return key_rows.of_account(account_id)


def ssh_keys_text(account_id: int) -> str:
    """The same, a line each, as a form or a program takes them."""
    return key_rows.text(account_id)


def add_ssh_keys(actor: Actor, ssh_keys: str) -> None:
    """A person adds public SSH keys of theirs, a line each; the machines that they hold get them, too. Raises BadInput."""
    assert actor.account_id is not None
    with catalog.write():
        before = key_rows.text(actor.account_id)
        parsed = keys.parse(ssh_keys, field="keys")
        keys.demand_few({" ".join(line.split(" ", 2)[:2]) for line in [*before.splitlines(), *parsed]}, field="keys")
        key_rows.add(actor.account_id, parsed)
        handovers.changed(actor.account_id)
        record(EventKind.ACCOUNT_CHANGED, f"{actor.name} added to their SSH keys.", actor, object=f"account:{actor.name}")


def remove_ssh_key(actor: Actor, id: int) -> None:
    """A person takes one of their keys away; the machines that they hold forget it, too. Raises NotFound."""
    assert actor.account_id is not None
    with catalog.write():
        found = key_rows.remove(actor.account_id, id)
        if found is None:
            raise NotFound("There is no such key any more.", "Reload the page.")
        handovers.changed(actor.account_id)
        name = found.label or keys.fingerprint(found.key)
        record(EventKind.ACCOUNT_CHANGED, f"{actor.name} took their SSH key {name} away.", actor, object=f"account:{actor.name}")


def set_language(actor: Actor, language: str) -> None:
    """A person chooses the language of their pages and mails; empty: what their browser asks for. Raises BadInput."""
    assert actor.account_id is not None
    if language and language not in LANGUAGES:
        raise BadInput(f"There is no language {language[:20]!r} here.", f"Choose one of {', '.join(LANGUAGES)}.", field="language")
    with catalog.write():
        Account.update(language=language).where(Account.id == actor.account_id).execute()
        record(EventKind.ACCOUNT_CHANGED, f"{actor.name} chose a language.", actor, object=f"account:{actor.name}")


def set_password(actor: Actor, id: int, password: str, *, keep_session: str = "") -> None:
    """Set a password and end the account's tokens and its sessions, except the one in `keep_session`. Somebody else's has to be changed by them first."""
    hashed = passwords.digest(password)
    with catalog.write():
        account = get_account(id)
        permissions.require_no_less(actor, id)
        store_password(actor, account, hashed, f"{actor.name} set the password of {account.name}.", keep_session=keep_session)


def store_password(actor: Actor, account: Account, hashed: str, message: str, *, keep_session: str = "") -> None:
    """Keep a password that is hashed already, with its event, and end all that let somebody in before; call it inside `write()`. Raises Conflict."""
    if account.directory_id is not None:
        raise Conflict(f"The password of {account.name} is the directory's.", "Change it there.")
    account.password, account.must_change = hashed, actor.account_id != account.id
    account.save(only=[Account.password, Account.must_change])
    sessions.end_all(account.id, keep=keep_session)
    record(EventKind.ACCOUNT_PASSWORD, message, actor, account_id=account.id, object=f"account:{account.name}")


def replace_password(actor: Actor, new: str, *, keep_session: str) -> None:
    """A person replaces a password that somebody else chose for them, and with which they have just signed in. Raises BadInput for the same one."""
    assert actor.account_id is not None
    account = get_account(actor.account_id)
    if not account.must_change:
        raise Conflict("Your password is your own already.", "You can change it on your account's page.")
    if passwords.matches(account.password, new):
        raise BadInput("That is the password that you were given.", "Choose another one.", field="password")
    set_password(actor, account.id, new, keep_session=keep_session)


def change_own_password(actor: Actor, old: str, new: str, *, keep_session: str) -> None:
    """A person changes their own password. Raises BadInput when the old one is wrong, NotAllowed when it was so too often."""
    assert actor.account_id is not None
    account = get_account(actor.account_id)
    # A browser left alone is no place to guess at; nor do others who guess elsewhere count here.
    guesses = throttle.of_guess(account.name, actor.address, known=f"session {keep_session}")
    throttle.check_free(*guesses)
    if account.directory_id is None and not passwords.matches(account.password, old):
        throttle.failed(*guesses)
        raise BadInput("The old password is not right.", "Ask an admin to set a new one if you forgot it.", field="old")
    set_password(actor, actor.account_id, new, keep_session=keep_session)


def disable(actor: Actor, id: int) -> None:
    """Keep an account from signing in; its machines stay until their leases end."""
    with catalog.write():
        account = get_account(id)
        if account.id == actor.account_id:
            raise Conflict("You cannot disable your own account.", "Ask another admin.")
        permissions.require_no_less(actor, id)
        keep_an_owner(without=account.id)
        account.disabled = True
        account.save()
        Session.delete().where(Session.account == id).execute()
        PasswordLink.delete().where(PasswordLink.account == id).execute()
        record(
            EventKind.ACCOUNT_DISABLED,
            f"{actor.name} disabled the account {account.name}.",
            actor,
            account_id=id,
            object=f"account:{account.name}",
        )


def enable(actor: Actor, id: int) -> None:
    """Let an account sign in again."""
    with catalog.write():
        account = get_account(id)
        permissions.require_no_less(actor, id)
        account.disabled = False
        account.save()
        record(
            EventKind.ACCOUNT_ENABLED,
            f"{actor.name} enabled the account {account.name}.",
            actor,
            account_id=id,
            object=f"account:{account.name}",
        )


def keep_an_owner(*, without: int) -> None:
    """Raise Conflict when the account is the last that holds everything for good. Call it inside `write()`."""
    if grants.owners() == {without}:
        raise Conflict("This is the only owner of the appliance.", "Make another local account an owner first.")
