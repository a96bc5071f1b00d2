"""What a key that somebody shows the SSH server is good for; what sshd makes of it is seen in tests/integration/programs/test_ssh.py."""

from collections.abc import Callable

import pytest

from appliance import catalog
from appliance.catalog import Account, Actor, Machine, MachineState, machines
from appliance.identity import secrets
from appliance.services import accounts, ssh
from appliance.settings import Settings
from tests.unit.identity.test_ssh_keys import KEY, SECURITY_KEY

pytestmark = [pytest.mark.ssh, pytest.mark.revoked]


@pytest.fixture
def held(ready: Callable[[int], list[Machine]], opened: Settings, alice: Actor, bob: Actor) -> dict[str, Machine]:
    """One machine each, in use, and a key each; whose they are."""
    opened.web_secret.write_bytes(b"s" * 32)
    secrets.open(opened.web_secret)
    made = dict(zip(("alice", "bob"), ready(2), strict=True))
    for who, key in ((alice, KEY), (bob, SECURITY_KEY)):
        with catalog.write():
            machines.change(made[who.name].id, [MachineState.READY], MachineState.IN_USE, owner=who.account_id)
        accounts.add_ssh_keys(who, f"{key} of {who.name}")
    return made


def opened_by(key: str, settings: Settings) -> str:
    found = ssh.admit(key, settings)
    return "" if found is None else found.line


def test_a_key_opens_what_its_owner_holds(held: dict[str, Machine], settings: Settings, alice: Actor) -> None:
    address = settings.address(held["alice"].slot)
    assert opened_by(KEY, settings) == f'restrict,port-forwarding,permitopen="{address}:22" {KEY}'
    assert not any(opened_by(key, settings) for key in ("", "nonsense", KEY[:-4], f"{KEY} of alice", "ssh-ed25519 %", "ssh-ed25519 \udcff"))
    certificate = " ".join(ssh.certificate(alice, KEY).split(" ")[:2])
    authority = ssh.ssh_authority.user_authority()
    expected = f'cert-authority,principals="account-{alice.account_id}",restrict,port-forwarding,permitopen="{address}:22" {authority}'
    assert opened_by(certificate, settings) == expected


def test_two_people_may_have_a_key_together(held: dict[str, Machine], settings: Settings, bob: Actor) -> None:
    """Nobody keeps somebody out by saying that their key is his."""
    accounts.add_ssh_keys(bob, KEY)
    assert opened_by(KEY, settings).count("permitopen=") == 2


def test_it_holds_as_long_as_everything_does(held: dict[str, Machine], settings: Settings, alice: Actor, admin: Actor) -> None:
    admission = ssh.admit(KEY, settings)
    assert admission is not None
    certified = ssh.admit(" ".join(ssh.certificate(alice, KEY).split(" ")[:2]), settings)
    assert certified is not None
    both, mine, account = {admission, certified}, Machine.id == held["alice"].id, Account.id == alice.account_id
    assert ssh.good(both) == both
    ends: list[tuple[str, dict[str, object]]] = [
        ("machine", {"state": MachineState.RECLAIMING}), ("machine", {"state": MachineState.REPROVISIONING}), ("machine", {"owner": admin.account_id}),
        ("machine", {"owner": None}), ("account", {"disabled": True}), ("account", {"must_change": True}),
    ]  # fmt: skip
    for table, values in ends:
        with catalog.write():
            (Machine.update(values).where(mine) if table == "machine" else Account.update(values).where(account)).execute()
        assert ssh.good(both) == set(), values
        assert not opened_by(KEY, settings), values
        with catalog.write():
            Machine.update(state=MachineState.IN_USE, owner=alice.account_id).where(mine).execute()
            Account.update(disabled=False, must_change=False).where(account).execute()
        assert ssh.good(both) == both
    [key] = accounts.ssh_keys_of(alice.account_id or 0)
    ssh.note_used(ssh.keys.fingerprint(KEY))
    assert accounts.ssh_keys_of(alice.account_id or 0)[0].used_at is not None
    accounts.remove_ssh_key(alice, key.id)
    assert ssh.good(both) == {certified}
    assert not opened_by(KEY, settings)
