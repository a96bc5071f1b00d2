"""Invitations, and ways in for who forgot their password: good once, for a time, and told to nobody else."""

from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage

import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, Event, OutgoingMail, PasswordLink, Throttle, now, options, outgoing_mail
from appliance.errors import BadInput, Conflict, NotAllowed
from appliance.identity import secrets
from appliance.outbound import mail_outbox
from appliance.services import accounts, password_links, sessions, tokens
from appliance.settings import Settings
from tests.post import office

PASSWORD = "a good one of mine"
HERE = "https://appliance.test:8443"


@pytest.fixture
def ruth(admin: Actor) -> Actor:
    """Invited, and not yet here."""
    made = accounts.create(admin, "ruth", full_name="Ruth Root", email="ruth@example.org")
    return Actor("ruth", made.id, "192.0.2.1")


@pytest.fixture
def mailed(opened: Settings) -> Iterator[list[EmailMessage]]:
    """Where mail is set up; what was mailed, once `mail_outbox.send_due` was called."""
    opened.web_secret.write_bytes(b"s" * 32)
    secrets.open(opened.web_secret)
    with office() as server:
        with catalog.write():
            use = {"host": "127.0.0.1", "port": server.port, "security": "none", "authority": "", "user": "", "sender": "dpe@example.org"}
            options.put("mail", {"on": True, "server": use, "password": ""})
            options.put("address", "https://dpe.example.org")
        yield server.taken


def ending(link: str) -> str:
    return link.partition("#")[2]


def invite(admin: Actor, account: Actor) -> str:
    return ending(password_links.invite(admin, account.account_id or 0, by_mail=False, here=HERE).link)


def everything() -> str:
    """Whatever the catalog keeps in words."""
    return str([list(model.select().dicts()) for model in (Account, Event, PasswordLink, OutgoingMail, Throttle)])


def test_an_invitation_is_good_once_and_its_person_signs_in_with_what_they_chose(admin: Actor, ruth: Actor) -> None:
    with pytest.raises(NotAllowed, match="do not fit"):
        sessions.sign_in("ruth", "", "192.0.2.1")
    made = password_links.invite(admin, ruth.account_id or 0, by_mail=False, here=f"{HERE}/")
    assert made.link.startswith(f"{HERE}/set-password#ruth:")
    assert ending(made.link) not in everything()
    assert ending(made.link).partition(":")[2] not in everything()
    assert password_links.redeem(ending(made.link), PASSWORD, "192.0.2.1").name == "ruth"
    _, account = sessions.sign_in("ruth", PASSWORD, "192.0.2.1")
    assert not account.must_change
    with pytest.raises(NotAllowed, match="not good any more"):
        password_links.redeem(ending(made.link), "another good one", "192.0.2.1")
    sessions.sign_in("ruth", PASSWORD, "192.0.2.1")


def test_a_link_ends_with_a_newer_one_with_its_days_with_disabling_and_with_another_password(admin: Actor, ruth: Actor) -> None:
    id = ruth.account_id or 0

    def is_gone(link: str) -> bool:
        try:
            password_links.redeem(link, PASSWORD, f"192.0.2.{next(addresses)}")
        except NotAllowed:
            return True
        return False

    addresses = iter(range(1, 100))
    older, newer = invite(admin, ruth), invite(admin, ruth)
    assert is_gone(older)
    with catalog.write():
        PasswordLink.update(expires_at=now() - timedelta(seconds=1)).execute()
    assert is_gone(newer)
    assert password_links.pending(id) is None
    link = invite(admin, ruth)
    accounts.disable(admin, id)
    accounts.enable(admin, id)
    assert is_gone(link)
    link = invite(admin, ruth)
    accounts.set_password(admin, id, "chosen by an admin")
    assert is_gone(link)
    link = invite(admin, ruth)
    password_links.withdraw(admin, id)
    assert is_gone(link)
    assert not is_gone(invite(admin, ruth))


