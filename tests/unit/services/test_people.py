"""Setting up, signing in, accounts."""

from datetime import timedelta

import pytest

from appliance import catalog
from appliance.catalog import Account, Event, Seed, SeedState, Session, Throttle, grants, now, options
from appliance.errors import BadInput, Conflict, NotAllowed
from appliance.services import accounts, sessions, setup, tokens

PASSWORD = "correct horse battery"


def wishes(**changes):
    values = {
        "name": "root",
        "full_name": "Ruth Root",
        "password": PASSWORD,
        "title": "Lab",
        "time_zone": "Europe/Berlin",
        "pools": {"small": (1, 5)},
    }
    return setup.Wishes(**(values | changes))


@pytest.fixture
def code(small, opened):
    setup.ensure_code(opened)
    return (opened.state / "setup-code").read_text().strip()


def test_setup_builds_no_seed_where_one_came_with_the_image(code, opened):
    setup.finish(code, wishes(), "192.0.2.1")
    assert Seed.select().count() == 1


def test_setup_makes_the_admin_and_starts_the_seeds(code, opened):
    Seed.update(promoted=False).execute()
    admin = setup.finish(code.lower().replace("-", " "), wishes(), "192.0.2.1")
    assert grants.owners() == {admin.id}
    assert options.get("time_zone") == "Europe/Berlin"
    assert (catalog.Class.get().buffer, catalog.Class.get().maximum) == (1, 5)
    assert Seed.get(Seed.version == 2).state is SeedState.QUEUED
    assert setup.is_done()
    setup.ensure_code(opened)
    assert not (opened.state / "setup-code").exists()


def test_the_code_survives_a_restart_and_is_for_root_alone(code, opened):
    setup.ensure_code(opened)
    file = opened.state / "setup-code"
    assert file.read_text().strip() == code
    assert file.stat().st_mode & 0o777 == 0o600
    assert code.replace("-", "") not in str(options.get("setup_code"))


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"password": "short"}, "at least 10 characters"),
        ({"name": "no spaces"}, "cannot be an account's name"),
        ({"time_zone": "Mars/Olympus"}, "no time zone"),
        ({"pools": {"small": (9, 5)}}, "do not fit under a maximum of 5"),
    ],
)
def test_a_wrong_wish_is_refused_and_nothing_is_set_up(code, changes, message):
    with pytest.raises(BadInput, match=message):
        setup.finish(code, wishes(**changes), "192.0.2.1")
    assert not setup.is_done()
    assert Account.select().count() == 0
    setup.finish(code, wishes(), "192.0.2.1")


@pytest.mark.badinput
def test_guessing_the_code_is_slowed_down(code):
    for _ in range(5):
        with pytest.raises(BadInput, match="not the setup code"):
            setup.check_code("AAAA-BBBB-CCCC", "192.0.2.1")
    with pytest.raises(NotAllowed, match="Try again in"):
        setup.check_code(code, "192.0.2.1")


def test_setup_happens_once(code):
    setup.finish(code, wishes(), "192.0.2.1")
    with pytest.raises(BadInput):
        setup.finish(code, wishes(name="second"), "192.0.2.1")
    assert Account.select().count() == 1


@pytest.fixture
def ruth(admin):
    return accounts.create(admin, "ruth", PASSWORD, full_name="Ruth")


def test_sign_in_gives_a_session_that_the_catalog_knows_only_by_hash(ruth):
    token, account = sessions.sign_in("RUTH", PASSWORD, "192.0.2.1", "Browser")
    assert account.id == ruth.id
    assert sessions.find(token).account.name == "ruth"
    assert token not in str(list(Session.select().dicts()))
    assert PASSWORD not in str(list(Event.select().dicts())) + str(list(Account.select().dicts()))


