"""One-time codes, sessions that wait for one, asking again, tokens."""

from datetime import UTC, datetime, timedelta

import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, Event, RecoveryCode, SecondFactor, Session, Throttle, Token, now
from appliance.errors import BadInput, Conflict, NotAllowed, NotFound
from appliance.identity import totp
from appliance.services import accounts, second_factor, sessions, tokens
from appliance.settings import Settings
from tests import world

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890", the one of RFC 6238


@pytest.fixture
def ruth(opened: object) -> Actor:
    return world.account("ruth", "Ruth Root")


@pytest.fixture
def codes(ruth: Actor) -> list[str]:
    """Ruth uses one-time codes; these are her recovery codes."""
    setup = second_factor.begin_enrolment(ruth)
    found = second_factor.confirm(ruth, totp.code(setup.secret, totp.step_at(now())))
    return found


def current(ruth: Actor) -> str:
    row = SecondFactor.get(SecondFactor.account == ruth.account_id)
    return totp.code(
        row.secret, totp.step_at(now()) + 1
    )  # the next one: that of now was used to set up, and this is good half a minute longer


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_rfc(seconds: int, expected: str) -> None:
    assert totp.code(SECRET, totp.step_at(datetime.fromtimestamp(seconds, UTC))) == expected


def test_a_clock_may_be_half_a_minute_off_and_no_more() -> None:
    moment = datetime.fromtimestamp(1_000_000_000, UTC)
    here = totp.step_at(moment)
    found = [totp.matching_step(SECRET, totp.code(SECRET, here + drift), moment, after=0) for drift in (-2, -1, 0, 1, 2)]
    assert found == [None, here - 1, here, here + 1, None]


def test_what_the_app_is_told() -> None:
    address = totp.address(SECRET, "ada", "Lab: A & B")
    assert address == f"otpauth://totp/Lab%20%20A%20%26%20B%3Aada?secret={SECRET}&issuer=Lab%20%20A%20%26%20B"


@pytest.mark.badinput
@pytest.mark.parametrize("entered", ["", "12345", "1234567", "abcdef", "²³¹²³¹", "١٢٣٤٥٦", "' OR 1=1 --", "\x00"])
def test_what_is_no_code_fits_nothing(ruth: Actor, codes: list[str], entered: str) -> None:
    with catalog.write():
        assert not second_factor.check_code(ruth.account_id or 0, entered)


def test_nothing_is_asked_until_the_app_has_shown_a_right_code(ruth: Actor) -> None:
    setup = second_factor.begin_enrolment(ruth)
    assert second_factor.begin_enrolment(ruth).secret == setup.secret
    with pytest.raises(BadInput, match="not the code"):
        second_factor.confirm(ruth, "000000" if totp.code(setup.secret, totp.step_at(now())) != "000000" else "000001")
    token, _ = sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")
    assert sessions.find(token) is not None


def test_the_password_alone_opens_nothing(ruth: Actor, codes: list[str]) -> None:
    token, account = sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")
    assert sessions.find(token) is None
    assert sessions.of_account(account.id) == []
    assert sessions.waiting(token) == account
    opened = sessions.give_code(token, current(ruth), "192.0.2.1")
    found = sessions.find(opened)
    assert found is not None
    assert found.account.name == "ruth"
    assert sessions.waiting(token) is None
    assert sessions.find(token) is None


def test_a_code_is_good_once(ruth: Actor, codes: list[str]) -> None:
    code = current(ruth)
    first, _ = sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")
    second, _ = sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")
    sessions.give_code(first, code, "192.0.2.1")
    with pytest.raises(NotAllowed, match="does not fit"):
        sessions.give_code(second, code, "192.0.2.1")


def test_a_recovery_code_is_good_once_however_it_is_typed(ruth: Actor, codes: list[str]) -> None:
    assert len(codes) == len(set(codes)) == second_factor.recovery_left(ruth.account_id or 0) == 10
    first, _ = sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")
    sessions.give_code(first, f" {codes[0].upper().replace('-', ' ')} ", "192.0.2.1")
    second, _ = sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")
    with pytest.raises(NotAllowed, match="does not fit"):
        sessions.give_code(second, codes[0], "192.0.2.1")
    assert second_factor.recovery_left(ruth.account_id or 0) == 9
    assert not any(code.replace("-", "") in str(list(RecoveryCode.select().dicts())) for code in codes)


