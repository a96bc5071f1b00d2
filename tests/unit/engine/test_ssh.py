"""What SSH in a machine goes by: keys of its owner, from hand-over on and whenever they change; a host key that the appliance has signed."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity, load_ssh_public_key

from appliance import catalog
from appliance.catalog import Class, MachineState, machines, now
from appliance.errors import BadInput
from appliance.hypervisor.provider import Executed
from appliance.identity import secrets, ssh_authority
from appliance.lifecycle import ssh
from appliance.services import accounts, moves
from appliance.services import machines as verbs
from tests.unit.engine.fake import settle
from tests.unit.identity.test_ssh_keys import KEY, SECURITY_KEY, written

pytestmark = pytest.mark.ssh


@pytest.fixture
def inside(provider, opened, monkeypatch):
    """What commands in machines were given, by machine and command; a machine answers what `says` has for a command."""
    secrets.open(opened.web_secret)
    said: dict[str, Executed] = {}
    given: list[tuple[str, str, str]] = []

    def execute(id, command, *, input=b"", timeout=60):
        given.append((id, command[-1], input.decode()))
        return said.get(command[-1], Executed(0, "", ""))

    monkeypatch.setattr(provider, "execute", execute)
    return given, said


def machine_of(engine, who) -> str:
    settle(engine, 4)
    id: str = verbs.request(who, "small").machine_id
    settle(engine, 4)
    return id


def later(engine) -> None:
    """Two seconds later."""
    settle(engine, 3)
    engine.schedule.hurry("ssh")
    settle(engine, 2)


def keys_told(given, id) -> list[list[str]]:
    """The keys that a machine was told, each time."""
    lines = [said.splitlines() for machine, command, said in given if (machine, command) == (id, ssh.TELL)]
    return [[line.removeprefix("ssh_key ") for line in told if line.startswith("ssh_key ")] for told in lines]


def test_a_held_machine_is_told_of_keys_that_come_and_go_and_of_nobody_elses(engine, provider, alice, bob, inside):
    given, said = inside
    mine, theirs = machine_of(engine, alice), machine_of(engine, bob)
    assert given == []  # it has had them since the hand-over
    accounts.add_ssh_keys(alice, f"{KEY} laptop")
    later(engine)
    accounts.add_ssh_keys(alice, SECURITY_KEY)
    said[ssh.TELL] = Executed(1, "", "no room")
    later(engine)
    assert machines.by_id(mine).ssh_changed_at is not None  # it did not take it, so it is told again
    said.clear()
    later(engine)
    accounts.remove_ssh_key(alice, accounts.ssh_keys_of(alice.account_id)[0].id)
    later(engine)
    both = [f"{KEY} laptop", SECURITY_KEY]
    assert keys_told(given, mine) == [both[:1], both, both, both[1:]]
    assert keys_told(given, theirs) == []
    assert machines.by_id(mine).ssh_changed_at is None


def test_a_stopped_machine_is_told_when_it_runs_again(engine, alice, inside):
    given, _ = inside
    mine = machine_of(engine, alice)
    moves.stop(alice, mine)
    later(engine)
    accounts.add_ssh_keys(alice, KEY)
    later(engine)
    assert keys_told(given, mine) == []
    moves.start(alice, mine)
    later(engine)
    assert machines.by_id(mine).state is MachineState.IN_USE
    assert keys_told(given, mine) == [[KEY]]


def test_the_appliance_signs_the_host_keys_of_machines_that_have_an_ssh_server(engine, opened, alice, inside):
    given, said = inside
    with catalog.write():
        spec = Class.get().spec
        Class.update(spec={**spec, "packages": [ssh.SERVER]}).execute()
    host = written(ed25519.Ed25519PrivateKey.generate().public_key())
    said[ssh.READ] = Executed(0, f"{host} root@small-1\n", "")
    mine = machine_of(engine, alice)
    later(engine)
    [line] = [input for id, command, input in given if (id, command) == (mine, ssh.WRITE)]
    certificate = load_ssh_public_identity(line.encode())
    assert isinstance(certificate, SSHCertificate)
    certificate.verify_cert_signature()
    assert written(certificate.public_key()) == host
    machine = machines.by_id(mine)
    assert certificate.valid_principals == [f"dpe-{mine}".encode(), machine.name.encode(), opened.address(machine.slot).encode()]
    assert certificate.valid_after < now().timestamp() < certificate.valid_before < now().timestamp() + 367 * 86400
    line = ssh_authority.known_hosts(["dpe-*"])
    assert line == f"@cert-authority dpe-* {written(certificate.signature_key())}"
    assert load_ssh_public_key(line.split(" ", 2)[2].encode())
    assert machine.ssh_changed_at is None


@pytest.mark.hostile
def test_a_machine_that_shows_another_thing_for_its_key_gets_no_certificate_and_holds_nothing_up(engine, alice, inside):
    given, said = inside
    for odd in ("", "ssh-ed25519 AAAA", "ssh-rsa " + base64.b64encode(b"x" * 3000).decode(), "ssh-ed25519 \udcff"):
        with pytest.raises(BadInput):
            ssh_authority.sign_host(odd, ["dpe-1"], now())
    with catalog.write():
        Class.update(spec={**Class.get().spec, "packages": [ssh.SERVER]}).execute()
    said[ssh.READ] = Executed(0, "nonsense", "")
    mine = machine_of(engine, alice)
    later(engine)
    assert [command for _, command, _ in given] == [ssh.TELL, ssh.READ]
    assert machines.by_id(mine).ssh_changed_at is None