def test_an_invitation_lasts_as_many_days_as_the_settings_say(admin: Actor, ruth: Actor) -> None:
    password_links.set_days(admin, 3)
    made = password_links.invite(admin, ruth.account_id or 0, by_mail=False, here=HERE)
    assert timedelta(days=2, hours=23) < made.expires_at - now() <= timedelta(days=3)
    with pytest.raises(BadInput, match="1 to 90 days"):
        password_links.set_days(admin, 0)


@pytest.mark.revoked
def test_setting_a_password_by_a_link_ends_what_let_in_before(admin: Actor, ruth: Actor) -> None:
    password_links.redeem(invite(admin, ruth), PASSWORD, "192.0.2.1")
    session, _ = sessions.sign_in("ruth", PASSWORD, "192.0.2.1")
    program = tokens.create(ruth, "script", ["read"], 7)
    for _ in range(6):
        with pytest.raises(NotAllowed):
            sessions.sign_in("ruth", "forgotten", "192.0.2.9")
    link = invite(admin, ruth)
    assert sessions.find(session) is not None  # until it is used nothing has changed
    password_links.redeem(link, "another good one", "192.0.2.9")
    assert sessions.find(session) is None
    assert tokens.find(program, "192.0.2.1") is None
    assert sessions.sign_in("ruth", "another good one", "192.0.2.9")  # nor does what was forgotten count any more


@pytest.mark.badinput
def test_guessing_links_is_slowed_down(ruth: Actor, admin: Actor) -> None:
    link = invite(admin, ruth)
    for guess in ("", "ruth:", "ruth:x", "x" * 200, "' OR 1=1 --"):
        with pytest.raises(NotAllowed, match="not good any more"):
            password_links.redeem(guess, PASSWORD, "192.0.2.1")
    with pytest.raises(NotAllowed, match="Too many"):
        password_links.redeem(link, PASSWORD, "192.0.2.1")
    with pytest.raises(BadInput, match="too short"):
        password_links.redeem(link, "short", "192.0.2.2")
    assert password_links.redeem(link, PASSWORD, "192.0.2.2").name == "ruth"


@pytest.mark.authz
def test_nobody_invites_who_may_do_more_nor_a_directorys_nor_whom_no_mail_reaches(admin: Actor, ruth: Actor, bob: Actor) -> None:
    with catalog.write():
        catalog.Grant.create(role="delegated_admin", account=bob.account_id, over_unit=catalog.ROOT)
    with pytest.raises(NotAllowed, match="more than you"):
        password_links.invite(bob, admin.account_id or 0, by_mail=False)
    with pytest.raises(Conflict, match="No mail reaches ruth"):
        password_links.invite(admin, ruth.account_id or 0, by_mail=True)
    with catalog.write():
        Account.update(directory_id="x").where(Account.id == ruth.account_id).execute()
    with pytest.raises(Conflict, match="the directory's"):
        password_links.invite(admin, ruth.account_id or 0, by_mail=False)


@pytest.mark.authz
def test_who_has_seen_a_link_gains_nothing_by_what_its_person_is_given_later(admin: Actor, ruth: Actor, bob: Actor) -> None:
    with catalog.write():
        catalog.Grant.create(role="delegated_admin", account=bob.account_id)
    link = invite(bob, ruth)
    with catalog.write():
        given = catalog.Grant.create(role="owner", account=ruth.account_id)
    with pytest.raises(NotAllowed, match="not good any more"):
        password_links.redeem(link, "chosen by bob", "192.0.2.1")
    given.delete_instance()
    assert password_links.redeem(link, PASSWORD, "192.0.2.1").name == "ruth"


def test_an_owner_who_never_set_a_password_is_not_one_that_can_be_left_alone(admin: Actor, ruth: Actor) -> None:
    with catalog.write():
        catalog.Grant.create(role="owner", account=ruth.account_id)
    assert catalog.grants.owners() == {admin.account_id}
    password_links.redeem(invite(admin, ruth), PASSWORD, "192.0.2.1")
    assert catalog.grants.owners() == {admin.account_id, ruth.account_id}


# -- by mail -----------------------------------------------------------------------------------------