@pytest.mark.badinput
def test_guessing_codes_is_slowed_down_and_the_password_does_not_forgive_it(ruth: Actor, codes: list[str]) -> None:
    token, _ = sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")
    for _ in range(5):
        with pytest.raises(NotAllowed, match="does not fit"):
            sessions.give_code(token, "x", "192.0.2.1")
    with pytest.raises(NotAllowed, match="Too many"):
        sessions.give_code(token, current(ruth), "192.0.2.2")
    again, _ = sessions.sign_in("ruth", world.PASSWORD, "192.0.2.3")
    with pytest.raises(NotAllowed, match="Too many"):
        sessions.give_code(again, current(ruth), "192.0.2.3")
    Throttle.update(blocked_until=now() - timedelta(seconds=1)).execute()
    assert sessions.find(sessions.give_code(token, current(ruth), "192.0.2.1"))


def test_a_session_waits_five_minutes_for_its_code(ruth: Actor, codes: list[str]) -> None:
    token, _ = sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")
    Session.update(expires_at=now() - timedelta(seconds=1)).execute()
    with pytest.raises(NotAllowed, match="took too long"):
        sessions.give_code(token, current(ruth), "192.0.2.1")


def test_a_new_password_or_a_disabled_account_ends_the_waiting(ruth: Actor, codes: list[str], admin: Actor) -> None:
    first, _ = sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")
    accounts.set_password(admin, ruth.account_id or 0, "a new long password")
    assert sessions.waiting(first) is None
    second, _ = sessions.sign_in("ruth", "a new long password", "192.0.2.1")
    accounts.disable(admin, ruth.account_id or 0)
    assert sessions.waiting(second) is None


