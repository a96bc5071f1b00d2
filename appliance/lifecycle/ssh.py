"""What SSH in a machine goes by: the keys of its owner, and a certificate for its host key. Both reach machines that run, within seconds."""

from typing import Any

from appliance import catalog
from appliance.catalog import Machine, now, ssh_keys
from appliance.errors import BadInput, DpeError
from appliance.hypervisor.provider import PERSONALISE_COMMAND, Provider
from appliance.identity import ssh_authority
from appliance.lifecycle.machine_steps import personal
from appliance.settings import Settings

TIMEOUT = 15.0  # seconds for a machine to do one of these
SERVER = "openssh-server"
# All of these work in seeds of every version. A fork that is not done with becoming itself would begin that anew.
TELL = f"while [ -s /etc/dpe/fork ]; do sleep 0.1; done; exec {PERSONALISE_COMMAND}"
# Its key, made first if it is not there yet.
READ = "systemctl start dpe-hostkeys.service && exec head -c 2000 /etc/ssh/ssh_host_ed25519_key.pub"
WRITE = """
set -e
cat > /etc/ssh/ssh_host_ed25519_key-cert.pub
mkdir -p /etc/ssh/sshd_config.d
echo 'HostCertificate /etc/ssh/ssh_host_ed25519_key-cert.pub' > /etc/ssh/sshd_config.d/dpe.conf
systemctl --no-block try-reload-or-restart ssh.service
"""


def serves(machine: Machine) -> bool:
    """Whether machines of its class have an SSH server."""
    return SERVER in machine.machine_class.spec.get("packages", ())


def news(machine: Machine) -> dict[str, Any]:
    """Columns of a machine that is handed over, or made anew: it has a host key that is not signed."""
    return {"ssh_changed_at": now()} if serves(machine) else {}


def alias(machine_id: str) -> str:
    """The name by which a machine's host key is known for good: no other machine ever has it."""
    return f"dpe-{machine_id}"


def tell(machine: Machine, settings: Settings, provider: Provider) -> None:
    """Put the owner's keys into a machine, and the certificate. Raises DpeError when it cannot be done now."""
    assert machine.ssh_changed_at is not None
    _run(provider, machine, ["/bin/sh", "-c", TELL], personal(machine))
    if serves(machine):
        key = _run(provider, machine, ["/bin/sh", "-c", READ])
        try:
            certificate = ssh_authority.sign_host(key, [alias(machine.id), machine.name, settings.address(machine.slot)], now())
        except BadInput:
            pass  # its owner did something else with it, who may
        else:
            _run(provider, machine, ["/bin/sh", "-c", WRITE], certificate.encode() + b"\n")
    with catalog.write():
        ssh_keys.told(machine.id, machine.ssh_changed_at)


def _run(provider: Provider, machine: Machine, command: list[str], input: bytes = b"") -> str:
    done = provider.execute(machine.id, command, input=input, timeout=TIMEOUT)
    if done.status:
        raise DpeError(f"{machine.name} did not take what SSH goes by: {(done.error or done.output).strip()[-300:]}")
    return done.output
