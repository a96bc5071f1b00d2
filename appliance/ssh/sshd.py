"""The configuration of the appliance's SSH server, which only passes on connections to machines."""

import contextlib
import sys
from pathlib import Path

from appliance import layout, run
from appliance.errors import CommandFailed
from appliance.settings import Settings

USER = layout.JUMP
SSHD = "/usr/sbin/sshd"
# Since OpenSSH 9.8 whose key is refused is kept out for a while, and with them everybody behind their address; here that is who holds no machine
# just now. Nobody guesses a key. Before, the word is not known.
FORGIVING = ["-o", "PerSourcePenalties=no"]
KEYS = Path(__file__).with_name("keys.py")


def socket_path(folder: Path) -> Path:
    """Where it asks what a key is good for."""
    return folder / "keys.sock"


def host_key(folder: Path) -> Path:
    """Its host key; the certificate lies beside it."""
    return folder / "host_key"


def certificate(folder: Path) -> Path:
    return folder / "host_key-cert.pub"


def configuration(settings: Settings, folder: Path, user: str = USER) -> str:
    """The whole sshd_config. All paths are absolute: with others each connection ends without a word."""
    ask = " ".join([sys.executable, "-I", "-S", str(KEYS), str(socket_path(folder)), "%t", "%k"])
    lines = {
        "Port": settings.ssh_port,
        "ListenAddress": settings.listen,
        "HostKey": host_key(folder),
        "HostCertificate": certificate(folder),
        "PidFile": "none",
        # One account for everybody: who somebody is says their key.
        "AllowUsers": user,
        "UsePAM": "no",
        "AuthenticationMethods": "publickey",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "AuthorizedKeysFile": "none",
        "AuthorizedKeysCommand": ask,
        "AuthorizedKeysCommandUser": user,
        "RequiredRSASize": 3072,
        # Connections to machines, which are named when somebody signs in, and nothing else.
        "AllowTcpForwarding": "local",
        "PermitOpen": "*:22",  # of those, what the answer about the key permits
        "PermitListen": "none",
        "AllowStreamLocalForwarding": "no",
        "AllowAgentForwarding": "no",
        "X11Forwarding": "no",
        "PermitTunnel": "no",
        "GatewayPorts": "no",
        "PermitTTY": "no",
        "PermitUserRC": "no",
        "PermitUserEnvironment": "no",
        "MaxSessions": 0,
        "ForceCommand": "/bin/false",
        "PrintMotd": "no",
        "UseDNS": "no",
        "Compression": "no",
        "LoginGraceTime": 30,
        "MaxAuthTries": 10,
        "MaxStartups": "10:30:60",
        "ClientAliveInterval": 30,
        "ClientAliveCountMax": 4,
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def command(folder: Path) -> list[run.Argument]:
    """How it is started; it stays in the foreground and speaks on its error stream."""
    words: list[run.Argument] = ["-f", folder / "sshd_config"]
    with contextlib.suppress(CommandFailed):
        run.run([SSHD, "-t", *words, *FORGIVING])
        words += FORGIVING
    return [SSHD, "-D", "-e", *words]
