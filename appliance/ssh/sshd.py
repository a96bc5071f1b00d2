"""The configuration of the appliance's SSH server, which only passes on connections to machines."""

import sys
from pathlib import Path

from appliance import layout
from appliance.settings import Settings

USER = layout.JUMP
SSHD = "/usr/sbin/sshd"
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


def command(folder: Path) -> list[str | Path]:
    """How it is started; it stays in the foreground and speaks on its error stream."""
    return [SSHD, "-D", "-e", "-f", folder / "sshd_config"]