def test_an_admin_helps_whose_phone_is_gone(ruth: Actor, codes: list[str], admin: Actor) -> None:
    second_factor.remove(admin, ruth.account_id or 0)
    assert RecoveryCode.select().count() == 0
    assert sessions.find(sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")[0])
    with pytest.raises(NotFound):
        second_factor.remove(admin, ruth.account_id or 0)


def test_a_second_set_up_does_not_replace_the_first(ruth: Actor, codes: list[str]) -> None:
    with pytest.raises(Conflict, match="set up already"):
        second_factor.begin_enrolment(ruth)
    with pytest.raises(Conflict, match="nothing to confirm"):
        second_factor.confirm(ruth, current(ruth))


def test_new_recovery_codes_replace_the_old_ones(ruth: Actor, codes: list[str]) -> None:
    new = second_factor.renew_recovery(ruth)
    with catalog.write():
        assert not second_factor.check_code(ruth.account_id or 0, codes[0])
        assert second_factor.check_code(ruth.account_id or 0, new[0])


def test_no_secret_is_in_an_event(ruth: Actor, codes: list[str]) -> None:
    said = str(list(Event.select().dicts()))
    assert SecondFactor.get().secret not in said
    assert not any(code in said for code in codes)


# -- asking again ------------------------------------------------------------------------


def test_asking_again_takes_the_password(ruth: Actor) -> None:
    token, _ = sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")
    Session.update(confirmed_at=now() - timedelta(hours=1)).execute()
    session = sessions.find(token)
    assert session is not None
    with pytest.raises(NotAllowed, match="not your password"):
        sessions.confirm(ruth, session.id, password="wrong")
    sessions.confirm(ruth, session.id, password=world.PASSWORD)
    assert now() - Session.get().confirmed_at < timedelta(minutes=1)


def test_asking_again_takes_the_code_where_those_are_on(ruth: Actor, codes: list[str]) -> None:
    token = sessions.give_code(sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")[0], codes[0], "192.0.2.1")
    session = sessions.find(token)
    assert session is not None
    with pytest.raises(NotAllowed, match="does not fit"):
        sessions.confirm(ruth, session.id, password=world.PASSWORD)
    sessions.confirm(ruth, session.id, code=current(ruth))


@pytest.mark.badinput
def test_asking_again_is_no_way_to_guess_a_password(ruth: Actor) -> None:
    token, _ = sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")
    session = sessions.find(token)
    assert session is not None
    for _ in range(5):
        with pytest.raises(NotAllowed, match="not your password"):
            sessions.confirm(ruth, session.id, password="wrong")
    with pytest.raises(NotAllowed, match="Too many"):
        sessions.confirm(ruth, session.id, password=world.PASSWORD)


@pytest.mark.badinput
def test_nor_is_the_form_for_a_new_password(ruth: Actor) -> None:
    for _ in range(5):
        with pytest.raises(BadInput, match="old password"):
            accounts.change_own_password(ruth, "wrong", "another good one", keep_session="")
    with pytest.raises(NotAllowed, match="Too many"):
        accounts.change_own_password(ruth, world.PASSWORD, "another good one", keep_session="")


# -- sessions of others ------------------------------------------------------------------


def test_sessions_are_ended_one_by_one_or_all_others_at_once(ruth: Actor, admin: Actor) -> None:
    first, second, third = (sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")[0] for _ in range(3))
    kept = sessions.find(first)
    other = sessions.find(second)
    assert kept is not None
    assert other is not None
    sessions.end_of(admin, ruth.account_id or 0, other.id)
    assert sessions.find(second) is None
    with pytest.raises(NotFound, match="over already"):
        sessions.end_of(admin, ruth.account_id or 0, other.id)
    assert sessions.end_others(ruth, kept.id) == 1
    assert sessions.find(third) is None
    assert sessions.find(first) is not None


# -- tokens ------------------------------------------------------------------------------


def test_a_token_is_told_once_and_kept_as_a_hash(ruth: Actor) -> None:
    token = tokens.create(ruth, " backup   script ", ["machines.read"], 30)
    assert token.startswith("dpe_")
    assert token not in str(list(Token.select().dicts())) + str(list(Event.select().dicts()))
    found = tokens.find(token, "192.0.2.9")
    assert found is not None
    assert (found.account.name, found.name, found.scope) == ("ruth", "backup script", ["machines.read"])
    row = Token.get()
    assert row.address == "192.0.2.9"
    assert row.used_at is not None
    assert token.endswith(row.ending)


def test_a_token_ends_by_time_by_hand_and_with_its_account(ruth: Actor, admin: Actor) -> None:
    token = tokens.create(ruth, "one", ["machines.read"], 1)
    account_id = ruth.account_id or 0
    accounts.disable(admin, account_id)
    assert tokens.find(token, "") is None
    accounts.enable(admin, account_id)
    assert tokens.find(token, "") is not None
    Token.update(expires_at=now() - timedelta(seconds=1)).execute()
    assert tokens.find(token, "") is None
    tokens.end_token(ruth, account_id, Token.get().id)
    with pytest.raises(NotFound):
        tokens.end_token(ruth, account_id, 1)


def test_nobody_ends_a_token_by_naming_another_account(ruth: Actor, admin: Actor) -> None:
    tokens.create(ruth, "one", ["machines.read"], 1)
    with pytest.raises(NotFound):
        tokens.end_token(admin, admin.account_id or 0, Token.get().id)


@pytest.mark.badinput
@pytest.mark.parametrize("token", ["", "dpe_", "dpe_x", "x" * 5000, "dpe_\x00", "dpe_' OR 1=1 --"])
def test_what_is_no_token_is_nobody(ruth: Actor, token: str) -> None:
    tokens.create(ruth, "one", ["machines.read"], 1)
    assert tokens.find(token, "") is None


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("name", "scope", "days", "said"),
    [("", ["a"], 1, "needs a name"), ("x" * 61, ["a"], 1, "needs a name"), ("x", [], 1, "may do nothing"), ("x", ["a"], 0, "1 to 366"), ("x", ["a"], 367, "1 to 366")],
)  # fmt: skip
def test_a_token_that_cannot_be_made(ruth: Actor, name: str, scope: list[str], days: int, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        tokens.create(ruth, name, scope, days)
    assert Token.select().count() == 0


def test_an_account_goes_with_everything_that_lets_in(ruth: Actor, codes: list[str]) -> None:
    tokens.create(ruth, "one", ["machines.read"], 1)
    sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1")
    with catalog.write():
        Account.delete().where(Account.id == ruth.account_id).execute()
    assert [model.select().count() for model in (Session, SecondFactor, RecoveryCode, Token)] == [0, 0, 0, 0]


@pytest.mark.parametrize("with_code", [False, True])
def test_somebody_stays_signed_in_as_long_as_the_admin_allows(ruth: Actor, with_code: bool, request: pytest.FixtureRequest) -> None:
    if with_code:
        request.getfixturevalue("codes")

    def opened_with(*, keep: bool) -> Session:
        token, _ = sessions.sign_in("ruth", world.PASSWORD, "192.0.2.1", keep=keep)
        if with_code:
            Throttle.delete().execute()
            SecondFactor.update(step=0).execute()
            token = sessions.give_code(token, current(ruth), "192.0.2.1")
        sessions.begin_session(token, Settings())
        found = sessions.find(token)
        assert found is not None
        assert sessions.is_kept(token) is found.kept
        return found

    days = timedelta(days=30)
    assert not opened_with(keep=True).kept  # nobody allowed it
    sessions.set_kept_days(ruth, 30)
    kept, other = opened_with(keep=True), opened_with(keep=False)
    assert kept.expires_at == kept.created_at + days
    assert other.expires_at < other.created_at + timedelta(days=2)
    assert not other.kept
    sessions.set_kept_days(ruth, 0)  # it is over at once for who was
    assert not sessions.is_live(kept.id)
    assert sessions.is_live(other.id)


@pytest.mark.badinput
@pytest.mark.parametrize("days", [-1, 181])
def test_nobody_stays_signed_in_for_ever(ruth: Actor, days: int) -> None:
    with pytest.raises(BadInput, match="180"):
        sessions.set_kept_days(ruth, days)
    assert sessions.kept_days() == 0
