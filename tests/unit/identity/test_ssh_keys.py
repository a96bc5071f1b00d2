"""Public SSH keys: what a form takes is what a machine is told, however it was pasted."""

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from appliance.errors import BadInput
from appliance.identity import ssh_keys
from appliance.seeds import guest

pytestmark = pytest.mark.lost

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


def told(text: str) -> list[str]:
    said = guest.personalise_input(user="user", full_name="Alice", owner="alice", ssh_keys=ssh_keys.usable(text))
    return [line.removeprefix("ssh_key ") for line in said.decode().split("\n") if line.startswith("ssh_key ")]


@pytest.mark.parametrize(
    ("pasted", "kept"),
    [
        (f"{KEY}\tada@laptop", f"{KEY} ada@laptop"),
        (f"{KEY} ada\tof the\tlaptop", f"{KEY} ada of the laptop"),
        (f"  {KEY.replace(' ', '  ')} \x07ada\x1b[31m\x7f\u00a0x  ", f"{KEY} ada [31m x"),
        (f"{KEY}\r\n\r\n{KEY} again\r\n", f"{KEY}\n{KEY} again"),
        (f"{KEY} {'long' * 100}", f"{KEY} {'long' * 50}"),
        (KEY, KEY),
        ("", ""),
    ],
)
def test_what_a_form_takes_is_what_a_machine_is_told(pasted, kept):
    assert ssh_keys.parse(pasted) == kept.splitlines()
    assert told("\n".join(ssh_keys.parse(pasted))) == kept.splitlines()
    assert told(pasted) == kept.splitlines()  # of a catalog from before


@pytest.mark.parametrize(
    "pasted",
    [
        "ssh-ed25519 AAAA",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ ada@laptop",  # cut off
        KEY.replace("ssh-ed25519", "ssh-rsa"),
        KEY.replace("AAAAC3", "ÄÄÄÄC3"),
        KEY.replace("ssh-ed25519", "ssh-dss"),
        f"{KEY} a\u2028user root",  # another line
        f'command="x" {KEY}',
        "ssh-ed25519 " + "A" * 100_000,
        "\n".join([KEY] * 51),
    ],
)
def test_what_is_no_key_is_refused_by_the_form_and_keeps_no_machine_from_its_owner(pasted):
    with pytest.raises(BadInput):
        ssh_keys.parse(pasted)
    assert set(told(pasted)) <= {KEY, f"{KEY} a"}
    assert len(told(pasted)) <= ssh_keys.MOST


def test_every_type_that_is_offered_is_taken():
    made = [ed25519.Ed25519PrivateKey.generate().public_key(), rsa.RSAPublicNumbers(65537, (1 << 3071) | 1).public_key()]
    made += [ec.generate_private_key(curve).public_key() for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())]
    for key in made:
        line = written(key)
        assert ssh_keys.parse(f"{line} x") == [f"{line} x"]
    # Of a security key, made with ssh-keygen -t ed25519-sk and shortened to what is public.
    assert ssh_keys.parse(SECURITY_KEY) == [SECURITY_KEY]
    assert [ssh_keys.kind(key) for key in (KEY, SECURITY_KEY)] == ["ed25519", "ed25519-sk"]
    assert ssh_keys.fingerprint(KEY) == "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA"  # as ssh-keygen -l says


def written(key: Any) -> str:
    text: bytes = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return text.decode()


def test_a_weak_rsa_key_is_refused_unless_it_was_there_before():
    """A machine still lets it in; nobody adds one."""
    weak = written(rsa.RSAPublicNumbers(65537, (1 << 2047) | 1).public_key())
    with pytest.raises(BadInput, match="2048 bits"):
        ssh_keys.parse(f"{KEY}\n{weak} old")
    assert ssh_keys.parse(f"{KEY}\n{weak} old", known=f"{weak} old") == [KEY, f"{weak} old"]
    assert told(f"{weak} old") == [f"{weak} old"]


SECURITY_KEY = (
    "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fAAAABHNzaDo="
)