def test_what_is_mailed_lets_in_and_is_sealed_until_then(admin: Actor, ruth: Actor, mailed: list[EmailMessage]) -> None:
    assert password_links.invite(admin, ruth.account_id or 0, by_mail=True).link == ""
    assert PasswordLink.select().count() == 1
    kept = everything()
    mail_outbox.send_due()
    [letter] = mailed
    link = letter.get_content().split()[-1]
    assert link.startswith("https://dpe.example.org/set-password#ruth:")
    assert ending(link).partition(":")[2] not in kept
    assert password_links.redeem(ending(link), PASSWORD, "192.0.2.1").name == "ruth"


def test_who_forgot_the_password_is_written_to_by_name_or_by_address(ruth: Actor, mailed: list[EmailMessage]) -> None:
    for number, said in enumerate(("ruth", "RUTH", " ruth@example.org ")):
        password_links.ask(said, f"192.0.2.{number}")
    mail_outbox.send_due()
    links = [letter.get_content().split("https://")[1].split()[0] for letter in mailed]
    assert len(links) == 3
    for link in links[:2]:
        with pytest.raises(NotAllowed):
            password_links.redeem(ending(link), PASSWORD, "192.0.2.1")
    assert password_links.redeem(ending(links[2]), PASSWORD, "192.0.2.1").name == "ruth"


def test_nobody_else_is_written_to(ruth: Actor, admin: Actor, mailed: list[EmailMessage]) -> None:
    with catalog.write():
        Account.create(name="twin", email="both@example.org", password="")
        Account.create(name="double", email="both@example.org", password="")
        Account.create(name="silent", password="")
        Account.create(name="gone", email="gone@example.org", password="", disabled=True)
    for number, said in enumerate(("nobody", "both@example.org", "silent", "gone", "", "%", "ruth' OR 1=1 --")):
        password_links.ask(said, f"192.0.2.{number}")
    assert not outgoing_mail.is_mail_due(now())
    assert PasswordLink.select().count() == 0
    assert Event.select().where(Event.kind == "account.reset_asked").count() == 7


def test_asking_is_slowed_down_by_name_and_by_address(ruth: Actor, mailed: list[EmailMessage]) -> None:
    for number in range(3):
        password_links.ask("ruth", f"192.0.2.{number}")
    with pytest.raises(NotAllowed, match="Too many"):
        password_links.ask("ruth", "192.0.2.9")
    for number in range(20):
        password_links.ask(f"p{number}", "198.51.100.1")
    with pytest.raises(NotAllowed, match="Too many"):
        password_links.ask("p99", "198.51.100.1")


def test_a_directorys_person_is_told_to_go_there(ruth: Actor, mailed: list[EmailMessage]) -> None:
    with catalog.write():
        Account.update(directory_id="x").where(Account.id == ruth.account_id).execute()
    password_links.ask("ruth", "192.0.2.1")
    mail_outbox.send_due()
    [letter] = mailed
    assert letter["Subject"] == "Your password is the directory's"
    assert "#" not in letter.get_content()
    assert PasswordLink.select().count() == 0


# -- a password that somebody else chose ---------------------------------------------------------------


def test_a_password_that_an_admin_set_is_changed_by_its_person(admin: Actor) -> None:
    ruth = accounts.create(admin, "ruth", "chosen by an admin")
    session, account = sessions.sign_in("ruth", "chosen by an admin", "192.0.2.1")
    person = Actor("ruth", ruth.id, "192.0.2.1")
    found = sessions.find(session)
    assert account.must_change
    assert found is not None
    assert found.account.must_change
    with pytest.raises(BadInput, match="that you were given"):
        accounts.replace_password(person, "chosen by an admin", keep_session=found.id)
    accounts.replace_password(person, PASSWORD, keep_session=found.id)
    assert not sessions.find(session).account.must_change  # type: ignore[union-attr]
    with pytest.raises(Conflict, match="your own already"):
        accounts.replace_password(person, "another good one", keep_session=found.id)
    accounts.set_password(admin, ruth.id, "chosen by an admin")
    assert Account.get_by_id(ruth.id).must_change
    accounts.set_password(admin, admin.account_id or 0, "chosen by myself")
    assert not Account.get_by_id(admin.account_id).must_change
