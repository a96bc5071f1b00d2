"""Where somebody is signed in: `hosts.json`, for its owner alone, in the folder of settings. Tokens are in the system's keyring where there is one,
else in the same file.
"""

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from dpe.errors import ClientError, NotAllowed

SERVICE = "dpe"  # under which the keyring has tokens
KEYRING = "keyring"


@dataclass(frozen=True)
class Host:
    """An appliance where somebody is signed in. `certificate` is the pinned one, PEM; empty where this computer trusts it by itself."""

    address: str
    account: str
    token: str
    certificate: str = ""


def folder() -> Path:
    """The folder of settings: $DPE_CONFIG_DIR, or what is usual on this system."""
    return Path(os.environ.get("DPE_CONFIG_DIR") or click.get_app_dir("dpe"))


def current(address: str = "") -> Host:
    """Where to ask: the environment's (DPE_ADDRESS with DPE_TOKEN), else this one of those that are signed in to, else the last. Raises NotAllowed."""
    address = normal(address or os.environ.get("DPE_ADDRESS", ""))
    token = os.environ.get("DPE_TOKEN", "")
    stored = _read()
    address = address or stored["default"]
    found = stored["hosts"].get(address)
    if token and address:
        return Host(address, "", token, _from_environment(address) or (found or {}).get("certificate", ""))
    if found is None:
        raise NotAllowed(401, f"You are not signed in{f' to {address}' if address else ''}.", f"dpe login {address or 'ADDRESS'}")
    if found["token"] == KEYRING:
        found = {**found, "token": _of_keyring(address)}
    return Host(**found)


def _from_environment(address: str) -> str:
    """The certificate that DPE_FINGERPRINT is of."""
    fingerprint = os.environ.get("DPE_FINGERPRINT", "")
    if not fingerprint:
        return ""
    from dpe import certificate

    return certificate.pinned(address, fingerprint)


def keep(host: Host) -> bool:
    """Remember a sign-in, and ask there from now on; returns whether the keyring has the token."""
    kept = _keep_in_keyring(host)
    stored = _read()
    stored["hosts"][host.address] = {**asdict(host), "token": KEYRING if kept else host.token}
    _write({**stored, "default": host.address})
    return kept


def forget(address: str) -> None:
    """Forget a sign-in."""
    stored = _read()
    gone = stored["hosts"].pop(address, None)
    if gone and gone["token"] == KEYRING:
        import keyring

        with contextlib.suppress(keyring.errors.KeyringError):
            keyring.delete_password(SERVICE, address)
    if stored["default"] == address:
        stored["default"] = next(iter(stored["hosts"]), "")
    _write(stored)


def every() -> dict[str, dict[str, Any]]:
    """All sign-ins by address, without tokens."""
    return {address: {**host, "token": ""} for address, host in _read()["hosts"].items()}


def normal(address: str) -> str:
    """An address as it is kept: with https, and without a path."""
    if not address:
        return ""
    parts = urlsplit(address if "://" in address else f"https://{address}")
    if parts.scheme != "https" or not parts.netloc or "@" in parts.netloc:
        raise ClientError(f"{address} is no address of an appliance.", "It is like https://dpe.example.org or https://192.0.2.7:8443.")
    return f"https://{parts.netloc}"


def _keep_in_keyring(host: Host) -> bool:
    """Whether a keyring took it; a system without one has one that always fails."""
    if os.environ.get("DPE_NO_KEYRING"):
        return False
    try:
        import keyring
    except ImportError:
        return False
    try:
        keyring.set_password(SERVICE, host.address, host.token)
        return bool(keyring.get_password(SERVICE, host.address) == host.token)
    except Exception:  # whatever goes wrong in somebody's desktop, the file does
        return False


def _of_keyring(address: str) -> str:
    try:
        import keyring

        token = keyring.get_password(SERVICE, address)
    except Exception as error:  # of any kind: it is another program's
        raise NotAllowed(
            401, f"The keyring does not give the token: {error}.", f"Unlock it, or sign in again: dpe login {address}"
        ) from error
    if not token:
        raise NotAllowed(401, "The keyring has no token any more.", f"dpe login {address}")
    return str(token)


def _file() -> Path:
    return folder() / "hosts.json"


def _read() -> dict[str, Any]:
    try:
        found = json.loads(_file().read_text())
        return {"default": found["default"], "hosts": dict(found["hosts"])}
    except FileNotFoundError:
        return {"default": "", "hosts": {}}
    except (ValueError, KeyError, TypeError) as error:
        raise ClientError(f"{_file()} cannot be read.", "Remove it, and sign in again.") from error


def _write(stored: dict[str, Any]) -> None:
    """Whole or not at all, and from its first moment for its owner alone."""
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder(), prefix=".hosts")  # with mode 0600
    with os.fdopen(handle, "w") as file:
        json.dump(stored, file, indent=1)
    Path(name).replace(_file())