@pytest.mark.badinput
@pytest.mark.parametrize(("name", "password"), [("ruth", "wrong password"), ("nobody", PASSWORD), ("", ""), ("ruth' OR 1=1 --", "x")])
def test_wrong_name_and_wrong_password_say_the_same(ruth, name, password):
    with pytest.raises(NotAllowed, match="That name and password do not fit"):
        sessions.sign_in(name, password, "192.0.2.1")


@pytest.mark.badinput
def test_guessing_is_slowed_by_account_and_address_together_and_ends(ruth):
    for _ in range(5):
        with pytest.raises(NotAllowed, match="do not fit"):
            sessions.sign_in("ruth", "wrong password", "192.0.2.1")
    with pytest.raises(NotAllowed, match="Too many"):
        sessions.sign_in("ruth", PASSWORD, "192.0.2.1")
    sessions.sign_in("ruth", PASSWORD, "192.0.2.77")  # it is nobody else's guess
    Throttle.update(blocked_until=now() - timedelta(seconds=1)).execute()
    sessions.sign_in("ruth", PASSWORD, "192.0.2.1")
    assert Throttle.select().where(Throttle.failures > 0).count() == 0


def test_a_session_ends_by_time_by_hand_and_with_its_account(ruth, admin):
    tokens = [sessions.sign_in("ruth", PASSWORD, "192.0.2.1")[0] for _ in range(2)]
    person = catalog.Actor("ruth", ruth.id)
    sessions.end_session(person, sessions.find(tokens[0]).id)
    assert sessions.find(tokens[0]) is None
    accounts.disable(admin, ruth.id)
    assert sessions.find(tokens[1]) is None
    with pytest.raises(NotAllowed, match="disabled"):
        sessions.sign_in("ruth", PASSWORD, "192.0.2.1")
    accounts.enable(admin, ruth.id)
    token, _ = sessions.sign_in("ruth", PASSWORD, "192.0.2.1")
    Session.update(expires_at=now() - timedelta(seconds=1)).execute()
    assert sessions.find(token) is None


def test_a_new_password_ends_every_other_session(ruth):
    kept, _ = sessions.sign_in("ruth", PASSWORD, "192.0.2.1")
    other, _ = sessions.sign_in("ruth", PASSWORD, "192.0.2.1")
    person = catalog.Actor("ruth", ruth.id)
    with pytest.raises(BadInput, match="old password"):
        accounts.change_own_password(person, "not it at all", "another long one", keep_session="")
    accounts.change_own_password(person, PASSWORD, "another long one", keep_session=sessions.find(kept).id)
    assert sessions.find(kept) is not None
    assert sessions.find(other) is None
    sessions.sign_in("ruth", "another long one", "192.0.2.1")


@pytest.mark.badinput
def test_the_last_admin_cannot_be_lost(admin, ruth):
    with pytest.raises(Conflict, match="your own"):
        accounts.disable(admin, admin.account_id)
    with pytest.raises(Conflict, match="only owner"):
        accounts.keep_an_owner(without=admin.account_id)


@pytest.mark.badinput
@pytest.mark.parametrize("key", ["hello", "ssh-ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----", 'command="x" ssh-ed25519 AAAA'])
def test_what_is_no_public_key_is_refused(admin, ruth, key):
    with pytest.raises(BadInput, match="not a public SSH key"):
        accounts.update(admin, ruth.id, full_name="", email="", ssh_keys=key)


@pytest.mark.badinput
def test_two_accounts_cannot_share_a_name_whatever_its_case(admin, ruth):
    with pytest.raises(Conflict, match="already an account"):
        accounts.create(admin, "Ruth", PASSWORD)


@pytest.mark.revoked
def test_a_new_password_ends_the_tokens_too(admin, ruth):
    mine, person = tokens.create(admin, "mine", ["read"], 7), catalog.Actor("ruth", ruth.id)
    hers = tokens.create(person, "hers", ["read"], 7)
    accounts.set_password(admin, ruth.id, "a new one for her")
    assert tokens.find(hers, "192.0.2.1") is None
    assert tokens.find(mine, "192.0.2.1") is not None
