import pytest

from appliance.errors import BadInput
from appliance.identity import passwords
from tests import quick


@pytest.fixture(autouse=True)
def in_earnest(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the product hashes; other tests do it at less cost."""
    monkeypatch.setattr(passwords, "_hasher", quick.IN_EARNEST)


def test_passwords_are_hashed_as_rfc_9106_wants_it_where_memory_is_scarce() -> None:
    stored = passwords.digest("correct horse battery")
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert passwords.matches(stored, "correct horse battery")
    assert not passwords.matches(stored, "correct horse batter")


def test_what_was_made_by_the_appliance_may_be_hashed_at_less_cost() -> None:
    password, stored = passwords.generate()
    assert passwords.matches(stored, password)
    assert len(password) == 19


def test_whom_nobody_knows_takes_as_long_to_refuse() -> None:
    assert not quick.IN_EARNEST.check_needs_rehash(quick.NOBODY)  # it has the hasher's parameters, whatever the library makes of them


@pytest.mark.parametrize("stored", [None, "", "!", "$argon2id$v=19$m=65536"])
def test_where_there_is_no_hash_nothing_matches(stored: str | None) -> None:
    assert not passwords.matches(stored, "nobody has this password")


@pytest.mark.parametrize("password", ["short", "x" * 1025])
def test_what_is_too_short_or_too_long_is_refused(password: str) -> None:
    with pytest.raises(BadInput):
        passwords.digest(password)
